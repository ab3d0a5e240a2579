"""From tree to graph: a corpus of tricky programs; paths; sizes; what is read. What programs mean is judged in
test_meaning.py, wrong programs in test_bad_programs.py."""

from pathlib import Path

import numpy as np
import pytest
from programs_in_text import B, T, calls, graph_of, run, values, weights

from rnnc import pipeline
from rnnc.errors import CompileError, Source
from rnnc.front.parse import parse
from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.elaborate import elaborate, load, survey
from rnnc.graph.gradient import gradient, vjp

GOOD = sorted((Path(__file__).parent / "programs" / "good").glob("*.rnn"))
# ------------------------------------------------------------------------------------------------- the good programs

@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_good_programs(path):
    graph = load(path).graph
    check(graph)
    x, w = values(graph), weights(graph)
    result = oracle.run(graph, x, w, frames=T, streams=B)
    for value in [*result.outputs.values(), *result.losses.values()]:
        assert np.isfinite(value).all()
    check(vjp(graph))
    if graph.losses:
        joint = gradient(graph)
        check(joint)
        back = oracle.run(joint, x, w, frames=T, streams=B)
        assert all(np.isfinite(g).all() for g in back.gradients.values())


@pytest.mark.parametrize("path", GOOD, ids=lambda p: p.stem)
def test_statements_have_no_order(path):
    """The same program with every body's statements turned round is the same graph, but for the names of losses."""
    from dataclasses import replace

    from rnnc.front import tree
    file = parse(Source(path.name, path.read_text(encoding="utf-8")))
    turn = lambda body: tuple(s for s in reversed(body) if not isinstance(s, (tree.Return, tree.Loss))) + tuple(
        s for s in body if isinstance(s, (tree.Return, tree.Loss)))
    items = tuple(replace(i, body=turn(i.body)) if hasattr(i, "body") else i for i in file.items)
    one, two = elaborate(file), elaborate(replace(file, items=items))
    check(two)
    assert {p.name: p.shape for p in one.params} == {p.name: p.shape for p in two.params}
    assert {one[n].name: k for n, k in one.state.items()} == {two[n].name: k for n, k in two.state.items()}
    x, w = values(one), weights(one)
    a, b = (oracle.run(g, x, w, frames=T, streams=B) for g in (one, two))
    for name, value in a.outputs.items():
        np.testing.assert_allclose(b.outputs[name], value, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------------------------------------- paths

def program(name: str):
    return load(next(p for p in GOOD if p.stem == name)).graph


def test_paths_of_parameters():
    names = [p.name for p in program("paths").params]
    rnn = lambda place: [f"{place}.{w}" for w in "WUb"]
    dense = lambda place: [f"{place}.{w}" for w in "Wb"]
    assert names == [
        *rnn("a"), *rnn("b.rnn"), *rnn("b.rnn_2"), *rnn("c.0"), *rnn("c.1"), *rnn("d.rnn.0"), *rnn("d.rnn.1"),
        *rnn("e"), *rnn("f"), *rnn("L"), *dense("i.y"), *dense("i.z.dense"), *dense("i.dense"), *rnn("j.rnn"),
        *rnn("j.rnn_2"), *rnn("j.rnn_3"), "v.a", *dense("p"), *dense("q.dense"), *dense("loss.dense"),
        *dense("loss_3.dense"), *dense("far.dense")]


def test_paths_of_signals():
    graph = program("paths")
    assert {"a", "a.h", "b.rnn.h", "b.rnn_2.h", "c", "c.0.h", "c.1.h", "e.0.h", "e.1.h", "g.h", "i.y", "v", "w",
            "far.dense", "loss.dense"} <= set(graph.named())
    assert {graph[n].name for n in graph.state} == {
        "a.h", "b", "b.rnn.h", "b.rnn_2.h", "c.0.h", "c.1.h", "d.rnn.0.h", "d.rnn.1.h", "e.0.h", "e.1.h", "g.h",
        "h.rnn.h", "j.rnn.h", "j.rnn_2.h", "j.rnn_3.h"}


def test_arguments_by_place_and_by_name():
    text = """model m {{
        input x : [2]
        output a = dropout(x, {}) + noise({})
        output b = spike(x, {}) + spike({}x, slope = 3) + quantize(x, {}) + straight_through(sign(x), {}x)
    }}"""
    placed = text.format("0.5", "0.1", "triangle, 3", "", "4, 0.1", "")
    named = text.format("p = 0.5", "std = 0.1", "surrogate = triangle, slope = 3", "v = ", "bits = 4, step = 0.1",
                        "backward = ")
    plain = [[(node.op, node.args, node.attrs) for node in graph_of(t).nodes if node.op not in ("dropout", "noise")]
             for t in (placed, named)]         # those are told apart by their place in the text
    assert plain[0] == plain[1]


def test_the_order_of_elaboration_names_nothing():
    """A cell that has to wait for a size keeps its place in the order of the text."""
    graph = graph_of("""model m {
        input x : [2]
        y = dense(dim(h))(x) + dense(3)(x)
        h = tanh(y + h[t-1])
        output y
        k = dense(dim(z))(x) * sum(dense(5)(x))
        z = concat(x, x)
        output k
    }""")
    assert {p.name: p.shape for p in graph.params if p.name[-1] == "W"} == {
        "y.dense.W": (3, 2), "y.dense_2.W": (3, 2), "k.dense.W": (4, 2), "k.dense_2.W": (5, 2)}


def test_a_parameter_that_waits_for_a_size_is_no_vector():
    """h says late how large it is, and W4 is a matrix all the while."""
    graph = graph_of("""cell c(n)(x) {
        param W3 : [n, 2]
        param W4 : [2, dim(x)]
        g = tanh((W3 @ W4) @ x + 0.5 * g[t-1])
        return g
    }
    model m {
        input x : [1]
        h = tanh(h[t-1] + h[t-2][0:1] + x)
        output r = c(5)(h)
    }""")
    assert {p.name: p.shape for p in graph.params} == {"r.W3": (5, 2), "r.W4": (2, 1)}
    graph = graph_of("""model m {
        input x
        param W : [4, 3]
        param p : [dim(h) - 1]
        h = tanh(W @ p + 0.5 * h[t-1])
        output h, x
    }""")
    assert {p.name: p.shape for p in graph.params} == {"W": (4, 3), "p": (3,)}


def test_unused_parameters_stay():
    graph = graph_of("model m { input x  param W, V : [2, 3]  frozen b : [2] = 1  output y = x }")
    assert [(p.name, p.shape, p.trainable, p.init) for p in graph.params] == [
        ("W", (2, 3), True, ("glorot",)), ("V", (2, 3), True, ("glorot",)), ("b", (2,), False, ("value", 1.0))]


def test_initialisers():
    graph = graph_of("""model m(k = 2) {
        input x
        param a
        param b = 2 * k
        param U : [2, 3, 3]
        param W : [3, 3] ~ identity
        param V : [3, 3] ~ identity(1 / k)
        param n : [3] ~ normal(0, 0.5)
        param u : [3] ~ uniform(-k, k)
        param o : [3, 2] ~ orthogonal
        param s : [2, 3, 3] ~ spectral(1 / k)
        output y = x
    }""")
    assert {p.name: p.init for p in graph.params} == {
        "a": ("value", 0.0), "b": ("value", 4.0), "U": ("glorot",), "W": ("identity", 1.0), "V": ("identity", 0.5),
        "n": ("normal", 0.0, 0.5), "u": ("uniform", -2.0, 2.0), "o": ("orthogonal",),
        "s": ("spectral", 0.5)}


def test_shared_parameters():
    """The same layer twice is one set of parameters; share is the layer applied k times."""
    out, x, w = run("""model m {
        input x : [2]
        layer L = dense(2)
        a = L(L(x))
        b = share(3, dense(2))(x)
        output a, b, c = transpose(L.W) @ x
    }""")
    step = lambda v, W, b: v @ W.T + b
    assert sorted(w) == ["L.W", "L.b", "b.W", "b.b"]
    np.testing.assert_allclose(out["a"], step(step(x["x"], w["L.W"], w["L.b"]), w["L.W"], w["L.b"]))
    three = x["x"]
    for _ in range(3):
        three = step(three, w["b.W"], w["b.b"])
    np.testing.assert_allclose(out["b"], three)
    np.testing.assert_allclose(out["c"], x["x"] @ w["L.W"])


# ------------------------------------------------------------------------------------------------- sizes and sources

def test_sizes_from_outside():
    text = """model m(n, k = 2 * n, lags = [1], dt = 0.5) {
        input x : [n]
        param W : [k, dim(lags)]
        output y = dt * x
    }"""
    graph = graph_of(text, n=np.int64(3), lags=(1, 2, 3), dt=np.float32(0.25))
    assert graph.inputs[0].shape == (3,) and graph.params[0].shape == (6, 3)
    with pytest.raises(CompileError, match="the size n has no value"):
        graph_of(text)
    with pytest.raises(CompileError, match="did you mean lags"):
        graph_of(text, n=1, lag=3)


@pytest.mark.parametrize("layer,read,said", [
    ("gru(2)", "v.gate", "no part called gate.*  hint: its parts: Wz, .*, h$"),
    ("gru(2)", "v.Uzz", "no part called Uzz.*  hint: did you mean Uz[?]$"),
    ("gru(2)", "L.gate @ x", "no parameter called gate.*  hint: its parameters: Wz, .*, bh$"),
    ("stack(2, gru(2))", "v.z", r"a stack of 2 has no part z of its own.*, as in v\.0\.z$"),
    ("stack(2, gru(2))", "L.Wz @ x", r"a stack of 2 has no parameter Wz of its own.*, as in L\.0\.Wz$"),
    ("stack(2, gru(2))", "L.0.gate @ x", "gate cannot be worked out.*  hint: its parameters: Wz, .*, bh$"),
])
def test_a_part_that_is_not_there_is_answered_with_those_that_are(layer, read, said):
    with pytest.raises(CompileError, match=f"(?s){said}"):
        graph_of(f"model m {{\n input x : [2]\n layer L = {layer}\n v = L(x)\n output o = {read}\n}}")


@pytest.mark.parametrize("value", [
    "expm(ones(3, 3) * 1000)", "dot(ones(2) * 1e30, exp(ones(2) * 700))", "norm(exp(x))", "outer(exp(x), exp(x))",
    "solve(eye(2) / exp(x)[0], exp(x))", "-logsumexp(log(0 * x))"])
def test_of_constants_without_end_only_the_compiler_speaks(value, recwarn):
    """NumPy's own warnings of overflow say nothing of a program."""
    text = f"const x = 700 * ones(2)\nmodel m {{\n const A = {value}\n input u\n output y = u + A[0]\n}}"
    with pytest.raises(CompileError, match="E0503: the constant A has entries that are not finite"):
        load(text)
    assert not recwarn.list


def test_one_model_of_several():
    text = "model a { input x  output y = x }\nmodel b { input x : [2]  output y = x }\n"
    assert graph_of(text, "b").name == "b"
    with pytest.raises(CompileError, match="several models"):
        graph_of(text)


def test_used_files_and_sources(tmp_path):
    (tmp_path / "cells.rnn").write_text(
        'use "more/deep.rnn"\nconst two = 2\ncell mine(n)(x) { return deep(dense(n)(x)) }')
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "deep.rnn").write_text('use "../consts.rnn"\nfn deep(x) = half * x')
    (tmp_path / "consts.rnn").write_text("const half = 1 / 2")
    main = tmp_path / "main.rnn"
    main.write_text('use "cells.rnn"\nuse "cells.rnn"\nmodel m { input x  output y = two * mine(3)(x) }')
    made = load(main)
    assert [Path(s.name).name for s in made.sources] == ["main.rnn", "cells.rnn", "deep.rnn", "consts.rnn", "dense.rnn"]
    assert [p.name for p in made.graph.params] == ["y.mine.dense.W", "y.mine.dense.b"]
    assert load(main.read_text().replace('"cells', f'"{tmp_path}/cells')).graph.params == made.graph.params


def test_states_are_what_is_read_late():
    graph = graph_of("""model m {
        input x : [2]
        input w : class(3)
        a = x[t-3] + x[t-1]
        b = one_hot(w[t-2])
        c = a[t+2]
        d = b[t-1] * d[t-2]
        output a, c
        loss sum(a[t-5])
    }""")
    assert {graph[n].name: k for n, k in graph.state.items()} == {"x": 3, "w": 2, "b": 1, "d": 2, "a": 5}


def test_names_of_a_library():
    survey(Source("lib.rnn", "fn half(x) = x / 2\ncell c(n)(x) { return half(dense(n)(x)) }"))
    with pytest.raises(CompileError, match="nothing here is called y"):
        survey(Source("lib.rnn", "fn half(x) = y / 2"))


def test_what_counts_from_whole_numbers_is_real_beside_whole_ones_too():
    """`h` is nothing but 1s added up: real, since nothing says otherwise, also where it meets the integer t."""
    for rest in ("k = t * h", "k = h + t", "k = where(h < t, 1, t)", "k = max(t, h)"):
        graph = graph_of("model m { h = h[t-1] + 1  " + rest + "  output h, k }")
        assert graph[graph.outputs["h"]].kind == "real"
        check(graph)
    out, _, _ = run("model m { k = t * h  h = h[t-1] + 1  output k }")
    assert out["k"][:, 0].tolist() == [0, 2, 6, 12, 20, 30]


def test_work_grows_with_the_program():
    """Counted in calls of functions, which no other load disturbs: four times the equations, at most five times the
    work, and the text is read once."""
    def program(n: int) -> Source:
        ring = [f"a{i} = tanh(a{i - 1})" for i in range(1, n)]
        chain = [f"s{i} = 0.5 * s{i}[t-1] + s{i - 1}" for i in range(1, n)]
        return Source("long.rnn", "\n".join(["model m { input x", f"a0 = tanh(x + a{n - 1}[t-1])", *ring, "s0 = x",
                                             *chain, f"output s{n - 1} }}"]))

    def work(source: Source) -> int:
        found = calls(lambda: pipeline.check(source))
        assert parse(source) is parse(source)
        return found

    work(program(3))                                            # the parser itself, once
    assert work(program(400)) < 5 * work(program(100))


CHAINS = {"values": ("x", "y"), "products": ("W[{}] @ x", "y"), "products in a loop": ("W[{}] @ y[t-1]", "tanh(y)")}


@pytest.mark.parametrize("chain", CHAINS)
def test_work_grows_with_a_chain(chain):
    """All of the compiler's own, down to the C. Each term of a sum was asked for the sum of products up to it."""
    term, result = CHAINS[chain]

    def work(n: int) -> int:
        terms = " + ".join(term.format(i) for i in range(n))
        text = f"model m {{ input x : [4]\n param W : [{n}, 4, 4]\n y = {terms}\n output z = {result} }}"
        return calls(lambda: pipeline.emit(Source("long.rnn", text), pipeline.Options(gradient=None)))

    work(3)
    assert work(400) < 5 * work(100)
