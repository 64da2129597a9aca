"""What every provider of the tier web has to do for visitors: the same checks for all of them.

A scenario makes a L(Subject) and calls each function of L(CHECKS) with it, for instance with C(pytest.mark.parametrize).
The site is the guestbook at the root of its domain. C(websockets_work) is for a site with an ASGI application that
echoes, and no part of the list.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import re
import time
import typing as t

import battery


@dataclasses.dataclass
class Subject:
    """A web host and its visitors.

    :ivar visit: called with a domain, it returns a new visitor's browser (C(molecule/conftest.py)), of the host or of its balancer.
    :ivar host: the web host, as testinfra knows it.
    :ivar picture: a small PNG.
    :ivar domain: the guestbook's.
    :ivar site: the guestbook's name.
    :ivar port: of the web server.
    """

    visit: t.Callable[[str], t.Any]
    host: t.Any
    picture: bytes
    domain: str = "guestbook.example.com"
    site: str = "guestbook"
    port: int = 80

    def ask(self, path: str, *, method: str = "GET", host: str | None = None, **headers: str) -> dict:
        """Ask the web server from the host itself; return C(status), C(headers) (pairs) and C(body)."""
        values = {"Host": host or self.domain, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return json.loads(
            self.host.check_output("python3 -c %s %s", ASK, json.dumps([self.port, method, path, values]))
        )


ASK = """
import http.client, json, sys
port, method, path, headers = json.loads(sys.argv[1])
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
connection.request(method, path, headers=headers)
answer = connection.getresponse()
print(json.dumps({"status": answer.status, "headers": answer.getheaders(), "body": answer.read().decode("latin-1")}))
"""

#: Visitors on connections of their own: arguments are port, host name, path and seconds; prints how many were a page or the way to https, and what else came.
LOAD = """
import http.client, json, sys, threading, time
port, name, path, seconds = json.loads(sys.argv[1])
end, failed, sent = time.time() + seconds, [], []
def visitor():
    while time.time() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", path, headers={"Host": name, "Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            status = answer.status
        except Exception as error:
            status = repr(error)
        (sent if status in (200, 301) else failed).append(status)
threads = [threading.Thread(target=visitor) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps([len(sent), failed[:5]]))
"""

#: A visitor with a websocket and no library, by TLS at port 443: arguments are port, host name and path; prints status and echo.
WEBSOCKET = """
import json, os, socket, ssl, sys
port, name, path = json.loads(sys.argv[1])
connection = socket.create_connection(("127.0.0.1", port), timeout=20)
if port == 443:
    connection = ssl._create_unverified_context().wrap_socket(connection, server_hostname=name)
connection.sendall((f"GET {path} HTTP/1.1\\r\\nHost: {name}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\nSec-WebSocket-Version: 13\\r\\n\\r\\n").encode())
stream = connection.makefile("rb")
status = int(stream.readline().split()[1])
while stream.readline().strip():
    pass
echoes = []
if status == 101:
    for text in (b"one", b"two"):
        mask = os.urandom(4)
        connection.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(a ^ mask[i % 4] for i, a in enumerate(text)))
        first, length = stream.read(2)
        echoes.append(stream.read(length).decode())
print(json.dumps([status, echoes]))
"""


def pages_sessions_and_uploads_work(subject: Subject) -> None:
    """Sign up, which needs a CSRF token and a session; write with a picture; read both back."""
    name = f"ada{time.time_ns()}"
    browser = subject.visit(subject.domain).sign_up(name)
    files = {"picture": ("dot.png", subject.picture, "image/png")}
    page = browser.submit("/entries/new/", {"message": f"From {name}: ü"}, form="/", files=files)
    assert f"From {name}: ü" in page.text
    image = re.search(r'src="(/media/pictures/[^"]+)"', page.text).group(1)
    answer = browser.get(image)
    assert answer.content == subject.picture
    assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
    assert f"Signed in as <strong>{name}</strong>" in browser.get("/").text
    assert "Signed in as" not in subject.visit(subject.domain).get("/").text


def static_files_are_kept_for_ever_and_compressed(subject: Subject) -> None:
    """A name with a hash may be kept for ever, one without for minutes, and what is missing not at all."""
    browser = subject.visit(subject.domain)
    style = re.search(r'href="(/static/entries/style\.[0-9a-f]{12}\.css)"', browser.get("/").text).group(1)
    answer = browser.get(style)
    assert answer.headers["Content-Type"].startswith("text/css")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert browser.get("/static/entries/style.css").headers["Cache-Control"] == "public, max-age=300"
    missing = browser.get("/static/entries/style.0123456789ab.css")
    assert missing.status_code == 404
    assert "Cache-Control" not in missing.headers


def folders_are_not_listed(subject: Subject) -> None:
    """Nobody reads the names of all uploads."""
    assert subject.visit(subject.domain).get("/media/").status_code in (403, 404)


def pages_are_compressed(subject: Subject) -> None:
    """A page of some length comes compressed to who takes it; with lighttpd when it has it in one piece, which is not each time."""
    browser = subject.visit(subject.domain)
    assert any(browser.get("/").headers.get("Content-Encoding") == "gzip" for _try in range(20))
    assert "Content-Encoding" not in browser.get("/", headers={"Accept-Encoding": "identity"}).headers


def security_headers_are_sent_once(subject: Subject) -> None:
    """Each stands in the answer once, whether the site or the web server sets it."""
    names = [name.lower() for name, _value in subject.ask("/")["headers"]]
    for header in ("x-content-type-options", "referrer-policy", "x-frame-options"):
        assert names.count(header) == 1, f"{header} in {names}"


def the_health_page_is_for_the_host_and_its_balancers(subject: Subject) -> None:
    """The host itself is told how the site is, and a visitor is not."""
    answer = subject.ask("/_ntier/health")
    assert answer["status"] == 200
    assert json.loads(answer["body"]) == {"app": "ok", "database": "ok", "cache": "ok"}
    assert subject.visit(subject.domain).get("/_ntier/health").status_code in (
        403,
        404,
    )  # a balancer knows no such page


def unknown_names_are_misdirected(subject: Subject) -> None:
    """A name that no site has gets no site's page."""
    for name in ("nobody.example.com", "127.0.0.1", f"x{subject.domain}"):
        assert subject.ask("/", host=name)["status"] == 421, name


def bodies_over_the_limit_are_refused(subject: Subject) -> None:
    """More than 20 MB is refused before it is sent, and less is not."""
    assert subject.ask("/", method="POST", Content_Length=str(21 << 20))["status"] == 413
    browser = subject.visit(subject.domain)
    assert browser.session.post(f"{browser.base}/", data=b"x" * (19 << 20), timeout=60).status_code != 413


def the_answers_are_those_of_every_provider(subject: Subject) -> None:
    """The battery: paths, bodies, lengths, methods, names and errors."""
    wrong = battery.failures(subject.host, subject.domain, subject.port)
    assert not wrong, "\n".join(wrong)


def files_have_the_types_of_every_provider(subject: Subject) -> None:
    """A file has the same media type behind each of them, whatever its distribution knows."""
    wrong = battery.wrong_types(subject.host, subject.domain, subject.port, f"/srv/media/{subject.site}/media")
    assert not wrong, "\n".join(wrong)


def visitors_do_not_choose_their_address(subject: Subject) -> None:
    """Who is no known proxy may say what he wants of address and scheme: it counts for nothing."""
    browser = subject.visit(subject.domain)
    lies = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "X_Real_IP": "203.0.113.9"}
    answer = browser.get(
        "/server/?format=json", headers={**lies, "X-Forwarded-Proto": "https", "X_Forwarded_Proto": "https"}
    )
    request = answer.json()["request"]
    assert request["remote_addr"] not in ("", "127.0.0.1", "203.0.113.9")
    assert "203.0.113.9" not in json.dumps(request)
    assert request["scheme"] == browser.base.partition(":")[0]


def a_restart_of_the_app_server_fails_no_request(subject: Subject) -> None:
    """Requests wait for the restart, and none fails."""
    arguments = json.dumps([subject.port, subject.domain, "/", 10])
    output = subject.host.check_output(
        "python3 -c %s %s > /root/load.out & pid=$!; sleep 1; for i in 1 2 3; do"
        f" systemctl restart django@{subject.site}; sleep 1; done; wait $pid; cat /root/load.out",
        LOAD,
        arguments,
    )
    sent, failed = json.loads(output)
    assert sent > 10
    assert failed == [], failed


def a_form_waits_for_a_busy_app_server(subject: Subject) -> None:
    """What a form sends may be more than the buffers on its way take while no worker is free: it waits, and nobody gives up meanwhile."""

    def send(_number: int) -> tuple[int, float]:
        browser, start = subject.visit(subject.domain), time.monotonic()
        answer = browser.session.post(f"{browser.base}/", data=b"x" * (1 << 20), timeout=60)
        return answer.status_code, time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(9) as pool:
        busy = pool.submit(
            subject.host.check_output,
            f"pids=$(pgrep -u {subject.site}); kill -STOP $pids; sleep 8; kill -CONT $pids",
        )
        time.sleep(1)
        # A balancer gives some of them to another host.
        sent = list(pool.map(send, range(8)))
        busy.result()
    assert {status for status, _seconds in sent} == {403}, sent  # it has no token
    assert max(seconds for _status, seconds in sent) > 5, sent


def a_reload_of_the_web_server_fails_no_request(subject: Subject, service: str) -> None:
    """A changed configuration is taken over without a failed request. Not for Apache, which gives its daemon processes three seconds."""
    arguments = json.dumps([subject.port, subject.domain, "/", 8])
    output = subject.host.check_output(
        "python3 -c %s %s > /root/load.out & pid=$!; sleep 1; for i in 1 2 3; do"
        f" systemctl reload {service}; sleep 1; done; wait $pid; cat /root/load.out",
        LOAD,
        arguments,
    )
    sent, failed = json.loads(output)
    assert sent > 10
    assert failed == [], failed


def websockets_work(subject: Subject, path: str = "/") -> list[str]:
    """Open a websocket and have two words echoed; return the echoes, which the site may put something before."""
    output = subject.host.check_output("python3 -c %s %s", WEBSOCKET, json.dumps([subject.port, subject.domain, path]))
    status, echoes = json.loads(output)
    assert status == 101
    assert [echo.split()[-1] for echo in echoes] == ["one", "two"]
    return echoes


def only_the_provider_runs(subject: Subject, provider: str) -> None:
    """What a swap left behind is off, does not listen, and has none of its configuration."""
    server = provider.partition("_")[0]
    programs = {"nginx": "nginx", "lighttpd": "lighttpd", "apache": "apache2"}
    assert subject.host.check_output("ss -Hltn sport = :%s", str(subject.port))
    for name, program in programs.items():
        active = subject.host.run("systemctl is-active %s", program).stdout.strip() == "active"
        enabled = subject.host.run("systemctl is-enabled %s", program).stdout.strip() == "enabled"
        assert (active, enabled) == (name == server, name == server), f"{program} on a host of {provider}"
    app_servers = subject.host.run("ps -eo args").stdout
    for name, words in {"gunicorn": "/gunicorn ", "granian": "ntier_granian", "uwsgi": "ntier_uwsgi"}.items():
        assert (words in app_servers) is provider.endswith(f"_{name}"), f"{name} among the processes"
    assert json.loads(subject.host.file("/etc/ntier/web_provider.json").content_string) == {"provider": provider}


#: What every provider has to pass, in an order in which a fault of one says little about the next.
CHECKS: tuple[t.Callable[[Subject], None], ...] = (
    pages_sessions_and_uploads_work,
    static_files_are_kept_for_ever_and_compressed,
    folders_are_not_listed,
    pages_are_compressed,
    security_headers_are_sent_once,
    the_health_page_is_for_the_host_and_its_balancers,
    unknown_names_are_misdirected,
    bodies_over_the_limit_are_refused,
    the_answers_are_those_of_every_provider,
    files_have_the_types_of_every_provider,
    visitors_do_not_choose_their_address,
    a_restart_of_the_app_server_fails_no_request,
    a_form_waits_for_a_busy_app_server,
)
SERVICES = {"nginx": "nginx", "lighttpd": "lighttpd", "apache": "apache2"}
