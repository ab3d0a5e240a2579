"""The oracle against cases worked out by hand: delays, initial values, starts in both directions, states."""

import numpy as np
import pytest
from graphs import Numbers, Sketch, past, random_graph

from rnnc.graph import oracle
from rnnc.graph.nodes import Initial


def column(*values):
    return np.array(values, float).reshape(-1, 1)


X = column(1, 2, 3, 4, 5, 6)
STARTS = column(0, 0, 0, 1, 0, 0)


def read_of_x(delay, initial=None, **arguments):
    """What a model that hands out x[t - delay] gives for X."""
    s = Sketch()
    x = s.input("x")
    if initial:
        s.initials[x] = initial(s)
    graph = s.graph(outputs={"y": s.op("identity", past(x, delay))})
    return oracle.run(graph, {"x": X}, **arguments).outputs["y"][:, 0].tolist()


def test_delays():
    assert read_of_x(1) == [0, 1, 2, 3, 4, 5]
    assert read_of_x(2, starts=STARTS) == [0, 0, 1, 0, 0, 4]
    assert read_of_x(-1) == [2, 3, 4, 5, 6, 0]
    assert read_of_x(-2, starts=STARTS) == [3, 0, 0, 6, 0, 0]


def test_initial_values_by_depth():
    every = lambda s: Initial(every=s.number(9.0))
    one = lambda s: Initial(every=s.number(9.0), at=((-2, s.number(7.0)),))
    assert read_of_x(3, every, starts=STARTS) == [9, 9, 9, 9, 9, 9]
    assert read_of_x(3, one, starts=STARTS) == [9, 7, 9, 9, 7, 9]        # offsets -3 -2 -1
    assert read_of_x(1, one) == [9, 1, 2, 3, 4, 5]
    ahead = lambda s: Initial(at=((1, s.number(8.0)), (2, s.number(7.0))))
    assert read_of_x(-2, ahead, starts=STARTS) == [3, 8, 7, 6, 8, 7]


def test_state_counts_the_frames_since_the_start():
    """A start two frames ago, in the last call: a read three back sees the initial value, not what came before."""
    state = lambda since: oracle.State(np.array([since]), {"x": column(-3, -2, -1)[:, :1]})
    assert read_of_x(3, state=state(9)) == [-3, -2, -1, 1, 2, 3]
    assert read_of_x(3, state=state(2)) == [0, -2, -1, 1, 2, 3]
    assert read_of_x(3, state=state(0)) == [0, 0, 0, 1, 2, 3]
    assert read_of_x(3, state=state(9), starts=column(0, 1, 0, 0, 0, 0)) == [-3, 0, 0, 0, 2, 3]


def test_a_label_before_the_start_is_none():
    s = Sketch()
    c, w = s.input("c", classes=3), s.param("W", 2, 3)
    graph = s.graph(outputs={"y": s.op("column", w, past(c, 1))})
    y = oracle.run(graph, {"c": np.array([[0], [2]])}, {"W": np.arange(6.0).reshape(2, 3)}).outputs["y"]
    assert y[:, 0].tolist() == [[0, 0], [0, 3]]


def test_frames_know_their_place():
    s = Sketch()
    graph = s.graph(outputs={"t": s.op("frame_index"), "left": s.op("frames_left")})
    found = oracle.run(graph, starts=STARTS, state=oracle.State(np.array([4])))
    assert found.outputs["t"][:, 0].tolist() == [4, 5, 6, 0, 1, 2]
    assert found.outputs["left"][:, 0].tolist() == [2, 1, 0, 2, 1, 0]
    assert found.state.since.tolist() == [3]


def test_loops_of_both_directions():
    s = Sketch()
    x = s.input("x")
    down, up = s.later(), s.later()
    s.equal(down, "down", s.op("add", past(down, 1), x))
    s.equal(up, "up", s.op("add", past(up, -1), x))
    graph = s.graph(outputs={"down": down, "up": up})
    found = oracle.run(graph, {"x": X}, starts=STARTS).outputs
    assert found["down"][:, 0].tolist() == [1, 3, 6, 4, 9, 15]
    assert found["up"][:, 0].tolist() == [6, 5, 3, 15, 11, 6]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("pieces", [(3, 4), (1, 1, 5), (6, 1)])
def test_calls_in_pieces_are_one_call(seed, pieces):
    graph = random_graph(seed, ahead=False)
    numbers = Numbers(graph, seed, frames=7)
    whole = numbers.run(graph)
    state, low = numbers.state, 0
    for length in pieces:
        high = low + length
        part = oracle.run(graph, {k: a[low:high] for k, a in numbers.inputs.items()}, numbers.params, state,
                          numbers.starts[low:high])
        for name, value in part.outputs.items():
            assert np.allclose(value, whole.outputs[name][low:high], atol=1e-13)
        state, low = part.state, high
    assert state.since.tolist() == whole.state.since.tolist()
    for name, value in state.signals.items():
        assert np.allclose(value, whole.state.signals[name], atol=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_streams_do_not_touch(seed):
    graph = random_graph(seed)
    numbers = Numbers(graph, seed, streams=3)
    whole = numbers.run(graph)
    one = lambda arrays: {k: np.asarray(a)[:, 1:2] for k, a in arrays.items()}
    state = oracle.State(numbers.state.since[1:2], one(numbers.state.signals))
    alone = oracle.run(graph, one(numbers.inputs), numbers.params, state, numbers.starts[:, 1:2])
    for name, value in alone.outputs.items():
        assert np.allclose(value, whole.outputs[name][:, 1:2], atol=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_bounds_cover_float32(seed):
    """The whole graph and its gradient in float32 stay within a few first-order bounds, unless a kink was near."""
    from rnnc.graph.gradient import gradient
    graph = gradient(random_graph(seed))
    numbers = Numbers(graph, seed)
    exact = numbers.run(graph, bounds=True)
    values, bounds = {**exact.outputs, **exact.gradients}, {**exact.bounds.outputs, **exact.bounds.gradients}
    if exact.kinks:
        return
    found = numbers.run(graph, dtype=np.float32)
    for name, value in {**found.outputs, **found.gradients}.items():
        assert np.all(np.abs(value - values[name]) <= 4 * bounds[name]), name
