"""The media tier: what its web servers promise, whom NFS lets in, and what a client mounts."""

import re

import pytest
import yaml
from clusters import ROOT
from rendering import locations, of, render, servers

SITES = [
    {"name": "shop", "prefix": "/shop", "static_root": "/srv/media/shop/static", "media_root": "/srv/media/shop/media"},
    {"name": "blog", "prefix": "", "static_root": "/srv/media/blog/static", "media_root": "/srv/media/blog/media"},
]
VIRTUAL_HOSTS = [
    {"domains": ["www.example.com", "example.com"], "sites": ["shop", "blog"]},
    {"domains": ["*.example.com"], "sites": ["blog"]},
    {"domains": ["media.example.com"], "sites": ["blog"]},
]
GIVEN = {"media_sites": SITES, "media_virtual_hosts": VIRTUAL_HOSTS, "media_default_server": True}
PROXIES = ["198.51.100.7", "2001:db8::/32"]


def tasks(path):
    return yaml.safe_load((ROOT / "roles" / path).read_text())


def lifetimes():
    """Return the lines of nginx's map from a file's name to how long browsers may keep it."""
    text = render("media/nginx-files.conf.j2")
    block = re.search(r"^map \$uri \$ntier_static_lifetime {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL)[1]
    return [line.strip() for line in block.splitlines()]


# --- nginx --------------------------------------------------------------------------------------------------------


def files_of(site):
    """Return match → text of the two locations of a site's files."""
    text = render("media/nginx-site.conf.j2", __media_site=site)
    return dict(re.findall(r"^location (.*?) {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL))


@of("media/nginx-site.conf.j2")
@pytest.mark.parametrize("site", SITES, ids=lambda site: site["name"])
def test_nginx_serves_the_two_folders_of_a_site(site):
    found = files_of(site)
    assert list(found) == [f"^~ {site['prefix']}/static/", f"^~ {site['prefix']}/media/"]
    static, media = found.values()
    assert f"alias /srv/media/{site['name']}/static/;" in static
    assert f"alias /srv/media/{site['name']}/media/;" in media


def test_static_files_come_compressed_for_long_and_to_pages_of_other_domains():
    static, media = files_of(SITES[0]).values()
    assert "gzip_static on;" in static
    assert "add_header Cache-Control $ntier_static_lifetime;" in static
    assert "add_header Access-Control-Allow-Origin * always;" in static
    assert "Access-Control" not in media
    assert "gzip_static" not in media


def test_an_upload_is_shown_and_never_run_nor_does_a_link_lead_elsewhere():
    for name, place in files_of(SITES[0]).items():
        assert "X-Content-Type-Options nosniff always" in place
        assert f"disable_symlinks on from=/srv/media{name.removeprefix('^~ ').rstrip('/')};" in place
        assert "autoindex" not in place
    assert "Content-Security-Policy \"script-src 'none';" in files_of(SITES[0])["^~ /shop/media/"]


def test_nobody_keeps_an_error_for_long():
    for place in files_of(SITES[0]).values():
        assert not re.search(r"Cache-Control .* always;", place)


@of("media/nginx-files.conf.j2")
def test_a_media_host_answers_for_its_names_and_refuses_others():
    blocks = servers(render("media/nginx-files.conf.j2", **GIVEN))
    assert list(blocks) == ["_", "www.example.com example.com", "*.example.com", "media.example.com"]
    assert "listen 80 default_server;" in blocks["_"]
    assert "return 421;" in locations(blocks["_"])["/"]
    for name, block in blocks.items():
        assert "include /etc/nginx/ntier/media-health.conf;" in block
        if name != "_":
            assert "return 404;" in locations(block)["/"]
            assert "absolute_redirect off;" in block
    assert re.findall(r"include (.*);", blocks["www.example.com example.com"]) == [
        "/etc/nginx/ntier/pages.conf",
        "/etc/nginx/ntier/media-health.conf",
        "/etc/nginx/ntier/files-shop.conf",
        "/etc/nginx/ntier/files-blog.conf",
    ]


def test_beside_the_web_tier_nginx_has_no_second_default_server():
    text = render("media/nginx-files.conf.j2", media_default_server=False)
    assert servers(text) == {}
    assert "map $uri $ntier_static_lifetime {" in text


def test_only_names_with_a_hash_are_kept_for_ever():
    lines = lifetimes()
    pattern, value = re.fullmatch(r'"~(\S+)" "(.*)";', lines[0]).groups()
    assert value == "public, max-age=31536000, immutable"
    assert re.search(pattern, "/static/css/a.0123456789ab.css")
    assert not re.search(pattern, "/static/css/a.min.css")


def test_nginx_believes_known_proxies_alone():
    assert "real_ip" not in render("media/nginx-files.conf.j2", **GIVEN, media_trusted_proxies=[])
    text = render("media/nginx-files.conf.j2", **GIVEN, media_trusted_proxies=PROXIES)
    for name, block in servers(text).items():
        assert re.findall(r"set_real_ip_from (.*);", block) == ([] if name == "_" else PROXIES)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("file", "/var/log/nginx/access.log ntier_files buffer=64k flush=5s"),
        ("journal", "syslog:server=unix:/dev/log,tag=nginx,nohostname ntier_files"),
        ("off", "off"),
    ],
)
def test_nginx_logs_requests_of_files_where_the_user_wants_it(value, expected):
    text = render("media/nginx-site.conf.j2", media_access_log=value)
    assert set(re.findall(r"access_log (.*);", text)) == {expected}


@pytest.mark.parametrize(("value", "lines"), [(True, 8), (False, 4)])
def test_nginx_listens_on_ipv6_where_the_user_wants_it(value, lines):
    text = render("media/nginx-files.conf.j2", **GIVEN, media_ipv6=value, media_port=8080)
    found = re.findall(r"^    listen (.*);", text, flags=re.MULTILINE)
    assert len(found) == lines
    assert all("8080" in line for line in found)


@of("media/nginx-health.conf.j2")
def test_the_health_page_is_on_the_disk_of_the_files():
    text = render("media/nginx-health.conf.j2")
    assert "location = /_ntier/media-health {" in text
    assert "alias /srv/media/ntier-health;" in text


@of("media/nginx-limits.conf.j2")
def test_the_cache_of_open_files_fits_below_the_limit():
    limit = re.search(r"^worker_rlimit_nofile (\d+);$", render("media/nginx-limits.conf.j2"), flags=re.MULTILINE)[1]
    cached = re.search(r"open_file_cache max=(\d+) ", render("media/nginx-files.conf.j2"))[1]
    assert int(cached) * 2 <= int(limit)


# --- lighttpd -----------------------------------------------------------------------------------------------------


@of("media/lighttpd.conf.j2")
def test_lighttpd_serves_the_folders_of_each_site_at_its_names():
    text = render("media/lighttpd.conf.j2", **GIVEN)
    assert re.findall(r'\$HTTP\["host"\] =~ "\^(.*)\(\?::', text) == [
        r"www\.example\.com",
        r"example\.com",
        r"media\.example\.com",
        r"[^:]+\.example\.com",
    ]
    assert text.count('alias.url = ("/static/" => "/srv/media/blog/static/")') == 4
    assert text.count('alias.url = ("/shop/media/" => "/srv/media/shop/media/")') == 2
    assert text.count("ntier-elsewhere.lua") == 4
    assert "mod_dirlisting" not in text


@pytest.mark.parametrize("hosts", [[], VIRTUAL_HOSTS])
def test_lighttpd_refuses_names_that_no_site_has(hosts):
    text = render("media/lighttpd.conf.j2", media_sites=SITES, media_virtual_hosts=hosts)
    assert text.count("ntier-unknown.lua") == 1
    assert text.count("{") == text.count("}")
    assert ("else $HTTP" in text) == bool(hosts)


def test_lighttpd_runs_scripts_that_the_role_installs():
    installed = {path.name for path in (ROOT / "roles/media/files/lighttpd").iterdir()}
    text = render("media/lighttpd.conf.j2", **GIVEN)
    assert set(re.findall(r"/etc/lighttpd/ntier-(\w+\.lua)", text)) == {*installed, "limits.lua"}
    scripts = yaml.safe_load((ROOT / "roles/media/vars/lighttpd.yml").read_text())["__media_scripts"]
    assert set(re.findall(r"'(\w+)'", scripts.partition("|")[0])) == {name.removesuffix(".lua") for name in installed}
    assert "lighttpd-limits.lua.j2" in (ROOT / "roles/media/tasks/lighttpd/serve.yml").read_text()


def test_both_providers_send_the_same_headers():
    text = render("media/lighttpd.conf.j2", **GIVEN)
    static, media = files_of(SITES[1]).values()
    for name, value in re.findall(r'add_header (X-\S+|Content-\S+|Access-\S+) "?(.*?)"? always;', static + media):
        assert f'"{name}" => "{value}"' in text
    lua = (ROOT / "roles/media/files/lighttpd/static.lua").read_text()
    for line in lifetimes():
        assert re.search(r'"(public, .*)";', line)[1] in lua


def test_lighttpd_believes_known_proxies_alone():
    assert "extforward." not in render("media/lighttpd.conf.j2", media_trusted_proxies=[])
    text = render("media/lighttpd.conf.j2", media_trusted_proxies=PROXIES)
    assert re.findall(r'"(.*)" => "trust",', text) == PROXIES


@of("media/lighttpd-service.conf.j2")
def test_lighttpd_starts_with_our_file_alone():
    lines = render("media/lighttpd-service.conf.j2").splitlines()
    assert lines[lines.index("ExecStart=") + 1] == "ExecStart=/usr/sbin/lighttpd -D -f /etc/lighttpd/ntier.conf"
    assert "ConditionPathExists=/etc/lighttpd/ntier.conf" in lines


# --- NFS ----------------------------------------------------------------------------------------------------------


@of("media/exports.j2")
def test_the_uploads_are_exported_to_the_clients_alone():
    text = render("media/exports.j2", media_clients=["10.0.0.11", "fd00::12"])
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "/srv/media 10.0.0.11(rw,sync,no_subtree_check,root_squash,sec=sys)",
        "/srv/media fd00::12(rw,sync,no_subtree_check,root_squash,sec=sys)",
    ]


@of("media/nfs.conf.j2")
def test_the_server_speaks_nothing_that_needs_a_second_port():
    lines = render("media/nfs.conf.j2", media_nfs_threads=5).splitlines()
    assert {"vers2=n", "vers3=n", "vers4.0=n", "udp=n", "threads=5"} <= set(lines)
    assert all(int(line.split("=")[1]) <= 15 for line in lines if line.startswith(("grace-time", "lease-time")))


@pytest.mark.parametrize("role", ["media", "media_client"])
def test_the_port_mapper_does_not_start(role):
    units = tasks(f"{role}/vars/main.yml")[f"__{role}_unneeded_units"]
    assert {"rpcbind.socket", "rpcbind.service"} <= set(units)


@of("media/nfs-server.conf.j2")
def test_no_client_gets_a_file_to_itself():
    """Or the web server beside it can't read an upload that has just been made."""
    lines = render("media/nfs-server.conf.j2").splitlines()
    assert lines.index("[Service]") < lines.index("ExecStartPre=/bin/sh -c 'echo 0 > /proc/sys/fs/leases-enable'")


# --- client -------------------------------------------------------------------------------------------------------


@of("media_client/srv-media.mount.j2")
@pytest.mark.parametrize(("server", "source"), [("10.0.0.31", "10.0.0.31"), ("fd00::31", "[fd00::31]")])
def test_a_client_mounts_the_servers_folder_where_sites_look_for_it(server, source):
    lines = render("media_client/srv-media.mount.j2", media_client_server=server).splitlines()
    assert f"What={source}:/srv/media" in lines
    assert "Where=/srv/media" in lines
    options = next(line for line in lines if line.startswith("Options=")).removeprefix("Options=").split(",")
    assert {"hard", "vers=4.2", "nodev", "nosuid", "noexec", "_netdev"} <= set(options)


@of("media_client/srv-media.automount.j2")
def test_systemd_never_gives_the_mount_up():
    for unit in ("mount", "automount"):
        lines = render(f"media_client/srv-media.{unit}.j2").splitlines()
        assert lines.index("[Unit]") < lines.index("StartLimitIntervalSec=0")
        assert "Where=/srv/media" in lines


def test_the_folder_below_the_mount_is_closed():
    found = [
        task["ansible.builtin.file"] for task in tasks("media_client/tasks/below.yml") if "ansible.builtin.file" in task
    ]
    assert {(file["owner"], file["mode"]) for file in found if "owner" in file} == {("root", "0000")}
    assert [file["attributes"] for file in found if "attributes" in file] == ["+i"]


def test_the_files_server_stops_when_nobody_has_files_open_there():
    """Who closes a file whose server has gone waits for ever, and a web server with all its visitors."""
    names = [task["name"].rpartition("| ")[2] for task in tasks("media/tasks/nfs/withdraw.yml")]
    assert names.index("Wait until nobody has files open here") < names.index("Stop the server")
    inactive = re.search(r"open_file_cache .*inactive=(\d+)s", render("media/nginx-files.conf.j2"))
    assert int(tasks("media/vars/main.yml")["__media_close_seconds"]) > int(inactive[1])
    plays = yaml.safe_load((ROOT / "playbooks/move_media.yml").read_text())
    moves = [task["name"] for task in plays[0]["tasks"]]
    assert moves.index("Move the files") < moves.index("Have the web server open the files anew")
