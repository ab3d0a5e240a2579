"""Every command, as it is typed: results on stdout, messages on stderr, the exit code, and no traceback ever."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SMALL = ("-D", "hidden=8", "-D", "layers=1")
GOOD = """model m(n = 4) {
    input x : [3]
    target y : [n]
    h = lstm(n)(x)
    output h
    loss mse(h, y)
}
"""
BAD = "model m() {\n    input x : [3]\n    h = foo(x)\n    k = h + nothing\n    output h\n}\n"


def rnnc(*arguments, cwd=None, code: int = 0, input: str | bytes = "", **environment) -> subprocess.CompletedProcess:
    """Runs a command and holds it to its exit code; `.stdout` and `.stderr` are text."""
    data = input.encode() if isinstance(input, str) else input
    done = subprocess.run([sys.executable, "-m", "rnnc", *map(str, arguments)], cwd=cwd, input=data,
                          capture_output=True, env=os.environ | environment)
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture(scope="session")
def lesson(tmp_path_factory) -> Path:
    """A text that is easily learned."""
    path = tmp_path_factory.mktemp("lesson") / "lesson.txt"
    path.write_text("the cat sat on the mat.\n" * 400)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, lesson) -> Path:
    """A checkpoint of a small text model."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = rnnc("train", "charlm", "--text", lesson, "-D", "hidden=24", "-D", "layers=1", "--epochs", 6, "--streams", 4,
                "--frames", 24, "--lr", "0.02", "--checkpoint", folder)
    assert "sha256" in done.stdout and "9,600 characters, 12 different ones" in done.stdout
    assert len(re.findall(r"^epoch \d/6: .* bits per character, held out ", done.stdout, re.M)) == 6
    assert f"rnnc generate {folder}" in done.stdout
    return folder


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


def test_check_reads_stdin_and_writes_json():
    found = json.loads(rnnc("check", "-", "--format", "json", input=BAD, code=1).stdout)
    assert [(d["path"], d["line"], d["column"]) for d in found] == [("<stdin>", 3, 9), ("<stdin>", 4, 13)]
    assert all(d["code"].startswith("E") and d["message"] and "^" in d["excerpt"] for d in found)
    assert json.loads(rnnc("check", "-", "--format", "json", input=GOOD).stdout) == []


def test_check_looks_at_every_model_of_a_file():
    two = BAD + BAD.replace("model m", "model k").replace("nothing", "naught")
    done = rnnc("check", "-", input=two, code=1)
    assert "nothing" in done.stdout and "naught" in done.stdout


def test_check_takes_sizes_and_samples():
    rnnc("check", "charlm", "-D", "hidden=12")
    rnnc("check", "charlm.rnn")
    assert "E0" in rnnc("check", "charlm", "-D", "nonsense=1", code=1).stdout


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "x.rnn").write_bytes(b"model m() {\n\xff\n}")
    assert "x.rnn:2: this is not UTF-8" in rnnc("check", "x.rnn", cwd=tmp_path, code=1).stderr


def test_colours_only_on_a_terminal(monkeypatch):
    assert "\033" not in rnnc("check", "-", input=BAD, code=1, NO_COLOR="").stdout


# ------------------------------------------------------------------------------------------------ usage

def test_an_unknown_file_is_answered_with_near_ones(tmp_path):
    (tmp_path / "network.rnn").write_text(GOOD)
    assert "did you mean network.rnn?" in rnnc("check", "netwrk.rnn", cwd=tmp_path, code=2).stderr
    assert "did you mean charlm?" in rnnc("check", "charml", cwd=tmp_path, code=2).stderr
    assert "shipped samples: " in rnnc("check", "zzzzzz", cwd=tmp_path, code=2).stderr
    assert "folder" in rnnc("check", ".", cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize("line", [
    ("check",), ("frobnicate",), ("check", "charlm", "--wrong"), ("show", "charlm", "--after", "lunch"),
    ("build", "charlm"), ("build", "charlm", "-o", "x", "--emit", "pascal"), ("check", "charlm", "-D", "hidden"),
    ("check", "charlm", "-D", "hidden=many"), ("train", "charlm", "--epochs", "0"), ("train", "charlm", "--lr", "-1"),
    ("train", "charlm", "--text", "missing.txt"), ("train", "moving_average"), ("train", "charlm", "--set", "x"),
    ("generate", "nowhere"), ("eval", "nowhere"), ("run", "nowhere"), ("new", "1st"),
    ("graph", "charlm", "-o", "x.gif"),
    ("explain", "charlm", "--streams", "16"), ("bench", "charlm", "--json"), ("import", "model.onnx"), (),
], ids=" ".join)
def test_wrong_use(line, tmp_path):
    done = rnnc(*line, cwd=tmp_path, code=2)
    assert done.stdout == "" and done.stderr
    assert not list(tmp_path.iterdir())


def test_help_and_version():
    assert rnnc("--version").stdout.startswith("rnnc ")
    listed = rnnc("--help").stdout
    for command in "check build show graph explain train eval run generate bench import new".split():
        assert re.search(rf"^ +{command} ", listed, re.M)
        if command not in ("explain", "bench", "import"):
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


def test_build_with_a_prefix(tmp_path):
    rnnc("build", "charlm", *SMALL, "-o", tmp_path, "--prefix", "voice")
    assert "int voice_run(" in (tmp_path / "voice.h").read_text()
    assert "charlm_" not in (tmp_path / "voice.h").read_text()


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


# ------------------------------------------------------------------------------------------------ train and after

def test_a_checkpoint_needs_nothing_else(trained, lesson, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    assert {p.name for p in moved.iterdir()} >= {"job.json", "program", "held.npz", "log.csv", "curve.svg"} or \
           (moved / "curve.png").exists()
    found = json.loads(rnnc("eval", moved, "--format", "json", cwd=tmp_path).stdout)
    assert found["bits per character"] < 2 and found["frames"] > 900
    assert "loss: " in rnnc("eval", moved, "--text", lesson).stdout


def test_generate(trained):
    ask = ("generate", trained, "--prompt", "the ", "--length", 40)
    first = rnnc(*ask, "--temperature", 0).stdout
    assert first.startswith("the ") and len(first) == 45
    assert rnnc(*ask, "--top-k", 1, "--seed", 9).stdout == first
    assert rnnc(*ask, "--seed", 1).stdout == rnnc(*ask, "--seed", 1).stdout
    assert rnnc("generate", trained, "--length", 0).stdout == "\n"
    assert "'Q'" in rnnc("generate", trained, "--prompt", "Q", code=1).stderr


def test_run_answers_every_frame(trained):
    text = "the cat"
    lines = rnnc("run", trained, input=text).stdout.splitlines()
    assert len(lines) == len(text) and all(len(part.split()) == 12 for part in lines)
    assert abs(sum(map(float, lines[0].split())) - 1) < 1e-5
    best = rnnc("run", trained, "--format", "label", input=text).stdout.splitlines()
    assert len(best) == len(text)
    rows = [json.loads(part)["p"] for part in rnnc("run", trained, "--format", "json", input=text).stdout.splitlines()]
    assert np.allclose(rows, [[float(v) for v in part.split()] for part in lines])
    assert "UTF-8" in rnnc("run", trained, input=b"the \xff", code=1).stderr


def test_run_does_not_wait_for_the_end_of_stdin(trained):
    command = [sys.executable, "-m", "rnnc", "run", str(trained), "--format", "label"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        for character in b"the":
            running.stdin.write(bytes([character]))
            running.stdin.flush()
            assert running.stdout.readline().endswith(b"\n")
        running.stdin.close()
        assert running.stdout.read() == b"" and running.wait() == 0


def test_a_program_from_stdin_is_kept(lesson, tmp_path):
    text = rnnc("show", "charlm", "--after", "tree").stdout
    rnnc("train", "-", "--text", lesson, "-D", "hidden=24", "-D", "layers=1", "--epochs", 1, cwd=tmp_path, input=text)
    assert (tmp_path / "model-run" / "program" / "model.rnn").read_text() == text
    rnnc("eval", "model-run", cwd=tmp_path)


def test_used_files_are_kept(lesson, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "mine.rnn").write_text("cell mine(n)(x) {\n param W : [n, dim(x)]\n h = tanh(W @ x)\n"
                                                 " return h\n}\n")
    (tmp_path / "m.rnn").write_text('use "parts/mine.rnn"\nmodel m(vocab = 5) {\n input x : class(vocab)\n target y : '
                                    "class(vocab)\n z = dense(vocab)(mine(8)(one_hot(x)))\n output p = softmax(z)\n"
                                    " loss cross_entropy(z, y)\n}\n")
    rnnc("train", "m.rnn", "--text", lesson, "--epochs", 1, cwd=tmp_path)
    for name in ("m.rnn", "parts/mine.rnn"):
        (tmp_path / name).unlink()
    rnnc("generate", "m-run", "--length", 5, cwd=tmp_path)


def test_the_same_command_changes_nothing_and_more_epochs_go_on(trained, lesson, tmp_path):
    moved = tmp_path / "run"
    shutil.copytree(trained, moved)
    assert not re.search(r"^epoch ", rnnc("train", "charlm", "--checkpoint", moved).stdout, re.M)
    more = rnnc("train", "charlm", "--checkpoint", moved, "--epochs", 7).stdout
    assert "epoch 7/7" in more and "epoch 6/" not in more
    refused = rnnc("train", "charlm", "--checkpoint", moved, "-D", "hidden=9", code=1).stderr
    assert "hidden (24 before, now 9)" in refused and "--checkpoint" in refused


def test_ctrl_c_leaves_a_checkpoint_that_goes_on_to_the_same_numbers(lesson, tmp_path):
    ask = ["train", "charlm", "--text", str(lesson), "-D", "hidden=24", "-D", "layers=1", "--epochs", "3",
           "--streams", "2", "--frames", "8", "--checkpoint"]
    rnnc(*ask, tmp_path / "whole")
    command = [sys.executable, "-m", "rnnc", *ask, str(tmp_path / "cut")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for shown in running.stdout:
        if shown.startswith("epoch 1"):
            break
    time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    if running.returncode == 130:              # else it was faster than the signal
        assert said == f"rnnc: stopped; the same command goes on from {tmp_path / 'cut'}\n"
        rnnc(*ask, tmp_path / "cut")
    from rnnc.runtime.checkpoint import Checkpoint
    whole, cut = (Checkpoint.read(tmp_path / name) for name in ("whole", "cut"))
    assert all(np.array_equal(value, cut.parameters[name]) for name, value in whole.parameters.items())
    strip = lambda c: [{k: v for k, v in row.items() if "second" not in k} for row in c.record["position"]["rows"]]
    assert strip(whole) == strip(cut)


def test_train_on_arrays_and_run_numbers(tmp_path):
    """y is x of the frame before; frames through stdin as numbers, JSON and raw bytes give the same."""
    x = np.random.default_rng(0).standard_normal((4000, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.roll(x, 1, 0))
    (tmp_path / "m.rnn").write_text(GOOD.replace("n = 4", "n = 3").replace("lstm(n)(x)", "dense(n)(lstm(16)(x))"))
    done = rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 2, "--frames", 20, "--held-out", 0.2, cwd=tmp_path)
    assert "epoch 2/2: " in done.stdout and "held out: " in done.stdout and (tmp_path / "m-run" / "log.csv").exists()
    rows = x[:5]
    lines = "".join(" ".join(map(repr, row.tolist())) + "\n" for row in rows)
    shown = rnnc("run", "m-run", cwd=tmp_path, input=lines).stdout
    numbers = np.array([[float(v) for v in part.split()] for part in shown.splitlines()])
    objects = "".join(json.dumps({"x": row.tolist()}) + "\n" for row in rows)
    from_json = [json.loads(v)["h"] for v in rnnc("run", "m-run", "--format", "json", cwd=tmp_path,
                                                  input=objects).stdout.splitlines()]
    raw = subprocess.run([sys.executable, "-m", "rnnc", "run", "m-run", "--format", "raw"], cwd=tmp_path,
                         input=rows.tobytes(), capture_output=True, check=True).stdout
    assert numbers.shape == (5, 3) and np.allclose(numbers, from_json, atol=1e-6)
    assert np.allclose(np.frombuffer(raw, np.float32).reshape(5, 3), numbers, atol=1e-6)
    assert "line 2" in rnnc("run", "m-run", cwd=tmp_path, input="1 2 3\n1 2\n", code=1).stderr
    assert "text" in rnnc("generate", "m-run", cwd=tmp_path, code=1).stderr


def test_train_on_sounds(tmp_path):
    import wave
    for name, gain in (("dry", 1.0), ("wet", 0.5)):
        with wave.open(str(tmp_path / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes((np.sin(np.arange(4000) / 9) * gain * 3e4).astype("<i2").tobytes())
    (tmp_path / "m.rnn").write_text("model m() {\n input x\n target y\n h = dense(1)(lstm(8)(x))\n output h\n"
                                    " loss mse(h, y)\n}\n")
    done = rnnc("train", "m.rnn", "--set", "x=dry.wav", "--set", "y=wet.wav", "--epochs", 1, "--plot", "c.svg",
                "--log", "l.csv", cwd=tmp_path)
    assert "epoch 1/1" in done.stdout and "<svg" in (tmp_path / "c.svg").read_text()
    assert (tmp_path / "l.csv").read_text().startswith("epoch,updates,frames,seconds,loss,held_out")
    assert "does not have" in rnnc("train", "m.rnn", "--set", "x=dry.wav", "--checkpoint", "other", cwd=tmp_path,
                                   code=1).stderr


def test_a_damaged_checkpoint_is_refused(trained, tmp_path):
    for name in ("job.json", "checkpoint.safetensors"):
        broken = tmp_path / name.split(".")[0]
        shutil.copytree(trained, broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:100])
        rnnc("generate", broken, code=1)
    rnnc("eval", tmp_path, code=1)


def test_progress_on_request(trained):
    assert "rnnc" not in rnnc("eval", trained, "--no-progress").stdout
    shown = rnnc("train", "charlm", "--checkpoint", trained, "--progress")
    assert "epoch" in shown.stderr or "frame" in shown.stderr
