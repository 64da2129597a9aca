"""The battery: one table of requests and of the answers that every provider of the tier web gives to them.

C(failures) sends all of them in one program on the host under test, and returns each answer that differs. The site is the guestbook at the root
of its domain. With a balancer in front, C(BALANCED) names the few rows that the balancer answers in its own way.
"""

from __future__ import annotations

import json
import typing as t

#: Runs on a host with {port, name, rows} as its argument, and prints status, headers in lower case and the beginning of the body for each row.
#: A row has path, method, host, headers, body, chunked (whether the body is), form (whether to send a CSRF token); pad, cookie, more: lengths of
#: padding in path, cookie and body; announced: Content-Length of a body that is not sent.
PROGRAM = r"""
import http.client, json, re, ssl, sys

given = json.loads(sys.argv[1])
port, name = given["port"], given["name"]

def opened():
    if port != 443:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    # Not from the address of a proxy: lighttpd would not know the scheme then.
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=ssl._create_unverified_context(),
                                             source_address=("127.0.0.2", 0))
    connection._context.check_hostname = False
    return connection

def ask(row):
    connection = opened()
    body = row.get("body", "").encode() + b"x" * row.get("more", 0)
    connection.putrequest(row.get("method", "GET"), row["path"] + "q" * row.get("pad", 0), skip_host=True, skip_accept_encoding=True)
    for key, value in [["Host", row.get("host", name)], *row.get("headers", [])]:
        connection.putheader(key, value)
    if row.get("cookie"):
        connection.putheader("Cookie", "a=" + "c" * row["cookie"])
    if row.get("chunked"):
        connection.putheader("Transfer-Encoding", "chunked")
    elif body or row.get("announced"):
        connection.putheader("Content-Length", str(row.get("announced") or len(body)))
    try:
        connection.endheaders()
        if row.get("chunked"):
            for start in range(0, len(body), 65536):
                piece = body[start : start + 65536]
                connection.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            connection.send(b"0\r\n\r\n")
        elif body:
            connection.send(body)
    except OSError:
        pass  # refused before all of it was sent: the answer is there
    answer = connection.getresponse()
    text = answer.read().decode("latin-1")
    connection.close()
    return [answer.status, {key.lower(): value for key, value in answer.getheaders()}, text[:20000]]

_status, headers, text = ask({"path": "/sign-up/"})
token = re.search('csrfmiddlewaretoken" value="([^"]+)', text)[1]
cookie = headers["set-cookie"].split(";")[0]
answers = []
for row in given["rows"]:
    if row.get("form"):
        scheme = "https" if port == 443 else "http"
        row["headers"] = [*row.get("headers", []), ["Cookie", cookie], ["X-CSRFToken", token], ["Referer", f"{scheme}://{name}/"],
                          ["Content-Type", "application/x-www-form-urlencoded"]]
    try:
        answers.append(ask(row))
    except (OSError, http.client.HTTPException) as error:
        answers.append([0, {}, repr(error)])
print(json.dumps(answers))
"""

#: Text of a page of the guestbook, of its own 404 page, and of the error pages of web servers.
PAGE, MISSING, OWN = "<h1>", "This page is not in the book", "<div class=bar>"
STYLE = "/static/entries/style.css"
#: The two passwords differ, so no account is created.
FORM = "username=chunky&password1=correct-horse-battery&password2=another-horse-9"
LONG = 20 << 20


class Row(t.NamedTuple):
    """A request and its answer.

    :ivar name: unique.
    :ivar request: its path, or what C(PROGRAM) takes for a row.
    :ivar status: of the answer.
    :ivar words: in its body.
    """

    name: str
    request: str | dict[str, t.Any]
    status: int
    words: str = ""


def _scheme(name: str, **headers: str) -> Row:
    """Return a row of a request with headers that claim a scheme: the site still sees the real one."""
    pairs = [[key.replace("_", "-"), value] for key, value in headers.items()]
    return Row(name, {"path": "/server/?format=json", "headers": pairs}, 200, '"scheme": "{scheme}"')


ROWS: tuple[Row, ...] = (
    # One limit for a request line and for a header, 15 kB.
    Row("a query of 4,200 characters", {"path": "/statistics/?", "pad": 4200}, 200, PAGE),
    Row("a query of 14,000 characters", {"path": "/statistics/?", "pad": 14000}, 200, PAGE),
    Row("a query of 17,000 characters", {"path": "/statistics/?", "pad": 17000}, 414, OWN),
    Row("a cookie of 14,000 characters", {"path": "/statistics/", "cookie": 14000}, 200, PAGE),
    Row("a cookie of 17,000 characters", {"path": "/statistics/", "cookie": 17000}, 400, OWN),
    Row(
        "90 headers",
        {"path": "/statistics/", "headers": [[f"X-Header-{number}", "x"] for number in range(90)]},
        200,
        PAGE,
    ),
    # Paths: a site gets them as the visitor sent them, decoded once.
    Row("a slash as %2F", "/statistics%2F", 200, PAGE),
    Row("a slash as %2F in a file's path", "/static%2Fentries/style.css", 200, ":root"),
    Row("two slashes at the end", "/statistics//", 404, MISSING),
    Row("two slashes at the beginning", "//statistics/", 404, MISSING),
    Row("two slashes in a file's path", "/static//entries/style.css", 200, ":root"),
    Row("dots", "/entries/../statistics/", 404, MISSING),
    Row("dots as %2E", "/entries/%2E%2E/statistics/", 404, MISSING),
    Row("dots out of the files", "/static/%2E%2E/statistics/", 404, MISSING),
    Row("a backslash", "/a%5Cb", 404, MISSING),
    Row("letters in UTF-8", "/%C3%BC/", 404, MISSING),
    Row("bytes that are no UTF-8", "/%FF/", 404, MISSING),
    Row("a percent sign alone", "/a%zz", 400, OWN),
    Row("a percent sign in a query", "/statistics/?a=%zz", 200, PAGE),
    Row("a semicolon", "/statistics/;x=1", 404, MISSING),
    Row("a path that the site completes", "/statistics", 301),
    # Pages of web servers' defaults do not exist here: the paths are the site's.
    Row("a page of another server", "/server-status", 404, MISSING),
    Row("a folder of another server", "/icons/", 404, MISSING),
    Row("a hidden file", "/.git/config", 404, MISSING),
    Row("the media health page by a site's name", "/_ntier/media-health", 404, MISSING),
    Row("another page below the health page", "/_ntier/none", 404, MISSING),
    # Files.
    Row("a file", STYLE, 200, ":root"),
    Row("a file with a query", f"{STYLE}?version=1", 200, ":root"),
    Row("a file's head", {"path": STYLE, "method": "HEAD"}, 200),
    Row("a part of a file", {"path": STYLE, "headers": [["Range", "bytes=0-4"]]}, 206, ":root"),
    Row("a part that is not there", {"path": STYLE, "headers": [["Range", "bytes=999999-"]]}, 416, OWN),
    Row("a file with a slash at the end", f"{STYLE}/", 404, OWN),
    Row("a path below a file", f"{STYLE}/x", 404, OWN),
    Row("a file that is not there", "/static/none.css", 404, OWN),
    Row("an upload that is not there", "/media/none.png", 404, OWN),
    Row("the folder of the static files", "/static/", 404, OWN),
    Row("a folder of static files", "/static/entries/", 404, OWN),
    Row("a folder without its slash", "/static/entries", 404, OWN),
    Row("the folder of the uploads", "/media/", 404, OWN),
    *(
        Row(f"{method} of a file", {"path": STYLE, "method": method}, 405, OWN)
        for method in ("DELETE", "OPTIONS", "PROPFIND")
    ),
    Row("POST of a file", {"path": STYLE, "method": "POST", "body": "x"}, 405, OWN),
    Row("PUT of a file", {"path": STYLE, "method": "PUT", "body": "x"}, 405, OWN),
    # Methods of pages.
    Row("a page's head", {"path": "/statistics/", "method": "HEAD"}, 200),
    *(
        Row(f"{method} of a page", {"path": "/statistics/", "method": method, "form": True}, 405)
        for method in ("OPTIONS", "DELETE", "PROPFIND")
    ),
    Row("PATCH of a page", {"path": "/statistics/", "method": "PATCH", "form": True, "body": "x"}, 405),
    # Bodies.
    Row("a form", {"path": "/sign-up/", "method": "POST", "form": True, "body": FORM}, 200, 'value="chunky"'),
    Row(
        "a form in chunks",
        {"path": "/sign-up/", "method": "POST", "form": True, "body": FORM, "chunked": True},
        200,
        'value="chunky"',
    ),
    Row(
        "a large form in chunks",
        {"path": "/sign-up/", "method": "POST", "form": True, "body": FORM + "&x=", "more": 90000, "chunked": True},
        200,
        'value="chunky"',
    ),
    Row(
        "no form, in chunks",
        {"path": "/sign-up/", "method": "POST", "form": True, "chunked": True},
        200,
        "This field is required",
    ),
    Row("a page with a body in chunks", {"path": "/statistics/", "body": "x", "chunked": True}, 200, PAGE),
    Row(
        "a body that is announced",
        {"path": "/sign-up/", "method": "POST", "form": True, "body": FORM, "headers": [["Expect", "100-continue"]]},
        200,
        'value="chunky"',
    ),
    Row(
        "a body over the limit", {"path": "/sign-up/", "method": "POST", "form": True, "announced": LONG + 9}, 413, OWN
    ),
    Row(
        "a body over the limit, in chunks",
        {"path": "/sign-up/", "method": "POST", "form": True, "more": LONG + 9, "chunked": True},
        413,
        OWN,
    ),
    # Names.
    Row("a name in capitals", {"path": "/statistics/", "host": "GUESTBOOK.EXAMPLE.COM"}, 200, PAGE),
    Row("a name with a port", {"path": "/statistics/", "host": "guestbook.example.com:8080"}, 200, PAGE),
    Row("a name with a dot at the end", {"path": "/statistics/", "host": "guestbook.example.com."}, 200, PAGE),
    Row("a name that no site has", {"path": "/statistics/", "host": "unknown.example.com"}, 421, OWN),
    Row("an address", {"path": "/statistics/", "host": "192.0.2.1"}, 421, OWN),
    Row("no name", {"path": "/statistics/", "host": "a b"}, 400, OWN),
    # Headers that claim a scheme.
    _scheme("X-Forwarded-Ssl: on", X_Forwarded_Ssl="on"),
    _scheme("X-Forwarded-Ssl: off", X_Forwarded_Ssl="off"),
    _scheme("X-Forwarded-Protocol: ssl", X_Forwarded_Protocol="ssl"),
    _scheme("X-Forwarded-Protocol: https", X_Forwarded_Protocol="https"),
    _scheme("X-Forwarded-Scheme: https", X_Forwarded_Scheme="https"),
    _scheme("Front-End-Https: on", Front_End_Https="on"),
    _scheme("Forwarded: proto=https", Forwarded="proto=https"),
)

#: Row → status and text of an answer that a balancer gives itself.
BALANCED: dict[str, tuple[int, str]] = {
    "a query of 17,000 characters": (400, ""),
    "a cookie of 17,000 characters": (400, ""),
    "no name": (421, OWN),
    "dots out of the files": (404, ""),
    "the media health page by a site's name": (404, OWN),
    "another page below the health page": (404, OWN),
}

#: Extension → media type; some of each kind, and those that distributions lack.
TYPES = {
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css",
    "html": "text/html; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "ics": "text/calendar; charset=utf-8",
    "xml": "text/xml",
    "json": "application/json",
    "map": "application/json",
    "webmanifest": "application/manifest+json",
    "geojson": "application/geo+json",
    "jsonld": "application/ld+json",
    "wasm": "application/wasm",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "eot": "application/vnd.ms-fontobject",
    "avif": "image/avif",
    "webp": "image/webp",
    "jxl": "image/jxl",
    "heic": "image/heic",
    "svg": "image/svg+xml",
    "png": "image/png",
    "JPG": "image/jpeg",
    "ico": "image/x-icon",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "m3u8": "application/vnd.apple.mpegurl",
    "opus": "audio/opus",
    "flac": "audio/flac",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "usdz": "model/vnd.usdz+zip",
    "gpx": "application/gpx+xml",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "zip": "application/zip",
    "apk": "application/vnd.android.package-archive",
    "unknown": "application/octet-stream",
}


def answers(
    host: t.Any, name: str, port: int, rows: t.Sequence[dict[str, t.Any]]
) -> list[tuple[int, dict[str, str], str]]:
    """Send requests from a host to itself; return status, headers and the beginning of the body of each answer.

    :arg host: as testinfra knows it.
    """
    given = json.dumps({"port": port, "name": name, "rows": rows})
    return [tuple(answer) for answer in json.loads(host.check_output("python3 -c %s %s", PROGRAM, given))]


def failures(host: t.Any, name: str, port: int, balanced: bool = False) -> list[str]:
    """Return what differs from the table, a line for each row."""
    scheme = "https" if port == 443 else "http"
    requests = [{"path": row.request} if isinstance(row.request, str) else dict(row.request) for row in ROWS]
    wrong = []
    for row, (status, headers, body) in zip(ROWS, answers(host, name, port, requests), strict=True):
        expected, words = row.status, row.words.replace("{scheme}", scheme)
        if balanced and row.name in BALANCED:
            expected, words = BALANCED[row.name]
        if words == OWN and not headers.get("content-type", "").startswith("text/html"):
            wrong.append(f"{row.name}: Content-Type {headers.get('content-type')}")
        if status != expected:
            wrong.append(f"{row.name}: {status}, not {expected}: {body[:80]!r}")
        elif words not in body:
            wrong.append(f"{row.name}: {status} without {words!r}: {body[:80]!r}")
    return wrong


def wrong_types(host: t.Any, name: str, port: int, folder: str) -> list[str]:
    """Return which files have another type than the table's.

    :arg folder: of the site's uploads, on that host.
    """
    host.check_output(
        f"mkdir -p {folder}/battery && cd {folder}/battery && for name in {' '.join(TYPES)}; do echo x > file.$name; done"
        f" && chown -R --reference={folder} {folder}/battery"
    )
    found = answers(host, name, port, [{"path": f"/media/battery/file.{extension}"} for extension in TYPES])
    host.check_output(f"rm -r {folder}/battery")
    return [
        f"{extension}: {status} {headers.get('content-type')}, not {expected}"
        for (extension, expected), (status, headers, _body) in zip(TYPES.items(), found, strict=True)
        if (status, headers.get("content-type")) != (200, expected)
    ]
