"""A site's background work: what a user may say of it, who runs it, and the units that become of it."""

import configparser
import shlex
import shutil
import subprocess

import pytest
from clusters import FIGURE_4, MIXED, ONE_BOX, a_site, build, wired
from rendering import TEMPLATES, of, render

from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.filter.wiring import FilterModule
from ansible_collections.ntier.django.plugins.plugin_utils import plan, processes, sizing
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

SERVICE = "worker/process.service.j2"
TIMER = "worker/process.timer.j2"
TARGET = "worker/django-workers@.target.j2"
WORKER = {"name": "worker", "command": "celery -A polls worker", "count": 2, "memory_mb": 300}
BEAT = {"name": "beat", "command": "celery -A polls beat", "hosts": "one"}
CLEAR = {"name": "clear-sessions", "command": "manage.py clearsessions", "schedule": "daily"}


def normal(*given):
    """Return processes with all keys set; fail when one of them is refused."""
    faults = Faults()
    result = processes.normalise_processes(list(given), "site polls", faults)
    assert faults.sentences == []
    return result


def faults_of(*given):
    faults = Faults()
    processes.normalise_processes(list(given), "site polls", faults)
    return faults.sentences


def a_process(**more):
    return {"name": "worker", "command": "celery -A polls worker", **more}


# --- what is allowed ----------------------------------------------------------------------------------------------


def test_a_process_needs_a_name_and_a_command():
    assert normal(a_process()) == [
        {
            "name": "worker",
            "command": "celery -A polls worker",
            "count": 1,
            "hosts": "all",
            "schedule": "",
            "memory_mb": 0,
            "stop_seconds": 60,
        }
    ]


def test_a_site_has_its_processes():
    (site,) = build(sites=[a_site(processes=[WORKER, BEAT, CLEAR])])["sites"]
    assert [process["name"] for process in site["processes"]] == ["worker", "beat", "clear-sessions"]
    assert build()["sites"][0]["processes"] == []


@pytest.mark.parametrize(
    "command",
    [
        "celery -A polls worker",
        "manage.py qcluster",
        "python -m polls.mailer --name 'a b' \"it's\"",
        "python3.11 -m polls",
        "some_worker --price '$5 | 3 %'",
    ],
)
def test_a_command(command):
    assert normal(a_process(command=command))[0]["command"] == command


SCHEDULES = [
    "daily", "Weekly", "*-*-* 03:00", "03:00", "Mon..Fri 08..18:00/15", "Sun", "Mon, 10:00", "monday,wed *-*-1..7 4:00:00", "*-*~1",
    "*:0/10", "*-*-* *:*:00/10", "03:00 Europe/Berlin", "daily UTC", "2027-01-01", "12-24", "Sat..Sun 10:00:00.5", "*-1/3-1", "99-1-1",
]  # fmt: skip
NO_SCHEDULES = [
    "0 3 * * *", "every day", "25:00", "03:60", "10:00:60", "*-13-01", "*-*-32", "*-0-1", "150-1-1", "5", "*", "10:00 Mon", "now", "Mon Tue",
    "00..24:00", "@daily", "UTC", " ",
]  # fmt: skip


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule(schedule):
    assert normal({**CLEAR, "schedule": schedule})[0]["schedule"] == schedule


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
@pytest.mark.parametrize("schedule", [*SCHEDULES, *NO_SCHEDULES])
def test_systemd_sees_schedules_alike(schedule):
    done = subprocess.run(["systemd-analyze", "calendar", schedule], capture_output=True, check=False)
    assert (done.returncode == 0) is processes.is_schedule(schedule)


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "what", "fix"),
    [
        ({"name": "Worker"}, "the name 'Worker' can't be part of a unit's name", "a letter first"),
        ({"name": "a@1"}, "the name 'a@1' can't be part of a unit's name", "digits, '_' and '-'"),
        ({"name": "w" * 32}, "can't be part of a unit's name", "1 to 31"),
        ({"name": "a\n"}, "can't be part of a unit's name", "1 to 31"),
        ({"command": "/usr/bin/celery worker"}, "does not start with the name of a program", "without its path"),
        ({"command": "  "}, "does not start with the name of a program", "manage.py"),
        ({"command": "../celery"}, "does not start with the name of a program", "without its path"),
        ({"command": "-x"}, "does not start with the name of a program", "such as celery"),
        ({"command": "manage.py"}, "the command is manage.py alone", "manage.py clearsessions"),
        ({"command": "celery 'worker"}, "has a quote that does not end", "Close it"),
        ({"command": "celery worker\nrm x"}, "is no single line", "'>-' in YAML"),
        ({"command": "celery worker && mail"}, "the command has '&&', and no shell reads it", "management command"),
        ({"command": "celery worker > log"}, "the command has '>', and no shell reads it", "Start one program"),
        ({"count": 0}, "'count' is 0", "The least is 1"),
        ({"memory_mb": -1}, "'memory_mb' is -1", "The least is 0"),
        ({"memory_mb": 31}, "31 MB are too few for a Python to start", "Give it 32 at the least"),
        ({"stop_seconds": 0}, "'stop_seconds' is 0", "The least is 1"),
        ({"hosts": "web1"}, "hosts is 'web1'", "'all' for every web host, or 'one'"),
        ({"schedule": "0 3 * * *"}, "systemd would not take the schedule '0 3 * * *'", "'*-*-* 03:00'"),
        ({"schedule": "daily", "count": 2}, "has a schedule and 'count'", "leave the key out"),
        ({"schedule": "daily", "hosts": "one"}, "has a schedule and 'hosts'", "leave the key out"),
        ({"memory": 5}, "has the unknown key 'memory'", "Did you mean 'memory_mb'?"),
        ({"colour": 5}, "has the unknown key 'colour'", "A process has the keys name, command, count"),
        ({"count": "2"}, "'count' is '2', a text", "It has to be a whole number"),
        ({"count": True}, "'count' is True, a boolean", "It has to be a whole number"),
        ({"command": ["celery"]}, "'command' is ['celery'], a list", "It has to be a text"),
        ({"name": 5}, "'name' is 5, a whole number", "It has to be a text"),
        ({"schedule": ""}, "'schedule' is empty", "leave the key out"),
        ({"memory_mb": None}, "'memory_mb' is empty", "leave the key out"),
        ({"name": None}, "has no 'name'", "such as worker"),
        ({"command": ""}, "has no 'command'", "celery -A mysite worker"),
    ],
)
def test_a_process_that_cant_work_is_refused(more, what, fix):
    (fault,) = faults_of(a_process(**more))
    assert fault.startswith("site polls, process ")
    assert what in fault
    assert fix in fault


@pytest.mark.parametrize("schedule", [schedule for schedule in NO_SCHEDULES if schedule.strip()])
def test_what_is_no_schedule_is_refused(schedule):
    (fault,) = faults_of({**CLEAR, "schedule": schedule})
    assert "systemd would not take the schedule" in fault


def test_something_else_than_a_dictionary_is_refused():
    assert faults_of("celery") == [
        "site polls: the process number 1 is a text, not a dictionary. Start it with '- name: …'."
    ]


def test_two_processes_of_one_name_are_refused():
    assert faults_of(a_process(), a_process()) == [
        "site polls: two processes have the name 'worker'. Give each a name of its own."
    ]


def test_two_processes_without_a_name_are_told_so_and_nothing_else():
    assert len(faults_of({"command": "a"}, {"command": "b"})) == 2


def test_all_faults_of_all_processes_are_listed_at_once():
    assert len(faults_of(a_process(count=0, memory_mb=1, hosts="x"), {**CLEAR, "schedule": "x"}, "y")) == 5


# --- who runs what ------------------------------------------------------------------------------------------------


def names_on(cluster, host):
    return {
        site["name"]: [process["name"] for process in site["processes"]]
        for site in wired(cluster, host)["worker_sites"]
    }


def test_timers_and_what_runs_on_one_host_run_on_the_one_that_builds_the_releases():
    cluster = build(FIGURE_4, sites=[a_site(processes=[WORKER, BEAT, CLEAR]), a_site("shop", processes=[BEAT])])
    leader = wired(cluster, "web1")["release_leader"]
    assert leader == "web1"
    assert names_on(cluster, "web1") == {"blog": ["worker", "beat", "clear-sessions"], "shop": ["beat"]}
    assert names_on(cluster, "web2") == {"blog": ["worker"]}
    for host in ("lb1", "media1", "cache1", "db1"):
        assert names_on(cluster, host) == {}


def test_the_role_is_told_how_many_and_how_large():
    ((process,),) = [site["processes"] for site in wired(build(sites=[a_site(processes=[WORKER])]))["worker_sites"]]
    assert process == {**WORKER, "schedule": "", "stop_seconds": 60}


def test_background_work_is_no_part_of_a_release():
    def releases(*given):
        return wired(build(sites=[a_site(processes=list(given))]))["release_sites"]

    assert releases(WORKER, CLEAR) == releases()


# --- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "memory"),
    [
        ([WORKER], 600),
        ([a_process(count=3)], 3 * sizing.WORKER_MB),
        ([WORKER, BEAT, {**CLEAR, "memory_mb": 500}], 600 + sizing.WORKER_MB),
        ([CLEAR], 0),
        ([], 0),
    ],
)
def test_the_memory_of_processes_is_taken_off_before_the_tiers_share(given, memory):
    cluster = build(sites=[a_site(processes=given)])
    size, without = size_in(cluster, "box1", 4096, 2), size_in(build(), "box1", 4096, 2)
    assert size["processes_mb"] == memory
    taken = sum(without["shares_mb"].values()) - sum(size["shares_mb"].values())
    assert abs(taken - memory) < len(ONE_BOX)


def test_only_the_host_that_runs_them_gives_memory_away():
    cluster = build(MIXED, sites=[a_site(processes=[{**BEAT, "memory_mb": 400}])])
    assert size_in(cluster, "web1", 4096, 2)["processes_mb"] == 400
    assert size_in(cluster, "web2", 4096, 2)["processes_mb"] == 0


def test_processes_that_do_not_fit_the_host_are_refused():
    cluster = build(sites=[a_site(processes=[{**WORKER, "memory_mb": 900}])])
    with pytest.raises(sizing.TooLittleMemory) as error:
        size_in(cluster, "box1", 2048, 2)
    message = str(error.value)
    assert "for 1 site and 1800 MB for their background processes, which takes at least 2552 MB" in message
    assert "take a site or a process away" in message
    assert size_in(cluster, "box1", 2552, 2)["processes_mb"] == 1800


def test_the_plan_shows_their_memory_where_there_are_some():
    def table(*given):
        cluster = build(sites=[a_site(processes=list(given))])
        lines = plan.render(cluster, {"box1": size_in(cluster, "box1", 4096, 2)})
        return [line.split() for line in lines[lines.index("Memory, in MB") + 1 :]][:2]

    heading, row = table(WORKER)
    assert row[heading.index("processes")] == "600"
    assert "processes" not in table(CLEAR)[0]


# --- units --------------------------------------------------------------------------------------------------------


def units(*given, site="polls"):
    return processes.units([{"name": site, "processes": list(given)}])


def test_each_of_several_is_a_unit_and_a_timer_has_one():
    worker, beat, clear = units(WORKER, BEAT, CLEAR)
    assert worker["file"] == "django-polls-worker@.service"
    assert worker["units"] == ["django-polls-worker@1.service", "django-polls-worker@2.service"]
    assert beat["units"] == ["django-polls-beat@1.service"]
    assert (clear["file"], clear["timer"]) == (
        "django-polls-clear-sessions.service",
        "django-polls-clear-sessions.timer",
    )
    assert clear["units"] == [clear["timer"]]
    assert FilterModule().filters()["worker_units"] is processes.units


HARD = r"""x 'a "b" $HOME ${HOME} $$ \ %i %% ; *' it\'s "" ü"""


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("manage.py clearsessions", ["polls", "clearsessions"]),
        ("celery -A polls worker", ["--program", "polls", "celery", "-A", "polls", "worker"]),
        (HARD, ["--program", "polls", "x", r'a "b" $HOME ${HOME} $$ \ %i %% ; *', "it's", "", "ü"]),
    ],
)
def test_ntier_manage_gets_every_word_of_a_command(command, expected):
    """Undone in the order of systemd: quotes and backslashes, then specifiers, then variables."""
    program, *words = shlex.split(processes.exec_start("polls", command))
    assert program == "/usr/local/bin/ntier-manage"
    assert [word.replace("%%", "%").replace("$$", "$") for word in words] == expected


def test_a_process_may_have_its_number_in_its_command():
    command = "celery -A polls worker -n w{number}@%h"
    assert processes.exec_start("polls", command).endswith('"-n" "w%i@%%h"')
    assert units({**CLEAR, "command": "manage.py x {number}"})[0]["exec_start"].endswith('"x" "1"')


def sections(text):
    """Return the sections of a unit; of a key that is given twice the last value."""
    parser = configparser.RawConfigParser(strict=False, delimiters="=", comment_prefixes="#")
    parser.optionxform = str
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def service(process, system="Debian 13", **more):
    return sections(render(SERVICE, system, __worker_unit=units(process)[0], **more))


@of(SERVICE)
def test_a_worker_runs_as_its_site_and_comes_back_when_it_ends():
    unit = service(WORKER)
    assert unit["Unit"]["Description"] == "Django site polls: worker %i"
    assert unit["Unit"]["PartOf"] == "django-workers@polls.target"
    assert unit["Unit"]["ConditionPathExists"] == "/srv/polls/current/venv/bin/python"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert unit["Install"] == {"WantedBy": "django-workers@polls.target"}
    for key, value in {
        "Type": "exec",
        "User": "polls",
        "Group": "polls",
        "ExecStart": '/usr/local/bin/ntier-manage "--program" "polls" "celery" "-A" "polls" "worker"',
        "KillMode": "mixed",
        "KillSignal": "SIGTERM",
        "TimeoutStopSec": "60",
        "Restart": "always",
        "MemoryMax": "300M",
        "MemoryHigh": "270M",
        "SyslogIdentifier": "django-polls-worker",
        "StateDirectory": "django/polls",
    }.items():
        assert unit["Service"][key] == value, key


def test_without_a_limit_there_is_none():
    unit = service(a_process(stop_seconds=900))
    assert not {"MemoryMax", "MemoryHigh"} & set(unit["Service"])
    assert unit["Service"]["TimeoutStopSec"] == "900"


def test_what_a_timer_starts_runs_once_and_a_release_does_not_stop_it():
    unit = service(CLEAR)
    assert "Install" not in unit
    assert not {"PartOf", "StartLimitIntervalSec"} & set(unit["Unit"])
    assert unit["Service"]["Type"] == "oneshot"
    assert not {"Restart", "RestartSec"} & set(unit["Service"])


@pytest.mark.parametrize(
    ("version", "backs_off"), [("252.38-1~deb12u1", False), ("255.4-1ubuntu8", True), (None, False)]
)
def test_the_pauses_between_attempts_grow_where_systemd_can(version, backs_off):
    packages = {"systemd": [{"version": version}]} if version else {}
    unit = service(WORKER, ansible_facts={"packages": packages})
    assert ("RestartMaxDelaySec" in unit["Service"]) is backs_off


def test_background_work_is_as_confined_as_its_site():
    def sandbox(text):
        lines = text.replace("%i", "polls").splitlines()
        return lines[lines.index("NoNewPrivileges=yes") : lines.index("LimitNOFILE=8192") + 1]

    own = [line for line in sandbox(render(SERVICE, __worker_unit=units(CLEAR)[0])) if not line.startswith("#")]
    assert own == [line for line in sandbox(render("web/django@.service.j2")) if not line.startswith("#")]
    assert len(own) > 20


@of(TIMER)
def test_a_timer_makes_up_for_what_the_host_slept_through():
    unit = sections(render(TIMER, __worker_unit=units({**CLEAR, "schedule": "*-*-* 03:00"})[0]))
    assert unit["Timer"] == {"OnCalendar": "*-*-* 03:00", "Persistent": "true"}
    assert unit["Install"] == {"WantedBy": "timers.target"}


@of(TARGET)
def test_the_target_starts_with_the_host():
    assert sections(render(TARGET))["Install"] == {"WantedBy": "multi-user.target"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
@pytest.mark.parametrize("process", [WORKER, BEAT, CLEAR, a_process(command=HARD)])
def test_systemd_has_nothing_to_say_against_the_units(process, tmp_path):
    (unit,) = units(process)
    program = tmp_path / "ntier-manage"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    facts = {"packages": {}}
    text = render(SERVICE, __worker_unit=unit, ansible_facts=facts).replace("/usr/local/bin/ntier-manage", str(program))
    (tmp_path / unit["file"]).write_text(text)
    (tmp_path / "django-workers@.target").write_text(render(TARGET))
    files = [unit["file"].replace("@.", "@1.")]
    (tmp_path / files[0]).write_text(text)
    if unit["timer"]:
        (tmp_path / unit["timer"]).write_text(render(TIMER, __worker_unit=unit))
        files.append(unit["timer"])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "django-" in line] == []


def test_every_template_of_the_role_is_looked_at_here():
    assert {SERVICE, TIMER, TARGET} == {template for template in TEMPLATES if template.startswith("worker/")}
