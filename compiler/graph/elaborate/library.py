"""Definitions: what a file brings, what it uses, and the standard cells.

A file sees its own cells, functions and constants, those of the files that it names in `use` (not what these use in
turn), and the standard cells, which any definition of one's own hides.
"""

from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.resources import files

from rnnc.errors import Faults, Source
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


@dataclass(eq=False)
class Definitions:
    """What one file may name. `find` gives a definition with the definitions that its own text may name."""

    library: "Library"
    own: dict[str, object] = field(default_factory=dict)
    used: dict[str, tuple[object, "Definitions"]] = field(default_factory=dict)
    values: dict[str, Constant] = field(default_factory=dict)

    def find(self, name: str):
        if name in self.own:
            return self.own[name], self
        return self.used.get(name) or self.library.standard(name)

    def constant(self, name: str) -> Constant | None:
        return self.values.get(name)

    def constants(self) -> list[str]:
        return list(self.values)

    def callables(self) -> list[str]:
        return [*self.own, *self.used, *standard_names()]


class Library:
    """Every file that one program reads."""

    def __init__(self, read_file):
        self.read_file = read_file
        self.sources: dict[str, Source] = {}
        self.cells: dict[str, Definitions] = {}
        self.work = None

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
        return made

    def definitions(self, file: tree.File, work, faults: Faults) -> Definitions:
        """A program's definitions, those of the files that it uses included."""
        self.work = work
        return self.collect(file)
