"""Loops of a graph as scans of JAX, for jax_graph.py.

`Scan` is one loop. `Together`: loops that compute the same of other values, and do not wait for each other, are one
scan with an axis more (heads, directions of a grid): `jax.vmap`.
"""

import math
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from bench.peers import jax_linear
from bench.peers.jax_ops import Untranslated, apply, multiply, real, rows, spread
from rnnc.graph.nodes import FRAME, Read

SHIFTED = 4                                    # delays up to this are kept as so many values, longer ones as a ring


class Together:
    """Computes loops of a call; `parts` are its components, in the order of the data."""

    def __init__(self, call, parts: list[int]):
        self.call, self.loops, self.parts = call, call.translation.loops, parts
        self.busy, self.done = 0, set()        # a bit for each that waits for others; what is computed
        self.needs: dict[int, int] = {}        # component -> all that it needs, a bit each
        for c in parts:
            read = {self.loops.component[m] for n in self.loops.components[c] for r in call.graph[n].args
                    for m in (r.node, *call.graph.before(r))} - {c}
            self.needs[c] = 0
            for other in read:
                self.needs[c] |= self.needs[other] | 1 << other
        self.scans = {c: Scan(call, self.loops.loop[self.loops.components[c][0]]) for c in parts
                      if self.loops.components[c][0] in self.loops.loop}

    def compute(self, component: int) -> None:
        if component in self.done:
            return
        scan, call = self.scans[component], self.call
        found = jax_linear.values(scan) if call.form.associative else None
        if found is not None:
            self.done.add(component)
            call.found.update(found)
            return
        group, mask = [component], 1 << component
        for other, its in self.scans.items():
            if other != component and its.signature == scan.signature and not self.needs[other] & (mask | self.busy) \
                    and other not in self.done and not self.needs[component] >> other & 1:
                group.append(other)
                mask |= 1 << other
        self.busy |= mask
        for other in group[1:]:
            for needed in self.parts:
                if self.needs[other] >> needed & 1:
                    call.ensure(needed)
        self.busy &= ~mask
        self.done.update(group)
        scans = [self.scans[c] for c in group]
        given = [s.arguments() for s in scans]
        scan.known([rest[1] for _, rest in given])
        if len(scans) == 1:
            call.found.update(scan.named(scan.compute(*given[0])))
            return
        stacked = lambda axis: lambda *each: jnp.stack(jnp.broadcast_arrays(*each), axis)
        join = lambda axis, pick: jax.tree.map(stacked(axis), *[pick(g) for g in given])
        matrices = join(0, lambda g: g[0])
        frames, fixed, start = (join(axis, lambda g, i=i: g[1][i]) for i, axis in enumerate((1, 0, 0)))
        found = jax.vmap(scan.compute, in_axes=(0, (1, 0, 0)), out_axes=1)(matrices, (frames, fixed, start))
        for place, its in enumerate(scans):
            call.found.update(its.named([v[:, place] for v in found]))


class Scan:
    """One loop. Counted in steps of the scan: `ago`, and `depth`, how many steps a member is kept."""

    def __init__(self, call, loop):
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
        self.kept = [n for n in self.order if self.depth.get(n)]
        self.static: dict[Read, object] = {}   # numbers, which stay known
        self.seen = [n for n in self.order if n in self.graph.roots()
                     or any(reader not in loop.members for reader, _ in self.graph.uses[n])]
        outside = dict.fromkeys(r for n in self.order for r in self.graph[n].args if r.node not in loop.members)
        self.frames = [r for r in outside if self.graph[r.node].domain == FRAME]
        self.fixed = [r for r in outside if self.graph[r.node].domain != FRAME]

    @cached_property
    def groups(self) -> dict[Read, list[int]]:
        """Members that are products of one vector by constant matrices."""
        found: dict[Read, list[int]] = {}
        for n in self.order:
            if self.call.stackable(self.graph[n]):
                found.setdefault(self.graph[n].args[1], []).append(n)
        return found

    @cached_property
    def signature(self) -> tuple:
        """Equal for loops that compute the same of other values."""
        index = {n: i for i, n in enumerate(self.order)}
        outside = {r: i for i, r in enumerate([*self.frames, *self.fixed])}

        def said(reader: int, read: Read):
            node = self.graph[read.node]
            if read.node in index:
                return index[read.node], read.delay
            known = node.attr("value") if self.graph[reader].op == "pow" else None
            return "outside", outside[read], node.shape, node.kind, node.domain, node.op == "number", known
        return (self.loop.direction, tuple(index[n] for n in self.seen),
                tuple((node.op, node.shape, node.kind, node.attrs, tuple(said(n, r) for r in node.args))
                      for n, node in ((n, self.graph[n]) for n in self.order)))

    def arguments(self):
        """(matrices, (what comes frame by frame, what is fixed, what was before)) for `run`."""
        matrices = [self.call.matrices(of) for of in self.groups.values()]
        given = [self.folded(self.call.read(read)) for read in self.frames]
        read = {read for n in self.order if not self.call.stackable(self.graph[n]) for read in self.graph[n].args}
        fixed = [self.wide(r) if r in read else None for r in self.fixed]  # matrices come on their own
        return matrices, (given, fixed, [self.start(n) for n in self.kept])

    def known(self, all_fixed: list[list]) -> None:
        """Takes numbers that are the same in all of these loops out of what is fixed."""
        for place, read in enumerate(self.fixed):
            values = [fixed[place] for fixed in all_fixed]
            if isinstance(values[0], np.ndarray) and all(v == values[0] for v in values):
                self.static[read] = values[0]
                for fixed in all_fixed:
                    fixed[place] = None

    def compute(self, matrices, rest) -> list:
        return self.hoisted(matrices, rest) if self.call.form.hoisted and matrices else self.run(matrices, rest)[0]

    def named(self, found) -> dict:
        return {n: self.unfolded(n, v) for n, v in zip(self.seen, found)}

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
            here = dict(zip(self.frames, values)) | dict(zip(self.fixed, fixed)) | self.static
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
            for n in self.kept:
                new = spread(real(found[n]), len(self.graph[n].shape), (self.width,))
                kept[n] = lax.dynamic_update_index_in_dim(past[n], new, count % self.depth[n], 0) \
                    if self.ring(n) else (*past[n][1:], new)
            return (count + 1, kept), ([found[n] for n in self.seen], vectors)

        begin = jnp.int32(0), dict(zip(self.kept, start))
        _, (seen, vectors) = lax.scan(step, begin, (given, extra), length=self.steps,
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
