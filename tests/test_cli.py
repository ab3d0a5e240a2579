"""Every command on programs, as it is typed: results on stdout, messages on stderr, exit codes, never a traceback."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import BAD, GOOD, SMALL, rnnc

import rnnc as package

# ------------------------------------------------------------------------------------------------ check

def test_check_passes_a_good_program(tmp_path):
    (tmp_path / "good.rnn").write_text(GOOD)
    done = rnnc("check", "good.rnn", cwd=tmp_path)
    assert done.stdout == "" and "no faults" in done.stderr


def test_check_tells_every_fault_with_its_place(tmp_path):
    (tmp_path / "bad.rnn").write_text(BAD)
    done = rnnc("check", "bad.rnn", cwd=tmp_path, code=1)
    assert re.search(r"^bad\.rnn:3:9: error E\d{4}: ", done.stdout, re.M)
    assert re.search(r"^bad\.rnn:4:13: error E\d{4}: ", done.stdout, re.M)
    assert "2 faults" in done.stderr


def test_check_calls_stdin_by_one_name():
    assert rnnc("check", "-", input=BAD, code=1).stderr == "2 faults in <stdin>\n"
    assert rnnc("check", "-", input=GOOD).stderr == "<stdin>: no faults\n"


def test_check_reads_stdin_and_writes_json():
    found = json.loads(rnnc("check", "-", "--format", "json", input=BAD, code=1).stdout)
    assert [(d["path"], d["line"], d["column"]) for d in found] == [("<stdin>", 3, 9), ("<stdin>", 4, 13)]
    assert all(d["code"].startswith("E") and d["message"] and "^" in d["excerpt"] for d in found)
    assert json.loads(rnnc("check", "-", "--format", "json", input=GOOD).stdout) == []


def test_check_looks_at_every_model_of_a_file():
    two = BAD + BAD.replace("model m", "model k").replace("nothing", "naught")
    done = rnnc("check", "-", input=two, code=1)
    assert "nothing" in done.stdout and "naught" in done.stdout


def test_check_looks_at_the_names_of_a_library():
    assert "no faults" in rnnc("check", "-", input="fn half(x) = x / 2\n").stderr
    assert "<stdin>:1:14: error E0201" in rnnc("check", "-", input="fn half(x) = y / 2\n", code=1).stdout
    for asked in (("-D", "q=3"), ("--model", "m")):                                # they were taken for granted
        assert "error E0601" in rnnc("check", "-", *asked, input="fn half(x) = x / 2\n", code=1).stdout


def test_check_takes_sizes_and_samples():
    rnnc("check", "charlm", "-D", "hidden=12")
    rnnc("check", "charlm.rnn")
    assert "E0" in rnnc("check", "charlm", "-D", "nonsense=1", code=1).stdout


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "x.rnn").write_bytes(b"model m() {\n\xff\n}")
    assert "x.rnn:2:1: error E0101: this is not UTF-8" in rnnc("show", "x.rnn", cwd=tmp_path, code=1).stderr
    (tmp_path / "y.rnn").write_bytes(b"\xef\xbb\xbfmodel m {\n  # \xc3\xa4 and \xe4\n}")
    assert rnnc("check", "y.rnn", cwd=tmp_path, code=1).stdout == (
        "y.rnn:2:11: error E0101: this is not UTF-8 text: byte e4\n    2 |   # \u00e4 and \ufffd\n"
        "      |           ^\n  hint: save the file as UTF-8\n")
    found, = json.loads(rnnc("check", "-", "--format", "json", input=b"model m() {\n\xff\n}", code=1).stdout)
    assert (found["path"], found["line"], found["column"]) == ("<stdin>", 2, 1)


def test_colours_only_on_a_terminal(monkeypatch):
    assert "\033" not in rnnc("check", "-", input=BAD, code=1, NO_COLOR="").stdout


# ------------------------------------------------------------------------------------------------ usage

def test_a_wait_tells_its_seconds(monkeypatch, capsys):
    from rnnc.cli import console
    monkeypatch.setattr(console, "PATIENCE", 0.1)
    with console.patience("compiling net", True):
        time.sleep(0.8)
    assert re.search(r"\rcompiling net: \d+ s", capsys.readouterr().err)


def test_an_unknown_file_is_answered_with_near_ones(tmp_path):
    (tmp_path / "network.rnn").write_text(GOOD)
    assert "did you mean network.rnn?" in rnnc("check", "netwrk.rnn", cwd=tmp_path, code=2).stderr
    assert "did you mean charlm?" in rnnc("check", "charml", cwd=tmp_path, code=2).stderr
    assert "shipped samples: " in rnnc("check", "zzzzzz", cwd=tmp_path, code=2).stderr
    assert "folder" in rnnc("check", ".", cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize("line", [
    ("check",), ("frobnicate",), ("check", "charlm", "--wrong"), ("show", "charlm", "--after", "lunch"),
    ("build", "charlm"), ("build", "charlm", "-o", "x", "--emit", "pascal"),
    ("build", "charlm", "-o", "x", "--prefix", "3a"), ("check", "charlm", "-D", "hidden"),
    ("check", "charlm", "-D", "hidden=many"), ("check", "charlm", "-D", "hidden=1e400"),
    ("train", "charlm", "--epochs", "0"), ("train", "charlm", "--lr", "-1"),
    ("train", "charlm", "--text", "missing.txt"), ("train", "moving_average"), ("train", "charlm", "--set", "x"),
    ("train", "moving_average", "--set", "x=a.npy", "--set", "x=b.npy"),
    ("generate", "nowhere"), ("eval", "nowhere"), ("run", "nowhere"), ("new", "1st"),
    ("new", ""), ("new", "int"), ("new", "model"), ("train", "charlm", "--plot", "curve.txt"),
    ("generate", "nowhere", "--temperature", "nan"), ("generate", "nowhere", "--temperature", "-1"),
    ("graph", "charlm", "-o", "x.gif"),
    ("explain", "charlm", "--streams", "0"), ("bench", "charlm", "--threads", "1,x"),
    ("import", "model.onnx"), ("import", "none.pt", "charlm", "-o", "x"), (),
], ids=" ".join)
def test_wrong_use(line, tmp_path):
    done = rnnc(*line, cwd=tmp_path, code=2)
    assert done.stdout == "" and done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("line", [("train", "charlm"), ("generate", "nowhere")], ids=" ".join)
def test_seeds_end_below_2_to_the_63(line, tmp_path):
    done = rnnc(*line, "--seed", 2**63, cwd=tmp_path, code=2)
    assert "argument --seed: 9223372036854775808 is not below 2^63" in done.stderr and not list(tmp_path.iterdir())


def test_help_and_version():
    assert rnnc("--version").stdout.startswith("rnnc ")
    listed = rnnc("--help").stdout
    for command in "check build show graph explain train eval run generate bench import new".split():
        assert re.search(rf"^ +{command} ", listed, re.M)
        if command != "import":
            assert f"rnnc {command}" in rnnc(command, "--help").stdout


def test_a_bug_of_ours_is_an_apology(tmp_path, monkeypatch, capsys):
    from rnnc.cli import app, program
    monkeypatch.setattr(program, "find", lambda name: 1 / 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert app.main(["check", "charlm"]) == 70
    said = capsys.readouterr().err
    assert "sorry" in said and "ZeroDivisionError" in said and "Traceback" not in said
    assert "Traceback" in next(tmp_path.glob("rnnc-bug-*.txt")).read_text()
    monkeypatch.setenv("RNNC_TRACEBACK", "1")
    assert app.main(["check", "charlm"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_while_the_commands_are_read_is_no_traceback(tmp_path):
    """A module that all of them import is in the way, and is stopped."""
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    assert rnnc("check", "charlm", code=130, PYTHONPATH=str(tmp_path)).stderr == "rnnc: stopped\n"


def test_a_missing_c_compiler_is_code_3(tmp_path):
    done = rnnc("build", "charlm", *SMALL, "-o", tmp_path / "out", "--emit", "shared", code=3, CC="no-such-compiler")
    assert "no-such-compiler" in done.stderr and not (tmp_path / "out").exists()


def test_a_reader_that_leaves_early_is_no_fault():
    command = f"'{sys.executable}' -m rnnc show charlm -D hidden=8 --after c | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.startswith("/* charlm") and done.stderr == ""


# ------------------------------------------------------------------------------------------------ show, graph, new

@pytest.mark.parametrize("stage", ["tree", "graph", "gradient", "loops", "schedule", "memory", "c"])
def test_show(stage):
    first, again = (rnnc("show", "charlm", *SMALL, "--after", stage).stdout for _ in range(2))
    assert first == again and len(first.splitlines()) > 3
    assert str(Path.home()) not in first and "0x7f" not in first


def test_show_tree_is_a_program_again():
    text = rnnc("show", "charlm", "--after", "tree").stdout
    assert rnnc("show", "-", "--after", "tree", input=text).stdout == text


def test_show_refuses_what_the_program_does_not_have_after_every_stage():
    for stage in ("tree", "graph"):
        asked = ("show", "charlm", "--after", stage)
        assert "E0212: the model charlm has no size called hiden" in rnnc(*asked, "-D", "hiden=3", code=1).stderr
        assert "E0601: there is no model called other" in rnnc(*asked, "--model", "other", code=1).stderr
    assert "fn f(x)" in rnnc("show", "-", "--after", "tree", input="fn f(x) = x + 1\n").stdout
    assert "E0601" in rnnc("show", "-", "--after", "tree", "-D", "q=3", input="fn f(x) = x + 1\n", code=1).stderr


@pytest.mark.parametrize("kind, sign", [("svg", "<svg"), ("dot", "digraph"), ("html", "<html")])
def test_graph(kind, sign, tmp_path):
    done = rnnc("graph", "own_cell", "-o", f"net.{kind}", cwd=tmp_path)
    assert done.stdout.strip() == f"net.{kind}"
    assert sign in (tmp_path / f"net.{kind}").read_text()
    assert sign in rnnc("graph", "own_cell", "--format", kind).stdout


def test_new_makes_a_program_that_passes(tmp_path):
    assert rnnc("new", "first", cwd=tmp_path).stdout == "first.rnn\n"
    rnnc("check", "first.rnn", cwd=tmp_path)
    text = (tmp_path / "first.rnn").read_text()
    assert "exists already" in rnnc("new", "first.rnn", cwd=tmp_path, code=1).stderr
    assert (tmp_path / "first.rnn").read_text() == text
    assert "hint: rnnc new second\n" in rnnc("new", "second.py", cwd=tmp_path, code=2).stderr
    assert "name is empty" in rnnc("check", "", cwd=tmp_path, code=2).stderr
    assert [p.name for p in tmp_path.iterdir()] == ["first.rnn"]


# ------------------------------------------------------------------------------------------------ build

def compiled(folder: Path, more: tuple = ()) -> str:
    """Compiles and runs the example with the line that stands in it."""
    line = next(part for part in (folder / "main.c").read_text().splitlines() if " cc " in part).strip(" *")
    subprocess.run([*line.split(), "-Wall", "-Wextra", *more], cwd=folder, check=True, capture_output=True)
    return subprocess.run(["./charlm_example"], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_build_everything(tmp_path):
    done = rnnc("build", "charlm", *SMALL, "-o", "out", "--emit", "c,header,static,shared,python,example", cwd=tmp_path)
    written = done.stdout.split()
    assert all((tmp_path / name).is_file() for name in written)
    assert {Path(w).name for w in written} >= {"charlm.c", "charlm.h", "main.c", "libcharlm.a", "libcharlm.so",
                                               "charlm.py"}
    losses = [float(v) for v in re.findall(r"loss (\S+)", compiled(tmp_path / "out"))]
    assert len(losses) == 5 and losses[-1] < losses[0]
    shutil.rmtree(tmp_path / "out" / "charlm_module" / "__pycache__", ignore_errors=True)
    code = "import charlm; print(charlm.load().run(x=[1, 2, 3])['p'].shape)"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True)
    assert found.stdout == "(3, 128)\n", found.stderr


def test_build_for_inference(tmp_path):
    rnnc("build", "charlm", *SMALL, "-o", tmp_path, "--emit", "c,header,example", "--inference", "--no-openmp")
    header = (tmp_path / "charlm.h").read_text()
    assert "charlm_run(" in header and "charlm_backprop" not in header and "charlm_adam" not in header
    assert "-fopenmp" not in (tmp_path / "main.c").read_text()
    assert "loss" not in compiled(tmp_path)


def test_a_processor_that_the_compiler_does_not_know_is_told(tmp_path):
    """C alone may be meant for another compiler."""
    done = rnnc("build", "charlm", *SMALL, "-o", tmp_path, "--target", "z80")
    assert "no processor z80" in done.stderr and "-march=z80" in (tmp_path / "charlm.h").read_text()
    assert not rnnc("build", "charlm", *SMALL, "-o", tmp_path, "--target", "x86-64-v2").stderr


def test_weights_for_another_processor(tmp_path):
    """They were read and written by the code for it: by a compiler that does not know it, or in vain."""
    package.compile(GOOD, gradient=None).save(tmp_path / "w.safetensors")
    (tmp_path / "m.rnn").write_text(GOOD)
    line = ("build", "m.rnn", "--weights", "w.safetensors", "-o")
    rnnc(*line, "here", cwd=tmp_path)
    rnnc(*line, "there", "--target", "z80", cwd=tmp_path)
    assert (tmp_path / "here" / "m.weights").read_bytes() == (tmp_path / "there" / "m.weights").read_bytes()
    said = rnnc(*line, "packed", "--target", "z80", "--embed-weights", cwd=tmp_path, code=1).stderr
    assert said.startswith("rnnc: weights are packed by the code itself, and code for z80 does not run here")
    assert "'native -x' is no processor" in rnnc(*line, "out", "--target", "native -x", cwd=tmp_path, code=2).stderr


def test_build_with_a_prefix(tmp_path):
    rnnc("build", "charlm", *SMALL, "-o", tmp_path, "--prefix", "voice")
    assert "int voice_run(" in (tmp_path / "voice.h").read_text()
    assert "charlm_" not in (tmp_path / "voice.h").read_text()


def test_what_is_built_is_not_called_like_the_headers_of_c(tmp_path):
    """With -I. the compiler would find math.h of a model before its own; elsewhere the name does no harm."""
    (tmp_path / "m.rnn").write_text(GOOD.replace("model m", "model math"))
    said = rnnc("build", "m.rnn", "-o", "out", cwd=tmp_path, code=1).stderr
    assert said.startswith("rnnc: m.rnn: the model is called math, and math.h would hide")
    assert "--prefix math_net" in said
    (tmp_path / "m.rnn").write_text(GOOD)
    for name, kind, why in (("main", "c,header,example", "main.c would be the example as well as the network"),
                            ("numpy", "python", "numpy.py would be imported in place of the package numpy")):
        said = rnnc("build", "m.rnn", "-o", "out", "--emit", kind, "--prefix", name, cwd=tmp_path, code=1).stderr
        assert said.startswith(f"rnnc: {why}") and not (tmp_path / "out").exists()
    for name, why in (("stdint", "stdint.h would hide"), ("Time", "Time.h would hide"), ("immintrin", "would hide"),
                      ("int", "int is a reserved word of C"), ("class", "class is a reserved word of C")):
        assert why in rnnc("build", "m.rnn", "-o", "out", "--prefix", name, cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "out").exists()
    rnnc("build", "m.rnn", "-o", "out", "--prefix", "math_net", cwd=tmp_path)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["math_net.c", "math_net.h"]


def test_build_from_a_checkpoint_knows_its_weights_and_characters(tmp_path, trained):
    rnnc("build", trained, "-o", tmp_path / "a", "--emit", "c,header,example,python")
    rnnc("build", trained, "-o", tmp_path / "b", "--emit", "c,header,example", "--embed-weights", "--inference")
    shown = [compiled(tmp_path / place).splitlines()[0] for place in "ab"]
    assert shown[0] == shown[1]
    assert '"\\012",' in (tmp_path / "a" / "charlm_vocabulary.h").read_text()
    code = "import charlm; n = charlm.load(); print(n.parameters['e.W'].ravel()[:4].tolist())"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "a", capture_output=True, text=True)
    from rnnc.runtime.checkpoint import Checkpoint
    assert json.loads(found.stdout) == Checkpoint.read(trained).parameters["e.W"].ravel()[:4].tolist()


def test_build_refuses_before_it_writes(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    rnnc("build", "charlm", *SMALL, "-o", "out", "--weights", "w.safetensors", cwd=tmp_path, code=1)
    rnnc("build", "charlm", *SMALL, "-o", "out", "--weights", "none.safetensors", cwd=tmp_path, code=2)
    rnnc("build", "charlm", *SMALL, "-o", "out", "--embed-weights", cwd=tmp_path, code=2)
    assert not (tmp_path / "out").exists()


def test_a_second_build_delivers_the_same_files_without_compiling(tmp_path):
    line = ("build", "net.rnn", "--emit", "c,header,shared,static,python,example")
    (tmp_path / "net.rnn").write_text('use "cell.rnn"\n' + GOOD.replace("lstm(n)", "mine(n)"))
    (tmp_path / "cell.rnn").write_text("cell mine(n)(x) { return rnn(n)(x) }")
    compiler, log = tmp_path / "cc.sh", tmp_path / "calls"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {shutil.which("cc")} "$@"\n')
    compiler.chmod(0o755)
    setting = {"RNNC_CACHE": str(tmp_path / "cache"), "CC": str(compiler)}
    rnnc(*line, "-o", "one", cwd=tmp_path, **setting)
    calls = log.read_text()
    assert calls.count("-c m.c") == 1            # one object for both libraries
    again = rnnc(*line, "-o", "two", cwd=tmp_path, **setting)
    files = lambda folder: {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert files(tmp_path / "one") == files(tmp_path / "two") and "two/libm.so" in again.stdout.split()
    assert log.read_text() == calls
    (tmp_path / "cell.rnn").write_text("cell mine(n)(x) { return gru(n)(x) }")         # a used file counts
    rnnc(*line, "-o", "two", cwd=tmp_path, **setting)
    assert (tmp_path / "one" / "m.c").read_bytes() != (tmp_path / "two" / "m.c").read_bytes()
