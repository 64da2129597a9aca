"""Whether a host has a way to those that it needs: the module's answer, and what a person is told of it."""

import shutil
import socket
import subprocess

import pytest
from clusters import FIGURE_2, FIGURE_4, MIXED, build

from ansible_collections.ntier.django.plugins.action.plan import check_route
from ansible_collections.ntier.django.plugins.modules import routes
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults


class Exit(Exception):
    """The end of the module, with what it says."""


@pytest.fixture
def ask(monkeypatch):
    """Return a function that runs the module; *unreachable* is what the kernel has no way to."""

    def run(*addresses, unreachable=(), command=None):
        asked = []

        class Module:
            def __init__(self, argument_spec, supports_check_mode):
                assert supports_check_mode
                assert argument_spec == {"addresses": {"type": "list", "elements": "str", "required": True}}
                self.params = {"addresses": list(addresses)}

            def run_command(self, words):
                asked.append(words)
                if command:
                    return command(words)
                lost = words[-1] in unreachable
                return (2, "", "RTNETLINK answers: Network is unreachable\n") if lost else (0, "via …\n", "")

            def exit_json(self, **result):
                raise Exit(result)

        monkeypatch.setattr(routes, "AnsibleModule", Module)
        with pytest.raises(Exit) as end:
            routes.main()
        return end.value.args[0], asked

    return run


def test_the_kernel_is_asked_for_each_address(ask):
    result, asked = ask("192.0.2.21", "2001:db8::21")
    assert result == {"changed": False, "missing": {}}
    assert asked == [["ip", "route", "get", "192.0.2.21"], ["ip", "route", "get", "2001:db8::21"]]


def test_an_address_without_a_way_is_named_with_the_kernels_reason(ask):
    result, _asked = ask("192.0.2.21", "192.0.2.31", unreachable=["192.0.2.31"])
    assert result == {"changed": False, "missing": {"192.0.2.31": "Network is unreachable"}}


def test_a_name_is_resolved_as_the_host_resolves_it(ask, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, _port, **_more: [(0, 0, 0, "", (f"addr-of-{name}", 0))])
    result, asked = ask("db1.internal", unreachable=["addr-of-db1.internal"])
    assert asked == [["ip", "route", "get", "addr-of-db1.internal"]]
    assert result["missing"] == {"db1.internal": "Network is unreachable"}


def test_a_name_that_the_host_does_not_know_is_named_and_the_others_are_asked(ask, monkeypatch):
    def resolve(name, _port, **_more):
        if name == "db1":
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (name, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    result, asked = ask("db1", "192.0.2.31")
    assert result["missing"] == {"db1": "the name is not known there (Name or service not known)"}
    assert asked == [["ip", "route", "get", "192.0.2.31"]]


def test_nobody_is_asked_when_nobody_is_needed(ask):
    assert ask() == ({"changed": False, "missing": {}}, [])


@pytest.mark.skipif(not shutil.which("ip"), reason="the program ip is not on this machine")
def test_the_real_kernel_has_a_way_to_this_host(ask):
    def command(words):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    assert ask("127.0.0.1", "localhost", command=command)[0]["missing"] == {}
    assert list(ask("255.255.255.256", command=command)[0]["missing"]) == ["255.255.255.256"]


# --- what a person is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tiers", "host", "other", "serves"),
    [
        (FIGURE_2, "box1", "db1", "database"),
        (FIGURE_4, "web2", "media1", "media"),
        (FIGURE_4, "lb1", "web1", "web"),
        (MIXED, "web2", "web1", "memcached and database"),
    ],
)
def test_a_host_without_a_way_is_told_with_the_fix(tiers, host, other, serves):
    cluster, faults = build(tiers), Faults()
    address = cluster["hosts"][other]["address"]
    check_route(cluster, host, address, "Network is unreachable", faults)
    assert faults.sentences == [
        f"host {host}: has no way to {other} ({serves}) at {address}: Network is unreachable."
        f" Connect their networks, or set ntier_address of {other} to an address that {host} reaches."
    ]
