"""`rnnc train` and what follows it: checkpoints that need nothing else, eval, run, generate, Ctrl-C."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import GOOD, rnnc

import rnnc as package


def test_a_checkpoint_needs_nothing_else(trained, lesson, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    assert {p.name for p in moved.iterdir()} >= {"job.json", "program", "held.npz", "log.csv", "curve.svg"} or \
           (moved / "curve.png").exists()
    found = json.loads(rnnc("eval", moved, "--format", "json", cwd=tmp_path).stdout)
    assert found["bits per character"] < 2 and found["frames"] > 900
    assert "loss: " in rnnc("eval", moved, "--text", lesson).stdout


def test_a_warning_is_a_message_too(trained, tmp_path):
    """The place of modules that is a file came with a line of our own source."""
    (tmp_path / "file").write_text("")
    words = rnnc("eval", trained, cwd=tmp_path, RNNC_CACHE="file").stderr
    assert words.startswith("rnnc: the cache ") and ".py" not in words


def test_generate(trained):
    ask = ("generate", trained, "--prompt", "the ", "--length", 40)
    first = rnnc(*ask, "--temperature", 0).stdout
    assert first.startswith("the ") and len(first) == 45
    assert rnnc(*ask, "--top-k", 1, "--seed", 9).stdout == first
    assert rnnc(*ask, "--seed", 1).stdout == rnnc(*ask, "--seed", 1).stdout
    assert rnnc("generate", trained, "--length", 0).stdout == "\n"
    bare = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert "(U+00E4)" in rnnc("generate", trained, "--prompt", "ä", code=1, **bare).stderr
    assert "--prompt is not UTF-8 text" in rnnc("generate", trained, "--prompt", "\udcff", code=2, **bare).stderr
    assert "'Q'" in rnnc("generate", trained, "--prompt", "Q", code=1).stderr
    assert "-1 is less than 0" in rnnc("generate", trained, "--length", -1, code=2).stderr


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


def test_run_takes_the_sizes_of_a_program(trained, tmp_path):
    """Programs with other sizes than their own could be trained and built, not run."""
    (tmp_path / "two.rnn").write_text(GOOD + GOOD.replace("model m(", "model k("))
    net = package.compile(str(tmp_path / "two.rnn"), "k", n=6, gradient=None)
    net.save(tmp_path / "w.safetensors")
    np.savez(tmp_path / "d.npz", x=np.zeros((40, 3)), y=np.zeros((40, 4)))
    ask = ("two.rnn", "--model", "k", "--weights", "w.safetensors")
    found = rnnc("run", *ask, "-D", "n=6", cwd=tmp_path, input="1 2 3\n").stdout
    assert np.allclose([float(v) for v in found.split()], net.run(x=np.array([[1, 2, 3]]))["h"][0], atol=1e-6)
    for said in (rnnc("run", *ask, cwd=tmp_path, code=1).stderr,
                 rnnc("build", *ask, "-o", "out", "--inference", cwd=tmp_path, code=1).stderr,
                 rnnc("train", *ask, "--data", "d.npz", cwd=tmp_path, code=1).stderr):
        assert re.match(r"rnnc: w.safetensors: parameters\['h.*'\]: got shape \[6.*\], wanted .*\n  hint: -D ", said)
    assert "with its own model and sizes" in rnnc("run", trained, "-D", "n=6", code=2).stderr


def test_the_folder_of_a_training_run_stands_for_its_checkpoint(tmp_path):
    """It was refused where weights are wanted, in Python and by --weights."""
    (tmp_path / "m.rnn").write_text(GOOD)
    np.savez(tmp_path / "d.npz", x=np.ones((60, 3)), y=np.ones((60, 4)))
    rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 1, "--checkpoint", "ck", cwd=tmp_path)
    net = package.compile(str(tmp_path / "m.rnn"), gradient=None)
    net.load(tmp_path / "ck")
    ask = {"cwd": tmp_path, "input": "1 2 3\n"}
    of_checkpoint = rnnc("run", "ck", **ask).stdout
    assert rnnc("run", "m.rnn", "--weights", "ck", **ask).stdout == of_checkpoint
    assert np.allclose([float(v) for v in of_checkpoint.split()], net.run(x=np.array([[1, 2, 3]]))["h"][0], atol=1e-6)
    rnnc("build", "m.rnn", "--weights", "ck", "-o", "out", "--inference", "--emit", "c,header", cwd=tmp_path)
    more = ("train", "m.rnn", "--data", "d.npz", "--epochs", 1, "--weights")
    rnnc(*more, "ck", cwd=tmp_path)
    assert "-D" in rnnc("build", "m.rnn", "--weights", "ck", "-D", "n=5", "-o", "out", cwd=tmp_path, code=1).stderr
    (tmp_path / "empty").mkdir()
    assert "empty is a folder without checkpoint.safetensors; a file is wanted, or the folder of a training run" in \
        rnnc(*more, "empty", cwd=tmp_path, code=2).stderr


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
    done = rnnc("train", "m.rnn", "--text", lesson, "--epochs", 1, cwd=tmp_path)
    assert "\n1 epoch of " in done.stdout and " after 1 epoch\n" in done.stdout
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


def test_a_run_that_was_refused_settles_nothing(lesson, tmp_path):
    """Its folder held settings that the next command went on with: a learning rate far too high."""
    same = ("train", "charlm", "--text", lesson, "-D", "hidden=8", "-D", "layers=1", "--epochs", 1, "--checkpoint", "r")
    assert "the loss is" in rnnc(*same, "--lr", 1e300, cwd=tmp_path, code=1).stderr
    assert (tmp_path / "r" / "job.json").exists()
    assert "held out:" in rnnc(*same, cwd=tmp_path).stdout
    changed = rnnc(*same, "--streams", 2, cwd=tmp_path, code=1).stderr
    assert "now 2)" in changed and "how it is cut" in changed
    (tmp_path / "m.rnn").write_text(GOOD)                        # of a program with other sizes those were asked for
    np.savez(tmp_path / "d.npz", x=np.zeros((90, 3)), y=np.zeros((90, 4)))
    changed = rnnc("train", "m.rnn", "--data", "d.npz", "--checkpoint", "r", cwd=tmp_path, code=1).stderr
    assert "different settings" in changed and "the program's text" in changed


def test_windows_that_the_data_does_not_have_are_a_fault_of_the_command(lesson, tmp_path):
    (tmp_path / "m.rnn").write_text(GOOD)
    np.savez(tmp_path / "d.npz", x=np.zeros((30, 3)), y=np.zeros((30, 4)), lengths=[10, 12, 8])
    for flags in (("--window", 5), ("--step", 5)):
        said = rnnc("train", "m.rnn", "--data", "d.npz", "--held-out", 0, *flags, cwd=tmp_path, code=2).stderr
        assert said == "rnnc: --window, --step: whole sequences are trained at once; these are for continuous streams\n"
    said = rnnc("train", "charlm", "--text", lesson, "--window", 3, "--step", 5, cwd=tmp_path, code=2).stderr
    assert said == "rnnc: --window, --step: 5 new frames do not fit in a window of 3\n"
    assert {p.name for p in tmp_path.iterdir()} == {"m.rnn", "d.npz"}
    np.savez(tmp_path / "d.npz", x=np.zeros((640, 3)), y=np.zeros((640, 4)))
    said = rnnc("train", "m.rnn", "--data", "d.npz", "--held-out", 0, "--epochs", 1, "--streams", 1, "--step", 4,
                cwd=tmp_path).stdout
    assert "1 epoch of 160 updates" in said and "\n1,160," in (tmp_path / "m-run" / "log.csv").read_text()


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


def test_train_on_a_table_with_values_per_sequence(tmp_path):
    (tmp_path / "m.rnn").write_text("""model m {
        input x : [1]
        input g : [2] per sequence
        target y : class(4) per sequence
        z = dense(4)(concat(gru(6)(x), g))
        output z
        loss cross_entropy(last(z), y)
    }""")
    rows = [(s, 0.1 * n, s % 2, 1, s % 4 if n == 0 or s % 3 else "") for s in range(12) for n in range(2 + s % 3)]
    table = lambda rows: "sequence,x[0],g[0],g[1],y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "t.csv").write_text(table(rows))
    rnnc("train", "m.rnn", "--data", "t.csv", "--epochs", 1, cwd=tmp_path)
    rnnc("eval", "m-run", cwd=tmp_path)
    assert "loss: " in rnnc("eval", "m-run", "--data", "t.csv", cwd=tmp_path).stdout
    (tmp_path / "t.csv").write_text(table([*rows[:-1], (*rows[-1][:-1], 1)]))
    done = rnnc("train", "m.rnn", "--data", "t.csv", "--checkpoint", "n", cwd=tmp_path, code=1)
    assert f"t.csv:{len(rows) + 1}: column y: 1, but the sequence" in done.stderr and not (tmp_path / "n").exists()


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
    lost = rnnc("run", "m-run", "--format", "json", cwd=tmp_path, input='{"x": [NaN, 0, 0]}\n').stdout
    assert json.loads(lost, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["h"] == [None] * 3
    assert "stdin line 2: got 2 numbers, where a frame has 3: 3 of x" in \
        rnnc("run", "m-run", cwd=tmp_path, input="1 2 3\n1 2\n", code=1).stderr
    assert "stdin line 1: a line of numbers is wanted (could not convert string to float: 'x[0]')" in \
        rnnc("run", "m-run", cwd=tmp_path, input="x[0] x[1] x[2]\n1 2 3\n", code=1).stderr
    assert len(rnnc("run", "m-run", cwd=tmp_path, input="\0" * 100_000, code=1).stderr) < 200
    assert "text" in rnnc("generate", "m-run", cwd=tmp_path, code=1).stderr
    assert "line 1: x: [1, null, 2] is not an array of numbers" in \
        rnnc("run", "m-run", "--format", "json", cwd=tmp_path, code=1, input='{"x": [1, null, 2]}\n').stderr


def test_what_a_model_refuses_is_told_with_its_line(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(60) % 3, y=np.zeros(60))
    (tmp_path / "m.rnn").write_text("model m {\n input x : class(3)\n target y\n param w : [3]\n h = take(w, x)\n"
                                    " output h\n loss mse(h, y)\n}\n")
    rnnc("train", "m.rnn", "--data", "d.npz", "--epochs", 1, cwd=tmp_path)
    words = rnnc("run", "m-run", cwd=tmp_path, input="1\n2\n3\n", code=1).stderr
    assert words.startswith("rnnc: stdin line 3: x: label 3 ")
    plain, marked = [rnnc("run", "m-run", cwd=tmp_path, input=mark + b"1\r\n2\r\n").stdout
                     for mark in (b"", b"\xef\xbb\xbf")]
    assert plain == marked and len(plain.splitlines()) == 2


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


def test_the_log_may_go_where_nothing_can_be_read(tmp_path):
    """The curve was drawn from the file of the log: from stdout, that is, which waits for ever."""
    (tmp_path / "m.rnn").write_text(GOOD)
    np.savez(tmp_path / "d.npz", x=np.zeros((200, 3)), y=np.ones((200, 4)))
    command = [sys.executable, "-m", "rnnc", "train", "m.rnn", "--data", "d.npz", "--epochs", "1", "--plot",
               "c.svg", "--log"]
    done = subprocess.run([*command, "/dev/stdout"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "\nepoch,updates,frames," in done.stdout
    assert re.search("<polyline|<path", (tmp_path / "c.svg").read_text())


def test_a_damaged_checkpoint_is_refused(trained, tmp_path):
    for name in ("job.json", "checkpoint.safetensors"):
        broken = tmp_path / name.split(".")[0]
        shutil.copytree(trained, broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:100])
        rnnc("generate", broken, code=1)
    rnnc("eval", tmp_path, code=1)


def test_a_job_of_other_kinds_is_damaged(trained, tmp_path):
    """A list, or a number for the vocabulary, was a bug of ours."""
    job = json.loads((trained / "job.json").read_text())
    for found, words in (([], "is damaged"), ({**job, "vocabulary": 3}, "is damaged: vocabulary is 3"),
                         ({**job, "training": {}}, "is damaged: frames is not set")):
        (tmp_path / "job.json").write_text(json.dumps(found))
        for command in ("eval", "generate"):
            assert f"job.json {words}" in rnnc(command, tmp_path, code=1).stderr


def test_progress_on_request(trained):
    assert "rnnc" not in rnnc("eval", trained, "--no-progress").stdout
    shown = rnnc("train", "charlm", "--checkpoint", trained, "--progress")
    assert "epoch" in shown.stderr or "frame" in shown.stderr


def test_losses_beyond_all_measure_are_short():
    from rnnc.cli.report import line
    row = {"epoch": 1, "loss": 3.21e17, "validation loss": 0.12345, "seconds": 1.0, "frames per second": 10.0}
    assert line(row, 2, False).startswith("epoch 1/2: 3.21e+17 loss, held out 0.1235")
