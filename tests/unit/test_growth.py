"""The figures and the chart of a walk from figure to figure."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import growth

BOX = {"box1": ["web", "media", "memcached", "database"]}
TWO = {"box1": ["web", "media", "memcached"], "db1": ["database"]}


@pytest.fixture
def walk():
    """Return a walk from figure 1 to 2 and back, the way back once killed: an answer every second of 10 ms, three others."""
    counted = {
        "rows_acknowledged": 5,
        "rows_found": 5,
        "uploads_acknowledged": 2,
        "uploads_found": 2,
        "sessions_lost": 0,
    }
    steps = [
        {"from": "nothing", "to": "20-1", "start": 900.0, "end": 999.0, "hosts": BOX, "killed": False},
        {"from": "20-1", "to": "20-2", "start": 1020.0, "end": 1040.0, "hosts": TWO, "killed": False, **counted},
        {"from": "20-2", "to": "20-1", "start": 1060.0, "end": 1065.0, "hosts": BOX, "killed": True, **counted},
        {"from": "20-2", "to": "20-1", "start": 1070.0, "end": 1090.0, "hosts": BOX, "killed": False, **counted},
    ]
    events = [[1000.5 + second, "page", "200", 10] for second in range(100)]
    events += [[1030.0, "entry", "302", 400], [1031.0, "page", "200", 900], [1075.0, "upload", "502", 700]]
    return {"steps": steps, "events": sorted(events), "failures": [{"when": 1075.0, "what": "502 instead of 302"}]}


def test_a_step_counts_until_the_next_one_begins(walk):
    steps = growth.summary(walk)
    assert [(step["from"], step["to"], step["killed"]) for step in steps] == [
        ("nothing", "20-1", False), ("20-1", "20-2", False), ("20-2", "20-1", True), ("20-2", "20-1", False),
    ]  # fmt: skip
    assert [step["requests"] for step in steps] == [20, 42, 10, 31]
    assert [step["failed"] for step in steps] == [0, 0, 0, 1]
    assert [step["seconds"] for step in steps] == [99, 20, 5, 20]
    assert "rows_found" not in steps[0]
    assert steps[1]["rows_found"] == 5


def test_the_wait_of_a_write_is_that_of_writes_alone(walk):
    steps = growth.summary(walk)
    assert [step["max_ms"] for step in steps] == [10, 900, 10, 700]
    assert [step["longest_write_pause_ms"] for step in steps] == [0, 400, 0, 700]
    assert [step["p50_ms"] for step in steps] == [10, 10, 10, 10]


def test_the_chart_says_whether_the_site_shrinks(walk):
    assert growth.did(walk) == "grows and shrinks"
    assert growth.did({"steps": walk["steps"][:2]}) == "grows"


def test_percentiles_are_values_that_were_seen():
    assert growth.percentile([3, 1, 2], 0.5) == 2
    assert growth.percentile(list(range(100)), 0.99) == 99
    assert growth.percentile([7], 0.99) == 7
    assert growth.percentile([], 0.5) == 0


def test_a_second_without_answers_is_one(walk):
    walk["events"] = [event for event in walk["events"] if not 1050 <= event[0] < 1053]
    each = growth.spans(walk)
    assert [row[0] for row in each] == list(range(100))
    assert [row[1] for row in each[49:53]] == [1, 0, 0, 0]
    assert [row[4] for row in each if row[4]] == [1]


def test_spans_of_several_seconds_have_answers_in_a_second_and_all_failures(walk):
    each, wide = growth.spans(walk), growth.spans(walk, 10)
    assert [row[0] for row in wide] == list(range(0, 100, 10))
    assert sum(row[1] for row in wide) * 10 == sum(row[1] for row in each)
    assert max(row[3] for row in wide) == max(row[3] for row in each)
    assert sum(row[4] for row in wide) == sum(row[4] for row in each)


def test_what_is_written(walk, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(growth, "FOLDER", tmp_path)
    (tmp_path / "walk.json").write_text(json.dumps(walk))
    growth.main()
    assert json.loads((tmp_path / "growth.json").read_text())["steps"] == growth.summary(walk)
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "growth.html").read_text()
    assert page.count("<tr>") == 5
    assert "20-2 → 20-1, cut off" in page
    assert "1 failed, longest write 700 ms" in capsys.readouterr().out


def test_without_a_walk_it_says_how_to_take_one(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "FOLDER", tmp_path)
    monkeypatch.setattr(growth, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="Run make grow"):
        growth.main()
