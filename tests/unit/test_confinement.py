"""The module that confines a daemon, and the roles that have it do so."""

import json
import os
import stat

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from clusters import ROOT

from ansible_collections.ntier.django.plugins.modules import confinement

#: What systemd 252 prints of a unit that was started 100 s after boot.
SHOWN = "ActiveState={state}\nNeedDaemonReload={reload}\nActiveEnterTimestampMonotonic=100000000\n"
#: Role → the units that it starts, each with its daemon.
UNITS = {
    "load_balancer": {"haproxy.service": "haproxy"},
    "relay": {"{{ __relay_unit }}": "haproxy"},
    "web": {"{{ __web_services[__web_server] }}": "{{ __web_server }}"},
    "media": {"nginx.service": "nginx", "lighttpd.service": "lighttpd"},
    "pooler": {"pgbouncer.service": "pgbouncer"},
    "memcached": {"memcached.service": "memcached"},
    "database": {"{{ __database_service }}": "postgresql"},
}


def settings(program):
    """Return what the drop-in of a daemon says: name → values, in their order."""
    found = {}
    lines = confinement.drop_in(program).splitlines()
    assert lines[0].startswith("# Ansible managed")
    assert lines[1] == "[Service]"
    for line in lines[2:]:
        name, _equals, value = line.partition("=")
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("program", sorted(confinement.PROGRAMS.keys() - {"postgresql"}))
def test_a_daemon_reads_the_host_and_writes_next_to_nothing(program):
    found = settings(program)
    assert found["ProtectSystem"] == ["strict"]
    writable = found["ReadWritePaths"][0].split()
    assert all(path.lstrip("-").startswith(("/run", "/var/log", "/var/lib/", "/var/cache")) for path in writable)
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert found[name] == ["yes"], name


@pytest.mark.parametrize("program", sorted(confinement.PROGRAMS))
def test_what_the_vendor_allows_is_taken_back_first(program):
    """systemd adds up the values of these settings over all files of a unit."""
    found = settings(program)
    for name in confinement.LISTS:
        assert found[name][0] == "", name
    rights = found["CapabilityBoundingSet"][-1]
    assert "CAP_SYS_ADMIN" not in rights
    assert (program == "pgbouncer") == (rights == "")


def test_postgresql_keeps_what_it_and_its_data_need():
    """Tablespaces and archives lie anywhere, JIT writes machine code, and "samenet" asks the kernel for addresses."""
    found = settings("postgresql")
    assert found["ProtectSystem"] == ["full"]
    assert not found.keys() & {
        "MemoryDenyWriteExecute",
        "ProtectHome",
        "ProtectProc",
        "ReadWritePaths",
        "PrivateIPC",
        "RemoveIPC",
    }
    assert "AF_NETLINK" in found["RestrictAddressFamilies"][-1]


def test_regular_expressions_are_compiled_where_the_daemon_does_so():
    """HAProxy refuses a configuration with one when it may not."""
    assert "MemoryDenyWriteExecute" not in settings("haproxy")
    assert settings("memcached")["MemoryDenyWriteExecute"] == ["yes"]


@pytest.fixture
def confine(tmp_path, monkeypatch, capfd):
    """Return a function that runs the module beside a systemctl that notes its calls."""

    def run(state="inactive", reload="no", **options):
        program = tmp_path / "systemctl"
        shown = SHOWN.format(state=state, reload=reload)
        program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n[ "$1" != show ] || cat <<\'END\'\n{shown}END\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(confinement, "FOLDER", str(tmp_path / "system"))
        (tmp_path / "calls").write_text("")
        warnings = []
        monkeypatch.setattr(confinement.AnsibleModule, "warn", lambda _module, text: warnings.append(text))
        with (
            patch_module_args({"unit": "nginx.service", "program": "nginx", **options}),
            pytest.raises(SystemExit),
        ):
            confinement.main()
        answer = json.loads(capfd.readouterr().out)
        reloaded = "daemon-reload" in (tmp_path / "calls").read_text()
        return {**answer, "reloaded": reloaded, "warnings": warnings}

    return run


def test_a_fresh_host_has_the_drop_in_before_the_daemon(confine, tmp_path):
    file = tmp_path / "system/nginx.service.d/ntier-confinement.conf"
    found = confine(_ansible_check_mode=True)
    assert (found["changed"], found["reloaded"], file.exists()) == (True, False, False)
    found = confine()
    assert (found["changed"], found["reloaded"], found["pending"], found["warnings"]) == (True, True, False, [])
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert file.read_text() == confinement.drop_in("nginx") == found["diff"]["after"]
    found = confine()
    assert (found["changed"], found["reloaded"]) == (False, False)


def test_a_daemon_that_runs_goes_on_and_the_run_says_so_once(confine):
    found = confine(state="active")
    assert (found["changed"], found["pending"]) == (True, True)
    assert "takes effect at its next start" in found["warnings"][0]
    # A restart that has its clients wait is somebody else's to announce.
    assert (
        confine(state="active", unit="postgresql@15-main.service", program="postgresql", restarted=True)["warnings"]
        == []
    )
    # As long as it has not been started again.
    found = confine(state="active")
    assert (found["changed"], found["pending"], found["warnings"]) == (False, True, [])


def test_what_a_killed_run_has_written_is_read_by_systemd(confine):
    confine()
    found = confine(reload="yes")
    assert (found["changed"], found["reloaded"]) == (True, True)


# --- the roles ----------------------------------------------------------------------------------------------------


def tasks(role):
    """Return the tasks of a role, file by file, those in blocks included."""
    for file in sorted((ROOT / "roles" / role / "tasks").rglob("*.yml")):
        stack = yaml.safe_load(file.read_text()) or []
        while stack:
            task = stack.pop(0)
            stack += task.get("block", []) + task.get("rescue", []) + task.get("always", [])
            yield file, task


@pytest.mark.parametrize("role", sorted(UNITS))
def test_each_daemon_is_confined_before_its_package_starts_it(role):
    found = {}
    for file, task in tasks(role):
        if "ntier.django.confinement" in task:
            found[task["ntier.django.confinement"]["unit"]] = task["ntier.django.confinement"]["program"]
            assert "notify" not in task, "a restart would cut its clients off"
            later = file.read_text().split(task["name"])[0]
            assert role in ("load_balancer", "relay") or "ansible.builtin.apt" not in later
    assert found == UNITS[role]


@pytest.mark.parametrize("role", sorted(UNITS.keys() - {"database"}))
def test_a_host_that_leaves_keeps_no_drop_in(role):
    text = "".join(path.read_text() for path in (ROOT / "roles" / role).rglob("*.yml"))
    assert "ntier-confinement.conf" in text
