"""What the documentation says is what the code does: keys, figures, messages, links and names."""

import ast
import functools
import importlib.util
import itertools
import json
import re
import shlex

import pytest
import yaml
from ansible import context
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible.utils.vars import load_extra_vars
from clusters import ROOT, SHIPPED, a_site, build, shipped, wired

from ansible_collections.ntier.django.plugins.action.preflight import PUBLIC, SHORT
from ansible_collections.ntier.django.plugins.filter.sizing import size_in
from ansible_collections.ntier.django.plugins.plugin_utils import (
    asis,
    commandline,
    plan,
    rolevars,
    sites,
    sizing,
    status,
    topology,
    wiring,
)
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

README = (ROOT / "README.md").read_text()
PROJECT = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CODE_OF_CONDUCT", "MAINTAINERS")]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [*PROJECT, *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
}
TROUBLES = PAGES["docs/troubleshooting.md"]
BOX = ["web", "media", "memcached", "database"]
ROLES = {path.name: path for path in (ROOT / "roles").iterdir()}
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


def test_the_table_of_certificates_has_every_way_to_one():
    found = [row[0].strip("`") for row in rows(section(README, "### For visitors"))[1:]]
    assert found == ["{}", *("{" + ", ".join(f"{key}: …" for key in keys) + "}" for keys in sites.CERTIFICATE_KEYS)]


def test_the_example_of_a_given_certificate_works():
    example = yaml.safe_load(blocks(section(README, "### For visitors"), "yaml")[0])
    assert build(sites=[a_site(**example)])["sites"][0]["certificate"] == example["certificate"]


def test_the_example_sites_work():
    examples = [
        site for block in blocks(section(README, "### Examples"), "yaml") for site in yaml.safe_load(f"ntier_sites:\n{block}")["ntier_sites"]
    ]  # fmt: skip
    cluster = build(sites=examples)
    assert sorted(site["source"]["kind"] for site in cluster["sites"]) == sorted(sites.SOURCE_KINDS)


def test_every_environment_variable_is_listed():
    sites = [a_site(), a_site("alone", settings_overlay=False)]
    found = wired(build(sites=sites))["release_sites"]
    environment = {**found[0]["environment"], **found[1]["environment"]}
    listed = re.findall(r"`([A-Z_]+)`", "".join(row[0] for row in rows(section(README, "### Environment variables"))))
    assert sorted(set(listed)) == sorted(environment)


# --- what the README computes -------------------------------------------------------------------------------------


def sized(cluster):
    """Return the share-out of hosts with 2048 MB and two cores."""
    return {host: size_in(cluster, host, 2048, 2) for host in cluster["hosts"]}


def new(cluster):
    """Return where a cluster begins empty whose hosts are new."""
    return {tier: cluster["tiers"][tier]["hosts"] for tier in asis.KEEPERS}


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
    lines = plan.render(cluster, sized(cluster), empty=new(cluster))
    assert blocks(section(README, "## Use it"), "text")[0].splitlines() == lines


def test_the_plan_of_figure_4_is_that_of_the_shipped_inventory():
    cluster = shipped("4-load-balanced")
    text = blocks(section(README, "### From figure 1 to figure 4"), "text")[0]
    assert text.splitlines() == plan.render(cluster, sized(cluster), empty=new(cluster))


def test_the_status_in_the_readme_is_what_would_be_shown():
    cluster = shipped("4-load-balanced")
    well = {"app": "ok", "database": "ok", "cache": "ok"}
    answers = {"box1": well, "web2": {**well, "cache": "no answer from 192.0.2.42:11211"}}
    health = {
        host: {"guestbook": {"release": "20260101T120000-1f2e3d4c5b6a", "answer": answer}}
        for host, answer in answers.items()
    }
    memory = sized(cluster)["db1"]["database"]["effective_cache_size_mb"] * 2**20
    lines = status.render(cluster, health, {"db1": {"sizes": {"guestbook": 41 * 2**20}, "memory": memory}})
    assert blocks(section(README, "### How the cluster is"), "text")[0].splitlines() == lines


def test_every_shipped_inventory_is_shown_with_its_picture():
    found = {}
    for inventory, picture in rows(section(README, "## Figures").split("\n### ", maxsplit=1)[0])[1:]:
        name, figure, title = re.match(r"`inventories/([\w-]+)`: ([\d-]+), ([\w ]+)", inventory).groups()
        found[name] = figure
        assert title == topology.FIGURES[figure]
        assert picture == f"![Figure {figure}: {title}](docs/figures/{name}.svg)"
        assert f'<title id="title">Figure {figure}: {title}<' in (ROOT / f"docs/figures/{name}.svg").read_text()
    assert found == SHIPPED


def test_the_table_of_the_firewall_is_what_the_inventory_of_figure_4_opens():
    cluster = shipped("4-load-balanced")
    names = {entry["address"]: host for host, entry in cluster["hosts"].items()}
    found = {}
    for hosts, ports, sources in rows(section(README, "## Firewall"))[1:]:
        for host, port in itertools.product(re.findall(r"`(\w+)`", hosts), re.findall(r"\d+", ports)):
            found[host, int(port)] = re.findall(r"`(\w+)`", sources) or [sources]
    expected = {
        (host, rule["port"]): [names[address] for address in rule["sources"]] or [topology.EVERYBODY]
        for host in cluster["hosts"]
        for rule in wiring.firewall_rules(cluster, host)
    }
    assert found == expected


def default_of(variable):
    """Return the default of a role's variable."""
    role = next(name for name in sorted(ROLES, key=len, reverse=True) if variable.startswith(f"{name}_"))
    return yaml.safe_load((ROLES[role] / "defaults/main.yml").read_text())[variable]


def test_the_tables_of_limits_and_tuning_name_the_defaults_of_the_roles():
    for row in rows(section(README, "## Tuning"))[1:]:
        variable = row[3].strip("`")
        if variable not in ("none", *PUBLIC):
            assert row[1] == str(default_of(variable))
    limits = {row[3].strip("`"): row[1] for row in rows(section(README, "## Load balancer"))[1:]}
    assert limits["load_balancer_client_max_connections"] == str(default_of("load_balancer_client_max_connections"))
    assert limits["load_balancer_header_limit_kb"] == f"{default_of('load_balancer_header_limit_kb') - 1} kB"
    factor = re.search(r"\* (\d+)", default_of("load_balancer_max_connections"))[1]
    assert limits["load_balancer_max_connections"].startswith(f"{factor} for each MB")


@pytest.mark.parametrize(
    ("sentence", "variable"),
    [
        ("listens on the balancer's own address, port {}", "load_balancer_stats_port"),
        ("with a growing share in the first {} seconds", "load_balancer_slow_start_seconds"),
        ("on their way have {} seconds", "load_balancer_hard_stop_seconds"),
        ("are valid for {} days, and **hosts renew", "certificate_days"),
        ("signed in advance for {} days", "certificate_ahead_days"),
        ("in its place {} days before the end", "certificate_renew_days"),
        ("by a new connection within {} seconds", "firewall_rollback_seconds"),
        ("`media_client_mount_seconds`, {} seconds", "media_client_mount_seconds"),
        ("`release_drain_seconds` at most: {}.", "release_drain_seconds"),
    ],
)
def test_a_default_in_the_prose_is_that_of_the_role(sentence, variable):
    assert sentence.format(default_of(variable)) in " ".join(README.split())


def test_the_health_page_in_the_readme_is_the_overlays():
    overlay = (ROLES["release"] / "files/overlay/ntier_health.py").read_text()
    assert "/_ntier/health" in overlay
    assert {*json.loads(blocks(README, "json")[0])} == {"app", "database", "cache"}
    for part in ("app", "database", "cache"):
        assert f'"{part}"' in overlay


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
    assert yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"] == ">=2.19.0,<2.22.0"
    assert "ansible-core 2.19 or newer" in README
    first, *_others, last = topology.RUNNABLE
    assert f"builds figures {first} to {last}" in README
    assert [*topology.FIGURES].index(last) == len(topology.RUNNABLE) - 1


def test_every_collection_that_the_roles_use_is_a_dependency_and_named():
    texts = [path.read_text() for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    used = set(re.findall(r"\b(?:ansible|community)\.\w+(?=\.\w+:)", "\n".join(texts))) - {"ansible.builtin"}
    assert used == {*yaml.safe_load((ROOT / "galaxy.yml").read_text())["dependencies"]}
    assert {name for name in used if f"`{name}`" in README} == used


# --- docs/variables.md --------------------------------------------------------------------------------------------


def test_the_generated_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("variables", ROOT / "tools/variables.py")
    variables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(variables)
    assert {path.relative_to(ROOT).as_posix() for path in variables.pages()} == {
        "docs/variables.md",
        *(f"roles/{name}/README.md" for name in ROLES),
    }
    assert variables.stale() == [], "stale: run python tools/variables.py"


def test_the_page_of_variables_has_those_of_the_cluster():
    table = rows(section(PAGES["docs/variables.md"], "## Of the cluster"))[1:]
    assert sorted(row[0].strip("`") for row in table) == sorted(PUBLIC)


# --- messages -----------------------------------------------------------------------------------------------------


@functools.cache
def texts_of_the_code():
    """Return every text that a plugin may print, and the names and texts of the tasks."""
    texts = []
    for path in [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "roles").glob("*/files/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    texts += [path.read_text() for path in (ROOT / "roles").glob("*/files/ntier-*")]
    for path in [*(ROOT / "roles").glob("*/tasks/**/*.yml"), *(ROOT / "playbooks").glob("*.yml")]:
        text = " ".join(path.read_text().split())  # a sentence goes over several lines
        texts += [text.lower(), text]
    return texts


def quoted_messages():
    """Return the messages that the page quotes: the first cells of its tables about runs, but for Ansible's own."""
    parts = [section(TROUBLES, f"## {name}") for name in ("Before any host is contacted", "What the hosts report", "A release fails")]  # fmt: skip
    return [message for part in parts for row in rows(part) for message in re.findall(r"`([^`]+)`", row[0])]


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_in_troubleshooting_is_one_of_the_code(message):
    pieces = re.split(r"…|: |\. | failed$", message)
    known = texts_of_the_code()
    pieces = [piece.strip(" .,") for piece in pieces]
    missing = [piece for piece in pieces if len(piece) > 3 and not any(piece in text for text in known)]
    assert missing == []


def faults_in(path):
    """Return what the code of a plugin may find wrong: of each sentence the longest piece that is always the same."""
    for node in ast.walk(ast.parse((ROOT / "plugins" / path).read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add"):
            continue
        if isinstance(node.func.value, ast.Name) and node.func.value.id == "faults":
            what = node.args[1]
            # Of a condition in a sentence, or instead of one, neither way is always said.
            parts = [what] if isinstance(what, ast.Constant) else getattr(what, "values", [])
            texts = [part for part in parts if isinstance(part, ast.Constant)]
            longest = max((part.value.strip(" :,'") for part in texts), key=len, default="")
            if len(longest) > 3:
                yield longest


@pytest.mark.parametrize(
    "path",
    [
        "action/diagram.py",
        "action/plan.py",
        "action/preflight.py",
        "plugin_utils/asis.py",
        "plugin_utils/certificates.py",
        "plugin_utils/processes.py",
        "plugin_utils/rolevars.py",
        "plugin_utils/rollback.py",
        "plugin_utils/secrets.py",
        "plugin_utils/selection.py",
        "plugin_utils/sites.py",
        "plugin_utils/topology.py",
    ],
)
def test_every_fault_is_in_troubleshooting(path):
    quoted = " ".join(quoted_messages())
    assert [fault for fault in faults_in(path) if fault not in quoted] == []


def test_every_refusal_of_a_role_or_playbook_is_in_troubleshooting():
    quoted = quoted_messages()
    files = [(path, yaml.safe_load(path.read_text())) for path in (ROOT / "roles").glob("*/tasks/**/*.yml")]
    for path in (ROOT / "playbooks").glob("*.yml"):
        files.append((path, [task for play in yaml.safe_load(path.read_text()) for task in play.get("tasks", [])]))
    for path, tasks in files:
        blocks = [task for task in tasks if "block" in task]
        tasks += [inner for task in blocks for key in ("block", "rescue", "always") for inner in task.get(key, [])]
        for task in tasks:
            said = task.get("ansible.builtin.fail", {}).get("msg") or task.get("ansible.builtin.assert", {}).get("fail_msg")  # fmt: skip
            # What begins with a value only hands on what others say: a plugin, a program or the journal.
            if said and not said.startswith("{{") and path.parts[-3] != "release":
                said = " ".join(said.split())
                assert any(all(piece.strip() in said for piece in re.split("…", message)) for message in quoted), said


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
    assert {"plan", "site", "release", "release_command", "status", "diagram", *topology.TIERS} <= named


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_exists(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    commands = re.findall(r"(?:`|^)make ([a-z]+)", PAGES[name], flags=re.MULTILINE)
    assert set(commands) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_variables_of_roles_are_spelt_as_the_roles_do(name):
    known = {*PUBLIC, *re.findall(r"^\| `(\w+)`", PAGES["docs/variables.md"], flags=re.MULTILINE)}
    known |= set(itertools.chain(sites.SITE_KEYS, sites.DATABASE_KEYS, ROLES, ["host_vars", "database_password"]))
    known |= {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    roles = "|".join(sorted(path.name for path in (ROOT / "roles").iterdir()))
    assert set(re.findall(rf"(?<![/\w.])(?:{roles})_\w+", PAGES[name])) <= known


@pytest.mark.parametrize("name", PAGES)
def test_prose_is_not_wider_than_120_columns(name):
    lines = [line for line in PAGES[name].splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 120] == []


# --- what is to be typed with -e -----------------------------------------------------------------------------------


def strings_of(source):
    """Yield the texts of a module without its docstrings; what an f-string fills in stands there as X."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skipped = {
        id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def texts_with_commands():
    """Yield place and text of everything that a user may copy a command from."""
    for name, page in PAGES.items():
        yield from ((name, code) for code in re.findall(r"^ *```sh\n(.*?)^ *```", page, flags=re.DOTALL | re.MULTILINE))
        yield from ((name, code) for code in re.findall(r"`([^`\n]+)`", without_code(page)))
    for path in sorted([*ROOT.glob("playbooks/**/*.yml"), *ROOT.glob("roles/**/*.yml"), *ROOT.glob("roles/**/*.j2")]):
        yield path.relative_to(ROOT).as_posix(), path.read_text()
    for path in sorted([*ROOT.glob("plugins/**/*.py"), *ROOT.glob("roles/*/files/*.py")]):
        yield from ((path.relative_to(ROOT).as_posix(), text) for text in strings_of(path.read_text()))


def first_word(text):
    """Return the first word of a text as it stands, quotes included; without them the end of a sentence is none of it."""
    word = re.match(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", text, flags=re.DOTALL)[0]
    return word if re.search(r"""['"]$""", word) else re.sub(r"[.,:;)]+$", "", word)


PRINTED = sorted(
    {
        (place, first_word(text[found.end() :]))
        for place, text in texts_with_commands()
        for found in re.finditer(r"""(?<![\w-])(?:-e|--extra-vars) (?=['"]?\w+\s?=|['"]?\{\W)""", text)
    }
)


def loaded(*options):
    """Return the variables that Ansible makes of options -e."""
    vars(load_extra_vars).pop("extra_vars", None)
    before, context.CLIARGS = context.CLIARGS, ImmutableDict(extra_vars=options)
    try:
        return load_extra_vars(DataLoader())
    finally:
        context.CLIARGS = before
        vars(load_extra_vars).pop("extra_vars", None)


@pytest.mark.parametrize(("place", "word"), PRINTED)
def test_every_option_that_is_printed_works_when_it_is_typed(place, word):
    specs = {**rolevars.load_specs(ROOT / "roles"), **PUBLIC, **{name: {"type": "str"} for name in (*SHORT, "NAME")}}
    (option,) = shlex.split(word)
    given = loaded(option)
    assert given
    assert commandline.DROPPED not in given
    assert set(given) <= set(specs)
    faults = Faults()
    commandline.check([option], specs, True, faults)
    assert not faults
    for name, value in given.items():
        taken = rolevars.from_text(value, specs[name]) if option[0] != "{" else value
        assert value in ("", "X") or "…" in value or rolevars.check_value(name, taken, specs[name]) is None


def test_options_are_found_where_they_are_printed():
    places = {place for place, _word in PRINTED}
    assert {"README.md", "docs/troubleshooting.md", "playbooks/release_command.yml"} <= places
    assert {
        "roles/release/tasks/migrate.yml",
        "plugins/plugin_utils/selection.py",
        "plugins/plugin_utils/rollback.py",
    } <= places
    assert ("playbooks/release_command.yml", """'command="showmigrations auth"'""") in PRINTED


@pytest.mark.parametrize(
    ("option", "lost"),
    [
        ("command=migrate polls 0002", True),
        ("command=loaddata --database=default f.json", True),
        ("command = migrate", True),
        ("command: migrate", True),
        ("command=migrate x=y", True),
        ("command='migrate polls 0002'", False),
        ("command=\"shell -c 'print(1, 2)'\"", False),
        ('{"command": "migrate polls 0002"}', False),
        ("site=blog command=migrate", False),
        ("command=migrate ansible_user=root", False),
        ("mine=1 yours=2", False),
        ("@file with spaces.yml", False),
        ("", False),
    ],
)
def test_an_option_that_loses_words_is_refused_and_the_form_that_it_is_told_works(option, lost):
    faults = Faults()
    known = {"site", "command"}
    commandline.check([option], known, True, faults)
    assert bool(faults) == lost
    for sentence in faults.sentences:
        printed = sentence.partition("Write ")[2].rstrip(".")
        if "NAME=VALUE" not in printed:
            (_e, form) = shlex.split(printed)
            assert loaded(form) == commandline.meant(option, known)
            assert loaded(form)["command"] == option.partition("=")[2]
