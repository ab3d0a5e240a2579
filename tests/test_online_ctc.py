"""samples/online_ctc.rnn, where connectionist temporal classification is a recurrence in the program: against the
operator `ctc`, against an enumeration of all paths, from call to call, and learning in windows shorter than lists."""

import itertools
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
from results import speech
from test_ctc import CASES, NO_PATH, enumerated, said

import rnnc

LABELS, LONGEST, FRAMES = 3, 8, 40
SAMPLE = (files("rnnc.samples") / "online_ctc.rnn").read_text(encoding="utf-8")
# The logits of frame i are column i of a parameter, so that its gradient is theirs.
BOTH = SAMPLE + """
model recurrence(n = 3, longest = 8, frames = 40) {
    input frame : class(frames)
    input spoken : [longest]
    input ends : flag
    param w : [n + 1, frames]
    goes, ended = spelling()(logsoftmax(w @ frame), spoken, ends)
    whole = ends and ended > never / 2
    output goes, ended
    loss -goes - where(whole, ended, 0)
    metric missed = ends and not whole
}
model judge(n = 3, frames = 40) {
    input frame : class(frames)
    target y : labels(n)
    param w : [n + 1, frames]
    z = w @ frame
    output z
    loss ctc(z, y)
}
"""


@cache
def compiled(model: str, dtype: str):
    return rnnc.compile(BOTH, model=model, dtype=dtype, threads=1)


def net_of(logits: np.ndarray, model: str = "recurrence", dtype: str = "float64"):
    net = compiled(model, dtype)
    net.parameters["w"] = np.pad(logits, ((0, FRAMES - len(logits)), (0, 0))).T
    return net


def drawn(seed: int, frames: int) -> np.ndarray:
    return 2 * np.random.default_rng(seed).normal(size=(frames, LABELS + 1))


def inputs(lengths: list[int], lists: list) -> dict:
    """Sequences one behind another in one stream."""
    spoken = np.full((len(lists), LONGEST), -1.0)
    for row, labels in zip(spoken, lists):
        row[:len(labels)] = labels
    ends = np.zeros(sum(lengths))
    ends[np.cumsum(lengths) - 1] = 1
    return {"frame": np.arange(len(ends)), "spoken": np.repeat(spoken, lengths, axis=0), "ends": ends}


def cut(given: dict, *at: int) -> list[dict]:
    """Windows that begin at these frames."""
    ends = [*at[1:], len(given["frame"])]
    return [{name: part[first:end] for name, part in given.items()} for first, end in zip(at, ends)]


def total(net, state=None, **given) -> tuple[float, np.ndarray]:
    """The loss of all frames, and its gradient by the logits."""
    frames = len(given["frame"])
    return net.backprop(state=state, **given) * frames, np.array(net.gradients["w"]).T * frames


def by_the_operator(logits: np.ndarray, labels: list) -> tuple[float, np.ndarray]:
    net = net_of(logits, "judge")
    loss = net.backprop(frame=np.arange(len(logits)), y=[np.array(labels, int)])
    return loss, np.array(net.gradients["w"]).T


def agree(found: tuple, loss: float, slope: np.ndarray) -> None:
    assert found[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(found[1][:len(slope)], slope, rtol=0, atol=1e-12)
    assert (found[1][len(slope):] == 0).all()


@pytest.mark.parametrize("frames,labels", [*((f, labels) for f, _, labels in CASES), (40, [1, 1, 2, 0, 0, 0, 2, 1])])
def test_it_is_the_operator(frames, labels):
    """Loss and gradient of one sequence."""
    logits = drawn(frames, frames)
    found = total(net_of(logits), **inputs([frames], [labels]))
    agree(found, *by_the_operator(logits, labels))
    if frames < 10:
        agree(found, *enumerated(logits, labels))


@pytest.mark.parametrize("started", [False, True])
def test_sequences_one_behind_another(started):
    """Parted by what `ends` says alone, or by starts as well."""
    lengths, lists = [5, 4, 1, 6, 4], [[1, 1], [], [0], [0, 2, 0], [1]]
    logits, ends = drawn(1, sum(lengths)), np.cumsum(lengths)
    given = inputs(lengths, lists)
    if started:
        given["starts"] = np.isin(np.arange(ends[-1]), ends - lengths)
    alone = [enumerated(part, labels) for part, labels in zip(np.split(logits, ends[:-1]), lists)]
    agree(total(net_of(logits), **given), sum(loss for loss, _ in alone), np.concatenate([slope for _, slope in alone]))


def test_the_edge_of_a_window_allows_every_beginning():
    """Nothing ends here: all that is spelled by then, if the list begins with it."""
    logits, labels = drawn(2, 5), (1, 1, 0, 1)
    p = np.exp(logits)
    p /= p.sum(axis=1, keepdims=True)
    whole, share = 0.0, np.zeros_like(p)
    for path in itertools.product(range(LABELS + 1), repeat=5):
        if said(path, LABELS) == labels[:len(said(path, LABELS))]:
            one = np.prod(p[np.arange(5), path])
            whole += one
            share[np.arange(5), path] += one
    agree(total(net_of(logits), **inputs([5], [labels]) | {"ends": np.zeros(5)}), -np.log(whole), p - share / whole)


def test_calls_go_on_where_the_last_one_ended():
    net, given = net_of(drawn(3, 30)), inputs([9, 12, 9], [[1, 1, 0], [0, 1, 2, 1], [1]])
    whole, loss = net.run(**given), net.evaluate(**given)["loss"]
    windows, state, again = cut(given, 0, 4, 11, 12), net.state(), net.state()
    parts = [net.run(state=state, **window) for window in windows]
    for name in ("goes", "ended"):
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), whole[name])
    assert sum(total(net, again, **window)[0] for window in windows) == pytest.approx(30 * loss, rel=1e-13)


def test_the_gradient_of_a_window_ends_at_its_edge():
    """It is that of the window's own frames, alpha as it came in: where the list ends, what whole sequences have."""
    logits, labels = drawn(4, 9), [1, 1, 0]
    net, state = net_of(logits), compiled("recurrence", "float64").state()
    first, second = cut(inputs([9], [labels]), 0, 5)
    net.run(state=state, **first)
    gradient = total(net, state, **second)[1]
    assert (gradient[:5] == 0).all()
    np.testing.assert_allclose(gradient[5:9], enumerated(logits, labels)[1][5:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype,rel", [("float32", 1e-6), ("float64", 1e-12)])
def test_logits_far_apart(dtype, rel):
    """The likeliest path has probability e^-800."""
    logits = np.zeros((40, LABELS + 1))
    logits[:, LABELS] = 100
    labels = [0, 1] * 4
    loss, slope = total(net_of(logits, dtype=dtype), **inputs([40], [labels]))
    wanted, gradient = by_the_operator(logits, labels)
    assert 700 < loss < 900 and loss == pytest.approx(wanted, rel=rel)
    np.testing.assert_allclose(slope, gradient, rtol=0, atol=100 * rel)


@pytest.mark.parametrize("frames,labels", [(f, labels) for f, _, labels in NO_PATH])
def test_a_list_that_is_too_long_is_told_and_not_counted(frames, labels):
    """As at the beginning of a stream that was cut out of a longer one."""
    net, given = net_of(drawn(0, frames + 3)), inputs([frames, 3], [labels, [0]])
    loss, slope = total(net, **given)
    scores = net.evaluate(**given)
    assert scores["missed"] * (frames + 3) == 1
    given["ends"][frames - 1] = 0
    first, second = cut(given, 0, frames)
    agree((loss, slope), *(a + b for a, b in zip(total(net, **first), total(net, **second))))


def test_it_learns_in_windows_shorter_than_what_is_said():
    """Streams that nothing starts anew, 16 frames at a time of sequences of 35; heard frame by frame, told nothing."""
    net = rnnc.compile(SAMPLE, hidden=24, longest=speech.LONGEST, threads=1)
    streams = speech.endless(np.random.default_rng(0), 1500 * 16)
    for _ in speech.in_windows(net, rnnc.Adam(net, 0.01, clip_norm=1.0), streams, 16):
        pass
    test = speech.speech(np.random.default_rng(1), 60)
    x, spoken = np.concatenate(test["x"]), [int(k) for labels in test["spoken"] for k in labels]
    heard = speech.overheard(net, x, as_it_comes=True)
    assert heard == speech.overheard(net, x)
    assert speech.changes(heard, spoken) < 0.02 * len(spoken)
