"""A program's checked forward graph as a function in JAX, as a competent user writes it.

Nodes outside of loops are computed for all frames at once; each loop is one `lax.scan` whose carry holds what is read
later. Products of one vector are one product of the matrices stacked; a loop all of whose delays are multiples of g goes
in T/g steps of g*B streams; a loop against time is a scan in reverse. `Form`: `turned` stores matrices [inputs, units];
`hoisted` takes the gradients of a loop's matrices out of it, as one product over all frames (a custom derivative);
`unroll` is that of the scans.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.peers.jax_ops import Untranslated, apply, permute, real, spread
from rnnc.graph.loops import loops
from rnnc.graph.nodes import CONSTANT, FRAME, INT, SEQUENCE, Graph, Initial, Read

SHIFTED = 4                                    # delays up to this are kept as so many values, longer ones as a ring


@dataclass(frozen=True)
class Form:
    hoisted: bool = False
    turned: bool = False
    unroll: int = 1

    def __str__(self) -> str:
        return "scan" + "+hoist" * self.hoisted + "+T" * self.turned + f"+u{self.unroll}" * (self.unroll > 1)


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

    def outputs(self, parameters: dict, inputs: dict, frames: int, streams: int) -> dict:
        found = Call(self, parameters, inputs, frames, streams).values(list(self.graph.outputs.values()))
        lead = {FRAME: (frames, streams), SEQUENCE: (streams,), CONSTANT: ()}
        return {name: spread(real(found[n]), len(self.graph[n].shape), lead[self.graph[n].domain])
                for name, n in self.graph.outputs.items()}

    def loss(self, parameters: dict, inputs: dict, frames: int, streams: int):
        found = Call(self, parameters, inputs, frames, streams).values(list(self.graph.losses.values()))
        return sum(jnp.mean(real(found[n])) for n in self.graph.losses.values())


class Call:
    """Every value of one call: a constant as it is, a sequence's [B, ...], a frame's [T, B, ...] (or 1 in place of B)."""

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
        parts = [members for members in self.translation.loops.components if members[0] in self.live]
        for members in sorted(parts, key=lambda members: self.graph[members[0]].domain != CONSTANT):
            loop = self.translation.loops.loop.get(members[0])
            if loop:
                self.found.update(Scan(self, loop).values())
            else:
                self.found[members[0]] = self.compute(members[0])
        return self.found

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


def multiply(vectors, matrix):
    return vectors @ matrix.T


def rows(graph, of: list[int], found) -> dict:
    ends = np.cumsum([graph[m].shape[0] for m in of])
    return dict(zip(of, jnp.split(found, ends[:-1], -1) if len(of) > 1 else [found]))


class Scan:
    """One loop. Counted in steps of the scan: `ago`, and `depth`, how many steps a member is kept."""

    def __init__(self, call: Call, loop):
        self.call, self.graph, self.loop = call, call.graph, loop
        agos = [loop.ago(edge) for edge in loop.edges]
        if min(agos) < 0:
            raise Untranslated("a loop that reads ahead of itself")
        self.phases = math.gcd(*agos) if loop.direction == 1 else 1
        self.width = self.phases * call.streams
        self.steps = -(-call.frames // self.phases)
        self.order = [n for n in self.graph.order if n in loop.members]
        self.depth: dict[int, int] = {}
        for edge in loop.edges:
            self.depth[edge[0]] = max(self.depth.get(edge[0], 0), loop.ago(edge) // self.phases)
        self.seen = [n for n in self.order if n in self.graph.roots()
                     or any(reader not in loop.members for reader, _ in self.graph.uses[n])]
        outside = {read for n in self.order for read in self.graph[n].args if read.node not in loop.members}
        self.frames = [r for r in outside if self.graph[r.node].domain == FRAME]
        self.frames.sort()
        self.fixed = sorted(r for r in outside if self.graph[r.node].domain != FRAME)

    @cached_property
    def groups(self) -> dict[Read, list[int]]:
        """Members that are products of one vector by constant matrices."""
        found: dict[Read, list[int]] = {}
        for n in self.order:
            if self.call.stackable(self.graph[n]):
                found.setdefault(self.graph[n].args[1], []).append(n)
        return found

    def values(self) -> dict:
        matrices = [self.call.matrices(of) for of in self.groups.values()]
        given = [self.folded(self.call.read(read)) for read in self.frames]
        read = {read for n in self.order if not self.call.stackable(self.graph[n]) for read in self.graph[n].args}
        fixed = [self.wide(r) if r in read else None for r in self.fixed]  # matrices come on their own
        rest = (given, fixed, {n: self.start(n) for n, depth in self.depth.items() if depth})
        found = self.hoisted(matrices, rest) if self.call.form.hoisted and matrices else self.run(matrices, rest)[0]
        return dict(zip(self.seen, [self.unfolded(n, v) for n, v in zip(self.seen, found)]))

    # Phases: g interleaved sequences that never meet are so many streams.

    def folded(self, v):
        if self.phases == 1:
            return v
        v = spread(v, v.ndim - 2, (v.shape[0], self.call.streams))
        v = jnp.pad(v, [(0, self.steps * self.phases - len(v)), *[(0, 0)] * (v.ndim - 1)])
        return v.reshape(self.steps, self.width, *v.shape[2:])

    def unfolded(self, n: int, v):
        if self.phases == 1:
            return v
        v = spread(v, len(self.graph[n].shape), (self.steps, self.width))
        return v.reshape(self.steps * self.phases, self.call.streams, *v.shape[2:])[:self.call.frames]

    def wide(self, read: Read):
        v = self.call.found[read.node]
        if self.phases > 1 and v.ndim > len(self.graph[read.node].shape):
            v = jnp.tile(v, (self.phases,) + (1,) * (v.ndim - 1)) if len(v) > 1 else v
        return v

    def start(self, n: int):
        """What a member was before the first step, the oldest first."""
        way, held = self.loop.direction, []
        for step in range(-self.depth[n], 0):
            offsets = [way * (phase + step * self.phases) for phase in range(self.phases)]
            held.append(jnp.concatenate([self.call.before(n, o, self.call.streams) for o in offsets]))
        return jnp.stack(held) if self.ring(n) else tuple(held)

    def ring(self, n: int) -> bool:
        return self.depth[n] > SHIFTED

    def run(self, matrices, rest, extra=None):
        """The members seen outside, over all steps; with the vectors that were multiplied."""
        given, fixed, start = rest

        def step(carry, now):
            count, past = carry
            values, more = now
            here = dict(zip(self.frames, values)) | dict(zip(self.fixed, fixed))
            found, vectors, products = {}, [], {}

            def read(r: Read):
                if r in here:
                    return here[r]
                ago = self.loop.ago((r.node, 0, r.delay)) // self.phases
                if ago == 0:
                    return found[r.node]
                if not self.ring(r.node):
                    return past[r.node][-ago]
                return lax.dynamic_index_in_dim(past[r.node], (count - ago) % self.depth[r.node], keepdims=False)
            for n in self.order:
                node = self.graph[n]
                group = self.groups.get(node.args[1]) if self.call.stackable(node) else None
                if group and n not in products:
                    place = list(self.groups).index(node.args[1])
                    vectors.append(jnp.broadcast_to(read(node.args[1]), (self.width, matrices[place].shape[1])))
                    made = multiply(vectors[-1], matrices[place])
                    products |= rows(self.graph, group, made if more is None else made + more[place])
                found[n] = products[n] if group else apply(
                    node, [self.graph[r.node] for r in node.args], [read(r) for r in node.args])
            kept = {}
            for n in past:
                new = spread(real(found[n]), len(self.graph[n].shape), (self.width,))
                kept[n] = lax.dynamic_update_index_in_dim(past[n], new, count % self.depth[n], 0) \
                    if self.ring(n) else (*past[n][1:], new)
            return (count + 1, kept), ([found[n] for n in self.seen], vectors)

        _, (seen, vectors) = lax.scan(step, (jnp.int32(0), start), (given, extra), length=self.steps,
                                      reverse=self.loop.direction < 0, unroll=self.call.form.unroll)
        return seen, vectors

    def hoisted(self, matrices, rest):
        """The same, whose derivative by the matrices is one product of all frames each."""
        order = list(self.groups)
        first = [next(i for i, n in enumerate(self.order) if n in self.groups[r]) for r in order]
        by_use = [order.index(r) for _, r in sorted(zip(first, order))]        # as `vectors` has them
        loop = jax.custom_vjp(lambda matrices, rest: self.run(matrices, rest)[0])

        def forward(matrices, rest):
            extra = [jnp.zeros((self.steps, self.width, a.shape[0]), jnp.float32) for a in matrices]
            seen, pull, vectors = jax.vjp(lambda rest, extra: self.run(matrices, rest, extra), rest, extra,
                                          has_aux=True)
            return seen, (pull, vectors)

        def backward(kept, change):
            pull, vectors = kept
            rest, extra = pull(change)
            sums = {place: jnp.einsum("tbi,tbj->ij", extra[place], v) for place, v in zip(by_use, vectors)}
            return [sums[place] for place in range(len(extra))], rest
        loop.defvjp(forward, backward)
        return loop(matrices, rest)
