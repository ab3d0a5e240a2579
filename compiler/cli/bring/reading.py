"""A graph, node by node, into a draft of a program; then what of it the outputs need, as text and weights."""

import re
from dataclasses import dataclass

import numpy as np

from rnnc.cli.bring import products, recurrent, reductions, roles, shuffles, units, windows
from rnnc.cli.bring.calls import Call
from rnnc.cli.bring.draft import Draft, Line, label, whole
from rnnc.cli.bring.draft import units as signal
from rnnc.cli.bring.file import Network, Node, Port, computed
from rnnc.cli.bring.goal import goal
from rnnc.cli.bring.values import (
    BATCH,
    LABEL,
    NUMBERS,
    SIZES,
    TIME,
    WRITTEN_OUT,
    Axis,
    Inexpressible,
    Misplaced,
    Value,
    numbers,
)
from rnnc.errors import InputError

RULES = shuffles.RULES | units.RULES | reductions.RULES | products.RULES | recurrent.RULES \
    | windows.RULES
OTHERWISE = "write the network as a program and let `rnnc import MODEL PROGRAM -o FILE` bring its weights"


@dataclass(frozen=True)
class Written:
    """A program, its parameters, and what its user should know."""

    text: str
    weights: dict[str, np.ndarray]
    notes: tuple[str, ...]


def program(network: Network, model: str, title: str, carry: bool, loss: str | None) -> Written:
    """The program of a graph. `carry`: states that go in and out are left to the net, which keeps its own. `loss`: what
    it is to learn."""
    best: tuple[int, bool] = (-2, False)
    told: InputError = Inexpressible("its inputs have different numbers of frames or streams, or name their axes in a "
                                     "way that contradicts itself; a program has the same frames of all its inputs")
    for way in roles.ways(network):
        reading = Reading(network, way, carry)
        try:
            reading.read()
            return reading.written(model, title, loss)
        except Inexpressible as fault:
            reached = reading.place, not isinstance(fault, Misplaced)
            if reached > best:
                best, told = reached, fault
    if WRITTEN_OUT not in told.message and written_out(network):
        raise Inexpressible(f"{told.message}. {WRITTEN_OUT}")
    raise told


def written_out(network: Network) -> bool:
    """Whether a product with a matrix goes, later on, into another one with the same matrix."""
    makers = {name: node for node in network.nodes for name in node.outputs if name}
    for name, readers in network.readers().items():
        products = [node for node in readers if node.op in ("MatMul", "Gemm")] if name in network.trained else []
        seen, waiting = set(), [products[-1]] if products[1:] else []
        while waiting:
            node = waiting.pop()
            for maker in (makers[given] for given in node.inputs if given in makers):
                if maker in products:
                    return True
                if maker.place not in seen:
                    seen.add(maker.place)
                    waiting.append(maker)
    return False


class Reading:
    """One trial, with the roles of the inputs' axes given."""

    def __init__(self, network: Network, way: dict[str, tuple[str, ...]], carry: bool):
        self.timed = any(TIME in roles for roles in way.values())
        if not self.timed:                     # whatever there is several of are frames
            way = {name: tuple(role and TIME for role in roles) for name, roles in way.items()}
        self.network, self.way, self.carry = network, way, carry
        self.draft = Draft()
        self.needed, self.readers = network.needed(), network.readers()
        self.wanted = {port.name for port in network.outputs}
        self.values: dict[str, Value | None] = {}
        self.done: dict[str, Value] = {}       # results that another node has made along with its own
        self.shared: dict = {}                 # lines that several nodes ask for
        self.classes: dict[str, int] = {}      # of labels
        self.called: dict[str, str] = {}       # inputs there -> here
        self.fixed: dict[tuple, str] = {}      # open lengths, as (roles, number), and the node that counts on one
        self.whole: set[str] = set()           # lines that are whole numbers, or 0 and 1
        self.carried: set[str] = set()         # of these, states that the net keeps itself
        self.told: set[str] = set()            # lines that are outputs by their own names
        self.place = -1                        # how far it came

    # ------------------------------------------------------------------------------------------- values

    def read(self) -> None:
        for port in self.network.inputs:
            if port.name in self.way:          # others are never read
                self.values[port.name] = self.input(port)
        for node in self.network.nodes:
            if node.place in self.needed:
                self.place = node.place
                self.node(node)
        self.place += 1

    def input(self, port: Port) -> Value:
        axes = [Axis(n if isinstance(n, int) else None, (role,) if role else ())
                for n, role in zip(port.sizes, self.way[port.name])]
        shape = tuple(a.size for a in axes if not a.roles)
        per = "frame" if any(a.roles == (TIME,) for a in axes) else "sequence"
        readers = self.readers.get(port.name, [])
        real = port.kind == "real" or port.kind == "label" and readers and all(r.op == "Cast" for r in readers)
        name = self.called[port.name] = self.draft.name(port.name)
        remark = f"{axes_there(axes)} in the file" + ("" if name == port.name else f", {port.name}")
        if port.kind in ("label", "flag"):
            self.whole.add(name)
        if real:
            lengths = long(shape)
            lengths = lengths if len(lengths) <= 2 else [int(np.prod(lengths))]
            kind = f" : [{', '.join(map(str, lengths))}]" if lengths else ""
            made = self.draft.add("input", name, name + kind, tuple(lengths), per, remark=remark)
            return signal(axes, made.reshape(shape))
        if port.kind not in ("label", "flag"):
            raise Inexpressible(f"the input {port.name} holds {port.kind}, which a program cannot take")
        made = self.draft.add("input", name, name, (), per, remark=remark)
        if int(np.prod(shape)) != 1:
            self.classes[name] = -1            # no label: refused where it is read as one
            return label(axes, np.full(shape, int(made)))
        if port.kind == "flag":
            self.classes[name] = 0
            return signal(axes, made.reshape(shape))
        return label(axes, made.reshape(shape))

    def known(self, name: str) -> Value | None:
        """Numbers that the file holds, or that follow from these."""
        if name in self.network.numbers:
            return numbers(self.network.numbers[name], name in self.network.trained)
        value = self.values.get(name)
        return value if value is not None and value.known else None

    def value(self, name: str) -> Value | None:
        if not name:
            return None
        if name not in self.values:
            found = self.known(name)
            if found is None:
                raise Inexpressible(f"its input {name} is made by no node before it")
            self.values[name] = found
        if self.values[name] is None:
            raise Inexpressible(f"its input {name} is a result that has no counterpart")
        return self.values[name]

    def node(self, node: Node) -> None:
        if node.outputs[0] in self.done:
            self.values[node.outputs[0]] = self.done[node.outputs[0]]
            return
        try:
            found = self.rule(node)
        except Inexpressible as fault:
            raise type(fault)(f"{node}: {fault}") from None
        except (ValueError, IndexError, TypeError, KeyError, AttributeError, ZeroDivisionError) as fault:
            line = str(fault).splitlines()[0][:100] if str(fault) else type(fault).__name__
            raise Inexpressible(f"{node}: its attributes and the shapes of its inputs do not fit ({line})") from fault
        found = [found] if isinstance(found, Value) else found
        self.values.update({name: value for name, value in zip(node.outputs, found) if name})

    def branch(self, node: Node) -> list[Value | None]:
        """The branch of an If whose condition is known: exporters write one where a shape was open to them."""
        condition = self.value(node.inputs[0])
        if not condition.known:
            raise Inexpressible(f"which branch it takes is not known before a run ({node.inputs[0]})")
        chosen = node.attributes["then_branch" if condition.data.all() else "else_branch"]
        self.network.numbers.update(chosen.numbers)
        self.network.trained.update(chosen.trained)
        for inner in chosen.nodes:
            self.node(inner)
        return [self.value(port.name) for port in chosen.outputs]

    def rule(self, node: Node):
        if node.op == "If" and not node.domain:
            return self.branch(node)
        if node.domain or node.op not in RULES and not all(self.known(name) for name in node.inputs if name):
            where = f" of {node.domain}" if node.domain else ""
            raise Inexpressible(f"{node.op}{where} has no counterpart; {OTHERWISE}")
        call = Call(self, node, [self.value(name) for name in node.inputs])
        given = [v for v in call.arguments if v is not None]
        if given and all(v.known for v in given):
            trained = any(v.trained for v in given)
            return [numbers(array, trained) for array in self.computed(call)]
        if node.op not in RULES:
            raise Inexpressible(f"{node.op} has no counterpart; {OTHERWISE}")
        if any(v.kind == SIZES for v in given) and node.op in units.ON_SIZES:
            return units.on_sizes(call)
        return RULES[node.op](call)

    def computed(self, call: Call) -> list[np.ndarray]:
        """What a node makes of known numbers; once for all trials, if these are in the file."""
        node, known = call.node, self.network.folded
        data = [None if v is None else v.data for v in call.arguments]
        if not all(name in self.network.numbers or name in known for name in node.inputs if name):
            return computed(node, data, self.network.opset)
        if node.outputs[0] not in known:
            known |= dict.fromkeys(node.outputs, computed(node, data, self.network.opset))
        return known[node.outputs[0]]

    # ------------------------------------------------------------------------------------------- the program

    def written(self, model: str, title: str, loss: str | None) -> Written:
        outputs, needs, first = [], set(), None
        self.count_on()
        for port in self.network.outputs:
            value = self.value(port.name)
            try:
                made = self.output(port, value)
            except Inexpressible as fault:
                raise Inexpressible(f"the output {port.name}: {fault}") from None
            if made is not None:
                outputs.append(made[0])
                needs |= made[1]
                first = value if first is None else first
        if not outputs:
            raise Inexpressible("all that it returns are last states, which --carry leaves to the net")
        if loss is not None:
            more, named = goal(self.draft, first, loss)
            outputs, needs = [*outputs, *more], needs | named
        lines = reachable(self.draft.lines, self.draft, needs)
        weights = {path: array for line in lines for path, array in line.weights.items()}
        here = {line.name for line in lines} | self.carried
        notes = list(dict.fromkeys([*roles.lengths(self.network, self.way), *self.draft.notes]))
        notes += [f"no output depends on the input {port.name}, which is left out" for port in self.network.inputs
                  if self.called.get(port.name) not in here and not any(n.startswith(f"{port.name} ") for n in notes)]
        return Written(self.text(model, title, lines, outputs), weights, tuple(notes))

    def count_on(self) -> None:
        """An exporter may fix a length inside that it leaves open in the inputs; then it is fixed in an output, too.
        Otherwise a node with such a number takes frames apart."""
        said = {(axis.roles, n) for port in self.network.outputs
                for axis, n in zip(self.value(port.name).axes, port.sizes or ())}
        for (roles_there, n), node in self.fixed.items():
            axis = Axis(None, roles_there)
            if (roles_there, n) not in said:
                raise Inexpressible(f"{node}: it takes the length of {axis} to be {n}, which the file leaves open "
                                    "elsewhere; export the model with that length open, or fixed, in all of it")
            self.draft.notes.append(f"the file counts on {n} for the length of {axis}, though its inputs leave it "
                                    "open; the program takes any")

    def output(self, port: Port, value: Value) -> tuple[str, set[str]] | None:
        """A line of an output, and what it names; None for a last state that the net keeps."""
        if value.kind in (SIZES, NUMBERS):
            raise Inexpressible("it depends on no input")
        strange = value.roles() - {TIME, BATCH}
        if strange:
            raise Misplaced(f"it has the axes {value}; a program returns frames in their order, as many as it is given")
        makers = self.draft.makers(value.data)
        if self.carry and all(line.final for line in makers):
            return None
        said = self.draft.say(value.data)
        lengths = long(value.data.shape)
        if value.kind != LABEL and len(lengths) == 2:
            text = f"reshape({said.text}, [{lengths[0]}, {lengths[1]}])"
        elif value.kind != LABEL and lengths and said.number:
            text = f"reshape({said.text}, [1])"
        elif value.kind != LABEL and not value.data.shape and not said.number:
            text = f"{said.text}[0]"
        else:
            text = said.text
        if text in self.draft.named and self.draft.line(text).kind == "equation" and text not in self.told:
            if re.sub(r"\W", "_", port.name) == text or not valid(port.name):
                self.told.add(text)
                return f"output {text}{remarked(value, '' if text == port.name else port.name)}", {text}
        name = self.draft.name(port.name if valid(port.name) else "y")
        told = "" if name == port.name else port.name
        return f"output {name} = {text}{remarked(value, told)}", set(said.needs)

    def text(self, model: str, title: str, lines: list[Line], outputs: list[str]) -> str:
        body = []
        for kinds in (("input",), ("param", "frozen"), ("layer", "equation")):
            found = [self.line(line) for line in lines if line.kind in kinds]
            body += [*found, ""] if found else []
        used = " ".join(body)
        cells = [text for name, text in self.draft.cells.items() if re.search(rf"\b{name}\(", used)]
        return whole(title, cells, model, [*body, *outputs])

    def line(self, line: Line) -> str:
        remark = f"    # {line.remark}" if line.remark else ""
        if line.kind == "input":
            per = " per sequence" if line.per == "sequence" else ""
            classes = self.classes.get(line.name)
            kind = "" if classes is None else " : flag" if classes == 0 else f" : class({classes})"
            return f"input {line.text}{kind}{per}{remark}"
        if line.kind in ("param", "frozen"):
            return f"{line.kind} {line.text}{remark}"
        return f"{'layer ' if line.kind == 'layer' else ''}{line.name} = {line.text}{remark}"


def valid(name: str) -> bool:
    """Whether it can stay what an output is called."""
    return re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) is not None


def long(shape: tuple[int, ...]) -> list[int]:
    """The axes that a program has of these: those of more than one unit, or one of one."""
    return [n for n in shape if n != 1] or [1] * bool(shape)


def axes_there(axes) -> str:
    return "[" + ", ".join(str(a) for a in axes) + "]"


def remarked(value: Value, name: str) -> str:
    return f"    # {axes_there(value.axes)} in the file{f', {name}' if name else ''}"


def reachable(lines: list[Line], draft: Draft, needs: set[str]) -> list[Line]:
    """The lines that these names need, in order."""
    found, waiting = set(), list(needs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += draft.line(name).needs
    return [line for line in lines if line.name in found]
