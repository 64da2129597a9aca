"""From the topology to what each role is told, and the environment of a site's processes."""

import json
import re
import runpy
import shlex
import urllib.parse

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import FIGURE_2, FIGURE_4, ONE_BOX, ROOT, a_site, build, inventory, shipped, three_sites, wired

from ansible_collections.ntier.django.plugins.filter.wiring import with_revisions
from ansible_collections.ntier.django.plugins.plugin_utils.sizing import size_host
from ansible_collections.ntier.django.plugins.plugin_utils.wiring import (
    environment_file,
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
    assert wiring["users"] == names
    for key in ("databases", "pools", "release_sites", "web_sites"):
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


@pytest.mark.parametrize("name", ["1-single-box", "2-database", "3-media", "4-load-balanced", "5-n-tier"])
def test_a_site_only_ever_sees_the_pooler_of_its_own_host(name):
    cluster = shipped(name)
    for host in cluster["tiers"]["web"]["hosts"]:
        for site in runtimes(wired(cluster, host)):
            assert (site["database"]["host"], site["database"]["port"]) == ("127.0.0.1", 6432)


def test_without_sizes_the_roles_own_figures_hold():
    site = a_runtime()
    assert (site["workers"], site["threads"]) == (2, 4)


def test_sizes_reach_the_roles():
    size = size_host(16384, 8, BOX)
    wiring = wired(build(), size=size)
    assert runtimes(wiring)[0]["workers"] == size["web"]["workers"] > 2
    assert wiring["pool_size"] == size["web"]["pool_size"]
    assert wiring["memcached_memory_mb"] == size["memcached"]["memory_mb"]
    assert wiring["database_size"] == size["database"]


def test_nginx_is_told_what_it_needs_and_no_more():
    cluster = build(sites=[a_site(prefix="/shop", upload_limit_mb=50, timeout_seconds=90, anonymous_cache_seconds=1)])
    assert wired(cluster)["web_sites"] == [
        {
            "name": "blog",
            "prefix": "/shop",
            "upload_limit_mb": 50,
            "timeout_seconds": 90,
            "anonymous_cache_seconds": 1,
            "static_root": "/srv/media/blog/static",
            "media_root": "/srv/media/blog/media",
        }
    ]


def test_a_site_may_have_workers_of_its_own():
    cluster = build(sites=[a_site(workers=7, threads=1)])
    site = runtimes(wired(cluster, size=size_host(16384, 8, BOX)))[0]
    assert (site["workers"], site["threads"]) == (7, 1)


# --- ports --------------------------------------------------------------------------------------------------------


def test_ports_that_the_user_chose_reach_pool_and_caches():
    wiring = wired(build(ports={"web": 8080, "media": 8080, "memcached": 11212, "database": 5433}))
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
    "database_port": 5433,
    "memcached_port": 11212,
    "pooler_port": 6433,
    "pooler_listen_address": "127.0.0.2",
}


def derived(**variables):
    """Return a function that evaluates one of the variables that the playbooks derive, on one box."""
    loader = DataLoader()
    groups = inventory(ONE_BOX)
    given = loader.load_from_file(str(ROOT / "playbooks/group_vars/all.yml"), trusted_as_template=True)
    given |= {
        "groups": groups,
        "hostvars": {"box1": {"ansible_host": "192.0.2.1", "inventory_dir": "/inventory"}},
        "inventory_hostname": "box1",
        "ansible_facts": {"memtotal_mb": 2048, "processor_vcpus": 2},
        "ntier_sites": [a_site(source={"package": "blog==1.2"}, environment={"GREETING": "hello"})],
        "ntier_secrets": {"blog": {"database_password": "password-blog", "secret_key": "key-blog"}},
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
    assert value("ntier_pools")[0]["port"] == 5433
    runtime = value("ntier_release_sites")[0]["runtime"]
    assert (runtime["database"]["host"], runtime["database"]["port"]) == ("127.0.0.2", 6433)
    assert runtime["memcached_servers"] == ["127.0.0.1:11212"]


def test_without_a_choice_the_playbooks_hand_over_what_the_roles_default_to():
    value = derived()
    defaults = {}
    for role in ("web", "database", "memcached", "pooler"):
        defaults |= yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    assert value("ntier_wiring") == derived(**{name: defaults[name] for name in PLACES})("ntier_wiring")
    assert value("ntier_wiring") == wired(
        build(sites=[a_site(source={"package": "blog==1.2"}, environment={"GREETING": "hello"})]),
        size=size_host(2048, 2, BOX),
    )


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
        {"runtime": {"workers": 9}},
        {"environment": {"A": "1"}},
        {"environment": {"A": "2"}},
        {"settings": "blog.live"},
        {"wsgi": "blog.wsgi:application"},
        {"domains": ["blog.example.com", "www.example.com"]},
        {"prefix": "/shop"},
        {"database": {"name": "rows"}},
        {"timeout_seconds": 31},
        {"workers": 7},
        {"threads": 9},
        {"hashed_static": False},
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


@pytest.mark.parametrize("more", [{"upload_limit_mb": 99}, {"anonymous_cache_seconds": 5}, {"health_path": "/up"}, {}])
def test_what_only_nginx_and_the_run_read_is_no_other_configuration(more):
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
        "wsgi",
        "secret_key",
        "database",
        "memcached_servers",
        "static_root",
        "media_root",
        "hashed_static",
        "timeout_seconds",
        "workers",
        "threads",
    }
    texts = [path.read_text() for path in (ROOT / "roles/release/files/overlay").iterdir() if path.is_file()]
    read = re.findall(r"(?:NTIER_SITE|_values)\[['\"](\w+)['\"]\]", "".join(texts))
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
