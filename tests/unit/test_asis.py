"""What hosts remember of their cluster, and what is refused because of it."""

import json
import os

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from clusters import (
    FIGURE_2,
    FIGURE_3,
    FIGURE_4,
    MIXED,
    ONE_BOX,
    OWN,
    ROOT,
    SHIPPED,
    a_site,
    build,
    inventory,
    secrets_of,
    shipped,
    wired,
)

from ansible_collections.ntier.django.plugins.action.plan import check_one_at_a_time
from ansible_collections.ntier.django.plugins.module_utils import databases, media
from ansible_collections.ntier.django.plugins.modules import database_state, media_state
from ansible_collections.ntier.django.plugins.plugin_utils import asis, plan, topology, wiring
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

ID = OWN["id"]
OTHER = "0f6f9c1e-1b52-4d7e-8f3b-2f0a2f1f9f10"


def records_of(cluster, name=ID, hosts=None):
    """Return what the hosts of a cluster remember; *hosts* are those that were asked."""
    return {host: asis.record(cluster, name, host) for host in hosts or cluster["hosts"]}


def faults_of(cluster, records, name=ID):
    faults = Faults()
    asis.check(cluster, name, records, faults)
    return faults.sentences


# --- the record ---------------------------------------------------------------------------------------------------


def test_a_host_remembers_its_cluster_what_it_serves_and_all_members():
    assert asis.record(shipped("2-database"), ID, "db1") == {
        "name": "db1",
        "cluster": ID,
        "figure": "20-2",
        "serves": ["database"],
        "members": {"web": ["box1"], "media": ["box1"], "memcached": ["box1"], "database": ["db1"]},
        "doors": ["box1"],
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_host_remembers_the_same_but_what_it_serves(name):
    cluster = shipped(name)
    found = records_of(cluster)
    assert {json.dumps({**record, "name": "", "serves": []}) for record in found.values()} == {
        json.dumps({**found["box1"], "name": "", "serves": []})
    }
    for host, record in found.items():
        assert record["name"] == host
        assert record["serves"] == [tier for tier, members in record["members"].items() if host in members] != []
        assert json.loads(json.dumps(record)) == record


def test_a_host_that_serves_nothing_remembers_that():
    assert asis.record(build(inventory(ONE_BOX, retired=["old1"])), ID, "old1")["serves"] == []


def test_the_wiring_hands_the_record_to_its_role():
    cluster = build(FIGURE_4)
    for host in cluster["hosts"]:
        assert wired(cluster, host)["record"] == asis.record(cluster, ID, host)


# --- what is allowed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", ID])
def test_hosts_without_a_record_are_welcome(name):
    assert faults_of(build(FIGURE_4), {}, name) == []


@pytest.mark.parametrize("name", SHIPPED)
def test_hosts_of_this_cluster_are_welcome_again(name):
    cluster = shipped(name)
    assert faults_of(cluster, records_of(cluster)) == []
    assert faults_of(cluster, records_of(cluster, hosts=["box1"])) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FIGURE_4, {**FIGURE_4, "web": ["web1", "web2", "web3"]}),
        (FIGURE_4, {**FIGURE_4, "web": ["web2"]}),
        (FIGURE_4, {**FIGURE_4, "memcached": []}),
        (FIGURE_4, {**FIGURE_4, "load_balancer": ["lb2"]}),
        (FIGURE_2, {**FIGURE_2, "memcached": ["cache1"]}),
        (FIGURE_3, {**FIGURE_3, "web": ["box1", "web2"], "load_balancer": ["lb1"]}),
        (FIGURE_4, {**FIGURE_4, "database": ["db1", "db2"]}),
    ],
)
def test_what_keeps_nothing_may_come_and_go_and_what_keeps_data_may_get_company(before, after):
    assert faults_of(build(after), records_of(build(before))) == []


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_host_of_another_cluster_is_refused():
    assert faults_of(build(), records_of(build(), OTHER)) == [
        f"host box1: belongs to another cluster: its /etc/ansible/facts.d/ntier.fact names {OTHER}, and this inventory's secrets {ID}."
        " Use the inventory, with the secrets file, that built the host; or, if nothing on it is needed, remove that file there."
    ]


def test_a_host_that_was_built_before_by_an_inventory_whose_secrets_are_gone_is_refused():
    (fault,) = faults_of(build(), records_of(build()), "")
    assert fault.startswith(
        f"host box1: belongs to another cluster: its {asis.RECORD} names {ID}, and this inventory's"
    )
    assert "this inventory's secrets none yet. Use the inventory" in fault


@pytest.mark.parametrize("record", [{}, {"cluster": ""}, {"cluster": None}, {"members": {"database": ["db9"]}}])
@pytest.mark.parametrize("name", ["", ID])
def test_a_record_without_a_cluster_is_refused(record, name):
    (fault,) = faults_of(build(), {"box1": record}, name)
    assert fault == (
        f"host box1: has a {asis.RECORD} in which nothing can be read, as a power failure leaves it."
        " If the host belongs to this inventory, remove that file there, and the next run writes it anew."
    )


def test_every_host_of_another_cluster_is_named_and_its_members_are_not_ours():
    cluster = build(FIGURE_4)
    records = {**records_of(cluster), **records_of(build({**FIGURE_4, "database": ["db9"]}), OTHER, ["web1", "web2"])}
    faults = faults_of(cluster, records)
    assert [fault.split(":")[0] for fault in faults] == ["host web1", "host web2"]


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            FIGURE_2,
            FIGURE_3,
            "group media: is without box1 now, where the sites' uploads of this cluster are, and media1 would start without any."
            " Put box1 back into the group media: this version does not move them yet.",
        ),
        (
            {**FIGURE_4, "database": ["db1", "db2"]},
            {**FIGURE_4, "database": ["db2"]},
            "group database: is without db1 now, where the sites' rows of this cluster are."
            " Put db1 back into the group database: this version does not move them yet.",
        ),
        (
            MIXED,
            {**MIXED, "media": ["web1"]},
            "group media: is without web2 now, where the sites' uploads of this cluster are, and web1 would start without any."
            " Put web2 back into the group media: this version does not move them yet.",
        ),
    ],
)
def test_data_that_the_inventory_leaves_behind_is_refused(before, after, sentence):
    assert faults_of(build(after), records_of(build(before))) == [sentence]


def test_a_host_that_vanished_from_the_inventory_is_known_by_the_others():
    old = build(FIGURE_2)
    (fault,) = faults_of(build(ONE_BOX), records_of(old, hosts=["box1"]))
    assert fault == (
        "group database: is without db1 now, where the sites' rows of this cluster are, and box1 would start without any."
        " Put db1 into the group retired, and they move off it; or back into the group database."
    )


def test_a_media_host_that_vanished_from_the_inventory_is_known_by_the_others():
    """The web host sees nothing in the place of its files, and would serve nothing."""
    faults = Faults()
    cluster = build(FIGURE_2)
    found = {"box1": files(there=True, client=True, mounted="nfs4 media1:/srv/media"), "db1": files()}
    asis.check(cluster, ID, records_of(build(FIGURE_3), hosts=["box1", "db1"]), faults, {"db1": PRIMARY}, found)
    assert faults.sentences == [
        "group media: is without media1 now, where the sites' uploads of this cluster are, and box1 would start without any."
        " Put media1 into the group retired, and they move off it; or back into the group media."
    ]


def test_everything_that_would_be_left_behind_is_listed():
    faults = faults_of(build(FIGURE_3), records_of(build(ONE_BOX)))
    assert [fault.split(":")[0] for fault in faults] == ["group database", "group media"]


# --- what hosts serve no more -------------------------------------------------------------------------------------


def left(before, after, said=(), records=None, **retired):
    """Return what hosts leave when the groups change, and what is said against it."""
    faults = Faults()
    cluster, records = build(inventory(after, **retired)), records or records_of(build(before))
    found = asis.doors(cluster, records, said, faults)
    return asis.leaving(cluster, records, found["staying"]), faults.sentences


def without(host, groups=None):
    """Return groups without a host."""
    return {tier: [name for name in hosts if name != host] for tier, hosts in (groups or FIGURE_4).items()}


def test_nothing_leaves_while_the_inventory_stays():
    for name in SHIPPED:
        assert asis.leaving(shipped(name), records_of(shipped(name))) == {}


def test_a_retired_web_host_leaves_behind_the_balancer():
    assert left(FIGURE_4, without("web2"), retired=["web2"]) == ({"web2": ["web"]}, [])


def test_a_host_that_stays_in_another_tier_leaves_one():
    before = {**FIGURE_4, "memcached": ["cache1", "web2"]}
    assert left(before, without("web2", before) | {"memcached": ["cache1", "web2"]}) == ({"web2": ["web"]}, [])
    assert left(before, {**before, "memcached": ["cache1"]}) == ({"web2": ["memcached"]}, [])


def test_a_host_that_was_deleted_leaves_nothing_to_do():
    assert left(FIGURE_4, without("web2")) == ({}, [])


# --- where visitors come to ---------------------------------------------------------------------------------------

GROWN = {**FIGURE_4, "web": ["box1", "web2"]}
AWAY = "and visitors come to its address, where nobody would answer."


def doors(before, after, said=(), records=None, **retired):
    """Return where visitors come to when the groups change."""
    faults = Faults()
    found = asis.doors(build(inventory(after, **retired)), records or records_of(build(before)), said, faults)
    assert not faults, faults.sentences
    return found


def passing(**more):
    return {"at": ["box1"], "to": ["lb1"], "passing": ["box1"], "begun": False, "staying": [], **more}


def staying(**more):
    return {"at": ["lb1"], "to": ["box1"], "passing": [], "begun": False, "staying": ["lb1"], **more}


@pytest.mark.parametrize("name", SHIPPED)
def test_visitors_come_where_they_came_and_shall_come(name):
    cluster = shipped(name)
    for records in ({}, records_of(cluster)):
        found = asis.doors(cluster, records, [], Faults())
        assert found["at"] == found["to"] == asis.entrances(cluster)
        assert not (found["passing"] or found["begun"] or found["staying"])


def test_a_web_host_passes_visitors_on_until_dns_leads_to_the_balancer():
    first = doors(FIGURE_3, GROWN)
    assert first == passing()
    grown = build(GROWN)
    kept = {host: asis.record(grown, ID, host, first) for host in grown["hosts"]}
    assert kept["lb1"]["doors"] == ["box1"]
    again = doors(GROWN, GROWN, records=kept)
    assert again == passing(begun=True)
    there = doors(GROWN, GROWN, ["lb1"], records=kept)
    assert there == passing(at=["lb1"], passing=[])
    kept = {host: asis.record(grown, ID, host, there) for host in grown["hosts"]}
    assert doors(GROWN, GROWN, records=kept) == there


def test_what_older_versions_remember_says_where_visitors_come_to():
    for before, at in ((FIGURE_3, ["box1"]), (FIGURE_4, ["lb1"])):
        records = records_of(build(before))
        for found in records.values():
            del found["doors"]
        assert doors(before, before, records=records)["at"] == at


def grown_records():
    """Return what the hosts remember while the old web host passes visitors on."""
    cluster = build(GROWN)
    return {host: asis.record(cluster, ID, host, passing()) for host in cluster["hosts"]}


@pytest.mark.parametrize(
    ("after", "retired", "said", "fix"),
    [
        (
            FIGURE_3,
            ["lb1", "web2"],
            [],
            "Keep lb1 in the group load_balancer until DNS leads there; then say ntier_dns_leads_to: [lb1]. To give"
            " https up, say ntier_dns_leads_to: [box1].",
        ),
        (
            {**GROWN, "load_balancer": ["lb2"]},
            ["lb1"],
            [],
            "Keep lb1 in the group load_balancer until DNS leads there; then say ntier_dns_leads_to: [lb1].",
        ),
        (
            {**GROWN, "load_balancer": ["lb2"]},
            ["lb1"],
            ["box1"],
            "Keep lb1 in the group load_balancer until DNS leads there; then say ntier_dns_leads_to: [lb1].",
        ),
    ],
)
def test_a_balancer_that_visitors_are_passed_on_to_does_not_go(after, retired, said, fix):
    faults = Faults()
    asis.doors(build(inventory(after, retired=retired)), grown_records(), said, faults)
    what = "host box1: passes visitors on to lb1, which would not answer any more, and addresses that begin with https would lead nowhere."
    assert faults.sentences == [f"{what} {fix}"]


def test_it_goes_where_somebody_says_so_or_dns_leads_elsewhere():
    assert doors(GROWN, FIGURE_3, ["box1"], records=grown_records(), retired=["lb1", "web2"])["at"] == ["box1"]
    assert doors(GROWN, {**GROWN, "load_balancer": ["lb2"]}, ["lb2"], records=grown_records())["at"] == ["lb2"]


def test_dns_that_leads_to_a_web_host_still_is_believed():
    """Somebody has said too early that it leads to the balancer."""
    grown = build(GROWN)
    kept = {host: asis.record(grown, ID, host) for host in grown["hosts"]}
    assert kept["lb1"]["doors"] == ["lb1"]
    assert doors(GROWN, GROWN, ["box1"], records=kept) == passing(begun=True)


def test_a_balancer_stays_in_service_until_dns_leads_elsewhere():
    gone = {"retired": ["lb1", "web2"]}
    first = doors(GROWN, FIGURE_3, **gone)
    assert first == staying()
    cluster = build(inventory(FIGURE_3, **gone))
    kept = {host: asis.record(cluster, ID, host, first) for host in cluster["hosts"]}
    assert kept["lb1"]["serves"] == ["load_balancer"] == list(kept["lb1"]["members"])[:1]
    assert left(GROWN, FIGURE_3, records=kept, **gone) == ({}, [])
    assert doors(GROWN, FIGURE_3, records=kept, **gone) == first
    assert left(GROWN, FIGURE_3, ["box1"], records=kept, **gone) == ({"lb1": ["load_balancer"]}, [])
    assert left(GROWN, FIGURE_3, **gone) == ({"web2": ["web"]}, [])


@pytest.mark.parametrize(
    ("before", "after", "retired", "said", "fault"),
    [
        (
            FIGURE_4,
            {**FIGURE_4, "load_balancer": ["lb2"]},
            [],
            [],
            f"host lb1: is not in the inventory any more, {AWAY} Put it into the group retired, where it stays in service until DNS leads to lb2;"
            " then say ntier_dns_leads_to: [lb2].",
        ),
        (
            FIGURE_4,
            {**FIGURE_4, "load_balancer": ["lb2"], "memcached": ["lb1"]},
            [],
            [],
            f"host lb1: leaves the group load_balancer, {AWAY} Put it into the group retired, where it stays in service until DNS leads to lb2;"
            " then say ntier_dns_leads_to: [lb2].",
        ),
        (
            FIGURE_3,
            FIGURE_4,
            ["box1"],
            [],
            f"host box1: leaves the group web, {AWAY} Keep it in the group web until DNS leads to lb1; then say ntier_dns_leads_to: [lb1].",
        ),
        (
            FIGURE_2,
            {**FIGURE_2, "web": ["web9"]},
            [],
            [],
            f"host box1: leaves the group web, {AWAY} Put it back into the group web; behind a balancer it may go."
            " If DNS leads to web9 already, say ntier_dns_leads_to: [web9].",
        ),
        (
            FIGURE_3,
            GROWN,
            [],
            ["cache1"],
            "variable ntier_dns_leads_to: names cache1, and no visitor came there or shall come there. Name box1 and lb1, where they come to by now.",
        ),
    ],
)
def test_visitors_are_never_left_alone(before, after, retired, said, fault):
    assert left(before, after, said, **({"retired": retired} if retired else {}))[1] == [fault]


def test_a_dead_balancer_is_left_when_dns_leads_elsewhere():
    assert left(FIGURE_4, {**FIGURE_4, "load_balancer": ["lb2"]}, ["lb2"]) == ({}, [])


def test_the_old_web_host_answers_everybody_and_the_balancer_believes_it():
    cluster = build(GROWN)
    box1, lb1 = (cluster["hosts"][name]["address"] for name in ("box1", "lb1"))
    told = {name: wired(cluster, name, doors=passing()) for name in cluster["hosts"]}
    let_in = {name: {rule["port"]: rule["sources"] for rule in entry["firewall_rules"]} for name, entry in told.items()}
    assert let_in["box1"] == {80: [], 443: []}
    assert let_in["web2"] == {80: [lb1]}
    assert box1 in let_in["media1"][80] and lb1 in let_in["media1"][80]
    assert let_in["media1"][80] != wired(cluster, "media1")["firewall_rules"]
    assert box1 in told["media1"]["media_trusted_proxies"]
    assert [told[name]["web_sites"][0]["files"] for name in ("box1", "web2")] == ["remote", "none"]
    assert told["box1"]["web_media_servers"] == cluster["endpoints"]["media"]
    assert told["box1"]["relay_servers"] == [{"host": "lb1", "address": lb1, "port": 443}]
    assert told["web2"]["relay_servers"] == wired(cluster, "box1")["relay_servers"] == []
    assert told["lb1"]["load_balancer_relays"] == [box1]
    assert wired(cluster, "lb1")["load_balancer_relays"] == []
    assert told["box1"]["web_https_redirect"] == "certificates"
    assert wired(cluster, "box1", doors=passing(begun=True))["web_https_redirect"] == "all"
    assert told["web2"]["web_https_redirect"] == wired(cluster, "box1")["web_https_redirect"] == "none"


def test_a_leaving_balancer_reaches_the_files_until_it_goes():
    cluster = build(inventory(FIGURE_3, retired=["lb1", "web2"]))
    lb1 = cluster["hosts"]["lb1"]["address"]

    def let_in(**more):
        return {rule["port"]: rule["sources"] for rule in wired(cluster, "media1", **more)["firewall_rules"]}

    assert lb1 not in let_in()[80]
    assert lb1 in let_in(leaving={"lb1": ["load_balancer"]})[80]


def test_a_media_host_with_a_name_of_its_own_answers_everybody_too():
    cluster = build(GROWN, sites=[a_site(media_domain="files.example.com")])
    box1, media1, lb1 = (cluster["hosts"][name]["address"] for name in ("box1", "media1", "lb1"))
    told = wired(cluster, "media1", doors=passing())
    let_in = {rule["port"]: rule["sources"] for rule in told["firewall_rules"]}
    assert (let_in[80], let_in[443]) == ([], [])
    assert told["relay_servers"] == [{"host": "lb1", "address": lb1, "port": 443}]
    assert wired(cluster, "lb1", doors=passing())["load_balancer_relays"] == [box1, media1]
    assert wired(build(GROWN), "media1", doors=passing())["relay_servers"] == []
    there = passing(at=["lb1"], passing=[])
    assert wired(cluster, "media1", doors=there)["relay_servers"] == []


def test_cookies_are_for_https_alone_when_nobody_comes_by_http():
    cluster = build(GROWN)

    def https(groups, **more):
        return wired(groups, "box1", **more)["release_sites"][0]["runtime"]["https"]

    assert https(cluster)
    assert not https(cluster, doors=passing())
    assert https(cluster, doors=passing(at=["lb1"], passing=[]))
    back = build(inventory(FIGURE_3, retired=["lb1", "web2"]))
    assert not https(back, doors=staying())


def test_a_balancer_that_stays_reaches_what_it_asks():
    cluster = build(inventory(FIGURE_3, retired=["lb1", "web2"]))
    box1, lb1 = (cluster["hosts"][name]["address"] for name in ("box1", "lb1"))
    told = {name: wired(cluster, name, doors=staying()) for name in ("box1", "lb1", "media1")}
    let_in = {name: {rule["port"]: rule["sources"] for rule in entry["firewall_rules"]} for name, entry in told.items()}
    assert let_in["lb1"] == {80: [], 443: []}
    assert let_in["box1"] == {80: []}
    assert let_in["media1"] == {80: [box1, lb1], 2049: [box1]}
    assert told["media1"]["media_trusted_proxies"] == [box1, lb1]
    assert told["box1"]["trusted_proxies"] == [lb1]
    assert told["box1"]["release_balancers"] == ["lb1"]
    assert told["lb1"]["load_balancer_web"] == cluster["endpoints"]["web"]
    assert told["lb1"]["record"]["serves"] == ["load_balancer"]
    assert wired(cluster, "lb1", doors=staying(at=["box1"], staying=[]))["firewall_rules"] == []


def test_uploads_and_visitors_move_one_after_the_other():
    move = {"media": {"from": "box1", "to": "media1"}, "database": {}}
    for doors_now, said in (
        (
            passing(),
            "while visitors come to box1. Do one after the other: leave the uploads where they are until DNS leads to lb1.",
        ),
        (
            staying(),
            "while visitors come to lb1. Do one after the other: leave the uploads where they are until DNS leads to box1.",
        ),
    ):
        faults = Faults()
        check_one_at_a_time(move, doors_now, faults)
        assert faults.sentences == [f"group media: moves from box1 to media1 {said}"]
        check_one_at_a_time({"media": {}}, doors_now, faults)
        check_one_at_a_time(move, {**doors_now, "passing": [], "staying": []}, faults)
        assert len(faults) == 1


def test_a_leaving_host_is_let_in_until_the_end():
    cluster = build(inventory(without("web2"), retired=["web2"]))
    web2, lb1 = (cluster["hosts"][name]["address"] for name in ("web2", "lb1"))
    leaving = {"web2": ["web"]}
    for host, entry in (("db1", "database_clients"), ("media1", "media_clients")):
        assert web2 in wired(cluster, host, leaving=leaving)[entry]
        assert web2 not in wired(cluster, host)[entry]
    for host in ("db1", "cache1", "cache2", "media1"):
        for rules, let_in in ((wiring.firewall_rules(cluster, host, leaving), True), (wiring.firewall_rules(cluster, host), False)):  # fmt: skip
            assert any(web2 in rule["sources"] for rule in rules) is let_in, host
    assert [rule["sources"] for rule in wiring.firewall_rules(cluster, "web2", leaving)] == [[lb1]]
    assert wiring.firewall_rules(cluster, "web2") == []


def test_the_last_host_that_mounts_the_uploads_reaches_them_until_the_end():
    cluster = build(inventory(without("web1", MIXED) | {"database": ["lb1"]}, retired=["web1"]))
    web1 = cluster["hosts"]["web1"]["address"]
    assert {"port": 2049, "protocol": "tcp", "sources": [web1]} in wiring.firewall_rules(cluster, "web2", {"web1": ["web"]})  # fmt: skip
    assert 2049 not in [rule["port"] for rule in wiring.firewall_rules(cluster, "web2")]
    assert wired(cluster, "web2", leaving={"web1": ["web"]})["media_clients"] == [web1]


# --- the database moves -------------------------------------------------------------------------------------------

GB = 10**9


def kept(what="none", system="", **more):
    """Return what the module database_state finds on a host."""
    found = {"what": what, "system": system, "version": "15" if what != "none" else "", "bytes": 0, "free": 50 * GB}
    return {**found, "databases": 0, "ours": what != "none", "handover": {}, **more}


def move_of(found, before=None, after=None):
    """Return the move from figure 1 to 2, or between the groups that are given, and what is in its way."""
    faults = Faults()
    old = build(before or ONE_BOX)
    found = {host: entry for host, entry in found.items() if entry}
    return asis.check(build(after or FIGURE_2), ID, records_of(old), faults, found)["database"], faults.sentences


PRIMARY = kept("primary", "1", bytes=2 * GB, databases=1)


def test_a_database_moves_to_its_own_host():
    move, faults = move_of({"box1": PRIMARY, "db1": kept()})
    assert faults == []
    assert move == {
        "from": "box1",
        "to": "db1",
        "poolers": ["box1"],
        "bytes": 2 * GB,
        "seconds": 100,
        "logical": False,
    }


def test_rows_move_to_another_version_where_that_is_asked_for():
    there = kept(version="17", logical=True)
    move, faults = move_of({"box1": {**PRIMARY, "logical": True}, "db1": there})
    assert faults == []
    assert move["logical"]
    assert move["seconds"] == 260
    lines = plan.render(build(FIGURE_2), {}, move)
    assert lines[3].endswith("some 260 s  sites wait some 2 s for a restart, then less than 1 s")
    # A copy that has begun is the other server's data, and needs no room any more.
    following = kept("standby", "1", version="17", logical=True, free=0)
    move, faults = move_of({"box1": {**PRIMARY, "logical": True}, "db1": following})
    assert (faults, move["logical"]) == ([], True)


def test_rows_move_to_no_older_version():
    _move, faults = move_of({"box1": PRIMARY, "db1": kept(version="14", logical=True)})
    assert faults == [
        "host db1: has PostgreSQL 14, and box1 has 15, which is newer. Use a host with PostgreSQL 15 or a newer one."
    ]


def test_and_back():
    move, faults = move_of({"db1": PRIMARY, "box1": kept()}, FIGURE_2, {**ONE_BOX, "memcached": ["db1"]})
    assert faults == []
    assert (move["from"], move["to"], move["poolers"]) == ("db1", "box1", ["box1"])


def test_every_web_host_of_now_waits_and_none_that_is_new():
    before = {**FIGURE_4, "database": ["media1"]}
    move, faults = move_of({"media1": PRIMARY, "db1": kept()}, before, {**FIGURE_4, "web": ["web1", "web2", "web3"]})
    assert faults == []
    assert move["poolers"] == ["web1", "web2"]


@pytest.mark.parametrize("step", ["", "pausing", "fenced", "promoting", "promoted"])
@pytest.mark.parametrize("what", ["primary", "stopped", "crashed", "standby"])
def test_a_move_that_was_cut_off_goes_on(step, what):
    here = {**PRIMARY, "what": what, "handover": {"id": "box1-db1", "step": step}}
    move, faults = move_of({"box1": here, "db1": kept("standby", "1", databases=1)})
    if step or what == "primary":
        assert (move["from"], faults) == ("box1", [])
    else:
        assert move == {}
        assert faults[0].startswith("host box1: its PostgreSQL shall hand the databases over to db1, and ")


def test_a_move_that_has_ended_is_none_though_the_hosts_remember_the_old_figure():
    here = kept(handover={"id": "box1-db1", "step": "done"})
    assert move_of({"box1": here, "db1": {**PRIMARY}}) == ({}, [])


def test_an_older_handover_of_the_host_says_nothing():
    here = {**PRIMARY, "handover": {"id": "box1-db1", "step": "done"}}
    assert move_of({"box1": here, "db1": kept()})[0]["to"] == "db1"
    gone = kept(handover={"id": "box1-db9", "step": "done"})
    assert "has no data. Start it there" in move_of({"box1": gone, "db1": kept()})[1][0]


@pytest.mark.parametrize(
    ("here", "there", "sentence"),
    [
        (
            PRIMARY,
            kept("primary", "1", databases=1),
            "group database: the servers of box1 and db1 are primaries of the same data, and each may hold rows that the other lacks."
            " Stop the one that no site uses, compare the two, and move its data directory away.",
        ),
        (
            PRIMARY,
            kept("primary", "2", databases=3),
            "host db1: its PostgreSQL has 3 databases of its own, in whose place those of box1 would come."
            " Drop them if nobody needs them, or take another host.",
        ),
        (
            PRIMARY,
            kept("primary", "2", version="17"),
            "host db1: has PostgreSQL 17, and box1 has 15, whose data it can't read."
            " Use a host with PostgreSQL 15, or set handover_logical: true, which moves rows and definitions in the place of files.",
        ),
        (
            PRIMARY,
            kept(free=2 * GB),
            "host db1: has 1907 MB free for the databases, and they need 2610 MB. Free some, or give the host a larger disk.",
        ),
        (
            {**PRIMARY, "what": "stopped"},
            kept(),
            "host box1: its PostgreSQL shall hand the databases over to db1, and does not run."
            " Start it there, or put the host that has the rows into the group database.",
        ),
        (
            PRIMARY,
            None,
            "group database: moves from box1 to db1, and there is no answer from db1."
            " Run it without --limit, and see that all of them answer.",
        ),
        (
            None,
            None,
            "group database: moves from box1 to db1, and there is no answer from box1 and db1."
            " Run it without --limit, and see that all of them answer.",
        ),
    ],
)
def test_what_is_in_the_way_of_a_move_is_refused_beforehand(here, there, sentence):
    assert move_of({"box1": here, "db1": there}) == ({}, [sentence])


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ("none", "has no data"),
        ("standby", "follows another server"),
        ("stopped", "does not run"),
        ("crashed", "does not run"),
    ],
)
def test_a_source_that_is_no_primary_is_named_with_what_it_is(what, state):
    """Nobody copies from a server that does not run, or from one that follows another."""
    assert move_of({"box1": {**PRIMARY, "what": what}, "db1": kept()}) == (
        {},
        [
            f"host box1: its PostgreSQL shall hand the databases over to db1, and {state}."
            " Start it there, or put the host that has the rows into the group database."
        ],
    )


def test_a_copy_that_is_there_already_needs_no_room():
    assert move_of({"box1": PRIMARY, "db1": kept("standby", "1", free=0, databases=1)})[1] == []


def limited(silent, after=None):
    """Return what is said against a move of rows and uploads in a balanced cluster when hosts are left out by --limit."""
    before = build(WALK["20-4"])
    cluster = build(inventory({**WALK["20-4"], "database": ["db9"], "media": ["media9"]}, retired=["db1", "media1"]))
    heard = [host for host in cluster["hosts"] if host not in silent]
    rows = {host: PRIMARY if host == "db1" else kept() for host in heard}
    uploads = {host: FULL if host == "media1" else files() for host in heard}
    faults = Faults()
    records = records_of(before, hosts=[host for host in before["hosts"] if host in heard])
    asis.check(cluster, ID, records, faults, rows, uploads, silent=silent)
    return faults.sentences


@pytest.mark.parametrize(
    ("host", "tiers"),
    [
        ("db1", ["database"]),
        ("db9", ["database"]),
        ("media1", ["media"]),
        ("media9", ["media"]),
        ("web2", ["database", "media"]),
        ("box1", ["database", "media"]),
        ("lb1", ["media"]),
    ],
)
def test_nobody_who_takes_part_in_a_move_is_left_out(host, tiers):
    """Who keeps something, who waits, who uses the files and who asks for them."""
    assert limited([]) == []
    assert limited([host]) == [
        f"group {tier}: moves from {old} to {new}, and there is no answer from {host}. Run it without --limit, and see that all of them answer."
        for tier, old, new in (("database", "db1", "db9"), ("media", "media1", "media9"))
        if tier in tiers
    ]


def test_a_host_that_has_become_another_s_since_the_last_move_is_not_written_over():
    here = {**PRIMARY, "handover": {"id": "box1-db1", "step": "done"}}
    (fault,) = move_of({"box1": here, "db1": kept("primary", "77", databases=4)})[1]
    assert fault.startswith(
        "host db1: its PostgreSQL has 4 databases of its own, in whose place those of box1 would come"
    )


def test_a_server_that_was_killed_hands_nothing_over():
    """Its data says that it is in production, as after a power failure."""
    (fault,) = move_of({"box1": {**PRIMARY, "running": False}, "db1": kept()})[1]
    assert fault.startswith(
        "host box1: its PostgreSQL shall hand the databases over to db1, and does not run. Start it there"
    )


@pytest.mark.parametrize("step", ["pausing", "fenced", "promoting", "promoted"])
def test_a_handover_that_is_under_way_goes_to_its_end_before_another_begins(step):
    here = {**PRIMARY, "what": "stopped", "handover": {"id": "box1-db1", "step": step}}
    (fault,) = move_of({"box1": here, "db2": kept()}, after={**FIGURE_2, "database": ["db2"]})[1]
    assert fault == (
        "host box1: is handing the databases over to db1, in a run that did not come to its end, and is no primary meanwhile."
        " Put db1 into the group database and run site to its end; they move to db2 after that."
    )


@pytest.mark.parametrize("step", ["pausing", "fenced", "promoting"])
def test_a_server_in_the_middle_of_a_handover_is_not_built_upon(step):
    """The inventory was set back."""
    here = {**PRIMARY, "what": "stopped", "handover": {"id": "box1-db1", "step": step}}
    for others in ({}, {"db1": kept("standby", "1", databases=1)}):
        (fault,) = missing(ONE_BOX, {"box1": here, **others}, hosts={"retired": ["db1"]} if others else {})
        assert fault.startswith(
            "host box1: is handing the databases over to db1, in a run that did not come to its end"
        )
    assert missing(ONE_BOX, {"box1": {**here, "what": "primary"}}) == []


def test_a_server_that_was_being_promoted_has_the_rows():
    here = {**PRIMARY, "what": "stopped", "handover": {"id": "box1-db1", "step": "promoting"}}
    (fault,) = missing(ONE_BOX, {"box1": here, "db1": PRIMARY}, hosts={"retired": ["db1"]})
    assert fault.startswith("host box1: has handed the databases over to db1")


def test_one_disk_has_to_have_room_for_both():
    def faults_with(free, disk=1):
        rows = {"db1": PRIMARY, "media1": kept(), "box1": kept(free=free, disk=disk)}
        uploads = {"db1": files(), "media1": FULL, "box1": {**AWAY, "free": free, "disk": 1}}
        faults = Faults()
        cluster = build(inventory(ONE_BOX, retired=["db1", "media1"]))
        asis.check(cluster, ID, records_of(build(FIGURE_3)), faults, rows, uploads)
        return faults.sentences

    assert faults_with(3 * GB) == [
        "host box1: has 2861 MB free for the databases and the uploads together, and they need 4715 MB."
        " Free some, give the host a larger disk, or move one of them to another host."
    ]
    assert faults_with(3 * GB, disk=2) == []
    assert faults_with(5 * GB) == []


def test_while_the_database_moves_its_users_and_the_agents_are_let_in():
    before = {**FIGURE_4, "database": ["media1"]}
    cluster = build(FIGURE_4)
    move, _faults = move_of({"media1": PRIMARY, "db1": kept()}, before, FIGURE_4)
    address = {host: entry["address"] for host, entry in cluster["hosts"].items()}

    def rules(host):
        return [(rule["port"], rule["sources"]) for rule in wiring.move_rules(cluster, host, move)]

    assert rules("media1") == [(5432, [address["web1"], address["web2"], address["db1"]])]
    for host in ("db1", "web1", "web2"):
        assert rules(host) == [(6433, [address["media1"]])]
    assert rules("lb1") == rules("cache1") == []


def test_the_port_of_the_agents_is_that_of_the_role():
    default = yaml.safe_load((ROOT / "roles/handover/defaults/main.yml").read_text())["handover_port"]
    assert default == topology.PORTS["handover"]
    cluster = build(FIGURE_2, ports={"handover": 7000})
    move, _faults = move_of({"box1": PRIMARY, "db1": kept()})
    told = wiring.wire(cluster, secrets_of(cluster), "db1", cluster=OWN, move=move)
    assert [rule["port"] for rule in told["move_rules"]] == [7000]


def test_the_role_is_told_who_hands_over_to_whom():
    cluster = build(FIGURE_2)
    move, _faults = move_of({"box1": PRIMARY, "db1": kept()})
    told = wiring.wire(cluster, secrets_of(cluster), "box1", cluster=OWN, move=move)["handover"]
    assert told["source"] == {"name": "box1", "address": cluster["hosts"]["box1"]["address"], "port": 5432}
    assert told["target"]["name"] == "db1"
    assert [pooler["name"] for pooler in told["poolers"]] == ["box1"]
    assert told["databases"] == [{"name": "blog", "user": "blog"}]
    assert wired(cluster)["handover"] == {}
    assert wired(cluster)["move_rules"] == []


def test_the_plan_says_what_moves_how_much_and_how_long_it_takes():
    move, _faults = move_of({"box1": PRIMARY, "db1": kept()})
    cluster = build(FIGURE_2)
    lines = plan.render(cluster, {}, move)
    assert lines[2:4] == ["Moves", "  database  box1 → db1  2.0 GB  some 100 s  sites wait less than 1 s"]
    assert lines[:2] + lines[5:] == plan.render(cluster)
    assert "300 MB" in plan.render(cluster, {}, {**move, "bytes": 3 * 10**8})[3]


def test_hosts_that_have_nothing_of_what_they_shall_keep_begin_empty():
    """Every host is another one than before, or the first."""
    cluster = build(FIGURE_3)
    nothing = {"database": {"db1": kept()}, "media": {"media1": files(page=False)}}
    still = {"database": {}, "media": {}}
    assert asis.beginning(cluster, nothing, still) == {"database": ["db1"], "media": ["media1"]}
    lines = plan.render(cluster, empty=asis.beginning(cluster, nothing, still))
    assert lines[2:5] == [
        "Begins empty",
        "  database  db1     has none of the sites' rows yet",
        "  media     media1  has none of the sites' uploads yet",
    ]
    assert lines[:2] + lines[6:] == plan.render(cluster)


def test_what_has_its_data_gets_it_or_was_not_asked_does_not_begin_empty():
    cluster = build(FIGURE_3)
    full = {"database": {"db1": PRIMARY}, "media": {"media1": files(sites=["blog"])}}
    still = {"database": {}, "media": {}}
    assert asis.beginning(cluster, full, still) == {}
    assert asis.beginning(cluster, {"database": {}, "media": {}}, still) == {}
    nothing = {"database": {"db1": kept()}, "media": {"media1": files()}}
    assert asis.beginning(cluster, nothing, {**still, "database": {"to": "db1"}}) == {"media": ["media1"]}
    assert asis.beginning(cluster, nothing, {**still, "media": {"to": "media1"}}) == {"database": ["db1"]}


# --- the media move -----------------------------------------------------------------------------------------------

#: From the database host's figure to the one with a media host; the other way round; and from one media host to another.
OUT = (FIGURE_2, FIGURE_3)
OVER = ({**FIGURE_4, "media": ["cache1"]}, {**FIGURE_4, "media": ["media1"], "memcached": ["cache1"]})


def files(**more):
    """Return what the module media_state finds on a host."""
    return {
        "mounted": "",
        "there": False,
        "page": False,
        "client": False,
        "sites": [],
        "files": 0,
        "bytes": 0,
        "free": 50 * GB,
        "inodes": 10**6,
        "move": {},
        **more,
    }


FULL = files(there=True, page=True, files=2000, bytes=2 * GB)
EMPTY = files(there=True)


def media_move_of(found, figures=OUT, given_up=()):
    """Return the move and what is in its way."""
    before, after = figures
    faults = Faults()
    found = {host: entry for host, entry in found.items() if entry}
    move = asis.check(build(after), ID, records_of(build(before)), faults, {}, found, given_up)["media"]
    return move, faults.sentences


def test_media_move_to_their_own_host():
    move, faults = media_move_of({"box1": FULL, "media1": EMPTY})
    assert faults == []
    assert move == {
        "from": "box1", "to": "media1", "back": False, "followers": [], "bytes": 2 * GB, "files": 2000, "seconds": 110, "moved": False,
    }  # fmt: skip


def test_every_web_host_that_uses_the_files_over_the_network_takes_part():
    move, faults = media_move_of({"cache1": FULL, "media1": EMPTY}, OVER)
    assert faults == []
    assert (move["from"], move["to"], move["followers"]) == ("cache1", "media1", ["web1", "web2"])


def test_a_web_host_that_keeps_the_files_leads_and_the_others_follow():
    before = {**FIGURE_4, "media": ["web2"]}
    move, faults = media_move_of({"web2": FULL, "media1": EMPTY}, (before, FIGURE_4))
    assert faults == []
    assert (move["from"], move["followers"]) == ("web2", ["web1"])


def test_media_stay_where_this_was_not_asked_for():
    (fault,) = faults_of(build(FIGURE_3), records_of(build(FIGURE_2)))
    assert fault.endswith("this version does not move them yet.")


@pytest.mark.parametrize("step", ["copying", "switching"])
def test_a_move_of_media_that_was_cut_off_goes_on_though_the_new_host_has_files(step):
    here = {
        **FULL,
        "move": {"id": "box1-media1", "step": step},
        "mounted": "autofs systemd-1" if step == "switching" else "",
    }
    move, faults = media_move_of({"box1": here, "media1": {**EMPTY, "files": 1500, "bytes": GB}})
    assert (move["to"], move["moved"], faults) == ("media1", False, [])


@pytest.mark.parametrize("step", ["switched", "done"])
def test_media_that_have_moved_are_cleaned_up_after_and_need_no_room(step):
    here = files(there=True, mounted="nfs4 10.0.0.31:/srv/media", move={"id": "box1-media1", "step": step})
    move, faults = media_move_of({"box1": here, "media1": files(there=True, files=2000, free=0, inodes=0)})
    assert (move["moved"], faults) == (True, [])


def test_an_older_move_of_media_says_nothing():
    here = {**FULL, "move": {"id": "box1-media1", "step": "done"}}
    move, faults = media_move_of({"box1": here, "media1": EMPTY})
    assert (move["moved"], faults) == (False, [])
    assert "files of its own" in media_move_of({"box1": here, "media1": files(files=3)})[1][0]


@pytest.mark.parametrize(
    ("here", "there", "sentence"),
    [
        (
            None,
            EMPTY,
            "group media: moves from box1 to media1, and there is no answer from box1."
            " Run it without --limit, and see that all of them answer.",
        ),
        (
            files(),
            EMPTY,
            "host box1: shall hand the uploads over to media1, and has no folder /srv/media."
            " Put the host that has them into the group media.",
        ),
        (
            {**FULL, "mounted": "ext4 /dev/vdb1"},
            EMPTY,
            "host box1: has ext4 /dev/vdb1 mounted on /srv/media, and only a plain folder can be handed over."
            " Mount a disk on /srv instead; or, if another host has the files, put that one into the group media.",
        ),
        (
            FULL,
            files(there=True, files=7, bytes=100),
            "host media1: has 7 files of its own below /srv/media, among which those of box1 would come."
            " Move them away if nobody needs them there, or take another host.",
        ),
        (
            FULL,
            files(mounted="nfs4 10.0.0.9:/srv/media"),
            "host media1: shall keep the uploads, and uses those of another host (nfs4 10.0.0.9:/srv/media)."
            " Stop and disable srv-media.automount and srv-media.mount there, if no site runs on it, or take another host.",
        ),
        (
            FULL,
            files(free=GB),
            "host media1: has 953 MB free for the uploads, and they need 2105 MB. Free some, or give the host a larger disk.",
        ),
        (
            FULL,
            files(inodes=1000),
            "host media1: has room for 1000 files, and box1 has 2000."
            " Make the file system anew with more inodes, or take another host.",
        ),
    ],
)
def test_what_is_in_the_way_of_media_is_refused_beforehand(here, there, sentence):
    assert media_move_of({"box1": here, "media1": there}) == ({}, [sentence])


def test_what_has_been_copied_of_the_uploads_already_has_its_room():
    """A run that was cut off does not ask for it twice."""
    here = {**FULL, "move": {"id": "box1-media1", "step": "copying"}}
    there = files(there=True, files=1900, bytes=2 * GB, free=GB // 2, inodes=200)
    move, faults = media_move_of({"box1": here, "media1": there})
    assert (move["to"], faults) == ("media1", [])
    _move, faults = media_move_of({"box1": here, "media1": {**there, "bytes": GB, "files": 1000}})
    assert [fault.split(". ")[0] for fault in faults] == [
        "host media1: has 476 MB free for the uploads, and they need 2105 MB",
        "host media1: has room for 200 files, and box1 has 2000",
    ]


BACK = (FIGURE_3, {**FIGURE_2, "memcached": ["media1"]})
AWAY = files(there=True, mounted="nfs4 10.0.0.31:/srv/media")


def test_media_move_back_to_the_web_host():
    for mounted in (AWAY["mounted"], "autofs systemd-1"):
        move, faults = media_move_of({"media1": FULL, "box1": {**AWAY, "mounted": mounted}}, BACK)
        assert faults == []
        assert (move["from"], move["to"], move["back"], move["followers"]) == ("media1", "box1", True, [])


@pytest.mark.parametrize("step", ["copying", "switching", "switched", "done"])
def test_the_way_back_is_gone_on_with_by_what_the_web_host_says(step):
    here = files(there=True, files=2000, move={"id": "media1-box1", "step": step})
    move, faults = media_move_of({"media1": FULL, "box1": here}, BACK)
    assert (faults, move["moved"]) == ([], step in ("switched", "done"))
    assert "files of its own" in media_move_of({"media1": FULL, "box1": {**here, "move": {}}}, BACK)[1][0]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FIGURE_4, {**FIGURE_4, "media": ["web1"], "memcached": ["media1"]}),
        (FIGURE_3, {**BACK[1], "load_balancer": ["lb1"]}),
    ],
)
def test_media_move_back_to_a_web_host_that_is_alone_and_in_front_of_which_is_none(before, after):
    move, faults = media_move_of({}, (before, after))
    assert move == {}
    assert (
        f"to the web host {after['media'][0]}, which this version does for one web host without a balancer alone"
        in faults[-1]
    )


def test_uploads_of_a_web_host_that_leaves_do_not_go_to_another_one():
    """Its sites write them on its own disk until it has left."""
    cluster = build(inventory(FIGURE_2, retired=["lb1", "web2"]))
    old = build({**WALK["20-4"], "media": ["web2"]})
    faults = Faults()
    uploads = {"web2": FULL, "box1": AWAY}
    assert asis.check(cluster, ID, records_of(old), faults, {"db1": PRIMARY}, uploads)["media"] == {}
    assert faults.sentences[0].startswith(
        "group media: would move from web2 to the web host box1, which this version does for one web"
    )


def test_on_the_way_back_the_web_host_leads_and_reaches_the_old_place():
    move, _faults = media_move_of({"media1": FULL, "box1": AWAY}, BACK)
    cluster = build(BACK[1])
    address = {host: entry["address"] for host, entry in cluster["hosts"].items()}

    def told(host):
        return wiring.wire(cluster, secrets_of(cluster), host, cluster=OWN, media_move=move)

    assert told("box1")["media_moving"] == {
        "source": {"name": "media1", "address": address["media1"]},
        "target": {"name": "box1", "address": address["box1"]},
        "followers": [],
        "sites": ["blog"],
        "back": True,
        "leader": "box1",
        "hosts": ["box1"],
        "leaves": True,
        "clients": [],
    }
    assert told("box1")["media_clients"] == []
    assert told("box1")["media_move_rules"] == []
    assert told("media1")["media_move_rules"] == [
        {"port": 2049, "protocol": "tcp", "sources": [address["box1"]]},
        {"port": 80, "protocol": "tcp", "sources": [address["box1"]]},
    ]


@pytest.mark.parametrize(
    ("host", "record", "asked"),
    [
        ("box1", {"members": {"media": ["box1"]}}, True),  # it had the files
        ("media1", {"members": {"media": ["box1"]}}, True),  # it shall have them
        ("media1", None, True),  # and is new
        ("media1", {"members": {"media": ["media1"]}}, False),
        ("db1", {"members": {"media": ["box1"]}}, False),
        ("db1", None, False),
        ("box1", {}, False),
        ("box1", "what a power failure leaves", False),
    ],
)
def test_files_are_counted_where_they_come_and_go(host, record, asked):
    plays = DataLoader().load_from_file(str(ROOT / "playbooks/preflight.yml"), trusted_as_template=True)
    (task,) = [task for task in plays[1]["tasks"] if "ntier.django.media_state" in task]
    facts = {"ansible_local": {"ntier": record} if record is not None else {}}
    known = {"inventory_hostname": host, "ntier_topology": build(FIGURE_3), "ansible_facts": facts}
    templar = Templar(DataLoader(), {**task["vars"], **known})
    assert templar.template(task["ntier.django.media_state"]["measure"]) is asked


def test_while_media_move_all_who_use_them_reach_the_new_host_and_afterwards_those_to_come():
    move, _faults = media_move_of({"cache1": FULL, "media1": EMPTY}, OVER)
    cluster = build(OVER[1])
    address = {host: entry["address"] for host, entry in cluster["hosts"].items()}
    users = [address[host] for host in ("cache1", "web1", "web2")]

    def told(host, moving=True):
        return wiring.wire(cluster, secrets_of(cluster), host, cluster=OWN, media_move=move if moving else None)

    assert told("media1")["media_clients"] == users
    assert told("media1")["media_move_rules"] == [{"port": 2049, "protocol": "tcp", "sources": users}]
    assert told("cache1")["media_move_rules"] == [
        {"port": 2049, "protocol": "tcp", "sources": users[1:]},
        {"port": 80, "protocol": "tcp", "sources": [address["lb1"], *users[1:]]},
    ]
    for host in ("web1", "lb1"):
        assert told(host)["media_move_rules"] == []
    for host in ("cache1", "web1", "lb1"):
        assert told(host)["media_clients"] == told(host, moving=False)["media_clients"]
    assert told("web1")["media_moving"] == {
        "source": {"name": "cache1", "address": address["cache1"]},
        "target": {"name": "media1", "address": address["media1"]},
        "followers": ["web1", "web2"],
        "sites": ["blog"],
        "back": False,
        "leader": "cache1",
        "hosts": ["cache1", "web1", "web2"],
        "leaves": True,
        "clients": users[1:],
    }
    assert told("media1", None)["media_moving"] == {}


def test_a_place_that_everybody_may_ask_by_name_stays_open_while_media_move():
    move, _faults = media_move_of({"cache1": FULL, "media1": EMPTY}, OVER)
    cluster = build(OVER[1], sites=[a_site(media_domain="media.example.com")])
    assert wiring.media_move_rules(cluster, "cache1", move)[1] == {"port": 80, "protocol": "tcp", "sources": []}
    (rule,) = wiring.media_move_rules(build(FIGURE_3), "box1", {**move, "from": "box1", "followers": ["db1"]})
    assert rule["port"] == 2049  # a web host's own port is open anyway
    assert wiring.media_move_rules(build(FIGURE_3), "box1", {**move, "from": "box1", "followers": []}) == []


def test_a_web_host_that_kept_the_files_goes_on_using_them():
    move, _faults = media_move_of({"box1": FULL, "media1": EMPTY})
    cluster = build(FIGURE_3)
    told = wiring.wire(cluster, secrets_of(cluster), "box1", cluster=OWN, media_move=move)["media_moving"]
    assert (told["leaves"], told["hosts"], told["clients"]) == (False, ["box1"], [cluster["hosts"]["box1"]["address"]])


def test_the_plan_says_how_many_files_move():
    move, _faults = media_move_of({"box1": FULL, "media1": EMPTY})
    cluster = build(FIGURE_3)
    lines = plan.render(cluster, {}, None, move)
    assert lines[2:4] == ["Moves", "  media  box1 → media1  2.0 GB in 2000 files  some 110 s  sites wait less than 2 s"]
    assert lines[:2] + lines[5:] == plan.render(cluster)
    assert plan.render(cluster, {}, None, {**move, "moved": True})[3].endswith("what is left is cleaning up")
    database = {"from": "box1", "to": "db1", "bytes": 1, "seconds": 60, "logical": False}
    assert [line.split()[0] for line in plan.render(cluster, {}, database, move)[3:5]] == ["database", "media"]


def test_files_are_counted_without_what_only_a_move_needs(tmp_path):
    for name in ("shop/media/x", "shop/.ntier-move/kept/media/y", "ntier-health", "shop/static/ntier-health"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
    (tmp_path / "shop/link").symlink_to("/etc")
    assert media.measure(str(tmp_path)) == (3, 200)
    assert media.measure(str(tmp_path / "none")) == (0, 0)
    assert all(number > 0 for number in media.room_in(str(tmp_path / "not/yet")))


def test_what_one_sees_in_a_folder_is_what_was_mounted_last():
    text = (
        "29 1 254:0 / / rw shared:1 - ext4 /dev/vda1 rw\n"
        "40 29 0:35 / /srv/media rw shared:20 - autofs systemd-1 rw\n"
        "41 40 0:50 / /srv/media rw shared:30 - nfs4 10.0.0.31:/srv/media rw\n"
    )
    assert media.mounted_on(text, "/srv/media") == "nfs4 10.0.0.31:/srv/media"
    assert media.mounted_on(text, "/srv") == ""


# --- several figures at once --------------------------------------------------------------------------------------

#: A walk through the figures: the box stays, other hosts come and go.
WALK = {
    "20-1": ONE_BOX,
    "20-2": FIGURE_2,
    "20-3": FIGURE_3,
    "20-4": {**FIGURE_4, "web": ["box1", "web2"], "memcached": ["box1"]},
}


def jump(before, after, said=()):
    """Return how the plan of a run from some groups to others begins, and what is said against it.

    Hosts that are in no group any more are in C(retired).
    """
    old, faults = build(before), Faults()
    names = dict.fromkeys(name for hosts in [*before.values(), *after.values()] for name in hosts)
    gone = [name for name in old["hosts"] if name not in build(after)["hosts"]]
    cluster = build(inventory(after, retired=gone))
    records, rows, uploads = records_of(old), dict.fromkeys(names, kept()), dict.fromkeys(names, files())
    rows |= dict.fromkeys(old["tiers"]["database"]["hosts"], PRIMARY)
    uploads |= {host: {**FULL, "sites": ["blog"]} for host in old["tiers"]["media"]["hosts"]}
    uploads |= {host: {**AWAY, "client": True} for host in old["uploads"]["clients"]}
    moves = asis.check(cluster, ID, records, faults, rows, uploads)
    ways = asis.doors(cluster, records, said, faults)
    check_one_at_a_time(moves, ways, faults)
    lines = plan.render(cluster, {}, moves["database"], moves["media"], doors=ways)
    return lines[2 : lines.index("Tiers")], faults.sentences


ROWS_OUT = "  database  box1 → db1  2.0 GB  some 100 s  sites wait less than 1 s"
ROWS_BACK = ROWS_OUT.replace("box1 → db1", "db1 → box1")
FILES_OUT = "  media  box1 → media1  2.0 GB in 2000 files  some 110 s  sites wait less than 2 s"
FILES_BACK = FILES_OUT.replace("box1 → media1", "media1 → box1")


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        ("20-1", "20-2", [ROWS_OUT]),
        ("20-1", "20-3", [ROWS_OUT, FILES_OUT]),
        ("20-2", "20-3", [FILES_OUT]),
        ("20-2", "20-1", [ROWS_BACK]),
        ("20-3", "20-1", [ROWS_BACK, FILES_BACK]),
        ("20-3", "20-2", [FILES_BACK]),
    ],
)
def test_figures_without_a_balancer_are_reached_in_one_run(before, after, moves):
    """The plan says of each move how much it is, how long it takes and how long the sites wait."""
    lines, faults = jump(WALK[before], WALK[after])
    assert faults == []
    assert [" ".join(line.split()) for line in lines] == ["Moves", *(" ".join(row.split()) for row in moves), ""]


@pytest.mark.parametrize("before", ["20-1", "20-2"])
def test_a_balancer_and_a_media_host_do_not_come_at_once(before):
    """What the sentence asks for is done, and so is the rest after it."""
    assert jump(WALK[before], WALK["20-4"])[1] == [
        "group media: moves from box1 to media1 while visitors come to box1."
        " Do one after the other: leave the uploads where they are until DNS leads to lb1."
    ]
    first = {**WALK["20-4"], "media": ["box1"]}
    lines, faults = jump(WALK[before], first)
    assert faults == []
    assert "  come to box1, which passes them on to lb1." in lines
    lines, faults = jump(first, WALK["20-4"], ["lb1"])
    assert (lines, faults) == (["Moves", FILES_OUT, ""], [])


@pytest.mark.parametrize("said", [[], ["box1"]])
@pytest.mark.parametrize("after", ["20-1", "20-2"])
def test_uploads_of_several_web_hosts_do_not_come_back_onto_one_of_them(after, said):
    """The balancer and the other web hosts go in a run of their own; after it the rest is done in one."""
    assert jump(WALK["20-4"], WALK[after], said)[1] == [
        "group media: would move from media1 to the web host box1, which this version does for one web host without a balancer alone."
        " Put media1 back into the group media, or take the balancer and the other web hosts out first, with a run of their own."
    ]
    assert jump(WALK["20-4"], WALK["20-3"], said)[1] == []
    assert jump(WALK["20-3"], WALK[after], said)[1] == []


def test_uploads_do_not_come_back_as_long_as_visitors_come_to_the_balancer():
    """Its web hosts have gone, and it stays in service."""
    old = build(inventory(FIGURE_3, retired=["lb1"]))
    records = {host: asis.record(old, ID, host, staying()) for host in old["hosts"]}
    cluster = build(inventory(FIGURE_2, retired=["lb1", "media1"]))
    for said, count in (([], 1), (["box1"], 0)):
        faults = Faults()
        uploads = {"media1": FULL, "box1": {**AWAY, "client": True}}
        moves = asis.check(cluster, ID, records, faults, {"box1": kept(), "db1": PRIMARY}, uploads)
        assert (moves["media"]["to"], faults.sentences) == ("box1", [])
        check_one_at_a_time(moves, asis.doors(cluster, records, said, faults), faults)
        assert len(faults) == count


# --- what lies on a host ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "fenced", "what"),
    [
        ("in production", False, "primary"),
        ("in production", True, "standby"),
        ("in archive recovery", True, "standby"),
        ("shut down", True, "stopped"),
        ("shut down in recovery", False, "standby"),
        ("in crash recovery", False, "crashed"),
    ],
)
def test_a_data_directory_says_what_its_server_is(state, fenced, what):
    text = f"Database system identifier:           744\nDatabase cluster state:               {state}\n"
    assert databases.what_of(text, fenced) == (what, "744")


def test_data_is_measured(tmp_path):
    for name in ("1", "4", "5", "16384", "pgsql_tmp"):
        (tmp_path / "base" / name).mkdir(parents=True)
    (tmp_path / "base/1/1").write_bytes(bytes(1000))
    (tmp_path / "base/16384/2").write_bytes(bytes(500))
    (tmp_path / "link").symlink_to(tmp_path / "base/1/1")
    assert databases.size_of(str(tmp_path)) == 1500
    assert databases.own_databases(str(tmp_path)) == 1
    assert databases.own_databases(str(tmp_path / "none")) == 0
    assert databases.free_in(str(tmp_path / "not" / "yet")) > 0


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that runs a module on this host, and returns what it finds; C(control) is what pg_controldata says."""

    def run(module, control=(0, "", ""), **parameters):
        class Exit(Exception):
            pass

        class Module:
            def __init__(self, argument_spec, supports_check_mode):
                defaults = {name: spec["default"] for name, spec in argument_spec.items()}
                self.params = {**defaults, "state": str(tmp_path / "state.json"), **parameters}

            def run_command(self, words, **_more):
                return control

            def exit_json(self, changed, found):
                raise Exit(changed, found)

        monkeypatch.setattr(module, "AnsibleModule", Module)
        with pytest.raises(Exit) as end:
            module.main()
        changed, found = end.value.args
        assert changed is False
        return found

    return run


def test_a_server_is_found_with_its_size_and_the_room_there_is(tmp_path, module, monkeypatch):
    nothing = module(database_state, home=str(tmp_path / "postgresql"))
    assert nothing["free"] > 0
    assert {name: nothing[name] for name in kept()} == {**kept(), "free": nothing["free"]}
    data = tmp_path / "postgresql/15/main"
    for name in ("1", "4", "5", "16384"):
        (data / "base" / name).mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    (data / "base/16384/1").write_bytes(bytes(997))
    (tmp_path / "state.json").write_text('{"id": "box1-db1", "step": "fenced"}')
    text = "Database system identifier:  744\nDatabase cluster state:  in production\n"
    there = {"program": False}
    exists = os.path.exists
    monkeypatch.setattr(
        os.path, "exists", lambda path: there["program"] if str(path).endswith("pg_controldata") else exists(path)
    )
    # Of a server whose package has been removed nothing can be said.
    assert module(database_state, (0, text, ""), home=str(tmp_path / "postgresql"))["what"] == "crashed"
    there["program"] = True
    found = module(database_state, (0, text, ""), home=str(tmp_path / "postgresql"))
    assert {name: found[name] for name in ("what", "system", "version", "bytes", "databases", "ours", "handover")} == {
        "what": "primary",
        "system": "744",
        "version": "15",
        "bytes": 1000,
        "databases": 1,
        "ours": False,
        "handover": {"id": "box1-db1", "step": "fenced"},
    }
    assert found["running"] is False
    # The fence, and data of which nothing can be said.
    (data / "standby.signal").touch()
    assert module(database_state, (0, text, ""), home=str(tmp_path / "postgresql"))["what"] == "standby"
    found = module(database_state, (1, "", "could not read"), home=str(tmp_path / "postgresql"))
    assert (found["what"], found["system"], found["databases"]) == ("crashed", "", 1)


def test_uploads_are_found_with_their_size_and_the_room_there_is(tmp_path, module):
    nothing = module(media_state, folder=str(tmp_path / "media"))
    assert nothing["free"] > 0 and nothing["inodes"] > 0
    room = {name: nothing[name] for name in ("free", "inodes")}
    assert {name: nothing[name] for name in files()} == files(**room)
    (tmp_path / "media/blog").mkdir(parents=True)
    (tmp_path / "media/blog/a.png").write_bytes(bytes(500))
    (tmp_path / "media/ntier-health").touch()
    found = module(media_state, folder=str(tmp_path / "media"))
    assert {name: found[name] for name in ("there", "page", "sites", "files", "bytes")} == {
        "there": True,
        "page": True,
        "sites": ["blog"],
        "files": 1,
        "bytes": 500,
    }
    # Counting takes a while, and is not always asked for.
    again = module(media_state, folder=str(tmp_path / "media"), measure=False)
    assert (again["page"], again["sites"], again["files"], again["bytes"]) == (True, ["blog"], 0, 0)


def test_what_a_handover_wrote_down_is_read(tmp_path):
    path = tmp_path / "state.json"
    assert databases.handover_of(str(path)) == {}
    path.write_text('{"id": "box1-db1", "step": "fenced", "runs": 2}')
    assert databases.handover_of(str(path)) == {"id": "box1-db1", "step": "fenced"}
    path.write_text("")
    assert databases.handover_of(str(path))["step"] == "unreadable"


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('{"id": "box1-db1", "system": "71"}', "71"),
        ('{"id": "box1-db1", "system": "71", "made": true}', "71"),
        ('{"id": "box1-db1", "system": "71", "promoted": true}', ""),
        ("{", "unreadable"),
        ("[]", "unreadable"),
    ],
)
def test_a_server_that_follows_the_rows_of_another_is_known(tmp_path, text, system):
    assert databases.followed(str(tmp_path)) == ""
    (tmp_path / "ntier-follows").write_text(text)
    assert databases.followed(str(tmp_path)) == system


def test_a_playbook_that_moves_nothing_is_told_that_a_move_is_due():
    faults = Faults()
    move = asis.check(build(FIGURE_2), ID, records_of(build(ONE_BOX)), faults, None)
    assert (move, faults.sentences) == ({"database": {"from": "box1", "to": "db1"}, "media": {}}, [])


# --- data that is not where it shall be ---------------------------------------------------------------------------

ROWS = "the sites' rows, as the hosts remember, and has no database: it is another machine, or was emptied."


def missing(groups, databases=None, media=None, before=None, **more):
    """Return what is refused when the groups stay as hosts remember them, or nobody remembers any: before={}."""
    faults = Faults()
    records = {} if before == {} else records_of(build(before or groups))
    moves = asis.check(
        build(inventory(groups, **more.pop("hosts", {}))), ID, records, faults, databases or {}, media, **more
    )
    assert moves == {"database": {}, "media": {}}
    return faults.sentences


def test_data_where_it_was_is_welcome():
    hosts = {"box1": kept(), "db1": PRIMARY}
    assert missing(FIGURE_2, hosts, {"box1": FULL, "db1": files()}) == []
    assert missing(FIGURE_2, {"box1": kept(), "db1": {**PRIMARY, "what": "crashed"}}) == []
    # Hosts on which nothing is yet.
    assert missing(FIGURE_3, {"box1": kept(), "db1": kept()}, {"box1": files(), "media1": files()}, before={}) == []
    # Half built, and nobody has written a record.
    assert missing(FIGURE_2, {"box1": kept(), "db1": kept("primary", "1")}, before={}) == []
    assert missing(ONE_BOX, {"box1": PRIMARY}, {"box1": FULL}, before={}) == []
    # Of somebody else.
    assert missing(FIGURE_2, {"box1": {**PRIMARY, "ours": False}, "db1": kept()}, before={}) == []


@pytest.mark.parametrize("found", [kept(), kept("primary", "2"), kept("stopped", "2")])
def test_a_database_host_that_was_emptied_is_refused(found):
    """Or another machine of that name, which would begin without any row."""
    (fault,) = missing(FIGURE_2, {"box1": kept(), "db1": found})
    assert fault == (
        f"host db1: shall have {ROWS} See that ansible_host leads to the machine that has them, or put its data back."
        " When it is lost for good, say ntier_given_up: [db1], and the sites begin without it."
    )
    assert missing(FIGURE_2, {"box1": kept(), "db1": found}, given_up=["db1"]) == []


def test_the_versions_that_systems_package_are_those_of_the_role():
    assert yaml.safe_load((ROOT / "roles/database/vars/main.yml").read_text())["__database_versions"] == asis.PACKAGED


def test_what_a_host_remembers_that_left_long_ago_is_past():
    """It was in retired as the uploads came back, out of the inventory as they moved again, and is in retired once more."""
    back = build(inventory(FIGURE_2, retired=["lb1", "media1"]))
    records = {**records_of(build(FIGURE_3)), "lb1": asis.record(back, ID, "lb1")}
    assert records["lb1"]["members"]["media"] == ["box1"]
    faults = Faults()
    found = {"box1": files(mounted="nfs4 media1:/srv/media", client=True, there=True), "media1": FULL}
    move = asis.check(back, ID, records, faults, {"box1": kept(), "db1": PRIMARY}, found)["media"]
    assert faults.sentences == []
    assert (move["from"], move["to"]) == ("media1", "box1")
    # As long as it is not asked for where visitors come to either.
    records["lb1"]["doors"] = ["lb9"]
    assert asis.doors(back, records, [], faults)["at"] == ["box1"]


def test_a_run_that_was_cut_off_as_hosts_were_to_remember_the_move_is_finished():
    """One of them names the new host already."""
    after = build(FIGURE_2)
    records = {"box1": asis.record(build(ONE_BOX), ID, "box1"), "db1": asis.record(after, ID, "db1")}
    found = {"box1": kept(handover={"id": "box1-db1", "step": "done"}), "db1": PRIMARY}
    faults = Faults()
    assert asis.check(after, ID, records, faults, found)["database"] == {}
    assert faults.sentences == []


def test_a_host_that_is_given_up_may_vanish():
    groups = {**FIGURE_2, "database": ["db2"]}
    (fault,) = missing(groups, {"box1": kept(), "db2": kept()}, before=FIGURE_2)
    assert fault.startswith("group database: is without db1 now")
    assert missing(groups, {"box1": kept(), "db2": kept()}, before=FIGURE_2, given_up=["db1"]) == []


def test_a_host_that_has_all_is_not_given_up():
    """The variable was left behind, and would let what the host has now be lost."""
    one = {"box1": {**FULL, "sites": ["guestbook"]}}
    (fault,) = missing(ONE_BOX, {"box1": PRIMARY}, one, given_up=["box1"])
    assert fault == (
        "variable ntier_given_up: names box1, which has all that it shall keep."
        " Take the host out of it: what it has would not be looked for any more when it goes."
    )
    # Rows are gone, and uploads are not.
    assert missing(ONE_BOX, {"box1": kept()}, one, given_up=["box1"]) == []
    # What it has is looked for as long as it answers.
    faults = Faults()
    groups = {**FIGURE_2, "database": ["db2"]}
    cluster = build(inventory(groups, retired=["db1"]))
    found = {"box1": kept(), "db1": PRIMARY, "db2": kept()}
    move = asis.check(cluster, ID, records_of(build(FIGURE_2)), faults, found, given_up=["db1"])["database"]
    assert (move["from"], move["to"]) == ("db1", "db2")


@pytest.mark.parametrize("what", ["stopped", "crashed", "standby"])
def test_a_server_whose_data_has_gone_to_another_is_not_started_again(what):
    """The handover ended before the data was put aside."""
    here = {**PRIMARY, "what": what, "handover": {"id": "box1-db1", "step": "promoted"}}
    (fault,) = missing(ONE_BOX, {"box1": here, "db1": PRIMARY}, hosts={"retired": ["db1"]})
    assert fault.startswith("host box1: has handed the databases over to db1")
    # A move of long ago: somebody has stopped the server since.
    assert missing(ONE_BOX, {"box1": here, "db1": kept()}, hosts={"retired": ["db1"]}) == []


def test_a_disk_of_its_own_or_a_share_of_somebody_else_may_be_mounted():
    for mounted in ("ext4 /dev/vdb", "autofs systemd-1", "nfs4 nas:/media"):
        assert missing(FIGURE_3, {"db1": PRIMARY}, {"media1": files(mounted=mounted, there=True, page=True)}) == []
        (fault,) = missing(FIGURE_3, {"db1": PRIMARY}, {"media1": files(mounted=mounted, there=True)})
        assert "/srv/media is not the folder that was there" in fault


def test_the_server_that_the_role_has_configured_counts(tmp_path):
    paths = [str(tmp_path / f"data/{version}/main/PG_VERSION") for version in ("9", "15", "17")]
    assert databases.first(paths, str(tmp_path)) == [paths[2]]
    (tmp_path / "15/main/conf.d").mkdir(parents=True)
    (tmp_path / "15/main/conf.d/ntier.conf").touch()
    assert databases.first(paths, str(tmp_path)) == [paths[1]]
    assert databases.first([], str(tmp_path)) == []


def test_a_database_that_has_moved_in_a_run_that_was_cut_off_is_not_begun_anew():
    """The inventory is as before, and so is what the hosts remember."""
    databases = {"box1": kept(handover={"id": "box1-db1", "step": "done"}), "db1": PRIMARY}
    for hosts in ({}, {"retired": ["db1"]}):
        (fault,) = missing(ONE_BOX, databases, hosts=hosts)
        assert fault == (
            "host box1: has handed the databases over to db1, in a run that did not come to its end, and would start without them."
            " Put db1 into the group database and run site to its end; they move back after that."
        )


def test_a_database_of_a_first_run_that_was_cut_off_is_not_begun_anew():
    (fault,) = missing(FIGURE_2, {"box1": PRIMARY, "db1": kept()}, before={})
    assert fault == (
        "host db1: would start without the sites' rows, for which an earlier run has made room on box1."
        " Put box1 into the group database until site has come to its end; they move after that. If nobody needs what is there, say ntier_given_up: [db1]."
    )
    assert missing(FIGURE_2, {"box1": PRIMARY, "db1": kept()}, before={}, given_up=["db1"]) == []


def test_a_new_database_host_is_not_built_alone():
    """With --limit nobody knows what the others have."""
    faults = missing(FIGURE_2, {"db1": kept()}, {"db1": files()}, before={}, silent=["box1"])
    assert faults == [
        "host db1: has none of the sites' rows yet, and whether box1 has them was not asked. Run it without --limit."
    ]
    assert missing(FIGURE_2, {"box1": kept()}, {"box1": FULL}, before={}, silent=["db1"]) == []
    assert missing(FIGURE_2, {"db1": PRIMARY}, {"db1": files()}, silent=["box1"]) == []


def test_two_primaries_of_the_same_data_are_refused_without_a_move():
    faults = missing(FIGURE_2, {"box1": {**PRIMARY, "what": "primary"}, "db1": PRIMARY})
    assert faults == [
        "group database: the servers of db1 and box1 are primaries of the same data, and each may hold rows that the other lacks."
        " Stop the one that no site uses, compare the two, and move its data directory away."
    ]
    assert missing(FIGURE_2, {"box1": {**PRIMARY, "system": "9"}, "db1": PRIMARY}) == []


def test_a_third_primary_of_the_same_data_is_refused_when_the_database_moves():
    """It has no part in the move, and a site may use it all the same."""
    found = {"box1": PRIMARY, "db1": kept(), "cache1": PRIMARY}
    after = {**FIGURE_2, "memcached": ["cache1"]}
    move, (fault,) = move_of(found, None, after)
    assert move == {}
    assert fault.startswith("group database: the servers of box1 and cache1 are primaries of the same data")
    assert move_of({**found, "cache1": {**PRIMARY, "system": "9"}}, None, after)[1] == []


@pytest.mark.parametrize("found", [files(), files(there=True), files(there=True, files=3)])
def test_a_media_host_whose_disk_is_not_there_is_refused(found):
    (fault,) = missing(FIGURE_3, {"db1": PRIMARY}, {"box1": files(mounted="autofs systemd-1"), "media1": found})
    assert fault == (
        "host media1: shall have the sites' uploads, as the hosts remember, and /srv/media is not the folder that was there: its disk is not"
        " mounted, or it is another machine. Mount the disk, or see that ansible_host leads to the machine that has them."
        " When it is lost for good, say ntier_given_up: [media1], and the sites begin without it."
    )
    assert missing(FIGURE_3, {"db1": PRIMARY}, {"media1": found}, given_up=["media1"]) == []


def test_uploads_that_have_moved_in_a_run_that_was_cut_off_are_not_begun_anew():
    found = files(
        mounted="nfs4 media1:/srv/media", client=True, there=True, move={"id": "box1-media1", "step": "switched"}
    )
    for step, target in (("switched", "media1"), ("copying", "another host")):
        found["move"]["step"] = step
        (fault,) = missing(FIGURE_2, {"db1": PRIMARY}, {"box1": found, "media1": FULL})
        assert fault.startswith(f"host box1: shall have the sites' uploads, and uses those of {target}. Put ")


HALFWAY = "is handing the uploads over to {}, in a run that did not come to its end, and some hosts may write theirs there already."


def test_uploads_do_not_go_back_while_some_hosts_use_the_new_place():
    """The inventory was set back in the middle of the move; or the new host's line was lost."""
    here = {**FULL, "move": {"id": "box1-media1", "step": "switching"}}
    for found in ({"box1": here, "media1": files(sites=["blog"])}, {"box1": here}):
        (fault,) = missing(FIGURE_2, {"db1": PRIMARY}, found)
        assert fault == (
            f"host box1: {HALFWAY.format('media1')} Put media1 into the group media and run site to its end; they move back after that."
            " When it is lost for good, with what was written there, say ntier_given_up: [media1]."
        )
    assert missing(FIGURE_2, {"db1": PRIMARY}, {"box1": here}, given_up=["media1"]) == []
    here["move"]["step"] = "copying"
    assert missing(FIGURE_2, {"db1": PRIMARY}, {"box1": here}) == []


def test_uploads_do_not_stay_while_a_web_host_that_gets_them_has_some():
    """There the one that gets them leads."""
    web = files(client=True, move={"id": "media1-box1", "step": "switching"})
    (fault,) = missing(FIGURE_3, {"db1": PRIMARY}, {"box1": web, "media1": FULL})
    assert fault.startswith(f"host media1: {HALFWAY.format('box1')} Put box1 into the group media")
    web["move"]["step"] = "done"
    assert missing(FIGURE_3, {"db1": PRIMARY}, {"box1": web, "media1": FULL}) == []


def test_uploads_do_not_go_to_a_third_host_while_some_hosts_use_the_second():
    here = {**FULL, "move": {"id": "box1-media2", "step": "switching"}}
    _move, (fault,) = media_move_of({"box1": here, "media1": EMPTY})
    assert fault == (
        f"host box1: {HALFWAY.format('media2')} Put media2 into the group media and run site to its end; they move to media1 after that."
        " When it is lost for good, with what was written there, say ntier_given_up: [media2]."
    )
    move, faults = media_move_of({"box1": here, "media1": EMPTY}, given_up=["media2"])
    assert (move["to"], faults) == ("media1", [])


def test_uploads_of_a_first_run_that_was_cut_off_are_not_begun_anew():
    hosts = {"box1": FULL, "media1": files()}
    (fault,) = missing(FIGURE_3, {"box1": kept(), "db1": PRIMARY}, hosts, before={})
    assert fault.startswith(
        "host media1: would start without the sites' uploads, for which an earlier run has made room on box1."
    )
    (fault,) = missing(FIGURE_3, {"db1": PRIMARY}, {"media1": files()}, before={}, silent=["box1"])
    assert (
        fault
        == "host media1: has none of the sites' uploads yet, and whether box1 has them was not asked. Run it without --limit."
    )


def test_files_of_a_site_that_left_do_not_stay_behind_unsaid():
    """The user of such a site may not be on the new host, so they are not copied."""
    site = build(FIGURE_3)["sites"][0]["name"]
    _move, (fault,) = media_move_of({"box1": {**FULL, "sites": ["gone", site]}, "media1": EMPTY})
    assert fault == (
        "host box1: has files of gone, which ntier_sites does not name, and they would stay behind."
        " Put gone back into ntier_sites until the move is over, or move those folders out of /srv/media."
    )


def test_only_folders_with_files_are_those_of_sites(tmp_path):
    for name in ("blog/media", "shop/static", "lost+found", ".ntier-move/blog"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("blog/media/a.png", "lost+found/b", ".ntier-move/blog/c", "ntier-health"):
        (tmp_path / name).write_text("")
    assert media.sites_in(str(tmp_path)) == ["blog"]
    assert media.sites_in(str(tmp_path / "none")) == []


def test_a_folder_whose_disk_is_not_mounted_is_not_handed_over():
    """It has no file, and nobody would miss one before it is too late."""
    _move, (fault,) = media_move_of({"box1": files(there=True), "media1": EMPTY})
    assert fault.startswith(
        "host box1: shall hand the uploads over to media1, and its /srv/media is not the folder that was there"
    )


# --- machines under other names -----------------------------------------------------------------------------------


def test_a_machine_that_was_another_host_is_refused():
    """Names that were swapped, and a copy of a machine that brought its record along."""
    cluster = build(FIGURE_2)
    records = records_of(cluster)
    faults = faults_of(cluster, {"box1": records["db1"], "db1": records["box1"]})
    assert [fault.split(". ")[0] for fault in faults] == [
        "host box1: answers from the machine that was db1 when site ended there last",
        "host db1: answers from the machine that was box1 when site ended there last",
    ]
    grown = build({**FIGURE_4, "web": ["web1", "web2", "web3"]})
    records = records_of(build(FIGURE_4))
    (fault,) = faults_of(grown, {**records, "web3": records["web2"]})
    assert fault == (
        "host web3: answers from the machine that was web2 when site ended there last. See that ansible_host of web3 and of web2 lead where they led"
        f" to before; if the machine is a copy of web2, remove {asis.RECORD} on it."
    )


def test_a_host_that_keeps_data_or_that_visitors_come_to_keeps_its_name():
    records = records_of(build(FIGURE_2))
    renamed = build({**FIGURE_2, "database": ["rows1"]})
    (first, *_others) = faults_of(renamed, {"box1": records["box1"], "rows1": records["db1"]})
    assert first == (
        "host rows1: is the machine that was db1 when site ended there last, and what the hosts know of each other goes by names. Call it db1 again."
    )
    records = records_of(build(FIGURE_4))
    web = build({**FIGURE_4, "web": ["web1", "web9"]})
    assert faults_of(web, {**without_key(records, "web2"), "web9": records["web2"]}) == []
    # Older versions wrote no name.
    del records["web2"]["name"]
    assert faults_of(build(FIGURE_4), records) == []


def without_key(found, key):
    return {name: value for name, value in found.items() if name != key}


# --- hosts that do not answer -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "silent", "kept"),
    [
        (FIGURE_2, "db1", "the sites' rows"),
        (FIGURE_2, "box1", "the sites' uploads"),
        (FIGURE_3, "media1", "the sites' uploads"),
    ],
)
def test_a_host_that_keeps_something_and_is_away_is_named_with_it(groups, silent, kept):
    cluster = build(groups)
    known = records_of(cluster)
    known.pop(silent)
    faults = Faults()
    asis.check_answers(cluster, known, {silent: "Connection timed out. "}, {}, faults)
    assert faults.sentences == [
        f"host {silent}: can't be reached, and is where {kept} are: Connection timed out. See that it runs, and that ansible_host leads to it. Nothing is"
        " changed without it. A machine in its place needs their backup first."
        f" When it is lost for good, take it out of the inventory, and out of retired, too, and say ntier_given_up: [{silent}]: the sites begin without it."
    ]
    # Who has said so is told what is left to do.
    faults = Faults()
    asis.check_answers(cluster, known, {silent: "Connection timed out. "}, {}, faults, [silent])
    assert "A host that is gone for good is taken out of the inventory" in faults.sentences[0]


def test_a_host_that_shall_have_the_rows_and_can_t_be_reached_has_none_yet():
    """The host is new, and ansible_host leads nowhere."""
    faults = Faults()
    asis.check_answers(build(FIGURE_2), records_of(build(ONE_BOX)), {"db1": "no answer"}, {}, faults)
    assert faults.sentences == [
        "host db1: can't be reached: no answer. See that it runs, and that ansible_host leads to it."
    ]


def test_where_nothing_was_ever_built_nothing_is_said_of_lost_data():
    """The first run, with an address or a user that is not right yet."""
    box = asis.way("box1", "ssh", "192.0.2.1", None, "deploy", ["-i", "my cluster"])
    database = asis.way("db1", "community.docker.docker", "db1", 22, "", [])
    faults = Faults()
    tests = {"box1": box, "db1": database}
    asis.check_answers(
        build(FIGURE_2),
        {},
        {"box1": "Task failed: EOF on stream; last 100 lines received:\nPermission denied.\n", "db1": "no answer"},
        {},
        faults,
        (),
        tests,
    )
    assert faults.sentences == [
        "host box1: can't be reached: Permission denied. See that it runs and takes SSH connections at 192.0.2.1, port 22, for the user deploy:"
        " ansible -i 'my cluster' box1 -m ansible.builtin.ping tries that.",
        "host db1: can't be reached: no answer. See that it runs and answers by way of community.docker.docker at db1:"
        " ansible db1 -m ansible.builtin.ping tries that.",
    ]


def test_what_a_host_that_leaves_keeps_others_remember():
    before = build(FIGURE_2)
    cluster = build(inventory({**FIGURE_2, "database": ["db2"]}, retired=["db1"]))
    known = {"box1": records_of(before)["box1"]}
    faults = Faults()
    asis.check_answers(cluster, known, {"db1": "no answer"}, {}, faults)
    assert "host db1: can't be reached, and is where the sites' rows are" in faults.sentences[0]


def test_a_host_that_keeps_nothing_may_be_taken_out():
    cluster = build(FIGURE_4)
    faults = Faults()
    asis.check_answers(cluster, records_of(cluster), {}, {}, faults)
    assert not faults
    asis.check_answers(cluster, records_of(cluster, hosts=["lb1"]), {"web2": "no answer"}, {}, faults)
    assert faults.sentences == [
        "host web2: can't be reached: no answer. See that it runs, and that ansible_host leads to it. A host that is gone for good is taken out of the"
        " inventory, and out of retired, too."
    ]


def test_a_host_that_lets_nobody_become_root_is_named():
    cluster = build(FIGURE_4)
    faults = Faults()
    asis.check_answers(cluster, records_of(cluster), {}, {"web1": "Missing sudo password\n"}, faults)
    assert faults.sentences == [
        "host web1: can't be asked: Missing sudo password. See that ansible_user becomes root there without a question, or give"
        " ansible_become_password, and that Ansible's modules run there."
    ]


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (["c1"], ["c1", "c2"], 1 / 2),
        (["c1", "c2", "c3"], ["c1", "c2"], 1 / 3),
        (["c1", "c2"], ["c2", "c3"], 2 / 3),
        (["c1"], ["c2"], 1),
        (["c1"], [], 1),
    ],
)
def test_memcached_hosts_that_come_and_go_take_their_share_of_the_keys(before, after, lost):
    groups = {**FIGURE_2, "memcached": after}
    known = records_of(build(inventory({**FIGURE_2, "memcached": before})))
    cluster = build(inventory(groups, retired=[host for host in before if host not in after]))
    assert asis.cache_change(cluster, known) == {"from": before, "to": after, "lost": pytest.approx(lost)}


def test_the_same_memcached_hosts_are_no_change():
    cluster = build(inventory({**FIGURE_2, "memcached": ["c1", "c2"]}))
    assert asis.cache_change(cluster, records_of(build(inventory({**FIGURE_2, "memcached": ["c2", "c1"]})))) == {}
    assert asis.cache_change(cluster, {}) == {}
