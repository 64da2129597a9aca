"""What migrations do to the release that is live while they run: judged by the real Django, over the models of a poll.

C(DJANGO_PYTHON) names a Python with another Django to run the same with, for instance 3.2.
"""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import ROOT
from rendering import variables_of

OVERLAY = ROOT / "roles/release/files/overlay"
PYTHON = os.environ.get("DJANGO_PYTHON", sys.executable)
VERSION = tuple(
    map(int, subprocess.check_output([PYTHON, "-c", "import django; print(*django.VERSION[:2])"], text=True).split())
)

#: The models that are there, and that the running release knows.
THERE = """
ops.CreateModel("Topic", [("id", models.BigAutoField(primary_key=True)), ("slug", models.SlugField(null=True))])
ops.CreateModel("Question", [
    ("id", models.AutoField(primary_key=True)),
    ("text", models.CharField(max_length=200)),
    ("hint", models.CharField(max_length=50, null=True)),
    ("votes", models.IntegerField(default=0)),
    ("price", models.DecimalField(max_digits=8, decimal_places=2, default=0)),
    ("topic", models.ForeignKey("polls.Topic", models.CASCADE, null=True)),
    ("also", models.ManyToManyField("polls.Topic", related_name="+")),
])
ops.CreateModel("Loose", [("id", models.AutoField(primary_key=True)), ("number", models.IntegerField())], options={"managed": False})
ops.CreateModel("Named", [("id", models.AutoField(primary_key=True))], options={"db_table": "named"})
"""
AUTHOR = 'ops.CreateModel("Author", [("id", models.AutoField(primary_key=True)), ("name", models.CharField(max_length=9))])\n'
ADD = 'ops.AddField("Question", "{}", models.{})\n'
ALTER = 'ops.AlterField("Question", "{}", models.{})\n'
FAILS_ON_INSERT = "is NOT NULL and has no default of the database"

#: What does the running release no harm.
FINE = {
    "a new model": AUTHOR,
    "a new model that is changed on": AUTHOR
    + 'ops.AddField("Author", "age", models.IntegerField())\nops.RemoveField("Author", "name")\n'
    + 'ops.RenameField("Author", "age", "years")\nops.AlterField("Author", "years", models.SmallIntegerField())\n'
    + 'ops.AlterUniqueTogether("Author", {("years",)})\nops.RenameModel("Author", "Writer")\n'
    + 'ops.AddConstraint("Writer", models.UniqueConstraint(fields=["years"], name="once"))\n'
    + 'ops.AlterModelTable("Writer", "writers")\nops.DeleteModel("Writer")\n',
    "a column that may be NULL": ADD.format("day", "DateField(null=True)"),
    "a column that may be NULL, unique": ADD.format("day", "DateField(null=True, unique=True)"),
    "a link to many": ADD.format("more", 'ManyToManyField("polls.Topic", related_name="+")'),
    "a link to many that goes again": ADD.format("more", 'ManyToManyField("polls.Topic", related_name="+")')
    + 'ops.RemoveField("Question", "more")\n',
    "NOT NULL that goes again": ADD.format("day", "DateField()") + 'ops.RemoveField("Question", "day")\n',
    "NOT NULL that becomes NULL": ADD.format("day", "DateField()") + ALTER.format("day", "DateField(null=True)"),
    "NULL that is renamed": ADD.format("day", "DateField(null=True)") + 'ops.RenameField("Question", "day", "date")\n',
    "NOT NULL with a default by SQL": ADD.format("day", "IntegerField(default=1)")
    + "ops.RunSQL('ALTER TABLE polls_question ALTER COLUMN \"day\" SET DEFAULT 1')\n",
    "a model of the database's own": 'ops.AddField("Loose", "day", models.DateField())\nops.DeleteModel("Loose")\n',
    "an index and its end": 'ops.AddIndex("Question", models.Index(fields=["votes"], name="by_votes"))\n'
    'ops.RemoveIndex("Question", "by_votes")\n',
    "options": 'ops.AlterModelOptions("Question", {"ordering": ["votes"]})\nops.AlterModelManagers("Question", [])\n',
    "a longer text": ALTER.format("text", "CharField(max_length=300)") + ALTER.format("text", "TextField()"),
    "a larger number": ALTER.format("votes", "BigIntegerField(default=0)"),
    "NULL allowed": ALTER.format("votes", "IntegerField(null=True)"),
    "what only Django knows": ALTER.format(
        "text", 'CharField(max_length=200, choices=[("a", "A")], help_text="x", default="y")'
    ),
    "a renamed field on the same column": ALTER.format("votes", 'IntegerField(db_column="votes")')
    + 'ops.RenameField("Question", "votes", "score")\n'
    + ALTER.format("score", 'IntegerField(db_column="votes")'),
    "a renamed model on the same table": 'ops.RenameModel("Named", "Called")\n',
    "the table's own name": 'ops.AlterModelTable("Question", "polls_question")\n',
    "an end that only Django sees": "ops.SeparateDatabaseAndState(state_operations=["
    'ops.DeleteModel("Named"), ops.RemoveField("Question", "votes")])\n',
    "unique with a new column that is NULL": ADD.format("day", "DateField(null=True)")
    + 'ops.AlterUniqueTogether("Question", {("text", "day")})\n'
    + 'ops.AddConstraint("Question", models.UniqueConstraint(fields=["day", "votes"], name="once"))\n',
    "a check of a new column that is NULL": ADD.format("stars", "IntegerField(null=True)")
    + 'ops.AddConstraint("Question", check(models.Q(stars__gte=1) & models.Q(stars__lte=5), name="five"))\n',
    "a check that goes": 'ops.AddConstraint("Named", check(models.Q(id__gte=1), name="x"))\nSPLIT\nops.RemoveConstraint("Named", "x")\n',
    "less of unique_together": 'ops.AlterUniqueTogether("Question", {("text", "votes")})\nSPLIT\n'
    'ops.AlterUniqueTogether("Question", set())\n',
    "a noop": "ops.RunPython(ops.RunPython.noop)\nops.RunSQL('')\nops.RunSQL([])\n",
}
#: What the running release can't work with, and what is said of it.
BREAKING = {
    "a model goes": ('ops.DeleteModel("Question")', ["table polls_question goes", "table polls_question_also goes"]),
    "a model is renamed": (
        'ops.RenameModel("Question", "Query")',
        [
            "table polls_question becomes polls_query",
            "polls_question_also becomes",
            "column question_id of table polls_query_also",
        ],
    ),
    "a table is renamed": ('ops.AlterModelTable("Topic", "topics")', ["table polls_topic becomes topics"]),
    "a column goes": (
        'ops.RemoveField("Question", "votes")',
        ["RemoveField Question.votes: column votes of table polls_question goes"],
    ),
    "a key goes": ('ops.RemoveField("Question", "topic")', ["column topic_id of table polls_question goes"]),
    "a link to many goes": ('ops.RemoveField("Question", "also")', ["table polls_question_also goes"]),
    "a column is renamed": (
        'ops.RenameField("Question", "votes", "score")',
        ["RenameField Question.votes to score: column votes of table polls_question becomes score"],
    ),
    "a link to many is renamed": (
        'ops.RenameField("Question", "also", "too")',
        ["table polls_question_also becomes polls_question_too"],
    ),
    "another column for a field": (
        ALTER.format("votes", 'IntegerField(db_column="v")'),
        ["column votes of table polls_question becomes v"],
    ),
    "NOT NULL": (ADD.format("day", "DateField()"), [f"column day of table polls_question {FAILS_ON_INSERT}"]),
    "NOT NULL with a default of Django's": (ADD.format("day", "IntegerField(default=3)"), [FAILS_ON_INSERT]),
    "a text that may be empty": (
        ADD.format("word", 'CharField(max_length=5, blank=True, default="")'),
        [FAILS_ON_INSERT],
    ),
    "NOT NULL in three steps": (
        ADD.format("day", "IntegerField(null=True)") + "ops.RunPython(print)\n" + ALTER.format("day", "IntegerField()"),
        [FAILS_ON_INSERT],
    ),
    "NOT NULL under another name": (
        ADD.format("day", "DateField()") + 'ops.RenameField("Question", "day", "date")\n',
        [FAILS_ON_INSERT],
    ),
    "gone, and there again": (
        'ops.RemoveField("Question", "hint")\n' + ADD.format("hint", "TextField(null=True)"),
        ["column hint of table polls_question goes"],
    ),
    "no NULL any more": (
        ALTER.format("hint", 'CharField(max_length=50, default="")'),
        ["hint of table polls_question takes no NULL"],
    ),
    "a shorter text": (
        ALTER.format("text", "CharField(max_length=100)"),
        ["changes from varchar(200) to varchar(100)"],
    ),
    "a text that gets an end": (
        ALTER.format("text", "TextField()") + ALTER.format("text", "CharField(max_length=9)"),
        ["to varchar(9)"],
    ),
    "a smaller number": (ALTER.format("votes", "SmallIntegerField()"), ["changes from integer to smallint"]),
    "no negative number": (ALTER.format("votes", "PositiveIntegerField()"), ["changes from integer", "gets the check"]),
    "another type": (ALTER.format("votes", "DateField()"), ["changes from integer to date"]),
    "a column becomes unique": (
        ALTER.format("votes", "IntegerField(unique=True)"),
        ["votes of table polls_question becomes unique"],
    ),
    "a number becomes a key": (
        ALTER.format("votes", 'ForeignKey("polls.Topic", models.CASCADE, db_column="votes")'),
        ["has to name a row of table polls_topic", "changes from integer to bigint"][:1],
    ),
    "unique together": (
        'ops.AlterUniqueTogether("Question", {("text", "votes")})',
        ["have to be unique by text, votes"],
    ),
    "a unique constraint": (
        'ops.AddConstraint("Question", models.UniqueConstraint(fields=["votes"], name="once"))',
        ["AddConstraint Question.once: rows of table polls_question have to be unique by votes"],
    ),
    "a check": (
        'ops.AddConstraint("Question", check(models.Q(votes__gte=0), name="no_less"))',
        ["gets the constraint no_less"],
    ),
    "a check that a new column is given": (
        ADD.format("day", "DateField(null=True)")
        + 'ops.AddConstraint("Question", check(models.Q(day__isnull=False), name="x"))',
        ["gets the constraint x"],
    ),
    "an order": (
        'ops.AlterOrderWithRespectTo("Question", "topic")',
        [f"column _order of table polls_question {FAILS_ON_INSERT}"],
    ),
    "an order that goes": (
        'ops.AlterOrderWithRespectTo("Question", "topic")\nSPLIT\nops.AlterOrderWithRespectTo("Question", None)',
        ["column _order of table"],
    ),
    "an end that only the database sees": (
        'ops.SeparateDatabaseAndState(database_operations=[ops.RemoveField("Question", "votes")])',
        ["RemoveField Question.votes: column votes"],
    ),
    "a model that moves, with a new column": (
        'ops.SeparateDatabaseAndState(state_operations=[ops.CreateModel("Same", [("id", models.AutoField(primary_key=True))], '
        'options={"db_table": "named"})])\nops.AddField("Same", "day", models.DateField())\n',
        [f"column day of table named {FAILS_ON_INSERT}"],
    ),
    "SQL that drops a column": (
        "ops.RunSQL('ALTER TABLE polls_question DROP COLUMN votes')",
        ["its SQL drops a column: ALTER TABLE"],
    ),
    "SQL that drops a column, short": (
        "ops.RunSQL('alter table only \"polls_question\" add x int, drop votes;')",
        ["drops a column"],
    ),
    "SQL that drops a table": (
        "ops.RunSQL([('SELECT 1', None), 'DROP TABLE IF EXISTS \"public\".\"polls_topic\"'])",
        ["drops a table"],
    ),
    "SQL that renames": (
        "ops.RunSQL('ALTER TABLE polls_question RENAME votes TO v; ALTER TABLE polls_topic RENAME TO t')",
        ["renames", "renames"],
    ),
}
if VERSION >= (5, 0):
    FINE["NOT NULL with a default of the database"] = ADD.format("day", "IntegerField(db_default=3)")
    FINE["a column that is computed"] = ADD.format(
        "double",
        'GeneratedField(expression=models.F("votes") * 2, output_field=models.IntegerField(), db_persist=True)',
    )
    BREAKING["one default for what is unique"] = (
        ADD.format("day", "IntegerField(db_default=3, unique=True)"),
        ["can add one row"],
    )
    BREAKING["a default of the database that goes"] = (
        ADD.format("day", "IntegerField(db_default=3)") + "SPLIT\n" + ALTER.format("day", "IntegerField()"),
        ["column day of table polls_question loses its default"],
    )
#: What can't be looked into.
NOTED = {
    "Python": ("ops.RunPython(print)", ["polls.0002_next: RunPython: runs Python"]),
    "SQL": ("ops.RunSQL('UPDATE polls_question SET votes = 0')", ["polls.0002_next: RunSQL: runs SQL"]),
    "SQL in a text": (
        "ops.RunSQL(\"UPDATE x SET y = 'DROP TABLE z; ALTER TABLE a DROP b' -- DROP TABLE c\")",
        ["runs SQL"],
    ),
    "SQL on what it made": (
        "ops.RunSQL('CREATE TEMPORARY TABLE t (a int); ALTER TABLE t DROP a; DROP TABLE t')",
        ["runs SQL"],
    ),
    "SQL that drops what nobody reads": (
        "ops.RunSQL('ALTER TABLE polls_question ALTER votes DROP NOT NULL, DROP CONSTRAINT x; DROP INDEX y; "
        "ALTER TABLE polls_question RENAME CONSTRAINT a TO b')",
        ["runs SQL"],
    ),
    "an operation of somebody else's": ("Own()", ["polls.0002_next: Own: is no operation of Django's own"]),
}

#: Old and new types of columns; the new ones of the first C(WIDER) take all of the old.
TYPES = [
    ("varchar(20)", "varchar(20)"),
    ("varchar(20)", "varchar(21)"),
    ("varchar(20)", "varchar"),
    ("varchar(20)", "text"),
    ("serial", "bigserial"),
    ("serial", "integer"),
    ("smallint", "bigint"),
    ("integer unsigned", "bigint unsigned"),
    ("numeric(8, 2)", "numeric(10, 2)"),
    ("numeric(8, 2)", "numeric(10, 4)"),
    ("text", "varchar(20)"),
    ("bigint", "integer"),
    ("integer", "integer unsigned"),
    ("numeric(8, 2)", "numeric(8, 4)"),
    ("numeric(8, 2)", "numeric(9, 1)"),
    ("date", "timestamp with time zone"),
    ("integer", "numeric(10, 2)"),
    ("uuid", "text"),
]
WIDER = 10

RUNNER = """
import json, sys
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}, INSTALLED_APPS=[])
import django
django.setup()
import ntier_migrations
from django.db import connection, models
from django.db.migrations import Migration, operations as ops
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

class Own(Operation):
    def state_forwards(self, app_label, state):
        pass

def check(condition, name):
    key = "condition" if django.VERSION >= (5, 1) else "check"
    return models.CheckConstraint(name=name, **{key: condition})

def operations(text):
    names = {"ops": ops, "models": models, "Own": Own, "check": check}
    return eval("[" + text.replace("\\nops.", "\\n,ops.").strip().strip(",") + "]", names)

def judged(there, text):
    parts = text.split("SPLIT\\n")
    state = ProjectState()
    for source in [there, *parts[:-1]]:
        first = Migration("0001_initial", "polls")
        first.operations = operations(source)
        first.mutate_state(state, preserve=False)
    migration = Migration("0002_next", "polls")
    migration.operations = operations(parts[-1])
    judge = ntier_migrations.Judge(connection)
    judge.migration(migration, state)
    return {key: [ntier_migrations.text_of(found) for found in getattr(judge, key)] for key in ("breaking", "notes")}

cases = json.load(sys.stdin)
answer = {name: judged(cases["there"], text) for name, text in cases["plans"].items()}
answer["types"] = [ntier_migrations.widens(*case) for case in cases["types"]]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def judged():
    """Return what is said of each plan, all of them judged by one Django."""
    plans = {**FINE, **{name: case[0] for name, case in {**BREAKING, **NOTED}.items()}}
    assert len(plans) == len(FINE) + len(BREAKING) + len(NOTED)
    done = subprocess.run(
        [PYTHON, "-c", RUNNER],
        input=json.dumps({"there": THERE, "plans": plans, "types": TYPES}),
        env={**os.environ, "PYTHONPATH": str(OVERLAY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", FINE)
def test_what_does_no_harm_is_not_refused(judged, name):
    assert judged[name]["breaking"] == []


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_the_running_release_is_found_and_said(judged, name):
    expected = BREAKING[name][1]
    found = judged[name]["breaking"]
    assert all(any(text in line for line in found) for text in expected), found
    assert len(found) == len(expected) or name == "a number becomes a key", found
    assert all(line.startswith("polls.0002_next: ") for line in found)


@pytest.mark.parametrize("name", NOTED)
def test_what_cannot_be_looked_into_is_noted(judged, name):
    assert judged[name]["breaking"] == []
    assert [text in line for text, line in zip(NOTED[name][1], judged[name]["notes"], strict=True)] == [True]


def test_what_is_understood_is_not_noted(judged):
    names = [name for name in FINE if "by SQL" not in name]
    assert [name for name in names if judged[name]["notes"]] == []


@pytest.mark.parametrize("case", TYPES, ids=" to ".join)
def test_a_type_that_takes_all_of_another(judged, case):
    assert judged["types"][TYPES.index(case)] is (case in TYPES[:WIDER])


# --- a project ----------------------------------------------------------------------------------------------------

SETTINGS = """
print("settings that talk")
SECRET_KEY = "x"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "@FOLDER@/db"}}
INSTALLED_APPS = @APPS@
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
"""
MIGRATION = """
from django.db import migrations, models
from django.db import migrations as ops
class Migration(migrations.Migration):
    dependencies = {dependencies}
    operations = [{operations}]
"""


class Project:
    """A project on disk, whose releases differ in their migrations."""

    def __init__(self, folder):
        self.folder = folder

    def release(self, name, migrations, apps=("polls",)):
        """Make a release with these migrations of polls, name → source of its operations."""
        (self.folder / name).mkdir()
        for app in [app for app in apps if "." not in app]:
            (self.folder / name / app / "migrations").mkdir(parents=True)
            for folder in ("", "migrations/"):
                (self.folder / name / app / folder / "__init__.py").touch()
        text = SETTINGS.replace("@FOLDER@", str(self.folder)).replace("@APPS@", repr(list(apps)))
        (self.folder / name / "site_settings.py").write_text(text)
        before = None
        for migration, operations in migrations.items():
            dependencies = [("polls", before)] if before else []
            (self.folder / name / f"polls/migrations/{migration}.py").write_text(
                MIGRATION.format(dependencies=dependencies, operations=operations)
            )
            before = migration

    def manage(self, name, *arguments, check=True):
        """Run a management command of a release, as ntier-manage does."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{OVERLAY}:{self.folder / name}",
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [PYTHON, "-m", "django", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, done.stderr
        return done

    def look(self, name, code="import ntier_migrations; ntier_migrations.main()"):
        """Return what a release answers."""
        lines = self.manage(name, "shell", "-c", code).stdout.splitlines()
        (answer,) = [line.split(" ", 1)[1] for line in lines if line.startswith("ntier_migrations ")]
        return json.loads(answer)


FIRST = """
migrations.CreateModel("Question", [("id", models.AutoField(primary_key=True)), ("text", models.CharField(max_length=9)),
                                    ("votes", models.IntegerField(default=0))])"""
NULL = 'migrations.AddField("Question", "hint", models.TextField(null=True))'
GONE = 'migrations.RemoveField("Question", "votes")'


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.release("v1", {"0001_initial": FIRST})
    project.release("v2", {"0001_initial": FIRST, "0002_hint": NULL})
    project.release("v3", {"0001_initial": FIRST, "0002_hint": NULL, "0003_gone": GONE})
    return project


def test_a_first_release_breaks_nothing(project):
    found = project.look("v3")
    assert (found["breaking"], found["notes"]) == ([], [])
    assert found["pending"] == ["polls.0001_initial", "polls.0002_hint", "polls.0003_gone"]


def test_only_what_is_still_to_come_is_judged(project):
    project.manage("v1", "migrate", "--noinput")
    assert project.look("v1") == {"pending": [], "breaking": [], "notes": []}
    assert project.look("v2") == {"pending": ["polls.0002_hint"], "breaking": [], "notes": []}
    found = project.look("v3")
    assert found["pending"] == ["polls.0002_hint", "polls.0003_gone"]
    assert found["breaking"] == [
        "polls.0003_gone: RemoveField Question.votes: column votes of table polls_question goes, which the running release reads and writes"
    ]
    project.manage("v3", "migrate", "--noinput")
    assert project.look("v3")["pending"] == []


def test_an_application_that_is_new_breaks_nothing(project):
    project.release("v0", {}, apps=("django.contrib.contenttypes",))
    project.manage("v0", "migrate", "--noinput")
    (project.folder / "v2/polls/migrations/0003_python.py").write_text(
        MIGRATION.format(dependencies=[("polls", "0002_hint")], operations="migrations.RunPython(print)")
    )
    found = project.look("v2")
    assert found["pending"] == ["polls.0001_initial", "polls.0002_hint", "polls.0003_python"]
    assert (found["breaking"], found["notes"]) == ([], [])


def test_a_migration_that_can_not_be_read_is_an_error_that_names_it(project):
    project.manage("v1", "migrate", "--noinput")
    (project.folder / "v2/polls/migrations/0003_bad.py").write_text("import nothing_of_the_kind\n")
    done = project.manage("v2", "shell", "-c", "import ntier_migrations; ntier_migrations.main()", check=False)
    assert done.returncode != 0
    assert "No module named 'nothing_of_the_kind'" in done.stderr


# --- the role -----------------------------------------------------------------------------------------------------


def variable(name, live=None, elsewhere=None, stdout=()):
    """Return a variable of the role on the leader box1, where the site polls is built, beside a host web2."""
    install = [{"name": "other", "live": "9"}, {"name": "polls", "live": elsewhere}]
    hosts = {
        "box1": {"__release_here": {"skipped": True}},
        "web2": {"__release_here": {"install": install}},
        "web3": {},
    }
    variables = {
        **variables_of("release"),
        "hostvars": hosts,
        "ansible_play_hosts_all": list(hosts),
        "__release_site": {"name": "polls", "live": live},
        "__release_migrations": {"stdout_lines": list(stdout)},
    }
    return Templar(DataLoader(), variables).template(trust_as_template("{{ " + name + " }}"))


@pytest.mark.parametrize(
    ("live", "elsewhere", "expected"), [("1", None, True), (None, "1", True), ("1", "1", True), (None, None, False)]
)
def test_a_release_that_is_live_on_any_host_counts(live, elsewhere, expected):
    assert variable("__release_runs", live, elsewhere) is expected


def test_the_answer_is_found_among_what_the_project_prints():
    answer = {"pending": ["polls.0002"], "breaking": ["x"], "notes": []}
    lines = ["settings that talk", f"ntier_migrations {json.dumps(answer)}", "goodbye"]
    assert variable("__release_looked", stdout=lines) == answer
    assert variable("__release_breaking", stdout=lines) == ["x"]


# --- the way back -------------------------------------------------------------------------------------------------

LONG_AGO = "2000-01-01T00:00:00+00:00"
BY_TEXT = "import sys; exec(sys.stdin.read(), {'__name__': 'ntier_migrations'})"


def ask(project, name, what, *arguments):
    """Ask a release as a rollback does: with the text of the script, since an old release has none or another."""
    call = f"\nmain({', '.join(map(repr, [what, *arguments]))})\n"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(project.folder / name),
        "DJANGO_SETTINGS_MODULE": "site_settings",
    }
    done = subprocess.run(
        [PYTHON, "-m", "django", "shell", "-c", BY_TEXT],
        input=(OVERLAY / "ntier_migrations.py").read_text() + call,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (answer,) = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("ntier_migrations ")]
    return json.loads(answer)


def columns(project):
    with contextlib.closing(sqlite3.connect(project.folder / "db")) as database:
        return {row[1] for row in database.execute("PRAGMA table_info(polls_question)")}


def test_what_an_older_release_does_not_know_is_found_and_undone(project):
    project.manage("v3", "migrate", "--noinput")
    answer = ask(project, "v1", "known")
    assert answer == {"known": [["polls", "0001_initial"]], "pending": []}
    older = answer["known"]
    found = ask(project, "v3", "between", older, LONG_AGO)
    assert found["newer"] == ["polls.0002_hint", "polls.0003_gone"]
    assert [line.split(": ")[1] for line in found["breaking"]] == ["RemoveField Question.votes"]
    assert (found["one_way"], found["lost"]) == ([], [])
    assert columns(project) == {"id", "text", "hint"}
    assert ask(project, "v3", "reverse", older) == ["polls.0003_gone", "polls.0002_hint"]
    assert columns(project) == {"id", "text", "votes"}
    assert ask(project, "v3", "between", older, LONG_AGO)["newer"] == []
    assert ask(project, "v3", "reverse", older) == []
    assert ask(project, "v2", "known")["pending"] == ["polls.0002_hint"]
    assert project.look("v3")["pending"] == ["polls.0002_hint", "polls.0003_gone"]


def test_nothing_lies_between_two_releases_of_the_same_migrations(project):
    project.manage("v2", "migrate", "--noinput")
    found = ask(project, "v2", "between", ask(project, "v2", "known")["known"], LONG_AGO)
    assert found == {"newer": [], "breaking": [], "one_way": [], "lost": []}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ("migrations.RunPython(print)", "RunPython: has no way back"),
        ("migrations.RunPython(print, migrations.RunPython.noop)", None),
        ("migrations.RunSQL('SELECT 1')", "RunSQL: has no way back"),
        ("migrations.RunSQL('SELECT 1', '')", None),
        (
            "migrations.SeparateDatabaseAndState([migrations.RunSQL('SELECT 1')])",
            "SeparateDatabaseAndState: has no way back",
        ),
        (
            'migrations.RemoveField("Question", "text")',
            "RemoveField Question.text: takes a column away that rows would need a value for",
        ),
        ('migrations.RemoveField("Question", "votes")', None),
        (
            'migrations.AddField("Question", "day", models.DateField(null=True)), migrations.RemoveField("Question", "day")',
            None,
        ),
        (
            'migrations.AddField("Question", "day", models.DateField(default="2026-01-01")), '
            'migrations.AlterField("Question", "day", models.DateField()), migrations.RemoveField("Question", "day")',
            "RemoveField Question.day: takes a column away that rows would need a value for",
        ),
    ],
)
def test_what_can_not_be_undone_is_named(project, operations, expected):
    project.release("v4", {"0001_initial": FIRST, "0002_x": operations.replace("(print", "(lambda apps, editor: None")})
    project.manage("v4", "migrate", "--noinput")
    found = ask(project, "v4", "between", [["polls", "0001_initial"]], LONG_AGO)["one_way"]
    assert len(found) == bool(expected)
    assert not expected or found[0].startswith(f"polls.0002_x: {expected}")


def test_migrations_of_a_release_that_has_gone_are_named_when_they_ran_since(project):
    project.manage("v2", "migrate", "--noinput")
    older = ask(project, "v1", "known")["known"]
    assert ask(project, "v1", "between", older, LONG_AGO)["lost"] == ["polls.0002_hint"]
    assert ask(project, "v1", "between", older, "2999-01-01T00:00:00+00:00")["lost"] == []
    assert ask(project, "v1", "between", older, LONG_AGO)["newer"] == []


def test_a_squashed_migration_is_known_to_who_knows_its_parts(project):
    project.manage("v2", "migrate", "--noinput")
    project.release("v5", {"0001_initial": FIRST, "0002_hint": NULL})
    text = MIGRATION.format(dependencies=[], operations=f"{FIRST}, {NULL}")
    text += '    replaces = [("polls", "0001_initial"), ("polls", "0002_hint")]\n'
    (project.folder / "v5/polls/migrations/0001_squashed.py").write_text(text)
    project.manage("v5", "migrate", "--noinput")
    assert ask(project, "v5", "between", ask(project, "v2", "known")["known"], LONG_AGO)["newer"] == []
    assert ask(project, "v2", "between", ask(project, "v5", "known")["known"], LONG_AGO) == {
        "newer": [],
        "breaking": [],
        "one_way": [],
        "lost": [],
    }
