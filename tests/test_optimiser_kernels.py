"""The optimisers of the fixed C against the same rules in NumPy, over a hundred steps."""

import numpy as np
import pytest
from fixed_c import loaded

random = np.random.default_rng(11)


@pytest.fixture(params=[False, True], ids=["float", "double"])
def k(request):
    return loaded("gcc", "native", request.param)


def rules(rate=0.01, decay=0.1, scale=0.5):
    """name -> (how the C is called, the same in NumPy); both take theta, gradient, three memories and the step."""
    b1, b2, eps = 0.9, 0.99, 1e-6

    def plain(f):                                             # f(slope, memories, step) -> what theta loses
        return lambda t, g, m, step: t - f(g * scale + decay * t, m, step)

    def momentum(g, m, step, damp=0.3):
        m[0] = g if step == 1 else 0.9 * m[0] + (1 - damp) * g
        return rate * m[0]

    def nesterov(g, m, step):
        m[0] = 0.9 * m[0] + g
        return rate * (g + 0.9 * m[0])

    def rmsprop(g, m, step):
        m[0] = b2 * m[0] + (1 - b2) * g * g
        m[1] = b2 * m[1] + (1 - b2) * g
        m[2] = 0.9 * m[2] + g / (np.sqrt(m[0] - m[1] ** 2) + eps)
        return rate * m[2]

    def adadelta(g, m, step):
        m[0] = 0.9 * m[0] + 0.1 * g * g
        change = np.sqrt(m[1] + eps) / np.sqrt(m[0] + eps) * g
        m[1] = 0.9 * m[1] + 0.1 * change ** 2
        return rate * change

    def adam(g, m, step):
        m[0], m[1] = b1 * m[0] + (1 - b1) * g, b2 * m[1] + (1 - b2) * g * g
        return rate * m[0] / (1 - b1 ** step) / (np.sqrt(m[1] / (1 - b2 ** step)) + eps)

    return {
        "sgd": (lambda k, n, t, g, a, b, c, step: k.sgd(n, t, g, rate, decay, scale), plain(lambda g, m, s: rate * g)),
        "momentum": (lambda k, n, t, g, a, b, c, step: k.momentum(n, t, g, a, rate, 0.9, 0.3, decay, step, scale),
                     plain(momentum)),
        "nesterov": (lambda k, n, t, g, a, b, c, step: k.nesterov(n, t, g, a, rate, 0.9, decay, scale),
                     plain(nesterov)),
        "rmsprop": (lambda k, n, t, g, a, b, c, step: k.rmsprop(n, t, g, a, b, c, rate, b2, eps, 0.9, decay, scale),
                    plain(rmsprop)),
        "adadelta": (lambda k, n, t, g, a, b, c, step: k.adadelta(n, t, g, a, b, rate, 0.9, eps, decay, scale),
                     plain(adadelta)),
        "adam": (lambda k, n, t, g, a, b, c, step: k.adam(0, n, t, g, a, b, rate, b1, b2, eps, decay, step, scale),
                 plain(adam)),
        "adamw": (lambda k, n, t, g, a, b, c, step: k.adam(1, n, t, g, a, b, rate, b1, b2, eps, decay, step, scale),
                  lambda t, g, m, step: t * (1 - rate * decay) - adam(g * scale, m, step)),
    }


@pytest.mark.parametrize("name", rules())
def test_optimisers(k, name):
    call, meaning = rules()[name]
    n = 3 * k.vl + 5
    state = k.array(np.zeros((4, n)))
    state[0] = random.standard_normal(n)
    want, memory = state[0].astype(np.float64), [np.zeros(n) for _ in range(3)]
    pieces = state.copy()
    for step in range(1, 101):
        g = k.array(random.standard_normal(n))
        call(k, n, state[0], g, *state[1:], step)
        for low, high in ((0, 7), (7, n)):                                  # cut anywhere: the same bits
            call(k, high - low, pieces[0, low:high], g[low:high], *pieces[1:, low:high], step)
        want = meaning(want, g.astype(np.float64), memory, step)
    np.testing.assert_array_equal(state, pieces)
    np.testing.assert_allclose(state[0], want, atol=3e-4 if k.type.itemsize == 4 else 1e-11)


def test_norm_and_clipping(k):
    for n in (0, 1, 17, 4096, 10001):
        g = k.array(random.standard_normal(n))
        np.testing.assert_allclose(k.norm2(n, g), np.linalg.norm(g.astype(np.float64)), rtol=1e-13)
    assert k.clip(2.0, 0.0) == 1 and k.clip(0.5, 1.0) == 1
    np.testing.assert_allclose(k.clip(4.0, 1.0), 1 / 4.000001)
