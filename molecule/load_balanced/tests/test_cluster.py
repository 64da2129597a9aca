"""What an administrator finds: records, plan, status and picture; TLS to the database; the shared folder; releases; caches."""

from __future__ import annotations

import json
import os
import re
import time
from xml.etree import ElementTree

import pytest
import yaml
from confined import confined
from conftest import HOSTS, INVENTORY, WEB

TIERS = {
    "load_balancer": ["lb1"],
    "web": WEB,
    "media": ["media1"],
    "memcached": ["cache1", "cache2"],
    "database": ["db1"],
}

CONNECT = """
import json, sys
import psycopg
for words in json.loads(sys.argv[1]):
    try:
        with psycopg.connect(connect_timeout=5, **words) as connection:
            print("in: " + connection.execute("select current_user").fetchone()[0])
    except psycopg.OperationalError as error:
        print(" ".join(str(error).split()))
"""


def database_of(host) -> dict:
    """Return what the guestbook on a web host knows of its database."""
    return json.loads(host.file("/srv/guestbook/current/settings.json").content_string)["database"]


@pytest.fixture(scope="module")
def knocked(cluster, addresses) -> dict[str, str]:
    """Ways in which a web host may try PostgreSQL past its pooler → who it is then, or why it is refused."""
    host = cluster["box1"]
    known = database_of(host)
    database = {"user": known["user"], "dbname": known["name"], "password": known["password"]}
    full = {"sslmode": "verify-full", "sslrootcert": "/etc/pgbouncer/ntier-authority.crt", "hostaddr": addresses["db1"]}
    ways = {
        "by address": {"host": addresses["db1"], **full},
        "by name": {"host": "db1", **full},
        "under another name": {"host": "cache1", **full},
        "with another authority": {"host": "db1", **full, "sslrootcert": "/run/other.crt"},
        "without TLS": {"host": addresses["db1"], "sslmode": "disable"},
        "to the neighbour's": {"host": addresses["db1"], "sslmode": "require", "dbname": "second"},
    }
    host.check_output(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=other -keyout /dev/null -out /run/other.crt"
    )
    words = json.dumps([{**database, **way} for way in ways.values()])
    answers = host.check_output("/srv/guestbook/current/venv/bin/python -c %s %s; rm /run/other.crt", CONNECT, words)
    return dict(zip(ways, answers.splitlines(), strict=True))


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_remembers_what_it_serves(cluster, name):
    """The file names cluster, figure, own tiers and all members, so that a vanished host is still known."""
    record = json.loads(cluster[name].file("/etc/ansible/facts.d/ntier.fact").content_string)
    assert record["cluster"] in (INVENTORY / "group_vars/ntier_secrets.yml").read_text()
    assert record["figure"] == "20-4"
    assert record["serves"] == [tier for tier, hosts in TIERS.items() if name in hosts]
    assert record["members"] == TIERS


@pytest.mark.parametrize("name", HOSTS)
def test_daemons_that_others_talk_to_are_confined(cluster, name):
    """All of them, from their first start on, whichever kernel the host has."""
    web = {"nginx.service", "pgbouncer.service"}
    cache = {"memcached.service"}
    expected = {"lb1": {"haproxy.service"}, "media1": {"nginx.service"}, "cache1": cache, "cache2": cache}
    expected |= {"box1": web, "web2": web}
    found = {re.sub("@.*-main", "", unit) for unit in confined(cluster[name])}
    assert found == {**expected, "db1": {"postgresql.service"}}[name]


def test_the_plan_tells_the_whole_cluster(playbook, addresses, topology):
    """Figure, each host with its tier and endpoint, each flow, and each host's memory; and it changes nothing."""
    done = playbook("plan")
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert "Figure 20-4: a balancer before a cluster of web hosts" in lines
    for tier, hosts in TIERS.items():
        port = topology["endpoints"][tier][0]["port"]
        for host in hosts:
            assert any(host in line.split() and f"{addresses[host]}:{port}" in line for line in lines), (tier, host)
    assert any(re.fullmatch(r"\s+web\s+→\s+media\s+port 2049 \(NFS\)", line) for line in lines), done.stdout
    assert any(re.fullmatch(r"\s+web\s+→\s+database\s+port 5432", line) for line in lines)
    memory = lines[lines.index("Memory, in MB") :]
    assert all(any(line.split()[:2] == [host, "2048"] for line in memory) for host in HOSTS), memory
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}


def test_the_status_tells_how_each_site_is(playbook, cluster):
    """Each site on each web host with its release and its health, and whether the databases fit their memory."""
    done = playbook("status")
    assert done.returncode == 0, done.stdout
    for site in ("guestbook", "second"):
        assert f"Site {site}  https://{site}.example.com/" in done.stdout
        release = cluster["box1"].file(f"/srv/{site}/current").linked_to.rsplit("/", 1)[1]
        for host in WEB:
            wanted = rf"{host}\s+release {re.escape(release)}\s+app ok, database ok, cache ok"
            assert re.search(wanted, done.stdout), done.stdout
    assert re.search(r"Database on db1\n\s+guestbook\s+\d+ MB\n\s+second\s+\d+ MB\n\s+All of it", done.stdout)


def test_the_diagram_draws_every_host(playbook, tmp_path):
    """An SVG that browsers read, with the hosts' names in it; drawn without asking any host."""
    file = tmp_path / "cluster.svg"
    done = playbook("diagram", "-e", f"diagram_file={file}")
    assert done.returncode == 0, done.stdout
    words = {text.strip() for text in ElementTree.parse(file).getroot().itertext()}
    assert set(HOSTS) <= words, words


def test_poolers_talk_to_the_database_by_tls(cluster, addresses, visit):
    """Every connection over the network is a web host's, is encrypted, and by a modern version."""
    for _page in range(4):
        assert visit().get("/").status_code == 200
    query = (
        "select distinct host(client_addr), ssl, version from pg_stat_ssl join pg_stat_activity using (pid)"
        " where client_addr is not null order by 1"
    )
    rows = cluster["db1"].check_output("runuser -u postgres -- psql -AtF' ' -c %s", query).splitlines()
    assert {row.split()[0] for row in rows} == {addresses[host] for host in WEB}
    assert {" ".join(row.split()[1:]) for row in rows} == {"t TLSv1.3"}


def test_a_site_sees_the_pooler_alone(cluster, addresses):
    """Its settings know the pooler of its own host; the pooler verifies the database in full."""
    for name in WEB:
        known = database_of(cluster[name])
        assert (known["host"], known["port"]) == ("127.0.0.1", 6432)
        pooler = cluster[name].file("/etc/pgbouncer/ntier.ini").content_string
        assert f"guestbook = host={addresses['db1']} port=5432" in pooler
        assert "server_tls_sslmode = verify-full" in pooler.splitlines()


def test_the_database_is_verified_in_full(knocked):
    """Its certificate is the authority's and for its address and its name; under another name nobody believes it."""
    assert knocked["by address"] == knocked["by name"] == "in: guestbook"
    assert "does not match host name" in knocked["under another name"]
    assert "certificate verify failed" in knocked["with another authority"]


def test_the_database_refuses_who_does_not_encrypt(knocked):
    """The right host with the right password is told that there is no way in without TLS."""
    assert "no pg_hba.conf entry" in knocked["without TLS"]
    assert "no encryption" in knocked["without TLS"]


def test_a_site_can_not_open_its_neighbours_database(knocked):
    """The right password does not help: PostgreSQL knows which role belongs to which database."""
    assert "no pg_hba.conf entry" in knocked["to the neighbour's"]


def test_the_database_refuses_who_is_no_web_host(cluster, addresses):
    """Even behind the firewall: a connection from the database's own address has no entry in pg_hba."""
    url = f"host={addresses['db1']} user=guestbook dbname=guestbook sslmode=require"
    answer = cluster["db1"].run("PGPASSWORD=%s psql -Atc 'select 1' %s", database_of(cluster["box1"])["password"], url)
    assert answer.rc != 0
    assert "no pg_hba.conf entry" in answer.stderr


@pytest.mark.parametrize("site", ["guestbook", "second"])
def test_the_release_is_the_same_on_every_web_host(cluster, site):
    """One name, the same packages, the same code."""
    found = {}
    for name in WEB:
        host = cluster[name]
        live = host.file(f"/srv/{site}/current").linked_to
        packages = host.check_output("ls -d %s/venv/lib/python3*/site-packages/*.dist-info", live).split()
        code = host.check_output("cd %s/project/ && find . -name '*.py' | sort | xargs sha256sum | sha256sum", live)
        found[name] = (live, sorted(os.path.basename(package) for package in packages), code)
    assert found["box1"] == found["web2"]
    assert len(found["box1"][1]) > 5


def test_the_uploads_are_shared_with_the_web_hosts_alone(cluster, addresses):
    """By NFS 4 with nothing that runs in it; nobody else is in the export, and root there is nobody."""
    exports = cluster["media1"].check_output("exportfs -v").split("/srv/media")[1:]
    assert {re.match(r"\s+([\d.]+)\(", entry).group(1) for entry in exports} == {addresses[host] for host in WEB}
    assert all("root_squash" in entry and "no_root_squash" not in entry for entry in exports)
    for name in WEB:
        host = cluster[name]
        host.check_output("ls /srv/media")  # mounted by the first look
        options = host.check_output("findmnt --noheadings --types nfs4 --output SOURCE,OPTIONS /srv/media").split()
        assert options[0] == f"{addresses['media1']}:/srv/media"
        assert {"rw", "hard", "vers=4.2", "nosuid", "nodev", "noexec"} <= set(options[1].split(","))
        assert "Permission denied" in host.run("touch /srv/media/guestbook/media/by-root").stderr
    for name in ("lb1", "cache1", "db1"):
        assert cluster[name].run("findmnt --types nfs4").stdout == ""


def test_a_site_writes_its_own_uploads_only(cluster):
    """Numbers decide with NFS: a site's user has the same one everywhere, and none of the other site's files."""
    for site in ("guestbook", "second"):
        numbers = {name: cluster[name].run("id -u %s", site).stdout.strip() for name in HOSTS}
        assert len({numbers[name] for name in (*WEB, "media1")}) == 1, numbers
        assert {number for number in numbers.values() if number} == {numbers["box1"]}, numbers
    host = cluster["box1"]
    host.check_output("runuser -u guestbook -- sh -c 'echo x > /srv/media/guestbook/media/probe'")
    try:
        assert cluster["media1"].file("/srv/media/guestbook/media/probe").user == "guestbook"
        assert "Permission denied" in host.run("runuser -u second -- cat /srv/media/guestbook/media/probe").stderr
        assert "Permission denied" in host.run("runuser -u second -- touch /srv/media/guestbook/media/mine").stderr
    finally:
        cluster["media1"].check_output("rm /srv/media/guestbook/media/probe")


def test_keys_are_spread_over_the_caches_alike_on_every_host(cluster, addresses):
    """What one web host wrote the other one finds, and each cache has about half of it."""

    def items(name):
        script = "import socket, sys; s = socket.create_connection((sys.argv[1], 11211), 5);"
        script += r" s.sendall(b'stats\r\nquit\r\n'); print(s.makefile().read())"
        text = cluster[name].check_output("python3 -c %s %s", script, addresses[name])
        return int(re.search(r"STAT curr_items (\d+)", text).group(1))

    name = f"probe-{time.time_ns()}"
    before = {cache: items(cache) for cache in ("cache1", "cache2")}
    script = f"from django.core.cache import cache; keys = ['{name}-%s' % number for number in range(200)];"
    script += " DO; print(len(cache.get_many(keys)))"
    write, read = (script.replace("DO", do) for do in ("cache.set_many(dict.fromkeys(keys, 1), 60)", "None"))
    assert cluster["box1"].check_output("ntier-manage guestbook shell -c %s | tail -1", write) == "200"
    assert cluster["web2"].check_output("ntier-manage guestbook shell -c %s | tail -1", read) == "200"
    grown = {cache: items(cache) - before[cache] for cache in before}
    assert min(grown.values()) > 60, grown


def test_secrets_are_kept_to_those_who_need_them(cluster):
    """The authority's key stays on the controller; a database's password is on the web hosts and nowhere else."""
    password = database_of(cluster["box1"])["password"]
    secrets = yaml.safe_load((INVENTORY / "group_vars/ntier_secrets.yml").read_text())
    authority_key = secrets["ntier_cluster"]["authority_key"].splitlines()[1]
    look = "grep -rlF -e %s -e %s /etc /root; journalctl --no-pager | grep -F -e %s -e %s; true"
    for name in HOSTS:
        found = cluster[name].check_output(look, *[password, authority_key] * 2).splitlines()
        assert found == (["/etc/pgbouncer/ntier-users.txt"] if name in WEB else []), name
    for path in (
        "ntier-certificates-own/guestbook.key",
        "ntier-certificates-own/guestbook.pem",
        "ntier-certificates/second.pem",
    ):
        entry = cluster["lb1"].file(f"/etc/haproxy/{path}")
        assert (entry.user, entry.group, entry.mode & 0o007) == ("root", "root", 0), path
