"""The program that is being written: lines, the units that they make, and the parameters in them.

Units are counted through all lines, so that an array of their numbers says what a value is made of, and `text` turns
such an array into an expression again: `h`, `h[0:4]`, `concat(h, g)`. What no output needs is left out at the end.
"""

import bisect
import re
from dataclasses import dataclass, field

import numpy as np

from rnnc.cli.bring.values import LABEL, UNITS, Axis, Inexpressible, Value

# Names of signals and parameters in the cells that are used: `rnn_h` would be `rnn.h` in C.
INSIDE = frozenset("h c i f g o z r n y centred variance".split()) | {
    f"{kind}{gate}" for kind in "WUbp" for gate in ("", *"ifgozrhu")}
WORDS = frozenset(                                          # of the language; further ones are asked of the compiler
    "use model cell fn input target param frozen const layer init output loss metric return sparse per in and or not "
    "t state starts weight out probe accumulate streams frames threads self cotangents".split())


@dataclass(frozen=True)
class Line:
    """What one line makes. `shape` is () for a single number, `per`: a value for each frame, each sequence, or always.
    `final`: the last state of a layer, which a net that keeps its state need not return."""

    kind: str                                  # "input", "param", "frozen", "layer", "equation"
    name: str
    text: str
    shape: tuple[int, ...]
    base: int
    per: str
    needs: frozenset[str]
    weights: dict[str, np.ndarray]
    final: bool = False
    remark: str = ""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Said:
    """An expression: its text, whether it is a single number, and which lines it names."""

    text: str
    number: bool
    needs: frozenset[str] = frozenset()

    @property
    def plain(self) -> bool:
        """A name or a number, which costs nothing to be said twice."""
        return re.fullmatch(r"[\w.]+", self.text) is not None


@dataclass
class Draft:
    """Lines in order. `taken`: names that cannot be given again."""

    lines: list[Line] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=dict)         # name -> text of a cell of the program's own
    taken: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    named: dict[str, Line] = field(default_factory=dict)
    units: int = 0

    def name(self, wanted: str) -> str:
        """A name that is free, as like `wanted` as can be."""
        base = re.sub(r"\W", "_", wanted, flags=re.ASCII).strip("_")
        base = base if base[:1].isalpha() else f"v{base}" if base else "v"
        name, count = base, 1
        while not self.free(name):
            count += 1
            name = f"{base}_{count}"
        self.taken.add(name)
        return name

    def free(self, name: str) -> bool:
        if name in self.taken or name in reserved() or name.startswith("RN_"):
            return False
        head, _, tail = name.rpartition("_")
        return not (tail in INSIDE and head in self.taken
                    or any(other.startswith(f"{name}_") and other[len(name) + 1:] in INSIDE for other in self.taken))

    def add(self, kind: str, name: str, text: str, shape: tuple[int, ...], per: str, needs=frozenset(), weights=None,
            final: bool = False, remark: str = "") -> np.ndarray:
        """One more line; the numbers of its units."""
        line = Line(kind, name, text, tuple(shape), self.units, per, frozenset(needs), weights or {}, final, remark)
        self.lines.append(line)
        self.named[name] = line
        self.bases.append(self.units)
        self.units += line.size
        return np.arange(line.base, self.units).reshape(shape)

    def equation(self, wanted: str, text: str, shape: tuple[int, ...], needs, weights=None, per: str | None = None,
                 final: bool = False) -> np.ndarray:
        """A signal; without `per` it is one of each frame if anything is that it names."""
        name = self.name(wanted)
        made = {f"{name}.{path}": array for path, array in (weights or {}).items()}
        per = per or self.per(needs)
        return self.add("equation", name, text, shape, per, needs, made, final)

    def per(self, needs) -> str:
        found = {self.line(name).per for name in needs}
        return next((per for per in ("frame", "sequence") if per in found), "always")

    def line(self, name: str) -> Line:
        return self.named[name]

    def maker(self, unit: int) -> Line:
        """The line that makes a unit."""
        return self.lines[bisect.bisect_right(self.bases, unit) - 1]

    def makers(self, units: np.ndarray) -> list[Line]:
        return [self.lines[i] for i in np.unique(np.searchsorted(self.bases, units.ravel(), "right") - 1)]

    # -------------------------------------------------------------------------------------------- units as text

    def say(self, units: np.ndarray) -> Said:
        """An expression for units in their order, as one vector."""
        parts = [self._run(run) for run in _runs(units.ravel(), self)]
        needs = frozenset().union(*(p.needs for p in parts))
        if len(parts) == 1:
            return Said(parts[0].text, parts[0].number, needs)
        return Said("concat(" + ", ".join(p.text for p in parts) + ")", False, needs)

    def _run(self, run: tuple[int, int, int]) -> Said:
        """`first`, how many, and whether each is the next one (1) or the same (0)."""
        first, count, step = run
        line = self.maker(first)
        start, needs = first - line.base, frozenset([line.name])
        if step == 0 and count > 1:
            one = self._run((first, 1, 1))
            return Said(f"({one.text} * ones({count}))", False, needs)
        if len(line.shape) == 2:
            if count == line.size:
                return Said(f"reshape({line.name}, [{count}])", False, needs)
            row, column = divmod(start, line.shape[1])
            return Said(f"{line.name}[{row}, {column}:{column + count}]", False, needs)
        if count == line.size:
            return Said(line.name, line.shape == (), needs)
        return Said(f"{line.name}[{start}]" if count == 1 else f"{line.name}[{start}:{start + count}]", count == 1,
                    needs)


def _runs(units: np.ndarray, draft: Draft) -> list[tuple[int, int, int]]:
    """Stretches of neighbours in one line (in one row of a matrix, unless it is whole), or of one unit again and
    again."""
    if not units.size:
        raise Inexpressible("nothing is left of its value")
    runs, at = [], 0
    while at < units.size:
        first = int(units[at])
        line = draft.maker(first)
        end = line.base + line.size
        if len(line.shape) == 2 and not (first == line.base and units[at: at + line.size].tolist()
                                         == list(range(line.base, end))):
            end = line.base + ((first - line.base) // line.shape[1] + 1) * line.shape[1]
        count = 1
        while at + count < units.size and units[at + count] == first + count < end:
            count += 1
        step = 1
        if count == 1:
            while at + count < units.size and units[at + count] == first:
                count, step = count + 1, 0
        runs.append((first, count, step))
        at += count
    return runs


def reserved() -> frozenset[str]:
    """Words that cannot name a signal: of the language, of C, C++ and Python."""
    import keyword

    from rnnc.graph.elaborate import outside
    return WORDS | outside.C_KEYWORDS | outside.CPP_KEYWORDS | outside.MACROS | outside.NUMBERS | set(keyword.kwlist)


def whole(title: str, cells: list[str], model: str, lines: list[str]) -> str:
    """The text of a program: a remark at its head, cells of its own, the model."""
    head = "\n".join(f"# {line}" for line in title.splitlines())
    body = "\n".join(f"    {line}".rstrip() for line in lines)
    return "\n\n".join([head, *cells, f"model {model} {{\n{body}\n}}"]) + "\n"


def literal(number: float) -> str:
    """A number as the language writes it, in brackets where its sign would be in the way."""
    if not np.isfinite(number):
        raise Inexpressible(f"the number {number} is in it, which a program cannot say")
    short = number if isinstance(number, np.floating) else np.float64(number)
    text = f"{int(number)}" if float(number).is_integer() and abs(number) < 1e9 else str(short.item()
                                                                                       if short.itemsize == 8
                                                                                       else short)
    return f"({text})" if number < 0 else text


def units(axes: list[Axis], data: np.ndarray) -> Value:
    """A value of a program's units; axes of units take their sizes from the data."""
    left = iter(data.shape)
    return Value(tuple(a if a.roles else Axis(next(left)) for a in axes), data, UNITS)


def label(axes: list[Axis], data: np.ndarray) -> Value:
    return Value(tuple(axes), data, LABEL)
