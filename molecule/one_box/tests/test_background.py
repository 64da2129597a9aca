"""The background work of a site: its workers and timers, through releases and changes of the inventory."""

from __future__ import annotations

import time

import pytest

WORKER = "django-shop-worker@1.service"


def shown(box, unit, name):
    """Return what systemd says of a unit."""
    return box.check_output("systemctl show --property %s --value %s", name, unit)


def process_of(box, unit):
    """Return the number of a unit's process; 0 for none."""
    return int(shown(box, unit, "MainPID"))


def wait(condition, seconds=30):
    """Wait until a condition holds."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, f"{condition} does not come true"
        time.sleep(0.3)


def said(box, unit, pid):
    """Return the lines that one process has written to the journal."""
    return box.check_output("journalctl --output cat --no-pager --unit %s _PID=%s", unit, str(pid)).splitlines()


def test_as_many_run_as_the_site_wants_and_as_its_user(box):
    """Two workers and a beat, each in its own unit, as the user of the site, with the limit of its memory."""
    for unit in (WORKER, "django-shop-worker@2.service", "django-shop-beat@1.service"):
        assert box.service(unit).is_running, unit
        assert box.service(unit).is_enabled, unit
        assert box.check_output("ps -o user= -p %s", str(process_of(box, unit))) == "shop"
    assert not box.service("django-shop-worker@3.service").is_running
    assert shown(box, WORKER, "MemoryMax") == str(128 * 2**20)
    assert int(shown(box, WORKER, "MemoryHigh")) < 128 * 2**20


@pytest.mark.parametrize("number", [1, 2])
def test_every_word_of_a_command_arrives_as_it_was_written(box, number):
    """Quotes, dollars, backslashes and percent signs survive systemd; {number} is that of the process."""
    unit = f"django-shop-worker@{number}.service"
    assert f'says I am "{number}", at $HOME \\ 100 %i' in said(box, unit, process_of(box, unit))


def test_a_worker_is_as_confined_as_its_site(box):
    """systemd itself rates the exposure of the units; 10 is a service without any protection."""
    for unit in (WORKER, "django-shop-clear-sessions.service"):
        output = box.check_output("systemd-analyze security --no-pager %s", unit)
        exposure = float(output.strip().splitlines()[-1].split(":")[1].split()[0])
        assert exposure < 3.0, output


def test_a_worker_that_is_killed_comes_back(box):
    """Another process takes its place by itself."""
    before = process_of(box, WORKER)
    box.check_output("kill -KILL %s", str(before))
    wait(lambda: box.service(WORKER).is_running and process_of(box, WORKER) != before)


def test_a_timer_is_armed_and_its_command_works(box):
    """It stands in the list of timers; started by hand the command removes a session that has expired."""
    line = box.check_output("systemctl list-timers --no-pager --no-legend django-shop-clear-sessions.timer")
    assert "03:00:00" in line
    assert box.service("django-shop-clear-sessions.timer").is_enabled
    add = (
        "from django.contrib.sessions.models import Session; from django.utils import timezone;"
        " Session.objects.create(session_key='expired', expire_date=timezone.now() - timezone.timedelta(days=1))"
    )
    count = "from django.contrib.sessions.models import Session; print(Session.objects.filter(pk='expired').count())"
    box.check_output("ntier-manage shop shell -c %s", add)
    assert box.check_output("ntier-manage shop shell -c %s | tail -1", count) == "1"
    box.check_output("systemctl start django-shop-clear-sessions.service")
    assert box.check_output("ntier-manage shop shell -c %s | tail -1", count) == "0"
    assert shown(box, "django-shop-clear-sessions.service", "Result") == "success"


def test_a_program_of_the_site_can_be_run_by_hand(box):
    """As background processes are; what the environment does not have is named."""
    assert "some-shop" in box.check_output(
        "ntier-manage --program shop python -c %s",
        "import importlib.metadata as m; print(m.metadata('some-shop')['Name'])",
    )
    done = box.run("ntier-manage --program shop celerry worker")
    assert done.rc == 2
    assert "site shop has no program 'celerry' in" in done.stderr


def test_a_release_lets_a_job_end_with_the_old_code_and_goes_on_with_the_new(box, web_playbook):
    """The job that runs is not cut off; the next one knows the new setting."""
    old = process_of(box, WORKER)
    assert web_playbook(lambda sites: sites[2]["environment"].update(SHOP_GREETING="Buy!")).returncode == 0
    wait(lambda: process_of(box, WORKER) not in (0, old))
    words = said(box, WORKER, old)
    assert words[-1].startswith("ends a job with Good")
    assert sum(line.startswith("starts") for line in words) == sum(line.startswith("ends") for line in words)
    new = process_of(box, WORKER)
    wait(lambda: "starts a job with Buy!" in said(box, WORKER, new))
    assert web_playbook().returncode == 0
    wait(lambda: process_of(box, WORKER) not in (0, new))


def test_a_release_that_fails_does_not_touch_the_workers(box, web_playbook):
    """The app server does not load the application, the old release comes back, and the workers never stopped."""
    before = [process_of(box, unit) for unit in (WORKER, "django-shop-beat@1.service")]
    assert 0 not in before
    done = web_playbook(lambda sites: sites[2].update(wsgi="some_shop.nowhere:application"))
    assert done.returncode != 0
    assert "stays live" in done.stdout
    assert [process_of(box, unit) for unit in (WORKER, "django-shop-beat@1.service")] == before
    assert web_playbook().returncode == 0


def test_what_leaves_the_inventory_is_stopped_after_its_job(box, web_playbook):
    """A lowered count, a process and a timer that went: stopped, switched off, and their units removed; and all comes back."""

    def change(sites):
        worker, _beat, _clear = sites[2]["processes"]
        sites[2]["processes"] = [{**worker, "count": 1}]

    second = "django-shop-worker@2.service"
    kept, gone = process_of(box, WORKER), process_of(box, second)
    assert web_playbook(change).returncode == 0
    wait(lambda: process_of(box, second) == 0)
    assert said(box, second, gone)[-1].startswith("ends a job")
    assert process_of(box, WORKER) == kept
    assert not box.service(second).is_enabled
    wait(lambda: not box.service("django-shop-beat@1.service").is_running)
    assert box.check_output("systemctl list-timers --all --no-pager --no-legend 'django-*'") == ""
    files = box.check_output("find /etc/systemd/system -name 'django-shop-*' -printf '%f\\n' | sort").splitlines()
    assert files == ["django-shop-worker@.service", WORKER]
    again = web_playbook(change)
    assert "changed=0" in again.stdout.split("PLAY RECAP")[1].splitlines()[1], again.stdout

    assert web_playbook().returncode == 0
    for unit in (second, "django-shop-beat@1.service", "django-shop-clear-sessions.timer"):
        wait(lambda unit=unit: box.service(unit).is_running)


@pytest.mark.long
def test_a_changed_limit_is_taken_over_without_a_release(box, web_playbook):
    """The unit is the host's affair, as the number of processes is."""
    live = box.file("/srv/shop/current").linked_to
    before = process_of(box, WORKER)
    beat = process_of(box, "django-shop-beat@1.service")
    assert web_playbook(lambda sites: sites[2]["processes"][0].update(memory_mb=160)).returncode == 0
    wait(lambda: process_of(box, WORKER) not in (0, before))
    assert shown(box, WORKER, "MemoryMax") == str(160 * 2**20)
    assert process_of(box, "django-shop-beat@1.service") == beat
    assert box.file("/srv/shop/current").linked_to == live
    assert web_playbook().returncode == 0


@pytest.mark.long
def test_what_a_killed_run_has_written_is_taken_over_by_the_next(box, web_playbook):
    """The unit is written, and the run is killed before its handlers: the next one finds nothing to write, and restarts all the same."""

    def change(sites):
        sites[2]["processes"][0].update(memory_mb=176)

    before = process_of(box, WORKER)
    assert web_playbook(change, until="units | Install the timers").returncode < 0
    assert "MemoryMax=176M" in box.file(f"/etc/systemd/system/{WORKER.replace('@1', '@')}").content_string
    assert process_of(box, WORKER) == before
    assert web_playbook(change).returncode == 0
    wait(lambda: process_of(box, WORKER) not in (0, before))
    assert shown(box, WORKER, "MemoryMax") == str(176 * 2**20)
    again = web_playbook(change)
    assert "changed=0" in again.stdout.split("PLAY RECAP")[1].splitlines()[1], again.stdout
    assert web_playbook().returncode == 0


def test_a_schedule_that_only_systemd_refuses_changes_nothing(box, web_playbook):
    """What passes the first look, and is none all the same, is shown in systemd's own words."""
    done = web_playbook(lambda sites: sites[2]["processes"][2].update(schedule="01:00/70"))
    assert done.returncode != 0
    assert "Failed to parse calendar specification" in done.stdout
    assert "OnCalendar=*-*-* 03:00" in box.check_output("systemctl cat django-shop-clear-sessions.timer")


@pytest.mark.long
def test_the_work_of_a_site_that_left_ends_with_it(box, web_playbook):
    """No unit of it runs or stands any more; back in the inventory it works again."""
    assert web_playbook(lambda sites: sites.pop(2)).returncode == 0
    wait(lambda: "running" not in box.check_output("systemctl list-units --plain --no-legend 'django-shop-*'"))
    assert box.check_output("find /etc/systemd/system -name 'django-shop-*' -o -name 'django-workers@shop*'") == ""
    assert web_playbook().returncode == 0
    wait(lambda: box.service(WORKER).is_running)
    assert box.service("django-workers@shop.target").is_running
