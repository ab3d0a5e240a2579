"""One node with its arguments, as the rules are given it, and what several rules need."""

from dataclasses import dataclass

import numpy as np

from rnnc.cli.bring.draft import Draft, Said, literal, units
from rnnc.cli.bring.file import Network, Node
from rnnc.cli.bring.values import BACK, LABEL, NUMBERS, SIZES, UNITS, Axis, Inexpressible, Value

MOST_ROWS = 32                                 # of what is written out row by row


@dataclass
class Call:
    """`reading` is the reading of the whole graph."""

    reading: object
    node: Node
    arguments: list[Value | None]

    @property
    def draft(self) -> Draft:
        return self.reading.draft

    @property
    def network(self) -> Network:
        return self.reading.network

    def attribute(self, name: str, default=None):
        return self.node.attributes.get(name, default)

    def given(self, i: int) -> Value | None:
        """An argument that may be left out."""
        return self.arguments[i] if i < len(self.arguments) else None

    def __getitem__(self, i: int) -> Value:
        value = self.given(i)
        if value is None:
            raise Inexpressible(f"its input {i} is missing")
        return value

    def signal(self, i: int) -> Value:
        """An argument that is a signal, or numbers."""
        value = self[i]
        if value.kind == LABEL:
            raise Inexpressible(f"{self.node.inputs[i]} holds labels, which are no numbers to compute with")
        if value.kind == SIZES:
            raise Inexpressible(f"it computes with the length of an axis ({self.node.inputs[i]})")
        return value

    def integers(self, i: int, attribute: str | None = None) -> list | None:
        """Known whole numbers (and sizes) from an input, or from the attribute that older versions have."""
        value = self.given(i)
        if value is None:
            found = self.attribute(attribute) if attribute else None
            return [int(n) for n in found] if isinstance(found, list) else None if found is None else [int(found)]
        if value.kind == SIZES or value.known:
            return [n if value.kind == SIZES and not isinstance(n, (int, np.integer)) else int(n)
                    for n in value.data.ravel()]
        raise Inexpressible(f"{self.node.inputs[i]} is not known before a run")

    def axis(self, number: int, rank: int) -> int:
        if not -rank <= number < rank:
            raise Inexpressible(f"axis {number} of a value of {rank} axes")
        return number % rank

    # ------------------------------------------------------------------------------------------- names

    @property
    def label(self) -> str:
        """What the equation is called."""
        return module(self.network, self.node)

    # ------------------------------------------------------------------------------------------- expressions

    def parameter(self, i: int, array: np.ndarray, trained: bool, wanted: str = "") -> np.ndarray:
        """The units of known numbers as a parameter; numbers that a node holds are never trained."""
        kind, key = "param" if trained else "frozen", (self.node.inputs[i], array.shape, array.tobytes())
        if key not in self.reading.shared:
            name = self.draft.name(wanted or self.node.inputs[i].rpartition("::")[2].replace(".", "_"))
            said = f"{name} : [{', '.join(map(str, array.shape))}]"
            self.reading.shared[key] = self.draft.add(kind, name, said, array.shape, "always", weights={name: array})
        return self.reading.shared[key]

    def operand(self, i: int, stretched: np.ndarray) -> Said:
        """An argument of an operator that works unit by unit, as an expression."""
        value = self.signal(i)
        if value.kind == UNITS:
            return self.draft.say(value.data if value.data.size == 1 else stretched)
        same = stretched.size > 0 and bool((stretched == stretched.flat[0]).all())
        if same and not (value.trained and value.data.ndim and value.data.size > 1):
            return Said(literal(stretched.flat[0]), True)
        return self.draft.say(self.parameter(i, np.ascontiguousarray(stretched).ravel(), value.trained))

    def simple(self, said: Said, size: int) -> Said:
        """A name for an expression that is going to be said twice."""
        if said.plain:
            return said
        shape = () if said.number else (size,)
        return self.draft.say(self.draft.equation(f"{self.label}_in", said.text, shape, said.needs))

    def equation(self, text: str, axes: list[Axis], shape: tuple[int, ...], parts: list[Said], weights=None,
                 per: str | None = None, number: bool = False, label: str | None = None) -> Value:
        """A new signal with units in this shape."""
        needs = frozenset().union(*(p.needs for p in parts))
        size = int(np.prod(shape, dtype=np.int64))
        made = self.draft.equation(label or self.label, text, () if number else (size,), needs, weights, per)
        return units(axes, made.reshape(shape))


def module(network: Network, node: Node) -> str:
    """The path of the module that a node stands in: /encoder/rnn/LSTM is in encoder.rnn. Where an exporter kept none,
    it may be that of its weights; else the operator."""
    if path := scope(node):
        return path
    weight = next((name for name in node.inputs if name in network.trained and "." in name and "::" not in name), None)
    return weight.rpartition(".")[0] if weight else node.op.lower()


def scope(node: Node) -> str:
    """The path of the module that an exporter made a node in, if it kept one."""
    return ".".join(part for part in node.name.split("/")[:-1] if part)


def rows(data: np.ndarray, axes: list[int]) -> np.ndarray:
    """Units as rows, whose entries lie along the given axes."""
    kept = [i for i in range(data.ndim) if i not in axes]
    width = int(np.prod([data.shape[i] for i in axes], dtype=np.int64))
    return data.transpose(kept + list(axes)).reshape(-1, width)


def each_row(call: Call, table: np.ndarray, text, out: int, weights=None) -> np.ndarray:
    """An operator on vectors for each row of units: as many rows of `out` units. `text` is given a row; with weights,
    which all rows share, also nothing, where one layer is to be applied to all of them."""
    few(len(table), "rows of units")
    said = [call.draft.say(row) for row in table]
    if weights and len(table) > 1:
        layer = call.draft.name(f"{call.label}_layer")
        call.draft.add("layer", layer, text(""), (), "always", weights={f"{layer}.{k}": v for k, v in weights.items()})
        said = [Said(s.text, s.number, s.needs | {layer}) for s in said]
        text, weights = (lambda row, name=layer: f"{name}({row})"), None
    parts = [text(s.text) for s in said]
    made = call.equation(parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})", [], (len(table), out), said,
                         weights)
    return made.data


def few(count: int, what: str) -> None:
    if count > MOST_ROWS:
        raise Inexpressible(f"{count} {what} in one frame would have to be written out one by one")


def at_time(call: Call, value: Value, axis: int, first: bool, label: str | None = None, final: bool = False) -> Value:
    """The value in the last frame of a sequence, or in its first; without the axis."""
    axes = [a for i, a in enumerate(value.axes) if i != axis]
    first = first != (value.axes[axis].roles == (BACK,))
    draft = call.draft
    if value.kind == NUMBERS or all(line.per != "frame" for line in draft.makers(value.data)):
        return Value(tuple(axes), value.data, value.kind, value.trained)
    if value.kind == LABEL:
        raise Inexpressible("it takes a label of one frame out of time")
    said, key = draft.say(value.data), (value.data.tobytes(), value.data.shape, first)
    if key not in call.reading.shared:
        makers = draft.makers(value.data)
        name = label or (f"{makers[0].name}_{'first' if first else 'last'}" if len(makers) == 1 else call.label)
        text = at_end(draft, said.text, first)
        shape = () if said.number else (value.data.size,)
        call.reading.shared[key] = draft.equation(name, text, shape, said.needs, per="sequence", final=final)
    return units(axes, call.reading.shared[key].reshape(value.data.shape))


def at_end(draft: Draft, text: str, first: bool) -> str:
    """What a signal is in the last frame, or the first."""
    if not first:
        return f"last({text})"
    draft.cells["at_end"] = AT_END
    return f"reversed(at_end())({text})"


AT_END = """# What a value is in the last frame; reversed, whose time runs the other way, in the first.
cell at_end()(x) {
    y = last(x)
    return y
}"""

