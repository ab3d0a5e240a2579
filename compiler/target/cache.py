"""Where built modules are kept: keyed by digest, published by one rename, so no lock is ever left behind.

    ROOT/modules/KEY/      one built module: library, C, manifest.json, build.json
    ROOT/modules/dKEY/     what `rnnc build` delivered, file by file
    ROOT/programs/KEY.json what a program text became: the sources it read, and the module
    ROOT/modules/.new-*    builds in progress; whatever a killed build left is swept away after an hour

A reader sees a whole entry or none: an entry is made in a folder of its own and renamed into place, and build.json
lists the size of every file, so that a damaged entry counts as absent. Two builds of one key both work; the first to
rename wins and the other uses its result.
"""

import atexit
import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path

from rnnc.errors import RnncError

STALE = 3600.0                                 # seconds after which an unfinished build is nobody's
KEPT = (".py", ".lark", ".rnn", ".j2", ".h")   # files of this package that decide what a program becomes


def digest(*parts: object) -> str:
    """One name for any number of texts, numbers and plain containers."""
    sink = hashlib.sha256()
    for part in parts:
        text = part if isinstance(part, str) else json.dumps(part, sort_keys=True, default=str)
        data = text.encode("utf-8", "surrogatepass")
        sink.update(len(data).to_bytes(8, "little"))
        sink.update(data)
    return sink.hexdigest()[:32]


def root(cache_dir: str | os.PathLike | None = None) -> Path:
    """The cache folder, made if needed: the argument, $RNNC_CACHE, $XDG_CACHE_HOME/rnnc or ~/.cache/rnnc. One that
    cannot be written is replaced, with a warning, by a temporary folder that lives as long as this process."""
    chosen = Path(cache_dir or os.environ.get("RNNC_CACHE") or _standard())
    try:
        (chosen / "modules").mkdir(parents=True, exist_ok=True)
        (chosen / "programs").mkdir(exist_ok=True)
        if os.access(chosen / "modules", os.W_OK | os.X_OK) and os.access(chosen / "programs", os.W_OK | os.X_OK):
            return chosen
        reason = "it may not be written"
    except OSError as fault:
        if fault.errno == errno.ENOSPC:
            raise full(chosen) from None
        reason = fault.strerror or str(fault)
    return _substitute(str(chosen), reason)


def _standard() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) / "rnnc" if home else Path(os.path.expanduser("~")) / ".cache" / "rnnc"


@cache
def _substitute(wanted: str, reason: str) -> Path:
    place = Path(tempfile.mkdtemp(prefix="rnnc-cache-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    (place / "modules").mkdir()
    (place / "programs").mkdir()
    warnings.warn(f"the cache {wanted} is of no use ({reason}); compiled modules are kept in {place} until this "
                  "process ends. RNNC_CACHE names another place", RuntimeWarning, stacklevel=4)
    return place


def full(place: Path, code: int = errno.ENOSPC) -> RnncError:
    """`place`: the cache, a folder of it, or that of temporary files."""
    other = f"let {'TMPDIR' if place == Path(tempfile.gettempdir()) else 'RNNC_CACHE'} name another place"
    if code == errno.EFBIG:
        return RnncError(f"a file in {place} would be larger than files may be here; raise the limit (ulimit -f), or "
                         f"{other}")
    return RnncError(f"no space left on the disk that holds {place}; free some, or {other}")


# ------------------------------------------------------------------------------------------------ modules

def entry(home: Path, key: str) -> Path | None:
    """The module of this key if it is there and whole."""
    place = home / "modules" / key
    try:
        record = json.loads((place / "build.json").read_text(encoding="utf-8"))
        whole = all((place / name).stat().st_size == size for name, size in record["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return place if whole else None


@contextlib.contextmanager
def workshop(home: Path):
    """A folder to build in; gone afterwards unless `publish` has moved it."""
    _sweep(home)
    place = None
    try:
        place = Path(tempfile.mkdtemp(prefix=f".new-{os.getpid()}-", dir=home / "modules"))
        yield place
    except OSError as fault:
        if fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise full(home, fault.errno) from None
        raise
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


def publish(place: Path, home: Path, key: str, record: dict) -> Path:
    """Completes an entry with its record and renames it into place."""
    files = {str(p.relative_to(place)): p.stat().st_size for p in sorted(place.rglob("*")) if p.is_file()}
    for name in files:
        _flush(place / name)
    _write(place / "build.json", json.dumps({**record, "files": files}, indent=1))
    place.chmod(0o755)
    final = home / "modules" / key
    for _ in range(3):
        try:
            os.rename(place, final)
            return final
        except OSError as fault:
            if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        if entry(home, key):                   # somebody else was first
            return final
        # a damaged entry: moved away whole, so that a process that has loaded it is not disturbed
        with contextlib.suppress(OSError):
            os.rename(final, Path(tempfile.mkdtemp(prefix=".new-damaged-", dir=home / "modules")) / key)
    raise RnncError(f"the cache entry {final} is damaged and cannot be replaced; delete it")


def discard(module: Path) -> None:
    """Forgets an entry that could not be loaded."""
    shutil.rmtree(module, ignore_errors=True)


def _sweep(home: Path) -> None:
    """What builds that were killed left behind, once it is old enough to be nobody's."""
    limit = time.time() - STALE
    with contextlib.suppress(OSError):
        for place in [*home.glob("modules/.new-*"), *home.glob("programs/.new-*")]:
            with contextlib.suppress(OSError):
                if place.stat().st_mtime < limit:
                    shutil.rmtree(place) if place.is_dir() else place.unlink()


def _flush(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _write(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


# ------------------------------------------------------------------------------------------------ deliveries

def files(inputs: dict, cache_dir=None) -> dict[str, bytes] | None:
    """Relative name -> content of what `inputs` were delivered as, if `keep` has it."""
    place = lookup(inputs, cache_dir)
    if place is None:
        return None
    names = json.loads((place / "build.json").read_text(encoding="utf-8"))["files"]
    return {name: (place / name).read_bytes() for name in names}


def keep(inputs: dict, reads: list[str | os.PathLike], made: dict[str, str | bytes], cache_dir=None) -> None:
    """Remembers files under what they were made from, which includes `reads`. Never fails: it only saves time."""
    with contextlib.suppress(OSError, RnncError):
        home = root(cache_dir)
        with workshop(home) as place:
            for name, content in made.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
            store(inputs, reads, publish(place, home, f"d{_program(inputs)}", {}), cache_dir)


# ------------------------------------------------------------------------------------------------ programs

def lookup(inputs: dict, cache_dir=None) -> Path | None:
    """The module that `inputs` (source text, its path, model, options, sizes: anything JSON can hold) was built into,
    if every file that the program read still says what it said. Needs no grammar."""
    home = root(cache_dir)
    try:
        data = json.loads((home / "programs" / f"{_program(inputs)}.json").read_text(encoding="utf-8"))
        for path, wanted in data["reads"].items():
            if hashlib.sha256(Path(path).read_bytes()).hexdigest() != wanted:
                return None
        return entry(home, data["module"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def store(inputs: dict, reads: list[str | os.PathLike], module: Path, cache_dir=None) -> None:
    """Remembers that `inputs`, with the files in `reads`, became `module`. Never fails: it only saves time."""
    with contextlib.suppress(OSError):
        home = root(cache_dir)
        if module.parent != home / "modules":
            return
        hashes = {os.path.abspath(p): hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in reads}
        descriptor, name = tempfile.mkstemp(prefix=".new-", dir=home / "programs")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"module": module.name, "reads": hashes}, file)
        os.replace(name, home / "programs" / f"{_program(inputs)}.json")


def _program(inputs: dict) -> str:
    from rnnc.target.build import identity
    return digest(inputs, compiler_fingerprint(), identity())


@cache
def compiler_fingerprint() -> str:
    """What this rnnc is: its own files by size and time, so that a changed compiler forgets what the old one made."""
    seen = []
    for package in ("rnnc", "rnnc.grammar", "rnnc.templates", "rnnc.runtime"):
        spec = importlib.util.find_spec(package)
        for place in spec.submodule_search_locations if spec else ():
            for folder, names, files in os.walk(place):
                names[:] = [n for n in names if n != "__pycache__"]
                for name in files:
                    if name.endswith(KEPT):
                        facts = os.stat(os.path.join(folder, name))
                        seen.append([package, os.path.relpath(folder, place), name, facts.st_size, facts.st_mtime_ns])
    return digest(sorted(seen))
