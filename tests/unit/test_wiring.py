"""From the topology to what each role is told, and the environment of a site's processes."""

import contextlib
import json
import re
import runpy
import shlex
import urllib.parse

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
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
    groups_of,
    inventory,
    secrets_of,
    shipped,
    three_sites,
    wired,
)

from ansible_collections.ntier.django.plugins.filter.wiring import with_revisions
from ansible_collections.ntier.django.plugins.plugin_utils import topology
from ansible_collections.ntier.django.plugins.plugin_utils.sizing import size_host
from ansible_collections.ntier.django.plugins.plugin_utils.wiring import (
    environment_file,
    firewall_rules,
    needs,
    place,
    site_environment,
    wire,
)

BOX = ("web", "media", "memcached", "database")


def a_release(**more):
    """Return the entry of release_sites for a site with these keys."""
    return wired(build(sites=[a_site(**more)]))["release_sites"][0]


def runtimes(wiring):
    """Return what the overlay of each site reads."""
    return [site["runtime"] for site in wiring["release_sites"]]


def a_runtime(cluster=None, **more):
    """Return what the overlay of the first site reads."""
    return {**runtimes(wired(cluster or build()))[0], **more}


# --- one box ------------------------------------------------------------------------------------------------------


def test_on_one_box_everything_is_reached_over_loopback():
    wiring = wired(build(sites=three_sites()))
    assert wiring["database_clients"] == ["127.0.0.1"]
    assert {(pool["host"], pool["port"]) for pool in wiring["pools"]} == {("127.0.0.1", 5432)}
    assert wiring["memcached_listen"] == ["127.0.0.1"]
    assert {tuple(site["memcached_servers"]) for site in runtimes(wiring)} == {("127.0.0.1:11211",)}


def test_every_site_has_user_database_pool_release_and_place_in_nginx():
    wiring = wired(build(sites=three_sites()))
    names = ["blog", "shop", "diary"]
    assert [user["name"] for user in wiring["users"]] == names
    for key in ("databases", "pools", "release_sites", "web_sites", "media_sites", "load_balancer_sites"):
        assert [item["name"] for item in wiring[key]] == names
    assert wiring["web_virtual_hosts"] == [
        {"domains": ["www.example.com"], "sites": ["shop", "blog"]},
        {"domains": ["example.com"], "sites": ["blog"]},
        {"domains": ["diary.example.com"], "sites": ["diary"]},
    ]


def test_database_pool_and_site_agree_on_name_user_and_password():
    wiring = wired(build(sites=[a_site(database={"name": "rows", "user": "writer", "extensions": ["pg_trgm"]})]))
    expected = {"name": "rows", "user": "writer", "password": "password-blog"}
    assert wiring["databases"] == [{**expected, "extensions": ["pg_trgm"]}]
    assert wiring["pools"] == [{**expected, "host": "127.0.0.1", "port": 5432}]
    assert runtimes(wiring)[0]["database"] == {**expected, "host": "127.0.0.1", "port": 6432}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_site_only_ever_sees_the_pooler_of_its_own_host(name):
    cluster = shipped(name)
    for host in cluster["tiers"]["web"]["hosts"]:
        for site in runtimes(wired(cluster, host)):
            assert (site["database"]["host"], site["database"]["port"]) == ("127.0.0.1", 6432)


def test_a_sites_user_has_one_number_on_every_host():
    cluster = build(FIGURE_4, sites=[a_site(), a_site("shop", uid=24711)])
    for host in cluster["hosts"]:
        assert wired(cluster, host)["users"] == [{"name": "blog", "uid": 22531}, {"name": "shop", "uid": 24711}]


def test_a_release_asks_every_balancer_and_on_one_box_nobody():
    assert wired(build())["release_balancers"] == []
    assert wired(build(MIXED), "web2")["release_balancers"] == ["lb1", "lb2"]


def test_without_sizes_the_roles_own_figures_hold():
    wiring = wired(build())
    assert (wiring["web_sites"][0]["workers"], wiring["web_sites"][0]["threads"]) == (2, 4)
    assert (wiring["pool_size"], wiring["memcached_memory_mb"]) == (10, 64)
    assert (wiring["database_size"], wiring["load_balancer_size"]) == ({}, {})


def test_sizes_reach_the_roles():
    size = size_host(16384, 8, BOX)
    wiring = wired(build(), size=size)
    assert wiring["web_sites"][0]["workers"] == size["web"]["workers"] > 2
    assert wiring["web_sites"][0]["threads"] == size["web"]["threads"]
    assert wiring["pool_size"] == size["web"]["pool_size"]
    assert wiring["memcached_memory_mb"] == size["memcached"]["memory_mb"]
    assert wiring["database_size"] == size["database"]


def test_the_share_of_a_balancer_reaches_it():
    size = size_host(2048, 2, ("load_balancer",))
    wiring = wired(build(FIGURE_4), "lb1", size=size)
    assert wiring["load_balancer_size"] == {"memory_mb": size["shares_mb"]["load_balancer"]}


def test_nginx_is_told_what_it_needs_and_no_more():
    cluster = build(sites=[a_site(prefix="/shop", upload_limit_mb=50, timeout_seconds=90, anonymous_cache_seconds=1)])
    assert wired(cluster)["web_sites"] == [
        {
            "name": "blog",
            "prefix": "/shop",
            "upload_limit_mb": 50,
            "timeout_seconds": 90,
            "anonymous_cache_seconds": 1,
            "workers": 2,
            "threads": 4,
            "files": "local",
            "websockets": False,
        }
    ]


def test_a_site_may_have_workers_of_its_own():
    cluster = build(sites=[a_site(workers=7, threads=1)])
    site = wired(cluster, size=size_host(16384, 8, BOX))["web_sites"][0]
    assert (site["workers"], site["threads"]) == (7, 1)


# --- ports --------------------------------------------------------------------------------------------------------


def test_ports_that_the_user_chose_reach_pool_and_caches():
    wiring = wired(build(ports={"web": 8080, "media": 8081, "memcached": 11212, "database": 5433}))
    assert [(pool["host"], pool["port"]) for pool in wiring["pools"]] == [("127.0.0.1", 5433)]
    site = wiring["release_sites"][0]
    assert site["runtime"]["memcached_servers"] == ["127.0.0.1:11212"]
    assert site["environment"]["CACHE_URL"] == "pymemcache://127.0.0.1:11212"
    assert site["runtime"]["database"]["port"] == 6432, "a site sees the pooler, never the database"


def test_where_the_user_put_pgbouncer_reaches_settings_and_environment():
    site = wired(build(), pooler={"host": "127.0.0.2", "port": 6433})["release_sites"][0]
    assert (site["runtime"]["database"]["host"], site["runtime"]["database"]["port"]) == ("127.0.0.2", 6433)
    assert site["environment"]["DATABASE_URL"] == "postgres://blog:password-blog@127.0.0.2:6433/blog"


PLACES = {
    "web_port": 8080,
    "media_port": 8081,
    "database_port": 5433,
    "memcached_port": 11212,
    "pooler_port": 6433,
    "pooler_listen_address": "127.0.0.2",
}


#: The site of a cluster as the playbooks see it.
A_SITE = a_site(source={"package": "blog==1.2"}, environment={"GREETING": "hello"})


def derived(tiers=None, host="box1", **variables):
    """Return a function that evaluates one of the variables that the playbooks derive, on one box or a host of other tiers."""
    loader = DataLoader()
    groups = inventory(tiers or ONE_BOX)
    cluster = build(groups)
    given = loader.load_from_file(str(ROOT / "playbooks/group_vars/all.yml"), trusted_as_template=True)
    given |= {
        "groups": groups,
        "hostvars": {
            name: {"ansible_host": entry["address"], "inventory_dir": "/inventory"}
            for name, entry in cluster["hosts"].items()
        },
        "inventory_hostname": host,
        "ansible_facts": {"memtotal_mb": 2048, "processor_vcpus": 2},
        "ntier_sites": [A_SITE],
        "ntier_secrets": {"sites": secrets_of(cluster), "cluster": OWN},
        **variables,
    }
    templar = Templar(loader, given)
    return lambda name: templar.template(given[name])


def test_the_playbooks_hand_the_roles_ports_to_those_who_connect():
    value = derived(**PLACES)
    assert {
        tier: endpoints[0]["port"] for tier, endpoints in value("ntier_topology")["endpoints"].items() if endpoints
    } == {
        "web": 8080,
        "media": 8080,
        "memcached": 11212,
        "database": 5433,
    }
    media = derived(FIGURE_3, **PLACES)("ntier_topology")["endpoints"]["media"]
    assert [(endpoint["host"], endpoint["port"]) for endpoint in media] == [("media1", 8081)]
    assert value("ntier_pools")[0]["port"] == 5433
    runtime = value("ntier_release_sites")[0]["runtime"]
    assert (runtime["database"]["host"], runtime["database"]["port"]) == ("127.0.0.2", 6433)
    assert runtime["memcached_servers"] == ["127.0.0.1:11212"]


def test_without_a_choice_the_playbooks_hand_over_what_the_roles_default_to():
    value = derived()
    defaults = {}
    for role in ("web", "media", "database", "memcached", "pooler"):
        defaults |= yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    assert value("ntier_wiring") == derived(**{name: defaults[name] for name in PLACES})("ntier_wiring")
    assert value("ntier_wiring") == wired(build(sites=[A_SITE]), size=size_host(2048, 2, BOX))


@pytest.mark.parametrize(("tiers", "host"), [(ONE_BOX, "box1"), *((FIGURE_4, name) for name in ("lb1", "web1", "db1"))])
def test_every_entry_of_the_wiring_is_a_variable_and_every_such_variable_an_entry(tiers, host):
    wiring = derived(tiers, host)("ntier_wiring")
    # The playbooks keep it as a fact, too.
    value = derived(tiers, host, __ntier_wiring=wiring)
    content = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    entries = {
        name: match[1]
        for name, text in content.items()
        if (match := re.fullmatch(r"{{ ntier_wiring\.(\w+) }}", str(text)))
    }
    assert entries == {f"ntier_{key}": key for key in wiring}
    for name, key in entries.items():
        assert value(name) == wiring[key]


@pytest.mark.parametrize("name", ["ntier_topology", "ntier_wiring"])
def test_what_is_kept_as_a_fact_is_not_worked_out_again(name, monkeypatch):
    kept, asked = derived()(name), []
    anew, known = derived(), derived(**{f"__{name}": kept})
    monkeypatch.setattr(topology, "build", lambda *_words: asked.append(name))
    with contextlib.suppress(AnsibleError):
        anew(name)
    assert asked
    asked.clear()
    assert known(name) == kept
    assert not asked


def test_every_variable_of_the_wiring_is_read():
    content = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    paths = [*ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("playbooks/*.yml")]
    text = "".join(path.read_text() for path in paths if path.parent.name != "meta")
    wiring = [name for name, value in content.items() if "ntier_wiring." in str(value)]
    assert [name for name in wiring if not re.search(rf"\b{name}\b", text)] == []


def test_the_hosts_that_a_host_needs_reach_the_preflight():
    assert derived()("ntier_needs") == []
    cluster = build(FIGURE_2)
    assert derived(FIGURE_2)("ntier_needs") == [cluster["hosts"]["db1"]["address"]]


# --- several hosts ------------------------------------------------------------------------------------------------


def test_a_database_of_its_own_answers_the_web_host_alone():
    cluster = build(FIGURE_2)
    assert wired(cluster, "db1")["database_clients"] == [cluster["hosts"]["box1"]["address"]]
    assert wired(cluster, "box1")["pools"][0]["host"] == cluster["hosts"]["db1"]["address"]


def test_behind_a_balancer_the_database_answers_every_web_host():
    cluster = build(FIGURE_4)
    web = [cluster["hosts"][name]["address"] for name in ("web1", "web2")]
    assert wired(cluster, "db1")["database_clients"] == web


def test_behind_a_balancer_every_web_host_has_the_same_pools_and_caches():
    cluster = build(FIGURE_4)
    addresses = {name: entry["address"] for name, entry in cluster["hosts"].items()}
    for host in ("web1", "web2"):
        wiring = wired(cluster, host)
        assert {pool["host"] for pool in wiring["pools"]} == {addresses["db1"]}
        assert runtimes(wiring)[0]["memcached_servers"] == [f"{addresses[name]}:11211" for name in ("cache1", "cache2")]


@pytest.mark.parametrize("name", SHIPPED)
def test_tls_leads_to_a_database_that_others_than_its_own_host_use(name):
    cluster = shipped(name)
    apart = cluster["tiers"]["database"]["hosts"] != ["box1"]
    for host, entry in cluster["hosts"].items():
        wiring = wired(cluster, host)
        assert (wiring["database_tls"], wiring["pool_tls"]) == (apart, apart)
        assert wiring["database_names"] == [entry["address"], host]
        # What PgBouncer connects to stands in the certificate: with verify-full nothing else will do.
        if host == cluster["tiers"]["database"]["leader"] and apart:
            assert {pool["host"] for pool in wiring["pools"]} <= set(wiring["database_names"])


def test_a_database_on_one_of_two_web_hosts_is_reached_with_tls():
    wiring = wired(build(MIXED), "web1")
    assert (wiring["database_tls"], wiring["pool_tls"]) == (True, True)


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("2001:DB8:0::21", ["2001:db8::21", "db1"]),
        ("DB.internal", ["db.internal", "db1"]),
        ("DB1", ["db1"]),
    ],
)
def test_the_names_in_the_certificate_of_a_database_host(address, names):
    cluster = build(FIGURE_2, {"db1": {"ansible_host": address}})
    assert wired(cluster, "db1")["database_names"] == names
    assert wired(cluster)["pools"][0]["host"] == names[0]
    assert wired(cluster, "db1")["database_clients"] == [cluster["hosts"]["box1"]["address"]]


def test_the_clusters_authority_reaches_the_roles():
    assert wired(build())["authority"] == {"certificate": "authority-certificate", "key": "authority-key"}
    cluster = build()
    assert wire(cluster, secrets_of(cluster), "box1")["authority"] == {}


def test_a_memcached_host_listens_at_its_address():
    cluster = build(FIGURE_4)
    assert wired(cluster, "cache2")["memcached_listen"] == [cluster["hosts"]["cache2"]["address"]]


@pytest.mark.parametrize(
    ("address", "expected"), [("192.0.2.1", "192.0.2.1:80"), ("2001:db8::1", "[2001:db8::1]:80"), ("db1", "db1:80")]
)
def test_an_address_with_its_port(address, expected):
    assert place({"address": address, "port": 80}) == expected


def test_memcached_over_ipv6_is_told_from_its_port():
    cluster = build(FIGURE_4, {"cache1": {"ansible_host": "2001:db8::41"}})
    assert runtimes(wired(cluster, "web1"))[0]["memcached_servers"][0] == "[2001:db8::41]:11211"


# --- firewall -----------------------------------------------------------------------------------------------------

#: Clusters beside the shipped ones: other ports, addresses of all kinds, names for the media, hosts that do several things.
OTHERS = {
    "mixed": build(MIXED),
    "a media domain without a balancer": build(FIGURE_3, sites=[a_site(media_domain="media.example.com")]),
    "a media domain behind a balancer": build(FIGURE_4, sites=[a_site(media_domain="media.example.com")]),
    "other ports": build(FIGURE_4, ports={"web": 8080, "media": 8081, "memcached": 11212, "database": 5433}),
    "a balancer beside the media": build({**FIGURE_4, "load_balancer": ["media1"]}, ports={"media": 8080}),
    "a balancer on a web host": build({**FIGURE_4, "load_balancer": ["web1"]}, ports={"web": 8080}),
    "without memcached": build({**FIGURE_4, "memcached": []}),
    "all kinds of addresses": build(
        FIGURE_4,
        {"web1": {"ansible_host": "2001:db8::11"}, "web2": {"ntier_address": "web2.internal"}, "lb1": {}},
    ),
}


def clusters():
    """Return name → topology of the clusters whose firewalls are looked at."""
    return {**{name: shipped(name) for name in SHIPPED}, **OTHERS}


def may_pass(cluster):
    """Return what has to pass the network by the topology's flows: triples of source, target and port; None is everybody."""
    found = set()
    for flow in cluster["flows"]:
        for target in flow["targets"]:
            found |= {(name, target, flow["port"]) for name in (flow["sources"] or [None]) if name != target}
    return {way for way in found if way[0] is None or (None, *way[1:]) not in found}


@pytest.mark.parametrize("name", [*SHIPPED, *OTHERS])
def test_the_firewalls_of_all_hosts_let_in_what_the_flows_say_and_nothing_else(name):
    cluster = clusters()[name]
    names = {entry["address"]: host for host, entry in cluster["hosts"].items()}
    passes = set()
    for host in cluster["hosts"]:
        rules = firewall_rules(cluster, host)
        assert wired(cluster, host)["firewall_rules"] == rules
        assert {tuple(rule) for rule in rules} <= {("port", "protocol", "sources")}
        assert {rule["protocol"] for rule in rules} <= {"tcp"}
        assert len({rule["port"] for rule in rules}) == len(rules), "each port once"
        for rule in rules:
            assert len(set(rule["sources"])) == len(rule["sources"])
            passes |= {(names.get(source), host, rule["port"]) for source in rule["sources"] or [None]}
    assert passes == may_pass(cluster)


@pytest.mark.parametrize("name", [*SHIPPED, *OTHERS])
def test_every_endpoint_is_open_to_its_users_and_closed_to_others(name):
    cluster = clusters()[name]
    tiers = groups_of(cluster)
    users = {
        "database": tiers["web"],
        "memcached": tiers["web"],
        "web": tiers["load_balancer"] or [None],
        "load_balancer": [None],
    }
    for tier, expected in users.items():
        for endpoint in cluster["endpoints"][tier]:
            rules = {rule["port"]: rule["sources"] for rule in firewall_rules(cluster, endpoint["host"])}
            if expected == [None]:
                assert rules[endpoint["port"]] == []
            else:
                others = [cluster["hosts"][host]["address"] for host in expected if host != endpoint["host"]]
                assert rules.get(endpoint["port"], []) == others
                assert (endpoint["port"] in rules) == bool(others), "no sources would mean everybody"


def rules_of(cluster):
    """Return host → port → sources, by the names of the hosts."""
    names = {entry["address"]: host for host, entry in cluster["hosts"].items()}
    return {
        host: {rule["port"]: [names[address] for address in rule["sources"]] for rule in firewall_rules(cluster, host)}
        for host in cluster["hosts"]
    }


def test_one_box_is_open_for_visitors_and_for_nobody_else():
    assert rules_of(shipped("1-single-box")) == {"box1": {80: []}}


def test_a_host_of_its_own_for_database_and_media_is_open_for_the_web_host_alone():
    assert rules_of(shipped("2-database")) == {"box1": {80: []}, "db1": {5432: ["box1"]}}
    assert rules_of(shipped("3-media")) == {
        "box1": {80: []},
        "media1": {80: ["box1"], 2049: ["box1"]},
        "db1": {5432: ["box1"]},
    }


def test_behind_a_balancer_every_host_is_open_for_those_who_need_it():
    web = ["box1", "web2"]
    assert rules_of(shipped("4-load-balanced")) == {
        "lb1": {80: [], 443: []},
        "box1": {80: ["lb1"]},
        "web2": {80: ["lb1"]},
        "media1": {80: ["lb1"], 2049: web},
        "cache1": {11211: web},
        "cache2": {11211: web},
        "db1": {5432: web},
    }


def test_a_host_needs_no_rule_to_talk_to_itself():
    assert rules_of(build(MIXED)) == {
        "lb1": {80: [], 443: []},
        "lb2": {80: [], 443: []},
        "web1": {80: ["lb1", "lb2"], 11211: ["web2"], 5432: ["web2"]},
        "web2": {80: ["lb1", "lb2"], 2049: ["web1"], 11211: ["web1"]},
    }
    beside = rules_of(build({**FIGURE_4, "load_balancer": ["media1"]}, ports={"media": 8080}))
    assert beside["media1"] == {80: [], 443: [], 2049: ["web1", "web2"]}


def test_a_port_that_everybody_may_ask_is_open_whoever_else_is_named():
    cluster = build(FIGURE_3, sites=[a_site(media_domain="media.example.com")])
    assert rules_of(cluster)["media1"] == {80: [], 2049: ["box1"]}
    cluster["flows"].reverse()
    assert rules_of(cluster)["media1"] == {2049: ["box1"], 80: []}


def test_sources_are_named_as_the_inventory_says_that_hosts_are_reached():
    cluster = OTHERS["all kinds of addresses"]
    assert firewall_rules(cluster, "db1") == [
        {"port": 5432, "protocol": "tcp", "sources": ["2001:db8::11", "web2.internal"]}
    ]
    assert firewall_rules(cluster, "web1") == [{"port": 80, "protocol": "tcp", "sources": ["lb1"]}]


# --- needs --------------------------------------------------------------------------------------------------------

#: Whom the hosts of a tier need; the others need nobody.
NEEDS = {
    "1-single-box": {},
    "2-database": {"web": ["db1"]},
    "3-media": {"web": ["media1", "db1"]},
    "4-load-balanced": {
        "load_balancer": ["box1", "web2", "media1"],
        "web": ["media1", "cache1", "cache2", "db1"],
    },
    "5-n-tier": {
        "load_balancer": ["box1", "web2", "web3", "web4", "media1", "media2", "media3"],
        "web": ["media1", "cache1", "cache2", "cache3", "db1", "db2", "db3"],
    },
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_host_needs_those_that_it_talks_to(name):
    cluster = shipped(name)
    for host, entry in cluster["hosts"].items():
        expected = NEEDS[name].get(entry["tiers"][0], [])
        assert needs(cluster, host) == [cluster["hosts"][other]["address"] for other in expected]


def test_a_host_does_not_need_itself():
    cluster = build(MIXED)
    assert needs(cluster, "web1") == [cluster["hosts"]["web2"]["address"]]
    assert needs(cluster, "web2") == [cluster["hosts"]["web1"]["address"]]
    assert needs(cluster, "old1") == []


# --- media --------------------------------------------------------------------------------------------------------


def media_of(cluster, host):
    """Return what the role media is told on a host beside the sites, by the names of the hosts."""
    names = {entry["address"]: name for name, entry in cluster["hosts"].items()}
    wiring = wired(cluster, host)
    return {
        "clients": [names[address] for address in wiring["media_clients"]],
        "virtual_hosts": wiring["media_virtual_hosts"],
        "default_server": wiring["media_default_server"],
        "trusted_proxies": [names[address] for address in wiring["media_trusted_proxies"]],
        "server": names.get(wiring["media_server"], wiring["media_server"]),
    }


def test_the_folders_of_a_site_are_the_same_for_those_who_write_and_those_who_serve():
    cluster = build(FIGURE_4, sites=three_sites())
    for host in cluster["hosts"]:
        wiring = wired(cluster, host)
        assert wiring["media_sites"][1] == {
            "name": "shop",
            "prefix": "/shop",
            "static_root": "/srv/media/shop/static",
            "media_root": "/srv/media/shop/media",
        }
        for site, folders in zip(runtimes(wiring), wiring["media_sites"], strict=True):
            assert (site["static_root"], site["media_root"]) == (folders["static_root"], folders["media_root"])


@pytest.mark.parametrize("name", SHIPPED)
def test_uploads_are_exported_to_those_who_mount_them_and_to_nobody_else(name):
    cluster = shipped(name)
    server, clients = cluster["uploads"]["server"], cluster["uploads"]["clients"]
    for host in cluster["hosts"]:
        found = media_of(cluster, host)
        assert found["clients"] == (clients if host == server else [])
        assert found["server"] == (server if host in clients else "")


def test_on_one_box_the_web_server_of_the_sites_serves_their_files():
    cluster = build(sites=three_sites())
    found = media_of(cluster, "box1")
    assert (found["virtual_hosts"], found["default_server"]) == ([], False)
    assert {site["files"] for site in wired(cluster)["web_sites"]} == {"local"}
    assert wired(cluster)["web_media_servers"] == []


def test_a_media_host_without_a_balancer_answers_what_the_web_host_passes_on():
    cluster = build(FIGURE_3, sites=three_sites())
    found = media_of(cluster, "media1")
    assert found["virtual_hosts"] == cluster["virtual_hosts"]
    assert (found["default_server"], found["trusted_proxies"]) == (True, ["box1"])
    wiring = wired(cluster)
    assert {site["files"] for site in wiring["web_sites"]} == {"remote"}
    assert wiring["web_media_servers"] == cluster["endpoints"]["media"]
    assert media_of(cluster, "box1")["virtual_hosts"] == []
    assert media_of(cluster, "db1")["virtual_hosts"] == []


def test_behind_a_balancer_the_media_host_answers_the_balancer():
    cluster = build(FIGURE_4, sites=three_sites())
    found = media_of(cluster, "media1")
    assert found["virtual_hosts"] == cluster["virtual_hosts"]
    assert (found["default_server"], found["trusted_proxies"]) == (True, ["lb1"])
    for host in ("web1", "web2"):
        wiring = wired(cluster, host)
        assert {site["files"] for site in wiring["web_sites"]} == {"none"}
        assert wiring["web_media_servers"] == []


def test_a_web_host_that_also_keeps_the_media_serves_them_to_the_balancers():
    cluster = build(MIXED, sites=three_sites())
    found = media_of(cluster, "web2")
    assert (found["virtual_hosts"], found["default_server"]) == ([], False)
    assert (found["clients"], found["server"]) == (["web1"], "")
    assert media_of(cluster, "web1")["server"] == "web2"
    assert [wired(cluster, host)["web_sites"][0]["files"] for host in ("web1", "web2")] == ["none", "local"]


MEDIA_SITES = [
    a_site("blog", media_domain="media.example.com"),
    a_site("shop", domains=["blog.example.com"], prefix="/shop", media_domain="media.example.com"),
    a_site("diary", media_domain="pictures.example.com"),
    a_site("polls"),
]


@pytest.mark.parametrize(
    ("tiers", "host"), [(ONE_BOX, "box1"), (FIGURE_3, "media1"), (FIGURE_4, "media1"), (MIXED, "web2")]
)
def test_the_names_of_the_media_are_answered_where_the_files_are(tiers, host):
    cluster = build(tiers, sites=MEDIA_SITES)
    expected = [
        {"domains": ["media.example.com"], "sites": ["shop", "blog"]},
        {"domains": ["pictures.example.com"], "sites": ["diary"]},
    ]
    for name in cluster["hosts"]:
        found = media_of(cluster, name)["virtual_hosts"]
        if name != host:
            assert found == []
        elif name in cluster["tiers"]["web"]["hosts"]:
            assert found == expected
        else:
            assert found == [*cluster["virtual_hosts"], *expected]
    assert not any("media.example.com" in entry["domains"] for entry in cluster["virtual_hosts"])


# --- balancer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_web_and_media_hosts_believe_the_balancers_and_nobody_else(name):
    cluster = shipped(name)
    balancers = [cluster["hosts"][host]["address"] for host in cluster["tiers"]["load_balancer"]["hosts"]]
    for host in cluster["hosts"]:
        assert wired(cluster, host)["trusted_proxies"] == balancers


@pytest.mark.parametrize("tiers", [FIGURE_4, MIXED])
def test_every_balancer_is_told_of_all_web_and_media_hosts(tiers):
    cluster = build(tiers)
    for host in cluster["tiers"]["load_balancer"]["hosts"]:
        wiring = wired(cluster, host)
        assert wiring["load_balancer_web"] == cluster["endpoints"]["web"]
        assert wiring["load_balancer_media"] == cluster["endpoints"]["media"]
        assert wiring["load_balancer_address"] == cluster["hosts"][host]["address"]
        assert len(wiring["load_balancer_web"]) == 2
        assert wiring["load_balancer_silence_seconds"] == 6


def test_apache_may_let_a_form_wait():
    cluster = build(FIGURE_4, providers={"web": "apache_mod_wsgi"})
    assert wired(cluster, cluster["tiers"]["load_balancer"]["leader"])["load_balancer_silence_seconds"] == 20


def test_a_balancer_is_told_of_each_site_what_it_needs_and_no_more():
    site = a_site(
        prefix="/shop",
        domains=["a.example.com", "*.example.com"],
        media_domain="m.example.com",
        timeout_seconds=90,
        upload_limit_mb=50,
    )
    assert wired(build(FIGURE_4, sites=[site]), "lb1")["load_balancer_sites"] == [
        {
            "name": "blog",
            "domains": ["a.example.com", "*.example.com"],
            "prefix": "/shop",
            "media_domain": "m.example.com",
            "timeout_seconds": 90,
            "upload_limit_mb": 50,
            "certificate": {},
        }
    ]


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ({"file": "tls/a.pem", "key_file": "../a.key"}, {"file": "/inventory/tls/a.pem", "key_file": "/a.key"}),
        ({"file": "/tls/a.pem", "key_file": "~/a.key"}, {"file": "/tls/a.pem", "key_file": "/home/me/a.key"}),
        ({"acme": "admin@example.com"}, {"acme": "admin@example.com"}),
    ],
)
def test_a_certificate_is_looked_for_from_the_inventorys_folder_on(certificate, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    cluster = build(FIGURE_4, sites=[a_site(certificate=certificate)])
    assert wired(cluster, "lb1")["load_balancer_sites"][0]["certificate"] == expected
    assert cluster["sites"][0]["certificate"] == certificate


# --- releases -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("../blog", "/blog"),
        ("blog", "/inventory/blog"),
        ("/src/blog", "/src/blog"),
        ("./a/../b/", "/inventory/b"),
        ("~/blog", "/home/me/blog"),
    ],
)
def test_a_relative_source_starts_from_the_inventorys_folder(path, location, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert wired(build(sites=[a_site(source={"path": path})]))["release_sites"][0]["source"]["location"] == location


def test_the_topology_keeps_the_path_as_the_user_wrote_it():
    cluster = build(sites=[a_site(source={"path": "../blog"})])
    wired(cluster)
    assert cluster["sites"][0]["source"]["location"] == "../blog"


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({}, "http://blog.example.com/"),
        ({"prefix": "/shop", "health_path": "/up/"}, "http://blog.example.com/shop/up/"),
        ({"domains": ["*.example.com"]}, "http://www.example.com/"),
    ],
)
def test_the_release_is_asked_as_a_visitor_would(more, url):
    assert wired(build(sites=[a_site(**more)]))["release_sites"][0]["health_url"] == url


@pytest.mark.parametrize(
    ("key_file", "expected"),
    [("keys/blog", "/inventory/keys/blog"), ("/keys/blog", "/keys/blog"), ("~/blog", "/home/me/blog"), (None, "")],
)
def test_a_relative_key_starts_from_the_inventorys_folder_too(key_file, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    source = {"git": "git@git.example.com:blog.git", **({"key_file": key_file} if key_file else {})}
    assert a_release(source=source)["source"]["key_file"] == expected


@pytest.mark.parametrize("name", SHIPPED)
def test_a_release_is_the_same_on_every_web_host_whatever_its_size(name):
    cluster = shipped(name)
    web = cluster["tiers"]["web"]["hosts"]
    found = [
        wired(cluster, host, size_host(2048 * (number + 1), number + 1, ("web",))) for number, host in enumerate(web)
    ]
    for wiring in found:
        assert wiring["release_sites"] == found[0]["release_sites"]
        assert wiring["release_leader"] == web[0] == cluster["tiers"]["web"]["leader"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_site_knows_whether_a_balancer_ends_tls(name):
    (site,) = runtimes(wired(shipped(name)))
    assert site["https"] is (name in ("4-load-balanced", "5-n-tier"))


@pytest.mark.parametrize(
    ("more", "files"),
    [
        ({}, ""),
        ({"prefix": "/shop"}, "/shop"),
        ({"media_domain": "media.example.com"}, "//media.example.com"),
        ({"prefix": "/shop", "media_domain": "media.example.com"}, "//media.example.com/shop"),
    ],
)
def test_where_visitors_find_the_files_of_a_site(more, files):
    site = a_release(**more)
    urls = {"static_url": f"{files}/static/", "media_url": f"{files}/media/"}
    assert {key: site["runtime"][key] for key in urls} == urls
    assert {key: site["environment"][key.upper()] for key in urls} == urls


# --- what a release is compared by --------------------------------------------------------------------------------

PACKAGE = {"package": "blog==1.2"}


def configuration(runtime=None, **more):
    """Return the digest of a site's configuration, with other values in what the overlay reads."""
    site = a_release(source=PACKAGE, **more)
    return with_revisions([{**site, "runtime": {**site["runtime"], **(runtime or {})}}])[0]["configuration"]


@pytest.mark.parametrize(
    "more",
    [
        {"runtime": {"secret_key": "another"}},
        {"runtime": {"database": {"password": "another"}}},
        {"environment": {"A": "1"}},
        {"environment": {"A": "2"}},
        {"settings": "blog.live"},
        {"wsgi": "blog.wsgi:application"},
        {"domains": ["blog.example.com", "www.example.com"]},
        {"prefix": "/shop"},
        {"database": {"name": "rows"}},
        {"timeout_seconds": 31},
        {"page_cache_seconds": 60},
        {"media_domain": "media.example.com"},
        {"hashed_static": False},
        {"settings_overlay": False},
    ],
)
def test_a_change_of_settings_environment_or_secrets_is_another_configuration(more):
    assert configuration(**more) != configuration()


def test_variables_with_other_values_are_other_configurations():
    assert configuration(environment={"A": "1"}) != configuration(environment={"A": "2"})


def test_a_change_of_a_secret_is_another_configuration():
    cluster = build(sites=[a_site(source=PACKAGE)])
    secrets = {"database_password": "p", "secret_key": "k"}
    found = [
        with_revisions(wire(cluster, {"blog": {**secrets, **more}}, "box1")["release_sites"])[0]["configuration"]
        for more in ({}, {"database_password": "q"}, {"secret_key": "l"})
    ]
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"upload_limit_mb": 99},
        {"anonymous_cache_seconds": 5},
        {"health_path": "/up"},
        {"workers": 7},
        {"threads": 9},
        {"uid": 1000},
        {"certificate": {"acme": "admin@example.com"}},
    ],
)
def test_what_only_others_than_the_site_read_is_no_other_configuration(more):
    assert configuration(**more) == configuration()


def test_the_order_of_variables_is_no_other_configuration():
    assert configuration(environment={"A": "1", "B": "2"}) == configuration(environment={"B": "2", "A": "1"})


def test_a_release_is_compared_without_secrets():
    sites = wired(build(sites=[a_site(source=PACKAGE, environment={"TOKEN": "hunter2"})]))["release_sites"]
    (site,) = with_revisions(sites)
    assert set(site) == {*sites[0], "configuration"} - {"runtime", "environment"}
    assert not re.search("password-blog|key-blog|hunter2", str(site))
    assert site["source"]["revision"] == "1.2"
    assert "revision" not in sites[0]["source"]
    assert re.fullmatch("[0-9a-f]{16}", site["configuration"])


def test_a_release_is_compared_alike_however_ansible_evaluates_its_values():
    value = derived(probe=trust_as_template("{{ ntier_release_sites | ntier.django.with_revisions }}"))
    plain = json.loads(json.dumps(value("ntier_release_sites")))
    assert value("probe") == with_revisions(plain)


# --- environment --------------------------------------------------------------------------------------------------


def test_the_environment_of_a_site():
    assert a_release()["environment"] == {
        "DJANGO_SETTINGS_MODULE": "ntier_settings",
        "NTIER_SITE": "blog",
        "SECRET_KEY": "key-blog",
        "DJANGO_SECRET_KEY": "key-blog",
        "DEBUG": "False",
        "DJANGO_DEBUG": "False",
        "ALLOWED_HOSTS": "blog.example.com",
        "DJANGO_ALLOWED_HOSTS": "blog.example.com",
        "DATABASE_URL": "postgres://blog:password-blog@127.0.0.1:6432/blog",
        "CACHE_URL": "pymemcache://127.0.0.1:11211",
        "STATIC_URL": "/static/",
        "STATIC_ROOT": "/srv/media/blog/static",
        "MEDIA_URL": "/media/",
        "MEDIA_ROOT": "/srv/media/blog/media",
        "SCRIPT_NAME": "",
        "PYTHONUNBUFFERED": "1",
    }


def test_the_environment_of_a_site_below_a_prefix():
    cluster = build(sites=[a_site(prefix="/shop", domains=["a.example.com", "b.example.com"])])
    environment = wired(cluster)["release_sites"][0]["environment"]
    assert environment["SCRIPT_NAME"] == "/shop"
    assert environment["STATIC_URL"] == "/shop/static/"
    assert environment["MEDIA_URL"] == "/shop/media/"
    assert environment["ALLOWED_HOSTS"] == "a.example.com,b.example.com"


def test_a_site_without_the_overlay_gets_everything_through_the_environment():
    cluster = build(
        sites=[a_site(settings="mysite.settings", settings_overlay=False, domains=["a.example.com", "*.b.example.com"])]
    )
    found = wired(cluster)["release_sites"][0]
    assert found["runtime"]["settings_overlay"] is False
    assert {
        key: found["environment"][key] for key in found["environment"] if key not in a_release()["environment"]
    } == {
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": "6432",
        "DATABASE_NAME": "blog",
        "DATABASE_USER": "blog",
        "DATABASE_PASSWORD": "password-blog",
        "MEMCACHED_SERVERS": "127.0.0.1:11211",
        "CSRF_TRUSTED_ORIGINS": "https://a.example.com,https://*.b.example.com,http://a.example.com,http://*.b.example.com",
        "DJANGO_STATIC_URL": "/static/",
        "DJANGO_STATIC_ROOT": "/srv/media/blog/static",
        "DJANGO_MEDIA_URL": "/media/",
        "DJANGO_MEDIA_ROOT": "/srv/media/blog/media",
    }
    assert found["environment"]["DJANGO_SETTINGS_MODULE"] == "mysite.settings"


def test_without_memcached_the_site_caches_for_itself():
    environment = site_environment(a_runtime(memcached_servers=[]), {})
    assert environment["CACHE_URL"] == "locmemcache://"


def test_the_users_own_variables_win_and_are_texts():
    cluster = build(sites=[a_site(environment={"DEBUG": "maybe", "LEVEL": 5, "FEATURE": True, "RATE": 0.5})])
    environment = wired(cluster)["release_sites"][0]["environment"]
    assert [environment[name] for name in ("DEBUG", "LEVEL", "FEATURE", "RATE")] == ["maybe", "5", "true", "0.5"]


@pytest.mark.parametrize("password", ["plain", "p@ss/w:rd?#[]", "50% off", "Grüße", "a+b c", "\"'\\", "%2F"])
def test_the_database_url_parses_back(password):
    database = {"host": "127.0.0.1", "port": 6432, "name": "rows", "user": "writer", "password": password}
    url = urllib.parse.urlsplit(site_environment(a_runtime(database=database), {})["DATABASE_URL"])
    assert (url.scheme, url.hostname, url.port, url.path) == ("postgres", "127.0.0.1", 6432, "/rows")
    assert urllib.parse.unquote(url.username) == "writer"
    assert urllib.parse.unquote(url.password) == password


def test_the_settings_file_has_what_the_overlay_reads_and_no_more():
    assert set(a_runtime()) == {
        "name",
        "domains",
        "prefix",
        "settings",
        "settings_overlay",
        "wsgi",
        "asgi",
        "secret_key",
        "database",
        "memcached_servers",
        "static_root",
        "media_root",
        "static_url",
        "media_url",
        "hashed_static",
        "page_cache_seconds",
        "timeout_seconds",
        "https",
    }
    texts = [path.read_text() for path in (ROOT / "roles/release/files/overlay").iterdir() if path.is_file()]
    read = re.findall(r"(?:NTIER_SITE|_?values)\[['\"](\w+)['\"]\]", "".join(texts))
    assert set(read) <= set(a_runtime())


def test_a_missing_secret_is_not_papered_over():
    with pytest.raises(KeyError):
        wire(build(), {"blog": {"secret_key": "k"}}, "box1")


# --- the way through a file ---------------------------------------------------------------------------------------

VALUES = {
    "EMPTY": "",
    "PLAIN": "plain",
    "SPACES": "  two  words ",
    "TAB": "a\tb",
    "QUOTES": """say "hi" and 'ho'""",
    "BACKSLASHES": "\\a\\\\b\\",
    "BACKSLASH_QUOTE": '\\"',
    "DOLLAR": "$HOME ${HOME} $(id) `id`",
    "PERCENT": "100 % %i %%",
    "HASH": "# no comment; really",
    "EQUALS": "a=b=c",
    "UNICODE": "Grüße 你好 🙂",
    "JSON": '{"a": ["b\\n", "\\"c\\""]}',
    "BRACES": "{{ no_template }}",
    "GLOB": "* ? [a-z] ~ !",
}


def read_as_systemd(text):
    """Return the variables of a file as systemd reads EnvironmentFile=, after parse_env_file_internal in its basic/env-file.c."""
    variables, state, key, value, kept = {}, "before key", "", "", 0
    for letter in text + "\n":
        if state == "comment":
            state = "before key" if letter in "\n\r" else state
        elif state == "before key":
            if letter in "#;":
                state = "comment"
            elif letter not in " \t\n\r":
                state, key = "key", letter
        elif state == "key":
            if letter in "\n\r":
                state = "before key"
            elif letter == "=":
                state, value, kept = "before value", "", 0
            else:
                key += letter
        elif state in ("before value", "value") and letter in "\n\r":
            value = value[:kept] + value[kept:].rstrip(" \t")
            variables[key.rstrip()] = value
            state = "before key"
        elif state == "before value" and letter in "'\"":
            state = letter
        elif state in ("before value", "value") and letter == "\\":
            state = "escape"
        elif state == "before value":
            if letter not in " \t":
                state, value = "value", value + letter
        elif state == "value":
            value += letter
        elif state == "escape":
            value += "" if letter in "\n\r" else letter
            state, kept = "value", len(value)
        elif state == '"' and letter == "\\":
            state = '"\\'
        elif state in ("'", '"') and letter == state:
            state, kept = "before value", len(value)
        elif state in ("'", '"'):
            value += letter
        elif state == '"\\':
            value += letter if letter in '"\\`$' else "" if letter == "\n" else "\\" + letter
            state = '"'
    return variables


def read_as_ntier_manage(text, tmp_path):
    """Return the variables as the program of the role web reads them."""
    path = tmp_path / "environment"
    path.write_text(text, encoding="utf-8")
    return runpy.run_path(str(ROOT / "roles/release/files/ntier-manage"))["read_environment"](str(path))


def test_our_reader_knows_systemds_rules():
    text = '# c\n;c\n A = b c \nB="x \\"y\\" \\$ \\n"\nC=\'a\\b\' # d\nD=a\\ b\\\nc\n\nE=\n'
    assert read_as_systemd(text) == {"A": "b c", "B": 'x "y" $ \\n', "C": "a\\b# d", "D": "a bc", "E": ""}


def test_systemd_reads_every_value_as_it_was():
    assert read_as_systemd(environment_file(VALUES)) == VALUES


def test_ntier_manage_reads_every_value_as_it_was(tmp_path):
    assert read_as_ntier_manage(environment_file(VALUES), tmp_path) == VALUES


def test_both_read_the_file_of_a_site_alike_with_the_comment_of_ansible_above(tmp_path):
    site = wired(build(sites=three_sites()))["release_sites"][2]
    text = "#\n# Ansible managed\n#\n" + environment_file(site["environment"]) + "\n"
    assert read_as_systemd(text) == read_as_ntier_manage(text, tmp_path) == site["environment"]
    assert read_as_systemd(text)["GREETING"] == 'Good "day", $HOME \\ 100 %'


def test_every_variable_has_a_line_of_its_own():
    lines = environment_file(VALUES).splitlines()
    assert len(lines) == len(VALUES)
    assert all(len(shlex.split(line)) == 1 for line in lines)
