"""Values per sequence at the border: the form and order of arrays, lists of sequences, data, what is refused."""

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError, NumberError

TEXT = """
model m(n = 3) {
    input  x : [2]
    input  a : [n] per sequence
    input  k : class(4) per sequence
    target y : class(5) per sequence
    target spoken : labels(2)

    h = tanh(dense(n)(x) + 0.5 * h[t-1])
    init h = a
    z = dense(3)(h)
    s = concat(last(h), embed(2)(k))
    output h, s, best = argmax(s)
    loss   ctc(z, spoken)
    loss   cross_entropy(dense(5)(s), y)
    metric right = argmax(s) == y
    metric large = mean(h^2)
}
"""
STARTS = np.array([[0, 0], [0, 0], [1, 0], [0, 0], [0, 1], [1, 0]])        # sequences of 2, 3, 1 and of 4, 2 frames


@pytest.fixture(scope="module")
def net():
    return rnnc.compile(TEXT, dtype="float64", gradient="all")


def numbers(seed=0, frames=6, streams=2, count=5):
    r = np.random.default_rng(seed)
    return {"x": r.normal(size=(frames, streams, 2)), "a": r.normal(size=(count, 3)), "k": r.integers(0, 4, count)}


def targets(count=5):
    return {"y": np.arange(count) % 5, "spoken": [[0], [1, 0], [], [1], [0]][:count]}


def test_what_a_net_says_of_itself(net):
    assert str(net.inputs["a"]) == "[3] per sequence" and str(net.targets["spoken"]) == "labels(2)"
    assert net.outputs["s"].per == "sequence" and net.outputs["h"].per == "frame"
    assert net.outputs["best"].kind == "int" and net.outputs["best"].per == "sequence"


def test_order_is_stream_then_start(net):
    given = numbers()
    out = net.run(**given, starts=STARTS)
    assert out["s"].shape == (5, 5) and out["best"].shape == (5,) and out["best"].dtype == np.int32
    for i, (stream, first, end) in enumerate([(0, 0, 2), (0, 2, 5), (0, 5, 6), (1, 0, 4), (1, 4, 6)]):
        alone = net.run(x=given["x"][first:end, stream], a=given["a"][i], k=given["k"][i])
        assert np.allclose(alone["h"], out["h"][first:end, stream], atol=1e-14)
        assert alone["s"].shape == (1, 5) and np.allclose(alone["s"][0], out["s"][i], atol=1e-14)


def test_a_start_at_the_first_frame_adds_no_sequence(net):
    given, starts = numbers(), STARTS.copy()
    starts[0] = 1
    assert np.array_equal(net.run(**given, starts=starts)["s"], net.run(**given, starts=STARTS)["s"])


def test_outputs_go_where_they_are_asked_to(net):
    given, out = numbers(), {"s": np.zeros((5, 5)), "best": np.zeros(5, np.int32)}
    assert net.run(**given, starts=STARTS, out=out)["s"] is out["s"]
    assert np.array_equal(out["s"], net.run(**given, starts=STARTS)["s"])
    with pytest.raises(InputError, match=r"out\['s'\]: got float64 \[6, 2, 5\], wanted float64 \[5, 5\]"):
        net.run(**given, starts=STARTS, out={"s": np.zeros((6, 2, 5))})


@pytest.mark.parametrize("change,said", [
    ({"a": np.zeros((2, 3))}, r"a: got shape \[2, 3\], wanted \[5, 3\]: one per sequence, and there are 2 streams and "
                              "3 starts after the first frame"),
    ({"a": np.zeros((6, 2, 3))}, r"a: got shape \[6, 2, 3\], wanted \[5, 3\]"),
    ({"k": np.full(5, 4)}, r"k: label 4 at \[0\] is not in 0..3"),
    ({"k": None}, r"missing: k \(class\(4\) per sequence\)"),
])
def test_refused(net, change, said):
    with pytest.raises(InputError, match=said):
        net.run(**{**numbers(), **change}, starts=STARTS)


def test_gradients_per_sequence(net):
    given = numbers()
    back = net.vjp({"s": np.ones((5, 5))}, **given, starts=STARTS)
    assert back["a"].shape == (5, 3) and set(back) == {"x", "a", "state"}
    step = 1e-6
    for i, j in [(0, 0), (3, 2), (4, 1)]:
        ends = []
        for sign in (1, -1):
            moved = given["a"].copy()
            moved[i, j] += sign * step
            ends.append(net.run(**{**given, "a": moved}, starts=STARTS)["s"].sum())
        assert back["a"][i, j] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6, abs=1e-9)
    alone = net.vjp({"s": np.ones((1, 5))}, x=given["x"][:2, 0], a=given["a"][0], k=given["k"][0])
    assert alone["a"].shape == (3,) and np.allclose(alone["a"], back["a"][0], atol=1e-14)
    with pytest.raises(InputError, match=r"cotangent s: got shape \[6, 2, 5\], wanted \[5, 5\]"):
        net.vjp({"s": np.ones((6, 2, 5))}, **given, starts=STARTS)


def test_scores_are_means_over_sequences(net):
    given, wanted = numbers(), targets()
    found = net.evaluate(**given, **wanted, starts=STARTS)
    assert found["frames"] == 12 and found["sequences"] == 5
    best = net.run(**given, starts=STARTS)["best"]
    assert found["right"] == np.mean(best == wanted["y"])
    weight = np.ones((6, 2))
    weight[1, 0] = weight[4, 0] = 0            # the last frames of the first two
    weight[5, 1] = 3
    again = net.evaluate(**given, **wanted, starts=STARTS, weight=weight)
    assert again["sequences"] == 3 and again["frames"] == 10
    assert again["right"] == pytest.approx(np.average(best == wanted["y"], weights=[0, 0, 1, 1, 3]))


def test_the_state_goes_on(net):
    """A sequence that goes on in the next call is one sequence of it."""
    given, state = numbers(), net.state(streams=2)
    whole = net.run(**given, starts=STARTS)
    net.run(x=given["x"][:3], a=given["a"][[0, 1, 3]], k=given["k"][[0, 1, 3]], starts=STARTS[:3], state=state)
    two = net.run(x=given["x"][3:], a=given["a"][[1, 2, 3, 4]], k=given["k"][[1, 2, 3, 4]], starts=STARTS[3:],
                  state=state)
    assert np.allclose(two["h"], whole["h"][3:], atol=1e-14)
    assert np.allclose(two["s"], whole["s"][[1, 2, 3, 4]], atol=1e-14)


def test_lists_of_sequences(net):
    """Lists in, lists out; what has one value per sequence comes and goes as one array in the order of the list."""
    r = np.random.default_rng(3)
    lengths = [3, 7, 2, 5, 7, 1, 4]
    x = [r.normal(size=(n, 2)) for n in lengths]
    a, k, y = r.normal(size=(7, 3)), r.integers(0, 4, 7), r.integers(0, 5, 7)
    spoken = [[0], [1, 0, 1], [], [1], [0, 0], [1], [0, 1]]
    out = net.run(x=x, a=a, k=k)
    assert [len(h) for h in out["h"]] == lengths and out["s"].shape == (7, 5)
    losses, gradients = [], []
    for i in range(7):
        alone = net.run(x=x[i], a=a[i], k=k[i])
        assert np.allclose(alone["s"][0], out["s"][i], atol=1e-14) and alone["best"][0] == out["best"][i]
        losses.append(net.backprop(x=x[i], a=a[i], k=k[i], y=y[i], spoken=[spoken[i]]))
        gradients.append(net.gradient.copy())
    assert net.backprop(x=x, a=a, k=k, y=y, spoken=spoken) == pytest.approx(np.mean(losses), rel=1e-12)
    assert np.allclose(net.gradient, np.mean(gradients, axis=0), atol=1e-13)
    assert net.evaluate(x=x, a=a, k=k, y=y, spoken=spoken)["sequences"] == 7
    for change, said in [({"a": a[:3]}, r"a: got shape \[3, 3\], wanted one per sequence, 7 of them"),
                         ({"spoken": spoken[:2]}, "spoken: got 2 lists of labels, wanted one per sequence, 7 of them"),
                         ({"starts": [np.zeros(n) for n in lengths]}, "starts: in a list each array is one sequence")]:
        with pytest.raises(InputError, match=said):
            net.backprop(**{**dict(x=x, a=a, k=k, y=y, spoken=spoken), **change})


def test_step_needs_no_whole_sequence():
    """Values that are given per sequence do for a frame at a time; what is made of all frames does not."""
    net = rnnc.compile("model m { input x : [2]\n input a : [2] per sequence\n init h = a\n h = 0.5 * h[t-1] + x\n"
                       " output h, b = 2 * a }")
    r = np.random.default_rng(0)
    x, a, state = r.normal(size=(4, 3, 2)), r.normal(size=(3, 2)), net.state(streams=3)
    whole = net.run(x=x, a=a)
    for t in range(4):
        out = net.step(state, x=x[t], a=a)
        assert np.allclose(out["h"], whole["h"][t], atol=1e-6) and out["b"].shape == (3, 2)
    one = net.state()
    assert net.step(one, x=x[0, 0], a=a[0])["b"].shape == (2,)
    folded = rnnc.compile("model m { input x : [2]\n output y = x - mean_over(t, x) }")
    with pytest.raises(InputError, match="step: m looks ahead: x in all frames of a sequence is read before its frame "
                                         "has come .*; use run on whole sequences"):
        folded.step(folded.state(), x=np.zeros(2))


def test_nan_is_told_by_sequence():
    net = rnnc.compile("model m { input x : [2]\n input a : [2] per sequence\n total = sum_over(t, exp(x))\n"
                       " share = exp(x) / total\n output share, total, q = log(a) }", check_numbers=True)
    a = np.ones((2, 2))
    with pytest.raises(InputError, match="a: nan at sequence 1, unit 0"):
        net.run(x=np.zeros((3, 2, 2)), a=np.array([[1, 1], [np.nan, 1]]))
    with pytest.raises(NumberError, match=r"q \(.*\): -inf at sequence 0, unit 1"):
        net.run(x=np.zeros((3, 2, 2)), a=np.array([[1.0, 0], [1, 1]]))
    x = np.zeros((3, 2, 2))
    x[:2, 1, 0] = 88.5                         # whose exp is half of the largest number
    with pytest.raises(NumberError, match=r"total \(.*\): inf at sequence 1, unit 0"):
        net.run(x=x, a=a)
    x[2, 0, 1] = 89
    with pytest.raises(NumberError, match=r"total \(.*\): inf at sequence 0, unit 1"):
        net.run(x=x, a=a)


# ---------------------------------------------------------------------------------------------------------------- data

def test_recordings_with_a_value_for_each_sequence():
    starts = np.array([1, 0, 0, 1, 0, 1, 0, 0, 0, 1])
    y, spoken = np.array([5, 6, 7, 8]), [[0], [], [1, 1], [0, 1]]
    data = rnnc.data.arrays({"x": np.arange(10.0), "y": y, "spoken": spoken}, streams=2, frames=3, starts=starts)
    assert sorted(data.names) == ["spoken", "x", "y"] and data.length == 5
    first, second = data.batch(0, 0), data.batch(0, 1)
    assert first["starts"].T.tolist() == [[1, 0, 0], [1, 0, 0]] and first["y"].tolist() == [5, 7]
    assert second["starts"].T.tolist() == [[1, 0], [0, 1]] and second["y"].tolist() == [6, 7, 8]
    assert [list(s) for s in second["spoken"]] == [[], [1, 1], [0, 1]]
    other = rnnc.data.arrays({"x": np.arange(10.0), "y": y + 1, "spoken": spoken}, streams=2, frames=3, starts=starts)
    assert other.digest != data.digest
    held = rnnc.data.arrays({"x": np.arange(10.0), "y": y}, frames=3, starts=starts, held_out=0.4).held
    assert held.batch(0, 0)["y"].tolist() == [7] and held.batch(0, 1)["y"].tolist() == [8]


def test_files_of_sequences_with_lists_of_labels(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.arange(12.0).reshape(6, 2), lengths=[3, 1, 2], spoken=[0, 1, 1], spoken_lengths=[1, 0, 2],
             y=[4, 5, 6])
    data = rnnc.data.npz(path, batch=2, shuffle=False)
    batch = data.batch(0, 0)
    assert [len(s) for s in batch["x"]] == [3, 1] and [list(s) for s in batch["spoken"]] == [[0], []]
    assert batch["y"].tolist() == [4, 5] and data.batch(0, 1)["spoken"][0].tolist() == [1, 1]
    np.savez(path, x=np.zeros((6, 2)), lengths=[3, 1, 2], spoken=[0, 1, 1], spoken_lengths=[1, 0, 1])
    with pytest.raises(InputError, match="`spoken_lengths` has to be a list of whole numbers that add up to 3"):
        rnnc.data.npz(path)


def test_training_on_sequences_resumes(tmp_path):
    r = np.random.default_rng(0)
    x = [r.normal(size=(n, 2)) for n in r.integers(4, 9, 40)]
    sums = np.array([s.sum() > 0 for s in x]).astype(int)
    signals = {"x": x, "y": sums, "spoken": [[int(s)] for s in sums]}
    text = ("model m { input x : [2]\n target y : class(2) per sequence\n target spoken : labels(2)\n h = rnn(6)(x)\n"
            " loss cross_entropy(dense(2)(sum_over(t, h)), y)\n loss 0.1 * ctc(dense(3)(h), spoken)\n"
            " metric right = argmax(dense(2)(last(h))) == y }")
    data = rnnc.data.sequences(signals, batch=8, held_out=0.25)
    curves = []
    for stops in ([4], [2, 4]):
        for epochs in stops:
            net = rnnc.compile(text, seed=1)
            rows = rnnc.fit(net, data, rnnc.Adam(net, learning_rate=0.02), epochs=epochs, validate=data.held,
                            checkpoint=tmp_path / str(len(stops)), progress=False)
        curves.append([(row["loss"], row["validation loss"], row["validation right"]) for row in rows])
    assert curves[0] == curves[1] and curves[0][-1][0] < 0.8 * curves[0][0][0] and len(curves[0]) == 4
