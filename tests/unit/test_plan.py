"""The plan as a person reads it."""

import pytest
from clusters import FIGURE_3, FIGURE_4, MIXED, ONE_BOX, SHIPPED, a_site, build, inventory, shipped, three_sites

from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.plugin_utils.plan import render, table


def lines_of(cluster, memory_mb=2048):
    return render(cluster, {host: size_in(cluster, host, memory_mb, 2) for host in cluster["hosts"]})


@pytest.mark.parametrize("memory_mb", [2048, 65536])
@pytest.mark.parametrize("name", SHIPPED)
def test_no_line_is_wider_than_a_terminal(name, memory_mb):
    assert max(map(len, lines_of(shipped(name), memory_mb))) <= 110


def test_many_domains_make_the_plan_longer_but_not_wider():
    sites = [a_site(domains=[f"a-rather-long-name-{number}.example.com" for number in range(9)])]
    lines = lines_of(build(sites=sites))
    assert max(map(len, lines)) <= 110
    assert sum("a-rather-long-name" in line for line in lines) == 9


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_names_figure_tiers_hosts_addresses_and_sites(name):
    cluster = shipped(name)
    text = "\n".join(lines_of(cluster))
    assert text.startswith(f"Figure {cluster['figure']}: {cluster['figure_title']}\n")
    words = [*cluster["hosts"], "guestbook", "guestbook.example.com", "../../examples/guestbook"]
    for tier, entry in cluster["tiers"].items():
        assert (f"  {tier} " in text) == bool(entry["hosts"])
        words += [f"{endpoint['address']}:{endpoint['port']}" for endpoint in cluster["endpoints"][tier]]
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_every_host_has_a_row_with_its_memory(name):
    cluster = shipped(name)
    lines = lines_of(cluster)
    rows = [line.split() for line in lines[lines.index("Memory, in MB") :]]
    for host in cluster["hosts"]:
        assert [host, "2048", "160", "204"] in [row[:4] for row in rows]


def test_the_leader_is_marked_where_there_are_several_hosts():
    text = "\n".join(lines_of(build(FIGURE_4)))
    assert "web1 (leader)" in text
    assert "cache1 (leader)" in text
    assert text.count("(leader)") == 2


def test_hosts_that_shall_leave_are_named():
    assert any(line.split() == ["retired", "old1"] for line in render(build(inventory(ONE_BOX, retired=["old1"]))))


def test_what_is_switched_off_is_named():
    lines = render(build(inventory(ONE_BOX, retired=["old1"])), leaving={"old1": ["web", "memcached"]})
    assert lines[lines.index("Switched off") + 1].split(maxsplit=1) == ["old1", "web and memcached"]


def test_without_facts_there_is_no_memory_to_show():
    assert not any("Memory" in line for line in render(build()))


def test_the_plan_tells_how_much_of_the_caches_is_made_anew():
    change = {"from": ["c1", "c2"], "to": ["c2"], "lost": 0.5}
    lines = render(build(), caches=change)
    row = lines[lines.index("Moves") + 1]
    assert row.split() == [
        "memcached",
        "c1",
        "and",
        "c2",
        "→",
        "c2",
        "at",
        "once",
        "50%",
        "of",
        "what",
        "is",
        "cached",
        "is",
        "made",
        "anew",
    ]


def test_no_line_ends_in_spaces():
    for name in SHIPPED:
        assert [line for line in lines_of(shipped(name)) if line != line.rstrip()] == []


def test_every_kind_of_source_is_named_with_its_revision():
    sources = [{"git": "https://git.example.com/a.git", "version": "v1"}, {"path": "../b"}, {"package": "c==1.2"}]
    sites = [a_site(name, source=source) for name, source in zip("abc", sources, strict=True)]
    text = "\n".join(render(build(sites=sites)))
    assert "https://git.example.com/a.git at v1" in text
    assert "folder ../b" in text
    assert "package c==1.2" in text


def test_the_password_of_a_repository_is_not_in_the_plan():
    source = {"git": "https://me:hunter2@git.example.com/a.git", "version": "v1"}
    text = "\n".join(render(build(sites=[a_site("a", source=source)])))
    assert "https://***@git.example.com/a.git at v1" in text
    assert "hunter2" not in text


def ways_of(cluster):
    """Return who talks to whom as the plan says it: rows of words, and the ports as one."""
    lines = render(cluster)
    rows = lines[lines.index("Who talks to whom") + 1 :]
    return [tuple(row.split(maxsplit=3)) for row in rows]


WAYS = {
    "1-single-box": [
        ("everybody", "→", "web", "port 80"),
        ("web", "→", "media", "port 80"),
        ("web", "→", "memcached", "port 11211"),
        ("web", "→", "database", "port 5432"),
    ],
    "3-media": [
        ("everybody", "→", "web", "port 80"),
        ("web", "→", "media", "ports 80 and 2049 (NFS)"),
        ("web", "→", "memcached", "port 11211"),
        ("web", "→", "database", "port 5432"),
    ],
    "4-load-balanced": [
        ("everybody", "→", "load_balancer", "ports 80 and 443"),
        ("load_balancer", "→", "web", "port 80"),
        ("load_balancer", "→", "media", "port 80"),
        ("web", "→", "media", "port 2049 (NFS)"),
        ("web", "→", "memcached", "port 11211"),
        ("web", "→", "database", "port 5432"),
    ],
}


@pytest.mark.parametrize("name", SHIPPED)
def test_who_talks_to_whom_is_said_once_for_each_two_tiers(name):
    same = {"2-database": "1-single-box", "5-n-tier": "4-load-balanced"}
    assert ways_of(shipped(name)) == WAYS[same.get(name, name)]


def test_visitors_who_reach_the_media_themselves_are_in_the_plan():
    ways = ways_of(build(FIGURE_3, sites=[a_site(media_domain="media.example.com")]))
    assert ways[:3] == [
        ("everybody", "→", "web", "port 80"),
        ("everybody", "→", "media", "port 80"),
        ("web", "→", "media", "ports 80 and 2049 (NFS)"),
    ]


def test_a_way_with_three_ports():
    cluster = build({**FIGURE_4, "media": ["media1", "web1"]}, ports={"web": 8080, "media": 8081})
    assert ("load_balancer", "→", "media", "ports 8081 and 8080") in ways_of(cluster)


def test_the_software_of_a_tier_is_the_one_that_the_user_chose():
    lines = render(build(FIGURE_3, providers={"media": "lighttpd"}))
    assert [line.split()[:3] for line in lines if line.startswith("  media ")] == [["media", "media1", "lighttpd"]]


def test_two_balancers_are_named_with_the_port_that_visitors_use():
    lines = render(build(MIXED, {"lb1": {"ansible_host": "2001:db8::51"}, "lb2": {"ansible_host": "lb2.internal"}}))
    assert lines[3].split() == ["load_balancer", "lb1", "(leader)", "HAProxy", "[2001:db8::51]:443"]
    assert lines[4].split() == ["lb2", "lb2.internal:443"]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([], []),
        ([["a"]], ["  a"]),
        ([["a", "bb", 5], ["ccc", "", ""], ["", "d", "e"]], ["  a    bb  5", "  ccc", "       d   e"]),
    ],
)
def test_a_table_has_aligned_columns_and_no_spaces_at_the_end(rows, lines):
    assert table(rows) == lines


def test_the_plan_shows_ports_that_the_user_chose():
    ports = {"web": 8080, "media": 8081, "memcached": 11212, "database": 5433}
    cluster = build(hosts={"box1": {"ansible_host": "192.0.2.11"}}, sites=three_sites(), ports=ports)
    expected = ONE_BOX_PLAN.replace("11211", "11212").replace("5432", "5433")
    expected = expected.replace(".11:80\n", ".11:8080\n").replace("port 80\n", "port 8080\n")
    assert "\n".join(lines_of(cluster)) == expected
    assert expected.count("8080") == 4


def test_one_box_with_three_sites():
    assert (
        "\n".join(lines_of(build(hosts={"box1": {"ansible_host": "192.0.2.11"}}, sites=three_sites()))) == ONE_BOX_PLAN
    )


ONE_BOX_PLAN = """\
Figure 20-1: one box

Tiers
  web        box1  nginx + gunicorn + PgBouncer  192.0.2.11:80
  media      box1  nginx                         192.0.2.11:80
  memcached  box1  memcached                     127.0.0.1:11211
  database   box1  PostgreSQL                    127.0.0.1:5432

Sites
  blog   www.example.com       folder /src/blog
         example.com
  shop   www.example.com/shop  folder /src/shop
  diary  diary.example.com     folder /src/diary

Who talks to whom
  everybody  →  web        port 80
  web        →  media      port 80
  web        →  memcached  port 11211
  web        →  database   port 5432

Memory, in MB
  host  has   system  free  web  media  memcached  database
  box1  2048  160     204   757  84     168        673
  box1: shared_buffers 302, 100 connections; 1 worker of 4 threads for each site"""


def test_a_balanced_cluster():
    assert "\n".join(lines_of(shipped("4-load-balanced"))) == BALANCED_PLAN


BALANCED_PLAN = """\
Figure 20-4: a balancer before a cluster of web hosts

Tiers
  load_balancer  lb1              HAProxy                       192.0.2.51:443
  web            box1 (leader)    nginx + gunicorn + PgBouncer  192.0.2.11:80
                 web2                                           192.0.2.12:80
  media          media1           nginx                         192.0.2.31:80
  memcached      cache1 (leader)  memcached                     192.0.2.41:11211
                 cache2                                         192.0.2.42:11211
  database       db1              PostgreSQL                    192.0.2.21:5432

Sites
  guestbook  guestbook.example.com  folder ../../examples/guestbook

Who talks to whom
  everybody      →  load_balancer  ports 80 and 443
  load_balancer  →  web            port 80
  load_balancer  →  media          port 80
  web            →  media          port 2049 (NFS)
  web            →  memcached      port 11211
  web            →  database       port 5432

Memory, in MB
  host    has   system  free  load_balancer  web   media  memcached  database
  lb1     2048  160     204   1684           -     -      -          -
  box1    2048  160     204   -              1684  -      -          -
  web2    2048  160     204   -              1684  -      -          -
  media1  2048  160     204   -              -     1684   -          -
  cache1  2048  160     204   -              -     -      1684       -
  cache2  2048  160     204   -              -     -      1684       -
  db1     2048  160     204   -              -     -      -          1684
  box1: 3 workers of 4 threads for each site
  web2: 3 workers of 4 threads for each site
  db1: shared_buffers 505, 100 connections"""


@pytest.mark.parametrize(
    ("doors", "first", "then"),
    [
        (
            {"at": ["box1"], "to": ["lb1"], "passing": ["box1"], "begun": False, "staying": []},
            "  come to box1, which passes them on to lb1.",
            "  When DNS leads to lb1, write ntier_dns_leads_to: [lb1], and run site again.",
        ),
        (
            {"at": ["lb1"], "to": ["box1"], "passing": [], "begun": False, "staying": ["lb1"]},
            "  come to lb1, which stays in service.",
            "  When DNS leads to box1, write ntier_dns_leads_to: [box1], and run site again.",
        ),
    ],
)
def test_the_plan_says_who_answers_visitors_until_dns_leads_elsewhere(doors, first, then):
    lines = render(build(FIGURE_3 if doors["staying"] else FIGURE_4), doors=doors)
    start = lines.index("Visitors")
    end = ["  With lb1 TLS goes: from then on they come by http alone."] if doors["staying"] else []
    assert lines[start + 1 : lines.index("", start)] == [first, then, *end]
    assert "Visitors" not in render(build(FIGURE_4), doors={**doors, "at": doors["to"], "passing": [], "staying": []})
