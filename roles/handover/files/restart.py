# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restart a PostgreSQL server while its clients wait in every PgBouncer.

1. Before anybody waits, the server is asked what it has to restart for, the new settings are tried on an empty folder, every PgBouncer has to answer,
   and long transactions are waited for.
2. Clients wait, the server restarts, clients go on. Each PgBouncer lets them go on by itself when nobody says so in time.
3. A server that does not start gets the settings back with which it ran. They are written into the file that has the new ones, so that it starts after a
   power failure, too; the role database writes the new ones again in its next run.

C(ntier-handover restart) reads a plan and starts C(ntier-handover restart now) as a service of its own, which does not end with the connection of whoever
has started it, and begins again when it is killed.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import handover
from handover import ATTEMPTS, Clients, Fault, systemctl

#: What the service reads, and what only root may.
FOLDER = pathlib.Path("/etc/ntier-handover/restart")
#: How far it is: the settings with which the server ran, as long as it has not started with the new ones. And what came of it.
STATE = "/var/lib/ntier-handover/restart.json"
REPORT = "/var/lib/ntier-handover/restart-report.json"
UNIT = "ntier-handover-restart.service"
PROGRAM = "/usr/local/sbin/ntier-handover"
#: Bounds that differ from those of a handover. PgBouncer turns a client away that has waited for 60 seconds (query_wait_timeout).
BOUNDS = {"dead_man": 50, "start": 40}
#: The end of a drop-in's name with which the server did not start.
REFUSED = ".refused"

#: What the server has to restart for. A setting that was removed from the files is marked as pending even where its default is the value that runs.
PENDING = """
SELECT s.name, s.setting AS value, coalesce(s.unit, '') AS unit, s.vartype AS kind, current_setting(s.name) AS running,
  coalesce(f.setting, s.boot_val || coalesce(s.unit, '')) AS configured, coalesce(f.sourcefile, '') AS file
FROM pg_settings s LEFT JOIN LATERAL (SELECT setting, sourcefile FROM pg_file_settings WHERE name = s.name ORDER BY seqno DESC LIMIT 1) f ON true
WHERE s.pending_restart AND (f.sourcefile IS NOT NULL OR s.setting IS DISTINCT FROM s.boot_val) ORDER BY s.name"""


def value_of(setting):
    """Return the value with which the server runs.

    :arg setting: a row of C(PENDING).
    """
    # A number counts in the setting's own unit; as a person reads it, it would be rounded.
    return setting["value"] if setting["kind"] in ("integer", "real", "bool") else setting["running"]


def again(setting):
    """Return the line that gives a setting the value with which the server runs. C(setting), see L(value_of)."""
    return f"{setting['name']} = " + handover.quoted(value_of(setting).replace("\\", "\\\\"))


def newer(files, moment):
    """Return the files and folders that were written after a moment, and the files in these folders. A folder says that a file has gone out of it.

    :arg moment: seconds since the epoch.
    """
    found = []
    for path in [name for pattern in files for name in glob.glob(pattern)]:
        inside = [entry.path for entry in os.scandir(path)] if os.path.isdir(path) else []
        late = [name for name in inside if not name.endswith(REFUSED) and os.stat(name).st_mtime > moment]
        found += late or ([path] if os.stat(path).st_mtime > moment else [])
    return sorted(found)


def reason_in(text):
    """Return why a server has not started, from what it has printed; empty when it does not say."""
    found = re.findall(r"(?:FATAL|PANIC):\s*(.+)", text)
    return found[-1].strip() if found else ""


class Restart(Clients):
    """One restart.

    :arg plan: see L(handover.Clients); C(unit_files), files and folders that take effect when the server starts, such as drop-ins of its unit.
    """

    undone = "PostgreSQL has not been restarted"

    def __init__(self, plan, say):
        super().__init__({**plan, "bounds": {**BOUNDS, **plan.get("bounds", {})}}, say)
        self.configuration = os.path.dirname(plan["server"]["start"])

    def go(self):
        """Do it, and return the report. Whatever happens, no client is left waiting."""
        try:
            os.makedirs(os.path.dirname(STATE), mode=0o700, exist_ok=True)
            try:
                return self.proceed()
            except BaseException:  # systemd's signal to end is none of the others
                with contextlib.suppress(Fault, OSError):
                    self.release()
                raise
        except (Fault, OSError) as fault:
            return self.report("refused", str(fault))

    def proceed(self):
        """Restart the server, unless there is nothing to restart it for."""
        server, bounds = self.server, self.bounds
        left = handover.read(STATE)
        what = server.what(bounds["start"])
        self.poolers = [link for link in self.poolers if self.has_clients(link)]
        # One that was killed has left them waiting.
        self.release()
        if left and what != "primary":
            return self.put_back(left, "it did not start")
        if what != "primary":
            raise Fault(f"host {self.plan['from']}: PostgreSQL is no running primary, but {what}. Look at its log")
        due = self.due()
        if not due["settings"] and not due["files"]:
            self.forget()
            # Where the last one was killed, it has been done meanwhile.
            return self.report("done" if left else "nothing", **(left or due))
        self.say("restart for " + ", ".join([*(setting["name"] for setting in due["settings"]), *due["files"]]))
        systemctl("daemon-reload")
        refusal = self.tried(due["settings"])
        if refusal:
            self.write_back(due["settings"])
            server.ask("SELECT pg_reload_conf()")
            return self.report("refused", f"PostgreSQL does not start with the new settings: {refusal}", **due)
        self.short(bounds["transactions"])
        for _round in range(2):
            server.ask("CHECKPOINT", bounds["checkpoint"])
        self.short(bounds["transactions"])
        self.wait_for_clients()
        handover.write(STATE, json.dumps(due))
        try:
            began = time.time()
            what = self.renewed()
        except Fault as fault:
            what, reason = "", str(fault)
        else:
            reason = self.logged(began) if what != "primary" else ""
        if what != "primary":
            return self.put_back(due, reason or f"it is {what}")
        self.release()
        self.forget()
        return self.report("done", **due)

    def has_clients(self, link):
        """Return whether a host has a PgBouncer; each has to answer."""
        return link.ask("there", self.bounds["connect"])["there"]

    def due(self):
        """Return what the server has to restart for: C(settings), rows of C(PENDING), and C(files)."""
        started = float(self.server.value("SELECT extract(epoch FROM pg_postmaster_start_time())"))
        return {"settings": self.server.ask(PENDING), "files": newer(self.plan.get("unit_files", []), started)}

    def tried(self, settings):
        """Return why a server would not start with the configuration as it is; empty when it would, or when that can't be tried.

        :arg settings: rows of C(PENDING). With the values that run, the trial has to succeed.
        """
        refusal = self.trial([])
        if not refusal:
            return ""
        running = [word for setting in settings for word in ("-c", f"{setting['name']}={value_of(setting)}")]
        failure = self.trial(running)
        if failure:
            self.say(f"the new settings can't be tried beforehand: {failure}")
        return "" if failure else refusal

    def trial(self, options):
        """Return why a server does not start on an empty folder with the configuration and some options; empty when it does."""
        binary = f"{self.plan['server']['binaries']}/postgres"
        owner = pwd.getpwuid(os.stat(self.server.data).st_uid)
        major = int(re.search(r"\d+", (self.server.data / "PG_VERSION").read_text(encoding="utf-8"))[0])
        with tempfile.TemporaryDirectory(prefix="ntier-restart-") as folder:
            made = [folder]
            for entry in os.scandir(self.server.data):
                if entry.is_dir():
                    made.append(os.path.join(folder, entry.name))
                    os.mkdir(made[-1], 0o700)
            for name in ("PG_VERSION", "postgresql.auto.conf"):
                with contextlib.suppress(FileNotFoundError):
                    made.append(shutil.copy(self.server.data / name, folder))
            for path in made:
                os.chown(path, owner.pw_uid, owner.pw_gid)
            # What initdb does to find out how much memory there is.
            command = [binary, *(["--check"] if major >= 15 else ["--boot", "-x0"]), "-F", "-D", folder]
            command += ["-c", f"data_directory={folder}", f"--config-file={self.configuration}/postgresql.conf"]
            command += ["-c", "log_destination=stderr", "-c", "logging_collector=off", "-c", "external_pid_file="]
            try:
                done = subprocess.run(
                    [*command, *options],
                    capture_output=True,
                    text=True,
                    check=False,
                    cwd="/",
                    env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
                    user=owner.pw_uid,
                    group=owner.pw_gid,
                    extra_groups=[],
                    timeout=self.bounds["start"],
                    stdin=subprocess.DEVNULL,
                )
            except subprocess.TimeoutExpired:
                return ""
        return (reason_in(done.stderr) or done.stderr.strip()) if done.returncode else ""

    def wait_for_clients(self):
        """Make clients wait; those who are busy go on, and it is tried again."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.hold()
                return
            except Fault:
                self.release()
                if attempt == ATTEMPTS:
                    raise
                self.rest(attempt)

    def renewed(self):
        """Restart the server, and return what it is as soon as it answers, in the words of L(handover.decide)."""
        server, bound = self.server, self.bounds["start"]
        end, before = time.monotonic() + bound, server.process()
        # Systemd ends what it has begun, whatever becomes of this program. Clients need not wait until it says so.
        command = subprocess.Popen(["systemctl", "restart", server.place["unit"]], stdin=subprocess.DEVNULL)
        while True:
            ended = command.poll() is not None
            if server.process() not in (None, before):
                with contextlib.suppress(OSError, Fault):
                    if server.value("SELECT pg_is_in_recovery()") == "f":
                        return "primary"
            if ended:
                return server.what(max(end - time.monotonic(), 1))
            if time.monotonic() > end:
                raise Fault(f"systemctl restart {server.place['unit']}: not done within {bound} seconds")
            time.sleep(0.02)

    def write_back(self, settings):
        """Give settings the values with which the server ran, each in the file that names it last."""
        files = {}
        for setting in settings:
            files.setdefault(setting["file"] or f"{self.configuration}/conf.d/ntier.conf", []).append(again(setting))
        for path, lines in files.items():
            text = pathlib.Path(path).read_text(encoding="utf-8")
            text += "# PostgreSQL does not start with what stands above; it goes on with these.\n"
            handover.write(path, text + "".join(f"{line}\n" for line in lines), like=path)

    def put_back(self, due, reason):
        """Start the server as it ran before, let clients go on, and report why."""
        self.say(f"PostgreSQL has not started: {reason}")
        self.write_back(due["settings"])
        refused = [path for path in due["files"] if os.path.isfile(path)]
        for path in refused:
            os.replace(path, path + REFUSED)
        if refused:
            reason += f". It runs without {', '.join(refused)} now, kept with the ending .refused"
        systemctl("daemon-reload")
        try:
            self.server.start(self.bounds["start"])
        finally:
            self.release()
        self.forget()
        return self.report("given back", f"PostgreSQL does not start with the new settings: {reason}", **due)

    def logged(self, since):
        """Return why the server did not start, from its log.

        :arg since: seconds since the epoch.
        """
        data = self.server.data
        path = f"/var/log/postgresql/postgresql-{data.parent.name}-{data.name}.log"
        with contextlib.suppress(OSError):
            if os.stat(path).st_mtime >= since:
                with open(path, "rb") as file:
                    file.seek(max(0, os.stat(path).st_size - 8192))
                    return reason_in(file.read().decode(errors="replace"))
        return ""

    def forget(self):
        """Note that nothing is under way."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(STATE)

    def report(self, outcome, reason="", settings=(), files=()):
        """Return what happened."""
        changes = [f"{found['name']} {found['running']} → {found['configured']}" for found in settings]
        return {
            "outcome": outcome,
            "reason": reason,
            "for": [*changes, *files],
            "waited_ms": max(self.waited.values(), default=0),
        }


def now(say):
    """Restart the server as the plan in the folder says, and keep the report."""

    def end(_signal, _frame):
        # Whoever stops the service has clients go on.
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, end)
    try:
        report = Restart(json.loads((FOLDER / "plan.json").read_text(encoding="utf-8")), say).go()
    except (Fault, OSError) as fault:
        report = {"outcome": "refused", "reason": str(fault), "for": [], "waited_ms": 0}
    handover.write(REPORT, json.dumps(report))
    return 0


def active():
    """Return whether the service runs, or is about to run again."""
    command = ["systemctl", "show", "--property=ActiveState", "--value", UNIT]
    state = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return state not in ("inactive", "failed")


def begin(config, say):
    """Have the service restart the server, wait for its end, and print its report.

    :arg config: a plan, see L(Restart), with C(token) and C(authority) as text.
    """
    end = time.monotonic() + 900
    while active():
        # Of a run whose connection has ended.
        if time.monotonic() > end:
            say(f"{UNIT} runs since more than 15 minutes. Look at journalctl -u {UNIT}")
            return 1
        time.sleep(0.5)
    os.makedirs(os.path.dirname(STATE), mode=0o700, exist_ok=True)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    for name in ("token", "authority"):
        handover.write(str(FOLDER / name), config[name] + "\n")
        config[name] = str(FOLDER / name)
    handover.write(str(FOLDER / "plan.json"), json.dumps(config))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(REPORT)
    try:
        command = ["systemd-run", "--quiet", "--collect", "--wait", f"--unit={UNIT}"]
        for setting in ("Restart=on-abnormal", "RestartSec=100ms", "StartLimitIntervalSec=0"):
            command.append(f"--property={setting}")
        subprocess.run([*command, PROGRAM, "restart", "now"], check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        while active():
            time.sleep(0.1)
        report = handover.read(REPORT)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    if not report:
        say(f"the restart has not reported anything. Look at journalctl -u {UNIT}")
        return 1
    print(json.dumps(report))
    return 0
