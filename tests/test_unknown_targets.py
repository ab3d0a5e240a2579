"""Targets that nobody knows where the weight is 0: NaN, of numbers and of flags; -1, of labels."""

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError

FLAGS = """model m {
    input x   target y : flag
    param a = 1
    output z = a * x
    loss binary_cross_entropy(z, y)
}
"""
OF_SEQUENCES = """model m {
    input x   target y : flag per sequence
    param a = 1
    output z = a * last(x)
    loss binary_cross_entropy(z, y)
}
"""
NAN = float("nan")


@pytest.fixture(scope="module")
def net():
    return rnnc.compile(FLAGS)


@pytest.fixture(scope="module")
def of_sequences():
    return rnnc.compile(OF_SEQUENCES)


def test_a_flag_may_be_unknown_where_weight_is_zero(net):
    x, weight = np.arange(3.0), np.array([1, 1, 0.0])
    loss = net.backprop(x=x, y=np.array([1, 0, NAN]), weight=weight)
    gradient = net.gradient.copy()
    assert loss == net.backprop(x=x, y=np.array([1, 0, 0]), weight=weight) and (net.gradient == gradient).all()
    assert loss == net.evaluate(x=x, y=np.array([1, 0, NAN]), weight=weight)["loss"]
    both = np.array([[1, NAN], [0, 1], [NAN, 0]])
    net.backprop(x=np.ones((3, 2)), y=both, weight=1.0 - np.isnan(both))
    ragged = [np.array([1, NAN, 0]), np.array([NAN])]
    net.backprop(x=[np.ones(3), np.ones(1)], y=ragged, weight=[1.0 - np.isnan(y) for y in ragged])


@pytest.mark.parametrize("y, weight, message", [
    ([1, 0, NAN], None, r"^y: flags are 0 or 1; nan stands at \[2\]; where weight= is 0 it may be$"),
    ([NAN, 0, NAN], [1, 1, 0.0], r"nan stands at \[0\]; where weight= is 0"),
    ([NAN, 0, 2], [0, 1, 0.0], r"2.0 stands at \[2\]$"),
    ([NAN, 0, 1], [0, 1.0], r"nan stands at \[0\]"),
])
def test_flags_that_count_are_known(net, y, weight, message):
    with pytest.raises(InputError, match=message):
        net.backprop(x=np.ones(3), y=np.array(y), weight=weight)


def test_a_flag_of_a_sequence_is_seen_by_all_of_its_frames(of_sequences):
    x, starts = np.ones(4), np.array([1, 0, 1, 0])
    loss = of_sequences.backprop(x=x, y=np.array([1, NAN]), starts=starts, weight=np.array([1, 1, 0, 0.0]))
    assert loss == of_sequences.backprop(x=x, y=np.array([1, 0]), starts=starts, weight=np.array([1, 1, 0, 0.0]))
    of_sequences.backprop(x=x, y=NAN, weight=np.zeros(4))
    with pytest.raises(InputError, match=r"nan stands at \[1\]"):
        of_sequences.backprop(x=x, y=np.array([1, NAN]), starts=starts, weight=np.array([1, 1, 1, 0.0]))


def test_data_may_hold_unknown_flags(net):
    y = np.array([0, 1, NAN, 1, NAN, 0])
    data = rnnc.data.arrays({"x": np.ones(6), "y": y, "weight": 1.0 - np.isnan(y)}, streams=2, frames=2)
    losses = [row["loss"] for row in rnnc.fit(net, data, rnnc.SGD(net, learning_rate=0.1), epochs=2, window=3, step=2,
                                              progress=False).rows]
    assert np.isfinite(losses).all()


# ------------------------------------------------------------------------------------------------------------- labels

LABELS = """model m {
    input x : [3]   target y : class(3)
    z = dense(3)(x)
    output z
    loss cross_entropy(z, y)
    metric hits = argmax(z) == y
}
"""


def test_a_label_may_be_unknown_where_weight_is_zero():
    net, x = rnnc.compile(LABELS), np.random.default_rng(0).normal(size=(4, 2, 3))
    y, weight = np.array([[0, 2], [-1, 1], [1, -1], [2, 0]]), np.ones((4, 2))
    weight[y < 0] = 0
    wanted = net.backprop(x=x, y=np.maximum(y, 0), weight=weight)
    gradient = net.gradient.copy()
    for dtype in (np.int8, np.int32, np.int64):
        assert net.backprop(x=x, y=y.astype(dtype), weight=weight) == wanted and (net.gradient == gradient).all()
    assert net.evaluate(x=x, y=y, weight=weight) == net.evaluate(x=x, y=np.maximum(y, 0), weight=weight)
    assert (y < 0).sum() == 2                                                    # nobody wrote into the caller's array
    net.backprop(x=[x[:, 0], x[:2, 1]], y=[y[:, 0], y[:2, 1]], weight=[weight[:, 0], weight[:2, 1]])
    for wrong, given in ((y, None), (y, np.ones((4, 2))), (np.where(y < 0, -2, y), weight), (y + 4 * (y < 0), weight)):
        with pytest.raises(InputError, match=r"^y: label (-1|-2|3) at \[1, 0\] is not in 0\.\.2"):
            net.backprop(x=x, y=wrong, weight=given)
    data = rnnc.data.arrays({"x": x[:, 0], "y": y[:, 0], "weight": weight[:, 0]}, streams=1, frames=2)
    assert np.isfinite(rnnc.fit(net, data, rnnc.SGD(net, learning_rate=0.1), epochs=1, progress=False).rows[-1]["loss"])


def test_a_label_of_a_sequence_is_seen_by_all_of_its_frames():
    net = rnnc.compile(LABELS.replace("class(3)", "class(3) per sequence").replace("(x)", "(last(x))"))
    x, starts = np.ones((4, 3)), np.array([1, 0, 1, 0])
    wanted = net.backprop(x=x, y=np.array([1, 0]), starts=starts, weight=np.array([1, 1, 0, 0.0]))
    assert net.backprop(x=x, y=np.array([1, -1]), starts=starts, weight=np.array([1, 1, 0, 0.0])) == wanted
    with pytest.raises(InputError, match=r"y: label -1 at \[1\]"):
        net.backprop(x=x, y=np.array([1, -1]), starts=starts, weight=np.array([1, 1, 1, 0.0]))
