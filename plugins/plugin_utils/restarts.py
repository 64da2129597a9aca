# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which settings PostgreSQL restarts for, and whose clients wait then. Pure functions."""

from __future__ import annotations

import re
import typing as t

#: Factors to a common unit: bytes, and milliseconds.
UNITS: dict[str, float] = {
    **{"B": 1, "kB": 2**10, "8kB": 2**13, "16kB": 2**14, "MB": 2**20, "16MB": 2**24, "GB": 2**30, "TB": 2**40},
    **{"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000},
}
WORDS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}
#: The role's file, and those of the role handover, which go before the server restarts.
OURS, LEFT = "ntier.conf", ("ntier_standby.conf", "ntier_handover.conf")
#: The variables that decide.
VARIABLES = (
    *("database_listen_addresses", "database_port", "database_shared_buffers_mb", "database_max_connections"),
    "database_settings",
)


def measure(text: str, unit: str) -> float | str:
    """Return a value so that it can be compared: a number in the common unit, or a text.

    :arg unit: the setting's own, in which a plain number counts.
    """
    found = re.fullmatch(r"(-?[0-9.]+)\s*([A-Za-z]*)", text.strip())
    if not found or not re.fullmatch(r"-?\d+(\.\d+)?", found[1]) or (found[2] and found[2] not in UNITS):
        return text.strip().lower()
    return float(found[1]) * UNITS.get(found[2] or unit, 1)


def same(running: str, wanted: str, unit: str) -> bool:
    """Tell whether two values of a setting are the same. C(running) is in its own unit."""
    if running in ("on", "off"):
        return WORDS.get(wanted.strip().lower()) is WORDS[running]
    return measure(running, unit) == measure(wanted, unit)


def wanted(size: t.Mapping[str, t.Any], own: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Return the settings that the role database writes and that may need a restart, name → value.

    :arg size: the database's share of the host, C(sizing.size_host)["database"].
    :arg own: the variables of the host.
    """
    buffers = own.get("database_shared_buffers_mb", size.get("shared_buffers_mb", 128))
    result = {
        "listen_addresses": ",".join(own.get("database_listen_addresses", ["*"])),
        "port": own.get("database_port", 5432),
        "shared_buffers": f"{buffers}MB",
        "max_connections": own.get("database_max_connections", size.get("max_connections", 100)),
        "wal_level": "replica",
        "max_wal_senders": 10,
        "max_replication_slots": 10,
        **(own.get("database_settings") or {}),
    }
    return {str(name): str(value) for name, value in result.items()}


def overrides(file: str) -> bool:
    """Tell whether a file of the configuration comes later than the role's own, so that what it says holds. C(file), without its folder."""
    return file == "postgresql.auto.conf" or (file not in (*LEFT, "postgresql.conf") and file > OURS)


def changes(found: t.Mapping[str, t.Mapping[str, str]], new: t.Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return what a server has to restart for: name, running value and new one, as a person reads them.

    :arg found: the server's settings, C(databases.settings_of).
    :arg new: the value of L(wanted).
    """
    result = []
    for name, setting in found.items():
        value: str | None
        if name in new and not overrides(setting["file"]):
            value = new[name]
        elif setting["file"] in LEFT:
            value = setting["default"]
        else:
            value = setting["pending"] or None
        if value is not None and not same(setting["value"], value, setting["unit"]):
            result.append((name, setting["shown"], value + _unit(value, setting["unit"])))
    return result


def _unit(value: str, unit: str) -> str:
    """Return the unit that a plain number counts in, where it can be said beside it."""
    return unit if unit in ("MB", "kB", "ms", "s", "min") and re.fullmatch(r"-?\d+", value) else ""


def poolers(
    topology: t.Mapping[str, t.Any],
    leaving: t.Mapping[str, t.Sequence[str]],
    packages: t.Mapping[str, t.Container[str]],
) -> list[str]:
    """Return the hosts whose PgBouncer has, or may have, clients of the database: web hosts, and those that serve sites until the end of the run.

    :arg packages: host → its packages, of the hosts that were asked. Who was not asked, because of C(--limit), may have clients.
    """
    hosts = [*topology["tiers"]["web"]["hosts"], *(host for host, tiers in leaving.items() if "web" in tiers)]
    return [host for host in dict.fromkeys(hosts) if host not in packages or "pgbouncer" in packages[host]]
