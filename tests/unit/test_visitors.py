"""What the load generator's connections take for a failure."""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "molecule/shared"))

import visitors

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: A server's first connection: what it answers to each request, before it ends the connection.
ENDS = {"no answer": [WHOLE, b""], "half an answer": [WHOLE, WHOLE[:-1]], "nothing at all": [b""]}


@pytest.fixture(params=ENDS)
def line(request):
    """Return the kind of server, and a connection to one that ends its first connection so, and answers on the second."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for answers in (ENDS[request.param], [WHOLE]):
            connection, _address = listener.accept()
            with connection:
                for answer in answers:
                    while b"\r\n\r\n" not in connection.recv(65536):
                        pass
                    connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    address, port = listener.getsockname()
    order = SimpleNamespace(address=f"{address}:{port}", scheme="http", patience=10, domain="guestbook.example.com")
    yield request.param, visitors.Http1(order)
    listener.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_reads_is_asked_again_where_a_used_connection_ended(line, method):
    """And nothing else is: neither what writes, nor after a part of an answer, nor on a connection that was new."""
    how, connection = line
    if how != "nothing at all":
        assert connection.send("GET", "/", {}).text == "ok"
    if how == "no answer" and method == "GET":
        assert connection.send(method, "/", {}).text == "ok"
    else:
        with pytest.raises((OSError, visitors.http.client.HTTPException)):
            connection.send(method, "/", {})


NAME = "w-writer1-1"
TOLD = f"{NAME} writes number 1."
OTHERS = "<article >Somebody else.</article>" * 20
OWN = f"<article >{TOLD}</article>"
NEXT = '<a rel="next" href="?page=2">'


@pytest.fixture
def writer():
    """Return a writer to whom the pages in C(pages) come, and what he complains of."""
    complaints: list[str] = []
    book = SimpleNamespace(fail=lambda kind, what, body="", took=0.0: complaints.append(what))
    order = SimpleNamespace(address="192.0.2.1", scheme="https", versions=False)
    who = visitors.Writer(order, book, "writer1", None)
    who.signed_in, who.pages, who.complaints = NAME, {}, complaints
    who.page = lambda kind, path, **more: SimpleNamespace(text=f"Signed in as <strong>{NAME}</strong>{who.pages[path]}")
    return who


def test_an_entry_is_found_where_others_have_written_since(writer):
    """It is on the second page then."""
    writer.pages = {"/": OTHERS + NEXT, "/?page=2": OTHERS + OWN}
    assert TOLD in writer.look_for(TOLD)
    assert not writer.complaints


def test_the_first_page_is_read_again_while_there_is_no_second(writer):
    """It was counted before others wrote, and read afterwards: what is the oldest of few has no place on it then."""
    pages = iter([OTHERS, OTHERS + OWN])
    writer.page = lambda kind, path: SimpleNamespace(text=f"Signed in as <strong>{NAME}</strong>{next(pages)}")
    assert TOLD in writer.look_for(TOLD)
    assert not writer.complaints


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        ({"/": OTHERS}, "0 times on 1 pages"),
        ({"/": OTHERS + NEXT, "/?page=2": OTHERS}, "0 times on 2 pages"),
        ({"/": OWN + OTHERS + OWN + NEXT}, "2 times on 1 pages"),
        ({f"/?page={number}": OTHERS + NEXT for number in range(2, 6)} | {"/": OTHERS + NEXT}, "0 times on 5 pages"),
    ],
)
def test_an_entry_that_is_not_there_once_is_a_failure(writer, pages, told):
    """Whatever the page, and however many there are."""
    writer.pages = pages
    assert writer.look_for(TOLD) is None
    assert [complaint.partition(": ")[0] for complaint in writer.complaints] == [f"the entry is there {told}"]
