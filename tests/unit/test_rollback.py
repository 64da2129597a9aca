"""What a rollback goes back to, what it refuses, and what becomes of migrations. The playbook's order, too."""

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import ROOT
from rendering import variables_of

from ansible_collections.ntier.django.plugins.module_utils import releases
from ansible_collections.ntier.django.plugins.plugin_utils import rollback

A, B, C = "20260101T120000-aaa", "20260201T120000-bbb", "20260301T120000-ccc"
SITE = {"name": "polls", "source": {"kind": "git"}, "health_url": "http://polls.example.com/"}


def state(live=C, names=(A, B, C), **records):
    """Return what is found of a site on a host."""
    complete = {name: {"release": name, "revision": name[-3:], "inputs": f"i-{name}"} for name in names}
    for name, more in records.items():
        complete[{"a": A, "b": B, "c": C}[name]].update(more)
    return {"live": live, "complete": complete, "broken": []}


def decide(*states, site="", to="", sites=(SITE,), name="polls"):
    hosts = ["box1", "web2", "web3"]
    return rollback.decide({host: {name: state} for host, state in zip(hosts, states, strict=False)}, sites, site, to)


def refusal(*states, **given):
    """Return the one sentence with which a rollback is refused; nothing is to be switched then."""
    result = decide(*states, **given)
    (fault,) = result["faults"]
    assert result["targets"] == []
    assert not any(result["todo"].values())
    return fault


# --- which release ------------------------------------------------------------------------------------------------


def test_it_goes_back_to_the_release_before_on_every_host():
    result = decide(state(), state())
    assert result["faults"] == []
    (target,) = result["targets"]
    assert (target["release"], target["by"], target["since"]) == (B, C, "2026-02-01T12:00:00+00:00")
    for host in ("box1", "web2"):
        (entry,) = result["todo"][host]
        assert {
            key: entry[key] for key in ("name", "release", "revision", "inputs", "live", "present", "health_url")
        } == {
            "name": "polls",
            "release": B,
            "revision": "bbb",
            "inputs": f"i-{B}",
            "live": C,
            "present": True,
            "health_url": SITE["health_url"],
        }


def test_the_one_before_is_the_one_that_was_live_last_and_not_the_one_that_was_made_last():
    found = state(
        live=B,
        b={"activated": "2026-04-02T00:00:00Z"},
        c={"activated": "2026-04-01T00:00:00Z"},
        a={"activated": "2026-04-01T01:00:00Z"},
    )
    assert decide(found)["targets"][0]["release"] == A


def test_a_named_release_may_be_newer():
    result = decide(state(live=A), to=C)
    assert [(entry["release"], entry["by"]) for entry in result["targets"]] == [(C, A)]


def test_hosts_that_serve_it_already_are_left_alone():
    result = decide(state(live=B), state(live=C), to=B)
    assert result["todo"]["box1"] == []
    assert [entry["live"] for entry in result["todo"]["web2"]] == [C]
    assert result["targets"][0]["by"] == C


def test_what_an_interrupted_rollback_left_can_be_finished():
    """All hosts have switched, and the migrations are still to be undone: by the newest other release."""
    result = decide(state(live=B), to=B)
    assert (result["todo"], result["targets"][0]["by"]) == ({"box1": []}, C)


def test_a_release_that_only_some_hosts_have_is_passed_over():
    assert decide(state(), state(names=(A, C)))["targets"][0]["release"] == A


def test_only_the_named_site_is_touched():
    other = {**SITE, "name": "blog"}
    found = {"box1": {"polls": state(), "blog": state()}}
    result = rollback.decide(found, [SITE, other], "blog", "")
    assert [entry["name"] for entry in result["todo"]["box1"]] == ["blog"]


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_site_that_is_not_there():
    assert refusal(state(), site="poll") == "-e site=poll: there is no such site. There is polls."


def test_of_several_sites_one_has_to_be_named():
    two = (SITE, {**SITE, "name": "blog"})
    assert (
        refusal(state(), sites=two)
        == "rollback: the cluster serves the sites polls and blog. Name one, as in -e site=polls."
    )


def test_hosts_that_do_not_agree_are_not_guessed_about():
    assert refusal(state(live=B), state(live=C)) == (
        f"site polls: the hosts serve different releases, {B} on box1 and {C} on web2. "
        f"Choose with -e rollback_to=… one that they all have: {A}, {B} and {C}."
    )


def test_a_host_without_any_live_release():
    assert "no release is live on web2" in refusal(state(), state(live=None))


def test_nothing_to_go_back_to():
    assert f"there is no release before {C} that every web host has in full" in refusal(state(), state(names=(C,)))


@pytest.mark.parametrize("to", [B, "nonsense"])
def test_a_release_that_a_host_lacks_names_the_host(to):
    fault = refusal(state(names=(A, B, C)), state(names=(A, C)), to=to)
    assert fault.startswith(
        f"site polls: release {to} is not on {'web2' if to == B else 'box1 and web2'}, or not in full."
    )
    assert fault.endswith(f"one that they all have: {A} and {C}.")


@pytest.mark.parametrize(
    ("built", "serving", "asked", "refused"),
    [
        (None, None, None, None),
        ("gunicorn", None, "gunicorn", None),
        ("uwsgi", "uwsgi", "uwsgi", None),
        ("uwsgi", "granian", "granian", "was built for uwsgi, and the hosts run granian"),
        (None, "granian", "granian", "was built for gunicorn, and the hosts run granian"),
        (None, "granian", None, "the hosts run granian, and web_provider asks for gunicorn. Run ntier.django.site,"),
        (None, None, "uwsgi", "the hosts run gunicorn, and web_provider asks for uwsgi. Run ntier.django.site,"),
    ],
)
def test_a_release_for_another_app_server_is_refused(built, serving, asked, refused):
    site = {**SITE, **({"app_server": asked} if asked else {})}
    records = {name: ({"app_server": server} if server else {}) for name, server in (("b", built), ("c", serving))}
    result = decide(state(**records), sites=(site,))
    assert bool(result["faults"]) is bool(refused)
    if refused:
        assert refused in result["faults"][0]
        assert result["todo"] == {"box1": []}


# --- migrations ---------------------------------------------------------------------------------------------------


def looked(newer=("polls.0002",), breaking=(), one_way=(), lost=(), pending=()):
    return [
        {
            "name": "polls",
            "release": B,
            "newer": list(newer),
            "breaking": list(breaking),
            "one_way": list(one_way),
            "lost": list(lost),
            "pending": list(pending),
        }
    ]


@pytest.mark.parametrize("mode", rollback.MODES)
def test_without_migrations_between_nothing_is_asked_and_nothing_undone(mode):
    assert rollback.judge(looked(newer=()), mode, False) == {"faults": [], "first": [], "last": []}
    assert rollback.judge([], mode, False)["faults"] == []


def test_migrations_between_are_refused_and_named_unless_told():
    for entry in (looked(), looked(newer=(), lost=("polls.0002",))):
        (fault,) = rollback.judge(entry, "refuse", True)["faults"]
        assert f"release {B} does not know the migrations that are applied: polls.0002" in fault
        assert "-e rollback_migrations=reverse" in fault
        assert "=keep" in fault


def test_what_the_older_release_can_work_with_is_undone_after_the_switch_and_the_rest_before():
    assert rollback.judge(looked(), "reverse", False) == {"faults": [], "first": [], "last": ["polls"]}
    assert rollback.judge(looked(breaking=["x"]), "reverse", True) == {"faults": [], "first": ["polls"], "last": []}
    assert rollback.judge(looked(), "keep", False) == {"faults": [], "first": [], "last": []}
    assert rollback.judge(looked(breaking=["x"], lost=["y"], one_way=["z"]), "keep", True)["faults"] == []


@pytest.mark.parametrize(
    ("entry", "mode", "said"),
    [
        (
            looked(one_way=["polls.0002: RunPython: has no way back"]),
            "reverse",
            "can't be undone: polls.0002: RunPython: has no way back",
        ),
        (looked(lost=["polls.0009"]), "reverse", "no release here has the migrations polls.0009, which ran since"),
        (looked(breaking=["column x goes"]), "reverse", "that is still live may fail until the last host has switched"),
        (looked(breaking=["column x goes"]), "keep", "that goes live will fail"),
        (looked(breaking=["column x goes"]), "refuse", "can't work with them: column x goes"),
        (
            looked(pending=["polls.0002"]),
            "keep",
            f"release {B} has migrations that are not applied: polls.0002. A rollback does not migrate",
        ),
        (looked(), "revert", "-e rollback_migrations=revert: there is no such way. There is refuse, reverse and keep."),
    ],
)
def test_what_the_migrations_forbid(entry, mode, said):
    result = rollback.judge(entry, mode, False)
    (fault,) = result["faults"]
    assert said in fault
    assert result["first"] == result["last"] == []


def test_what_is_decided_and_what_is_found_share_no_key_but_the_name_and_the_release():
    """Both go into one dictionary."""
    assert {*decide(state())["targets"][0]} & {*looked()[0]} == {"name", "release"}


# --- what is said -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fix"),
    [("git", "set source.version to bbb"), ("package", "set source.package"), ("path", "put the folder back")],
)
def test_what_to_do_before_the_next_release_is_said(kind, fix):
    decided = decide(state(), state(), sites=({**SITE, "source": {"kind": kind}},))
    text = "\n".join(rollback.report(decided, looked(), ["polls"]))
    assert f"Site polls: release {B} is live again on box1 and web2." in text
    assert "Migrations polls.0002: undone." in text
    assert fix in text
    assert f"-e rollback_to={C}" not in text  # what it needs has just been undone
    assert f"-e rollback_to={C}" in "\n".join(rollback.report(decided, looked(), []))
    assert "left as they are" in "\n".join(rollback.report(decided, looked(), []))
    assert "Migrations" not in "\n".join(rollback.report(decided, looked(newer=()), []))


# --- when a release was live --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        (A, {}, "2026-01-01T12:00:00+00:00"),
        (A, None, "2026-01-01T12:00:00+00:00"),
        (A, {"activated": "2026-05-01T01:02:03Z"}, "2026-05-01T01:02:03+00:00"),
        (A, {"activated": "2026-05-01T01:02:03.456+00:00"}, "2026-05-01T01:02:03+00:00"),
        (A, {"activated": "2026-05-01 01:02:03"}, "2026-05-01T01:02:03+00:00"),
        (A, {"activated": "yesterday"}, "2026-01-01T12:00:00+00:00"),
        ("by-hand", {}, "1970-01-02T00:00:00+00:00"),
    ],
)
def test_when_a_release_was_live_last(name, record, expected):
    assert releases.activated(name, record) == expected


def test_the_releases_that_were_live_last_stay():
    found = state(live=B, b={"activated": "2026-05-03T00:00:00Z"}, a={"activated": "2026-05-02T00:00:00Z"})
    assert releases.removable(found, 2) == [C]


# --- the playbook -------------------------------------------------------------------------------------------------


def plays():
    return [play for play in yaml.safe_load((ROOT / "playbooks/rollback.yml").read_text()) if "hosts" in play]


def test_all_is_decided_for_all_hosts_before_one_after_the_other_switches():
    tasks = [task for play in plays() for task in play["tasks"]]
    parts = [
        task["ansible.builtin.include_role"]["tasks_from"] for task in tasks if "ansible.builtin.include_role" in task
    ]
    assert parts == ["rollback", "rollback_live", "rollback_end"]
    assert [play.get("serial") for play in plays()] == [None, None, 1, None]
    assert all(play["any_errors_fatal"] for play in plays())


def test_a_rollback_goes_live_through_the_tasks_of_a_release_and_builds_nothing():
    tasks = ROOT / "roles/release/tasks"
    (live,) = yaml.safe_load((tasks / "rollback_live.yml").read_text())
    assert live["ansible.builtin.include_tasks"] == "activate.yml"
    # With one site alone all that has switched goes back at once when a host fails.
    assert live["vars"] == {"__release_own": {"remove": []}, "__release_apart": False}
    for path in tasks.glob("rollback*.yml"):
        assert not any(word in path.read_text() for word in ("release_build", "source.yml", "build.yml", "install.yml"))


# --- retention ----------------------------------------------------------------------------------------------------


def test_a_release_that_is_live_on_any_host_is_removed_on_none():
    folders = [f"/srv/polls/releases/{name}" for name in (A, B)]
    hosts = {
        "box1": {
            "__release_state": {"found": {"polls": state(live=C)}, "remove": folders},
            "__release_here": {"skipped": True},
        },
        "web2": {"__release_here": {"found": {"polls": state(live=B), "blog": state(live=None)}}},
        "web3": {},
    }
    for host in hosts.values():
        host.setdefault("__release_state", hosts["box1"]["__release_state"])
    variables = {**variables_of("release"), "hostvars": hosts, "ansible_play_hosts_all": list(hosts), **hosts["box1"]}
    variables |= {"inventory_hostname": "box1", "release_leader": "box1"}
    templar = Templar(DataLoader(), variables)
    assert templar.template(trust_as_template("{{ __release_removable }}")) == folders[:1]
    live = templar.template(trust_as_template("{{ __release_live_folders }}"))
    assert sorted(set(live)) == [f"/srv/polls/releases/{name}" for name in (B, C)]


def test_only_what_no_host_needs_is_removed():
    # When every host has the new release; and their static files while they still say which those are.
    tasks = yaml.safe_load((ROOT / "roles/release/tasks/finish.yml").read_text())
    prune, remove = tasks[-2:]
    assert "__release_removable" in prune["vars"]["__release_gone"]
    assert remove["ntier.django.release_remove"]["folders"] == "{{ __release_removable }}"


@pytest.mark.parametrize(("leader_in", "expected"), [(True, ["box1", "web2", "web3"]), (False, ["web2", "web3"])])
def test_the_leader_is_asked_for_the_schema_unless_it_is_left_out(leader_in, expected):
    hosts = ["web2", "web3"] + ["box1"] * leader_in
    variables = {**variables_of("release"), "release_leader": "box1", "ansible_play_hosts_all": hosts}
    assert Templar(DataLoader(), variables).template(trust_as_template("{{ __release_back_hosts }}")) == expected
