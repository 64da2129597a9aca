"""The web hosts take turns: what goes back when one of them fails, and what its user reads. And the tasks that do it."""

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import ROOT
from rendering import variables_of

from ansible_collections.ntier.django.plugins.filter import turns as filters
from ansible_collections.ntier.django.plugins.plugin_utils.turns import (
    not_released,
    reason,
    site_back,
    staying,
    to_switch_back,
    told,
    weak_answer,
)

HOSTS = ("web1", "web2", "web3")
OLD, NEW = "20260101T120000-old", "20260102T120000-new"


def entry(name="polls", live=OLD):
    return {"name": name, "release": NEW, "live": live, "present": True}


def back(host, switched, todo=None, site="polls", hosts=HOSTS):
    """Return host → names of the sites that go back there, in their order."""
    found = to_switch_back(hosts, switched, host, todo or [entry()], site)
    return {turn["host"]: [site["name"] for site in turn["sites"]] for turn in found}


# --- what goes back -----------------------------------------------------------------------------------------------


def test_when_the_first_host_fails_nothing_goes_back():
    assert back("web1", {"web1": []}) == {}


@pytest.mark.parametrize("site", ["polls", ""])
def test_when_a_later_host_fails_those_before_it_go_back_the_latest_first(site):
    switched = {"web1": [entry()], "web2": [entry()]}
    found = back("web3", switched, site=site)
    assert list(found.items()) == [("web2", ["polls"]), ("web1", ["polls"])]


def test_what_an_earlier_run_has_brought_live_stays():
    assert back("web2", {"web1": []}) == {}


def test_a_site_that_went_live_on_the_host_before_another_failed_goes_back_first():
    both = [entry("blog"), entry("polls")]
    switched = {"web1": both, "web2": [entry("blog")]}
    found = back("web2", switched, both)
    assert list(found.items()) == [("web2", ["blog"]), ("web1", ["blog", "polls"])]


def test_a_site_that_is_live_on_every_host_stays():
    both = [entry("blog"), entry("polls")]
    switched = {"web1": both, "web2": both, "web3": [entry("blog")]}
    assert back("web3", switched, both) == {"web2": ["polls"], "web1": ["polls"]}


def test_on_one_box_the_sites_before_the_one_that_failed_stay():
    both = [entry("blog"), entry("polls")]
    assert back("box1", {"box1": [entry("blog")]}, both, hosts=["box1"]) == {}


def test_a_host_that_no_balancer_finds_up_takes_all_sites_back():
    both = [entry("blog"), entry("polls")]
    assert back("web2", {"web1": both, "web2": both}, both, "", HOSTS[:2]) == {"web2": ["blog", "polls"], "web1": ["blog", "polls"]}  # fmt: skip


def test_where_the_web_server_was_changed_every_site_goes_back_with_it():
    both = [entry("blog"), entry("polls")]
    switched = {"web1": both, "web2": [entry("blog")]}
    found = to_switch_back(HOSTS[:2], switched, "web2", both, "polls", ("web1", "web2"))
    assert {turn["host"]: [site["name"] for site in turn["sites"]] for turn in found} == {
        "web2": ["blog", "polls"],
        "web1": ["blog", "polls"],
    }
    # The old web server comes back even where there is no site yet.
    assert to_switch_back(HOSTS, {}, "web1", [], "", ("web1",)) == [{"host": "web1", "sites": []}]
    # Not on a host whose turn ended before it.
    assert to_switch_back(HOSTS, switched, "web2", both, "", ("web1",))[0] == {
        "host": "web2",
        "sites": [{"name": "blog", "release": NEW, "live": OLD}],
    }


def test_what_stays_live_is_started_behind_another_web_server_as_well():
    sites = [{"name": name, "health_url": name} for name in ("blog", "polls", "shop")]
    states = {
        "blog": {"live": OLD, "complete": {OLD: {"revision": "abc", "inputs": "x", "name": "blog"}}},
        "polls": {"live": OLD, "complete": {}},
        "shop": {"live": None, "complete": {}},
    }
    assert staying(sites, [entry("polls")], states) == [
        {
            "name": "blog",
            "health_url": "blog",
            "revision": "abc",
            "inputs": "x",
            "release": OLD,
            "live": OLD,
            "present": True,
        }
    ]


# --- what is said -------------------------------------------------------------------------------------------------

FAILURE = {"site": "polls", "step": "answer to the first visitor", "reason": "line 1\n\nline 2", "gone": False}


def text(host, switched, stuck=None, hosts=HOSTS, todos=None, **failure):
    """Return the lines of the message when a host fails."""
    todos = todos or {name: [entry()] for name in hosts}
    failure = {**FAILURE, **failure}
    reverted = to_switch_back(hosts, switched, host, todos[host], failure["site"])
    return told(failure, host, hosts, todos, switched, reverted, stuck or {}).splitlines()


def test_one_box_says_site_host_step_reason_and_what_stays_live():
    assert text("box1", {}, hosts=["box1"]) == [
        "Site polls on host box1: answer to the first visitor failed.",
        "  line 1",
        "  line 2",
        f"Release {OLD} stays live.",
    ]


def test_several_hosts_say_what_is_live_on_all_of_them():
    lines = text("web2", {"web1": [entry()]})
    assert lines[3:] == [
        f"Release {OLD} stays live on web1, web2 and web3.",
        "web1 had the new release already, and went back.",
    ]


def test_a_first_release_that_fails_leaves_none_live():
    todos = {"box1": [entry(live=None)]}
    assert text("box1", {}, hosts=["box1"], todos=todos)[-1] == "The site has no live release yet."


def test_a_fault_of_no_site_alone_names_the_host_and_every_site():
    todos = {name: [entry("polls"), entry("blog")] for name in HOSTS}
    lines = text("web1", {}, todos=todos, site="", step="reach every balancer", reason="lb2 is away")
    assert lines == [
        "Host web1: reach every balancer failed.",
        "  lb2 is away",
        f"Site blog: release {OLD} stays live on web1, web2 and web3.",
        f"Site polls: release {OLD} stays live on web1, web2 and web3.",
    ]


def test_a_host_that_did_not_go_back_is_named_with_the_reason():
    lines = text("web2", {"web1": [entry()]}, {"web1": "restart failed. no space left"})
    assert lines[3:] == [
        f"Release {OLD} stays live on web2 and web3.",
        "web1 could not be switched back: restart failed. no space left",
        "What is live on web1 is not certain. Mend it, and release again.",
    ]


def test_a_host_that_went_away_is_not_said_to_serve_anything():
    assert text("web2", {"web1": [entry()]}, gone=True, balanced=True)[6:] == [
        "Until then the balancers send web2 no visitors."
    ]
    lines = text("web2", {"web1": [entry()]}, gone=True)
    assert lines[3:] == [
        f"Release {OLD} stays live on web1 and web3.",
        "web1 had the new release already, and went back.",
        "What is live on web2 is not certain. Mend it, and release again.",
    ]


def test_a_web_server_that_came_back_is_said_to():
    hostvars = {name: {"__release_due": [entry()]} for name in HOSTS}
    hostvars["web1"] |= {"__release_switched": [entry()], "web_swapped_from": "nginx_gunicorn"}
    hostvars["web2"] |= {"web_swapped_from": "nginx_gunicorn"}
    reverted = filters.switched_back(HOSTS, hostvars, "web2", "")
    assert [turn["host"] for turn in reverted] == ["web2", "web1"]
    failure = {**FAILURE, "site": "", "step": "restart the web server"}
    lines = filters.failure_text(failure, "web2", HOSTS, hostvars, reverted, {}).splitlines()
    assert lines[0] == "Host web2: restart the web server failed."
    assert lines[-1] == "The web provider is nginx_gunicorn again on web1 and web2."
    lines = filters.failure_text(failure, "web2", HOSTS, hostvars, reverted, {"web1": "it is away"}).splitlines()
    assert lines[-2:] == [
        "web1 could not be switched back: it is away",
        "What is live on web1 is not certain. Mend it, and release again.",
    ]
    assert "The web provider is nginx_gunicorn again on web2." in lines


def test_a_host_that_had_the_release_from_an_earlier_run_is_said_to_have_it():
    todos = {"web1": [], "web2": [entry()], "web3": [entry()]}
    lines = text("web2", {"web1": []}, todos=todos)
    assert lines[3:] == [f"Release {NEW} is live on web1.", f"Release {OLD} stays live on web2 and web3."]


def test_another_site_that_is_live_everywhere_is_said_to_be():
    both = [entry("polls"), entry("blog")]
    lines = text("web2", {"web1": both, "web2": [entry("blog")]}, hosts=HOSTS[:2], todos=dict.fromkeys(HOSTS[:2], both))
    assert lines[3:] == [
        f"Release {OLD} stays live on web1 and web2.",
        f"Site blog: release {NEW} is live on web1 and web2.",
        "web1 had the new release already, and went back.",
    ]


def test_the_filters_read_what_the_hosts_have_registered():
    hostvars = {
        "web1": {"__release_due": [entry()], "__release_switched": [entry()]},
        "web2": {"__release_due": [entry(live="other")]},
        "web3": {},
    }
    reverted = filters.switched_back(HOSTS, hostvars, "web2", "polls")
    assert reverted == [{"host": "web1", "sites": [{"name": "polls", "release": NEW, "live": OLD}]}]
    said = filters.failure_text(FAILURE, "web2", HOSTS, hostvars, reverted, {})
    assert (
        f"Release {OLD} stays live on web1.\nRelease other stays live on web2.\nRelease {NEW} is live on web3." in said
    )


def test_a_release_that_can_not_be_made_says_what_its_migrations_have_done():
    def said(live=OLD, hosts=("box1",), **more):
        site = {"name": "polls", "live": live}
        return not_released(site, "box1", hosts, "check the migrated project", "one\n\ntwo", **more).splitlines()

    first = ["Site polls on host box1: check the migrated project failed.", "  one", "  two"]
    assert said() == [*first, f"Release {OLD} stays live."]
    assert said(None) == [*first, "The site has no live release yet."]
    nowhere = f"Release {OLD} stays live. Nothing of the site has been switched on any host."
    assert said(hosts=HOSTS) == [*first, nowhere]
    run = "Its migrations have run, and stay applied: polls.0001 and polls.0002."
    found = said(applied=["polls.0001", "polls.0002"])
    assert found == [*first, run, f"Release {OLD} stays live.", "It works with these migrations."]
    assert said(None, applied=["polls.0001", "polls.0002"]) == [*first, run, "The site has no live release yet."]
    found = said(applied=[f"polls.{number}" for number in range(20)], breaking=["polls.3: hint goes"])
    assert found[3].endswith("polls.11 and 8 more.")
    assert found[-1] == "  polls.3: hint goes"
    assert "release again soon" in found[-2]


def test_migrations_of_another_site_are_not_said_to_be_of_the_one_that_failed():
    ran = ["Running migrations:", "  Applying polls.0001_initial... OK", "  Applying polls.0002_more...", "oops"]
    variables = {**variables_of("release"), "__release_site": entry()}
    for release, applied in ((NEW, ["polls.0001_initial"]), ("another", [])):
        variables["__release_migrate"] = {"cmd": ["ntier-manage", "--release", release], "stdout_lines": ran}
        assert Templar(DataLoader(), variables).template(trust_as_template("{{ __release_applied }}")) == applied
    del variables["__release_migrate"]
    assert Templar(DataLoader(), variables).template(trust_as_template("{{ __release_applied }}")) == []


# --- sites stand or fall alone ------------------------------------------------------------------------------------


def three(**changes):
    """Return the variables of three hosts on which three sites had to go live, with further ones for some."""
    due = [entry(name) for name in ("blog", "polls", "shop")]
    return {name: {"__release_due": due, **changes.get(name, {})} for name in HOSTS}


def test_a_site_that_failed_alone_goes_back_on_the_hosts_before_and_the_others_stay():
    both = [entry("blog"), entry("polls")]
    switched = {"web1": both, "web2": both, "web3": [entry("blog")]}
    polls = {"name": "polls", "release": NEW, "live": OLD}
    assert site_back(HOSTS, switched, "web3", "polls") == [
        {"host": "web2", "sites": [polls]},
        {"host": "web1", "sites": [polls]},
    ]
    assert site_back(HOSTS, {"web1": [entry("blog")]}, "web1", "polls") == []


def test_what_failed_on_any_host_is_failed_on_all():
    hostvars = three(
        web1={"__release_state": {"failures": {"shop": "no answer"}}, "__release_failures": {"polls": "broken"}},
        web2={"__release_failures": {"polls": "broken"}},
        web3={"__release_failures": {"polls": "no space"}},
    )
    assert filters.failed_sites(HOSTS, hostvars) == {"shop": "no answer", "polls": "broken\nno space"}
    hostvars["web1"]["__release_switched"] = [entry("blog"), entry("polls")]
    # It has gone back, so no hook of it runs.
    assert filters.switched_sites(HOSTS, hostvars) == [{"name": "blog", "release": NEW}]


@pytest.mark.parametrize(
    ("changes", "names", "parting"),
    [
        ({}, ["blog", "polls"], True),
        ({}, ["polls"], False),
        ({"web2": {"web_swap_due": True}}, ["blog", "polls"], False),
        ({"web1": {"web_swapped_from": "nginx_gunicorn"}}, ["blog", "polls"], False),
        ({"web1": {"web_swap_due": False, "web_swapped_from": ""}}, ["blog", "polls"], True),
    ],
)
def test_other_sites_go_on_unless_the_web_server_changes_for_all_of_them(changes, names, parting):
    hostvars = three(**{"web3": {"__release_failures": {"polls": "Site polls: broken."}}, **changes})
    assert filters.sites_part(HOSTS, hostvars, names) is parting
    lines = filters.release_report(HOSTS, hostvars, names).splitlines()
    assert lines[0] == "Site polls: broken."
    last = "The other site is not affected: blog." if parting else "The web server changes for all sites at once,"
    assert lines[1:] == [] if names == ["polls"] else lines[1].startswith(last)


def test_a_run_ends_with_every_site_that_failed_and_hooks_that_failed_afterwards():
    hostvars = three(
        web1={"__release_late": {"blog": "Site blog: its hook failed."}},
        web2={"__release_failures": {"polls": "Site polls: broken."}},
    )
    names = ["shop", "polls", "blog"]
    assert filters.release_report(HOSTS, hostvars, names).splitlines() == [
        "Site polls: broken.",
        "Site blog: its hook failed.",
        "The other sites are not affected: blog and shop.",
    ]
    assert filters.release_report(HOSTS, three(), names) == ""
    hostvars = three(web1={"__release_late": {"blog": "Site blog: its hook failed."}})
    assert filters.release_report(HOSTS, hostvars, names) == "Site blog: its hook failed."


def test_the_text_about_a_site_alone_says_nothing_of_the_others():
    hostvars = three(web1={"__release_switched": [entry("blog"), entry("polls")]})
    back = filters.switched_back(HOSTS, hostvars, "web2", "polls", alone=True)
    said = filters.failure_text(FAILURE, "web2", HOSTS, hostvars, back, {}, alone=True).splitlines()
    assert said == [
        "Site polls on host web2: answer to the first visitor failed.",
        "  line 1",
        "  line 2",
        f"Release {OLD} stays live on web1, web2 and web3.",
        "web1 had the new release already, and went back.",
    ]


def test_a_host_that_fails_after_a_site_did_says_both():
    fallen = [{**FAILURE, "site": "blog", "step": "activate", "reason": "the blog is broken"}]
    hostvars = three(web1={"__release_failures": {"shop": "Site shop: broken."}}, web2={"__release_fallen": fallen})
    failure = {**FAILURE, "site": "", "step": "reach every balancer"}
    said = filters.failure_text(failure, "web2", HOSTS, hostvars, [], {}).splitlines()
    assert said[0] == "Host web2: reach every balancer failed."
    assert said[-3:] == ["Site blog on host web2: activate failed.", "  the blog is broken", "Site shop: broken."]


def test_the_role_leaves_out_what_has_failed():
    hostvars = three(web2={"__release_failures": {"polls": "broken"}})
    variables = {**variables_of("release"), "hostvars": hostvars, "ansible_play_hosts_all": list(HOSTS)}
    variables |= {"inventory_hostname": "web1", "release_leader": "web1", **hostvars["web1"], "release_sites": []}
    folders = [f"/srv/{name}/releases/1" for name in ("polls", "polls2", "blog")]
    variables["__release_state"] = {"remove": folders}

    def templated(name, **more):
        return Templar(DataLoader(), {**variables, **more}).template(trust_as_template("{{ " + name + " }}"))

    assert [site["name"] for site in templated("__release_todo")] == ["blog", "shop"]
    # The release that would have taken its place is not there.
    assert templated("__release_removable") == folders[1:]
    sites = [{"name": name} for name in ("blog", "polls", "shop")]
    assert templated("__release_apart", release_sites=sites) is True
    assert templated("__release_apart", release_sites=sites, __release_site=sites[0]) is True
    fallen = [{"site": "shop"}]
    assert templated("__release_apart", release_sites=sites, __release_site=sites[0], __release_fallen=fallen) is False


def test_a_site_that_fails_ends_no_run_before_the_others_are_live():
    for name in ("build", "install", "finish_site"):
        (block,) = tasks(f"roles/release/tasks/{name}.yml")
        assert block["any_errors_fatal"] is False
    for name in ("failed", "fall", "finish_site", "live"):
        assert "ansible.builtin.fail:" not in (ROOT / f"roles/release/tasks/{name}.yml").read_text()
    prepare = tasks("roles/release/tasks/prepare.yml")
    (check,) = [task for task in prepare if task.get("ansible.builtin.include_tasks") == "report.yml"]
    assert check["when"] == ["__release_broken | length > 0", "not __release_apart"]
    # In the end it is a failure, after the hosts have noted what they serve, and before hosts leave.
    for name in ("site", "web", "release"):
        imports = [play.get("import_playbook") for play in tasks(f"playbooks/{name}.yml")]
        assert imports[-2:] == ["report_release.yml", "unlock.yml"]
    early = tasks("playbooks/tier_release.yml")[-1]["tasks"][-1]
    assert early["ansible.builtin.include_role"]["tasks_from"] == "report"
    plans = {key: {} for key in ("ntier_leaving", "ntier_move", "ntier_media_move", "ntier_passing")}
    for name in ["", *plans]:
        found = Templar(DataLoader(), {**plans, **({name: ["web1"]} if name else {})})
        assert found.template(trust_as_template("{{ " + early["when"] + " }}")) is bool(name)


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        ({"msg": "no\n\n"}, ["no"]),
        ({"msg": "non-zero return code", "stderr": "", "stdout": "why\n"}, ["why"]),
        ({"msg": "x", "stderr": "error", "stdout": "output", "cmd": ["a", "b"]}, ["error", "output"]),
        ({"stdout": "\n".join(map(str, range(30)))}, [str(number) for number in range(10, 30)]),
        (
            {"msg": "x", "results": [{"failed": False, "msg": "y"}, {"failed": True, "msg": "lb1 says no"}]},
            ["lb1 says no"],
        ),
        ({"results": [{"failed": True, "cmd": ["a", "b"], "stderr": "why"}]}, ["a b", "why"]),
        ({"msg": "fatal: no 'https://me:a@b@x.example/a.git'"}, ["fatal: no 'https://***@x.example/a.git'"]),
        ({}, []),
    ],
)
def test_the_reason_is_what_the_program_or_the_item_said(result, lines):
    assert reason(result).splitlines() == lines


def test_what_led_to_an_exception_is_said_however_far_above_it_stands():
    frames = '  File "/x/logging/config.py", line 1, in configure\n    raise ValueError\n' * 15
    stderr = (
        f"Traceback (most recent call last):\n{frames}PermissionError: [Errno 13] Permission denied: '/srv/blog/debug.log'\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        f"Traceback (most recent call last):\n{frames}ValueError: Unable to configure handler 'file'\n"
    )
    assert reason({"stderr": stderr}).splitlines()[-3:] == [
        "ValueError: Unable to configure handler 'file'",
        "caused by PermissionError: [Errno 13] Permission denied: '/srv/blog/debug.log'",
        "The site can't write there. Have the project log to the console, and keep files below MEDIA_ROOT or in /var/lib/django/SITE.",
    ]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("tar: a: Cannot write: No space left on device", "The disk is full. Make room on it; release_keep says how"),
        ("Status code was 400 and not [200]: HTTP Error 400: Bad Request", "The site refuses its own host name."),
        ("  x No solution found when resolving dependencies:", "Correct the requirements, or give the site another"),
        ("ERROR: Failed to build 'psycopg2'", "Name what of the distribution the package needs to be compiled in"),
        ("ModuleNotFoundError: No module named 'nowhere'", "Correct settings, requirements or environment of the site"),
        (
            "OSError: [Errno 30] Read-only file system: '/srv/polls/releases/1/x.log'",
            "The site can't write there. Have the",
        ),
        (
            'OfflineGenerationError: key "a" is missing from offline manifest',
            "Have release_hooks run manage.py compress",
        ),
        ("chown failed: failed to look up user polls", "Run ntier.django.site first: the site is new on this host."),
    ],
)
def test_a_fault_with_a_remedy_is_said_with_it(said, remedy):
    assert reason({"stderr": said + "\n" * 3}).splitlines()[-1].startswith(remedy)
    assert len(reason({"msg": "migrations say no"}).splitlines()) == 1


def test_the_checks_import_the_project_with_the_permissions_that_it_runs_with():
    unit = (ROOT / "roles/web/templates/django@.service.j2").read_text()
    sandbox = unit[unit.index("NoNewPrivileges=") :].replace("{{ __web_media }}", variables_of("web")["__web_media"])
    others = ("#", "Environment=", "LimitNOFILE=")
    wanted = [line.replace("%i", "polls") for line in sandbox.splitlines() if line and not line.startswith(others)]
    variables = {
        **variables_of("release"),
        "__release_site": {"name": "polls"},
        "__release_folder": "/srv/polls/releases/1",
    }
    variables["__release_manage"] = ["ntier-manage", "--release", "1", "polls"]
    steps = [task for task in tasks("roles/release/tasks/check.yml") if task["name"].startswith("check | Check ")]
    assert len(steps) == 3
    for step in steps:
        asked = trust_as_template(step["ansible.builtin.command"]["argv"])
        argv = Templar(DataLoader(), variables).template(asked)
        before = argv[: argv.index("ntier-manage")]
        assert before[:7] == ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=polls", "--gid=polls"]
        assert before[7:] == [f"--property={line}" for line in wanted]


def test_the_sites_that_went_live_are_named_once():
    hostvars = {"web1": {"__release_switched": [entry()]}, "web2": {"__release_switched": [entry()]}, "web3": {}}
    assert filters.switched_sites(HOSTS, hostvars) == [{"name": "polls", "release": NEW}]


# --- answers that prove little ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "location", "words", "path"),
    [
        (302, "http://polls.example.com/accounts/login/?next=/", "redirects to http://polls.example.com/acc", "/accounts/login/"),
        (301, "https://www.other.example/", "redirects to https://www.other.example/. This", None),
        (308, "https://polls.example.com/", "redirects to https://polls.example.com/. This", None),
        (404, "", "answers 404. This proves", None),
        (403, "", "answers 403. This proves", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_an_answer_that_proves_little_is_a_warning_that_says_what_to_set(status, location, words, path, prefix):
    url = f"http://127.0.0.1:8000{prefix}/"
    site = {"name": "polls", "health_url": url, "health_host": "polls.example.com", "runtime": {"prefix": prefix}}
    location = location.replace("polls.example.com/", f"polls.example.com{prefix}/") if prefix else location
    said = weak_answer(site, status, location)
    assert said.startswith("WARNING: Site polls: its health_path / ")
    assert words in said.replace(prefix, "") if prefix else words in said
    assert said.endswith(
        "and reads the database." if not path else f"such as {path}, if that page shows what visitors see."
    )


def test_a_page_that_answers_is_no_warning():
    site = {"name": "polls", "health_url": "http://polls.example.com/"}
    assert [weak_answer(site, status) for status in (200, 204)] == ["", ""]


def test_only_sites_that_have_gone_live_in_this_run_are_warned_of():
    sites = [{"name": name, "health_url": f"http://{name}.example.com/"} for name in ("blog", "polls", "shop")]
    weak = {"status": 404, "location": ""}
    hostvars = three(
        web1={"__release_switched": [{**entry("blog"), **weak}, {**entry("polls"), **weak}]},
        web2={"__release_switched": [{**entry("blog"), **weak}], "__release_failures": {"polls": "broken"}},
    )
    (warning,) = filters.weak_answers(HOSTS, hostvars, sites)
    assert "Site blog" in warning
    # An entry of an older version has no answer.
    hostvars = three(web1={"__release_switched": [entry("blog")]})
    assert filters.weak_answers(HOSTS, hostvars, sites) == []
    live = (ROOT / "roles/release/tasks/live.yml").read_text()
    assert "__release_answer.status" in live
    assert "__release_answer.location" in live


# --- the tasks ----------------------------------------------------------------------------------------------------


def tasks(path):
    return yaml.safe_load((ROOT / path).read_text())


def test_a_turn_drains_then_switches_then_undrains_and_goes_back_on_failure():
    (turn,) = tasks("roles/release/tasks/turn.yml")
    files = [
        task.get("ansible.builtin.include_tasks") or task.get("ansible.builtin.import_tasks") for task in turn["block"]
    ]
    assert files == [None, "drain.yml", "swap.yml", "live.yml", "undrain.yml", "back.yml", "fall.yml"]
    # What the old web server comes back from is kept until every host has had its turn.
    ended = [
        task["ansible.builtin.include_role"]
        for task in tasks("roles/release/tasks/finish.yml")
        if "ansible.builtin.include_role" in task
    ]
    assert ended == [{"name": "ntier.django.web", "tasks_from": "swap_end"}]
    # Else a host that goes away in its turn ends the run, and leaves the hosts before it as they are.
    assert (turn["ignore_unreachable"], turn["any_errors_fatal"]) == (True, False)


@pytest.mark.parametrize(
    ("failure", "stuck", "expected"),
    [
        ({"site": "polls"}, {}, ["web1", "web2"]),  # web3 had it before the run
        ({"site": "polls"}, {"web1": "it is away"}, ["web2"]),
        ({"site": "polls", "gone": True}, {}, ["web1"]),
        ({"site": ""}, {}, []),  # no site's own fault: it may go live in the next run
        ({"site": "blog"}, {}, []),
    ],
)
def test_what_failed_is_removed_from_every_host_that_got_it_and_does_not_run_it(failure, stuck, expected):
    due = [{**entry(), "present": False}]
    hostvars = {"web1": {"__release_due": due}, "web2": {"__release_due": due}, "web3": {"__release_due": [entry()]}}
    variables = {**variables_of("release"), "hostvars": {**hostvars, "web4": {}}, "inventory_hostname": "web2"}
    variables |= {"ansible_play_hosts_all": [*HOSTS, "web4"], "__release_failure": failure, "__release_stuck": stuck}
    found = Templar(DataLoader(), variables).template(trust_as_template("{{ __release_copies }}"))
    assert found == [{"host": host, "release": NEW} for host in expected]
    (task,) = tasks("roles/release/tasks/remove.yml")
    for name in ("back", "fall"):
        included = [task.get("ansible.builtin.include_tasks") for task in tasks(f"roles/release/tasks/{name}.yml")]
        assert included[-2:-1] == ["remove.yml"] or included[-1] == "remove.yml"
    assert (task["loop"], task["delegate_to"]) == ("{{ __release_copies }}", "{{ __release_copy.host }}")


def test_what_can_not_be_built_or_installed_is_removed_from_every_host_that_gets_it():
    new = {**entry(), "present": False}
    hostvars = {
        "web1": {"__release_state": {"build": [new]}, "__release_here": {"skipped": True}},
        "web2": {"__release_here": {"install": [new]}},
        "web3": {"__release_here": {"install": [entry(), {**new, "name": "blog"}]}},
        "web4": {"__release_here": {"install": []}},
    }
    variables = {**variables_of("release"), "hostvars": hostvars, "ansible_play_hosts_all": list(hostvars)}
    variables |= {"inventory_hostname": "web2", "release_leader": "web1", "__release_site": new}
    # Not ansible_play_hosts: any_errors_fatal has taken the others out of it.
    asked = trust_as_template("{{ __release_receivers }}")
    assert Templar(DataLoader(), variables).template(asked) == ["web1", "web2"]
    hostvars["web1"]["__release_state"]["build"] = []  # the leader has it live, and web2 is new
    assert Templar(DataLoader(), variables).template(asked) == ["web2"]
    (task,) = [task for task in tasks("roles/release/tasks/failed.yml") if "ansible.builtin.file" in task]
    assert (task["loop"], task["delegate_to"]) == ("{{ __release_receivers }}", "{{ __release_receiver }}")


def test_every_task_that_asks_a_balancer_or_switches_is_asked_whether_it_reached_its_host():
    for name, register in (("drain", "__release_drained"), ("undrain", "__release_ready")):
        block = tasks(f"roles/release/tasks/{name}.yml")[0]["block"]
        assert block[0]["register"] == register
        assert f"{register}.results" in block[1]["vars"]["__release_away"]
    (switch,) = tasks("roles/release/tasks/switch.yml")
    noted, *asking, failing = switch["block"]
    assert "ansible.builtin.set_fact" in noted
    registered = [task["register"] for task in asking]
    assert all(name in switch["vars"]["__release_asked"] for name in registered)
    assert "ansible.builtin.fail" in failing


DRAINED = {"running": True, "kept": []}


@pytest.mark.parametrize(
    ("turns", "visited"),
    [
        ([], True),
        ([DRAINED], False),
        ([DRAINED, {"running": False}], True),
        ([DRAINED, {"running": True, "kept": ["site_polls"]}], True),
        ([DRAINED, {"running": True, "kept": ["site_blog"]}], False),
    ],
)
@pytest.mark.parametrize("back", [False, True])
def test_the_new_release_starts_beside_the_old_one_where_the_host_has_visitors(turns, visited, back):
    (switch,) = tasks("roles/release/tasks/switch.yml")
    (beside,) = [task for task in switch["block"] if task.get("register") == "__release_beside"]
    assert "__release_visited" in beside["when"]
    variables = {**switch["vars"], "__release_site": entry()}
    others = [DRAINED] if visited else []
    variables |= {"__release_drained": {"results": others if back else turns}}
    variables |= {"__release_at": "web1", "__release_emptied": {"results": turns}} if back else {}
    for name in ("__release_turns", "__release_visited"):
        variables[name] = trust_as_template(variables[name])
    assert Templar(DataLoader(), variables).template(trust_as_template("{{ __release_visited }}")) is visited


def test_nothing_is_built_while_a_host_is_drained_and_hosts_take_turns():
    prepare, turns, finish = tasks("playbooks/tier_release.yml")
    assert [prepare["tasks"][0]["ansible.builtin.include_role"]["tasks_from"], "serial" in prepare] == [
        "prepare",
        False,
    ]
    assert [turns["tasks"][0]["ansible.builtin.include_role"]["tasks_from"], turns["serial"]] == ["activate", 1]
    assert finish["tasks"][0]["ansible.builtin.include_role"]["tasks_from"] == "finish"
    assert prepare["any_errors_fatal"] is turns["any_errors_fatal"] is finish["any_errors_fatal"] is True


def test_hooks_run_after_the_check_and_before_migrations_that_are_not_refused():
    names = [task["name"] for task in tasks("roles/release/tasks/check.yml")]
    assert names[0] == "check | Check the settings"
    assert names[2:5] == ["check | Check the project", "check | Migrate", "check | Check the migrated project"]
    names = [task["name"].removeprefix("migrate | ") for task in tasks("roles/release/tasks/migrate.yml")]
    hooks = names.index("Run what comes before the migrations")
    assert names.index("Keep the running release working") < hooks < names.index("Migrate")


def test_site_and_release_share_one_implementation():
    imports = [
        play.get("import_playbook") for name in ("tier_web", "release") for play in tasks(f"playbooks/{name}.yml")
    ]
    assert imports == [
        None,
        "tier_release.yml",
        "preflight.yml",
        None,
        "tier_release.yml",
        "report_release.yml",
        "unlock.yml",
    ]
