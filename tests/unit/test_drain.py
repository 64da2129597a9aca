"""The module that takes a web host out of HAProxy, against a server at a real socket that speaks HAProxy's format."""

import json
import socket
import threading

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.ntier.django.plugins.modules import drain

COLUMNS = "pxname,svname,qcur,qmax,scur,smax,status,check_status,last_chk,"
STATES = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight"
WORDS = {"drain": drain.DRAINED, "ready": 0, "maint": 1}


class HAProxy(threading.Thread):
    """A stand-in: servers with a state and requests in flight, which end one with each look."""

    def __init__(self, folder, servers):
        super().__init__(daemon=True)
        self.path = str(folder / "admin.sock")
        #: (backend, server) → status of its checks, administrative state, requests in flight, looks until it is up
        self.servers = {name: {"status": "UP", "admin": 0, "flying": 0, "looks": 0, **more} for name, more in servers.items()}  # fmt: skip
        self.commands, self.answer = [], None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.start()

    def run(self):
        while True:
            try:
                connection, _address = self.listener.accept()
            except OSError:
                return
            with connection:
                command = connection.makefile().readline().strip()
                connection.sendall(f"{self.reply(command)}\n".encode())

    def reply(self, command):
        if command == "show stat -1 4 -1":
            return "# " + "\n".join([COLUMNS, *(self.row(*name) for name in self.servers)]) + "\n"
        if command == "show servers state":
            rows = [f"3 {b} 1 {s} 192.0.2.1 2 {e['admin']} 1" for (b, s), e in self.servers.items()]
            return "\n".join(["1", f"# {STATES}", *rows]) + "\n"
        self.commands.append(command)
        backend, server = command.split()[2].split("/")
        if self.answer is None:
            self.servers[backend, server]["admin"] = WORDS[command.split()[-1]]
        return self.answer or ""

    def row(self, backend, server):
        entry = self.servers[backend, server]
        status = entry["status"]
        if entry["looks"]:
            entry["looks"] -= 1
            status = "DOWN"
        if entry["admin"] & drain.DRAINED and status == "UP":
            status = "DRAIN"
        if entry["admin"] & 1:
            status = "MAINT"
        flying = entry["flying"]
        if entry["flying"] > 0 and not entry.get("stuck"):
            entry["flying"] -= 1
        return f"{backend},{server},0,0,{flying},9,{status},L7STS,HTTP status check returned code <503>,"


@pytest.fixture
def haproxy(tmp_path):
    started = []

    def start(servers):
        started.append(HAProxy(tmp_path, servers))
        return started[-1]

    yield start
    for server in started:
        # Or the thread would go on to accept, from whatever has the number of this socket next.
        server.listener.shutdown(socket.SHUT_RDWR)
        server.join(10)
        server.listener.close()


def run(balancer, capsys, **params):
    """Run the module and return its result."""
    path = getattr(balancer, "path", balancer)
    params = {"server": "web1", "backends": ["site_blog", "site_shop"], "socket": path, "seconds": 1, **params}
    with patch_module_args(params), pytest.raises(SystemExit):
        drain.main()
    return json.loads(capsys.readouterr().out)


def two(**more):
    """Return two web hosts of one site, the first of which is the one that is looked at."""
    return {("site_blog", "web1"): more, ("site_blog", "web2"): {}}


def test_a_server_is_drained_and_its_requests_end_first(haproxy, capsys):
    balancer = haproxy(two(flying=3))
    result = run(balancer, capsys, state="drained")
    assert (result["changed"], result["up"], result["kept"], result["in_flight"]) == (True, ["site_blog"], [], 0)
    assert balancer.commands == ["set server site_blog/web1 state drain"]
    assert balancer.servers["site_blog", "web1"]["flying"] == 0
    assert result["seconds"] < 1


def test_requests_without_end_are_counted_and_no_failure(haproxy, capsys):
    result = run(haproxy(two(flying=2, stuck=True)), capsys, state="drained")
    assert (result["in_flight"], "failed" in result) == (2, False)
    assert result["seconds"] >= 1


def test_all_sites_of_the_host_are_drained_in_one_call_and_no_other_site(haproxy, capsys):
    servers = {(f"site_{site}", host): {} for site in ("blog", "shop", "diary") for host in ("web1", "web2")}
    balancer = haproxy(servers)
    run(balancer, capsys, state="drained")
    assert balancer.commands == [f"set server site_{site}/web1 state drain" for site in ("blog", "shop")]


@pytest.mark.parametrize("other", [{"status": "DOWN"}, {"admin": drain.DRAINED}, {"admin": 1}])
def test_the_last_server_that_takes_visitors_is_kept(haproxy, capsys, other):
    balancer = haproxy({("site_blog", "web1"): {"flying": 5, "stuck": True}, ("site_blog", "web2"): other})
    result = run(balancer, capsys, state="drained")
    assert (result["changed"], result["kept"], result["in_flight"]) == (False, ["site_blog"], 0)
    assert balancer.commands == []


def test_a_server_that_is_down_is_drained_without_waiting(haproxy, capsys):
    balancer = haproxy(two(status="DOWN"))
    result = run(balancer, capsys, state="drained")
    assert (result["changed"], result["up"], result["in_flight"]) == (True, [], 0)
    assert result["seconds"] < 1


def test_maintenance_is_a_persons_business(haproxy, capsys):
    balancer = haproxy(two(admin=1))
    assert not run(balancer, capsys, state="drained")["changed"]
    assert not run(balancer, capsys, state="ready", up=["site_blog"])["changed"]
    assert balancer.commands == []


def test_what_is_drained_stays_so_and_is_emptied(haproxy, capsys):
    balancer = haproxy(two(admin=drain.DRAINED, flying=2))
    result = run(balancer, capsys, state="drained")
    assert (result["changed"], result["up"], result["in_flight"]) == (False, ["site_blog"], 0)
    assert balancer.commands == []


def test_a_server_comes_back_and_is_waited_for(haproxy, capsys):
    balancer = haproxy(two(admin=drain.DRAINED, looks=3))
    result = run(balancer, capsys, state="ready", up=["site_blog"])
    assert (result["changed"], result["running"]) == (True, True)
    assert balancer.commands == ["set server site_blog/web1 state ready"]
    assert balancer.servers["site_blog", "web1"]["looks"] == 0


def test_a_server_that_does_not_come_up_is_a_failure_with_the_checks_words(haproxy, capsys):
    result = run(haproxy(two(admin=drain.DRAINED, status="DOWN")), capsys, state="ready", up=["site_blog"])
    assert result["failed"]
    assert "has not found web1 up within 1 seconds (site_blog: DOWN, L7STS HTTP status check" in result["msg"]


def test_a_server_that_was_down_before_is_not_waited_for(haproxy, capsys):
    balancer = haproxy(two(admin=drain.DRAINED, status="DOWN"))
    result = run(balancer, capsys, state="ready")
    assert (result["changed"], result["seconds"]) == (True, 0)


def test_a_server_that_is_ready_stays_as_it_is(haproxy, capsys):
    balancer = haproxy(two())
    assert not run(balancer, capsys, state="ready", up=["site_blog"])["changed"]
    assert balancer.commands == []


@pytest.mark.parametrize("state", ["drained", "ready"])
def test_check_mode_says_what_would_be_and_does_nothing(haproxy, capsys, state):
    balancer = haproxy(two(admin=0 if state == "drained" else drain.DRAINED, flying=4, stuck=True))
    result = run(balancer, capsys, state=state, up=["site_blog"], _ansible_check_mode=True)
    assert result["changed"]
    assert balancer.commands == []


@pytest.mark.parametrize("state", ["drained", "ready"])
def test_without_haproxy_there_is_nothing_to_do(tmp_path, capsys, state):
    result = run(str(tmp_path / "nothing.sock"), capsys, state=state, up=["site_blog"])
    assert (result["changed"], result["running"], result["up"]) == (False, False, [])


@pytest.mark.parametrize("state", ["drained", "ready"])
def test_a_site_and_a_host_that_haproxy_does_not_know_need_nothing(haproxy, capsys, state):
    balancer = haproxy({("site_diary", "web1"): {}, ("site_blog", "web2"): {}})
    assert not run(balancer, capsys, state=state, up=["site_blog"])["changed"]
    assert balancer.commands == []


def test_a_refusal_of_haproxy_is_said(haproxy, capsys):
    balancer = haproxy(two())
    balancer.answer = "Permission denied"
    result = run(balancer, capsys, state="drained")
    assert result["msg"] == "HAProxy did not bring site_blog/web1 to the state drain: Permission denied"


def test_a_socket_that_is_none_is_said(tmp_path, capsys):
    path = tmp_path / ("long" * 40)
    result = run(str(path), capsys, state="drained")
    assert f"HAProxy can't be asked at {path}: " in result["msg"]
