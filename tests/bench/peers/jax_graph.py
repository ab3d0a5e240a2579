"""A program's checked forward graph as a function in JAX, as a competent user writes it.

Nodes outside of loops are computed for all frames at once; each loop is one `lax.scan` whose carry holds what is read
later. Products of one vector are one product of the matrices stacked; a loop whose delays are all multiples of g goes
in T/g steps of g*B streams; a loop against time is a scan in reverse. `Form`: `turned` stores matrices [inputs, units];
`hoisted` takes the gradients of a loop's matrices out of it, as one product over all frames (a custom derivative);
`unroll` is that of the scans; `associative`: loops that can be go without a scan (jax_linear.py).
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from bench.peers.jax_ops import Untranslated, apply, multiply, permute, real, rows, spread
from bench.peers.jax_scan import Together
from rnnc.graph.loops import loops
from rnnc.graph.nodes import CONSTANT, FRAME, INT, SEQUENCE, Graph, Initial, Read


@dataclass(frozen=True)
class Form:
    hoisted: bool = False
    turned: bool = False
    unroll: int = 1
    associative: bool = False

    def __str__(self) -> str:
        words = ["assoc" if self.associative else "scan", *["hoist"] * self.hoisted, *["T"] * self.turned,
                 *[f"u{self.unroll}"] * (self.unroll > 1)]
        return "+".join(words)


class Translation:
    """`outputs` and `loss` are functions of (parameters, inputs), for `stored` parameters."""

    def __init__(self, graph: Graph, form: Form):
        self.graph, self.form = graph, form
        self.loops = loops(graph)
        self.turned = {n for n, node in enumerate(graph.nodes) if node.op == "param" and self._stored_turned(n)}
        self.masks = {graph[node.args[0].node].attr("name"): node.attr("pattern")
                      for node in graph.nodes if node.op == "scatter"}
        self.names = {graph[n].attr("name") for n in self.turned}

    def _stored_turned(self, n: int) -> bool:
        """Tables of look-ups are stored by rows, as everybody does; matrices if the form says so."""
        uses = [(self.graph[reader], position) for reader, position in self.graph.uses[n]]
        if len(self.graph[n].shape) != 2 or any(position for _, position in uses):
            return False
        return all(node.op == "column" or self.form.turned and node.op == "matmul" and not node.attr("ta")
                   for node, _ in uses)

    def stored(self, name: str, array: np.ndarray):
        """A parameter, or its gradient, as JAX holds it."""
        if name in self.masks:                 # a sparse matrix is a whole one of which most is zero
            whole = np.zeros(self.masks[name].whole, np.float32)
            whole[self.masks[name].places] = array
            array = whole
        return jnp.asarray(array.T.copy() if name in self.names else array)

    def plain(self, name: str, array) -> np.ndarray:
        array = np.asarray(array)
        if name in self.masks:
            array = array[self.masks[name].places]
        return array.T if name in self.names else array

    @property
    def hoists(self) -> bool:
        """Whether there is a matrix whose gradient can leave its loop."""
        nothing = Call(self, {}, {}, 1, 1)
        return any(nothing.stackable(self.graph[n]) for n in self.loops.loop)

    @property
    def linear(self) -> bool:
        """Whether a loop may be linear in what it keeps, looked at from afar."""
        calm = {"identity", "neg", "add", "sub", "mul", "div", "where"}
        return any(all(self.graph[n].op in calm for n in loop.nodes) for loop in self.loops)

    def outputs(self, parameters: dict, inputs: dict, frames: int, streams: int) -> dict:
        found = Call(self, parameters, inputs, frames, streams).values(list(self.graph.outputs.values()))
        lead = {FRAME: (frames, streams), SEQUENCE: (streams,), CONSTANT: ()}
        return {name: spread(real(found[n]), len(self.graph[n].shape), lead[self.graph[n].domain])
                for name, n in self.graph.outputs.items()}

    def loss(self, parameters: dict, inputs: dict, frames: int, streams: int):
        found = Call(self, parameters, inputs, frames, streams).values(list(self.graph.losses.values()))
        return sum(jnp.mean(real(found[n])) for n in self.graph.losses.values())


class Call:
    """Every value of one call: a constant as it is, a sequence's [B, ...], a frame's [T, B, ...] (or 1 for B)."""

    def __init__(self, translation: Translation, parameters, inputs, frames: int, streams: int):
        self.translation, self.graph, self.form = translation, translation.graph, translation.form
        self.parameters, self.inputs, self.frames, self.streams = parameters, inputs, frames, streams
        self.found: dict[int, object] = {}
        self.live: set[int] = set()
        self.products: dict = {}

    def values(self, wanted: list[int]) -> dict:
        """Constants first, then in the order of the data, and only what is needed."""
        stack = list(wanted)
        while stack:
            n = stack.pop()
            if n not in self.live:
                self.live.add(n)
                stack += [m for read in self.graph[n].args for m in (read.node, *self.graph.before(read))]
        components = self.translation.loops.components
        parts = [c for c, members in enumerate(components) if members[0] in self.live]
        parts.sort(key=lambda c: self.graph[components[c][0]].domain != CONSTANT)
        self.together = Together(self, parts)
        for component in parts:
            self.ensure(component)
        return self.found

    def ensure(self, component: int) -> None:
        first = self.translation.loops.components[component][0]
        if first in self.translation.loops.loop:
            self.together.compute(component)
        elif first not in self.found:
            self.found[first] = self.compute(first)

    def compute(self, n: int):
        node = self.graph[n]
        if not node.args:
            return self.leaf(n, node)
        if node.op == "scatter":
            pattern = node.attr("pattern")
            mask = np.zeros((pattern.rows, pattern.columns), np.float32)
            mask[pattern.places] = 1
            return self.found[node.args[0].node] * mask
        if node.op == "permute":
            frames = spread(self.read(node.args[0]), len(node.shape), (self.frames, self.streams))
            return permute(frames, self.graph.tables[self.graph[node.args[2].node].attr("index")])
        if node.op.startswith("span_") and self.graph[node.args[0].node].domain != FRAME:
            raise Untranslated(f"{node.op} of what is the same in all frames")
        if self.stackable(node):
            return self.stacked(n, node)
        return apply(node, [self.graph[r.node] for r in node.args], [self.read(r) for r in node.args])

    def leaf(self, n: int, node):
        match node.op:
            case "number":
                return np.asarray(node.attr("value"), np.int32 if node.kind == INT else np.float32)
            case "table":
                return jnp.asarray(self.graph.tables[node.attr("index")].reshape(node.shape), jnp.float32)
            case "param":
                held = self.parameters[node.attr("name")]
                return held.T if n in self.translation.turned else held
            case "input":
                if node.attr("name") not in self.inputs:
                    raise Untranslated(f"{node.attr('name')} is a list of labels")
                return self.inputs[node.attr("name")]
            case "frame_index" | "frames_gone":
                return jnp.arange(self.frames, dtype=jnp.int32)[:, None]
            case "frames_left":
                return jnp.arange(self.frames, dtype=jnp.int32)[::-1, None]
            case "span_frames":
                return jnp.full(1, self.frames, jnp.int32)
        return apply(node, [], [])

    def stackable(self, node) -> bool:
        """A constant matrix times a vector."""
        return node.op == "matmul" and len(self.graph[node.args[1].node].shape) == 1 \
            and self.graph[node.args[0].node].domain == CONSTANT and self.graph[node.args[1].node].domain != CONSTANT

    def stacked(self, n: int, node):
        """All products of one vector at once, each of which then takes its rows."""
        vector = node.args[1]
        if vector not in self.products:
            of = [m for m, other in enumerate(self.graph.nodes) if self.stackable(other) and other.args[1] == vector
                  and m in self.live and m not in self.translation.loops.loop]
            self.products[vector] = rows(self.graph, of, multiply(self.read(vector), self.matrices(of)))
        return self.products[vector][n]

    def matrices(self, of: list[int]):
        """[units, inputs] of several products, one below the other."""
        each = [self.found[self.graph[m].args[0].node].T if self.graph[m].attr("ta") else
                self.found[self.graph[m].args[0].node] for m in of]
        if self.form.turned:
            return (jnp.concatenate([a.T for a in each], 1) if len(each) > 1 else each[0].T).T
        return jnp.concatenate(each) if len(each) > 1 else each[0]

    def read(self, read: Read):
        """A value as all frames read it: moved by its delay, with what is seen before a start."""
        v, k, node = self.found[read.node], read.delay, self.graph[read.node]
        if k == 0 or node.domain != FRAME:
            return v
        edge = [self.before(read.node, offset, v.shape[1]) for offset in
                (range(-k, 0) if k > 0 else range(1, -k + 1))]
        edge = jnp.stack(edge[:self.frames] if k > 0 else edge[-self.frames:])
        v = real(v)
        streams = max(edge.shape[1], v.shape[1])
        edge, v = (spread(a, len(node.shape), (len(a), streams)) for a in (edge, v))
        return jnp.concatenate([edge, v[:-k]] if k > 0 else [v[-k:], edge])[:self.frames]

    def before(self, n: int, offset: int, streams: int):
        """What a read beyond a start or an end sees [B, ...]."""
        node, initial = self.graph[n], self.graph.initials.get(n, Initial()).node(offset)
        if initial is None:
            return jnp.full((streams, *node.shape), -1 if node.kind == INT else 0,
                            jnp.int32 if node.kind == INT else jnp.float32)
        value = jnp.asarray(real(jnp.asarray(self.found[initial])))
        return spread(value, len(node.shape), (self.streams if value.ndim > len(node.shape) else streams,))
