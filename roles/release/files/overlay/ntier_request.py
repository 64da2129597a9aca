# Managed by Ansible (ntier.django): changes are overwritten.
"""Bring a WSGI request into the same form behind every web server: lighttpd and Apache normalize paths, Apache passes chunked bodies on."""

from __future__ import annotations

import tempfile
import urllib.parse

#: A chunked body is kept in memory up to this size, in bytes, and beyond it in a file.
IN_MEMORY = 1 << 20
PIECE = 1 << 16


def path_as_sent(environ):
    """Return the path as the visitor sent it, decoded.

    lighttpd and Apache normalize double slashes and dots in C(PATH_INFO). C(REQUEST_URI) has the original.
    """
    path, script = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
    sent = environ.get("REQUEST_URI", "")
    if not sent.startswith("/"):
        return path
    decoded = urllib.parse.unquote_to_bytes(sent.partition("?")[0]).decode("latin-1")
    return decoded[len(script) :] if decoded.startswith(script) else path


def give_length(environ):
    """Add C(CONTENT_LENGTH) for a chunked body, which Django would take for empty without it."""
    body = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the site reads it
    stream = environ["wsgi.input"]
    while piece := stream.read(PIECE):
        body.write(piece)
    environ["CONTENT_LENGTH"] = str(body.tell())
    environ.pop("HTTP_TRANSFER_ENCODING")
    body.seek(0)
    environ["wsgi.input"] = body
