"""The benchmark's own arithmetic: operations, bounds, parameters by name, the table. No time is taken here."""

from pathlib import Path

import pytest
from bench import table
from bench.inputs import data
from bench.machine import Limits
from bench.turns import Row
from bench.workloads import WORKLOADS, bound, chosen, products

from rnnc import pipeline

PROGRAMS = Path(__file__).parent / "bench" / "programs"
# Of a processor with 268 and 551 GFLOP/s; its bounds are known from elsewhere.
LIMITS = Limits({1: 268e9, 2: 551e9}, {1: 520e9}, {1: 263e9, 2: 500e9}, {1: 120e9, 2: 235e9}, 40 << 10, 1 << 20, [])


@pytest.mark.parametrize("name, million", [("W1", 7.34), ("W1b", 27.26), ("W3-16", 11.53), ("W4-1", 5.51),
                                           ("W5-16", 2.10), ("W6-1", 3.15), ("W7", 1.84), ("W9-64", 6.68)])
def test_operations_of_a_frame(name, million):
    w = WORKLOADS[name]
    assert sum(products(w).values()) / w.count / 1e6 == pytest.approx(million, abs=0.006)


@pytest.mark.parametrize("name, rate", [("W1", 31.3), ("W2-16", 75), ("W3-1", 33.2), ("W4-16", 100), ("W5-1", 164),
                                        ("W7", 300), ("W8", 300), ("W9-16", 81.9), ("I2-16", 210)])
def test_bound_with_two_threads(name, rate):
    w = WORKLOADS[name]
    assert 1e-3 * w.count / bound(w, LIMITS, 2) == pytest.approx(rate, rel=0.006)


def test_bound_of_a_single_frame():
    assert 1e6 * bound(WORKLOADS["I1-128"], LIMITS, 1) == pytest.approx(1.17, rel=0.01)


@pytest.mark.parametrize("w", {(w.cell, w.layers): w for w in WORKLOADS.values()}.values(), ids=lambda w: w.id)
def test_every_parameter_has_its_numbers(w):
    pytest.importorskip("numpy")
    from bench.peers.rnnc_peer import named
    source = pipeline.as_source(str(PROGRAMS / f"{w.cell}.rnn"))
    graph = pipeline.elaborated(source, sizes={"inputs": w.inputs, "units": w.units, "layers": w.layers})
    wanted = {p.name: tuple(p.shape) for p in graph.params}
    assert {name: array.shape for name, array in named(w, data(w)).items()} == wanted


def test_choice_of_workloads():
    assert [w.id for w in chosen(["W2", "W7"])] == ["W2-16", "W2-64", "W7"]
    assert [w.id for w in chosen(["W1"])] == ["W1"]
    with pytest.raises(SystemExit, match="no such workload"):
        chosen(["W99"])


def row(peer, seconds, others=0.0, check=(1.0, 2.0, 3.0)):
    return Row("W7", peer, 2, list(check), 0.1, [{"seconds": seconds, "others": others}] * 7)


def test_table_names_the_best_peer_and_who_differs():
    w = WORKLOADS["W7"]
    rows = [row("rnnc", w.count / 200e3), row("jax-hoist", w.count / 100e3),
            row("jax-scan", w.count / 40e3, others=0.5), row("torch-eager", w.count / 10e3, check=(1.0, 2.5, 3.0))]
    line = table.line(w, rows, LIMITS, 2)
    assert "| 200k | 67% | 100k jax-hoist | 2.00 | 40.00k* jax-scan (5.0) | 10.00k torch-eager |" in line
    assert line.endswith("differs: torch-eager")
    record = {"processor": "one", "versions": {"rnnc": "0"}, "date": "today", "mkl_switch": True, "notes": []}
    assert "W7 differs: torch-eager" in table.markdown(record, [w], rows, LIMITS)


# Loops of both directions, long delays, starts, a clock, a matrix that remembers, two heads alike, labels.
SEVERAL = """
cell head(n)(x) {
    param W, U : [n, n]
    h = tanh(W @ x + U @ h[t-1])
    return h
}

model several {
    input  x : class(5)
    input  v : [4] per sequence
    target y : class(3)
    param begin : [4] = 0.5
    e = embed(4)(x)
    a = reversed(gru(4))(e) + 0.3 * a[t-6] + where(mod(t, 3) == 0, v, e[t+2])
    init a = begin
    S = 0.9 * S[t-1] + outer(a, e)
    b = narx(4, 6)(S @ e)
    c = concat(head(4)(b), head(4)(a))
    logits = dense(3)(c)
    output p = softmax(logits)
    loss cross_entropy(logits, y)
}
"""


def test_any_program_in_jax():
    """The translation that rnnc is measured against computes the same loss, gradients and outputs."""
    jax = pytest.importorskip("jax", reason="JAX is not installed: there is nothing to compare with")
    import numpy as np
    from bench.peers.any_side import drawn
    from bench.peers.jax_graph import Form, Translation

    from rnnc.errors import Source
    from rnnc.graph import oracle
    graph = pipeline.forward(pipeline.elaborated(Source("several", SEVERAL)))
    made, chance, call = pipeline.programs(graph, "parameters"), np.random.default_rng(1), (7, 2)
    given = drawn(graph, *call)
    parameters = {p.name: chance.normal(0, 0.5, p.shape).astype(np.float32) for p in graph.params}
    wanted = oracle.run(made["backprop"], given, parameters)
    outputs = oracle.run(made["run"], {name: given[name] for name in "xv"}, parameters).outputs
    close = lambda found, right: np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)
    for form in Form(), Form(hoisted=True, turned=True, associative=True):
        said = Translation(graph, form)
        held = {name: said.stored(name, value) for name, value in parameters.items()}
        loss = lambda held, said=said: said.loss(held, given, *call)
        value, found = jax.jit(jax.value_and_grad(loss))(held)
        close(value, wanted.scores["loss"] if wanted.scores else wanted.losses["loss"])
        for name, gradient in wanted.gradients.items():
            close(said.plain(name, found[name]), gradient)
        run = lambda held, said=said: said.outputs(held, given, *call)
        close(jax.jit(run)(held)["p"], outputs["p"])
