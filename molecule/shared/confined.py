"""How confined the daemons of a host are, for the tests of every scenario."""

from __future__ import annotations

import re

import testinfra

#: Daemon that others talk to → how exposed systemd may rate it at the most; 10 is a service without any protection.
EXPOSURE = {
    "nginx.service": 4.5,
    "lighttpd.service": 4.5,
    "apache2.service": 4.5,
    "haproxy.service": 4.5,
    "ntier-relay.service": 4.5,
    "pgbouncer.service": 4.5,
    "memcached.service": 4.5,
    # With the version of each system.
    **{f"postgresql@{version}-main.service": 5.5 for version in range(14, 19)},
}


def confined(host: testinfra.host.Host) -> set[str]:
    """Return which daemons of EXPOSURE a host runs, once each of them is as confined as it shall be."""
    running = {
        line.split()[0]
        for line in host.check_output(
            "systemctl list-units --type=service --state=running --plain --no-legend"
        ).splitlines()
    } & set(EXPOSURE)
    for unit in running:
        table = host.check_output("systemd-analyze security --no-pager %s", unit)
        rated = float(table.strip().splitlines()[-1].split(":")[1].split()[0])
        assert rated <= EXPOSURE[unit], table
        # That is what the files say. This is what the process has got.
        process = host.check_output("systemctl show --property=MainPID --value %s", unit)
        status = host.file(f"/proc/{process}/status").content_string
        assert re.search(r"^NoNewPrivs:\s+1$", status, flags=re.MULTILINE), f"{unit} was started without its drop-in"
    journal = host.check_output(
        "journalctl --boot --no-pager --grep='Failed to set up mount namespacing' --lines=5 || true"
    )
    assert "Failed to set up" not in journal, journal
    return running
