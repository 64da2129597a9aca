"""From figure to figure and back, under constant requests: the inventory changes, `site` runs, and the data follows.

One story, in this order. Nobody may notice anything of it but a short wait; the last test counts.
"""

from __future__ import annotations

import json
import re
import sys

import pytest

#: How long a write may wait in a handover, in milliseconds, on a machine that does something else as well. `make bench` measures it.
PAUSE = 10_000


def waited(visitors, since: float) -> int:
    """Return how long the slowest write has taken since a time of day, in milliseconds."""
    return max(took for _at, kind, _status, took in visitors.events(since) if kind in ("entry", "upload"))


def changes_nothing(site, figure: str) -> None:
    """Run `site` once more, and see that it finds nothing to do."""
    done = site(figure)
    assert done.code == 0, done.output
    assert set(done.changed().values()) == {0}, done.output


def test_figure_1_is_built(site, primaries):
    """From hosts on which nothing is."""
    done = site("1")
    assert done.code == 0, done.output
    assert primaries() == ["box1"]


@pytest.mark.back
def test_the_plan_says_what_moves(site, primaries):
    """A dry run with the next figure moves nothing, and names what would."""
    done = site("2", "--check", "--diff")
    assert done.code == 0, done.output
    assert re.search(r"database +box1 → db1", done.output), done.output
    assert primaries() == ["box1"]


#: A database of the user's own beside the sites', with what a copy of rows would leave behind.
BELONGINGS = """
CREATE ROLE keeper LOGIN PASSWORD 'known' CONNECTION LIMIT 7;
CREATE DATABASE belongings OWNER keeper;
\\connect belongings
CREATE EXTENSION pg_trgm;
CREATE SCHEMA loft AUTHORIZATION keeper;
CREATE SEQUENCE loft.turns START 40;
SELECT nextval('loft.turns'), lo_from_bytea(4242, 'a large object');
ALTER DATABASE belongings SET work_mem = '3MB';
"""
LOOK = """
SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = 'keeper';
SELECT extname, extversion FROM pg_extension ORDER BY 1;
SELECT convert_from(lo_get(4242), 'UTF8'), last_value, current_setting('work_mem') FROM loft.turns;
SELECT rolname, rolpassword FROM pg_authid ORDER BY 1;
SELECT datname, pg_get_userbyid(datdba), datcollate FROM pg_database ORDER BY 1;
"""


def belongings(host, sql: str, database: str = "belongings") -> str:
    """Return what PostgreSQL's superuser is answered on a host."""
    return host.check_output("printf %s | runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 -d %s", sql, database)


def test_the_database_moves_to_a_host_of_its_own(unnoticed, site, primaries, cluster):
    """20-1 → 20-2, with all that the server has, the sites' or not."""
    belongings(cluster["box1"], BELONGINGS, "postgres")
    before = belongings(cluster["box1"], LOOK)
    assert "a large object|40|3MB" in before
    assert "pg_trgm" in before
    assert "SCRAM-SHA-256" in before
    start = unnoticed.clock()
    done = site("2")
    assert done.code == 0, done.output
    assert "The database has moved from box1 to db1." in done.words, done.output
    assert primaries() == ["db1"]
    assert belongings(cluster["db1"], LOOK) == before
    longest = waited(unnoticed, start)
    print(f"longest write {longest} ms", file=sys.stderr)
    assert longest < PAUSE


@pytest.mark.long
def test_the_second_run_changes_nothing(unnoticed, site):
    """The old server is left behind for good."""
    changes_nothing(site, "2")


def over_the_network(host) -> bool:
    """Return whether a host's sites keep their uploads on another one."""
    return "nfs4" in host.run("findmnt --noheadings --output FSTYPE /srv/media").stdout.split()


def uploads(host) -> int:
    """Return how many files visitors have left on a host's own disk."""
    found = host.run("find /srv/media/guestbook/media -xdev -type f -not -path '*/attic/*'")
    return len(found.stdout.splitlines()) if found.rc == 0 else 0


#: Two thousand uploads of earlier years, of 1 to 40 KB.
ATTIC = """
import os, random
chance = random.Random(20)
for number in range(2000):
    folder = f"/srv/media/guestbook/media/attic/{number // 100}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/{number}", "wb") as file:
        file.write(chance.randbytes(chance.randrange(1000, 40000)))
"""


def attic(host) -> str:
    """Return what the earlier years' uploads on a host are, by name and content."""
    return host.check_output("cd /srv/media/guestbook/media/attic && find . -type f -exec sha256sum {} + | sort")


def moved(done) -> None:
    """Print what `site` says about a move of the uploads."""
    print(re.search(r"\d+ files have moved .*? in \d+ s\.", done.words)[0], file=sys.stderr)


def test_the_uploads_move_to_a_host_of_their_own(unnoticed, site, cluster):
    """20-2 → 20-3: what was uploaded is there, and what is uploaded meanwhile. PostgreSQL restarts, on a host that it has moved to."""
    cluster["box1"].check_output("runuser -u guestbook -- python3 -c %s", ATTIC)
    before = attic(cluster["box1"])
    start = unnoticed.clock()
    done = site("3")
    assert done.code == 0, done.output
    assert "files have moved from box1 to media1." in done.words, done.output
    assert "PostgreSQL restarts on db1 max_connections 100 → 120 Clients on box1 wait about a second" in done.words, (
        done.output
    )
    assert "PostgreSQL on db1 has restarted for max_connections 100 → 120." in done.words, done.output
    shown = cluster["db1"].check_output("runuser -u postgres -- psql -AtX -c 'SHOW max_connections'")
    assert shown == "120"
    assert not cluster["db1"].file("/etc/ntier-handover").exists
    moved(done)
    longest = waited(unnoticed, start)
    print(f"longest write {longest} ms", file=sys.stderr)
    assert longest < PAUSE
    assert over_the_network(cluster["box1"])
    assert attic(cluster["media1"]) == before
    accepted = len(unnoticed.report()["uploaded"])
    assert uploads(cluster["media1"]) >= accepted > 0


def address(cluster, name: str) -> str:
    """Return where the other hosts reach a host."""
    return cluster.variables(name)["ntier_address"]


def leads_to(name: str) -> list[str]:
    """Return what to tell `site` when DNS leads to a host."""
    return ["--extra-vars", json.dumps({"ntier_dns_leads_to": [name]})]


def passes_on(cluster) -> bool:
    """Tell whether the old web host passes visitors on."""
    return cluster["box1"].run("systemctl is-active ntier-relay.service").stdout.strip() == "active"


#: The tasks at which a run ends that somebody kills while a balancer and a web host come, when DNS leads to the balancer, when it
#: leads back, and when the balancer goes: in this order, each later than the one before. What such runs began, the next one ends.
COMING = [
    "pass | Configure it",
    "configure | Route the sites",
    "Enable and start HAProxy",
    "See that each site answers there",
    "Send them there",
    "Remember what the host serves",
]
ARRIVED = ["leave | Take no new connections", "leave | Let systemd forget it"]
STAYING = ["leave | Stop the app servers", "leave | Remove the releases", "Have the uploads closed to them"]
GOING = ["leave | Stop HAProxy and switch it off", "leave | Remove its configuration, keys among it"]


def killed(site, step: str, *arguments: str) -> None:
    """Run `site`, and kill the run at a step."""
    done = site(*arguments, until=step)
    assert done.code == -9, done.output


@pytest.mark.long
@pytest.mark.parametrize("step", COMING)
def test_nobody_notices_a_killed_run_while_a_balancer_comes(unnoticed, site, step):
    """The host, its web server and the way there are half made."""
    killed(site, step, "4")


@pytest.mark.back
def test_a_balancer_and_a_web_host_come_before_a_living_site(unnoticed, site, cluster):
    """20-3 → 20-4: DNS leads to the old web host still, which passes visitors on; the balancer knows who they are."""
    done = site("4")
    assert done.code == 0, done.output
    assert "come to box1, which passes them on to lb1." in done.words, done.output
    assert passes_on(cluster)
    unnoticed.until(
        lambda seen: {tuple(place) for place in seen["places"].values()} == {(address(cluster, "box1"), "https")},
        "some visitors are not sent on",
        60,
    )
    log = cluster["lb1"].check_output("cat /var/log/haproxy-ntier.log")
    assert f"{address(cluster, 'visitor1')}:" in log
    assert f"{address(cluster, 'box1')}:" not in log
    # Everybody's connections are counted by who it is.
    show = "import socket; s = socket.socket(1); s.connect('/run/haproxy/admin.sock'); s.sendall(b'show table clients\\n'); print(s.makefile().read())"
    counted = cluster["lb1"].check_output("python3 -c %s", show)
    assert f"{address(cluster, 'visitor1')} " in counted
    assert f"{address(cluster, 'box1')} " not in counted
    assert {name for name in ("box1", "web2") if f" site_guestbook/{name} " in log} == {"box1", "web2"}


@pytest.mark.long
def test_the_next_run_with_the_balancer_changes_nothing(unnoticed, site, cluster):
    """As long as DNS leads to the old web host."""
    changes_nothing(site, "4")
    assert passes_on(cluster)


@pytest.mark.long
@pytest.mark.parametrize("step", ARRIVED)
def test_nobody_notices_a_killed_run_when_dns_leads_to_the_balancer(unnoticed, site, cluster, step):
    """The old web host is about to pass nobody on."""
    unnoticed.come_to(address(cluster, "lb1"), "https")
    killed(site, step, "4", *leads_to("lb1"))


@pytest.mark.back
def test_dns_leads_to_the_balancer(unnoticed, site, cluster):
    """The old web host is one like the other then."""
    unnoticed.come_to(address(cluster, "lb1"), "https")
    done = site("4", *leads_to("lb1"))
    assert done.code == 0, done.output
    assert not passes_on(cluster)
    knock = "python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 80), 3)' %s"
    for name in ("box1", "web2"):
        assert "TimeoutError" in cluster["visitor1"].run(knock, address(cluster, name)).stderr
    read = (
        "import http.client, ssl, sys; line = http.client.HTTPSConnection(sys.argv[1], context=ssl._create_unverified_context()); "
        "line.request('GET', '/sign-up/', headers={'Host': 'guestbook.example.com'}); print(line.getresponse().getheader('set-cookie'))"
    )
    cookie = cluster["visitor1"].check_output("python3 -c %s %s", read, address(cluster, "lb1"))
    assert cookie.startswith("csrftoken=") and "; Secure" in cookie


@pytest.mark.long
@pytest.mark.parametrize("step", STAYING)
def test_nobody_notices_a_killed_run_while_a_web_host_goes(unnoticed, site, step):
    """It has been drained, and is half switched off."""
    killed(site, step, "3-again")


@pytest.mark.back
def test_the_balancer_stays_until_dns_leads_elsewhere(unnoticed, site, cluster):
    """20-4 → 20-3, and visitors come to the balancer still."""
    done = site("3-again")
    assert done.code == 0, done.output
    assert "come to lb1, which stays in service." in done.words, done.output
    assert cluster["lb1"].service("haproxy").is_running
    assert not cluster["web2"].run("systemctl list-units --no-legend --state=active 'django@*'").stdout.strip()


@pytest.mark.long
def test_the_next_run_with_the_balancer_that_stays_changes_nothing(unnoticed, site):
    """As long as DNS leads to it."""
    changes_nothing(site, "3-again")


@pytest.mark.long
@pytest.mark.parametrize("step", GOING)
def test_nobody_notices_a_killed_run_while_the_balancer_goes(unnoticed, site, cluster, step):
    """DNS leads to the web host, and the balancer is half switched off."""
    unnoticed.come_to(address(cluster, "box1"), "http")
    killed(site, step, "3-again", *leads_to("box1"))


@pytest.mark.long
def test_the_balancer_goes_before_the_uploads_move(unnoticed, site, cluster):
    """20-3 as it was, and the next run changes nothing."""
    unnoticed.come_to(address(cluster, "box1"), "http")
    done = site("3-again", *leads_to("box1"))
    assert done.code == 0, done.output
    changes_nothing(site, "3")


@pytest.mark.back
def test_the_balancer_goes_and_the_uploads_come_back(unnoticed, site, cluster):
    """20-3 → 20-2, off a host that goes; DNS leads to the web host, where visitors come by http."""
    unnoticed.come_to(address(cluster, "box1"), "http")
    done = site("2-again", *leads_to("box1"))
    assert done.code == 0, done.output
    assert not cluster["lb1"].service("haproxy").is_running
    assert not cluster["lb1"].file("/etc/haproxy/ntier.cfg").exists
    assert "files have moved from media1 to box1." in done.words, done.output
    moved(done)
    assert not over_the_network(cluster["box1"])
    assert len(attic(cluster["box1"]).splitlines()) == 2000
    # Nobody keeps a file open whose server has gone.
    assert address(cluster, "media1") not in cluster["box1"].check_output("cat /proc/fs/nfsfs/servers")
    accepted = len(unnoticed.report()["uploaded"])
    assert uploads(cluster["box1"]) >= accepted > 0
    for unit in ("nginx", "nfs-server"):
        assert not cluster["media1"].service(unit).is_running
        assert not cluster["media1"].service(unit).is_enabled


@pytest.mark.long
def test_a_run_after_the_way_back_changes_nothing(unnoticed, site):
    """The host that the uploads came from is gone from the inventory by then."""
    changes_nothing(site, "2")


#: The tasks of the two moves at which a run ends that somebody kills: from the first preparation to the last thing that is cleaned up.
MEDIA_STEPS = [
    "next | Have what a client of NFSv4 needs",
    "part | Say what moves, and who takes part",
    "lead | Move the files",
    "lead | Wait for its end",
    "lead | Say what was measured",
    "Share the files with who uses them",
]
DATABASE_STEPS = [
    "source | Let the target copy",
    "pooler | Write the configuration that leads to the target",
    "target | Copy the data while the sites go on, and follow what changes",
    "plan | Write the plan down",
    "run | Hand the database over",
    "run | Wait for its end",
    "run | Say what was measured",
    "Close the ways that only the move needed",
]


@pytest.mark.long
@pytest.mark.parametrize("step", MEDIA_STEPS)
def test_a_move_of_the_uploads_that_is_killed_is_finished_by_the_next_run(unnoticed, site, cluster, step):
    """There and back in turn."""
    there = over_the_network(cluster["box1"])
    figure = "2-again" if there else "3"
    done = site(figure, until=step)
    assert done.code == -9, done.output
    done = site(figure)
    assert done.code == 0, done.output
    accepted = len(unnoticed.report()["uploaded"])
    assert uploads(cluster["box1" if there else "media1"]) >= accepted > 0


@pytest.mark.long
@pytest.mark.parametrize("step", DATABASE_STEPS)
def test_a_move_of_the_database_that_is_killed_is_finished_by_the_next_run(unnoticed, site, primaries, step):
    """There and back in turn."""
    figure, there = ("1-again", ["box1"]) if primaries() == ["db1"] else ("2", ["db1"])
    start = unnoticed.clock()
    done = site(figure, until=step)
    assert done.code == -9, done.output
    assert len(primaries()) <= 1
    done = site(figure)
    assert done.code == 0, done.output
    assert primaries() == there
    assert waited(unnoticed, start) < PAUSE


@pytest.mark.back
def test_a_controller_that_dies_in_the_move_finishes_it_the_next_time(unnoticed, site, primaries):
    """And back, 20-2 → 20-1, off a host that goes: the run is killed as the handover begins, and there are never two primaries."""
    done = site("1-again", until="run | Hand the database over")
    assert done.code == -9, done.output
    assert len(primaries()) <= 1
    done = site("1-again")
    assert done.code == 0, done.output
    assert primaries() == ["box1"]


@pytest.mark.back
def test_a_host_that_went_can_be_deleted(unnoticed, site, cluster):
    """Its line, and the machine: nobody asks it any more, and the next run changes nothing."""
    assert not cluster["db1"].check_output("systemctl list-units --no-legend --state=active,failed 'postgresql@*'")
    changes_nothing(site, "1")


def test_nobody_has_noticed(visitors, cluster, walk, kept):
    """Over all of it: no request failed, each was answered, and what was accepted is there once, to the last byte."""
    report = visitors.stop()
    walk.write(report, visitors.events(0))
    slowest = ", ".join(f"{kind} {seconds} s at {when}" for kind, (seconds, when) in sorted(report["slowest"].items()))
    again = sum(report["again"].values())
    told = f"{report['failed']} failed of {report['sent']} requests in {report['seconds']:.0f} s, {again} sent again; slowest: {slowest}"
    print(f"\n{told}\n{report['answers']}", file=sys.stderr)
    assert report["ended"] == "stop"
    assert report["failed"] == 0, f"{told}: {[failure['what'] for failure in report['failures'][:10]]}"
    assert report["answered"] == report["sent"]
    assert again <= report["sent"] / 500
    assert len(report["written"]) > 100
    entries = kept(visitors.word)
    assert sorted(text for text, picture in entries if not picture) == sorted(report["written"])
    assert sorted(text for text, picture in entries if picture) == sorted(report["uploaded"])
    keeper = "media1" if over_the_network(cluster["box1"]) else "box1"
    sums = cluster[keeper].check_output("cd /srv/media/guestbook/media && find . -type f -exec sha256sum {} +")
    there = {f"/media/{name[2:]}": content for content, name in (line.split("  ", 1) for line in sums.splitlines())}
    assert {path: there.get(path) for path in report["pictures"]} == report["pictures"]
