"""A step and a run of one frame give the same bits: the C of a step is the run's, inlined with sizes of one."""

import numpy as np
import pytest
from random_programs import draw

import rnnc
from rnnc import pipeline

LSTM = "model m(n = {n}) {{\n input x : [{m}]\n h = stack(2, lstm(n))(x)\n output h, p = softmax(dense(3)(h))\n}}\n"
DELAYS = """model m {
    input x : [5]
    input k : class(7)
    input f : flag
    init h = 0.5
    h = tanh(dense(19)(x) + embed(19)(k) + rnn(19)(h[t-3]) + f)
    v = argmax(h)
    output h, v, d = h[t-2] + x[t-4][0], m = max(h)
}
"""
DECAY = """model m {
    input x : [17]
    param W : [3, 17]
    h = 0.723 * h[t-1] + 0.1 * W
    g = 0.507 * g[t-2] + 0.422 * clip(x[3] / (1 + abs(x[2])), -1, 1)
    output h, g
}
"""
CLOCKED = """model m {
    input x : [17]
    input clock
    param U : [19, 19]
    param V : [19, 19]
    g = clockwork(32)(x)
    h = where(clock > 0, tanh(dense(19)(x) + V @ (0.3 * tanh(U @ h[t-1]) + 0.7 * h[t-1])), 0.9 * h[t-1])
    output g, h
}
"""


def values(net, frames, streams, seed):
    random, found = np.random.default_rng(seed), {}
    for name, signal in net.inputs.items():
        lead = (frames, streams) if signal.per == "frame" else (streams,)
        if signal.kind == "real":
            found[name] = random.normal(size=(*lead, *signal.shape)).astype(net.dtype)
        else:
            found[name] = random.integers(0, 2 if signal.kind == "flag" else signal.classes, (*lead, *signal.shape))
    return found


def agree(net, streams, seed, frames=5):
    data = values(net, frames, streams, seed)
    starts = np.random.default_rng(seed).integers(0, 4, (frames, streams)) == 0
    one, other = net.state(streams), net.state(streams)
    per_frame = {n for n, s in net.inputs.items() if s.per == "frame"}
    for t in range(frames):
        whole = net.run(**{n: v[t:t + 1] if n in per_frame else v for n, v in data.items()}, state=one,
                        starts=starts[t:t + 1])
        step = net.step(other, **{n: v[t] if n in per_frame else v for n, v in data.items()}, starts=starts[t])
        for name, array in whole.items():
            assert array[0].tobytes() == step[name].tobytes(), f"{name} in frame {t}"
        assert one._memory[64:].tobytes() == other._memory[64:].tobytes()


@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", [LSTM.format(n=32, m=32), LSTM.format(n=7, m=3), DELAYS, DECAY, CLOCKED],
                         ids=["32", "7", "delays", "decay", "clocked"])
def test_step_is_run(text, dtype, streams):
    agree(rnnc.compile(text, dtype=dtype, gradient=None, threads=1), streams, 1)


@pytest.mark.parametrize("seed", range(8))
def test_random_step_is_run(seed):
    program = draw(seed)
    net = rnnc.compile(program.text, dtype="float32", gradient=None, threads=1, **program.sizes)
    if net.manifest.get("lookahead") or not any(s.per == "frame" for s in net.inputs.values()):
        pytest.skip("cannot go frame by frame")
    agree(net, 1, seed)


AHEAD = {"x[t+1]": "h = tanh(W @ x[t+1])", "h[t+2]": "h = tanh(W @ h[t+2] + x)",
         "g in all frames of a sequence": "g = tanh(W @ x)\n h = last(g)"}


@pytest.mark.parametrize("read", AHEAD)
def test_the_step_of_c_refuses_what_looks_ahead(read):
    """The state stays as it is, the error names the read, and the header says so where it declares step."""
    text = f"model m {{\n input x : [2]\n param W : [2, 2]\n {AHEAD[read]}\n output h\n}}\n"
    net = rnnc.compile(text, gradient=None)
    ffi, state = net.module.ffi, net.state()
    before = state._memory.tobytes()
    x, h, room = np.ones((1, 1, 2), "float32"), np.full((1, 1, 2), 7, "float32"), net._workspace(("run", 1, 1))
    inputs, outputs = (ffi.new(f"m_{side} *", {name: ffi.from_buffer("float[]", array)})
                       for side, name, array in (("inputs", "x", x), ("outputs", "h", h)))
    code = net.module.function("step")(net._pack(), state._pointer, inputs, outputs, 1, room, 1)
    assert code and (h == 7).all() and state._memory.tobytes() == before
    said = ffi.string(net.module.function("error")(code)).decode()
    assert said == f"the model reads {read}, so it cannot run frame by frame: call m_run"
    header = " ".join(pipeline.emit(pipeline.as_source(text), pipeline.Options()).header.split())
    assert f"This model reads {read}, so its step computes nothing" in header.replace(" * ", " ")
