"""Where the commands read from and write to: links, pipes and devices, closed streams, full disks."""

import errno
import os
import subprocess
import sys
import threading

import pytest
from commands import BAD, GOOD, rnnc


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("program,code", [(GOOD, 0), (BAD, 1)])
def test_a_stream_may_be_closed(closed, program, code, tmp_path):
    (tmp_path / "m.rnn").write_text(program)
    done = subprocess.run(["sh", "-c", f"'{sys.executable}' -m rnnc check m.rnn {closed}"], cwd=tmp_path,
                          env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == code and "sorry" not in done.stderr
    assert not list(tmp_path.glob("rnnc-bug-*"))


def test_a_program_from_a_closed_stdin_is_an_empty_one():
    done = subprocess.run(["sh", "-c", f"'{sys.executable}' -m rnnc check - <&-"], capture_output=True, text=True)
    assert done.returncode == 0 and "no faults" in done.stderr


def test_what_is_no_file_is_written_to_not_replaced(tmp_path):
    pipe, told = tmp_path / "pipe.svg", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: told.append(pipe.read_text()))
    reader.start()
    rnnc("graph", "charlm", "-o", pipe)
    reader.join(20)
    assert told[0].startswith("<svg") and pipe.is_fifo()
    assert rnnc("graph", "charlm", "-o", "/dev/stdout", "--format", "dot").stdout.startswith("digraph")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "net.svg").symlink_to("far/net.svg")
    for _ in range(2):
        rnnc("graph", "charlm", "-o", "net.svg", cwd=tmp_path)
    assert (tmp_path / "net.svg").is_symlink() and (tmp_path / "far" / "net.svg").read_text().startswith("<svg")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    (tmp_path / "net.svg").mkdir()
    said = rnnc("graph", "charlm", "-o", "net.svg", cwd=tmp_path, code=2).stderr
    assert "net.svg: a folder, where a file" in said
    assert [p.name for p in tmp_path.iterdir()] == ["net.svg"]


@pytest.mark.parametrize("call", ["tempfile.mkstemp", "os.replace"])
def test_a_folder_that_may_not_be_written_is_told_by_the_name_that_was_asked_for(call, tmp_path, monkeypatch):
    """It was `.l.csv.yogptdwx: Permission denied`, of a file that nobody knows."""
    from rnnc.runtime.storage import write_whole

    def denied(*place, **more):
        raise PermissionError(errno.EACCES, "Permission denied", ".l.csv.yogptdwx", None, *place[1:])
    monkeypatch.setattr(call, denied)
    with pytest.raises(PermissionError) as fault:
        write_whole(tmp_path / "l.csv", b"")
    assert str(fault.value).endswith(f"Permission denied: '{tmp_path / 'l.csv'}'")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_with_the_next_one(tmp_path):
    """But not what others are writing, nor what is of another kind."""
    from rnnc.runtime.storage import RUN, write_whole
    path = tmp_path / "run" / "checkpoint.safetensors"
    killed = f"import os; from rnnc.runtime import storage; storage.os.fsync = lambda d: os.kill(os.getpid(), 9); " \
             f"storage.write_whole({str(path)!r}, b'half')"
    for _ in range(2):                         # the second one has taken away what the first one left
        assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
        left, = path.parent.iterdir()
    others = {f".{path.name}.{os.getppid()}-0123abcd-x", f".{path.name}.{os.getpid()}-{RUN}-x",
              f".{path.name}.x", f".other.{left.name.split('.', 3)[-1]}", left.name + ".x"}
    for name in others:
        (path.parent / name).touch()
    (path.parent / f".{path.name}.{os.getpid()}-0123abcd-x").touch()       # another process had our number once
    write_whole(path, b"whole")
    assert {p.name for p in path.parent.iterdir()} == {path.name, *others} and path.read_bytes() == b"whole"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("buffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("line", ["graph charlm", "--help", "check --help", "--version"])
def test_a_full_output_is_named(line, buffered):
    command = f"'{sys.executable}' -m rnnc {line} > /dev/full"
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=plain | buffered)
    assert done.returncode == 1 and done.stderr.startswith("rnnc: No space left on device (the output, or ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no device without an end")
def test_a_program_has_an_end():
    assert "/dev/zero: more than 64 MiB" in rnnc("check", "/dev/zero", code=1).stderr


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "r.rnn").write_text(GOOD)
    (tmp_path / "folder.safetensors").mkdir()
    for place, reason in (("none.safetensors", "no such"), ("folder.safetensors", "a folder; a file is wanted"),
                          (os.devnull, "a pipe or a device; a file is wanted")):
        said = rnnc("build", "r.rnn", "-o", "out", "--weights", place, cwd=tmp_path, code=2).stderr
        of_weights = reason.replace("a folder;", "a folder without checkpoint.safetensors;")
        assert f"{place}" in said and of_weights in said
        if place != os.devnull:
            assert reason in rnnc("import", place, "r.rnn", "-o", "w.safetensors", cwd=tmp_path, code=2).stderr
        assert reason in rnnc("train", "charlm", "--text", place, cwd=tmp_path, code=2).stderr
    (tmp_path / "bad.safetensors").write_bytes(b"x" * 100)
    said = rnnc("import", "bad.safetensors", "r.rnn", "-o", "w.safetensors", cwd=tmp_path, code=1).stderr
    assert said.count("bad.safetensors") == 1 and "rnnc import" not in said


def test_a_file_that_may_not_be_read_is_neither_missing_nor_damaged(tmp_path, monkeypatch):
    """As root every file may be read: the mode alone would not do."""
    import builtins

    from rnnc.cli import held
    from rnnc.cli.console import Refusal
    from rnnc.errors import InputError
    from rnnc.runtime import storage
    real = builtins.open

    def denied(path, *more, **named):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *more, **named)
    (tmp_path / "w.safetensors").write_bytes(storage.encoded({}, "m", ""))
    monkeypatch.setattr(builtins, "open", denied)
    with pytest.raises(InputError, match="w.safetensors: Permission denied"):
        storage.read(tmp_path / "w.safetensors")
    with pytest.raises(Refusal, match="held.npz: Permission denied"):
        held.kept(tmp_path, 1, 1)


def test_columns_of_a_vector_are_told(tmp_path):
    (tmp_path / "r.rnn").write_text(GOOD)
    (tmp_path / "d.csv").write_text("x0,x1,x2,y\n" + "1,2,3,4\n" * 20)
    said = rnnc("train", "r.rnn", "--data", "d.csv", cwd=tmp_path, code=1).stderr
    assert "the columns of x are called x[0], x[1], ..." in said


def test_a_path_may_be_any_bytes(tmp_path):
    """It stands in the first comment of the C, and in the checkpoint."""
    folder = os.fsencode(tmp_path) + b"/x\xff"
    os.mkdir(folder)
    with open(folder + b"/re\xff.rnn", "w") as file:
        file.write(GOOD)
    (tmp_path / "d.csv").write_text("x[0],x[1],x[2],y[0],y[1],y[2],y[3]\n" + "1,2,3,4,5,6,7\n" * 40)
    name = os.fsdecode(folder + b"/re\xff.rnn")
    rnnc("build", name, "-o", tmp_path / "out", "--emit", "c,header,shared")
    assert r" from re\udcff.rnn; " in (tmp_path / "out" / "m.c").read_text(encoding="utf-8")
    rnnc("train", name, "--data", "d.csv", "--epochs", 1, "--frames", 4, "--checkpoint", "run", cwd=tmp_path)
    assert rnnc("run", "run", cwd=tmp_path, input="1 2 3\n").stdout.count(" ") == 3
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "nétz.rnn").write_text(GOOD)
    rnnc("build", "nétz.rnn", "-o", "out", cwd=tmp_path, **plain)


def test_results_are_utf8_in_every_locale(tmp_path):
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (tmp_path / "nétz.rnn").write_text(GOOD)
    assert "\u2212" in rnnc("graph", "nétz.rnn", cwd=tmp_path, **plain).stdout
    assert rnnc("graph", "nétz.rnn", "-o", "ü.svg", cwd=tmp_path, **plain).stdout == "ü.svg\n"
    assert (tmp_path / "ü.svg").read_text().startswith("<svg")
    assert "`é` is no name" in rnnc("check", "-", input="model m { input é }", code=1, **plain).stdout
