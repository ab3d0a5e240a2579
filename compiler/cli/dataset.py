"""What a training run learns from: a text, a file of arrays, or one file per signal; and what a model wants of it.

In: the flags, the graph of the program. Out: the data of rnnc.data with its held-out part, and the facts that the
checkpoint keeps about it.
"""

from dataclasses import dataclass
from pathlib import Path

import rnnc
from rnnc.cli import corpus
from rnnc.cli.console import Refusal, Usage
from rnnc.cli.sources import not_a_file

TEXT, ARRAYS, SETS = "text", "arrays", "sets"
STREAMS, WINDOWS = 16, 10                      # of recordings: so many, if each has so many windows
TEXT_STREAMS, TEXT_WINDOWS = 32, 50            # the same for texts


@dataclass(frozen=True)
class Place:
    """Where data comes from: `kind`, and path (None: the text inside Python) or paths by signal."""

    kind: str
    path: str | None = None
    paths: tuple[tuple[str, str], ...] = ()

    @property
    def source(self) -> str | dict[str, str]:
        """As rnnc.data.load wants it."""
        return self.path or dict(self.paths)


def place(options, program_sizes: set[str], stored: dict | None) -> Place | None:
    """What the flags name; else what the checkpoint was begun with; else, for a model of text, the built-in text."""
    given = [flag for flag in ("text", "data", "set") if getattr(options, flag)]
    if len(given) > 1:
        raise Usage(f"--{given[0]} and --{given[1]} exclude each other")
    absolute = lambda name: str(Path(name).absolute())
    if options.text:
        return Place(TEXT, absolute(options.text))
    if options.data:
        return Place(ARRAYS, absolute(options.data))
    if options.set:
        names = [name for name, _ in options.set]
        for name in names:
            if names.count(name) > 1:
                raise Usage(f"--set gives {name} twice")
        return Place(SETS, None, tuple(sorted((name, absolute(path)) for name, path in options.set)))
    if stored:
        return Place(stored["kind"], stored.get("path"), tuple(sorted(stored.get("paths", {}).items())))
    return Place(TEXT) if "vocab" in program_sizes else None


def read_corpus(where: Place) -> corpus.Corpus:
    return corpus.from_file(where.path) if where.path else corpus.documentation()


def text_signals(graph) -> tuple[str, str, int]:
    """The input and the target that take characters, and how many different ones the model knows."""
    inputs = [i for i in graph.inputs if not i.target]
    targets = [i for i in graph.inputs if i.target]
    if len(inputs) != 1 or len(targets) != 1 or inputs[0].kind != "class" or targets[0].kind != "class":
        raise Refusal("a text is learned by a model with one input and one target of the form class(n); "
                      f"{graph.name} has other signals")
    return inputs[0].name, targets[0].name, min(inputs[0].classes, targets[0].classes)


def from_text(found: corpus.Corpus, graph, training: dict):
    """A text in streams, with its end held out."""
    reads, writes, classes = text_signals(graph)
    if len(found.vocabulary) > classes:
        raise Refusal(f"{found.name} has {len(found.vocabulary)} different characters, but the model knows {classes}")
    if training["streams"] is None:
        training["streams"] = max(1, min(TEXT_STREAMS, len(found.text) // (TEXT_WINDOWS * training["frames"])))
    source = found.text if "\n" in found.text else found.name
    return rnnc.data.text(source, training["streams"], training["frames"], vocabulary=found.vocabulary,
                          held_out=training["held_out"], input=reads, target=writes)


def from_files(where: Place, graph, training: dict, dtype: str):
    """Arrays, tables or sounds, checked against the model's signals."""
    for path in [where.path] if where.path else dict(where.paths).values():
        if not Path(path).is_file():
            raise Usage(not_a_file(path, "file"))
    form = {"batch": training["batch"], "seed": training["seed"]} if where.kind == ARRAYS else {}
    from rnnc.runtime.arrays import Signal
    takes = {i.name: Signal(i.shape, i.kind, i.classes, i.per) for i in graph.inputs}
    whole = checked(where, takes, {i.name for i in graph.inputs if i.target}, dtype, frames=training["frames"], **form)
    if training["streams"] is None:
        learned = whole.length - int(whole.length * training["held_out"]) if whole.carries else 0
        training["streams"] = max(1, min(STREAMS, learned // (WINDOWS * training["frames"])))
    del whole
    return rnnc.data.load(where.source, streams=training["streams"], frames=training["frames"],
                          held_out=training["held_out"], **form, **of_table(where, takes))


def of_table(where: Place, takes: dict) -> dict:
    """What a table does not say itself: which of its columns have one value for a whole sequence."""
    if where.kind != ARRAYS or Path(where.path).suffix.lower() != ".csv":
        return {}
    return {"per_sequence": [name for name, s in takes.items() if s.per == "sequence" and s.kind != "labels"]}


def checked(where: Place, takes: dict, targets, dtype: str, **form):
    """The data in one stream, nothing held out: places in it are those in its files."""
    from rnnc.runtime.data.check import check
    from rnnc.runtime.data.files import names_in
    if names := names_in(where.source):        # what is no signal of the model need not be as long as those
        known(names, where, takes)
    data = rnnc.data.load(where.source, streams=1, **form, **of_table(where, takes))
    known(data.names, where, takes)
    check(data, takes, targets, dtype, lambda name: where.path or where.source[name])
    return data


def known(names: list[str], where: Place, takes: dict) -> None:
    """Refuses data of other signals than the model's."""
    from rnnc.runtime.data.check import WEIGHT
    strange, missing = sorted(set(names) - set(takes) - {WEIGHT}), sorted(set(takes) - set(names))
    if strange or missing:
        hint, vectors = "", [name for name in takes if name in missing and takes[name].shape]
        if vectors and str(where.path).lower().endswith(".csv"):
            first = vectors[0] + "[0]" * len(takes[vectors[0]].shape)
            hint = f"\n  hint: the columns of {vectors[0]} are called {first}, {first[:-2]}1], ..."
        raise Refusal((f"{where.path}: " if where.path else "") + "; ".join(
            ([f"the data has {', '.join(strange)}, which the model does not take"] if strange else [])
            + ([f"the model takes {', '.join(missing)}, which the data does not have"] if missing else [])) + hint)


def facts(where: Place, data, found: corpus.Corpus | None) -> dict:
    """What the checkpoint keeps about the data, for later commands and for anybody who asks what was learned."""
    about = {"kind": where.kind, "path": where.path, "frames": data.total, "digest": data.digest}
    if where.paths:
        about["paths"] = dict(where.paths)
    if found is not None:
        about |= {"name": found.name, "characters": len(found.text), "sha256": found.digest}
    return about
