"""What becomes of a running box when a person edits the inventory and runs the playbook again."""

from __future__ import annotations


def test_a_dry_run_of_an_unchanged_box_is_short(site):
    """It lists no file of a release, and nothing would change."""
    done = site("--check", "--diff")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout.split("PLAY RECAP")[1].splitlines()[1], done.stdout
    assert len(done.stdout.splitlines()) < 1000, done.stdout


def test_a_site_that_left_is_stopped_and_one_that_comes_back_has_its_data(box, visit, web_playbook):
    """Without its entry a site does not answer, and the others do; its rows and uploads wait for it."""
    marker = "from django.contrib.auth.models import User; print(User.objects.get_or_create(username='kept')[0].pk)"
    number = box.check_output("ntier-manage plain shell -c %s | tail -1", marker)
    done = web_playbook(lambda sites: sites.pop(1))
    assert done.returncode == 0, done.stdout
    assert not box.service("django@plain.socket").is_running
    assert not box.service("django@plain.service").is_running
    assert not box.service("django@plain.socket").is_enabled
    assert visit("plain.example.com").get("/admin/login/").status_code == 421
    assert visit().get("/").status_code == 200

    done = web_playbook()
    assert done.returncode == 0, done.stdout
    assert visit("plain.example.com").get("/admin/login/").status_code == 200
    assert box.check_output("ntier-manage plain shell -c %s | tail -1", marker) == number


def test_a_changed_setting_is_a_new_release(box, visit, web_playbook):
    """An environment variable goes live as code does, and comes back as code does; a third run changes nothing."""

    def change(sites):
        sites[2]["environment"]["SHOP_GREETING"] = "Buy!"

    before = box.file("/srv/shop/current").linked_to
    assert web_playbook(change).returncode == 0
    browser = visit()
    assert browser.get("/shop/", headers={"Cookie": "fresh=1"}).json()["greeting"] == "Buy!"
    assert box.file("/srv/shop/current").linked_to != before
    assert box.file(before).is_directory
    assert web_playbook().returncode == 0
    assert browser.get("/shop/", headers={"Cookie": "fresh=1"}).json()["greeting"].startswith("Good")
    again = web_playbook()
    assert "changed=0" in again.stdout.split("PLAY RECAP")[1].splitlines()[1], again.stdout


def test_a_run_that_was_cut_off_is_finished_by_the_next(box, visit, web_playbook):
    """Whether it died in the middle of a build or just after the switch: the next run releases anew, and tidies up."""
    live = box.file("/srv/shop/current").linked_to
    box.check_output("rm %s/release.json", live)  # what is written last
    box.check_output("mkdir -p /srv/shop/releases/20200101T000000-1.2/app")  # what is made first
    assert web_playbook().returncode == 0
    assert box.file("/srv/shop/current").linked_to != live
    assert box.file("/srv/shop/current/release.json").exists
    assert not box.file("/srv/shop/releases/20200101T000000-1.2").exists
    assert visit().get("/shop/").status_code == 200
