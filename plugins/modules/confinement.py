#!/usr/bin/python
# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Confine a unit of systemd by a drop-in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: confinement
short_description: Confine a unit of systemd by a drop-in
version_added: 1.2.0
author: ntier.django maintainers (@ntier)
description:
  - Writes C(/etc/systemd/system/UNIT.d/ntier-confinement.conf), and has systemd read it. The vendor's unit and other drop-ins stay as they are.
  - "The drop-in sandboxes the unit: a read-only file system, private C(/tmp) and C(/dev), no access to C(/home), to the settings,
    modules and logs of the kernel or to the clock, no namespaces, only sockets of UNIX and IP, and the system calls of an ordinary service."
  - The module never restarts anything. systemd applies a sandbox when it starts a unit, so a unit that runs keeps the one that it was started with
    until its next start, such as the next boot or upgrade of its package. The module warns about that in the run that writes the file.
options:
  unit:
    description: A service, such as C(nginx.service). It need not be installed yet.
    type: str
    required: true
  program:
    description: The daemon that the unit runs. It decides which capabilities and writable folders the unit keeps.
    type: str
    choices: [apache, haproxy, lighttpd, memcached, nginx, pgbouncer, postgresql]
    required: true
  restarted:
    description: Whether somebody else restarts the unit when its clients can wait, so that nobody has to be warned.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reports whether the file would change.
    support: full
  diff_mode:
    description: Shows the file before and after.
    support: full
notes:
  - systemd ignores what the kernel or a container does not support, and logs that.
  - A host that needs more, such as another folder that nginx writes to, says so in a drop-in of its own that sorts after this one, such as C(zz-local.conf).
seealso:
  - module: ansible.builtin.systemd_service
"""

EXAMPLES = r"""
- name: Confine nginx
  ntier.django.confinement:
    unit: nginx.service
    program: nginx
"""

RETURN = r"""
path:
  description: The drop-in.
  type: str
  returned: success
pending:
  description: Whether the unit runs without what the file says, because it was started before the file was written.
  type: bool
  returned: success
"""

import os  # noqa: E402
import platform  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

#: What every daemon does without, unless PROGRAMS says otherwise. See systemd.exec(5).
COMMON: dict[str, str | None] = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service",
    # A call that is not allowed fails; it does not kill the daemon.
    "SystemCallErrorNumber": "EPERM",
}
#: Daemon → what it has in place of the common settings, or beside them. None leaves a setting out. A folder with "-" may be absent.
PROGRAMS: dict[str, dict[str, str | None]] = {
    # The master is root: it binds ports, opens logs of others, becomes the workers' user and signals them. In the chroot lies a socket.
    "haproxy": {
        "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SYS_CHROOT CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_RESOURCE",
        "ReadWritePaths": "/run -/var/lib/haproxy",
        # Regular expressions are compiled to machine code.
        "MemoryDenyWriteExecute": None,
        "SystemCallFilter": "@system-service chroot",
    },
    # The same without a chroot; uploads and pages that it keeps are files. MemoryDenyWriteExecute would break pcre_jit and the module for Lua.
    "nginx": {
        "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_RESOURCE",
        "ReadWritePaths": "/run -/var/log -/var/lib/nginx -/var/cache",
        "MemoryDenyWriteExecute": None,
    },
    # Sites run in it, each as its own user, and write what its unit's other file names.
    "apache": {
        "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_RESOURCE",
        "ReadWritePaths": "/run -/var/log -/var/cache",
        "MemoryDenyWriteExecute": None,
    },
    "lighttpd": {
        "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_RESOURCE",
        "ReadWritePaths": "/run -/var/log -/var/lib/lighttpd -/var/cache",
        "MemoryDenyWriteExecute": None,
    },
    # It never is root.
    "pgbouncer": {"ReadWritePaths": "/run -/var/log/postgresql"},
    # pg_ctlcluster is root, and becomes the owner of the data, which may lie anywhere, as may files of COPY and of archive_command. It looks for
    # processes of that user and makes a folder with the set-group-ID bit; JIT writes machine code; "samenet" asks for the host's addresses.
    "postgresql": {
        "CapabilityBoundingSet": "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_KILL CAP_SYS_RESOURCE",
        "ProtectSystem": "full",
        "ProtectHome": None,
        "ProtectProc": None,
        "RestrictSUIDSGID": None,
        "MemoryDenyWriteExecute": None,
        "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    },
    # It starts as root, and raises its limit of open files. Its vendor's unit has a part of the common settings already.
    "memcached": {"CapabilityBoundingSet": "CAP_SETUID CAP_SETGID CAP_SYS_RESOURCE", "ReadWritePaths": "/run"},
}
#: What systemd says about a unit, as C(systemctl show) writes it.
PROPERTIES = "ActiveState,NeedDaemonReload,ActiveEnterTimestampMonotonic"
FOLDER = "/etc/systemd/system"
HEADER = "# Ansible managed: ntier.django.confinement. Local changes are overwritten; put them into another drop-in."
#: Settings that systemd adds up over files: an empty one first, so that the vendor's value does not count.
LISTS = ("CapabilityBoundingSet", "RestrictAddressFamilies", "SystemCallFilter")


def drop_in(program):
    """Return the text of a daemon's drop-in.

    :arg program: A key of PROGRAMS.
    """
    lines = [HEADER, "[Service]"]
    for name, value in {**COMMON, **PROGRAMS[program]}.items():
        if value is None:
            continue
        if name in LISTS and value:
            lines.append(f"{name}=")
        lines.append(f"{name}={value}")
    return "\n".join(lines) + "\n"


def content(path):
    """Return the text of a file, or an empty one when it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def is_pending(found, path, differs, booted):
    """Return whether a unit was started without what its drop-in says.

    :arg found: What systemd says about the unit: PROPERTIES as a dictionary of strings.
    :arg path: The drop-in.
    :arg differs: Whether it is written only now.
    :arg booted: When the monotonic clock was at 0, in seconds since the epoch.
    """
    if found.get("ActiveState") not in ("active", "reloading"):
        return False
    return differs or os.stat(path).st_mtime > booted + int(found["ActiveEnterTimestampMonotonic"]) / 1e6


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "program": {"type": "str", "choices": sorted(PROGRAMS), "required": True},
            "restarted": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    unit = module.params["unit"]
    path = f"{FOLDER}/{unit}.d/ntier-confinement.conf"
    before, after = content(path), drop_in(module.params["program"])
    systemctl = module.get_bin_path("systemctl", required=True)
    shown = module.run_command([systemctl, "show", "--property=" + PROPERTIES, "--", unit], check_rc=True)[1]
    found = dict(line.partition("=")[::2] for line in shown.splitlines())
    differs = before != after
    if differs and not module.check_mode:
        os.umask(0o022)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, delete=False, encoding="utf-8") as file:
            file.write(after)
        module.atomic_move(file.name, path)
        os.chmod(path, 0o644)
    # A run that was killed may have written the file alone.
    changed = differs or found.get("NeedDaemonReload") == "yes"
    if changed and not module.check_mode:
        module.run_command([systemctl, "daemon-reload"], check_rc=True)
    pending = is_pending(found, path, differs, time.time() - time.monotonic())
    if differs and pending and not module.params["restarted"]:
        module.warn(
            f"The confinement of {unit} on {platform.node()} takes effect at its next start, such as the next boot or upgrade of its package. "
            f"This run does not restart it: that would interrupt its clients."
        )
    module.exit_json(
        changed=changed,
        path=path,
        pending=pending,
        diff={"before": before, "after": after, "before_header": path, "after_header": path},
    )


if __name__ == "__main__":
    main()
