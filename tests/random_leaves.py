"""What random expressions are made of, for tests/random_programs.py: values with shapes and bounds, leaves, taming.

A `Value` is a text with its shape and a bound on its size. Shapes are tuples of plain numbers; how a number is written
(`5`, `n`, `dim(x)`) is the body's business, so that one generator writes models with literal sizes and cells with
symbolic ones.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

LIMIT = 4.0                                    # no signal is larger than this


@dataclass(frozen=True)
class Value:
    text: str
    shape: tuple[int, ...] = ()
    bound: float = 1.0
    tight: bool = False                        # safe as an operand without parentheses

    @property
    def operand(self) -> str:
        return self.text if self.tight else f"({self.text})"


@dataclass
class Signal:
    """Something that can be read. kind: real, class, flag."""

    name: str
    shape: tuple[int, ...] = ()
    bound: float = LIMIT
    kind: str = "real"
    classes: int = 0
    is_input: bool = False
    is_constant: bool = False                  # the same in every frame: has no value before the start


@dataclass
class Ring:
    """The loop being written: which of its members the present equation may read, and from how many frames ago."""

    direction: int
    least: dict[str, int]                      # member -> least delay, in the loop's direction; may be negative
    members: list[Signal] = field(default_factory=list)


class Leaves:
    """Draws the leaves of one body. `texts` writes sizes; `generic`: the body must hold for other sizes too."""

    def __init__(self, chance: random.Random, features: Counter, texts: dict[int, str], generic: bool, without=()):
        self.chance, self.features, self.texts, self.generic = chance, features, texts, generic
        self.without = frozenset(without)
        self.signals: list[Signal] = []
        self.lines: list[str] = []             # declarations and equations, in no particular order
        self.reads: dict[str, set[int]] = {}   # signal -> delays at which it is read
        self.ring: Ring | None = None
        self.helpers: list[tuple[str, int, bool]] = []       # (name, arguments, reads other frames)
        self.used: Counter = Counter()
        self.still = 0                         # > 0 inside a delayed expression: no `t`, no reads of other frames
        self.sequences = "sequences" not in self.without and chance.random() < 0.35    # operators over whole sequences

    # ---------------------------------------------------------------------------------------- small choices

    def maybe(self, probability: float) -> bool:
        return self.chance.random() < probability

    def note(self, *features: str) -> None:
        self.features.update(features)

    def fresh(self, stem: str) -> str:
        self.used[stem] += 1
        return f"{stem}{self.used[stem]}"

    def size(self, n: int) -> str:
        return self.texts.get(n, str(n))

    def sizes(self, shape: tuple[int, ...]) -> str:
        return "[" + ", ".join(self.size(n) for n in shape) + "]"

    def number(self, low: float, high: float) -> str:
        return f"{self.chance.uniform(low, high):.3g}"

    def known_size(self) -> int:
        """A size that this body can write down."""
        if self.generic:
            return self.chance.choice(list(self.texts))
        return self.chance.choice([1, 2, 3, 3, 5, 5, 7, 8, 16, 17, 33])

    # ---------------------------------------------------------------------------------------- leaves

    def read(self, signal: Signal) -> Value:
        """A signal at some frame that it may be read from here."""
        ring = self.ring
        if ring and signal.name in ring.least:
            delay = ring.least[signal.name] + self.chance.choice([0, 0, 0, 0, 1, 1, 2, 3])
            if delay < 0:
                self.note("ahead inside a loop")
            delay *= ring.direction
        elif self.still or self.maybe(0.6):
            delay = 0
        else:
            delay = self.chance.choice([1, 1, 1, 2, 2, 3, 4, 6])
            if self.maybe(0.25) and "look-ahead" not in self.without:
                delay = -min(delay, 3)
                self.note("look-ahead")
        self.reads.setdefault(signal.name, set()).add(delay)
        if delay:
            self.note(f"delay {abs(delay)}")
        text = signal.name + (f"[t{-delay:+d}]" if delay else "")
        return Value(text, signal.shape, signal.bound, True)

    def readable(self, test) -> Signal | None:
        """A random signal that passes the test; inside a loop, its members first."""
        found = [s for s in self.signals if test(s)]
        if self.ring and not self.still:
            members = [s for s in self.ring.members if s.name in self.ring.least and test(s)]
            if members and (not found or self.maybe(0.6)):
                return self.chance.choice(members)
        return self.chance.choice(found) if found else None

    def vector(self, deep: int) -> Value:
        """Some vector, of whatever size is at hand."""
        signal = self.readable(lambda s: s.kind == "real" and len(s.shape) == 1)
        if signal and (deep <= 0 or self.maybe(0.7)):
            return self.read(signal)
        return self.value((signal.shape[0] if signal else self.known_size(),), deep - 1)

    def param(self, shape: tuple[int, ...], family: int = 0, rule: str | None = None) -> str:
        name = self.fresh("W" if len(shape) == 2 else "b" if shape else "s")
        rules = ["~ uniform(-0.6, 0.6)", "~ normal(0, 0.4)"]
        if len(shape) == 2:
            rules += ["", "", "~ glorot", "~ lecun", "~ he"] + ["~ orthogonal"] * (not family)
            rules += ["~ identity(0.7)", "~ spectral(0.8)"] * (shape[0] == shape[1] and not family)
        else:
            rules += [f"= {self.number(-0.8, 0.8)}"]
        rule = rule or self.chance.choice(rules)
        drawn = rule.strip("~ ").partition("(")[0] if "~" in rule else "number" if rule else "none"
        self.note(f"initialiser {drawn}")
        word = "frozen" if self.maybe(0.07) else "param"
        self.note(word)
        if len(shape) == 2 and drawn not in ("orthogonal", "identity", "spectral") and self.maybe(0.12):
            self.note("sparse")
            rule += f" sparse({self.chance.choice(['0.9', '0.5', '0.3', '0.7'])})"
        dims = ([str(family)] if family else []) + [self.size(n) for n in shape]
        declared = f" : [{', '.join(dims)}]" if dims else ""
        self.lines.append(f"{word} {name}{declared} {rule}".rstrip())
        return name

    def constant(self, shape: tuple[int, ...]) -> str:
        name = self.fresh("A")
        if self.generic and set(shape) != {list(self.texts)[0]}:
            return self.param(shape)           # a constant needs sizes that are known beforehand
        formula = self.chance.choice([
            "cos(i + 2 * j)", "where(i == j, 0.9, 0.05)", "(i - j) / (i + j + 1)", "0.3 * sin(1 + i * j)",
            "where(i < j, -0.4, 0.4)", "exp(-abs(i - j)) * 0.8"])
        self.note("const")
        if len(shape) == 2 and shape[0] == shape[1] and self.maybe(0.7):
            return self.matrix_function(name, self.size(shape[0]))
        if len(shape) == 1:
            formula = formula.replace("j", "2")
            self.lines.append(f"const {name}[i : {self.size(shape[0])}] = {formula}")
        else:
            self.lines.append(f"const {name}[i, j : {self.size(shape[0])}, {self.size(shape[1])}] = {formula}")
        return name

    def matrix_function(self, name: str, n: str) -> str:
        """A constant [n, n] made from another; what is inverted has a large diagonal."""
        inner = self.fresh("A")
        self.lines.append(f"const {inner}[i, j : {n}, {n}] = sin(1 + i * {n} + j)")
        form = self.chance.choice(["expm", "inv", "solve"])
        self.note(form)
        large = f"{n} * eye({n}) + 0.5 * {inner}"
        made = {"expm": f"expm({inner} / {n})", "inv": f"{n} * inv({large})",
                "solve": f"solve({large}, {inner}) @ {inner}"}
        self.lines.append(f"const {name} = {made[form]}")
        return name

    def matrix(self, rows: int, columns: int) -> str:
        """Something constant to multiply with."""
        kind = self.chance.choice(["param"] * 6 + ["const", "transpose", "sum", "product"])
        if kind == "const" and "const" not in self.without:
            return self.constant((rows, columns))
        if kind == "transpose":
            self.note("transpose of a parameter")
            return f"transpose({self.param((columns, rows))})"
        if kind == "sum":
            self.note("sum of parameters")
            return f"(0.5 * {self.param((rows, columns))} + 0.5 * {self.param((rows, columns))})"
        if kind == "product":
            self.note("product of parameters")
            return f"({self.param((rows, 2))} @ {self.param((2, columns))})"
        return self.weights((rows, columns))

    def weights(self, shape: tuple[int, int]) -> str:
        """A parameter to multiply with, some of few bits: by a draw of its own, so that others stay."""
        name = self.param(shape)
        few = random.Random(" ".join(self.lines))
        if few.random() > 0.4:
            return name
        self.note("quantised matrix")
        step = few.choice(["0.3", "0.071", "0.029", f"(0.031 + mean(abs({name})))"])
        return f"quantize({name}, {few.choice([2, 3, 4, 8, 8, 9])}, {step})"

    def leaf(self, shape: tuple[int, ...]) -> Value:
        signal = self.readable(lambda s: s.kind == "real" and s.shape == shape)
        if signal and self.maybe(0.75):
            return self.read(signal)
        if not shape:
            return self.scalar_leaf()
        if len(shape) == 1:
            if self.maybe(0.6):
                return self.applied(shape, 0)
            if self.maybe(0.15):
                self.note("zeros/ones")
                return Value(f"{self.chance.choice(['zeros', 'ones'])}({self.size(shape[0])})", shape, 1.0, True)
            name = self.constant(shape) if self.maybe(0.2) and "const" not in self.without else self.param(shape)
            return Value(name, shape, 1.2, True)
        if shape[0] == shape[1] and self.maybe(0.15):
            self.note("eye")
            return Value(f"eye({self.size(shape[0])})", shape, 1.0, True)
        if self.maybe(0.3):
            name = self.constant(shape) if self.maybe(0.3) and "const" not in self.without else self.param(shape)
            return Value(name, shape, 1.5, True)
        return self.outer(shape, 0)

    def scalar_leaf(self) -> Value:
        kind = self.chance.choice(["number", "param", "mean", "time", "flag", "label"])
        flag = self.readable(lambda s: s.kind == "flag")
        label = self.readable(lambda s: s.kind == "class")
        if kind == "flag" and flag:
            self.note("flag as a number")
            return self.read(flag)
        if kind == "label" and label:
            self.note("comparison of a label")
            return Value(f"{self.read(label).text} == {self.chance.randrange(label.classes)}", (), 1.0)
        if kind == "time" and not self.still:
            self.note("t")
            k = self.chance.choice([2, 3, 4])
            form = self.chance.choice([f"mod(t, {k}) / {k}", "sin(0.3 * t)", f"mod(t, {k}) == {k - 1}", "1 / (t + 1)"])
            return Value(form, (), 1.0)
        vector = self.readable(lambda s: s.kind == "real" and len(s.shape) == 1)
        if kind == "mean" and vector:
            self.note("mean")
            return Value(f"mean({self.read(vector).text})", (), vector.bound, True)
        if kind == "param":
            return Value(self.param(()), (), 1.0, True)
        return Value(self.number(0.2, 1.5), (), 1.5, True)

    # ---------------------------------------------------------------------------------------- taming

    def tame(self, value: Value, limit: float = LIMIT) -> Value:
        if value.bound <= limit:
            return value
        name = self.chance.choice(["tanh", "tanh", "sin", "soft", "sigmoid", "erf", "clip"])
        self.note("divide" if name == "soft" else name)
        if name == "soft":
            inner = value.operand
            return Value(f"{inner} / (1 + abs({value.operand} - 0.173))", value.shape, 2.0)
        if name == "clip":
            low, high = self.number(-1.5, -1.1), self.number(1.8, 2.2)      # never the limits of another clip
            return Value(f"clip({value.text}, {low}, {high})", value.shape, 2.2, True)
        inner = value.text if value.bound < 20 else f"0.1 * {value.operand}"
        return Value(f"{name}({inner})", value.shape, 1.0, True)

    def value(self, shape: tuple[int, ...], deep: int) -> Value:
        """An expression of this shape, at most `deep` operators deep, bounded by LIMIT."""
        raise NotImplementedError

    def applied(self, shape: tuple[int, ...], deep: int) -> Value:
        """A constant matrix times some vector."""
        raise NotImplementedError

    def outer(self, shape: tuple[int, ...], deep: int) -> Value:
        """An outer product."""
        raise NotImplementedError
