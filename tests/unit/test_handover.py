"""The program that hands a database over: what it decides, and how it talks to PostgreSQL and PgBouncer, against stand-ins at real sockets."""

import ast
import contextlib
import importlib
import json
import os
import pathlib
import re
import socket
import struct
import sys
import tempfile
import threading
import time
import types

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from clusters import ROOT
from rendering import of, render, settings_in


def load():
    folder = str(ROOT / "roles/handover/files")
    sys.path.insert(0, folder)
    try:
        return tuple(importlib.import_module(name) for name in ("handover", "logical", "restart"))
    finally:
        sys.path.remove(folder)


handover, logical, restart = load()
OLD = ("primary", "standby", "stopped", "crashed", "gone")
NEW = ("primary", "standby", "unknown")
STEPS = ("", "pausing", "fenced", "promoting", "promoted", "done")
WORDS = ("begin", "back", "forward", "finish", "nothing")


# --- what is to be done, from what was written down and what the servers say -------------------------------------


@pytest.mark.parametrize(
    ("step", "old", "new", "what"),
    [
        ("", "primary", "standby", "begin"),
        ("", "primary", "unknown", "begin"),  # which refuses it with the host's name
        ("pausing", "primary", "standby", "begin"),
        ("pausing", "stopped", "standby", "back"),
        ("pausing", "crashed", "unknown", "back"),
        ("fenced", "primary", "standby", "begin"),
        ("fenced", "stopped", "standby", "forward"),
        ("fenced", "stopped", "unknown", "back"),
        ("fenced", "crashed", "standby", "back"),
        ("fenced", "standby", "standby", "back"),
        ("promoting", "stopped", "standby", "forward"),
        ("promoting", "standby", "standby", "forward"),
        ("promoting", "stopped", "primary", "finish"),
        ("promoted", "stopped", "primary", "finish"),
        ("promoted", "gone", "primary", "finish"),
        ("done", "gone", "primary", "nothing"),
        ("done", "gone", "unknown", "nothing"),
        ("done", "primary", "standby", "begin"),
        ("done", "primary", "unknown", "begin"),
    ],
)
def test_a_run_goes_on_where_the_last_one_was(step, old, new, what):
    assert handover.decide(step, old, new) == what


@pytest.mark.parametrize(
    ("old", "sentence"),
    [
        ("standby", "the old server is no primary, it follows another"),
        ("gone", "the old server has no data"),
        ("stopped", "the old server does not run. Start it"),
        ("crashed", "the old server does not run. Start it"),
    ],
)
def test_a_server_that_has_changed_since_the_plan_was_made_hands_nothing_over(old, sentence):
    """It was a primary when the run looked at the hosts."""
    for new in ("standby", "unknown"):
        assert handover.decide("", old, new) == sentence


@pytest.mark.parametrize("step", STEPS)
def test_two_primaries_are_refused(step):
    assert "are primaries" in handover.decide(step, "primary", "primary")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("old", OLD)
@pytest.mark.parametrize("new", NEW)
def test_nothing_leads_to_two_primaries_or_loses_rows(step, old, new):
    what = handover.decide(step, old, new)
    assert what in WORDS or len(what) > 25
    if what in ("begin", "back"):
        # The old server is, or becomes, a primary: nobody may ever have told the new one to be it.
        assert new != "primary"
        assert step in ("", "pausing", "fenced") or (step, old) == ("done", "primary")
    if what == "forward":
        # Every row of the old server is in what it sent, and it takes no more.
        assert old != "primary"
        assert old == "stopped" or step == "promoting"
        assert new == "standby"
    if what == "finish":
        assert step in ("promoting", "promoted")


def test_a_promotion_whose_outcome_is_unknown_is_waited_for():
    for old in OLD:
        what = handover.decide("promoting", old, "unknown")
        assert "must stay stopped" in what or "is a primary again" in what


# --- what programs print and files say ----------------------------------------------------------------------------

CONTROL = """\
pg_control version number:            1300
Database system identifier:           7443214112341234123
Database cluster state:               shut down
pg_control last modified:             Sun 22 Nov 2026 06:49:18 PM UTC
Latest checkpoint location:           0/5000028
Latest checkpoint's REDO location:    0/5000028
Latest checkpoint's TimeLineID:       3
"""


def test_pg_controldata_is_read():
    control = handover.control_of(CONTROL)
    assert control == {
        "state": "shut down",
        "checkpoint": "0/5000028",
        "system": "7443214112341234123",
        "timeline": 3,
    }
    assert handover.state_of(control) == "stopped"
    assert handover.state_of({"state": "in production"}) == "crashed"
    assert handover.state_of({"state": "shut down in recovery"}) == "standby"


INI = """\
; Ansible managed
[databases]
blog = host=10.0.0.21 port=5433 dbname=blog
my-shop = host=2001:db8::7 dbname=my-shop

[pgbouncer]
listen_port = 6432
server_tls_sslmode = verify-full
server_tls_ca_file = /etc/pgbouncer/ntier-authority.crt
"""


def test_the_way_that_pgbouncer_leads_is_read():
    assert handover.targets_of(INI) == {"blog": ("10.0.0.21", 5433), "my-shop": ("2001:db8::7", 5432)}
    assert handover.sections_of(INI)["pgbouncer"]["server_tls_sslmode"] == "verify-full"
    assert handover.targets_of("") == {}


def test_a_transaction_in_the_way_is_shown_so_that_it_can_be_found():
    row = {"pid": "71", "usename": "blog", "datname": "shop", "application_name": "", "state": "active", "age": "12"}
    assert handover.shown({**row, "query": "COPY"}) == "process 71 (blog in shop), active for 12 s: COPY"
    assert "(blog in shop, dump), " in handover.shown({**row, "query": "COPY", "application_name": "dump"})


# --- which host can take the data ---------------------------------------------------------------------------------

SOURCE = {
    "name": "box1",
    "major": 15,
    "library": "glibc 2.36",
    "locales": ["C.UTF-8"],
    "extensions": ["plpgsql"],
    "tablespaces": [],
    "bytes": 1 << 30,
    "system": "1",
}
TARGET = {
    "name": "db1",
    "major": 15,
    "library": "glibc 2.36",
    "extensions": ["plpgsql", "hstore"],
    "free": 2 << 30,
    "holds": [],
    "system": "2",
    "what": "primary",
}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({}, {}),
        ({}, {"system": "", "what": "gone"}),
        ({}, {"library": "glibc 2.41"}),
        ({}, {"system": "1", "what": "standby", "holds": ["database blog"]}),
        ({"locales": ["C", "en_US.UTF-8"]}, {}),
        ({"extensions": ["hstore", "plpgsql"]}, {}),
        ({}, {"free": handover.needed_bytes(1 << 30)}),
    ],
)
def test_a_fresh_host_and_one_that_was_prepared_before_take_the_data(source, target):
    assert handover.unfit({**SOURCE, **source}, {**TARGET, **target}) == []


@pytest.mark.parametrize(
    ("source", "target", "beginning", "fix"),
    [
        ({}, {"major": 17}, "host db1: has PostgreSQL 17, and box1 has 15", "Set database_version of db1 to '15'"),
        (
            {"locales": ["C.UTF-8", "de_DE.UTF-8"]},
            {"library": "glibc 2.41"},
            "host db1: has glibc 2.41, and box1 glibc 2.36, which may sort de_DE.UTF-8 in another way",
            "same release of the system",
        ),
        (
            {"extensions": ["plpgsql", "postgis"]},
            {},
            "host db1: lacks what the extensions postgis consist of, which databases of box1 use",
            "Install their packages for PostgreSQL 15",
        ),
        ({"tablespaces": ["fast"]}, {}, "host box1: has the tablespaces fast", "Empty and drop them"),
        ({}, {"free": (1 << 30) + 1}, "host db1: has 1024 MB free for the databases, which need 1638 MB", "add disk"),
        (
            {},
            {"system": "1"},
            "host db1: its PostgreSQL is a primary of the same data as that of box1",
            "Stop the one that no site uses",
        ),
        (
            {},
            {"holds": ["database shop"]},
            "host db1: its PostgreSQL holds database shop of its own",
            "use another host",
        ),
    ],
)
def test_a_host_that_can_not_take_the_data_is_refused_beforehand(source, target, beginning, fix):
    (reason,) = handover.unfit({**SOURCE, **source}, {**TARGET, **target})
    assert reason.startswith(beginning)
    assert fix in reason


def test_everything_that_is_in_the_way_is_listed():
    assert len(handover.unfit({**SOURCE, "tablespaces": ["a"]}, {**TARGET, "major": 14, "free": 0})) == 3


# --- files --------------------------------------------------------------------------------------------------------


def test_what_is_written_down_is_whole_and_private(tmp_path):
    path = str(tmp_path / "state.json")
    handover.write(path, '{"step": "fenced"}')
    assert handover.read(path) == {"step": "fenced"}
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["state.json"]
    assert handover.read(str(tmp_path / "none")) == {}
    handover.write(path, "{")
    with pytest.raises(handover.Fault, match="look at both servers"):
        handover.read(path)


# --- the identity under which sockets are connected ---------------------------------------------------------------


class Peers(threading.Thread):
    """A server at a socket of another user, which notes as whom it is reached."""

    def __init__(self, folder, owner):
        super().__init__(daemon=True)
        self.path, self.seen = str(folder / ".s.PGSQL.5432"), []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chown(self.path, owner, -1)
        os.chmod(self.path, 0o700)
        self.listener.listen()
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _peer = self.listener.accept()
                found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                self.seen.append(struct.unpack("3i", found)[1])
                connection.close()


@pytest.fixture
def peers(monkeypatch):
    """Give a server whose socket belongs to another user than the one who runs the tests."""
    if os.geteuid():
        pytest.skip("only root can connect as somebody else")
    monkeypatch.setattr(handover.Session, "connector", handover.Connector())
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Peers(pathlib.Path(folder), 65534)
    handover.Session.connector.end()


def test_sockets_are_connected_as_their_owner_while_every_thread_stays_who_it_is(peers, tmp_path):
    stop, others = threading.Event(), set()

    def write():
        # As the agent replaces PgBouncer's configuration in one thread, while another one opens a console.
        while not stop.is_set():
            others.add(os.geteuid())
            handover.write(str(tmp_path / "file"), "")
            others.add(os.stat(tmp_path / "file").st_uid)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _number in range(50):
            handover.Session.connector.connect(peers.path, 5).close()
    finally:
        stop.set()
        writer.join()
    assert others == {0}
    time.sleep(0.1)
    assert peers.seen == [65534] * 50


def test_a_socket_that_nobody_listens_at_is_reported_and_the_next_one_is_connected(peers):
    connector = handover.Session.connector
    peers.listener.shutdown(socket.SHUT_RDWR)
    peers.join(5)
    peers.listener.close()
    with pytest.raises(ConnectionRefusedError):
        connector.connect(peers.path, 5)
    os.unlink(peers.path)
    again = Peers(pathlib.Path(peers.path).parent, 65534)
    connector.connect(again.path, 5).close()


def test_the_program_that_connects_is_started_again_when_it_was_killed_and_ends_with_this_one(peers):
    connector = handover.Session.connector
    connector.connect(peers.path, 5).close()
    first = connector.process
    first.kill()
    first.wait()
    connector.connect(peers.path, 5).close()
    second = connector.process
    assert second.pid != first.pid
    connector.asking.close()
    assert second.wait(5) == 0
    connector.asking = None


# --- PgBouncer: a stand-in that speaks PostgreSQL's protocol at a socket ------------------------------------------


def text(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


class PgBouncer(threading.Thread):
    """Knows databases; C(busy) are those with an open transaction, whose PAUSE is not answered."""

    def __init__(self, folder, names, busy=()):
        super().__init__(daemon=True)
        self.path = str(folder / ".s.PGSQL.6432")
        self.databases = {name: {"paused": False, "host": "10.0.0.11", "port": "5432"} for name in names}
        self.busy = set(busy)
        self.file = folder / "ntier.ini"
        self.commands = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            connection, _peer = self.listener.accept()
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    def talk(self, connection):
        channel = handover.Channel(connection)
        with contextlib.suppress(OSError):
            (size,) = struct.unpack("!I", channel.take(4))
            assert channel.take(size - 4)[4:].startswith(b"user\0pgbouncer\0database\0pgbouncer\0")
            connection.sendall(text(b"R", struct.pack("!I", 0)) + text(b"S", b"a\0b\0") + text(b"Z", b"I"))
            while True:
                kind, body = channel.message()
                assert kind == b"Q"
                answer = self.reply(body.rstrip(b"\0").decode())
                if answer is not None:
                    connection.sendall(answer + text(b"Z", b"I"))

    def reply(self, command):
        if command == "SHOW DATABASES":
            rows = [[name, e["host"], e["port"], str(int(e["paused"]))] for name, e in self.databases.items()]
            names = b"".join(name.encode() + b"\0" + bytes(18) for name in ("name", "host", "port", "paused"))
            reply = text(b"T", struct.pack("!H", 4) + names)
            for row in rows:
                cells = b"".join(struct.pack("!i", len(cell)) + cell.encode() for cell in row)
                reply += text(b"D", struct.pack("!H", 4) + cells)
            return reply + text(b"C", b"SHOW\0")
        self.commands.append(command)
        word, _space, name = command.partition(" ")
        name = name.strip('"')
        if word == "RELOAD":
            for name, (host, port) in handover.targets_of(self.file.read_text()).items():
                self.databases[name].update(host=host, port=str(port))
        elif word == "RESUME" and not self.databases[name]["paused"]:
            return text(b"E", b"SERROR\0Mdatabase is not paused\0\0")
        elif word in ("PAUSE", "RESUME"):
            self.databases[name]["paused"] = word == "PAUSE"
            if word == "PAUSE" and name in self.busy:
                return None
        return text(b"C", word.encode() + b"\0")


@pytest.fixture
def bouncer(tmp_path):
    (tmp_path / "ntier.ini").write_text(INI.replace("10.0.0.21", "10.0.0.11").replace("2001:db8::7", "10.0.0.11"))
    (tmp_path / "ntier.ini.next").write_text(INI)
    return PgBouncer(tmp_path, ["blog", "my-shop", "another"])


def pooler_of(bouncer, said=None):
    place = {"socket": bouncer.path, "file": str(bouncer.file), "next": f"{bouncer.file}.next"}
    databases = [{"name": name, "user": name} for name in ("blog", "my-shop", "unknown")]
    return handover.Pooler(place, databases, (said if said is not None else []).append)


def test_each_database_is_paused_and_resumed_by_its_name_and_others_are_let_alone(bouncer):
    pooler = pooler_of(bouncer)
    pooler.pause(10, 20)
    assert sorted(pooler.paused()) == ["blog", "my-shop"]
    assert pooler.resume()["resumed"] == ["blog", "my-shop"]
    assert sorted(bouncer.commands) == ['PAUSE "blog"', 'PAUSE "my-shop"', 'RESUME "blog"', 'RESUME "my-shop"']
    assert pooler.resume()["resumed"] == []


def test_a_pause_is_measured(bouncer):
    pooler = pooler_of(bouncer)
    pooler.pause(10, 20)
    time.sleep(0.05)
    pooler.pause(10, 20)
    assert 50 <= pooler.resume()["waited_ms"] < 5000
    assert pooler.resume()["waited_ms"] == 0


def test_a_client_that_stays_in_its_transaction_ends_the_pause_and_names_its_database(bouncer):
    bouncer.busy = {"my-shop"}
    pooler = pooler_of(bouncer)
    began = time.monotonic()
    with pytest.raises(handover.Fault, match="clients of my-shop have not ended"):
        pooler.pause(0.2, 20)
    assert time.monotonic() - began < 2
    assert sorted(pooler.resume()["resumed"]) == ["blog", "my-shop"]
    bouncer.busy = set()
    pooler.pause(10, 20)
    assert sorted(pooler.paused()) == ["blog", "my-shop"]


def test_clients_go_on_by_themselves_when_nobody_says_so(bouncer):
    said = []
    pooler = pooler_of(bouncer, said)
    pooler.pause(1, 0.1)
    end = time.monotonic() + 5
    while pooler.paused() and time.monotonic() < end:
        time.sleep(0.02)
    assert pooler.paused() == []
    assert said == ["nobody has said within its time that clients may go on: they do"]


def test_clients_are_led_to_the_new_server_before_they_go_on(bouncer):
    pooler = pooler_of(bouncer)
    pooler.pause(10, 20)
    bouncer.commands.clear()
    pooler.switch()
    assert bouncer.commands == ["RELOAD", 'RESUME "blog"', 'RESUME "my-shop"']
    assert bouncer.databases["blog"]["host"] == "10.0.0.21"
    assert bouncer.file.read_text() == INI
    assert not os.path.exists(f"{bouncer.file}.next")
    bouncer.commands.clear()
    pooler.switch()
    assert bouncer.commands == ["RELOAD"]


def test_clients_are_not_let_go_on_to_the_old_server(bouncer):
    pooler = pooler_of(bouncer)
    pooler.pause(10, 20)
    bouncer.reply = lambda command, plain=bouncer.reply: text(b"C", b"RELOAD\0") if command == "RELOAD" else plain(command)  # fmt: skip
    with pytest.raises(
        handover.Fault, match=r"leads blog to 10\.0\.0\.11, port 5432, and not to 10\.0\.0\.21, port 5433"
    ):
        pooler.switch()
    assert sorted(pooler.paused()) == ["blog", "my-shop"]


# --- the agent ----------------------------------------------------------------------------------------------------


def agent_of(bouncer, said):
    place = {"socket": bouncer.path, "file": str(bouncer.file), "next": f"{bouncer.file}.next"}
    databases = [{"name": "blog", "user": "blog"}]
    return handover.Agent({"id": "box1-db1", "token": "t", "databases": databases, "pooler": place}, said.append)


def ask(agent, **request):
    return json.loads(agent.answer(json.dumps({"id": "box1-db1", "token": "t", **request})))


def test_an_agent_does_what_it_is_asked_for(bouncer):
    agent = agent_of(bouncer, [])
    assert ask(agent, do="hello") == {"ok": True}
    assert ask(agent, do="pause", seconds=10, dead_man=20) == {"ok": True}
    assert bouncer.databases["blog"]["paused"]
    assert ask(agent, do="resume")["resumed"] == ["blog"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"token": "another", "do": "pause"}, "the token is another"),
        ({"token": None, "do": "pause"}, "the token is another"),
        ({"id": "box1-db2", "do": "pause"}, "handover box1-db1, not box1-db2"),
        ({"do": "promote"}, "can't promote"),
        ({"do": "exec"}, "can't exec"),
        ({}, "can't None"),
    ],
)
def test_an_agent_refuses_strangers_and_what_its_host_does_not_have(bouncer, request_, reason):
    said = []
    answer = ask(agent_of(bouncer, said), **request_)
    assert answer["ok"] is False
    assert reason in answer["error"]
    assert bouncer.commands == []
    assert len(said) == 1


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff"])
def test_an_agent_survives_nonsense(bouncer, line):
    assert json.loads(agent_of(bouncer, []).answer(line))["ok"] is False


# --- knocking at a server -----------------------------------------------------------------------------------------


def server_that_says(message):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _peer = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(message)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def test_a_server_that_asks_for_a_password_would_let_the_site_in():
    handover.knock("127.0.0.1", server_that_says(text(b"R", struct.pack("!I", 10))), "blog", "blog", None)


def test_a_server_that_turns_the_site_away_is_noticed_before_anybody_waits():
    port = server_that_says(text(b"E", b"SFATAL\0Mno pg_hba.conf entry for host\0\0"))
    with pytest.raises(handover.Fault, match=r"turns away blog in shop: no pg_hba\.conf entry for host"):
        handover.knock("127.0.0.1", port, "shop", "blog", None)


def test_a_server_without_tls_and_one_that_is_not_there_are_noticed():
    with pytest.raises(handover.Fault, match="has no TLS"):
        handover.knock("127.0.0.1", server_that_says(b"N"), "blog", "blog", "/dev/null")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(handover.Fault, match=r"can't be reached"):
        handover.knock("127.0.0.1", port, "blog", "blog", None)


# --- what the role writes for the program -------------------------------------------------------------------------


@of("handover/plan.json.j2")
def test_the_plan_has_all_that_the_run_reads(tmp_path):
    plan = json.loads(render("handover/plan.json.j2"))
    assert (plan["id"], plan["from"], plan["to"]) == ("box1-db1", "box1", "db1")
    assert plan["standby"] == {"name": "db1", "address": "10.0.0.21", "port": 6433}
    assert plan["poolers"] == [{"name": "box1", "address": "10.0.0.11", "port": 6433}]
    assert plan["databases"] == [{"name": "shop", "user": "shop"}]
    assert set(plan["bounds"]) <= set(handover.BOUNDS)
    assert plan["server"]["data"] == "/var/lib/postgresql/15/main"
    assert plan["server"]["socket"] == "/run/postgresql/.s.PGSQL.5432"
    (tmp_path / "token").write_text("t\n")
    run = handover.Run({**plan, "token": str(tmp_path / "token")}, print)
    assert run.bounds["pause"] == 1
    assert run.standby.place == ("10.0.0.21", 6433)


@of("handover/agent.json.j2")
def test_an_agent_can_do_what_its_host_has_and_nothing_else():
    secret = {"handover_secret": "s" * 32}
    plain = json.loads(render("handover/agent.json.j2", **secret))
    assert (plain["pooler"], plain["server"]) == ({}, {})
    assert len(plain["token"]) == 64
    assert plain["token"] != json.loads(render("handover/agent.json.j2", handover_secret="t" * 32))["token"]
    said = []
    agent = handover.Agent(plain, said.append)
    request = {"id": plain["id"], "token": plain["token"], "do": "pause"}
    assert "can't pause" in json.loads(agent.answer(json.dumps(request)))["error"]


@of("handover/source.conf.j2")
def test_a_copy_is_made_over_tls():
    settings = settings_in(render("handover/source.conf.j2"))
    assert settings["ssl"] == "on"
    assert settings["ssl_key_file"] == "'/etc/ntier-handover/source.key'"


@of("handover/ntier-handover.service.j2")
@of("handover/ntier-handover-agent.service.j2")
def test_what_is_killed_goes_on_at_once_and_after_a_power_failure():
    run = settings_of(render("handover/ntier-handover.service.j2"))
    agent = settings_of(render("handover/ntier-handover-agent.service.j2"))
    assert run["ExecStart"] == "/usr/local/sbin/ntier-handover run"
    assert agent["ExecStart"] == "/usr/local/sbin/ntier-handover agent"
    # A run that ended by itself has said why, and is not to be tried for ever.
    assert (run["Restart"], agent["Restart"]) == ("on-abnormal", "always")
    for unit in (run, agent):
        assert unit["RestartSec"] == "100ms"
        assert unit["WantedBy"] == "multi-user.target"


def settings_of(unit):
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line and not line.startswith("#"))


def test_the_data_has_the_same_form_where_it_was_handed_over_before_as_on_a_fresh_host():
    variables = (ROOT / "roles/handover/vars/main.yml").read_text()
    options = re.search(r"__handover_options: \[(.*)\]", variables)[1].split(", ")
    fresh = settings_in(render("database/createcluster.conf.j2"))["initdb_options"].strip("'").split()
    assert set(fresh) <= set(options)


# --- the run, against agents that answer in its place -------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "STATE", str(tmp_path / "state.json"))
    monkeypatch.setattr(handover, "REPORT", str(tmp_path / "report.json"))
    monkeypatch.setattr(handover, "systemctl", lambda *words, **more: None)
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "main").mkdir()
    (tmp_path / "main/PG_VERSION").write_text("15\n")
    plan = json.loads(render("handover/plan.json.j2"))
    plan["server"].update(data=str(tmp_path / "main"), start=str(tmp_path / "start.conf"))
    (tmp_path / "start.conf").write_text("auto\n")
    plan["token"] = str(tmp_path / "token")
    plan["poolers"] = [{"name": name, "address": "127.0.0.1", "port": 1} for name in ("box1", "web2")]
    result = handover.Run(plan, lambda text: None)
    result.server.mask = tmp_path / "postgresql@15-main.service"
    result.bounds.update(retry=0, reconnect=1)
    result.asked = []
    return result


def answering(run, refuse=()):
    """Have every agent answer; those in *refuse*, as C(host, request), once with a Fault."""
    refuse = list(refuse)

    def ask(link, do, bound, **more):
        run.asked.append((link.name, do))
        if (link.name, do) in refuse:
            refuse.remove((link.name, do))
            raise handover.Fault(f"host {link.name}: not now")
        return {"waited_ms": 7} if do in ("switch", "resume") else {}

    for link in (run.standby, *run.poolers):
        link.ask = lambda do, bound, link=link, **more: ask(link, do, bound, **more)


def stopped(run, monkeypatch):
    monkeypatch.setattr(run.server, "process", lambda: None)
    monkeypatch.setattr(run.server, "control", lambda: {"state": "shut down", "checkpoint": "0/28"})
    run.state["step"] = "fenced"


def test_the_server_is_fenced_and_the_step_written_down_before_the_standby_is_promoted(run, monkeypatch):
    stopped(run, monkeypatch)
    answering(run)
    plain, seen = run.standby.ask, []

    def promote(do, bound, **more):
        if do == "promote":
            seen.append((handover.read(handover.STATE)["step"], (run.server.data / "standby.signal").exists()))
        return plain(do, bound, **more)

    run.standby.ask = promote
    report = run.forward()
    assert seen == [("promoting", True)]
    assert report["outcome"] == "done"
    assert report["pause_ms"] == 7
    assert handover.read(handover.STATE)["step"] == "done"
    assert os.path.islink(run.server.mask)
    assert not run.server.data.exists()
    assert os.path.exists(os.path.join(report["kept"], "standby.signal"))


def test_a_server_that_did_not_end_in_order_is_not_followed_by_a_promotion(run, monkeypatch):
    stopped(run, monkeypatch)
    monkeypatch.setattr(run.server, "control", lambda: {"state": "in production", "checkpoint": "0/28"})
    answering(run)
    with pytest.raises(handover.Fault, match="has not ended in order"):
        run.forward()
    assert ("db1", "promote") not in run.asked


def test_a_standby_that_lacks_rows_is_not_promoted(run, monkeypatch):
    stopped(run, monkeypatch)
    answering(run, [("db1", "replay")])
    with pytest.raises(handover.Fault, match="not now"):
        run.forward()
    assert ("db1", "promote") not in run.asked
    assert run.state["step"] == "fenced"


def test_a_pooler_that_does_not_switch_is_asked_again_though_it_was_given_back_before(run):
    run.waited = {"box1": 900, "web2": 800}
    run.state["step"] = "promoting"
    answering(run, [("web2", "switch")])
    report = run.finish()
    assert [who for who, do in run.asked if do == "switch"].count("web2") == 2
    assert [who for who, do in run.asked if do == "switch"].count("box1") == 1
    assert report["waited_ms"] == {"box1": 900, "web2": 800}


def test_a_pooler_that_refuses_is_asked_again_after_longer_and_longer_pauses(run, monkeypatch):
    """Each request makes its PgBouncer read its files again."""
    run.state["step"] = "promoting"
    answering(run, [("web2", "switch")] * 8)
    rests = []
    monkeypatch.setattr(handover.time, "sleep", rests.append)
    run.finish()
    assert [who for who, do in run.asked if do == "switch"].count("web2") == 9
    assert rests == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2]


def test_what_clients_waited_in_an_earlier_move_between_the_same_hosts_is_not_reported_again(run, monkeypatch):
    handover.write(handover.STATE, json.dumps({"id": "box1-db1", "step": "done", "runs": 1, "waited": {"box1": 900}}))
    again = handover.Run(run.plan, lambda text: None)
    again.bounds.update(retry=0)
    assert again.waited == {"box1": 900}
    monkeypatch.setattr(again.server, "what", lambda seconds: "primary")
    monkeypatch.setattr(again, "look", lambda: None)
    monkeypatch.setattr(again, "new", lambda seconds: {"what": "standby"})
    again.asked = []
    answering(again, [("web2", "pause")] * handover.ATTEMPTS)
    assert again.go()["waited_ms"] == {"box1": 7, "web2": 7}


def test_there_is_no_way_back_from_a_promotion(run):
    for step in ("promoting", "promoted"):
        run.state["step"] = step
        with pytest.raises(AssertionError):
            run.back()


def test_a_failed_pause_leads_back_and_everybody_goes_on(run, monkeypatch):
    monkeypatch.setattr(run.server, "what", lambda seconds: "primary")
    monkeypatch.setattr(run, "look", lambda: None)
    run.standby.ask = None
    answering(run, [("web2", "pause")] * handover.ATTEMPTS)
    monkeypatch.setattr(run, "new", lambda seconds: {"what": "standby"})
    rests = []
    monkeypatch.setattr(handover.time, "sleep", rests.append)
    run.bounds["retry"] = 2
    report = run.go()
    assert (report["outcome"], report["reason"]) == ("given back", "host web2: not now")
    assert rests == [2, 4, 8, 16]
    assert [who for who, do in run.asked if do == "resume"].count("box1") == handover.ATTEMPTS
    assert not (run.server.data / "standby.signal").exists()
    assert handover.read(handover.STATE)["step"] == ""


@pytest.fixture
def looking(run, monkeypatch):
    """A run that looks at the hosts once more; C(found) says what the new server is, and C(slots) are the old one's."""
    answering(run)
    run.found, run.slots = {"what": "standby", "system": "1"}, []
    monkeypatch.setattr(run, "new", lambda seconds: run.found)
    monkeypatch.setattr(run, "caught_up", lambda most: None)
    monkeypatch.setattr(run, "short", lambda seconds: None)
    monkeypatch.setattr(run.server, "what", lambda seconds: "primary")
    monkeypatch.setattr(run.server, "value", lambda statement, seconds=5: "1")
    monkeypatch.setattr(run.server, "ask", lambda statement, seconds=5: run.slots if "slots" in statement else [])
    return run


def test_all_hosts_are_looked_at_once_more_before_anybody_waits(looking):
    looking.look()
    assert [who for who, do in looking.asked if do == "hello"].count("db1") == 1
    assert {who for who, do in looking.asked if do == "look"} == {"box1", "web2"}
    assert "pause" not in [do for _who, do in looking.asked]


@pytest.mark.parametrize(
    ("found", "slots", "sentence"),
    [
        (
            {"what": "standby", "system": "2"},
            [],
            "host db1: its data is of another server (2, and not 1). Prepare it anew",
        ),
        (
            {"what": "unknown", "reason": "connection refused"},
            [],
            "host db1: its PostgreSQL is no standby (connection refused). Prepare it anew",
        ),
        (
            {"what": "standby", "system": "1"},
            [{"slot_name": "reports"}, {"slot_name": "search"}],
            "host box1: the logical replication slots reports, search can't move. Drop them, and make them anew afterwards",
        ),
    ],
)
def test_what_has_changed_since_the_copy_is_refused_before_anybody_waits(looking, found, slots, sentence):
    """Somebody has made the new server anew, or follows the old one since: the old one serves on."""
    looking.found, looking.slots = found, slots
    report = looking.go()
    assert (report["outcome"], report["reason"]) == ("refused", sentence)
    assert "pause" not in [do for _who, do in looking.asked]
    assert handover.read(handover.REPORT)["outcome"] == "refused"


def test_a_server_that_has_become_a_primary_meanwhile_is_not_written_over(looking):
    """By somebody's hand: what it has taken since is nowhere else."""
    looking.found = {"what": "primary", "system": "1"}
    report = looking.go()
    assert report["outcome"] == "refused"
    assert report["reason"].startswith("both the old and the new server are primaries")
    assert looking.asked == []


@pytest.mark.parametrize(
    "state", ["{", '{"id": "box1-db9", "step": "fenced"}', '{"id": "box1-db1", "step": "done", "runs": 1}']
)
def test_what_an_earlier_run_has_reported_is_not_taken_for_what_this_one_does(run, tmp_path, monkeypatch, state):
    """Nothing has been written down that can be read, another handover has not ended, the server ends its connections."""
    monkeypatch.setattr(handover, "PLAN", str(tmp_path / "plan.json"))
    (tmp_path / "plan.json").write_text(json.dumps(run.plan))
    (tmp_path / "report.json").write_text('{"outcome": "done"}')
    (tmp_path / "state.json").write_text(state)
    monkeypatch.setattr(handover.Server, "what", lambda self, seconds: "primary")
    monkeypatch.setattr(handover.Run, "new", lambda self, seconds: {"what": "standby", "system": "1"})
    monkeypatch.setattr(handover.Run, "all", lambda self, *words, **more: {})

    def ended(self, statement, seconds=5):
        raise ConnectionError("the database system is shutting down")

    monkeypatch.setattr(handover.Server, "value", ended)
    assert handover.main(["run"]) == 1
    assert handover.read(handover.REPORT)["outcome"] == "refused"


@pytest.mark.parametrize("way", [handover.ready, lambda plan: logical.publish(plan, print)])
def test_nobody_copies_from_a_server_that_follows_another_by_now(run, monkeypatch, way):
    """It was a primary when the run looked at the hosts. Nothing is done to it."""
    told = []
    monkeypatch.setattr(handover.Server, "value", lambda self, statement, seconds=5: "t")
    monkeypatch.setattr(handover.Server, "ask", lambda self, statement, seconds=5: told.append(statement) or [])
    with pytest.raises(handover.Fault, match="PostgreSQL is no primary here, it follows another"):
        way({**run.plan, "password": "p"})
    assert told == []


@pytest.mark.parametrize("path", ["handover/tasks/run.yml", "media_move/tasks/lead.yml"])
def test_a_run_goes_on_after_a_move_that_came_to_its_end_alone(path):
    """What the program reports decides, and its reason is shown."""
    tasks = DataLoader().load_from_file(str(ROOT / "roles" / path), trusted_as_template=True)
    (task,) = [task["ansible.builtin.assert"] for task in tasks if "ansible.builtin.assert" in task]
    for outcome in ("done", "refused", "given back", "unfinished"):
        result = {"outcome": outcome, "reason": "host db1: not now"}
        templar = Templar(DataLoader(), {"__handover_result": result, "__media_move_result": result})
        assert templar.evaluate_conditional(task["that"]) is (outcome == "done")
        assert templar.template(task["fail_msg"]).endswith(f" is {outcome}: host db1: not now")


def test_a_handover_to_another_host_waits_for_the_end_of_the_first(run, monkeypatch):
    monkeypatch.setattr(handover.Server, "what", lambda self, seconds: "stopped")
    run.record("fenced")
    with pytest.raises(handover.Fault, match=r"handover box1-db1 has not ended: its step is fenced"):
        handover.Run({**run.plan, "id": "box1-db2"}, print)
    run.record("done")
    handover.Run({**run.plan, "id": "box1-db2"}, print)


@pytest.mark.parametrize("step", ["pausing", "fenced"])
def test_a_handover_of_which_nothing_has_come_is_in_nobody_s_way(run, monkeypatch, step):
    """It was cut off, and the old server goes on: rows may move to another host."""
    monkeypatch.setattr(handover.Server, "what", lambda self, seconds: "primary")
    (run.server.data / "standby.signal").touch()
    run.record(step)
    assert handover.Run({**run.plan, "id": "box1-db2"}, print).state == {"id": "box1-db2", "step": "", "runs": 1}
    assert (run.server.data / "standby.signal").exists() is (step == "pausing")


def test_two_runs_do_not_prepare_a_server_at_the_same_time(tmp_path, monkeypatch, capsys):
    """The second one waits for the first, and finds what that has made."""
    monkeypatch.setattr(handover, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(json, "load", lambda _file: {})
    under_way, most = [], []

    def command(_config):
        under_way.append(1)
        time.sleep(0.05)
        most.append(len(under_way))
        under_way.pop()
        return {"changed": False}

    monkeypatch.setattr(handover, "command_of", lambda _word, _say: command)
    threads = [threading.Thread(target=handover.main, args=(["follow"],)) for _number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1]


def test_a_standby_has_no_less_than_its_primary_and_is_promoted_at_once():
    settings = settings_in(handover.standby_settings({"max_connections": 120}))
    assert settings == {"max_connections": "120", "wal_retrieve_retry_interval": "50ms"}


@pytest.fixture
def standby(tmp_path, monkeypatch):
    """What a program is told of a host that becomes a standby, whose configuration has the settings of an earlier time."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/ntier_standby.conf").write_text("max_connections = 900\n")
    (tmp_path / "start.conf").write_text("auto\n")
    place = {"start": str(tmp_path / "start.conf"), "data": str(tmp_path / "main"), "binaries": "/b", "unit": "u"}
    names = {"max_connections": 100, "max_worker_processes": 8, "max_logical_replication_workers": 4, "max_replication_slots": 10}  # fmt: skip

    def own(_config, name):
        file = tmp_path / "conf.d/ntier_standby.conf"
        kept = settings_in(file.read_text()) if file.exists() else {}
        return int(kept.get(name, names[name]))

    monkeypatch.setattr(handover, "own", own)
    monkeypatch.setattr(handover, "systemctl", lambda *words, **more: None)
    monkeypatch.setattr(logical, "systemctl", lambda *words, **more: None)
    return {"name": "db1", "server": {**place, "socket": "/s"}, "role": "r", "passfile": "/p", "authority": "/a", "rate": 0}  # fmt: skip


def test_settings_of_a_standby_are_those_of_now_and_go_when_it_is_promoted(standby, tmp_path, monkeypatch):
    """They come later than the host's own, and would override them for ever."""
    monkeypatch.setattr(handover, "as_owner", lambda command: (tmp_path / "main.incoming").mkdir())
    monkeypatch.setattr(handover.Server, "unfence", lambda self: None)
    source = {"name": "box1", "address": "a", "port": 1, "settings": {"max_connections": 150}}
    server = handover.Server(standby["server"])
    handover.copy({**standby, "source": source}, server)
    file = tmp_path / "conf.d/ntier_standby.conf"
    assert settings_in(file.read_text())["max_connections"] == "150"
    monkeypatch.setattr(server, "ask", lambda statement, seconds=5: told.append((statement, file.exists())))
    told = []
    server.tidy("r")
    assert ("SELECT pg_reload_conf()", False) in told
    server.tidy("r")


@pytest.mark.parametrize(
    ("databases", "expected"),
    [
        (1, {}),
        (2, {"max_logical_replication_workers": "6", "max_worker_processes": "10"}),
        (5, {"max_logical_replication_workers": "12", "max_worker_processes": "16", "max_replication_slots": "12"}),
    ],
)
def test_few_databases_are_followed_with_the_settings_that_a_host_has_anyway(
    standby, tmp_path, monkeypatch, databases, expected
):
    """Where they go afterwards, the server would have to restart."""
    config = {**standby, "source": {"dumps": dict.fromkeys(range(databases))}}
    handover.without_standby_settings(config["server"])
    assert settings_in(logical.following_settings(config)) == expected


# --- the copy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "limit"), [(100, ["--max-rate=100M"]), (5000, ["--max-rate=1024M"]), (0, [])])
def test_a_copy_leaves_visitors_disk_and_network(rate, limit):
    source = {"name": "box1", "address": "192.0.2.1", "port": 5432}
    config = {"server": {"binaries": "/usr/lib/postgresql/15/bin"}, "source": source, "role": "copier"}
    command = handover.copying({**config, "passfile": "/p", "authority": "/a", "rate": rate}, "/data.incoming")
    assert command[:2] == ["/usr/lib/postgresql/15/bin/pg_basebackup", "--pgdata=/data.incoming"]
    assert [word for word in command if word.startswith("--max-rate")] == limit


# --- rows without their files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ({}, {"major": 17}),
        ({"locales": ["en_US.UTF-8"]}, {"library": "glibc 2.41", "major": 17}),
        ({"locales": ["en_US.UTF-8"]}, {"library": "glibc 2.41"}),
    ],
)
def test_rows_go_where_files_can_t(source, target):
    reasons = handover.unfit({**SOURCE, **source}, {**TARGET, **target})
    assert reasons
    assert all("handover_logical: true" in reason for reason in reasons)
    assert handover.unfit({**SOURCE, **source}, {**TARGET, **target}, logical=True) == []


@pytest.mark.parametrize(
    ("source", "target", "beginning"),
    [
        ({}, {"major": 14}, "host db1: has PostgreSQL 14, and box1 has 15. Rows go to the same version or a newer one"),
        ({"extensions": ["postgis"]}, {"major": 17}, "host db1: lacks what the extensions postgis consist of"),
        ({"tablespaces": ["fast"]}, {}, "host box1: has the tablespaces fast"),
        ({}, {"free": 0}, "host db1: has 0 MB free"),
        ({}, {"holds": ["database blog"]}, "host db1: its PostgreSQL holds database blog of its own"),
    ],
)
def test_what_rows_need_as_files_do(source, target, beginning):
    (reason,) = handover.unfit({**SOURCE, **source}, {**TARGET, **target}, logical=True)
    assert reason.startswith(beginning)


def table(name, told="t", persistence="p"):
    return {"name": name, "told": told, "persistence": persistence}


@pytest.mark.parametrize(
    ("contents", "beginning"),
    [
        ({}, ""),
        ({"shop": {"tables": [table("public.a")], "objects": 0}}, ""),
        (
            {"shop": {"tables": [table("public.a"), table("public.b", "f"), table("c.d", "f")], "objects": 0}},
            "host box1: the tables public.b, c.d of the database shop have no primary key, by which their rows are told apart. Give them one, or say"
            " ALTER TABLE public.b REPLICA IDENTITY FULL",
        ),
        (
            {"shop": {"tables": [table("public.a", "f", "u")], "objects": 0}},
            "host box1: the tables public.a of the database shop are UNLOGGED",
        ),
        ({"shop": {"tables": [], "objects": 3}}, "host box1: the database shop has 3 large objects, which do not"),
        ({"postgres": {"tables": [table("public.a")], "objects": 0}}, "host box1: the database postgres has tables"),
    ],
)
def test_what_rows_would_leave_behind_is_named(contents, beginning):
    reasons = logical.obstacles("box1", contents)
    assert len(reasons) == bool(beginning)
    assert not beginning or reasons[0].startswith(beginning)


def test_roles_come_without_those_that_are_there_already():
    roles = (
        "CREATE ROLE ntier_handover;\nALTER ROLE ntier_handover WITH LOGIN PASSWORD 'x';\nCREATE ROLE postgres;\n"
        "ALTER ROLE postgres WITH SUPERUSER;\nCREATE ROLE ntier_handover_friend;\nGRANT pg_read_all_data TO ntier_handover GRANTED BY postgres;\n"
        "GRANT shop TO keeper GRANTED BY postgres;\n"
    )
    assert logical.without(roles, "ntier_handover").splitlines() == [
        "ALTER ROLE postgres WITH SUPERUSER;",
        "CREATE ROLE ntier_handover_friend;",
        "GRANT shop TO keeper GRANTED BY postgres;",
    ]


def test_rows_are_followed_over_tls_whatever_the_database_is_called():
    source = {"name": "box1", "address": "192.0.2.1", "port": 5432}
    config = {"source": source, "role": "ntier_handover", "passfile": "/p", "authority": "/a"}
    statement = logical.subscription(config, 3, "o'brien host=evil")
    assert "CREATE SUBSCRIPTION ntier_handover_3 CONNECTION 'host=192.0.2.1 port=5432" in statement
    assert r"dbname=''o\''brien host=evil''" in statement
    assert "sslmode=verify-full sslrootcert=/a" in statement
    assert statement.endswith("WITH (slot_name = 'ntier_handover_3')")
    assert logical.identifier('a"b') == '"a""b"'


class Answers:
    """A server that is asked: what it is, and what each database says; what it was told stands in C(told)."""

    def __init__(self, databases=("shop",), **answers):
        self.databases, self.answers, self.told = databases, answers, []

    def open(self, _server, database, _seconds=60):
        @contextlib.contextmanager
        def session():
            yield types.SimpleNamespace(
                ask=lambda statement, _seconds=5: self.ask(statement, database),
                value=lambda statement, _seconds=5: next(iter(self.ask(statement, database)[0].values())),
            )

        return session()

    def ask(self, statement, database="postgres"):
        self.told.append((database, statement))
        if statement == logical.DATABASES:
            return [{"name": name} for name in self.databases]
        for words, answer in self.answers.items():
            if words in statement:
                return answer.pop(0) if isinstance(answer, list) and answer and isinstance(answer[0], list) else answer
        return []


@pytest.fixture
def follower(tmp_path, monkeypatch):
    (tmp_path / "main").mkdir()
    (tmp_path / "main/PG_VERSION").write_text("17\n")
    place = {
        "data": str(tmp_path / "main"),
        "unit": "postgresql@17-main.service",
        "start": str(tmp_path / "etc/start.conf"),
        "socket": "/run/postgresql/.s.PGSQL.5432",
    }
    result = logical.Follower(place)
    result.note(id="box1-db1", system="71", definitions="d", databases=["blog", "shop"])
    return result


def asked(monkeypatch, server, **answers):
    """Have a server answer in the place of PostgreSQL."""
    found = Answers(("blog", "shop"), **answers)
    monkeypatch.setattr(logical, "session_of", found.open)
    monkeypatch.setattr(server, "ask", lambda statement, _seconds=5: found.ask(statement))
    return found


def test_a_server_that_follows_is_a_standby_of_the_other_one_until_it_is_promoted(follower, monkeypatch):
    row = {"recovery": "f", "system": "99", "replayed": None, "received": None, "major": "17"}
    found = asked(monkeypatch, follower, pg_is_in_recovery=[row], pg_subscription=[{"?": ""}])
    assert {key: follower.status()[key] for key in ("what", "system", "definitions")} == {
        "what": "standby",
        "system": "71",
        "definitions": "d",
    }
    found.told.clear()
    follower.promote(5)
    for number, database in enumerate(["blog", "shop"]):
        name = f"ntier_handover_{number}"
        assert [words for where, words in found.told if where == database][1:] == [
            f"ALTER SUBSCRIPTION {name} DISABLE",
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        ]
    assert follower.status()["what"] == "primary"
    follower.tidy("ntier_handover")
    assert ("shop", "DROP SCHEMA IF EXISTS ntier_handover CASCADE") in found.told
    assert follower.follows() == {}
    assert follower.status()["what"] == "primary"
    assert follower.status()["system"] == "99"


def test_rows_are_all_there_when_every_database_has_the_mark(follower, monkeypatch):
    mark = "ntier_handover.mark"
    found = asked(monkeypatch, follower, **{mark: [[{"value": ""}], [{"value": "m"}], [{"value": "m"}]]})
    follower.until_whole("0/28", "m", 5)
    assert [where for where, _words in found.told] == ["blog", "blog", "shop"]
    asked(monkeypatch, follower, **{mark: [{"value": "of an earlier attempt"}]})
    with pytest.raises(handover.Fault, match="has not had every row of blog within"):
        follower.until_whole("0/28", "m", 0.05)


def test_an_agent_sets_sequences_where_rows_are_followed_and_nowhere_else(tmp_path, monkeypatch):
    place = {"data": str(tmp_path), "unit": "postgresql@17-main.service", "socket": "/run/postgresql/.s.PGSQL.5432"}
    config = {"id": "a", "token": "t", "databases": [], "server": place}
    plain = handover.Agent({**config, "logical": False}, print)
    request = {"id": "a", "token": "t", "do": "sequences", "database": "shop", "values": {"public.a_id_seq": "41"}}
    assert "can't sequences" in json.loads(plain.answer(json.dumps(request)))["error"]
    agent = handover.Agent({**config, "logical": True}, print)
    found = asked(monkeypatch, agent.server)
    assert json.loads(agent.answer(json.dumps(request)))["ok"]
    assert found.told == [("shop", "SELECT setval('public.a_id_seq', 41)")]


@pytest.fixture
def rows_run(run, monkeypatch):
    """A run that hands rows over."""
    result = handover.run_of({**run.plan, "logical": True}, lambda text: None)
    assert isinstance(result, logical.LogicalRun)
    result.server, result.bounds, result.asked = run.server, run.bounds, run.asked
    return result


def test_sequences_are_set_and_the_mark_is_written_while_clients_wait_before_the_old_server_is_fenced(
    rows_run, monkeypatch
):
    events = []
    found = asked(
        monkeypatch,
        rows_run.server,
        pg_sequences=[{"name": "public.a_id_seq", "last_value": "41"}],
        pg_authid=[{"md5": "s"}],
        pg_class=[{"md5": "d"}],
    )
    definitions = "s blog d shop d"
    monkeypatch.setattr(rows_run, "new", lambda seconds: {"what": "standby", "definitions": definitions})
    monkeypatch.setattr(rows_run, "hold", lambda: events.append("hold"))
    monkeypatch.setattr(rows_run.server, "fence", lambda: events.append("fence"))
    monkeypatch.setattr(rows_run.server, "stop", lambda seconds: events.append("stop"))
    monkeypatch.setattr(rows_run, "forward", lambda: events.append(rows_run.state["mark"]))
    rows_run.standby.ask = lambda do, bound, **more: events.append((do, more["database"], more["values"])) or {}
    rows_run.begin()
    values = {"public.a_id_seq": "41"}
    assert events[:-1] == ["hold", ("sequences", "blog", values), ("sequences", "shop", values), "fence", "stop"]
    marks = {words for _where, words in found.told if words.startswith("UPDATE")}
    assert marks == {f"UPDATE ntier_handover.mark SET value = '{events[-1]}'"}
    assert handover.read(handover.STATE)["mark"] == events[-1]


def test_who_defines_something_meanwhile_is_noticed_before_the_old_server_is_fenced(rows_run, monkeypatch):
    asked(monkeypatch, rows_run.server, pg_authid=[{"md5": "s"}], pg_class=[{"md5": "another"}])
    monkeypatch.setattr(rows_run, "new", lambda seconds: {"what": "standby", "definitions": "s blog d shop d"})
    monkeypatch.setattr(rows_run, "hold", lambda: None)
    monkeypatch.setattr(rows_run.server, "fence", lambda: pytest.fail("fenced"))
    rows_run.standby.ask = lambda do, bound, **more: {}
    for step in (rows_run.look, rows_run.begin):
        with pytest.raises(
            handover.Fault, match=r"definitions have changed since db1 was made from them\. Run site again"
        ):
            step()


def test_each_database_has_a_connection_that_has_to_be_near(rows_run, monkeypatch):
    near = {"state": "streaming", "lag": "10"}
    rows_run.bounds["catch_up"] = 0.2
    monkeypatch.setattr(rows_run, "followers", lambda: 2)
    for rows, enough in (
        ([near, near], True),
        ([near], False),
        ([near, {**near, "lag": "5000000"}], False),
        ([], False),
    ):
        monkeypatch.setattr(rows_run.server, "ask", lambda statement, rows=rows: rows)
        if enough:
            rows_run.caught_up(handover.LAG)
        else:
            with pytest.raises(handover.Fault, match=r"the standby .* after 0\.2 seconds"):
                rows_run.caught_up(handover.LAG)


@pytest.mark.parametrize("part", ["handover.py", "logical.py", "restart.py"])
def test_the_parts_of_the_program_are_installed_and_speak_python_3_9(part):
    tasks = (ROOT / "roles/handover/tasks/program.yml").read_text()
    assert part in tasks
    ast.parse((ROOT / "roles/handover/files" / part).read_text(), feature_version=(3, 9))


def test_the_program_finds_its_parts_where_they_are_installed():
    library = yaml.safe_load((ROOT / "roles/handover/vars/main.yml").read_text())["__handover_library"]
    assert f'sys.path.insert(0, "{library}")' in (ROOT / "roles/handover/files/ntier-handover").read_text()


@of("handover/source.conf.j2")
def test_an_old_server_lets_its_rows_be_followed_where_that_is_asked_for():
    assert "wal_level" not in settings_in(render("handover/source.conf.j2"))
    settings = settings_in(render("handover/source.conf.j2", handover_logical=True))
    assert settings["wal_level"] == "logical"
    assert int(settings["max_replication_slots"]) == int(settings["max_wal_senders"]) == 100


def test_what_a_handover_has_left_goes_wherever_the_server_listens(follower, monkeypatch):
    follower.marker.unlink()
    lines = ["1", str(follower.data), "0", "5444", "/run/pg", "*", "", "ready"]
    (follower.data / "postmaster.pid").write_text("\n".join(lines))
    places, slot, role = [], [{"slot_name": "ntier_handover_0", "active_pid": "77"}], [{"?": ""}]

    class Here(logical.Follower):
        def process(self):
            return 1

        def ask(self, statement, _seconds=5):
            places.append(self.place["socket"])
            return found.ask(statement)

    found = Answers(("shop",), **{"pg_is_in_recovery": [{"r": "f"}], "active_pid": slot, "AND active": [{"r": "t"}]})
    found.answers.update({"pg_roles": role, "pg_namespace": [{"?": ""}]})
    monkeypatch.setattr(logical, "Follower", Here)
    monkeypatch.setattr(logical, "session_of", found.open)
    assert logical.forget({"server": follower.place, "role": "ntier_handover"}) == {"changed": True}
    assert set(places) == {"/run/pg/.s.PGSQL.5444"}
    told = [words for _where, words in found.told]
    for words in (
        "SELECT pg_terminate_backend(77)",
        "SELECT pg_drop_replication_slot('ntier_handover_0')",
        "DROP PUBLICATION IF EXISTS ntier_handover",
        "DROP SCHEMA ntier_handover CASCADE",
        'DROP ROLE "ntier_handover"',
    ):
        assert words in told, told
    monkeypatch.setattr(Here, "process", lambda self: None)
    assert logical.forget({"server": follower.place, "role": "ntier_handover"}) == {"changed": False}


@pytest.fixture
def following(follower, monkeypatch):
    """What C(follow) is told, and a list of what it does."""
    done = []
    config = {
        "id": "box1-db1",
        "name": "db1",
        "server": follower.place,
        "source": {"name": "box1", "system": "71", "definitions": "d", "bytes": 5},
    }
    monkeypatch.setattr(logical, "Follower", lambda place: follower)
    monkeypatch.setattr(follower, "what", lambda seconds: "primary")
    monkeypatch.setattr(handover, "target_of", lambda *words: done.append(("looked", words[2])) or {})
    monkeypatch.setattr(handover, "unfit", lambda *words, logical: [])
    monkeypatch.setattr(logical, "make", lambda config, server: done.append("made") or server.note(made=True))
    monkeypatch.setattr(logical, "wait_whole", lambda server, config: done.append("waited") or server.note(known=True))
    return config, follower, done


@pytest.mark.parametrize(
    ("noted", "source", "expected"),
    [
        ({}, {}, [("looked", "gone"), "made", "waited"]),  # a copy that was begun, and is no use
        ({"made": True}, {}, ["waited"]),  # the run was killed while rows came
        ({"made": True, "known": True}, {}, []),
        ({"made": True, "known": True}, {"definitions": "others"}, [("looked", "gone"), "made"]),
        ({"made": True, "known": True}, {"system": "72"}, [("looked", "gone"), "made"]),
    ],
)
def test_a_copy_is_gone_on_with_as_long_as_it_is_one_of_the_old_server_as_it_is(following, noted, source, expected):
    config, server, done = following
    server.note(**noted)
    result = logical.follow({**config, "source": {**config["source"], **source}})
    assert done == expected
    assert result["changed"] == ("waited" in expected)
    assert result["bytes"] == 5


def test_a_fresh_host_is_looked_at_before_anything_is_made(following, monkeypatch):
    config, server, done = following
    server.marker.unlink()
    monkeypatch.setattr(handover, "unfit", lambda *words, logical: ["host db1: no"])
    with pytest.raises(handover.Fault, match=r"^host db1: no\.$"):
        logical.follow(config)
    assert done == [("looked", "primary")]


def test_what_an_earlier_copy_had_on_the_old_server_goes_first(monkeypatch):
    left = [["ntier_handover_0", "pg_16390_sync_16401_99"], ["ntier_handover_0"], []]
    told = []

    def psql(command):
        told.append(command[-1])
        assert "sslmode=verify-full" in command[3]
        return "" if "drop" in command[-1] else "\n".join(left.pop(0))

    source = {"name": "box1", "address": "192.0.2.1", "port": 5432}
    config = {"server": {"binaries": "/b"}, "source": source, "role": "r", "passfile": "/p", "authority": "/a"}
    monkeypatch.setattr(logical, "as_owner", psql)
    logical.drop_slots(config, "99")
    assert left == []
    assert all("'^(ntier_handover_[0-9]+|pg_[0-9]+_sync_[0-9]+_99)$'" in statement for statement in told)
    assert all("NOT active" in statement for statement in told if "drop" in statement)
    left = [["ntier_handover_0"]] * 9
    monkeypatch.setitem(logical.BOUNDS, "connect", 0.1)
    with pytest.raises(handover.Fault, match="the slot ntier_handover_0 is in use still"):
        logical.drop_slots(config, "99")


def test_rows_that_can_t_be_copied_are_not_waited_for_for_ever(follower, monkeypatch):
    failed = [[{"failed": str(count)}] for count in (2, 2, 4, 6)]
    missing = [[{"missing": "3"}] for _look in range(9)]
    asked(
        monkeypatch,
        follower,
        **{"server_version_num": [{"v": "170000"}], "pg_stat_subscription_stats": failed, "srsubstate": missing},
    )
    monkeypatch.setattr(logical.time, "sleep", lambda seconds: None)
    with pytest.raises(handover.Fault, match="the rows of blog can't be copied from box1"):
        logical.wait_whole(follower, {"name": "db1", "source": {"name": "box1"}})
    assert failed == []
    assert "known" not in follower.follows()


# --- a restart while clients wait ---------------------------------------------------------------------------------

WAITING = {
    "name": "max_connections",
    "value": "100",
    "unit": "",
    "kind": "integer",
    "running": "100",
    "configured": "130",
}


class Place:
    """A server and its clients: what they are asked, in order, and what they answer."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.events, self.monkeypatch = folder, [], monkeypatch
        self.what, self.pending, self.refuse, self.absent = ["primary"], [], [], []
        self.file = folder / "etc/conf.d/ntier.conf"
        self.file.parent.mkdir(parents=True)
        self.file.write_text("max_connections = 130\n")
        (folder / "15/main").mkdir(parents=True)
        (folder / "15/main/PG_VERSION").write_text("15\n")
        (folder / "etc/start.conf").write_text("auto\n")
        (folder / "token").write_text("t\n")
        self.drop_ins = folder / "postgresql@.service.d"
        self.drop_ins.mkdir()
        self.plan = {
            "id": "db1-",
            "from": "db1",
            "server": {
                "data": str(folder / "15/main"),
                "start": str(folder / "etc/start.conf"),
                "binaries": "/b",
                "unit": "u",
                "socket": "/s",
            },
            "poolers": [{"name": name, "address": "127.0.0.1", "port": 1} for name in ("web1", "web2")],
            "pooler": {},
            "databases": None,
            "token": str(folder / "token"),
            "authority": "",
            "unit_files": [str(self.drop_ins)],
        }
        monkeypatch.setattr(restart, "STATE", str(folder / "restart.json"))
        monkeypatch.setattr(restart, "systemctl", self.systemctl)
        monkeypatch.setattr(handover, "systemctl", self.systemctl)
        monkeypatch.setattr(handover.time, "sleep", lambda seconds: self.events.append(f"rest {seconds}"))

    def systemctl(self, *words, **_more):
        self.events.append(" ".join(words))

    def renewed(self):
        self.events.append("restart u")
        if "restart" in self.refuse:
            raise handover.Fault("systemctl restart u: not done within 40 seconds")
        return self.what.pop(0) if len(self.what) > 1 else self.what[0]

    def run(self):
        result = restart.Restart(self.plan, lambda text: None)
        for link in result.poolers:
            link.ask = lambda do, bound, link=link, **more: self.ask(link.name, do)
        server = result.server
        server.what = lambda seconds: self.what.pop(0) if len(self.what) > 1 else self.what[0]
        server.ask = lambda statement, seconds=5: self.asked(statement)
        server.value = lambda statement, seconds=5: "1000"
        server.start = lambda seconds: self.events.append("start")
        result.renewed = self.renewed
        result.trial = lambda options: self.events.append("tried") or ""
        return result

    def ask(self, name, do):
        self.events.append(f"{do} {name}")
        if (name, do) in self.refuse:
            self.refuse.remove((name, do))
            raise handover.Fault(f"host {name}: not now")
        if do == "there":
            return {"there": name not in self.absent}
        return {"waited_ms": 800} if do == "resume" else {}

    def asked(self, statement):
        if statement == restart.PENDING:
            return [{**WAITING, "file": str(self.file)}] if self.pending is None else self.pending
        if "pg_stat_activity" not in statement:
            self.events.append(statement)
        return []


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give a server that waits for a restart."""
    result = Place(tmp_path, monkeypatch)
    result.pending = [{**WAITING, "file": str(result.file)}]
    os.utime(result.drop_ins, (0, 999))
    return result


def test_clients_wait_while_the_server_restarts_and_go_on_afterwards(place):
    report = place.run().go()
    assert report == {"outcome": "done", "reason": "", "for": ["max_connections 100 → 130"], "waited_ms": 800}
    order = ["tried", "CHECKPOINT", "pause web1", "restart u", "resume web1"]
    places = [len(place.events) - 1 - place.events[::-1].index(name) for name in order]
    assert places == sorted(places)
    assert {"pause web2", "resume web2"} <= set(place.events)
    assert not os.path.exists(restart.STATE)
    assert place.file.read_text() == "max_connections = 130\n"


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), SystemExit(1)])
def test_clients_go_on_whatever_happens_while_they_wait(place, monkeypatch, trouble):
    def write(path, *_more, **_others):
        if path == restart.STATE:
            place.events.append("fails")
            raise trouble

    monkeypatch.setattr(handover, "write", write)
    with contextlib.suppress(SystemExit):
        assert place.run().go()["outcome"] == "refused"
    after = place.events[place.events.index("fails") :]
    assert {"resume web1", "resume web2"} <= set(after)
    assert "restart u" not in after


def test_the_first_restart_of_a_host_makes_the_folder_of_its_state(place, tmp_path, monkeypatch):
    monkeypatch.setattr(restart, "STATE", str(tmp_path / "new/restart.json"))
    assert place.run().go()["outcome"] == "done"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_server_that_has_nothing_to_restart_for_is_left_alone(place):
    place.pending = []
    report = place.run().go()
    assert report["outcome"] == "nothing"
    assert not {"restart u", "pause web1"} & set(place.events)


def test_a_drop_in_that_was_written_since_the_start_is_a_reason_to_restart(place):
    place.pending = []
    (place.drop_ins / "confine.conf").write_text("")
    (place.drop_ins / "old.conf").write_text("")
    os.utime(place.drop_ins / "old.conf", (0, 999))
    (place.drop_ins / "bad.conf.refused").write_text("")
    report = place.run().go()
    assert report["for"] == [str(place.drop_ins / "confine.conf")]
    assert place.events.index("daemon-reload") < place.events.index("restart u")
    (place.drop_ins / "confine.conf").unlink()
    assert place.run().go()["for"] == [str(place.drop_ins)]
    os.utime(place.drop_ins, (0, 999))
    assert place.run().go()["outcome"] == "nothing"


def test_a_host_without_pgbouncer_has_no_clients_that_would_wait(place):
    """It is about to become a web host."""
    place.absent = ["web2"]
    assert place.run().go()["outcome"] == "done"
    assert "pause web2" not in place.events
    assert "pause web1" in place.events


def test_nobody_waits_when_a_pgbouncer_can_not_be_asked(place):
    """A dead host is told of, and not waited for for ever."""
    place.refuse = [("web2", "there")]
    report = place.run().go()
    assert (report["outcome"], report["reason"]) == ("refused", "host web2: not now")
    assert not {"restart u", "pause web1"} & set(place.events)


def test_clients_that_are_busy_are_let_go_on_before_the_restart_is_tried_again(place):
    place.refuse = [("web2", "pause")] * 2
    assert place.run().go()["outcome"] == "done"
    assert place.events.count("pause web1") == 3
    assert [event for event in place.events if event.startswith("rest ")] == ["rest 2", "rest 4"]
    # Once before anything, after each attempt, and at the end.
    assert place.events.count("resume web1") == 4


def test_a_server_whose_clients_are_always_busy_goes_on_as_it_was(place):
    place.refuse = [("web2", "pause")] * handover.ATTEMPTS
    report = place.run().go()
    assert (report["outcome"], report["reason"]) == ("refused", "host web2: not now")
    assert "restart u" not in place.events
    assert place.events[-1] == "resume web2"


def test_a_long_transaction_is_shown_before_anybody_waits(place):
    row = {
        "pid": "71",
        "usename": "u",
        "datname": "d",
        "application_name": "",
        "state": "active",
        "age": "9",
        "query": "q",
    }
    place.plan["bounds"] = {"transactions": -1}
    run = place.run()
    plain = run.server.ask
    run.server.ask = lambda statement, seconds=5: [row] if "pg_stat_activity" in statement else plain(statement)
    report = run.go()
    assert report["reason"].startswith(
        "host db1: process 71 (u in d), active for 9 s: q. Every client would wait for it"
    )
    assert "so PostgreSQL has not been restarted" in report["reason"]
    assert "pause web1" not in place.events


def test_settings_with_which_no_server_starts_are_noticed_before_anybody_waits(place):
    """The file has the running values again, so that the server starts after a power failure."""
    run = place.run()
    run.trial = lambda options: "" if options else "could not map anonymous shared memory: Cannot allocate memory"
    report = run.go()
    assert (report["outcome"], report["for"]) == ("refused", ["max_connections 100 → 130"])
    assert report["reason"].endswith("does not start with the new settings: could not map anonymous shared memory: Cannot allocate memory")  # fmt: skip
    assert settings_in(place.file.read_text())["max_connections"] == "'100'"
    assert place.events[-1] == "SELECT pg_reload_conf()"
    assert "pause web1" not in place.events


def test_a_trial_that_fails_with_the_running_settings_too_says_nothing_of_the_new_ones(place):
    """The server gets them back if it does not start."""
    run, tried = place.run(), []
    run.trial = lambda options: tried.append(options) or "could not open directory"
    assert run.go()["outcome"] == "done"
    assert tried == [[], ["-c", "max_connections=100"]]


@pytest.mark.parametrize(("version", "way"), [("17", ["--check"]), ("14", ["--boot", "-x0"])])
def test_new_settings_are_tried_on_a_folder_of_their_own(place, tmp_path, version, way):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/postgres"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/told; ls "$(dirname "$0")" >&2; echo "x FATAL:  no memory" >&2; exit 1\n'
    )
    program.chmod(0o755)
    place.plan["server"]["binaries"] = str(tmp_path / "bin")
    data = tmp_path / "15/main"
    (data / "PG_VERSION").write_text(f"{version}\n")
    (data / "pg_notify").mkdir()
    run = restart.Restart(place.plan, print)
    assert run.trial(["-c", "a=1"]) == "no memory"
    words = (tmp_path / "told").read_text().split()
    assert words[: len(way)] == way
    assert words[-2:] == ["-c", "a=1"]
    folder = words[words.index("-D") + 1]
    assert f"data_directory={folder}" in words
    assert str(data) not in words
    assert not os.path.exists(folder)
    program.write_text("#!/bin/sh\nexit 0\n")
    assert run.trial([]) == ""


@pytest.mark.parametrize(
    ("script", "processes", "answers", "expected"),
    [
        # The server answers long before systemd has noticed.
        ("sleep 30", [1, None, 2, 2], ["starting", "f"], "primary"),
        ("exit 0", [1, 2], ["f"], "primary"),
        # The old one has not ended yet, or another one follows.
        ("exit 1", [1, 1], [], "stopped"),
        ("exit 0", [1, 2], ["t"], "stopped"),
        ("sleep 30", [1, 1], [], "not done within 0.2 seconds"),
    ],
)
def test_clients_wait_no_longer_than_until_the_server_answers(
    place, tmp_path, monkeypatch, script, processes, answers, expected
):
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    place.what, place.plan["bounds"] = ["stopped"], {"start": 0.2 if "within" in expected else 20}
    run = place.run()
    del run.renewed
    run.server.process = lambda: processes.pop(0) if len(processes) > 1 else processes[0]

    def value(statement, seconds=5):
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        if found == "starting":
            raise ConnectionError("the database system is starting up")
        return found

    run.server.value = value
    began = time.monotonic()
    if "within" in expected:
        with pytest.raises(handover.Fault, match=expected):
            run.renewed()
    else:
        assert run.renewed() == expected
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("way", ["it ends", "it hangs"])
def test_a_server_that_does_not_start_gets_its_settings_back_and_clients_go_on(place, way):
    (place.drop_ins / "confine.conf").write_text("")
    place.what = ["primary", "stopped"]
    place.refuse = ["restart"] if way == "it hangs" else []
    report = place.run().go()
    assert report["outcome"] == "given back"
    assert report["reason"].startswith("PostgreSQL does not start with the new settings: ")
    assert settings_in(place.file.read_text())["max_connections"] == "'100'"
    assert os.listdir(place.drop_ins) == ["confine.conf.refused"]
    assert report["reason"].endswith(
        f"It runs without {place.drop_ins}/confine.conf now, kept with the ending .refused"
    )
    assert place.events[-4:] == ["daemon-reload", "start", "resume web1", "resume web2"]
    assert not os.path.exists(restart.STATE)


def test_clients_go_on_even_when_the_server_does_not_start_at_all(place):
    """They are told then, and do not wait for nothing."""
    place.what = ["primary", "stopped"]
    run = place.run()

    def start(_seconds):
        raise handover.Fault("u has been started, and is no primary")

    run.server.start = start
    assert run.go()["outcome"] == "refused"
    assert place.events[-1] == "resume web2"


@pytest.mark.parametrize(
    ("what", "outcome"), [("primary", "done"), ("stopped", "given back"), ("crashed", "given back")]
)
def test_a_restart_that_was_killed_is_ended_by_the_next_attempt(place, what, outcome):
    """Systemd has ended what it began: the server has started, or it has not. The clients still wait."""
    handover.write(restart.STATE, json.dumps({"settings": place.pending, "files": []}))
    place.pending, place.what = [], [what]
    report = place.run().go()
    assert (report["outcome"], report["for"]) == (outcome, ["max_connections 100 → 130"])
    assert "resume web1" in place.events
    assert "restart u" not in place.events
    assert ("start" in place.events) is (outcome == "given back")


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        (WAITING, "max_connections = '100'"),
        # Its own unit is 8kB, and 1000MB would be shown as it is written.
        (
            {"name": "shared_buffers", "value": "16384", "kind": "integer", "running": "128MB"},
            "shared_buffers = '16384'",
        ),
        ({"name": "listen_addresses", "value": "*", "kind": "string", "running": "*"}, "listen_addresses = '*'"),
        ({"name": "a", "value": "x", "kind": "string", "running": "it's a\\b"}, "a = 'it''s a\\\\b'"),
    ],
)
def test_a_setting_is_put_back_as_the_server_had_it(setting, line):
    assert restart.again(setting) == line


def test_a_server_says_why_it_does_not_start():
    log = "2026 LOG:  starting\n2026 FATAL:  could not map\n2026 HINT:  less\n"
    assert restart.reason_in(log) == "could not map"
    assert restart.reason_in("LOG: ready") == ""


def test_the_pgbouncer_of_the_server_s_own_host_needs_no_network(bouncer, tmp_path):
    plan = {"id": "db1-", "from": "box1", "databases": None, "pooler": {"socket": bouncer.path, "file": "", "next": ""}}
    here = handover.Here(plan, {"name": "box1"}, "t", print)
    assert here.ask("there", 5) == {"there": True}
    # All of its databases, whatever the inventory says by now.
    here.ask("pause", 5, seconds=10, dead_man=20)
    assert all(entry["paused"] for entry in bouncer.databases.values())
    assert sorted(here.ask("resume", 5)["resumed"]) == ["another", "blog", "my-shop"]
    bouncer.busy = {"blog"}
    with pytest.raises(handover.Fault, match=r"^host box1: clients of blog have not ended"):
        here.ask("pause", 5, seconds=0.2, dead_man=20)
    here.ask("resume", 5)
    nobody = handover.Here({**plan, "pooler": {"socket": str(tmp_path / "none")}}, {"name": "box1"}, "t", print)
    assert nobody.ask("there", 5) == {"there": False}


def test_the_plan_of_a_restart_leads_to_every_pgbouncer(tmp_path, monkeypatch):
    variables = DataLoader().load_from_file(str(ROOT / "roles/handover/vars/main.yml"), trusted_as_template=True)
    variables |= DataLoader().load_from_file(str(ROOT / "roles/handover/defaults/main.yml"), trusted_as_template=True)
    source = {"name": "db1", "address": "10.0.0.21", "port": 5432}
    poolers = [{"name": "db1", "address": "10.0.0.21"}, {"name": "web1", "address": "10.0.0.11"}]
    own = {
        "handover_source": source,
        "handover_target": {},
        "handover_poolers": poolers,
        "handover_version": "15",
        "handover_secret": "s" * 40,
        "handover_unit_files": ["/d"],
        "inventory_hostname": "db1",
        "ntier_authority": {"certificate": "C"},
    }
    plan = Templar(DataLoader(), {**variables, **own}).template(variables["__handover_restart"])
    assert (plan["id"], plan["databases"], plan["authority"], plan["unit_files"]) == ("db1-", None, "C", ["/d"])
    (tmp_path / "token").write_text("t")
    run = restart.Restart({**plan, "token": str(tmp_path / "token")}, print)
    assert [type(link) for link in run.poolers] == [handover.Here, handover.Link]
    assert run.poolers[1].place == ("10.0.0.11", 6433)
    # PgBouncer turns clients away after a minute.
    assert run.bounds["dead_man"] < 60


@pytest.mark.parametrize(
    ("outcome", "level", "fault"),
    [
        ("done", "logical", None),
        ("nothing", "replica", "wal_level is replica after a restart"),
        ("refused", "replica", "web2: not now"),
        ("given back", "replica", "web2: not now"),
    ],
)
def test_an_old_server_restarts_so_that_its_rows_can_be_followed(monkeypatch, outcome, level, fault):
    report = {"outcome": outcome, "reason": "web2: not now", "waited_ms": 7}
    server = types.SimpleNamespace(value=lambda statement: level)
    monkeypatch.setattr(logical, "Restart", lambda plan, say: types.SimpleNamespace(go=lambda: report, server=server))
    if fault is None:
        assert logical.restart_for_level({}, print) == 7
    else:
        with pytest.raises(handover.Fault, match=fault):
            logical.restart_for_level({}, print)
