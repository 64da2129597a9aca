"""The plan as a person reads it."""

import pytest
from clusters import FIGURE_4, ONE_BOX, a_site, build, inventory, shipped, three_sites

from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.plugin_utils.plan import render

NAMES = ["1-single-box", "2-database", "3-media", "4-load-balanced", "5-n-tier"]


def lines_of(cluster, memory_mb=2048):
    return render(cluster, {host: size_in(cluster, host, memory_mb, 2) for host in cluster["hosts"]})


@pytest.mark.parametrize("memory_mb", [2048, 65536])
@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_wider_than_a_terminal(name, memory_mb):
    assert max(map(len, lines_of(shipped(name), memory_mb))) <= 110


def test_many_domains_make_the_plan_longer_but_not_wider():
    sites = [a_site(domains=[f"a-rather-long-name-{number}.example.com" for number in range(9)])]
    lines = lines_of(build(sites=sites))
    assert max(map(len, lines)) <= 110
    assert sum("a-rather-long-name" in line for line in lines) == 9


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_names_figure_tiers_hosts_addresses_and_sites(name):
    cluster = shipped(name)
    text = "\n".join(lines_of(cluster))
    assert text.startswith(f"Figure {cluster['figure']}: {cluster['figure_title']}\n")
    words = [*cluster["hosts"], "guestbook", "guestbook.example.com", "../../examples/guestbook"]
    for tier, entry in cluster["tiers"].items():
        assert (f"  {tier} " in text) == bool(entry["hosts"])
        words += [f"{endpoint['address']}:{endpoint['port']}" for endpoint in cluster["endpoints"][tier]]
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize("name", NAMES)
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


def test_without_facts_there_is_no_memory_to_show():
    assert not any("Memory" in line for line in render(build()))


def test_no_line_ends_in_spaces():
    for name in NAMES:
        assert [line for line in lines_of(shipped(name)) if line != line.rstrip()] == []


def test_every_kind_of_source_is_named_with_its_revision():
    sources = [{"git": "https://git.example.com/a.git", "version": "v1"}, {"path": "../b"}, {"package": "c==1.2"}]
    sites = [a_site(name, source=source) for name, source in zip("abc", sources, strict=True)]
    text = "\n".join(render(build(sites=sites)))
    assert "https://git.example.com/a.git at v1" in text
    assert "folder ../b" in text
    assert "package c==1.2" in text


def test_the_plan_shows_ports_that_the_user_chose():
    ports = {"web": 8080, "media": 8080, "memcached": 11212, "database": 5433}
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
