"""Optimisers against PyTorch's formulas written out in NumPy; clipping, rates by step and by pattern, frozen parts."""

import sys
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, tiny  # noqa: E402


def momentum(s, w, g, t, lr, momentum=0.0, dampening=0.0, nesterov=False, decay=0.0):
    g = g + decay * w
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return w - lr * g


def rmsprop(s, w, g, t, lr, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, decay=0.0):
    g = g + decay * w
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    d = g / (np.sqrt(s["v"] - (s["m"] ** 2 if centered else 0)) + eps)
    s["b"] = momentum * s.get("b", 0) + d
    return w - lr * s["b"]


def adadelta(s, w, g, t, lr, rho=0.9, eps=1e-6, decay=0.0):
    g = g + decay * w
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    d = np.sqrt(s.get("u", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["u"] = rho * s.get("u", 0) + (1 - rho) * d * d
    return w - lr * d


def adam(s, w, g, t, lr, b1=0.9, b2=0.999, eps=1e-8, decay=0.0, decoupled=False):
    if decoupled:
        w = w * (1 - lr * decay)
    else:
        g = g + decay * w
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return w - lr * (s["m"] / (1 - b1**t)) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


CASES = {
    "SGD": (lambda n: rnnc.SGD(n, 0.1), momentum, dict(lr=0.1)),
    "SGD decay": (lambda n: rnnc.SGD(n, 0.1, weight_decay=0.1), momentum, dict(lr=0.1, decay=0.1)),
    "SGD momentum": (lambda n: rnnc.SGD(n, 0.1, momentum=0.8, dampening=0.3), momentum,
                     dict(lr=0.1, momentum=0.8, dampening=0.3)),
    "Momentum": (lambda n: rnnc.Momentum(n, 0.1), momentum, dict(lr=0.1, momentum=0.9)),
    "Nesterov": (lambda n: rnnc.SGD(n, 0.1, momentum=0.7, nesterov=True, weight_decay=0.1), momentum,
                 dict(lr=0.1, momentum=0.7, nesterov=True, decay=0.1)),
    "RMSprop": (lambda n: rnnc.RMSprop(n), rmsprop, dict(lr=0.01)),
    "RMSprop all": (lambda n: rnnc.RMSprop(n, 0.02, alpha=0.8, eps=1e-4, momentum=0.5, centered=True, weight_decay=0.1),
                    rmsprop, dict(lr=0.02, alpha=0.8, eps=1e-4, momentum=0.5, centered=True, decay=0.1)),
    "RMSprop momentum": (lambda n: rnnc.RMSprop(n, momentum=0.5), rmsprop, dict(lr=0.01, momentum=0.5)),
    "Adadelta": (lambda n: rnnc.Adadelta(n, weight_decay=0.1), adadelta, dict(lr=1.0, decay=0.1)),
    "Adam": (lambda n: rnnc.Adam(n), adam, dict(lr=0.001)),
    "Adam all": (lambda n: rnnc.Adam(n, 0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1), adam,
                 dict(lr=0.01, b1=0.8, b2=0.9, eps=1e-3, decay=0.1)),
    "AdamW": (lambda n: rnnc.AdamW(n), adam, dict(lr=0.001, decay=0.01, decoupled=True)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_formulas(name, dtype):
    make, formula, settings = CASES[name]
    net = tiny(dtype)
    opt, kept, count = make(net), {}, net.trainable
    wanted = net.theta[:count].astype(float)
    for t in range(1, 6):
        net.gradient[:count] = np.random.default_rng(t).normal(size=count)
        wanted = formula(kept, wanted, net.gradient[:count].astype(float), t, **settings)
        opt.step()
    assert np.allclose(net.theta[:count], wanted, rtol=1e-5 if dtype == "float32" else 1e-12,
                       atol=1e-6 if dtype == "float32" else 1e-13)
    assert (net.parameters["c"] == 0.5).all()


LARGE = """model large(n = 293) {
    input x : [n]   target y : [n]
    h = rnn(n)(x)
    loss sum((h - y)^2)
}
"""


@pytest.mark.parametrize("name", [*CASES, "SGDSaI"])
def test_several_threads_share_a_rule_to_the_same_bits(name):
    make = CASES[name][0] if name in CASES else lambda n: rnnc.SGDSaI(n, 0.1, weight_decay=0.1)
    left = []
    for threads in (1, 2):
        net = rnnc.compile(LARGE, seed=1, threads=threads)
        assert net.trainable > 160_000         # enough for two, and not a whole number of lines
        opt = make(net)
        opt.clip_norm = 0.5
        for t in range(1, 4):
            net.gradient[:net.trainable] = np.random.default_rng(t).normal(size=net.trainable)
            opt.step()
        left.append((net.theta.copy(), opt.state_dict()[0]))
    (one, memory), (two, other) = left
    np.testing.assert_array_equal(one, two)
    for key, vector in memory.items():
        np.testing.assert_array_equal(vector, other[key])


def test_clipping_scales_the_whole_gradient():
    net = tiny()
    opt, before = rnnc.SGD(net, 1.0, clip_norm=0.5), net.theta.copy()
    net.gradient[:net.trainable] = 3.0
    opt.step()
    moved = before - net.theta
    assert np.isclose(np.linalg.norm(moved), 0.5, rtol=1e-5) and np.isclose(moved[0], moved[1])
    net.gradient[:net.trainable] = 1e-3
    before = net.theta.copy()
    opt.step()
    assert np.allclose((before - net.theta)[:net.trainable], 1e-3)


def test_a_rate_may_follow_the_step():
    net = tiny()
    opt, seen = rnnc.SGD(net, lambda step: 1.0 / step), []
    net.gradient[:net.trainable] = 1.0
    for _ in range(3):
        before = net.theta[0]
        opt.step()
        seen.append(before - net.theta[0])
    assert np.allclose(seen, [1, 1 / 2, 1 / 3]) and opt.updates == 3


def test_rates_by_pattern():
    net = tiny()
    opt = rnnc.SGD(net, {"U": 0.0, "[WE]": lambda step: 0.5, "*": 0.25})
    before = {k: v.copy() for k, v in net.parameters.items()}
    net.gradient[:net.trainable] = 1.0
    opt.step()
    moved = {k: float((before[k] - v).max()) for k, v in net.parameters.items()}
    assert moved == {"W": 0.5, "E": 0.5, "U": 0.0, "V": 0.25, "c": 0.0}
    assert len(opt._groups) == 3               # neighbours at one rate are one call


def test_learning_reaches_the_next_call():
    net = tiny()
    batch = inputs(20, 4)
    opt = rnnc.Adam(net, 0.05)
    losses = []
    for _ in range(50):
        losses.append(net.backprop(**batch))
        opt.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("make,message", [
    (lambda n: rnnc.Adam(n, "fast"), "learning_rate: got 'fast'"),
    (lambda n: rnnc.Adam(n, -1), "learning_rate: got -1, wanted a finite number of at least 0"),
    (lambda n: rnnc.Adam(n, betas=(0.9, 1.0)), "betas: got 1.0"),
    (lambda n: rnnc.Adam(n, betas=0.9), "betas: got 0.9, wanted two numbers"),
    (lambda n: rnnc.SGD(n, clip_norm=0), "clip_norm: got 0, wanted a finite number above 0"),
    (lambda n: rnnc.SGD(n, nesterov=True), "nesterov: it needs a momentum"),
    (lambda n: rnnc.SGD(n, {"Q*": 1}), "no trainable parameter matches 'Q.*there is W, E, U, V"),
    (lambda n: rnnc.SGD(n, {"W": 1}), "no pattern matches E; a last entry"),
    (lambda n: rnnc.SGD(n, {3: 1}), "learning_rate: the key 3 is no name; wanted a dict from pattern to rate"),
    (lambda n: rnnc.SGD(n, momentm=0.9), "no argument of SGD is called 'momentm'; did you mean 'momentum'"),
    (lambda n: rnnc.AdamW(n, lr=0.9), "no argument of AdamW is called 'lr'; did you mean 'learning_rate'"),
    (lambda n: rnnc.Adam(n, zz=1), "no argument of Adam is called 'zz'; there is net, learning_rate, betas"),
    (lambda n: rnnc.Adam(), "Adam: missing: net"),
    (lambda n: rnnc.Adam(n, 1, 2), "Adam: 3 arguments without a name; only net, learning_rate may come so"),
    (lambda n: rnnc.Adam(3), "Adam: got 3; the net that is to learn is wanted, as rnnc.compile makes it"),
    (lambda n: setattr(rnnc.Adam(n), "clip_norm", "x"), "clip_norm: got 'x', wanted a number"),
    (lambda n: rnnc.RMSprop(n, centered=2), "centered: got 2, wanted True or False"),
    (lambda n: rnnc.Adam(n).load_state_dict({}, {}), "updates: got None, wanted a whole number"),
    (lambda n: rnnc.Adam(n).load_state_dict({}, {"updates": 3}), "this is not the state of Adam on tiny: m"),
    (lambda n: rnnc.Adam(n).load_state_dict(3, {}), "vectors: got 3, wanted a dict from name to array"),
])
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make(tiny())


def test_a_broken_schedule_is_refused_before_anything_moves():
    net = tiny()
    opt, before = rnnc.Adam(net, lambda step: float("nan")), net.theta.copy()
    with pytest.raises(InputError, match="learning_rate"):
        opt.step()
    assert (net.theta == before).all() and opt.updates == 0


def test_state_dict_continues_bit_for_bit():
    one, two = tiny(), tiny()
    first, second = rnnc.Adam(one, 0.1), rnnc.Adam(two, 0.1)
    gradient = lambda net, t: net.gradient[:net.trainable].__setitem__(
        slice(None), np.random.default_rng(t).normal(size=net.trainable))
    for t in range(4):
        gradient(one, t)
        first.step()
        if t == 1:
            two.theta[...] = one.theta
            two.touch()
            second.load_state_dict(*first.state_dict())
        if t > 1:
            gradient(two, t)
            second.step()
    assert (one.theta == two.theta).all()
    with pytest.raises(InputError, match="not the state of Momentum"):
        rnnc.Momentum(one).load_state_dict(*first.state_dict())
