"""The settings overlay under every Django that projects have, the real ones: each is installed once, into build/django."""

import functools
import glob
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from clusters import ROOT
from prefork import Prefork
from test_settings_overlay import UNHASHABLE, Host, listed

#: Django → the Pythons that it runs on. The last one is the newest that there is.
VERSIONS = {
    "3.2": ((3, 6), (3, 11)),
    "4.1": ((3, 8), (3, 11)),
    "4.2": ((3, 8), (3, 12)),
    "5.0": ((3, 10), (3, 12)),
    "5.1": ((3, 10), (3, 13)),
    "5.2": ((3, 10), (3, 14)),
    "6.0": ((3, 12), (3, 14)),
    "newest": ((3, 12), (3, 15)),
}


@functools.cache
def pythons():
    """Return the Pythons of this machine as version → program; that of the tests comes first."""
    places = [sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(15, 5, -1)))]
    places += glob.glob(f"{os.environ.get('PYENV_ROOT', os.path.expanduser('~/.pyenv'))}/versions/3.*/bin/python3")
    found = {}
    for place in places:
        command = [place, "-c", "import sys; print(*sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            found.setdefault(tuple(map(int, done.stdout.split())), place)
    return found


@functools.cache
def installed(version):
    """Return an interpreter for a Django and the folder with the Django."""
    lowest, highest = VERSIONS[version]
    python = next((place for number, place in pythons().items() if lowest <= number <= highest), None)
    if not python:
        pytest.skip(f"Django {version} needs a Python from {lowest} to {highest}, and this machine has none")
    folder = ROOT / "build/django" / version
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        driver = "psycopg2-binary" if version in ("3.2", "4.1") else "psycopg[binary]"
        django = "django" if version == "newest" else f"django=={version}.*"
        command = ["uv", "pip", "install", "--quiet", "--python", python, "--target", folder]
        subprocess.run(
            [*command, django, driver, "pymemcache>=4"],
            env={**os.environ, "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"},
            check=True,
        )
        (folder / "ready").touch()
    return python, str(folder)


@pytest.fixture(scope="module", params=VERSIONS)
def django(request):
    """Return the process of one Django."""
    process = Prefork(*installed(request.param))
    process.version = request.param
    yield process
    process.close()


class Versioned(Host):
    """A host whose programs run with one of the Djangos."""

    def __init__(self, folder, settings, django, **more):
        super().__init__(folder, settings, memcached_servers=[], **more)
        self.django = django

    def try_to_run(self, *arguments, **environment):
        return self.django.run(arguments, {**self.environment, **environment})


#: What a site of startproject's with a form needs; the database is one of the machine's own.
PROJECT = """
from .made import *
INSTALLED_APPS += ["mysite"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
WSGI_APPLICATION = None
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_protect
urlpatterns = [path("form/", csrf_protect(lambda request: HttpResponse("taken")))]
"""
SQLITE = """
import json, sys
import ntier_settings
ntier_settings.DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "PLACE"}}
"""
SITE = """
import django
django.setup()
from django.conf import settings
from django.core.cache import caches
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.templatetags.static import static
from django.test import Client
from ntier_memcached import PyMemcacheCache
import ntier_wsgi

call_command("check", fail_level="ERROR", deploy=True)
call_command("migrate", verbosity=0)
call_command("collectstatic", interactive=False, verbosity=0)
client = Client(enforce_csrf_checks=True)
token = "a" * 32
client.cookies["csrftoken"] = token
answers = [
    client.post("/form/", {"csrfmiddlewaretoken": token}, secure=True, HTTP_HOST="blog.example.com", HTTP_REFERER=referer, **more).status_code
    for referer in ("https://blog.example.com/", "https://shop.example.net/cart", "https://evil.example.org/")
    for more in [{} if django.VERSION < (4, 0) else {"HTTP_ORIGIN": referer[:-1].replace("/cart", "")}]
]
cache = PyMemcacheCache("127.0.0.1:1", {})
keys = [cache.make_key("plain"), cache.make_key("with space"), cache.make_key("x" * 300)]
for key in keys:
    cache.validate_key(key)
print(json.dumps({
    "answers": answers,
    "static": static("mysite/a.css"),
    "admin": static("admin/css/base.css"),
    "storage": type(default_storage._wrapped if default_storage.exists("x") is False else None).__name__,
    "plain": keys[0],
    "settings": [settings.DEBUG, settings.SECRET_KEY],
    "postgres": "django.contrib.postgres" in settings.INSTALLED_APPS,
}))
"""


def made_by(django, folder):
    """Return the settings that startproject of a Django writes."""
    (folder / "made").mkdir()
    done = django.run(["-m", "django", "startproject", "mysite", str(folder / "made")], {"PATH": os.environ["PATH"]})
    assert not done.returncode, done.stderr
    return (folder / "made/mysite/settings.py").read_text()


def test_a_site_of_startproject_works(django, tmp_path):
    """One start of Django for all of it: checks, migrations, static files, forms of other domains, keys of the cache."""
    domains = {"domains": ["blog.example.com", "*.example.net"]}
    machine = Versioned(tmp_path, PROJECT, django, site=domains, https=True)
    machine.write("mysite/made.py", made_by(django, tmp_path))
    machine.write("mysite/urls.py", URLS)
    machine.write("mysite/static/mysite/a.css", "a {}")
    for name, text in UNHASHABLE.items():
        machine.write(f"mysite/static/mysite/{name}", text)
    (machine.project / "mysite/static/mysite/latin.css").write_bytes(UNHASHABLE["latin.css"].encode("latin-1"))
    done = machine.try_to_run("-c", SQLITE.replace("PLACE", str(tmp_path / "db")) + SITE)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    kept = ["latin.css", "one.css", "out.css", "self.css", "three.css", "two.css"]
    assert re.findall("No hash in the name of mysite/(.*):", done.stderr) == kept
    names = listed(machine.release)
    assert [name for name in sorted(UNHASHABLE) if names[f"mysite/{name}"] == f"mysite/{name}"] == kept
    assert found["answers"] == [200, 200, 403]
    assert found["static"] == "/static/" + listed(machine.release)["mysite/a.css"]
    assert found["static"].count(".") == 2
    assert found["admin"].startswith("/static/admin/css/base.")
    assert found["storage"] == "FileSystemStorage"
    assert found["plain"] == ":1:plain"
    assert found["settings"] == [False, "key-blog"]
    assert found["postgres"]


OWN = "mysite.storages.Own"
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
FILES = "django.core.files.storage.FileSystemStorage"
OURS = "ReleaseStaticFilesStorage"
STORAGES = """
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.files.storage import FileSystemStorage
class Own(FileSystemStorage):
    pass
class Static(StaticFilesStorage):
    pass
"""
KINDS = """
import json, os, sys
found = []
for name in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if not os.fork():
        try:
            os.environ["NTIER_SETTINGS"] = name
            import django
            django.setup()
            from django.contrib.staticfiles.storage import staticfiles_storage
            from django.core.files.storage import default_storage
            for storage in (staticfiles_storage, default_storage):
                storage.exists("x")
            os.write(write, json.dumps([type(one._wrapped).__name__ for one in (staticfiles_storage, default_storage)]).encode())
        except Exception as error:
            os.write(write, json.dumps(str(error)).encode())
        os._exit(0)
    os.close(write)
    os.wait()
    found.append(json.loads(os.read(read, 1000)))
print(json.dumps(found))
"""


def test_storages_are_said_in_the_words_that_this_django_reads(django, tmp_path):
    """What the project's Django reads is kept or replaced; what it does not read is nothing to go by."""
    old = django.version in ("3.2", "4.1", "4.2", "5.0")
    new = django.version not in ("3.2", "4.1")
    cases = {
        "": (OURS, "FileSystemStorage"),
        f"DEFAULT_FILE_STORAGE = {OWN!r}": (OURS, "Own" if old else "FileSystemStorage"),
        f"STATICFILES_STORAGE = {PLAIN!r}": (OURS, "FileSystemStorage"),
        "STATICFILES_STORAGE = 'mysite.storages.Static'": ("Static" if old else OURS, "FileSystemStorage"),
        f"DEFAULT_FILE_STORAGE = {OWN!r}\nSTATICFILES_STORAGE = {PLAIN!r}": (
            OURS,
            "Own" if old else "FileSystemStorage",
        ),
        f"STORAGES = {{'default': {{'BACKEND': {OWN!r}}}}}": (OURS, "Own" if new else "FileSystemStorage"),
        f"STORAGES = {{'default': {{'BACKEND': {FILES!r}}}, 'staticfiles': {{'BACKEND': 'mysite.storages.Static'}}}}": (
            "Static" if new else OURS,
            "FileSystemStorage",
        ),
    }
    machine = Versioned(tmp_path, "", django)
    machine.write("mysite/storages.py", STORAGES)
    names = []
    for number, settings in enumerate(cases):
        machine.write(f"mysite/settings{number}.py", settings)
        names.append(str(machine.configure(f"case{number}", settings=f"mysite.settings{number}") / "settings.json"))
    found = json.loads(machine.run("-c", KINDS, json.dumps(names)))
    assert dict(zip(cases, map(tuple, found), strict=True)) == cases
