"""What is known of a value of an ONNX graph.

A program sees one frame of one stream, so of the axes of a value some are no part of it here: time and batch. The
others count *units*. A value's data is an array over its unit axes alone: the numbers themselves, where they are known,
or for each unit the number by which the draft knows it. So everything that only moves units about (transpositions,
slices, concatenations, the axis of a layer's two directions) is what NumPy does with such arrays.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from rnnc.errors import InputError

TIME, BATCH = "time", "batch"
BACK = "time backwards"                        # what a graph has turned round
NUMBERS, UNITS, LABEL, SIZES = "numbers", "units", "label", "sizes"
FREE = -2                                      # a size that any number may stand for


class Inexpressible(InputError):
    """Something of a graph that has no counterpart in a program."""


WRITTEN_OUT = ("If this is a recurrent layer written out frame by frame, export the model so that its LSTM, GRU or RNN "
               "stays one operator (torch.onnx.export(..., dynamo=False))")


class Misplaced(Inexpressible):
    """Time, batch and units are not where an operator wants them: perhaps only as long as they are guessed."""


@dataclass(frozen=True)
class Axis:
    """One axis: of units, or, with roles, of frames and streams; the size of these may be unknown. `parts`: where
    frames and streams share one axis, the sizes of both."""

    size: int | None
    roles: tuple[str, ...] = ()
    parts: tuple[int | None, ...] = ()

    @property
    def time(self) -> bool:
        """Frames alone, in either order."""
        return self.roles in ((TIME,), (BACK,))

    def __str__(self) -> str:
        return " and ".join(self.roles) if self.roles else str(self.size)


@dataclass(frozen=True)
class Size:
    """The length of an axis of frames or streams, as a number of the graph."""

    roles: tuple[str, ...]
    size: int | None = None

    def __mul__(self, other):
        if isinstance(other, Size):
            known = self.size is not None and other.size is not None
            return Size(self.roles + other.roles, self.size * other.size if known else None)
        return self if other == 1 else NotImplemented

    __rmul__ = __mul__

    def __str__(self) -> str:
        return f"the length of {' and '.join(self.roles)}"


@dataclass(frozen=True)
class Value:
    """`data` is over the axes of units, in their order. `trained`: numbers that may have been learned."""

    axes: tuple[Axis, ...]
    data: np.ndarray
    kind: str
    trained: bool = False

    @property
    def known(self) -> bool:
        """Numbers, and nothing of them repeated over time or batch."""
        return self.kind == NUMBERS and not any(a.roles for a in self.axes)

    def roles(self) -> set[str]:
        return {role for axis in self.axes for role in axis.roles}

    def within(self, axis: int) -> int:
        """Where an axis of units stands among these."""
        return sum(not a.roles for a in self.axes[:axis])

    def __str__(self) -> str:
        return "[" + ", ".join(map(str, self.axes)) + "]"


def numbers(array: np.ndarray, trained: bool = False) -> Value:
    return Value(tuple(Axis(n) for n in array.shape), array, NUMBERS, trained)


def sizes(entries: list) -> Value:
    """A list of sizes: numbers, if all of them are known by themselves."""
    if not any(isinstance(e, Size) for e in entries):
        return numbers(np.array(entries, np.int64))
    data = np.empty(len(entries), object)
    data[:] = entries
    return Value((Axis(len(entries)),), data, SIZES)


def rest(value: Value, axes: list[Axis], data: np.ndarray) -> Value:
    """The same kind of value, with other axes; those of units take their sizes from the data."""
    left = iter(data.shape)
    return replace(value, axes=tuple(a if a.roles else Axis(next(left)) for a in axes), data=data)


def transposed(value: Value, order: list[int]) -> Value:
    moved = [value.within(i) for i in order if not value.axes[i].roles]
    return rest(value, [value.axes[i] for i in order], value.data.transpose(moved))


def inserted(value: Value, at: int) -> Value:
    """One more axis, of a single unit."""
    axes = [*value.axes[:at], Axis(1), *value.axes[at:]]
    return rest(value, axes, np.expand_dims(value.data, value.within(at)))


def without(value: Value, at: int) -> Value:
    """An axis of size 1 less. A batch of 1, or a time of 1, that the file fixes may go as well."""
    axes = [*value.axes[:at], *value.axes[at + 1:]]
    if value.axes[at].roles:
        return rest(value, axes, value.data)
    return rest(value, axes, np.squeeze(value.data, value.within(at)))


def together(values: list[Value]) -> tuple[list[Axis], list[np.ndarray]]:
    """Axes that NumPy's rule gives several values, and the data of each, stretched over the units of all."""
    rank = max(len(v.axes) for v in values)
    for _ in range(rank):
        values = [v if len(v.axes) == rank else inserted(v, 0) for v in values]
    axes: list[Axis] = []
    for i in range(rank):
        roles = list(dict.fromkeys(v.axes[i].roles for v in values if v.axes[i].roles))
        if len(roles) > 1:
            raise Misplaced(f"axis {i} is {Axis(None, roles[0])} in one value and {Axis(None, roles[1])} in another")
        if roles:
            axes.append(next(v.axes[i] for v in values if v.axes[i].roles))
        else:
            axes.append(Axis(max(v.axes[i].size for v in values)))
    stretched = [_only(v, [i for i in range(rank) if axes[i].roles], axes) for v in values]
    try:
        return axes, list(np.broadcast_arrays(*stretched))
    except ValueError:
        raise Inexpressible("shapes " + " and ".join(map(str, values)) + " do not fit together") from None


def _only(value: Value, places: list[int], axes: list[Axis]) -> np.ndarray:
    """The data without axes that are of frames or streams in another value, over which it must be the same."""
    data = value.data
    for i in reversed(places):
        if value.axes[i].roles:
            continue
        at = value.within(i)
        if not same_along(data, at):
            raise Inexpressible(f"its shape {value} differs along {axes[i]}, which one frame does not see")
        data = data.take(0, at)
    return data


def same_along(data: np.ndarray, axis: int) -> bool:
    """Whether nothing changes along an axis."""
    return data.shape[axis] == 1 or data.shape[axis] > 0 and bool((data == data.take([0], axis)).all())


def reshaped(value: Value, target: list, fixed: bool = False) -> Value:
    """`target`: a number, -1, a Size, or an Axis of the value that is to stay. `fixed`: a number may stand for a length
    of time or batch that is open elsewhere."""
    atoms = [replace(atom, size=FREE) if fixed and atom.roles and atom.size is None else atom
             for axis in value.axes for atom in _atoms(axis)]
    found = _matched(atoms, target)
    if found is None:
        wanted = ", ".join(map(str, target))
        raise Inexpressible(f"shape {value} to [{wanted}] would mix frames, streams and units")
    found = [replace(a, size=None, parts=(None,) * len(a.parts)) if a.size == FREE else a for a in found]
    shape = [a.size for a in found if not a.roles]
    return rest(value, found, value.data.reshape(shape))


def _atoms(axis: Axis) -> list[Axis]:
    """Frames and streams apart; a single unit is nothing."""
    if len(axis.roles) > 1:
        return [Axis(size, (role,)) for role, size in zip(axis.roles, axis.parts)]
    return [axis] if axis.roles or axis.size != 1 else []


def _joined(atoms: list[Axis]) -> Axis:
    """Frames, streams, or both as one axis."""
    parts = tuple(a.size for a in atoms)
    whole = None if None in parts else FREE if FREE in parts else math.prod(parts)
    return Axis(whole, sum((a.roles for a in atoms), ()), parts if len(parts) > 1 else ())


def _matched(atoms: list[Axis], target: list) -> list[Axis] | None:
    """The axes of a new shape made of the atoms of the old one, in order; None where that is impossible."""
    if not target:
        return [] if all(a.roles and a.size == 1 for a in atoms) else None
    for axis, left in _groups(atoms, target[0]):
        found = _matched(left, target[1:])
        if found is not None:
            return [axis, *found]
    if atoms and atoms[0].roles and atoms[0].size == 1:         # a batch of one that is left out
        return _matched(atoms[1:], target)
    return None


def _groups(atoms: list[Axis], wanted):
    """Ways to make an axis of the first atoms, likeliest first, each with what is left of them."""
    count = next((i for i, a in enumerate(atoms) if not a.roles), len(atoms))
    if isinstance(wanted, (Size, Axis)) and wanted.roles:
        n = len(wanted.roles)
        if sum((a.roles for a in atoms[:n]), ()) == wanted.roles:
            yield _joined(atoms[:n]), atoms[n:]
        return
    wanted = wanted.size if isinstance(wanted, Axis) else wanted
    for n in range(1, count + 1):                               # frames and streams
        axis = _joined(atoms[:n])
        if wanted in (-1, axis.size) or axis.size == FREE and wanted > 0:
            yield axis, atoms[n:]
    if wanted == -1:                                            # units, as many as there are
        stretch = next((i for i, a in enumerate(atoms) if a.roles), len(atoms))
        for n in range(stretch, -1, -1):
            yield Axis(math.prod(a.size for a in atoms[:n])), atoms[n:]
        return
    have, left = 1, list(atoms)
    while have < wanted and left and not left[0].roles:
        part = math.gcd(left[0].size, wanted // have) if wanted % have == 0 else 0
        if part <= 1 or (have * part < wanted and part != left[0].size):
            return
        rest_of = left[0].size // part
        have, left = have * part, ([Axis(rest_of)] if rest_of > 1 else []) + left[1:]
    if have == wanted:
        yield Axis(wanted), left
