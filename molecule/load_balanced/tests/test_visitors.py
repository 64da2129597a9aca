"""What visitors of the two sites behind the balancer see."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import time

import pytest
import requests
import yaml
from conftest import GIVEN, INVENTORY, WEB, until
from scanner import verdict

from ansible_collections.ntier.django.plugins.plugin_utils.authority import series

HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def web_host(page) -> str:
    """Return the host that a page says it comes from."""
    return re.search(r'id="web-host">([^<]+)<', page.text).group(1)


def new_name(word: str) -> str:
    """Return a name that nobody has yet."""
    return f"{word}{time.time_ns()}"


def write(visitor, text, picture=None):
    """Write an entry, and return the page that follows."""
    # A name that no other site has a file of.
    files = {"picture": (f"{new_name('dot')}.png", picture, "image/png")} if picture else None
    return visitor.submit("/entries/new/", {"message": text}, form="/", files=files)


def test_one_stays_signed_in_on_whichever_web_host_answers(visit):
    """Both hosts answer in turn, and both know the visitor."""
    name = new_name("ada")
    visitor = visit().sign_up(name)
    answered = []
    for _page in range(12):
        page = visitor.get("/")
        assert f"Signed in as <strong>{name}</strong>" in page.text
        answered.append(web_host(page))
    assert min(answered.count(host) for host in WEB) >= 3, answered


def test_who_signs_out_on_one_host_is_signed_out_on_the_other(visit):
    """No host goes on with a session of its own."""
    visitor = visit().sign_up(new_name("bob"))
    visitor.submit("/accounts/logout/", {}, form="/")
    pages = [visitor.get("/") for _page in range(6)]
    assert {web_host(page) for page in pages} == set(WEB)
    assert not any("Signed in as" in page.text for page in pages)


def test_an_upload_is_the_same_for_everybody(visit, cluster, picture):
    """Whoever took it: the balancer gives it back byte for byte, and both web hosts see the media host's file."""
    visitor = visit().sign_up(new_name("eve"))
    text = new_name("A picture with an umlaut, ü, ")
    page = write(visitor, text, picture)
    assert text in page.text
    image = re.search(r'src="(/media/pictures/[^"]+)"', page.text).group(1)
    answer = visit().get(image)
    assert answer.content == picture
    assert answer.headers["Content-Type"] == "image/png"
    command = "runuser -u guestbook -- sha256sum %s"  # root is nobody there
    sums = {name: cluster[name].check_output(command, f"/srv/media/guestbook{image}") for name in (*WEB, "media1")}
    assert len(set(sums.values())) == 1, sums
    assert not cluster["lb1"].file("/srv/media").exists


def test_uploads_are_taken_up_to_the_limit(visit):
    """A body over upload_limit_mb is refused as soon as it is announced, before any web host is troubled with it."""
    visitor = visit()
    answer = visitor.session.post(f"{visitor.base}/", data=b"x" * (19 << 20), timeout=60)
    assert answer.status_code == 403  # by Django, since it is no form of the site

    def announced():
        """Name a length, and send nothing: who is refused while sending may not come to read the answer."""
        yield from ()

    request = requests.Request("POST", f"{visitor.base}/", headers=visitor.session.headers, data=announced()).prepare()
    del request.headers["Transfer-Encoding"]
    request.headers["Content-Length"] = str(21 << 20)
    answer = visitor.session.send(request, verify=visitor.session.verify, timeout=20)
    assert answer.status_code == 413


def test_hashed_static_files_are_kept_for_ever_and_compressed_beforehand(visit, cluster):
    """The media tier sends the compressed file that lies beside the other; the unhashed name is asked for again soon."""
    visitor = visit()
    style = re.search(r'href="(/static/entries/style\.[0-9a-f]{12}\.css)"', visitor.get("/").text).group(1)
    answer = visitor.get(style)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    file = f"/srv/media/guestbook{style}"
    assert int(answer.headers["Content-Length"]) == cluster["media1"].file(f"{file}.gz").size
    plain = visitor.get(style, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.content == answer.content
    assert visitor.get("/static/entries/style.css").headers["Cache-Control"] == "public, max-age=300"
    assert visitor.get("/static/entries/no.000000000000.css").status_code == 404


def test_parts_of_files_are_sent_and_folders_never_listed(visit):
    """A player that jumps into a film gets the part that it asks for."""
    visitor = visit()
    whole = visitor.get("/static/entries/logo.svg", headers={"Accept-Encoding": "identity"}).content
    part = visitor.get("/static/entries/logo.svg", headers={"Accept-Encoding": "identity", "Range": "bytes=5-14"})
    assert (part.status_code, part.content) == (206, whole[5:15])
    for folder in ("/static/", "/static/entries/", "/media/", "/media/pictures/"):
        assert visitor.get(folder).status_code in (403, 404), folder


def test_an_upload_is_shown_and_never_run(visit, cluster):
    """A page that somebody managed to upload can't run scripts in another visitor's browser."""
    file = "/srv/media/guestbook/media/evil.html"
    command = f"echo '<script>1</script>' > {file} && chmod 644 {file}"
    cluster["box1"].check_output("runuser -u guestbook -- sh -c %s", command)
    try:
        answer = visit().get("/media/evil.html")
        assert answer.status_code == 200
        assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    finally:
        cluster["media1"].check_output("rm %s", file)


def test_the_media_domain_has_the_second_sites_files_and_nothing_else(visit, picture):
    """Pages of the second site name it for styles and uploads; it has neither pages nor files of the other site."""
    visitor, media = visit("second.example.com").sign_up(new_name("ina")), visit("media.example.com")
    text = new_name("With a picture ")
    page = write(visitor, text, picture)
    style = re.search(r'href="//media\.example\.com(/static/entries/style\.[0-9a-f]{12}\.css)"', page.text).group(1)
    image = re.search(r'src="//media\.example\.com(/media/pictures/[^"]+)"', page.text).group(1)
    assert media.get(style).headers["Content-Type"] == "text/css"
    assert media.get(image).content == picture
    assert visit().get(image).status_code == 404
    for path in ("/", "/accounts/login/", "/admin/", "/_ntier/health", "/_ntier/media-health", "/../guestbook/media/"):
        assert media.get(path).status_code in (400, 404), path
    cookies = [media.get(style).headers.get("Set-Cookie"), media.get(image).headers.get("Set-Cookie")]
    assert cookies == [None, None]


@pytest.mark.parametrize("domain", ["guestbook.example.com", "www.guestbook.example.com", "second.example.com"])
def test_http_is_sent_on_to_https(addresses, domain):
    """The same address with https; a form is sent again as it was, which 301 would not promise."""
    for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308)):
        answer = requests.request(
            method,
            f"http://{addresses['lb1']}/statistics/?a=b%20c",
            headers={"Host": domain},
            allow_redirects=False,
            timeout=10,
        )
        assert answer.status_code == status
        assert answer.headers["Location"] == f"https://{domain}/statistics/?a=b%20c"


def handshake(address, domain, authority, protocols=(), version=None):
    """Return a connection by TLS, which trusts the certificates of a file alone."""
    context = ssl.create_default_context(cafile=authority)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version:
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ALL:@SECLEVEL=0")  # what this side would take
    return context.wrap_socket(socket.create_connection((address, 443), 10), server_hostname=domain)


@pytest.mark.parametrize("domain", ["guestbook.example.com", "www.guestbook.example.com"])
def test_the_guestbooks_certificate_is_of_the_clusters_authority(addresses, authorities, domain):
    """It holds for both of its domains, and only with that authority."""
    with handshake(addresses["lb1"], domain, authorities[domain]) as connection:
        names = {name for _kind, name in connection.getpeercert()["subjectAltName"]}
    assert names == {"guestbook.example.com", "www.guestbook.example.com"}
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(addresses["lb1"], domain, authorities["second.example.com"])


@pytest.mark.parametrize("domain", ["second.example.com", "media.example.com"])
def test_the_second_sites_certificate_is_the_given_one(addresses, authorities, domain):
    """Byte for byte, for the site and for its files."""
    with handshake(addresses["lb1"], domain, authorities[domain]) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found == ssl.PEM_cert_to_DER_cert((GIVEN / "second.pem").read_text())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(addresses, authorities):
    """1.2 is the least; 1.3 is what everybody gets who can."""
    domain = "guestbook.example.com"
    with handshake(addresses["lb1"], domain, authorities[domain]) as connection:
        assert connection.version() == "TLSv1.3"
    with handshake(addresses["lb1"], domain, authorities[domain], version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.version() == "TLSv1.2"
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(addresses["lb1"], domain, authorities[domain], version=ssl.TLSVersion.TLSv1_1)


#: Domain → what the scanner has to say: no authority vouches for the certificate that the second site is given.
COMPLAINTS = {"guestbook.example.com": [], "second.example.com": ["certificate_path_validation"]}


@pytest.mark.parametrize("domain", COMPLAINTS)
def test_a_scanner_finds_no_fault_by_mozillas_intermediate_profile(addresses, authorities, domain):
    """Versions, ciphers, curves, known attacks; key, signature and lifetime of the certificate, which the authority has signed."""
    found = verdict(addresses["lb1"], domain, authorities[domain])
    assert ("OK - Compliant" in found) is (not COMPLAINTS[domain]), found
    assert re.findall(r"^ *\* (\w+):", found, re.M) == COMPLAINTS[domain], found


def test_the_balancer_renews_its_certificate_by_itself_under_visitors(cluster, addresses, authorities, visitors):
    """As if the run that signed the series had been 61 days ago: the second one takes the first one's place, and no request fails."""
    balancer, path = cluster["lb1"], "/etc/haproxy/ntier-certificates-own/guestbook"
    domain = "guestbook.example.com"
    known = yaml.safe_load((INVENTORY / "group_vars/ntier_secrets.yml").read_text())["ntier_cluster"]
    subjects = [domain, f"www.{domain}"]
    signed = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=61)
    public = balancer.check_output(f"openssl pkey -in {path}.key -pubout")
    made = series(public, subjects, known["authority_key"], known["authority_certificate"], 90, 30, 1095, signed)
    text = "".join(f"{start} {end}\n{certificate}" for start, end, certificate in made)
    before = balancer.file(f"{path}.crt").content_string

    def served() -> bytes:
        with handshake(addresses["lb1"], domain, authorities[domain]) as connection:
            return connection.getpeercert(binary_form=True)

    assert served() == ssl.PEM_cert_to_DER_cert(before[before.index("-----BEGIN") :])
    balancer.check_output(f"{{ grep '^#' {path}.crt; printf %%s %s; }} > {path}.series", text)
    with visitors(seconds=60) as report:
        balancer.check_output(f"mv {path}.series {path}.next && systemctl start ntier-certificates.service")
        time.sleep(2)
    assert served() == ssl.PEM_cert_to_DER_cert(made[1][2])
    assert report["failed"] == []
    assert sum(report["answers"].values()) > 20
    assert balancer.check_output("systemctl is-enabled ntier-certificates.timer") == "enabled"


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header of HTTP/2, written out."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def test_http2_is_spoken(addresses, authorities):
    """A whole request and its answer by HTTP/2, in the protocol's own bytes, since requests does not know it."""
    domain = "guestbook.example.com"
    headers = literal(b":method", b"GET") + literal(b":scheme", b"https") + literal(b":path", b"/accounts/login/")
    headers += literal(b":authority", domain.encode())
    with handshake(addresses["lb1"], domain, authorities[domain], ["h2", "http/1.1"]) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        connection.settimeout(20)
        # settings, which the other side answers; headers with END_STREAM and END_HEADERS
        connection.sendall(HTTP2 + frame(4, 0, 0) + frame(1, 5, 1, headers))
        stream, kinds, page = connection.makefile("rb"), {}, b""
        while True:
            head = stream.read(9)
            assert len(head) == 9, f"the connection ended after {kinds}"
            body = stream.read(int.from_bytes(head[:3], "big"))
            kinds.setdefault(head[3], body)
            page += body if head[3] == 0 else b""
            if head[3] in (0, 1) and head[4] & 1:  # END_STREAM
                break
    assert 0x88 in kinds[1][:4]  # :status 200, from the table that everybody has
    assert b"<form" in page


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("domain", ["nobody.example.com", "example.com", ""])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_other_names_are_not_answered(addresses, scheme, domain):
    """A name that no site has, and the bare address, get no site's page and no redirect."""
    headers = {"Host": domain} if domain else {}
    answer = requests.get(f"{scheme}://{addresses['lb1']}/", headers=headers, verify=False, timeout=10)
    assert answer.status_code == 421
    assert answer.history == []


def test_django_knows_the_visitor_whatever_the_visitor_says(visit, addresses):
    """Scheme and address come from the balancer; forged headers change neither."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((addresses["lb1"], 9))  # sends nothing
        own = probe.getsockname()[0]
    forged = {
        "X-Forwarded-For": "203.0.113.66",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.66",
        "X-Forwarded-Host": "evil.example.com",
        "Forwarded": "for=203.0.113.66;proto=http;host=evil.example.com",
    }
    for headers in ({}, forged):
        request = visit().get("/server/?format=json", headers=headers).json()["request"]
        assert request["remote_addr"] == own, headers
        assert request["scheme"] == "https", headers
        assert request["host"] == "guestbook.example.com", headers


def test_cookies_travel_by_https_alone(visit):
    """Both are marked Secure, and no script reads the session's."""
    visitor = visit().sign_up(new_name("mia"))
    cookies = {cookie.name: cookie for cookie in visitor.session.cookies}
    assert set(cookies) == {"sessionid", "csrftoken"}
    assert all(cookie.secure for cookie in cookies.values())
    assert cookies["sessionid"].has_nonstandard_attr("HttpOnly")


@pytest.mark.parametrize("path", ["/", "/accounts/login/"])
def test_security_headers_are_sent_once(visit, path):
    """Each header stands in every answer, once, whether Django or nginx has set it."""
    visitor = visit()
    answer = visitor.session.get(visitor.base + path, stream=True)
    names = [name.lower() for name in answer.raw.headers]
    for header in ("x-content-type-options", "referrer-policy", "x-frame-options"):
        assert names.count(header) == 1, f"{header} in {names}"


def test_pages_of_the_second_site_are_kept_for_three_seconds(visit):
    """Visitors without a session see the kept page, from whichever host; who is signed in sees what was just written."""
    visitor = visit("second.example.com").sign_up(new_name("kim"))

    def kept() -> bool:
        """Write, and tell whether an anonymous visitor still saw the page of before, in the time that it has."""
        time.sleep(3.5)
        start = time.monotonic()
        before = visit("second.example.com").get("/").text
        text = new_name("Just written ")
        visitor.submit("/entries/new/", {"message": text}, form="/server/")
        assert text in visitor.get("/").text
        page = visit("second.example.com").get("/").text
        if time.monotonic() - start > 2.5:
            return False  # too slow to tell
        assert page == before
        until(lambda: text in visit("second.example.com").get("/").text, 5, "the page is kept for too long")
        return True

    assert any(kept() for _attempt in range(5)), "no page is ever shown twice"


def test_pages_of_the_first_site_are_not_kept(visit):
    """Without page_cache_seconds visitors without a session are answered by both hosts in turn."""
    assert {web_host(visit().get("/")) for _page in range(6)} == set(WEB)


@pytest.mark.parametrize("domain", ["guestbook.example.com", "second.example.com"])
def test_the_health_page_is_for_the_balancer_alone(health, visit, domain):
    """It reports app server, database and cache of each host; visitors are told that there is no such page."""
    for host in WEB:
        assert health(host, domain) == (200, {"app": "ok", "database": "ok", "cache": "ok"})
    for path in ("/_ntier/health", "//_ntier/health", "/_ntier/../_ntier/health", "/%5Fntier/health"):
        visitor = visit(domain)
        request = requests.Request("GET", visitor.base, headers=visitor.session.headers).prepare()
        request.url = visitor.base + path  # as it is written
        answer = visitor.session.send(request, verify=visitor.session.verify, allow_redirects=False, timeout=10)
        assert answer.status_code in (403, 404), f"{path}: {answer.status_code} {answer.text[:200]}"


def test_the_sites_know_their_own_rows(visit):
    """Two sites of the same project share neither visitors nor entries."""
    name = new_name("zoe")
    visitor = visit().sign_up(name)
    text = new_name("Only here ")
    write(visitor, text)
    assert text not in visit("second.example.com").get("/").text
    page = visit("second.example.com").submit("/accounts/login/", {"username": name, "password": visitor.password})
    assert "Signed in as" not in page.text


def test_the_statistics_come_from_one_cache(visit):
    """Whichever host computed them, all visitors see the same ones for a while."""
    pages = [visit().get("/statistics/") for _page in range(4)]
    assert {web_host(page) for page in pages} == set(WEB)
    found = [re.search(r'id="stat-computed"[^>]*datetime="([^"]+)"', page.text).group(1) for page in pages]
    assert len(set(found)) <= 2, found  # two, if their time was over in this moment
