"""Releases under constant requests, one after the other: what visitors see of them, and what a person is told.

One story, in this order. Nobody may notice anything of it; the last test counts.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import battery
import pytest
import yaml
from conftest import INVENTORY, PROJECT, WEB
from provider_checks import CHECKS, Subject, only_the_provider_runs, websockets_work
from watching import until


def release(version: str) -> list[str]:
    """Return the options that ask for a version."""
    return ["-e", f"release_version={version}"]


def seen_since(report: dict, seconds: float) -> list[tuple[str, str]]:
    """Return which host began to answer with which version after a moment, in this order."""
    return [(host, version) for when, host, version in report["seen"] if when > seconds]


def test_v1_is_live(unnoticed, live):
    """Both hosts answer, with the same release."""
    assert {version for _release, version in live().values()} == {"v1"}
    report = unnoticed.until(lambda report: set(report["hosts"]) == set(WEB), "one host has no visitors")
    assert set(report["versions"]) == {"v1"}


def answers_differ(cluster) -> list[str]:
    """Return which answers of the balancer are not those of the battery."""
    return battery.failures(cluster["lb1"], "guestbook.example.com", 443, balanced=True)


def test_the_balancer_answers_as_a_web_host(unnoticed, cluster):
    """The battery, which each web server has to pass, behind the balancer."""
    assert answers_differ(cluster) == []


def test_a_release_goes_live_host_by_host(unnoticed, play, live, cluster):
    """With a migration, another page and another style sheet: first on one host, then on the other, and never in a mixture.

    A second run meanwhile is refused in words, and the first one ends well.
    """
    second = []

    def run_another(_process: subprocess.Popen) -> None:
        until(lambda: cluster["web1"].file("/run/ntier/run.lock").exists, 120, "the run takes no lock", pause=0.3)
        second.append(play("site"))

    start = unnoticed.report()["seconds"]
    done = play("release", *release("v2"), during=run_another)
    assert done.code == 0, done.output
    assert second[0].code != 0, second[0].output
    assert "Another run is under way" in second[0].words, second[0].output
    assert "runs release since" in second[0].words, second[0].output
    assert set(second[0].changed().values()) == {0}, second[0].output
    assert not cluster["web2"].file("/run/ntier/run.lock").exists
    assert {version for _release, version in live().values()} == {"v2"}
    report = unnoticed.until(lambda report: len(seen_since(report, start)) >= 2, "not both hosts answer with v2")
    assert seen_since(report, start) == [("web1", "v2"), ("web2", "v2")]
    migrations = cluster["web1"].check_output("ntier-manage guestbook showmigrations entries")
    assert "[X] 0002_mood" in migrations


def test_a_release_that_is_live_is_not_made_again(unnoticed, play, live, releases):
    """The second run changes nothing at all."""
    before, kept = live(), releases()
    done = play("release", *release("v2"))
    assert done.code == 0, done.output
    assert set(done.changed().values()) == {0}, done.output
    assert live() == before
    assert releases() == kept


COLUMNS = (
    "from django.db import connection as c; "
    "print([column.name for column in c.introspection.get_table_description(c.cursor(), 'entries_entry')])"
)


@pytest.mark.long
def test_a_rollback_undoes_migrations(unnoticed, play, live, cluster):
    """Told to, and when no code that needs them is live any more; the version that brought them brings them again."""

    def columns() -> str:
        return cluster["web1"].check_output("ntier-manage guestbook shell -c %s | tail -1", COLUMNS)

    assert "'mood'" in columns()
    done = play("rollback", "-e", "rollback_migrations=reverse")
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v1"}
    assert "'message'" in columns()
    assert "'mood'" not in columns()
    done = play("release", *release("v2"))
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v2"}
    assert "'mood'" in columns()


# Version → the host and the step that are named, and the program's own words.
BROKEN = {
    "v3": ("web1", "check the settings failed", "the settings of v3 raise"),
    "v4": ("web1", "guestbook.example.com/", "RuntimeError: the page of v4 breaks"),
    "v5": ("web1", "migrate failed", "division by zero"),
    "v6": ("web1", "RemoveField", "release_allow_breaking_migrations"),
    "v7": ("web1", "failed", "asgiref"),
    "v8": ("web1", "failed", "the crooked package says no"),
    "v9": ("web1", "guestbook.example.com/", "400"),
    "v10": ("web1", "guestbook.example.com/", "RuntimeError: the application of v10 does not start"),
}
# Others end at the same steps, or at those of the scenario one_box.
LONG = dict.fromkeys(["v3", "v5", "v6", "v7", "v8", "v9", "v10"], pytest.mark.long)
# Of what fails where the release goes live, v4 is for all hosts and the others for the first alone, as a careful person does it.
ALONE = {"v9": ["--limit", "web1"], "v10": ["--limit", "web1"]}


@pytest.mark.parametrize("version", [pytest.param(name, marks=LONG.get(name, [])) for name in BROKEN])
def test_a_broken_release_stays_out(unnoticed, play, live, releases, version):
    """Not one visitor sees it, v2 is live on both hosts, nothing of it is left, and the message says what, where and why."""
    before, kept = live(), releases()
    done = play("release", *release(version), *ALONE.get(version, []))
    assert done.code != 0, done.output
    for words in BROKEN[version]:
        assert words in done.words, done.output
    assert f"Release {before['web1'][0]} stays live" in done.words, done.output
    assert live() == before
    assert releases() == kept
    assert version not in unnoticed.report()["versions"]


# Options → words of the message.
REFUSED = {
    "version": (["-e", "release_version=v99"], ["no branch, tag or commit 'v99'", "stay live"]),
    "site": (["-e", "site=gestbook"], ["gestbook", "guestbook"]),
}


@pytest.mark.parametrize("what", [pytest.param("version"), pytest.param("site", marks=pytest.mark.long)])
def test_what_is_not_there_is_refused(unnoticed, play, live, releases, what):
    """A misspelt version or site changes nothing anywhere."""
    options, words = REFUSED[what]
    before, kept = live(), releases()
    done = play("release", *options)
    assert done.code != 0, done.output
    for word in words:
        assert word in done.words, done.output
    assert set(done.changed().values()) <= {0}, done.output
    assert live() == before
    assert releases() == kept


def test_a_repository_that_does_not_answer(unnoticed, play, live, releases, cluster):
    """Is told with its address, and nothing is changed."""
    before, kept = live(), releases()
    cluster["lb1"].check_output("systemctl stop test-git")
    try:
        done = play("release", *release("v1"))
    finally:
        cluster["lb1"].check_output("systemctl start test-git")
    assert done.code != 0, done.output
    assert "git://" in done.words
    assert "can't be fetched" in done.words
    assert live() == before
    assert releases() == kept


def test_an_interrupted_release_is_finished_by_the_next(unnoticed, play, live, servers):
    """Somebody pulls the controller's plug while the first host is drained: the other one answers, and the next run finishes."""
    seen = []

    def pull_the_plug(process: subprocess.Popen) -> None:
        until(lambda: servers()["web1"] != "UP", 300, "web1 is not drained", pause=0.1)
        seen.append(servers())
        os.killpg(process.pid, signal.SIGKILL)

    done = play("release", *release("v1"), during=pull_the_plug)
    assert done.code == -signal.SIGKILL, done.output
    assert seen[0]["web2"] == "UP"
    time.sleep(5)
    assert servers()["web2"] == "UP"
    done = play("release", *release("v1"))
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v1"}


CUT = """
for attempt in $(seq 900); do
    ls /srv/guestbook/releases | grep -qvxF "$(cat /run/known)" && break
    sleep 0.3
done
systemctl stop ssh
pkill -KILL sshd
sleep 20
systemctl start ssh
"""


def test_a_host_that_is_cut_off_in_the_middle(unnoticed, play, live, cluster):
    """While the release is brought to it, Ansible loses its way to one host: nothing goes live anywhere."""
    before, web2 = live(), cluster["web2"]
    web2.check_output("ls /srv/guestbook/releases > /run/known")
    web2.check_output("systemd-run --quiet --unit=cut sh -c %s", CUT)
    try:
        done = play("release", *release("v2"))
    finally:
        until(
            lambda: web2.run("systemctl is-active cut").stdout.strip() != "active",
            60,
            "web2 does not come back",
            pause=3,
        )
    assert done.code != 0, done.output
    assert "web2 can't be reached any more. No host has switched to the new release." in done.words, done.output
    assert live() == before


NOTE = "from django.contrib.auth.models import Group; from guestbook.version import VERSION; Group.objects.create(name='{when} ' + VERSION)"
NOTES = "from django.contrib.auth.models import Group; found = Group.objects.order_by('pk'); print([group.name for group in found], found.delete()[0])"


def test_the_next_release_does_all_with_its_hooks(unnoticed, play, live):
    """When that host is back: and hooks run on the leader with the new release, before its migrations, after its static files and when it is live."""
    hooks = [
        {"when": when, "command": f'manage.py shell -c "{NOTE.format(when=when)}"'}
        for when in ("after_activation", "after_collectstatic", "before_migrate")
    ]
    done = play("release", *release("v2"), "-e", json.dumps({"release_hooks": hooks}))
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v2"}
    done = play("release_command", "-e", json.dumps({"command": f'shell -c "{NOTES}"'}))
    assert done.code == 0, done.output
    assert "['before_migrate v2', 'after_collectstatic v2', 'after_activation v2'] 3" in done.words, done.output


def test_a_command_of_several_words(unnoticed, play):
    """Arrives whole when it is typed as the README prints it; a form that would lose words is refused."""
    text = (PROJECT / "README.md").read_text()
    lines = [
        shlex.split(line)
        for line in text.splitlines()
        if line.startswith("ansible-playbook ") and ".release_command " in line
    ]
    command = next(words for words in lines if words[-1] == 'command="showmigrations auth"')
    done = play("release_command", *command[-2:])
    assert done.code == 0, done.output
    assert "[X] 0001_initial" in done.words, done.output
    assert "0002_mood" not in done.words, done.output
    done = play("release_command", "-e", "command=showmigrations auth")
    assert done.code != 0, done.output
    assert """Write -e '{"command": "showmigrations auth"}'""" in done.words, done.output


def test_a_command_that_fails(unnoticed, play):
    """Says what the command said."""
    done = play("release_command", "-e", "command=nosuchcommand")
    assert done.code != 0, done.output
    assert "Unknown command: 'nosuchcommand'" in done.words, done.output


FULL = """
set -e
mount -o remount,resgid=$(id -g www-data) "$(stat --format %m /srv)"
fallocate --length $(($(df --output=avail --block-size=1 /srv | tail -1) - (64 << 20))) /srv/filler
"""


@pytest.mark.long
def test_a_full_disk_on_one_host(unnoticed, play, live, releases, cluster):
    """There is room for a part of the release on the second host: nothing goes live anywhere, and that host and the fault are told.

    nginx may use what is kept back for root, or it could take no upload, which is no fault of the release.
    """
    before, kept, web2 = live(), releases(), cluster["web2"]
    web2.check_output("sh -c %s", FULL)
    try:
        done = play("release", *release("v1"))
    finally:
        web2.check_output("rm /srv/filler; mount -o remount,resgid=0 $(stat --format %m /srv)")
    assert done.code != 0, done.output
    assert "host web2" in done.words, done.output
    assert "No space left on device" in done.words, done.output
    assert "The disk is full." in done.words, done.output
    assert f"Release {before['web2'][0]} stays live" in done.words, done.output
    assert live() == before
    assert releases() == kept


def test_a_rollback_says_which_migrations_lie_between(unnoticed, play, live, releases):
    """v1 can live with the columns that came since, and nobody has said what shall become of them: nothing is touched."""
    before, kept = live(), releases()
    done = play("rollback")
    assert done.code != 0, done.output
    assert "Nothing has been rolled back." in done.words, done.output
    assert "entries.0002_mood" in done.words, done.output
    assert "rollback_migrations" in done.words, done.output
    assert set(done.changed().values()) == {0}, done.output
    assert live() == before
    assert releases() == kept


def test_a_rollback_takes_seconds(unnoticed, play, live, releases, visit):
    """Without building anything, v1 is live again, host by host, with its own static files."""
    kept = releases()
    start = unnoticed.report()["seconds"]
    done = play("rollback", "-e", "rollback_migrations=keep")
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v1"}
    assert releases() == kept
    report = unnoticed.until(lambda report: len(seen_since(report, start)) >= 2, "not both hosts answer with v1")
    assert seen_since(report, start) == [("web1", "v1"), ("web2", "v1")]
    browser = visit("guestbook.example.com")
    icon = re.search(r"/static/entries/icon-v1\.[0-9a-f]{12}\.svg", browser.get("/").text)
    assert browser.get(icon.group()).status_code == 200


@pytest.mark.back
def test_a_rollback_to_a_named_release(unnoticed, play, live, releases, cluster):
    """The way back to v2, by its name; a name that no host has is refused, with the names that there are."""
    before = live()
    done = play("rollback", "-e", "rollback_to=20200101T000000-nowhere")
    assert done.code != 0, done.output
    assert "20200101T000000-nowhere is not on" in done.words, done.output
    assert live() == before
    files = cluster["web1"].check_output("grep -l v2 /srv/guestbook/releases/*/project/guestbook/version.py").split()
    v2 = files[-1].split("/")[4]
    done = play("rollback", "-e", f"rollback_to={v2}", "-e", "rollback_migrations=keep")
    assert done.code == 0, done.output
    assert set(live().values()) == {(v2, "v2")}


@pytest.mark.parametrize("name", WEB)
def test_releases_leave_nothing_in_caches(cluster, name):
    """However many there have been."""
    assert int(cluster[name].check_output("du -sm /srv/guestbook/cache").split()[0]) < 64


@pytest.mark.long
def test_a_web_server_that_does_not_start(unnoticed, play, live, cluster):
    """On the second host; the first has been swapped by then. Both have the old one again, with the release that was live."""
    before, web2 = live(), cluster["web2"]
    web2.check_output("ln -s /dev/null /etc/systemd/system/lighttpd.service")
    try:
        done = play("site", "-e", "web_provider=lighttpd_uwsgi")
    finally:
        web2.check_output("rm /etc/systemd/system/lighttpd.service; systemctl daemon-reload")
    assert done.code != 0, done.output
    assert "Host web2: let the new web server take the port over failed." in done.words, done.output
    assert "lighttpd.service is masked" in done.words, done.output
    assert "The web provider is nginx_gunicorn again on web1 and web2." in done.words, done.output
    assert live() == before
    for name in WEB:
        only_the_provider_runs(Subject(None, cluster[name], b""), "nginx_gunicorn")


@pytest.fixture
def without_web2(tmp_path) -> Path:
    """Return the folder of the inventory with web2 in the group retired."""
    groups = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    groups["retired"] = {"hosts": {"web2": groups["web"]["hosts"].pop("web2")}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(groups))
    for name in ("group_vars", "zz_test_hosts.yml"):
        (tmp_path / name).symlink_to((INVENTORY / name).resolve())
    return tmp_path


@pytest.mark.long
def test_a_web_host_goes_and_comes_back(unnoticed, play, live, cluster, without_web2):
    """In the group retired it is drained and switched off, and nothing of the sites is left on it; back in its group it serves as before."""
    web2 = cluster["web2"]
    done = play("site", inventory=without_web2)
    assert done.code == 0, done.output
    assert "Switched off web2 web" in done.words, done.output
    assert (
        web2.check_output("ss --listening --tcp --numeric --no-header | grep --invert-match --count ':22 ' || true")
        == "0"
    )
    assert not web2.file("/srv/guestbook").exists
    assert not web2.file("/etc/pgbouncer/ntier-users.txt").exists
    done = play("site", inventory=without_web2)
    assert set(done.changed().values()) == {0}, done.output
    done = play("site")
    assert done.code == 0, done.output
    assert len({release for release, _version in live().values()}) == 1


SITES = yaml.safe_load((INVENTORY / "group_vars/all.yml").read_text())["ntier_sites"]


@pytest.mark.long
def test_a_swap_to_asgi(unnoticed, play, live, cluster, visit, picture):
    """The project's ASGI application answers as its WSGI application did, and websockets, on each host and through the balancer."""
    sites = [{**site, "asgi": "guestbook.asgi:application"} for site in SITES]
    done = play("site", "-e", json.dumps({"web_provider": "nginx_granian", "ntier_sites": sites}))
    assert done.code == 0, done.output
    for name in WEB:
        subject = Subject(visit, cluster[name], picture)
        only_the_provider_runs(subject, "nginx_granian")
        websockets_work(subject, "/echo")
    websockets_work(Subject(visit, cluster["lb1"], picture, port=443), "/echo")
    for check in CHECKS:
        check(Subject(visit, cluster["web1"], picture))


SWAPS = [
    pytest.param("lighttpd_uwsgi", marks=pytest.mark.long),
    pytest.param("nginx_granian", marks=pytest.mark.long),
    pytest.param("apache_mod_wsgi", marks=pytest.mark.back),
    pytest.param("nginx_gunicorn", marks=pytest.mark.long),
]


@pytest.mark.parametrize("provider", SWAPS)
def test_the_web_server_is_swapped(unnoticed, play, live, cluster, visit, picture, provider):
    """Host by host, the uploads' own host among them; each does all that visitors know from the others."""
    done = play("site", "-e", f"web_provider={provider}")
    assert done.code == 0, done.output
    assert {version for _release, version in live().values()} == {"v1"}  # the inventory's
    for name in WEB:
        only_the_provider_runs(Subject(visit, cluster[name], picture), provider)
    for check in CHECKS:
        check(Subject(visit, cluster["web1"], picture))
    assert answers_differ(cluster) == []


def test_nobody_has_noticed(visitors, cluster):
    """Over all of it: no request failed, each was answered, and what was accepted is in the database once."""
    report = visitors.stop()
    slowest = ", ".join(f"{kind} {seconds} s at {when}" for kind, (seconds, when) in sorted(report["slowest"].items()))
    again = sum(report["again"].values())
    told = f"{report['failed']} failed of {report['sent']} requests in {report['seconds']:.0f} s, {again} sent again; slowest: {slowest}"
    print(
        f"\n{told}\n{report['answers']} {report['protocols']} {report['versions']} {report['hosts']}", file=sys.stderr
    )
    assert report["ended"] == "stop"
    assert report["failed"] == 0, f"{told}: {report['failures'][:10]}"
    assert report["answered"] == report["sent"]
    assert again <= report["sent"] / 500
    assert sum(sum(kinds.values()) for kinds in report["answers"].values()) == report["sent"]
    assert report["sent"] > 1000
    assert set(report["protocols"]) == {"HTTP/1.1", "HTTP/2"}
    assert set(report["versions"]) == {"v1", "v2"}
    assert min(report["hosts"].values()) > 100
    rows = (
        "import json; from entries.models import Entry; "
        f"found = Entry.objects.filter(message__startswith='{visitors.word}'); "
        "print(json.dumps(list(found.values_list('message', 'picture'))))"
    )
    kept = json.loads(cluster["web1"].check_output("ntier-manage guestbook shell -c %s | tail -1", rows))
    assert sorted(text for text, picture in kept if not picture) == sorted(report["written"])
    assert sorted(text for text, picture in kept if picture) == sorted(report["uploaded"])
