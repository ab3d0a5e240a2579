"""Programs compiled to C against their meaning written by hand (by_hand.py, by_hand_layers.py).

Each is run in one call, in a call cut in two, and by two streams with starts in the middle.
"""

import inspect

import by_hand
import by_hand_layers
import numpy as np
import pytest

import rnnc

pytestmark = pytest.mark.usefixtures("small_ways")
PROGRAMS = by_hand.PROGRAMS | by_hand_layers.PROGRAMS
STARTS = np.eye(9, 2, -1) + np.eye(9, 2, -4) + np.eye(9, 2, -5)             # in both streams, some one frame apart
CALLS = {"one frame": (np.zeros((1, 1)), []), "one call": (np.zeros((7, 1)), []),
         "many streams": (np.zeros((4, 17)), []), "starts": (STARTS, [])}
CUTS = {"cut in two": (np.zeros((7, 2)), [3]), "starts, cut in two": (STARTS, [4]),
        "cut in frames": (np.eye(5, 2, -2), [1, 2, 3, 4])}


def sequences(starts) -> list[tuple[int, int, int]]:
    """(stream, first frame, end) of each, in order of stream, then start."""
    found = []
    for b, column in enumerate(starts.T):
        first = [0, *(t for t in range(1, len(column)) if column[t])]
        found += [(b, t, end) for t, end in zip(first, [*first[1:], len(column)], strict=True)]
    return found


def drawn(chance, signal, starts):
    lead = starts.shape if signal.per == "frame" else (len(sequences(starts)),)
    match signal.kind:
        case "class":
            return chance.integers(0, signal.classes, lead)
        case "flag":
            return chance.integers(0, 2, lead)
        case _:
            return chance.normal(size=(*lead, *signal.shape))


def run(net, inputs, starts, cuts):
    """Outputs of every frame [T, B, …], from as many calls as there are pieces; values per sequence at each frame."""
    state, pieces = net.state(streams=starts.shape[1]), []
    for start, end in zip([0, *cuts], [*cuts, len(starts)], strict=True):
        seen = [k for k, (_, first, last) in enumerate(sequences(starts)) if first < end and last > start]
        given = {name: array[start:end] if net.inputs[name].per == "frame" else array[seen]
                 for name, array in inputs.items()}
        out = net.run(**given, starts=starts[start:end], state=state)
        pieces.append({name: at_each_frame(value, starts[start:end]) if net.outputs[name].per == "sequence" else value
                       for name, value in out.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in net.outputs}


def at_each_frame(values, starts):
    found = np.empty((*starts.shape, *values.shape[1:]))
    for value, (b, start, end) in zip(values, sequences(starts), strict=True):
        found[start:end, b] = value
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_means_what_is_written_by_hand(name):
    text, reference, causal = PROGRAMS[name]
    net = rnnc.compile(text, dtype="float64", gradient=None)
    chance = np.random.default_rng(list(PROGRAMS).index(name))
    weights = {path: chance.normal(0, 0.7, value.shape) for path, value in net.parameters.items()}
    for path, value in weights.items():
        net.parameters[path] = value
    for how, (starts, cuts) in {**CALLS, **(CUTS if causal else {})}.items():
        inputs = {n: drawn(chance, signal, starts) for n, signal in net.inputs.items()}
        out = run(net, inputs, starts, cuts)
        for place, (b, start, end) in enumerate(sequences(starts)):
            one = {n: v[start:end, b] if net.inputs[n].per == "frame" else v[place] for n, v in inputs.items()}
            one = {n: v for n, v in {**one, "w": weights}.items() if n in inspect.signature(reference).parameters}
            want = reference(**one)
            assert set(want) == set(net.outputs)
            for output, value in want.items():
                found = out[output][start:end, b]
                lead = (1,) * (found.ndim - np.ndim(value))
                value = np.reshape(np.asarray(value, float), lead + np.shape(value))
                np.testing.assert_allclose(found, np.broadcast_to(value, found.shape), rtol=1e-9, atol=1e-10,
                                           err_msg=f"{output}, {how}, frames {start} to {end} of stream {b}")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_looks_ahead_refuses_to_step(name):
    """`causal` in by_hand.py is what the compiler finds too."""
    net = rnnc.compile(PROGRAMS[name].text, dtype="float64", gradient=None)
    one = {n: drawn(np.random.default_rng(0), signal, np.zeros((1, 1))) for n, signal in net.inputs.items()}
    frame = {n: array[0] if net.inputs[n].per == "frame" else array for n, array in one.items()}
    try:
        net.step(net.state(), **frame)
        assert PROGRAMS[name].causal
    except rnnc.InputError as refusal:
        assert not PROGRAMS[name].causal and "step" in str(refusal)
