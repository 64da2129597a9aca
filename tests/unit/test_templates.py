"""Every template of every role, rendered as Ansible renders it: for each system, with the values that the wiring gives."""

import configparser
import functools
import json
import re

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, generate_ansible_template_vars, trust_as_template
from clusters import ROOT, build, three_sites, wired

from ansible_collections.ntier.django.plugins.plugin_utils.sizing import size_host
from ansible_collections.ntier.django.plugins.plugin_utils.wiring import environment_file

FACTS = {
    "Debian 12": {"distribution": "Debian", "distribution_major_version": "12", "distribution_version": "12.9"},
    "Debian 13": {"distribution": "Debian", "distribution_major_version": "13", "distribution_version": "13.1"},
    "Ubuntu 22.04": {"distribution": "Ubuntu", "distribution_major_version": "22", "distribution_version": "22.04"},
    "Ubuntu 24.04": {"distribution": "Ubuntu", "distribution_major_version": "24", "distribution_version": "24.04"},
}
TEMPLATES = sorted(f"{path.parents[1].name}/{path.name}" for path in ROOT.glob("roles/*/templates/*"))
SIZE = size_host(4096, 2, ("web", "media", "memcached", "database"), sites=3)
WIRING = wired(build(sites=three_sites()), size=SIZE)
BLOG, SHOP, DIARY = WIRING["release_sites"]
#: What the tasks loop over.
ITEMS = {
    "release/environment.j2": {"__release_site": {"name": "diary"}},
    "release/settings.json.j2": {"__release_site": {"name": "shop"}},
}
#: Formats that know no comment.
WITHOUT_COMMENT = ("release/settings.json.j2", "pooler/ntier-users.txt.j2")
TESTED = set()


def of(template):
    """Note that a test looks at the content of a template."""
    TESTED.add(template)
    return lambda function: function


@functools.cache
def wired_variables():
    """Return the variables that the roles' defaults read, as the playbooks derive them from the wiring."""
    derived = DataLoader().load_from_file(str(ROOT / "playbooks/group_vars/all.yml"), trusted_as_template=True)
    templar = Templar(DataLoader(), {**derived, "__ntier_wiring": WIRING})
    return {name: templar.template(value) for name, value in derived.items() if "ntier_wiring." in value}


@functools.cache
def variables_of(role):
    """Return a role's variables as it would have them in site.yml."""
    result = {**wired_variables()}
    for file in (f"roles/{role}/defaults/main.yml", f"roles/{role}/vars/main.yml"):
        if (ROOT / file).exists():
            result |= DataLoader().load_from_file(str(ROOT / file), trusted_as_template=True)
    return result


def render(template, system="Debian 13", **more):
    """Return the text that Ansible would bring to a host; an undefined variable is an error."""
    return render_anew(template, system, **more) if more else render_once(template, system)


def render_anew(template, system, **more):
    role, name = template.split("/")
    path = ROOT / "roles" / role / "templates" / name
    variables = {
        **variables_of(role),
        "inventory_hostname": "box1",
        "ansible_check_mode": False,
        "ansible_facts": {**FACTS[system], "packages": {}},
        **ITEMS.get(template, {}),
        **generate_ansible_template_vars(path=name, fullpath=str(path), dest_path=f"/etc/{path.stem}"),
        **more,
    }
    templar = Templar(DataLoader(), variables)
    return templar.template(
        trust_as_template(path.read_text()), escape_backslashes=False, overrides={"trim_blocks": True}
    )


render_once = functools.cache(render_anew)


def settings_in(text):
    """Return name → value of lines such as C(name = value)."""
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line and not line.startswith("#"))


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", FACTS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_renders_on_every_system(template, system):
    text = render(template, system)
    assert text.strip()
    assert not re.search(r"{{|}}|{%|%}|\bNone\b|<built-in|Undefined", text)
    assert text.endswith("\n") or template.endswith(".json.j2")
    if template not in WITHOUT_COMMENT:
        assert re.match(r"([#;])\n\1 Ansible managed\n\1\n", text)


def test_every_template_has_a_test_of_its_content():
    assert set(TEMPLATES) == TESTED


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


@of("database/pg_hba.conf.j2")
def test_only_the_sites_users_may_reach_their_own_databases():
    text = render("database/pg_hba.conf.j2", database_clients=["127.0.0.1", "2001:db8::7"])
    rules = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    over_network = [rule for rule in rules if rule[0] != "local"]
    assert over_network == [
        ["host", f'"{site}"', f'"{site}"', address, "scram-sha-256"]
        for address in ("127.0.0.1/32", "2001:db8::7/128")
        for site in ("blog", "shop", "diary")
    ]
    assert {rule[-1] for rule in rules if rule[0] == "local"} == {"peer"}
    assert "trust" not in text


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
        "ExecStart=/srv/%i/current/venv/bin/gunicorn --config /srv/%i/current/ntier/gunicorn.conf.py ntier_wsgi:application",
        "ReadWritePaths=-/srv/media/%i",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "Requires=django@%i.socket",
    ):
        assert line in lines


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


def servers(text):
    """Return name → text of each server block of an nginx configuration."""
    blocks = re.findall(r"^server {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL)
    return {re.search(r"server_name (.*);", block)[1]: block for block in blocks}


def locations(block):
    """Return match → text of each location, in their order."""
    return dict(re.findall(r"^    location (.*?) {\n(.*?)^    }", block, flags=re.MULTILINE | re.DOTALL))


@of("web/nginx.conf.j2")
def test_nginx_has_a_server_for_domains_with_the_same_sites_and_one_for_unknown_names():
    blocks = servers(render("web/nginx.conf.j2"))
    assert list(blocks) == ["_", "www.example.com", "example.com", "diary.example.com"]
    assert "listen 80 default_server;" in blocks["_"]
    assert "return 421;" in blocks["_"]
    assert all("default_server" not in block for name, block in blocks.items() if name != "_")


def test_nginx_is_told_each_prefix_before_the_root():
    found = list(locations(servers(render("web/nginx.conf.j2"))["www.example.com"]))
    assert found == ["^~ /shop/static/", "^~ /shop/media/", "= /shop", "/shop/", "^~ /static/", "^~ /media/", "/"]


def test_nginx_passes_each_place_to_its_own_site():
    blocks = servers(render("web/nginx.conf.j2"))
    shared = locations(blocks["www.example.com"])
    assert "proxy_pass http://django_shop;" in shared["/shop/"]
    assert "proxy_pass http://django_blog;" in shared["/"]
    assert "return 301 /shop/$is_args$args;" in shared["= /shop"]
    assert "alias /srv/media/shop/static/;" in shared["^~ /shop/static/"]
    assert "alias /srv/media/blog/media/;" in shared["^~ /media/"]
    assert "django_shop" not in blocks["example.com"]


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
                assert "proxy_set_header X-Forwarded-For $remote_addr;" in place, (name, match)


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
    for block in servers(render("web/nginx.conf.j2")).values():
        for match, place in locations(block).items():
            if "/media/" in match:
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
