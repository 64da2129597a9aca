# Managed by Ansible (ntier.django): changes are overwritten.
"""The site's WSGI application, as its settings name it, and before it the page that tells balancers how the site is."""

from __future__ import annotations

from django.core.servers.basehttp import get_internal_wsgi_application
from ntier_health import HEALTH, Health, load
from ntier_request import give_length, path_as_sent
from ntier_site import NTIER_SITE, prepare

prepare()
_site = load(NTIER_SITE["wsgi"]) if NTIER_SITE["wsgi"] else get_internal_wsgi_application()
_health = Health()


def application(environ, start_response):
    """Answer a request; where the app server knows no address of the visitor, as on a socket of the file system, nginx tells it."""
    environ["PATH_INFO"] = path = path_as_sent(environ)
    # App servers split SCRIPT_NAME off, where they know of it.
    if HEALTH in (path, environ.get("SCRIPT_NAME", "") + path):
        status, headers, body = _health.answer(environ["REQUEST_METHOD"])
        start_response(status, headers)
        return [body]
    environ["REMOTE_ADDR"] = environ.get("REMOTE_ADDR") or environ.get("HTTP_X_REAL_IP", "")
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked" and not environ.get("CONTENT_LENGTH"):
        give_length(environ)
    return _site(environ, start_response)
