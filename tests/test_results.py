"""The harness of tests/results/, on an experiment of no time; and that each experiment's program compiles as far as a
graph. The results themselves are run by hand: python tests/results/run.py."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from results import clocks, copying, forecasts, grammars, harness, long_lags, recordings, speech, texts

from rnnc import pipeline
from rnnc.errors import Source

RUN = Path(__file__).parent / "results" / "run.py"
TEXTS = {"adder": long_lags.ADDER, "order": long_lags.ORDER, "reader": grammars.READER, "counter": grammars.COUNTER,
         "listener": speech.LISTENER, "generator": clocks.GENERATOR, "speakers": recordings.SPEAKERS,
         "digits": recordings.READERS.replace("CELL", recordings.BOTH), "follower": forecasts.FOLLOWER,
         "glass": forecasts.GLASS, "foreteller": forecasts.FORETELLER, "copier": copying.COPIER,
         **{name: long_lags.variant(changes) for name, changes in long_lags.VARIANTS.items()}}


@pytest.fixture
def halves(monkeypatch):
    """An experiment whose seeds give 0, 1/2, 1, ..."""
    monkeypatch.setattr(harness, "EXPERIMENTS", {})

    @harness.experiment(known="at most 1", seeds=3, judge=harness.at_most("error", 1.0, ".1f"))
    def half_of(seed):
        """A number
        halved"""
        return {"error": seed / 2}
    return harness.EXPERIMENTS["half-of"]


def test_an_experiment_becomes_a_row(halves, tmp_path):
    record = harness.perform(halves)
    assert (record.measured, record.reproduced, record.seeds) == ("0.5 (0.0 to 1.0); 3 of 3", True, 3)
    assert record.task == "A number halved" and record.found == {"error": [0.0, 0.5, 1.0]}
    text = harness.keep(tmp_path, {"half-of": record}, ["half-of"])
    assert "| A number halved | at most 1 | 0.5 (0.0 to 1.0); 3 of 3 | yes | 3 | 0 s |" in text
    assert (tmp_path / "results.md").read_text() == text and harness.kept(tmp_path) == {"half-of": record}
    assert json.loads((tmp_path / "results.json").read_text())["results"][0]["name"] == "half-of"


def test_one_bad_seed_is_told(halves):
    record = harness.perform(halves, seeds=4)
    assert not record.reproduced and record.measured == "0.8 (0.0 to 1.5); 3 of 4"
    assert "| **no** |" in harness.table([record])


def test_other_rows_stay(halves, tmp_path):
    old = harness.Record("other", "t", "k", "m", True, 1, 1.0, {})
    harness.keep(tmp_path, {"other": old}, ["other"])
    harness.keep(tmp_path, harness.kept(tmp_path) | {"half-of": harness.perform(halves)}, ["half-of", "other"])
    assert list(harness.kept(tmp_path)) == ["half-of", "other"]


@pytest.mark.parametrize("name", TEXTS)
def test_programs_of_experiments_are_right(name):
    assert pipeline.elaborated(Source(f"{name}.rnn", TEXTS[name])).nodes


def test_the_command_lists_and_refuses():
    said = subprocess.run([sys.executable, RUN, "--list", "adding"], capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout.startswith("adding: Adding problem")
    said = subprocess.run([sys.executable, RUN, "addnig"], capture_output=True, text=True)
    assert said.returncode == 2 and "no such experiment: addnig; there is " in said.stderr


def test_all_series_are_of_one_system():
    """One mean is taken from all of them: with a mean of its own each would follow an equation of its own, which made
    the reservoirs err several times as much as the known ones."""
    x = forecasts.mackey_glass(0, frames=500)
    assert abs(x.mean()) < 1e-12 < 1e-4 < abs(x.mean(axis=0)).min()


def test_what_is_written_in_a_file(tmp_path):
    """Docstrings, and comments in blocks; nothing of a file that is no program."""
    path = tmp_path / "a.py"
    path.write_text('"""One,\n\n   two."""\n\n# three\n#  four\nx = "no"   # aside\n\nif x:\n    # five\n    x = 1\n')
    assert [texts.plain(one) for one in texts.written(path)] == ["One, two.", "three four", "five"]
    path.write_text("print 1  # an old one\n")
    assert texts.written(path) == []


def test_answers_of_tasks():
    x, y = grammars.counted(2, 3)
    assert x.tolist() == [0, 1, 1, 1, 2, 2, 2] and y[1].tolist() == [0, 1, 1] and y[-1].tolist() == [1, 0, 0]
    assert y[4:6].tolist() == [[0, 0, 1]] * 2 and y[0].tolist() == [0, 1, 0]
    string = "".join(grammars.SYMBOLS[i] for i in grammars.reber(np.random.default_rng(1)))
    assert string[1] == string[-2] and string[0] + string[2] + string[-3] + string[-1] == "BBEE"
    assert speech.heard(np.array([6, 2, 2, 6, 2, 0])) == [2, 2, 0] and speech.changes([1, 2, 3], [2, 3, 4]) == 2
    batch = long_lags.addends(10, 4)(np.random.default_rng(0))
    assert (batch["x"][:, :, 1].sum(axis=0) == 2).all()
