# Managed by Ansible (ntier.django): changes are overwritten.
"""The site's ASGI application, and before it the page that tells balancers how the site is."""

from __future__ import annotations

import asyncio

from django.core.handlers.asgi import ASGIHandler
from ntier_health import HEALTH, Health, load
from ntier_site import NTIER_SITE, prepare

prepare()
_site = load(NTIER_SITE["asgi"])
_health = Health()


async def application(scope, receive, send):
    """Answer a request; the visitor's address comes from nginx, since a socket of the file system has none."""
    if scope["type"] == "lifespan" and isinstance(_site, ASGIHandler):
        # Django itself knows nothing of it, and would say so with an error for each worker.
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http" and HEALTH in (scope["path"], scope.get("root_path", "") + scope["path"]):
        # In a thread, which waits for the database while the loop goes on.
        status, headers, body = await asyncio.to_thread(_health.answer, scope["method"])
        headers = [(name.lower().encode(), value.encode()) for name, value in headers]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    if scope["type"] in ("http", "websocket"):
        address = dict(scope["headers"]).get(b"x-real-ip", b"").decode("latin-1")
        scope = {**scope, "client": (address, 0)}
    await _site(scope, receive, send)
