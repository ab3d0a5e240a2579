"""C text to a loadable module: in go the C, its header and the manifest, out comes a folder with the library.

The C compiler is called directly. With Python.h at hand the wrapper that cffi writes (API mode) is compiled beside the
model's C and both are linked to an extension module; without it the model's C alone becomes a shared library that is
loaded from the same declarations (ABI mode). $RNNC_FFI=abi forces the second way.
"""

import errno
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rnnc.errors import RnncError, ToolchainError
from rnnc.target import cache as store

FORMAT = 1
# The kernels are written in whole vectors: -O3 (gcc 12, 16 networks, 1 to 64 streams) gains under 1 %, and an LSTM
# compiles in 2.8 s instead of 2.1. Without any automatic vectorisation the speed is the same, too.
LEVEL = "-O2"
FLAGS = ("-std=c11", LEVEL, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
# Stands in a text that may be compiled in two halves side by side, what trains and what does not. An LSTM with its loss
# is there in 4.0 s instead of 4.8, four layers of it in 10.2 instead of 14.7 (gcc 12, two cores); in all, the compiler
# has a third more to do.
HALVES = "#if RN_HALF != 2"
SHARED = ("-fPIC", "-shared", "-Wl,-Bsymbolic")
COMPILERS = ("cc", "gcc", "clang")
ADVICE = "install gcc or clang (Debian and Ubuntu: `apt install gcc`, Fedora: `dnf install gcc`), or let CC name one"


@dataclass(frozen=True)
class Compiler:
    """A C compiler as it is called, and what it says of itself."""

    command: tuple[str, ...]
    version: str

    @property
    def clang(self) -> bool:
        return "clang" in self.version


def build(c_text: str, cdef_text: str, header_text: str, manifest: dict, options=None, cache_dir=None,
          whole: bool = False) -> Path:
    """The folder of the built module. `options` may have `target` ("native") and `openmp` (True). `whole`: in one
    piece, since the text has more functions than ours."""
    target, wanted = getattr(options, "target", "native"), getattr(options, "openmp", True)
    halves = ("1", "2") if HALVES in c_text and not whole and spare() else ("0",)
    compiler, mode, home = find_compiler(), interface(), store.root(cache_dir)

    def key(openmp: bool) -> str:
        return store.digest(c_text, cdef_text, header_text, manifest, list(compiler.command), compiler.version,
                            list(flags(target, openmp, compiler)), processor(), mode, _suffix(mode), _cffi(), FORMAT)

    for openmp in (True, False) if wanted else (False,):
        found = store.entry(home, key(openmp))
        if found:
            return found
        if openmp and not has_openmp(compiler):
            continue
        with store.workshop(home) as place:
            record = _make(place, c_text, cdef_text, header_text, manifest, compiler, mode, openmp, target, halves,
                           key(openmp))
            return store.publish(place, home, key(openmp), record)
    raise AssertionError("unreachable")


def _make(place: Path, c_text, cdef_text, header_text, manifest, compiler, mode, openmp, target, halves, key) -> dict:
    """Fills a folder with everything of a module; returns its record."""
    began = time.monotonic()
    name, model = f"_rnnc_{key[:16]}", place / "model.c"
    model.write_text(c_text, encoding="utf-8")
    (place / "model.h").write_text(header_text, encoding="utf-8")
    (place / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    command = [*compiler.command, *flags(target, openmp, compiler)]
    library = place / f"{name}{_suffix(mode)}"
    objects = {f"model{half}.o": [*command, "-fPIC", "-c", f"-DRN_HALF={half}", "model.c"] for half in halves}
    if mode == "abi":
        _python_side(place / f"{name}_ffi.py", name, cdef_text, None)
    else:
        _python_side(place / "wrapper.c", name, cdef_text, header_text)
        objects["wrapper.o"] = [*compiler.command, "-O1", "-w", "-fPIC", *(f"-I{p}" for p in python_headers()),
                                "-c", "wrapper.c"]
    run_all([[*compile_, "-o", made] for made, compile_ in objects.items()], place)
    run([*command, *SHARED, *objects, "-o", library.name, "-lm"], place)
    for leftover in ("wrapper.c", *objects):
        (place / leftover).unlink(missing_ok=True)
    return {"format": FORMAT, "mode": mode, "module": name, "library": library.name, "openmp": openmp,
            "command": shlex.join([*command, *SHARED, "model.c", "-lm"]),
            "compiler": compiler.version.splitlines()[0], "seconds": round(time.monotonic() - began, 3)}


def _python_side(path: Path, name: str, cdef_text: str, header_text: str | None) -> None:
    """What cffi derives from the declarations: C that wraps the model's, or (no header) a table in Python."""
    from cffi import FFI
    from cffi.recompiler import make_c_source, make_py_source
    ffi = FFI()
    ffi.cdef(cdef_text)
    sink = io.StringIO()
    if header_text is None:
        make_py_source(ffi, name, sink)
    else:
        make_c_source(ffi, name, header_text, sink)
    path.write_text(sink.getvalue(), encoding="utf-8")


# ------------------------------------------------------------------------------------------------ the compiler

def find_compiler() -> Compiler:
    """$CC (which may carry arguments), else cc, gcc or clang."""
    asked = os.environ.get("CC", "").strip()
    candidates = [shlex.split(asked)] if asked else [[name] for name in COMPILERS]
    for command in candidates:
        path = shutil.which(command[0])
        if path:
            facts = os.stat(path)
            return _compiler((path, *command[1:]), facts.st_mtime_ns, facts.st_size)
    missing = f"CC names {asked!r}, which is not there" if asked else f"none of {', '.join(COMPILERS)} is there"
    raise ToolchainError(f"no C compiler: {missing}\n  hint: {ADVICE}")


@cache
def _compiler(command: tuple[str, ...], changed: int, size: int) -> Compiler:
    asked = [*command, "--version"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise ToolchainError(f"the C compiler does not run: {fault}\n  hint: {ADVICE}", asked) from None
    if answer.returncode:
        raise ToolchainError("the C compiler does not tell its version", asked, answer.stdout + answer.stderr)
    return Compiler(command, answer.stdout.strip() or "unknown")


def flags(target: str, openmp: bool, compiler: Compiler) -> tuple[str, ...]:
    """Everything that decides what the code does and how fast, for one target."""
    match target:
        case "native":
            arm = os.uname().machine in ("aarch64", "arm64")
            machine = "-mcpu=native" if arm else "-march=native"
        case "aarch64":
            machine = "-march=armv8-a"
        case _:
            machine = f"-march={target}"
    return (*FLAGS, machine, *(("-fopenmp",) if openmp else ()))


@cache
def has_openmp(compiler: Compiler) -> bool:
    """Whether a small program with OpenMP compiles and links."""
    text = "#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n"
    return _compiles(compiler, text, "-fopenmp", "-fPIC", "-shared", "-o", "probe.so")


def knows(compiler: Compiler, target: str) -> bool:
    """Whether it takes this for a processor."""
    return _compiles(compiler, "", *flags(target, False, compiler), "-fsyntax-only")


def _compiles(compiler: Compiler, text: str, *more: str) -> bool:
    import tempfile
    with tempfile.TemporaryDirectory(prefix="rnnc-probe-") as place:
        Path(place, "probe.c").write_text(text)
        try:
            run([*compiler.command, "probe.c", *more], Path(place))
        except ToolchainError:
            return False
    return True


def run(command: list[str], place: Path) -> None:
    run_all([command], place)


def run_all(commands: list[list[str]], place: Path) -> None:
    """Runs commands side by side in a folder, with that folder for their temporary files; the first failure is told."""
    environment = {**os.environ, "TMPDIR": str(place), "LC_ALL": "C"}
    running = []
    try:
        for command in commands:
            try:
                running.append(subprocess.Popen(command, cwd=place, env=environment, stdin=subprocess.DEVNULL,
                                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
            except OSError as fault:
                raise ToolchainError(f"cannot run the C compiler: {fault.strerror or fault}", command) from None
        for command, process in zip(commands, running):
            output = process.communicate()[0].decode("utf-8", "replace")
            if process.returncode:
                _explain(command, process.returncode, output, place)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.wait()


def _explain(command: list[str], code: int, output: str, place: Path) -> None:
    if "No space left on device" in output or "Disk quota exceeded" in output:
        raise store.full(place.parent)
    if "File too large" in output or "File size limit exceeded" in output or code == -signal.SIGXFSZ:
        raise store.full(place.parent, errno.EFBIG)
    if code < 0:
        raise ToolchainError(f"the C compiler was ended by signal {-code} (9: often too little memory)", command,
                             output)
    raise ToolchainError(f"the C compiler failed with exit code {code}", command, output)


# ------------------------------------------------------------------------------------------------ this machine

def interface() -> str:
    """"api" or "abi": how Python will reach the C."""
    wish = os.environ.get("RNNC_FFI", "").lower()
    if wish not in ("", "api", "abi"):
        raise RnncError(f"RNNC_FFI is {wish!r}; it may be api or abi")
    if wish == "abi" or (not wish and not python_headers()):
        return "abi"
    if not python_headers():
        raise ToolchainError("RNNC_FFI=api needs the header files of Python, which are not there\n  hint: install "
                             "them (Debian and Ubuntu: `apt install python3-dev`), or leave RNNC_FFI unset")
    return "api"


@cache
def python_headers() -> tuple[str, ...]:
    """Folders with Python.h and what it includes; empty if they are not installed."""
    import sysconfig
    paths = sysconfig.get_paths()
    folders = tuple(dict.fromkeys(paths[k] for k in ("include", "platinclude") if paths.get(k)))
    return folders if any(Path(f, "Python.h").exists() for f in folders) else ()


@cache
def processor() -> str:
    """What the processor can do, as far as it changes code made with -march=native."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read().split("\n\n", 1)[0]
    except OSError:
        return " ".join(os.uname()[4:])
    wanted = ("flags", "features", "model name", "cpu family", "model", "cpu implementer", "cpu part")
    lines = [line for line in first.lower().splitlines() if line.split(":")[0].strip() in wanted]
    return "\n".join(" ".join(line.split()) for line in lines)


def spare() -> bool:
    """Whether a second compiler would find a processor that has nothing else to do."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        return count > 1 and os.getloadavg()[0] < count
    except OSError:
        return count > 1


def identity() -> list:
    """This machine and toolchain as far as it can be told without starting a process: for the cache of programs."""
    asked = os.environ.get("CC", "")
    command = shlex.split(asked) or [next((c for c in COMPILERS if shutil.which(c)), "")]
    path = shutil.which(command[0])
    facts = os.stat(path) if path else None
    return [asked, path, facts.st_mtime_ns if facts else 0, facts.st_size if facts else 0, processor(), interface(),
            _suffix("api"), _cffi(), FORMAT]


def _suffix(mode: str) -> str:
    from importlib.machinery import EXTENSION_SUFFIXES
    return EXTENSION_SUFFIXES[0] if mode == "api" else ".so"


@cache
def _cffi() -> str:
    import _cffi_backend
    return f"{_cffi_backend.__version__} {sys.implementation.cache_tag}"
