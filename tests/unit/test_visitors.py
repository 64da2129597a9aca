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
