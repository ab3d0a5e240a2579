"""What a checkpoint folder knows besides numbers: program, sizes, vocabulary, options. Later commands need only it.

    job.json       everything below, written when training begins
    program/       the program and every file it uses, at the same places relative to each other
    held.npz       the data that was held out
    log.csv        the report of the run

The numbers themselves (parameters, optimiser, states) are written by rnnc.fit into the same folder.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import rnnc
from rnnc.cli.console import Refusal, Usage, write
from rnnc.cli.sources import STDIN
from rnnc.errors import Source

FORMAT = 1
JOB = "job.json"
FREE = ("epochs", "threads")                   # what may change when a run goes on
NEEDED = ("frames", "batch", "seed")           # what later commands read of how the training went


@dataclass(frozen=True)
class Job:
    """One training run, as it was asked for."""

    program: str                               # the main file, relative to the folder
    digest: str                                # of the program's files
    model: str | None
    sizes: dict
    dtype: str
    source: dict                               # of the data: kind, paths, digest, counts
    vocabulary: str | None                     # of a text model: label i is its i-th character
    training: dict                             # epochs, streams, frames, optimizer, lr, seed, ...
    version: str = field(default=rnnc.__version__)
    weights: str = "float32"                   # how matrices are stored

    @property
    def numbers(self) -> dict:
        return {"dtype": self.dtype, "weights": self.weights}

    def write(self, folder: Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        write(folder / JOB, text + "\n")

    @staticmethod
    def read(folder: Path) -> "Job":
        """The job of a checkpoint folder; anything else is answered with what is wrong about it."""
        if not folder.exists():
            raise Usage(f"no such checkpoint: {folder}", hint="`rnnc train` makes one")
        try:
            data = json.loads((folder / JOB).read_text(encoding="utf-8", errors="surrogateescape"))    # names of files
            form = data.pop("format", None)
        except (FileNotFoundError, NotADirectoryError):
            raise Refusal(f"{folder} is not a checkpoint: it has no {JOB}") from None
        except (ValueError, AttributeError, TypeError):
            raise Refusal(f"{folder / JOB} is damaged") from None
        if form != FORMAT:
            raise Refusal(f"{folder} was written by another version of rnnc ({data.get('version', 'unknown')})")
        try:
            job = Job(**data)
        except TypeError:
            raise Refusal(f"{folder / JOB} is damaged: fields are missing or unknown") from None
        for entry in fields(Job):
            value = getattr(job, entry.name)
            if not isinstance(value, entry.type):
                raise Refusal(f"{folder / JOB} is damaged: {entry.name} is {_short(value)}")
        for name in NEEDED:
            if type(job.training.get(name)) is not int:
                raise Refusal(f"{folder / JOB} is damaged: {name} is {_short(job.training.get(name))}")
        return job

    def net(self, folder: Path, gradient: str | None = None):
        """The net of this job with its first weights. Without `gradient` only what runs is compiled."""
        threads = self.training.get("threads")
        return rnnc.compile(str(folder / self.program), self.model, **self.numbers, threads=threads,
                            gradient=gradient, seed=self.training["seed"], sizes=self.sizes)

    def trained(self, folder: Path, gradient: str | None = None):
        """The net with the weights of the checkpoint."""
        from rnnc.runtime.checkpoint import exists, load_parameters
        if not exists(folder):
            raise Refusal(f"{folder} holds no weights yet: the training was stopped before its first checkpoint")
        net = self.net(folder, gradient)
        load_parameters(net, folder)
        return net

    def differences(self, other: "Job") -> list[str]:
        """What would make going on with `self` as `other` another experiment."""
        found = []
        for key in ("digest", "model", "dtype", "weights", "vocabulary"):
            if getattr(self, key) != getattr(other, key):
                found.append({"digest": "the program's text", "vocabulary": "the characters of the text",
                              "weights": "the weight type"}.get(key, key))
        for mine, yours, leave in ((self.sizes, other.sizes, ()), (self.training, other.training, FREE)):
            found += [f"{key} ({_short(mine.get(key))} before, now {_short(yours.get(key))})"
                      for key in dict.fromkeys([*mine, *yours]) if mine.get(key) != yours.get(key) and key not in leave]
        if self.source["digest"] != other.source["digest"]:
            names = [source.get("name", "files") for source in (self.source, other.source)]
            found.append("what the data holds or how it is cut" if names[0] == names[1]
                         else f"the data ({names[0]} before, now {names[1]})")
        return found


def _short(value) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def own(sources: tuple[Source, ...]) -> list[Source]:
    """The main text and those of the files that it uses: the standard cells come with rnnc."""
    with_files = [s for s in sources[1:] if os.path.isfile(s.name) and Path(s.name).read_text("utf-8") == s.text]
    return [sources[0], *with_files]


def digest(sources: list[Source]) -> str:
    """One name for a program's texts."""
    sink = hashlib.sha256()
    for source in sources:
        sink.update(hashlib.sha256(source.text.encode("utf-8")).digest())
    return sink.hexdigest()[:32]


def keep_program(folder: Path, sources: list[Source]) -> str:
    """Copies the program's texts below folder/program, and says where the main one is."""
    if sources[0].name == STDIN:
        sources = [replace(sources[0], name="model.rnn"), *sources[1:]]
    places = [Path(os.path.abspath(s.name)) for s in sources]
    base = Path(os.path.commonpath([p.parent for p in places]))
    for source, place in zip(sources, places):
        write(folder / "program" / place.relative_to(base), source.text)
    return str(Path("program") / places[0].relative_to(base))
