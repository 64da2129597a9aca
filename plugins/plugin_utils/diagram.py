# Copyright: (c) 2026, ntier.django maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The picture of a cluster as an SVG, in the manner of the figures of The Django Book. Pure functions over the topology.

Boxes stand in rows, visitors on top. Hosts that serve the same tiers share one box, so that twelve web hosts give one
arrow to the database and not twelve. Arrows run in the room between rows and beside them, never through a box, and what
they are labelled with stands where they end.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import typing as t
import xml.etree.ElementTree as ET

from .faults import listed
from .plan import SOFTWARE
from .topology import EVERYBODY, TIERS

Point = tuple[int, int]
Painter = t.Callable[[ET.Element, int, int, int, int], None]

_ROWS = {"load_balancer": 1, "web": 2, "media": 3, "memcached": 3, "database": 3}
#: Tier → its dark and its light colour. They differ in lightness, too, and nothing is said by colour alone.
_COLOURS = {
    "load_balancer": ("#0b6e6e", "#e1f3f3"),
    "web": ("#1f5fbf", "#e7effc"),
    "media": ("#2b6f2f", "#e6f4e7"),
    "memcached": ("#a84f00", "#fdf0e0"),
    "database": ("#7038a8", "#f2e8fc"),
}
_INK, _MUTED, _PAPER, _LINE, _SHADE = "#1f2328", "#59636e", "#ffffff", "#8c959f", "#f6f8fa"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_NAME, _TEXT, _SMALL = 14, 12, 11

_WIDEST = 920  # of a row, in pixels: what a README shows unscaled
_MARGIN, _PAD, _GAP, _CELL_GAP = 24, 12, 44, 10
_LANE = 14  # from arrow to arrow, sideways
_APART = (12, 8, 5)  # and up and down: what they shall keep, and what they have to keep in a crowd
_SLACK = 4 * _LANE  # for arrows from below to make way for those from above
_HEAD = 9  # length of an arrow's head
_WORD = 28  # characters of a name or an address in a line
_SITE_LINES = 8
_DOT = " · "
_BREAKS = re.compile(r"[^.:_/\-]*[.:_/\-]+|[^.:_/\-]+")
_NO_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclasses.dataclass
class _Box:
    """Something with a place: *paint* is called with parent, x, y, width and height."""

    row: int
    width: int
    height: int
    paint: Painter
    x: int = 0
    y: int = 0

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def right(self) -> int:
        return self.x + self.width


@dataclasses.dataclass
class _Arrow:
    """A way from one box to another."""

    source: str
    target: str
    label: list[str]
    colour: str
    tail: int = 0  # x where it leaves
    head: int = 0  # x where it arrives
    passes: dict[int, int] = dataclasses.field(default_factory=dict)  # row between → x
    points: list[Point] = dataclasses.field(default_factory=list)


def draw(topology: t.Mapping[str, t.Any]) -> str:
    """Return the picture as the text of an SVG file.

    :arg topology: the value of C(topology.build); read are C(figure), C(figure_title), C(tiers), C(hosts), C(retired),
        C(flows) and C(sites). A flow without C(sources) comes from the visitors.
    :return: the same text for the same value, on any machine.
    """
    flows = topology["flows"]
    boxes = {EVERYBODY: _visitors(topology["sites"])}
    groups = _groups(topology)
    made = {tiers: [_host(topology, name, flows) for name in names] for tiers, names in groups.items()}
    columns = _columns(made)
    for tiers, names in groups.items():
        boxes[_key(tiers)] = _group(topology, tiers, made[tiers], columns[tiers], _inside(topology, names, flows))
    arrows = _arrows(topology, groups, flows)
    width, height = _arrange(boxes, arrows)

    caption = f"Figure {topology['figure']}: {topology['figure_title']}"
    leaving = topology.get("retired") or []
    captions = _filled(f"Shall leave: {listed(leaving)}".split(" "), 80) if leaving else []
    canvas_width = max(width, _wide(caption, _TEXT), *(_wide(line, _SMALL) for line in ["", *captions])) + 2 * _MARGIN
    canvas_height = height + 2 * _MARGIN + 26 + 16 * len(captions)
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(canvas_width),
            "height": str(canvas_height),
            "viewBox": f"0 0 {canvas_width} {canvas_height}",
            "role": "img",
            "aria-labelledby": "title desc",
            "font-family": _FONT,
        },
    )
    ET.SubElement(root, "title", {"id": "title"}).text = caption
    ET.SubElement(root, "desc", {"id": "desc"}).text = _clean(_in_words(topology, flows))
    # Its own paper, so that the ink is legible on a dark page, too.
    _rect(root, "paper", 1, 1, canvas_width - 2, canvas_height - 2, _PAPER, "#d1d9e0", 10)
    left = (canvas_width - width) // 2
    _paint(root, boxes, arrows, left, _MARGIN)
    y = _MARGIN + height + 28
    _text(root, canvas_width // 2, y, caption, _TEXT, colour=_MUTED, anchor="middle", style="italic")
    for line in captions:
        y += 16
        _text(root, canvas_width // 2, y, line, _SMALL, colour=_MUTED, anchor="middle")
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


# --- what is drawn ------------------------------------------------------------------------------------------------


def _groups(topology: t.Mapping[str, t.Any]) -> dict[tuple[str, ...], list[str]]:
    """Return sets of tiers → the hosts that serve just these, in the order in which they are drawn."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, host in topology["hosts"].items():
        if not host["tiers"]:  # which leaves
            continue
        groups.setdefault(tuple(host["tiers"]), []).append(name)
    return dict(sorted(groups.items(), key=lambda item: [TIERS.index(tier) for tier in item[0]]))


def _key(tiers: t.Iterable[str]) -> str:
    return " + ".join(tiers)


def _arrows(
    topology: t.Mapping[str, t.Any],
    groups: t.Mapping[tuple[str, ...], t.Sequence[str]],
    flows: t.Sequence[t.Mapping[str, t.Any]],
) -> list[_Arrow]:
    """Return one arrow for each pair of boxes of which one has to do with the other."""
    ways: dict[tuple[str, str], dict[str, list[t.Any]]] = {}
    for flow in flows:
        sources = [_key(tiers) for tiers, names in groups.items() if {*names} & {*flow["sources"]}] or [EVERYBODY]
        targets = [_key(tiers) for tiers, names in groups.items() if {*names} & {*flow["targets"]}]
        for way in itertools.product(sources, targets):
            if way[0] != way[1]:
                _once(ways.setdefault(way, {}).setdefault(flow["to"], []), flow["port"])
    arrows = []
    several = {_key(tiers) for tiers in groups if len(tiers) > 1}
    for (source, target), ports in ways.items():
        label = [f"{tier}, {_ports(some)}" if target in several else _ports(some) for tier, some in ports.items()]
        colours = [_COLOURS[tier][0] for tier in ports]
        arrows.append(_Arrow(source, target, label, colours[0] if len(colours) == 1 else _MUTED))
    return arrows


def _inside(
    topology: t.Mapping[str, t.Any], names: t.Sequence[str], flows: t.Sequence[t.Mapping[str, t.Any]]
) -> list[str]:
    """Return what the hosts of one box have to do with each other, a line for each tier that is asked."""
    ports: dict[str, list[t.Any]] = {}
    for flow in flows:
        if any(
            source != target for source in flow["sources"] for target in flow["targets"] if {source, target} <= {*names}
        ):
            _once(ports.setdefault(flow["to"], []), flow["port"])
    tiers = topology["hosts"][names[0]]["tiers"]
    return [
        f"to each other: {_ports(numbers)}" if len(tiers) == 1 else f"to each other's {tier}: {_ports(numbers)}"
        for tier, numbers in ports.items()
    ]


def _once(items: list[t.Any], item: t.Any) -> None:
    if item not in items:
        items.append(item)


def _ports(numbers: t.Sequence[t.Any]) -> str:
    return f"{'port' if len(numbers) == 1 else 'ports'} {', '.join(map(str, numbers))}"


def _software(topology: t.Mapping[str, t.Any], tier: str) -> str:
    provider = topology["tiers"][tier]["provider"]
    return SOFTWARE.get(provider, provider)


def _leads(topology: t.Mapping[str, t.Any], tier: str, name: str) -> bool:
    """Return whether a host is the first among others of its tier."""
    entry = topology["tiers"][tier]
    return len(entry["hosts"]) > 1 and entry["leader"] == name


def _in_words(topology: t.Mapping[str, t.Any], flows: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """Return the picture in words, for those who don't see it."""
    parts = [f"The Internet asks for {listed(_site_words(topology['sites']))}."]
    for tier, entry in topology["tiers"].items():
        if entry["hosts"]:
            hosts = [f"{name} ({topology['hosts'][name]['address']})" for name in entry["hosts"]]
            parts.append(f"{tier}, {_software(topology, tier)}: {listed(hosts)}.")
    parts += [f"From {flow['from']} to {flow['to']}: port {flow['port']}." for flow in flows]
    return " ".join(parts)


def _site_words(sites: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Return under which names the sites are asked for, those of their media after their own."""
    words = []
    for site in sites:
        media = [site["media_domain"]] if site.get("media_domain") else []
        words += [f"{domain}{site.get('prefix', '')}" for domain in [*site["domains"], *media]]
    return list(dict.fromkeys(words))


# --- boxes --------------------------------------------------------------------------------------------------------


def _visitors(sites: t.Sequence[t.Mapping[str, t.Any]]) -> _Box:
    """Return the box of those who ask, with what they ask for."""
    lines: list[str] = []
    for site in sites:
        first, *others = _site_words([site])
        lines += _filled([f"{site['name']}: {first}" if len(sites) > 1 else first, *others], 64, _DOT)
    if len(lines) > _SITE_LINES:
        rest = sum(len(line.split(_DOT)) for line in lines[_SITE_LINES - 1 :])
        lines = [*lines[: _SITE_LINES - 1], f"and {rest} more domains"]
    width = max(_wide("the Internet", _NAME, bold=True), *(_wide(line, _TEXT) for line in lines)) + 4 * _PAD
    height = 34 + 17 * len(lines) + 4

    def paint(parent: ET.Element, x: int, y: int, width: int, height: int) -> None:
        group = _named(parent, "visitors", "\n".join(_site_words(sites)))
        _rect(group, "box", x, y, width, height, _SHADE, _LINE, 22)
        _text(group, x + width // 2, y + 24, "the Internet", _NAME, bold=True, anchor="middle")
        for number, line in enumerate(lines):
            _text(group, x + width // 2, y + 43 + 17 * number, line, _TEXT, colour=_MUTED, anchor="middle")

    return _Box(0, width, height, paint)


def _host(topology: t.Mapping[str, t.Any], name: str, flows: t.Sequence[t.Mapping[str, t.Any]]) -> _Box:
    """Return the box of one host: with its name and address, and within it a box for each tier if it serves several."""
    host = topology["hosts"][name]
    tiers = host["tiers"]
    names = _lines(name, _WORD)
    address = _lines(host["address"], _WORD) if host["address"] != name else []
    crown = len(tiers) == 1 and _leads(topology, tiers[0], name)
    inner = {tier: _tier(topology, tier, name) for tier in tiers} if len(tiers) > 1 else {}
    arrows = [_Arrow(way[0], way[1], [_ports(ports)], _COLOURS[way[1]][0]) for way, ports in _own(name, tiers, flows)]
    inner_width, inner_height = _arrange(inner, arrows if inner else [], gap=16)
    head = 22 + 17 * (len(names) - 1) + 16 * len(address)
    widths = [
        *(_wide(line, _NAME, bold=True) for line in names),
        *(_wide(line, _TEXT) for line in address),
        inner_width,
    ]
    high = head + (inner_height + 2 * _PAD if inner else _PAD)
    dark = _INK if inner else _COLOURS[tiers[0]][0]

    def paint(parent: ET.Element, x: int, y: int, width: int, height: int) -> None:
        group = _named(parent, "host", f"{name}\n{host['address']}")
        _rect(group, "box", x, y, width, height, _SHADE if inner else _PAPER, _LINE if inner else dark, 6)
        line_y = y + 23 + (0 if inner else (height - high) // 2)
        for line in names:
            _text(group, x + width // 2, line_y, line, _NAME, bold=True, anchor="middle")
            line_y += 17
        for line in address:
            _text(group, x + width // 2, line_y, line, _TEXT, colour=_MUTED, anchor="middle")
            line_y += 16
        if crown:  # on the edge, so that the boxes beside it need no room for it
            _rect(group, "leader", x + width // 2 - 25, y - 7, 50, 15, dark, dark, 7)
            _text(group, x + width // 2, y + 4, "leader", 10, colour=_PAPER, anchor="middle", bold=True)
        _paint(group, inner, arrows, x + (width - inner_width) // 2, y + head + _PAD)

    return _Box(0, max(*widths, 72) + 2 * _PAD, high, paint)


def _own(
    name: str, tiers: t.Sequence[str], flows: t.Sequence[t.Mapping[str, t.Any]]
) -> list[tuple[tuple[str, str], list[t.Any]]]:
    """Return what the tiers of one host have to do with each other: the pairs, with their ports."""
    ways: dict[tuple[str, str], list[t.Any]] = {}
    for flow in flows:
        inside = name in flow["sources"] and name in flow["targets"] and {flow["from"], flow["to"]} <= {*tiers}
        if inside and flow["from"] != flow["to"]:
            _once(ways.setdefault((flow["from"], flow["to"]), []), flow["port"])
    return list(ways.items())


def _tier(topology: t.Mapping[str, t.Any], tier: str, name: str) -> _Box:
    """Return the box of one tier within a host that serves several."""
    dark, light = _COLOURS[tier]
    title = f"{tier} (leader)" if _leads(topology, tier, name) else tier
    software = _filled(_software(topology, tier).split(" "), _WORD)
    widths = [_wide(title, _TEXT, bold=True), *(_wide(line, _SMALL) for line in software)]

    def paint(parent: ET.Element, x: int, y: int, width: int, height: int) -> None:
        group = _named(parent, f"tier {tier}")
        _rect(group, "box", x, y, width, height, light, dark, 5)
        _text(group, x + width // 2, y + 20, title, _TEXT, bold=True, colour=dark, anchor="middle")
        for number, line in enumerate(software):
            _text(group, x + width // 2, y + 36 + 14 * number, line, _SMALL, anchor="middle")

    return _Box(_ROWS[tier], max(*widths, 72) + 2 * _PAD, 30 + 14 * len(software), paint)


def _columns(made: t.Mapping[tuple[str, ...], t.Sequence[_Box]]) -> dict[tuple[str, ...], int]:
    """Return in how many columns each group's hosts stand, so that a row of groups does not get too wide."""
    choices = {tiers: _choices(len(hosts)) for tiers, hosts in made.items()}
    for row in set(_ROWS.values()):
        members = [tiers for tiers in made if _ROWS[tiers[0]] == row]
        while (
            sum(_grid_width(made[tiers], choices[tiers][0]) + 2 * _PAD + _GAP for tiers in members) > _WIDEST
            and max(choices[tiers][0] for tiers in members) > 1
        ):
            most = max(choices[tiers][0] for tiers in members)
            for tiers in members:  # those that look alike go on looking alike
                if choices[tiers][0] == most:
                    choices[tiers].pop(0)
    return {tiers: counts[0] for tiers, counts in choices.items()}


def _choices(count: int) -> list[int]:
    """Return numbers of columns for so many hosts, most first: those that leave no row much emptier than the others."""
    even = [columns for columns in range(min(count, 6), 0, -1) if count % columns == 0 or columns == 1]
    full = [
        columns for columns in range(min(count, 6), 0, -1) if math.ceil(count / math.ceil(count / columns)) == columns
    ]
    return even if count <= 4 else full


def _grid_width(hosts: t.Sequence[_Box], columns: int) -> int:
    return columns * max(host.width for host in hosts) + (columns - 1) * _CELL_GAP


def _group(
    topology: t.Mapping[str, t.Any], tiers: tuple[str, ...], hosts: t.Sequence[_Box], columns: int, notes: list[str]
) -> _Box:
    """Return the box around hosts that serve the same tiers; one host with several tiers needs none."""
    row = _ROWS[tiers[0]]
    alone = len(tiers) == 1
    if len(hosts) == 1 and not alone:
        hosts[0].row = row
        return hosts[0]
    cell_width, cell_height = max(host.width for host in hosts), max(host.height for host in hosts)
    dark, light = _COLOURS[tiers[0]] if alone else (_MUTED, "#fbfbfc")
    title = _key(tiers)
    software = _filled(_software(topology, tiers[0]).split(" "), _WORD) if alone else []
    head = 24 + 15 * len(software) + _PAD + 5  # also where no leader sits on the edge, so that rows are level
    rows = math.ceil(len(hosts) / columns)
    widths = [_wide(title, _NAME, bold=True), *(_wide(line, _SMALL) for line in [*software, *notes])]
    grid_height = rows * cell_height + (rows - 1) * _CELL_GAP

    def paint(parent: ET.Element, x: int, y: int, width: int, height: int) -> None:
        group = _named(parent, f"group {title}" if alone else "group")
        _rect(group, "box", x, y, width, height, light, dark, 8)
        _text(group, x + width // 2, y + 23, title, _NAME, bold=True, colour=dark, anchor="middle")
        for number, part in enumerate(software):
            _text(group, x + width // 2, y + 40 + 15 * number, part, _SMALL, anchor="middle")
        for number, host in enumerate(hosts):
            line, column = divmod(number, columns)
            left = x + (width - columns * cell_width - (columns - 1) * _CELL_GAP) // 2
            top = y + head + line * (cell_height + _CELL_GAP)
            host.paint(group, left + column * (cell_width + _CELL_GAP), top, cell_width, cell_height)
        for number, note in enumerate(notes):
            note_y = y + head + grid_height + 18 + 15 * number
            _text(group, x + width // 2, note_y, note, _SMALL, colour=_MUTED, anchor="middle")

    height = head + grid_height + _PAD + (15 * len(notes) + 2 if notes else 0)
    return _Box(row, max(_grid_width(hosts, columns), *widths) + 2 * _PAD, height, paint)


# --- where everything stands --------------------------------------------------------------------------------------


class _Rails:
    """The places at which arrows run up and down, by the room between two rows in which they do."""

    def __init__(self) -> None:
        self._used: dict[int, list[tuple[int, _Arrow]]] = {}

    def use(self, x: int, arrow: _Arrow, *rooms: int) -> int:
        """Take a place, and return it."""
        for room in rooms:
            self._used.setdefault(room, []).append((x, arrow))
        return x

    def free(self, x: int, arrow: _Arrow, *rooms: int, apart: int = 12) -> bool:
        """Return whether no other arrow is near."""
        return all(
            other is arrow or abs(used - x) >= apart for room in rooms for used, other in self._used.get(room, [])
        )

    def near(self, x: int, low: int, high: int, arrow: _Arrow, *rooms: int) -> int | None:
        """Return the free place from *low* to *high* that is nearest to *x*, or None; in a crowd they stand closer."""
        start = min(max(x, low), high)
        for apart in _APART:
            for step in range(max(high - start, start - low, 0) + 1):
                for candidate in (start - step, start + step):
                    if low <= candidate <= high and self.free(candidate, arrow, *rooms, apart=apart):
                        return candidate
        return None


def _arrange(boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow], gap: int = _GAP) -> tuple[int, int]:
    """Give boxes and arrows their places, from (0, 0) on; return width and height of the whole.

    An arrow leaves a box at its lower edge, goes sideways in the room below it, passes rows between two boxes or beside
    them, and arrives from above. One to its own row arrives from below, and one to a row above leaves upwards.
    """
    if not boxes:
        return 0, 0
    numbers = {row: number for number, row in enumerate(sorted({box.row for box in boxes.values()}))}
    for box in boxes.values():
        box.row = numbers[box.row]
        box.width = max(box.width, _least_width(box, boxes, arrows))
    rows = [[box for box in boxes.values() if box.row == number] for number in range(len(numbers))]
    for row in rows:
        _match(row, gap)
        x = -(sum(box.width for box in row) + gap * (len(row) - 1)) // 2
        for box in row:
            box.x = x
            x += box.width + gap
    rails = _Rails()
    _arrive(boxes, rows, arrows, rails)
    _pass(boxes, rows, arrows, rails)
    _leave(boxes, arrows, rails)
    height = _stack(boxes, rows, arrows)
    xs = [x for arrow in arrows for x, _y in arrow.points]
    left = min([*xs, *(box.x for box in boxes.values())])
    right = max([*xs, *(box.right for box in boxes.values())])
    for box in boxes.values():
        box.x -= left
    for arrow in arrows:
        arrow.points = [(x - left, y) for x, y in arrow.points]
    return right - left, height


def _match(row: t.Sequence[_Box], gap: int) -> None:
    """Make boxes of a row equally large that nearly are, so that the row looks even."""
    width, height = max(box.width for box in row), max(box.height for box in row)
    if min(box.width for box in row) * 2 >= width and (width + gap) * len(row) <= _WIDEST + gap:
        for box in row:
            box.width = width
    for box in row:
        box.height = height if box.height * 4 >= height * 3 else box.height


def _climb(arrow: _Arrow, boxes: t.Mapping[str, _Box]) -> int:
    """Return by how many rows an arrow goes down."""
    return boxes[arrow.target].row - boxes[arrow.source].row


def _between(arrow: _Arrow, boxes: t.Mapping[str, _Box]) -> list[int]:
    """Return the rows that an arrow passes, in its direction."""
    start, end = boxes[arrow.source].row, boxes[arrow.target].row
    return list(range(start + 1, end) if start < end else range(start - 1, end, -1))


def _rooms(arrow: _Arrow, boxes: t.Mapping[str, _Box]) -> list[int]:
    """Return the rooms that an arrow goes through, each by the number of the row above it."""
    start, end = boxes[arrow.source].row, boxes[arrow.target].row
    return list(range(start, end) if start < end else range(start - 1, end - 1, -1) if start > end else [start])


def _slot(arrow: _Arrow) -> int:
    """Return the width that an arrow's end takes, with its label to the right of it."""
    return max((_wide(line, _SMALL) for line in arrow.label), default=0) + 20


def _ends(
    box: _Box, boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow]
) -> tuple[list[_Arrow], list[_Arrow], list[_Arrow], list[_Arrow]]:
    """Return the arrows that arrive from above and from below, and those that leave upwards and downwards."""
    arriving = [arrow for arrow in arrows if boxes[arrow.target] is box]
    leaving = [arrow for arrow in arrows if boxes[arrow.source] is box]
    return (
        [arrow for arrow in arriving if _climb(arrow, boxes) > 0],
        [arrow for arrow in arriving if _climb(arrow, boxes) <= 0],
        [arrow for arrow in leaving if _climb(arrow, boxes) < 0],
        [arrow for arrow in leaving if _climb(arrow, boxes) >= 0],
    )


def _least_width(box: _Box, boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow]) -> int:
    """Return how wide a box has to be for the arrows at its edges."""
    above, below, up, down = _ends(box, boxes, arrows)
    top = sum(map(_slot, above)) * (2 if len(above) == 1 else 1) + 4 * _LANE * len(up)
    bottom = sum(map(_slot, below)) + 2 * _LANE * len(down) + (_SLACK if below else 0)
    return max(top, bottom) + _PAD


def _arrive(
    boxes: t.Mapping[str, _Box], rows: t.Sequence[t.Sequence[_Box]], arrows: t.Sequence[_Arrow], rails: _Rails
) -> None:
    """Decide where arrows arrive: side by side in the order in which they come, so that few cross."""
    for box in boxes.values():
        above = sorted(_ends(box, boxes, arrows)[0], key=lambda arrow: _comes_from(arrow, boxes, rows))
        x = box.middle if len(above) == 1 else box.middle - sum(map(_slot, above)) // 2 + 6
        for arrow in above:
            arrow.head = rails.use(x, arrow, box.row - 1)
            x += _slot(arrow)
    for box in boxes.values():
        below = sorted(_ends(box, boxes, arrows)[1], key=lambda arrow: _comes_from(arrow, boxes, rows))
        # They keep to the right, and leave the rest of the edge to those that go.
        starts = itertools.accumulate(map(_slot, below), initial=box.right - sum(map(_slot, below)) + 2)
        places = list(zip(starts, below, strict=False))
        moves = (
            move
            for apart in _APART
            for move in range(_SLACK)
            if all(rails.free(x - move, arrow, box.row, apart=apart) for x, arrow in places)
        )
        move = next(moves, 0)
        for x, arrow in places:
            arrow.head = rails.use(x - move, arrow, box.row)


def _comes_from(arrow: _Arrow, boxes: t.Mapping[str, _Box], rows: t.Sequence[t.Sequence[_Box]]) -> int:
    """Return about where an arrow comes from when it reaches its last room."""
    source, target = boxes[arrow.source].middle, boxes[arrow.target].middle
    passed = _between(arrow, boxes)
    if not passed:
        return source
    places = [min(max(target, low), high) for low, high in _openings(rows[passed[-1]])]
    return min(places, key=lambda x: (abs(x - target) + abs(x - source), x))


def _openings(row: t.Sequence[_Box]) -> list[tuple[int, int]]:
    """Return from where to where a row can be passed: on its left, between its boxes and on its right."""
    far = 10_000
    edges = [(-far, row[0].x - _LANE)]
    edges += [
        (box.right + _LANE, after.x - _LANE)
        for box, after in itertools.pairwise(row)
        if after.x - box.right >= 2 * _LANE
    ]
    return [*edges, (row[-1].right + _LANE, far)]


def _pass(
    boxes: t.Mapping[str, _Box], rows: t.Sequence[t.Sequence[_Box]], arrows: t.Sequence[_Arrow], rails: _Rails
) -> None:
    """Decide where arrows pass the rows between their ends."""
    for arrow in arrows:
        before = boxes[arrow.source].middle
        for row in _between(arrow, boxes):
            places = [rails.near(arrow.head, low, high, arrow, row - 1, row) for low, high in _openings(rows[row])]
            costs = [(abs(x - arrow.head) + abs(x - before), x) for x in places if x is not None]
            before = arrow.passes[row] = rails.use(min(costs)[1], arrow, row - 1, row)
    for arrow in arrows:
        if arrow.passes and _climb(arrow, boxes) > 0:
            _straighten(arrow, list(arrow.passes.values())[-1], boxes, arrows, rails)


def _straighten(arrow: _Arrow, x: int, boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow], rails: _Rails) -> None:
    """Let an arrow that comes down at *x*, hardly beside where it shall arrive, arrive there if that is free."""
    box = boxes[arrow.target]
    others = [other.head for other in _ends(box, boxes, arrows)[0] if other is not arrow]
    # Its label needs the room to its right, and no other arrow may be between the two places.
    outer = all((other > arrow.head) == (x < arrow.head) for other in others)
    fits = box.x + 10 <= x and x + _slot(arrow) <= box.right + 8
    if abs(x - arrow.head) < 2 * _LANE and outer and fits and rails.free(x, arrow, box.row - 1):
        arrow.head = rails.use(x, arrow, box.row - 1)


def _leave(boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow], rails: _Rails) -> None:
    """Decide where arrows leave: straight above where they go, else spread over the side to which they go."""
    for box in boxes.values():
        above, below, up, down = _ends(box, boxes, arrows)
        low, high = box.x + 12, box.right - 12
        for arrow in up:
            end = min([high, *(other.head - 8 for other in above)])
            found = rails.near(box.x + 10, box.x + 10, end, arrow, box.row - 1)
            arrow.tail = rails.use(box.x + 10 if found is None else found, arrow, box.row - 1)
        high = min([high, *(other.head - _LANE for other in below)])
        goals = {id(arrow): [*arrow.passes.values(), arrow.head][0] for arrow in down}
        down.sort(key=lambda arrow: goals[id(arrow)])
        straight = [goals[id(arrow)] for arrow in down if low <= goals[id(arrow)] <= high]
        left = [arrow for arrow in down if goals[id(arrow)] < low]
        right = [arrow for arrow in down if goals[id(arrow)] > high]
        wishes = {id(arrow): goals[id(arrow)] for arrow in down}
        for side, start, end in (
            (left, box.x, min([box.middle if right or len(left) > 1 else box.right, *straight])),
            (right, max([box.middle if left or len(right) > 1 else box.x, *straight]), min(box.right, high + 12)),
        ):
            for number, arrow in enumerate(side, 1):
                wishes[id(arrow)] = start + (end - start) * number // (len(side) + 1)
        for arrow in down:
            found = rails.near(wishes[id(arrow)], low, high, arrow, box.row)
            arrow.tail = rails.use(wishes[id(arrow)] if found is None else found, arrow, box.row)


def _stack(boxes: t.Mapping[str, _Box], rows: t.Sequence[t.Sequence[_Box]], arrows: t.Sequence[_Arrow]) -> int:
    """Decide how high everything stands, and with that each arrow's corners; return the height of the whole."""
    lanes = _lanes(boxes, arrows, len(rows))
    y = 0
    levels: list[list[int]] = []
    for number, row in enumerate(rows):
        for box in row:
            box.y = y
        y += max(box.height for box in row)
        arriving = [arrow for arrow in arrows if _rooms(arrow, boxes)[-1] == number]
        below = [len(arrow.label) for arrow in arriving if _climb(arrow, boxes) <= 0]
        above = [len(arrow.label) for arrow in arriving if _climb(arrow, boxes) > 0]
        y += 14 * max(below) + 14 if below else 0
        count = max(lanes[number].values(), default=-1) + 1
        levels.append([y + 14 + _LANE * lane for lane in range(count)])
        y += 14 + _LANE * (count - 1) if count else 0
        y += 14 * max(above) + 20 if above else 14 if count or number + 1 < len(rows) else 0
    for arrow in arrows:
        source, target = boxes[arrow.source], boxes[arrow.target]
        places = [arrow.tail, *arrow.passes.values(), arrow.head]
        points = [(arrow.tail, source.y if _climb(arrow, boxes) < 0 else source.y + source.height)]
        for room, (x, after) in zip(_rooms(arrow, boxes), itertools.pairwise(places), strict=True):
            if x != after:
                level = levels[room][lanes[room][id(arrow)]]
                points += [(x, level), (after, level)]
        end = target.y if _climb(arrow, boxes) > 0 else target.y + target.height
        arrow.points = [*points, (arrow.head, end)]
    return y


def _lanes(boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow], count: int) -> list[dict[int, int]]:
    """Return for each room in which lane each arrow goes sideways there, so that few cross.

    Those that go back up come first, the shortest on top; then those that go on, the longest on top.
    """
    ways: list[list[tuple[bool, int, int, int, _Arrow]]] = [[] for _room in range(count)]
    for arrow in arrows:
        places = [arrow.tail, *arrow.passes.values(), arrow.head]
        for room, (x, after) in zip(_rooms(arrow, boxes), itertools.pairwise(places), strict=True):
            if x != after:
                back = _climb(arrow, boxes) == 0
                length = abs(x - after)
                ways[room].append((not back, length if back else -length, min(x, after), max(x, after), arrow))
    result: list[dict[int, int]] = []
    for way in ways:
        lanes: list[list[tuple[int, int]]] = []
        chosen: dict[int, int] = {}
        for _on, _length, start, end, arrow in sorted(way, key=lambda item: item[:4]):
            free = [all(end + 8 <= low or high + 8 <= start for low, high in lane) for lane in lanes]
            number = free.index(True) if True in free else len(lanes)
            if number == len(lanes):
                lanes.append([])
            lanes[number].append((start, end))
            chosen[id(arrow)] = number
        result.append(chosen)
    return result


# --- how it is written --------------------------------------------------------------------------------------------


def _paint(parent: ET.Element, boxes: t.Mapping[str, _Box], arrows: t.Sequence[_Arrow], left: int, top: int) -> None:
    """Draw what has been arranged, moved to the right and down."""
    for box in boxes.values():
        box.paint(parent, left + box.x, top + box.y, box.width, box.height)
    for arrow in arrows:
        points = [(x + left, y + top) for x, y in arrow.points]
        x, y = points[-1]
        down = points[-2][1] < y
        group = _named(parent, "arrow")
        shaft = [*points[:-1], (x, y - _HEAD + 1 if down else y + _HEAD - 1)]
        line = {"d": _path(shaft), "fill": "none", "stroke": arrow.colour, "stroke-width": "1.6"}
        ET.SubElement(group, "path", {"class": "line", **line})
        back = y - _HEAD if down else y + _HEAD
        ET.SubElement(group, "path", {"d": f"M{x} {y}L{x - 5} {back}L{x + 5} {back}Z", "fill": arrow.colour})
        first = y - 11 - 14 * (len(arrow.label) - 1) if down else y + 20
        for number, text in enumerate(arrow.label):
            _text(group, x + 9, first + 14 * number, text, _SMALL, colour=arrow.colour)


def _path(points: t.Sequence[Point], radius: int = 7) -> str:
    """Return a way of straight lines, with round corners."""
    parts = [f"M{points[0][0]} {points[0][1]}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"L{start[0]} {start[1]}Q{corner[0]} {corner[1]} {end[0]} {end[1]}")
    return "".join([*parts, f"L{points[-1][0]} {points[-1][1]}"])


def _towards(start: Point, end: Point, length: int) -> Point:
    """Return the point so far from *start* towards *end*, at most half of the way; one of the two is level."""
    x, y = end[0] - start[0], end[1] - start[1]
    step = min(length, (abs(x) + abs(y)) // 2)
    return start[0] + (x > 0) * step - (x < 0) * step, start[1] + (y > 0) * step - (y < 0) * step


def _named(parent: ET.Element, name: str, tip: str = "") -> ET.Element:
    group = ET.SubElement(parent, "g", {"class": name})
    if tip:
        ET.SubElement(group, "title").text = _clean(tip)
    return group


def _rect(
    parent: ET.Element, name: str, x: int, y: int, width: int, height: int, fill: str, stroke: str, radius: int
) -> None:
    place = {"x": x, "y": y, "width": width, "height": height, "rx": radius}
    attributes = {"class": name, **{key: str(value) for key, value in place.items()}, "fill": fill, "stroke": stroke}
    ET.SubElement(parent, "rect", attributes)


def _text(
    parent: ET.Element,
    x: int,
    y: int,
    text: str,
    size: int,
    *,
    bold: bool = False,
    colour: str = _INK,
    anchor: str = "start",
    style: str = "normal",
) -> None:
    attributes = {"x": str(x), "y": str(y), "font-size": str(size), "fill": colour}
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if bold:
        attributes["font-weight"] = "600"
    if style != "normal":
        attributes["font-style"] = style
    ET.SubElement(parent, "text", attributes).text = _clean(text)


def _clean(text: str) -> str:
    """Return a text without the characters that XML has no way to write."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _wide(text: str, size: int, bold: bool = False) -> int:
    """Return at most how wide a text gets, in pixels: the picture is seen in fonts that are not known here."""
    ems = sum(
        0.36 if char in " .,:;|!'()[]ijlIt·" else 0.98 if char in "mwMW@%" or ord(char) > 0x2E7F else 0.66
        for char in text
    )
    return math.ceil(ems * size * (1.1 if bold else 1))


def _lines(text: str, width: int, most: int = 3) -> list[str]:
    """Return a long name in lines, parted after dots, colons and hyphens if it has any; what is too long is cut."""
    lines = [""]
    for piece in _BREAKS.findall(_clean(text)):
        while piece:
            if len(lines[-1]) + len(piece) <= width:
                lines[-1] += piece
                break
            if lines[-1] and (len(piece) <= width or len(lines[-1]) > width // 2):
                lines.append("")
                continue
            room = width - len(lines[-1])
            lines[-1] += piece[:room]
            piece = piece[room:]
            lines.append("")
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: width - 1] + "…"]
    return lines


def _filled(words: t.Iterable[str], width: int, space: str = " ") -> list[str]:
    """Return words in lines of at most so many characters; a word that is longer has a line of its own, cut."""
    lines: list[str] = []
    for word in words:
        word = word if len(word) <= width else word[: width - 1] + "…"
        if lines and len(lines[-1]) + len(space) + len(word) <= width:
            lines[-1] += space + word
        else:
            lines.append(word)
    return lines
