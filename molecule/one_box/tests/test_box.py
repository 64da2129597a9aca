"""What an administrator finds on the box: sockets, files, units, and sites that can't reach into each other."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import yaml
from confined import confined
from provider_checks import Subject, files_have_the_types_of_every_provider, the_answers_are_those_of_every_provider

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SITES = ["guestbook", "plain", "shop"]


def test_nothing_else_listens(box):
    """To the world: nginx, and PostgreSQL for the clients that pg_hba names. PgBouncer and memcached on loopback alone."""
    lines = [line.split()[3] for line in box.check_output("ss -Hltn").splitlines()]
    found = {line for line in lines if not line.startswith("127.0.0.11:")}  # the test network's own resolver
    assert found == {"0.0.0.0:80", "[::]:80", "0.0.0.0:5432", "[::]:5432", "127.0.0.1:6432", "127.0.0.1:11211"}
    assert box.check_output("ss -Hlun").strip() == "" or "11211" not in box.check_output("ss -Hlun")


@pytest.mark.parametrize(
    ("role", "name", "file"),
    [
        ("web/vars/main", "__web_validate", "conf.d/ntier.conf"),
        ("media/vars/nginx", "__media_validate_files", "conf.d/ntier-files.conf"),
        ("media/vars/nginx", "__media_validate_limits", "modules-enabled/90-ntier.conf"),
        ("media/vars/nginx", "__media_validate_site", "ntier/files-guestbook.conf"),
    ],
)
def test_a_check_of_the_configuration_leaves_nginx_its_folders(box, role, name, file):
    """`nginx -t` hands the folders for uploads over to the user that the checked file names."""
    known = yaml.safe_load((PROJECT / f"roles/{role}.yml").read_text())
    command = known[name].replace("{{ __media_validate }}", known.get("__media_validate", ""))
    # Beside the file, so that it is not read twice.
    box.check_output("cp /etc/nginx/%s /tmp/checked.conf", file)
    try:
        box.check_output(command % "/tmp/checked.conf")
    finally:
        box.check_output("rm /tmp/checked.conf")
    assert box.file("/var/lib/nginx/body").user == "www-data"


def test_the_default_provider_passes_the_battery(box):
    """Paths, bodies, lengths, methods, names and errors, and the types of files: as scenario release asks all providers."""
    subject = Subject(None, box, b"")
    the_answers_are_those_of_every_provider(subject)
    files_have_the_types_of_every_provider(subject)


def test_no_unit_has_failed(box):
    """Every unit is up, and those of the sites are enabled."""
    assert box.check_output("systemctl --failed --plain --no-legend") == ""
    version = box.check_output("pg_lsclusters --no-header").split()[0]
    for unit in [
        "nginx",
        f"postgresql@{version}-main",
        "pgbouncer",
        "memcached",
        *(f"django@{site}.socket" for site in SITES),
    ]:
        assert box.service(unit).is_running, unit
        assert box.service(unit).is_enabled, unit
    for site in SITES:
        assert box.service(f"django@{site}").is_running


def test_units_are_hardened(box):
    """systemd itself rates the exposure of a site's unit; 10 is a service without any protection."""
    output = box.check_output("systemd-analyze security --no-pager django@guestbook.service")
    exposure = float(output.strip().splitlines()[-1].split(":")[1].split()[0])
    assert exposure < 3.0, output


def test_daemons_that_others_talk_to_are_confined(box):
    """All of them, from their first start on."""
    version = box.check_output("pg_lsclusters --no-header").split()[0]
    database = f"postgresql@{version}-main.service"
    assert confined(box) == {"nginx.service", "pgbouncer.service", "memcached.service", database}


@pytest.fixture(scope="module")
def sandbox(box):
    """Return a function that runs shell commands as a site's service would: the same unit with another program."""
    box.check_output(
        "sed -e 's|^ExecStart=.*|ExecStart=/bin/sh /run/probe.sh|' -e 's|^Type=.*|Type=oneshot|' -e 's|^Restart=.*||'"
        " /etc/systemd/system/django@.service > /run/systemd/system/probe@.service && systemctl daemon-reload"
    )

    def run(site: str, commands: str) -> bool:
        box.check_output("printf '%%s\\n' %s > /run/probe.sh", commands)
        return box.run("systemctl start probe@%s", site).succeeded

    yield run
    box.check_output(
        "rm /run/systemd/system/probe@.service /run/probe.sh && systemctl daemon-reload && systemctl reset-failed 'probe@*'"
    )


@pytest.mark.parametrize("site", SITES)
def test_a_site_writes_its_uploads_and_nothing_else(sandbox, site):
    """In the service's own sandbox: the release, the system and the neighbours are read-only or out of sight."""
    own = f"/srv/media/{site}/media/probe"
    assert sandbox(site, f"touch {own} && rm {own} && touch /tmp/probe && cat /srv/{site}/current/release.json")
    other = SITES[SITES.index(site) - 1]
    paths = [
        f"/srv/{site}/current/probe",
        f"/srv/{site}/current/app/probe",
        "/etc/probe",
        "/usr/probe",
        f"/srv/media/{other}/media/probe",
    ]
    for path in paths:
        assert not sandbox(site, f"touch {path}"), path
    for path in (
        f"/srv/{other}/current/environment",
        f"/srv/{other}/current/settings.json",
        f"/srv/{other}/current/release.json",
        "/etc/pgbouncer/ntier-users.txt",
    ):
        assert not sandbox(site, f"cat {path}"), path


def test_a_site_can_not_open_its_neighbours_database(box):
    """The right password does not help: PostgreSQL knows which role belongs to which database."""
    values = json.loads(box.file("/srv/guestbook/current/settings.json").content_string)["database"]
    command = f"PGPASSWORD={values['password']} psql -h 127.0.0.1 -U guestbook -Atc 'select 1' "
    assert box.check_output(command + "guestbook") == "1"
    for other in ("plain", "shop_rows", "postgres"):
        assert "no pg_hba.conf entry" in box.run(command + other).stderr
    pooled = command.replace("127.0.0.1", "127.0.0.1 -p 6432")
    assert box.check_output(pooled + "guestbook") == "1"
    assert box.run(pooled + "plain").rc != 0


def sql(box, statement, database="postgres"):
    """Return the answer of PostgreSQL to its administrator."""
    return box.check_output("runuser -u postgres -- psql -Atc %s %s", statement, database)


def test_the_database_is_made_to_last(box):
    """Checksums, a locale that can move, SCRAM, and a database and a role for each site."""
    assert sql(box, "show data_checksums") == "on"
    assert (
        sql(
            box,
            "select count(*) from pg_authid where rolname in ('guestbook', 'plain', 'shop') and rolpassword like 'SCRAM-SHA-256%'",
        )
        == "3"
    )
    rows = sql(
        box,
        "select datname, pg_get_userbyid(datdba), datcollate from pg_database where datname not like 'template%' and datname <> 'postgres' order by 1",
    )
    assert rows.splitlines() == ["guestbook|guestbook|C.UTF-8", "plain|plain|C.UTF-8", "shop_rows|shop|C.UTF-8"]
    assert sql(box, "select extname from pg_extension where extname = 'pg_trgm'", "shop_rows") == "pg_trgm"
    assert sql(box, "select count(*) from pg_settings where pending_restart") == "0"


def test_memory_is_shared_out(box, cluster):
    """What the programs were given fits into the host, with room to spare."""
    memory = cluster.variables("box1")["ntier_memory_mb"]
    buffers = int(sql(box, "select setting::int * 8 / 1024 from pg_settings where name = 'shared_buffers'"))
    cache = int(box.check_output("systemctl show -P ExecStart memcached").split("-m ")[1].split()[0])
    sizes = [box.file(f"/etc/ntier/sites/{site}.env").content_string for site in SITES]
    workers = sum(int(re.search(r"^NTIER_WORKERS=(\d+)$", size, flags=re.MULTILINE).group(1)) for size in sizes)
    assert buffers > 100
    assert cache > 30
    assert workers >= len(SITES)
    assert buffers + cache + workers * 110 < memory * 0.9


def test_the_vendors_files_are_left_alone(box):
    """What the distribution installed as configuration is as it came, but for the example site that nginx served."""
    changed = box.run("dpkg --verify nginx-common postgresql-common pgbouncer memcached").stdout
    assert changed == "", changed


def test_the_clock_is_kept_and_swap_is_for_emergencies(box):
    """chrony is enabled (a container has its host's clock, so it does not run here), and the kernel is told not to swap early."""
    assert box.service("chrony").is_enabled
    settings = box.file("/etc/sysctl.d/60-ntier.conf").content_string.splitlines()
    assert "vm.swappiness = 10" in settings
    assert "net.core.somaxconn = 4096" in settings


def test_secrets_are_kept_to_those_who_need_them(box):
    """On the controller mode 0600 beside the inventory; on the host for root and the one site."""
    file = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / "group_vars/ntier_secrets.yml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for name in ("settings.json", "environment"):
        entry = box.file(f"/srv/shop/current/{name}")
        assert (entry.user, entry.group, entry.mode) == ("root", "shop", 0o640)
    password = json.loads(box.file("/srv/shop/current/settings.json").content_string)["database"]["password"]
    assert password in file.read_text()
    assert password not in box.check_output("journalctl --no-pager")
    assert password not in box.check_output("ps axww -o args")


def test_releases_can_not_be_changed_by_the_site(box):
    """Root owns the code; its name says when and from what it was made."""
    for site in SITES:
        live = box.file(f"/srv/{site}/current").linked_to
        assert live.startswith(f"/srv/{site}/releases/20")
        assert box.check_output("find %s/ ! -user root | head -3", live) == ""
        record = json.loads(box.file(f"{live}/release.json").content_string)
        assert record["release"] == live.rsplit("/", 1)[1]


def test_the_extra_certificates_are_trusted(box):
    """The system, pip and uv look into the same bundle."""
    if not list(Path("/usr/local/share/ca-certificates").rglob("*.crt")):
        pytest.skip("the controller has no extra certificate authorities")
    assert box.file("/etc/uv/uv.toml").contains("native-tls = true")
    assert box.file("/etc/pip.conf").contains("cert = /etc/ssl/certs/ca-certificates.crt")
    assert box.check_output("ls /usr/local/share/ca-certificates").startswith("ntier-")


def test_logs_are_in_the_journal(box, visit):
    """What a site says, and what nginx complains about, stands in the journal under its name."""
    box.check_output("ntier-manage guestbook check")
    assert "Booting worker" in box.check_output("journalctl --no-pager -t django-guestbook")
    visit().session.post(f"{visit().base}/", data=b"x" * (21 << 20), timeout=60)
    assert "client intended to send too large body" in box.check_output("journalctl --no-pager -t nginx")
