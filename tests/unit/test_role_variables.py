"""Every variable of every role: documented, typed, with the default that its documentation says, and checked before any host."""

import re

import jinja2
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from clusters import ROOT

from ansible_collections.ntier.django.plugins.action.preflight import PUBLIC, SHARED
from ansible_collections.ntier.django.plugins.plugin_utils import rolevars
from ansible_collections.ntier.django.plugins.plugin_utils.faults import Faults

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
SPECS = rolevars.load_specs(ROOT / "roles")
DEBIAN = {"distribution": "Debian", "distribution_major_version": "13", "distribution_version": "13.1"}


def read(role, file):
    path = ROOT / "roles" / role / file
    return yaml.safe_load(path.read_text()) or {} if path.exists() else {}


def spec_of(role):
    return read(role, "meta/argument_specs.yml")["argument_specs"]["main"]


def options(tree, prefix=""):
    """Yield the dotted name and the spec of every option, those of dictionaries too."""
    for name, option in tree.items():
        yield f"{prefix}{name}", option
        yield from options(option.get("options", {}), f"{prefix}{name}.")


# --- documentation and defaults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_documentation_name_the_same_variables(role):
    documented = {name for name, option in spec_of(role)["options"].items() if not option.get("required")}
    assert set(read(role, "defaults/main.yml")) == documented


@pytest.mark.parametrize("role", ROLES)
def test_public_names_start_with_the_role_and_internal_ones_with_two_underscores(role):
    assert [name for name in spec_of(role)["options"] if not name.startswith(f"{role}_")] == []
    assert [name for name in read(role, "vars/main.yml") if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_option_has_type_and_description(role):
    for name, option in options(spec_of(role)["options"]):
        assert option.get("type") in rolevars._WORDS, name
        assert option.get("description"), name
        if option["type"] == "list":
            assert option.get("elements"), name
        if "choices" in option and "default" in option:
            assert option["default"] in option["choices"], name


@pytest.mark.parametrize("role", ROLES)
def test_every_role_says_what_it_is(role):
    spec = spec_of(role)
    assert spec["short_description"].endswith(".")
    assert spec["description"]


@pytest.mark.parametrize("role", ROLES)
def test_a_secret_has_no_default(role):
    for name, option in options(spec_of(role)["options"]):
        if re.search(r"password|secret_key", name.rsplit(".", 1)[-1]):
            assert option["required"] is True, name


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_of_the_documentation(role):
    """A default that the cluster derives has the documented one as its fallback, or the documentation says how it is derived."""
    given = read(role, "defaults/main.yml")
    variables = {key: trusted(value) for key, value in {**given, **read(role, "vars/main.yml")}.items()}
    templar = Templar(DataLoader(), {**variables, "ansible_facts": DEBIAN, "inventory_hostname": "box1"})
    for name, option in spec_of(role)["options"].items():
        if option.get("required"):
            continue  # has no default, as the names say that both files have in common
        default = templar.template(variables[name])
        assert rolevars.check_value(name, default, option) is None, name
        if "default" in option:
            assert default == option["default"], name
        else:
            assert given[name] != default, f"{name} is a literal, and the documentation doesn't say it"


def trusted(value):
    return trust_as_template(value) if isinstance(value, str) else value


# --- wrong types --------------------------------------------------------------------------------------------------

WRONG = {
    "str": [["x"], {"x": 1}],
    "path": [["x"], {"x": 1}],
    "int": ["many", "80", 1.5, True, [1], {"x": 1}],
    "bool": ["yes", "false", "maybe", 1, 2, [True], {"x": True}],
    "list": ["x", "x,y", 5, True, {"x": 1}],
    "dict": ["x", "x=1", 5, True, ["x"]],
}
RIGHT = {
    "str": ["x", "5"],
    "path": ["/srv", "~/x", "a/b"],
    "int": [0, 1, 65535],
    "bool": [True, False],
    "list": [[]],
    "dict": [{}, {"x": 1}],
}
SAYS = {
    "str": "a text",
    "path": "a path",
    "int": "a whole number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
}


@pytest.mark.parametrize("variable", SPECS)
def test_a_value_of_a_wrong_type_is_refused(variable):
    spec = SPECS[variable]
    for value in WRONG[spec["type"]]:
        what, fix = rolevars.check_value(variable, value, spec) or ("accepted", "")
        assert what.startswith(f"is {value!r}"), (variable, value)
        assert fix.startswith(f"It has to be {SAYS[spec['type']]}") or "choices" in spec


@pytest.mark.parametrize("variable", SPECS)
def test_a_value_of_the_right_type_is_accepted(variable):
    spec = SPECS[variable]
    values = [{}] if spec["type"] == "dict" and "options" in spec else RIGHT[spec["type"]]
    for value in spec.get("choices") or values:
        assert rolevars.check_value(variable, value, spec) is None, (variable, value)


@pytest.mark.parametrize("variable", SPECS)
def test_an_empty_value_is_refused(variable):
    what, fix = rolevars.check_value(variable, None, SPECS[variable])
    assert what == "is empty"
    assert fix == f"Give it {SAYS[SPECS[variable]['type']]}, or leave it out"


@pytest.mark.parametrize("variable", [name for name, spec in SPECS.items() if "choices" in spec])
def test_a_choice_that_is_not_offered_is_refused(variable):
    choices = SPECS[variable]["choices"]
    what, fix = rolevars.check_value(variable, "nonsense", SPECS[variable])
    assert what == "is 'nonsense'"
    assert all(choice in fix for choice in choices)


@pytest.mark.parametrize("variable", [name for name, spec in SPECS.items() if spec["type"] == "list"])
def test_a_list_with_items_of_a_wrong_type_is_refused(variable):
    item = "x" if SPECS[variable]["elements"] == "dict" else {"x": 1}
    what, _fix = rolevars.check_value(variable, [item], SPECS[variable])
    assert repr(item) in what


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ([{"name": "rows", "user": "u"}], "password"),
        ([{"name": "rows", "user": "u", "password": "p", "colour": "red"}], "colour"),
        ([{"name": "rows", "user": "u", "password": "p", "extensions": {"a": 1}}], "extensions"),
    ],
)
def test_the_keys_of_a_list_of_dictionaries_are_checked_too(value, word):
    _what, fix = rolevars.check_value("database_databases", value, SPECS["database_databases"])
    assert word in fix


def test_a_version_that_looks_like_a_number_is_a_text_all_the_same():
    assert rolevars.check_value("database_version", 17, SPECS["database_version"]) is None


def test_off_without_quotes_is_the_choice_off():
    assert rolevars.check_value("web_access_log", False, SPECS["web_access_log"]) is None


@pytest.mark.parametrize(
    ("variable", "value", "way"),
    [
        ("web_port", "8080", """: leave its quotes out, and on the command line write -e '{"web_port": 8080}'"""),
        ("web_ipv6", "no", """: leave its quotes out, and on the command line write -e '{"web_ipv6": false}'"""),
        ("web_port", "yes", ""),
        ("web_port", "80 MB", ""),
        ("web_ipv6", "maybe", ""),
        ("web_ipv6", "1", ""),
    ],
)
def test_a_text_that_was_meant_as_a_number_or_boolean_is_told_how_to_be_one(variable, value, way):
    _what, fix = rolevars.check_value(variable, value, SPECS[variable])
    assert fix == f"It has to be {SAYS[SPECS[variable]['type']]}{way}"


# --- texts from the command line ----------------------------------------------------------------------------------
# -e NAME=VALUE makes a text of every VALUE, and nothing outranks it: whoever reads a boolean or a number converts it.


@pytest.mark.parametrize("variable", SPECS)
def test_a_text_that_is_clear_is_taken(variable):
    spec = SPECS[variable]
    given = {"int": ["8080", "0", "-1"], "bool": [*rolevars.BOOLEANS, "True", "FALSE", "Yes"]}.get(spec["type"], [])
    for text in given:
        value = rolevars.from_text(text, spec)
        assert rolevars.check_value(variable, value, {**spec, "choices": None} if "choices" in spec else spec) is None
        read = trust_as_template("{{ x | " + spec["type"] + " }}")
        assert Templar(DataLoader(), {"x": text}).template(read) == value  # what the roles make of it


@pytest.mark.parametrize("variable", SPECS)
def test_a_text_that_is_not_clear_stays_one(variable):
    texts = ["", " ", "maybe", "y", "t", "80 MB", "0x50", "080", "8_080", "+1", "1e3", "1.0", "truee", "none", "[1]"]
    assert [rolevars.from_text(text, SPECS[variable]) for text in texts] == texts


CONVERTED = {
    name: {"bool"} if spec["type"] == "bool" else {"int", "float"}
    for name, spec in {**SPECS, **PUBLIC}.items()
    if spec["type"] in ("bool", "int", "float")
}
EXPRESSIONS = ("when", "until", "failed_when", "changed_when", "that", "var")
JINJA = jinja2.Environment(trim_blocks=True, extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])


def unconverted(source, expression=False, native=True):
    """Return the names of booleans and numbers that a template reads as they come.

    :arg expression: whether it is an expression without braces.
    :arg native: whether a template that is nothing but an expression keeps its type, as it does outside files.
    """
    tree = JINJA.parse("{{ " + source + " }}" if expression else source)
    alone = native and len(tree.body) == 1 and len(getattr(tree.body[0], "nodes", [])) == 1
    found = []

    def look(node, parents):
        if isinstance(node, jinja2.nodes.Name) and node.ctx == "load" and node.name in CONVERTED:
            above = [p for p in parents if not (isinstance(p, jinja2.nodes.Filter) and p.name in ("default", "d"))]
            nearest = above[-1]
            converted = isinstance(nearest, jinja2.nodes.Filter) and nearest.name in CONVERTED[node.name]
            written = isinstance(nearest, jinja2.nodes.Concat) or (
                isinstance(nearest, jinja2.nodes.Output) and not alone
            )
            if not converted and not (written and "int" in CONVERTED[node.name]):
                found.append(node.name)
        for child in node.iter_child_nodes():
            look(child, [*parents, node])

    look(tree, [])
    return found


def templates_in(value, key=""):
    """Yield every template in the content of a YAML file, and whether it is an expression without braces."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from templates_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from templates_in(item, key)
    elif isinstance(value, str) and "{{" not in value and "{%" not in value:
        yield from [(value, True)] if key in EXPRESSIONS else []
    elif isinstance(value, str):
        yield value, False


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ 1 if web_ipv6 else 2 }}", ["web_ipv6"]),
        ("{{ web_ipv6 }}", ["web_ipv6"]),
        ("x{{ web_ipv6 }}", ["web_ipv6"]),
        ("{% if web_ipv6 | bool %}{% endif %}", []),
        ("{{ web_ipv6 | default(true) | bool }}", []),
        ("{{ web_port }}", ["web_port"]),
        ("listen {{ web_port }};", []),
        ("{{ ':' ~ web_port }}", []),
        ("listen {{ web_port + 1 }};", ["web_port"]),
        ("{{ web_port | default(80) }}", ["web_port"]),
        ("{{ web_port | default(80) | int }}", []),
        ("{{ x.web_port }}", []),
    ],
)
def test_a_template_that_reads_a_text_as_it_comes_is_found(source, found):
    assert unconverted(source) == found


READERS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("roles/*/*/**/*.yml", "roles/*/templates/**/*.j2", "playbooks/**/*.yml")
    for path in ROOT.glob(pattern)
    if path.parent.name != "meta"
)


@pytest.mark.parametrize("name", READERS)
def test_every_reader_converts_booleans_and_numbers(name):
    """A text "false" is true in a template, and a text "80" is above no number."""
    text = (ROOT / name).read_text()
    if name.endswith(".j2"):
        found = unconverted(text, native=False)
    else:
        found = [
            (name, source)
            for source, expression in templates_in(yaml.safe_load(text))
            for name in unconverted(source, expression)
        ]
    # The topology reads the ports, and takes a number as text.
    found = [entry for entry in found if name != "playbooks/group_vars/all.yml" or entry[0] not in SHARED]
    assert found == []


# --- messages -----------------------------------------------------------------------------------------------------


def faults_of(hosts, origin=lambda _value: None):
    faults = Faults()
    rolevars.check_variables(hosts, SPECS, origin, faults)
    return faults.sentences


def test_a_fault_names_variable_value_and_hosts_once():
    hosts = {name: {"web_port": "http", "unrelated": "x"} for name in ("web1", "web2")}
    assert faults_of(hosts) == [
        "variable web_port (hosts web1 and web2): is 'http', a text. It has to be a whole number.",
    ]


def test_a_fault_of_one_host_names_it():
    assert faults_of({"web1": {"web_port": 80}, "web2": {"web_port": "http"}}) == [
        "variable web_port (host web2): is 'http', a text. It has to be a whole number.",
    ]


def test_a_fault_names_file_and_line_where_they_are_known():
    assert faults_of({"web1": {"web_port": "http"}}, lambda _value: "group_vars/web.yml:3") == [
        "group_vars/web.yml:3: variable web_port: is 'http', a text. It has to be a whole number.",
    ]


def test_all_faults_are_listed():
    assert len(faults_of({"web1": {"web_port": "http", "web_ipv6": "maybe"}, "db1": {"database_port": "x"}})) == 3


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("web_acess_log", "web_access_log"),
        ("database_max_connection", "database_max_connections"),
        ("ntier_site", "ntier_sites"),
        ("ntier_memory", "ntier_memory_mb"),
        ("memcached_memory", "memcached_memory_mb"),
    ],
)
def test_a_misspelt_variable_is_suggested(name, meant):
    assert rolevars.misspelt([name], SPECS, ["ntier_sites", "ntier_memory_mb"]) == [(name, meant)]


@pytest.mark.parametrize("name", ["web_port", "ntier_sites", "ansible_host", "my_web_port", "web_colour_scheme", "x"])
def test_a_variable_that_is_known_or_far_off_is_left_alone(name):
    assert rolevars.misspelt([name], SPECS, ["ntier_sites"]) == []


# --- values that other hosts go by, too ---------------------------------------------------------------------------


def disagreements(hosts, *names):
    faults = Faults()
    rolevars.check_agreement(hosts, names or SHARED, faults)
    return faults.sentences


@pytest.mark.parametrize(
    "hosts",
    [
        {"web1": {"web_port": 8080}, "web2": {"web_port": 8080}},
        {"web1": {}, "web2": {}},
        {"web1": {"web_port": 8080}},
        {},
        {"web1": {"web_ipv6": True, "database_version": 15}, "web2": {"web_ipv6": False}},
    ],
)
def test_values_that_agree_or_concern_one_host_are_allowed(hosts):
    assert disagreements(hosts) == []


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({"web1": {"web_port": 80}, "web2": {"web_port": 8080}}, "is 80 for web1 and 8080 for web2"),
        ({"web1": {"web_port": 80}, "db1": {}}, "is 80 for web1 and not set for db1"),
        ({"db1": {}, "db2": {}, "web1": {"web_port": 80}}, "is not set for db1 and 80 for web1"),
        ({"web1": {"web_port": 80}, "web2": {"web_port": "80"}}, "is 80 for web1 and '80' for web2"),
        (
            {"a": {"web_port": 1}, "b": {"web_port": 1}, "c": {"web_port": 2}, "d": {"web_port": 3}},
            "is 1 for a and 2 for c",
        ),
    ],
)
def test_a_value_that_reaches_other_hosts_and_is_set_for_some_is_refused(hosts, said):
    assert disagreements(hosts) == [
        f"variable web_port: {said}, and reaches more hosts than the one that it is set for."
        " Set it for all hosts, in group_vars/all.yml."
    ]


@pytest.mark.parametrize("name", SHARED)
def test_every_provider_and_port_that_others_go_by_has_to_agree(name):
    (fault,) = disagreements({"box1": {name: "x"}, "db1": {}})
    assert fault.startswith(f"variable {name}: is 'x' for box1 and not set for db1, and reaches more hosts")


def test_what_the_playbooks_read_of_the_roles_variables_has_to_agree():
    """The wiring is worked out on each host: a variable that only some hosts have would give each another cluster."""
    text = (ROOT / "playbooks/group_vars/all.yml").read_text()
    read_there = set(re.findall(r"\b(\w+_(?:provider|port|listen_address))\b \| default", text))
    # The statistics page is the affair of the one balancer that it stands on.
    # How the database moves is read of each host that takes part.
    assert read_there - {"load_balancer_stats_port"} == set(SHARED) - {"handover_logical"}
