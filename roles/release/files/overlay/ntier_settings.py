# Managed by Ansible (ntier.django): changes are overwritten.
"""The site's own settings with what only the cluster knows laid over them: databases, caches, folders, hosts, secrets.

The site's module is imported as it is; the values come from the release's settings.json. What the project set for
itself and the cluster has no part in stays. It is written for Django 3.2 and every later version.
"""

from __future__ import annotations

import importlib
import os

import django
import ntier_places
import ntier_site
from ntier_site import NTIER_SITE

_project = importlib.import_module(NTIER_SITE["settings"])
globals().update({name: value for name, value in vars(_project).items() if name.isupper()})


def _get(name, default=None):
    return globals().get(name, default)


def _below(path):
    """Return a path of the site as the visitor sees it, below the site's prefix."""
    prefix = NTIER_SITE["prefix"]
    if not prefix or not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
        return path
    return path if path == prefix or path.startswith(f"{prefix}/") else prefix + path


DEBUG = False
SECRET_KEY = NTIER_SITE["secret_key"]
ALLOWED_HOSTS = list(dict.fromkeys([*NTIER_SITE["domains"], *(_get("ALLOWED_HOSTS") or [])]))
ALLOWED_HOSTS = [name[1:] if name.startswith("*.") else name for name in ALLOWED_HOSTS]

# The proxy in front sets this header on every request, so a visitor can't.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# A form that was read by http may be sent by https, when a balancer comes before the site.
_schemes = ["https"] if NTIER_SITE["https"] else ["https", "http"]
CSRF_TRUSTED_ORIGINS = list(
    dict.fromkeys(
        [
            *(_get("CSRF_TRUSTED_ORIGINS") or []),
            *(f"{_scheme}://{name}" for _scheme in _schemes for name in NTIER_SITE["domains"]),
        ]
    )
)
if django.VERSION < (4, 0):
    # Names without a scheme at that time, and a dot for all names below one.
    CSRF_TRUSTED_ORIGINS = list(
        dict.fromkeys(_name.split("://")[-1].replace("*.", ".", 1) for _name in CSRF_TRUSTED_ORIGINS)
    )
if NTIER_SITE["https"]:
    # The proxy redirects what comes without, so SECURE_SSL_REDIRECT is the project's own affair.
    for _cookie in ("SESSION", "CSRF"):
        if _get(f"{_cookie}_COOKIE_SECURE") is None:
            globals()[f"{_cookie}_COOKIE_SECURE"] = True

# --- database -----------------------------------------------------------------------------------------------------
_given = dict((_get("DATABASES") or {}).get("default") or {})
_engine = _given.get("ENGINE", "")
_postgres = any(word in _engine for word in ("postgres", "postgis", "psycopg"))
_options = dict(_given.get("OPTIONS") or {}) if _postgres else {}
# Both keep state in one server connection, which PgBouncer hands to somebody else after each transaction.
for _option in ("pool", "server_side_binding", "prepare_threshold", "service", "passfile", "sslmode"):
    _options.pop(_option, None)
DATABASES = {
    **(_get("DATABASES") or {}),
    "default": {
        **{key: _given[key] for key in ("ATOMIC_REQUESTS", "AUTOCOMMIT", "TIME_ZONE", "TEST") if key in _given},
        "ENGINE": _engine if _postgres else "django.db.backends.postgresql",
        "NAME": NTIER_SITE["database"]["name"],
        "USER": NTIER_SITE["database"]["user"],
        "PASSWORD": NTIER_SITE["database"]["password"],
        "HOST": NTIER_SITE["database"]["host"],
        "PORT": NTIER_SITE["database"]["port"],
        "OPTIONS": _options,
        # Under ASGI no thread is there to use a connection again, so that those which persist would only pile up.
        "CONN_MAX_AGE": 0 if NTIER_SITE["asgi"] else 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    },
}

# What was made for another database may use fields and lookups that PostgreSQL has with this application only.
_there = [_given.get(_key) for _key in ("HOST", "NAME")]
if not _postgres or _there == [NTIER_SITE["database"][_key] for _key in ("host", "name")]:
    INSTALLED_APPS = list(_get("INSTALLED_APPS") or [])
    # Another application with the label "postgres" would contradict it.
    if not any("postgres" in _name.split(".") for _name in INSTALLED_APPS):
        INSTALLED_APPS.append("django.contrib.postgres")

# --- caches and sessions ------------------------------------------------------------------------------------------
if NTIER_SITE["memcached_servers"]:
    _cache = dict((_get("CACHES") or {}).get("default") or {})
    CACHES = {
        **(_get("CACHES") or {}),
        "default": {
            **{key: _cache[key] for key in ("TIMEOUT", "VERSION", "KEY_FUNCTION") if key in _cache},
            "BACKEND": "ntier_memcached.PyMemcacheCache",
            "LOCATION": NTIER_SITE["memcached_servers"],
            "KEY_PREFIX": ":".join(filter(None, [NTIER_SITE["name"], _cache.get("KEY_PREFIX")])),
            # A server that is gone costs half a second, once, and no error page.
            "OPTIONS": {"connect_timeout": 0.5, "timeout": 0.5, "no_delay": True},
        },
    }
    if _get("SESSION_ENGINE", "django.contrib.sessions.backends.db") == "django.contrib.sessions.backends.db":
        SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

# --- whole pages --------------------------------------------------------------------------------------------------
if NTIER_SITE["page_cache_seconds"]:
    MIDDLEWARE = list(_get("MIDDLEWARE") or [])
    # A project's own pair, whichever class it is of, stands where the project wants it.
    if not any(name.endswith("UpdateCacheMiddleware") for name in MIDDLEWARE):
        MIDDLEWARE.insert(0, "ntier_middleware.UpdateCacheMiddleware")
    if not any(name.endswith("FetchFromCacheMiddleware") for name in MIDDLEWARE):
        MIDDLEWARE.append("ntier_middleware.FetchFromCacheMiddleware")
    CACHE_MIDDLEWARE_SECONDS = NTIER_SITE["page_cache_seconds"]
    # A new release shows its own pages at once, and never those of the old one beside its own static files.
    CACHE_MIDDLEWARE_KEY_PREFIX = ":".join(
        filter(None, [_get("CACHE_MIDDLEWARE_KEY_PREFIX"), os.path.basename(os.environ["NTIER_RELEASE"])])
    )

# --- static files and uploads -------------------------------------------------------------------------------------
# With the manifests as they were when this release was built.
NTIER_SITE["static_root"] = importlib.import_module("ntier_manifests").static_root(
    NTIER_SITE["static_root"], os.environ["NTIER_RELEASE"]
)
# What the project computes from its own folders, such as a storage below MEDIA_ROOT, is where these are.
globals().update(
    ntier_places.Move(
        [(_get(f"{_kind}_ROOT"), NTIER_SITE[f"{_kind.lower()}_root"]) for _kind in ("STATIC", "MEDIA")],
        [(_get(f"{_kind}_URL"), NTIER_SITE[f"{_kind.lower()}_url"]) for _kind in ("STATIC", "MEDIA")],
        os.path.join(os.environ["NTIER_RELEASE"], "project"),
    ).settings({_name: _value for _name, _value in globals().items() if _name.isupper() and _name != "NTIER_SITE"})
)
STATIC_ROOT = NTIER_SITE["static_root"]
STATIC_URL = NTIER_SITE["static_url"]
MEDIA_ROOT = NTIER_SITE["media_root"]
MEDIA_URL = NTIER_SITE["media_url"]
# nginx reads what is uploaded through the group; large uploads would otherwise get the temporary file's own mode.
if _get("FILE_UPLOAD_PERMISSIONS", None) is None:
    FILE_UPLOAD_PERMISSIONS = 0o644
# Each release reads its own list of the files, whatever storage the project has.
ntier_site.change_static_files()
_plain = (None, "django.contrib.staticfiles.storage.StaticFilesStorage")
if NTIER_SITE["hashed_static"]:
    # Django reads STORAGES from 4.2 on, and the two settings before it until 5.0; never both of them.
    _names = ("STATICFILES_STORAGE", "DEFAULT_FILE_STORAGE")
    if django.VERSION >= (5, 1) or (django.VERSION >= (4, 2) and not any(_name in globals() for _name in _names)):
        STORAGES = {
            "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
            "staticfiles": {"BACKEND": _plain[1]},
            **(_get("STORAGES") or {}),
        }
        if STORAGES["staticfiles"].get("BACKEND") in _plain:
            STORAGES["staticfiles"] = {**STORAGES["staticfiles"], "BACKEND": "ntier_storage.ReleaseStaticFilesStorage"}
    elif _get("STATICFILES_STORAGE") in _plain:
        STATICFILES_STORAGE = "ntier_storage.ReleaseStaticFilesStorage"

# --- a site below a prefix ----------------------------------------------------------------------------------------
if NTIER_SITE["prefix"]:
    FORCE_SCRIPT_NAME = NTIER_SITE["prefix"]
    # Two sites on one domain must not read, or overwrite, each other's cookies.
    for _cookie, _usual in (("SESSION", "sessionid"), ("CSRF", "csrftoken"), ("LANGUAGE", "django_language")):
        if _get(f"{_cookie}_COOKIE_PATH", "/") == "/":
            globals()[f"{_cookie}_COOKIE_PATH"] = NTIER_SITE["prefix"]
        if _get(f"{_cookie}_COOKIE_NAME", _usual) == _usual:
            globals()[f"{_cookie}_COOKIE_NAME"] = f"{NTIER_SITE['name']}_{_usual}"
    for _setting, _usual in (
        ("LOGIN_URL", "/accounts/login/"),
        ("LOGIN_REDIRECT_URL", "/accounts/profile/"),
        ("LOGOUT_REDIRECT_URL", None),
    ):
        globals()[_setting] = _below(_get(_setting, _usual))

# --- mail ---------------------------------------------------------------------------------------------------------
# What startproject writes from Django 6.1 on prints mail, here into the journal; "check --deploy" would not let it go live.
if django.VERSION >= (6, 1):
    SILENCED_SYSTEM_CHECKS = [*(_get("SILENCED_SYSTEM_CHECKS") or []), "mail.E001"]

# --- logging ------------------------------------------------------------------------------------------------------
if not _get("LOGGING"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {"journal": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["journal"], "level": "INFO"},
        # Django's own handlers mail to ADMINS or want DEBUG; errors belong in the journal, too.
        "loggers": {"django": {"handlers": ["journal"], "level": "INFO", "propagate": False}},
    }
