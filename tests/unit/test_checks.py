"""The system checks before and after the migrations, run by the real Django over a small project.

C(DJANGO_PYTHON) names a Python with another Django to run the same with, for instance 3.2.
"""

import json
import os
import subprocess
import sys

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import ROOT
from rendering import variables_of

OVERLAY = ROOT / "roles/release/files/overlay"
PYTHON = os.environ.get("DJANGO_PYTHON", sys.executable)
LOOK = "import ntier_checks; ntier_checks.main()"
AFTER = ["check", "--deploy", "--fail-level", "ERROR", "--database", "default"]

SETTINGS = """
SECRET_KEY = "x" * 60
INSTALLED_APPS = ["polls"]
ROOT_URLCONF = "polls.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": %r}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"""
MODELS = """
from django.db import models

class Question(models.Model):
    text = models.CharField(max_length=9)
"""
MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Question", [
        ("id", models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
        ("text", models.CharField(max_length=9)),
    ]), migrations.RunPython(lambda apps, editor: apps.get_model("polls", "Question").objects.create(text="first"))]
"""
CHECKS = """
import threading
from django.core import checks
from polls.models import Question
"""
#: Checks that need the table, each in its own way.
ASKING = """
@checks.register(deploy=True)
def raises(app_configs, **kwargs):
    return [checks.Warning("few")] if Question.objects.get().pk else []

@checks.register(deploy=True)
def reports(app_configs, **kwargs):
    try:
        Question.objects.get()
    except Exception as error:
        return [checks.Error(f"schema generation threw {error}", id="polls.E001")]
    return []

@checks.register
def misses(app_configs, **kwargs):
    return [] if Question.objects.count() else [checks.Error("no row", id="polls.E002")]

@checks.register(checks.Tags.database)
def tagged(app_configs, databases, **kwargs):
    return [] if Question.objects.exists() else [checks.Error("none in " + databases[0], id="polls.E003")]

@checks.register
def yields(app_configs, **kwargs):
    yield checks.Warning("seen")
    Question.objects.get()

@checks.register
def threads(app_configs, **kwargs):
    found = []
    def ask():
        try:
            found.append(Question.objects.count())
        except Exception:
            pass
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    return [] if found else [checks.Error("no answer")]
"""
ALWAYS = """
@checks.register(deploy=True)
def always(app_configs, **kwargs):
    return [checks.Error("no key", id="polls.E009")]
"""


class Project:
    """A project of one application in a folder."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "polls/migrations").mkdir(parents=True)
        self.write("site_settings.py", SETTINGS % str(folder / "db.sqlite3"))
        self.write("polls/__init__.py", "")
        self.write("polls/migrations/__init__.py", "")
        self.write("polls/migrations/0001_initial.py", MIGRATION)
        self.write("polls/models.py", MODELS)
        self.write("polls/urls.py", "urlpatterns = []\n")

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def add_checks(self, text):
        """Have the application register checks when it is ready."""
        self.write(
            "polls/apps.py",
            "from django.apps import AppConfig\n\nclass Polls(AppConfig):\n    name = 'polls'\n\n"
            "    def ready(self):\n        from polls import checks\n",
        )
        settings = (self.folder / "site_settings.py").read_text()
        self.write("site_settings.py", settings.replace('["polls"]', '["polls.apps.Polls"]'))
        self.write("polls/checks.py", CHECKS + text)

    def manage(self, *arguments):
        """Run a management command as ntier-manage does."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{OVERLAY}:{self.folder}",
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.run(
            [PYTHON, "-m", "django", *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def asked(self):
        """Return the names of the checks that asked the database."""
        done = self.manage("shell", "-c", LOOK)
        assert done.returncode == 0, done.stderr
        (answer,) = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("ntier_checks ")]
        return json.loads(answer)["asked"]

    def migrate(self):
        done = self.manage("migrate", "--noinput", "--skip-checks")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def test_a_project_whose_checks_send_no_queries_needs_no_second_look(project):
    assert project.asked() == []


def test_checks_that_need_the_tables_count_when_they_are_there(project):
    project.add_checks(ASKING)
    names = ["misses", "raises", "reports", "tagged", "threads", "yields"]
    assert project.asked() == [f"polls.checks.{name}" for name in names]
    project.migrate()
    done = project.manage(*AFTER)
    assert done.returncode == 0, done.stderr
    # What they find then is an error.
    project.manage("shell", "-c", "from polls.models import Question; Question.objects.all().delete()")
    project.add_checks(ASKING[: ASKING.index("@checks.register\ndef yields")].replace("get().pk", "count()"))
    done = project.manage(*AFTER)
    assert done.returncode != 0
    assert [name for name in ("E001", "E002", "E003") if name in done.stderr] == ["E001", "E002", "E003"], done.stderr


def test_urls_that_ask_the_database_when_they_are_imported(project):
    project.write(
        "polls/urls.py",
        "import sys\nfrom polls.models import Question\nif hasattr(sys, 'halfway'):\n    raise RuntimeError('imported twice')\n"
        "sys.halfway = True\nCHOICES = [q.text for q in Question.objects.all()]\nurlpatterns = []\n",
    )
    assert [name for name in project.asked() if not name.startswith("django.core.checks.urls.")] == []
    project.migrate()
    assert project.manage(*AFTER).returncode == 0


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        (lambda project: project.write("polls/urls.py", "import no_such_module\n"), "No module named 'no_such_module'"),
        (lambda project: project.write("polls/models.py", MODELS.replace("9", "-1")), "fields.E121"),
        (lambda project: project.add_checks(ASKING + ALWAYS), "polls.E009"),
    ],
)
def test_a_project_that_is_broken_without_the_database_never_migrates(project, breakage, words):
    breakage(project)
    done = project.manage("shell", "-c", LOOK)
    assert done.returncode != 0
    assert words in done.stderr


def test_a_database_that_does_not_answer_is_an_error_at_once(project):
    project.add_checks(ASKING)
    settings = (project.folder / "site_settings.py").read_text()
    project.write("site_settings.py", settings.replace("db.sqlite3", "nowhere/db.sqlite3"))
    done = project.manage("shell", "-c", LOOK)
    assert done.returncode != 0
    assert "unable to open database file" in done.stderr


# --- the role -----------------------------------------------------------------------------------------------------


def tasks(name):
    return yaml.safe_load((ROOT / f"roles/release/tasks/{name}.yml").read_text())


def test_all_checks_run_again_after_the_migrations_where_one_has_asked_the_database():
    steps = tasks("check")
    first, second = (
        next(task for task in steps if task["name"] == f"check | Check the {what}")
        for what in ("project", "migrated project")
    )
    assert first["register"] == "__release_checks"
    names = [task["name"] for task in steps]
    assert (
        names.index("check | Migrate") < names.index(second["name"]) < names.index("check | Collect the static files")
    )
    variables = {**variables_of("release"), "__release_manage": ["ntier-manage"], "__release_confined": ["confined"]}

    def templated(text, asked):
        line = f"ntier_checks {json.dumps({'asked': asked})}"
        variables["__release_checks"] = {"stdout_lines": ["settings that talk", line, "goodbye"]}
        return Templar(DataLoader(), variables).template(trust_as_template(text))

    assert templated(second["ansible.builtin.command"]["argv"], []) == ["confined", "ntier-manage", *AFTER]
    (migrate,) = [task for task in tasks("migrate") if task.get("register") == "__release_migrate"]
    for asked in ([], ["polls.checks.look"]):
        assert templated("{{ " + second["when"] + " }}", asked) is bool(asked)
        # Django's own command would run them before the tables are there.
        found = templated(migrate["ansible.builtin.command"]["argv"], asked)
        assert ("--skip-checks" in found) is bool(asked)
