"""Wrong programs: each says in its first lines which faults it has and where, and is told exactly these.

`# expect E0301 5:9` is a fault of this file at line 5, column 9; `# expect E0201 used/a.rnn:2:3` one of another file.
`# given model='m'` holds further arguments of the call.
"""

import re
from pathlib import Path

import pytest

from rnnc import grammar
from rnnc.errors import CompileError, Source
from rnnc.graph.elaborate import load
from rnnc.graph.elaborate.codes import CODES
from rnnc.graph.elaborate.hints import FUNCTIONS, VALUES, WHOLE
from rnnc.graph.elaborate.names import BUILT_IN

HERE = Path(__file__).parent / "programs" / "bad"
CELLS = Path(grammar.__file__).parent / "cells"
PROGRAMS = sorted(HERE.glob("*.rnn"))
EXPECT = re.compile(r"# expect (E\d{4}) (\S+)$", re.MULTILINE)
# Words of our own that no user should meet.
OURS = re.compile(r"Traceback|Draft|NotYet|Ref\(|<rnnc|tree\.|NoneType|object at|elaborat|\bnode\b|\bop\b|_expr")


def told(path: Path) -> list:
    text = path.read_text(encoding="utf-8")
    given = re.search(r"^# given (.*)$", text, re.MULTILINE)
    arguments = eval(f"dict({given.group(1)})") if given else {}
    with pytest.raises(CompileError) as caught:
        load(Source(str(path), text), **arguments)
    return caught.value.diagnostics


def place(span, path: Path) -> str:
    where = f"{span.line}:{span.column}"
    return where if span.source.name == str(path) else f"{Path(span.source.name).relative_to(HERE)}:{where}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_each_fault_is_told_at_its_place(path):
    expected = EXPECT.findall(path.read_text(encoding="utf-8"))
    assert expected, "a wrong program says what is wrong with it"
    assert [(fault.code, place(fault.span, path)) for fault in told(path)] == expected


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_each_fault_shows_its_line_in_the_users_words(path):
    for fault in told(path):
        text = fault.render()
        assert text.startswith(f"{fault.span}: error {fault.code}: "), text
        assert fault.excerpt and fault.excerpt in text, text
        assert not OURS.search(text.replace(str(HERE), "")), text
        assert not fault.message.endswith("."), text
        assert re.match(r"[^A-Z]|[A-Z]\w*\b", fault.message), text


def test_every_code_has_a_program():
    found = {code for path in PROGRAMS for code, _ in EXPECT.findall(path.read_text(encoding="utf-8"))}
    assert set(CODES) <= found


def test_every_code_is_in_the_table():
    folder = Path(__import__("rnnc.graph.elaborate").graph.elaborate.__file__).parent
    used = {code for path in folder.glob("*.py") if path.name != "codes.py"
            for code in re.findall(r'"(E\d{4})"', path.read_text(encoding="utf-8"))}
    assert used == set(CODES)


INITIALISERS = "there are glorot, he, lecun, orthogonal, uniform, normal, identity, spectral"


@pytest.mark.parametrize("line,hint", [
    ("param c : [3] = uniform(0, 1)", "a random beginning belongs to a parameter: param W : [n] ~ uniform(0, 1)"),
    ("param c : [3] = glorot", "a random beginning belongs to a parameter: param W : [n] ~ glorot"),
    ("param c : [3] = 0 ~ normal(0, 1)", "write `= ...` for a number, or `~ ...` for random numbers"),
    ("a = W * x", "W @ x is the matrix product, reshape(x, [1, 3]) goes with every row"),
    ("a = ones(4) * W", "v @ W is the matrix product, reshape(v, [4, 1]) goes with every column"),
    ("a = W + x", "reshape(x, [1, 3]) goes with every row"),
    ("a = W * ones(5)", None),
    ("a = where(sum(x) > 0, W, x)", "reshape(x, [1, 3]) goes with every row"),
    ("a = W.T @ ones(4)", "write transpose(W)"),
    ("a = x.shape", "write dim(x)"),
    ("a = concat([x, x[t-1]])", "a list holds numbers; signals are put together by concat(x, x[t - 1])"),
    ("a = W[argmax(x)]", "a signal picks by take(W, argmax(x))"),
    ("a = W[argmax(x), 0]", None),
    ("a = sigma(x)", "did you mean sigmoid?"),
    ("a = cumsum(x)", "a running sum is an equation: s = s[t-1] + x"),
    ("a = ReLU(x)", "did you mean relu?"),
    ("a = LSTM(3)(x)", "did you mean lstm?"),
    ("a = tahn(x)", "did you mean tanh?"),
    ("a = pi * x", "write const pi = 3.141592653589793"),
    ("i = i[t-1] + 1  a = take(x, i)",
     f"{WHOLE}; any other number picks by sum(j in 0..3 : where(i == j, x[j], 0))"),
    ("a = take(W, floor(t / 2))", f"{WHOLE}; any other number picks by sum(i in 0..4 : where(n == i, W[i], 0))"),
    ("n = where(x[0] > 0, 0, 1)  a = one_hot(n, 5)", f"{WHOLE}; of any other number it is concat(i in 0..5 : n == i)"),
    ("a = cross_entropy(x, x[0])", "labels from outside are declared with their number: target y : class(n)"),
    ("a = tanh(x + a(t-1))", "a delay stands in brackets: a[t-1]"),
    ("a = lstm(x)(4)", "sizes stand in the first list, signals in the second: lstm(n)(x)"),
    ("param d = 3  a = x[t-d]", "make d a size of the model, or a const"),
    ("param d = 3  a = dense(d)(x)", "make d a size of the model, or a const"),
    ("a, c = lstm(3)(x)", "write a = lstm(3)(x), then a.c"),
    ("a, b = peephole_lstm(3)(x)", "write a = peephole_lstm(3)(x); its inner signals are then a.i, a.f, a.g, a.c, a.o, "
                                   "a.h"),
    ("a, b = dense(3)(x)", None),
    ("a = mse(x - W[0])", "write mse(x, W[0])"),
    ("a = cross_entropy(argmax(W[0]), x)", "the logits come first, then the label: cross_entropy(x, argmax(W[0]))"),
    ("param a : [3, 3] ~ xavier", f"glorot is the same thing; {INITIALISERS}"),
    ("param a : [3, 3] ~ fancy", INITIALISERS),
    ("param a : [3, 3] ~ ortogonal", "did you mean orthogonal?"),
    ("a = a[t-1] + dot(a[t-1] * b[t-1], x)  b = b[t-1] + a",
     "nothing says that a is more than a number; init a = zeros(3) does"),
    ("b = norm(x)  a = dot(b, x)", "a number times a vector is b * x"),
    ("a = x(1)", "a unit is picked by x[1]"),
    ("a = W(1, 2)", "a unit is picked by W[1, 2]"),
    ("a = t * x(t)", "a delay stands in brackets: x[t]"),
    ("b = norm(x)  a = x(b + 1)", "a product is written x * (b + 1)"),
    ("l = lstm(4)  a = l(x)", "write layer l = lstm(4), or apply it to a signal"),
    ("a = dense(x)", "sizes stand in the first list, signals in the second: dense(n)(x)"),
    ("a = dropout(0.5)(x)", "write dropout(x, 0.5)"),
    ("a = softmax(axis = 1)(W)", "write softmax(W, axis = 1)"),
    ("a = noise(0.1)(x)", "write x + noise(0.1)"),
    ("a = stack(lstm(4), 2)(x)", "write stack(2, lstm(4))"),
    ("a = sum(W, dim = 0)", "did you mean axis?"),
    ("a = sum(W, 0)", "write sum(W, axis = 0)"),
    ("a = dropout(x, rate = 0.5)", "did you mean p?"),
    ("a = x[t-3:t]", "the last k frames, newest first, are window(x, k)"),
    ("a = dense(4, activation = relu)(x)", "it is applied, not handed on: relu(dense(...)(x))"),
    ("a = tanh", "it is applied, not handed on: tanh(x)"),
    ("a = transpose(x)", "of two vectors outer(a, b) makes a matrix, dot(a, b) a number"),
    ('a = einsum("ij,j->i", W, x)', "a matrix product is W @ x, a sum over an index sum(i in 0..n : ...)"),
    ('a = dropout(x, 0.5, per = "sequence")', "a word stands without quotes: per = sequence"),
    ("a = t // 2", "floor(a / b) rounds a signal down, to a real number, which is no index of take"),
])
def test_who_means_something_else_is_told_what_it_is_here(line, hint):
    text = f"model m {{\n    input x : [3]\n    param W : [4, 3]\n    {line}\n    output x\n}}"
    with pytest.raises(CompileError) as caught:
        load(Source("hints", text))
    assert [fault.hint for fault in caught.value.diagnostics] == [hint]


def test_the_way_round_for_numbers_that_are_not_whole_is_one():
    load(Source("round", """model m {
    input x : [3]
    param W : [4, 3]
    i = i[t-1] + 1
    output a = sum(j in 0..3 : where(i == j, x[j], 0)), b = sum(j in 0..4 : where(i == j, W[j], 0))
    output c = concat(j in 0..5 : i == j)
}"""))


@pytest.mark.parametrize("kind", ["cell f()(x) {{ return {0} }}", "fn f(x) = {0}"])
def test_cells_do_not_see_the_model(kind):
    text = kind.format("x + u + k") + "\nmodel m(k = 2) {\n input x : [3]\n u = x\n output x\n}\nconst c = u\n"
    with pytest.raises(CompileError) as caught:
        load(Source("hints", text))
    assert [fault.hint for fault in caught.value.diagnostics] == [
        "u of m is not seen here: it has to be handed in as an argument",
        "k of m is not seen here: it has to be handed in as an argument", None]


def test_names_of_other_libraries_are_none_of_ours():
    ours = {*BUILT_IN, *(path.stem for path in CELLS.glob("*.rnn"))}
    assert not ours & {*FUNCTIONS, *VALUES}
    assert all(re.match(r"did you mean (\w+)\?", hint)[1] in ours for hint in FUNCTIONS.values() if "?" in hint)


@pytest.mark.parametrize("written, said", [
    ("np.tanh(x)", "functions need no module before"), ("nn.Linear(3, 4)(x)", "functions need no module before"),
    ("Linear(4)(x)", "did you mean dense?"), ("Concatenate(x, x)", "did you mean concat?"),
    ("bidirectional(lstm(4))(x)", "concat(L(x), reversed(L)(x))"), ("Sequential(lstm(4))(x)", "lstm(4)(dense(8)(x))"),
    ("where(x > 0, x, inf)", "1e30"),
])
def test_words_of_other_libraries_are_translated(written, said):
    """`np` and `nn` were taken for the size n, Linear for narx."""
    with pytest.raises(CompileError) as caught:
        load(Source("hints", f"model m(n = 3) {{\n input x : [n]\n output h = {written}\n}}"))
    assert said in caught.value.diagnostics[0].hint


def test_a_fraction_where_a_whole_number_is_meant_is_followed_to_its_name():
    text = """const dt = 8 / 3
const half = 0.5
cell late(by)(x) { return x[t-by] }
model m(f = 1.25, k = 3) {
    input x : [3]
    output a = x[t-dt]
    output b = zeros(k * f + half)
    output c = late(f)(x)
}"""
    with pytest.raises(CompileError) as caught:
        load(Source("fractions", text))
    told = {fault.span.line: [(note.span.line, note.message) for note in fault.notes]
            for fault in caught.value.diagnostics}
    assert told == {6: [(1, "dt is 2.6666666666666665")], 7: [(4, "f is 1.25"), (2, "half is 0.5")],
                    3: [(4, "f is 1.25"), (8, "late is applied here")]}
