"""The settings that lie over a project's own: run as a host runs them, with small projects and the real Django."""

import atexit
import functools
import gzip
import importlib
import json
import os
import pathlib
import pwd
import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from unittest import mock

import pytest
from clusters import ROOT, a_site, build, wired
from prefork import Prefork

from ansible_collections.ntier.django.plugins.plugin_utils.wiring import environment_file

FILES = ROOT / "roles/release/files/overlay"
POSTGRES = "django.db.backends.postgresql"


@functools.cache
def processes():
    """Return where programs run with the Django of the tool chain."""
    parent = Prefork()
    atexit.register(parent.close)
    return parent


class Host:
    """A folder that stands for a host with one site, the project's settings among it."""

    def __init__(self, folder, settings="", site=None, **values):
        self.folder = folder
        self.release = folder / "release"
        self.project = self.release / "project"
        self.python = shutil.copytree(FILES, folder / "python")
        cluster = build(sites=[a_site("blog", settings="mysite.settings", **(site or {}))])
        self.values = {
            **wired(cluster)["release_sites"][0]["runtime"],
            "static_root": str(folder / "static"),
            **values,
        }
        self.configure()
        self.write("mysite/__init__.py", "")
        self.write("mysite/settings.py", settings)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self.python}:{self.project}",
            "DJANGO_SETTINGS_MODULE": "ntier_settings",
            "NTIER_SITE": "blog",
            "NTIER_RELEASE": str(self.release),
        }

    def configure(self, release=None, **values):
        """Write the settings.json of a release; return the release's folder."""
        folder = self.folder / release if release else self.release
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps({**self.values, **values}))
        return folder

    def write(self, name, text):
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, *arguments, **environment):
        done = self.try_to_run(*arguments, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def try_to_run(self, *arguments, **environment):
        return processes().run(arguments, {**self.environment, **environment})

    def overlay(self, **environment):
        """Return the names of the overlay as a process of the site has them; no Django is needed for that."""
        with (
            mock.patch.dict(os.environ, {**self.environment, **environment}, clear=True),
            mock.patch.dict(sys.modules),
            mock.patch.object(sys, "path", [str(self.python), str(self.project), *sys.path]),
        ):
            importlib.invalidate_caches()
            return runpy.run_path(str(self.python / "ntier_settings.py"))

    def settings(self, **environment):
        """Return the settings among them."""
        return {name: value for name, value in self.overlay(**environment).items() if name.isupper()}


@pytest.fixture
def host(tmp_path):
    """Return a function that makes a host from a project's settings, the site's keys and entries of its settings.json."""
    return lambda settings="", **more: Host(tmp_path, settings, **more)


@pytest.fixture(scope="module")
def startproject(tmp_path_factory):
    """Return the settings that django-admin startproject writes."""
    folder = tmp_path_factory.mktemp("startproject")
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(folder)], check=True)
    return (folder / "mysite/settings.py").read_text()


# --- a plain project ----------------------------------------------------------------------------------------------


def test_what_startproject_makes_runs_with_what_the_cluster_knows(host, startproject):
    machine = host(startproject)
    found = machine.settings()
    assert "DEBUG = True" in startproject
    assert found["DEBUG"] is False
    assert found["SECRET_KEY"] == "key-blog"
    assert found["ALLOWED_HOSTS"] == ["blog.example.com"]
    assert found["DATABASES"] == {
        "default": {
            "ENGINE": POSTGRES,
            "NAME": "blog",
            "USER": "blog",
            "PASSWORD": "password-blog",
            "HOST": "127.0.0.1",
            "PORT": 6432,
            "OPTIONS": {},
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            "DISABLE_SERVER_SIDE_CURSORS": True,
        }
    }
    assert found["CACHES"]["default"]["BACKEND"] == "ntier_memcached.PyMemcacheCache"
    assert found["CACHES"]["default"]["LOCATION"] == ["127.0.0.1:11211"]
    assert found["CACHES"]["default"]["KEY_PREFIX"] == "blog"
    assert found["SESSION_ENGINE"] == "django.contrib.sessions.backends.cached_db"
    assert (found["STATIC_URL"], found["MEDIA_URL"]) == ("/static/", "/media/")
    assert (found["STATIC_ROOT"], found["MEDIA_ROOT"]) == (str(machine.folder / "static"), "/srv/media/blog/media")
    assert found["STORAGES"]["staticfiles"]["BACKEND"] == "ntier_storage.ReleaseStaticFilesStorage"
    assert found["LOGGING"]["root"] == {"handlers": ["journal"], "level": "INFO"}
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://blog.example.com", "http://blog.example.com"]
    assert "FORCE_SCRIPT_NAME" not in found


def test_what_the_cluster_has_no_part_in_stays(host, startproject):
    found = host(startproject + "\nGREETING = 'hello'\nlower = 1\n").settings()
    assert found["GREETING"] == "hello"
    assert found["ROOT_URLCONF"] == "mysite.urls"
    assert "django.contrib.admin" in found["INSTALLED_APPS"]
    assert "lower" not in found


def test_an_empty_settings_module_is_enough(host):
    assert host("").settings()["DATABASES"]["default"]["ENGINE"] == POSTGRES


def test_a_project_that_reads_the_environment_finds_it_there(host):
    found = host("import os\nDEBUG = os.environ['DEBUG'] == 'True'\nEXTRA = os.environ['EXTRA']\n").settings(
        DEBUG="False", EXTRA="x"
    )
    assert found["EXTRA"] == "x"


def test_a_process_keeps_the_release_that_is_live_when_it_starts(host):
    machine = host("import os\nRELEASE = os.environ['NTIER_RELEASE']\n")
    live = machine.configure("live", secret_key="of the live one")
    links = {"/srv/blog/current": str(live)}
    real = os.path.realpath
    with mock.patch("os.path.realpath", lambda path, **more: links.get(path) or real(path, **more)):
        found = machine.settings()
        assert (found["RELEASE"], found["SECRET_KEY"]) == (str(machine.release), "key-blog")
        del machine.environment["NTIER_RELEASE"]
        found = machine.settings()
        assert (found["RELEASE"], found["SECRET_KEY"]) == (str(live), "of the live one")


def test_every_release_has_settings_of_its_own(host):
    machine = host()
    other = machine.configure("other", secret_key="of the other one", static_url="/new/static/")
    found = machine.settings(NTIER_RELEASE=str(other))
    assert (found["SECRET_KEY"], found["STATIC_URL"]) == ("of the other one", "/new/static/")
    assert machine.settings()["SECRET_KEY"] == "key-blog"


def test_settings_of_another_place_may_be_tried_with_the_same_release(host):
    machine = host("import os\nRELEASE = os.environ['NTIER_RELEASE']\n")
    path = machine.configure("elsewhere", secret_key="of elsewhere") / "settings.json"
    found = machine.settings(NTIER_SETTINGS=str(path))
    assert (found["SECRET_KEY"], found["RELEASE"]) == ("of elsewhere", str(machine.release))


def test_a_release_without_settings_does_not_start_with_those_of_another(host):
    machine = host()
    (machine.folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty/settings\.json"):
        machine.settings(NTIER_RELEASE=str(machine.folder / "empty"))


# --- hosts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", [".example.com", "blog.example.net"]),
        ("ALLOWED_HOSTS = ['partner.example.org']", [".example.com", "blog.example.net", "partner.example.org"]),
        ("ALLOWED_HOSTS = ('blog.example.net',)", [".example.com", "blog.example.net"]),
    ],
)
def test_the_sites_domains_are_allowed_beside_the_projects(host, given, expected):
    found = host(given, site={"domains": ["*.example.com", "blog.example.net"]}).settings()
    assert found["ALLOWED_HOSTS"] == expected


def test_forms_may_come_from_the_sites_domains_over_https_and_from_the_projects_own(host):
    found = host("CSRF_TRUSTED_ORIGINS = ['https://pay.example.org']", site={"domains": ["*.example.com"]}).settings()
    both = ["https://pay.example.org", "https://*.example.com", "http://*.example.com"]
    assert found["CSRF_TRUSTED_ORIGINS"] == both


def test_where_visitors_come_by_https_alone_no_form_comes_from_elsewhere(host):
    found = host(site={"domains": ["*.example.com"]}, https=True).settings()
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://*.example.com"]


# --- database -----------------------------------------------------------------------------------------------------


def test_a_project_keeps_its_second_database_and_how_it_handles_transactions(host):
    databases = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": "x",
            "ATOMIC_REQUESTS": True,
            "OPTIONS": {"timeout": 5},
        },
        "archive": {"ENGINE": "django.db.backends.sqlite3", "NAME": "archive"},
    }
    found = host(f"DATABASES = {databases!r}").settings()["DATABASES"]
    assert found["archive"] == databases["archive"]
    assert found["default"]["ATOMIC_REQUESTS"] is True
    assert found["default"]["ENGINE"] == POSTGRES
    assert found["default"]["NAME"] == "blog"
    assert found["default"]["OPTIONS"] == {}


def test_a_project_keeps_its_kind_of_postgresql_and_the_options_that_a_pooler_can_bear(host):
    options = {
        "options": "-c search_path=app",
        "pool": True,
        "server_side_binding": True,
        "sslmode": "require",
        "service": "x",
    }
    engine = "django.contrib.gis.db.backends.postgis"
    found = host(
        f"DATABASES = {{'default': {{'ENGINE': {engine!r}, 'HOST': 'db', 'OPTIONS': {options!r}}}}}"
    ).settings()
    assert found["DATABASES"]["default"]["ENGINE"] == engine
    assert found["DATABASES"]["default"]["HOST"] == "127.0.0.1"
    assert found["DATABASES"]["default"]["OPTIONS"] == {"options": "-c search_path=app"}


LITE = "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'x'}}\n"
OURS_ALREADY = f"DATABASES = {{'default': {{'ENGINE': {POSTGRES!r}, 'NAME': 'blog', 'HOST': '127.0.0.1'}}}}\n"
OTHERS = f"DATABASES = {{'default': {{'ENGINE': {POSTGRES!r}, 'NAME': 'mine', 'HOST': 'db'}}}}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (f"{LITE}INSTALLED_APPS = ['a']", ["a", "django.contrib.postgres"]),
        (f"{OURS_ALREADY}INSTALLED_APPS = ('a',)", ["a", "django.contrib.postgres"]),
        (f"{LITE}INSTALLED_APPS = ['django.contrib.postgres', 'a']", ["django.contrib.postgres", "a"]),
        (f"{LITE}INSTALLED_APPS = ['mine.postgres.apps.Config']", ["mine.postgres.apps.Config"]),
        (f"{OTHERS}INSTALLED_APPS = ['a']", ["a"]),
    ],
)
def test_a_project_of_another_database_gets_the_application_that_postgresql_needs(host, given, expected):
    """Also one that reads DATABASE_URL, and has SQLite at home."""
    assert host(given).settings()["INSTALLED_APPS"] == expected


@pytest.mark.parametrize(("asgi", "expected"), [("", 60), ("mysite.asgi:application", 0)])
def test_connections_persist_where_threads_do(host, asgi, expected):
    found = host("DATABASES = {'default': {'CONN_MAX_AGE': None}}", asgi=asgi).settings()
    assert found["DATABASES"]["default"]["CONN_MAX_AGE"] == expected


# --- caches, sessions, logging ------------------------------------------------------------------------------------


def test_a_project_keeps_its_other_caches_and_the_figures_of_its_own(host):
    caches = {
        "default": {"BACKEND": "redis", "LOCATION": "redis://", "TIMEOUT": 5, "KEY_PREFIX": "v2", "OPTIONS": {"db": 1}},
        "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    }
    found = host(f"CACHES = {caches!r}").settings()["CACHES"]
    assert found["local"] == caches["local"]
    assert found["default"]["TIMEOUT"] == 5
    assert found["default"]["KEY_PREFIX"] == "blog:v2"
    assert found["default"]["LOCATION"] == ["127.0.0.1:11211"]
    assert "db" not in found["default"]["OPTIONS"]


def test_without_memcached_the_projects_caches_and_sessions_stay(host):
    found = host("CACHES = {'default': {'BACKEND': 'x'}}", memcached_servers=[]).settings()
    assert found["CACHES"] == {"default": {"BACKEND": "x"}}
    assert "SESSION_ENGINE" not in found


def test_sessions_that_the_project_keeps_elsewhere_stay_there(host):
    engine = "django.contrib.sessions.backends.signed_cookies"
    assert host(f"SESSION_ENGINE = {engine!r}").settings()["SESSION_ENGINE"] == engine


def test_a_project_that_logs_for_itself_is_left_alone(host):
    assert host("LOGGING = {'version': 1}").settings()["LOGGING"] == {"version": 1}


def test_a_cache_waits_for_no_server_longer_than_half_a_second(host):
    options = host(memcached_servers=["10.0.0.21:11211", "10.0.0.22:11211"]).settings()["CACHES"]["default"]["OPTIONS"]
    assert options["connect_timeout"] == options["timeout"] == 0.5


# --- https --------------------------------------------------------------------------------------------------------


def test_cookies_go_over_https_alone_where_a_balancer_speaks_it(host):
    found = host(https=True).settings()
    assert found["SESSION_COOKIE_SECURE"] is True
    assert found["CSRF_COOKIE_SECURE"] is True
    assert "SECURE_SSL_REDIRECT" not in found


def test_a_project_may_decide_otherwise_about_its_cookies(host):
    found = host("SESSION_COOKIE_SECURE = False\nSECURE_SSL_REDIRECT = True", https=True).settings()
    assert found["SESSION_COOKIE_SECURE"] is False
    assert found["CSRF_COOKIE_SECURE"] is True
    assert found["SECURE_SSL_REDIRECT"] is True


def test_without_https_cookies_stay_as_the_project_has_them(host):
    assert not [name for name in host(https=False).settings() if name.endswith("_SECURE")]


# --- whole pages --------------------------------------------------------------------------------------------------

UPDATE, FETCH = "ntier_middleware.UpdateCacheMiddleware", "ntier_middleware.FetchFromCacheMiddleware"


def test_pages_are_kept_around_all_other_middleware(host, startproject):
    found = host(startproject, page_cache_seconds=60).settings()
    first, *between, last = found["MIDDLEWARE"]
    assert (first, last) == (UPDATE, FETCH)
    assert between[0] == "django.middleware.security.SecurityMiddleware"
    assert found["CACHE_MIDDLEWARE_SECONDS"] == 60


def test_pages_are_not_kept_unless_somebody_asks_for_it(host, startproject):
    found = host(startproject).settings()
    assert not [name for name in found["MIDDLEWARE"] if "Cache" in name]
    assert "CACHE_MIDDLEWARE_SECONDS" not in found


def test_a_project_that_keeps_pages_itself_has_its_own_order(host):
    given = ["a.First", "django.middleware.cache.UpdateCacheMiddleware", "a.FetchFromCacheMiddleware", "a.Last"]
    found = host(f"MIDDLEWARE = {given!r}", page_cache_seconds=60).settings()
    assert found["MIDDLEWARE"] == given


def test_each_release_keeps_pages_of_its_own(host):
    machine = host("CACHE_MIDDLEWARE_KEY_PREFIX = 'v2'", page_cache_seconds=60)
    other = machine.configure("20261122-101500-abc")
    assert machine.settings()["CACHE_MIDDLEWARE_KEY_PREFIX"] == "v2:release"
    assert machine.settings(NTIER_RELEASE=str(other))["CACHE_MIDDLEWARE_KEY_PREFIX"] == "v2:20261122-101500-abc"


PAGES = """
import itertools
from django.http import HttpResponse
from django.urls import path
from django.middleware.csrf import get_token
numbers = itertools.count(1)

def plain(request):
    return HttpResponse(next(numbers))

def form(request):
    return HttpResponse(f"{next(numbers)} {get_token(request)}")

def greeting(request):
    return HttpResponse(f"{next(numbers)} {request.session.get('name', 'stranger')}")

def cart(request):
    request.session["name"] = "cart"
    return HttpResponse(next(numbers))

urlpatterns = [path(view.__name__, view) for view in (plain, form, greeting, cart)]
"""
VISITS = """
import json, sys
import django
django.setup()
from django.test import Client
answers = []
for path, headers in json.loads(sys.argv[1]):
    answer = Client().get(path, HTTP_HOST="blog.example.com", **headers)
    answers.append([answer.content.decode().split()[0], sorted(answer.cookies)])
print(json.dumps(answers))
"""
SESSIONS = """
ROOT_URLCONF = "mysite.urls"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
"""


def visits(machine, *requests):
    """Return the number of the page, which grows whenever one is made, and the names of the cookies it sets.

    A request is a path and a Cookie header, or a path and any headers.
    """
    machine.write("mysite/urls.py", PAGES)
    requests = [(path, more if isinstance(more, dict) else {"HTTP_COOKIE": more}) for path, more in requests]
    return json.loads(machine.run("-c", VISITS, json.dumps(requests)))


@pytest.fixture
def pages(host):
    """Return a host that keeps pages for a minute, in the process's own memory."""
    return host(SESSIONS, page_cache_seconds=60, memcached_servers=[])


def test_a_page_is_made_once_for_all_visitors(pages):
    assert visits(pages, ("/plain", ""), ("/plain", "consent=yes")) == [["1", []], ["1", []]]


def test_a_page_that_greets_is_made_for_those_without_a_session_and_anew_for_the_others(pages):
    answers = visits(
        pages, ("/greeting", ""), ("/greeting", ""), ("/greeting", "sessionid=a"), ("/greeting", "sessionid=a")
    )
    assert [number for number, _cookies in answers] == ["1", "1", "2", "3"]


def test_what_is_shown_to_those_who_authorize_themselves_is_not_shown_to_others(pages):
    secret = {"HTTP_AUTHORIZATION": "Basic eDp5"}
    answers = visits(pages, ("/plain", secret), ("/plain", ""), ("/plain", secret), ("/plain", ""))
    assert [number for number, _cookies in answers] == ["1", "2", "3", "2"]


@pytest.mark.parametrize(("path", "cookie"), [("/form", "csrftoken"), ("/cart", "sessionid")])
def test_two_visitors_with_the_same_cookies_do_not_get_one_secret(pages, path, cookie):
    answers = visits(pages, (path, "consent=yes"), (path, "consent=yes"), (path, ""), (path, ""))
    assert answers == [[str(number), [cookie]] for number in range(1, 5)]


# --- static files -------------------------------------------------------------------------------------------------

PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
FILE_SYSTEM = "django.core.files.storage.FileSystemStorage"
OURS = "ntier_storage.ReleaseStaticFilesStorage"


@pytest.mark.parametrize(
    ("given", "hashed", "expected"),
    [
        ({}, True, OURS),
        ({"default": {"BACKEND": "s3"}}, True, OURS),
        ({"staticfiles": {"BACKEND": PLAIN}}, True, OURS),
        ({"staticfiles": {"BACKEND": "whitenoise"}}, True, "whitenoise"),
        ({"staticfiles": {"BACKEND": PLAIN}}, False, PLAIN),
    ],
)
def test_static_files_get_hashed_names_unless_the_project_or_the_user_says_otherwise(host, given, hashed, expected):
    found = host(f"STORAGES = {given!r}", hashed_static=hashed).settings()["STORAGES"]
    assert found["staticfiles"]["BACKEND"] == expected
    assert found.get("default") == (given.get("default") or {"BACKEND": FILE_SYSTEM} if hashed else None)


MOVED = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
MEDIA_ROOT = BASE_DIR / "media"
MEDIA_URL = "media/"
STATIC_ROOT = str(MEDIA_ROOT / "assets")
STORAGES = {
    "avatars": {"BACKEND": "x", "OPTIONS": {"location": MEDIA_ROOT / "avatars", "base_url": "/media/avatars/"}},
    "relative": {"BACKEND": "x", "OPTIONS": {"location": "elsewhere", "base_url": "/elsewhere/"}},
}
CACHES = {"files": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": f"{MEDIA_ROOT}/cache/"}}
THUMBNAILS = [str(MEDIA_ROOT), MEDIA_ROOT.joinpath("a", "b"), ("media/x", 5)]
COMPRESS_ROOT = STATIC_ROOT
STATICFILES_DIRS = [MEDIA_ROOT / "sources"]
SHIPPED = MEDIA_ROOT / "logo.svg"
BESIDE = f"{MEDIA_ROOT}s"
EXPORT_DIR = BASE_DIR / "exports"
"""


def test_what_is_computed_from_the_projects_folders_of_files_moves_with_them(host):
    machine = host(MOVED, site={"prefix": "/shop"})
    machine.write("media/logo.svg", "<svg/>")
    found, media = machine.settings(), pathlib.Path("/srv/media/blog/media")
    own = machine.project.resolve()
    assert found["STORAGES"]["avatars"]["OPTIONS"] == {
        "location": media / "avatars",
        "base_url": "/shop/media/avatars/",
    }
    assert found["STORAGES"]["relative"]["OPTIONS"] == {"location": "elsewhere", "base_url": "/elsewhere/"}
    assert found["CACHES"]["files"]["LOCATION"] == f"{media}/cache/"
    assert found["THUMBNAILS"] == [str(media), media / "a/b", ("media/x", 5)]
    assert found["COMPRESS_ROOT"] == found["STATIC_ROOT"] == str(machine.folder / "static")
    assert found["STATICFILES_DIRS"] == [own / "media/sources"]
    assert found["SHIPPED"] == own / "media/logo.svg"
    assert found["BESIDE"] == f"{own}/medias"
    assert found["EXPORT_DIR"] == own / "exports"
    assert (found["MEDIA_ROOT"], found["MEDIA_URL"]) == (str(media), "/shop/media/")


@pytest.mark.parametrize("media", ["''", "BASE_DIR", "'/'", "str(BASE_DIR.parent)", "'media'"])
def test_a_folder_that_holds_the_code_takes_nothing_along(host, media):
    text = f"from pathlib import Path\nBASE_DIR = Path(__file__).resolve().parent.parent\nMEDIA_ROOT = {media}\nDATA = BASE_DIR / 'data'\n"
    machine = host(text)
    assert machine.settings()["DATA"] == machine.project.resolve() / "data"


COLLECT = (
    "INSTALLED_APPS = ['django.contrib.staticfiles', 'mysite']\nDEFAULT_AUTO_FIELD = 'django.db.models.AutoField'\n"
)
STATIC = """
import django, json
django.setup()
from django.templatetags.static import static
print(json.dumps([static(name) for name in ("mysite/style.css", "mysite/logo.svg", "mysite/nowhere.png")]))
"""


def listed(release):
    """Return name → name with the hash, as the only list of a release has it."""
    (path,) = release.glob("manifests/*/lists/*.json")
    return json.loads(path.read_text())["paths"]


def test_collected_files_get_hashed_names_and_the_release_keeps_the_list_of_them(host):
    machine = host(COLLECT, site={"prefix": "/shop"})
    machine.write("mysite/static/mysite/logo.svg", "<svg/>")
    machine.write(
        "mysite/static/mysite/style.css",
        "a {background: url(logo.svg)} b {background: url('gone.png')} @import 'no.css';",
    )
    machine.run("-m", "django", "collectstatic", "--noinput", "--verbosity", "0")
    names = listed(machine.release)
    assert set(names) == {"mysite/logo.svg", "mysite/style.css"}
    css = (machine.folder / "static" / names["mysite/style.css"]).read_text()
    assert names["mysite/logo.svg"].split("/")[1] in css
    assert "gone.png" in css
    assert "no.css" in css
    assert not (machine.folder / "static/staticfiles.json").exists()
    style, logo, missing = json.loads(machine.run("-c", STATIC))
    assert style == f"/shop/static/{names['mysite/style.css']}"
    assert logo == f"/shop/static/{names['mysite/logo.svg']}"
    assert missing == "/shop/static/mysite/nowhere.png"


def test_files_may_have_a_domain_of_their_own(host):
    machine = host(COLLECT, site={"prefix": "/shop", "media_domain": "media.example.com"}, hashed_static=False)
    found = machine.settings()
    assert found["STATIC_URL"] == "//media.example.com/shop/static/"
    assert found["MEDIA_URL"] == "//media.example.com/shop/media/"
    assert json.loads(machine.run("-c", STATIC))[0] == "//media.example.com/shop/static/mysite/style.css"


def test_two_releases_share_the_folder_and_each_finds_its_own_files(host):
    machine = host(COLLECT)
    found = []
    for release in ("one", "two"):
        machine.write("mysite/static/mysite/logo.svg", f"<svg id='{release}'/>")
        folder = machine.configure(release)
        machine.run("-m", "django", "collectstatic", "--noinput", "--verbosity", "0", NTIER_RELEASE=str(folder))
        found.append(listed(folder)["mysite/logo.svg"])
    assert found[0] != found[1]
    assert [(machine.folder / "static" / name).read_text() for name in found] == ["<svg id='one'/>", "<svg id='two'/>"]


def collect(machine):
    """Collect the static files; return what the program says."""
    done = machine.try_to_run("-m", "django", "collectstatic", "--noinput", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return done.stderr


UNHASHABLE = {
    "latin.css": "a::before { content: 'M\xfcnchen' } b { background: url(logo.svg) }",
    "out.css": "a { background: url(../../../../outside.png) }",
    "one.css": "@import 'two.css'; a {}",
    "two.css": "@import 'three.css'; b {}",
    "three.css": "@import 'one.css'; c {}",
    "self.css": "@import 'self.css';",
    "uses.css": "@import 'one.css'; @import 'latin.css'; d { background: url(logo.svg) }",
    "fine.css": "e { background: url(logo.svg) }",
}
FIND_STATIC = """
import django, json, sys
django.setup()
from django.templatetags.static import static
print(json.dumps({name: static(f"mysite/{name}") for name in sys.argv[1:]}))
"""


def test_a_file_that_can_not_be_rewritten_keeps_its_name_and_is_named(host):
    machine = host(COLLECT)
    machine.write("mysite/static/mysite/logo.svg", "<svg/>")
    for name, text in UNHASHABLE.items():
        machine.write(f"mysite/static/mysite/{name}", text)
    (machine.project / "mysite/static/mysite/latin.css").write_bytes(UNHASHABLE["latin.css"].encode("latin-1"))
    said = collect(machine).splitlines()
    kept = ["latin.css", "one.css", "out.css", "self.css", "three.css", "two.css"]
    assert [line.split(":")[0] for line in said] == [f"No hash in the name of mysite/{name}" for name in kept]
    assert [line.split(": ", 1)[1] for line in said[:3]] == [
        "it is not in UTF-8",
        "its @import leads back to it",
        "url(../../../../outside.png) leads out of the static files",
    ]
    names = listed(machine.release)
    found = json.loads(machine.run("-c", FIND_STATIC, *UNHASHABLE))
    for name, address in found.items():
        assert (machine.folder / "static" / address.removeprefix("/static/")).is_file()
        assert (address == f"/static/mysite/{name}") == (name in kept)
        assert names[f"mysite/{name}"] == address.removeprefix("/static/")
    uses = (machine.folder / "static" / names["mysite/uses.css"]).read_text()
    assert 'url("one.css")' in uses
    assert 'url("latin.css")' in uses
    assert names["mysite/logo.svg"].split("/")[1] in uses
    assert (machine.folder / "static/mysite/latin.css").read_bytes() == UNHASHABLE["latin.css"].encode("latin-1")


def test_references_may_lead_far_without_a_circle(host):
    machine = host(COLLECT)
    for number in range(12):
        machine.write(f"mysite/static/mysite/{number}.css", f"@import '{number + 1}.css'; a {{}}")
    machine.write("mysite/static/mysite/12.css", "b {}")
    assert collect(machine) == ""
    names = listed(machine.release)
    for number in range(12):
        text = (machine.folder / "static" / names[f"mysite/{number}.css"]).read_text()
        assert names[f"mysite/{number + 1}.css"].split("/")[1] in text


@pytest.mark.parametrize("storage", [OURS, PLAIN])
def test_the_content_decides_which_file_is_copied(host, storage):
    """A package that is pinned back brings older files, as does a folder whose times are those of an archive."""
    machine = host(f"{COLLECT}STORAGES = {{'staticfiles': {{'BACKEND': {storage!r}}}}}")
    source, there = machine.project / "mysite/static/a.txt", machine.folder / "static/a.txt"
    machine.write("mysite/static/a.txt", "new one")
    collect(machine)
    first = there.stat()
    os.utime(source, (time.time() + 1000,) * 2)
    collect(machine)
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    for text in ("old one", "longer than before"):
        source.write_text(text)
        os.utime(source, (1, 1))
        collect(machine)
        assert there.read_text() == text


STORAGES_WITH_A_LIST = {
    "Django's": ("django.contrib.staticfiles.storage.ManifestStaticFilesStorage", {}),
    "WhiteNoise's": ("whitenoise.storage.CompressedManifestStaticFilesStorage", {}),
    "another name and options": ("mysite.storages.Named", {"base_url": "/elsewhere/"}),
    "one that is written like Django's of before 4.0": ("mysite.storages.Old", {}),
    "a list in the project's folder": ("mysite.storages.InProject", {}),
    "a list in a folder of its own": ("mysite.storages.Elsewhere", {}),
}
LISTS = """
import json
from pathlib import Path
from django.conf import settings
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage

class Named(ManifestStaticFilesStorage):
    manifest_name = "lists/names.json"

class Docs(ManifestStaticFilesStorage):
    def __init__(self):
        super().__init__(location=settings.STATIC_ROOT + "/docs", base_url="/docs/")

class Old(ManifestStaticFilesStorage):
    def read_manifest(self):
        try:
            with self.open(self.manifest_name) as manifest:
                return manifest.read().decode()
        except FileNotFoundError:
            return None

    def save_manifest(self):
        if self.exists(self.manifest_name):
            self.delete(self.manifest_name)
        payload = {"paths": self.hashed_files, "version": self.manifest_version}
        self._save(self.manifest_name, ContentFile(json.dumps(payload).encode()))

class InProject(ManifestStaticFilesStorage):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, manifest_storage=FileSystemStorage(location=Path(__file__).parent), **kwargs)

class Elsewhere(ManifestStaticFilesStorage):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, manifest_storage=FileSystemStorage(location=__import__("os").environ["ELSEWHERE"]), **kwargs)
"""
FIND = """
import django, json, os, sys
django.setup()
from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
print(json.dumps([staticfiles_storage.stored_name(name) for name in sys.argv[1:]]))
"""


class Releases:
    """Releases of one project, each with its code, that share the folder of static files."""

    def __init__(self, machine, settings, **files):
        self.machine, self.settings, self.files = machine, settings, files
        self.root = machine.folder / "static"

    def run(self, name, *arguments):
        """Run a program with the code of a release."""
        folder = self.machine.folder / "releases" / name
        paths = f"{self.machine.python}:{folder}/project"
        elsewhere = str(self.machine.folder / "elsewhere")
        return self.machine.run(*arguments, NTIER_RELEASE=str(folder), PYTHONPATH=paths, ELSEWHERE=elsewhere)

    def collect(self, name, **static):
        """Make a release with static files, and collect them; return its folder."""
        folder = self.machine.configure(f"releases/{name}")
        texts = {"settings.py": self.settings, "__init__.py": "", **self.files}
        for path, text in {**texts, **{f"static/{path}": text for path, text in static.items()}}.items():
            file = folder / "project/mysite" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.run(name, "-m", "django", "collectstatic", "--noinput", "--verbosity", "0")
        return folder

    def stored(self, name, *static):
        """Return the names with hashes that the code of a release finds."""
        return json.loads(self.run(name, "-c", FIND, *static))


def storages(storage, **more):
    """Return the settings of a project that has a storage of its own."""
    backend, options = STORAGES_WITH_A_LIST[storage]
    found = {"staticfiles": {"BACKEND": backend, "OPTIONS": options}, **more}
    return f"{COLLECT}STORAGES = {found!r}\n"


def prune(root, *going):
    """Remove the static files of releases as the role does before it removes them."""
    command = [sys.executable, str(ROOT / "roles/release/files/prune_static.py"), str(root), *map(str, going)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("storage", STORAGES_WITH_A_LIST)
def test_every_release_reads_its_own_list_whatever_storage_the_project_has(host, storage):
    releases = Releases(host(), storages(storage), **{"storages.py": LISTS})
    first = releases.collect("1", **{"old.css": "a { color: red }" * 100})
    found = releases.stored("1", "old.css")
    releases.collect("2", **{"new.css": "a { color: blue }" * 100})
    broken = releases.collect("3", **{"newer.css": "a { color: green }" * 100})
    shutil.rmtree(broken)
    assert releases.stored("1", "old.css") == found
    (new,) = releases.stored("2", "new.css")
    assert re.fullmatch(r"new\.[0-9a-f]{12}\.css", new)
    assert (releases.root / found[0]).exists()
    assert (releases.root / new).exists()
    assert prune(releases.root, first) == "1 removed\n"
    assert not list(releases.root.glob(f"{found[0]}*"))
    assert (releases.root / new).exists()


def test_a_release_from_before_finds_its_list_beside_the_files_through_the_next_ones(host):
    releases = Releases(host(), storages("Django's"))
    before = releases.collect("1", **{"old.css": "a {}"})
    (found,) = releases.stored("1", "old.css")
    (where,) = before.glob("manifests/*/lists/staticfiles.json")
    shutil.copy(where, releases.root)
    shutil.rmtree(before / "manifests")
    next_one = releases.collect("2", **{"new.css": "b {}"})
    assert releases.stored("1", "old.css") == [found]
    assert prune(releases.root, next_one) == "1 removed\n"
    assert (releases.root / found).exists()


def test_storages_with_a_list_beside_the_first_have_their_own(host):
    text = storages("Django's", docs={"BACKEND": "mysite.storages.Docs"}, same={"BACKEND": "mysite.storages.Named"})
    releases = Releases(host(), text, **{"storages.py": LISTS})
    collect = (
        "import django; django.setup(); from django.core.files.base import ContentFile; from django.core.files.storage import storages; "
        "docs = storages['docs']; docs._save('guide.txt', ContentFile(b'VERSION')); list(docs.post_process({'guide.txt': (docs, 'guide.txt')}))"
    )
    found = {}
    for name in ("1", "2"):
        releases.collect(name, **{"a.css": name})
        (releases.root / "docs/guide.txt").unlink(missing_ok=True)
        releases.run(name, "-c", collect.replace("VERSION", name))
        read = "import django; django.setup(); from django.core.files.storage import storages; print(storages['docs'].stored_name('guide.txt'))"
        found[name] = releases.run(name, "-c", read).strip()
        assert len(releases.stored(name, "a.css")) == 1
    assert found["1"] != found["2"]
    assert prune(releases.root, releases.machine.folder / "releases/1") == "2 removed\n"
    assert not (releases.root / "docs" / found["1"]).exists()
    assert (releases.root / "docs" / found["2"]).exists()


def test_the_files_of_a_live_release_may_be_collected_again_though_its_code_can_not_be_changed(host):
    releases = Releases(host(), storages("WhiteNoise's"))
    folder = releases.collect("1", **{"a.css": "a {}", "b.css": "b {}"})
    (path,) = folder.glob("manifests/*/lists/staticfiles.json")
    before = path.stat()
    releases.run("1", "-m", "django", "collectstatic", "--noinput", "--verbosity", "0")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_storages_of_a_django_before_4_0_keep_their_lists_in_the_release(host):
    """Their methods of that time work on the storage itself."""
    machine = host(COLLECT)
    old = """
import json, os, sys
sys.path.insert(0, os.environ["NTIER_RELEASE"] + "/project")
from django.contrib.staticfiles import storage
from django.core.files.base import ContentFile
mixin = storage.ManifestFilesMixin

def init(self, *args, **kwargs):
    super(mixin, self).__init__(*args, **kwargs)
    self.hashed_files = self.load_manifest()[0]

def read(self):
    try:
        with self.open(self.manifest_name) as manifest:
            return manifest.read().decode()
    except FileNotFoundError:
        return None

def save(self):
    if self.exists(self.manifest_name):
        self.delete(self.manifest_name)
    self._save(self.manifest_name, ContentFile(json.dumps({"paths": self.hashed_files, "version": "1.0"}).encode()))

mixin.__init__, mixin.read_manifest, mixin.save_manifest = init, read, save
import django
django.setup()
made = storage.ManifestStaticFilesStorage()
made.hashed_files = {"a.css": "a.1.css"}
made.save_manifest()
print(storage.ManifestStaticFilesStorage().stored_name("a.css"))
"""
    assert machine.run("-c", old) == "a.1.css\n"
    assert len(list(machine.release.glob("manifests/*/lists/staticfiles.json"))) == 1
    assert not (machine.folder / "static/staticfiles.json").exists()


# --- a site below a prefix ----------------------------------------------------------------------------------------


def test_a_site_below_a_prefix_has_addresses_and_cookies_of_its_own(host):
    found = host(site={"prefix": "/shop"}).settings()
    assert found["FORCE_SCRIPT_NAME"] == "/shop"
    assert (found["STATIC_URL"], found["MEDIA_URL"]) == ("/shop/static/", "/shop/media/")
    for cookie, name in (
        ("SESSION", "blog_sessionid"),
        ("CSRF", "blog_csrftoken"),
        ("LANGUAGE", "blog_django_language"),
    ):
        assert found[f"{cookie}_COOKIE_NAME"] == name
        assert found[f"{cookie}_COOKIE_PATH"] == "/shop"
    assert found["LOGIN_URL"] == "/shop/accounts/login/"
    assert found["LOGIN_REDIRECT_URL"] == "/shop/accounts/profile/"
    assert found["LOGOUT_REDIRECT_URL"] is None


def test_where_a_visitor_signs_in_below_a_prefix(host):
    addresses = {
        "/enter/": "/shop/enter/",
        "/": "/shop/",
        "/shop/enter/": "/shop/enter/",
        "/shop": "/shop",
        "/shopping/": "/shop/shopping/",
        "login": "login",
        "https://id.example.org/": "https://id.example.org/",
        "//id.example.org/": "//id.example.org/",
    }
    machine = host(site={"prefix": "/shop"})
    for number, (given, expected) in enumerate(addresses.items()):
        machine.write(f"mysite/settings{number}.py", f"LOGIN_URL = {given!r}")
        machine.configure(settings=f"mysite.settings{number}")
        assert machine.settings()["LOGIN_URL"] == expected


def test_cookies_that_the_project_names_itself_keep_their_names(host):
    found = host("SESSION_COOKIE_NAME = 'mine'\nCSRF_COOKIE_PATH = '/shop/admin'", site={"prefix": "/shop"}).settings()
    assert found["SESSION_COOKIE_NAME"] == "mine"
    assert found["CSRF_COOKIE_PATH"] == "/shop/admin"


def test_a_site_at_the_root_keeps_djangos_cookies(host):
    assert not [name for name in host().settings() if "COOKIE" in name or name.startswith("LOGIN")]


# --- the application ----------------------------------------------------------------------------------------------

REQUESTS = """
import io, json, sys
from wsgiref.util import setup_testing_defaults
import ntier_wsgi
answers = []
for name, host, scheme in json.loads(sys.argv[1]):
    application = ntier_wsgi.load(name) if name else ntier_wsgi.application
    environ = {"HTTP_HOST": host, "HTTP_X_FORWARDED_PROTO": scheme, "SCRIPT_NAME": "/shop", "PATH_INFO": "/hello/"}
    setup_testing_defaults(environ)
    status = []
    body = b"".join(application(environ, lambda line, headers: status.append((line, dict(headers)))))
    answers.append([int(status[0][0][:3]), status[0][1].get("X-Made-By"), body.decode()])
print(json.dumps(answers))
"""
URLS = """
from django.http import HttpResponse
from django.urls import path, reverse
urlpatterns = [path("hello/", lambda request: HttpResponse(f"{request.is_secure()} {reverse('hello')} {request.path}"), name="hello")]
"""
WSGI = """
import os
import pathlib
import pwd
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
inner = get_wsgi_application()
def application(environ, start):
    return inner(environ, lambda status, headers, *more: start(status, [*headers, ("X-Made-By", "{by}")]))
"""


def answers(machine, *requests):
    """Return status, mark and body for each request, which is the name of an application, the host and the scheme."""
    machine.write("mysite/urls.py", URLS)
    machine.write("mysite/wsgi.py", WSGI.replace("{by}", "wsgi"))
    machine.write("mysite/other.py", WSGI.replace("{by}", "other"))
    return json.loads(machine.run("-c", REQUESTS, json.dumps(requests)))


PROJECT = "DEBUG = True\nROOT_URLCONF = 'mysite.urls'\nMIDDLEWARE = ['django.middleware.common.CommonMiddleware']\n"


def test_the_projects_own_application_answers_for_its_hosts(host):
    machine = host(f"{PROJECT}WSGI_APPLICATION = 'mysite.wsgi.application'", site={"prefix": "/shop"})
    good, foreign, plain, named = answers(
        machine,
        ("", "blog.example.com", "https"),
        ("", "evil.example.org", "https"),
        ("", "blog.example.com", "http"),
        ("mysite.other:application", "blog.example.com", "https"),
    )
    assert good == [200, "wsgi", "True /shop/hello/ /shop/hello/"]
    assert foreign[0] == 400
    assert plain == [200, "wsgi", "False /shop/hello/ /shop/hello/"]
    assert named[:2] == [200, "other"]


def test_the_application_that_the_user_names_wins(host):
    machine = host(PROJECT, site={"prefix": "/shop", "wsgi": "mysite.other:application"})
    assert answers(machine, ("", "blog.example.com", "https"))[0][:2] == [200, "other"]


def test_a_project_without_an_application_has_djangos(host):
    machine = host(PROJECT, site={"prefix": "/shop"})
    assert answers(machine, ("", "blog.example.com", "https"))[0][:2] == [200, None]


# --- the health page ----------------------------------------------------------------------------------------------

PROBES = """
import io, json, sys, threading, time
from wsgiref.util import setup_testing_defaults
import ntier_health
import ntier_wsgi

def get(path, method="GET", script="", host="nobody.example.org"):
    environ = {"REQUEST_METHOD": method, "HTTP_HOST": host, "SCRIPT_NAME": script, "PATH_INFO": path}
    setup_testing_defaults(environ)
    found = []
    body = b"".join(ntier_wsgi.application(environ, lambda line, headers: found.append((line, dict(headers)))))
    status, headers = found[0]
    return int(status[:3]), headers, body.decode()

def health(**more):
    status, _headers, body = get(ntier_health.HEALTH, **more)
    return [status, json.loads(body)]

"""
ALL_OK = {"app": "ok", "database": "ok", "cache": "ok"}
SQLITE = """
import ntier_settings
ntier_settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""


def probe(machine, script, before=SQLITE):
    """Run a script with the functions above; return what it prints."""
    machine.write("mysite/urls.py", URLS)
    machine.write("mysite/wsgi.py", WSGI.replace("{by}", "wsgi"))
    return json.loads(machine.run("-c", before + PROBES + script))


@pytest.fixture
def site(host):
    """Return a function that makes a host with a site below a prefix and no memcached."""
    return lambda settings=PROJECT, **more: host(
        settings, **{"memcached_servers": [], "site": {"prefix": "/shop"}, **more}
    )


def test_balancers_are_told_that_all_is_well(site):
    script = "print(json.dumps(get('/shop/_ntier/health')))"
    status, headers, body = probe(site(), script)
    assert status == 200
    assert json.loads(body) == ALL_OK
    assert headers == {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
    }


def test_the_health_page_is_found_with_the_prefix_split_off_too_and_nothing_else_is(site):
    script = """
answers = [get("/_ntier/health", script="/shop"), get("/_ntier/health"), get("/shop/_ntier/health/"), get("/_ntier/health/x")]
print(json.dumps([status for status, *more in answers]))
"""
    # The others go to the site, which does not know this host.
    assert probe(site(), script) == [200, 400, 400, 400]


def test_the_health_page_is_for_looking_at_only(site):
    script = "print(json.dumps([get(ntier_health.HEALTH, method=method) for method in ('HEAD', 'POST')]))"
    head, post = probe(site(), script)
    assert (head[0], head[2]) == (200, "")
    assert int(head[1]["Content-Length"]) > 0
    assert (post[0], post[1]["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("settings", [f"{PROJECT}WSGI_APPLICATION = 'mysite.wsgi.application'", PROJECT])
def test_a_project_with_an_application_of_its_own_has_the_page_as_well(site, settings):
    assert probe(site(settings), "print(json.dumps(health()))") == [200, ALL_OK]


def test_a_site_without_database_and_with_a_cache_that_keeps_nothing_is_well(site):
    settings = "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}}\n" + PROJECT
    assert probe(site(settings), "print(json.dumps(health()))", SQLITE.replace("sqlite3", "dummy")) == [200, ALL_OK]


def test_a_database_that_does_not_answer_takes_the_host_out(site):
    broken = SQLITE.replace(":memory:", "/nowhere/key-blog/password-blog/db")
    status, report = probe(site(), "health(); print(json.dumps(health()))", broken)
    assert status == 503
    assert report == {**ALL_OK, "database": "OperationalError: unable to open database file"}


def test_a_driver_that_is_missing_is_a_fault_and_no_error_page(site):
    status, report = probe(
        site(), "print(json.dumps(health()))", SQLITE.replace("django.db.backends.sqlite3", "nowhere")
    )
    assert status == 503
    assert report["database"].startswith("ImproperlyConfigured: 'nowhere' isn't an available database backend")


def test_errors_are_short_and_keep_secrets(site):
    script = """
error = ValueError("  for blog:password-blog and key-blog" + "x" * 999 + "\\nsecond line")
print(json.dumps(ntier_health.explain(error)))
"""
    text = probe(site(), script)
    assert text.startswith("ValueError: for blog:… and …xxx")
    assert len(text) == 200
    assert "second" not in text


def test_a_dead_cache_is_reported_and_leaves_the_host_in(site):
    machine = site(memcached_servers=["127.0.0.1:1", "127.0.0.1:2"])
    status, report = probe(machine, "print(json.dumps(health()))")
    assert status == 200
    assert report == {**ALL_OK, "cache": "no answer from 127.0.0.1:1, 127.0.0.1:2"}


WAITING = """
release, started = threading.Event(), threading.Event()
def wait():
    started.set()
    release.wait(10)
    return "ok"
answers = []
before = health() if KNOWN else None
ntier_health.ask_database = wait
thread = threading.Thread(target=lambda: answers.append(health()))
thread.start()
started.wait(10)
begin = time.monotonic()
answers.append(health())
ntier_health.PATIENCE = 0
answers.append(health())
seconds = time.monotonic() - begin
release.set()
thread.join()
ntier_health.ask_database = lambda: "ok"
answers.append(health())
print(json.dumps([seconds, *answers]))
"""


@pytest.mark.parametrize("known", [True, False])
def test_a_probe_that_waits_holds_one_thread_and_no_more(site, known):
    seconds, at_once, later, waited, after = probe(site(), f"KNOWN = {known}\n{WAITING}")
    assert seconds < 0.5
    # Two balancers may ask at the same moment; what was found last is good enough for a second.
    assert at_once == ([200, ALL_OK] if known else [503, {**ALL_OK, "database": "no answer yet"}])
    assert later == [503, {**ALL_OK, "database": "no answer for 0 seconds"}]
    assert waited == after == [200, ALL_OK]


def test_a_probe_uses_the_connection_that_is_there(site):
    script = """
from django.db import connection
health()
first = connection.connection
health()
print(json.dumps(first is not None and first is connection.connection))
"""
    assert probe(site(), script) is True


@pytest.mark.parametrize(("seconds", "stays"), [(60, True), (0, False)])
def test_a_probe_leaves_a_connection_where_connections_persist(site, tmp_path, seconds, stays):
    script = """
from django.db import connection
health()
print(json.dumps(connection.connection is not None))
"""
    database = SQLITE.replace(":memory:", str(tmp_path / "db")).replace(
        '"ENGINE"', f'"CONN_MAX_AGE": {seconds}, "ENGINE"'
    )
    assert probe(site(), script, database) is stays


# --- gunicorn -----------------------------------------------------------------------------------------------------


def gunicorn_of(machine, monkeypatch):
    """Return the settings that gunicorn reads, in a virtual environment of a release; it is told of no release."""
    for name, value in machine.environment.items():
        if name != "NTIER_RELEASE":
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "prefix", str(machine.release / "venv"))
    path = FILES / "gunicorn.conf.py"
    values = {}
    exec(compile(path.read_text(), path, "exec"), values)
    return values


def test_gunicorn_gets_the_figures_of_its_site(host, monkeypatch):
    machine = host(timeout_seconds=20)
    older = machine.configure("older", timeout_seconds=10)
    monkeypatch.setenv("NTIER_RELEASE", str(older))
    monkeypatch.setenv("NTIER_WORKERS", "7")
    monkeypatch.setenv("NTIER_THREADS", "3")
    found = gunicorn_of(machine, monkeypatch)
    assert (found["workers"], found["threads"]) == (7, 3)
    assert (found["timeout"], found["graceful_timeout"]) == (20, 20)
    assert found["chdir"] == str(machine.project)
    assert found["proc_name"] == "django-blog"
    assert os.environ["NTIER_RELEASE"] == str(machine.folder / "release")


@pytest.mark.parametrize("value", [None, ""])
def test_gunicorn_comes_up_on_a_host_that_says_no_figures(host, monkeypatch, value):
    for name in ("NTIER_WORKERS", "NTIER_THREADS"):
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    found = gunicorn_of(host(), monkeypatch)
    assert (found["workers"], found["threads"]) == (2, 4)


def told(monkeypatch, name, tmp_path):
    """Have somebody listen as systemd does, and return him."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5)
    monkeypatch.setenv(name, str(tmp_path / "notify"))
    return listener


def test_systemd_hears_from_the_first_worker_of_gunicorn_and_not_from_gunicorn(host, monkeypatch, tmp_path):
    with told(monkeypatch, "NOTIFY_SOCKET", tmp_path) as listener:
        monkeypatch.setenv("NTIER_NOTIFY_SOCKET", "")
        found = gunicorn_of(host(), monkeypatch)
        assert "NOTIFY_SOCKET" not in os.environ
        monkeypatch.syspath_prepend(str(FILES))
        found["post_worker_init"](None)
        assert listener.recv(100) == b"READY=1"


def test_nobody_is_told_where_systemd_has_not_started_it(host, monkeypatch):
    for name in ("NOTIFY_SOCKET", "NTIER_NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(FILES))
    gunicorn_of(host(), monkeypatch)["post_worker_init"](None)


def test_gunicorn_stops_before_systemd_loses_its_patience(host, monkeypatch):
    assert gunicorn_of(host(timeout_seconds=600), monkeypatch)["graceful_timeout"] < 45


# --- compressed files ---------------------------------------------------------------------------------------------

TEXT = b"body { color: teal; }\n" * 100


@pytest.fixture
def compress(tmp_path):
    """Return a function that compresses a folder of static files and returns what it says, and the folder."""
    folder = tmp_path / "static"
    (folder / "blog").mkdir(parents=True)
    command = [sys.executable, str(FILES / "ntier_compress.py"), str(folder)]

    def run():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return run, folder


def test_files_are_compressed_where_it_pays(compress):
    run, folder = compress
    for name in ("a.css", "blog/b.JS", "blog/c.svg", "d.abcdef012345.map"):
        (folder / name).write_bytes(TEXT)
    (folder / "small.css").write_bytes(b"a {}")
    (folder / "noise.json").write_bytes(os.urandom(4096))
    (folder / "picture.png").write_bytes(TEXT)
    (folder / "link.css").symlink_to("a.css")
    (folder / "a.css").chmod(0o640)
    assert run() == "4 made, 0 removed"
    made = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gz"))
    assert made == ["a.css.gz", "blog/b.JS.gz", "blog/c.svg.gz", "d.abcdef012345.map.gz"]
    assert gzip.decompress((folder / "a.css.gz").read_bytes()) == TEXT
    assert (folder / "a.css.gz").stat().st_mode & 0o777 == 0o640
    assert (folder / "a.css.gz").stat().st_mtime_ns == (folder / "a.css").stat().st_mtime_ns
    assert (folder / "a.css.gz").read_bytes() == (folder / "blog/b.JS.gz").read_bytes()
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_what_is_compressed_already_is_not_touched(compress):
    run, folder = compress
    (folder / "a.css").write_bytes(TEXT)
    run()
    before = (folder / "a.css.gz").stat()
    assert run() == "0 made, 0 removed"
    assert (folder / "a.css.gz").stat() == before


def test_a_file_that_changed_is_compressed_anew_and_one_that_shrank_has_no_old_one_left(compress):
    run, folder = compress
    for name in ("grown.css", "shrunk.css", "noise.css"):
        (folder / name).write_bytes(TEXT)
    run()
    for name, content in {"grown.css": TEXT * 2, "shrunk.css": b"a {}", "noise.css": os.urandom(4096)}.items():
        (folder / name).write_bytes(content)
        os.utime(folder / name, (1, 1))  # an older file counts as well: a release may go back
    assert run() == "1 made, 2 removed"
    assert gzip.decompress((folder / "grown.css.gz").read_bytes()) == TEXT * 2
    assert sorted(path.name for path in folder.glob("*.gz")) == ["grown.css.gz"]


def test_what_was_made_goes_with_its_file_and_what_the_project_brought_stays(compress):
    run, folder = compress
    (folder / "gone.css").write_bytes(TEXT)
    run()
    (folder / "gone.css").unlink()
    (folder / "own.css").write_bytes(TEXT)
    own = {name: gzip.compress(name.encode()) for name in ("own.css.gz", "archive.tar.gz", "data.json.gz")}
    for name, content in own.items():
        (folder / name).write_bytes(content)
    assert run() == "0 made, 1 removed"
    assert {path.name: path.read_bytes() for path in folder.glob("*.gz")} == own


def test_leftovers_of_a_run_that_was_cut_off_go_after_a_while(compress):
    run, folder = compress
    for name, age in {".ntier-old.tmp": 7200, ".ntier-new.tmp": 5, ".ntier-other": 7200}.items():
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    run()
    assert sorted(path.name for path in folder.glob(".*")) == [".ntier-new.tmp", ".ntier-other"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    command = [sys.executable, str(FILES / "ntier_compress.py"), str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


# --- ntier-manage -------------------------------------------------------------------------------------------------


class Command:
    """ntier-manage on a folder that stands for /srv, up to the moment at which it becomes the command."""

    def __init__(self, home, monkeypatch):
        self.home, self.monkeypatch = home, monkeypatch
        self.program = runpy.run_path(str(FILES.parent / "ntier-manage"))["main"]
        self.monkeypatch.setitem(self.program.__globals__, "HOME", str(home))
        user = pwd.struct_passwd(("blog", "x", 1234, 1234, "", "/", "/bin/sh"))
        self.monkeypatch.setattr(pwd, "getpwnam", {"blog": user}.__getitem__)
        self.monkeypatch.setattr(os, "geteuid", lambda: 1234)
        self.monkeypatch.setattr(os, "chdir", lambda _path: None)
        self.monkeypatch.setattr(os, "umask", lambda _mask: 0)

    def release(self, name, **environment):
        folder = self.home / "blog/releases" / name
        (folder / "venv/bin").mkdir(parents=True)
        (folder / "venv/bin/python").touch()
        (folder / "environment").write_text(environment_file(environment))
        return folder

    def run(self, *arguments):
        """Return the command and its environment."""
        found = []
        self.monkeypatch.setattr(os, "execve", lambda *command: found.extend(command))
        self.monkeypatch.setattr(sys, "argv", ["ntier-manage", *arguments])
        self.program()
        return found


@pytest.fixture
def manage(tmp_path, monkeypatch):
    """Return ntier-manage on a host with two releases of one site, the second one live."""
    command = Command(tmp_path, monkeypatch)
    (tmp_path / "media").mkdir()
    overlay = {"DJANGO_SETTINGS_MODULE": "ntier_settings", "NTIER_SITE": "blog"}
    command.release("1", GREETING="old", **overlay)
    command.release("2", GREETING="new", LANG="de_DE.UTF-8", **overlay)
    (tmp_path / "blog/current").symlink_to("releases/2")
    return command


@pytest.mark.parametrize(("options", "release", "greeting"), [((), "2", "new"), (("--release", "1"), "1", "old")])
def test_a_command_runs_in_the_environment_of_its_release(manage, options, release, greeting):
    python, command, environment = manage.run(*options, "blog", "migrate", "--noinput")
    folder = manage.home / "blog/releases" / release
    assert python == f"{folder}/venv/bin/python"
    assert command == [python, "-m", "django", "migrate", "--noinput"]
    assert environment["GREETING"] == greeting
    assert environment["NTIER_RELEASE"] == str(folder)
    assert environment["PYTHONPATH"] == f"{folder}/ntier:{folder}/project"
    assert environment["HOME"] == "/var/lib/django/blog"


@pytest.mark.parametrize(
    ("more", "module"), [({}, "django"), ({"DJANGO_CONFIGURATION": "Production"}, "configurations")]
)
def test_a_command_of_a_site_without_the_overlay_runs_as_the_project_has_it(manage, more, module):
    folder = manage.release("3", NTIER_SITE="blog", DJANGO_SETTINGS_MODULE="mysite.settings", **more)
    python, command, environment = manage.run("--release", "3", "blog", "migrate")
    assert command == [python, "-m", module, "migrate"]
    assert environment["PYTHONPATH"] == f"{folder}/ntier/own:{folder}/ntier:{folder}/project"


def test_a_program_of_the_release_runs_in_its_environment(manage):
    """It is the release that is live as it starts, by its own name: it keeps to it when another one goes live."""
    folder = manage.home / "blog/releases/2"
    (folder / "venv/bin/celery").touch(mode=0o755)
    program, command, environment = manage.run("--program", "blog", "celery", "-A", "polls", "--release", "x", "worker")
    assert program == f"{folder}/venv/bin/celery"
    assert command == [program, "-A", "polls", "--release", "x", "worker"]
    assert environment["NTIER_RELEASE"] == str(folder)
    assert environment["GREETING"] == "new"


def test_a_command_has_the_sites_variables_and_few_of_the_callers(manage, monkeypatch):
    for name, value in {"LANG": "C", "TERM": "vt100", "SECRET": "x", "DJANGO_SUPERUSER_PASSWORD": "pw"}.items():
        monkeypatch.setenv(name, value)
    environment = manage.run("blog", "check")[2]
    assert environment["LANG"] == "de_DE.UTF-8"
    assert environment["TERM"] == "vt100"
    assert environment["DJANGO_SUPERUSER_PASSWORD"] == "pw"
    assert "SECRET" not in environment


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shop", "check"), "there is no site shop on this host; there are: blog"),
        (("media", "check"), "there is no site media on this host; there are: blog"),
        (("--release", "3", "blog", "check"), "site blog has no release 3 on this host"),
        (("--program", "blog", "celery"), "site blog has no program 'celery' in "),
        (("--program", "blog", "../python"), "site blog has no program '../python' in "),
        (("--program", "blog", ".."), "site blog has no program '..' in "),
        (("--program", "blog"), "which program?"),
    ],
)
def test_what_is_not_there_is_named(manage, capsys, arguments, message):
    with pytest.raises(SystemExit):
        manage.run(*arguments)
    assert message in capsys.readouterr().err


def test_a_program_is_that_of_the_releases_environment(manage, monkeypatch):
    own = manage.home / "blog/releases/1/venv/bin/celery"
    own.touch(mode=0o755)
    monkeypatch.setenv("PATH", "/usr/bin")
    program, command, environment = manage.run("--release", "1", "--program", "blog", "celery", "--version")
    assert (program, command) == (str(own), [str(own), "--version"])
    assert environment["PATH"] == f"{own.parent}:/usr/bin"
    assert environment["GREETING"] == "old"


@pytest.mark.parametrize("missing", ["environment", "venv/bin/python"])
def test_a_release_that_is_not_whole_is_none(manage, capsys, missing):
    (manage.home / "blog/releases/2" / missing).unlink()
    with pytest.raises(SystemExit):
        manage.run("blog", "check")
    assert "site blog has no release that is live on this host" in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["blog", "blog/releases/2/environment"])
def test_somebody_who_may_not_read_the_site_is_told_to_be_root(manage, capsys, monkeypatch, closed):
    """Root may read everything, so the refusal of the kernel is played."""
    path = str(manage.home / closed)
    access, is_folder, opened = os.access, os.path.isdir, open

    def open_closed(name, *more, **options):
        if str(name).startswith(path):
            raise PermissionError(13, "Permission denied", str(name))
        return opened(name, *more, **options)

    monkeypatch.setattr(os, "access", lambda name, mode: str(name) != path and access(name, mode))
    monkeypatch.setattr(os.path, "isdir", lambda name: not str(name).startswith(f"{path}/") and is_folder(name))
    monkeypatch.setitem(manage.program.__globals__, "open", open_closed)
    with pytest.raises(SystemExit):
        manage.run("blog", "check")
    assert "run it as root or as blog, with sudo" in capsys.readouterr().err


# --- the other app servers ----------------------------------------------------------------------------------------


def started(machine, program, stand_ins, **environment):
    """Return what a start file asks of its program, which is a stand-in that prints it; the interpreter is that of a release."""
    for name, text in stand_ins.items():
        machine.write(name, text)
    script = f"import sys; sys.prefix = {str(machine.release / 'venv')!r}; import {program}; {program}.main()"
    return json.loads(machine.run("-c", script, **environment).splitlines()[-1])


UWSGI = {
    "pyuwsgi.py": "import json, os\ndef run(words):\n    print(json.dumps([words, os.getcwd(), os.environ['NTIER_RELEASE']]))\n"
}
GRANIAN = {
    "granian/__init__.py": "",
    "granian/server/__init__.py": "",
    "granian/constants.py": "class HTTPModes:\n    http1 = '1'\nclass Interfaces:\n    ASGI = 'asgi'\n    WSGI = 'wsgi'\n",
    "granian/http.py": "def HTTP1Settings(**more):\n    return more\n",
    "granian/net.py": "def SocketHolder(*values):\n    return list(values)\n",
    "granian/server/mp.py": """
import json
class MPServer:
    def __init__(self, target, **more):
        self.said = [target, more]
    def serve(self, target_loader):
        self._init_shared_socket()
        print(json.dumps([*self.said, self._shd]))
""",
}


def test_uwsgi_speaks_fastcgi_on_the_socket_of_systemd(host):
    machine = host(timeout_seconds=600)
    words, folder, release = started(machine, "ntier_uwsgi", UWSGI, NTIER_WORKERS="7", NTIER_THREADS="")
    assert {"--fastcgi-socket=fd://3", "--processes=7", "--threads=4", "--module=ntier_uwsgi_app:application"} <= set(
        words
    )
    assert "--worker-reload-mercy=40" in words
    assert folder == str(machine.project)
    assert release == str(machine.release)


HANGING = """
import os, signal
import ntier_uwsgi_app
signal.signal(signal.SIGHUP, lambda *_arguments: os._exit(7))
ntier_uwsgi_app._stop(signal.SIGHUP, None)
"""


def test_a_worker_of_uwsgi_may_be_stopped_while_it_loads(tmp_path):
    (tmp_path / "ntier_wsgi.py").write_text(
        "import os, signal\nif 'STOP' in os.environ:\n    os.kill(os.getpid(), signal.SIGHUP)\napplication = None\n"
    )
    places = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'roles/release/files/overlay'}"}
    for more, status in (({"STOP": "1"}, 0), ({}, 7)):
        done = subprocess.run([sys.executable, "-c", HANGING], env={**places, **more}, timeout=30, check=False)
        assert done.returncode == status


def test_granian_serves_wsgi_on_the_socket_of_systemd(host):
    target, options, socket = started(
        host(prefix="/shop"), "ntier_granian", GRANIAN, NTIER_WORKERS="3", NTIER_THREADS="5"
    )
    assert (target, options["interface"], options["websockets"]) == ("ntier_wsgi", "wsgi", False)
    assert (options["workers"], options["blocking_threads"], options["backpressure"]) == (3, 5, 5)
    assert options["url_path_prefix"] == "/shop"
    assert socket == [3, True, 4096]


def test_granian_serves_asgi_where_the_site_has_it(host):
    target, options, _socket = started(host(asgi="mysite.asgi:application"), "ntier_granian", GRANIAN)
    assert (target, options["interface"], options["websockets"]) == ("ntier_asgi", "asgi", True)
    assert options["blocking_threads"] == 1
    assert options["backpressure"] > 1000


ASGI = """
async def application(scope, receive, send):
    await send({"type": "echo", "client": list(scope["client"])})
"""
SCOPES = """
import asyncio, json, ntier_asgi
def ask(**scope):
    sent = []
    async def send(message):
        sent.append({key: value.decode() if isinstance(value, bytes) else value for key, value in message.items() if key != "headers"})
    async def receive():
        return messages.pop(0)
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    asyncio.run(ntier_asgi.application({"headers": [(b"x-real-ip", b"192.0.2.9")], **scope}, receive, send))
    return sent
"""


def test_an_asgi_site_knows_its_visitors_and_has_the_health_page(site):
    machine = site(asgi="mysite.asgi:application")
    machine.write("mysite/asgi.py", ASGI)
    script = """
print(json.dumps([ask(type="websocket", path="/shop/x"), ask(type="http", method="GET", path="/shop/_ntier/health")]))
"""
    echo, probe_answer = json.loads(machine.run("-c", SQLITE + SCOPES + script))
    assert echo == [{"type": "echo", "client": ["192.0.2.9", 0]}]
    start, body = probe_answer
    assert start["status"] == 200
    assert json.loads(body["body"]) == ALL_OK


def test_djangos_own_application_starts_and_stops_without_an_error(site):
    machine = site(asgi="mysite.asgi:application")
    machine.write(
        "mysite/asgi.py", "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n"
    )
    answers_of = json.loads(machine.run("-c", SQLITE + SCOPES + "print(json.dumps(ask(type='lifespan')))"))
    assert [message["type"] for message in answers_of] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


WITHOUT_MEDIA = """
import os
from django.conf import settings
settings.configure(STATIC_ROOT="/srv/media/blog/static", STATIC_URL="/static/")
import ntier_storage
from django.core.files.storage import FileSystemStorage
asked, lstat = [], os.lstat
os.lstat = lambda path, *more, **others: asked.append(os.fspath(path)) or lstat(path, *more, **others)
places = ["/srv/media/blog/static", "/srv/media/blog/static/icons", os.environ["NTIER_RELEASE"] + "/project/lists"]
print([ntier_storage._described(FileSystemStorage(location=place)) for place in places], "/srv/media" in asked, bool(asked))
"""


def test_where_static_files_lie_is_told_without_the_media_server(tmp_path):
    """Each look below the mount would wait for a media server that is off, in every new app server."""
    release = tmp_path.resolve()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MEDIA],
        env={**os.environ, "PYTHONPATH": str(FILES), "NTIER_RELEASE": str(release)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"['.', 'icons', '{release}/project/lists'] False True\n", done.stderr
