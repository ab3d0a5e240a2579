"""Where everything in a picture goes: boxes with their signals inside, and the boxes and lone signals among each other.

In: a `Picture`. Out: a `Drawing`, final coordinates only. Time runs through small pills: `h[t-1]` stands on the way of
a value that is read one frame later. Inside a box every line runs from left to right; what comes back from the frame
before runs round below and re-enters on the left through its pill.
"""

from dataclasses import dataclass, replace

from rnnc.draw.layers import Item, Layout, Link, place
from rnnc.draw.picture import Box, Flow, Picture, Signal

LINE, LANE, HEAD, EDGE = 40, 8, 46, 16         # height of a signal, gap of lanes, room for a box's title, margin
NARROW, WIDE = set("ijl.,:;'|!ft[]()r-1 "), set("mwMW@")


@dataclass(frozen=True)
class Shape:
    """A signal (role as in the picture) or a pill (role "past"); x, y: its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    role: str
    text: str
    sign: str = ""
    tip: str = ""


@dataclass(frozen=True)
class Frame:
    """A loop's box."""

    x: float
    y: float
    width: float
    height: float
    name: str
    title: str
    kind: str


@dataclass(frozen=True)
class Line:
    """style "flow": a smooth curve through the points; "turn" the same, on its way back; "back": a cornered line
    round the box."""

    points: tuple[tuple[float, float], ...]
    style: str
    arrow: bool


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    shapes: tuple[Shape, ...]
    frames: tuple[Frame, ...]
    lines: tuple[Line, ...]


def drawing(picture: Picture) -> Drawing:
    """Coordinates for all of a picture."""
    owner = {member: ("box", i) for i, box in enumerate(picture.boxes) for member in box.members}
    unit = lambda key: owner.get(key, ("one", key))
    insides = {("box", i): _inside(picture, box) for i, box in enumerate(picture.boxes) if box.members}
    items = [Item(key, inside.width, inside.height) for key, inside in insides.items()]
    items += [Item(("one", key), *_size(signal)) for key, signal in picture.signals.items() if key not in owner]
    links, past = {}, {}
    for flow in picture.flows:
        source, target = unit(flow.source), unit(flow.target)
        if source == target:
            continue
        leave = insides[source].exits[flow.source] if source in insides else 0.0
        if target in insides:
            links[Link(source, target, leave, insides[target].entries[_entry(flow)])] = None
        elif flow.delay:
            pill = ("past", flow.source, flow.delay)
            past[pill] = None
            links[Link(source, pill, leave)] = None
            links[Link(pill, target)] = None
        else:
            links[Link(source, target, leave)] = None
    items += [_pill_item(picture, pill, pill[1:], None) for pill in past]
    outer = place(items, list(links), across=52, down=22)
    return _assembled(picture, insides, outer, list(past))


@dataclass
class _Inside:
    """A box laid out by itself; `exits`, `entries`: height of its ports below its centre."""

    box: Box
    width: float
    height: float
    shapes: list[Shape]
    lines: list[Line]
    exits: dict[int, float]
    entries: dict[tuple[int, int], float]


def _entry(flow: Flow) -> tuple[int, int]:
    return flow.source, flow.delay


def _inside(picture: Picture, box: Box) -> _Inside:
    members = set(box.members)
    within = [f for f in picture.flows if f.source in members and f.target in members]
    coming = [f for f in picture.flows if f.source not in members and f.target in members]
    back = list(dict.fromkeys(_entry(f) for f in within if f.delay))
    leaving = {f.source for f in picture.flows if f.source in members and f.target not in members}
    entries = list(dict.fromkeys([_entry(f) for f in coming] + back))
    exits = sorted(leaving | {source for source, _ in back})
    items = [Item(n, *_size(picture.signals[n])) for n in box.members]
    items += [_pill_item(picture, e, e, "first") if e[1] else Item(e, 0, 2, "first") for e in entries]
    items += [Item(("out", n), 0, 2, "last") for n in exits]
    links = [Link(f.source, f.target) if f.source in members and not f.delay else Link(_entry(f), f.target)
             for f in within + coming]
    links += [Link(n, ("out", n)) for n in exits]
    layout = place(items, list(dict.fromkeys(links)), across=38, down=14)

    lanes = len(back)
    side = EDGE + LANE * lanes
    wide = max(layout.width + 2 * side, _wide(box.name) * 1.1 + 2 * EDGE, _wide(box.title) * 0.9 + 2 * EDGE)
    left, top = (wide - layout.width) / 2, HEAD
    tall = top + layout.height + EDGE + LANE * lanes
    moved = lambda points: tuple((x + left, y + top) for x, y in points)
    at = {key: (x + left, y + top) for key, (x, y) in layout.centre.items()}

    shapes = [_shape(picture.signals[n], at[n]) for n in box.members]
    shapes += [_pill(picture, e, at[e]) for e in entries if e[1]]
    lines = [Line(moved(way), "turn" if isinstance(link.target, tuple) and link.source not in leaving else "flow",
                  not isinstance(link.target, tuple)) for link, way in zip(layout.links, layout.ways)]
    outside = [e for e in entries if e not in back]
    for entry in outside:
        half = _pill_width(picture, entry) / 2 if entry[1] else 0
        lines.append(Line(((0, at[entry][1]), (at[entry][0] - half, at[entry][1])), "flow", bool(entry[1])))
    lines += [Line((at["out", n], (wide, at["out", n][1])), "flow", False) for n in sorted(leaving)]
    # The highest exit takes the outermost lane, so that lanes cross as little as they can.
    for lane, entry in enumerate(sorted(back, key=lambda e: (-at["out", e[0]][1], -at[e][1]))):
        (x0, y0), (x1, y1) = at["out", entry[0]], at[entry]
        right, below = x0 + 6 + LANE * (lane + 1), top + layout.height + LANE * (lane + 1)
        start = x1 - _pill_width(picture, entry) / 2
        turn = start - 6 - LANE * (lane + 1)
        points = ((x0, y0), (right, y0), (right, below), (turn, below), (turn, y1), (start, y1))
        lines.append(Line(points, "back", True))
    return _Inside(box, wide, tall, shapes, lines, {n: at["out", n][1] - tall / 2 for n in exits},
                   {e: at[e][1] - tall / 2 for e in outside})


def _assembled(picture: Picture, insides: dict, outer: Layout, past: list) -> Drawing:
    """Everything moved to its place, with a margin; steps shared by several lines are drawn once."""
    move = lambda points, dx, dy: tuple((x + dx, y + dy) for x, y in points)
    shapes, frames, lines = [], [], []
    for key, (x, y) in outer.centre.items():
        if key[0] == "past":
            shapes.append(_pill(picture, key[1:], (x + EDGE, y + EDGE)))
        elif key[0] == "one":
            shapes.append(_shape(picture.signals[key[1]], (x + EDGE, y + EDGE)))
        else:
            inside = insides[key]
            dx, dy = x - inside.width / 2 + EDGE, y - inside.height / 2 + EDGE
            box = inside.box
            frames.append(Frame(dx, dy, inside.width, inside.height, box.name or "loop", box.title, box.kind))
            shapes += [replace(shape, x=shape.x + dx, y=shape.y + dy) for shape in inside.shapes]
            lines += [Line(move(line.points, dx, dy), line.style, line.arrow) for line in inside.lines]
    for link, way in zip(outer.links, outer.ways):
        lines.append(Line(move(way, EDGE, EDGE), "flow", link.target not in insides))
    return Drawing(outer.width + 2 * EDGE, outer.height + 2 * EDGE, tuple(shapes), tuple(frames), _steps(lines))


def _steps(lines: list[Line]) -> tuple[Line, ...]:
    steps: dict[tuple, bool] = {}
    whole = []
    for line in lines:
        if line.style == "back":
            whole.append(line)
            continue
        for i, step in enumerate(zip(line.points, line.points[1:])):
            rounded = tuple((round(x, 1), round(y, 1)) for x, y in step)
            if rounded[0] != rounded[1]:
                key = rounded, line.style
                steps[key] = steps.get(key, False) or (line.arrow and i == len(line.points) - 2)
    return tuple(whole + [Line(points, style, arrow) for (points, style), arrow in steps.items()])


def time(delay: int) -> str:
    return f"t{'+' if delay < 0 else '−'}{abs(delay)}"


def _wide(text: str) -> float:
    """Roughly the width of a text in the sizes that the picture uses."""
    return sum(4.6 if c in NARROW else 10.5 if c in WIDE else 7.4 for c in text)


def _size(signal: Signal) -> tuple[float, float]:
    return max(44.0, _wide(signal.name) + 18, 0.85 * _wide(signal.sign) + 14), LINE if signal.sign else LINE - 10


def _shape(signal: Signal, at: tuple[float, float]) -> Shape:
    width, height = _size(signal)
    x, y = at[0] - width / 2, at[1] - height / 2
    return Shape(x, y, width, height, signal.role, signal.name, signal.sign, signal.tip)


Past = tuple[int, int]                         # a signal and the delay at which it is read


def _pill(picture: Picture, past: Past, at: tuple[float, float]) -> Shape:
    width = _pill_width(picture, past)
    return Shape(at[0] - width / 2, at[1] - 9, width, 18, "past", _pill_text(picture, past))


def _pill_item(picture: Picture, key, past: Past, pin: str | None) -> Item:
    return Item(key, _pill_width(picture, past), 18, pin)


def _pill_width(picture: Picture, past: Past) -> float:
    return 0.9 * _wide(_pill_text(picture, past)) + 14


def _pill_text(picture: Picture, past: Past) -> str:
    return f"{picture.signals[past[0]].name}[{time(past[1])}]"
