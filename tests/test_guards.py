"""Clocks: what a slow module's loop may leave out, and that nobody can tell."""

from dataclasses import replace

import numpy as np
import pytest
from compare import compare, same_bits
from plans import layer, plan

import rnnc
from rnnc import pipeline
from rnnc.errors import Broken, Source
from rnnc.plan.check import check
from rnnc.plan.guards import share
from rnnc.plan.roles import Guards
from rnnc.plan.schedule import Schedule
from rnnc.plan.show import guarded, show

PARAMS = "param W : [n, 6]\n param U : [n, n]\n param V : [n, n]\n"
INPUTS = "input x : [6]\n input clock\n input slow"


def slow(equations: str, program: str = "backprop") -> Schedule:
    return plan(layer(PARAMS + equations, INPUTS), program)


def products(made: Schedule) -> dict[str, str]:
    """The products of loops, by what they are left out without; the others under an empty text."""
    graph, found = made.graph, {}
    for kernel in made.kernels():
        for panel in getattr(kernel, "panels", ()):
            for matrix, turned in panel.matrices:
                name = str(graph[matrix].attr("name")) + "'" * turned
                found[f"{name} {panel.operand.delay:+d}"] = guarded(graph, panel.guards)
    return {name: text for name, text in found.items() if not name.startswith("W")}


# ------------------------------------------------------------------------------------------------ what is found

PLAIN = "h = where(clock > 0.5, tanh(W @ x + U @ h[t-1]), h[t-1])"
CASES = {
    "data": (PLAIN, {"U +1": "clock > 0.5", "U' -1": "(clock > 0.5)[t+1]"}),
    "periods": ("h = where(mod(t, 4) == 0, tanh(W @ x + U @ h[t-1]), h[t-1])",
                {"U +1": "mod(t, 4) == 0", "U' -1": "(mod(t, 4) == 0)[t+1]"}),
    "an input as it is": ("h = where(clock, tanh(W @ x + U @ h[t-1]), h[t-1])",
                          {"U +1": "clock", "U' -1": "clock[t+1]"}),
    "the other branch": ("h = where(clock > 0.5, h[t-1], tanh(W @ x + U @ h[t-1]))",
                         {"U +1": "not (clock > 0.5)", "U' -1": "not (clock > 0.5)[t+1]"}),
    "both branches": ("h = where(clock > 0.5, tanh(W @ x + U @ h[t-1]), tanh(V @ h[t-1]))",
                      {"U +1": "clock > 0.5", "V +1": "not (clock > 0.5)", "U' -1": "(clock > 0.5)[t+1]",
                       "V' -1": "not (clock > 0.5)[t+1]"}),
    "one in the other": ("h = where(clock, where(slow, tanh(W @ x + U @ h[t-1]), 0.5 * h[t-1]), h[t-1])",
                         {"U +1": "clock and slow", "U' -1": "clock[t+1] and slow[t+1]"}),
    "one behind the other": ("h = where(clock, tanh(W @ x + V @ tanh(U @ h[t-1])), h[t-1])",
                             {"U +1": "clock", "V +0": "clock", "V' +0": "clock", "U' -1": "clock[t+1]"}),
    "a gated product": ("h = where(clock, tanh(W @ x + V @ (sigmoid(U @ h[t-1]) * h[t-1])), h[t-1])",
                        {"U +1": "clock", "V +0": "clock", "V' +0": "clock", "U' -1": "clock[t+1]"}),
    "a condition of another frame": ("h = where(clock[t-1] > 0, tanh(W @ x + U @ h[t-1]), h[t-1])",
                                     {"U +1": "clock[t-1] > 0", "U' -1": "(clock[t-1] > 0)[t+1]"}),
    "a faster loop": ("f = tanh(W @ x + V @ f[t-1])\n h = where(f[0] > 0, tanh(U @ h[t-1] + f), h[t-1])",
                      {"V +1": "", "V' -1": "", "U +1": "slice(f) > 0", "U' -1": "(slice(f) > 0)[t+1]"}),
    # And what counts always:
    "its own state": ("h = where(h[t-1][0] > 0.5, tanh(W @ x + U @ h[t-1]), h[t-1])",        # known on the way back
                      {"U +1": "", "U' -1": "(slice(h[t-1]) > 0.5)[t+1]"}),
    "seen by another": ("v = tanh(W @ x + U @ h[t-1])\n h = where(clock, v, h[t-1]) + 0.1 * v",
                        {"U +1": "", "U' -1": ""}),
    "read later": ("v = tanh(W @ x + U @ h[t-1])\n h = where(clock, v, v[t-1])", {"U +1": "", "U' -1": ""}),
    "a clock for each unit": ("h = where(W @ x > 0, tanh(U @ h[t-1]), h[t-1])", {"U +1": "", "U' -1": ""}),
}


@pytest.mark.parametrize("name", CASES)
def test_products_that_a_clock_leaves_out(name):
    equations, wanted = CASES[name]
    made = slow(equations)
    check(made)
    assert products(made) == wanted


def test_what_is_seen_from_outside_counts_always():
    text = layer(PARAMS + "v = tanh(U @ h[t-1] + W @ x)\n output v\n h = where(clock, v, h[t-1])", INPUTS)
    assert products(plan(text))["U +1"] == ""
    assert products(plan(text.replace("output v", "")))["U +1"] == "clock"


def test_a_plan_says_what_is_left_out():
    assert "only where clock > 0.5: matmul" in show(slow(PLAIN))


@pytest.mark.parametrize(("clock", "wanted"), [("mod(t, 4) == 0", 1 / 4), ("mod(t, 4) != 0", 3 / 4), ("clock > 0", 1),
                                               ("mod(t, 1) == 0", None)])
def test_the_share_of_frames(clock, wanted):
    made = slow(f"h = where({clock}, tanh(W @ x + U @ h[t-1]), h[t-1])", "run")
    found = [panel.guards for kernel in made.kernels() for panel in getattr(kernel, "panels", ()) if panel.guards]
    assert [share(made.graph, guards) for guards in found] == ([] if wanted is None else [wanted])


# ------------------------------------------------------------------------------------------------ the checker

def with_guards(made: Schedule, needed=None, gates=None) -> Schedule:
    role = made.role
    held = Guards({**role.guards.needed, **(needed or {})}, role.guards.zero)
    return replace(made, role=replace(role, gates={**role.gates, **(gates or {})}, guards=held))


def guard_of(made: Schedule):
    return next(g for found in made.role.guards.needed.values() for g in found)


def left_out_although_seen(made):
    return with_guards(made, {made.graph.named()["h"]: frozenset({guard_of(made)})})


def left_out_although_summed(made):
    """The adjoint that the sum over frames of the gradient reads."""
    n = next(r.node for node in made.graph.nodes if node.op == "fold_outer" for r in node.args
             if r.node in made.role.guards.needed and not r.delay)
    return with_guards(made, {n: frozenset({guard_of(made)})})


def turned(made):
    """A product that is left out where it counts."""
    number, gate = next((n, g) for n, g in made.role.gates.items() if any(t.guards and t.transposed for t in g.terms))
    other = tuple(replace(t, guards=tuple(replace(g, holds=not g.holds) for g in t.guards)) for t in gate.terms)
    return with_guards(made, gates={number: replace(gate, terms=other)})


def passed_over(made):
    """A sum that leaves out frames in which it adds something."""
    n = next(n for n, node in enumerate(made.graph.nodes) if node.op == "fold_outer")
    other = frozenset(replace(g, holds=not g.holds) for g in made.role.guards.zero[n])
    held = Guards(made.role.guards.needed, {**made.role.guards.zero, n: other})
    return replace(made, role=replace(made.role, guards=held))


FAULTS = {"which may add something": passed_over, "seen from outside": left_out_although_seen,
          "reads other frames": left_out_although_summed, "other than zero": turned}


@pytest.mark.parametrize("message", FAULTS)
def test_the_checker_sees(message):
    with pytest.raises(Broken, match=message):
        check(FAULTS[message](slow(PLAIN)))


# ------------------------------------------------------------------------------------------------ nobody can tell

NORMED = "v = U @ h[t-1] + 0.001 * h[t-1]\n h = where(clock > 0.5, v / norm(v) + W @ x, h[t-1])"
LOGS = "v = U @ h[t-1]\n h = where(clock > 0.5, tanh(log(v * v)) / (v * v), 0.9 * h[t-1] + W @ x)"


@pytest.mark.parametrize("equations", [PLAIN, *(text for name, (text, _) in CASES.items() if " " in name)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers(equations, dtype, monkeypatch):
    """Against the oracle, which leaves nothing out; the same bits whoever computes them."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    graph = pipeline.elaborated(Source("slow.rnn", layer(PARAMS + equations, INPUTS)))
    for seed in range(2):
        outcome = compare(graph, dtype, seed)
        same_bits(outcome["net"], outcome["data"], (1, 2, 3))


@pytest.mark.parametrize("equations", [NORMED, LOGS], ids=["norm", "log"])
@pytest.mark.parametrize("streams", [1, 3, 17])
def test_nothing_comes_of_what_is_left_out(equations, streams):
    """The derivatives at the zeros that are left there are infinite. Streams whose clocks stand still share row blocks,
    of one size in one kernel and of another in the next one, with streams whose clocks go."""
    net = rnnc.compile(layer(PARAMS + "init h = 1\n" + equations, INPUTS), threads=1)
    random = np.random.default_rng(streams)
    data = {"x": random.normal(size=(24, streams, 6)), "slow": np.zeros((24, streams)),
            "clock": (random.random((24, streams)) < 0.15).astype(np.float32)}
    data["clock"][5:12] = 0
    loss = net.backprop(**{k: v.astype(np.float32) for k, v in data.items()},
                        y=random.normal(size=(24, streams, 20)).astype(np.float32))
    assert np.isfinite(loss) and np.isfinite(net.gradient).all() and np.abs(net.gradient).max() > 0
