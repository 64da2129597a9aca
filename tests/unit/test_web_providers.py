"""The providers of the tier web beside the default: their templates, and what the inventory may ask of them."""

import re

import pytest
from clusters import FIGURE_3, FIGURE_4, MIXED, ONE_BOX, ROOT, a_site, build, wired
from rendering import locations, of, render, servers, web_of

from ansible_collections.ntier.django.plugins.module_utils import releases
from ansible_collections.ntier.django.plugins.plugin_utils.faults import InventoryError
from ansible_collections.ntier.django.plugins.plugin_utils.topology import PROVIDERS, app_server, web_server
from ansible_collections.ntier.django.plugins.plugin_utils.wiring import health

LIGHTTPD = "web/lighttpd.conf.j2"
APACHE = "web/apache.conf.j2"


def faults_of(provider, **more):
    try:
        build(sites=[a_site(**more)], providers={"web": provider})
    except InventoryError as error:
        return error.faults
    return []


def a_host(template, provider, tiers=None, host="box1", **more):
    return render(template, **web_of(provider, tiers, host, **more))


# --- what the inventory may ask for -------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROVIDERS["web"])
def test_a_provider_is_named_after_its_web_server_and_its_app_server(provider):
    cluster = build(providers={"web": provider})
    assert f"{web_server(cluster)}_{app_server(cluster)}" == provider
    assert app_server(cluster) in releases.APP_SERVERS
    assert (ROOT / f"roles/web/vars/{provider}.yml").exists()
    assert (ROOT / f"roles/web/tasks/{web_server(cluster)}/configure.yml").exists()


@pytest.mark.parametrize("provider", ["nginx_gunicorn", "lighttpd_uwsgi", "apache_mod_wsgi"])
def test_an_asgi_application_needs_granian(provider):
    assert faults_of("nginx_granian", asgi="blog.asgi:application") == []
    assert faults_of(provider, asgi="blog.asgi:application") == [
        f"ntier_sites, site blog: its application blog.asgi:application is an ASGI one, and {provider} serves WSGI alone."
        " Set web_provider: nginx_granian in group_vars/all.yml, or take the key 'asgi' out."
    ]


@pytest.mark.parametrize("provider", ["lighttpd_uwsgi", "apache_mod_wsgi"])
def test_the_cache_of_anonymous_pages_is_nginxs(provider):
    for own in ("nginx_gunicorn", "nginx_granian"):
        assert faults_of(own, anonymous_cache_seconds=5) == []
    assert faults_of(provider, anonymous_cache_seconds=5) == [
        f"ntier_sites, site blog: anonymous_cache_seconds is 5, and the cache is nginx's: {provider} has none."
        " Take the key out, or set page_cache_seconds, which works with every provider."
    ]


def test_mod_wsgi_runs_no_other_python_than_the_distributions():
    for python in ("python3", "/usr/bin/python3"):
        assert faults_of("apache_mod_wsgi", python=python) == []
    assert faults_of("apache_mod_wsgi", python="3.13") == [
        "ntier_sites, site blog: python is '3.13', and Apache's mod_wsgi runs the distribution's own Python alone."
        " Take the key out, or choose another web_provider."
    ]


def test_an_application_is_named_with_its_module():
    (fault,) = faults_of("nginx_granian", asgi="blog.asgi")
    assert fault.startswith("ntier_sites, site blog: asgi 'blog.asgi' is no application. Write module:variable")


# --- the release --------------------------------------------------------------------------------------------------


def test_each_app_server_makes_a_release_of_its_own():
    site = {"source": {"kind": "package"}}
    digests = {releases.inputs_digest({**site, "app_server": name}) for name in releases.APP_SERVERS}
    assert len(digests) == len(releases.APP_SERVERS)
    assert releases.inputs_digest(site) == releases.inputs_digest({**site, "app_server": "gunicorn"})


@pytest.mark.parametrize("provider", PROVIDERS["web"])
def test_a_release_brings_its_app_server_and_is_asked_where_that_speaks_http(provider):
    cluster = build(sites=[a_site(prefix="/shop", health_path="/up")], providers={"web": provider}, ports={"web": 8080})
    site = wired(cluster)["release_sites"][0]
    (asked,) = health(cluster)
    assert site["app_server"] == app_server(cluster)
    assert site["health_host"] == asked["host"] == "blog.example.com"
    assert site["health_socket"] == asked["socket"]
    if provider.startswith("nginx"):
        assert asked["socket"] == "/run/django/blog.sock"
        assert (site["health_url"], asked["url"]) == (
            "http://blog.example.com/shop/up",
            "http://blog.example.com/shop/_ntier/health",
        )
    else:
        assert asked["socket"] == ""
        assert (site["health_url"], asked["url"]) == (
            "http://127.0.0.1:8080/shop/up",
            "http://127.0.0.1:8080/shop/_ntier/health",
        )


# --- who serves the files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "own"), [("nginx_granian", True), ("lighttpd_uwsgi", False), ("apache_mod_wsgi", False)]
)
def test_on_a_host_of_both_tiers_one_server_does_both(provider, own):
    sites = [a_site(media_domain="files.example.com")]
    box = wired(build(ONE_BOX, sites=sites, providers={"web": provider}))
    assert box["media_serves"] is own
    assert ("static_root" in box["web_sites"][0]) is not own
    assert bool(box["web_media_virtual_hosts"]) is not own
    media = wired(build(FIGURE_3, sites=sites, providers={"web": provider}), "media1")
    assert media["media_serves"] is True


# --- granian ------------------------------------------------------------------------------------------------------


def test_the_unit_starts_the_app_server_of_the_provider():
    for provider, program, start in (
        ("nginx_granian", "granian", "python /srv/%i/current/ntier/ntier_granian.py"),
        ("lighttpd_uwsgi", "pyuwsgi", "python /srv/%i/current/ntier/ntier_uwsgi.py"),
    ):
        lines = a_host("web/django@.service.j2", provider).splitlines()
        assert "ConditionPathExists=/srv/%i/current/venv/bin/python" in lines
        assert any(
            line.startswith("ExecStartPre=") and f"/srv/%i/current/venv/bin/{program} ||" in line for line in lines
        )
        assert f"ExecStart=/srv/%i/current/venv/bin/{start}" in lines
        # Workers know when they are ready, the first process does not.
        assert "NotifyAccess=all" in lines


def test_nginx_passes_websockets_to_sites_that_know_them():
    sites = [a_site("blog", asgi="blog.asgi:application"), a_site("shop")]
    text = a_host("web/nginx.conf.j2", "nginx_granian", sites=sites)
    blog, shop = (locations(servers(text)[f"{name}.example.com"])["/"] for name in ("blog", "shop"))
    assert "proxy_set_header Upgrade $http_upgrade;" in blog
    assert "proxy_set_header Connection $ntier_connection;" in blog
    assert "proxy_set_header Connection close;" not in blog
    assert "Upgrade" not in shop
    assert "proxy_set_header Connection close;" in shop
    assert "Upgrade" not in render("web/nginx.conf.j2")


# --- lighttpd -----------------------------------------------------------------------------------------------------


def conditions(text):
    """Return the outer conditions of a lighttpd configuration, in their order, with what stands in each."""
    found = re.findall(r"^(?:else )?(\$HTTP\[.*?) {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL)
    assert found
    return found


@of(LIGHTTPD)
def test_lighttpd_answers_each_name_once_and_refuses_the_others():
    found = conditions(a_host(LIGHTTPD, "lighttpd_uwsgi"))
    assert [match for match, _body in found] == [
        '$HTTP["host"] == "ntier.invalid"',
        *(f'$HTTP["host"] =~ "^{name}example\\.com(?::[0-9]+)?$"' for name in ("www\\.", "", "diary\\.")),
        # Not by the name of a site: there the path is the site's.
        '$HTTP["url"] == "/_ntier/media-health"',
        '$HTTP["url"] != ""',
    ]
    assert "ntier-unknown.lua" in found[-1][1]
    for match, body in found[1:-2]:
        assert "ntier-request.lua" in body, match


def test_lighttpd_speaks_fastcgi_with_each_site_below_its_prefix():
    text = a_host(LIGHTTPD, "lighttpd_uwsgi")
    (shared,) = [body for match, body in conditions(text) if "www" in match]
    assert shared.index('fastcgi.server = ("/shop" => ((') < shared.index('fastcgi.server = ("/" => ((')
    assert set(re.findall(r'"socket" => "(.*?)"', shared)) == {"/run/django/shop.sock", "/run/django/blog.sock"}
    assert re.findall(r"max-request-size = (\d+)", shared) == ["51200", "20480"]
    assert "url.redirect" in shared


def test_lighttpd_believes_known_proxies_and_its_own_host():
    def trusted(text):
        return re.findall(r'^    "(.*?)" => "trust",', text, flags=re.MULTILINE)

    assert trusted(a_host(LIGHTTPD, "lighttpd_uwsgi")) == ["127.0.0.1", "::1"]
    given = web_of("lighttpd_uwsgi", FIGURE_4, "web1")
    assert trusted(render(LIGHTTPD, **given)) == ["127.0.0.1", "::1", *given["web_balancers"]]
    for network in given["web_balancers"]:
        assert f'else $HTTP["remote-ip"] == "{network}" {{ }}' in render(LIGHTTPD, **given)


@of("web/lighttpd-service.conf.j2")
@of("web/apache-service.conf.j2")
def test_the_service_waits_for_the_roles_own_configuration_and_reads_no_other():
    for server, program in (("lighttpd", "lighttpd"), ("apache", "apache2")):
        lines = render(f"web/{server}-service.conf.j2").splitlines()
        assert f"ConditionPathExists=/etc/{program}/ntier.conf" in lines
        starts = [line for line in lines if line.startswith("ExecStart=")]
        assert starts[0] == "ExecStart="
        assert f"-f /etc/{program}/ntier.conf" in starts[1]


# --- files, with both -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("template", "provider"), [(LIGHTTPD, "lighttpd_uwsgi"), (APACHE, "apache_mod_wsgi")])
def test_files_are_served_asked_for_or_left_to_the_balancer(template, provider):
    local, remote, none, own = (
        a_host(template, provider, tiers, host)
        for tiers, host in ((ONE_BOX, "box1"), (FIGURE_3, "box1"), (FIGURE_4, "web1"), (MIXED, "web2"))
    )
    (media,) = web_of(provider, FIGURE_3)["web_media_servers"]
    for text in (local, own):
        assert "/srv/media/blog/static/" in text
        assert "/srv/media/ntier-health" in text
        assert "object-src 'none'" in text
    for text in (remote, none):
        assert "/srv/media" not in text
    assert media["address"] in remote
    assert not re.search(r"proxy\.server|ProxyPass ", none + local)


@pytest.mark.parametrize(("template", "provider"), [(LIGHTTPD, "lighttpd_uwsgi"), (APACHE, "apache_mod_wsgi")])
def test_a_host_name_of_the_media_shows_files_and_no_site(template, provider):
    sites = [a_site(media_domain="files.example.com")]
    text = a_host(template, provider, sites=sites)
    start = text.index("files\\.example" if template == LIGHTTPD else "ServerName files.example.com")
    assert "/srv/media/blog/static/" in text[start:]
    assert not re.search("fastcgi|WSGIScriptAlias", text[start:])


# --- Apache -------------------------------------------------------------------------------------------------------


def virtual_hosts(text):
    return dict(re.findall(r"<VirtualHost .*?>\n    ServerName (\S+)\n(.*?)</VirtualHost>", text, flags=re.DOTALL))


@of(APACHE)
def test_apache_runs_each_site_in_processes_of_its_own_user():
    text = a_host(APACHE, "apache_mod_wsgi")
    for name in ("blog", "shop", "diary"):
        (line,) = re.findall(rf"WSGIDaemonProcess {name} ((?:.*\\\n)*.*)", text)
        assert {f"user={name}", f"group={name}", f"python-home=/srv/{name}/current/venv", "umask=0027"} <= set(
            line.split()
        )
    assert "WSGIRestrictEmbedded On" in text
    assert "mpm_event_module" in text


def test_apache_answers_unknown_names_first_and_the_longest_prefix_before_the_root():
    hosts = virtual_hosts(a_host(APACHE, "apache_mod_wsgi"))
    assert list(hosts) == ["ntier.invalid", "www.example.com", "example.com", "diary.example.com"]
    assert "RedirectMatch 421" in hosts["ntier.invalid"]
    shared = hosts["www.example.com"]
    assert re.findall(r'WSGIScriptAlias "(.*?)"', shared) == ["/shop", "/"]
    # Of sections that match, the last one counts.
    assert re.findall(r'<Location "(.*?)">', shared) == ["/", "/_ntier/health", "/shop/", "/shop/_ntier/health"]
    assert re.findall(r"LimitRequestBody (\d+)", shared) == [str(20 << 20), str(50 << 20)]
    # The paths of files are not the site's.
    assert shared.index('Alias "/media/"') < shared.index('WSGIScriptAlias "/"')


def test_apache_believes_known_proxies():
    assert "RemoteIP" not in a_host(APACHE, "apache_mod_wsgi").replace("remoteip", "")
    given = web_of("apache_mod_wsgi", FIGURE_4, "web1")
    text = render(APACHE, **given)
    (balancer,) = given["web_balancers"]
    assert f"RemoteIPInternalProxy {balancer}" in text
    assert f"Require ip 127.0.0.1 ::1 {balancer}" in text
    assert f"-ipmatch '{balancer}'" in text


@of("web/django-daemons@.service.j2")
def test_a_sites_unit_restarts_its_processes():
    lines = render("web/django-daemons@.service.j2").splitlines()
    assert "ExecStart=/usr/local/sbin/ntier-restart-daemons %i" in lines
    assert "Type=oneshot" in lines


def test_the_site_file_keeps_no_release_of_its_own():
    text = (ROOT / "roles/web/files/apache/site.py").read_text()
    assert "os.path.realpath(_current)" in text
    compile(text, "site.py", "exec")


# --- a host that passes visitors on -------------------------------------------------------------------------------


@pytest.mark.parametrize("redirect", ["certificates", "all"])
def test_nginx_sends_who_opens_a_page_on_to_https(redirect):
    text = a_host("web/nginx.conf.j2", "nginx_gunicorn", FIGURE_4, "web1", web_https_redirect=redirect)
    patterns = re.findall(r'^    "~(\^0 http .*)" 1;$', text, flags=re.MULTILINE)

    # Own, scheme, method, whether a page is opened, and where.
    def sent_on(asked):
        return any(re.match(pattern, asked) for pattern in patterns)

    for page in "01":
        assert sent_on(f"0 http GET {page} /.well-known/acme-challenge/x")
        assert not sent_on(f"1 http GET {page} /.well-known/acme-challenge/x")
    assert sent_on("0 http GET 1 /") == sent_on("0 http HEAD 1 /a/") == (redirect == "all")
    # Of pages that are open, and forms.
    for asked in ("0 http GET 0 /", "0 http POST 1 /", "0 https GET 1 /", "1 http GET 1 /"):
        assert not sent_on(asked), asked
    for name, block in servers(text).items():
        assert ("return 302 https://$host$request_uri;" in block) is (name != "_"), name
    elsewhere = a_host(
        "web/nginx.conf.j2", "nginx_gunicorn", FIGURE_4, "web1", web_https_redirect=redirect, web_https_port=8443
    )
    assert "return 302 https://$host:8443$request_uri;" in elsewhere
    assert "302" not in a_host("web/nginx.conf.j2", "nginx_gunicorn", FIGURE_4, "web1")


def test_apache_sends_who_opens_a_page_on_to_https():
    text = a_host(APACHE, "apache_mod_wsgi", FIGURE_4, "web1", web_https_redirect="all")
    page = 'RewriteCond expr "(%{HTTP:Accept} =~ m#text/html#i) || (%{REQUEST_URI} =~ m#^/'
    acme = a_host(APACHE, "apache_mod_wsgi", FIGURE_4, "web1", web_https_redirect="certificates")
    assert page in text and page not in acme
    assert 'RewriteRule "^/\\.well\\-known/acme\\-challenge/" ' in acme
    rule = 'RewriteRule "^/" "https://%{SERVER_NAME}%{REQUEST_URI}" [redirect=302,last]'
    sites = [block for block in text.split("<VirtualHost ")[1:] if "WSGIScriptAlias" in block]
    assert sites and all(block.count(rule) == 1 for block in sites)
    (proxy,) = web_of("apache_mod_wsgi", FIGURE_4, "web1")["web_balancers"]
    assert (
        f"RewriteCond expr \"!((%{{CONN_REMOTE_ADDR}} -ipmatch '{proxy}') && %{{HTTP:X-Forwarded-Proto}} == 'https')\""
        in text
    )
    assert "RewriteRule" not in a_host(APACHE, "apache_mod_wsgi", FIGURE_4, "web1")


@of("web/lighttpd-redirect.lua.j2")
def test_lighttpd_sends_who_opens_a_page_on_to_https():
    scripts = 'magnet.attract-raw-url-to = ("/etc/lighttpd/ntier-limits.lua", "/etc/lighttpd/ntier-redirect.lua", "/etc/lighttpd/ntier-request.lua")'
    assert scripts in a_host(LIGHTTPD, "lighttpd_uwsgi", FIGURE_4, "web1", web_https_redirect="all")
    assert "redirect.lua" not in a_host(LIGHTTPD, "lighttpd_uwsgi", FIGURE_4, "web1")
    script = a_host(
        "web/lighttpd-redirect.lua.j2", "lighttpd_uwsgi", FIGURE_4, "web1", web_https_redirect="certificates"
    )
    assert 'path:sub(1, 28) == "/.well-known/acme-challenge/"' in script
    page = 'find("text/html", 1, true)'
    assert page not in script
    assert page in a_host("web/lighttpd-redirect.lua.j2", "lighttpd_uwsgi", FIGURE_4, "web1", web_https_redirect="all")
    assert script.startswith("--\n")
