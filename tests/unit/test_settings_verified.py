"""The settings as the site loads them are what they have to be, or the release is refused in words; settings of the project's own."""

import json
import os

import pytest
from clusters import a_site, build, wired
from test_settings_overlay import FILES, Host

FLAT = """
DEBUG = True
SECRET_KEY = "their-secret"
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "mysite"]
"""
CONFIGURATIONS = """
import os
PLACE = {key: os.environ.get(f"DATABASE_{key}") for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")}
from configurations import Configuration, values
class Base(Configuration):
    ROOT_URLCONF = "mysite.urls"
    INSTALLED_APPS = ["django.contrib.staticfiles", "mysite"]
    DEBUG = True
class Production(Base):
    DEBUG = values.BooleanValue(False)
    SECRET_KEY = values.SecretValue()
    ALLOWED_HOSTS = values.ListValue([])
    CSRF_TRUSTED_ORIGINS = values.ListValue([], environ_prefix=None)
    DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **PLACE}}
    STATIC_ROOT = values.Value()
    STATIC_URL = values.Value()
    MEDIA_ROOT = values.Value()
    STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
"""
DYNACONF = f"""{FLAT}
DATABASES = {{}}
from dynaconf import DjangoDynaconf
settings = DjangoDynaconf(__name__, environments=False, load_dotenv=False)
"""
SPLIT = """
import importlib, os
globals().update(vars(importlib.import_module(f"mysite.parts.{os.environ.get('STAGE', 'live')}")))
"""
EXPLICIT = """
from .parts import base, live
for part in (base, live):
    globals().update({name: value for name, value in vars(part).items() if name.isupper()})
"""


def verified(machine, **environment):
    """Return what the release's check of the settings says, and whether it lets the release go on."""
    done = machine.try_to_run(str(machine.python / "ntier_verify.py"), **environment)
    answer = [line for line in done.stdout.splitlines() if line.startswith("ntier_verify ")]
    return (
        json.loads(answer[-1].split(" ", 1)[1])["notes"] if answer else done.stderr.splitlines()
    ), not done.returncode


@pytest.fixture
def host(tmp_path):
    """Return a function that makes a host from a project's settings, as a release has it."""

    def make(settings="", **more):
        machine = Host(tmp_path, settings, **{"media_root": str(tmp_path / "media"), **more})
        machine.environment["HOME"] = str(tmp_path)
        return machine

    return make


def alone(machine, **own):
    """Leave the project's settings alone, and give its programs the environment that the site then has."""
    keys = {"settings": "mysite.settings", "settings_overlay": False, "environment": own}
    site = wired(build(sites=[a_site("blog", **keys)]))["release_sites"][0]
    places = {name: machine.values[name] for name in ("static_root", "media_root")}
    machine.configure(settings_overlay=False, **places)
    machine.environment.update(site["environment"])
    for name, place in places.items():
        machine.environment.update({name.upper(): place, f"DJANGO_{name.upper()}": place})
    # As ntier-manage has it.
    machine.environment["PYTHONPATH"] = f"{machine.python}/own:{machine.environment['PYTHONPATH']}"
    return machine


# --- with the overlay ---------------------------------------------------------------------------------------------


def test_flat_settings_are_as_meant(host):
    assert verified(host(FLAT)) == ([], True)


@pytest.mark.parametrize("text", [SPLIT, EXPLICIT])
def test_a_package_whose_parts_are_put_together_is_flat(host, text):
    machine = host()
    (machine.project / "mysite/settings.py").unlink()
    machine.write("mysite/settings/__init__.py", text.replace("mysite.parts", "mysite.settings.parts"))
    machine.write("mysite/settings/parts/__init__.py", "")
    machine.write("mysite/settings/parts/base.py", FLAT)
    machine.write("mysite/settings/parts/live.py", "from .base import *\nALLOWED_HOSTS = ['x']\nDEBUG = True\n")
    assert verified(machine) == ([], True)


def test_settings_that_replace_themselves_are_refused(host):
    machine = host(DYNACONF)
    machine.write("mysite/urls.py", "urlpatterns = []")
    said, goes_on = verified(machine)
    assert not goes_on
    assert said[0] == "The settings are not what the settings overlay has made of them:"
    assert "  DEBUG is True instead of False" in said
    assert "  ALLOWED_HOSTS lacks blog.example.com" in said
    assert "dynaconf." in said[-2]
    assert said[-1].startswith("Set settings_overlay: false for site blog")
    assert "their-secret" not in "".join(said)
    assert "key-blog" not in "".join(said)


@pytest.mark.parametrize("more", [{}, {"DJANGO_CONFIGURATION": "Production"}])
def test_classes_of_settings_are_refused(host, more):
    said, goes_on = verified(host(CONFIGURATIONS), **more)
    assert not goes_on
    assert said[0].startswith("mysite.settings has classes of django-configurations")
    assert "settings_overlay: false" in said[1]
    assert "DJANGO_CONFIGURATION" in said[1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            "class Production:\n    DEBUG = False\n",
            "mysite.settings sets no ROOT_URLCONF, so it is no module of a project's settings; it has the classes Production",
        ),
        ("", "mysite.settings sets no ROOT_URLCONF, so it is no module of a project's settings"),
    ],
)
def test_a_module_that_has_no_settings_is_refused(host, settings, expected):
    said, goes_on = verified(host(settings))
    assert not goes_on
    assert f"  {expected}" in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("settings.DEBUG = True", "DEBUG is True instead of False"),
        ("settings.ALLOWED_HOSTS = ['*.example.org']", "ALLOWED_HOSTS lacks blog.example.com"),
        ("settings.ALLOWED_HOSTS = ['*']", ""),
        ("settings.DATABASES['default']['PASSWORD'] = 'x'", "the PASSWORD of the default database is another one"),
        (
            "settings.DATABASES['default']['HOST'] = 'db'",
            "the HOST of the default database is another one: 'db' instead of '127.0.0.1'",
        ),
        (
            "settings.DATABASES = {}",
            "the ENGINE of the default database is another one: None instead of 'django.db.backends.postgresql'",
        ),
        ("settings.MEDIA_ROOT = '/x'", "MEDIA_ROOT is '/x' instead of '{media}'"),
    ],
)
def test_whatever_is_not_as_meant_is_said(host, change, expected):
    """As a library might change it when it is loaded."""
    machine = host(f"{FLAT}\nimport mysite.late\n")
    machine.write(
        "mysite/late.py",
        "import django.conf\nsetup = django.conf.LazySettings._setup\n"
        f"def late(settings, name=None):\n    setup(settings, name)\n    {change}\n"
        "django.conf.LazySettings._setup = late\n",
    )
    script = "import mysite.late, runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
    done = machine.try_to_run("-c", script, str(machine.python / "ntier_verify.py"))
    expected = expected.replace("{media}", str(machine.folder / "media"))
    assert done.returncode == (1 if expected else 0), done.stderr
    assert (f"  {expected}" in done.stderr.splitlines()) == bool(expected)


def test_why_settings_can_not_be_loaded_is_said_with_every_cause(host):
    text = "import os\ntry:\n    os.environ['COLOUR']\nexcept KeyError as error:\n    raise RuntimeError('no colour') from error\n"
    said, goes_on = verified(host(text))
    assert not goes_on
    assert said == [
        "The settings can't be loaded from mysite.settings:",
        "  RuntimeError: no colour",
        "  caused by KeyError: 'COLOUR'",
    ]


# --- places -------------------------------------------------------------------------------------------------------

PLACES = f"""{FLAT}
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
MEDIA_ROOT = BASE_DIR / "media"
LOGGING = {{"version": 1, "handlers": {{
    "file": {{"class": "logging.FileHandler", "filename": BASE_DIR / "logs/debug.log"}},
    "console": {{"class": "logging.StreamHandler"}},
}}}}
CACHES = {{
    "files": {{"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(BASE_DIR / "cache")}},
    "local": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "x"}},
}}
STORAGES = {{
    "exports": {{"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {{"location": BASE_DIR / "exports"}}}},
    "avatars": {{"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {{"location": MEDIA_ROOT / "avatars"}}}},
}}
DATABASES = {{"archive": {{"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "archive.sqlite3"}}}}
REPORT_DIR = BASE_DIR / "reports"
FONTS_DIR = BASE_DIR / "mysite"
TEMPORARY_DIR = "/tmp/blog/x"
HOME_DIR = Path.home() / "x"
"""


def test_places_that_the_site_can_not_write_are_named(host):
    machine = host(PLACES)
    said, goes_on = verified(machine)
    own = machine.project.resolve()
    assert goes_on
    assert said == [
        f"LOGGING, handler file: {own}/logs/debug.log can't be written by the site",
        f"CACHES, files: {own}/cache can't be written by the site",
        f"STORAGES, exports: {own}/exports can't be written by the site",
        f"DATABASES, archive: {own}/archive.sqlite3 can't be written by the site",
        f"REPORT_DIR: {own}/reports can't be written by the site",
    ]


# --- settings of the project's own --------------------------------------------------------------------------------

PROGRAM = """
import django, json, os, sys
from django.conf import settings
import ntier_wsgi
from wsgiref.util import setup_testing_defaults
from django.templatetags.static import static
environ = {"HTTP_HOST": "blog.example.com", "PATH_INFO": "/hello/"}
setup_testing_defaults(environ)
status = []
body = b"".join(ntier_wsgi.application(environ, lambda line, headers: status.append(line)))
print(json.dumps([status, body.decode(), settings.DEBUG, settings.SECRET_KEY, static("a.css"), "ntier_settings" in sys.modules]))
"""
URLS = "from django.http import HttpResponse\nfrom django.urls import path\nurlpatterns = [path('hello/', lambda request: HttpResponse('hello'))]\n"
ENVIRONMENT = """
import os
DEBUG = os.environ["DEBUG"] == "True"
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
ROOT_URLCONF = "mysite.urls"
INSTALLED_APPS = ["django.contrib.staticfiles", "mysite"]
STATIC_URL, STATIC_ROOT, MEDIA_ROOT = (os.environ[key] for key in ("STATIC_URL", "STATIC_ROOT", "MEDIA_ROOT"))
PLACE = {key: os.environ[f"DATABASE_{key}"] for key in ("HOST", "PORT", "NAME", "USER", "PASSWORD")}
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **PLACE}}
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"}}
"""
DYNACONF_OWN = {
    "DJANGO_ALLOWED_HOSTS": '["blog.example.com"]',
    "DJANGO_STORAGES__staticfiles__BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    **{
        f"DJANGO_DATABASES__default__{key}": f"@format {{env[DATABASE_{key}]}}"
        for key in ("HOST", "NAME", "USER", "PASSWORD", "PORT")
    },
    "DJANGO_DATABASES__default__ENGINE": "django.db.backends.postgresql",
}
PROJECTS = {
    "the environment": (ENVIRONMENT, {}, "django"),
    "django-configurations": (CONFIGURATIONS, {"DJANGO_CONFIGURATION": "Production"}, "configurations"),
    "dynaconf": (DYNACONF, DYNACONF_OWN, "django"),
}


@pytest.mark.parametrize("project", PROJECTS)
def test_a_project_with_settings_of_its_own_serves_pages_and_files(host, project):
    settings, own, module = PROJECTS[project]
    machine = alone(host(settings), **own)
    machine.write("mysite/urls.py", URLS)
    machine.write("mysite/static/a.css", "a {}")
    assert verified(machine) == ([], True)
    machine.run("-m", module, "collectstatic", "--noinput", "--verbosity", "0")
    (where,) = machine.release.glob("manifests/*/lists/staticfiles.json")
    name = json.loads(where.read_text())["paths"]["a.css"]
    assert not (machine.folder / "static/staticfiles.json").exists()
    found = json.loads(machine.run("-c", PROGRAM).splitlines()[-1])
    assert found == [["200 OK"], "hello", False, "key-blog", f"/static/{name}", False]


def test_every_program_of_such_a_site_reads_the_releases_list(host):
    """A worker, for instance: Python runs the file as it starts."""
    machine = alone(host(ENVIRONMENT))
    machine.write("mysite/static/a.css", "a {}")
    machine.run("-m", "django", "collectstatic", "--noinput", "--verbosity", "0")
    assert (FILES / "own/sitecustomize.py").is_file()
    script = "import django; django.setup(); from django.templatetags.static import static; print(static('a.css'))"
    assert machine.run("-c", script).startswith("/static/a.")


def test_what_is_not_as_meant_is_the_affair_of_such_a_project_and_named(host):
    machine = alone(host(FLAT.replace("DEBUG = True", "DEBUG = True\nALLOWED_HOSTS = ['x']")))
    said, goes_on = verified(machine)
    assert goes_on
    assert said[0] == "DEBUG is True instead of False. With settings_overlay: false that is the project's own affair"
    assert [line.split(" ")[0] for line in said] == [
        "DEBUG",
        "SECRET_KEY",
        "ALLOWED_HOSTS",
        "the",
        "STATIC_ROOT",
        "MEDIA_ROOT",
    ]
    assert os.environ.get("DJANGO_SETTINGS_MODULE") is None


# --- what PgBouncer drops ------------------------------------------------------------------------------------------

#: A database that knows its parameters as PostgreSQL does; the site's role has a search path there.
POSTGRES = """
from django.db.backends.sqlite3.base import DatabaseWrapper as Sqlite

HERE = {"search_path": "app, public", "statement_timeout": "0"}

def spelled(name, value):
    if name not in HERE:
        raise ValueError(f'unrecognized configuration parameter "{name}"')
    return {"1500": "1500ms"}.get(value, value)

class DatabaseWrapper(Sqlite):
    init_commands = ()

    def get_connection_params(self):
        return {"database": ":memory:"}

    def get_new_connection(self, params):
        connection = super().get_new_connection(params)
        connection.create_function("current_setting", 2, lambda name, _missing: HERE.get(name))
        connection.create_function("set_config", 3, lambda name, value, _local: spelled(name, value))
        return connection
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c search_path=app,public", []),
        ("", []),
        (
            "-c search_path=app,public --statement-timeout=1500",
            [
                "statement_timeout = 1500, where the database has '0'.",
                "'ALTER ROLE blog IN DATABASE blog SET statement_timeout TO 1500'",
            ],
        ),
        ("-csearch_path=shop,public", ["'ALTER ROLE blog IN DATABASE blog SET search_path TO shop,public'"]),
        ("-c serch_path=app", ["can't be asked for what DATABASES has in OPTIONS"]),
    ],
)
def test_options_that_do_not_reach_the_database_are_refused_unless_it_has_them(host, options, expected):
    database = {"default": {"ENGINE": "mysite.postgres", "OPTIONS": {"options": options}}}
    machine = host(f"{FLAT}\nDATABASES = {database!r}\n")
    machine.write("mysite/postgres/__init__.py", "")
    machine.write("mysite/postgres/base.py", POSTGRES)
    said, good = verified(machine)
    assert good == (not expected)
    for words in expected:
        assert words in "\n".join(said)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-c a=1 -cb=2  --long-name=3", [("a", "1"), ("b", "2"), ("long_name", "3")]),
        (r"-c a=with\ a\ blank -c b=\\", [("a", "with a blank"), ("b", "\\")]),
    ],
)
def test_options_are_read_as_libpq_reads_them(host, options, expected):
    machine = host(FLAT)
    script = f"import ntier_verify; print(ntier_verify.asked_of_sessions({options!r}))"
    assert machine.run("-c", script).strip() == str(expected)
