"""Layers that compute alike share kernels: what is the same text but for names, what is not, and the same numbers."""

import re

import pytest
from compare import compare, continued, draw_data, in_segments, net_of, same_bits, set_params

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.target.alike import Reader, share
from rnnc.target.text import ProgramText

TYPES = {"a": "real *", "b": "real *", "d": "real *", "count": "int32_t *", "near_0": "long ", "near_1": "long "}
HEAD = "/* h */\nstatic void run_{k}_{k}(const rn_call *c, long first, long rows, rn_part part)\n{{\n    {body}\n}}"
FINDERS = {f"{name}_before_1": f"RN_INLINE const real *{name}_before_1(const rn_call *c, long r)\n{{\n"
                               f"    return c->{name} + (r - {back}) * 8;\n}}" for name, back in
           (("a", 1), ("b", 1), ("d", 2))}


def form(body: str, k: int = 0, stages: bool = True):
    return Reader(FINDERS, TYPES, stages).form(HEAD.format(k=k, body=body))


@pytest.mark.parametrize("one, other", [
    ("rn_store(c->a + u, x);", "rn_store(c->b + u, x);"),
    ("const rn_v a = rn_load(c->a); rn_store(c->b, a);", "const rn_v b = rn_load(c->b); rn_store(c->d, b);"),
    ("rn_tile(c->packed + PANEL_0 + p);", "rn_tile(c->packed + PANEL_7 + p);"),
    ("x = a_before_1(c, r);", "x = b_before_1(c, r);"),
    ("const long near_0 = rn_ring(c->near_0);", "const long near_1 = rn_ring(c->near_1);"),
    ("RN_COUNT_PRODUCT(3, rows);", "RN_COUNT_PRODUCT(8, rows);"),
    ("x = c->a; /* h.0 */", "x = c->a; /* h.1,\n * twice */"),
])
def test_names_alone_make_no_difference(one, other):
    assert form(one).text == form(other, 5).text


@pytest.mark.parametrize("one, other", [
    ("x = c->a + c->b;", "x = c->a + c->a;"),                               # the same place twice
    ("x = c->a; y = c->b; z = c->a;", "x = c->a; y = c->b; z = c->b;"),     # or in another order
    ("x = rn_tanh(c->a);", "x = rn_sigmoid(c->a);"),
    ("x = c->a[1];", "x = c->a[2];"),
    ("x = c->a - c->b;", "x = c->a + c->b;"),
    ("x = *(c->a);", "x = *(c->count);"),                                   # of another type
    ("const real *v = c->a;", "const int32_t *v = c->a;"),
    ("x = part.p0;", "x = part.p1;"),
    ("x = a_before_1(c, r);", "x = d_before_1(c, r);"),                     # found in another way
    ("x = a_before_1(c, r) + c->a;", "x = b_before_1(c, r) + c->a;"),       # of the same value, or not
    ("const rn_v a = x, b = a; y = a;", "const rn_v a = x; const rn_v b = a; y = b;"),
    ("x = rn_sparse(COLUMNS_0, c->a);", "x = rn_sparse(COLUMNS_1, c->a);"),
    ("rn_tile(c->packed + PANEL_0); rn_tile(c->packed + PANEL_1);",
     "rn_tile(c->packed + PANEL_2); rn_tile(c->packed + PANEL_2);"),
])
def test_everything_else_does(one, other):
    assert form(one).text != form(other).text


def test_where_products_are_counted_stages_may_have_to_be_the_same():
    assert form("RN_COUNT_PRODUCT(3, rows);", 0, False).text != form("RN_COUNT_PRODUCT(8, rows);", 0, False).text


def program(finders: dict[str, str], kernels: list[str], calls: list[str]) -> ProgramText:
    named = {re.search(r"void (\w+)", made)[1]: made for made in kernels}
    return ProgramText("run", finders=finders, kernels=named, stages=calls, fields=TYPES)


SUM = """/* the sum of {a} */
static void {name}(const rn_call *c, const rn_team *team, int thread, long t0, long t1)
{{
    rn_add(c->{to}, c->{a}, c->packed + {constant});
}}"""
CALLED = "    {0}(c, team, thread, t0, t1);"


def test_sums_are_told_where_they_add():
    sums = [SUM.format(name=f"run_1_{k}", a=a, to=to, constant=constant) for k, (a, to, constant) in enumerate(
        [("a", "b", "AT_w"), ("d", "b", "AT_w"), ("a", "b", "AT_v")])]
    text = program({}, sums, [CALLED.format(f"run_1_{k}") for k in range(3)])
    share([text], False)
    assert text.stages == ["    run_1_0(c, team, thread, t0, t1, c->a);", "    run_1_0(c, team, thread, t0, t1, c->d);",
                           CALLED.format("run_1_2")]                        # which has another constant
    assert len(text.kernels) == 2 and "rn_add(c->b, a, c->packed + AT_w);" in text.kernels["run_1_0"]


def test_finders_of_layers_stand_before_those_that_call_them():
    inner, outer = "a_before_1", "b_before_1"
    finders = FINDERS | {outer: FINDERS[outer].replace("return", f"if (r < 1) return {inner}(c, r);\n    return"),
                         "d_before_1": FINDERS["d_before_1"].replace("r - 2", "r - 1").replace(
                             "return", f"if (r < 1) return {inner}(c, r);\n    return")}
    long = "y = rn_tanh(y);\n    " * 30
    kernels = [HEAD.format(k=k, body=f"{long}x = {name}_before_1(c, r);") for k, name in enumerate("bd")]
    text = program(dict(finders), kernels, ["    run_0_0(c, 0);", "    run_1_1(c, 0);"])
    made = share([text], False)
    assert text.stages == ["    run_0_0(c->layers + 0, 0);", "    run_0_0(c->layers + 1, 0);"] and made.most == 2
    assert [*text.finders] == [f"layer_{inner}", f"layer_{outer}"]          # and the others are gone
    assert made.fill == ((["l->a = c->a;", "l->b = c->b;"], ["l->a = c->a;", "l->b = c->d;"]),)


def model(body: str) -> str:
    return (f"cell lagged(n, k)(x) {{\n    param W : [n, dim(x)]   param U : [n, n]\n"
            f"    h = tanh(W @ x + U @ h[t-k])   init h = 0.5\n    return h\n}}\n"
            f"cell around(n)(x) {{\n    return concat(gru(n)(x), reversed(gru(n))(x))\n}}\n"
            f"model m(n = 20) {{\n    input x : [n]   target y : class(9)\n    h = {body}\n"
            f"    logits = dense(9)(h)\n    output h, logits\n    loss cross_entropy(logits, y)\n}}")


STACKS = {
    "lstm": "stack(3, lstm(n))(x)",
    "other delays": "stack(2, lagged(n, 3))(stack(2, lagged(n, 1))(x))",
    "both ways": "stack(2, around(n))(x)",
    "residual": "stack(2, residual(mlstm(16)))(dense(16)(x))",
    "heads": "retention(n, 2)(x)",
    "diagonal": "stack(3, indrnn(n))(x)",
    "numbers": "0.5 * stack(4, lagged(1, 1))(x[0:1])",
}


def elaborated(name: str):
    return pipeline.elaborated(Source("<text>", model(STACKS[name])))


@pytest.mark.parametrize("name", STACKS)
def test_each_layer_has_its_own_numbers(name):
    graph = elaborated(name)
    compare(graph, "float32", seed=3)
    if name == "lstm":
        assert continued(net_of(graph, "float64", "all"), graph, "float64", 5)


@pytest.mark.usefixtures("any_threads")
@pytest.mark.parametrize("name", ["lstm", "both ways"])
def test_threads_leave_the_same_bits(name):
    graph = elaborated(name)
    net = net_of(graph)
    for frames, streams in ((1, 1), (70, 1), (9, 7)):
        data = draw_data(graph, frames, frames=frames, streams=streams)
        set_params(net, data)
        same_bits(net, data, threads=(1, 2, 5))


def test_in_segments(monkeypatch):
    in_segments(monkeypatch, 1)
    compare(elaborated("other delays"), "float64", seed=4, frames=150)


def kernels(text: str, sizes: dict) -> int:
    made = pipeline.emit(Source("<text>", text), pipeline.Options(gradient="all"), sizes)
    return len(re.findall(r"^static void \w+\(const rn_(?:call|layer) \*c, long first", made.c, re.M))


@pytest.mark.parametrize("cell", ["lstm(n)", "mlstm(n)", "lagged(n, 2)"])
def test_more_layers_are_no_more_kernels(cell):
    text = model(f"stack(depth, {cell})(x)").replace("n = 20", "n = 16, depth = 3")
    assert kernels(text, {"depth": 5}) == kernels(text, {"depth": 4}) < 3 * kernels(text, {"depth": 1})
