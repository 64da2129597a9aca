"""Every play of every playbook ends the whole run when a host fails or is lost: proven with the real ansible-playbook on the plays' keywords."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from clusters import ROOT

PLAYBOOKS = ROOT / "playbooks"
#: Its rescue cleans up over several tasks, so its block is without any_errors_fatal, and it checks itself for lost hosts.
CLEANS_UP = "Make the releases"
TURNS = "Bring the releases live, host by host"
FIGURE = {"load_balancer": ["lb1"], "web": ["box1", "web2"], "media": ["box1"], "database": ["db1"]}


def plays(name):
    """Return the plays of a playbook in their order, those that it imports among them."""
    found = []
    for entry in yaml.safe_load((PLAYBOOKS / name).read_text()):
        found += plays(entry["import_playbook"]) if "import_playbook" in entry else [entry]
    return found


EVERY = [
    pytest.param(play, id=f"{path.name}: {play['name']}")
    for path in sorted(PLAYBOOKS.glob("*.yml"))
    for play in yaml.safe_load(path.read_text())
    if "import_playbook" not in play
]


@pytest.mark.parametrize("play", EVERY)
def test_a_failure_in_any_play_ends_the_run(play):
    assert play["any_errors_fatal"] is True
    # ansible-core counts a lost host twice with any_errors_fatal, and goes on with the next play's other hosts; not with this.
    assert play["max_fail_percentage"] == 0


@pytest.mark.parametrize("play", EVERY)
def test_no_play_names_a_strategy(play):
    """That is the user's: linear, or mitogen's."""
    assert "strategy" not in play


LOST = {
    "ansible_connection": "{{ 'ssh' if inventory_hostname == host and how == 'lost' else 'local' }}",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
}
BREAKS = "{{ play == ansible_play_name and inventory_hostname == host }}"


WHOLE = "ansible_play_hosts | length == ansible_play_hosts_all | length"


def skeleton(play):
    """Return a play with the keywords of one of ours, whose tasks say that they ran, and fail or are lost where the test wants it."""
    keywords = ("name", "hosts", "serial", "any_errors_fatal", "max_fail_percentage")
    explain = {"name": "Explain", "ansible.builtin.fail": {"msg": "EXPLAINED by {{ inventory_hostname }}"}}
    clean_up = {"name": "Clean up", "ansible.builtin.debug": {"msg": "CLEANED UP"}}
    blocks = play["name"] == CLEANS_UP
    broken = {
        "name": "Break",
        "block": [
            {"name": "Lose", "ansible.builtin.ping": None, "vars": LOST, "when": BREAKS},
            {"name": "Fail", "ansible.builtin.fail": {"msg": "no"}, "when": BREAKS},
        ],
        "rescue": [clean_up, clean_up, explain] if blocks else [explain],
    }
    went = {"name": "Go on", "ansible.builtin.debug": {"msg": "WENT ON"}}
    if blocks:
        broken["any_errors_fatal"] = False
    if play["name"] == TURNS:
        broken["when"] = WHOLE
        went["when"] = WHOLE
    check = (
        [{"name": "Check", "ansible.builtin.fail": {}, "run_once": True, "when": f"not ({WHOLE})"}] if blocks else []
    )
    return {
        **{key: play[key] for key in keywords if key in play},
        "gather_facts": False,
        "tasks": [broken, *check, went],
    }


CASES = {
    "every host": ("site", "Prepare the hosts", "web2", "failed"),
    "a tier's only host": ("site", "Have the database", "db1", "lost"),
    "before anything is live": ("site", CLEANS_UP, "web2", "lost"),
    "a failed build": ("release", CLEANS_UP, "box1", "failed"),
    "between two turns": ("site", TURNS, "box1", "lost"),
}


@pytest.mark.parametrize("case", CASES)
def test_no_other_host_goes_on(case, tmp_path):
    """Neither in that play nor in a later one, however few hosts it has; what explains the failure is said."""
    name, broken, host, how = CASES[case]
    todo = plays(f"{name}.yml")
    todo = todo[[play["name"] for play in todo].index(broken) :]
    inventory = {tier: {"hosts": dict.fromkeys(hosts)} for tier, hosts in FIGURE.items()}
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": inventory, "vars": local}}))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([skeleton(play) for play in todo], sort_keys=False))
    options = json.dumps({"play": broken, "host": host, "how": how})
    done = subprocess.run(
        ["ansible-playbook", "-i", "hosts.yml", "play.yml", "-e", options],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0, done.stdout
    assert f"[{host}]: {'UNREACHABLE' if how == 'lost' else 'FAILED'}!" in done.stdout + done.stderr
    assert "WENT ON" not in done.stdout, done.stdout
    if how == "failed":
        assert f"EXPLAINED by {host}" in done.stdout, done.stdout


def test_the_release_does_what_its_skeleton_does_here():
    """Blocks that clean up are without any_errors_fatal, and are checked for lost hosts; no turn follows a host that was lost."""
    tasks = ROOT / "roles/release/tasks"
    for name in ("build.yml", "install.yml"):
        (block,) = yaml.safe_load((tasks / name).read_text())
        assert block["any_errors_fatal"] is False
    names = [task["name"] for task in yaml.safe_load((tasks / "prepare.yml").read_text())]
    check = names.index("prepare | Check that no host was lost meanwhile")
    assert check > names.index("prepare | Install what the leader has built")
    turn, _undrain = yaml.safe_load((tasks / "activate.yml").read_text())
    assert WHOLE in turn["when"]


def test_releases_are_on_the_disk_of_all_hosts_before_the_first_one_switches():
    """Nothing contacts a host between two turns outside of the tasks that bring all hosts back."""
    tasks = ROOT / "roles/release/tasks"
    last = [task for task in yaml.safe_load((tasks / "prepare.yml").read_text()) if "ansible.builtin.command" in task]
    assert last[-1]["ansible.builtin.command"]["argv"][0] == "sync"
    turn, undrain = yaml.safe_load((tasks / "activate.yml").read_text())
    assert turn["ansible.builtin.include_tasks"] == "turn.yml"
    assert "__release_todo | length == 0" in undrain["when"]


def test_no_program_of_ours_takes_the_first_python_in_path():
    wrong = re.compile(r"""(?:^|['"\[\s])python3(?:['"]?,|\s+-)""")
    for path in [*(ROOT / "roles").glob("*/tasks/**/*.yml"), *(ROOT / "playbooks").glob("*.yml")]:
        assert not wrong.search(path.read_text()), path
    for path in [*(ROOT / "roles").glob("*/files/**/*"), *(ROOT / "roles").glob("*/templates/**/*")]:
        if path.is_file() and path.suffix != ".pyc":
            assert "env python" not in path.read_text(errors="replace").split("\n", 1)[0], path
    assert (
        yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())["ansible_python_interpreter"]
        == "/usr/bin/python3"
    )
