"""Constant requests to the guestbook, on a test host, every answer counted: visitors.py ORDER, a JSON file like this:

    address, domain         where to, and as which site
    scheme                  https, unless it is http
    versions                whether pages and style sheets name their version, and have to be of one; true unless it is said
    word                    what the names of those who sign up, and so the texts that they write, begin with
    seconds, most           how long and how many requests at the most
    readers, readers2       visitors who read, by HTTP/1.1 and by HTTP/2
    writers, uploaders      visitors who sign up, write, and send pictures
    stay                    entries that a writer writes until he signs out and in again, 15 unless it is said. Each time a password is
                            hashed, which takes half a second of a core on purpose
    pause                   seconds between a visitor's requests
    patience                seconds that a visitor waits for an answer
    folder                  where C(progress.json) is written all the time, C(report.json) at the end, and C(stop) is looked for;
                            C(events.csv) has a line for every answer: time of day in seconds, kind, status, milliseconds

A visitor asks once. What is not as it should be is a failure: another status, no answer, a page that is a mixture of two
versions, a style sheet of another version than its page, an entry that is not there after it was written, a picture
that comes back with other bytes. Once C(stop) is there, every request that is on its way is waited for and counted.

DNS leads visitors elsewhere when C(where.json) is in the folder, with C(address) and C(scheme): before their next journey they
connect anew. Who is sent on to https with a whole address goes there, and stays with https. Cookies are as browsers have
them: a Secure one is neither taken nor sent by http.

The report: C(sent) and C(answered) requests; C(failed), how many failures, and C(failures), what went wrong and when;
C(answers): kind → status → how many; C(protocols), C(versions), C(hosts): how many of each; C(seen): when which web host
began to answer with which version; C(places): visitor → where he came last, address and scheme; C(again): visitor → how many
requests he sent once more; C(written) and C(uploaded): the texts of the entries that were accepted; C(pictures): path →
SHA-256 of each that came back; C(slowest): kind → seconds and the time of day.
"""

from __future__ import annotations

import collections
import gzip
import hashlib
import http.client
import json
import pathlib
import random
import re
import select
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
import zlib

PASSWORD = "correct-horse-battery"
PAGES = ["/", "/", "/", "/statistics/", "/accounts/login/", "/slow/"]
#: How long after a page some visitors ask for its style sheet once more.
LATER = 30


class Order:
    """What was asked for, and whether it is enough."""

    def __init__(self, values: dict) -> None:
        self.__dict__.update({"scheme": "https", "versions": True, "stay": 15, **values})
        self.folder = pathlib.Path(values["folder"])
        self.start = time.monotonic()
        self.ended = ""

    def now(self) -> float:
        """Return the seconds since the beginning."""
        return round(time.monotonic() - self.start, 2)

    def where(self) -> tuple[str, str]:
        """Return the address and the scheme by which visitors come now."""
        file = self.folder / "where.json"
        if file.exists():
            self.__dict__.update(json.loads(file.read_text()))
        return self.address, self.scheme

    def enough(self, sent: int) -> bool:
        """Tell whether to stop, and remember why."""
        if not self.ended:
            if (self.folder / "stop").exists():
                self.ended = "stop"
            elif self.now() > self.seconds:
                self.ended = "seconds"
            elif sent >= self.most:
                self.ended = "most"
        return bool(self.ended)


class Book:
    """Where everything is counted."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.lock = threading.Lock()
        self.events = (order.folder / "events.csv").open("w", buffering=1)
        self.sent = self.answered = self.failed = 0
        self.answers: dict = collections.defaultdict(collections.Counter)
        self.slowest: dict = {}
        self.protocols: collections.Counter = collections.Counter()
        self.versions: collections.Counter = collections.Counter()
        self.hosts: collections.Counter = collections.Counter()
        self.failures: list = []
        self.seen: list = []
        self.written: list = []
        self.uploaded: list = []
        self.pictures: dict = {}
        self.places: dict = {}
        self.again: dict = {}

    def ask(self) -> bool:
        """Count a request that is about to be sent, unless it is enough."""
        with self.lock:
            if self.order.enough(self.sent):
                return False
            self.sent += 1
            return True

    def answer(self, kind: str, protocol: str, status: str, took: float) -> None:
        """Count what came of it: a status, or an exception."""
        with self.lock:
            self.answered += 1
            self.protocols[protocol] += 1
            self.answers[kind][status] += 1
            self.events.write(f"{time.time():.3f},{kind},{status},{took * 1000:.0f}\n")
            self.slowest[kind] = max(self.slowest.get(kind, (0, "")), (round(took, 2), time.strftime("%H:%M:%S")))

    def fail(self, kind: str, what: str, body: str = "", took: float = 0.0) -> None:
        """Count a failure."""
        with self.lock:
            self.failed += 1
            if len(self.failures) < 300:
                at = self.order.now()
                self.failures.append(
                    {
                        "kind": kind,
                        "what": what,
                        "at": at,
                        "took": round(took, 2),
                        "when": time.time(),
                        "time": time.strftime("%H:%M:%S"),
                        "body": body[:400],
                    }
                )

    def page(self, host: str, version: str) -> None:
        """Count a page, and note when a host answers with another version than before."""
        with self.lock:
            self.versions[version] += 1
            self.hosts[host] += 1
            last = [entry for entry in self.seen if entry[1] == host]
            if not last or last[-1][2] != version:
                self.seen.append([self.order.now(), host, version])

    def report(self) -> str:
        """Return everything as JSON."""
        with self.lock:
            report = {name: value for name, value in vars(self).items() if name not in ("order", "lock", "events")}
            return json.dumps({**report, "seconds": self.order.now(), "ended": self.order.ended})


class Enough(Exception):
    """It is time to go."""


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: dict[str, list[str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body
        if headers.get("content-encoding") == ["gzip"]:
            self.body = gzip.decompress(body)
        self.text = self.body.decode(errors="replace")


def tls(protocol: str) -> ssl.SSLContext:
    """Return how to speak TLS; certificates are other tests' subject."""
    context = ssl._create_unverified_context()
    context.set_alpn_protocols([protocol])
    return context


class Http1:
    """A connection by HTTP/1.1, which is kept as long as the other side keeps it."""

    protocol = "HTTP/1.1"

    def __init__(self, order: Order) -> None:
        self.order = order
        self.context = tls("http/1.1")
        self.connection = None
        self.began = False  # the answer
        self.again = 0  # requests that were sent once more
        self.address, self.scheme = order.address, order.scheme

    def go(self, address: str, scheme: str) -> None:
        """Go on at another address, or by another scheme."""
        if (address, scheme) != (self.address, self.scheme) and self.connection:
            self.close()
        self.address, self.scheme = address, scheme

    def send(self, method: str, path: str, headers: dict, body=None) -> Answer:
        """Send a request and return its answer; *body* is bytes, or parts of them that come slowly."""
        # A server may end a connection between two requests; like a browser, look before the next one.
        idle = self.connection.sock if self.connection else None
        if idle and select.select([idle], [], [], 0)[0]:
            self.close()
        reused = self.connection is not None
        try:
            return self.exchange(method, path, headers, body)
        except (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected):
            # It ended while the request was on its way there: what only reads is asked once more, as browsers and RFC 9112, 9.3.1 have it.
            if not (reused and method == "GET") or self.began:
                raise
            self.again += 1
            return self.exchange(method, path, headers, body)

    def close(self) -> None:
        """Forget the connection."""
        if self.connection:
            self.connection.close()
        self.connection = None

    def exchange(self, method: str, path: str, headers: dict, body) -> Answer:
        """Send a request on the connection, or on a new one where there is none, and return its answer."""
        self.began = False
        if self.connection is None:
            place, patience = self.address, self.order.patience
            if self.scheme == "http":
                self.connection = http.client.HTTPConnection(place, timeout=patience)
            else:
                self.connection = http.client.HTTPSConnection(place, timeout=patience, context=self.context)
        try:
            self.connection.request(method, path, body=body, headers={"Host": self.order.domain, **headers})
            answer = self.connection.getresponse()
            self.began = True
            found: dict = collections.defaultdict(list)
            for name, value in answer.getheaders():
                found[name.lower()].append(value)
            return Answer(answer.status, found, answer.read())
        except BaseException:
            self.close()
            raise


class Http2:
    """A connection by HTTP/2; one request at a time."""

    protocol = "HTTP/2"
    scheme = "https"
    again = 0

    def __init__(self, order: Order) -> None:
        self.order = order
        self.socket = None
        self.address = order.address

    def go(self, address: str, scheme: str) -> None:
        """Go on at another address."""
        if address != self.address:
            self.close()
        self.address = address

    def connect(self) -> None:
        """Shake hands."""
        import h2.config
        import h2.connection

        plain = socket.create_connection((self.address, 443), timeout=self.order.patience)
        self.socket = tls("h2").wrap_socket(plain, server_hostname=self.order.domain)
        if self.socket.selected_alpn_protocol() != "h2":
            raise ConnectionError("the balancer does not speak HTTP/2")

        class Connection(h2.connection.H2Connection):
            """Takes the answers to what was sent before a GOAWAY, as RFC 9113 has it; h2 takes nothing after one."""

            def _receive_goaway_frame(self, frame):
                state = self.state_machine.state
                try:
                    return super()._receive_goaway_frame(frame)
                finally:
                    self.state_machine.state = state

        self.h2 = Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.socket.sendall(self.h2.data_to_send())
        self.ending = False

    def close(self) -> None:
        """Forget the connection."""
        if self.socket:
            self.socket.close()
        self.socket = None

    def send(self, method: str, path: str, headers: dict, body=None) -> Answer:
        """Send a request without a body and return its answer."""
        import h2.events

        try:
            if self.socket is None:
                self.connect()
            stream = self.h2.get_next_available_stream_id()
            lines = [(":method", method), (":scheme", "https"), (":authority", self.order.domain), (":path", path)]
            self.h2.send_headers(
                stream, lines + [(name.lower(), value) for name, value in headers.items()], end_stream=True
            )
            self.socket.sendall(self.h2.data_to_send())
            end = time.monotonic() + self.order.patience
            found: dict = collections.defaultdict(list)
            content, done = b"", False
            while not done:
                if time.monotonic() > end:
                    raise TimeoutError("no whole answer")
                data = self.socket.recv(65536)
                if not data:
                    raise ConnectionError("the connection ended before the answer")
                for event in self.h2.receive_data(data):
                    if isinstance(event, h2.events.ConnectionTerminated):
                        self.ending = True
                        if event.last_stream_id is not None and event.last_stream_id < stream:
                            raise ConnectionError("the connection was ended, and the request not taken")
                    elif getattr(event, "stream_id", None) != stream:
                        continue
                    elif isinstance(event, h2.events.ResponseReceived):
                        for name, value in event.headers:
                            found[name].append(value)
                    elif isinstance(event, h2.events.DataReceived):
                        content += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, h2.events.StreamReset):
                        raise ConnectionError(f"the answer was broken off: {event.error_code}")
                    elif isinstance(event, h2.events.StreamEnded):
                        done = True
                self.socket.sendall(self.h2.data_to_send())
            if self.ending:
                self.close()
            return Answer(int(found[":status"][0]), found, content)
        except BaseException:
            self.close()
            raise


class Visitor(threading.Thread):
    """Does its journeys again and again."""

    def __init__(self, order: Order, book: Book, name: str, line) -> None:
        super().__init__(name=name)
        self.order, self.book, self.line = order, book, line
        self.cookies: dict[str, str] = {}
        self.secure: set[str] = set()
        self.told: tuple[str, str] = (order.address, order.scheme)
        self.random = random.Random(name)

    def look_where(self) -> None:
        """Go where DNS leads; by http again, as somebody new."""
        told = self.order.where()
        if told != self.told:
            self.told = told
            self.line.go(*told)
            if told[1] == "http":
                self.forget()
        self.book.places[self.name] = [self.line.address, self.line.scheme]
        self.book.again[self.name] = self.line.again

    def forget(self) -> None:
        """Have no cookies."""
        self.cookies, self.secure = {}, set()

    def run(self) -> None:
        """Go on until it is enough."""
        time.sleep(self.random.random() * self.order.pause * 5)
        while True:
            try:
                self.look_where()
                self.journey()
            except Enough:
                return
            except Exception:
                self.book.fail("load generator", traceback.format_exc(limit=-2))
                time.sleep(1)

    def ask(
        self, kind: str, path: str, *, method: str = "GET", expect: int = 200, headers: dict | None = None, body=None
    ) -> Answer | None:
        """Ask once, count it, and return the answer if it is the one that was expected."""
        time.sleep(self.order.pause * (0.5 + self.random.random()))
        if not self.book.ask():
            raise Enough
        headers = dict(headers or {})
        safe = self.line.scheme == "https"
        cookies = [f"{name}={value}" for name, value in self.cookies.items() if safe or name not in self.secure]
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        before = time.monotonic()
        try:
            answer = self.line.send(method, path, headers, body)
        except Exception as error:
            took = time.monotonic() - before
            self.book.answer(kind, self.line.protocol, type(error).__name__, took)
            self.book.fail(kind, f"{method} {path}: {error!r}", took=took)
            return None
        took = time.monotonic() - before
        self.book.answer(kind, self.line.protocol, str(answer.status), took)
        for cookie in answer.headers.get("set-cookie", []):
            name, value = cookie.split(";")[0].split("=", 1)
            secure = "secure" in [word.strip().lower() for word in cookie.split(";")[1:]]
            if not safe and (secure or name in self.secure):
                continue
            (self.secure.add if secure else self.secure.discard)(name)
            self.cookies[name] = value
            if not value or value == '""':
                del self.cookies[name]
        place = answer.headers.get("location", [""])[0]
        if not safe and answer.status == 302 and place == f"https://{self.order.domain}{path}":
            self.line.go(self.line.address, "https")
            return self.ask(kind, path, method=method, expect=expect, headers=headers, body=body)
        if answer.status != expect:
            self.book.fail(kind, f"{method} {path}: {answer.status} instead of {expect}", answer.text, took)
            return None
        return answer

    def page(self, kind: str, path: str, **more) -> Answer | None:
        """Ask for a page, whose parts have to be of one version."""
        headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", **(more.pop("headers", None) or {})}
        answer = self.ask(kind, path, headers=headers, **more)
        if not answer or not self.order.versions:
            return answer
        parts = [
            re.findall(pattern, answer.text)
            for pattern in (r'data-template="(\w+)"', r'data-code="(\w+)"', r'id="web-host">([^<]+)<')
        ]
        if [len(part) for part in parts] != [1, 1, 1]:
            self.book.fail(kind, f"{path}: not a whole page of one version: {parts}", answer.text)
            return None
        (template,), (code,), (host,) = parts
        if template != code:
            self.book.fail(kind, f"{path}: {host} mixes a template of {template} with code of {code}", answer.text)
        self.book.page(host, code)
        answer.version = code
        return answer

    def style(self, kind: str, path: str, version: str, headers: dict | None = None) -> None:
        """Ask for a page's style sheet, which has to be of the page's version."""
        answer = self.ask(kind, path, headers=headers)
        if answer and re.findall(r"/\* version: (\w+) \*/", answer.text) != [version]:
            self.book.fail(kind, f"{path}: a page of {version} refers to another version's", answer.text[-300:])


class Reader(Visitor):
    """Reads pages with their style sheets; remembers some, and asks for the style sheet again when another version may be live."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.remembered: collections.deque = collections.deque()
        self.headers = {"Accept-Encoding": "gzip"} if self.random.random() < 0.5 else {}

    def journey(self) -> None:
        """Read a page."""
        path = self.random.choice([path for path in PAGES if path != "/slow/" or self.order.versions])
        page = self.page("slow page" if path == "/slow/" else "page", path, headers=self.headers)
        if page:
            found = re.search(r'href="(/static/entries/style\.[0-9a-f]+\.css)"', page.text)
            if not found:
                self.book.fail("page", "the page refers to no style sheet with a hash in its name", page.text)
            elif not self.order.versions:
                self.ask("style", found[1], headers=self.headers)
            else:
                self.style("style", found[1], page.version, self.headers)
                if not self.remembered or time.monotonic() - self.remembered[-1][0] > 5:
                    self.remembered.append((time.monotonic(), found[1], page.version))
        if self.remembered and time.monotonic() - self.remembered[0][0] > LATER:
            _when, path, version = self.remembered.popleft()
            self.style("style of an older page", path, version, self.headers)


class Writer(Visitor):
    """Signs up, writes, looks whether it is there, signs out and in again."""

    signed_in = ""
    number = 0

    def forget(self) -> None:
        """Have no cookies, and so not be signed in."""
        super().forget()
        self.signed_in = ""

    def token(self, page: Answer) -> str:
        """Return the secret of a form."""
        return re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]

    def post(self, kind: str, form: str, path: str, fields: dict) -> Answer | None:
        """Fill in a form and send it, which has to be answered with a redirection."""
        page = self.page("form", form)
        if not page:
            return None
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": self.token(page), **fields}).encode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Referer": f"{self.line.scheme}://{self.order.domain}{form}",
        }
        return self.ask(kind, path, method="POST", expect=302, headers=headers, body=body)

    def home(self) -> Answer | None:
        """Read the first page as somebody who is signed in."""
        page = self.page("home", "/")
        if page and f"Signed in as <strong>{self.signed_in}</strong>" not in page.text:
            self.book.fail("home", f"{self.signed_in} is not signed in any more", page.text[-1500:])
            self.signed_in = ""
            return None
        return page

    def come_in(self) -> bool:
        """Sign up as somebody new."""
        self.forget()
        name = f"{self.order.word}-{self.name}-{time.time_ns()}"
        if not self.post(
            "sign up", "/sign-up/", "/sign-up/", {"username": name, "password1": PASSWORD, "password2": PASSWORD}
        ):
            return False
        self.signed_in = name
        return bool(self.home())

    def journey(self) -> None:
        """Write an entry; sometimes sign out and in again before."""
        if not self.signed_in and not self.come_in():
            time.sleep(1)
            return
        self.number += 1
        if self.number % self.order.stay == 0:
            if not self.post("sign out", "/", "/accounts/logout/", {}):
                self.signed_in = ""
                return
            fields = {"username": self.signed_in, "password": PASSWORD}
            if not self.post("sign in", "/accounts/login/", "/accounts/login/", fields) or not self.home():
                self.signed_in = ""
                return
        self.write(f"{self.signed_in} writes number {self.number}.")

    def look_for(self, text: str) -> str | None:
        """Return the one entry of a text, as it is shown on the first page, or a later one where others have written since."""
        looked = 0
        again = True
        for number in range(1, 6):
            page = self.page("home", f"/?page={number}") if number > 1 else self.home()
            if page and again and number == 1 and text not in page.text and 'rel="next"' not in page.text:
                # Few have written yet. The pages were counted before the entries were read, and what was written in between has taken its place.
                page, again = self.home(), False
            if not page:
                return None
            looked = number
            entries = [entry for entry in page.text.split("<article ")[1:] if text in entry]
            if len(entries) == 1:
                return entries[0]
            if entries or 'rel="next"' not in page.text:
                break
        self.book.fail("home", f"the entry is there {len(entries)} times on {looked} pages: {text}", page.text[-1500:])
        return None

    def write(self, text: str) -> None:
        """Write an entry and look for it."""
        if self.post("entry", "/", "/entries/new/", {"message": text}):
            self.book.written.append(text)
            self.look_for(text)


class Uploader(Writer):
    """Writes entries with pictures, some by a slow line, and looks at them."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.pictures: list[tuple[str, bytes]] = []

    def picture(self) -> bytes:
        """Return a picture that nobody else has: a PNG of noise."""
        side = self.random.choice([20, 60, 200])
        rows = b"".join(b"\0" + self.random.randbytes(side * 3) for _row in range(side))

        def chunk(kind: bytes, data: bytes) -> bytes:
            return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

        head = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
        return (
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
        )

    def slowly(self, body: bytes):
        """Yield the body in pieces, for some seconds."""
        for start in range(0, len(body), len(body) // 6 + 1):
            time.sleep(0.5)
            yield body[start : start + len(body) // 6 + 1]

    def write(self, text: str) -> None:
        """Send a picture and get it back; look at an old one, too."""
        form = self.home()
        if not form:
            return
        picture, edge = self.picture(), f"edge{self.random.getrandbits(64):x}"
        fields = {"csrfmiddlewaretoken": self.token(form), "message": text}
        body = "".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ).encode()
        body += f'--{edge}\r\nContent-Disposition: form-data; name="picture"; filename="noise.png"\r\nContent-Type: image/png\r\n\r\n'.encode()
        body += picture + f"\r\n--{edge}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={edge}", "Content-Length": str(len(body))}
        headers["Referer"] = f"{self.line.scheme}://{self.order.domain}/"
        slow = self.number % 3 == 0
        kind = "slow upload" if slow else "upload"
        if not self.ask(
            kind, "/entries/new/", method="POST", expect=302, headers=headers, body=self.slowly(body) if slow else body
        ):
            return
        self.book.uploaded.append(text)
        entry = self.look_for(text)
        if not entry:
            return
        found = re.search(r'src="(/media/[^"]+)"', entry)
        if not found:
            self.book.fail("home", f"the entry has no picture: {text}", entry)
            return
        self.pictures.append((found[1], picture))
        self.book.pictures[found[1]] = hashlib.sha256(picture).hexdigest()
        for path, content in dict.fromkeys([self.pictures[-1], self.random.choice(self.pictures)]):
            answer = self.ask("picture", path)
            if answer and answer.body != content:
                self.book.fail("picture", f"{path}: {len(answer.body)} bytes, and not those that were sent")


def write(path: pathlib.Path, report: str) -> None:
    """Write a report in one step, for readers who come at any time."""
    path.with_suffix(".new").write_text(report)
    path.with_suffix(".new").rename(path)


def main(file: str) -> None:
    """Have all visitors come, and write the report when the last is gone."""
    order = Order(json.loads(pathlib.Path(file).read_text()))
    book = Book(order)
    kinds = [
        (Reader, Http1, order.readers),
        (Reader, Http2, order.readers2),
        (Writer, Http1, order.writers),
        (Uploader, Http1, order.uploaders),
    ]
    visitors = [
        kind(order, book, f"{kind.__name__.lower()}{line.__name__[-1]}{number}", line(order))
        for kind, line, count in kinds
        for number in range(count)
    ]
    for visitor in visitors:
        visitor.start()
    while any(visitor.is_alive() for visitor in visitors):
        write(order.folder / "progress.json", book.report())
        time.sleep(0.5)
    write(order.folder / "progress.json", book.report())
    write(order.folder / "report.json", book.report())


if __name__ == "__main__":
    main(sys.argv[1])
