"""The balancer's configuration: where each name and path goes, with which certificate, and what is asked of the web hosts."""

import re

from test_templates import of, render

WEB = [
    {"host": "web1", "address": "10.0.0.11", "port": 80},
    {"host": "web2", "address": "fd00::12", "port": 8080},
]
MEDIA = [{"host": "media1", "address": "media1.internal", "port": 80}]
BLOG = {
    "name": "blog",
    "domains": ["www.example.com", "*.example.com"],
    "prefix": "",
    "media_domain": "media.example.com",
    "timeout_seconds": 30,
    "upload_limit_mb": 20,
    "certificate": {},
}
SHOP = BLOG | {
    "name": "shop",
    "domains": ["www.example.com"],
    "prefix": "/shop",
    "media_domain": "",
    "timeout_seconds": 90,
    "upload_limit_mb": 50,
}
WIKI = BLOG | {"name": "wiki", "domains": ["*.wiki.example.com"], "media_domain": ""}
GIVEN = {"file": "/etc/pki/shop.pem", "key_file": "/etc/pki/shop.key"}


def configuration(*sites, **more):
    """Return the text of the configuration for *sites*."""
    variables = {
        "load_balancer_sites": list(sites or (BLOG, SHOP, WIKI)),
        "load_balancer_web_servers": WEB,
        "load_balancer_media_servers": MEDIA,
        "load_balancer_address": "10.0.0.1",
        **more,
    }
    return render("load_balancer/ntier.cfg.j2", **variables)


def section(text, title):
    """Return the lines of a section, without comments."""
    found = re.search(rf"^{re.escape(title)}\n((?:[ #].*\n|\n)*)", text, flags=re.MULTILINE)
    return [line.strip() for line in found[1].splitlines() if line.startswith(" ") and line.strip()[0] != "#"]


def routes(text, title="frontend https"):
    return [line for line in section(text, title) if re.match("use_backend (media|site_)", line)]


def certificates(text):
    """Return the files of the certificates, the first of which serves names that none is for."""
    (line,) = [line for line in section(text, "frontend https") if line.startswith("bind *")]
    return re.findall(r" crt (\S+)", line)


# --- where requests go --------------------------------------------------------------------------------------------


@of("load_balancer/ntier.cfg.j2")
def test_names_come_before_wildcards_and_longer_ones_before_shorter_ones():
    www, wiki, rest = (
        "{ var(txn.host) -m str www.example.com }",
        "{ var(txn.host) -m end .wiki.example.com }",
        "{ var(txn.host) -m end .example.com }",
    )
    assert routes(configuration()) == [
        "use_backend media if { var(txn.host) -m str media.example.com }",
        f"use_backend media if {www} {{ path,url_dec -m beg /shop/static/ /shop/media/ }}",
        f"use_backend site_shop if {www} {{ var(txn.path) -m beg /shop/ }}",
        f"use_backend media if {www} {{ path,url_dec -m beg /static/ /media/ }}",
        f"use_backend site_blog if {www} {{ var(txn.path) -m beg / }}",
        f"use_backend media if {wiki} {{ path,url_dec -m beg /static/ /media/ }}",
        f"use_backend site_wiki if {wiki} {{ var(txn.path) -m beg / }}",
        f"use_backend media if {rest} {{ path,url_dec -m beg /static/ /media/ }}",
        f"use_backend site_blog if {rest} {{ var(txn.path) -m beg / }}",
    ]


def test_a_prefix_within_a_prefix_is_looked_at_first():
    text = configuration(SHOP, SHOP | {"name": "sale", "prefix": "/shop/sale"}, SHOP | {"name": "all", "prefix": ""})
    assert re.findall(r"use_backend site_(\w+)", "\n".join(routes(text))) == ["sale", "shop", "all"]


def test_without_media_hosts_the_web_hosts_are_asked_for_files():
    text = configuration(load_balancer_media_servers=[])
    assert "backend media" not in text
    assert not re.search(r"\bmedia if|/static/", text)


def test_unknown_names_are_refused_on_both_ports():
    for title in ("frontend http", "frontend https"):
        lines = section(configuration(), title)
        assert [line for line in lines if line.startswith("acl known")] == [
            "acl known var(txn.host) -m str www.example.com",
            "acl known var(txn.host) -m str media.example.com",
            "acl known var(txn.host) -m end .wiki.example.com",
            "acl known var(txn.host) -m end .example.com",
        ]
        assert any(re.fullmatch(r"http-request return status 421 .* unless known", line) for line in lines)


def test_http_is_sent_on_to_https_and_a_form_with_what_is_in_it():
    found = [line for line in section(configuration(), "frontend http") if " redirect " in line]
    assert found == [
        "http-request redirect location https://%[var(txn.host)]%[pathq] code 301 if reads",
        "http-request redirect location https://%[var(txn.host)]%[pathq] code 308 if !reads",
    ]
    assert "https://%[var(txn.host)]:8443%[pathq]" in configuration(load_balancer_https_port=8443)


# --- the web hosts ------------------------------------------------------------------------------------------------


def test_each_site_is_checked_on_each_host_by_a_name_and_path_of_its_own():
    text = configuration()
    for site, path, host in (
        ("blog", "/_ntier/health", "www.example.com"),
        ("shop", "/shop/_ntier/health", "www.example.com"),
        ("wiki", "/_ntier/health", "www.wiki.example.com"),
    ):
        lines = section(text, f"backend site_{site}")
        check = f"http-check send meth GET uri {path} ver HTTP/1.1 hdr Host {host} hdr X-Forwarded-Proto https"
        assert check in lines
        assert "http-check expect status 200" in lines
        assert [line for line in lines if line.startswith("server ")] == [
            "server web1 10.0.0.11:80 tcp-ut 6s",
            "server web2 [fd00::12]:8080 tcp-ut 6s",
        ]
    assert "server media1 media1.internal:80 tcp-ut 6s" in section(text, "backend media")
    text = configuration(load_balancer_silence_seconds=20)
    assert "server web1 10.0.0.11:80 tcp-ut 20s" in section(text, "backend site_blog")


def test_nobody_outside_reads_a_health_page():
    text = configuration()
    page = 'content-type "text/html; charset=utf-8" file /etc/ntier/pages/404.html hdr Cache-Control no-store'
    assert f"http-request return status 404 {page} if {{ path_beg /shop/_ntier/ }}" in section(
        text, "backend site_shop"
    )
    assert f"http-request return status 404 {page} if {{ path_beg /_ntier/ }}" in section(text, "backend media")


def test_each_site_has_its_own_limits():
    lines = section(configuration(), "backend site_shop")
    assert "timeout server 100s" in lines
    assert any("status 413" in line and "{ req.hdr_val(content-length) gt 52428800 }" in line for line in lines)


def test_only_requests_that_change_nothing_are_tried_again():
    text = configuration()
    assert "option redispatch 1" in section(text, "defaults")
    assert "retry-on conn-failure empty-response junk-response 502" in section(text, "backend site_blog")


def test_a_request_that_changes_something_is_the_first_of_its_connections_and_sent_once():
    text = configuration()
    lines = section(text, "frontend https")
    assert "acl reads method GET HEAD OPTIONS" in lines
    assert lines.index("use_backend once unless reads") < lines.index(routes(text)[0])
    assert {"http-reuse never", "option http-server-close"} <= set(section(text, "backend once"))
    assert "http-request disable-l7-retry" in section(text, "frontend relay")
    assert routes(text, "frontend relay") == routes(text)


def test_the_word_of_a_visitor_about_itself_is_overwritten():
    lines = section(configuration(), "frontend https")
    assert "http-request set-header X-Forwarded-For %[src]" in lines
    assert "http-request set-header X-Forwarded-Proto https" in lines
    for header in ("Forwarded", "X-Forwarded-Host", "X-Real-IP"):
        assert f"http-request del-header {header}" in lines


# --- certificates -------------------------------------------------------------------------------------------------


def test_no_other_curves_are_taken_than_mozillas_intermediate_profile_names():
    binds = [line for line in section(configuration(), "frontend https") if line.startswith("bind ")]
    assert len(binds) == 2
    assert all(" curves X25519:P-256:P-384 " in line for line in binds)
    assert "curves" not in "".join(section(configuration(), "frontend http"))


def test_a_site_without_a_certificate_has_one_of_the_cluster():
    assert certificates(configuration()) == [
        f"/etc/haproxy/ntier-certificates-own/{name}.pem" for name in ("blog", "shop", "wiki")
    ]
    assert "acme" not in configuration()


def test_the_clusters_authority_certifies_no_name_that_has_a_better_certificate():
    """The shop's is for the one domain that it shares with the blog, whose own is then for the rest; a third site needs none."""
    text = configuration(BLOG, SHOP | {"certificate": GIVEN}, SHOP | {"name": "sale", "prefix": "/sale"})
    assert certificates(text) == [
        "/etc/haproxy/ntier-certificates-own/blog.pem",
        "/etc/haproxy/ntier-certificates/shop.pem",
    ]


def test_an_acme_server_finds_its_answer_before_the_redirect():
    text = configuration(SHOP | {"certificate": {"acme": "admin@example.com"}})
    assert certificates(text) == ["/etc/haproxy/ntier-certificates-acme/shop.pem"]
    lines = section(text, "frontend http")
    assert "use_backend acme if acme" in lines
    assert all(line.endswith(" !acme") for line in lines if " redirect " in line)
    assert section(text, "backend acme") == ["server certbot 127.0.0.1:8402 no-check"]


def test_tls_is_modern():
    lines = section(configuration(), "global")
    assert "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets prefer-client-ciphers" in lines
    (ciphers,) = [line.split()[1].split(":") for line in lines if line.startswith("ssl-default-bind-ciphers ")]
    assert all(re.fullmatch(r"ECDHE-(ECDSA|RSA)-(AES\d+-GCM-SHA\d+|CHACHA20-POLY1305)", cipher) for cipher in ciphers)
    assert configuration().count("alpn h2,http/1.1") == 2


# --- limits, statistics, log --------------------------------------------------------------------------------------


def test_connections_are_as_many_as_have_room():
    assert "maxconn 4096" in section(configuration(), "global")
    assert "maxconn 800" in section(configuration(load_balancer_memory_mb=100), "global")


def test_a_visitor_has_a_limit_that_can_be_switched_off():
    lines = section(configuration(load_balancer_client_max_connections=30), "frontend https")
    assert "tcp-request connection track-sc0 src,ipmask(32,64) table clients" in lines
    assert "tcp-request connection reject if { sc0_conn_cur gt 60 }" in lines
    assert any("status 429" in line and line.endswith("if { sc0_conn_cur gt 30 }") for line in lines)
    assert "sc0" not in configuration(load_balancer_client_max_connections=0)


def test_the_statistics_are_on_the_tiers_address_for_those_who_may_read_them():
    lines = section(configuration(load_balancer_stats_clients=["10.9.0.0/24"]), "frontend statistics")
    assert "bind 10.0.0.1:8404" in lines
    assert "http-request deny unless { src 127.0.0.0/8 ::1 10.0.0.1 10.9.0.0/24 }" in lines
    assert "bind [fd00::1]:8404" in section(configuration(load_balancer_address="fd00::1"), "frontend statistics")


def test_requests_are_logged_where_the_user_says():
    def logs(where):
        return [line for line in section(configuration(load_balancer_access_log=where), "global") if line[:4] == "log "]

    events = "log /dev/log local0 notice"
    assert logs("file") == [events, "log stdout format raw local0 info"]
    assert logs("journal") == ["log /dev/log local0 info"]
    assert logs("off") == [events]


def test_without_ipv6_nothing_listens_there():
    assert ":::" in configuration()
    assert ":::" not in configuration(load_balancer_ipv6=False)


def test_a_cluster_that_has_no_site_yet_has_a_configuration_all_the_same():
    text = render("load_balancer/ntier.cfg.j2", load_balancer_sites=[], load_balancer_web_servers=WEB)
    assert "frontend http\n" in text
    assert "frontend https" not in text


# --- the unit -----------------------------------------------------------------------------------------------------


@of("load_balancer/service.conf.j2")
def test_haproxy_starts_with_our_file_and_forgets_old_drains():
    lines = render("load_balancer/service.conf.j2").splitlines()
    assert "Environment=CONFIG=/etc/haproxy/ntier.cfg" in lines
    assert "ExecStartPre=/bin/sh -c 'echo 1 > /run/ntier-haproxy.state'" in lines
    assert lines[lines.index("ExecReload=") + 1] == "ExecReload=/usr/local/sbin/ntier-haproxy-reload $MAINPID"


@of("load_balancer/logrotate.j2")
def test_the_log_is_emptied_in_its_place():
    text = render("load_balancer/logrotate.j2")
    assert "/var/log/haproxy-ntier.log {" in text
    assert "copytruncate" in text


# --- hosts that pass visitors on ----------------------------------------------------------------------------------


def test_who_passes_visitors_on_says_who_they_are_and_nobody_else():
    expected = "tcp-request connection expect-proxy layer4 if { src 10.0.0.11 }"
    assert "expect-proxy" not in configuration()
    text = configuration(load_balancer_relays=["10.0.0.11"])
    lines = section(text, "frontend https")
    assert expected not in section(text, "frontend http")
    # Rules of connections are followed before the PROXY protocol is read: who is passed on is counted in the session, by who it is.
    counted = [line for line in lines if "track-sc0" in line]
    assert counted == [
        "tcp-request connection track-sc0 src,ipmask(32,64) table clients unless { src 10.0.0.11 }",
        "tcp-request session track-sc0 src,ipmask(32,64) table clients",
    ]
    assert lines.index(counted[1]) < lines.index("tcp-request session reject if { sc0_conn_cur gt 400 }")
    assert not [line for line in section(configuration(), "frontend https") if line.startswith("tcp-request session")]


def test_an_acme_server_that_was_sent_on_is_answered():
    site = BLOG | {"certificate": {"acme": "admin@example.com"}}
    line = "use_backend acme if { path_beg /.well-known/acme-challenge/ }"
    lines = section(configuration(site, load_balancer_relays=["10.0.0.11"]), "frontend https")
    assert lines.index(line) < lines.index("use_backend once unless reads")
    assert line not in section(configuration(site), "frontend https")
    assert line not in section(configuration(load_balancer_relays=["10.0.0.11"]), "frontend https")


SERVERS = [{"host": "lb1", "address": "10.0.0.1", "port": 443}, {"host": "lb2", "address": "fd00::2", "port": 443}]


@of("relay/relay.cfg.j2")
def test_the_relay_hands_connections_to_the_balancers_and_says_whose_they_are():
    lines = section(render("relay/relay.cfg.j2", relay_servers=SERVERS[:1]), "listen https")
    assert lines == ["bind *:443", "bind :::443 v6only", "balance leastconn", "server lb1 10.0.0.1:443 send-proxy-v2"]
    several = section(
        render("relay/relay.cfg.j2", relay_servers=SERVERS, relay_port=8443, relay_ipv6=False), "listen https"
    )
    assert several[0] == "bind *:8443"
    assert several[-1].startswith("server lb2 [fd00::2]:443 send-proxy-v2 check check-send-proxy")
    assert not [line for line in several if "v6only" in line]


@of("relay/ntier-relay.service.j2")
def test_the_relay_lets_connections_end():
    lines = render("relay/ntier-relay.service.j2").splitlines()
    assert {"KillMode=mixed", "KillSignal=SIGUSR1", "TimeoutStopSec=75"} <= set(lines)
    assert "    hard-stop-after 60s" in render("relay/relay.cfg.j2", relay_servers=SERVERS).splitlines()
