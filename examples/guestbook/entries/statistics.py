from django.core.cache import cache
from django.db.models import Count, Q
from django.utils import timezone

from .models import Entry
from .server import hostname

CACHE_KEY = "statistics"
CACHE_SECONDS = 30


def compute():
    numbers = Entry.objects.aggregate(
        entries=Count("pk"),
        authors=Count("author", distinct=True),
        pictures=Count("pk", filter=~Q(picture="")),
    )
    last = Entry.objects.values("pk", "created", "author__username").first()
    return {
        **numbers,
        "last": last and {"pk": last["pk"], "created": last["created"], "author": last["author__username"]},
        "computed_at": timezone.now(),
        "computed_by": hostname(),
    }


def get():
    """Return the figures and the reason why they could not be cached, if there is one."""
    try:
        return cache.get_or_set(CACHE_KEY, compute, CACHE_SECONDS), None
    except Exception as error:  # noqa: BLE001
        # Every cache backend has its own exceptions. If it was the database
        # that failed, computing again fails again, and rightly so.
        return compute(), f"{type(error).__name__}: {error}"
