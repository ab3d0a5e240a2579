"""Parameters in files (safetensors), and the one way in which any file is written: whole or not at all."""

import contextlib
import errno
import os
import re
import tempfile
from pathlib import Path

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.sparse import Sparse, same_pattern
from rnnc.runtime.wanted import mapping
from rnnc.runtime.wanted import path as as_path
from rnnc.runtime.words import listed, unknown

CHECKPOINT, PARAMETER = "rnnc checkpoint", "parameter"          # what a checkpoint calls itself, and its parameters
FILE = "checkpoint.safetensors"                # what it is in the folder of a training run
RUN = os.urandom(4).hex()                      # tells this process from an earlier one of the same number


def takes_files(folder: Path) -> None:
    """Fails where writing a file there would; a folder that is not there will be made when the time comes."""
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as fault:
        fault.filename = str(folder)
        raise


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """To a temporary file beside its place, flushed to the disk, then renamed; a reader sees the old or the new. A link
    stays one, and what is no file (/dev/stdout, a pipe) is written to: a rename would put a file in its place."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder, where a file is to be written", str(path))
    if path.exists() and not path.is_file():
        return _into(path, data)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from None
    name = None
    try:
        sweep(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}-{RUN}-")
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as fault:
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        if isinstance(fault, OSError):         # of the temporary file, or of none where the disk is full
            fault.filename = str(path)
            del fault.filename2
        raise
    with contextlib.suppress(OSError):         # the rename itself
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep(path: Path) -> None:
    """Removes what processes that were killed while they wrote this file have left beside it."""
    kind = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)-([0-9a-f]+)-\w+")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            found = kind.fullmatch(name)
            if found and not _writes(int(found[1]), found[2]):
                os.unlink(path.parent / name)


def _writes(process: int, run: str) -> bool:
    """Whether the process that began a temporary file may be alive."""
    if process == os.getpid():
        return run == RUN
    if os.name != "posix":                     # there the signal 0 is no question
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _into(path: Path, data: bytes) -> None:
    try:
        with open(path, "wb") as sink:
            sink.write(data)
    except OSError as fault:
        fault.filename = str(path)
        raise


def save(net, path) -> None:
    path = as_path("path", path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; the name of a file is wanted")
    found = {}
    for name, array in net.parameters.items():
        found[name] = array
        if isinstance(array, Sparse):
            found[f"{name}.pattern"] = array.pattern
    data = encoded(found, net.name, net.manifest.get("program_hash", ""))
    try:
        write_whole(path, data)
    except OSError as fault:
        advice = f": {len(data):,} bytes are to be written; make room, or save elsewhere" \
            if fault.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise InputError(f"save: cannot write {path}: {fault.strerror or fault}{advice}") from None


def encoded(arrays: dict[str, np.ndarray], model: str, graph: str) -> bytes:
    """Parameters of a model by path, with the hash of its graph."""
    from safetensors.numpy import save as encode

    import rnnc
    return encode({name: plain(array) for name, array in arrays.items()},
                  {"format": "rnnc", "version": rnnc.__version__, "model": model, "graph": graph})


def plain(array: np.ndarray) -> np.ndarray:
    """As safetensors takes it: contiguous, of no special kind, and still of rank 0 where it was (which
    np.ascontiguousarray would make 1)."""
    return np.array(array, order="C", subok=False)


def of_run(path: Path) -> Path:
    """The checkpoint in the folder of a training run; any other path as it is."""
    return path / FILE if (path / FILE).is_file() else path


def load(net, path, strict: bool, rename: dict | None) -> None:
    """All parameters are checked before the first is changed. The folder of a training run stands for its checkpoint,
    as for every command."""
    rename = {} if rename is None else mapping("rename", rename, "name in the file to name here")
    for target in rename.values():
        if target not in net.parameters:
            raise unknown("parameter", target, net.parameters)
    path = of_run(as_path("path", path))
    found, (arrays, about) = {}, read(path)
    if about.get("format") == CHECKPOINT:      # what was learned in a training run, and all that it goes on with
        arrays = {name.removeprefix(f"{PARAMETER}/"): a for name, a in arrays.items()
                  if name.startswith(f"{PARAMETER}/")}
    for name, array in arrays.items():
        target = rename.get(name, name)
        if name.endswith(".pattern") and name[:-8] in arrays:
            owner = net.parameters.get(rename.get(name[:-8], name[:-8]))
            if isinstance(owner, Sparse):
                same_pattern(owner._entry, array, f"{path}, {name[:-8]}")
                continue
        if target in found:
            raise InputError(f"{path}: two arrays would be loaded as {target!r}")
        found[target] = array
    for name in rename:
        if name not in arrays:
            raise InputError(f"rename: {path} holds no {name!r}")
    strange = [n for n in found if n not in net.parameters]
    missing = [n for n in net.parameters if n not in found]
    if strict and (strange or missing):
        parts = [f"it lacks {listed(missing)}"] if missing else []
        parts += [f"{listed(strange)} {'mean' if len(strange) > 1 else 'means'} nothing here"] if strange else []
        foreign = "of another framework: rnnc import lays weights out for a program)"
        raise InputError(f"{path}: {'; '.join(parts)}",
                         f" (rename= maps names, strict=False takes what fits; {foreign}",
                         f" (in Python net.load has rename= and strict=False; {foreign}")
    try:
        net.parameters = {n: a for n, a in found.items() if n in net.parameters}
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from None


CUT = ("file not fully covered", "invalid header length", "header too small")     # a file's beginning, and no more


def read(path, advice: str = "; rnnc import reads those of PyTorch and ONNX") -> tuple[dict, dict[str, str]]:
    """Arrays and metadata of a safetensors file. `advice` is what a wrong one is answered with."""
    from safetensors import SafetensorError, safe_open
    path = as_path("path", path)
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder without {FILE}; a safetensors file is wanted")
    try:
        with open(path, "rb"):                 # safe_open says of what may not be read that it is not there
            pass
        with safe_open(os.fspath(path), framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (SafetensorError, TypeError, KeyError) as fault:
        if any(sign in str(fault) for sign in CUT):
            raise InputError(f"{path}: the file is cut short, or not a safetensors file ({fault}); copy or save it "
                             "again") from None
        raise InputError(f"{path}: not a safetensors file that NumPy can read ({fault}){advice}") from None
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror or fault}") from None
