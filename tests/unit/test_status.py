"""How a running cluster is, as a person reads it."""

import pytest
from clusters import FIGURE_4, ONE_BOX, ROOT, SHIPPED, a_site, build, shipped
from test_preflight import Run, tiers

from ansible_collections.ntier.django.plugins.action.status import _health, _units
from ansible_collections.ntier.django.plugins.plugin_utils.status import render

MB = 2**20
WELL = {"app": "ok", "database": "ok", "cache": "ok"}
WELL_SAID = "app ok, database ok, cache ok"


def health_of(cluster, answer=None, release="20261122T101500-abc"):
    """Return the same answer for every site of every web host."""
    return {
        host: {
            site["name"]: {"release": release, "answer": WELL if answer is None else answer}
            for site in cluster["sites"]
        }
        for host in cluster["tiers"]["web"]["hosts"]
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_web_host_has_a_row_for_each_site(name):
    cluster = shipped(name)
    lines = render(cluster, health_of(cluster), {})
    assert lines[0] == f"Figure {cluster['figure']}: {cluster['figure_title']}"
    scheme = "https" if name in ("4-load-balanced", "5-n-tier") else "http"
    assert lines[1:3] == ["", f"Site guestbook  {scheme}://guestbook.example.com/"]
    assert lines[3:] == [
        f"  {host}  release 20261122T101500-abc  {WELL_SAID}" for host in cluster["tiers"]["web"]["hosts"]
    ]


def test_the_address_of_a_site_has_its_prefix():
    lines = render(build(FIGURE_4, sites=[a_site(prefix="/shop")]), {}, {})
    assert "Site blog  https://blog.example.com/shop/" in lines


@pytest.mark.parametrize(
    ("found", "row"),
    [
        (
            {"release": "1-a", "answer": {**WELL, "database": "OperationalError: no connection"}},
            "  box1  release 1-a  app ok, database OperationalError: no connection, cache ok",
        ),
        # The order is that of a request's way, whatever the page's own.
        ({"release": "1-a", "answer": {"cache": "TimeoutError", "app": "ok"}}, "  box1  release 1-a  app ok, cache TimeoutError"),
        ({"release": "", "answer": "Request failed: refused"}, "  box1  no live release  Request failed: refused"),
        ({"answer": WELL}, f"  box1  no live release  {WELL_SAID}"),
        (None, "  box1  not asked"),
    ],
)  # fmt: skip
def test_what_a_web_host_answered(found, row):
    assert render(build(), {"box1": {"blog": found}} if found else {}, {})[3:] == [row]


def test_hosts_that_were_not_asked_are_said_to_be():
    cluster = build(FIGURE_4, sites=[a_site(), a_site("shop")])
    health = health_of(cluster)
    del health["web2"], health["web1"]["shop"]
    lines = render(cluster, health, {})
    assert [line for line in lines if "not asked" in line] == [
        "  web2  not asked",
        "  web1  not asked",
        "  web2  not asked",
    ]
    assert lines == [line.rstrip() for line in lines]


def database(memory_mb, **sizes_mb):
    """Return what a database host answered."""
    return {"db1": {"sizes": {name: size * MB for name, size in sizes_mb.items()}, "memory": memory_mb * MB}}


def test_databases_that_fit_their_memory_are_said_to():
    lines = render(build(FIGURE_4), {}, database(2000, blog=1200, shop=800))
    assert lines[-4:] == [
        "Database on db1",
        "  blog  1200 MB",
        "  shop  800 MB",
        "  All of it, 2000 MB, fits the 2000 MB of memory that PostgreSQL has for it: pages are read from memory.",
    ]


def test_databases_that_dont_fit_their_memory_are_told_how_much_lacks():
    lines = render(build(FIGURE_4), {}, database(1000, blog=1200, shop=800))
    assert lines[-1] == (
        "  It is 2000 MB and does not fit the 1000 MB of memory that PostgreSQL has for it: what is asked for seldom is read from disk."
        " Give the host about 1250 MB more, or a larger share (ntier_memory_shares)."
    )


def test_a_byte_too_much_does_not_fit():
    found = database(1, blog=1)
    assert "  All of it, 1 MB, fits the 1 MB of" in render(build(), {}, found)[-1]
    found["db1"]["sizes"]["blog"] += 1
    assert "  It is 2 MB and does not fit the 1 MB of" in render(build(), {}, found)[-1]


def test_without_an_answer_of_the_databases_nothing_is_said_of_them():
    assert not any("Database" in line for line in render(build(), health_of(build()), {}))


@pytest.mark.parametrize(
    ("item", "answer"),
    [
        ({"json": WELL, "status": 200}, WELL),
        ({"json": {**WELL, "app": "broken"}, "status": 503, "msg": "HTTP Error 503"}, {**WELL, "app": "broken"}),
        ({"status": -1, "msg": "Request failed: no such file"}, "Request failed: no such file"),
        ({"status": 200, "json": ["a"], "msg": "OK (5 bytes)"}, "OK (5 bytes)"),
        ({}, "no answer"),
    ],
)
def test_the_answer_of_a_health_page(item, answer):
    assert _health(item) == {"answer": WELL if answer is None else answer}


# --- background work ----------------------------------------------------------------------------------------------

PROCESSES = [
    {"name": "worker", "command": "celery -A blog worker", "count": 2},
    {"name": "clear", "command": "manage.py clearsessions", "schedule": "daily"},
]
#: What systemctl lists when all is well.
LISTED = """\
django-blog-clear.service    loaded inactive   dead         Django site blog: clear
django-blog-worker@1.service loaded active     running      Django site blog: worker 1
django-blog-worker@2.service loaded active     running      Django site blog: worker 2
django-blog-clear.timer      loaded active     waiting      Django site blog: when clear runs
"""


def work_of(listed, groups=None, **more):
    """Return the lines about background work."""
    cluster = build(groups or ONE_BOX, sites=[a_site(processes=PROCESSES)])
    units = {host: _units(text.splitlines()) for host, text in {"box1": listed, **more}.items()}
    lines = render(cluster, health_of(cluster), {}, units)
    return lines[lines.index("  Background work") + 1 :]


def test_background_work_that_runs_is_said_to():
    assert work_of(LISTED) == ["    clear   box1  daily", "    worker  box1  2 of 2 running"]


def test_a_timer_whose_command_runs_right_now_is_well():
    assert work_of(LISTED.replace("waiting", "running"))[0] == "    clear   box1  daily"


def test_what_does_not_run_is_named():
    listed = LISTED.replace("active     running      Django site blog: worker 2", "activating auto-restart Django site")
    listed = listed.replace("inactive   dead", "failed failed")
    assert work_of(listed) == [
        "    clear   box1  daily; the last run failed: journalctl -u django-blog-clear.service",
        "    worker  box1  1 of 2 running; django-blog-worker@2.service is activating (auto-restart)",
    ]
    assert work_of("") == [
        "    clear   box1  daily; django-blog-clear.timer is not there",
        "    worker  box1  0 of 2 running; django-blog-worker@1.service is not there; django-blog-worker@2.service is not there",
    ]


def test_a_host_is_asked_for_what_it_shall_run():
    web2 = "".join(line for line in LISTED.splitlines(keepends=True) if "worker" in line)
    assert work_of(LISTED, FIGURE_4, web2=web2) == [
        "    clear   web1  not asked",
        "    worker  web1  not asked",
        "    worker  web2  2 of 2 running",
    ]


def test_a_site_without_background_work_has_no_line_about_it():
    assert "  Background work" not in render(build(), {}, {}, {"box1": {}})


# --- a run --------------------------------------------------------------------------------------------------------

#: What the hosts would have answered.
ANSWERS = {
    "__ntier_health": {
        "results": [
            {"__ntier_site": {"name": "blog"}, "json": WELL, "status": 200},
            {"__ntier_site": {"name": "shop"}, "status": -1, "msg": "Request failed: refused"},
        ]
    },
    "__ntier_live": {
        "results": [
            {"__ntier_site": {"name": "blog"}, "stat": {"exists": True, "lnk_source": "/srv/blog/releases/7-abc"}},
            {"__ntier_site": {"name": "shop"}, "stat": {"exists": False}},
        ]
    },
    "__ntier_units": {"stdout_lines": LISTED.splitlines()},
    "__ntier_databases": {
        "query_result": [
            {"name": "blog", "size": 300 * MB, "memory": 900 * MB},
            {"name": "shop", "size": 8 * MB, "memory": 900 * MB},
        ]
    },
}


def test_the_answers_of_the_hosts_reach_the_person(tmp_path):
    play = {
        "hosts": "all",
        "gather_facts": False,
        "vars_files": [str(ROOT / "playbooks/group_vars/all.yml")],
        "tasks": [{"ansible.builtin.set_fact": ANSWERS}, {"ntier.django.status": None, "run_once": True}],
    }
    run = Run(
        [play],
        tiers(ONE_BOX),
        {"inventory/group_vars/all.yml": {"ntier_sites": [a_site(processes=PROCESSES), a_site("shop")]}},
    )
    run.start(tmp_path)
    run.finish()
    assert run.code == 0, run.text
    lines = [line.rstrip() for line in run.text.splitlines()]
    first = lines.index("Figure 20-1: one box")
    assert lines[first : first + 15] == [
        "Figure 20-1: one box",
        "",
        "Site blog  http://blog.example.com/",
        f"  box1  release 7-abc  {WELL_SAID}",
        "  Background work",
        "    clear   box1  daily",
        "    worker  box1  2 of 2 running",
        "",
        "Site shop  http://shop.example.com/",
        "  box1  no live release  Request failed: refused",
        "",
        "Database on box1",
        "  blog  300 MB",
        "  shop  8 MB",
        "  All of it, 308 MB, fits the 900 MB of memory that PostgreSQL has for it: pages are read from memory.",
    ]
    assert "changed=0" in run.text
