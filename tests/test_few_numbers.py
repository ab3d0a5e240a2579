"""SGD-SaI, APOLLO and GaLore, update by update, against their formulas in NumPy; and how many numbers they keep."""

from zlib import crc32

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError

TEXT = """
model small(n = 6) {
    input  x : [4]
    target y : [9]
    h = rnn(n)(x)
    param V : [9, n]
    param a = 0.3
    z = a * (V @ h)
    loss mse(z, y)
}
"""


@pytest.fixture(params=["float64", "float32"])
def net(request):
    return rnnc.compile(TEXT, dtype=request.param, threads=1)


def pushed(net, t: int) -> dict[str, np.ndarray]:
    """A gradient for update t, in float64."""
    net.gradient[:net.trainable] = np.random.default_rng(t).normal(0.1, 1, net.trainable)
    return {name: np.array(g, float) for name, g in net.gradients.items()}


def adamw(s, w, g, t, lr, decay, b1=0.9, b2=0.999, eps=1e-8):
    return w * (1 - lr * decay) - lr * direction(s, g, t, b1, b2, eps)


def direction(s, g, t, b1=0.9, b2=0.999, eps=1e-8):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g * g
    return s["m"] / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + eps)


def sgd_sai(s, name, w, g, t, lr=0.01, decay=0.1):
    if t == 1:
        s["G"] = np.linalg.norm(g) / (g.std() + 1e-8) if g.size > 1 else 1.0
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    return (1 - lr * decay) * w - lr * s["G"] * s["m"]


def apollo(s, name, w, g, t, lr=0.01, decay=0.1, rank=2, whole=False):
    if w.ndim < 2 or min(w.shape) <= rank:
        return adamw(s, w, g, t, lr, decay)
    tall = w.shape[0] > w.shape[1]
    a = g.T if tall else g
    chance = np.random.default_rng([5, (t - 1) // 3, crc32(name.encode())])
    R = (chance.standard_normal((rank, len(a))) / np.sqrt(rank)) @ a
    N = direction(s, R, t)
    by = np.linalg.norm(N) / np.linalg.norm(R) if whole else np.linalg.norm(N, axis=0) / np.linalg.norm(R, axis=0)
    step = a * by
    if "norm" in s and np.linalg.norm(step) > 1.01 * s["norm"]:
        step *= 1.01 * s["norm"] / np.linalg.norm(step)
    s["norm"] = np.linalg.norm(step)
    return w * (1 - lr * decay) - lr * 0.5 * (step.T if tall else step)


def galore(s, name, w, g, t, lr=0.01, decay=0.1, rank=2):
    if w.ndim < 2 or min(w.shape) <= rank:
        return adamw(s, w, g, t, lr, decay)
    tall = w.shape[0] > w.shape[1]
    a = g.T if tall else g
    if (t - 1) % 3 == 0:
        s["P"] = np.linalg.svd(a)[0][:, :rank]
    step = s["P"] @ direction(s, s["P"].T @ a, t)
    return w * (1 - lr * decay) - lr * 0.25 * (step.T if tall else step)


MAKE = {
    "SGDSaI": (lambda n: rnnc.SGDSaI(n, 0.01, weight_decay=0.1), sgd_sai),
    "Apollo": (lambda n: rnnc.Apollo(n, 0.01, weight_decay=0.1, rank=2, every=3, scale=0.5, seed=5), apollo),
    "Apollo whole": (lambda n: rnnc.Apollo(n, 0.01, weight_decay=0.1, rank=2, every=3, scale=0.5, seed=5, whole=True),
                     lambda *all: apollo(*all, whole=True)),
    "GaLore": (lambda n: rnnc.GaLore(n, 0.01, weight_decay=0.1, rank=2, every=3), galore),
}


@pytest.mark.parametrize("name", MAKE)
def test_updates(net, name):
    make, formula = MAKE[name]
    opt, kept = make(net), {p: {} for p in net.parameters}
    wanted = {p: np.array(w, float) for p, w in net.parameters.items()}
    for t in range(1, 9):
        gradients = pushed(net, t)
        wanted = {p: formula(kept[p], p, w, gradients[p], t) for p, w in wanted.items()}
        opt.step()
    loose = net.dtype == np.float32
    for p, w in net.parameters.items():
        np.testing.assert_allclose(w, wanted[p], rtol=1e-4 if loose else 1e-10, atol=1e-5 if loose else 1e-12)


@pytest.mark.parametrize("name", MAKE)
def test_stopped_and_resumed_to_the_same_bits(name):
    one, two = (rnnc.compile(TEXT, threads=1) for _ in range(2))
    first, second = MAKE[name][0](one), MAKE[name][0](two)
    for t in range(1, 9):
        pushed(one, t)
        first.step()
        if t == 4:                              # not where directions change
            two.theta[...] = one.theta
            second.load_state_dict(*first.state_dict())
        if t > 4:
            pushed(two, t)
            second.step()
    assert (one.theta == two.theta).all()


@pytest.mark.parametrize("name", MAKE)
def test_learns_clipped_and_by_pattern(name):
    net = rnnc.compile(TEXT, threads=1)
    kind = type(MAKE[name][0](net))
    opt = kind(net, {"V": 0.0, "*": 0.05 if kind is rnnc.SGDSaI else 0.02}, clip_norm=1.0)
    chance = np.random.default_rng(0)
    x, before = chance.normal(size=(12, 8, 4)), np.array(net.parameters["V"])
    y = np.repeat(0.3 * x, 3, axis=2)[..., :9]
    first = net.backprop(x=x, y=y)
    for _ in range(80):
        net.backprop(x=x, y=y)
        opt.step()
    assert net.evaluate(x=x, y=y)["loss"] < 0.9 * first and (before == net.parameters["V"]).all()


def test_numbers_kept():
    """Numbers of state per parameter, for an LSTM of 64 units: Adam 2, SGD-SaI 1, the others 2 or 3 rank / rows."""
    net = rnnc.compile("model m { input x : [64] target y : [64] loss mse(lstm(64)(x), y) }\n", threads=1)
    kept = lambda opt: sum(v.size for v in opt.vectors.values()) / net.trainable
    assert kept(rnnc.Adam(net)) == 2
    assert kept(rnnc.SGDSaI(net)) == pytest.approx(1, abs=0.001)
    assert kept(rnnc.Apollo(net, rank=4)) == pytest.approx(2 * 4 / 64, abs=0.02)
    assert kept(rnnc.Apollo(net, rank=1, whole=True)) == pytest.approx(2 / 64, abs=0.02)
    assert kept(rnnc.GaLore(net, rank=4)) == pytest.approx(3 * 4 / 64, abs=0.02)


@pytest.mark.parametrize("make,message", [
    (lambda n: rnnc.Apollo(n, rank=0), "rank: got 0"),
    (lambda n: rnnc.GaLore(n, every=1.5), "every: got 1.5"),
    (lambda n: rnnc.Apollo(n, growth=0.5), "growth: got 0.5"),
    (lambda n: rnnc.SGDSaI(n, momentum=1), "momentum: got 1, wanted a number below 1"),
    (lambda n: rnnc.GaLore(n, betas=3), "betas: got 3, wanted two numbers"),
])
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make(rnnc.compile(TEXT, threads=1))
