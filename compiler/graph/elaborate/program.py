"""From a program's text to its graph: which files are read, which model is meant, which sizes it gets."""

import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rnnc.errors import Faults, Source
from rnnc.front import tree
from rnnc.front.parse import parse
from rnnc.graph.elaborate import bodies, causality, names, outside, unknown
from rnnc.graph.elaborate.emit import Emitter
from rnnc.graph.elaborate.hints import near
from rnnc.graph.elaborate.library import Library
from rnnc.graph.elaborate.places import Place, Store
from rnnc.graph.elaborate.scope import At, Scope, Thunk
from rnnc.graph.elaborate.work import Work
from rnnc.graph.nodes import Graph

LEVELS = 60_000                                # expressions of 150 levels in cells 60 deep, with some to spare
ReadFile = Callable[[str, str], Source]        # (path as written, name of the file that uses it) -> its text


@dataclass(frozen=True)
class Program:
    """A graph with all that it was made from. `sources`: every text that was read, the standard cells' too."""

    graph: Graph
    file: tree.File
    sources: tuple[Source, ...]


def read_file(path: str, user: str) -> Source:
    """A used file, relative to the one that uses it."""
    there = os.path.normpath(Path(user).parent / path)
    return Source(there, Path(there).read_text(encoding="utf-8"))


def open_source(source: str | Path) -> Source:
    """A path, or a program's text (which contains a newline)."""
    if isinstance(source, str) and "\n" in source:
        return Source("<text>", source)
    return Source(str(source), Path(source).read_text(encoding="utf-8"))


def load(source: str | Path | Source, model: str | None = None, sizes: dict | None = None, *,
         read_file: ReadFile = read_file) -> Program:
    """Read, parse and elaborate. `CompileError` carries every fault that was found."""
    text = source if isinstance(source, Source) else open_source(source)
    file = parse(text)
    graph, library = _elaborate(file, sizes or {}, model, read_file)
    return Program(graph, file, (text, *library.sources.values()))


def elaborate(file: tree.File, sizes: dict | None = None, model: str | None = None, *,
              read_file: ReadFile = read_file) -> Graph:
    return _elaborate(file, sizes or {}, model, read_file)[0]


def survey(source: str | Path | Source, *, read_file: ReadFile = read_file) -> None:
    """The names of a library, which has no model to elaborate. `CompileError` carries every fault that was found."""
    text = source if isinstance(source, Source) else open_source(source)
    file, faults = parse(text), Faults()
    library = Library(read_file, Work(faults), names.check)
    names.check(file, library.definitions(file, faults), faults)
    faults.stop()


def choose(file: tree.File, model: str | None, faults: Faults) -> tree.Model:
    models = [item for item in file.items if isinstance(item, tree.Model)]
    known = [m.name.id for m in models]
    chosen = [m for m in models if model is None or m.name.id == model]
    if len(chosen) == 1:
        return chosen[0]
    if not models:
        faults.add("E0601", "there is no model in this file: it is a library", file.span)
    elif model is None:
        faults.add("E0601", f"there are several models, {', '.join(known)}: say which is meant", models[1].name.span,
                   hint=f'model="{known[0]}", or --model {known[0]} on the command line')
    else:
        faults.add("E0601", f"there is no model called {model}", models[0].name.span, hint=near(model, known)
                   or f"there is {', '.join(known)}")
    faults.stop()


@contextmanager
def room(levels: int):
    """Expressions inside cells inside cells are followed by recursion, deeper than Python allows for by itself."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, levels))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _elaborate(file: tree.File, sizes: dict, model: str | None, read_file: ReadFile) -> tuple[Graph, Library]:
    with room(LEVELS), np.errstate(all="ignore"):      # constants that are not finite are told as faults
        return _elaborated(file, sizes, model, read_file)


def _elaborated(file: tree.File, sizes: dict, model: str | None, read_file: ReadFile) -> tuple[Graph, Library]:
    faults = Faults()
    work = Work(faults)
    library = Library(read_file, work, names.check)
    definitions = library.definitions(file, faults)
    names.check(file, definitions, faults)
    faults.stop()
    chosen = choose(file, model, faults)
    root = Place()
    scope = Scope(work, definitions, place=root, store=Store(root), title=chosen.name.id)
    bind_sizes(scope, chosen, sizes, faults)
    faults.stop()
    bodies.declare(scope, chosen.body)
    bodies.elaborate(scope, chosen.body)
    if not any(isinstance(item, (tree.Output, tree.Loss)) for item in chosen.body):        # one may be at fault itself
        faults.add("E0603", f"the model {chosen.name.id} has neither an output nor a loss", chosen.name.span)
    work.complete()
    if not faults.found:
        unknown.report(work)
    work.engine.verify()
    faults.stop()
    graph = replace(Emitter(work, faults).emit(), name=chosen.name.id)
    causality.check(graph, faults, work.doubts)
    outside.check_names(graph, {name: span for name, (_, span) in work.metrics.items()}, chosen.name.span, faults)
    outside.check_targets(graph, faults)
    outside.check_total(graph, chosen.name.span, faults)
    outside.check_delays(graph, faults)
    faults.stop()
    return causality.sorted_graph(graph), library


def check_asked(file: tree.File, sizes: dict, model: str | None) -> None:
    """Refuses a model or sizes that the file does not have, where nothing but its text is wanted."""
    faults = Faults()
    if model is not None or sizes:
        check_sizes(choose(file, model, faults), sizes, faults)
    faults.stop()


def check_sizes(model: tree.Model, sizes: dict, faults: Faults) -> None:
    formals = [f.name.id for f in model.sizes]
    for name in sizes:
        if name not in formals:
            known = ", ".join(formals) or "none"
            faults.add("E0212", f"the model {model.name.id} has no size called {name}", model.name.span,
                       hint=near(name, formals) or f"its sizes: {known}")


def bind_sizes(scope: Scope, model: tree.Model, sizes: dict, faults: Faults) -> None:
    check_sizes(model, sizes, faults)
    for formal in model.sizes:
        name = formal.name.id
        if name in sizes:
            scope.names[name] = given(name, sizes[name], formal, faults)
        elif formal.default is not None:
            scope.names[name] = Thunk(formal.default, At(scope))
        else:
            faults.add("E0212", f"the size {name} has no value", formal.name.span,
                       hint=f"give one: {name} = ..., or -D {name}=... on the command line")
            scope.names[name] = 1


def given(name: str, value, formal: tree.Formal, faults: Faults):
    """A size from outside as the elaborator's own kind of number."""
    if isinstance(value, (list, tuple)):
        return [given(name, v, formal, faults) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    faults.add("E0212", f"the size {name} is a number or a list of numbers, not {value!r}", formal.name.span)
    return 1
