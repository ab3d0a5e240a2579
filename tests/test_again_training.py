"""Training calls, and runs without a state, that are like the one before them: the same numbers as on the long way."""

import random
import signal
import threading

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError
from rnnc.runtime import again
from rnnc.runtime.trial import AGAIN

PROGRAM = """model m(n = 6) {
    input x : [3]
    target k : class(6)
    h = rnn(n)(dropout(x, 0.5))
    output h
    loss cross_entropy(h, k)
}
"""


@pytest.fixture
def net():
    return rnnc.compile(PROGRAM, threads=1, seed=3)


def arrays(lead, seed=0):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(*lead, 3)).astype(np.float32), "k": random.integers(0, 6, lead, np.int32)}


def short(net, monkeypatch):
    """From here on only the short way is left."""
    monkeypatch.setattr(net, "_call", None)


@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("lead", [(5,), (4, 2)])
def test_training_calls(net, lead, with_state, monkeypatch):
    streams = lead[1] if len(lead) == 2 else 1
    other = rnnc.compile(PROGRAM, threads=1, seed=3)
    mine, long = (m.state(streams) if with_state else None for m in (net, other))
    losses = []
    for seed in range(5):
        data = arrays(lead, seed)
        losses.append(net.backprop(state=mine, **data))
        (long or other._fresh(streams))._like.clear()
        assert losses[-1] == other.backprop(state=long, **data) and type(losses[-1]) is float
        assert net.gradient.tobytes() == other.gradient.tobytes() and net.draws == other.draws
        net.theta[:] += 0.1
        other.theta[:] += 0.1
        net.touch(), other.touch()
        if seed == 1:
            short(net, monkeypatch)
    assert len(set(losses)) == 5


def test_runs_without_a_state(net, monkeypatch):
    x = arrays((7,))["x"]
    want = net.run(x=x)["h"]
    short(net, monkeypatch)
    out = {"h": np.zeros((7, 6), np.float32)}
    for _ in range(3):                         # each starts afresh
        assert net.run(x=x)["h"].tobytes() == want.tobytes() == net.run(x=x, out=out)["h"].tobytes()


def test_other_calls_in_between(net):
    """What differs takes the long way: weights, starts, added gradients, other lengths, what is refused."""
    data = arrays((6,))
    net.draws = 0
    net.backprop(**data)
    once = net.gradient.copy()
    for more in ({"weight": np.zeros(6)}, {"starts": np.ones(6, bool)}, {"accumulate": True}):
        net.draws = 0
        net.backprop(**data)
        assert net.gradient.tobytes() == once.tobytes()
        net.draws = 0
        net.backprop(**data, **more)
        assert not np.array_equal(net.gradient, once)
    assert np.array_equal(net.gradient, 2 * once)
    assert net.backprop(**arrays((3,))) > 0
    with pytest.raises(InputError, match="label 6"):
        net.backprop(**data | {"k": np.full(6, 6)})
    with pytest.raises(InputError, match="unknown|no input"):
        net.backprop(**data, z=1)
    net.draws = 0
    net.backprop(**data)
    assert net.gradient.tobytes() == once.tobytes()


def test_ways_are_still_timed_again(monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    net, data = rnnc.compile(PROGRAM, threads=2), arrays((5,))
    went = []
    seen = again.trained_again
    monkeypatch.setattr("rnnc.runtime.net.trained_again", lambda *a: went.append(seen(*a)) or went[-1])
    for _ in range(10 * AGAIN):
        net.backprop(**data)
    assert any(net._trials.values())           # it has several ways on two threads
    long = sum(value is None for value in went)
    assert 10 < long < 8 * AGAIN               # the first calls, and those of later rounds


def test_two_threads_with_fresh_states(net):
    data, found = [arrays((5,), seed) for seed in range(2)], {}

    def work(number):
        found[number] = {net.run(x=data[number]["x"])["h"].tobytes() for _ in range(300)}
    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert [found[i] for i in range(2)] == [{net.run(x=d["x"])["h"].tobytes()} for d in data]


def test_frames_are_asked_for_where_no_array_tells_them():
    net = rnnc.compile("model m {\n param a = 0.5\n c = a * c[t-1] + 1\n output c\n loss c^2\n}\n", threads=1)
    for state in (None, net.state()):
        for call in (net.run, net.backprop):
            call(frames=5, state=state)
            with pytest.raises(InputError, match="say how many frames"):
                call(state=state)
            call(frames=2, state=state)
    step = net.step(net.state())["c"]
    state = net.state()
    assert [net.step(state)["c"].tolist() for _ in range(3)] == [[1.0], [1.5], [1.75]] and step.shape == (1,)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers")
@pytest.mark.parametrize("what", ["run", "backprop", "evaluate"])
def test_an_interrupt_leaves_no_state_in_use(net, what):
    """Short calls, so that many an interrupt comes just as one takes its state or gives it back."""
    data = arrays((3,)) if what != "run" else {"x": arrays((3,))["x"]}
    delay, call = random.Random(0), getattr(net, what)
    call(**data)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for _ in range(400):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, delay.uniform(2e-4, 6e-4))
                while True:
                    call(**data)
            assert not net._local.state._busy.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    call(**data)


def test_memory_that_was_not_to_be_had_is_asked_for_again(net, monkeypatch):
    data = arrays((3,))
    want = net.backprop(**data)

    def none(count, dtype):
        raise InputError("not enough memory")
    with monkeypatch.context() as patch, pytest.raises(InputError, match="not enough memory"):
        patch.setattr("rnnc.runtime.net.aligned", none)
        net.backprop(**arrays((3000,)))
    net._local.state._like.clear()
    net.draws = 0
    assert net.evaluate(**data) and net.backprop(**data) == want


@pytest.mark.parametrize("streams", [1, 3])
def test_values_per_sequence(monkeypatch, streams):
    """Calls with them, and with outputs per sequence, are remembered too; lists of labels are not."""
    text = """model m {
    input x : [2]
    input a : [2] per sequence
    input k : class(3) per sequence
    target y : [2]
    init h = a
    h = rnn(2)(x) + 0.5 * h[t-1] + embed(2)(k)
    output h, total = sum_over(t, h)
    loss mse(h, y)
}
"""
    net, fresh = rnnc.compile(text, threads=1), rnnc.compile(text, threads=1)
    random = np.random.default_rng(1)
    for turn in range(5):
        draw = lambda *shape: random.normal(size=shape).astype(np.float32)
        data = {"x": draw(7, streams, 2), "a": draw(streams, 2), "k": random.integers(0, 3, streams).astype(np.int32)}
        y = draw(7, streams, 2)
        fresh._local.__dict__.clear()
        want, loss = fresh.run(**data), fresh.backprop(**data, y=y)
        if turn == 2:
            monkeypatch.setattr(net, "_call", None)            # the long way
        found = net.run(**data)
        assert all(found[n].tobytes() == want[n].tobytes() and found[n].shape == want[n].shape for n in want)
        assert net.backprop(**data, y=y) == loss and net.gradient.tobytes() == fresh.gradient.tobytes()
    assert net.run(**data | {"k": data["k"] * 0})["h"].tobytes() != want["h"].tobytes()
    monkeypatch.undo()
    with pytest.raises(rnnc.InputError, match="k"):
        net.run(**data | {"k": data["k"] + 3})
    with pytest.raises(rnnc.InputError, match="a: got shape"):
        net.run(**data | {"a": draw(streams + 1, 2)})
