"""What the documentation says is what the code does: keys, figures, messages, links and names."""

import ast
import importlib.util
import itertools
import json
import re

import pytest
import yaml
from clusters import ROOT, a_site, build, wired

from ansible_collections.ntier.django.plugins.action.preflight import PUBLIC
from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.plugin_utils import plan, sites, sizing, topology

README = (ROOT / "README.md").read_text()
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
TROUBLES = PAGES["docs/troubleshooting.md"]
BOX = ["web", "media", "memcached", "database"]
TYPES = {str: "text", list: "list", dict: "dictionary", int: "whole number", bool: "boolean"}


def section(page, heading):
    """Return the text below a heading, up to the next one of its level or above; a comment in code is no heading."""
    level = heading.split(" ")[0]
    text = page.split(f"\n{heading}\n", 1)[1]
    lines, in_code = [], False
    for line in text.splitlines(keepends=True):
        in_code ^= line.lstrip().startswith("```")
        if not in_code and re.match(rf"#{{1,{len(level)}}} ", line):
            break
        lines.append(line)
    return "".join(lines)


def rows(text):
    """Return the cells of all table rows but the rules."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def without_code(page):
    return re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE)


def blocks(page, language):
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page, flags=re.DOTALL | re.MULTILINE)


# --- the site's keys ----------------------------------------------------------------------------------------------


def test_the_table_of_a_site_has_every_key_with_its_type_and_default():
    found = {
        row[0].strip("`"): row[1:3]
        for row in rows(section(README, "## A site").split("Keys of `source`", maxsplit=1)[0])[1:]
    }
    expected = {
        key: [TYPES[types[0]], "required" if default is ... else f"`{json.dumps(default)}`"]
        for key, (types, default) in sites.SITE_KEYS.items()
    }
    assert found == expected


def test_the_table_of_a_source_has_every_key_with_its_default():
    table = section(README, "## A site").split("Keys of `source`")[1].split("Keys of `database`")[0]
    found, kind = {}, ""
    for cells in rows(table)[1:]:
        kind = cells[0].strip("`") or kind
        found.setdefault(kind, {})[cells[1].strip("`")] = cells[2].strip("`")
    expected = {
        kind: {kind: "required", **{key: default or '""' for key, default in sites.SOURCE_KEYS[kind].items()}}
        for kind in sites.SOURCE_KINDS
    }
    assert found == expected


def test_the_table_of_a_database_has_every_key():
    table = section(README, "## A site").split("Keys of `database`")[1].split("\n### ")[0]
    assert [row[0].strip("`") for row in rows(table)[1:]] == list(sites.DATABASE_KEYS)


def test_the_example_sites_work():
    examples = [
        site for block in blocks(section(README, "### Examples"), "yaml") for site in yaml.safe_load(f"ntier_sites:\n{block}")["ntier_sites"]
    ]  # fmt: skip
    cluster = build(sites=examples)
    assert sorted(site["source"]["kind"] for site in cluster["sites"]) == sorted(sites.SOURCE_KINDS)


def test_every_environment_variable_is_listed():
    environment = wired(build(sites=[a_site()]))["release_sites"][0]["environment"]
    listed = re.findall(r"`([A-Z_]+)`", "".join(row[0] for row in rows(section(README, "### Environment variables"))))
    assert sorted(listed) == sorted(environment)


# --- what the README computes -------------------------------------------------------------------------------------


def test_the_plan_in_the_readme_is_that_of_its_inventory():
    parts = {}
    for block in blocks(section(README, "## Use it"), "yaml"):
        name, content = block.split("\n", 1)
        parts[name.removeprefix("# my-inventory/")] = yaml.safe_load(content)
    groups = {tier: list(group["hosts"]) for tier, group in parts["hosts.yml"].items()}
    hosts = {}
    for group in parts["hosts.yml"].values():
        for host, variables in group["hosts"].items():
            hosts.setdefault(host, {}).update(variables or {})
    cluster = topology.build({**groups, "all": list(hosts)}, hosts, parts["group_vars/all.yml"]["ntier_sites"])
    lines = plan.render(cluster, {host: size_in(cluster, host, 2048, 2) for host in hosts})
    assert blocks(section(README, "## Use it"), "text")[0].splitlines() == lines


def test_the_table_of_memory_is_what_the_sizing_computes():
    table = rows(section(README, "## Memory"))[1:]
    assert len(table) == 4
    for row in table:
        size = sizing.size_host(int(row[0]), int(row[1]), BOX)
        figures = [size["system_mb"], size["head_room_mb"], *(size["shares_mb"][tier] for tier in BOX)]
        workers = f"{size['web']['workers']} of {size['web']['threads']}"
        assert row[2:] == [str(figure) for figure in [*figures, size["database"]["shared_buffers_mb"]]] + [workers]


@pytest.mark.parametrize("count", [1, 3])
def test_the_least_memory_is_what_the_sizing_refuses_below(count):
    with pytest.raises(sizing.TooLittleMemory) as error:
        sizing.size_host(256, 1, BOX, sites=count)
    least = re.search(r"at least (\d+ MB)", str(error.value)).group(1)
    assert f"{least} for {'one site' if count == 1 else 'three sites'}" in README


def test_version_and_least_ansible_core_are_those_of_the_collection():
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert f"ntier-django-{version}.tar.gz" in README
    assert f"**This version, {version}," in README
    assert yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"] == ">=2.19.0"
    assert "ansible-core 2.19 or newer" in README
    assert topology.RUNNABLE == ("20-1",), "the README says that figure 20-1 is what this version builds"


# --- docs/variables.md --------------------------------------------------------------------------------------------


def test_the_page_of_variables_is_up_to_date():
    spec = importlib.util.spec_from_file_location("variables", ROOT / "tools/variables.py")
    variables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(variables)
    assert PAGES["docs/variables.md"] == variables.render(), "stale: run python tools/variables.py"


def test_the_page_of_variables_has_those_of_the_cluster():
    table = rows(section(PAGES["docs/variables.md"], "## Of the cluster"))[1:]
    assert sorted(row[0].strip("`") for row in table) == sorted(PUBLIC)


# --- messages -----------------------------------------------------------------------------------------------------


def texts_of_the_code():
    """Yield every text that a plugin may print, and the names and texts of the tasks."""
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
    for path in (ROOT / "roles").glob("*/tasks/*.yml"):
        yield path.read_text().lower()
        yield path.read_text()


def quoted_messages():
    """Return the messages that the page quotes: the first cells of its tables about runs, but for Ansible's own."""
    parts = [section(TROUBLES, f"## {name}") for name in ("Before any host is contacted", "What the hosts report", "A release fails")]  # fmt: skip
    return [row[0].strip("`") for part in parts for row in rows(part) if row[0].startswith("`")]


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_in_troubleshooting_is_one_of_the_code(message):
    pieces = re.split(r"…|: |\. | failed$", message)
    known = list(texts_of_the_code())
    pieces = [piece.strip(" .,") for piece in pieces]
    missing = [piece for piece in pieces if len(piece) > 3 and not any(piece in text for text in known)]
    assert missing == []


# --- links, names, form -------------------------------------------------------------------------------------------


def anchors(page):
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[name])):
        assert not target.startswith(("http:", "https:")), target
        path, _hash, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


@pytest.mark.parametrize("name", PAGES)
def test_every_name_of_the_collection_is_that_of_a_playbook_or_role(name):
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    roles = {path.name for path in (ROOT / "roles").iterdir()}
    page = PAGES[name]
    named = set(re.findall(r"\bntier\.django\.(\w+)", page))
    assert named <= playbooks | roles
    assert set(re.findall(r"ansible-playbook [^\n`]*ntier\.django\.(\w+)", page)) <= playbooks
    assert set(re.findall(r"role: ntier\.django\.(\w+)", page)) <= roles


def test_every_role_and_every_tier_playbook_is_named():
    named = set(re.findall(r"\bntier\.django\.(\w+)", README))
    assert {path.name for path in (ROOT / "roles").iterdir()} <= named
    assert {"plan", "site", "web", "database", "memcached", "media"} <= named


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_exists(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = re.findall(r"(?:`|^)make ([a-z]+)", PAGES[name], flags=re.MULTILINE)
    assert set(commands) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_variables_of_roles_are_spelt_as_the_roles_do(name):
    known = {*PUBLIC, *re.findall(r"^\| `(\w+)`", PAGES["docs/variables.md"], flags=re.MULTILINE)}
    known |= set(itertools.chain(sites.SITE_KEYS, sites.DATABASE_KEYS, ["host_vars", "database_password"]))
    roles = "|".join(sorted(path.name for path in (ROOT / "roles").iterdir()))
    assert set(re.findall(rf"(?<![/\w.])(?:{roles})_\w+", PAGES[name])) <= known


@pytest.mark.parametrize("name", PAGES)
def test_prose_is_not_wider_than_120_columns(name):
    lines = [line for line in PAGES[name].splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []
