"""A picture of a graph as text: SVG, an HTML page around it, or DOT for those who have Graphviz.

In: a graph and a format. Out: the text. Templates lay out; everything here is coordinates and words made final.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rnnc.draw.picture import Picture, picture
from rnnc.draw.place import Drawing, drawing
from rnnc.draw.place import time as ago
from rnnc.errors import Broken
from rnnc.graph.nodes import Graph

Format = Literal["svg", "dot", "html"]
COLOURS = {"dense": "#d9822b", "diagonal": "#2f8f5b", "linear": "#3566b8"}     # first word of a kind that has one
LEGEND = (("input", "from outside"), ("target", "needed by the loss"), ("signal", "an equation"),
          ("output", "what a run returns"), ("loss", "a loss or a metric"), ("past", "read frames earlier or later"))


@dataclass(frozen=True)
class Path:
    """A line as SVG wants it."""

    d: str
    style: str
    arrow: bool


def draw(graph: Graph, format: Format = "svg") -> str:
    """The network with its loops boxed and its delays on the edges."""
    shown = picture(graph)
    if format == "dot":
        return dot(shown)
    if format not in ("svg", "html"):
        raise Broken(f"no picture format {format}")
    text = svg(shown.name, drawing(shown))
    return _environment().get_template("page.html.j2").render(
        name=shown.name, svg=text, legend=LEGEND, colours=COLOURS) if format == "html" else text


def svg(name: str, drawn: Drawing) -> str:
    frames = [(frame, colour(frame.kind)) for frame in drawn.frames]
    paths = [Path(_corners(line.points) if line.style == "back" else _curve(line.points), line.style, line.arrow)
              for line in drawn.lines]
    return _environment().get_template("graph.svg.j2").render(
        name=name, width=round(drawn.width), height=round(drawn.height), frames=frames, paths=paths,
        shapes=drawn.shapes)


def dot(shown: Picture) -> str:
    """A cluster for each loop; reads of other frames are dashed, and do not rank their ends."""
    boxes = [(box, colour(box.kind), [shown.signals[n] for n in box.members]) for box in shown.boxes]
    inside = {n for box in shown.boxes for n in box.members}
    alone = [signal for key, signal in shown.signals.items() if key not in inside]
    together = {n: i for i, box in enumerate(shown.boxes) for n in box.members}
    edges = [(flow, ago(flow.delay).replace("−", "-") if flow.delay else "",
              together.get(flow.source, -1) == together.get(flow.target, -2)) for flow in shown.flows]
    return _environment().get_template("graph.dot.j2").render(
        name=shown.name, boxes=boxes, alone=alone, edges=edges)


def colour(kind: str) -> str:
    return next((COLOURS[word] for word in kind.split() if word in COLOURS), COLOURS["dense"])


def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(str(files("rnnc.templates"))), undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    made.filters["quoted"] = _quoted
    made.filters["at"] = _short
    return made


def _quoted(text: str) -> str:
    """A string as DOT writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A smooth way from left to right through all points."""
    (x, y), *rest = points
    parts = [f"M{_short(x)} {_short(y)}"]
    for u, v in rest:
        middle = (x + u) / 2
        parts.append(f"H{_short(u)}" if abs(v - y) < 0.05 else
                     f"C{_short(middle)} {_short(y)} {_short(middle)} {_short(v)} {_short(u)} {_short(v)}")
        x, y = u, v
    return "".join(parts)


def _corners(points: Sequence[tuple[float, float]], radius: float = 5) -> str:
    """A way along the axes with rounded corners."""
    parts = [f"M{_short(points[0][0])} {_short(points[0][1])}"]
    for before, here, after in zip(points, points[1:], points[2:]):
        parts.append("L{} {}Q{} {} {} {}".format(*map(_short, (*_towards(here, before, radius), *here,
                                                                *_towards(here, after, radius)))))
    return "".join([*parts, f"L{_short(points[-1][0])} {_short(points[-1][1])}"])


def _towards(here: tuple[float, float], there: tuple[float, float], radius: float) -> tuple[float, float]:
    length = max(abs(there[0] - here[0]) + abs(there[1] - here[1]), 1e-9)
    part = min(radius / length, 0.5)
    return here[0] + (there[0] - here[0]) * part, here[1] + (there[1] - here[1]) * part
