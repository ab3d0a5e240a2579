"""Random programs: well-formed ones of every kind the language has, and ill-formed ones made from them.

`draw(seed)` gives a `Program`: a text, the sizes to compile it with, and a count of what occurs in it. The same seed
gives the same program for ever. `spoil(text, seed)` breaks a text; whatever comes out, only a CompileError may follow.
"""

import random
import re
from collections import Counter
from dataclasses import dataclass

from random_bodies import IN, Body, CellInfo, N
from random_leaves import Signal, Value


@dataclass(frozen=True)
class Program:
    """`rnnc.compile(text, **sizes)`; `features`: what the text uses, and how often."""

    seed: int
    text: str
    sizes: dict[str, int]
    features: Counter


def draw(seed: int, without=()) -> Program:
    """A well-formed program. `without`: features to leave out ("look-ahead", "ahead inside a loop", "cells",
    "const", "labels", "backwards", "sequences")."""
    chance = random.Random(seed)
    features: Counter = Counter()
    helpers, definitions = draw_helpers(chance, features)
    cells: list[CellInfo] = []
    for _ in range(chance.choice([0, 0, 1, 1, 2]) * ("cells" not in without)):
        text, info = draw_cell(chance, features, helpers, cells, without)
        definitions.append(text)
        cells.append(info)
    text, sizes = draw_model(chance, features, helpers, cells, without)
    definitions.append(text)
    if chance.random() < 0.3:
        chance.shuffle(definitions)
    return Program(seed, "\n".join(definitions), sizes, features)


def draw_helpers(chance, features):
    texts = {"swish": (1, False, "fn swish(x) = x * sigmoid(x)"),
             "mix": (2, False, "fn mix(a, b) = 0.3 * a + 0.7 * b"),
             "change": (1, True, "fn change(v) = v - v[t-1]"),
             "bump": (2, False, "fn bump(a, b) = exp(-(a - b) ^ 2)")}
    chosen = chance.sample(sorted(texts), chance.choice([0, 0, 1, 2]))
    return [(name, texts[name][0], texts[name][1]) for name in chosen], [texts[name][2] for name in chosen]


# ---------------------------------------------------------------------------------------------- definitions

def draw_cell(chance, features, helpers, cells, without) -> tuple[str, CellInfo]:
    """A cell: for any size, with `n` and `dim(x)`, or for one size only."""
    generic = chance.random() < 0.6
    name = f"cell{len(cells) + 1}"
    takes = None if generic else chance.choice([2, 3, 5, 17])
    texts = {N: "n", IN: "dim(x)"} if generic else {}
    body = Body(chance, features, texts, generic, without,
                helpers=helpers, cells=[c for c in cells if c.takes is None and c.size == N and generic])
    body.signals.append(Signal("x", (IN if generic else takes,), 2.0, is_input=True))
    for _ in range(chance.choice([1, 1, 2])):
        chance.choice([body.ring_of_signals] * 3 + [body.straight] * 2 + [body.application])()
    units = N if generic else chance.choice([1, 3, 5, 8])
    results = []
    for _ in range(chance.choice([1, 1, 2])):
        value = body.tame(body.value((units,), 2), 2)
        if body.is_constant(value.text):       # a cell's result follows its argument
            value = Value(f"{value.operand} + 0.1 * mean(x)", value.shape, value.bound + 1)
        results.append(body.equation(value, "out"))
    body.initials()
    delays = {d for reads in body.reads.values() for d in reads}
    features.update(["cell for any size" if generic else "cell for one size"])
    head = f"cell {name}({'n' if generic else ''})(x) {{\n"
    text = head + body.text([f"return {', '.join(r.name for r in results)}"]) + "}\n"
    inner = tuple((s.name, s.shape) for s in body.signals if not (s.is_input or s.is_constant))
    info = CellInfo(name, units, takes, inner, len(results), min(delays, default=0) < 0, max(delays, default=0) > 0,
                    "last(" in text)
    return text, info


def draw_model(chance, features, helpers, cells, without) -> tuple[str, dict[str, int]]:
    sizes = {"n": chance.choice([3, 5, 17]), "k": 2} if chance.random() < 0.4 else {}
    body = Body(chance, features, {v: s for s, v in sizes.items() if s == "n"}, False, without,
                helpers=helpers, cells=cells)
    inputs = draw_inputs(body)
    steps = [body.straight, body.ring_of_signals, body.ring_of_signals, body.ring_of_signals]
    steps += [] if "cells" in without else [body.application, body.application, body.embedded]
    for _ in range(chance.choice([1, 2, 2, 3, 3, 4])):
        chance.choice(steps)()
    if all(s.is_input for s in body.signals):
        body.ring_of_signals()
    last = draw_ends(body, inputs)
    body.initials()
    formals = ", ".join(f"{name} = {value + chance.choice([0, 0, 1])}" for name, value in sizes.items())
    features.update(["sizes of the model"] * bool(sizes))
    text = body.text(last)
    head = f"model net({formals}) {{\n" if formals else chance.choice(["model net() {\n", "model net {\n"])
    return head + "".join(f"    {line}\n" for line in inputs) + text + "}\n", sizes


def draw_inputs(body: Body) -> list[str]:
    chance, lines = body.chance, []
    for _ in range(chance.choice([1, 1, 2])):
        shape = chance.choice([(), (2,), (3,), (5,), (17,), (33,), (3,), (2, 3)])
        name = body.fresh("x")
        lines.append(f"input {name}" + (f" : {body.sizes(shape)}" if shape else ""))
        body.note(f"input of rank {len(shape)}")
        body.signals.append(Signal(name, shape, 2.0, is_input=True))
    if chance.random() < 0.5 and "labels" not in body.without:
        classes = chance.choice([2, 3, 5, 17])
        lines.append(f"input c : class({classes})")
        body.note("class input")
        body.signals.append(Signal("c", (), 0, "class", classes, is_input=True))
    if chance.random() < 0.4:
        lines.append("input m : flag")
        body.note("flag input")
        body.signals.append(Signal("m", (), 1.0, "flag", is_input=True))
    if "sequences" not in body.without and chance.random() < 0.3:
        shape = chance.choice([(), (2,), (3,), (5,), (2, 3)])
        lines.append("input q" + (f" : {body.sizes(shape)}" if shape else "") + " per sequence")
        body.note(f"input of rank {len(shape)} per sequence")
        body.signals.append(Signal("q", shape, 2.0, is_input=True, is_constant=True))
        if chance.random() < 0.4:
            lines.append("input w : flag per sequence")
            body.note("flag input per sequence")
            body.signals.append(Signal("w", (), 1.0, "flag", is_input=True, is_constant=True))
        if chance.random() < 0.4 and "labels" not in body.without:
            lines.append("input d : class(4) per sequence")
            body.note("class input per sequence")
            body.signals.append(Signal("d", (), 0, "class", 4, is_input=True, is_constant=True))
    return lines


def draw_ends(body: Body, inputs: list[str]) -> list[str]:
    """Outputs, losses and metrics. Targets are added to `inputs`."""
    chance, lines = body.chance, []
    made = [s for s in body.signals if s.kind == "real" and not s.is_input]
    shown = chance.sample(made, min(len(made), chance.choice([1, 1, 2, 3])))
    lines.append("output " + ", ".join(s.name for s in shown))
    for number in range(chance.choice([0, 0, 1])):
        lines.append(f"output p{number} = {body.value((body.known_size(),), 2).text}")
        body.note("output of an expression")
    if chance.random() < 0.15 and "labels" not in body.without:
        body.note("output of a label")
        a = body.vector(1)
        lines.append(f"output best = argmax({a.operand} + {body.param(a.shape)})")
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        lines.append(f"loss {draw_loss(body, inputs)}")
    if chance.random() < 0.4:
        body.note("metric")
        lines.append(f"metric score = {draw_loss(body, inputs)}")
    return lines


def draw_loss(body: Body, inputs: list[str]) -> str:
    chance = body.chance
    kind = chance.choice(["mse", "mse", "mae", "huber", "cross_entropy", "cross_entropy", "binary_cross_entropy",
                          "hinge", "squared_hinge", "plain", *["ctc"] * body.sequences])
    per = " per sequence" * (body.sequences and chance.random() < 0.4)
    if per and kind != "plain":
        body.note("target per sequence")
    if kind != "plain":
        body.note(kind)
    target = f"goal{sum(line.startswith('target') for line in inputs) + 1}"
    if kind == "plain":
        body.note("loss of an expression")
        return f"{chance.choice([0.1, 1, 3])} * mean({body.vector(1).operand} ^ 2)"
    if kind == "binary_cross_entropy":
        inputs.append((f"target {target} : flag" if chance.random() < 0.6 else f"target {target}") + per)
        return f"{kind}({body.value((), 2).text}, {target})"
    a = body.vector(2)
    if kind == "ctc" and a.shape[0] > 1:
        inputs.append(f"target {target} : labels({a.shape[0] - 1})")
        return f"ctc({a.text}, {target})"
    if kind in ("cross_entropy", "hinge", "squared_hinge") and a.shape[0] > 1:
        if kind != "cross_entropy":
            a = Value(f"{a.operand} + {body.param(a.shape)}", a.shape)
        inputs.append(f"target {target} : class({a.shape[0]}){per}")
        return f"{kind}({a.text}, {target})"
    inputs.append(f"target {target} : {body.sizes(a.shape)}{per}")
    return f"{kind if kind in ('mse', 'mae', 'huber') else 'mse'}({a.text}, {target})"


# ---------------------------------------------------------------------------------------------- broken texts

TOKEN = re.compile(r"\s+|[A-Za-z_]\w*|\d+\.\d+|\d+|.", re.DOTALL)
FAULTS = ["drop", "drop", "double", "swap", "again", "delay", "size", "name", "rank", "line", "cut", "sign", "strange"]
NUMBERS = ["0", "1", "4", "-1", "2.5", "7", "99999", "1e400"]
NAMES = ["h1", "x1", "t", "n", "lstm", "nothing", "sum", "net", "int"]
STRANGE = ["é", "\"", "$", "\\", "\x00", "'", "~", "@", "#", "[t-1]", "..", "{", ")", "\t\r\n"]
DELAYS = ["", "[t+1]", "[t-0]", "[t]", "[t-n]", "[t-1.5]", "[t-1000]"]
RANKS = [r"[\1]", r"[\2, \1]", r"[\1, \2, \1]", ""]


def spoil(text: str, seed: int) -> str:
    """The text with one to three faults in it; now and then it is still a program."""
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        fault = chance.choice(FAULTS)
        if text.strip():
            text = spoil_words(text, fault, chance)
            text = spoil_lines(text, fault, chance)
    return text


def spoil_words(text: str, fault: str, chance: random.Random) -> str:
    tokens = TOKEN.findall(text)
    words = [i for i, token in enumerate(tokens) if not token.isspace()]
    at, other = chance.choice(words), chance.choice(words)
    names = [i for i in words if tokens[i].isidentifier()]
    numbers = [i for i in words if tokens[i].isdigit()]
    if fault == "drop":
        tokens[at] = " "
    elif fault == "double":
        tokens[at] *= 2
    elif fault == "swap":
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif fault == "again":
        tokens[at] = tokens[other]
    elif fault == "strange":
        tokens[at] = chance.choice(STRANGE)
    elif fault == "size" and numbers:
        tokens[chance.choice(numbers)] = chance.choice(NUMBERS)
    elif fault == "name" and names:
        tokens[chance.choice(names)] = chance.choice(NAMES)
    return "".join(tokens)


def spoil_lines(text: str, fault: str, chance: random.Random) -> str:
    if fault == "delay":
        return re.sub(r"\[t-\d\]", chance.choice(DELAYS), text, count=chance.choice([0, 1]))
    if fault == "sign":
        return text.replace(chance.choice("+-*@=,"), chance.choice("+@=,^"), 1)
    if fault == "rank":
        return re.sub(r"\[(\w+), (\w+)\]", chance.choice(RANKS), text, count=1)
    if fault == "line":
        lines = text.splitlines()
        del lines[chance.randrange(len(lines))]
        return "\n".join(lines)
    if fault == "cut":
        return text[: chance.randrange(len(text))] if chance.random() < 0.3 else text[chance.randrange(20):]
    return text
