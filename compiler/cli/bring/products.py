"""Matrix products: with known matrices as dense layers, of labels as embeddings, of two signals within a frame."""

import numpy as np

from rnnc.cli.bring.calls import Call, each_row, few
from rnnc.cli.bring.draft import Said, units
from rnnc.cli.bring.file import Node
from rnnc.cli.bring.shuffles import gather
from rnnc.cli.bring.values import LABEL, NUMBERS, Axis, Inexpressible, Value, together, transposed

PRODUCT = """# A matrix product alone; `dense` has a bias as well.
cell product(n)(x) {
    param W : [n, dim(x)]

    return W @ x
}"""


def matmul(call: Call) -> Value:
    x, w = call.signal(0), call.signal(1)
    if w.known and len(w.axes) == 2:
        return dense(call, x, w.data.T, *following(call))
    if x.known and len(x.axes) == 2 and len(w.axes) == 2:       # W x, the vectors in columns
        return transposed(dense(call, transposed(w, [1, 0]), x.data, None, None), [1, 0])
    if NUMBERS in (x.kind, w.kind):
        raise Inexpressible(f"a product of shapes {x} and {w}; one with a matrix of known numbers is wanted")
    return of_signals(call, x, w)


def gemm(call: Call) -> Value:
    x, w, c = call.signal(0), call.signal(1), call.given(2)
    if not w.known or len(w.axes) != 2 or c is not None and not c.known:
        raise Inexpressible("its matrix is not known before a run")
    if call.attribute("transA", 0):
        x = transposed(x, [1, 0])
    matrix = (w.data if call.attribute("transB", 0) else w.data.T) * w.data.dtype.type(call.attribute("alpha", 1.0))
    bias = None
    if c is not None:
        try:
            bias = np.broadcast_to(c.data, (1, len(matrix))).ravel() * c.data.dtype.type(call.attribute("beta", 1.0))
        except ValueError:
            raise Inexpressible(f"its bias of shape {list(c.data.shape)} differs from stream to stream") from None
    return dense(call, x, matrix, bias, None)


def dense(call: Call, x: Value, matrix: np.ndarray, bias: np.ndarray | None, joined: Node | None) -> Value:
    """`matrix`: [out, in]. `joined`: the node that adds the bias, which thereby is done."""
    last = len(x.axes) - 1
    if x.axes[last].roles or x.axes[last].size != matrix.shape[1]:
        raise Inexpressible(f"a matrix of {matrix.shape[1]} columns for the last axis of {x}")
    if x.kind == NUMBERS:
        raise Inexpressible("a product of numbers alone that are repeated over time or batch")
    name = "product" if bias is None else "dense"
    if bias is None:
        call.draft.cells["product"] = PRODUCT
    weights = {"W": matrix} | ({} if bias is None else {"b": bias})
    text = lambda row: f"{name}({len(matrix)})" + (f"({row})" if row else "")
    if joined is not None:
        call = Call(call.reading, Node(call.node.place, call.node.op, call.node.name,
                                       call.node.inputs + joined.inputs, joined.outputs, {}), call.arguments)
    table = x.data.reshape(-1, x.data.shape[-1])
    found = each_row(call, table, text, len(matrix), weights).reshape(*x.data.shape[:-1], len(matrix))
    made = units([*x.axes[:last], Axis(len(matrix))], found)
    if joined is not None:
        call.reading.done[joined.outputs[0]] = made
    return made


def following(call: Call) -> tuple[np.ndarray | None, Node | None]:
    """The bias that the only reader of this product adds, and that reader."""
    (out,) = call.node.outputs
    readers = call.reading.readers.get(out, [])
    if len(readers) != 1 or readers[0].op != "Add" or out in call.reading.wanted:
        return None, None
    other = [name for name in readers[0].inputs if name != out]
    value = call.reading.known(other[0]) if len(other) == 1 else None
    count = call[1].data.shape[1]
    if value is None or value.data.size not in (1, count) or value.data.shape[-1:] not in ((count,), (1,)):
        return None, None
    if value.data.size == 1 and count > 1 or len(value.axes) > len(call[0].axes):
        return None, None
    return value.data.ravel(), readers[0]


def of_signals(call: Call, x: Value, w: Value) -> Value:
    """Both per frame; or weights over time with what is seen in it, summed up over time."""
    if min(len(x.axes), len(w.axes)) < 2:
        raise Inexpressible(f"a product of two signals of shapes {x} and {w}")
    inner, outer = (x.axes[-1], w.axes[-2]), (x.axes[-2], w.axes[-1])
    if any(a.roles for a in outer) or inner[0].roles != inner[1].roles or inner[0].roles and not inner[0].time:
        raise Inexpressible(f"a product of two signals of shapes {x} and {w}, in which every frame meets every other "
                            "one; a program has sums over time of what each frame has, and nothing of frame by frame")
    batch, _ = together([Value(v.axes[:-2], np.zeros([a.size for a in v.axes[:-2] if not a.roles]), NUMBERS)
                         for v in (x, w)])
    if any(not a.roles and a.size != 1 for a in batch):
        raise Inexpressible(f"several products of signals in one frame: {x} and {w}")
    m, n = outer[0].size, outer[1].size
    a, b = call.draft.say(x.data), call.draft.say(w.data)
    shape = [1] * sum(not axis.roles for axis in batch) + [m, n]
    axes = [*batch, Axis(m), Axis(n)]
    if inner[0].roles:
        few(m, "sums over time")
        b = call.simple(b, n)
        said = [call.draft.say(row) for row in x.data.reshape(m, 1)]
        parts = [f"sum_over(t, {s.text} * {b.text})" for s in said]
        return call.equation(parts[0] if m == 1 else f"concat({', '.join(parts)})", axes, shape, [*said, b],
                             per="sequence")
    k = inner[0].size
    if n == 1:
        return call.equation(f"reshape({a.text}, [{m}, {k}]) @ {b.text}", axes, shape, [a, b])
    if m == 1:
        return call.equation(f"transpose(reshape({b.text}, [{k}, {n}])) @ {a.text}", axes, shape, [a, b])
    text = f"reshape({a.text}, [{m}, {k}]) @ reshape({b.text}, [{k}, {n}])"
    return call.equation(f"reshape({text}, [{m * n}])", axes, shape, [a, b])


def look_up(call: Call) -> Value:
    """Rows of a known matrix that labels choose: an embedding. Everything else moves units about."""
    table, index = call[0], call[1]
    if index.kind != LABEL:
        return gather(call)
    at = call.axis(call.attribute("axis", 0), len(table.axes))
    if not table.known or at != 0 or len(table.axes) != 2:
        raise Inexpressible(f"a label chooses from axis {at} of {table}; the rows of a known matrix are wanted")
    said, rank = one_label(call, index, len(table.data)), table.data.shape[1]
    text = f"embed({rank})({said.text})"
    return call.equation(text, [*index.axes, Axis(rank)], (*index.data.shape, rank), [said], {"W": table.data.T})


def one_label(call: Call, index: Value, classes: int) -> Said:
    """The label of a frame; it is now known how many there are of it."""
    if index.data.size != 1:
        raise Inexpressible(f"{index.data.size} labels in one frame; an input of labels has one "
                            "(give the model an input for each)")
    said = call.draft.say(index.data)
    (name,) = said.needs
    if call.reading.classes.setdefault(name, classes) != classes:
        raise Inexpressible(f"{classes} rows for labels of {call.reading.classes[name]} classes")
    return said


def one_hot(call: Call) -> Value:
    index, depth, values = call[0], call.integers(1), call[2]
    if index.kind != LABEL or not values.known or values.data.tolist() != [0, 1]:
        raise Inexpressible("of anything but a label, 0 and 1")
    if call.attribute("axis", -1) not in (-1, len(index.axes)):
        raise Inexpressible("its classes are not the last axis")
    said = one_label(call, index, depth[0])
    return call.equation(f"one_hot({said.text})", [*index.axes, Axis(depth[0])], (*index.data.shape, depth[0]), [said])


RULES = {"MatMul": matmul, "Gemm": gemm, "Gather": look_up, "OneHot": one_hot}
