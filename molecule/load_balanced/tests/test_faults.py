"""What visitors see while something is broken, and that it all comes back by itself.

Every test breaks something under visitors who ask inside of the test network, mends it, and waits until the cluster is whole.
"""

from __future__ import annotations

import concurrent.futures
import re
import time

import pytest
import requests
from conftest import WEB, until

GUESTBOOK = "guestbook.example.com"


@pytest.fixture(autouse=True)
def whole(healed):
    """Begin and end with a cluster in which every server is up."""
    healed()
    yield
    healed(120)


def told(report: dict) -> str:
    """Return a report of visitors as an assertion's message."""
    asked = sum(report["answers"].values())
    return f"{len(report['failed'])} of {asked} requests failed, {report['answers']}: {report['failed'][:8]}"


def by_itself(cluster, name: str, unit: str) -> bool:
    """Tell whether a host that starts has a unit running."""
    return cluster[name].run("systemctl is-active %s", unit).stdout.strip() == "active"


def upload(visitor, picture, timeout: float = 60) -> requests.Response:
    """Write an entry with a picture."""
    files = {"picture": ("dot.png", picture, "image/png")}
    return visitor.submit(
        "/entries/new/", {"message": "With a picture"}, form="/statistics/", files=files, timeout=timeout
    )


def new_name(word: str) -> str:
    """Return a name that nobody has yet."""
    return f"{word}{time.time_ns()}"


def test_a_web_server_that_stops_fails_no_request(cluster, visitors, servers):
    """The other host answers meanwhile, and this one again afterwards."""
    box1 = cluster["box1"]
    try:
        with visitors() as report:
            box1.check_output("systemctl stop nginx")
            until(lambda: servers()["site_guestbook/box1"].startswith("DOWN"), 15, "nobody notices the fault")
            time.sleep(1)
            box1.check_output("systemctl start nginx")
            until(lambda: servers()["site_guestbook/box1"] == "UP", 15, "nobody notices that the host is back")
            time.sleep(3)
    finally:
        box1.check_output("systemctl start nginx")
    assert not report["failed"], told(report)
    assert set(report["hosts"]) == set(WEB), report
    assert sum(report["answers"].values()) > 50, told(report)


def test_an_app_server_that_stops_takes_one_site_off_one_host(cluster, visitors, servers):
    """No request of its site fails, and the other site does not notice at all."""
    box1 = cluster["box1"]
    try:
        with visitors() as report:
            box1.check_output("systemctl stop django@guestbook.socket django@guestbook.service")
            until(lambda: servers()["site_guestbook/box1"].startswith("DOWN"), 15, "nobody notices the fault")
            states = servers()
            time.sleep(1)
    finally:
        box1.check_output("systemctl start django@guestbook.socket")
    assert states["site_second/box1"] == states["site_guestbook/web2"] == states["media/media1"] == "UP"
    assert not report["failed"], told(report)
    until(lambda: by_itself(cluster, "box1", "django@guestbook"), 20, "the app server does not start with its socket")


def test_a_web_host_that_loses_its_power_comes_back_by_itself(cluster, docker, visitors, servers, visit):
    """Requests go to the other one, and those that were on their way are sent again."""
    cluster["box1"].check_output("sync")  # what Ansible wrote a moment ago is another matter
    try:
        with visitors(seconds=90) as report:
            docker("kill", "box1")
            until(lambda: servers()["site_guestbook/box1"].startswith("DOWN"), 20, "nobody notices the fault")
            time.sleep(3)
            docker("start", "box1")
            until(lambda: servers()["site_guestbook/box1"] == "UP", 60, "the host does not come back")
            time.sleep(3)
    finally:
        docker("start", "box1")
    assert not report["failed"], told(report)
    assert report["slowest"] < 20, report["slowest"]
    assert sum(report["answers"].values()) > 50, told(report)
    until(lambda: "box1" in visit().get("/").text.split('id="web-host">')[1][:10], 30, "no visitor gets to the host")


def test_a_dead_memcached_host_slows_nobody_down(cluster, docker, visitors, visit, health):
    """First one refuses, then the other does not even answer: no error page, still signed in, at most one time-out late.

    The time-outs are half a second, and a page asks for a session, a user's rows and nothing else.
    """
    name = new_name("ada")
    visitor = visit().sign_up(name)
    cookie = "; ".join(f"{entry.name}={entry.value}" for entry in visitor.session.cookies)
    with visitors(cookie=cookie, seconds=10) as usual:
        time.sleep(3)
    try:
        with visitors(cookie=cookie) as refusing:
            cluster["cache1"].check_output("systemctl stop memcached")
            time.sleep(4)
            assert f"Signed in as <strong>{name}</strong>" in visitor.get("/").text
            report = health("box1")
        with visitors(cookie=cookie) as silent:
            docker("pause", "cache2")
            time.sleep(4)
            assert f"Signed in as <strong>{name}</strong>" in visitor.get("/").text
            assert visitor.get("/statistics/").status_code == 200
            assert visit().sign_up(new_name("bea")).get("/").status_code == 200
    finally:
        cluster["cache1"].check_output("systemctl start memcached")
        docker("unpause", "cache2")
    for during in (usual, refusing, silent):
        assert not during["failed"], told(during)
        assert during["slowest"] < usual["slowest"] + 1.5, (usual["slowest"], refusing["slowest"], silent["slowest"])
    assert report[0] == 200
    assert report[1]["cache"].startswith("no answer from ")
    until(lambda: health("box1")[1]["cache"] == "ok", 15, "the caches are not used again")
    assert f"Signed in as <strong>{name}</strong>" in visitor.get("/").text


def below(cluster, name: str) -> str:
    """Return what is in the folder below a web host's mount."""
    script = "mkdir -p /run/below && mount --bind / /run/below && find /run/below/srv/media; umount /run/below"
    return cluster[name].check_output("unshare --mount sh -c %s", script).strip()


def test_pages_go_on_without_the_media_host(cluster, docker, visitors, visit, picture):
    """Files give an error within seconds; an upload waits, and is finished when the host is back."""
    visitor = visit().sign_up(new_name("eve"))
    page = upload(visitor, picture)
    image = re.search(r'src="(/media/pictures/[^"]+)"', visitor.get("/").text).group(1)
    assert page.status_code == 200
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            with visitors() as report:
                docker("pause", "media1")
                waiting = pool.submit(upload, visitor, picture)
                start = time.monotonic()
                answer = visit().get(image, timeout=60)
                took = time.monotonic() - start
                time.sleep(5)
                start = time.monotonic()
                later = visit().get(image, timeout=60)
                at_once = time.monotonic() - start
                assert not waiting.done(), waiting.result().text
        finally:
            docker("unpause", "media1")
        page = waiting.result()
    assert not report["failed"], told(report)
    assert (answer.status_code, later.status_code) == (503, 503)
    assert took < 15, took
    assert at_once < 1, at_once
    assert page.status_code == 200
    assert "Thank you for signing the guestbook!" in page.text
    newest = re.search(r'src="(/media/pictures/[^"]+)"', page.text).group(1)
    assert newest != image
    until(lambda: visit().get(newest).content == picture, 20, "the upload was lost")


def test_hosts_start_in_any_order(cluster, docker, visit, servers, picture):
    """A web host starts while the media host is off: it serves pages, refuses uploads, and takes them once that is back."""
    try:
        docker("stop", "media1")
        docker("restart", "web2")
        until(lambda: servers()["site_guestbook/web2"] == "UP", 60, "without uploads the web host does not start")
        cluster["box1"].check_output("systemctl stop nginx")  # so that web2 answers
        until(lambda: servers()["site_guestbook/box1"].startswith("DOWN"), 15, "nobody notices the fault")
        visitor = visit().sign_up(new_name("ina"))
        before = visitor.get("/").text.count("With a picture")
        answer = upload(visitor, picture)
        assert answer.status_code in (500, 503, 504), answer.text[:500]
        assert visitor.get("/").text.count("With a picture") == before
        until(lambda: below(cluster, "web2") == "/run/below/srv/media", 5, "something was written below the mount")
        docker("start", "media1")
        until(lambda: servers()["media/media1"] == "UP", 60, "the media host does not come back")
        page = until(
            lambda: (got := upload(visitor, picture)).status_code == 200 and got, 60, "uploads are refused for ever"
        )
        image = re.search(r'src="(/media/pictures/[^"]+)"', page.text).group(1)
        assert visit().get(image).content == picture
    finally:
        docker("start", "media1", "web2")
        cluster["box1"].check_output("systemctl start nginx")


def test_without_web_hosts_there_is_a_maintenance_page(cluster, visit, servers):
    """With 503 and a time to come back, of which search engines and programs know what it means; then the site is back."""
    try:
        for name in WEB:
            cluster[name].check_output("systemctl stop nginx")
        until(lambda: visit().get("/").status_code == 503, 20, "there is no maintenance page")
        for name in WEB:
            until(
                lambda name=name: servers()[f"site_guestbook/{name}"].startswith("DOWN"), 15, "nobody notices the fault"
            )
        start = time.monotonic()
        answer = visit().get("/statistics/")
        assert time.monotonic() - start < 3
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "30"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "Back in a moment" in answer.text
        assert visit().session.post(f"{visit().base}/", data={"a": "b"}, timeout=20).status_code == 503
        assert visit().get("/static/entries/style.css").status_code == 200  # the media host goes on
    finally:
        for name in WEB:
            cluster[name].check_output("systemctl start nginx")
    until(lambda: visit().get("/").status_code == 200, 20, "the site does not come back")


def test_a_stopped_database_is_told_and_comes_back_by_itself(cluster, visit, health, servers):
    """The health page names the part, visitors see the maintenance page, and nobody has to restart anything."""
    unit = cluster["db1"].check_output("systemctl list-units --plain --no-legend 'postgresql@*'").split()[0]
    name = new_name("kim")
    visitor = visit().sign_up(name)
    try:
        cluster["db1"].check_output("systemctl stop %s", unit)
        until(lambda: servers()["site_guestbook/box1"].startswith("DOWN"), 30, "nobody notices the fault")
        until(lambda: servers()["site_guestbook/web2"].startswith("DOWN"), 30, "nobody notices the fault")
        status, report = health("box1")
        assert status == 503
        assert report["app"] == "ok"
        assert report["database"] != "ok"
        answer = visit().get("/")
        assert answer.status_code == 503
        assert "Back in a moment" in answer.text
    finally:
        cluster["db1"].check_output("systemctl start %s", unit)
    until(lambda: visit().get("/").status_code == 200, 30, "the site does not find its database again")
    assert f"Signed in as <strong>{name}</strong>" in visitor.get("/").text


@pytest.mark.parametrize("names", [["lb1"], ["cache1", "cache2"], ["db1"]], ids=lambda names: names[0])
def test_a_restarted_host_serves_again(cluster, docker, visit, names):
    """With its firewall, and no unit that failed; the web and the media hosts are restarted above."""
    docker("restart", *names)
    until(lambda: visit().get("/", timeout=10).status_code == 200, 40, "the site does not come back")
    for name in names:
        until(lambda name=name: by_itself(cluster, name, "ntier-firewall"), 20, "the firewall does not come back")
        assert "policy drop" in cluster[name].check_output("nft list table inet ntier")
        assert cluster[name].check_output("systemctl --failed --plain --no-legend") == ""
