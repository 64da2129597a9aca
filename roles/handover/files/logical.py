# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hand a PostgreSQL server over to one that can't read its files: of another version, or whose C library sorts in another way.

In the place of a standby there is a server of its own, which is made from the roles and definitions of the old one and gets its rows by
logical replication. To whoever hands over (L(handover.Run)) it is a standby all the same: it follows, lacks little, and is promoted.

1. The old server writes what others need to follow: C(wal_level) is C(logical), which takes one restart, in which clients wait.
2. It publishes every table, and one more, whose row is the mark. Its roles and definitions are written down as they are then.
3. The new server is made from them, subscribes in each database, and copies all rows while the sites go on.
4. Clients wait; the sequences are set, which replication leaves out; the mark changes. Rows arrive in the order in which they were
   committed, so the new server has every row of a database when it has its mark.

What files bring along and rows do not is refused beforehand, see L(obstacles): tables whose rows can't be told apart, tables without a log,
large objects. Definitions that change after they were written down are noticed before anybody waits, and once more while they do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid

import handover
from handover import BOUNDS, LOOK, Fault, Run, Server, Session, as_owner, quoted, systemctl
from restart import Restart

#: The publication, the schema of the mark, and how the names of subscriptions begin.
NAME = "ntier_handover"
#: In the data directory of the new server: what it follows, and how far it is.
MARKER = "ntier-follows"
#: Sequences that are sent in one message.
AT_ONCE = 200
#: Times that a subscription may fail before somebody has to look.
FAILURES = 3

#: Tables of the user's own; what an extension has made comes with the extension.
TABLES = """
SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relpersistence AS persistence,
  c.relreplident = 'f' OR c.relreplident = 'i' OR (c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)) AS told
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'ntier_handover')
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY 2"""
#: Changes whenever somebody defines something anew in a database; not by VACUUM or ANALYZE.
DEFINITIONS = """
SELECT md5(coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_class WHERE relpersistence <> 't' AND relnamespace NOT IN (
    SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast|temp)')), '')
  || coalesce((SELECT string_agg(attrelid || ' ' || attnum || ' ' || a.xmin, ',' ORDER BY attrelid, attnum) FROM pg_attribute a
    JOIN pg_class c ON c.oid = attrelid WHERE c.relpersistence <> 't' AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'c')), '')
  || coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_proc), '')
  || coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_constraint WHERE connamespace NOT IN (
    SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast|temp)')), '')
  || coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_trigger), '')
  || coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_type WHERE typnamespace NOT IN (
    SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast|temp)')), ''))"""
#: The same of what belongs to no database; the handover's own role has a new password in each run.
SHARED = """
SELECT md5(coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_authid WHERE rolname <> 'ntier_handover'), '')
  || coalesce((SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_database), '')
  || coalesce((SELECT string_agg(setdatabase || ' ' || setrole || ' ' || xmin, ',' ORDER BY setdatabase, setrole) FROM pg_db_role_setting), '')
  || coalesce((SELECT string_agg(roleid || ' ' || member || ' ' || xmin, ',' ORDER BY roleid, member) FROM pg_auth_members
    WHERE member::regrole::text <> 'ntier_handover'), ''))"""
#: The databases that move; postgres is there in every server.
DATABASES = "SELECT datname AS name FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' ORDER BY 1"
#: Those that would be left behind.
CLOSED = """SELECT datname AS name FROM pg_database WHERE (NOT datallowconn OR datistemplate) AND datname NOT IN ('template0', 'template1') ORDER BY 1"""


@contextlib.contextmanager
def session_of(server, database, seconds=60):
    """Give a connection to a database of the server on this host."""
    session = Session(server.place["socket"], None, database, seconds)
    try:
        yield session
    finally:
        session.close()


def identifier(text):
    """Return a name as SQL has it."""
    return '"' + text.replace('"', '""') + '"'


def databases_of(server):
    """Return the names of the databases that move."""
    return [row["name"] for row in server.ask(DATABASES)]


def subscription_of(number):
    """Return the name of a database's subscription, and of its slot on the old server, which has one namespace for all of them."""
    return f"{NAME}_{number}"


# --- the old server -----------------------------------------------------------------------------------------------


def obstacles(name, found):
    """Return why rows can't be handed over without their files, one sentence each; empty when they can.

    :arg name: of the host. C(found), database → C(tables), rows of C(TABLES), and C(objects), the number of its large objects.
    """
    reasons = []
    for database, contents in sorted(found.items()):
        alike = [row["name"] for row in contents["tables"] if row["told"] != "t" and row["persistence"] == "p"]
        if alike:
            reasons.append(
                f"host {name}: the tables {', '.join(alike)} of the database {database} have no primary key, by which their rows are told apart. Give"
                f" them one, or say ALTER TABLE {alike[0]} REPLICA IDENTITY FULL"
            )
        unlogged = [row["name"] for row in contents["tables"] if row["persistence"] == "u"]
        if unlogged:
            reasons.append(
                f"host {name}: the tables {', '.join(unlogged)} of the database {database} are UNLOGGED, so nobody else gets their rows. Say ALTER TABLE"
                f" {unlogged[0]} SET LOGGED, or drop them"
            )
        if contents["objects"]:
            reasons.append(
                f"host {name}: the database {database} has {contents['objects']} large objects, which do not follow. Move to a host with the same"
                " version and release, or keep them in a column of type bytea"
            )
        if database == "postgres" and contents["tables"]:
            reasons.append(
                f"host {name}: the database postgres has tables of somebody's own, {contents['tables'][0]['name']} among them, and is there in every"
                " server already. Move them into a database of their own, or drop them"
            )
    return reasons


def contents_of(server):
    """Return what L(obstacles) looks at."""
    found = {}
    for database in [*databases_of(server), "postgres"]:
        with session_of(server, database) as session:
            found[database] = {
                "tables": session.ask(TABLES, 60),
                "objects": int(session.value("SELECT count(*) FROM pg_largeobject_metadata", 60)),
            }
    return found


def definitions_of(server):
    """Return one text that changes whenever a definition does, a role's or a database's own."""
    found = [server.value(SHARED)]
    for database in databases_of(server):
        with session_of(server, database) as session:
            found.append(f"{database} {session.value(DEFINITIONS, 60)}")
    return " ".join(found)


def publish(plan, say):
    """Let another server follow this one's rows, and return what it has to know, with the definitions that it is made from.

    :arg plan: see L(handover.Run); and C(password) of who follows.
    """
    server = Server(plan["server"])
    if server.value("SELECT pg_is_in_recovery()") == "t":
        raise Fault("PostgreSQL is no primary here, it follows another")
    strange = [
        row["name"] for row in server.ask(f"SELECT subname AS name FROM pg_subscription WHERE subname !~ '^{NAME}'")
    ]
    reasons = obstacles(plan["from"], contents_of(server))
    closed = [row["name"] for row in server.ask(CLOSED)]
    if closed:
        reasons.append(
            f"host {plan['from']}: the databases {', '.join(closed)} are templates or let nobody in, so they would stay behind. Say ALTER DATABASE"
            f" {closed[0]} IS_TEMPLATE false ALLOW_CONNECTIONS true, or drop them"
        )
    if strange:
        reasons.append(
            f"host {plan['from']}: the subscriptions {', '.join(strange)} can't move. Drop them, and make them anew afterwards"
        )
    if reasons:
        raise Fault("\n".join(f"{reason}." for reason in reasons))
    waited = 0
    if server.value("SHOW wal_level") != "logical":
        waited = restart_for_level(plan, say)
    source = handover.ready(
        {"server": plan["server"], "role": plan["role"], "password": plan["password"], "slot": False}
    )
    server.ask(f"GRANT pg_read_all_data TO {identifier(plan['role'])}")
    server.ask(f"ALTER ROLE {identifier(plan['role'])} BYPASSRLS")
    for database in databases_of(server):
        with session_of(server, database) as session:
            publish_database(session)
    definitions = definitions_of(server)
    roles, dumps = dumped(server, databases_of(server))
    if definitions_of(server) != definitions:
        raise Fault(
            f"host {plan['from']}: tables, roles or other definitions have changed while they were written down. Run site again"
        )
    return {**source, "waited_ms": waited, "definitions": definitions, "roles": roles, "dumps": dumps}


def publish_database(session):
    """Publish every table of a database, and the mark."""
    session.ask(f"CREATE SCHEMA IF NOT EXISTS {NAME}")
    session.ask(f"CREATE TABLE IF NOT EXISTS {NAME}.mark (number int PRIMARY KEY, value text NOT NULL)")
    session.ask(f"INSERT INTO {NAME}.mark VALUES (1, '') ON CONFLICT DO NOTHING")
    tables = [row["name"] for row in session.ask(TABLES, 60)]
    wanted = ", ".join([*tables, f"{NAME}.mark"])
    published = session.ask(
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_publication_tables"
        f" WHERE pubname = '{NAME}'"
    )
    if {row["name"] for row in published} == {*tables, f"{NAME}.mark"}:
        return
    if session.ask(f"SELECT FROM pg_publication WHERE pubname = '{NAME}'"):
        session.ask(f"ALTER PUBLICATION {NAME} SET TABLE {wanted}")
    else:
        session.ask(f"CREATE PUBLICATION {NAME} FOR TABLE {wanted}")


def dumped(server, databases):
    """Return roles and definitions as SQL: those of the whole server, and database → its own."""
    way = ["--host", os.path.dirname(server.place["socket"]), "--port", server.place["socket"].rpartition(".")[2]]
    binaries = server.place["binaries"]
    whole = as_owner([f"{binaries}/pg_dumpall", *way, "--globals-only", "--no-tablespaces"])
    dump = [f"{binaries}/pg_dump", *way, "--create", "--schema-only", "--no-publications", "--no-subscriptions"]
    return whole, {name: as_owner([*dump, f"--dbname={quoted_name(name)}"]) for name in databases}


def quoted_name(database):
    """Return a database as a program of PostgreSQL takes it: a name with a sign of its own would be a connection string."""
    return "dbname='" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"


def restart_for_level(plan, say):
    """Restart the server for C(wal_level), while clients wait; return how many milliseconds they did."""
    run = Restart(plan, say)
    report = run.go()
    if report["outcome"] in ("refused", "given back"):
        raise Fault(report["reason"])
    level = run.server.value("SHOW wal_level")
    if level != "logical":
        raise Fault(
            f"wal_level is {level} after a restart, and the handover has asked for logical. See who sets it: SELECT sourcefile FROM pg_settings WHERE"
            " name = 'wal_level'"
        )
    return report["waited_ms"]


# --- the new server -----------------------------------------------------------------------------------------------


class Follower(Server):
    """A server that follows another's rows, and is its standby until it is promoted."""

    @property
    def marker(self):
        """Where it is written down what is followed."""
        return self.data / MARKER

    def follows(self):
        """Return what is followed; nothing where nobody is.

        :return: C(id) of the handover, C(system) of the old server, its C(definitions), C(databases); C(made), whether each of them follows, C(known),
            whether the planner knows their rows, C(promoted), whether nobody is followed any more.
        """
        return handover.read(self.marker)

    def note(self, **what):
        """Write down how far it is."""
        handover.write(self.marker, json.dumps({**self.follows(), **what}), like=self.data / "PG_VERSION")

    def status(self):
        """Return what L(Server.status) would of a standby."""
        found, follows = super().status(), self.follows()
        if found["what"] == "primary" and follows:
            found.update(system=follows["system"], definitions=follows["definitions"])
            found["what"] = "primary" if follows.get("promoted") else "standby"
        return found

    def sequences(self, database, values):
        """Set sequences, which do not follow."""
        with session_of(self, database) as session:
            for name, value in values.items():
                session.ask(f"SELECT setval({quoted(name)}, {int(value)})")

    def until_whole(self, _lsn, mark, seconds):
        """Wait until every row that was written before the mark is there."""
        end = time.monotonic() + seconds
        for database in self.follows()["databases"]:
            with session_of(self, database) as session:
                while session.value(f"SELECT value FROM {NAME}.mark") != mark:
                    if time.monotonic() > end:
                        raise Fault(f"the new server has not had every row of {database} within {seconds} seconds")
                    time.sleep(LOOK)

    def promote(self, seconds):
        """Follow nobody any more."""
        self.end(seconds)
        self.note(promoted=True)

    def end(self, seconds):
        """End all subscriptions."""
        for number, database in enumerate(self.follows().get("databases", [])):
            with session_of(self, database, seconds) as session:
                name = subscription_of(number)
                if session.ask(f"SELECT FROM pg_subscription WHERE subname = '{name}'"):
                    session.ask(f"ALTER SUBSCRIPTION {name} DISABLE", seconds)
                    # Its slot is on the old server, which has ended.
                    session.ask(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)", seconds)
                    session.ask(f"DROP SUBSCRIPTION {name}", seconds)

    def tidy(self, role):
        """Forget where the rows came from."""
        for database in self.follows().get("databases", []):
            with session_of(self, database) as session:
                session.ask(f"DROP SCHEMA IF EXISTS {NAME} CASCADE")
        super().tidy(role)
        with contextlib.suppress(FileNotFoundError):
            self.marker.unlink()


def follow(config):
    """Make this host's server follow another one's rows, and return what was done.

    :arg config: see L(handover.follow); C(source) is what L(publish) returns. C(options), those of initdb; C(id) of the handover.
    """
    server, source, began = Follower(config["server"]), config["source"], time.monotonic()
    what, follows = server.what(BOUNDS["start"]), server.follows()
    if what in ("stopped", "crashed"):
        systemctl("start", config["server"]["unit"])
        what = server.what(BOUNDS["start"])
    same = follows.get("id") == config["id"] and follows.get("system") == source["system"]
    same = same and follows["definitions"] == source["definitions"]
    if not (same and follows.get("made")):
        target = handover.target_of(config, server, "gone" if follows else what, "")
        reasons = handover.unfit(source, target, logical=True)
        if reasons:
            raise Fault("\n".join(f"{reason}." for reason in reasons))
        make(config, server)
    copied = not server.follows().get("known")
    if copied:
        wait_whole(server, config)
    return {"changed": copied, "bytes": source["bytes"], "seconds": round(time.monotonic() - began, 1) if copied else 0}


def make(config, server):
    """Make an empty server anew, with the other one's roles, databases and definitions, and subscribe to its rows."""
    source, unit = config["source"], config["server"]["unit"]
    systemctl("stop", unit, needed=False)
    if server.follows():
        drop_slots(config, server.control()["system"])
    if server.data.exists():
        if (server.data / handover.VACANT).exists() or server.follows():
            shutil.rmtree(server.data)
        else:
            os.rename(server.data, f"{server.data}.before-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    as_owner([f"{config['server']['binaries']}/initdb", f"--pgdata={server.data}", *config["options"]])
    server.note(
        id=config["id"], system=source["system"], definitions=source["definitions"], databases=sorted(source["dumps"])
    )
    handover.without_standby_settings(config["server"])
    handover.write(handover.standby_file(config["server"]), following_settings(config), like=config["server"]["start"])
    server.unfence()
    systemctl("daemon-reload")
    systemctl("start", unit)
    server.what(BOUNDS["start"])
    apply(server, "postgres", without(source["roles"], config["role"]))
    for _name, dump in sorted(source["dumps"].items()):
        apply(server, "postgres", dump)
    for number, name in enumerate(sorted(source["dumps"])):
        with session_of(server, name) as session:
            session.ask(subscription(config, number, name), 60)
    server.note(made=True)


def following_settings(config):
    """Return the settings of a server that rows come to: each database has a worker of its own, and one more while it copies.

    What the host has anyway is not named, so that for few databases no restart is needed when the settings go afterwards.
    """
    workers = 2 * len(config["source"]["dumps"])
    needed = {
        "max_logical_replication_workers": workers + 2,
        "max_worker_processes": workers + 6,
        "max_replication_slots": workers + 2,
    }
    lines = [f"{name} = {value}\n" for name, value in needed.items() if value > handover.own(config, name)]
    return "".join(["# Each database that follows has a worker of its own, and one more while it copies.\n", *lines])


def drop_slots(config, system):
    """Drop what an earlier copy, which is made anew, has on the old server.

    :arg system: the system identifier of the server that has that copy.
    """
    pattern = f"^({NAME}_[0-9]+|pg_[0-9]+_sync_[0-9]+_{system})$"
    ask = [
        f"{config['server']['binaries']}/psql",
        "-X",
        "-At",
        f"--dbname={way_to(config, 'postgres')}",
        "--no-password",
        "-c",
    ]
    end = time.monotonic() + BOUNDS["connect"]
    while True:
        # A connection that has just ended may not be known to have.
        as_owner(
            [
                *ask,
                f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '{pattern}' AND NOT active",
            ]
        )
        left = as_owner([*ask, f"SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ '{pattern}'"]).split()
        if not left:
            return
        if time.monotonic() > end:
            raise Fault(f"host {config['source']['name']}: the slot {left[0]} is in use still. Run site again")
        time.sleep(0.2)


def without(roles, role):
    """Return the roles of a server, as SQL, without those that are there already or belong to the handover."""
    own = re.compile(rf"^(CREATE ROLE postgres;|(CREATE|ALTER) ROLE {role}\b.*|GRANT .* TO {role}\b.*)$")
    return "".join(f"{line}\n" for line in roles.splitlines() if not own.match(line))


def apply(server, database, text):
    """Have psql do what a dump says, all of it or a Fault."""
    place = server.place["socket"]
    with tempfile.NamedTemporaryFile("w", prefix="ntier-handover-", suffix=".sql", encoding="utf-8") as file:
        os.fchown(file.fileno(), os.stat(server.data).st_uid, -1)
        file.write(text)
        file.flush()
        command = [
            f"{server.place['binaries']}/psql",
            "--host",
            os.path.dirname(place),
            "--port",
            place.rpartition(".")[2],
        ]
        as_owner([*command, "-X", "-q", "-v", "ON_ERROR_STOP=1", f"--dbname={database}", f"--file={file.name}"])


def way_to(config, database):
    """Return how a database of the old server is reached."""
    source = config["source"]
    way = f"host={source['address']} port={source['port']} user={config['role']} {quoted_name(database)} application_name={config['role']}"
    way += f" passfile={config['passfile']} sslmode=verify-full sslrootcert={config['authority']}"
    return way + " keepalives_idle=4 keepalives_interval=2 keepalives_count=3"


def subscription(config, number, database):
    """Return the statement that subscribes a database to the same one of the other server."""
    name = subscription_of(number)
    return f"CREATE SUBSCRIPTION {name} CONNECTION {quoted(way_to(config, database))} PUBLICATION {NAME} WITH (slot_name = '{name}')"


#: How many tables of a database have not been copied yet, and how often it has failed; servers before 15 do not count that.
MISSING = "SELECT count(*) FILTER (WHERE srsubstate <> 'r') AS missing, count(*) AS tables FROM pg_subscription_rel"
FAILED = "SELECT coalesce(sum(apply_error_count + sync_error_count), 0) AS failed FROM pg_stat_subscription_stats"


def wait_whole(server, config):
    """Wait until the rows of all tables are there, and gather what the planner knows."""
    name = config["name"]
    counts = int(server.value("SHOW server_version_num")) >= 150000
    for database in server.follows()["databases"]:
        with session_of(server, database, 3600) as session:
            failed = int(session.value(FAILED)) if counts else 0
            while int(session.ask(MISSING)[0]["missing"]):
                if counts and int(session.value(FAILED)) - failed > FAILURES:
                    raise Fault(
                        f"host {name}: the rows of {database} can't be copied from {config['source']['name']}. See the log of PostgreSQL on {name}"
                    )
                time.sleep(0.5)
            session.ask("ANALYZE", 3600)
            for row in session.ask("SELECT schemaname, matviewname FROM pg_matviews WHERE NOT ispopulated"):
                view = f"{identifier(row['schemaname'])}.{identifier(row['matviewname'])}"
                session.ask(f"REFRESH MATERIALIZED VIEW {view}", 3600)
    server.note(known=True)


# --- the run ------------------------------------------------------------------------------------------------------


class LogicalRun(Run):
    """A handover of rows without their files."""

    def look(self):
        """See to it that nothing is in the way, and that the definitions are those that the new server was made from."""
        self.steady(self.new(self.bounds["connect"]).get("definitions"))
        super().look()

    def steady(self, known):
        """Raise a Fault when somebody has defined something since the new server was made."""
        if known != definitions_of(self.server):
            raise Fault(
                f"host {self.plan['from']}: tables, roles or other definitions have changed since {self.plan['to']} was made from them. Run site again,"
                " which begins the copy anew"
            )

    def own_slots(self):
        """Return a pattern of the names of the slots that belong to the handover."""
        return f"^{NAME}_"

    def followers(self):
        """Return how many connections the new server has: one for each database."""
        return len(databases_of(self.server))

    def prove(self):
        """Set the sequences, and write the mark after the last row; clients wait meanwhile."""
        seconds, mark = self.bounds["replay"], uuid.uuid4().hex
        known = self.new(seconds).get("definitions")
        for database in databases_of(self.server):
            with session_of(self.server, database) as session:
                # Who does not come by way of PgBouncer has not been told to wait.
                session.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
                found = session.ask(
                    "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename) AS name, last_value FROM pg_sequences"
                    " WHERE last_value IS NOT NULL"
                )
                values = [(row["name"], row["last_value"]) for row in found]
                for start in range(0, len(values), AT_ONCE):
                    part = dict(values[start : start + AT_ONCE])
                    self.standby.ask("sequences", seconds, database=database, values=part)
                session.ask(f"UPDATE {NAME}.mark SET value = {quoted(mark)}")
        self.steady(known)
        self.mark("sequences set, mark written")
        return {"mark": mark}


def forget(config):
    """Take off a server what only a handover needed that has not come about."""
    server = Follower(config["server"])
    if not server.process():
        return {"changed": False}
    # Nothing says any more at which port it is, but the server itself: process, folder, start, port, folder of the socket.
    lines = (server.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    server.place = {**server.place, "socket": f"{lines[4]}/.s.PGSQL.{lines[3]}"}
    if server.value("SELECT pg_is_in_recovery()") == "t":
        return {"changed": False}
    changed = False
    if server.follows() and not server.follows().get("promoted"):
        # A copy that follows nobody any more; a later handover makes it anew.
        server.end(60)
        server.note(made=False)
        return {"changed": True}
    for row in server.ask(f"SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name ~ '^{NAME}'"):
        if row["active_pid"]:
            server.ask(f"SELECT pg_terminate_backend({row['active_pid']})")
        server.until(
            f"SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = {quoted(row['slot_name'])} AND active)",
            5,
            f"the slot {row['slot_name']} is in use still",
        )
        server.ask(f"SELECT pg_drop_replication_slot({quoted(row['slot_name'])})")
        changed = True
    for database in databases_of(server):
        with session_of(server, database) as session:
            if session.ask(f"SELECT FROM pg_namespace WHERE nspname = '{NAME}'"):
                session.ask(f"DROP PUBLICATION IF EXISTS {NAME}")
                session.ask(f"DROP SCHEMA {NAME} CASCADE")
                changed = True
    if server.ask(f"SELECT FROM pg_roles WHERE rolname = {quoted(config['role'])}"):
        server.ask(f"DROP ROLE {identifier(config['role'])}")
        changed = True
    return {"changed": changed}
