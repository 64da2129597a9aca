"""What PostgreSQL restarts for and whose clients wait then: as the plan says it beforehand, and as the roles are told."""

import pytest
from clusters import FIGURE_4, build, wired
from rendering import of, render, settings_in

from ansible_collections.ntier.django.plugins.module_utils import databases
from ansible_collections.ntier.django.plugins.plugin_utils import plan, restarts, sizing, wiring

SIZE = {"shared_buffers_mb": 634, "max_connections": 100}


def setting(shown, value=None, unit="", file="ntier.conf", default="", pending=""):
    found = {"shown": shown, "value": shown if value is None else value, "unit": unit, "file": file}
    return {**found, "default": default, "pending": pending}


#: What a server of the cluster reports.
FOUND = {
    "listen_addresses": setting("*"),
    "port": setting("5432"),
    "shared_buffers": setting("634MB", "81152", "8kB"),
    "max_connections": setting("100"),
    "wal_level": setting("replica"),
    "max_wal_senders": setting("10"),
    "max_replication_slots": setting("10"),
    "max_worker_processes": setting("8", file=""),
    "huge_pages": setting("try", file=""),
    "shared_preload_libraries": setting("", file=""),
    "hot_standby": setting("on", file=""),
}


def changes(found=None, size=None, **own):
    return restarts.changes({**FOUND, **(found or {})}, restarts.wanted({**SIZE, **(size or {})}, own))


@pytest.mark.parametrize(
    ("found", "own"),
    [
        ({}, {}),
        ({}, {"database_max_connections": 100, "database_listen_addresses": ["*"], "database_port": "5432"}),
        ({"shared_buffers": setting("1GB", "131072", "8kB")}, {"database_shared_buffers_mb": 1024}),
        ({}, {"database_settings": {"shared_buffers": "634MB", "hot_standby": True, "work_mem": "1GB"}}),
        ({}, {"database_settings": {"shared_buffers": 81152, "max_connections": "100", "huge_pages": "TRY"}}),
        ({}, {"database_settings": {"shared_preload_libraries": "", "hot_standby": "yes"}}),
        ({}, {"database_settings": None}),
        # Somebody's own file comes later than the role's, and says so already.
        ({"max_connections": setting("200", file="zz.conf")}, {}),
        ({"max_connections": setting("200", file="postgresql.auto.conf")}, {"database_max_connections": 130}),
    ],
)
def test_nothing_is_announced_where_nothing_changes(found, own):
    assert changes(found, **own) == []


@pytest.mark.parametrize(
    ("found", "size", "own", "expected"),
    [
        ({}, {"max_connections": 150}, {}, [("max_connections", "100", "150")]),
        ({}, {"shared_buffers_mb": 705}, {}, [("shared_buffers", "634MB", "705MB")]),
        ({}, {}, {"database_max_connections": 130}, [("max_connections", "100", "130")]),
        ({}, {"max_connections": 150}, {"database_max_connections": 100}, []),
        ({}, {}, {"database_listen_addresses": ["10.0.0.1", "::1"]}, [("listen_addresses", "*", "10.0.0.1,::1")]),
        (
            {},
            {},
            {"database_settings": {"shared_preload_libraries": "auto_explain", "hot_standby": False}},
            [("shared_preload_libraries", "", "auto_explain"), ("hot_standby", "on", "False")],
        ),
        # What a move has left is removed by the role.
        ({"max_connections": setting("150", file="ntier_standby.conf")}, {}, {}, [("max_connections", "150", "100")]),
        (
            {"max_worker_processes": setting("16", file="ntier_standby.conf", default="8")},
            {},
            {},
            [("max_worker_processes", "16", "8")],
        ),
        ({"max_worker_processes": setting("8", file="ntier_standby.conf", default="8")}, {}, {}, []),
        ({"wal_level": setting("logical", file="ntier_handover.conf")}, {}, {}, [("wal_level", "logical", "replica")]),
        # An earlier run has left the restart to this one, or somebody has changed a file of his own.
        ({"huge_pages": setting("try", file="zz.conf", pending="off")}, {}, {}, [("huge_pages", "try", "off")]),
        ({"max_connections": setting("200", file="zz.conf", pending="90")}, {}, {}, [("max_connections", "200", "90")]),
    ],
)
def test_what_a_restart_is_for_is_announced(found, size, own, expected):
    assert changes(found, size, **own) == expected


@of("database/postgresql.conf.j2")
def test_the_plan_knows_what_the_role_writes():
    own = {"max_worker_processes": 12, "shared_preload_libraries": "auto_explain"}
    settings = settings_in(render("database/postgresql.conf.j2", database_settings=own))
    size = sizing.size_host(4096, 2, ("web", "media", "memcached", "database"), sites=3)["database"]
    wanted = restarts.wanted(size, {"database_settings": own})
    assert {name: settings[name].strip("'") for name in wanted} == wanted


def test_growth_that_restarts_a_database_is_seen_in_the_sizes():
    """The fifth web host with one site, the third with two, the second with three; and memcached that leaves the box."""
    for sites, hosts in ((1, 5), (2, 3), (3, 2)):
        before, after = (
            sizing.size_host(4096, 2, ["database"], sites=sites, web_hosts=count)["database"]
            for count in (hosts - 1, hosts)
        )
        found = {**FOUND, "shared_buffers": setting("?", str(before["shared_buffers_mb"] * 128), "8kB")}
        assert restarts.changes(found, restarts.wanted(before, {})) == []
        assert restarts.changes(found, restarts.wanted(after, {})) == [("max_connections", "100", "150")]
    tiers = ("web", "media", "memcached", "database")
    before, after = (
        sizing.size_host(4096, 2, names)["database"] for names in (tiers, [t for t in tiers if t != "memcached"])
    )
    found = {**FOUND, "shared_buffers": setting("634MB", str(before["shared_buffers_mb"] * 128), "8kB")}
    assert restarts.changes(found, restarts.wanted(before, {})) == []
    assert restarts.changes(found, restarts.wanted(after, {})) == [("shared_buffers", "634MB", "705MB")]


def test_the_plan_says_who_waits():
    restarting = {"db1": [("max_connections", "100", "130"), ("shared_buffers", "634MB", "705MB")]}
    lines = plan.render(build(FIGURE_4), restarts=restarting, poolers=["box1", "web2"])
    start = lines.index("PostgreSQL restarts on db1")
    assert lines[start + 1 : start + 3] == [
        "  max_connections 100 → 130, shared_buffers 634MB → 705MB",
        "  Clients on box1 and web2 wait about a second",
    ]
    assert not [line for line in plan.render(build(FIGURE_4), poolers=["box1"]) if "restart" in line]


# --- whose clients wait -------------------------------------------------------------------------------------------


def test_who_may_have_clients_waits():
    """Also a host that leaves, and one that --limit leaves out; not one that is about to become a web host."""
    cluster = build(FIGURE_4)
    built = {"pgbouncer": [], "nginx": []}
    webs = cluster["tiers"]["web"]["hosts"]
    assert restarts.poolers(cluster, {}, dict.fromkeys(webs, built)) == webs
    assert restarts.poolers(cluster, {}, {webs[0]: built, webs[1]: {"nginx": []}}) == webs[:1]
    assert restarts.poolers(cluster, {}, {webs[0]: built}) == webs
    leaving = {"old": ["web", "media"], "lb1": ["load_balancer"]}
    assert restarts.poolers(cluster, leaving, {webs[0]: built, webs[1]: built, "old": built}) == [*webs, "old"]


def test_the_way_to_a_pgbouncer_is_open_for_the_database_host_alone_and_only_where_it_is_another():
    cluster = build(FIGURE_4)
    webs = cluster["tiers"]["web"]["hosts"]
    server = cluster["tiers"]["database"]["leader"]
    address = cluster["hosts"][server]["address"]
    rule = {"port": 6433, "protocol": "tcp", "sources": [address]}
    for host in cluster["hosts"]:
        assert wiring.restart_rules(cluster, host, webs) == ([rule] if host in webs else [])
    box = build()
    assert wiring.restart_rules(box, "box1", ["box1"]) == []
    assert wired(cluster, webs[0])["restart"]["source"] == {"name": server, "address": address, "port": 5432}
    # A new cluster has nobody who would wait.
    assert wired(cluster, webs[0])["restart"]["poolers"] == []
    assert wired(cluster, webs[0])["restart_rules"] == []


# --- what a host reports ------------------------------------------------------------------------------------------


def test_a_server_reports_its_settings(tmp_path):
    (tmp_path / "postmaster.pid").write_text("1\n/data\n0\n5432\n/run/postgresql\n*\n")
    row = ["shared_buffers", "128MB", "16384", "8kB", "/etc/postgresql/15/main/conf.d/ntier.conf", "16384", ""]
    found = databases.settings_of(lambda command, **more: (0, "\x1f".join(row) + "\n", ""), str(tmp_path))
    assert found == {"shared_buffers": setting("128MB", "16384", "8kB", default="16384")}
    assert databases.settings_of(lambda command, **more: (2, "", "no"), str(tmp_path)) == {}
    (tmp_path / "postmaster.pid").unlink()
    assert databases.settings_of(lambda command, **more: 1 / 0, str(tmp_path)) == {}
