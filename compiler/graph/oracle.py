"""The meaning of a graph: every node at every frame, in NumPy, one frame after another, in the plainest way.

In: a graph of any sort (forward, scores, joint with its gradient) and arrays. Out: a `Result`, from which any value
may be asked; interpret.py finds it. Nothing here is shared with the back end, which is judged by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from rnnc.errors import Broken
from rnnc.graph.interpret import Call, Kink, signal_name
from rnnc.graph.nodes import CONSTANT, INT, SEQUENCE, Graph


@dataclass
class State:
    """What a call hands to the next: of each state signal the last frames, newest last, and the frames since the
    start, for every stream; and all frames that it has run (`age`; None: none yet), by which random numbers go."""

    since: np.ndarray
    signals: dict[str, np.ndarray] = field(default_factory=dict)
    age: np.ndarray | None = None


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
    call = Call(graph, frames, streams, dict(inputs), dict(params), state, starts, weight, dict(cotangents),
                dict(state_cotangents), np.dtype(dtype), eps if bounds else None, (seed, draw))
    return Result(call)


class Result:
    """What a call leaves behind, each part worked out when asked for. With bounds, `result.bounds` answers the same
    questions with the error bounds, and `kinks` lists where a value stood at a switching point (of what has been
    asked for so far)."""

    def __init__(self, call: Call, errors: bool = False):
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
