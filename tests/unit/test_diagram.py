"""The picture of a cluster: what is in it, that nothing lies on anything else, and what a user sees who has it drawn."""

import dataclasses
import importlib.util
import itertools
import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import yaml
from clusters import FIGURE_2, FIGURE_4, ROOT, a_site, build, inventory, shipped, three_sites

from ansible_collections.ntier.django.plugins.action.diagram import default_path
from ansible_collections.ntier.django.plugins.plugin_utils.diagram import _lines, _wide, draw
from ansible_collections.ntier.django.plugins.plugin_utils.faults import InventoryError
from ansible_collections.ntier.django.plugins.plugin_utils.topology import TIERS

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["1-single-box", "2-database", "3-media", "4-load-balanced", "5-n-tier"]
LONG = "a-very-long-host-name-of-the-sort-that-clouds-invent-0123456789.internal.eu-central-1.example.com"
PORTS = {"web": 8081, "media": 8082}  # so that they can share a host with a balancer


def many(name, count):
    return [f"{name}{number}" for number in range(1, count + 1)]


def with_flows(cluster, *flows):
    """Return a cluster with further flows: source tier, target tier, port, and the hosts of both."""
    hosts = {tier: entry["hosts"] for tier, entry in cluster["tiers"].items()}
    more = [
        {"from": source, "to": target, "port": port, "sources": hosts[source], "targets": hosts[target]}
        for source, target, port in flows
    ]
    return {**cluster, "flows": [*cluster["flows"], *more]}


def some_cluster(seed):
    """Return a cluster with its tiers spread over hosts at random, or None when it can't work."""
    chance = random.Random(seed)
    hosts = many("host", chance.randint(1, 7))
    groups = {tier: sorted(chance.sample(hosts, min(len(hosts), chance.choice([1, 1, 2, 3])))) for tier in TIERS}
    if chance.random() < 0.4:
        groups["load_balancer"] = []
    groups = {**groups, "all": list(dict.fromkeys(itertools.chain(*groups.values())))}
    try:
        cluster = build({**groups, "ungrouped": []}, ports=PORTS, sites=three_sites())
    except InventoryError:
        return None
    return with_flows(cluster, ("database", "database", 2380), ("media", "memcached", 1)) if seed % 3 == 0 else cluster


def clusters():
    """Return name → cluster."""
    numbers = {name: f"2001:db8:1234:5678:9abc:def0:1234:{number:x}abc" for number, name in enumerate(inventory(FIGURE_4)["all"], 1)}  # fmt: skip
    return {
        **{name: shipped(name) for name in NAMES},
        "twelve web hosts": build(
            {**FIGURE_4, "load_balancer": many("lb", 2), "web": many("web", 12), "database": many("db", 3)}
        ),
        "forty web hosts": build({**FIGURE_4, "web": many("web", 40)}),
        "long names": build({**FIGURE_4, "web": [LONG, "web2", "x" * 60], "database": [f"db.{LONG}"]}),
        "IPv6": build(FIGURE_4, hosts={name: {"ntier_address": address} for name, address in numbers.items()}),
        "five domains": build(sites=[a_site(domains=[f"a-rather-long-name-{n}.example.com" for n in range(5)])]),
        "a domain as long as can be": build(sites=[a_site(domains=[".".join(["x" * 60] * 4)])]),
        "several sites": build(FIGURE_2, sites=three_sites()),
        "many sites": build(sites=[a_site(f"s{n}", domains=[f"s{n}.example.com", f"{n}.org"]) for n in range(30)]),
        "media with a domain": build(
            {**FIGURE_2, "media": ["media1"]}, sites=[a_site(media_domain="media.example.com")]
        ),
        "one back end": build({"web": ["web1"], "media": ["back1"], "memcached": ["back1"], "database": ["back1"]}),
        "flows to the like": with_flows(
            shipped("5-n-tier"),
            ("database", "database", 5432),
            ("database", "database", 2380),
            ("media", "media", 49152),
        ),
        "leaving hosts": build(inventory(FIGURE_2, retired=many("old", 40))),
        **{f"at random {n}": cluster for n in range(60) if (cluster := some_cluster(n))},
    }


CLUSTERS = clusters()


# --- reading a picture --------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Shape:
    """A rectangle, with the groups that it is in."""

    left: float
    top: float
    right: float
    bottom: float
    owners: tuple
    text: str = ""

    def meets(self, other):
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def holds(self, other):
        return (
            self.left <= other.left and self.top <= other.top and other.right <= self.right and other.bottom <= self.bottom
        )  # fmt: skip


class Picture:
    """What is in an SVG: boxes, arrows (as lists of level and upright pieces) and texts."""

    def __init__(self, text):
        self.root = ET.fromstring(text)
        self.boxes, self.texts, self.arrows = [], [], []
        self._collect(self.root, ())

    def _collect(self, element, owners):
        for number, child in enumerate(element):
            kind, name = child.tag.removeprefix(SVG), child.get("class", "")
            if kind == "rect" and name == "box":
                x, y = int(child.get("x")), int(child.get("y"))
                self.boxes.append(Shape(x, y, x + int(child.get("width")), y + int(child.get("height")), owners))
            elif kind == "text":
                self.texts.append(self._text(child, owners))
            elif kind == "g" and name == "arrow":
                self._collect(child, (*owners, number))
                self.arrows.append((self._pieces(child), (*owners, number)))
            elif kind == "g":
                self._collect(child, (*owners, number))

    @staticmethod
    def _text(element, owners):
        size, x, y = int(element.get("font-size")), int(element.get("x")), int(element.get("y"))
        width = _wide(element.text, size, bold=element.get("font-weight") == "600")
        left = x - width / 2 if element.get("text-anchor") == "middle" else x
        return Shape(left, y - size * 0.75, left + width, y + size * 0.2, owners, element.text)

    @staticmethod
    def _pieces(group):
        """Return the pieces of an arrow; the corners are the middle points of its curves."""
        line, head = (path.get("d") for path in group.findall(f"{SVG}path"))
        corners = [re.match(r"M(-?\d+) (-?\d+)", line), *re.finditer(r"Q(-?\d+) (-?\d+)", line)]
        points = [tuple(map(int, corner.groups())) for corner in [*corners, re.match(r"M(-?\d+) (-?\d+)", head)]]
        pieces = []
        for (x1, y1), (x2, y2) in itertools.pairwise(points):
            assert x1 == x2 or y1 == y2
            pieces.append(Shape(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), ()))
        return [points[0], points[-1], pieces]

    def within(self, name):
        """Return all texts below the groups of a class."""
        return [
            text.text
            for group in self.root.iter(f"{SVG}g")
            if group.get("class") == name
            for text in group.iter(f"{SVG}text")
        ]

    def words(self):
        return [text.text for text in self.texts]


def inside(outer, inner):
    """Return whether the owners of one thing are within another box."""
    return inner[: len(outer)] == outer


@pytest.fixture(scope="module")
def pictures():
    return {name: Picture(draw(cluster)) for name, cluster in CLUSTERS.items()}


# --- nothing lies on anything else --------------------------------------------------------------------------------


def test_enough_clusters_at_random_can_work():
    assert sum(name.startswith("at random") for name in CLUSTERS) > 30


@pytest.mark.parametrize("name", CLUSTERS)
def test_boxes_are_beside_or_within_each_other(pictures, name):
    for one, other in itertools.combinations(pictures[name].boxes, 2):
        if inside(one.owners, other.owners):
            assert one.holds(other), (one, other)
        elif inside(other.owners, one.owners):
            assert other.holds(one), (one, other)
        else:
            assert not one.meets(other), (one, other)


@pytest.mark.parametrize("name", CLUSTERS)
def test_everything_is_on_the_paper(pictures, name):
    picture = pictures[name]
    paper = Shape(0, 0, int(picture.root.get("width")), int(picture.root.get("height")), ())
    pieces = [piece for (_start, _end, pieces), _owners in picture.arrows for piece in pieces]
    assert [shape for shape in [*picture.boxes, *picture.texts, *pieces] if not paper.holds(shape)] == []


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_arrow_crosses_a_box(pictures, name):
    for (_start, _end, pieces), owners in pictures[name].arrows:
        for box in pictures[name].boxes:
            if not inside(box.owners, owners):
                assert [piece for piece in pieces if piece.meets(box)] == [], box


@pytest.mark.parametrize("name", CLUSTERS)
def test_arrows_go_from_box_to_box(pictures, name):
    for (start, end, _pieces), owners in pictures[name].arrows:
        for x, y in (start, end):
            assert any(
                box.left < x < box.right and y in (box.top, box.bottom)
                for box in pictures[name].boxes
                if not inside(box.owners, owners)
            )


@pytest.mark.parametrize("name", CLUSTERS)
def test_no_arrow_runs_along_another(pictures, name):
    for ((_s, _e, ones), _b), ((_s, _e, others), _b) in itertools.combinations(pictures[name].arrows, 2):
        for one, other in itertools.product(ones, others):
            if (one.left == one.right) == (other.left == other.right):  # otherwise they cross
                room = Shape(one.left - 4, one.top - 4, one.right + 4, one.bottom + 4, ())
                assert not room.meets(other), (one, other)


@pytest.mark.parametrize("name", CLUSTERS)
def test_texts_are_legible(pictures, name):
    picture = pictures[name]
    for one, other in itertools.combinations(picture.texts, 2):
        assert not one.meets(other), (one.text, other.text)
    for text in picture.texts:
        if text.text == "leader":  # on the edge of its box
            continue
        for box in picture.boxes:
            assert box.holds(text) if inside(box.owners, text.owners) else not box.meets(text), (text, box)
        for (_start, _end, pieces), _owners in picture.arrows:
            assert [piece for piece in pieces if piece.meets(text)] == [], text.text


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_picture_fits_into_a_page(pictures, name):
    assert int(pictures[name].root.get("width")) <= 1000


# --- what is in it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_figure_tiers_software_hosts_addresses_domains_and_ports_are_named(pictures, name):
    cluster, picture = shipped(name), pictures[name]
    words = picture.words()
    text = "\n".join(words)
    assert f"Figure {cluster['figure']}: {cluster['figure_title']}" in words
    assert "guestbook.example.com" in words
    for host, entry in cluster["hosts"].items():
        assert words.count(host) == 1
        assert entry["address"] in words
    for tier, entry in cluster["tiers"].items():
        assert (tier in words) == bool(entry["hosts"])
    assert [flow["port"] for flow in cluster["flows"] if not re.search(rf"ports? .*\b{flow['port']}\b", text)] == []
    assert "nginx + gunicorn + PgBouncer" in words
    assert "PostgreSQL" in words


def test_one_box_is_one_box_with_a_box_for_each_tier(pictures):
    picture = pictures["1-single-box"]
    assert picture.within("host")[:2] == ["box1", "192.0.2.11"]
    for tier in ("web", "media", "memcached", "database"):
        assert picture.within(f"tier {tier}")[0] == tier
    assert len(picture.boxes) == 1 + 1 + 4
    assert [arrow for arrow in picture.within("arrow") if "port" in arrow] == [
        "port 80",
        "port 11211",
        "port 5432",
        "web, port 80",
    ]


def test_hosts_of_a_tier_share_a_box_and_an_arrow(pictures):
    picture = pictures["twelve web hosts"]
    assert [word for word in picture.within("group web") if word.startswith("web")] == ["web", *many("web", 12)]
    assert len(picture.arrows) == 6


def test_the_leader_is_marked_where_there_are_several_hosts(pictures):
    assert pictures["4-load-balanced"].words().count("leader") == 2
    assert pictures["5-n-tier"].words().count("leader") == 5
    assert pictures["3-media"].words().count("leader") == 0
    mixed = Picture(draw(build({**FIGURE_4, "memcached": ["web1", "web2"], "web": ["web1", "web2"]})))
    assert [word for word in mixed.words() if "leader" in word] == ["web (leader)", "memcached (leader)"]


def test_tiers_run_from_top_to_bottom(pictures):
    heads = {text.text: text.top for text in reversed(pictures["5-n-tier"].texts)}
    assert heads["the Internet"] < heads["load_balancer"] < heads["web"] < heads["media"]
    assert heads["media"] == heads["memcached"] == heads["database"]


def test_flows_within_a_group_are_named_in_it(pictures):
    picture = pictures["flows to the like"]
    assert "to each other: ports 5432, 2380" in picture.within("group database")
    assert "to each other: port 49152" in picture.within("group media")


def test_several_sites_are_named_with_prefix_and_domains(pictures):
    assert pictures["several sites"].within("visitors") == [
        "the Internet",
        "blog: www.example.com · example.com",
        "shop: www.example.com/shop",
        "diary: diary.example.com",
    ]


def test_what_is_left_out_of_many_domains_is_counted(pictures):
    words = pictures["many sites"].within("visitors")
    assert words[1] == "s0: s0.example.com · 0.org"
    assert words[-1] == "and 46 more domains"


def test_media_of_their_own_domain_are_asked_directly(pictures):
    picture = pictures["media with a domain"]
    assert "blog.example.com · media.example.com" in picture.within("visitors")
    assert picture.within("arrow").count("port 80") == 1
    assert "ports 80, 2049" in picture.within("arrow")


def test_hosts_that_shall_leave_are_named(pictures):
    words = [word for word in pictures["leaving hosts"].words() if "old" in word]
    assert words[0].startswith("Shall leave: old1, old2")


def test_ports_are_those_that_the_user_chose():
    words = Picture(draw(build(FIGURE_4, ports={"web": 8080, "database": 5433}))).words()
    assert {"port 8080", "port 5433"} <= set(words)


def test_a_name_that_is_also_the_address_is_written_once():
    words = Picture(draw(build(hosts={"box1": {"ansible_host": "box1"}}))).words()
    assert words.count("box1") == 1


def test_a_long_name_is_parted_and_whole_in_the_tool_tip(pictures):
    picture = pictures["long names"]
    titles = [title.text for title in picture.root.iter(f"{SVG}title")]
    assert any(title.startswith(f"{LONG}\n") for title in titles)
    assert "a-very-long-host-name-of-" in picture.words()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("web1", ["web1"]),
        ("web1.example.com", ["web1.", "example.", "com"]),
        ("2001:db8::12", ["2001:", "db8::12"]),
        ("abcdefghijklmno", ["abcdefgh", "ijklmno"]),
        ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p", ["a.b.c.d.", "e.f.g.h.", "i.j.k.l…"]),
    ],
)
def test_long_names_are_parted_where_they_have_joints(text, lines):
    assert _lines(text, 8) == lines


# --- the file -----------------------------------------------------------------------------------------------------


def test_names_are_escaped_and_what_xml_cant_say_is_replaced():
    cluster = build(hosts={"box1": {"ansible_host": "192.0.2.1"}})
    cluster["tiers"]["web"]["provider"] = 'a <b> & "c" \x07'
    assert 'a <b> & "c" \N{REPLACEMENT CHARACTER}' in Picture(draw(cluster)).words()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_cluster_gives_the_same_text(name):
    assert draw(shipped(name)) == draw(shipped(name))


def test_who_does_not_see_it_is_told(pictures):
    root = pictures["4-load-balanced"].root
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert root.find(f"{SVG}title").text == "Figure 20-4: a balancer before a cluster of web hosts"
    words = root.find(f"{SVG}desc").text
    assert "web, nginx + gunicorn + PgBouncer: box1 (192.0.2.11) and web2 (192.0.2.12)." in words
    assert "From web to database: port 5432." in words


def test_it_brings_its_own_paper(pictures):
    first = next(pictures["1-single-box"].root.iter(f"{SVG}rect"))
    assert (first.get("class"), first.get("fill")) == ("paper", "#ffffff")


def test_the_shipped_pictures_are_up_to_date():
    spec = importlib.util.spec_from_file_location("figures", ROOT / "tools/figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    expected = {path.name: text for path, text in figures.render().items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs/figures").glob("*.svg")}
    assert list(expected) == [f"{name}.svg" for name in NAMES]
    assert found == expected, "stale: run tools/env python tools/figures.py"


def test_it_is_put_beside_the_inventory_and_not_into_it(tmp_path):
    (tmp_path / "prod").mkdir()
    (tmp_path / "hosts.yml").touch()
    assert default_path([f"{tmp_path}/prod/"], "/else") == f"{tmp_path}/prod.svg"
    assert default_path([f"{tmp_path}/hosts.yml"], "/else") == f"{tmp_path}/hosts.svg"
    assert default_path(["a,b,", f"{tmp_path}/hosts.yml"], "/else") == f"{tmp_path}/hosts.svg"
    assert default_path(["a,b,"], "/else") == "/else/cluster.svg"
    assert default_path([], "/else") == "/else/cluster.svg"


# --- what a user sees ---------------------------------------------------------------------------------------------


class Project:
    """A folder with an inventory of hosts that don't exist."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "prod/group_vars").mkdir(parents=True)
        (folder / "project").mkdir()
        hosts = {name: {"ansible_host": f"192.0.2.{n}"} for n, name in enumerate(inventory(FIGURE_4)["all"], 1)}
        groups = {tier: {"hosts": dict.fromkeys(names)} for tier, names in FIGURE_4.items()}
        (folder / "prod/hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}, **groups}, sort_keys=False))
        self.sites([a_site(source={"path": "../project"})])

    def sites(self, sites):
        (self.folder / "prod/group_vars/all.yml").write_text(yaml.safe_dump({"ntier_sites": sites}))

    def start(self, *options):
        command = [sys.executable, "-m", "ansible", "playbook", "-i", "prod", "ntier.django.diagram", *options]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "COLUMNS": "400", "ANSIBLE_NOCOLOR": "1"}  # fmt: skip
        environment.pop("ANSIBLE_VAULT_PASSWORD_FILE", None)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options):
        process = self.start(*options)
        text = process.communicate(timeout=60)[0]
        return process.returncode, text

    def files(self):
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


GIVEN = {"prod/hosts.yml", "prod/group_vars/all.yml"}


def test_drawing_checks_writes_and_is_idempotent(tmp_path):
    project = Project(tmp_path)
    code, text = project.run("--check", "--diff")
    assert code == 0, text
    assert f"The picture would be {tmp_path}/prod.svg" in text
    assert "+<svg xmlns=" in text
    assert "changed=1" in text
    assert project.files() == GIVEN

    code, text = project.run()
    assert code == 0, text
    assert f"The picture is {tmp_path}/prod.svg" in text
    assert "changed=1" in text
    assert project.files() == {*GIVEN, "prod.svg"}, "and no secrets were made"
    assert {"web1", "192.0.2.1"} <= set(Picture((tmp_path / "prod.svg").read_text()).words())

    code, text = project.run("--limit", "web2")
    assert code == 0, text
    assert "changed=0" in text

    project.sites([a_site(source={"path": "../project"}, domains=["other.example.com"])])
    code, text = project.run("--diff", "-e", "diagram_file=other.svg")
    assert code == 0, text
    assert "other.example.com" in (tmp_path / "other.svg").read_text()
    assert "other.example.com" not in (tmp_path / "prod.svg").read_text()


def test_drawing_refuses_what_cant_work(tmp_path):
    good, bad = Project(tmp_path / "good"), Project(tmp_path / "bad")
    bad.sites([a_site(source={"path": "../nothing"})])
    expected = {
        good.start("-e", "diagram_file=prod/hosts.yml"): "/prod/hosts.yml is there and is no SVG. Name another file",
        good.start("-e", "diagram_file=nowhere/a.svg"): "/nowhere is no folder on this controller. Make it",
        good.start("-e", "diagram_file=project"): "/project is a folder. Name a file in it",
        bad.start(): "ntier_sites, site blog: source.path is",
    }
    for process, message in expected.items():
        text = process.communicate(timeout=60)[0]
        assert process.returncode != 0
        assert message in text
        assert "UNREACHABLE" not in text
    assert good.files() == bad.files() == GIVEN
