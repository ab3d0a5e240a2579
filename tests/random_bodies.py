"""Random bodies of models and cells for tests/random_programs.py: equations, loops, cells applied, values at the start.

Every equation is written so that its signal stays within LIMIT, whatever it reads and however long it runs.
"""

import re
from dataclasses import dataclass

from random_expressions import Expressions
from random_leaves import LIMIT, Ring, Signal, Value

# Standard cells, and the sizes they take after n.
LIBRARY = {
    "dense": "", "conv": ", 2", "rnn": "", "irnn": "", "indrnn": "", "lstm": "", "peephole_lstm": "",
    "coupled_lstm": "", "projected_lstm": ", 3", "gru": "", "gru_after": "", "mgu": "", "ugrnn": "",
    "fastgrnn": "", "min_lstm": "", "min_gru": "", "sru": "", "highway_rnn": "", "narx": ", 2",
    "leaky_integrator": "", "ctrnn": "",
    "multiplicative_lstm": "", "linear_recurrence": "", "qrnn": ", 2", "lif": "", "ltc": ", 2", "norm_lstm": "",
    "legendre_memory": ", 3, 5", "rwkv": "", "slstm": ", 1", "mlstm": ", 1", "delta_net": ", 1", "echo_state": "",
    "selective_ssm": ", 3, 2", "clockwork": ", [1, 3]", "retention": ", 1", "gated_linear_attention": ", 1, 2",
}
AS_WIDE = ("linear_recurrence", "sru", "selective_ssm")         # as many units out as in
EVEN = ("clockwork", "retention", "gated_linear_attention")     # an even number of units
BOUNDED = {"lstm", "peephole_lstm", "coupled_lstm", "gru", "gru_after", "mgu", "ugrnn", "rnn", "narx",
           "leaky_integrator", "highway_rnn", "multiplicative_lstm", "qrnn", "lif", "norm_lstm", "slstm",
           "legendre_memory", "echo_state", "clockwork"}
N, IN = 101, 103                               # stand for `n` and `dim(x)` in a cell that must hold for any size


@dataclass(frozen=True)
class CellInfo:
    """A cell of the program. `ahead`, `behind`: whether it reads other frames, that way."""

    name: str
    size: int | None                           # units of its result; None: as many as its argument
    takes: int | None                          # the one size of argument it holds for; None: any
    inner: tuple[tuple[str, tuple[int, ...]], ...]
    results: int
    ahead: bool
    behind: bool
    ends: bool                                 # whether it reads the last frame of a sequence


def without_wholes(text: str) -> str:
    """An expression without what has one value per sequence."""
    while found := re.search(r"\b(last|sum_over|mean_over|max_over)\(", text):
        depth, end = 1, found.end()
        while depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        text = text[:found.start()] + "0" + text[end:]
    return text


class Body(Expressions):
    """Writes the equations of a model or a cell."""

    def __init__(self, *args, helpers=(), cells=(), **more):
        super().__init__(*args, **more)
        self.helpers, self.cells = list(helpers), list(cells)
        self.inits: list[str] = []

    def equation(self, value: Value, stem: str = "v") -> Signal:
        name = self.fresh(stem)
        self.lines.append(f"{name} = {value.text}")
        made = Signal(name, value.shape, value.bound, is_constant=self.is_constant(value.text))
        self.signals.append(made)
        return made

    def is_constant(self, text: str) -> bool:
        """Whether an expression reads nothing that changes from frame to frame, in a sequence at least."""
        moving = {s.name for s in self.signals if not s.is_constant} | {"t"}
        return moving.isdisjoint(re.findall(r"\w+", re.sub(r"\[t\b[^\]]*\]|_over\(t\b|\bdim\(\w+\)", "",
                                                           without_wholes(text))))

    def straight(self) -> None:
        """An equation outside every loop."""
        kind = self.chance.choice(["vector", "vector", "vector", "scalar", "matrix"])
        shape = {"vector": (self.known_size(),), "scalar": (), "matrix": (self.known_size(), self.known_size())}[kind]
        if len(shape) == 2 and not self.generic:
            shape = (self.chance.choice([1, 2, 3, 5]), self.chance.choice([1, 2, 3, 17]))
        self.equation(self.value(shape, self.chance.randint(1, 3)))

    # ------------------------------------------------------------------------------------ loops

    def ring_of_signals(self) -> None:
        """A loop of one to four signals, each reading itself or another of them, all in one direction. A read of i by
        j is at least `base + lag_j - lag_i` frames old: round a cycle the lags cancel, so every sum is positive."""
        count = self.chance.choice([1, 1, 2, 2, 3, 4])
        direction = -1 if self.maybe(0.25) and "backwards" not in self.without else 1
        base = self.chance.choice([1, 1, 1, 1, 2, 3, 4])
        lags = [0] * count
        if count > 1 and self.maybe(0.12) and "ahead inside a loop" not in self.without:
            lags = [self.chance.choice([0, 0, 1, 2]) for _ in range(count)]
        self.note("loop forwards" if direction > 0 else "loop backwards", *["base delay > 1"] * (base > 1))
        members = []
        for _ in range(count):
            shape = self.member_shape()
            members.append(Signal(self.fresh("h"), shape, LIMIT))
        for j, member in enumerate(members):
            least = {m.name: (0 if i < j else base) + lags[j] - lags[i] for i, m in enumerate(members)}
            self.ring = Ring(direction, least, members)
            self.lines.append(f"{member.name} = {self.member(member).text}")
            self.ring = None
        self.signals += members

    def member_shape(self) -> tuple[int, ...]:
        kind = self.chance.choice(["vector"] * 6 + ["scalar", "matrix", "matrix"])
        if kind == "matrix":
            return (N, N) if self.generic else (self.chance.choice([1, 2, 3, 5]), self.chance.choice([1, 2, 3, 17]))
        return () if kind == "scalar" else (self.known_size(),)

    def past(self, member: Signal) -> Value:
        """What the member was, or another member of its shape; now and then only a product reaches the loop."""
        alike = [m for m in self.ring.members if m.shape == member.shape]
        return self.read(self.chance.choice(alike))

    def member(self, member: Signal) -> Value:
        """A right side that reads the loop and keeps the member within LIMIT."""
        shape = member.shape
        anchor = self.param(shape)                           # fixes the size, whatever else the equation reads
        free = self.value(shape, self.chance.randint(1, 2))
        new = self.tame(Value(f"{free.operand} + {anchor}", shape, LIMIT + 1), 1)
        old = self.past(member)
        forms = [self.squashed, self.squashed, self.squashed, self.gated, self.leaky, self.held, self.peak]
        if len(shape) == 1:
            forms += [self.softened, self.recurrent, self.recurrent, self.recurrent, self.chained, self.turning]
            forms += [self.clocked, self.clocked]
        if len(shape) == 2:
            forms = [self.decaying, self.decaying, self.delta, self.corrected, self.gated, self.squashed]
        form = self.chance.choice(forms)
        self.note("member " + form.__name__)
        return form(shape, new, old)

    def squashed(self, shape, new, old):
        name = self.chance.choice(["tanh", "sigmoid", "sin", "erf"])
        return Value(f"{name}({self.number(0.3, 1.2)} * {old.text} + {new.operand})", shape)

    def recurrent(self, shape, new, old):
        name = self.chance.choice(["tanh", "sigmoid", "softsign"])
        inner = f"{self.weights((shape[0], shape[0]))} @ {old.text} + {new.operand}"
        return Value(f"({inner}) / (1 + abs({inner} - 0.133))" if name == "softsign" else f"{name}({inner})", shape)

    def gated(self, shape, new, old):
        gate = Value(f"sigmoid({self.value(shape if self.maybe(0.8) else (), 1).text})", shape, 1.0, True)
        gate = self.equation_in_ring(gate) if self.maybe(0.5) else gate.text
        return Value(f"{gate} * {old.text} + (1 - {gate}) * {new.operand}", shape)

    def equation_in_ring(self, value: Value) -> str:
        """A gate of its own name; it is read at its own frame only, and joins no later equation."""
        name = self.fresh("g")
        self.lines.append(f"{name} = {value.text}")
        return name

    def leaky(self, shape, new, old):
        return Value(f"{self.number(0.5, 0.95)} * {old.text} + {self.number(0.1, 0.5)} * {new.operand}", shape)

    def held(self, shape, new, old):
        self.still += 1
        condition = self.condition((), 1)
        self.still -= 1
        return Value(f"where({condition.text}, 0.9 * {old.text}, {new.text})", shape)

    def clocked(self, shape, new, old):
        """A slow module: what it makes counts in some frames only, with products that a clock can leave out."""
        clock = self.chance.choice(["mod(t, 2) == 0", "mod(t, 3) == 1", "mod(t, 4) != 2", "condition", "condition"])
        if clock == "condition":
            self.still += 1
            clock = self.condition((), 1).text
            self.still -= 1
        square = shape + shape
        inner = self.chance.choice(["plain", "deep", "gated", "normed"])
        self.note(f"clocked {inner}")
        made = f"{self.weights(square)} @ {old.text}"
        if inner == "deep":
            made = f"{self.weights(square)} @ tanh({made})"
        if inner == "gated":
            made = f"{self.param(square)} @ (sigmoid({made}) * {old.text})"
        if inner == "normed":
            made = f"{made} / (1 + norm({made} + 0.1))"
        made = self.squashed(shape, new, Value(made, shape, LIMIT)).text
        if self.maybe(0.3):
            made = f"where({self.condition((), 0).text}, {made}, 0.5 * {made})"
        kept = self.chance.choice([old.text, f"0.9 * {old.text}", "0"])
        return Value(f"where({clock}, {made}, {kept})" if self.maybe(0.7) else f"where({clock}, {kept}, {made})", shape)

    def peak(self, shape, new, old):
        return Value(f"max(0.9 * {old.text}, {new.operand} + 0.031)", shape)

    def turning(self, shape, new, old):
        """Linear in its state: a product that is no larger than what it multiplies."""
        turn = self.param(shape + shape, rule="~ orthogonal")
        return Value(f"{self.number(0.4, 0.8)} * {turn} @ {old.text} + 0.4 * {new.operand}", shape)

    def softened(self, shape, new, old):
        return Value(f"softmax(2 * {old.text} + {new.operand})", shape)

    def chained(self, shape, new, old):
        """The recursion of a conditional random field, normalised."""
        pairs = f"{self.param((shape[0], shape[0]))} + reshape({old.text}, [1, {self.size(shape[0])}])"
        return Value(f"logsoftmax({new.operand} + logsumexp({pairs}, axis = 1))", shape)

    def decaying(self, shape, new, old):
        text = f"{self.number(0.4, 0.9)} * {old.text} + 0.3 * {self.outer(shape, 1).text} + 0.1 * {self.param(shape)}"
        return Value(text, shape)

    def corrected(self, shape, new, old):
        """Linear in the matrix: what it answers to a key is moved towards a value."""
        key, value = self.value(shape[1:], 1), self.value(shape[:1], 1)
        key = Value(f"{key.operand} + {self.param(shape[1:])}", shape[1:])
        key = f"({key.text}) / (1.2 + norm({key.text}))"
        error = f"{value.operand} + 0.1 * {self.param(shape[:1])} - {old.text} @ ({key})"
        kept = self.chance.choice([f"{self.number(0.4, 0.8)} * {old.text}", old.text])
        return Value(f"{kept} + 0.5 * outer({error}, {key})", shape)

    def delta(self, shape, new, old):
        key, value = self.value(shape[1:], 1), self.value(shape[:1], 1)
        if self.maybe(0.5):
            key = Value(self.param(shape[1:]) + f" * {self.tame(key, 1).operand}", shape[1:])
        error = f"{value.operand} - {old.text} @ {key.operand}"
        return Value(f"tanh({old.text} + 0.3 * outer({error}, {key.text}) + 0.2 * {self.param(shape)})", shape)

    # ------------------------------------------------------------------------------------ cells

    def ring_free(self, info: CellInfo) -> bool:
        return not (info.ahead and "look-ahead" in self.without)

    def application(self) -> None:
        """A cell of the program or a standard one, applied in one of the ways there are."""
        source = self.vector(1)
        if self.is_constant(source.text):      # the same in every frame: nothing inside could have an init
            source = Value(f"{source.operand} + 0.3 * cos(0.5 * t)", source.shape, source.bound + 1)
        argument = self.equation(source) if self.maybe(0.3) else None
        argument = argument.name if argument else source.text
        dims = source.shape[0]
        fitting = [c for c in self.cells if c.takes in (None, dims) and self.ring_free(c)]
        if fitting and self.maybe(0.6):
            self.apply_own(self.chance.choice(fitting), argument, dims)
        else:
            self.apply_standard(argument, dims)

    def layer_text(self, info: CellInfo, dims: int) -> tuple[str, int]:
        """`c1(5)` and the units of its result."""
        if info.takes is not None:
            return f"{info.name}()", info.size
        units = self.known_size()
        return f"{info.name}({self.size(units)})", units

    def apply_own(self, info: CellInfo, argument: str, dims: int) -> None:
        layer, units = self.layer_text(info, dims)
        if info.results == 2:
            self.note("two results")
            a, b = self.fresh("r"), self.fresh("r")
            self.lines.append(f"{a}, {b} = {layer}({argument})")
            self.signals += [Signal(name, (units,), is_constant=self.is_constant(argument)) for name in (a, b)]
            return
        turned = info.ends and "backwards" not in self.without and self.maybe(0.5)     # the last frame is the first
        name = self.apply(layer, units, argument, dims, info.takes is None and info.size == N,
                          way="reversed" if turned else None)
        if name and info.inner and self.maybe(0.4):
            part, shape = self.chance.choice(info.inner)
            shape = tuple({N: units, IN: dims}.get(n, n) for n in shape)
            self.note("inner signal")
            self.equation(Value(f"0.5 * {name}.{part}", shape))

    def apply_standard(self, argument: str, dims: int) -> None:
        name = self.chance.choice(sorted(LIBRARY.keys() - EVEN if self.generic else LIBRARY))
        units = dims if name in AS_WIDE else self.chance.choice([2, 8, 16]) if name in EVEN else self.known_size()
        self.note(f"cell {name}")
        layer = f"{name}({self.size(units)}{LIBRARY[name]})"
        if name == "projected_lstm":
            units = 3
        self.apply(layer, units, argument, dims, name != "projected_lstm",
                   name in BOUNDED)

    def apply(
        self, layer: str, units: int, argument: str, dims: int, any_size: bool, bounded: bool = True,
        way: str | None = None,
    ) -> str | None:
        """An equation for the result; its name if `name.part` reaches inside."""
        way = way or self.chance.choice(
            ["plain", "plain", "plain", "reversed", "both", "stack", "share", "instance", "delayed", "residual"])
        tail = (lambda text: text) if bounded else (lambda text: f"tanh({text})")
        if "backwards" in self.without and way in ("reversed", "both"):
            way = "plain"
        if way == "plain" and bounded:
            self.note("layer")
            return self.equation(Value(f"{layer}({argument})", (units,), 2.0), "y").name
        if way == "both":
            self.note("bidirectional")
            text = f"concat({layer}({argument}), reversed({layer})({argument}))"
            if self.generic:
                text = f"{layer}({argument}) + reversed({layer})({argument})"
            self.equation(Value(tail(text), (units if self.generic else 2 * units,), 2.0), "y")
        elif way == "reversed":
            self.note("reversed")
            self.equation(Value(tail(f"reversed({layer})({argument})"), (units,), 2.0), "y")
        elif way == "stack" and any_size:
            self.note("stack")
            self.equation(Value(tail(f"stack({self.chance.randint(1, 3)}, {layer})({argument})"), (units,), 2.0), "y")
        elif way == "share" and any_size and units == dims:
            self.note("share")
            self.equation(Value(tail(f"share(2, {layer})({argument})"), (units,), 2.0), "y")
        elif way == "residual" and units == dims:
            self.note("residual")
            self.equation(Value(f"tanh(residual({layer})({argument}))", (units,), 1.0), "y")
        elif way == "instance":
            self.note("layer statement")
            name = self.fresh("L")
            self.lines.append(f"layer {name} = {layer}")
            self.equation(Value(tail(f"{name}({argument})"), (units,), 2.0), "y")
            if any_size or self.maybe(0.5):
                again = f"0.5 * {name}({argument}) - 0.4 * {name}(({argument})[t-1])"
                self.equation(Value(tail(again), (units,), 2.0), "y")
        elif way == "delayed":
            self.note("result delayed")
            self.equation(Value(tail(f"{layer}({argument})[t-2]"), (units,), 2.0), "y")
        else:
            self.note("layer")
            self.equation(Value(tail(f"{layer}({argument})"), (units,), 2.0), "y")
        return None

    def embedded(self) -> None:
        """An embedding, and perhaps its matrix again."""
        label = self.readable(lambda s: s.kind == "class")
        if label is None or "cells" in self.without:
            return
        units, name = self.known_size(), self.fresh("E")
        self.note("embed")
        self.lines.append(f"layer {name} = embed({self.size(units)})")
        made = self.equation(Value(f"{name}({self.read(label).text})", (units,), 1.0), "e")
        if self.maybe(0.4):
            self.note("tied matrix")
            self.equation(Value(f"tanh(transpose({name}.W) @ {made.name})", (label.classes,), 1.0), "e")

    # ------------------------------------------------------------------------------------ before the start

    def initials(self) -> None:
        """`init` for some of the signals that are read at other frames, in all its forms."""
        for signal in self.signals:
            delays = self.reads.get(signal.name, set()) - {0}
            if signal.is_input or signal.is_constant or not delays or self.maybe(0.4):
                continue
            forms = self.chance.sample(["every", "one"], self.chance.choice([1, 1, 2]))
            if "every" in forms:
                self.inits.append(f"init {signal.name} = {self.initial(signal.shape)}")
            if "one" in forms:
                offset = -self.chance.choice(sorted(delays, key=abs))
                offset = self.chance.randint(1, offset) if offset > 0 else -self.chance.randint(1, -offset)
                self.note("init at one depth", *["init ahead"] * (offset > 0))
                self.inits.append(f"init {signal.name}[t{offset:+d}] = {self.initial(signal.shape)}")

    def initial(self, shape: tuple[int, ...]) -> str:
        given = [s for s in self.signals if s.is_input and s.is_constant and s.kind == "real"]
        if given and self.maybe(0.5):
            self.note("init per sequence")
            signal = self.chance.choice(given)
            if signal.shape == shape:
                return f"0.5 * {signal.name}"
            if len(shape) == 1 and len(signal.shape) == 1:
                return f"tanh({self.param((shape[0], signal.shape[0]))} @ {signal.name})"
            return f"{self.param(shape)} * tanh(sum({signal.name}))"
        form = self.chance.choice(["number", "param", "expression", "const"])
        if form == "const" and (not shape or "const" in self.without):
            form = "number"
        self.note(f"init {form}")
        if form == "number":
            return self.number(-0.9, 0.9)
        if form == "const":
            return self.constant(shape)
        return self.param(shape) if form == "param" else f"tanh(0.7 * {self.param(shape)} + 0.2)"

    def text(self, last: list[str] = ()) -> str:
        lines = self.lines + self.inits
        if self.maybe(0.3):
            self.note("equations in any order")
            self.chance.shuffle(lines)
        return "".join(f"    {line}\n" for line in [*lines, *last])
