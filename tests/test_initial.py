"""First values of parameters: what their names promise, and that each depends on seed and path alone."""

import numpy as np
import pytest

from rnnc.runtime.initial import initial


def test_each_depends_on_seed_and_path_alone():
    one = initial(("glorot",), (3, 4), 0, "h.W")
    assert np.array_equal(one, initial(("glorot",), (3, 4), 0, "h.W"))
    assert not np.array_equal(one, initial(("glorot",), (3, 4), 1, "h.W"))
    assert not np.array_equal(one, initial(("glorot",), (3, 4), 0, "h.V"))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (2, 3, 3)])
def test_orthogonal(shape):
    for w in initial(("orthogonal",), shape, 0, "W").reshape(-1, *shape[-2:]):
        w = w if len(w) <= len(w.T) else w.T
        np.testing.assert_allclose(w @ w.T, np.eye(len(w)), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (50, 50), (3, 8, 8)])
def test_spectral_radius(shape):
    for w in initial(("spectral", 0.9), shape, 3, "U").reshape(-1, *shape[-2:]):
        assert np.abs(np.linalg.eigvals(w)).max() == pytest.approx(0.9)


def test_spread():
    draw = lambda *init, shape=(300, 200): initial(init, shape, 0, "W")
    assert draw("normal", 1.0, 0.5).std() == pytest.approx(0.5, rel=0.02)
    assert np.abs(draw("glorot")).max() == pytest.approx(np.sqrt(6 / 500), rel=0.01)
    assert draw("he").std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert draw("lecun").std() == pytest.approx(np.sqrt(1 / 200), rel=0.02)
    assert np.array_equal(draw("identity", 0.3, shape=(2, 3)), [[0.3, 0, 0], [0, 0.3, 0]])
    assert (draw("value", 2.0, shape=(3,)) == 2).all()
