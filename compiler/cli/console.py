"""What the commands say and how: messages on stderr, colours on a terminal, patience bars, apologies.

Results go to stdout by plain `print`; nothing here touches it.
"""

import contextlib
import errno
import json
import math
import os
import re
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

from rnnc.errors import Diagnostic

PATIENCE = 2.0                                 # seconds of silence before a wait is shown
BOLD, RED, CYAN, GREEN, PLAIN = "\033[1m", "\033[1;31m", "\033[36m", "\033[1;32m", "\033[0m"


class Usage(Exception):
    """The command line itself is at fault: exit code 2."""

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.hint = hint


class Refusal(Exception):
    """A file of data or a checkpoint is at fault: exit code 1."""


def say(message: str) -> None:
    """One message to the person at the terminal."""
    print(f"rnnc: {message}", file=sys.stderr, flush=True)


def note(message: str) -> None:
    """A line of a running report: as `say`, without the name in front."""
    print(message, file=sys.stderr, flush=True)


def in_colour(stream) -> bool:
    """Only on a terminal, and never against NO_COLOR (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def render(diagnostic: Diagnostic, coloured: bool) -> str:
    """A diagnostic as text; colours change no character of it."""
    text = diagnostic.render()
    if not coloured:
        return text
    text = re.sub(r"^(\S.*?:\d+:\d+): error (\w+):", rf"{BOLD}\1{PLAIN}: {RED}error \2{PLAIN}:", text, flags=re.M)
    text = re.sub(r"^(\S.*?:\d+:\d+): note:", rf"{BOLD}\1{PLAIN}: {CYAN}note{PLAIN}:", text, flags=re.M)
    text = re.sub(r"^( *\| *)(\^+)$", rf"\1{RED}\2{PLAIN}", text, flags=re.M)
    return re.sub(r"^  hint:", f"  {GREEN}hint{PLAIN}:", text, flags=re.M)


def complain(diagnostics: list[Diagnostic], stream) -> None:
    """Every diagnostic, one after another."""
    for diagnostic in diagnostics:
        print(render(diagnostic, in_colour(stream)), file=stream)


def wants_progress(asked: bool | None) -> bool:
    """--progress and --no-progress decide; without either, a terminal does."""
    return sys.stderr.isatty() if asked is None else asked


@contextlib.contextmanager
def patience(what: str, asked: bool | None = None):
    """A wait of unknown length: after two seconds a line with the seconds passed, which vanishes at the end."""
    if not wants_progress(asked):
        yield
        return
    finished = threading.Event()
    thread = threading.Thread(target=_count_seconds, args=(what, finished), daemon=True)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()


def _count_seconds(what: str, finished: threading.Event) -> None:
    if finished.wait(PATIENCE):
        return
    from tqdm import tqdm
    start = time.monotonic() - PATIENCE
    with tqdm(desc=what, bar_format="{desc}", leave=False, file=sys.stderr) as bar:
        while not finished.wait(0.5):
            bar.set_description_str(f"{what}: {time.monotonic() - start:.0f} s")


def apologise(fault: BaseException, arguments: list[str]) -> None:
    """A bug of ours: a short apology, and the traceback where it does not frighten anybody."""
    import rnnc
    story = "".join(traceback.format_exception(fault))
    header = f"rnnc {rnnc.__version__}, Python {sys.version.split()[0]}, {sys.platform}\narguments: {arguments}\n\n"
    if os.environ.get("RNNC_TRACEBACK") == "1":
        print(story, file=sys.stderr, end="")
        where = "the text above"
    else:
        try:
            descriptor, name = tempfile.mkstemp(prefix="rnnc-bug-", suffix=".txt")
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(header + story)
            where = f"the program and {name}"
        except OSError:
            where = "the program, and what RNNC_TRACEBACK=1 shows"
    last = str(fault).strip().splitlines()
    summary = f"{type(fault).__name__}{': ' + last[0][:200] if last else ''}"
    say(f"sorry, this is a bug of rnnc, not a fault of yours ({summary})\n      please report it with {where}")


def json_line(found: dict) -> str:
    """JSON, with null for numbers that it has no word for: NaN and infinities."""
    def known(value):
        if isinstance(value, list):
            return [known(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value
    try:
        return json.dumps(found, allow_nan=False)
    except ValueError:
        return json.dumps({name: known(value) for name, value in found.items()})


def writable(path: Path) -> None:
    """Refuses, before any work is done for it, a file that could not be written in the end."""
    if path.is_dir():
        raise Usage(f"{path}: a folder, where a file is to be written")
    if path.exists() and not path.is_file():   # a device or a pipe, which is written to as it is
        if not os.access(path, os.W_OK):
            raise Usage(f"{path}: {os.strerror(errno.EACCES)}")
    else:
        takes_files(Path(os.path.realpath(path)).parent)


def takes_files(folder: Path) -> None:
    """Refuses, likewise, a folder."""
    from rnnc.runtime import storage
    try:
        storage.takes_files(folder)
    except OSError as fault:
        raise Usage(f"no file can be made in {fault.filename}: {fault.strerror}") from None


def write(path: Path, content: str | bytes) -> None:
    """A file appears whole or not at all."""
    from rnnc.runtime.storage import write_whole
    write_whole(path, content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
