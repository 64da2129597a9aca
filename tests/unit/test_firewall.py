"""The firewall's rules: what the host's program makes of the variables, and how the template writes it for nftables."""

import importlib.util
import json

import pytest
import yaml
from clusters import ROOT
from test_templates import of, render

TEMPLATE = "firewall/firewall.nft.j2"
NAMES = {"web1.internal": ["10.0.0.11", "fd00::11"], "old.internal": ["::ffff:10.0.0.12"], "near": ["fe80::7%eth0"]}


def load():
    spec = importlib.util.spec_from_file_location("firewall_state", ROOT / "roles/firewall/files/state.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


state = load()


def rules_of(rules=(), opened=(), ssh_sources=(), ssh_ports=(22,)):
    question = {"host": "db1", "rules": rules, "open": opened, "ssh_sources": ssh_sources}
    return state.rules_of(question, ssh_ports, lambda name: NAMES.get(name, []))


def accepted(*arguments, **more):
    rules, faults = rules_of(*arguments, **more)
    assert faults == []
    return [{**rule, "matches": state.matches(rule)} for rule in rules]


def lines_for(*arguments, **more):
    """Return the lines of the template that depend on the variables."""
    text = render(TEMPLATE, __firewall_accepted=accepted(*arguments, **more))
    return [line.strip() for line in text.splitlines() if " dport " in line and "fe80::/10" not in line]


# --- what is let in -----------------------------------------------------------------------------------------------


@of(TEMPLATE)
def test_the_table_is_replaced_in_one_transaction_and_drops_what_no_rule_names():
    lines = [line.strip() for line in render(TEMPLATE).splitlines() if line and not line.startswith("#")]
    assert lines[:3] == ["table inet ntier", "delete table inet ntier", "table inet ntier {"]
    assert "type filter hook input priority filter; policy drop;" in lines
    assert "flush" not in " ".join(lines)
    assert [line for line in lines if "hook" in line] == ["type filter hook input priority filter; policy drop;"]
    text = " ".join(lines)
    assert text.count("{") == text.count("}")


def test_what_runs_is_accepted_before_anything_is_asked():
    lines = [line.strip() for line in render(TEMPLATE).splitlines()]
    start = lines.index('iif "lo" accept')
    assert lines[start + 1] == "ct state vmap { established : accept, related : accept, invalid : drop }"
    for word in ("echo-request", "packet-too-big", "nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-advert"):
        assert any(line.startswith("icmpv6 type") and word in line for line in lines), word


def test_without_rules_only_ssh_is_let_in():
    assert lines_for() == ['tcp dport 22 accept comment "SSH"']


def test_sources_are_split_into_the_two_families():
    rules = [{"port": 5432, "protocol": "tcp", "sources": ["10.0.0.12", "fd00::12", "10.0.0.11"]}]
    assert lines_for(rules)[1:] == [
        "ip saddr { 10.0.0.11, 10.0.0.12 } tcp dport 5432 accept",
        "ip6 saddr { fd00::12 } tcp dport 5432 accept",
    ]


@pytest.mark.parametrize(("source", "word"), [("10.0.0.11", "ip "), ("fd00::11", "ip6 ")])
def test_a_family_without_sources_has_no_line(source, word):
    (line,) = lines_for([{"port": 11211, "protocol": "tcp", "sources": [source]}])[1:]
    assert line.startswith(f"{word}saddr")


def test_everybody_is_let_in_where_there_are_no_sources():
    assert "tcp dport 80 accept" in lines_for([{"port": 80, "protocol": "tcp", "sources": []}])


def test_one_rule_for_everybody_outweighs_another_with_sources():
    rules = [{"port": 80, "sources": ["10.0.0.1"]}, {"port": 80, "sources": []}]
    assert lines_for(rules)[1:] == ["tcp dport 80 accept"]


def test_names_are_written_as_their_addresses():
    rules = [{"port": 5432, "sources": ["web1.internal", "old.internal", "near"]}]
    assert lines_for(rules)[1:] == [
        "ip saddr { 10.0.0.11, 10.0.0.12 } tcp dport 5432 accept",
        "ip6 saddr { fd00::11, fe80::7 } tcp dport 5432 accept",
    ]


def test_networks_that_hold_each_other_become_one_since_nft_refuses_overlaps():
    sources = ["10.0.0.0/24", "10.0.0.7", "10.0.0.9/24", "10.0.1.0/24", "fd00::/64", "fd00::1"]
    assert lines_for([{"port": 1, "sources": sources}])[:2] == [
        "ip saddr { 10.0.0.0/23 } tcp dport 1 accept",
        "ip6 saddr { fd00::/64 } tcp dport 1 accept",
    ]


def test_the_users_own_rules_join_those_of_the_cluster():
    rules = [{"port": 5432, "protocol": "tcp", "sources": ["10.0.0.11"]}]
    opened = [
        {"port": 5432, "sources": ["10.0.0.99"], "comment": "reports"},
        {"port": 5514, "protocol": "udp", "sources": [], "comment": "syslog"},
    ]
    assert lines_for(rules, opened)[1:] == [
        'ip saddr { 10.0.0.11, 10.0.0.99 } tcp dport 5432 accept comment "reports"',
        'udp dport 5514 accept comment "syslog"',
    ]


def test_the_order_of_the_variables_changes_nothing():
    rules = [{"port": port, "sources": ["10.0.0.2", "10.0.0.1"]} for port in (80, 443, 25)]
    turned = [{**rule, "sources": ["10.0.0.1", "10.0.0.2"]} for rule in reversed(rules)]
    assert lines_for(rules) == lines_for(turned)


def test_ssh_is_let_in_on_each_port_and_from_the_given_sources_alone():
    assert lines_for(ssh_ports=[22, 2222], ssh_sources=["10.0.0.0/24", "fd00::9"]) == [
        'ip saddr { 10.0.0.0/24 } tcp dport 22 accept comment "SSH"',
        'ip6 saddr { fd00::9 } tcp dport 22 accept comment "SSH"',
        'ip saddr { 10.0.0.0/24 } tcp dport 2222 accept comment "SSH"',
        'ip6 saddr { fd00::9 } tcp dport 2222 accept comment "SSH"',
    ]


@pytest.mark.parametrize("log", [True, False])
def test_what_is_dropped_is_logged_where_the_user_wants_it_and_never_much(log):
    lines = [line for line in render(TEMPLATE, firewall_log=log).splitlines() if " log " in line]
    assert len(lines) == log
    assert all("limit rate 10/minute" in line for line in lines)


# --- faults -------------------------------------------------------------------------------------------------------


def test_all_faults_are_listed_with_variable_host_and_fix():
    opened = [{"port": 70000, "sources": []}, {"port": 9100, "sources": [], "comment": 'a"b'}]
    _rules, faults = rules_of([{"port": 5432, "sources": ["web9.internal"]}], opened, ssh_sources=["10.0.0.300"])
    assert [fault.split(": ")[0] for fault in faults] == [
        "variable firewall_ssh_sources (host db1)",
        "variable firewall_rules (host db1)",
        "variable firewall_open (host db1)",
        "variable firewall_open (host db1)",
    ]
    assert "the source 'web9.internal' of port 5432 has no address" in faults[1]
    assert "ntier_address" in faults[1]


def faults_of_a_run(peer, port=22, ssh_ports=(22,), **more):
    rules, _faults = rules_of(ssh_ports=ssh_ports, **more)
    return state.lockouts("db1", rules, ssh_ports, [(peer, port)])


@pytest.mark.parametrize("peer", ["192.0.2.7", "fd00:1::7"])
def test_a_run_that_would_shut_itself_out_is_refused(peer):
    (fault,) = faults_of_a_run(peer, ssh_sources=["10.0.0.0/24", "fd00::/64"])
    assert fault == (
        f"variable firewall_ssh_sources (host db1): Ansible comes in from {peer} to port 22, and these rules would shut "
        f"it out. Add {peer} to it; nothing has been loaded."
    )


def test_a_run_over_a_port_that_would_be_shut_is_refused():
    (fault,) = faults_of_a_run("192.0.2.7", ssh_ports=(2222,))
    assert fault.startswith("variable firewall_ssh_ports (host db1)")
    assert "Add 22 to it" in fault


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"ssh_sources": ["192.0.2.0/24"]},
        {"ssh_sources": ["10.0.0.1"], "opened": [{"port": 22, "sources": ["192.0.2.7"]}]},
    ],
)
def test_a_run_that_may_come_back_is_not_refused(more):
    assert faults_of_a_run("192.0.2.7", **more) == []


def test_a_run_on_the_host_itself_is_never_shut_out():
    assert faults_of_a_run("127.0.0.1", ssh_sources=["10.0.0.1"]) == []
    assert faults_of_a_run("::1", ssh_sources=["10.0.0.1"]) == []


# --- what the host says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("0100007F:0016", ("127.0.0.1", 22)),
        ("0B00000A:1538", ("10.0.0.11", 5432)),
        ("0000000000000000FFFF00000B00000A:0016", ("10.0.0.11", 22)),
        ("000000FD000000000000000011000000:0016", ("fd00::11", 22)),
    ],
)
def test_the_kernels_way_of_writing_addresses_is_read(word, expected):
    if state.struct.pack("=I", 1)[0] != 1:
        pytest.skip("the examples are those of a little-endian machine")
    assert state.decoded(word) == expected


def test_what_systemd_says_of_units_is_read():
    text = "Id=ssh.socket\nListen=0.0.0.0:22 (Stream)\nListen=[::]:2222 (Stream)\nActiveState=active\n\nId=x.timer\nActiveState=inactive\n"
    units = state.units_of(text)
    assert units["x.timer"] == {"Id": ["x.timer"], "ActiveState": ["inactive"]}
    assert {22, 2222} <= set(state.listening_ports(units))


def test_an_answer_is_json_and_has_a_rule_for_ssh_on_any_machine():
    question = {
        "host": "db1",
        "rules": [],
        "open": [],
        "ssh_ports": [22],
        "ssh_sources": [],
        "ansible_port": 0,
        "ansible_ssh": False,
    }
    answer = json.loads(json.dumps(state.answer(question)))
    assert answer["rules"] == [{"protocol": "tcp", "port": 22, "comment": "SSH", "matches": [""]}]


def test_role_unit_and_program_speak_of_the_same_files():
    names = yaml.safe_load((ROOT / "roles/firewall/vars/main.yml").read_text())
    assert (names["__firewall_file"], names["__firewall_unit"]) == (state.FILE, state.UNIT)
    assert f"{names['__firewall_rollback']}.timer" == state.ROLLBACK
    assert f"> {state.LOADED}'" in render("firewall/ntier-firewall.service.j2")


@of("firewall/ntier-firewall.service.j2")
def test_the_rules_are_there_before_the_network_and_after_those_who_flush_them():
    lines = render("firewall/ntier-firewall.service.j2").splitlines()
    for line in (
        "Before=network-pre.target",
        "Wants=network-pre.target",
        "After=nftables.service",
        "PartOf=nftables.service",
        "ExecStart=/usr/sbin/nft -f /etc/ntier/firewall.nft",
        "ExecStop=/usr/sbin/nft 'add table inet ntier; delete table inet ntier'",
        "WantedBy=sysinit.target nftables.service",
    ):
        assert line in lines
