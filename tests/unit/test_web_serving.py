"""The same for every web server and balancer: media types, error pages, limits, and requests as a site gets them."""

import importlib.util
import io
import json
import re
import runpy
import sys

import battery
import pytest
from clusters import FIGURE_3, FIGURE_4, ROOT
from rendering import of, render, web_of

from ansible_collections.ntier.django.plugins.filter.serving import serving
from ansible_collections.ntier.django.plugins.plugin_utils import media_types, pages

OVERLAY = ROOT / "roles/release/files/overlay"
SHARED = serving("/etc/ntier/pages")
LIGHTTPD = ("web/lighttpd.conf.j2", "media/lighttpd.conf.j2")
#: A media host of its own.
MEDIA = {
    "media_sites": [
        {"name": "blog", "prefix": "", "static_root": "/srv/media/blog/static", "media_root": "/srv/media/blog/media"}
    ],
    "media_virtual_hosts": [{"domains": ["www.example.com"], "sites": ["blog"]}],
    "media_default_server": True,
}
NGINX = ("web/nginx.conf.j2", "media/nginx-files.conf.j2")


def shown(template):
    return render(template, **MEDIA) if template.startswith("media/") else render(template)


# --- media types --------------------------------------------------------------------------------------------------


def test_each_extension_stands_once_and_in_lower_case():
    listed = " ".join(media_types.TYPES.values()).split()
    assert len(listed) == len(set(listed)) == len(SHARED["types"])
    assert listed == [name.lower() for name in listed]
    assert set(SHARED["utf8"]) <= media_types.TYPES.keys()
    assert all(re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", name) for name in media_types.TYPES)


def test_the_battery_asks_for_types_of_the_list():
    for extension, expected in battery.TYPES.items():
        assert SHARED["types"].get(extension.lower(), media_types.UNKNOWN) == expected, extension


@pytest.mark.parametrize("template", LIGHTTPD)
def test_lighttpd_has_the_list(template):
    found = dict(re.findall(r'^    "\.(\w+)" => "(\S+/.*)",$', shown(template), flags=re.MULTILINE))
    assert found == SHARED["types"]
    assert '"" => "application/octet-stream",' in shown(template)


@of("media/nginx-types.conf.j2")
def test_nginx_has_the_list():
    text = render("media/nginx-types.conf.j2")
    listed = re.search(r"^charset_types (.*);", text, flags=re.MULTILINE)[1].split()
    assert listed == [kind for kind in SHARED["utf8"] if kind != "text/html"]
    charset = {"text/html", *listed}
    found = re.findall(r"^    (\S+/\S+) (\w+);$", text, flags=re.MULTILINE)
    assert {name: f"{kind}; charset=utf-8" if kind in charset else kind for kind, name in found} == SHARED["types"]
    assert "default_type application/octet-stream;" in text
    site = render("media/nginx-site.conf.j2")
    assert site.count("include /etc/nginx/ntier/types.conf;") == site.count("location ") == 2


def test_apache_has_the_list_and_no_other():
    text = render("web/apache.conf.j2")
    lines = re.findall(r'^AddType "(.*?)" (.*)$', text, flags=re.MULTILINE)
    assert {name: kind for kind, names in lines for name in names.split()} == SHARED["types"]
    assert "TypesConfig /dev/null" in text
    assert text.count('Header set Content-Type application/octet-stream "expr=-z %{CONTENT_TYPE}"') == 6


@pytest.mark.parametrize("template", [*NGINX, *LIGHTTPD, "web/apache.conf.j2"])
def test_all_compress_the_same(template):
    line = re.search(
        r"^ *(?:gzip_types|deflate.mimetypes =|AddOutputFilterByType DEFLATE) (.*)$",
        shown(template),
        flags=re.MULTILINE,
    )
    found = [word.strip('(),;"') for word in line[1].split()]
    # nginx always compresses pages. The order is the list's: another one at each run would be a change.
    assert [kind for kind in found if kind != "text/html"] == SHARED["compressed"][1:]
    assert SHARED["compressed"][0] == "text/html"


# --- error pages --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", pages.PAGES)
def test_a_page_fits_into_every_configuration(status):
    text = pages.page(status)
    assert text.isascii()
    assert not set(text) & set('"$%\\\n')
    assert not re.search(r"\{\{|\}\}|\{%", text)
    assert len(text) < 2000
    assert f"<h1>{pages.PAGES[status][0]}</h1>" in text.replace("&#x27;", "'")
    assert battery.OWN in text


@of("media/nginx-pages.conf.j2")
def test_every_server_shows_the_pages():
    nginx, apache = render("media/nginx-pages.conf.j2"), render("web/apache.conf.j2")
    for status, text in SHARED["pages"].items():
        assert f"error_page {status} /_ntier/page/{status}.html;" in nginx
        assert f'ErrorDocument {status} "{text}"' in apache
        assert SHARED["files"][f"/etc/ntier/pages/{status}.html"] == f"{text}\n"
    for template in LIGHTTPD:
        assert 'server.errorfile-prefix = "/etc/ntier/pages/"' in shown(template)
    for template in NGINX:
        text = shown(template)
        assert text.count("include /etc/nginx/ntier/pages.conf;") == text.count("server_name ")
    # A page of the site's own is never replaced.
    assert "intercept" not in nginx + render("web/nginx.conf.j2") + "".join(map(shown, LIGHTTPD))
    assert "WSGIErrorOverride" not in apache and "ProxyErrorOverride" not in apache
    balancer = render("load_balancer/ntier.cfg.j2")
    assert set(re.findall(r"file /etc/ntier/pages/(\d+)\.html", balancer)) >= {
        "400",
        "404",
        "413",
        "421",
        "429",
        "502",
        "504",
    }
    assert "content-type text/plain string" not in balancer


# --- limits -------------------------------------------------------------------------------------------------------


@of("media/nginx-common.conf.j2")
@of("media/lighttpd-limits.lua.j2")
@pytest.mark.parametrize("limit", [15, 31])
def test_all_servers_have_the_limit_of_the_balancer(limit):
    nginx = render("media/nginx-common.conf.j2", media_header_limit_kb=limit)
    assert f"large_client_header_buffers 4 {limit}k;" in nginx
    apache = render("web/apache.conf.j2", web_header_limit_kb=limit)
    assert f"LimitRequestLine {limit * 1024}\nLimitRequestFieldSize {limit * 1024}\n" in apache
    assert f"local most = {limit * 1024}\n" in render("media/lighttpd-limits.lua.j2", media_header_limit_kb=limit)
    for template in LIGHTTPD:
        assert "server.max-request-field-size = 65535" in shown(template)
        assert '"/etc/lighttpd/ntier-limits.lua"' in shown(template)


def test_the_longest_name_of_the_dns_fits():
    size = int(re.search(r"server_names_hash_bucket_size (\d+);", render("media/nginx-common.conf.j2"))[1])
    # A pointer, the length and the name, up to a multiple of eight, and a pointer at the end of the bucket.
    assert size >= 8 + -(-(2 + 253) // 8) * 8 + 8
    # nginx checks the files of both roles with it.
    for file in ("web/vars/main.yml", "media/vars/nginx.yml"):
        assert "/etc/nginx/conf.d/ntier-common*.conf" in (ROOT / "roles" / file).read_text()


def test_app_servers_leave_the_limits_to_their_web_servers(tmp_path, monkeypatch):
    (tmp_path / "settings.json").write_text(json.dumps({"name": "blog", "timeout_seconds": 30}))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("NTIER_RELEASE", "")
    values = runpy.run_path(str(OVERLAY / "gunicorn.conf.py"))
    assert values["limit_request_line"] == 0
    assert values["limit_request_field_size"] > 60 * 1024
    assert values["limit_request_fields"] >= 1000
    assert values["secure_scheme_headers"] == {"X-FORWARDED-PROTO": "https"}
    assert '"max-vars": 1100' in (OVERLAY / "ntier_uwsgi.py").read_text()


# --- what a site gets ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def request_module():
    spec = importlib.util.spec_from_file_location("ntier_request", OVERLAY / "ntier_request.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("sent", "script", "resolved", "expected"),
    [
        ("/a//b/", "", "/a/b/", "/a//b/"),
        ("//a/", "", "/a/", "//a/"),
        ("/a/../b/?c=/d//e", "", "/b/", "/a/../b/"),
        ("/a%2Fb%20c", "", "/a/b c", "/a/b c"),
        ("/%C3%BC/", "", "/Ã¼/", "/Ã¼/"),
        ("/%252F", "", "/%2F", "/%2F"),
        ("/shop/a//b", "/shop", "/a/b", "/a//b"),
        # What does not begin with the prefix is left as the web server resolved it.
        ("//shop/a", "/shop", "/a", "/a"),
        ("http://www.example.com/a", "", "/a", "/a"),
        (None, "", "/a//b", "/a//b"),
    ],
)
def test_a_path_arrives_as_it_was_sent(request_module, sent, script, resolved, expected):
    environ = {"PATH_INFO": resolved, "SCRIPT_NAME": script, **({"REQUEST_URI": sent} if sent else {})}
    assert request_module.path_as_sent(environ) == expected


@pytest.mark.parametrize("size", [0, 5, 3 << 20])
def test_a_body_in_chunks_gets_its_length(request_module, size):
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"x" * size)}
    request_module.give_length(environ)
    assert environ["CONTENT_LENGTH"] == str(size)
    assert environ["wsgi.input"].read() == b"x" * size
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "WSGIChunkedRequest On" in render("web/apache.conf.j2")


def test_no_visitor_says_in_other_words_that_he_came_by_https():
    nginx, apache = render("web/nginx.conf.j2"), render("web/apache.conf.j2")
    lua = (ROOT / "roles/web/files/lighttpd/request.lua").read_text()
    balancer = render("load_balancer/ntier.cfg.j2")
    for header in (
        "X-Forwarded-Protocol",
        "X-Forwarded-Ssl",
        "X-Forwarded-Scheme",
        "X-Url-Scheme",
        "X-Scheme",
        "Front-End-Https",
        "Proxy",
    ):
        assert f'proxy_set_header {header} "";' in nginx
        assert f"RequestHeader unset {header}\n" in apache
        assert f'["{header.lower()}"] = true' in lua
        assert f"http-request del-header {header}\n" in balancer


def test_apache_asks_every_media_server_and_passes_paths_on():
    servers = [{"host": f"media{n}", "address": f"10.0.0.3{n}", "port": 80} for n in (1, 2)]
    given = web_of("apache_mod_wsgi", FIGURE_3)
    text = render("web/apache.conf.j2", **{**given, "web_media_servers": servers})
    members = re.search(r'<Proxy "balancer://ntier_media">\n(.*?)</Proxy>', text, flags=re.DOTALL)[1]
    assert re.findall(r'BalancerMember "(.*?)"', members) == ["http://10.0.0.31:80", "http://10.0.0.32:80"]
    assert set(re.findall(r'ProxyPass ".*?" "(.*?)"', text)) == {
        f"balancer://ntier_media{prefix}/{folder}/" for prefix in ("", "/shop") for folder in ("static", "media")
    }
    for module in ("proxy_balancer", "lbmethod_byrequests", "slotmem_shm"):
        assert f"LoadModule {module}_module" in text
    assert "balancer:" not in render("web/apache.conf.j2", **web_of("apache_mod_wsgi", FIGURE_4, "web1"))
    # Neither is inherited by virtual hosts.
    hosts = text.split("<VirtualHost ")[2:]
    assert hosts and all("AllowEncodedSlashes On" in host for host in hosts)


def test_files_are_only_read():
    rule = 'RewriteCond %{REQUEST_METHOD} !^(GET|HEAD)$\n    RewriteRule "^(?:'
    assert rule in render("web/apache.conf.j2")
    assert rule not in render("web/apache.conf.j2", **web_of("apache_mod_wsgi", FIGURE_4, "web1"))
    assert render("web/lighttpd.conf.j2").count("ntier-method.lua") == 8
    for name in ("static", "uploads"):
        assert "not found.is_file then\n    return 404" in (ROOT / f"roles/media/files/lighttpd/{name}.lua").read_text()
    assert render("media/nginx-site.conf.j2").count("try_files $uri =404;") == 2


# --- the battery --------------------------------------------------------------------------------------------------


def test_the_table_names_each_row_once():
    names = [row.name for row in battery.ROWS]
    assert len(names) == len(set(names))
    assert battery.BALANCED.keys() <= set(names)
    # As one argument of a program.
    assert len(json.dumps([row.request for row in battery.ROWS])) + len(battery.PROGRAM) < 1 << 16


class Answering:
    """A host on which every request gets the answer of the table, but for some."""

    def __init__(self, **others):
        self.others = others

    def check_output(self, _command, *_arguments):
        found = []
        for row in battery.ROWS:
            body = self.others.get("body", row.words.replace("{scheme}", "http"))
            kind = self.others.get("kind", "text/html")
            found.append([self.others.get("status", row.status), {"content-type": kind}, body])
        return json.dumps(found)


def test_what_differs_is_told_row_by_row():
    assert battery.failures(Answering(), "www.example.com", 80) == []
    for others in ({"status": 500}, {"body": "nothing"}, {"kind": "text/plain"}):
        wrong = battery.failures(Answering(**others), "www.example.com", 80)
        assert any(line.startswith("a name that no site has: ") for line in wrong), others
    assert battery.failures(Answering(), "www.example.com", 80, balanced=True) != []
