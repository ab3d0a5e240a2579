"""Random operators: the generator against published answers, what a draw depends on, when it acts, and that training
with it can be stopped, cut and resumed. That C and oracle agree on any program is test_random.py's business."""

import numpy as np
import pytest
from fixed_c import loaded
from programs_in_text import graph_of

import rnnc
from rnnc.graph import oracle
from rnnc.graph.ops.random import row_keys, site_number, threefry, threshold
from rnnc.runtime.checkpoint import Checkpoint

# Counter, key, and the two words of 20 rounds: the known answers that come with the authors' library (Random123).
ANSWERS = [((0, 0), (0, 0), (0x6b200159, 0x99ba4efe)),
           ((0xffffffff, 0xffffffff), (0xffffffff, 0xffffffff), (0x1cb996fc, 0xbb002be7)),
           ((0x243f6a88, 0x85a308d3), (0x13198a2e, 0x03707344), (0xc4923a9c, 0x483df7a0))]
BUILDS = [("gcc", "native", False), ("gcc", "native", True), ("gcc", "x86-64-v3", False), ("gcc", "x86-64-v2", True),
          ("gcc", "x86-64-v2", False), ("clang", "native", False)]


@pytest.fixture(params=BUILDS, ids=lambda b: f"{b[0]}-{b[1]}-{'double' if b[2] else 'float'}")
def k(request):
    return loaded(*request.param)


def one(low: int, high: int) -> int:
    return low | high << 32


@pytest.mark.parametrize("counter,key,words", ANSWERS)
def test_known_answers(counter, key, words):
    assert tuple(int(w) for w in threefry(key, counter)) == words


def test_known_answers_in_c(k):
    for counter, key, words in ANSWERS:
        assert k.key(one(*key), one(*counter)) == one(*words)


def test_draws_in_c_are_those_of_the_oracle(k):
    """Bit for bit, in every number type and vector width; normal numbers to rounding."""
    keys = row_keys(3, 7, np.array([5, 2 ** 32 + 9, -2]))
    found = np.zeros(3, np.int64)
    k.frame_keys(found, 3, 7, np.array([5, 2 ** 32 + 9, -2]), 0, 1, 0, 3)
    assert np.array_equal(found, keys)
    graph = graph_of("model m { input x : [37]  output a = dropout(x, 0.3), b = noise(ones(37)) }")
    x = np.ones((1, 1, 37))
    want = oracle.run(graph, {"x": x}, seed=3, draw=7).outputs
    key = int(row_keys(3, 7, np.array([0]))[0])
    a, b = k.array(np.ones(37)), k.array(np.ones(37))
    k.dropout(a, 37, key, site_number("a.dropout"), threshold(0.3), 1 / 0.7)
    k.noise(b, 37, key, site_number("b.noise"))
    assert np.array_equal(a != 0, want["a"][0, 0] != 0)
    assert np.allclose(a, want["a"][0, 0], rtol=1e-6) and np.allclose(b, want["b"][0, 0], rtol=1e-5, atol=1e-5)


def drawn(text: str, frames=20, streams=3, starts=None, state=None, **lot):
    graph = graph_of(text)
    inputs = {i.name: np.ones((frames, streams, *i.shape)) for i in graph.inputs}
    return oracle.run(graph, inputs, {p.name: np.ones(p.shape) for p in graph.params}, starts=starts, state=state,
                      frames=frames, streams=streams, **lot)


def test_numbers_are_as_they_should_be():
    """Shares, moments, and no connection between neighbours of any kind: units, streams, frames, draws, sites."""
    text = "model m { input x : [100]  output a = dropout(x, 0.25), b = noise(2 * x), c = noise(2 * x) }"
    first, second = (drawn(text, 50, 40, draw=d).outputs for d in (0, 1))
    count = first["a"].size
    assert abs((first["a"] == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / count)
    assert np.allclose(first["a"][first["a"] != 0], 4 / 3) and abs(first["a"].mean() - 1) < 5 / np.sqrt(count)
    z = first["b"] / 2
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs((z ** power).mean() - moment) < 6 * np.sqrt(100 / count)
    for one_, other in ((z[..., 1:], z[..., :-1]), (z[:, 1:], z[:, :-1]), (z[1:], z[:-1]), (z, second["b"] / 2),
                        (z, first["c"] / 2), (z, first["a"] - 1)):
        assert abs((one_ * other).mean()) < 5 / np.sqrt(one_.size)


def test_a_frame_is_counted_from_a_fresh_state_whatever_starts():
    """Cutting a call changes nothing, and sequences that stand one behind another draw different numbers."""
    text = "model m { input x : [8]  output a = dropout(x, 0.5), b = dropout(x, 0.5, per = sequence) }"
    starts = np.zeros((20, 3))
    starts[[0, 7, 15], 0] = starts[11, 2] = 1
    whole = drawn(text, starts=starts)
    early = drawn(text, 9, starts=starts[:9])
    late = drawn(text, 11, starts=starts[9:], state=early.state)
    for name, value in whole.outputs.items():
        assert np.array_equal(value, np.concatenate([early.outputs[name], late.outputs[name]]))
    a, b = whole.outputs["a"], whole.outputs["b"]
    assert len({row.tobytes() for row in a.reshape(-1, 8)}) > 50          # of 60, out of 256
    for stream, first, last in ((0, 0, 7), (0, 7, 15), (0, 15, 20), (1, 0, 20), (2, 0, 11), (2, 11, 20)):
        assert (b[first:last, stream] == b[first, stream]).all()
    assert len({b[t, s].tobytes() for t, s in ((0, 0), (7, 0), (15, 0), (0, 1), (0, 2), (11, 2))}) == 6


def test_one_spot_of_the_text_draws_the_same_numbers_at_every_delay():
    a = drawn("""fn change(v) = v - v[t-1]
                 fn pair(v) = concat(v, change(v))
                 model m { input x : [6]  output a = pair(dropout(x, 0.5)) }""").outputs["a"]
    now, change = a[..., :6], a[..., 6:]
    assert set(np.unique(now)) == {0, 2}
    assert np.array_equal(change[1:], np.diff(now, axis=0)) and np.array_equal(change[0], now[0])


def test_every_operator_has_a_site_of_its_own():
    result = drawn("""cell drop()(x) { y = dropout(x, 0.5)  return y }
                      model m { input x : [32]  layer L = drop()
                                output a = dropout(x, 0.5) + dropout(x, 0.5), b = drop()(x), c = drop()(x), d = L(x),
                                       e = L(x) }""").outputs
    assert set(np.unique(result["a"])) == {0, 2, 4}
    assert len({result[name].tobytes() for name in "bcde"}) == 4


def test_noise_takes_the_shape_of_what_it_goes_into():
    graph = graph_of("""model m(n = 4) {
        input x : [n]   input A : [2, n]   param W : [n, 3]
        a = x + noise(0.1)              # a vector's
        b = noise(0.1)                  # through a name
        c = noise(0.1)                  # a number's, that of nothing else
        d = W @ noise(1)                # what the matrix takes
        e = A * (1 + 2 * noise(0.1))
        h = tanh(h[t-1] + noise(0.1)) + x
        g = noise(0.1 * abs(x))         # one deviation for each unit
        s = 0.5 * s[t-1] + noise(0.1)   # a number's, as it goes into two shapes
        output a, y = where(x > b, x, 0), c, d, e, h, g, v = s * x, M = s * A
    }""")
    shapes = {name: graph[n].shape for name, n in graph.outputs.items()}
    assert shapes == {"a": (4,), "y": (4,), "c": (), "d": (4,), "e": (2, 4), "h": (4,), "g": (4,),
                      "v": (4,), "M": (2, 4)}
    noises = sorted((node.attr("site"), node.shape) for node in graph.nodes if node.op == "noise")
    assert noises == [("a.noise", (4,)), ("b.noise", (4,)), ("c.noise", ()), ("d.noise", (3,)), ("e.noise", (2, 4)),
                      ("g.noise", (4,)), ("h.noise", (4,)), ("s.noise", ())]


# ------------------------------------------------------------------------------------------------------------- nets

NET = """
model dropped(n = 12) {
    input x : [3]   target y : [3]
    h = lstm(n)(dropout(x, 0.2, per = sequence))
    z = dense(3)(dropout(h, 0.5) + noise(0.1))
    output z, h
    loss mse(z, y)
}
"""


@pytest.fixture(scope="module")
def data():
    r = np.random.default_rng(0)
    return {"x": r.normal(size=(10, 4, 3)).astype(np.float32), "y": r.normal(size=(10, 4, 3)).astype(np.float32)}


def compiled(**more):
    return rnnc.compile(NET, gradient="all", seed=5, **more)


def test_random_operators_act_in_training_calls_only(data):
    net = compiled()
    quiet = rnnc.compile(NET.replace("dropout(x, 0.2, per = sequence)", "x").replace("dropout(h, 0.5)", "h")
                         .replace(" + noise(0.1)", ""), seed=5)
    assert np.array_equal(net.run(x=data["x"])["z"], quiet.run(x=data["x"])["z"])
    assert net.evaluate(**data) == quiet.evaluate(**data)
    assert net.draws == 0
    losses = [net.backprop(**data) for _ in range(4)]
    assert net.draws == 4 and len(set(losses)) == 4
    net.draws = 2
    assert net.backprop(**data) == losses[2]


def test_the_forward_run_of_a_vjp(data):
    """run(training=True) draws what the next training call draws, and does not count."""
    net = compiled()
    seen = net.run(x=data["x"], training=True)["z"]
    assert np.array_equal(seen, net.run(x=data["x"], training=True)["z"]) and net.draws == 0
    assert not np.array_equal(seen, net.run(x=data["x"])["z"])
    net.backprop(**data)
    gradient = net.gradient.copy()
    net.draws = 0
    net.vjp({"z": 2 * (seen - data["y"]) / seen.size}, x=data["x"])
    assert net.draws == 1 and np.allclose(net.gradient, gradient, rtol=1e-4, atol=1e-7)
    net.vjp({"z": seen[:0]}, x=data["x"][:0])        # of no frames, as backprop
    assert net.draws == 2
    assert net.run(x=data["x"], training=True, probe="h.c")["h.c"].shape == (10, 4, 12)


def test_seed_and_draw_decide(data):
    one_, other = compiled(), rnnc.compile(NET, gradient="all", seed=6)
    other.parameters = dict(one_.parameters)
    assert one_.backprop(**data) != other.backprop(**data)
    other.seed, other.draws = one_.seed, one_.draws
    assert one_.backprop(**data) == other.backprop(**data)
    double = compiled(dtype="float64")
    double.parameters = {name: np.asarray(v, np.float64) for name, v in one_.parameters.items()}
    double.draws = one_.draws = 9
    assert double.backprop(**data) == pytest.approx(one_.backprop(**data), rel=1e-5)      # masks are the same ones


def test_a_training_call_cut_in_two(data):
    net = compiled(dtype="float64")
    x = data["x"]
    whole = net.run(x=x, training=True)["z"]
    state = net.state(streams=4)
    parts = [net.run(x=part, state=state, training=True)["z"] for part in (x[:3], x[3:])]
    assert state.age.tolist() == 4 * [10]
    assert np.allclose(np.concatenate(parts), whole, rtol=1e-12)
    state.reset(streams=[1])
    assert state.age.tolist() == [10, 0, 10, 10]
    other = net.state(streams=2)
    other.copy_stream(1, state, 0)
    assert other.age.tolist() == [0, 10] and other.copy().age.tolist() == [0, 10]


def test_resumed_training_draws_on(tmp_path, data):
    """Stopped after any update and resumed in another net, training ends at the same bits."""
    def training(folder, epochs, **more):
        net = rnnc.compile(NET, **more)
        streams = rnnc.data.arrays({k: v.reshape(40, 3) for k, v in data.items()}, streams=4, frames=6)
        opt = rnnc.Adam(net, 0.01)
        rnnc.fit(net, streams, opt, epochs=epochs, checkpoint=folder)
        return net
    whole = training(tmp_path / "whole", 3, seed=11)
    training(tmp_path / "parts", 1, seed=11)
    again = training(tmp_path / "parts", 3, seed=12)         # the checkpoint's seed holds
    assert np.array_equal(whole.theta, again.theta) and whole.draws == again.draws
    assert Checkpoint.read(tmp_path / "parts").record["position"]["draws"] == whole.draws


def test_a_call_like_the_one_before_draws_anew(data):
    """The short way of calls that repeat must not repeat their numbers."""
    net, x = compiled(), data["x"]
    found = []
    for short in (True, False):
        state = net.state(streams=4)
        for draw in range(3):
            net.draws, used = draw, state if short else net.state(streams=4)
            used.assign(net.state(streams=4))
            found.append(net.run(x=x, state=used, training=True)["z"])
    for short, whole in zip(found[:3], found[3:]):
        assert np.array_equal(short, whole)
    assert not np.array_equal(found[0], found[1])
