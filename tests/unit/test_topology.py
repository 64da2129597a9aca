"""From the inventory to the topology: what is built of it, and what is refused."""

import clusters
import pytest
from ansible.errors import AnsibleFilterError
from clusters import FIGURE_2, FIGURE_4, ONE_BOX, build, faults_of, inventory, shipped

from ansible_collections.ntier.django.plugins.filter.topology import topology as topology_filter
from ansible_collections.ntier.django.plugins.plugin_utils import topology
from ansible_collections.ntier.django.plugins.plugin_utils.faults import InventoryError

SHIPPED = {
    "1-single-box": "20-1",
    "2-database": "20-2",
    "3-media": "20-3",
    "4-load-balanced": "20-4",
    "5-n-tier": "20-5",
}


# --- the shipped inventories --------------------------------------------------------------------------------------


def test_there_are_no_other_inventories():
    assert sorted(path.name for path in (clusters.ROOT / "inventories").iterdir()) == sorted(SHIPPED)


@pytest.mark.parametrize(("name", "figure"), SHIPPED.items())
def test_a_shipped_inventory_draws_its_figure(name, figure):
    assert shipped(name)["figure"] == figure


@pytest.mark.parametrize("name", SHIPPED)
def test_only_figure_1_can_be_built_yet(name):
    reasons = topology.not_runnable(shipped(name))
    if name == "1-single-box":
        assert reasons == []
    else:
        assert len(reasons) == 1
        assert SHIPPED[name] in reasons[0]
        assert "it builds 20-1" in reasons[0]
        assert "Put one and the same host in web, database, media and memcached" in reasons[0]


def test_a_cluster_grows_without_a_host_changing_its_name_or_address():
    found = {}
    for name in SHIPPED:
        for host, entry in shipped(name)["hosts"].items():
            assert found.setdefault(host, entry["address"]) == entry["address"]


def test_hosts_of_the_large_cluster_have_the_tiers_that_their_groups_say():
    cluster = shipped("5-n-tier")
    assert {tier: len(entry["hosts"]) for tier, entry in cluster["tiers"].items()} == {
        "load_balancer": 2,
        "web": 4,
        "media": 3,
        "memcached": 3,
        "database": 3,
    }
    assert all(len(entry["tiers"]) == 1 for entry in cluster["hosts"].values())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_first_host_of_a_group_leads_its_tier(name):
    for entry in shipped(name)["tiers"].values():
        assert entry["leader"] == (entry["hosts"][0] if entry["hosts"] else None)


# --- endpoints, listen, flows -------------------------------------------------------------------------------------


def test_on_one_box_database_and_memcached_are_reached_over_loopback():
    cluster = shipped("1-single-box")
    assert cluster["endpoints"] == {
        "load_balancer": [],
        "web": [{"host": "box1", "address": "192.0.2.11", "port": 80}],
        "media": [{"host": "box1", "address": "192.0.2.11", "port": 80}],
        "memcached": [{"host": "box1", "address": "127.0.0.1", "port": 11211}],
        "database": [{"host": "box1", "address": "127.0.0.1", "port": 5432}],
    }


def test_on_one_box_only_the_web_tier_listens_to_the_world():
    assert shipped("1-single-box")["listen"] == {
        "box1": {"web": ["*"], "media": ["192.0.2.11"], "memcached": ["127.0.0.1"], "database": ["127.0.0.1"]}
    }


def test_a_database_of_its_own_is_reached_at_its_address_and_the_rest_stays_on_loopback():
    cluster = shipped("2-database")
    assert cluster["endpoints"]["database"] == [{"host": "db1", "address": "192.0.2.21", "port": 5432}]
    assert cluster["endpoints"]["memcached"] == [{"host": "box1", "address": "127.0.0.1", "port": 11211}]
    assert cluster["listen"]["db1"] == {"database": ["192.0.2.21"]}


def test_media_of_its_own_are_reached_at_their_address():
    cluster = shipped("3-media")
    assert cluster["endpoints"]["media"] == [{"host": "media1", "address": "192.0.2.31", "port": 80}]
    assert cluster["listen"]["media1"] == {"media": ["192.0.2.31"]}


@pytest.mark.parametrize("name", ["4-load-balanced", "5-n-tier"])
def test_behind_a_balancer_only_the_balancers_listen_to_the_world(name):
    cluster = shipped(name)
    for host, tiers in cluster["listen"].items():
        expected = ["*"] if host.startswith("lb") else [cluster["hosts"][host]["address"]]
        assert list(tiers.values()) == [expected]


def test_several_memcached_servers_are_all_reached_at_their_addresses():
    assert [item["address"] for item in shipped("5-n-tier")["endpoints"]["memcached"]] == [
        "192.0.2.41",
        "192.0.2.42",
        "192.0.2.43",
    ]


def test_with_a_second_web_host_nothing_stays_on_loopback():
    cluster = build({**FIGURE_4, "memcached": ["web1"], "database": ["web1"]})
    assert cluster["endpoints"]["memcached"][0]["address"] == cluster["hosts"]["web1"]["address"]
    assert cluster["endpoints"]["database"][0]["address"] == cluster["hosts"]["web1"]["address"]


def ways(cluster):
    return [(flow["from"], flow["to"], flow["port"]) for flow in cluster["flows"]]


def test_flows_of_one_box():
    assert ways(build()) == [("web", "media", 80), ("web", "memcached", 11211), ("web", "database", 5432)]


def test_without_memcached_nobody_talks_to_it():
    assert ways(build({**ONE_BOX, "memcached": []})) == [("web", "media", 80), ("web", "database", 5432)]


PORTS = {"web": 8080, "media": 8080, "memcached": 11212, "database": 5433}


@pytest.mark.parametrize("name", ["1-single-box", "4-load-balanced"])
def test_ports_that_the_user_chose_reach_endpoints_and_flows(name):
    cluster = shipped(name)
    groups = {tier: entry["hosts"] for tier, entry in cluster["tiers"].items()}
    found = build(groups, ports=PORTS)
    ports = {tier: {endpoint["port"] for endpoint in found["endpoints"][tier]} for tier in PORTS}
    assert ports == {tier: {port} for tier, port in PORTS.items()}
    assert ways(found) == [(source, target, PORTS[target]) for source, target, _port in ways(cluster)]
    assert {endpoint["port"] for endpoint in found["endpoints"]["load_balancer"]} <= {80}


def test_a_port_that_is_not_chosen_is_the_usual_one():
    assert build(ports={"web": "", "database": None, "memcached": "11212"})["endpoints"] == {
        **build()["endpoints"],
        "memcached": [{"host": "box1", "address": "127.0.0.1", "port": 11212}],
    }


@pytest.mark.parametrize("port", ["http", 80.5, True, [80], {"x": 1}])
def test_a_port_that_is_no_number_is_left_to_the_check_of_the_roles_variables(port):
    assert build(ports={"database": port}) == build()


@pytest.mark.parametrize("port", [0, 65536, -1, "65536"])
@pytest.mark.parametrize(("tier", "name"), [("database", "database_port"), ("media", "web_port")])
def test_a_port_that_is_none_is_refused(tier, name, port):
    assert faults_of(ports={tier: port}) == [f"variable {name}: {port!r} is no TCP port. Use a number from 1 to 65535."]


def test_the_filter_hands_ports_over():
    hosts = {"box1": {"ansible_host": "192.0.2.1"}}
    assert topology_filter(inventory(ONE_BOX), hosts, [clusters.a_site()], {}, PORTS) == build(ports=PORTS)


def test_flows_of_a_balanced_cluster_name_who_talks_to_whom():
    cluster = build(FIGURE_4)
    assert ways(cluster) == [
        ("load_balancer", "web", 80),
        ("load_balancer", "media", 80),
        ("web", "media", 80),
        ("web", "memcached", 11211),
        ("web", "database", 5432),
    ]
    assert cluster["flows"][0]["sources"] == ["lb1"]
    assert cluster["flows"][0]["targets"] == ["web1", "web2"]


@pytest.mark.parametrize("name", SHIPPED)
def test_nobody_but_the_balancers_and_the_web_hosts_starts_a_conversation(name):
    assert {flow["from"] for flow in shipped(name)["flows"]} <= {"load_balancer", "web"}


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"ansible_host": "198.51.100.7"}, "198.51.100.7"),
        ({"ansible_host": "198.51.100.7", "ntier_address": "10.0.0.7"}, "10.0.0.7"),
        ({"ansible_host": " 10.0.0.7 "}, "10.0.0.7"),
        ({"ansible_host": "Box1.Example.com"}, "box1.example.com"),
        ({"ansible_host": "2001:DB8:0::7"}, "2001:db8::7"),
        ({}, "box1"),
    ],
)
def test_the_address_of_a_host(variables, address):
    assert build(hosts={"box1": variables})["hosts"]["box1"]["address"] == address


@pytest.mark.parametrize(
    ("variables", "where", "value"),
    [
        ({"ntier_address": ""}, "host box1, ntier_address", "is empty"),
        ({"ntier_address": "10.0.0.300"}, "host box1, ntier_address", "'10.0.0.300'"),
        ({"ntier_address": "0.0.0.0"}, "host box1, ntier_address", "'0.0.0.0'"),
        ({"ntier_address": "::"}, "host box1, ntier_address", "'::'"),
        ({"ntier_address": "224.0.0.1"}, "host box1, ntier_address", "'224.0.0.1'"),
        ({"ntier_address": 10}, "host box1, ntier_address", "10 is no address"),
        ({"ansible_host": "10.0.0"}, "host box1, ansible_host", "'10.0.0'"),
        ({"ansible_host": "two words"}, "host box1, ansible_host", "'two words'"),
        ({"ansible_host": "http://box1"}, "host box1, ansible_host", "'http://box1'"),
        ({"ansible_host": "-box1"}, "host box1, ansible_host", "'-box1'"),
    ],
)
def test_a_host_without_a_usable_address_is_refused(variables, where, value):
    (fault,) = faults_of(hosts={"box1": variables})
    assert fault.startswith(where)
    assert value in fault
    assert "Set ntier_address of box1" in fault


def test_a_host_name_that_is_no_address_is_refused():
    (fault,) = faults_of({tier: ["box_1"] for tier in ONE_BOX}, hosts={"box_1": {}})
    assert fault.startswith("host box_1: 'box_1' is no address")


@pytest.mark.parametrize("other", ["192.0.2.1", " 192.0.2.1"])
def test_two_hosts_with_one_address_are_refused(other):
    (fault,) = faults_of(FIGURE_2, hosts={"db1": {"ntier_address": other}})
    assert fault.startswith("host db1, ntier_address: box1 has the address 192.0.2.1 already. ")
    assert "Give each host its own" in fault


# --- groups -------------------------------------------------------------------------------------------------------

MISSPELT = {
    "web": ["webs", "www", "webservers", "web_servers", "web-servers", "app", "Web", "nginx"],
    "database": ["databases", "db", "dbs", "postgres", "postgresql", "Database", "datbase"],
    "load_balancer": ["load_balancers", "load-balancer", "loadbalancer", "lb", "haproxy"],
    "media": ["medias", "uploads", "static", "nfs"],
    "memcached": ["memcache", "caches", "cache"],
    "retired": ["retire", "decommissioned"],
}


@pytest.mark.parametrize(("tier", "group"), [(tier, group) for tier, groups in MISSPELT.items() for group in groups])
def test_a_misspelt_tier_is_refused(tier, group):
    (fault,) = faults_of(inventory(ONE_BOX, **{group: ["new1"]}))
    assert fault == f"group {group}: is no tier, so new1 would not serve as {tier}. Name the group '{tier}'."


@pytest.mark.parametrize("tier", ["web", "database", "media"])
def test_a_tier_under_a_misspelt_name_is_refused_with_the_tier_that_is_empty_for_it(tier):
    groups = {**{name: hosts for name, hosts in ONE_BOX.items() if name != tier}, MISSPELT[tier][0]: ["box1"]}
    faults = faults_of(groups)
    assert any(fault.startswith(f"group {MISSPELT[tier][0]}: is no tier") for fault in faults)
    assert any(fault.startswith(f"group {tier}: ") for fault in faults)


@pytest.mark.parametrize("group", [group for tier, groups in MISSPELT.items() if tier != "retired" for group in groups])
def test_a_group_of_the_user_with_such_a_name_is_allowed_as_long_as_nothing_depends_on_it(group):
    assert faults_of(inventory({tier: ["box1"] for tier in topology.TIERS}, **{group: ["box1"]})) == []


@pytest.mark.parametrize("group", ["staging", "berlin", "ssd", "all_hosts", "monitored", "eu"])
def test_other_groups_are_the_users_own(group):
    assert faults_of(inventory(ONE_BOX, **{group: ["box1"]})) == []


def test_an_empty_group_with_a_misspelt_name_is_refused():
    (fault,) = faults_of(inventory(ONE_BOX, postgres=[]))
    assert fault.startswith("group postgres: is no tier, so it would not serve as database")


@pytest.mark.parametrize("more", [{"berlin": ["spare1"]}, {"ungrouped": ["spare1"]}])
def test_a_host_in_no_tier_is_refused(more):
    (fault,) = faults_of(inventory(ONE_BOX, **more))
    assert fault.startswith("host spare1: is in no tier. Put it in one of the groups load_balancer, web, media,")


def test_localhost_may_stand_in_the_inventory():
    assert faults_of(inventory(ONE_BOX, ungrouped=["localhost"])) == []


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ({**ONE_BOX, "web": []}, "group web: there is no web host. Put at least one host in it."),
        (
            {**FIGURE_4, "web": []},
            "group web: there is no web host for the balancers to pass requests to. Put at least one host in it.",
        ),
        (
            {**ONE_BOX, "database": []},
            "group database: is empty: no host would keep the sites' rows. Put a host in it; on one box that is the web host itself.",
        ),
        (
            {**ONE_BOX, "media": []},
            "group media: is empty: no host would keep the uploaded files. Put a host in it; on one box that is the web host itself.",
        ),
        (
            {**FIGURE_4, "load_balancer": []},
            "group load_balancer: is empty, and web1 and web2 are 2 web hosts. Put a host in it, or keep one web host.",
        ),
    ],
)
def test_a_tier_that_is_needed_and_empty_is_refused(tiers, sentence):
    assert faults_of(tiers) == [sentence]


def test_an_empty_inventory_names_every_tier_that_is_needed():
    faults = faults_of(inventory({}))
    assert [fault.split(":")[0] for fault in faults] == ["group web", "group database", "group media"]


def test_a_host_that_is_retired_and_serves_is_refused():
    (fault,) = faults_of(inventory(ONE_BOX, retired=["box1"]))
    assert (
        fault
        == "host box1: is in the group retired and serves web, media, memcached and database. Take it out of one of them."
    )


def test_a_retired_host_is_known_and_serves_nothing():
    cluster = build(inventory(ONE_BOX, retired=["old1"]))
    assert cluster["retired"] == ["old1"]
    assert "old1" not in cluster["hosts"]


def test_a_cluster_with_a_retired_host_cant_be_built_yet():
    (reason,) = topology.not_runnable(build(inventory(ONE_BOX, retired=["old1"])))
    assert reason.startswith("group retired: old1 shall leave")
    assert "Put the host back into its tiers" in reason


# --- providers ----------------------------------------------------------------------------------------------------


def test_a_tier_without_a_choice_has_the_default_software():
    cluster = build(providers={"web": "", "database": None})
    assert {tier: entry["provider"] for tier, entry in cluster["tiers"].items()} == {
        "load_balancer": "haproxy",
        "web": "nginx_gunicorn",
        "media": "nginx",
        "memcached": "memcached",
        "database": "postgresql",
    }


@pytest.mark.parametrize(
    ("tier", "choice", "fix"),
    [
        ("database", "postgres", "Did you mean 'postgresql'?"),
        ("database", "mysql", "Use postgresql"),
        ("web", "apache", "Use nginx_gunicorn"),
        ("load_balancer", 5, "Use haproxy"),
        ("media", ["nginx"], "Did you mean 'nginx'?"),
    ],
)
def test_an_unknown_provider_is_refused(tier, choice, fix):
    (fault,) = faults_of(providers={tier: choice})
    assert fault.startswith(f"variable {tier}_provider: {choice!r} is unknown. ")
    assert fix in fault


# --- all at once --------------------------------------------------------------------------------------------------


def test_all_faults_are_listed_at_once_and_numbered():
    groups = inventory(
        {"web": ["web1", "web2"], "database": ["db1"]}, webs=["web3"], berlin=["spare1"], retired=["db1"]
    )
    hosts = {"web1": {"ntier_address": "10.0.0.300"}}
    with pytest.raises(InventoryError) as error:
        build(groups, hosts, [clusters.a_site(), {"name": "9"}], {"web": "apache"})
    text = str(error.value)
    for part in (
        "group webs",
        "host spare1",
        "host db1",
        "group media",
        "group load_balancer",
        "10.0.0.300",
        "web_provider",
        "site 9",
    ):
        assert part in text
    assert text.startswith(
        f"The inventory can't work as it is ({len(error.value.faults)} faults; no host has been changed):\n  1. "
    )
    assert f"\n  {len(error.value.faults)}. " in text


def test_a_faulty_inventory_fails_the_filter_with_the_same_words():
    with pytest.raises(AnsibleFilterError, match="group web: there is no web host"):
        topology_filter(inventory({**ONE_BOX, "web": []}), {}, [clusters.a_site()])
