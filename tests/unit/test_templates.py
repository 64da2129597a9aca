"""Every template of every role, rendered as Ansible renders it: for each system, with the values that the wiring gives."""

import configparser
import json
import re

import pytest
from clusters import FIGURE_3, FIGURE_4, MIXED, a_site, build, three_sites, wired
from rendering import (
    FACTS,
    SIZE,
    TEMPLATES,
    WIRING,
    WITHOUT_COMMENT,
    locations,
    looked_at,
    of,
    render,
    servers,
    settings_in,
)

from ansible_collections.ntier.django.plugins.plugin_utils.wiring import environment_file

BLOG, SHOP, DIARY = WIRING["release_sites"]


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", FACTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_renders_on_every_system(template, system):
    text = render(template, system)
    assert text.strip()
    assert not re.search(r"{{|}}|{%|%}|\bNone\b|<built-in|Undefined", text)
    assert text.endswith("\n") or template.endswith(".json.j2")
    if template not in WITHOUT_COMMENT:
        assert re.match(r"([#;]|--)\n\1 Ansible managed\n\1\n", text)


def test_every_template_has_a_test_of_its_content():
    assert set(TEMPLATES) == looked_at()


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_secret_stands_in_a_file_that_everybody_may_read(template):
    if template not in ("release/environment.j2", *WITHOUT_COMMENT):
        assert not re.search(r"password-|key-(blog|shop|diary)", render(template))


# --- host ---------------------------------------------------------------------------------------------------------


@of("host/sysctl.conf.j2")
def test_the_kernel_swaps_late_and_queues_connections():
    assert settings_in(render("host/sysctl.conf.j2", host_swappiness=7)) == {
        "vm.swappiness": "7",
        "net.core.somaxconn": "4096",
    }


@of("host/pip.conf.j2")
@of("host/uv.toml.j2")
def test_pip_and_uv_trust_what_the_system_trusts():
    pip = configparser.ConfigParser()
    pip.read_string(render("host/pip.conf.j2"))
    assert pip["global"]["cert"] == "/etc/ssl/certs/ca-certificates.crt"
    assert settings_in(render("host/uv.toml.j2")) == {"native-tls": "true"}


# --- database -----------------------------------------------------------------------------------------------------


@of("database/createcluster.conf.j2")
def test_a_cluster_is_made_with_checksums_and_a_locale_that_moves():
    options = settings_in(render("database/createcluster.conf.j2"))["initdb_options"]
    assert {"--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8"} <= set(options.strip("'").split())


@of("database/postgresql.conf.j2")
def test_postgresql_gets_the_memory_that_the_sizing_gave_it():
    settings = settings_in(render("database/postgresql.conf.j2"))
    for name in ("shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_wal_size"):
        assert settings[name] == f"{SIZE['database'][f'{name}_mb']}MB"
    assert settings["max_connections"] == str(SIZE["database"]["max_connections"])
    assert settings["password_encryption"] == "'scram-sha-256'"
    assert settings["wal_level"] == "replica"
    assert settings["listen_addresses"] == "'*'"
    assert settings["ssl"] == "off"


def test_postgresql_has_tls_where_others_than_its_own_host_are_its_users():
    assert wired(build(FIGURE_4), "db1")["database_tls"] is True
    settings = settings_in(render("database/postgresql.conf.j2", database_tls=True))
    assert settings["ssl"] == "on"
    assert settings["ssl_min_protocol_version"] == "'TLSv1.2'"
    for name, file in (("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")):
        assert settings[name] == f"'/etc/postgresql-ntier/{file}'"


@pytest.mark.parametrize(
    ("system", "version"), [("Debian 12", 15), ("Debian 13", 17), ("Ubuntu 22.04", 14), ("Ubuntu 24.04", 16)]
)
def test_postgresql_reads_our_hba_file_of_the_version_that_the_system_packages(system, version):
    settings = settings_in(render("database/postgresql.conf.j2", system))
    assert settings["hba_file"] == f"'/etc/postgresql/{version}/main/pg_hba.ntier.conf'"


def test_the_users_own_settings_of_postgresql_come_last_and_are_quoted():
    own = {
        "work_mem": "9MB",
        "log_line_prefix": "it's %m ",
        "jit": False,
        "max_parallel_workers": 3,
        "archive_command": "printf '%s\\n' %p",
        "search_path": "",
    }
    text = render("database/postgresql.conf.j2", database_settings=own)
    assert text.splitlines()[-6:] == [
        "work_mem = '9MB'",
        "log_line_prefix = 'it''s %m '",
        "jit = 'False'",
        "max_parallel_workers = '3'",
        "archive_command = 'printf ''%s\\\\n'' %p'",
        "search_path = ''",
    ]


def rules_in(text):
    """Return the rules of a pg_hba.conf as lists of words: those of the host itself, and those over the network."""
    rules = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [rule for rule in rules if rule[0] == "local"], [rule for rule in rules if rule[0] != "local"]


@of("database/pg_hba.conf.j2")
@pytest.mark.parametrize(("tls", "kind"), [(False, "host"), (True, "hostssl")])
def test_only_the_sites_users_may_reach_their_own_databases(tls, kind):
    clients = ["127.0.0.1", "2001:db8::7", "web1.internal", "db1"]
    text = render("database/pg_hba.conf.j2", database_clients=clients, database_tls=tls)
    local, over_network = rules_in(text)
    assert over_network == [
        [kind, f'"{site}"', f'"{site}"', address, "scram-sha-256"]
        for address in ("127.0.0.1/32", "2001:db8::7/128", "web1.internal", "db1")
        for site in ("blog", "shop", "diary")
    ]
    assert {rule[-1] for rule in local} == {"peer"}
    assert "trust" not in text


def test_behind_a_balancer_a_database_answers_the_web_hosts_alone():
    wiring = wired(build(FIGURE_4), "db1")
    clients, databases = wiring["database_clients"], wiring["databases"]
    text = render(
        "database/pg_hba.conf.j2",
        database_clients=clients,
        database_databases=databases,
        database_tls=wiring["database_tls"],
    )
    assert rules_in(text)[1] == [
        ["hostssl", '"blog"', '"blog"', f"{address}/32", "scram-sha-256"] for address in clients
    ]
    assert len(clients) == 2


# --- pooler -------------------------------------------------------------------------------------------------------


@of("pooler/ntier.ini.j2")
def test_pgbouncer_offers_each_database_and_pools_transactions():
    ini = configparser.ConfigParser(interpolation=None, comment_prefixes=(";", "#"))
    ini.read_string(render("pooler/ntier.ini.j2"))
    assert dict(ini["databases"]) == {
        name: f"host=127.0.0.1 port=5432 dbname={name}" for name in ("blog", "shop", "diary")
    }
    settings = ini["pgbouncer"]
    assert settings["pool_mode"] == "transaction"
    assert settings["default_pool_size"] == str(SIZE["web"]["pool_size"])
    assert (settings["listen_addr"], settings["listen_port"]) == ("127.0.0.1", "6432")
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["server_tls_sslmode"] == "disable"
    assert "server_tls_ca_file" not in settings


def test_pgbouncer_verifies_a_database_on_another_host_in_full():
    wiring = wired(build(FIGURE_4), "web1")
    ini = configparser.ConfigParser(interpolation=None, comment_prefixes=(";", "#"))
    ini.read_string(render("pooler/ntier.ini.j2", pooler_tls=wiring["pool_tls"], pooler_databases=wiring["pools"]))
    assert dict(ini["databases"]) == {"blog": f"host={wiring['pools'][0]['host']} port=5432 dbname=blog"}
    settings = ini["pgbouncer"]
    assert settings["server_tls_sslmode"] == "verify-full"
    assert settings["server_tls_ca_file"] == "/etc/pgbouncer/ntier-authority.crt"
    assert settings["server_tls_protocols"] == "secure"


@of("pooler/ntier-users.txt.j2")
def test_pgbouncer_knows_each_user_and_a_quote_in_a_password():
    assert render("pooler/ntier-users.txt.j2").splitlines() == [
        f'"{name}" "password-{name}"' for name in ("blog", "shop", "diary")
    ]
    databases = [{"name": "a", "user": "a", "password": 'x"y\\', "host": "h", "port": 1}]
    assert render("pooler/ntier-users.txt.j2", pooler_databases=databases) == '"a" "x""y\\"\n'


@of("pooler/service.conf.j2")
def test_pgbouncer_starts_with_our_file_alone():
    lines = render("pooler/service.conf.j2").splitlines()
    assert lines[lines.index("ExecStart=") + 1] == "ExecStart=/usr/sbin/pgbouncer /etc/pgbouncer/ntier.ini"


# --- memcached ----------------------------------------------------------------------------------------------------


@of("memcached/service.conf.j2")
def test_memcached_listens_where_it_is_told_with_the_memory_that_it_got():
    lines = render("memcached/service.conf.j2").splitlines()
    command = lines[lines.index("ExecStart=") + 1].removeprefix("ExecStart=").split()
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {
        "-u": "memcache",
        "-m": str(SIZE["memcached"]["memory_mb"]),
        "-l": "127.0.0.1",
        "-p": "11211",
        "-c": "2048",
        "-U": "0",
    }
    assert "LimitNOFILE=2112" in lines
    assert lines.index("[Unit]") < lines.index("StartLimitIntervalSec=0") < lines.index("[Service]")
    assert {"Restart=on-failure", "RestartSec=1"} <= set(lines[lines.index("[Service]") :])


# --- web: units and files of a site -------------------------------------------------------------------------------


@of("web/django@.service.j2")
def test_the_unit_of_a_site_runs_as_the_site_and_reads_its_release():
    lines = render("web/django@.service.j2").splitlines()
    for line in (
        "User=%i",
        "EnvironmentFile=/srv/%i/current/environment",
        "EnvironmentFile=/etc/ntier/sites/%i.env",
        "ExecStart=/srv/%i/current/venv/bin/gunicorn --config /srv/%i/current/ntier/gunicorn.conf.py ntier_wsgi:application",
        "ReadWritePaths=-/srv/media",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "Requires=django@%i.socket",
    ):
        assert line in lines


@of("web/django@.service.j2")
def test_an_app_server_beside_another_differs_in_how_it_comes_and_goes():
    def lines(**more):
        return {line for line in render("web/django@.service.j2", **more).splitlines() if not line.startswith("#")}

    own, beside = lines(), lines(__web_beside=True)
    waits = "/bin/sh -c 'test -x /srv/%i/current/venv/bin/gunicorn || exec sleep infinity'"
    assert own - beside == {
        "Description=Django site %i",
        f"ExecStartPre={waits}",
        "ExecStartPost=+-/bin/systemctl stop --no-block django-next@%i.service",
        "Restart=on-failure",
        "RestartSec=1",
    }
    assert beside - own == {
        "Description=Django site %i, beside the one that is restarted",
        "CollectMode=inactive-or-failed",
        "Sockets=django@%i.socket",
        "RuntimeMaxSec=300",
    }


@of("web/size.env.j2")
def test_the_app_server_of_a_site_has_the_size_of_its_host():
    lines = render("web/size.env.j2").splitlines()
    assert lines[3:] == [f"NTIER_WORKERS={SIZE['web']['workers']}", f"NTIER_THREADS={SIZE['web']['threads']}"]
    own = wired(build(sites=[a_site(workers=7, threads=1)]), size=SIZE)["web_sites"][0]
    lines = render("web/size.env.j2", __web_site=own).splitlines()
    assert lines[3:] == ["NTIER_WORKERS=7", "NTIER_THREADS=1"]


@of("web/django@.socket.j2")
def test_only_the_web_server_may_talk_to_a_sites_socket():
    lines = render("web/django@.socket.j2").splitlines()
    for line in (
        "ListenStream=/run/django/%i.sock",
        "SocketGroup=www-data",
        "SocketMode=0660",
        "WantedBy=sockets.target",
    ):
        assert line in lines


def test_sections_of_a_unit_stand_in_the_usual_order():
    for template, sections in {
        "web/django@.service.j2": ["[Unit]", "[Service]"],
        "web/django@.socket.j2": ["[Unit]", "[Socket]", "[Install]"],
    }.items():
        assert [line for line in render(template).splitlines() if line.startswith("[")] == sections


# --- record -------------------------------------------------------------------------------------------------------


@of("record/ntier.fact.j2")
def test_a_host_remembers_what_it_serves_as_json_that_ansible_reads_as_local_facts():
    assert json.loads(render("record/ntier.fact.j2")) == WIRING["record"]
    assert WIRING["record"]["serves"] == ["web", "media", "memcached", "database"]


# --- release ------------------------------------------------------------------------------------------------------


@of("release/settings.json.j2")
def test_a_release_has_the_settings_that_the_wiring_says():
    found = json.loads(render("release/settings.json.j2"))
    assert found == SHOP["runtime"]
    assert (found["name"], found["prefix"], found["secret_key"]) == ("shop", "/shop", "key-shop")


@of("release/environment.j2")
def test_the_environment_of_a_release_has_a_line_for_each_variable():
    text = render("release/environment.j2")
    assert text.split("\n", 3)[3].rstrip("\n") == environment_file(DIARY["environment"]).rstrip("\n")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert [line.split("=")[0] for line in lines] == list(DIARY["environment"])
    assert 'GREETING="Good \\"day\\", $HOME \\\\ 100 %"' in lines


# --- web: nginx ---------------------------------------------------------------------------------------------------


@of("web/nginx.conf.j2")
def test_nginx_has_a_server_for_domains_with_the_same_sites_and_one_for_unknown_names():
    blocks = servers(render("web/nginx.conf.j2"))
    assert list(blocks) == ["_", "www.example.com", "example.com", "diary.example.com"]
    assert "listen 80 default_server;" in blocks["_"]
    assert "return 421;" in blocks["_"]
    assert all("default_server" not in block for name, block in blocks.items() if name != "_")


def web_of(tiers, host):
    """Return what the role web is told on one host of a cluster with three sites, as variables of its own."""
    wiring = wired(build(tiers, sites=three_sites()), host, size=SIZE)
    return {
        **{key: wiring[key] for key in ("web_sites", "web_virtual_hosts", "web_media_servers")},
        "web_balancers": wiring["trusted_proxies"],
    }


#: The places of the site at /shop and of the one at the root, in the order of the file.
PAGES = ["= /shop/_ntier/health", "= /shop", "/shop/", "= /_ntier/health", "/"]


def test_nginx_is_told_each_prefix_before_the_root():
    block = servers(render("web/nginx.conf.j2"))["www.example.com"]
    assert list(locations(block)) == PAGES
    files = re.findall(r"^    include (.*);", block, flags=re.MULTILINE)
    assert files == [f"/etc/nginx/ntier/{name}.conf" for name in ("pages", "files-shop", "files-blog")]


def test_nginx_passes_each_place_to_its_own_site():
    blocks = servers(render("web/nginx.conf.j2"))
    shared = locations(blocks["www.example.com"])
    assert "proxy_pass http://django_shop;" in shared["/shop/"]
    assert "proxy_pass http://django_blog;" in shared["/"]
    assert "proxy_pass http://django_shop;" in shared["= /shop/_ntier/health"]
    assert "proxy_pass http://django_blog;" in shared["= /_ntier/health"]
    assert "return 301 /shop/$is_args$args;" in shared["= /shop"]
    assert "django_shop" not in blocks["example.com"]
    assert "files-shop" not in blocks["example.com"]


def test_nginx_asks_the_media_host_for_files_that_are_not_here():
    given = web_of(FIGURE_3, "box1")
    text = render("web/nginx.conf.j2", **given)
    (media,) = given["web_media_servers"]
    upstreams = dict(re.findall(r"^upstream (\w+) {\n    server (\S+?);", text, flags=re.MULTILINE))
    assert upstreams["ntier_media"] == f"{media['address']}:80"
    block = servers(text)["www.example.com"]
    assert re.findall(r"include (.*);", block) == ["/etc/nginx/ntier/pages.conf"]
    places = locations(block)
    files = ["~ ^/shop/(static|media)/", "~ ^/(static|media)/"]
    assert list(places) == [files[0], *PAGES[:3], files[1], *PAGES[3:]]
    for place in files:
        assert "proxy_pass http://ntier_media;" in places[place]
        assert "proxy_set_header Host $http_host;" in places[place]
        assert "proxy_set_header X-Forwarded-For $remote_addr;" in places[place]


def test_a_prefix_is_no_pattern():
    sites = wired(build(FIGURE_3, sites=[a_site(prefix="/~me/a.b-c")]))["web_sites"]
    given = {**web_of(FIGURE_3, "box1"), "web_sites": sites}
    given["web_virtual_hosts"] = [{"domains": ["a.example.com"], "sites": ["blog"]}]
    places = locations(servers(render("web/nginx.conf.j2", **given))["a.example.com"])
    (place,) = [match for match in places if "static" in match]
    pattern = re.compile(place.removeprefix("~ "))
    assert pattern.match("/~me/a.b-c/static/x.css")
    assert not pattern.match("/~me/axb-c/static/x.css")


def test_a_media_host_with_an_ipv6_address_is_told_from_its_port():
    media = [{"host": "media1", "address": "2001:db8::31", "port": 8080}]
    text = render("web/nginx.conf.j2", **{**web_of(FIGURE_3, "box1"), "web_media_servers": media})
    assert "    server [2001:db8::31]:8080;" in text.splitlines()


def test_behind_a_balancer_no_web_host_is_asked_for_files_that_it_has_not():
    text = render("web/nginx.conf.j2", **web_of(FIGURE_4, "web1"))
    assert not re.search(r"ntier_media|static|files-", text)
    assert list(locations(servers(text)["www.example.com"])) == PAGES


def test_behind_a_balancer_the_web_host_that_has_the_files_answers_for_them():
    own, other = (render("web/nginx.conf.j2", **web_of(MIXED, host)) for host in ("web2", "web1"))
    assert own.count("include /etc/nginx/ntier/files-blog.conf;") == 2
    assert not re.search(r"ntier_media|static|files-", other)


def test_a_web_host_that_keeps_the_files_tells_the_balancers_so_by_whatever_name_they_ask():
    """They ask by a name that no site has. A return outside of a place would be faster than any place."""
    own, other = (servers(render("web/nginx.conf.j2", **web_of(MIXED, host)))["_"] for host in ("web2", "web1"))
    page = "include /etc/nginx/ntier/media-health.conf;"
    assert page in own
    assert page not in other
    assert "return 421;" in locations(own)["/"]
    assert "location = /_ntier/media-health {" in render("media/nginx-health.conf.j2")


def test_the_health_page_is_for_balancers_and_for_the_host_itself():
    for text, known in ((render("web/nginx.conf.j2"), 0), (render("web/nginx.conf.j2", **web_of(MIXED, "web1")), 2)):
        for block in servers(text).values():
            for match, place in locations(block).items():
                if match.endswith("/health"):
                    lines = [line.strip() for line in place.splitlines()]
                    allowed = [line for line in lines if line.startswith(("allow", "deny"))]
                    assert allowed[:2] == ["allow 127.0.0.1;", "allow ::1;"]
                    assert allowed[-1] == "deny all;"
                    assert len(allowed) == known + 3
                    assert "proxy_cache" not in place


def test_nginx_has_an_upstream_for_each_site_once():
    found = re.findall(r"^upstream (\w+) {\n    server unix:(\S+) ", render("web/nginx.conf.j2"), flags=re.MULTILINE)
    assert found == [(f"django_{name}", f"/run/django/{name}.sock") for name in ("blog", "shop", "diary")]


def test_nginx_keeps_the_limits_of_each_site():
    places = locations(servers(render("web/nginx.conf.j2"))["www.example.com"])
    for place, upload, seconds in (("/shop/", 50, 90), ("/", 20, 30)):
        assert f"client_max_body_size {upload}m;" in places[place]
        assert f"proxy_send_timeout {seconds}s;" in places[place]
        assert f"proxy_read_timeout {seconds + 5}s;" in places[place]


def test_nginx_tells_the_site_who_asks_and_believes_no_visitor():
    place = locations(servers(render("web/nginx.conf.j2"))["example.com"])["/"]
    for header in (
        "Host $http_host",
        "X-Forwarded-For $remote_addr",
        "X-Forwarded-Proto $ntier_scheme",
        "X-Real-IP $remote_addr",
    ):
        assert f"proxy_set_header {header};" in place


def blocks_of(text, kind):
    """Return what stands between the braces of the blocks whose first line begins so, one line each."""
    blocks = re.findall(rf"^{re.escape(kind)} {{\n(.*?)^}}", text, flags=re.MULTILINE | re.DOTALL)
    return [[line.strip() for line in block.splitlines()] for block in blocks]


SCHEME = 'map "$ntier_proxied $http_x_forwarded_proto" $ntier_scheme'


def test_without_a_trusted_proxy_nginx_believes_nobody():
    text = render("web/nginx.conf.j2")
    assert blocks_of(text, "geo $realip_remote_addr $ntier_proxied") == [["default 0;"]]
    assert blocks_of(text, SCHEME) == [['"1 https" https;', "default $scheme;"]]
    assert "real_ip" not in text


def test_nginx_believes_the_proxies_that_it_is_told_and_nobody_else():
    proxies = ["198.51.100.7", "198.51.100.64/26", "2001:db8::/32"]
    text = render("web/nginx.conf.j2", web_trusted_proxies=proxies)
    known = [f"{proxy} 1;" for proxy in proxies]
    assert blocks_of(text, "geo $realip_remote_addr $ntier_proxied") == [["default 0;", *known]]
    assert blocks_of(text, SCHEME) == [['"1 https" https;', "default $scheme;"]]
    for name, block in servers(text).items():
        expected = [] if name == "_" else [*(f"set_real_ip_from {proxy};" for proxy in proxies)]
        assert re.findall(r"^    (set_real_ip_from .*)", block, flags=re.MULTILINE) == expected
        assert ("real_ip_header X-Forwarded-For;" in block) == (name != "_")
        assert ("real_ip_recursive on;" in block) == (name != "_")
    for name, block in servers(text).items():
        for match, place in locations(block).items():
            if "proxy_pass" in place:
                assert "proxy_set_header X-Forwarded-Proto $ntier_scheme;" in place, (name, match)
                # The health page asks who the visitor is of nobody but nginx.
                known = "proxy_set_header X-Forwarded-For $remote_addr;" in place
                assert known or match.endswith("/_ntier/health"), (name, match)


def test_pages_over_https_and_http_are_kept_apart_in_the_cache():
    text = render("web/nginx.conf.j2", web_trusted_proxies=["198.51.100.7"])
    assert "proxy_cache_key $ntier_scheme$host$request_uri;" in text
    assert not re.search(r"\$scheme\b", text.replace("default $scheme;", ""))


def test_only_the_site_that_wants_it_is_answered_from_the_cache():
    text = render("web/nginx.conf.j2")
    assert text.count("proxy_cache_path ") == 1
    assert text.count("proxy_cache ntier;") == 1
    place = locations(servers(text)["diary.example.com"])["/"]
    assert "proxy_cache_valid 200 301 302 404 10s;" in place
    assert "proxy_cache_bypass $http_cookie $http_authorization;" in place
    assert "proxy_no_cache $http_cookie $http_authorization;" in place


def test_without_such_a_site_there_is_no_cache():
    sites = [{**site, "anonymous_cache_seconds": 0} for site in WIRING["web_sites"]]
    assert "proxy_cache" not in render("web/nginx.conf.j2", web_sites=sites)


def test_what_visitors_uploaded_is_never_run():
    assert "/media/" not in render("web/nginx.conf.j2")
    places = re.split(r"^location ", render("media/nginx-site.conf.j2"), flags=re.MULTILINE)
    (place,) = [text for text in places if text.startswith("^~ /shop/media/")]
    assert "X-Content-Type-Options nosniff" in place
    assert "Content-Security-Policy" in place


@pytest.mark.parametrize(("value", "lines"), [(True, 8), (False, 4)])
def test_nginx_listens_on_ipv6_where_the_user_wants_it(value, lines):
    text = render("web/nginx.conf.j2", web_ipv6=value, web_port=8080)
    found = re.findall(r"^    listen (.*);", text, flags=re.MULTILINE)
    assert len(found) == lines
    assert all("8080" in line for line in found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("file", "access_log /var/log/nginx/access.log ntier buffer=64k flush=5s;"),
        ("journal", "access_log syslog:server=unix:/dev/log,tag=nginx,nohostname ntier;"),
        ("off", "access_log off;"),
    ],
)
def test_nginx_logs_where_the_user_wants_it(value, expected):
    block = servers(render("web/nginx.conf.j2", web_access_log=value))["example.com"]
    assert re.findall(r"^    (access_log .*)", block, flags=re.MULTILINE) == [expected]


def test_nginx_without_sites_answers_nobody():
    text = render("web/nginx.conf.j2", web_sites=[], web_virtual_hosts=[])
    assert list(servers(text)) == ["_"]


def test_every_line_of_the_nginx_configuration_is_whole():
    text = render("web/nginx.conf.j2")
    assert text.count("{") == text.count("}")
    for line in text.splitlines():
        assert not line.strip() or line.strip().startswith("#") or line.endswith((";", "{", "}", "'"))
