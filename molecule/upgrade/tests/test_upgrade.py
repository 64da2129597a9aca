"""20-1 → 20-2, where the database's own host has a newer release of the system, with a newer PostgreSQL: rows move in the place of files."""

from __future__ import annotations

import json
import sys

import pytest

#: How long a write may wait, in milliseconds, on a machine that does something else as well.
PAUSE = 10_000
ASKED = ["--extra-vars", json.dumps({"handover_logical": True})]

#: A database of the user's own beside the sites', with what a copy of rows would leave behind.
BELONGINGS = """
CREATE ROLE keeper LOGIN PASSWORD 'known' CONNECTION LIMIT 7;
CREATE DATABASE belongings OWNER keeper;
\\connect belongings
CREATE EXTENSION pg_trgm;
CREATE SCHEMA loft AUTHORIZATION keeper;
CREATE SEQUENCE loft.turns START 40;
SELECT nextval('loft.turns');
CREATE TABLE loft.boxes (number serial PRIMARY KEY, label text, weight int GENERATED ALWAYS AS (length(label)) STORED);
CREATE TABLE loft.notes (words text);
ALTER TABLE loft.notes REPLICA IDENTITY FULL;
INSERT INTO loft.boxes (label) SELECT 'box ' || number FROM generate_series(1, 5000) number;
INSERT INTO loft.notes VALUES ('kept');
CREATE MATERIALIZED VIEW loft.heavy AS SELECT count(*) AS boxes FROM loft.boxes;
CREATE FUNCTION loft.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END';
CREATE TRIGGER refuse BEFORE INSERT ON loft.boxes FOR EACH ROW EXECUTE FUNCTION loft.refuse();
ALTER TABLE loft.boxes ENABLE ROW LEVEL SECURITY;
ALTER DATABASE belongings SET work_mem = '3MB';
"""
LOOK = """
SELECT rolpassword, rolconnlimit FROM pg_authid WHERE rolname = 'keeper';
SELECT extname FROM pg_extension ORDER BY 1;
SELECT last_value, current_setting('work_mem') FROM loft.turns;
SELECT max(number), count(*), sum(weight), md5(string_agg(label, ',' ORDER BY number)) FROM loft.boxes;
SELECT words, boxes FROM loft.notes, loft.heavy;
SELECT last_value, is_called FROM loft.boxes_number_seq;
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal;
SELECT rolname, rolpassword FROM pg_authid WHERE rolname !~ '^pg_' AND rolname <> 'ntier_handover' ORDER BY 1;
SELECT datname, pg_get_userbyid(datdba), datcollate FROM pg_database ORDER BY 1;
"""


def belongings(host, sql: str, database: str = "belongings") -> str:
    """Return what PostgreSQL's superuser is answered on a host."""
    return host.check_output("printf %s | runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 -d %s", sql, database)


def version(host) -> str:
    """Return the major version of the server on a host."""
    return host.check_output("runuser -u postgres -- psql -qAtX -c 'SHOW server_version'").split(".")[0]


def test_figure_1_is_built(site, primaries):
    """From hosts on which nothing is."""
    done = site("1")
    assert done.code == 0, done.output
    assert primaries() == ["box1"]


def test_files_that_the_other_version_can_not_read_do_not_move(unnoticed, site, primaries, cluster):
    """Rows move where somebody asks for it."""
    belongings(cluster["box1"], BELONGINGS, "postgres")
    done = site("2")
    assert done.code != 0, done.output
    assert "host db1: has PostgreSQL 17, and box1 has 15, whose data it can't read. " in done.words
    assert "set handover_logical: true" in done.words
    assert set(done.changed().values()) == {0}, done.output
    assert primaries() == ["box1"]


@pytest.mark.long
def test_what_rows_would_leave_behind_is_refused(unnoticed, site, cluster, primaries):
    """Large objects, and tables whose rows can't be told apart: nothing has moved, nobody has waited."""
    box = cluster["box1"]
    belongings(
        box,
        "CREATE TABLE loft.twins (name text); CREATE UNLOGGED TABLE loft.dust (n int PRIMARY KEY); SELECT lo_create(7)",
    )
    belongings(box, "CREATE DATABASE mould IS_TEMPLATE true", "postgres")
    done = site("2", *ASKED)
    assert done.code != 0, done.output
    for sentence in (
        "host box1: the tables loft.twins of the database belongings have no primary key",
        "host box1: the tables loft.dust of the database belongings are UNLOGGED",
        "host box1: the database belongings has 1 large objects",
        "host box1: the databases mould are templates or let nobody in",
    ):
        assert sentence in done.words, done.output
    assert primaries() == ["box1"]
    belongings(box, "DROP TABLE loft.twins, loft.dust; SELECT lo_unlink(7)")
    belongings(box, "ALTER DATABASE mould IS_TEMPLATE false", "postgres")


#: Tasks at which a run ends that somebody kills.
STEPS = [
    "publish | Publish every table",
    "target | Copy the data while the sites go on, and follow what changes",
    "run | Hand the database over",
]


def takes_rows(cluster, primaries) -> list[str]:
    """Return the hosts whose PostgreSQL takes the site's rows from clients, which is none that follows another's."""
    follows = "grep -qsv promoted /var/lib/postgresql/*/main/ntier-follows"
    return [name for name in primaries() if cluster[name].run(follows).rc != 0]


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS)
def test_nobody_notices_a_run_that_is_killed(unnoticed, site, primaries, cluster, step):
    """The next one finishes it, or systemd does."""
    done = site("2", *ASKED, until=step)
    assert done.code == -9, done.output
    assert len(takes_rows(cluster, primaries)) <= 1


def test_the_rows_move_to_a_newer_release(unnoticed, site, primaries, cluster):
    """With roles, definitions and sequences; the old server can't start any more."""
    before = belongings(cluster["box1"], LOOK) if primaries() == ["box1"] else ""
    start = unnoticed.clock()
    done = site("2", *ASKED)
    assert done.code == 0, done.output
    assert primaries() == ["db1"]
    assert version(cluster["db1"]) == "17"
    after = belongings(cluster["db1"], LOOK)
    assert "40|3MB" in after
    assert "5000|5000|" in after
    assert before in ("", after)
    for left in (
        "pg_subscription",
        "pg_replication_slots",
        "pg_publication",
        "pg_namespace WHERE nspname = 'ntier_handover'",
    ):
        assert belongings(cluster["db1"], f"SELECT count(*) FROM {left}") == "0"
    assert not cluster["box1"].run("pgrep -x postgres").stdout
    longest = max(
        took for _at, kind, _status, took in unnoticed.events(start) if kind in ("entry", "upload", "sign up")
    )
    print(f"longest write {longest} ms", file=sys.stderr)
    assert longest < PAUSE


def test_the_next_run_changes_nothing(unnoticed, site):
    """It may ask for rows still."""
    done = site("2", *ASKED)
    assert done.code == 0, done.output
    assert set(done.changed().values()) == {0}, done.output


def test_nobody_has_noticed(visitors, kept):
    """No request failed, each was answered, and every row is there once."""
    report = visitors.stop()
    told = f"{report['failed']} failed of {report['sent']} requests in {report['seconds']:.0f} s; slowest: {report['slowest']}"
    print(f"\n{told}", file=sys.stderr)
    assert report["failed"] == 0, f"{told}: {[failure['what'] for failure in report['failures'][:10]]}"
    assert report["answered"] == report["sent"]
    assert len(report["written"]) > 100
    entries = kept(visitors.word)
    assert sorted(text for text, picture in entries if not picture) == sorted(report["written"])
    assert sorted(text for text, picture in entries if picture) == sorted(report["uploaded"])
