"""What stands where a command says FILE, and sizes given by -D.

FILE is a path, the name of a shipped sample ("charlm"), or `-` for stdin. `-D name=value` takes an integer, a float or
a list of them.
"""

import argparse
import codecs
import difflib
import math
import re
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from rnnc.cli.console import Refusal, Usage
from rnnc.errors import CompileError, Diagnostic, InputError, Source, Span
from rnnc.runtime.ask import is_target

STDIN = "<stdin>"
MOST = 1 << 26                                 # bytes of a program; a device never ends


@dataclass(frozen=True)
class Program:
    """A program as it was named: its path (None for stdin), its text, and the word for it in messages."""

    name: str
    path: Path | None
    text: str

    @property
    def source(self) -> Source:
        """What the compiler takes."""
        return Source(self.name, self.text)

    @property
    def given(self) -> str:
        """What `rnnc.compile` takes: a path, or text with a newline in it."""
        return str(self.path) if self.path else self.text + "\n"

    @property
    def stem(self) -> str:
        return self.path.stem if self.path else "model"


def samples() -> list[str]:
    """Names of the programs that ship with rnnc."""
    return sorted(p.name.removesuffix(".rnn") for p in files("rnnc.samples").iterdir() if p.name.endswith(".rnn"))


def find(name: str) -> Program:
    """The program that FILE means; a wrong word is answered with near ones."""
    if name == "-":
        return Program(STDIN, None, written(bounded(sys.stdin.buffer, STDIN), STDIN))
    path = Path(name)
    if not name:
        raise Usage("the program's name is empty", hint="FILE is a path, the name of a sample, or - for stdin")
    if path.is_dir():
        raise a_folder(path)
    if not path.exists():
        sample = name.removesuffix(".rnn")
        if sample not in samples():
            raise Usage(f"no such file: {name}", hint=near(name))
        with as_file(files("rnnc.samples") / f"{sample}.rnn") as shipped:
            path = Path(shipped)
    with open(path, "rb") as file:
        return Program(str(path), path, written(bounded(file, name), name))


def a_folder(path: Path) -> Usage:
    """What to say of a folder: one that a training run has made holds its program."""
    from rnnc.cli.record import Job
    try:
        job = Job.read(path)
    except (Usage, Refusal, OSError):
        return Usage(f"{path} is a folder, not a program")
    flags = [f"--model {job.model}"] if job.model else []
    for name, value in job.sizes.items():
        flags.append(f"-D {name}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return Usage(f"{path} is a checkpoint, not a program",
                 hint=f"its program: {' '.join([str(path / job.program), *flags])}")


def bounded(file, name: str) -> bytes:
    """What a program may be at most."""
    data = file.read(MOST + 1)
    if len(data) > MOST:
        raise Refusal(f"{name}: more than {MOST >> 20} MiB, which is no program")
    return data


def there(weights: Path | None) -> None:
    """Refuses weights that are asked for and not there: a file, or the folder of a training run."""
    if not weights or weights.is_file():
        return
    if weights.is_dir():
        from rnnc.runtime.checkpoint import FILE, exists
        if exists(weights):
            return
        raise Usage(f"{weights} is a folder without {FILE}; a file is wanted, or the folder of a training run")
    raise Usage(not_a_file(weights, "weights"))


def load(net, weights: Path) -> None:
    """Parameters of a program from a file; those of another shape were mostly made with other sizes."""
    try:
        net.load(weights)
    except InputError as fault:
        hint = "\n  hint: -D NAME=VALUE sets a size of the program" if "got shape" in str(fault) else ""
        raise Refusal(f"{fault.message}{fault.typed}{hint}") from None


def not_a_file(path: str | Path, kind: str) -> str:
    """Why a file that is to be read, and once more by a later command, cannot be."""
    path = Path(path)
    if not path.exists():
        return f"no such {kind}: {path}"
    return f"{path} is {'a folder' if path.is_dir() else 'a pipe or a device'}; a file is wanted"


def written(data: bytes, name: str) -> str:
    """The text of a program. What is none is a fault of it as any other, with its place."""
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as fault:
        before = data[: fault.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        shown = Source(name, data.decode("utf-8", "replace"))
        found = Diagnostic("E0101", f"this is not UTF-8 text: byte {data[fault.start]:02x}",
                           Span(shown, line, column, line, column + 1), hint="save the file as UTF-8")
        raise CompileError([found]) from None


def decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise Refusal(f"{name}:{line}: this is not UTF-8 text") from None


def near(name: str) -> str:
    """A hint: files and samples whose names resemble `name`, or all samples."""
    path = Path(name)
    known = {s: f"{s}.rnn" if path.suffix else s for s in samples()}
    known |= {p.stem: str(p) for p in sorted(path.parent.glob("*.rnn"))} if path.parent.is_dir() else {}
    close = difflib.get_close_matches(path.stem, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(known[stem] for stem in close) + "?"
    return "shipped samples: " + ", ".join(samples())


NUMBER = re.compile(r"[+-]?(\d+|(\d+\.\d*|\.\d+)([eE][+-]?\d+)?|\d+[eE][+-]?\d+)")


def number(text: str) -> int | float:
    text = text.strip()
    if not NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    value = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    if isinstance(value, float) and not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is larger than any number here")
    return value


def size(text: str) -> tuple[str, int | float | list]:
    """`hidden=512`, `rate=1e-3`, `lags=1,2,4` or `lags=[1, 2, 4]`."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r}: write it as name=value, for example hidden=512")
    value = value.strip()
    if value.startswith("[") and value.endswith("]"):
        inner = value[1:-1].strip()
        return name.strip(), [number(part) for part in inner.split(",")] if inner else []
    if "," in value:
        return name.strip(), [number(part) for part in value.split(",")]
    return name.strip(), number(value)


class OneValue(argparse.Action):
    """Values by name, in a list; one may come again, as what it was."""

    def __call__(self, parser, namespace, given, flag=None):
        name, value = given
        listed = list(getattr(namespace, self.dest))
        told = lambda found: ",".join(map(str, found)) if isinstance(found, list) else found
        for before, other in listed:
            if before == name and other != value:
                raise argparse.ArgumentError(self, f"{name} is given twice, as {told(other)} and as {told(value)}")
        setattr(namespace, self.dest, [*listed, given])


def add_program(command: argparse.ArgumentParser) -> None:
    """FILE, --model and -D, for every command that reads a program."""
    command.add_argument("file", metavar="FILE", help="a program, the name of a shipped sample, or - for stdin")
    add_model(command)
    add_progress(command)


def add_model(command: argparse.ArgumentParser) -> None:
    """--model and -D."""
    command.add_argument("--model", help="which model, if the file has several")
    command.add_argument("-D", dest="sizes", metavar="NAME=VALUE", type=size, action=OneValue, default=[],
                         help="a size of the model: -D hidden=512, -D lags=1,2,4")


def add_progress(command: argparse.ArgumentParser) -> None:
    command.add_argument("--progress", action=argparse.BooleanOptionalAction, default=None,
                         help="show progress (default: on a terminal)")


def processor(text: str) -> str:
    """An argument type: what may follow -march=."""
    if not is_target(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no processor; it is native, or one like x86-64-v3")
    return text


def positive(text: str, least: int = 1) -> int:
    """An argument type: a whole number of at least 1."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"{value} is less than {least}")
    return value


def nonnegative(text: str) -> int:
    """An argument type: a whole number of at least 0."""
    return positive(text, least=0)


def seed(text: str) -> int:
    value = nonnegative(text)
    if value >= 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not below 2^63")
    return value


def real(text: str) -> float:
    """An argument type: a positive number."""
    value = float(number(text))
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return value
