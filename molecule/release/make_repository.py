"""Make in a folder the guestbook's history as a repository, packed for a host: make_repository.py FOLDER.

v1 and v2 work; every other version is v2 with one fault. A page names the version of its code and of its template, and so
does the content of the style sheet that it refers to. VERSIONS says what each version is. The project has a static files
storage of its own, which raises on a name that its list lacks, and each version has its icon under another name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

GUESTBOOK = Path(__file__).resolve().parents[2] / "examples/guestbook"
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "test"), ("EMAIL", "test@example.com"))
}

STORAGE = """
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
}
"""
VERSION_PY = '''"""Which version of the guestbook this is."""

import time

from django.shortcuts import render

VERSION = "{version}"


def version(request):
    """Tell every template."""
    return {{"guestbook_version": VERSION}}


def slow(request):
    """Take some time, as a report would."""
    time.sleep(2)
    return render(request, "entries/statistics.html", {{"figures": {{}}}})
'''
ECHO = '''

django = application


async def application(scope, receive, send):
    """Say again what comes by a websocket; the rest is Django's."""
    if scope["type"] != "websocket":
        return await django(scope, receive, send)
    while (event := await receive())["type"] != "websocket.disconnect":
        if event["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": "again: " + event["text"]})
'''
MOOD = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("entries", "0001_initial")]
    operations = [migrations.AddField("entry", "mood", models.CharField(max_length=20, null=True, blank=True))]
"""
COLOUR = """from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("entries", "0002_mood")]
    operations = [migrations.AddField("entry", "colour", models.CharField(max_length=20, null=True))]
"""
DIVISION = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("entries", "0003_colour")]
    operations = [migrations.RunSQL("CREATE TABLE half_way (id integer)"), migrations.RunSQL("SELECT 1 / 0")]
"""
REMOVAL = """from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("entries", "0002_mood")]
    operations = [migrations.RemoveField("entry", "mood")]
"""
HOST_CHECK = '''"""Refuses visitors who come to another name, whatever ALLOWED_HOSTS says."""

from django.core.exceptions import DisallowedHost


def only_our_name(get_response):
    def answer(request):
        if request.get_host() != "old.example.com":
            raise DisallowedHost(f"this is old.example.com, not {request.get_host()}")
        return get_response(request)

    return answer
'''


class Project:
    """A working tree of the guestbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands in a file once."""
        text = (self.folder / name).read_text()
        if text.count(old) != 1:
            sys.exit(f"{name} has {old!r} {text.count(old)} times, and should once")
        (self.folder / name).write_text(text.replace(old, new))

    def write(self, name: str, text: str, mode: str = "w") -> None:
        """Write a file, or with mode C(a) append to it."""
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open(mode) as file:
            file.write(text)

    def name_version(self, before: str, version: str) -> None:
        """Have code, template, style sheet and the name of the icon name a version."""
        self.write("guestbook/version.py", VERSION_PY.format(version=version))
        self.replace("entries/templates/base.html", f'data-template="{before}"', f'data-template="{version}"')
        self.replace("entries/static/entries/style.css", f"/* version: {before} */", f"/* version: {version} */")
        icon = "entries/static/entries/icon-{}.svg"
        (self.folder / icon.format(before)).rename(self.folder / icon.format(version))
        self.replace("entries/templates/base.html", f"icon-{before}.svg", f"icon-{version}.svg")


def v1(project: Project) -> None:
    """The guestbook, with a version, a slow page, an echo by websockets, an icon, and a static files storage of its own."""
    project.write("guestbook/settings.py", STORAGE, "a")
    static = project.folder / "entries/static/entries"
    shutil.copy(static / "logo.svg", static / "icon-none.svg")
    project.replace(
        "entries/templates/base.html",
        'rel="icon" href="{% static \'entries/logo.svg\' %}"',
        'rel="icon" href="{% static \'entries/icon-none.svg\' %}"',
    )
    project.replace(
        "entries/templates/base.html",
        '<html lang="en">',
        '<html lang="en" data-template="none" data-code="{{ guestbook_version }}">',
    )
    project.write("entries/static/entries/style.css", "/* version: none */\n", "a")
    project.write("guestbook/asgi.py", ECHO, "a")
    project.replace(
        "guestbook/settings.py",
        '                "django.contrib.messages.context_processors.messages",\n',
        '                "django.contrib.messages.context_processors.messages",\n                "guestbook.version.version",\n',
    )
    project.replace("guestbook/urls.py", "urlpatterns = [\n", 'urlpatterns = [\n    path("slow/", version.slow),\n')
    project.replace(
        "guestbook/urls.py",
        "from django.urls import include, path\n",
        "from django.urls import include, path\n\nfrom . import version\n",
    )


def v2(project: Project) -> None:
    """A field more, which v1 can live with; another page and another style."""
    project.write("entries/migrations/0002_mood.py", MOOD)
    project.replace(
        "entries/models.py",
        "    created = models.",
        "    mood = models.CharField(max_length=20, null=True, blank=True)\n    created = models.",
    )
    project.replace("entries/forms.py", 'fields = ["message", "picture"]', 'fields = ["message", "picture", "mood"]')
    project.replace(
        "entries/templates/entries/_entry.html",
        '  <div class="message">',
        '  {% if entry.mood %}<p class="mood">{{ entry.mood }}</p>{% endif %}\n  <div class="message">',
    )
    project.write("entries/static/entries/style.css", ".mood { font-style: italic; }\n", "a")


def v3(project: Project) -> None:
    """Settings that raise."""
    project.write("guestbook/settings.py", '\nraise RuntimeError("the settings of v3 raise")\n', "a")


def v4(project: Project) -> None:
    """Imports, passes the checks, and answers every visitor with an error."""
    project.replace(
        "entries/views.py",
        "    def get_context_data(self, **kwargs):\n        if self.request",
        '    def get_context_data(self, **kwargs):\n        raise RuntimeError("the page of v4 breaks")\n        if self.request',
    )


def v5(project: Project) -> None:
    """A migration that works, and one that fails."""
    project.write("entries/migrations/0003_colour.py", COLOUR)
    project.write("entries/migrations/0004_division.py", DIVISION)
    project.replace(
        "entries/models.py",
        "    created = models.",
        "    colour = models.CharField(max_length=20, null=True)\n    created = models.",
    )


def v6(project: Project) -> None:
    """Take a field away that v2 reads."""
    project.write("entries/migrations/0003_remove_mood.py", REMOVAL)
    project.replace("entries/models.py", "    mood = models.CharField(max_length=20, null=True, blank=True)\n", "")
    project.replace("entries/forms.py", 'fields = ["message", "picture", "mood"]', 'fields = ["message", "picture"]')


def v7(project: Project) -> None:
    """Require two packages that can't stand together."""
    project.write("requirements.txt", "asgiref<3\n", "a")


def v8(project: Project) -> None:
    """Require a package whose build fails."""
    project.write("crooked/setup.py", "raise SystemExit('the crooked package says no')\n")
    project.write("requirements.txt", "./crooked\n", "a")


def v9(project: Project) -> None:
    """Refuse the host name that the health check, as every visitor, asks for."""
    project.write("guestbook/hosts.py", HOST_CHECK)
    project.replace(
        "guestbook/settings.py", "MIDDLEWARE = [\n", 'MIDDLEWARE = [\n    "guestbook.hosts.only_our_name",\n'
    )


def v10(project: Project) -> None:
    """Fail where the app server loads the application."""
    project.write("guestbook/wsgi.py", '\nraise RuntimeError("the application of v10 does not start")\n', "a")


# Version → what it is made from, and how.
VERSIONS: dict[str, tuple[str, Callable[[Project], None]]] = {
    "v1": ("", v1),
    "v2": ("v1", v2),
    **{change.__name__: ("v2", change) for change in (v3, v4, v5, v6, v7, v8, v9, v10)},
}


def main(folder: Path) -> None:
    """Commit and tag each version, and pack the repository."""
    work, bare = folder / "work", folder / "git/guestbook.git"

    def git(*arguments: str) -> None:
        subprocess.run(["git", "-C", str(work), *arguments], check=True, env={**os.environ, **IDENTITY})

    shutil.copytree(GUESTBOOK, work, ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "-q", "-b", "main")
    project = Project(work)
    for version, (base, change) in VERSIONS.items():
        if base:
            git("checkout", "-q", base)
        change(project)
        project.name_version(base or "none", version)
        git("add", ".")
        git("commit", "-q", "-m", version)
        # Some people write annotated tags, whose number is not that of the commit.
        git("tag", *(["-a", "-m", f"Release {version}"] if version == "v2" else []), version)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["tar", "-cf", str(folder / "guestbook.tar"), "-C", str(folder), "git"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
