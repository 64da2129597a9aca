# Managed by Ansible (ntier.django): changes are overwritten.
"""The site's WSGI application, as its settings name it."""

from __future__ import annotations

import importlib

from django.core.servers.basehttp import get_internal_wsgi_application
from ntier_settings import NTIER_SITE


def load(name):
    """Return the application that is named C(module:variable), or without a name the one of WSGI_APPLICATION."""
    if not name:
        return get_internal_wsgi_application()
    module, variable = name.split(":")
    return getattr(importlib.import_module(module), variable)


_site = load(NTIER_SITE["wsgi"])


def application(environ, start_response):
    """Answer a request; the visitor's address comes from nginx, since a socket of the file system has none."""
    environ["REMOTE_ADDR"] = environ.get("HTTP_X_REAL_IP", "")
    return _site(environ, start_response)
