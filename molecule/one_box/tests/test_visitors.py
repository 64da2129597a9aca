"""What visitors of the three sites on one box see."""

from __future__ import annotations

import re
import time

import pytest
from conftest import PASSWORD


def sign_up(browser, name):
    """Sign a new visitor up, which also signs in."""
    page = browser.submit("/sign-up/", {"username": name, "password1": PASSWORD, "password2": PASSWORD})
    assert f"Signed in as <strong>{name}</strong>" in page.text
    return browser


def test_an_entry_with_a_picture_outlives_a_restart_of_the_host(visit, restart, picture):
    """Sign up, sign out, sign in, write with a picture, read it back; restart the host: all is there, and one is signed in."""
    name = f"ada{time.time_ns()}"
    browser = sign_up(visit(), name)
    browser.submit("/accounts/logout/", {}, form="/")
    assert "Signed in" not in browser.get("/").text
    page = browser.submit("/accounts/login/", {"username": name, "password": PASSWORD})
    assert f"Signed in as <strong>{name}</strong>" in page.text

    text = f"Hello from {name}, with an umlaut: ü"
    files = {"picture": ("dot.png", picture, "image/png")}
    page = browser.submit("/entries/new/", {"message": text}, form="/", files=files)
    assert text in page.text
    image = re.search(r'src="(/media/pictures/[^"]+)"', page.text).group(1)
    assert browser.get(image).content == picture

    restart()

    page = browser.get("/")
    assert text in page.text
    assert f"Signed in as <strong>{name}</strong>" in page.text
    assert browser.get(image).content == picture


def test_the_statistics_come_from_the_cache(visit):
    """Two visitors see statistics that were computed once."""
    stamps = {
        re.search(r'id="stat-computed"[^>]*datetime="([^"]+)"', visit().get("/statistics/").text).group(1)
        for _visitor in range(2)
    }
    assert len(stamps) == 1


def test_the_site_knows_who_answered(visit):
    """Web host, database and cache are the box's own, and the visitor's address is not lost on the way."""
    answer = visit().get("/server/?format=json").json()
    assert answer["web"]["host"] == "box1"
    assert answer["database"]["vendor"] == "postgresql"
    assert answer["database"]["name"] == "guestbook"
    assert answer["cache"]["backend"].endswith("PyMemcacheCache")
    assert answer["cache"]["servers"] == ["127.0.0.1:11211"]
    assert answer["cache"]["ok"] is True
    assert answer["request"]["host"] == "guestbook.example.com"
    assert answer["request"]["remote_addr"].startswith("10.")


def test_the_project_of_startproject_lets_an_administrator_in(visit, box):
    """A project that nobody touched has its admin, with styles, and somebody made by ntier-manage can sign in."""
    box.check_output(
        "DJANGO_SUPERUSER_PASSWORD=%s ntier-manage plain shell -c %s",
        PASSWORD,
        "import os; from django.contrib.auth.models import User;"
        " User.objects.filter(username='boss').exists() or User.objects.create_superuser('boss', '', os.environ['DJANGO_SUPERUSER_PASSWORD'])",
    )
    browser = visit("plain.example.com")
    page = browser.submit("/admin/login/?next=/admin/", {"username": "boss", "password": PASSWORD})
    assert "Site administration" in page.text
    style = re.search(r'href="(/static/admin/css/base\.[0-9a-f]{12}\.css)"', page.text).group(1)
    assert browser.get(style).headers["Content-Type"] == "text/css"


def test_a_site_below_a_prefix_knows_its_place(visit):
    """Links, static files, redirects to the sign-in page and cookies of /shop all stay below /shop."""
    browser = visit()
    answer = browser.get("/shop").json()
    assert answer["path"] == "/shop/"
    assert answer["script_name"] == "/shop"
    assert answer["path_info"] == "/"
    assert answer["admin"] == "/shop/admin/"
    assert browser.get(answer["static"]).status_code == 200

    redirect = browser.session.get(f"{browser.base}/shop/private/", allow_redirects=False)
    assert redirect.headers["Location"].startswith("/shop/accounts/login/?next=/shop/private/")
    login = browser.get("/shop/admin/login/")
    assert login.status_code == 200
    cookies = [cookie for cookie in browser.session.cookies if cookie.path.startswith("/shop")]
    assert [cookie.name for cookie in cookies] == ["shop_csrftoken"]


def test_environment_variables_arrive_as_they_were_written(visit):
    """Quotes, dollars, backslashes and percent signs survive systemd and ntier-manage alike."""
    assert visit().get("/shop/").json()["greeting"] == 'Good "day", $HOME \\ 100 %'


def test_sites_on_one_domain_do_not_sign_each_other_out(visit, box):
    """A visitor who is signed in at the guestbook signs in at the shop's admin, and is signed in at both."""
    box.check_output(
        "ntier-manage shop shell -c %s",
        "from django.contrib.auth.models import User;"
        f" User.objects.filter(username='clerk').exists() or User.objects.create_superuser('clerk', '', '{PASSWORD}')",
    )
    name = f"eve{time.time_ns()}"
    browser = sign_up(visit(), name)
    page = browser.submit("/shop/admin/login/?next=/shop/admin/", {"username": "clerk", "password": PASSWORD})
    assert "Site administration" in page.text
    assert f"Signed in as <strong>{name}</strong>" in browser.get("/").text
    assert "Site administration" in browser.get("/shop/admin/").text


def test_hashed_static_files_are_kept_for_ever_and_compressed(visit):
    """The page names a style sheet with a hash, which browsers may keep; the unhashed name is asked for again soon."""
    browser = visit()
    style = re.search(r'href="(/static/entries/style\.[0-9a-f]{12}\.css)"', browser.get("/").text).group(1)
    answer = browser.get(style)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert browser.get("/static/entries/style.css").headers["Cache-Control"] == "public, max-age=300"


def test_uploads_are_shown_and_never_run(visit, box):
    """A page that somebody managed to upload can't run scripts in another visitor's browser; folders are not listed."""
    box.check_output(
        "runuser -u guestbook -- sh -c 'echo \"<script>1</script>\" > /srv/media/guestbook/media/evil.html; chmod 644 /srv/media/guestbook/media/evil.html'"
    )
    answer = visit().get("/media/evil.html")
    assert answer.status_code == 200
    assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert visit().get("/media/").status_code == 404


@pytest.mark.parametrize("path", ["/", "/shop/", "/accounts/login/"])
def test_security_headers_are_sent_once(visit, path):
    """Each header stands in every answer, once, whether Django or nginx has set it."""
    browser = visit()
    answer = browser.session.get(browser.base + path, stream=True)
    names = [name.lower() for name in answer.raw.headers]
    for header in ("x-content-type-options", "referrer-policy", "x-frame-options"):
        assert names.count(header) == 1, f"{header} in {names}"


def test_an_upload_over_the_limit_is_refused(visit):
    """More than upload_limit_mb is refused by nginx; the app server never sees it."""
    answer = visit().session.post(f"{visit().base}/", data=b"x" * (21 << 20), timeout=60)
    assert answer.status_code == 413


@pytest.mark.parametrize("domain", ["nobody.example.com", "10.203.2.11", "example.com"])
def test_other_names_are_not_answered(visit, domain):
    """A name that no site has gets no site's page."""
    assert visit(domain).get("/").status_code == 421


def test_anonymous_pages_come_from_nginx_for_a_second(visit):
    """With anonymous_cache_seconds visitors without a cookie share an answer; one with a cookie gets a fresh one."""
    browser = visit()
    time.sleep(2.5)  # nginx counts in whole seconds
    first, second = browser.get("/shop/"), browser.get("/shop/")
    assert first.headers["X-Cache"] in ("MISS", "EXPIRED")
    assert second.headers["X-Cache"] == "HIT"
    assert first.json()["time"] == second.json()["time"]
    signed_in = browser.get("/shop/", headers={"Cookie": "shop_sessionid=x"})
    assert signed_in.json()["time"] != first.json()["time"]
    assert "X-Cache" not in browser.get("/").headers


LOAD = """
import http.client, sys, threading, time
end, failed, sent = time.time() + 6, [], []
def visitor():
    while time.time() < end:
        try:
            c = http.client.HTTPConnection('127.0.0.1', 80, timeout=20)
            c.request('GET', '/', headers={'Host': 'guestbook.example.com', 'Connection': 'close'})
            status = c.getresponse().status
            c.close()
        except Exception as error:
            status = repr(error)
        (sent if status == 200 else failed).append(status)
threads = [threading.Thread(target=visitor) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(sent), len(failed), failed[:3])
"""


def test_a_restart_of_the_app_server_fails_no_request(box):
    """The socket outlives the app server: requests wait for its restart, and none fails."""
    box.check_output("cat > /root/load.py <<'EOF'\n" + LOAD.replace("%", "%%") + "EOF")
    output = box.check_output(
        "python3 /root/load.py > /root/load.out & pid=$!; sleep 1;"
        " for i in 1 2 3; do systemctl restart django@guestbook; sleep 1; done; wait $pid; cat /root/load.out"
    )
    sent, failed, _examples = output.split(maxsplit=2)
    assert int(sent) > 50
    assert failed == "0", output


def test_an_upgrade_of_nginx_fails_no_request(box):
    """The confined master starts the new program beside itself, hands over its sockets and opens its logs again."""
    box.check_output("cat > /root/load.py <<'EOF'\n" + LOAD.replace("%", "%%") + "EOF")
    output = box.check_output(
        "python3 /root/load.py > /root/load.out & pid=$!; sleep 1; before=$(cat /run/nginx.pid);"
        " systemctl reload nginx && sleep 1 && service nginx upgrade >&2 && mv /var/log/nginx/access.log /var/log/nginx/access.log.1"
        " && kill -USR1 $(cat /run/nginx.pid) || exit; wait $pid; cat /root/load.out;"
        # The log's lines are buffered, so the new file may be empty yet.
        " [ $(systemctl show --property=MainPID --value nginx) != $before ] && [ -e /var/log/nginx/access.log ]"
    )
    sent, failed, _examples = output.split(maxsplit=2)
    assert int(sent) > 50
    assert failed == "0", output


def test_another_app_server_answers_while_the_first_does_not(box, visit):
    """As it does while the first is restarted, which ends it."""
    own, beside = "django@guestbook.service", "django-next@guestbook.service"
    box.check_output(f"systemctl start {beside} && systemctl kill --signal=STOP {own}")
    try:
        # More than the first one has threads, each as a page that no cache knows.
        assert {visit().get(f"/?page=1&now={number}").status_code for number in range(20)} == {200}
    finally:
        box.check_output(f"systemctl kill --signal=CONT {own}")
    box.check_output(f"systemctl restart {own}")
    box.check_output(f"for _ in $(seq 100); do systemctl is-active --quiet {beside} || exit 0; sleep 0.2; done; exit 1")
    assert not box.service(beside).is_running
    assert visit().get("/").status_code == 200
