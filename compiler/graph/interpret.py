"""The interpreter at the heart of the oracle: a value is (node, frame), worked out when somebody asks, its arguments
first, so loops of either direction need no plan.

In: a graph and the arrays of one call. Out: `Call.value` and, beside it, error bounds and kinks. A read of v at t - k,
stream by stream, with `since` the frames since the start of t's sequence and `left` those that follow t in it inside
the call:
  k > 0  since < k         the initial value of v at offset since - k
         t - k < 0         the state's entry (a signal that no state holds, so an adjoint, is zero there)
  k < 0  left < -k         the initial value of v at offset -k - left
  else                     v at t - k

A value per sequence (see sequences.py) is one array [S, ...]; a frame reads the row of its own sequence.
"""

from dataclasses import dataclass

import numpy as np

from rnnc.errors import Broken
from rnnc.graph import bounds as error_bounds
from rnnc.graph.nodes import CONSTANT, FRAME, INT, SEQUENCE, Graph, Initial, Read, finest
from rnnc.graph.ops import FOLD, OPS, SPAN, evaluate
from rnnc.graph.ops.random import row_keys
from rnnc.graph.sequences import ended, sequences

ALL = "all"                                    # in place of a frame: all sequences at once
Key = tuple[int, int | str | None]             # node and frame; ALL for a value per sequence, None for a constant


@dataclass(frozen=True)
class Kink:
    """A node that stood at its switching point at this frame (None: a constant)."""

    node: int
    op: str
    frame: int | None


def signal_name(graph: Graph, node: int) -> str:
    """The path under which a state signal is known."""
    name = graph[node].name or graph[node].attr("name")
    if name is None:
        raise Broken(f"node {node} ({graph[node].op}) is in the state and has no name")
    return name


class Call:
    """One call's arguments, and every value found so far."""

    def __init__(self, graph, frames, streams, inputs, params, state, starts, weight, cotangents, state_cotangents,
                 dtype, eps, lot):
        self.lot = lot
        self.graph, self.frames, self.streams, self.eps = graph, frames, streams, eps
        lists = {i.name for i in graph.inputs if i.kind == "labels"}
        inputs = {name: ended(a) if name in lists else a for name, a in inputs.items()}
        arrays = [*inputs.values(), *params.values(), *cotangents.values(), *(state.signals.values() if state else [])]
        self.dtype = np.dtype(complex) if any(np.iscomplexobj(a) for a in arrays) else dtype
        self.inputs, self.params, self.state = inputs, params, state
        self.cotangents, self.state_cotangents = cotangents, state_cotangents
        self.starts = np.zeros((frames, streams), bool) if starts is None else np.asarray(starts).astype(bool)
        self.weight = np.ones((frames, streams)) if weight is None else np.asarray(weight)
        self.flags = {i.name for i in graph.inputs if i.kind == "flag"}
        self.seq = sequences(self.starts, None if state is None else state.since)
        self.age = np.zeros(streams, np.int64) if state is None or state.age is None else np.asarray(state.age)
        self.found: dict[Key, np.ndarray] = {}
        self.errors: dict[Key, np.ndarray] = {}
        self.kinks: list[Kink] = []

    # Values, on demand.

    def value(self, node: int, frame: int | None) -> np.ndarray:
        """The value of a node at a frame, with a leading axis for streams (1 for a constant; sequences, if it has one
        value for each)."""
        stack, opened = [(node, self.place(node, frame))], set()
        wanted = stack[0]
        while stack:
            key = stack[-1]
            missing = [] if key in self.found else [k for k in self._needs(key) if k not in self.found]
            if missing:
                if key in opened:
                    raise Broken(f"node {key[0]} at frame {key[1]} needs itself")
                opened.add(key)
                stack.extend(missing)
                continue
            stack.pop()
            if key not in self.found:
                self._find(key)
        return self.found[wanted]

    def place(self, node: int, frame):
        """Where the value of a node that a frame reads is kept: at that frame, or for all of them."""
        return {CONSTANT: None, SEQUENCE: ALL, FRAME: frame}[self.graph[node].domain]

    def _frames_read(self, key: Key) -> list[int | str | None]:
        """At which frames the arguments are read: its own; a fold's and a span's are read at all of them."""
        node, frame = self.graph[key[0]], key[1]
        if OPS[node.op].family == FOLD and finest(self.graph[r.node].domain for r in node.args) != FRAME:
            return [ALL]
        return list(range(self.frames)) if OPS[node.op].family in (FOLD, SPAN) else [frame]

    def _needs(self, key: Key) -> list[Key]:
        return [source for frame in self._frames_read(key) for read in self.graph[key[0]].args
                for _, source in self._sources(read, frame) if isinstance(source, tuple)]

    def _sources(self, read: Read, t: int | str | None) -> list[tuple]:
        """Where a read at frame t finds its value: pairs (mask of streams or None, where), the latter a key, or the
        index of a state entry, or None for the default."""
        v, k = read.node, read.delay
        if k == 0 or self.graph[v].domain != FRAME:
            return [(None, (v, self.place(v, t)))]
        inside = self.seq.since[t] >= k if k > 0 else self.seq.left[t] >= -k
        initial, found = self.graph.initials.get(v, Initial()), []
        for offset in sorted(set((self.seq.since[t] - k if k > 0 else -k - self.seq.left[t])[~inside])):
            mask = ~inside & ((self.seq.since[t] - k if k > 0 else -k - self.seq.left[t]) == offset)
            node = initial.node(int(offset))
            found.append((mask, None if node is None else (node, self.place(node, t))))
        if inside.any():
            depth = self.graph.state.get(v)
            held = depth is not None and self.state is not None
            found.append((inside, (v, t - k) if t - k >= 0 else depth + t - k if held else None))
        return found

    def _rows(self, key: Key, t: int | str | None, table: dict[Key, np.ndarray]) -> np.ndarray:
        """A value as frame t reads it: of a sequence's, the rows of the frame's own."""
        return table[key][self.seq.number[t]] if key[1] == ALL and t not in (ALL, None) else table[key]

    def _read(self, read: Read, t: int | str | None, table: dict[Key, np.ndarray]) -> np.ndarray:
        """The value (or the bound, as `table` says) that a read finds."""
        errors = table is self.errors
        sources = self._sources(read, t)
        if sources[0][0] is None:
            return self._rows(sources[0][1], t, table)
        node = self.graph[read.node]
        default = 0 if errors or node.kind != INT else -1
        out = np.full((self.streams, *node.shape), default, self._type(node, errors))
        for mask, where in sources:
            if isinstance(where, tuple):
                out[mask] = np.broadcast_to(self._rows(where, t, table), out.shape)[mask]
            elif where is not None:
                entry = np.asarray(self.state.signals[signal_name(self.graph, read.node)])[where]
                out[mask] = (self._rounding(entry, node) if errors else entry)[mask]
        return out

    def _type(self, node, errors: bool = False):
        if errors:
            return np.float64
        return np.dtype(np.int64) if node.kind == INT else self.dtype

    def _find(self, key: Key) -> None:
        number, frame = key
        node = self.graph[number]
        if not node.args:
            value = self._leaf(node, frame)
            self.found[key] = np.asarray(value).astype(self._type(node))
            if self.eps is not None:
                self.errors[key] = self._rounding(self.found[key], node)
            return
        errors = None if self.eps is None else self._arguments(key, self.errors)
        if OPS[node.op].family == SPAN:
            return self._find_spans(number, self._arguments(key, self.found), errors)
        self.found[key], self.errors[key] = self._evaluated(number, self._arguments(key, self.found), errors, frame)

    def _evaluated(self, number: int, values: list, errors: list | None, frame):
        """A node's value and its bound."""
        node = self.graph[number]
        with np.errstate(all="ignore"):
            value = evaluate(node, values)
            if not np.iscomplexobj(value):
                value = value.astype(np.int64 if node.kind == INT else self.dtype, copy=False)
            if errors is None:
                return value, None
            if not self._finds_extreme(node) and error_bounds.kink(node, values, errors):
                self.kinks.append(Kink(number, node.op, frame))
            return value, error_bounds.bound(node, values, errors, value, self.eps)

    def _find_spans(self, number: int, values: list, errors: list | None) -> None:
        """A span's value, of all sequences; `values` [T, B, ...] of each argument."""
        node, tables = self.graph[number], [self.found] + [self.errors] * (errors is not None)
        made = []
        for place in self.seq.parts:
            inside = [_part(a, place) for a in values]
            near = None if errors is None else [_part(a, place) for a in errors]
            made.append(self._evaluated(number, inside, near, place[1]))
        for which, table in enumerate(tables):
            if node.domain == SEQUENCE:
                table[number, ALL] = np.concatenate([found[which] for found in made])
                continue
            whole = np.zeros((self.frames, self.streams, *node.shape), made[0][which].dtype)
            for (stream, first, last), found in zip(self.seq.parts, made):
                whole[first:last, stream] = found[which]
            table.update({(number, t): rows for t, rows in enumerate(whole)})

    def _finds_extreme(self, node) -> bool:
        """The comparison by which a derivative finds the entry that max or min took: equal by construction, and the
        reduction itself has told whether another entry came near."""
        if node.op != "eq":
            return False
        other = node.args[1].node
        while self.graph[other].op in ("broadcast", "reshape"):
            other = self.graph[other].args[0].node
        return self.graph[other].op in ("max", "min", "span_max") and self.graph[other].args[0] == node.args[0]

    def _arguments(self, key: Key, table) -> list[np.ndarray]:
        """What a node reads: an array per argument. A fold reads every row, one below the other; a span [T, B, ...]."""
        frames, family = self._frames_read(key), OPS[self.graph[key[0]].op].family
        found = []
        for read in self.graph[key[0]].args:
            rows = [self._read(read, t, table) for t in frames]
            if family in (FOLD, SPAN):
                lead = len(self.seq.parts) if frames == [ALL] else self.streams
                shape = (lead, *(rows[0].shape[1:] if rows else self.graph[read.node].shape))
                rows = [np.broadcast_to(row, shape) for row in rows]
                empty = np.zeros((0, *shape), self._type(self.graph[read.node], table is self.errors))
                rows = [np.stack(rows) if rows else empty]
                if family == FOLD:
                    rows = [rows[0].reshape(-1, *shape[1:])]
            found.append(rows[0])
        return found

    def _rounding(self, value, node) -> np.ndarray:
        """The bound of a value from outside: one rounding, unless it is a whole number."""
        exact = node.kind == INT or node.op == "input" and node.attr("name") in self.flags
        return np.zeros(value.shape) if exact else np.where(value == np.round(value), 0, self.eps * np.abs(value))

    def _leaf(self, node, t: int | None):
        given = lambda table, key: np.asarray(table[key])
        match node.op:
            case "number":
                return np.full(1, node.attr("value"))
            case "table":
                return np.asarray(self.graph.tables[node.attr("index")]).reshape(1, *node.shape)
            case "param":
                return given(self.params, node.attr("name")).reshape(1, *node.shape)
            case "input":
                array = given(self.inputs, node.attr("name"))
                return array if t == ALL else array[t].reshape(self.streams, *node.shape)
            case "frame_index":
                return self.seq.since[t]
            case "frames_left":
                return self.seq.left[t]
            case "frames_gone":
                return self.seq.gone[t]
            case "span_frames":
                return self.seq.frames
            case "row_key":
                if t == ALL:
                    streams, first = np.array([part[:2] for part in self.seq.parts]).T
                    return row_keys(*self.lot, (self.age + first[:, None] - self.seq.since[first])[
                        np.arange(len(streams)), streams], streams)
                ago = node.attr("ago") if node.attr("per") == "frame" else self.seq.since[t]
                return row_keys(*self.lot, self.age + t - ago)
            case "weight":
                return self.weight[t]
            case "cotangent":
                name = node.attr("name")
                if name not in self.cotangents:
                    return np.zeros((len(self.seq.parts), *node.shape)) if t == ALL else self._zeros(node)
                return given(self.cotangents, name) if t == ALL else given(self.cotangents, name)[t]
            case "state_cotangent":
                return self.state_seed(node, t)
            case "carried":
                return self.carried(node, t)
        raise Broken(f"{node.op} has no arguments and is no leaf")

    def _zeros(self, node):
        return np.zeros((self.streams, *node.shape))

    def carried(self, node, t: int):
        """The state's entry, where the call's first frame goes on with a sequence."""
        entry = None if self.state is None or t else np.asarray(self.state.signals[node.attr("signal")])[-1]
        goes_on = (self.seq.since[t] > 0).reshape(-1, *[1] * len(node.shape))
        return self._zeros(node) if entry is None else np.where(goes_on, entry, 0)

    def state_seed(self, node, t: int):
        """The wanted change of the outgoing state's entry for frame t, which may lie before the call."""
        seeds = self.state_cotangents.get(node.attr("signal"))
        if seeds is None or t < self.frames - len(seeds):
            return self._zeros(node)
        return np.asarray(seeds)[len(seeds) - self.frames + t]


def _part(rows: np.ndarray, place: tuple[int, int, int]) -> np.ndarray:
    """The frames of one sequence, of [T, B, ...]."""
    stream, first, last = place
    return rows[first:last, stream]
