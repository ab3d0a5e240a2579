"""Building: both ways into Python, the cache under parallel, killed, damaged and unwritable conditions, the toolchain's
messages."""

import errno
import json
import os
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc import pipeline
from rnnc.errors import RnncError, ToolchainError
from rnnc.runtime.module import load
from rnnc.runtime.net import Net
from rnnc.target import build as toolchain
from rnnc.target import cache
from rnnc.target.build import build

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, manifest, meaning, texts, tiny  # noqa: E402


@pytest.fixture(params=["api", "abi"])
def mode(request, monkeypatch):
    """Both ways into Python."""
    if request.param == "api" and not toolchain.python_headers():
        pytest.skip("no Python.h")
    monkeypatch.setenv("RNNC_FFI", request.param)
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_ways_into_python(tmp_path, mode, dtype):
    net = tiny(dtype, cache_dir=tmp_path)
    assert json.loads((net.module.path / "build.json").read_text())["mode"] == mode
    batch = inputs(6, 3)
    wanted, _ = meaning(net, **batch)
    batch.pop("y")
    assert np.allclose(net.run(**batch)["p"], wanted, atol=1e-5 if dtype == "float32" else 1e-14)


def test_without_python_headers_the_plain_library_is_loaded(monkeypatch):
    monkeypatch.delenv("RNNC_FFI", raising=False)
    monkeypatch.setattr(toolchain, "python_headers", lambda: ())
    assert toolchain.interface() == "abi"
    monkeypatch.setenv("RNNC_FFI", "api")
    with pytest.raises(ToolchainError, match="header files of Python"):
        toolchain.interface()


def make(tmp_path, text="", **changes):
    c, cdef, header = texts()
    return build(c + text, cdef, header, {**manifest(), **changes}, None, tmp_path)


def test_a_second_build_is_the_first(tmp_path, monkeypatch):
    first = make(tmp_path)
    monkeypatch.setattr(toolchain, "run_all", lambda *a: pytest.fail("the compiler ran again"))
    assert make(tmp_path) == first
    monkeypatch.undo()
    assert make(tmp_path, "\n/* another text */\n") != first
    assert make(tmp_path, program_hash="9") != first


def test_flags_processor_and_compiler_are_part_of_the_key(tmp_path, monkeypatch):
    first = make(tmp_path)
    monkeypatch.setattr(toolchain, "processor", lambda: "another machine")
    second = make(tmp_path)
    monkeypatch.setattr(toolchain, "FLAGS", (*toolchain.FLAGS, "-DOTHER"))
    assert len({first, second, make(tmp_path)}) == 3


def test_a_damaged_entry_is_built_again(tmp_path):
    first = make(tmp_path)
    library = next(first.glob("*.so"))
    library.write_bytes(library.read_bytes()[:100])
    assert make(tmp_path) == first
    load(first)
    (first / "build.json").write_text("{")
    assert make(tmp_path) == first


def test_what_a_killed_build_left_is_ignored_and_swept(tmp_path):
    left = cache.root(tmp_path) / "modules" / ".new-1-killed"
    left.mkdir()
    (left / "model.c").write_text("half")
    make(tmp_path)
    assert left.exists()
    old = time.time() - 2 * cache.STALE
    os.utime(left, (old, old))
    make(tmp_path, "\n")
    assert not left.exists()
    assert not list((tmp_path / "modules").glob(".new-*"))


BUILDER = """
import sys
sys.path.insert(0, sys.argv[1])
from handmade.tiny import tiny
print(tiny(cache_dir=sys.argv[2]).module.path)
"""


def builder(tmp_path, **options):
    return subprocess.Popen([sys.executable, "-c", BUILDER, str(Path(__file__).parent), str(tmp_path)],
                            stdout=subprocess.PIPE, text=True, **options)


def test_builds_of_several_processes_agree(tmp_path):
    running = [builder(tmp_path) for _ in range(4)]
    paths = {process.communicate()[0] for process in running}
    assert len(paths) == 1 and all(process.returncode == 0 for process in running)


def test_a_killed_build_leaves_nothing_that_blocks(tmp_path):
    process = builder(tmp_path, start_new_session=True)
    while process.poll() is None and not list(tmp_path.glob("modules/.new-*/model.c")):
        time.sleep(0.005)
    if process.poll() is None:
        os.killpg(process.pid, 9)
    process.wait()
    assert tiny(cache_dir=tmp_path).manifest["name"] == "tiny"


def test_an_unwritable_cache_is_replaced_with_a_warning(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder should be")
    cache._substitute.cache_clear()
    with pytest.warns(RuntimeWarning, match="RNNC_CACHE"):
        place = make(blocked / "cache")
    assert not str(place).startswith(str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert make(blocked / "cache") == place


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.delenv("RNNC_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg" / "rnnc"
    monkeypatch.setenv("RNNC_CACHE", str(tmp_path / "mine"))
    assert cache.root() == tmp_path / "mine"


def test_no_compiler_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ToolchainError, match="no-such-compiler.*\n.*apt install gcc"):
        make(tmp_path)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="none of cc, gcc, clang"):
        make(tmp_path)


def test_a_failing_compiler_is_quoted(tmp_path):
    with pytest.raises(ToolchainError) as fault:
        make(tmp_path, "\nint broken( {\n")
    assert "error" in fault.value.output and "model.c" in " ".join(fault.value.command)
    assert not list((tmp_path / "modules").iterdir())


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_compiler_without_openmp_builds_all_the_same(tmp_path, monkeypatch):
    real = toolchain.find_compiler().command[0]
    refuse = 'for a in "$@"; do [ "$a" = -fopenmp ] && { echo "no OpenMP here" >&2; exit 1; }; done'
    monkeypatch.setenv("CC", script(tmp_path / "plain-cc", f'{refuse}\nexec {real} "$@"'))
    net = tiny(cache_dir=tmp_path / "cache")
    assert net.module.openmp is False
    assert json.loads((net.module.path / "build.json").read_text())["openmp"] is False


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    full = 'case "$*" in *--version*) echo fake 1.0;; *) echo "model.c: No space left on device" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", script(tmp_path / "full-cc", full))
    monkeypatch.setattr(toolchain, "has_openmp", lambda compiler: True)
    with pytest.raises(RnncError, match="no space left on the disk"):
        make(tmp_path / "cache")


def test_a_file_that_may_not_grow_is_told_like_a_full_disk(tmp_path, monkeypatch):
    """With `ulimit -f 200` there was only "File too large"."""
    with pytest.raises(RnncError, match=r"a file in .*cache would be larger .*ulimit -f.*RNNC_CACHE"), \
            cache.workshop(cache.root(tmp_path / "cache")):
        raise OSError(errno.EFBIG, "File too large")
    monkeypatch.setenv("CC", script(tmp_path / "cc", 'case "$*" in *--version*) echo 1;; *) kill -XFSZ $$;; esac'))
    with pytest.raises(RnncError, match="ulimit -f.* or let TMPDIR name another place$"):        # of a probe
        make(tmp_path / "cache")
    monkeypatch.setattr(toolchain, "has_openmp", lambda compiler: True)
    with pytest.raises(RnncError, match="ulimit -f.* or let RNNC_CACHE name another place$"):
        make(tmp_path / "cache")
    assert not list((tmp_path / "cache" / "modules").iterdir())


def test_another_manifest_format_is_refused(tmp_path):
    place = make(tmp_path, format=99)
    with pytest.raises(RnncError, match="another version"):
        load(place)
    with pytest.raises(RnncError, match="no built module"):
        load(tmp_path)


# ------------------------------------------------------------------------------------------------ programs

def test_the_cache_of_programs_knows_every_file_that_was_read(tmp_path):
    module, used = make(tmp_path / "cache"), tmp_path / "cells.rnn"
    used.write_text("cell a")
    inputs = {"source": "model m {\n}", "sizes": {"n": 3}}
    where = {"cache_dir": tmp_path / "cache"}
    assert cache.lookup(inputs, **where) is None
    cache.store(inputs, [used], module, **where)
    assert cache.lookup(inputs, **where) == module
    assert cache.lookup({**inputs, "sizes": {"n": 4}}, **where) is None
    used.write_text("cell b")
    assert cache.lookup(inputs, **where) is None
    used.unlink()
    assert cache.lookup(inputs, **where) is None


def test_a_cached_program_needs_no_grammar(tmp_path):
    module = make(tmp_path)
    cache.store({"source": "text"}, [], module, tmp_path)
    code = ("import sys; from rnnc.target import cache; from rnnc.runtime.module import load; "
            f"load(cache.lookup({{'source': 'text'}}, {str(tmp_path)!r})); "
            "assert not {'lark', 'jinja2', 'cffi', 'pycparser'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_outlive_a_net(mode):
    """They wait in OpenMP's library, which is not to be closed with the net that opened it."""
    code = ("import gc, time, rnnc, numpy as np; "
            "net = rnnc.compile('model m { input x : [3]\\n h = rnn(64)(x)\\n output h }', threads=2); "
            "net.run(x=np.zeros((20, 16, 3))); del net; gc.collect(); time.sleep(0.2); print('alive')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"RNNC_TEST_THREADS": "2"})
    assert done.stdout == "alive\n", (done.returncode, done.stderr)


def test_names_that_headers_have_macros_of(mode):
    """Of limits.h, unistd.h, complex.h and Python.h, which C programs and the wrapper for Python may include."""
    net = rnnc.compile("model m {\ninput BUFSIZ : [2]\ninput R_OK : [2]\ninput I\ntarget PATH_MAX\n"
                       "CHAR_BIT = BUFSIZ + R_OK + I\noutput CHAR_BIT\nloss mse(sum(CHAR_BIT), PATH_MAX)\n}\n",
                       cache=False)
    two = np.ones((3, 1, 2))
    assert (net.run(BUFSIZ=two, R_OK=two, I=np.ones((3, 1)))["CHAR_BIT"] == 3).all()


def test_in_halves_or_in_one_piece_it_is_the_same_module(tmp_path, monkeypatch):
    text, made = "model m {\n input x : [3]\n h = tanh(x + h[t-1])\n output h\n loss sum(h)\n}\n", []
    emitted = pipeline.emit(pipeline.as_source(text), pipeline.Options())
    run_all = toolchain.run_all
    monkeypatch.setattr(toolchain, "run_all", lambda commands, place: (made.append(str(commands)),
                                                                       run_all(commands, place)))
    found = []
    for spare in (True, False):
        monkeypatch.setattr(toolchain, "spare", lambda spare=spare: spare)
        made.clear()
        place = build(emitted.c, emitted.cdef, emitted.header, emitted.manifest, cache_dir=tmp_path / str(spare))
        assert ("-DRN_HALF=1" in str(made)) == ("-DRN_HALF=2" in str(made)) == spare
        net, x = Net(load(place)), np.ones((5, 1, 3), np.float32)
        found.append([place.name, net.run(x=x)["h"].tobytes(), net.backprop(x=x), net.gradient.tobytes()])
    assert found[0] == found[1]


@pytest.mark.parametrize("parent, child", [("run", "backprop"), ("backprop", "run")])
def test_a_forked_child_knows_what_the_other_half_of_a_module_did(parent, child):
    """Training and running are compiled apart; libgomp hangs in a child whichever of them it was for that its parent
    used it."""
    code = ("import os, numpy as np, rnnc\n"
            "from rnnc.target import build; build.spare = lambda: True\n"
            "net = rnnc.compile('''model forked {\ninput x : [64]\ntarget y : [64]\nparam U : [64, 64]\n"
            "h = tanh(x + U @ h[t-1])\noutput h\nloss dot(h, y)\n}''', threads=2)\n"
            "x = np.ones((600, 4, 64), np.float32)\n"
            "call = {'run': lambda: net.run(x=x), 'backprop': lambda: net.backprop(x=x, y=x)}\n"
            f"call['{parent}'](); pid = os.fork()\n"
            "type(net)._threads = lambda *_: 2           # Python would ask for one\n"
            f"if pid == 0: call['{child}'](); os._exit(0)\n"
            "assert os.waitpid(pid, 0)[1] == 0")
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)


def test_the_same_program_in_another_folder_is_the_same_module(tmp_path):
    text = "model same {\n    input x : [3]\n    h = tanh(x + h[t-1])\n    output h\n}\n"
    nets = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.rnn").write_text(text)
        nets.append(rnnc.compile(tmp_path / folder / "same.rnn"))
    assert nets[0].module.path == nets[1].module.path


def test_what_is_missing_in_a_call_from_c_is_refused():
    net = rnnc.compile("model gaps {\n    input x : [3]\n    target y : [3]\n    h = tanh(x + h[t-1])\n"
                       "    output h\n    loss dot(h, y)\n}\n")
    lib, null = net.module.lib, net.module.ffi.NULL
    room = net.module.ffi.new("char[]", 1 << 16)
    aligned = net.module.ffi.cast("void *", (int(net.module.ffi.cast("uintptr_t", room)) + 63) // 64 * 64)
    lib.gaps_reset(aligned, 1)
    assert lib.gaps_run(aligned, aligned, null, null, 1, 1, aligned, 1) == 2
    scores, given = net.module.ffi.new("float[2]"), net.module.ffi.new("gaps_inputs *")
    assert lib.gaps_evaluate(aligned, aligned, null, 1, 1, aligned, 1, scores) == 2
    assert lib.gaps_evaluate(aligned, aligned, given, 1, 1, aligned, 1, null) == 7
    assert lib.gaps_backprop(aligned, aligned, null, null, 1, 1, aligned, 1, aligned, null) == 2
    assert lib.gaps_weights_read(aligned, null, 0) == 7
    assert lib.gaps_workspace_size(4, 0) == lib.gaps_workspace_size(0, 4) == 0


def test_a_workspace_beyond_counting_is_more_than_any_allocation_gives():
    """T * B * bytes of a row does not fit 64 bits: such a size had gone round to a small one, or to 0."""
    lib = rnnc.compile("model gaps {\n    input x : [3]\n    target y : [3]\n    h = tanh(x + h[t-1])\n"
                       "    output h\n    loss dot(h, y)\n}\n").module.lib
    most, uncounted = 2**31 - 1, (2**64 - 1) // 2 // 64 * 64
    for program in (0, 1, 2):
        assert lib.gaps_workspace_size_of(program, most, most) == uncounted
    assert lib.gaps_workspace_size(most, most) == lib.gaps_workspace_size(2**30, most) == uncounted
    assert lib.gaps_workspace_size(most, 1) < lib.gaps_workspace_size(most, 1000) < uncounted
    assert lib.gaps_workspace_size(most, 1) > 2**31 * 4 * 3          # counted as before: a row of h for each frame
