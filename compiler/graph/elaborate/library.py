"""Definitions: what a file brings, what it uses, and the standard cells.

A file sees its own cells, functions and constants, those of the files that it names in `use` (not what these use in
turn), and the standard cells, which any definition of one's own hides.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

from rnnc.errors import CompileError, Faults, Note, Source
from rnnc.front import tree
from rnnc.front.parse import parse
from rnnc.graph.elaborate.scope import Constant, Scope

DEFINITIONS = (tree.Cell, tree.Function)


@lru_cache(maxsize=1)
def standard_names() -> tuple[str, ...]:
    folder = files("rnnc.grammar") / "cells"
    return tuple(sorted(p.name[:-4] for p in folder.iterdir() if p.name.endswith(".rnn")))


@cache
def standard_file(name: str) -> tuple[Source, tree.File]:
    text = (files("rnnc.grammar") / "cells" / f"{name}.rnn").read_text(encoding="utf-8")
    source = Source(f"{name}.rnn", text)
    return source, parse(source)


def is_standard(source: Source) -> bool:
    return any(source is standard_file(name)[0] for name in standard_names() if source.name == f"{name}.rnn")


@dataclass(eq=False)
class Definitions:
    """What one file may name. `find` gives a definition with the definitions that its own text may name."""

    library: "Library"
    own: dict[str, object] = field(default_factory=dict)
    used: dict[str, tuple[object, "Definitions"]] = field(default_factory=dict)
    values: dict[str, Constant] = field(default_factory=dict)
    brought: list["Definitions"] = field(default_factory=list)

    def find(self, name: str):
        if name in self.own:
            return self.own[name], self
        return self.used.get(name) or self.library.standard(name)

    def has(self, name: str) -> bool:
        return name in self.own or name in self.used or name in standard_names()

    def constant(self, name: str) -> Constant | None:
        return self.values.get(name)

    def constants(self) -> list[str]:
        return list(self.values)

    def callables(self) -> list[str]:
        return [*self.own, *self.used, *standard_names()]


class Library:
    """Every file that one program reads."""

    def __init__(self, read_file, work, check):
        self.read_file = read_file
        self.sources: dict[str, Source] = {}
        self.cells: dict[str, Definitions] = {}
        self.work = work
        self.check = check                     # names of a file: what is said of the program's own and of used files
        self.files: dict[str, Definitions | None] = {}

    def standard(self, name: str):
        """A standard cell, read when first named."""
        if name not in self.cells:
            if name not in standard_names():
                return None, None
            source, file = standard_file(name)
            self.sources[source.name] = source
            self.cells[name] = self.collect(file)
        return self.cells[name].own.get(name), self.cells[name]

    def collect(self, file: tree.File) -> Definitions:
        """A file's own definitions."""
        made = Definitions(self)
        scope = Scope(self.work, made)
        for item in file.items:
            if isinstance(item, DEFINITIONS):
                made.own[item.name.id] = item
            elif isinstance(item, tree.Const):
                made.values[item.name.id] = Constant(item, scope)
                self.work.constants.append(made.values[item.name.id])
        return made

    def definitions(self, file: tree.File, faults: Faults, chain: tuple[str, ...] = ()) -> Definitions:
        """A program's definitions, those of the files that it uses included. `chain`: the files on the way here."""
        made = self.collect(file)
        places = {name: item.name.span for name, item in made.own.items()}
        places.update((name, c.statement.name.span) for name, c in made.values.items())
        here = file.span.source.name
        for use in (item for item in file.items if isinstance(item, tree.Use)):
            brought = self.used(use, here, (*chain, here), faults)
            if brought is None or brought in made.brought:
                continue
            made.brought.append(brought)
            own = ((n, c) for n, c in brought.values.items() if c.scope.definitions is brought)
            for name, item in (*brought.own.items(), *own):
                span = item.statement.name.span if isinstance(item, Constant) else item.name.span
                if name in places:
                    faults.add("E0202", f"{name} is defined twice: here and in {span.source.name}", places[name]
                               if places[name].source.name == here else use.span, [Note(span, "the other one")])
                    continue
                places[name] = span
                if isinstance(item, Constant):
                    made.values[name] = item
                else:
                    made.used[name] = (item, brought)
        return made

    def used(self, use: tree.Use, here: str, chain: tuple[str, ...], faults: Faults) -> Definitions | None:
        """The definitions of a used file, read once however often it is used."""
        try:
            source = self.read_file(use.path, here)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            faults.add("E0207", f"the file {use.path} cannot be read: {reason.lower()}", use.span)
            return None
        name = source.name
        if name in chain:
            way = " -> ".join([*chain[chain.index(name):], name])
            faults.add("E0208", f"files use each other in a circle: {way}", use.span)
            return None
        if name not in self.files:
            self.sources[name] = source
            self.files[name] = None            # its own faults are told once
            try:
                file = parse(source)
            except CompileError as error:
                faults.found += error.diagnostics
                return None
            made = self.definitions(file, faults, chain)
            self.files[name] = made
            self.check(file, made, faults)
        return self.files[name]
