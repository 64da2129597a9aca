"""The shop's pages."""

import time

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.templatetags.static import static
from django.urls import path, reverse


def counter(request):
    """Show what the shop knows of itself; the time tells a cached answer from a fresh one."""
    return JsonResponse(
        {
            "greeting": settings.GREETING,
            "time": time.time(),
            "path": request.path,
            "script_name": request.META["SCRIPT_NAME"],
            "path_info": request.path_info,
            "admin": reverse("admin:index"),
            "static": static("admin/css/base.css"),
        }
    )


@login_required
def private(request):
    """Be somewhere that sends visitors to the sign-in page."""
    return JsonResponse({"user": request.user.username})


urlpatterns = [path("", counter), path("private/", private), path("admin/", admin.site.urls)]
