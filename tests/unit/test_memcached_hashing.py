"""The cache on several memcached servers: which server has a key, and what a visitor notices of one that is gone."""

import collections
import contextlib
import importlib.util
import itertools
import os
import signal
import socket
import socketserver
import struct
import threading
import time

import pytest
from clusters import ROOT

TIMEOUT = 0.3


def load(name):
    """Return a module of the overlay."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"roles/release/files/overlay/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def overlay(monkeypatch):
    """Return the module as a process has it that has just started; servers are asked again sooner than in real life."""
    module = load("ntier_memcached")
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.01)
    return module


@pytest.fixture
def cache(overlay):
    """Return a function that makes Django's cache of servers."""

    def make(*servers):
        options = {"connect_timeout": TIMEOUT, "timeout": TIMEOUT, "no_delay": True}
        return overlay.PyMemcacheCache([getattr(server, "place", server) for server in servers], {"OPTIONS": options})

    return make


# --- which server has a key ---------------------------------------------------------------------------------------

KEYS = [f":1:views.decorators.cache.cache_page.{number}" for number in range(6000)]


def hosts(number):
    return [f"10.0.0.{20 + host}:11211" for host in range(number)]


def places(cache, servers):
    """Return the server of each key."""
    client = cache(*servers)._cache
    return {key: client._get_client(key).server for key in KEYS}


@pytest.mark.parametrize("number", [1, 2, 3, 5, 9])
def test_one_host_more_takes_its_share_of_the_keys_and_moves_no_other(cache, number):
    before, after = places(cache, hosts(number)), places(cache, hosts(number + 1))
    moved = [key for key in KEYS if before[key] != after[key]]
    assert len(moved) / len(KEYS) == pytest.approx(1 / (number + 1), rel=0.15)
    assert {after[key] for key in moved} == {(f"10.0.0.{20 + number}", 11211)}


@pytest.mark.parametrize("number", [2, 3, 5, 9])
def test_one_host_less_moves_its_own_keys_alone_and_spreads_them_over_all_others(cache, number):
    gone, *rest = hosts(number)
    before, after = places(cache, [gone, *rest]), places(cache, rest)
    moved = collections.Counter(after[key] for key in KEYS if before[key] != after[key])
    assert all(before[key] == after[key] for key in KEYS if before[key] != ("10.0.0.20", 11211))
    assert len(moved) == len(rest)
    assert min(moved.values()) > 0.6 * max(moved.values())


def test_each_host_has_about_the_same_number_of_keys(cache):
    shares = collections.Counter(places(cache, hosts(5)).values())
    assert all(share / len(KEYS) == pytest.approx(1 / 5, rel=0.15) for share in shares.values())


def test_the_order_of_the_hosts_does_not_matter(cache):
    assert places(cache, hosts(5)) == places(cache, hosts(5)[::-1])


def test_every_process_finds_the_same_server(cache):
    """The figures are fixed: a web host with another Python or pymemcache must not look elsewhere."""
    servers = {key: server[0] for key, server in places(cache, hosts(3)).items()}
    assert [servers[key][-1] for key in KEYS[:24]] == list("222012220200101222101021")


def test_keys_of_any_script_have_a_server(cache):
    assert cache(*hosts(3))._cache._get_client("ключ-é-鍵").server[1] == 11211


# --- servers that are not there -----------------------------------------------------------------------------------


class Memcached(socketserver.ThreadingTCPServer):
    """As much of memcached as Django's cache asks for; it can freeze, go with its values, and come back."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Conversation)
        self.place = f"127.0.0.1:{self.server_address[1]}"
        self.values, self.connections, self.requests = {}, [], collections.Counter()
        self.awake = threading.Event()
        self.awake.set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def go(self):
        """Stop, as a killed process does: nobody listens and all connections are closed."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)


class Conversation(socketserver.StreamRequestHandler):
    """One connection to memcached."""

    def handle(self):
        self.server.connections.append(self.request)
        try:
            for line in self.rfile:
                self.server.awake.wait()
                if answer := self.answer(*line.split()):
                    self.wfile.write(answer + b"\r\n")
        except OSError:
            pass

    def answer(self, command, key=b"", *more):
        values = self.server.values
        self.server.requests[command.decode()] += 1
        if command == b"set":
            values[key] = (more[0], self.rfile.read(int(more[2]) + 2)[:-2])
            return b"STORED"
        if command in (b"get", b"gets"):
            found = [name for name in (key, *more) if name in values]
            parts = [b"VALUE %s %s %d\r\n%s\r\n" % (k, values[k][0], len(values[k][1]), values[k][1]) for k in found]
            return b"".join([*parts, b"END"])
        if command == b"delete":
            return b"DELETED" if values.pop(key, None) else b"NOT_FOUND"
        if command == b"flush_all":
            values.clear()
        return {b"version": b"VERSION 1", b"flush_all": b"OK"}.get(command, b"NOT_FOUND")


@pytest.fixture
def memcached():
    """Return a function that starts a server, at a port where it has to be the same one again."""
    started = []

    def start(port=0):
        started.append(Memcached(port))
        return started[-1]

    yield start
    for server in started:
        server.awake.set()
        server.shutdown()
        server.server_close()


def closed():
    """Return a place at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def black_hole():
    """Yield a place at which packets vanish: the kernel drops the attempts to connect that its full queue has no room for."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _connection in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in waiting:
            connection.close()


def keys_of(cache, place, number=10):
    """Return keys that a server has."""
    client = cache._cache
    server = tuple(place.rsplit(":", 1))
    names = (f"key{count}" for count in itertools.count())
    mine = (key for key in names if client._get_client(cache.make_key(key)).server == (server[0], int(server[1])))
    return list(itertools.islice(mine, number))


def wait_until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def page(cache, keys):
    """Do all that a page may do with a cache; return what it found and how long that took."""
    start = time.monotonic()
    found = {
        "get": cache.get(keys[0]),
        "get_default": cache.get(keys[0], "default"),
        "set": cache.set(keys[1], "x"),
        "add": cache.add(keys[2], "x"),
        "get_or_set": cache.get_or_set(keys[3], lambda: "made"),
        "get_many": cache.get_many(keys),
        "set_many": sorted(cache.set_many(dict.fromkeys(keys[4:6], "x"))),
        "touch": cache.touch(keys[6]),
        "incr": cache.incr(keys[7]),
        "decr": cache.decr(keys[7]),
        "has": keys[8] in cache,
        "delete": cache.delete(keys[8]),
        "delete_many": cache.delete_many(keys),
        "close": cache.close(),
    }
    return found, time.monotonic() - start


NOTHING = {
    "get": None,
    "get_default": "default",
    "set": None,
    "add": False,
    "get_or_set": "made",
    "get_many": {},
    "touch": False,
    "incr": False,
    "decr": False,
    "has": False,
    "delete": False,
    "delete_many": None,
    "close": None,
}


@pytest.mark.parametrize("others", [0, 1, 4])
@pytest.mark.parametrize("kind", ["closed", "black hole", "frozen"])
def test_a_page_waits_once_for_a_server_that_is_gone_the_next_not_at_all_and_neither_fails(
    cache, memcached, black_hole, kind, others
):
    frozen = memcached()
    frozen.awake.clear()
    place = {"closed": closed(), "black hole": black_hole, "frozen": frozen.place}[kind]
    site = cache(place, *(memcached() for _server in range(others)))
    keys = keys_of(site, place)
    expected = {**NOTHING, "set_many": sorted(keys[4:6])}
    found, seconds = page(site, keys)
    assert found == expected
    assert seconds < 1.8 * TIMEOUT
    for _page in range(20):
        found, seconds = page(site, keys)
        assert found == expected
        assert seconds < TIMEOUT
        time.sleep(0.02)


def test_the_other_servers_serve_on(cache, memcached):
    alive, gone = memcached(), closed()
    site = cache(alive, gone)
    mine, lost = keys_of(site, alive.place), keys_of(site, gone)
    failed = site.set_many(dict.fromkeys([*mine, *lost], "value"))
    assert sorted(failed) == sorted(lost)
    assert site.get_many([*mine, *lost]) == dict.fromkeys(mine, "value")
    assert not any(site.get(key) for key in lost)


def test_threads_share_what_one_of_them_found_out(cache, memcached, black_hole):
    site = cache(black_hole)
    page(site, keys_of(site, black_hole))
    seconds = []

    def visit():
        other = cache(black_hole)  # Django makes one for each thread
        seconds.append(page(other, keys_of(other, black_hole))[1])

    threads = [threading.Thread(target=visit) for _thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seconds) == 8
    assert max(seconds) < TIMEOUT


def test_a_server_that_is_back_is_used_again_soon_and_without_a_page_asking_for_it(cache, memcached, overlay):
    server = memcached()
    site = cache(server)
    site.set("greeting", "hello")
    server.go()
    assert site.get("greeting") is None
    assert site._cache._away
    memcached(int(server.place.split(":")[1]))
    wait_until(lambda: not site._cache._away, 1)
    site.set("greeting", "again")
    assert site.get("greeting") == "again"


def test_a_server_that_was_restarted_between_two_requests_is_not_taken_for_a_dead_one(cache, memcached):
    server = memcached()
    site = cache(server)
    # More than one connection is idle.
    threads = [threading.Thread(target=site.set, args=("greeting", "hello")) for _thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.go()
    memcached(int(server.place.split(":")[1]))
    site.set("greeting", "again")
    assert site.get("greeting") == "again"
    assert not site._cache._away


# --- old values ---------------------------------------------------------------------------------------------------


def test_what_could_not_be_changed_while_a_server_was_cut_off_is_gone_when_it_is_back(cache, memcached):
    """A session that ended meanwhile must not live again."""
    server = memcached()
    site = cache(server)
    for key in ("deleted", "set", "set-many", "untouched"):
        site.set(key, "old")
    server.awake.clear()
    site.delete("deleted")
    site.set("set", "new")
    site.set_many({"set-many": "new"})
    assert site.get("untouched") is None
    assert len(server.values) == 4  # it still has all that it had
    server.awake.set()
    wait_until(lambda: not site._cache._away)
    assert site.get_many(["deleted", "set", "set-many", "untouched"]) == {"untouched": "old"}
    assert not server.requests["flush_all"]


def test_a_server_that_stood_still_forgets_at_once_what_other_processes_would_read(cache, memcached):
    """With the times of real life: another process does not know that it stood still, and would take an old session for a live one."""
    module = load("ntier_memcached")
    server = memcached()
    options = {"connect_timeout": TIMEOUT, "timeout": TIMEOUT, "no_delay": True}
    site = module.PyMemcacheCache([server.place], {"OPTIONS": options})
    site.set("session", "old")
    server.awake.clear()
    site.delete("session")
    time.sleep(TIMEOUT / 2)
    server.awake.set()
    # It had read the first, which a server that is stopped has not.
    wait_until(lambda: server.requests["delete"] > 1, 0.4)


def test_a_server_that_missed_more_than_is_remembered_starts_empty(cache, memcached, overlay, monkeypatch):
    monkeypatch.setattr(overlay, "LOST_KEYS", 10)
    server = memcached()
    site = cache(server)
    site.set("untouched", "old")
    server.awake.clear()
    site.delete_many([f"key{number}" for number in range(20)])
    server.awake.set()
    wait_until(lambda: not site._cache._away)
    assert server.requests["flush_all"]
    assert site.get("untouched") is None


def test_all_that_was_missed_is_deleted_however_much(cache, memcached, overlay):
    server = memcached()
    site = cache(server)
    keys = [f"key{number}" for number in range(1700)]
    site.set_many(dict.fromkeys(keys, "old"))
    server.awake.clear()
    site.delete_many(keys)
    server.awake.set()
    wait_until(lambda: not site._cache._away)
    assert server.values == {}


def test_emptying_the_cache_is_made_up_for(cache, memcached):
    server = memcached()
    site = cache(server)
    site.set("key", "old")
    server.awake.clear()
    site.clear()
    server.awake.set()
    wait_until(lambda: not site._cache._away)
    assert site.get("key") is None


def test_changes_while_the_server_comes_back_are_not_forgotten(cache, memcached, overlay, monkeypatch):
    server = memcached()
    site = cache(server)
    site.set_many({"first": "old", "second": "old"})
    forget = overlay.Servers._forget

    def slowly(client, keys):
        site.delete("second")
        forget(client, keys)

    monkeypatch.setattr(overlay.Servers, "_forget", staticmethod(slowly))
    server.awake.clear()
    site.delete("first")
    server.awake.set()
    time.sleep(0.3)
    monkeypatch.setattr(overlay.Servers, "_forget", staticmethod(forget))
    wait_until(lambda: not site._cache._away)
    assert site.get_many(["first", "second"]) == {}


# --- connections --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "with space",
        "tab\there",
        "new\nline",
        "x" * 300,
        "ä" * 130,
        "no-break\xa0space",
        "\x00",
        "\x7f",
        "wide\u3000space",
        "\ud800",
    ],
)
def test_keys_that_memcached_would_refuse_work_as_with_other_caches(cache, memcached, key):
    """Neither an error page nor a value that is never there, and not the value of another key."""
    mine = cache(memcached())
    mine.set(key, "value")
    mine.set(f"{key} other", "another value")
    assert mine.get(key) == "value"
    assert mine.get_many([key, "plain"]) == {key: "value"}
    assert key in mine
    assert mine.get(key, version=2) is None
    mine.delete(key)
    assert mine.get(key) is None


def test_keys_that_memcached_takes_stay_what_they_are(cache):
    """A release must find what the one before it left."""
    mine = cache(*hosts(1))
    for key in ("views.decorators.cache.cache_page..GET.0a1b", "x" * 247, "ключ", "a%20b"):
        assert mine.make_key(key) == f":1:{key}"


def test_connections_outlive_requests(cache, memcached):
    server = memcached()
    for number in range(50):
        site = cache(server)
        site.set("key", number)
        site.close()
    assert len(server.connections) == 1


def test_a_command_without_an_answer_does_not_arrive_later(cache, memcached):
    """The kernel would send it again until the network is whole, over a newer value; unless closing cuts the connection."""
    site = cache(memcached())
    site.set("key", "value")
    (client,) = site._cache.clients.values()
    (connection,) = client.client_pool.free
    lingers = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert struct.unpack("ii", lingers) == (1, 0)


def test_a_child_process_has_connections_of_its_own(cache, memcached):
    server = memcached()
    site = cache(server)
    site.set("key", "parent")
    child = os.fork()
    if not child:
        try:
            site.set("key", "child")
            os._exit(0 if site.get("key") == "child" else 1)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == 0
    assert len(server.connections) == 2
    assert site.get("key") == "child"


def test_it_can_be_asked_which_servers_are_away(cache, memcached):
    alive, gone = memcached(), closed()
    assert cache(alive, gone).away() == [gone]
    assert cache(alive).away() == []


def test_a_value_that_cannot_be_kept_or_read_is_no_error_page(cache, memcached, caplog):
    server = memcached()
    site = cache(server)
    site.set("key", lambda: None)
    assert "pickle" in caplog.text
    assert site.get("key") is None
    server.values[b":1:key"] = (b"1", b"of a class that is no more")
    assert site.get("key") is None
    assert not site._cache._away
