# Managed by Ansible (ntier.django): changes are overwritten.
"""Django's cache of whole pages, for visitors without a session alone.

Django keeps a page that depends on cookies (C(Vary: Cookie): every page that asked for the session or made a CSRF token) once
for each Cookie header. That is enough as long as no two visitors send the same one; but some do, C(consent=yes) for
instance, and then a page that starts a session for the first one, or gives a CSRF token, would do so for the
second one with the very same secret. So a page that sets a cookie is not kept. Nor does anybody who is signed in
see, or leave behind, a kept page: what they have just posted would be missing in it.
"""

from __future__ import annotations

from django.conf import settings
from django.middleware import cache


class UpdateCacheMiddleware(cache.UpdateCacheMiddleware):
    """Keeps pages; it stands first, since the others change the response, its Vary header among it, before it sees it."""

    def process_response(self, request, response):
        """Keep the page unless it sets a cookie."""
        if response.cookies:
            request._cache_update_cache = False
        return super().process_response(request, response)


class FetchFromCacheMiddleware(cache.FetchFromCacheMiddleware):
    """Answers with a page that was kept; it stands last, since the others change the request before it looks."""

    def process_request(self, request):
        """Return the page that was kept, or C(None)."""
        # Nothing says that a page depends on the Authorization header.
        if settings.SESSION_COOKIE_NAME in request.COOKIES or "HTTP_AUTHORIZATION" in request.META:
            request._cache_update_cache = False
            return None
        return super().process_request(request)
