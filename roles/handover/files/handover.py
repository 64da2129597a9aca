# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand a PostgreSQL server's data over to its standby while clients wait a moment, and point every PgBouncer there.

C(ntier-handover agent) runs on each host that takes part, and does there what is asked of it over TLS. C(ntier-handover run) runs
on the server that hands over, and asks; so does C(ntier-handover restart), see restart.py. Every connection is open before clients are
made to wait, and every step has a bound. Up to the promotion a step that fails leads back to the old server; from then on there is only
forward. The step is written down before it is taken, so a run that was killed is gone on with by the next one: see L(decide).

Needs nothing but Python: the databases and the consoles of PgBouncer are asked through their sockets on the host itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hmac
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

STATE = "/var/lib/ntier-handover/state.json"
REPORT = "/var/lib/ntier-handover/report.json"
PLAN = "/etc/ntier-handover/plan.json"
AGENT = "/etc/ntier-handover/agent.json"
#: Settings of a standby, in the folder of the server's configuration.
STANDBY_SETTINGS = "conf.d/ntier_standby.conf"
#: Whoever changes what a server consists of has this file to himself: a run that was killed may still be at it, or somebody else's.
LOCK = "/run/ntier-handover.lock"
#: Seconds between two looks at something that takes milliseconds.
LOOK = 0.002
#: Seconds before an agent that has refused is asked again: at first, and at the most, after twice as long each time.
AGAIN, AGAIN_MOST = 0.05, 2
#: The bounds of the steps, in seconds; a plan may have others.
BOUNDS = {
    "connect": 10,  # until every agent has answered
    "reconnect": 30,  # the same, once the standby is the new primary
    "catch_up": 60,  # until the standby streams, and lacks little
    "transaction": 1,  # the age from which a transaction is waited for before anybody is paused
    "transactions": 60,  # how long
    "checkpoint": 600,
    "pause": 1,  # until no client is in a transaction
    "stop": 5,
    "replay": 5,
    "promote": 30,
    "switch": 5,
    "dead_man": 20,  # until an agent lets its clients go on by itself
    "start": 60,
    "retry": 2,  # between the first two attempts; twice as long after each
}
#: What is slow for some seconds, a disk for instance, is outlived: 2, 4, 8 and 16 seconds lie between them. An attempt that fails makes clients wait for
#: the bounds of its steps at the most.
ATTEMPTS = 5
#: Bytes that the standby may lack when clients are paused: some milliseconds of a network's time.
LAG = 4 << 20


class Fault(Exception):
    """Something is not as it has to be; the message says what, where, and what to do.

    :arg answers: of those who did what they were asked for, where others did not.
    """

    def __init__(self, message, answers=None):
        super().__init__(message)
        self.answers = answers or {}


# --- what is decided: pure functions ------------------------------------------------------------------------------


def decide(step, old, new):
    """Return what a run has to do, from the step that is written down and from what the servers say.

    :arg step: the last one that was written down: C(""), C(pausing), C(fenced), C(promoting), C(promoted) or C(done).
    :arg old: the old server: C(primary), C(standby), C(stopped) (in order), C(crashed) or C(gone) (no data there).
    :arg new: the new one: C(standby), C(primary), or C(unknown) where nobody answers for it.
    :return: C(begin), C(back) (to the old server), C(forward) (wait for the last row, and promote), C(finish) (switch the
        clients over), C(nothing), or a sentence that says why nothing can be done.
    """
    if step == "done":
        # A server that has handed over has no data, so this one has become a primary since then.
        step = "" if old == "primary" else step
    if step == "done":
        return "nothing"
    if old == new == "primary":
        return (
            "both the old and the new server are primaries, and each may hold rows that the other lacks. Stop the one that the sites do not use,"
            " compare the two, and remove the standby's data there"
        )
    if step == "promoted":
        return "finish"
    if step == "promoting":
        # The promotion may have happened: whoever starts the old server now may have two.
        if old == "primary":
            return (
                "the new server was being promoted, and the old one is a primary again, which may have taken rows since. Stop the old one if no site uses"
                " it, or remove the data of the new one, and start anew"
            )
        if new == "unknown":
            return "the new server was being promoted and does not answer now. Bring it back, and run this again; the old one must stay stopped"
        return "finish" if new == "primary" else "forward"
    if new == "primary":
        return "the new server is a primary, and not by this handover. Remove its data there if nothing in it is needed"
    if step in ("", "pausing"):
        if old == "primary":
            return "begin"
        if step == "pausing" and old in ("stopped", "crashed"):
            return "back"
        return {
            "standby": "the old server is no primary, it follows another",
            "gone": "the old server has no data",
        }.get(old, "the old server does not run. Start it")
    if old == "gone":
        return (
            "the old server has no data, and the new one has not taken over. Put the data directory back where it was"
        )
    if old == "stopped" and new == "standby":
        return "forward"
    return "begin" if old == "primary" else "back"


def control_of(text):
    """Return C(state), C(checkpoint) (its LSN), C(system) and C(timeline) of what pg_controldata prints."""
    lines = dict(re.findall(r"^([^:\n]+):\s*(.*)$", text, flags=re.MULTILINE))
    return {
        "state": lines["Database cluster state"],
        "checkpoint": lines["Latest checkpoint location"],
        "system": lines["Database system identifier"],
        "timeline": int(lines["Latest checkpoint's TimeLineID"]),
    }


def state_of(control):
    """Return what a server that does not run was when it ended, in the words of L(decide)."""
    return {"shut down": "stopped", "shut down in recovery": "standby"}.get(control["state"], "crashed")


def sections_of(text):
    """Return section → key → value of a configuration of PgBouncer."""
    sections, current = {}, {}
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            current = sections.setdefault(line.strip("[] "), {})
        elif line and line[0] not in ";#" and "=" in line:
            key, _equals, value = line.partition("=")
            current[key.strip()] = value.strip()
    return sections


def targets_of(text):
    """Return database → address and port that a configuration of PgBouncer leads to."""
    result = {}
    for name, value in sections_of(text).get("databases", {}).items():
        words = dict(word.partition("=")[::2] for word in value.split())
        result[name] = (words["host"], int(words.get("port", 5432)))
    return result


def shown(transaction):
    """Return a transaction as a person looks for it."""
    who = f"{transaction['usename']} in {transaction['datname']}"
    name = f", {transaction['application_name']}" if transaction["application_name"] else ""
    return f"process {transaction['pid']} ({who}{name}), {transaction['state']} for {transaction['age']} s: {transaction['query']}"


# --- PostgreSQL's protocol ----------------------------------------------------------------------------------------


def startup(user, database):
    """Return the first message of a client."""
    body = struct.pack("!I", 196608) + f"user\0{user}\0database\0{database}\0\0".encode()
    return struct.pack("!I", len(body) + 4) + body


def fields_of(body):
    """Return kind → text of an error message."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


class Channel:
    """Messages of PostgreSQL's protocol over a socket."""

    def __init__(self, connection):
        self.connection = connection
        self.rest = b""

    def take(self, size):
        """Return so many bytes of what the server sends."""
        while len(self.rest) < size:
            more = self.connection.recv(65536)
            if not more:
                raise ConnectionError("the server has closed the connection")
            self.rest += more
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def message(self):
        """Return kind and content of the next message."""
        kind, size = struct.unpack("!cI", self.take(5))
        return kind, self.take(size - 4)


#: A program of its own that connects sockets as their owner. Another thread of this one, which may be writing root's files just then, never runs as
#: somebody else. It gets a user's number and a path, and returns 0 with the connected socket, or the number of the error; it ends with this program.
CONNECT = """
import os, socket, sys
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    owner, _space, path = asked.recv(4096).decode().partition(" ")
    if not owner:
        break
    found, status = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), 0
    found.settimeout(5)
    os.seteuid(int(owner))
    try:
        found.connect(path)
    except OSError as error:
        status = error.errno or 110
    finally:
        os.seteuid(0)
    socket.send_fds(asked, [str(status).encode()], [] if status else [found.fileno()])
    found.close()
"""


class Connector:
    """Connects to sockets as the user who owns them, whom the server behind them trusts."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asking = self.process = None

    def start(self):
        """Start the program that connects."""
        self.asking, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asking.settimeout(10)
        with other:
            command = [sys.executable, "-I", "-S", "-c", CONNECT, str(other.fileno())]
            self.process = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)

    def end(self):
        """End it."""
        if self.asking:
            self.asking.close()
            self.process.kill()
            self.process.wait()
        self.asking = self.process = None

    def ask(self, owner, path):
        """Return 0 and the handle of a connected socket, or the number of an error; an OSError or an EOFError says that the program does not answer."""
        if self.asking is None:
            self.start()
        self.asking.sendall(f"{owner} {path}".encode())
        status, handles, _flags, _address = socket.recv_fds(self.asking, 16, 1)
        if not status:
            raise EOFError
        return int(status), handles

    def connect(self, path, seconds):
        """Return a socket that is connected to a path."""
        owner = os.stat(path).st_uid
        if owner == os.geteuid():
            found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            found.settimeout(seconds)
            found.connect(path)
            return found
        with self.lock:
            for last in (False, True):
                try:
                    status, handles = self.ask(owner, path)
                    break
                except (OSError, EOFError) as error:
                    # It was killed, or hangs; a new one is started once.
                    self.end()
                    if last:
                        raise ConnectionError(f"nobody can connect to {path} as its owner") from error
        if status:
            raise OSError(status, os.strerror(status), path)
        found = socket.socket(fileno=handles[0])
        found.settimeout(seconds)
        return found


class Session(Channel):
    """A connection through a server's own socket, as the user whom it trusts there."""

    connector = Connector()

    def __init__(self, path, user, database, seconds=5):
        owner = os.stat(path).st_uid
        super().__init__(self.connector.connect(path, seconds))
        self.connection.sendall(startup(user or pwd.getpwuid(owner).pw_name, database))
        self.answer()

    def send(self, statement):
        """Send a statement; L(answer) returns what it brings."""
        body = statement.encode() + b"\0"
        self.connection.sendall(b"Q" + struct.pack("!I", len(body) + 4) + body)

    def answer(self, seconds=None):
        """Return the rows of what was sent, as name → text; a refusal of the server is a Fault."""
        if seconds is not None:
            self.connection.settimeout(max(seconds, 0.001))
        names, rows, refusal = [], [], None
        while True:
            kind, body = self.message()
            if kind == b"R" and struct.unpack("!I", body[:4])[0]:
                raise Fault("the server asks for a password at its own socket, where it is to trust the system's users")
            if kind == b"T":
                names, at = [], 2
                for _column in range(struct.unpack("!H", body[:2])[0]):
                    end = body.index(b"\0", at)
                    names.append(body[at:end].decode())
                    at = end + 19
            elif kind == b"D":
                rows.append(dict(zip(names, self.values(body))))  # noqa: B905 - Python 3.9
            elif kind == b"E":
                fields = fields_of(body)
                refusal = fields.get("M", "no reason given")
                if fields.get("S") == "FATAL":
                    raise ConnectionError(refusal)
            elif kind == b"Z":
                if refusal:
                    raise Fault(refusal)
                return rows

    @staticmethod
    def values(body):
        """Return the values of a row as text."""
        at, result = 2, []
        for _column in range(struct.unpack("!H", body[:2])[0]):
            (size,) = struct.unpack("!i", body[at : at + 4])
            at += 4
            result.append(None if size < 0 else body[at : at + size].decode(errors="replace"))
            at += max(size, 0)
        return result

    def ask(self, statement, seconds=5):
        """Return the rows of a statement."""
        self.send(statement)
        return self.answer(seconds)

    def value(self, statement, seconds=5):
        """Return the one value of a statement."""
        (row,) = self.ask(statement, seconds)
        (value,) = row.values()
        return value

    def close(self):
        """End the connection."""
        self.connection.close()


def knock(address, port, database, user, authority, seconds=3):
    """Raise a Fault unless a server lets a user knock from here: it is reached, certified where it shall be, and asks who is there."""
    where = f"the server at {address}, port {port},"
    try:
        with socket.create_connection((address, port), timeout=seconds) as plain:
            connection = plain
            if authority:
                plain.sendall(struct.pack("!II", 8, 80877103))
                if plain.recv(1) != b"S":
                    raise Fault(f"{where} has no TLS")
                context = ssl.create_default_context(cafile=authority)
                connection = context.wrap_socket(plain, server_hostname=address)
            connection.sendall(startup(user, database))
            kind, body = Channel(connection).message()
    except (OSError, ValueError) as error:
        raise Fault(f"{where} can't be reached: {error}") from error
    if kind != b"R":
        raise Fault(f"{where} turns away {user} in {database}: {fields_of(body).get('M', 'no reason given')}")


# --- files --------------------------------------------------------------------------------------------------------


def settle(folder):
    """Have what a folder lists on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path, text, like=None):
    """Write a file so that it is whole on the disk or as it was, with the owner and mode of another."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        found = os.stat(like) if like else None
        os.fchmod(file.fileno(), (found.st_mode & 0o666) if found else 0o600)
        if found:
            os.fchown(file.fileno(), found.st_uid, found.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    settle(os.path.dirname(path))


def read(path):
    """Return what a file of JSON holds, or nothing."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Fault(
            f"{path} can't be read: {error}. It says how far a handover is; look at both servers before you remove it"
        ) from error


# --- a server -----------------------------------------------------------------------------------------------------


class Server:
    """PostgreSQL on this host.

    :arg place: C(data), C(binaries), C(unit), C(start), the file that says whether it starts with the system, C(socket).
    """

    def __init__(self, place):
        self.place = place
        self.data = pathlib.Path(place["data"])
        self.mask = pathlib.Path("/etc/systemd/system", place["unit"])
        self.session = None
        self.lock = threading.RLock()

    def ask(self, statement, seconds=5):
        """Return the rows of a statement; the connection is kept, and opened anew when it has ended."""
        with self.lock:
            for kept in (self.session is not None, False):
                if self.session is None:
                    self.session = Session(self.place["socket"], None, "postgres")
                try:
                    return self.session.ask(statement, seconds)
                except Fault:
                    raise
                except OSError:
                    self.session.close()
                    self.session = None
                    # The server may have been started anew since then.
                    if not kept:
                        raise
        raise AssertionError("unreachable")

    def value(self, statement, seconds=5):
        """Return the one value of a statement."""
        (row,) = self.ask(statement, seconds)
        (value,) = row.values()
        return value

    def control(self):
        """Return what the data directory says of itself."""
        command = [f"{self.place['binaries']}/pg_controldata", str(self.data)]
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            raise Fault(f"{command[0]}: {done.stderr.strip()}")
        return control_of(done.stdout)

    def process(self):
        """Return the number of the server's process, or nothing."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            number = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            name = pathlib.Path(f"/proc/{number}/comm").read_text().strip()
            if name == "postgres" and os.stat(f"/proc/{number}").st_uid == os.stat(self.data).st_uid:
                return number
        return None

    def what(self, seconds):
        """Return what the server is, in the words of L(decide); one that is starting or stopping is waited for."""
        end = time.monotonic() + seconds
        while True:
            try:
                return "standby" if self.value("SELECT pg_is_in_recovery()") == "t" else "primary"
            except (OSError, Fault):
                if not self.process():
                    break
            if time.monotonic() > end:
                raise Fault(f"PostgreSQL neither answers nor ends within {seconds} seconds. Look at its log")
            time.sleep(0.02)
        return state_of(self.control()) if (self.data / "PG_VERSION").exists() else "gone"

    def fence(self):
        """Make sure that the server, however it is started, is no primary again."""
        write(self.data / "standby.signal", "", like=self.data / "PG_VERSION")

    def forbid_start(self):
        """Have the system not start the server any more."""
        write(self.place["start"], "disabled\n", like=self.place["start"])
        if not self.mask.is_symlink():
            self.mask.symlink_to("/dev/null")
            settle(self.mask.parent)
        systemctl("daemon-reload")
        # It was told to end by a signal, which is no failure that somebody has to look at.
        systemctl("reset-failed", self.place["unit"], needed=False)

    def unfence(self):
        """Let the server be a primary again."""
        with contextlib.suppress(FileNotFoundError):
            (self.data / "standby.signal").unlink()
        settle(self.data)
        write(self.place["start"], "auto\n", like=self.place["start"])
        if self.mask.is_symlink() and os.readlink(self.mask) == "/dev/null":
            self.mask.unlink()
            settle(self.mask.parent)

    def stop(self, seconds):
        """Stop the server in order, so that every row is on its way to the standby before it ends."""
        number = self.process()
        if number is None:
            return
        os.kill(number, signal.SIGINT)
        end = time.monotonic() + seconds
        while self.process() == number:
            if time.monotonic() > end:
                raise Fault(f"PostgreSQL has not stopped within {seconds} seconds")
            time.sleep(LOOK)

    def start(self, seconds):
        """Start the server, whatever was last done with it, and wait until it is a primary."""
        number = self.process()
        end = time.monotonic() + seconds
        if number is not None and self.what(seconds) == "standby":
            self.stop(seconds)
        while number is not None and self.process() == number and (self.data / "postmaster.pid").exists():
            with contextlib.suppress(OSError, Fault):
                if self.value("SELECT pg_is_in_recovery()") == "f":
                    return
            if time.monotonic() > end:
                # It has been stopping all the time: nobody waits for it any longer, and its rows are in its log.
                os.kill(number, signal.SIGQUIT)
                break
            time.sleep(0.02)
        systemctl("daemon-reload")
        systemctl("reset-failed", self.place["unit"], needed=False)
        systemctl("start", self.place["unit"], seconds=seconds)
        if self.what(seconds) != "primary":
            raise Fault(f"{self.place['unit']} has been started, and is no primary. Look at its log")

    def status(self):
        """Return what a standby says of itself."""
        try:
            (row,) = self.ask(
                "SELECT pg_is_in_recovery() AS recovery, (SELECT system_identifier FROM pg_control_system()) AS system,"
                " pg_last_wal_replay_lsn() AS replayed, pg_last_wal_receive_lsn() AS received,"
                " current_setting('server_version_num')::int / 10000 AS major"
            )
        except (OSError, Fault) as error:
            return {"what": "unknown", "reason": str(error)}
        return {**row, "what": "standby" if row["recovery"] == "t" else "primary"}

    def until(self, statement, seconds, what):
        """Wait until a statement says yes."""
        end = time.monotonic() + seconds
        while self.value(statement) != "t":
            if time.monotonic() > end:
                raise Fault(f"{what} within {seconds} seconds")
            time.sleep(LOOK)

    def until_whole(self, lsn, _mark, seconds):
        """Wait until the standby has every row, up to the old server's last word."""
        self.until(f"SELECT pg_last_wal_replay_lsn() > '{lsn}'::pg_lsn", seconds, "the standby has not had every row")

    def promote(self, seconds):
        """Make the standby a primary."""
        if self.value("SELECT pg_is_in_recovery()") == "t":
            self.value("SELECT pg_promote(false)")
        self.until("SELECT NOT pg_is_in_recovery()", seconds, "the standby has not become a primary")

    def tidy(self, role):
        """Forget where the rows came from, and the settings that only a standby needs: they would override the host's own."""
        without_standby_settings(self.place)
        for setting in ("primary_conninfo", "primary_slot_name"):
            self.ask(f"ALTER SYSTEM RESET {setting}")
        self.ask("SELECT pg_reload_conf()")
        self.ask(f'DROP ROLE IF EXISTS "{role}"')


# --- the standby --------------------------------------------------------------------------------------------------

#: Settings in which a standby must not have less than its primary.
AT_LEAST = (
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_wal_senders",
    "max_worker_processes",
)
#: Locales that sort alike with every C library.
STEADY = ("C", "POSIX", "C.UTF-8", "C.utf8")


def quoted(text):
    """Return a text as a constant of SQL."""
    return "'" + text.replace("'", "''") + "'"


#: What a database has that another host may not have: extensions, and orders that columns are sorted by beside the database's own.
EXTENSIONS = "SELECT extname AS name FROM pg_extension"
COLLATIONS = """SELECT DISTINCT collname AS name FROM pg_attribute JOIN pg_collation ON pg_collation.oid = attcollation
WHERE attnum > 0 AND NOT attisdropped AND collname NOT IN ('default', 'ucs_basic', 'pg_c_utf8')"""


def inside(server):
    """Return the extensions and the collations of all databases that one can connect to, two sets of names."""
    extensions, collations = set(), set()
    for row in server.ask("SELECT datname AS name FROM pg_database WHERE datallowconn"):
        session = Session(server.place["socket"], None, row["name"])
        try:
            extensions.update(found["name"] for found in session.ask(EXTENSIONS, 5))
            collations.update(found["name"] for found in session.ask(COLLATIONS, 5))
        finally:
            session.close()
    return extensions, collations


def ready(config):
    """Let a standby copy the server, and return what it has to be told.

    :arg config: C(server) (see Server), C(role) and C(password) of who copies, C(slot), whether a standby needs one.
    """
    server = Server(config["server"])
    if server.value("SELECT pg_is_in_recovery()") == "t":
        raise Fault("PostgreSQL is no primary here, it follows another")
    role, changed = config["role"], False
    for setting, value in (
        ("log_min_duration_statement", "-1"),
        ("log_statement", "none"),
        ("password_encryption", "scram-sha-256"),
    ):
        server.ask(f"SET {setting} = {quoted(value)}")
    if not server.ask(f"SELECT 1 FROM pg_roles WHERE rolname = {quoted(role)}"):
        server.ask(f'CREATE ROLE "{role}" LOGIN REPLICATION')
        changed = True
    server.ask(f'ALTER ROLE "{role}" PASSWORD {quoted(config["password"])}')
    for slot in server.ask(
        f"SELECT active, coalesce(wal_status, '') AS status FROM pg_replication_slots WHERE slot_name = {quoted(role)}"
    ):
        if slot["status"] == "lost" and slot["active"] == "f":
            server.ask(f"SELECT pg_drop_replication_slot({quoted(role)})")
    known = server.ask(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = {quoted(role)}")
    if config.get("slot", True) and not known:
        server.ask(f"SELECT pg_create_physical_replication_slot({quoted(role)}, true)")
        changed = True
    locales = "SELECT DISTINCT datcollate AS name FROM pg_database UNION SELECT datctype FROM pg_database"
    extensions, collations = inside(server)
    return {
        "changed": changed,
        "system": server.value("SELECT system_identifier FROM pg_control_system()"),
        "major": int(server.value("SHOW server_version_num")) // 10000,
        "bytes": int(server.value("SELECT sum(pg_database_size(oid)) FROM pg_database")),
        "settings": {name: int(server.value(f"SHOW {name}")) for name in AT_LEAST},
        "locales": sorted({row["name"] for row in server.ask(locales)} | collations),
        "extensions": sorted(extensions),
        "library": os.confstr("CS_GNU_LIBC_VERSION"),
        "tablespaces": [
            row["spcname"] for row in server.ask("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'")
        ],
    }


#: The way out where the files of one server are of no use to the other.
WITHOUT_FILES = "set handover_logical: true, which moves rows and definitions in the place of files"

#: In a data directory that was made to be replaced.
VACANT = "ntier-vacant"


def vacant(config):
    """Have an empty server again where the data was handed over to another host.

    :arg config: C(server) (see Server), C(options), those of initdb.
    """
    server = Server(config["server"])
    if server.mask.is_symlink() and (server.data / "PG_VERSION").exists():
        raise Fault(f"{server.data} holds data that was handed over to another host before. Move it away, or remove it")
    if (server.data / "PG_VERSION").exists() or not os.path.exists(config["server"]["start"]):
        return {"changed": False}
    as_owner([f"{config['server']['binaries']}/initdb", f"--pgdata={server.data}", *config["options"]])
    (server.data / VACANT).touch()
    server.unfence()
    systemctl("daemon-reload")
    return {"changed": True}


def as_owner(command):
    """Return what a program of PostgreSQL prints, run as its user."""
    owner = pwd.getpwnam("postgres")
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": owner.pw_dir, "LC_ALL": "C"}
    identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env=environment, **identity)
    if done.returncode:
        raise Fault(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def unfit(source, target, logical=False):
    """Return why a host can't take a server's data, one sentence each; empty when it can.

    :arg source: what L(ready) returns, with C(name).
    :arg target: C(name), C(major), C(library), C(extensions) that could be made there, C(free) (bytes), C(holds): databases and roles of its own, C(system)
        and C(what) as in L(decide).
    :arg logical: whether rows are handed over without their files, which needs neither the same version nor the same C library.
    """
    here, there, reasons = f"host {target['name']}", source["name"], []
    if logical and target["major"] < source["major"]:
        reasons.append(
            f"{here}: has PostgreSQL {target['major']}, and {there} has {source['major']}. Rows go to the same version or a newer one. Use a host with"
            " a newer release of the system"
        )
    if not logical and target["major"] != source["major"]:
        reasons.append(
            f"{here}: has PostgreSQL {target['major']}, and {there} has {source['major']}. Set database_version of {target['name']} to"
            f" '{source['major']}', or {WITHOUT_FILES}"
        )
    moving = [name for name in source["locales"] if name not in STEADY]
    if not logical and moving and target["library"] != source["library"]:
        reasons.append(
            f"{here}: has {target['library']}, and {there} {source['library']}, which may sort {', '.join(moving)} in another way, so that indexes"
            f" would be wrong. Use the same release of the system on both, or {WITHOUT_FILES}"
        )
    foreign = [name for name in source["extensions"] if name not in target["extensions"]]
    if foreign:
        reasons.append(
            f"{here}: lacks what the extensions {', '.join(foreign)} consist of, which databases of {there} use. Install their packages for PostgreSQL"
            f" {source['major']} there, as on {there}"
        )
    if source["tablespaces"]:
        reasons.append(
            f"host {there}: has the tablespaces {', '.join(source['tablespaces'])}, and only the data directory moves. Empty and drop them"
        )
    needed = needed_bytes(source["bytes"])
    if target["free"] < needed:
        reasons.append(
            f"{here}: has {target['free'] >> 20} MB free for the databases, which need {needed >> 20} MB with room for what is written meanwhile."
            " Free or add disk"
        )
    if target["system"] == source["system"] and target["what"] == "primary":
        reasons.append(
            f"{here}: its PostgreSQL is a primary of the same data as that of {there}. Stop the one that no site uses"
        )
    elif target["system"] != source["system"] and target["holds"]:
        reasons.append(
            f"{here}: its PostgreSQL holds {', '.join(target['holds'])} of its own, which the handover would replace. Drop that if nobody needs it,"
            " or use another host"
        )
    return reasons


def available(binaries):
    """Return the names of the extensions whose files a host has, where Debian's packages put them."""
    folder = pathlib.Path(binaries.replace("/lib/", "/share/").removesuffix("/bin"), "extension")
    return sorted(path.stem for path in folder.glob("*.control"))


def needed_bytes(size):
    """Return the room that a copy of a server needs: itself, and what is written while it is made."""
    return size + size // 10 + (512 << 20)


def follow(config):
    """Make this host's server a standby of another, and return what was done.

    :arg config: C(name), C(server) (see Server), C(source) (what L(ready) returns, with C(name), C(address) and C(port)), C(role), C(passfile),
        C(authority), C(rate).
    """
    server, source, began = Server(config["server"]), config["source"], time.monotonic()
    what = server.what(BOUNDS["start"])
    control = server.control() if what != "gone" else {"system": ""}
    if what == "standby" and server.process() and control["system"] == source["system"] and streaming(server, 5):
        return {"changed": False, "bytes": source["bytes"], "seconds": 0}
    if what == "stopped" and control["system"] != source["system"]:
        systemctl("start", config["server"]["unit"])
        what = server.what(BOUNDS["start"])
    reasons = unfit(source, target_of(config, server, what, control["system"]))
    if reasons:
        raise Fault("\n".join(f"{reason}." for reason in reasons))
    copy(config, server)
    if not streaming(server, BOUNDS["catch_up"]):
        raise Fault(
            f"host {config['name']}: the standby does not stream from {source['name']} after {BOUNDS['catch_up']} seconds. Look at its log"
        )
    return {"changed": True, "bytes": source["bytes"], "seconds": round(time.monotonic() - began, 1)}


def target_of(config, server, what, system):
    """Return what L(unfit) looks at on the host that shall have the data.

    :arg config: see L(follow). C(server), its Server; C(what) that is, as in L(decide), and C(system), its identifier.
    """
    place = os.statvfs(server.data.parent)
    binary = f"{config['server']['binaries']}/postgres"
    version = subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {
        "name": config["name"],
        "major": int(re.search(r"(\d+)", version).group(1)),
        "library": os.confstr("CS_GNU_LIBC_VERSION"),
        "extensions": available(config["server"]["binaries"]),
        "free": place.f_bavail * place.f_frsize,
        "holds": held(server, what),
        "system": system,
        "what": what,
    }


def held(server, what):
    """Return what somebody has put into a server."""
    if what == "gone":
        return []
    if what not in ("primary", "standby"):
        return ["data that can't be looked at, since it does not run,"]
    rows = server.ask(
        "SELECT 'database ' || datname AS name FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
        " UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LIMIT 5"
    )
    return [row["name"] for row in rows]


def streaming(server, seconds):
    """Return whether the standby gets rows at last."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, Fault):
            if server.ask("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"):
                return True
        if time.monotonic() > end:
            return False
        time.sleep(0.2)


def copying(config, incoming):
    """Return the command that copies another server's data into a folder, at C(rate) MB in a second; 0 is as fast as it gets."""
    source = config["source"]
    connection = f"host={source['address']} port={source['port']} user={config['role']} application_name={config['role']} passfile={config['passfile']}"
    connection += f" sslmode=verify-full sslrootcert={config['authority']} keepalives_idle=4 keepalives_interval=2 keepalives_count=3"
    command = [f"{config['server']['binaries']}/pg_basebackup", f"--pgdata={incoming}", f"--dbname={connection}"]
    command += [
        "--wal-method=stream",
        "--checkpoint=fast",
        "--write-recovery-conf",
        f"--slot={config['role']}",
        "--no-password",
    ]
    if config["rate"]:
        # The program knows MiB, and takes 1 GiB at the most.
        command.append(f"--max-rate={min(config['rate'], 1024)}M")
    return command


def copy(config, server):
    """Copy the data of another server, and start as its standby. What was here is put aside."""
    source, unit = config["source"], config["server"]["unit"]
    incoming = pathlib.Path(f"{server.data}.incoming")
    if incoming.exists():
        shutil.rmtree(incoming)
    try:
        as_owner(copying(config, incoming))
    except Fault as fault:
        raise Fault(f"host {config['name']}: the data of {source['name']} can't be copied: {fault}") from fault
    systemctl("stop", unit, needed=False)
    server.unfence()
    without_standby_settings(config["server"])
    enough = {name: max(value, own(config, name)) for name, value in source["settings"].items()}
    write(standby_file(config["server"]), standby_settings(enough), like=config["server"]["start"])
    if (server.data / VACANT).exists():
        shutil.rmtree(server.data)
    elif server.data.exists():
        os.rename(server.data, f"{server.data}.before-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    os.rename(incoming, server.data)
    settle(server.data.parent)
    systemctl("daemon-reload")
    systemctl("start", unit)


def standby_file(place):
    """Return the file that a standby's settings are written to. C(place), see Server."""
    return os.path.join(os.path.dirname(place["start"]), STANDBY_SETTINGS)


def without_standby_settings(place):
    """Have the host's own settings decide again: those of a standby come later, and would override them. C(place), see Server."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(standby_file(place))


def standby_settings(enough):
    """Return the configuration of a standby.

    :arg enough: setting → value, of those in which it must not have less than the server that it follows.
    """
    lines = [
        "# A standby must not have less than the server that it follows.",
        *(f"{name} = {value}" for name, value in enough.items()),
    ]
    # Five seconds by default: so long goes by when it is promoted just as it is about to look for the old server, which has ended, once more.
    lines += ["# A promotion may have to wait for this.", "wal_retrieve_retry_interval = 50ms"]
    return "".join(f"{line}\n" for line in lines)


def own(config, name):
    """Return a setting as the host's own configuration has it."""
    folder = os.path.dirname(config["server"]["start"])
    program = f"{config['server']['binaries']}/postgres"
    return int(
        as_owner([program, "-C", name, "-D", config["server"]["data"], f"--config-file={folder}/postgresql.conf"])
    )


def systemctl(*words, seconds=60, needed=True):
    """Run systemctl; a failure is a Fault."""
    command = ["systemctl", *words]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise Fault(f"{' '.join(command)}: not done within {seconds} seconds") from error
    if done.returncode and needed:
        raise Fault(f"{' '.join(command)}: {done.stdout.strip()}")


# --- PgBouncer ----------------------------------------------------------------------------------------------------


class Pooler:
    """PgBouncer on this host.

    :arg place: C(socket), C(file), its configuration, C(next), the one that leads to the new server.
    :arg databases: those whose clients are meant, each with C(name) and C(user); None for all that PgBouncer offers.
    """

    def __init__(self, place, databases, say):
        self.place = place
        self.databases = databases
        self.say = say
        self.consoles = {}
        self.timer = None
        self.since = None
        self.lock = threading.RLock()

    def console(self, name=""):
        """Return an open console; each database has one, so that they are paused at the same moment."""
        if name not in self.consoles:
            self.consoles[name] = Session(self.place["socket"], "pgbouncer", "pgbouncer")
        return self.consoles[name]

    def command(self, statement, seconds=5):
        """Return the rows that a command brings; PgBouncer may have been restarted since the last one."""
        for last in (False, True):
            try:
                return self.console().ask(statement, seconds)
            except OSError:
                self.forget("")
                if last:
                    raise
        return []

    def forget(self, name):
        """Drop a console that does not answer."""
        session = self.consoles.pop(name, None)
        if session:
            session.close()

    def known(self):
        """Return the databases that are meant and that PgBouncer offers, name → its row."""
        rows = {row["name"]: row for row in self.command("SHOW DATABASES") if row["name"] != "pgbouncer"}
        names = rows if self.databases is None else {entry["name"] for entry in self.databases}
        return {name: row for name, row in rows.items() if name in names}

    def there(self):
        """Tell whether PgBouncer runs on this host; where it does not, nobody has to wait."""
        try:
            self.command("SHOW VERSION")
        except (FileNotFoundError, ConnectionRefusedError):
            return {"there": False}
        return {"there": True}

    def paused(self):
        """Return the databases whose clients wait."""
        return [name for name, row in self.known().items() if row["paused"] == "1"]

    def look(self):
        """Raise a Fault unless this host could use the new server at once."""
        text = self.text()
        with self.lock:
            for name in self.known():
                self.console(name).ask("SHOW VERSION")
        tls = sections_of(text).get("pgbouncer", {})
        authority = tls.get("server_tls_ca_file") if tls.get("server_tls_sslmode") == "verify-full" else None
        targets = targets_of(text)
        for entry in self.databases:
            if entry["name"] in targets:
                knock(*targets[entry["name"]], entry["name"], entry["user"], authority)
        return {}

    def text(self):
        """Return the configuration that leads to the new server."""
        for name in ("next", "file"):
            with contextlib.suppress(FileNotFoundError):
                return pathlib.Path(self.place[name]).read_text(encoding="utf-8")
        raise Fault(f"{self.place['file']} is not there")

    def pause(self, seconds, dead_man):
        """Make clients wait as soon as each has ended its transaction."""
        with self.lock:
            names = list(self.known())
            self.arm(dead_man)
            self.since = self.since or time.monotonic()
            end = time.monotonic() + seconds
            for name in names:
                self.console(name).send(f'PAUSE "{name}"')
            late = []
            for name in names:
                try:
                    self.console(name).answer(end - time.monotonic())
                except OSError:
                    self.forget(name)
                    late.append(name)
            if late:
                raise Fault(f"clients of {', '.join(late)} have not ended their transactions within {seconds} seconds")
        return {}

    def resume(self):
        """Let clients go on."""
        with self.lock:
            names = self.paused()
            for name in names:
                self.command(f'RESUME "{name}"')
            if self.timer:
                self.timer.cancel()
                self.timer = None
            waited = round(1000 * (time.monotonic() - self.since)) if self.since else 0
            self.since = None
        return {"waited_ms": waited, "resumed": names}

    def arm(self, seconds):
        """Let clients go on by itself, when nobody says so in time."""
        if self.timer:
            self.timer.cancel()
        self.timer = threading.Timer(seconds, self.alone)
        self.timer.daemon = True
        self.timer.start()

    def alone(self):
        """The timer has run out."""
        self.say("nobody has said within its time that clients may go on: they do")
        try:
            self.resume()
        except (OSError, Fault) as error:
            self.say(f"PgBouncer can't be told: {error}")
            self.arm(1)

    def switch(self):
        """Lead clients to the new server, and let them go on."""
        with self.lock:
            if os.path.exists(self.place["next"]):
                os.replace(self.place["next"], self.place["file"])
                settle(os.path.dirname(self.place["file"]))
            self.command("RELOAD")
            wanted = targets_of(pathlib.Path(self.place["file"]).read_text(encoding="utf-8"))
            for name, row in self.known().items():
                found = (row["host"], int(row["port"]))
                if name in wanted and found != wanted[name]:
                    raise Fault(
                        f"PgBouncer leads {name} to {found[0]}, port {found[1]}, and not to {wanted[name][0]}, port {wanted[name][1]}"
                    )
            return self.resume()


# --- the agent ----------------------------------------------------------------------------------------------------


class Agent:
    """Does what the run asks for, on one host.

    :arg config: C(id) of the handover, C(token), C(port), C(certificate), C(key), C(databases), and C(pooler) and C(server) where the host
        has one.
    """

    def __init__(self, config, say):
        self.config = config
        self.say = say
        self.pooler = Pooler(config["pooler"], config["databases"], say) if config.get("pooler") else None
        self.server = server_of(config) if config.get("server") else None

    def do(self, request):
        """Return the answer to a request."""
        if not hmac.compare_digest(str(request.get("token")).encode(), self.config["token"].encode()):
            raise Fault("the token is another")
        if request.get("id") != self.config["id"]:
            raise Fault(
                f"the agent is there for the handover {self.config['id']}, not {request.get('id')}. Prepare this one anew"
            )
        pooler, server, seconds = self.pooler, self.server, request.get("seconds", 5)
        commands = {"hello": lambda: {}}
        if pooler:
            commands.update(
                look=pooler.look,
                there=pooler.there,
                pause=lambda: pooler.pause(seconds, request["dead_man"]),
                resume=pooler.resume,
                switch=pooler.switch,
            )
        if server:
            commands.update(
                status=server.status,
                checkpoint=lambda: server.ask("CHECKPOINT", seconds) and {},
                replay=lambda: server.until_whole(request["lsn"], request["mark"], seconds),
                promote=lambda: server.promote(seconds),
                tidy=lambda: server.tidy(request["role"]),
            )
        if hasattr(server, "sequences"):
            commands["sequences"] = lambda: server.sequences(request["database"], request["values"])
        if request.get("do") not in commands:
            raise Fault(f"this host can't {request.get('do')}")
        return commands[request["do"]]() or {}

    def answer(self, line):
        """Return the answer to a line of JSON, as one."""
        try:
            request = json.loads(line)
            result = {"ok": True, **self.do(request)}
            if request["do"] in ("pause", "resume", "switch", "promote"):
                self.say(f"{request['do']}: done {result}")
        except (Fault, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            result = {"ok": False, "error": str(error) or type(error).__name__}
            self.say(f"refused: {result['error']}")
        return json.dumps(result).encode() + b"\n"

    def serve(self):
        """Answer until the end."""
        if self.pooler:
            with contextlib.suppress(OSError, Fault):
                # An agent that was killed has left them waiting.
                if self.pooler.paused():
                    self.pooler.since = time.monotonic()
                    self.pooler.arm(BOUNDS["dead_man"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.config["certificate"], self.config["key"])
        with listener(self.config["port"]) as waiting:
            self.say(f"waits at port {self.config['port']} for the handover {self.config['id']}")
            while True:
                connection, peer = waiting.accept()
                threading.Thread(target=self.talk, args=(context, connection, peer), daemon=True).start()

    def talk(self, context, connection, peer):
        """Answer one who came in, line by line."""
        connection.settimeout(5)
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                first = True
                with secure.makefile("rb") as lines:
                    for line in iter(lambda: lines.readline(65536), b""):
                        reply = self.answer(line)
                        secure.sendall(reply)
                        if first and b'"ok": false' in reply:
                            return
                        if first:
                            secure.settimeout(None)
                            secure.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                            first = False
        except OSError as error:
            self.say(f"{peer[0]}: {error}")


def server_of(config):
    """Return the server on this host, one that follows rows without their files where that is asked for."""
    if not config.get("logical"):
        return Server(config["server"])
    from logical import Follower

    return Follower(config["server"])


def listener(port):
    """Return a socket that waits at every address of the host."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except OSError:
        return socket.create_server(("", port))


class Link:
    """The way to one agent. What is asked has the same effect twice, so a connection that ends is opened anew."""

    def __init__(self, plan, entry, token):
        self.name = entry["name"]
        self.place = (entry["address"], entry["port"])
        self.plan = plan
        self.token = token
        self.secure = self.lines = None

    def connect(self, seconds):
        """Open the connection."""
        self.close()
        plain = socket.create_connection(self.place, timeout=seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = ssl.create_default_context(cafile=self.plan["authority"])
        self.secure = context.wrap_socket(plain, server_hostname=self.place[0])
        self.lines = self.secure.makefile("rb")

    def close(self):
        """End the connection."""
        for part in (self.lines, self.secure):
            if part:
                part.close()
        self.secure = self.lines = None

    def ask(self, do, bound, **more):
        """Return the answer to a request; the agent's refusal and its silence are Faults."""
        end = time.monotonic() + bound
        line = json.dumps({"id": self.plan["id"], "token": self.token, "do": do, **more}).encode() + b"\n"
        while True:
            left = end - time.monotonic()
            try:
                if self.secure is None:
                    self.connect(max(left, 0.1))
                self.secure.settimeout(max(left, 0.1))
                self.secure.sendall(line)
                reply = self.lines.readline()
                if not reply:
                    raise ConnectionError("it has closed the connection")
                break
            except OSError as error:
                self.close()
                if time.monotonic() + 0.05 > end:
                    raise Fault(f"host {self.name}: no answer to '{do}' within {bound:g} seconds: {error}") from error
                time.sleep(0.05)
        answer = json.loads(reply)
        if not answer.pop("ok"):
            raise Fault(f"host {self.name}: {answer['error']}")
        return answer


# --- the run ------------------------------------------------------------------------------------------------------


class Here:
    """The way to the PgBouncer of this host, which needs no network. Answers as a L(Link) does."""

    def __init__(self, plan, entry, token, say):
        self.name = entry["name"]
        self.request = {"id": plan["id"], "token": token}
        self.agent = Agent({**self.request, "databases": plan["databases"], "pooler": plan["pooler"]}, say)

    def ask(self, do, _bound, **more):
        """Return the answer to a request; what goes wrong is a Fault."""
        try:
            return self.agent.do({**self.request, "do": do, **more})
        except (Fault, OSError) as error:
            raise Fault(f"host {self.name}: {error}") from error


class Clients:
    """The clients of a server, who wait in their PgBouncers.

    :arg plan: C(id), C(from) (name of the server's host), C(server) (see Server), C(poolers) (name, address and port of agents), C(pooler) where
        the server's host has one that is asked without an agent (see Pooler), C(authority), C(token) (files), C(databases); C(bounds), where they are others.
    """

    #: What is told of a transaction that was in the way.
    undone = "nothing has been moved"

    def __init__(self, plan, say):
        self.plan = plan
        self.say = say
        self.bounds = {**BOUNDS, **plan.get("bounds", {})}
        self.server = Server(plan["server"])
        self.token = pathlib.Path(plan["token"]).read_text(encoding="utf-8").strip()
        self.poolers = [self.link(entry) for entry in plan["poolers"]]
        self.steps = []
        self.last = time.monotonic()
        self.waited = {}

    def link(self, entry):
        """Return the way to a PgBouncer."""
        if self.plan.get("pooler") and entry["name"] == self.plan["from"]:
            return Here(self.plan, entry, self.token, self.say)
        return Link(self.plan, entry, self.token)

    def mark(self, name):
        """Note that a step has been taken, and how long it took."""
        now = time.monotonic()
        self.steps.append({"step": name, "ms": round(1000 * (now - self.last), 1)})
        self.last = now

    def count(self, answers):
        """Note how long clients have waited; of several times the longest counts."""
        for name, answer in answers.items():
            self.waited[name] = max(self.waited.get(name, 0), answer["waited_ms"])

    def rest(self, attempt):
        """Let some time pass between an attempt that failed and the next."""
        time.sleep(self.bounds["retry"] * 2 ** (attempt - 1))

    def all(self, do, bound, links=None, **more):
        """Ask several agents at once; return name → answer. The first Fault of any is raised when all have ended."""
        answers, faults = {}, []

        def one(link):
            try:
                answers[link.name] = link.ask(do, bound, **more)
            except Fault as fault:
                faults.append(fault)

        threads = [threading.Thread(target=one, args=(link,)) for link in (self.poolers if links is None else links)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if faults:
            raise Fault("; ".join(str(fault) for fault in faults), answers)
        return answers

    def short(self, seconds):
        """Wait until no transaction is old: clients that are paused wait for the longest."""
        end = time.monotonic() + seconds
        query = (
            "SELECT pid, datname, usename, application_name, state, round(extract(epoch FROM clock_timestamp() - xact_start)) AS age,"
            " left(regexp_replace(query, '\\s+', ' ', 'g'), 60) AS query FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            f" AND xact_start < clock_timestamp() - interval '{self.bounds['transaction']} s' ORDER BY xact_start"
        )
        while True:
            rows = self.server.ask(query)
            if not rows:
                return
            if time.monotonic() > end:
                raise Fault(
                    f"host {self.plan['from']}: {shown(rows[0])}. Every client would wait for it, so {self.undone}: let it end, or end it with"
                    f" SELECT pg_terminate_backend({rows[0]['pid']})"
                )
            time.sleep(0.2)

    def hold(self):
        """Make clients wait."""
        seconds = self.bounds["pause"]
        self.all("pause", seconds + 1, seconds=seconds, dead_man=self.bounds["dead_man"])

    def release(self):
        """Let clients go on; note how long they waited."""
        self.count(self.all("resume", self.bounds["connect"]))


class Run(Clients):
    """One handover, from the step where the last run of it was.

    :arg plan: see L(Clients); C(to) (a name), C(standby) (name, address and port of its agent) and C(role).
    """

    def __init__(self, plan, say):
        super().__init__(plan, say)
        self.standby = Link(plan, plan["standby"], self.token)
        state = read(STATE)
        if state.get("id") != plan["id"]:
            if state.get("step", "done") not in ("done", "") and not self.never_was(state["step"]):
                raise Fault(f"the handover {state['id']} has not ended: its step is {state['step']}. End it first")
            state = {"id": plan["id"], "step": "", "runs": 0}
        self.state = state
        self.state["runs"] += 1
        self.waited = dict(state.get("waited", {}))

    def never_was(self, step):
        """Return whether nothing has come of another handover that was cut off, since this server takes the rows; then it goes on doing so."""
        if step not in ("pausing", "fenced") or self.server.what(self.bounds["start"]) != "primary":
            return False
        if step == "fenced":
            self.server.unfence()
        return True

    # --- keeping count

    def record(self, step, **more):
        """Write down where the handover is, before anything else happens."""
        self.state.update(step=step, **more)
        write(STATE, json.dumps(self.state))

    # --- the hosts

    def new(self, seconds):
        """Return what the new server says of itself."""
        try:
            return self.standby.ask("status", seconds)
        except Fault as fault:
            return {"what": "unknown", "reason": str(fault)}

    # --- the steps

    def go(self):
        """Do all that is left, and return the report."""
        try:
            return self.proceed()
        except (Fault, OSError) as fault:
            return self.report("unfinished" if self.state["step"] else "refused", str(fault))

    def proceed(self):
        """Do what is left to do."""
        late = self.state["step"] in ("promoting", "promoted")
        old, new = self.server.what(self.bounds["start"]), self.new(self.bounds["reconnect" if late else "connect"])
        what = decide(self.state["step"], old, new["what"])
        self.say(
            f"step '{self.state['step']}', old server {old}, new server {new['what']} {new.get('reason', '')}: {what}"
        )
        self.mark(f"looked at both servers: {what[:20]}")
        if self.state["step"] == "done" and what != "nothing":
            self.state = {"id": self.plan["id"], "step": "", "runs": 1}
            # What clients waited in an earlier one between the same hosts is none of this one.
            self.waited = {}
        if what == "nothing":
            return read(REPORT) or self.report("done")
        # What an earlier run has reported is not to be taken for what this one does.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(REPORT)
        if what in ("forward", "finish"):
            try:
                if what == "forward":
                    # They may have been let go on since, to a server that does not run.
                    with contextlib.suppress(Fault):
                        self.hold()
                return self.forward() if what == "forward" else self.finish()
            except (Fault, OSError) as fault:
                if self.state["step"] in ("promoting", "promoted"):
                    return self.report("unfinished", str(fault))
                return self.give_back(fault)
        if what not in ("begin", "back"):
            return self.report("refused", what)
        if self.state["step"]:
            self.back()
            self.mark("given back")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.look()
                return self.begin()
            except (Fault, OSError) as fault:
                if self.state["step"] in ("promoting", "promoted"):
                    return self.report("unfinished", str(fault))
                if self.state["step"] == "" or attempt == ATTEMPTS:
                    return self.give_back(fault)
                self.say(f"attempt {attempt}: {fault}")
                self.give_back(fault)
                self.rest(attempt)
        raise AssertionError("unreachable")

    def look(self):
        """See to it that nothing is in the way before anybody waits."""
        bounds = self.bounds
        self.all("hello", bounds["connect"], [self.standby, *self.poolers])
        own = self.server.value("SELECT system_identifier FROM pg_control_system()")
        new = self.new(bounds["connect"])
        if new["what"] != "standby":
            raise Fault(
                f"host {self.plan['to']}: its PostgreSQL is no standby ({new.get('reason', new['what'])}). Prepare it anew"
            )
        if new["system"] != own:
            raise Fault(
                f"host {self.plan['to']}: its data is of another server ({new['system']}, and not {own}). Prepare it anew"
            )
        slots = self.server.ask(
            f"SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'logical' AND slot_name !~ '{self.own_slots()}'"
        )
        if slots:
            names = ", ".join(row["slot_name"] for row in slots)
            raise Fault(
                f"host {self.plan['from']}: the logical replication slots {names} can't move. Drop them, and make them anew afterwards"
            )
        self.all("look", bounds["connect"])
        self.mark("asked every host")
        self.caught_up(LAG)
        self.mark("waited for the standby")
        self.short(bounds["transactions"])
        self.mark("waited for long transactions")
        for _round in range(2):
            self.server.ask("CHECKPOINT", bounds["checkpoint"])
            self.standby.ask("checkpoint", bounds["checkpoint"], seconds=bounds["checkpoint"])
        self.server.ask("CHECKPOINT", bounds["checkpoint"])
        self.mark("checkpoints")
        self.caught_up(LAG)
        self.short(bounds["transactions"])
        self.mark("looked once more")

    def own_slots(self):
        """Return a pattern of the names of the logical slots that belong to the handover: none does."""
        return "^$"

    def followers(self):
        """Return how many connections the standby has."""
        return 1

    def prove(self):
        """Do what tells the new server that it has every row, while clients wait; return what is written down of it."""
        return {}

    def caught_up(self, most):
        """Wait until the standby streams and lacks few bytes."""
        end = time.monotonic() + self.bounds["catch_up"]
        query = (
            "SELECT state, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 1e15)::bigint AS lag FROM pg_stat_replication"
            f" WHERE application_name = '{self.plan['role']}'"
        )
        while True:
            rows = self.server.ask(query)
            near = [row for row in rows if row["state"] == "streaming" and int(row["lag"]) <= most]
            if len(near) >= self.followers():
                return
            if time.monotonic() > end:
                found = f"is {rows[0]['state']}, and lacks {rows[0]['lag']} bytes" if rows else "does not stream"
                raise Fault(
                    f"host {self.plan['to']}: the standby {found} after {self.bounds['catch_up']} seconds. Look at its log"
                )
            time.sleep(0.1)

    def begin(self):
        """Make clients wait, stop and fence the old server, and go on."""
        bounds = self.bounds
        self.record("pausing")
        self.last = time.monotonic()
        self.hold()
        self.mark("paused")
        proof = self.prove()
        # The fence stands before the server ends, so it is there whenever anybody starts it again.
        self.record("fenced", **proof)
        self.server.fence()
        self.mark("fenced")
        self.server.stop(bounds["stop"])
        self.mark("stopped")
        return self.forward()

    def forward(self):
        """Wait until the standby has every row, and make it the primary."""
        bounds = self.bounds
        if self.server.process() and self.state["step"] == "promoting":
            # Somebody has started it, and the fence has made it a standby.
            self.server.stop(bounds["stop"])
        if self.server.process():
            raise Fault(f"host {self.plan['from']}: PostgreSQL runs, and was stopped. Something starts it")
        lsn = self.state.get("lsn") if self.state["step"] == "promoting" else None
        if lsn is None:
            control = self.server.control()
            if control["state"] != "shut down":
                raise Fault(f"host {self.plan['from']}: PostgreSQL has not ended in order: {control['state']}")
            lsn = control["checkpoint"]
            self.server.fence()
        mark = self.state.get("mark", "")
        self.standby.ask("replay", bounds["replay"] + 1, lsn=lsn, mark=mark, seconds=bounds["replay"])
        self.mark("every row is there")
        self.record("promoting", lsn=lsn)
        self.mark("written down")
        self.standby.ask("promote", bounds["promote"] + 1, seconds=bounds["promote"])
        self.mark("promoted")
        return self.finish()

    def finish(self):
        """Lead every client to the new server, and put the old data aside."""
        bounds = self.bounds
        left = list(self.poolers)
        end = time.monotonic() + bounds["reconnect"]
        fault, pause = None, AGAIN
        while left:
            try:
                done = self.all("switch", bounds["switch"], left)
            except Fault as failed:
                done, fault = failed.answers, failed
            self.count(done)
            left = [link for link in left if link.name not in done]
            if left and time.monotonic() > end:
                raise Fault(f"{fault}. The database has moved; run this again to lead these clients to it, too")
            if left:
                # One that refuses at once would be asked thousands of times. Its clients wait, so the first pauses are short.
                time.sleep(pause)
                pause = min(2 * pause, AGAIN_MOST)
        self.mark("clients go on")
        self.record(
            "promoted",
            waited=self.waited,
            kept=self.state.get("kept")
            or f"{self.server.data}.handed-over-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}",
        )
        self.server.forbid_start()
        self.standby.ask("tidy", 30, role=self.plan["role"])
        self.mark("tidied")
        kept = self.keep()
        report = self.report("done", kept=kept)
        self.record("done")
        return report

    def keep(self):
        """Put the old data aside, and return where it is."""
        kept = self.state["kept"]
        if not os.path.exists(kept):
            try:
                os.rename(self.server.data, kept)
            except OSError as error:
                # A file system of its own can't be renamed.
                self.say(f"the old data stays in {self.server.data}: {error}")
                return str(self.server.data)
            settle(os.path.dirname(kept))
        return kept

    def back(self):
        """Have the old server serve again."""
        if self.state["step"] in ("promoting", "promoted"):
            raise AssertionError("there is no way back from a promotion")
        if self.state["step"] == "fenced" or self.server.what(self.bounds["start"]) != "primary":
            self.server.unfence()
            self.server.start(self.bounds["start"])
        with contextlib.suppress(Fault):
            self.release()
        self.record("")

    def give_back(self, fault):
        """Have the old server serve again, and report why."""
        began = bool(self.state["step"])
        if began:
            self.back()
            self.mark("given back")
        return self.report("given back" if began else "refused", str(fault))

    def report(self, outcome, reason="", **more):
        """Return what happened and what was measured, and keep it."""
        result = {
            "id": self.plan["id"],
            "from": self.plan["from"],
            "to": self.plan["to"],
            "outcome": outcome,
            "reason": reason,
            "runs": self.state["runs"],
            "waited_ms": self.waited,
            "pause_ms": max(self.waited.values(), default=0),
            "steps": self.steps,
            **more,
        }
        write(REPORT, json.dumps(result, indent=2) + "\n")
        return result


def command_of(word, say):
    """Return the function for a word of the command line; it takes what comes in by JSON."""
    if word in ("ready", "vacant"):
        return {"ready": ready, "vacant": vacant}[word]
    import logical

    return {
        "follow": lambda config: (logical.follow if config["logical"] else follow)(config),
        "publish": lambda config: logical.publish({**read(PLAN), **config}, say),
        "forget": logical.forget,
    }[word]


def run_of(plan, say):
    """Return the run of a plan."""
    if not plan.get("logical"):
        return Run(plan, say)
    from logical import LogicalRun

    return LogicalRun(plan, say)


def main(words):
    """Run the program."""
    # What it creates has the modes that it asks for, whatever the umask of who runs it.
    os.umask(0o022)

    def say(text):
        print(text, file=sys.stderr, flush=True)

    if words == ["agent"]:
        Agent(read(AGENT), say).serve()
    elif words in (["restart"], ["restart", "now"]):
        import restart

        return restart.now(say) if words[1:] else restart.begin(json.load(sys.stdin), say)
    elif words in (["ready"], ["publish"], ["vacant"], ["follow"], ["forget"]):
        try:
            with open(LOCK, "w", encoding="utf-8") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
                result = command_of(words[0], say)(json.load(sys.stdin))
        except (Fault, OSError) as fault:
            say(str(fault))
            return 1
        print(json.dumps(result))
    elif words == ["run"]:
        os.makedirs(os.path.dirname(STATE), mode=0o700, exist_ok=True)
        plan = {}
        try:
            plan = read(PLAN)
            report = run_of(plan, say).go()
        except (Fault, OSError) as fault:
            say(str(fault))
            write(REPORT, json.dumps({"id": plan.get("id", ""), "outcome": "refused", "reason": str(fault)}))
            return 1
        print(json.dumps(report, indent=2))
        return 0 if report["outcome"] == "done" else 1
    else:
        say("Use it as ntier-handover ready, publish, vacant, follow, agent, run, restart, or forget.")
        return 2
    return 0
