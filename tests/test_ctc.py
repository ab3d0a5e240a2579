"""CTC against an enumeration of all paths, against PyTorch, and where it is easily wrong: repeats, empty lists, lists
that are too long, logits far apart, sequences long enough that paths are made again."""

import itertools

import numpy as np
import pytest
from compare import compare, same_bits

import rnnc
from rnnc import pipeline
from rnnc.errors import InputError, Source
from rnnc.graph.nodes import REAL, SEQUENCE, Node
from rnnc.graph.ops import evaluate

TEXT = """
model m(n = 2) {
    input z : [n + 1]
    target y : labels(n)
    output p = 2 * z
    loss ctc(z, y)
}
"""
WITH_PARAMETER = TEXT.replace("loss ctc(z, y)", "param w : [n + 1]\n    loss ctc(z + w, y)")


def said(path, blank: int) -> tuple:
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def enumerated(logits, labels):
    """-log P and its derivative, from every path there is."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    total, share = 0.0, np.zeros_like(p)
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        if said(path, p.shape[1] - 1) == tuple(labels):
            one = np.prod(p[np.arange(len(p)), path])
            total += one
            share[np.arange(len(p)), path] += one
    return (np.inf, np.zeros_like(p)) if total == 0 else (-np.log(total), p - share / total)


def by_the_oracle(logits, labels):
    row = np.tile([*labels, -1], (len(logits), 1))
    loss = evaluate(Node("ctc", (), (), REAL, SEQUENCE), [logits, row])[0]
    return loss, evaluate(Node("ctc_slope", (), logits.shape[1:]), [logits, row])


CASES = [(5, 2, [1, 1]), (5, 2, [0, 1]), (4, 2, []), (1, 2, [0]), (3, 2, [1, 1]), (5, 2, [0, 1, 0, 1, 0]),
         (6, 1, [0, 0, 0]), (4, 3, [2, 0, 1])]
NO_PATH = [(2, 2, [1, 1]), (4, 3, [2, 2, 2, 2])]


@pytest.mark.parametrize("frames,labels,spoken", CASES + NO_PATH)
def test_the_oracle_adds_up_all_paths(frames, labels, spoken):
    logits = 2 * np.random.default_rng(frames).normal(size=(frames, labels + 1))
    (loss, slope), (found, gradient) = enumerated(logits, spoken), by_the_oracle(logits, spoken)
    assert found == pytest.approx(loss, rel=1e-12)
    assert np.allclose(gradient, slope, atol=1e-12)


@pytest.fixture(scope="module")
def nets():
    made = {}

    def net(n: int, dtype: str = "float64"):
        if (n, dtype) not in made:
            made[n, dtype] = rnnc.compile(WITH_PARAMETER, n=n, dtype=dtype)
        return made[n, dtype]
    return net


def slopes(net, z, y, **more):
    """Loss, and its gradient by what was added to all logits."""
    loss = net.backprop(z=z, y=[np.array(y, int)], **more)
    return loss, np.array(net.gradients["w"])


@pytest.mark.parametrize("frames,labels,spoken", CASES)
def test_the_c_adds_up_all_paths(nets, frames, labels, spoken):
    logits = 2 * np.random.default_rng(frames).normal(size=(frames, labels + 1))
    loss, slope = enumerated(logits, spoken)
    found, gradient = slopes(nets(labels), logits, spoken)
    assert found == pytest.approx(loss, rel=1e-12)
    assert np.allclose(gradient, slope.sum(axis=0), atol=1e-12)


def test_every_length_against_pytorch(nets):
    """Also those at which blocks of kept paths end unevenly."""
    torch = pytest.importorskip("torch", reason="PyTorch judges here")
    r = np.random.default_rng(5)
    for frames in [1, 2, 3, 4, 5, 9, 10, 16, 17, 40, 101]:
        for count in sorted({0, 1, frames // 3, frames // 2}):
            z, y = 3 * r.normal(size=(frames, 1, 5)), r.integers(0, 4, count)
            theirs = torch.tensor(z, requires_grad=True)
            loss = torch.nn.functional.ctc_loss(theirs.log_softmax(-1), torch.tensor(y).reshape(1, -1),
                                                [frames], [count], blank=4, reduction="sum")
            loss.backward()
            needed = count + int((y[1:] == y[:-1]).sum())
            if needed > frames:
                continue
            found, gradient = slopes(nets(4), z, y)
            assert found == pytest.approx(loss.item(), rel=1e-10, abs=1e-12), (frames, count)
            assert np.allclose(gradient, theirs.grad.sum(dim=(0, 1)), atol=1e-10), (frames, count)


def test_logits_far_apart(nets):
    """The only path is one of probability e^-4000: what is scaled and not logarithmic calls it zero."""
    z = np.zeros((40, 3))
    z[:, 2] = 100.0                            # sure of the blank, in every frame
    loss, gradient = slopes(nets(2), z, [0, 1] * 10)
    assert 1900 < loss < 2100 and np.isfinite(gradient).all()
    loss, gradient = slopes(nets(2, "float32"), z.astype(np.float32), [0, 1] * 10)
    assert 1900 < loss < 2100 and np.isfinite(gradient).all()


def test_a_list_that_is_too_long(nets):
    net, z = nets(2), np.random.default_rng(0).normal(size=(3, 2, 3))
    good, long = np.array([0]), np.array([1, 1, 0])
    with pytest.raises(InputError, match=r"y\[1\]: 3 labels need at least 4 frames, and the sequence has 3"):
        net.backprop(z=z, y=[good, long])
    weight = np.ones((3, 2))
    weight[2, 1] = 0
    loss = net.backprop(z=z, y=[good, long], weight=weight)
    assert loss == pytest.approx(net.backprop(z=z[:, :1], y=[good])) and np.isfinite(net.gradient).all()


def test_nan_is_not_hidden(nets):
    z = np.random.default_rng(0).normal(size=(4, 1, 3))
    z[2, 0, 1] = np.nan
    loss, gradient = slopes(nets(2), z, [0, 1])
    assert np.isnan(loss) and np.isnan(gradient).all()


@pytest.mark.parametrize("y,said", [
    ([[0], [1], [0]], r"y: got 3 lists of labels, wanted 2: one per sequence, and there are 2 streams"),
    ([[0], [2]], r"y\[1\]: label 2 at \[0\] is not in 0..1"),
    ([[0], [0.5]], r"y\[1\]: integer labels are wanted, not float64"),
    ([[0], [[1]]], r"y\[1\]: a list of labels is wanted, not an array of shape \[1, 1\]"),
    (np.zeros(2, int), r"y: a list of labels for each sequence is wanted, not an array of shape \[2\]"),
    (7, r"y: a list of labels for each sequence is wanted, not int"),
    (None, r"missing: y \(labels\(2\)\)"),
])
def test_what_is_no_list_of_labels(nets, y, said):
    with pytest.raises(InputError, match=said):
        nets(2).backprop(z=np.zeros((3, 2, 3)), y=y)


def test_lists_as_rows_of_an_array(nets):
    net, z = nets(2), np.random.default_rng(0).normal(size=(4, 2, 3))
    loss = net.backprop(z=z, y=[[0, 1], []])
    assert net.backprop(z=z, y=np.array([[0, 1, -1], [-1, 0, 0]])) == loss
    assert net.backprop(z=z, y=[np.array([0, 1], np.uint8), np.array([], np.int64)]) == loss


def test_through_every_stage(monkeypatch):
    """Beside another loss, behind a loop, delayed; any starts, weights and numbers of threads."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(pipeline, "CHECK", True)
    text = ("model m(n = 3) {\n input x : [5]\n target y : labels(n)\n h = concat(rnn(4)(x), reversed(rnn(3))(x))\n"
            " z = dense(n + 1)(h)\n output z\n loss ctc(z, y)\n loss 0.1 * ctc(z[t-1] + z, y)\n"
            " metric m2 = ctc(2 * z, y)\n}")
    graph = pipeline.elaborated(Source("m.rnn", text))
    for seed in range(6):
        outcome = compare(graph, ["float32", "float64"][seed % 2], seed)
        assert outcome["ratio"] is not None
        same_bits(outcome["net"], outcome["data"])
