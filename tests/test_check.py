"""The checker of graphs refuses each fault that it is there for."""

from dataclasses import replace

import pytest
from graphs import Sketch, past

from rnnc.errors import Broken
from rnnc.graph.check import check
from rnnc.graph.gradient import gradient, vjp
from rnnc.graph.nodes import Initial, Read


def sound():
    s = Sketch()
    x, start = s.input("x", 2), s.param("i", 2)
    h = s.later(2)
    s.equal(h, "h", s.op("tanh", s.op("add", past(h, 1), x)))
    s.initials[h] = Initial(every=start)
    return s.graph(outputs={"p": h}, losses={"loss": s.op("sum", h, axis=None)})


def with_node(graph, number, **changes):
    nodes = list(graph.nodes)
    nodes[number] = replace(nodes[number], **changes)
    return replace(graph, nodes=tuple(nodes))


def find(graph, op):
    return next(n for n, node in enumerate(graph.nodes) if node.op == op)


def test_sound_graphs_pass():
    graph = sound()
    assert check(graph) is graph
    check(gradient(graph)), check(vjp(graph))


FAULTS = {
    "does not exist": lambda g: with_node(g, find(g, "tanh"), args=(Read(99),)),
    "delays the constant": lambda g: with_node(g, find(g, "tanh"), args=(Read(find(g, "param"), 1),)),
    "states": lambda g: with_node(g, find(g, "tanh"), shape=(3,)),
    "no operator": lambda g: with_node(g, find(g, "tanh"), op="tan"),
    "takes 1 arguments": lambda g: with_node(g, find(g, "tanh"), args=(Read(0), Read(0))),
    "out of order": lambda g: with_node(g, find(g, "sum"), attrs=(("b", 1), ("a", 2))),
    "not parameter": lambda g: replace(g, params=()),
    "not input": lambda g: replace(g, inputs=()),
    "has the name of": lambda g: with_node(g, find(g, "tanh"), name="h"),
    "initial value 0 is a signal": lambda g: replace(g, initials={g.named()["h"]: Initial(every=0)}),
    "another shape": lambda g: replace(g, initials={g.named()["h"]: Initial(every=find(g, "param"))},
                                       nodes=with_node(g, find(g, "param"), shape=(3,)).nodes,
                                       params=(replace(g.params[0], shape=(3,)),)),
    "offsets": lambda g: replace(g, initials={g.named()["h"]: Initial(at=((0, find(g, "param")),))}),
    "not held in the state": lambda g: replace(g, state={}),
    "state for 0 frames": lambda g: replace(g, state={g.named()["h"]: 0}),
    "without a name": lambda g: with_node(g, g.named()["h"], name=None),
    "no real scalar": lambda g: replace(g, losses={"loss": 0}),
    "no gradient of parameter": lambda g: replace(g, gradients={"i": 0}),
    "cycle without delay": lambda g: with_node(g, find(g, "add"), args=(Read(g.named()["h"]), Read(0))),
    "is no signal": lambda g: replace(g, state={**g.state, find(g, "param"): 1}),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_are_found(message):
    with pytest.raises(Broken, match=message):
        check(FAULTS[message](sound()))
