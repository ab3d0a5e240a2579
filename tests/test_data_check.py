"""Data against a model before any computation: faults are placed in the file, not in a batch."""

import numpy as np
import pytest
from commands import rnnc

from rnnc.errors import InputError
from rnnc.runtime.arrays import Signal
from rnnc.runtime.data.check import check
from rnnc.runtime.data.files import load

EVENTS = """model events {
    input x : [2]
    target ev : class(3)
    target y : flag
    z = dense(3)(x)
    output z
    loss cross_entropy(z, ev)
    loss binary_cross_entropy(dense(1)(x), y)
}
"""
TAKES = {"x": Signal((2,)), "ev": Signal((), "class", 3), "y": Signal((), "flag")}
SPOKEN = {"x": Signal((2,)), "said": Signal((), "labels", 4)}
EACH = {"x": Signal((2,)), "who": Signal((3,), per="sequence"), "ok": Signal((), "flag", per="sequence")}
NAN = float("nan")


def arrays(n: int = 300, **others) -> dict:
    return {"x": np.zeros((n, 2)), "ev": np.zeros(n, int), "y": np.zeros(n)} | others


def with_at(n: int, at: int, value, dtype=float) -> np.ndarray:
    made = np.zeros(n, dtype)
    made[at] = value
    return made


def seen(tmp_path, takes: dict, **found) -> str:
    """What the check of such a file says."""
    np.savez(tmp_path / "d.npz", **found)
    path = str(tmp_path / "d.npz")
    try:
        check(load(path, streams=1, frames=8), takes, {"ev", "y", "said", "ok"}, "float32", lambda name: "d.npz")
    except InputError as fault:
        return fault.message + fault.typed
    return ""


def test_training_names_file_and_frame_before_it_says_anything(tmp_path):
    (tmp_path / "m.rnn").write_text(EVENTS)
    for found, words in (({"ev": with_at(300, 200, 7, int)}, "ev: label 7 at [200] is not in 0..2"),
                         ({"y": with_at(300, 290, 2)}, "y: flags are 0 or 1; 2.0 stands at [290]"),
                         ({"x": np.array(["a"] * 300)}, "x: an array of numbers with an axis of frames is wanted"),
                         ({"z": np.zeros(300)}, "the data has z, which the model does not take"),
                         ({"x": np.zeros((300, 3))}, "x: got shape [300, 3], wanted [300, 2]: one per frame")):
        np.savez(tmp_path / "d.npz", **arrays(**found))
        done = rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 1, cwd=tmp_path, code=1)
        assert done.stdout == "" and done.stderr == f"rnnc: {tmp_path / 'd.npz'}: {words}\n"
    for name, found in arrays(ev=with_at(300, 4, -1, int)).items():
        np.save(tmp_path / f"{name}.npy", found)
    each = [part for name in TAKES for part in ("--set", f"{name}={name}.npy")]
    done = rnnc("train", "m.rnn", *each, "--epochs", 1, cwd=tmp_path, code=1)
    assert f"{tmp_path / 'ev.npy'}: ev: label -1 at [4] is not in 0..2; where an array `weight`" in done.stderr
    np.save(tmp_path / "ev.npy", np.array(["a"] * 300))
    done = rnnc("train", "m.rnn", *each, "--epochs", 1, cwd=tmp_path, code=1)
    assert done.stderr == f"rnnc: {tmp_path / 'ev.npy'}: an array of numbers with an axis of frames is wanted\n"
    np.savez(tmp_path / "d.npz", **arrays(y=with_at(300, 7, NAN), weight=1 - with_at(300, 7, 1)))
    rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 1, cwd=tmp_path)
    np.savez(tmp_path / "bad.npz", **arrays(ev=with_at(300, 200, 7, int)))
    done = rnnc("eval", "m-run", "--data", "bad.npz", cwd=tmp_path, code=1)
    assert done.stderr.endswith("bad.npz: ev: label 7 at [200] is not in 0..2\n")


@pytest.mark.parametrize("others, words", [
    ({}, ""),
    ({"ev": np.zeros((300, 1), int), "y": np.zeros((300, 1), bool)}, ""),
    ({"ev": np.zeros(300)}, "d.npz: ev: integer labels are wanted, not float64"),
    ({"ev": np.zeros((300, 2), int)}, "d.npz: ev: got shape [300, 2], wanted [300]: one per frame"),
    ({"y": with_at(300, 3, NAN)}, "d.npz: y: flags are 0 or 1; nan stands at [3]; where an array `weight` in the data "
                                  "is 0 it may be"),
    ({"weight": with_at(300, 3, NAN)}, "d.npz: weight: every weight has to be a finite number; nan stands at [3]"),
    ({"weight": np.zeros((300, 2))}, "d.npz: weight: got shape [300, 2], wanted [300]: one per frame"),
    ({"x": np.full((300, 2), 1e39)}, "d.npz: x: holds numbers beyond float32, whose largest is 3.4e+38"),
])
def test_recordings(tmp_path, others, words):
    assert seen(tmp_path, TAKES, **arrays(**others)) == words


@pytest.mark.parametrize("others, words", [
    ({}, ""),
    ({"y": with_at(20, 12, NAN), "weight": 1 - with_at(20, 12, 1)}, ""),
    ({"ev": with_at(20, 12, 3, int)}, "d.npz: ev, sequence 2: label 3 at [4] is not in 0..2"),
    ({"y": with_at(20, 0, 5)}, "d.npz: y, sequence 0: flags are 0 or 1; 5.0 stands at [0]"),
    ({"x": np.zeros((20, 3))}, "d.npz: x: got shape [20, 3], wanted [20, 2]: one per frame"),
    ({"x": np.zeros((3, 2))}, "d.npz: x: got shape [3, 2], wanted [20, 2]: one per frame"),
])
def test_sequences(tmp_path, others, words):
    assert seen(tmp_path, TAKES, lengths=np.array([5, 3, 12]), **arrays(20, **others)) == words


@pytest.mark.parametrize("others, words", [
    ({}, ""),
    ({"who": np.zeros((2, 4))}, "d.npz: who: got shape [2, 4], wanted [2, 3]: one per sequence"),
    ({"who": np.zeros((9, 3))}, "d.npz: who: got shape [9, 3], wanted [2, 3]: one per sequence"),
    ({"ok": np.array([0, 4])}, "d.npz: ok: flags are 0 or 1; 4 stands at [1]"),
    ({"ok": np.array([0, NAN]), "weight": np.zeros(9)}, ""),
    ({"ok": np.array([0, 0, 1, 1]), "ok_lengths": np.array([1, 3])},
     "d.npz: ok: got shape [4], wanted [2]: one per sequence"),
])
def test_values_per_sequence(tmp_path, others, words):
    found = {"x": np.zeros((9, 2)), "who": np.zeros((2, 3)), "ok": np.zeros(2)} | others
    assert seen(tmp_path, EACH, lengths=np.array([4, 5]), **found) == words
    assert seen(tmp_path, EACH, starts=with_at(9, 4, 1, int), **found) == words


@pytest.mark.parametrize("labels, counts, words", [
    ([1, 3, 3, 2], [1, 3], ""),
    ([1, 3, 4, 2], [1, 3], "d.npz: said[1]: label 4 at [1] is not in 0..3"),
    ([1, 1, 2, 3], [3, 1], "d.npz: said[0]: 3 labels need at least 4 frames, and the sequence has 3; weight 0 at its "
                           "last frame leaves it out of the loss"),
])
def test_lists_of_labels(tmp_path, labels, counts, words):
    found = {"x": np.zeros((9, 2)), "said": np.array(labels), "said_lengths": np.array(counts)}
    assert seen(tmp_path, SPOKEN, lengths=np.array([3, 6]), **found) == words
    if "need" in words:
        assert seen(tmp_path, SPOKEN, lengths=np.array([3, 6]), weight=1 - with_at(9, 2, 1), **found) == ""
    else:
        assert seen(tmp_path, SPOKEN, starts=with_at(9, 3, 1, int), **found) == words
