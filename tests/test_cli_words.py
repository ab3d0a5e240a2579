"""What the command line says to who is wrong: flags, where Python has arguments, and what was nearly meant."""

import numpy as np
import pytest
from commands import GOOD, rnnc

import rnnc as package
from rnnc.errors import InputError, NumberError

# ------------------------------------------------------------------------------------------------ flags, not arguments

LABELS = GOOD.replace("[3]", "class(3)").replace("[n]", "class(n)").replace("(x)", "(one_hot(x))").replace(
    "mse", "cross_entropy")


@pytest.fixture
def programs(tmp_path):
    """m.rnn and labels.rnn, with data for them and weights of the other one."""
    (tmp_path / "m.rnn").write_text(GOOD)
    (tmp_path / "labels.rnn").write_text(LABELS)
    (tmp_path / "two.rnn").write_text(GOOD + GOOD.replace("model m(n = 4)", "model k(n)"))
    x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=x[:, [0, 1, 2, 0]])
    np.savez(tmp_path / "labels.npz", x=np.arange(200) % 3, y=np.where(np.arange(200) % 5, 1, -1))
    np.savez(tmp_path / "weighted.npz", x=np.arange(200) % 3, y=np.ones(200, int), weight=np.arange(200) % 5 > 0)
    np.save(tmp_path / "x.npy", x)
    package.compile(LABELS.replace("lstm", "gru"), gradient=None).save(tmp_path / "other.safetensors")
    return tmp_path


@pytest.mark.parametrize("line,said", [
    ("train labels.rnn --data labels.npz", "; where an array `weight` in the data is 0, which leaves "),
    ("train m.rnn --data x.npy", " (--text takes a text, --set one .npy or .wav for each signal)\n"),
    ("run m.rnn --weights other.safetensors", "here (in Python net.load has rename= and strict=False; of another "),
    ("check two.rnn --model k", "  hint: give one: n = ..., or -D n=... on the command line\n"),
    ("explain two.rnn", '  hint: model="m", or --model m on the command line\n'),
])
def test_advice_names_flags(programs, line, said):
    done = rnnc(*line.split(), cwd=programs, code=1)
    assert said in done.stdout + done.stderr


@pytest.mark.parametrize("line,said", [
    ("trian m.rnn", "did you mean train?"), ("train m.rnn --tread 2", "did you mean --threads?"),
    ("train m.rnn --optimizer adm", "did you mean adam?"), ("check m.rnn --frmat=json", "did you mean --format?"),
    ("build m.rnn --outptu x", "did you mean --output?"), ("train m.rnn -epochs 3", "did you mean --epochs?"),
    ("show m.rnn --after graf", "did you mean graph?"),
])
def test_misspelt_commands_and_flags_are_answered_with_near_ones(line, said):
    done = rnnc(*line.split(), code=2)
    assert done.stderr.endswith(f"\n  hint: {said}\n") and done.stderr.startswith("usage: rnnc")


@pytest.mark.parametrize("line", ["train m.rnn --epoch 0", "check -Dn=3 --format text", "check m.rnn --zzz", ""])
def test_no_hint_where_the_spelling_is_right_or_past_help(line):
    assert "hint" not in rnnc(*line.split(), code=2).stderr


@pytest.mark.parametrize("line,said", [
    ("train m.rnn --data d.npz --log m.rnn/log.csv", "no file can be made in {}/m.rnn: Not a directory"),
    ("train m.rnn --data d.npz --plot folder.svg", "folder.svg: a folder, where a file is to be written"),
    ("train m.rnn --data d.npz --checkpoint m.rnn/run", "no file can be made in m.rnn: Not a directory"),
    ("build m.rnn -o m.rnn/out", "no file can be made in m.rnn: Not a directory"),
    ("graph m.rnn -o m.rnn/net.svg", "no file can be made in {}/m.rnn: Not a directory"),
    ("import other.safetensors m.rnn -o folder.svg", "folder.svg: a folder, where a file is to be written"),
])
def test_what_cannot_be_written_is_told_before_any_work(programs, line, said):
    (programs / "folder.svg").mkdir()
    before = sorted(programs.rglob("*"))
    assert rnnc(*line.split(), cwd=programs, code=2).stderr == f"rnnc: {said.format(programs)}\n"
    assert sorted(programs.rglob("*")) == before


@pytest.mark.parametrize("line,said", [
    ("check m.rnn -D n=3 -D n=4", "argument -D: n is given twice, as 3 and as 4"),
    ("import other.safetensors m.rnn -o w.safetensors --map a=h --map a=k", "a is given twice, as h and as k"),
    ("import other.safetensors m.rnn -o w.safetensors --map =h", "write it as THERE=HERE"),
])
def test_a_value_is_given_once(programs, line, said):
    assert said in rnnc(*line.split(), cwd=programs, code=2).stderr
    rnnc("check", "m.rnn", "-D", "n=3", "-D", "n=3", cwd=programs)


def test_a_checkpoint_says_where_its_program_is(programs):
    rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 1, "--checkpoint", "ck", cwd=programs)
    said = rnnc("check", "ck", cwd=programs, code=2).stderr
    assert said == "rnnc: ck is a checkpoint, not a program\n  hint: its program: ck/program/m.rnn\n"
    assert rnnc("show", ".", cwd=programs, code=2).stderr == \
        "rnnc: . is a folder, not a program\n"


def test_capitals_in_the_name_of_a_picture(programs):
    assert rnnc("graph", "m.rnn", "-o", "a.SVG", cwd=programs).stdout == "a.SVG\n"


def test_names_of_files_are_told_as_they_are(programs):
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert rnnc("check", "mü.rnn", cwd=programs, code=2, **bare).stderr.startswith("rnnc: no such file: mü.rnn\n")


def test_what_the_model_does_not_take_is_told_before_its_length(programs):
    """Such as a vocabulary beside the signals; lengths and starts are no signals, nor are lengths of lists."""
    both = {"x": np.zeros((200, 3)), "y": np.zeros((200, 4))}
    np.savez(programs / "more.npz", **both, vocabulary=np.zeros(7), starts=np.zeros(200))
    np.savez(programs / "whole.npz", **both, lengths=[100, 100], weights=np.zeros(7), y_lengths=[100, 100])
    np.save(programs / "z.npy", np.zeros(7))
    for data, name, place in (("--data more.npz", "vocabulary", f"{programs / 'more.npz'}: "),
                              ("--data whole.npz", "weights", f"{programs / 'whole.npz'}: "),
                              ("--set x=x.npy --set y=x.npy --set z=z.npy", "z", "")):
        said = rnnc("train", "m.rnn", *data.split(), "--epochs", 1, cwd=programs, code=1).stderr
        assert said == f"rnnc: {place}the data has {name}, which the model does not take\n"


def test_data_may_weigh_frames(programs):
    assert "epoch 1/1: " in rnnc("train", "labels.rnn", "--data", "weighted.npz", "--epochs", 1, "--streams", 1,
                                 cwd=programs).stdout
    assert "frames: 16\n" in rnnc("eval", "labels-run", cwd=programs).stdout               # of the 20 held out


def test_a_run_that_does_not_go_on_names_another_folder(programs, monkeypatch, capsys):
    """By the same settings, of a compiler that makes another graph of the program."""
    from rnnc.cli import app
    from rnnc.runtime.fit import Run
    monkeypatch.chdir(programs)
    line = ["train", "m.rnn", "--data", "d.npz", "--epochs"]
    assert app.main([*line, "1"]) == 0
    before = Run.identity
    monkeypatch.setattr(Run, "identity", lambda run: before(run) | {"graph": "another"})
    assert app.main([*line, "2"]) == 1
    assert capsys.readouterr().err.endswith("another network; --checkpoint names another folder\n")


def test_advice_in_python_names_arguments(tmp_path):
    with pytest.raises(InputError, match=r"or \.csv \(text: rnnc.data.text; sound: rnnc.data.wav\)$"):
        package.data.load(tmp_path / "x.npy")
    from rnnc.runtime.fit import no_number
    fault = no_number(float("inf"), 3, {"x": np.ones(2)})
    assert isinstance(fault, NumberError) and "try a lower learning rate or clip_norm, or check" in str(fault)
    assert fault.message + fault.typed == ("the loss is inf in update 3; try a lower --lr or --clip-norm, or, in "
                                           "Python, check_numbers=True when compiling, which tells where it began")


SCORES = """model m {
    input x : [2]   input k : class(3)
    q = dense(3)(x) + one_hot(k)
    output q
    output best = argmax(q)
    output sure = max(q)
}
"""


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores")
    (path / "m.rnn").write_text(SCORES)
    package.compile(SCORES, gradient=None).save(path / "w.safetensors")
    return path


@pytest.mark.parametrize("line,said", [
    ('{"x": [1], "k": 0}', "stdin line 1: x: got shape [1], wanted [2]\n"),
    ('{"x": [1, 2], "k": "a"}', 'stdin line 1: k: "a" is not an array of numbers\n'),
    ('{"x": [1, [2]], "k": 0}', "stdin line 1: x: [1, [2]] is not an array of numbers\n"),
    ('{"x": [1, null], "k": 0}', "stdin line 1: x: [1, null] is not an array of numbers\n"),
    ('{"x": [1, 2], "k": 0, "starts": 1}', "stdin line 1: the model has no input starts; it takes x, k\n"),
    ("[1, 2, 0]", "stdin line 1: an object with one entry per input is wanted: x, k\n"),
    ("{'x': 1}", "stdin line 1: this is not JSON (Expecting property name"),
    ('{"x": [1, 2], "k": -1}', "stdin line 1: k: label -1 at [0] is not in 0..2\n"),       # no loss to leave it out of
])
def test_what_is_wrong_in_a_line_of_json_is_named(scores, line, said):
    ask = ("run", "m.rnn", "--weights", "w.safetensors", "--format", "json")
    assert said in rnnc(*ask, cwd=scores, input=line + "\n", code=1).stderr


def test_the_likeliest_class_of_a_label_is_the_label(scores):
    """It was always 0, as that of any single number."""
    ask = ("run", "m.rnn", "--weights", "w.safetensors", "--format", "label")
    found = rnnc(*ask, "--output", "q", "--output", "best", cwd=scores, input="0 0 0\n0 0 1\n0 0 2\n").stdout
    assert found == "0 0\n1 1\n2 2\n"
    assert "the output sure is one number, not a score for each class" in \
        rnnc(*ask, cwd=scores, input="0 0 0\n", code=2).stderr


def test_a_command_that_is_told_can_be_pasted(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat\n" * 40)
    ask = ("train", "charlm", "--text", "t.txt", "-D", "hidden=8", "-D", "layers=1", "--epochs", 1)
    said = rnnc(*ask, "--checkpoint", "a run", cwd=tmp_path)
    assert "rnnc generate 'a run' --length" in said.stdout + said.stderr
