"""Loops without an order whose brackets mean something else than was meant: units from the end, delays by no frame."""

import pytest

from rnnc.errors import CompileError, Source
from rnnc.graph.elaborate import load

RECURRENCE = "a delay somewhere on the way, as in h[t-1], makes it a recurrence"


def told(text: str):
    with pytest.raises(CompileError) as caught:
        load(Source("meant", text))
    fault, = caught.value.diagnostics
    return fault


@pytest.mark.parametrize("lines, hint", [
    ("h = tanh(x + h[-1])", "h[-1] is the last unit, in the same frame; one frame ago is h[t-1]"),
    ("a = h[-2]  h = tanh(x + a)", "h[-2] counts units from the end, in the same frame; 2 frames ago is h[t-2]"),
    ("h = tanh(x + x[-1] + h)", RECURRENCE),
    ("h = tanh(x + a)  a = tanh(h)  b = b[t-1] + x[-1]", RECURRENCE),
])
def test_units_from_the_end_are_no_delay(lines, hint):
    fault = told(f"model m {{\n    input x : [3]\n    {lines}\n    output h\n}}")
    assert (fault.code, fault.hint) == ("E0401", hint)


@pytest.mark.parametrize("d, code, said", [(0, "E0401", ["d is 0 here"]), (-1, "E0402", ["d is -1 here"])])
def test_delays_by_a_size_name_it(d, code, said):
    """Where they are none, or look ahead: but not those of other equations."""
    fault = told(f"""model m(d = {d}) {{
    input x : [3]
    h = tanh(x + h[t-d] + h[t-2])
    output y = h + x[t-d]
}}""")
    assert fault.code == code and [note.message for note in fault.notes if " here" in note.message] == said


def test_the_size_of_a_cell_is_named_too():
    fault = told("""cell back(d)(x) {
    h = x + h[t-(d-1)]
    return h
}
model m {
    input x : [3]
    output y = 2 * back(1)(x)
}""")
    assert fault.code == "E0401" and fault.notes[-1].message == "d is 1 here"


def test_delays_that_are_some_are_not_doubted():
    fault = told("model m(d = 1) {\n    input x : [3]\n    h = tanh(x + h[t-d] + h[t+d])\n    output h\n}")
    assert fault.code == "E0402" and not [note for note in fault.notes if "here" in note.message]
