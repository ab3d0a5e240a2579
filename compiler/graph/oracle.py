"""The meaning of a graph: every node at every frame, in NumPy, one frame after another, in the plainest way.

In: a graph of any sort (forward, scores, joint with its gradient) and arrays. Out: a `Result`, from which any value
may be asked. The one idea: a value is (node, frame); it is worked out when somebody asks, its arguments first, so
loops of either direction need no plan. Nothing here is shared with the back end, which is judged by it.

A read of v at t - k, stream by stream, with `since` the frames since the start of t's sequence and `left` those that
follow t in it inside the call:
  k > 0  since < k         the initial value of v at offset since - k
         t - k < 0         the state's entry (a signal that no state holds, so an adjoint, is zero there)
  k < 0  left < -k         the initial value of v at offset -k - left
  else                     v at t - k

A value per sequence (see sequences.py) is one array [S, ...]; a frame reads the row of its own sequence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rnnc.errors import Broken
from rnnc.graph import bounds as error_bounds
from rnnc.graph.nodes import CONSTANT, FRAME, INT, SEQUENCE, Graph, Initial, Read, finest
from rnnc.graph.ops import FOLD, OPS, SPAN, evaluate
from rnnc.graph.ops.random import row_keys
from rnnc.graph.sequences import ended, sequences

ALL = "all"                                    # in place of a frame: all sequences at once
Key = tuple[int, int | str | None]             # node and frame; ALL for a value per sequence, None for a constant


@dataclass
class State:
    """What a call hands to the next: of each state signal the last frames, newest last, and the frames since the
    start, for every stream; and all frames that it has run (`age`; None: none yet), by which random numbers go."""

    since: np.ndarray
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    age: np.ndarray | None = None


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


def run(graph: Graph, inputs: Mapping = {}, params: Mapping = {}, state: State | None = None, starts=None,
        weight=None, cotangents: Mapping = {}, state_cotangents: Mapping = {}, dtype=np.float64, bounds: bool = False,
        eps: float = 2.0 ** -24, frames: int | None = None, streams: int | None = None, seed: int = 0,
        draw: int = 0) -> "Result":
    """Interprets one call. Arrays are [T, B, ...], per sequence [S, ...] (lists of labels: S lists);
    `state_cotangents` [K, B, ...] by signal path. `frames` and `streams` are needed only if no array tells them.
    `bounds`: keep an error bound beside each value, for numbers rounded to `eps`; see bounds.py.
    `seed`, `draw`: what random operators draw."""
    whole = {i.name for i in graph.inputs if i.per == SEQUENCE}
    whole |= {node.attr("name") for node in graph.nodes if node.op == "cotangent" and node.domain == SEQUENCE}
    named = [a for name, a in [*inputs.items(), *cotangents.items()] if name not in whole]
    given = [np.asarray(a) for a in [*named, starts, weight] if a is not None]
    if frames is None:
        frames = given[0].shape[0]
    if streams is None:
        streams = given[0].shape[1] if given else len(state.since)
    call = _Call(graph, frames, streams, dict(inputs), dict(params), state, starts, weight, dict(cotangents),
                 dict(state_cotangents), np.dtype(dtype), eps if bounds else None, (seed, draw))
    return Result(call)


class _Call:
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
        raise Broken(f"{node.op} has no arguments and is no leaf")

    def _zeros(self, node):
        return np.zeros((self.streams, *node.shape))

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


class Result:
    """What a call leaves behind, each part worked out when asked for. With bounds, `result.bounds` answers the same
    questions with the error bounds, and `kinks` lists where a value stood at a switching point (of what has been
    asked for so far)."""

    def __init__(self, call: _Call, errors: bool = False):
        self._call, self._errors = call, errors
        self.graph = call.graph

    @property
    def bounds(self) -> "Result":
        if self._call.eps is None:
            raise Broken("the oracle ran without bounds")
        return Result(self._call, errors=True)

    @property
    def kinks(self) -> list[Kink]:
        return list(self._call.kinks)

    def at(self, node: int, frame: int | None) -> np.ndarray:
        value = self._call.value(node, frame)
        return self._call.errors[node, self._call.place(node, frame)] if self._errors else value

    def value(self, node: int | str) -> np.ndarray:
        """Any node by number or path: [T, B, ...], [S, ...] per sequence, or one array for a constant."""
        if isinstance(node, str):
            node = self.graph.named()[node]
        if self.graph[node].domain == CONSTANT:
            return self.at(node, None)[0]
        if self.graph[node].domain == SEQUENCE:
            return self.at(node, None)
        call, shape = self._call, self.graph[node].shape
        rows = [np.broadcast_to(self.at(node, t), (call.streams, *shape)) for t in range(call.frames)]
        return np.stack(rows) if rows else np.zeros((0, call.streams, *shape))

    def _per_frame(self, node: int) -> np.ndarray:
        """As `value`; a constant is repeated for every frame and stream."""
        value = self.value(node)
        if self.graph[node].domain != CONSTANT:
            return value
        return np.broadcast_to(value, (self._call.frames, self._call.streams, *value.shape))

    @cached_property
    def outputs(self) -> dict[str, np.ndarray]:
        return {name: self._per_frame(n) for name, n in self.graph.outputs.items()}

    @cached_property
    def losses(self) -> dict[str, np.ndarray]:
        return {name: self._per_frame(n) for name, n in self.graph.losses.items()}

    @cached_property
    def scores(self) -> dict[str, float]:
        return {name: self.value(n)[()] for name, n in self.graph.scores.items()}

    @cached_property
    def gradients(self) -> dict[str, np.ndarray]:
        return {name: self.value(n) for name, n in self.graph.gradients.items()}

    @cached_property
    def input_gradients(self) -> dict[str, np.ndarray]:
        return {name: self._per_frame(n) for name, n in self.graph.input_gradients.items()}

    @cached_property
    def state_gradients(self) -> dict[str, np.ndarray]:
        """Of the incoming state: each read counts at the frames before the call, if it looks into the call and the
        read that it answers did not cross a start. What the call only hands through comes at delay 0."""
        call = self._call
        out = {}
        for signal, reads in self.graph.state_gradients.items():
            depth = self.graph.state[signal]
            shape = (depth, call.streams, *self.graph[signal].shape)
            total = np.zeros(shape, call._type(self.graph[signal], self._errors))
            for read in reads:
                for entry in range(depth):
                    frame = entry - depth - read.delay
                    if read.delay == 0 and not self._errors:
                        total[entry] += call.state_seed(self.graph[read.node], frame)
                    elif 0 <= frame < call.frames:
                        counts = call.seq.since[frame] >= -read.delay
                        total[entry][counts] += self.at(read.node, frame)[counts]
            out[signal_name(self.graph, signal)] = total
        return out

    @cached_property
    def state(self) -> State:
        """The state after the call."""
        call = self._call
        signals = {}
        for n, depth in self.graph.state.items():
            node, name = self.graph[n], signal_name(self.graph, n)
            old = np.full((depth, call.streams, *node.shape), -1 if node.kind == INT else 0, call._type(node))
            if call.state is not None:
                old = np.asarray(call.state.signals[name])
            frames = range(max(0, call.frames - depth), call.frames)
            new = [np.broadcast_to(self.at(n, t), old.shape[1:]) for t in frames]
            signals[name] = np.stack([*old[len(new):], *new]) if depth else old
        return State(call.seq.since[call.frames].copy(), signals, call.age + call.frames)
