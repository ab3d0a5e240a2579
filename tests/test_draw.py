"""Pictures: what they show, and that nothing in them lies on anything else."""

import xml.dom.minidom
from itertools import combinations
from pathlib import Path

import pytest
from random_programs import draw as draw_program

from rnnc.draw import draw
from rnnc.draw.layers import Item, Link, place
from rnnc.draw.picture import Flow, picture
from rnnc.draw.place import drawing
from rnnc.errors import Source
from rnnc.graph.elaborate import load

SAMPLES = Path(__file__).parents[1] / "samples"

TWO_WAYS = """
model two_ways(n = 8) {
    input x : [n]
    a = lstm(n)(x)
    b = reversed(lstm(n))(x)
    s = 0.5 * s[t-1] + a + x[t+2]
    output y = concat(a, b), s
}
"""


def graph_of(text, **sizes):
    return load(Source("picture", text), sizes=sizes).graph


def random_graph(seed):
    program = draw_program(seed)
    return graph_of(program.text, **program.sizes)


@pytest.fixture(params=[*sorted(p.stem for p in SAMPLES.glob("*.rnn")), 3, 11, 44])
def graph(request):
    if isinstance(request.param, int):
        return random_graph(request.param)
    return load(SAMPLES / f"{request.param}.rnn").graph


# ------------------------------------------------------------------------------------------ what is shown

def test_an_lstm_is_six_signals_in_a_box():
    shown = picture(graph_of(TWO_WAYS))
    boxes = {box.name: box for box in shown.boxes}
    slow = boxes[""]
    for box, direction in ((boxes["a"], "forwards"), (boxes["b"], "backwards")):
        assert box.title == f"{direction}, D = 1, dense"
        assert sorted(shown.signals[n].name for n in box.members) == ["c", "f", "g", "h", "i", "o"]
    assert slow.title == "forwards, D = any, diagonal linear"
    (s,) = slow.members
    names = {key: signal.name for key, signal in shown.signals.items()}
    x = next(key for key, name in names.items() if name == "x")
    assert {(names[f.source], f.delay) for f in shown.flows if f.target == s} == {("h", 0), ("x", -2), ("s", 1)}
    assert Flow(x, s, -2) in shown.flows


def test_ends_are_shown():
    shown = picture(load(SAMPLES / "charlm.rnn").graph)
    roles = {signal.name: signal.role for signal in shown.signals.values()}
    assert (roles["x"], roles["y"], roles["p"], roles["loss"]) == ("input", "target", "output", "loss")
    assert roles["logits"] == "signal"


# ------------------------------------------------------------------------------------------ where it stands

def overlap(a, b):
    return (a.x < b.x + b.width - 0.01 and b.x < a.x + a.width - 0.01
            and a.y < b.y + b.height - 0.01 and b.y < a.y + a.height - 0.01)


def inside(a, b):
    return (b.x <= a.x + 0.01 and a.x + a.width <= b.x + b.width + 0.01
            and b.y <= a.y + 0.01 and a.y + a.height <= b.y + b.height + 0.01)


def test_nothing_lies_on_anything_else(graph):
    drawn = drawing(picture(graph))
    assert not [(a.text, b.text) for a, b in combinations(drawn.shapes, 2) if overlap(a, b)]
    assert not [(a.name, b.name) for a, b in combinations(drawn.frames, 2) if overlap(a, b)]
    for shape in drawn.shapes:
        assert all(inside(shape, frame) for frame in drawn.frames if overlap(shape, frame))
    for x, y in [point for line in drawn.lines for point in line.points]:
        assert 0 <= x <= drawn.width and 0 <= y <= drawn.height
    for line in drawn.lines:
        if line.style != "back":
            assert all(a[0] <= b[0] + 0.01 for a, b in zip(line.points, line.points[1:])), "a line runs to the left"


def test_lines_pass_between_items():
    """A long link takes its way round what stands between its ends."""
    items = [Item(name, 40, 30) for name in "abcd"]
    links = [Link("a", "b"), Link("b", "c"), Link("c", "d"), Link("a", "d")]
    layout = place(items, links)
    way = layout.ways[3]
    for name in "bc":
        x, y = layout.centre[name]
        assert all(abs(v - y) >= 15 for u, v in way if abs(u - x) <= 20)


# ------------------------------------------------------------------------------------------ as text

def test_every_format_is_well_formed(graph):
    svg, page, dot = (draw(graph, form) for form in ("svg", "html", "dot"))
    xml.dom.minidom.parseString(svg)
    assert svg in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")          # nothing is fetched from outside
    assert dot.startswith("digraph") and dot.count("{") == dot.count("}")
    assert draw(graph, "svg") == svg


def test_names_are_escaped():
    shown = draw(graph_of("model m { input x : [3]\n h = where(x < 0 and x > -1, h[t-1], x)\n output h }"), "svg")
    xml.dom.minidom.parseString(shown)
    assert "x &lt; 0" in shown


def test_dot_of_a_small_network(golden):
    golden("two_ways.dot", draw(graph_of(TWO_WAYS), "dot"))
