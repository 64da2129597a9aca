"""What hosts remember of their cluster, and what is refused because of it."""

import json

import pytest
from clusters import FIGURE_2, FIGURE_3, FIGURE_4, MIXED, ONE_BOX, OWN, SHIPPED, build, inventory, shipped, wired

from ansible_collections.ntier.django.plugins.plugin_utils import asis
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
        "cluster": ID,
        "figure": "20-2",
        "serves": ["database"],
        "members": {"web": ["box1"], "media": ["box1"], "memcached": ["box1"], "database": ["db1"]},
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_host_remembers_the_same_but_what_it_serves(name):
    cluster = shipped(name)
    found = records_of(cluster)
    assert {json.dumps({**record, "serves": []}) for record in found.values()} == {
        json.dumps({**found["box1"], "serves": []})
    }
    for host, record in found.items():
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
            ONE_BOX,
            FIGURE_2,
            "group database: is without box1 now, where the sites' rows of this cluster are, and db1 would start without any."
            " Put box1 back into the group database: this version builds every figure, and does not move data yet.",
        ),
        (
            FIGURE_2,
            FIGURE_3,
            "group media: is without box1 now, where the sites' uploads of this cluster are, and media1 would start without any."
            " Put box1 back into the group media: this version builds every figure, and does not move data yet.",
        ),
        (
            FIGURE_2,
            {**FIGURE_2, "database": ["box1"]},
            "group database: is without db1 now, where the sites' rows of this cluster are, and box1 would start without any."
            " Put db1 back into the group database: this version builds every figure, and does not move data yet.",
        ),
        (
            {**FIGURE_4, "database": ["db1", "db2"]},
            {**FIGURE_4, "database": ["db2"]},
            "group database: is without db1 now, where the sites' rows of this cluster are."
            " Put db1 back into the group database: this version builds every figure, and does not move data yet.",
        ),
        (
            MIXED,
            {**MIXED, "media": ["web1"]},
            "group media: is without web2 now, where the sites' uploads of this cluster are, and web1 would start without any."
            " Put web2 back into the group media: this version builds every figure, and does not move data yet.",
        ),
    ],
)
def test_data_that_the_inventory_leaves_behind_is_refused(before, after, sentence):
    assert faults_of(build(after), records_of(build(before))) == [sentence]


def test_a_host_that_vanished_from_the_inventory_is_known_by_the_others():
    old = build(FIGURE_2)
    (fault,) = faults_of(build(ONE_BOX), records_of(old, hosts=["box1"]))
    assert fault.startswith("group database: is without db1 now, where the sites' rows of this cluster are")


def test_everything_that_would_be_left_behind_is_listed():
    faults = faults_of(build(FIGURE_3), records_of(build(ONE_BOX)))
    assert [fault.split(":")[0] for fault in faults] == ["group database", "group media"]
