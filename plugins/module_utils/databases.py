# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL's data as it lies on a host, and what a running server reports. Nothing here changes a host."""

from __future__ import annotations

import json
import os
import pwd
import re
import stat

#: pg_controldata's words for what a server is.
WORDS = {
    "in production": "primary",
    "shutting down": "primary",
    "in archive recovery": "standby",
    "shut down in recovery": "standby",
    "shut down": "stopped",
}


def what_of(control, fenced):
    """Return C(primary), C(standby), C(stopped) or C(crashed), and the system identifier.

    :arg control: what pg_controldata prints in English.
    :arg fenced: whether the data may not be that of a primary again.
    """
    lines = dict(re.findall(r"^([^:\n]+):\s*(.*)$", control, flags=re.MULTILINE))
    what = WORDS.get(lines.get("Database cluster state", ""), "crashed")
    return "standby" if fenced and what == "primary" else what, lines.get("Database system identifier", "")


def size_of(folder):
    """Return the bytes of the files below a folder; a file that vanishes meanwhile has none."""
    size = 0
    for place, _folders, files in os.walk(folder):
        for name in files:
            try:
                found = os.lstat(os.path.join(place, name))
            except OSError:
                continue
            size += found.st_size if stat.S_ISREG(found.st_mode) else 0
    return size


def own_databases(data):
    """Return how many databases there are beside the three that every server has."""
    base = os.path.join(data, "base")
    names = os.listdir(base) if os.path.isdir(base) else []
    return max(0, sum(name.isdigit() for name in names) - 3)


def ours(path, configuration="/etc/postgresql"):
    """Return whether the role database has configured a server.

    :arg path: C(PG_VERSION) in the folder of its data.
    """
    return os.path.exists(os.path.join(configuration, path.split(os.sep)[-3], "main", "conf.d", "ntier.conf"))


def followed(data):
    """Return the system identifier of the server whose rows this one follows; empty when it follows none, or has been promoted since.

    :arg data: folder of the data. The role handover writes it down there.
    """
    try:
        with open(os.path.join(data, "ntier-follows"), encoding="utf-8") as file:
            found = json.load(file)
        return "" if found.get("promoted") else found["system"]
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unreadable"


def standby(data):
    """Return whether a data directory is that of a standby, or of a copy that another server's rows still go to.

    :arg data: folder of the data.
    """
    signals = ("standby.signal", "recovery.signal")
    return any(os.path.exists(os.path.join(data, name)) for name in signals) or bool(followed(data))


#: Between two fields of a row as psql prints it.
SEPARATOR = "\x1f"
#: The settings that wait for a restart: running value, configured value, file; and when the server has loaded its configuration, in the first row.
#: A setting that was removed from the files is marked as pending even where its default is the value that runs.
PENDING = """
SELECT '', extract(epoch FROM pg_conf_load_time())::text, '', '' UNION ALL (
SELECT s.name, current_setting(s.name), coalesce(f.setting, s.boot_val || coalesce(nullif(s.unit, ''), '')), coalesce(f.sourcefile, '')
FROM pg_settings s LEFT JOIN LATERAL (SELECT setting, sourcefile FROM pg_file_settings WHERE name = s.name ORDER BY seqno DESC LIMIT 1) f ON true
WHERE s.pending_restart AND (f.sourcefile IS NOT NULL OR s.setting IS DISTINCT FROM s.boot_val) ORDER BY s.name)"""
#: What is wrong in the configuration, so that the server did not load it: file, line, error. A setting that waits for a restart is not wrong.
ERRORS = """
SELECT coalesce(sourcefile, ''), coalesce(sourceline, 0), error FROM pg_file_settings
WHERE error IS NOT NULL AND error <> 'setting could not be applied' ORDER BY seqno"""


#: The settings that need a restart: name, as a person reads it, value, its unit, file, and what comes once that file is gone or the server restarts.
SETTINGS = """
SELECT s.name, current_setting(s.name), s.setting, coalesce(s.unit, ''), coalesce(s.sourcefile, ''), coalesce(s.boot_val, ''),
  CASE WHEN s.pending_restart AND (f.sourcefile IS NOT NULL OR s.setting IS DISTINCT FROM s.boot_val) THEN coalesce(f.setting, s.boot_val) ELSE '' END
FROM pg_settings s LEFT JOIN LATERAL (SELECT setting, sourcefile FROM pg_file_settings WHERE name = s.name ORDER BY seqno DESC LIMIT 1) f ON true
WHERE s.context = 'postmaster' ORDER BY s.name"""


def settings_of(run, data):
    """Return the settings that need a restart, as the running server has them; nothing when it does not answer.

    :return: name → C(shown), C(value), C(unit), C(file) (without its folder), C(default), and C(pending), what comes with the next restart, where one is due.
    """
    keys = ("shown", "value", "unit", "file", "default", "pending")
    found = {name: dict(zip(keys, values)) for name, *values in ask(run, data, SETTINGS) or []}  # noqa: B905 - Python 3.9
    for setting in found.values():
        setting["file"] = os.path.basename(setting["file"])
    return found


def ask(run, data, query):
    """Return the rows of a query, lists of texts; None when the server does not answer within some seconds.

    :arg run: C(AnsibleModule.run_command).
    :arg data: folder of the data; the running server notes its port and the folder of its socket there.
    """
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            _process, _data, _start, port, folder = [file.readline().strip() for _line in range(5)]
        owner = pwd.getpwuid(os.stat(data).st_uid).pw_name
    except (OSError, KeyError):
        return None
    command = ["timeout", "10", "runuser", "-u", owner, "--", "psql", "-XAtqw", "-F", SEPARATOR, "-d", "postgres"]
    environment = {"PGCONNECT_TIMEOUT": "5", "LC_ALL": "C.UTF-8"}
    status, output, _error = run([*command, "-h", folder, "-p", port, "-c", query], environ_update=environment, cwd="/")
    return [line.split(SEPARATOR) for line in output.splitlines()] if status == 0 else None


def first(paths, configuration="/etc/postgresql"):
    """Return the server that counts where there are several versions, none or one: one of ours before others, and the newest of these.

    :arg paths: C(PG_VERSION) in the folders of their data.
    """
    return sorted(paths, key=lambda path: (ours(path, configuration), int(path.split(os.sep)[-3])))[-1:]


def running(data):
    """Return whether a server runs on a data directory; one that was killed has left its file there."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
            number = int(file.readline())
        with open(f"/proc/{number}/comm", encoding="utf-8") as file:
            return file.read().strip() in ("postgres", "postmaster")
    except (OSError, ValueError):
        return False


def disk_of(folder):
    """Return the number of the file system where a folder is or would be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return os.stat(folder).st_dev


def free_in(folder):
    """Return the free bytes of the file system where a folder is or would be."""
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def handover_of(path):
    """Return C(id) and C(step) of the handover that began here last; nothing when there was none."""
    try:
        with open(path, encoding="utf-8") as file:
            state = json.load(file)
        return {"id": state["id"], "step": state["step"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        return {"id": "", "step": "unreadable"}
