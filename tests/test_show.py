"""The text of a graph, in full, for a small network and its gradient."""

from commands import rnnc
from graphs import Sketch, past

from rnnc.graph.gradient import gradient
from rnnc.graph.nodes import Initial
from rnnc.graph.show import show
from rnnc.graph.simplify import simplify


def elman():
    s = Sketch()
    x, y = s.input("x", classes=4), s.input("y", target=True)
    h = s.later(3)
    s.initials[h] = Initial(every=s.param("h.start", 3))
    total = s.op("add", s.op("column", s.param("h.W", 3, 4), x), s.op("matmul", s.param("h.U", 3, 3), past(h, 1)))
    s.equal(h, "h", s.op("tanh", total))
    error = s.name("error", s.op("sub", s.op("sum", h, axis=None), y))
    return s.graph(outputs={"p": h}, losses={"loss": s.op("mul", error, error)})


def test_graph():
    assert show(simplify(elman())) == """\
model model
input x : class(4)
target y : []
param h.start : [3] = 0
param h.W : [3, 4] = 0
param h.U : [3, 3] = 0
h : [3] = tanh(add(column(h.W, x), matmul(h.U, h[t-1])))
error : [] = sub(sum(h), y)
v1 : [] = mul(error, error)
init h = h.start
state h : 1
output p = h
loss loss = v1
"""


def test_gradient():
    text = show(simplify(gradient(simplify(elman()))))
    assert text[text.index("d_error"):] == """\
d_error : [] = add(v7, v7)
d_h : [3] = add(d_error, v10[t+1])
v8 : [3] = mul(d_h, sub(1, mul(h, h)))
v9 : constant [3, 3] = fold_outer(v8, h[t-1])
v10 : [3] = matmul(h.U', v8)
v11 : constant [3] = fold_sum(where(lt(frame_index, 1), v10, 0))
v12 : constant [3, 4] = fold_column(v8, x, [3, 4])
init h = h.start
state h : 1
output p = h
score loss = v6
gradient h.start = v11
gradient h.W = v12
gradient h.U = v9
"""


def test_a_long_delay_is_no_long_program():
    """Every depth before the start had a line of its own in the C, and a tuple of its own in the compiler."""
    text = "model m {\n input x\n init x[t-5] = 2\n output y = x[t-300000] + x[t-1]\n}\n"
    shown = rnnc("show", "-", "--after", "c", "--inference", input=text).stdout
    assert "if (since == 299995) return" in shown and len(shown.splitlines()) < 10000
