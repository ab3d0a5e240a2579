"""Losses and metrics as numbers: the graph whose only results are `scores`.

In: a graph with frame scalars as losses and metrics. Out: the same graph with `scores` ("loss", then the metrics),
constants of one call. A statement's score is sum(weight * value) / sum(weight) over frames and streams, 0 where no
frame has weight; the loss statements add up.
"""

from dataclasses import replace

from rnnc.graph.nodes import Builder, Graph
from rnnc.graph.ops import make


def scores(graph: Graph) -> Graph:
    """Before: losses and metrics. After: `scores` in their place, no outputs; the state as it was."""
    builder = Builder(graph)
    weighing = Weighing(builder)
    found = {"loss": weighing.total(list(graph.losses.values()))}
    found |= {name: weighing.mean(value) for name, value in graph.metrics.items()}
    return replace(graph, nodes=tuple(builder.nodes), outputs={}, losses={}, metrics={}, scores=found)


class Weighing:
    """The weight of each frame, and 1 / (the sum of all weights)."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.weight = make(builder, "weight")
        whole = make(builder, "fold_sum", self.weight)
        zero, one = (make(builder, "number", value=v) for v in (0.0, 1.0))
        nothing = make(builder, "eq", whole, zero)
        safe = make(builder, "where", nothing, one, whole)
        self.scale = make(builder, "where", nothing, zero, make(builder, "div", one, safe))

    def mean(self, value: int) -> int:
        span = self.builder.look(value).span
        total = make(self.builder, "fold_sum", make(self.builder, "mul", self.weight, value, span=span), span=span)
        return make(self.builder, "mul", total, self.scale, span=span)

    def total(self, losses: list[int]) -> int:
        """The sum of the statements' means; 0 for a program without a loss."""
        if not losses:
            return make(self.builder, "number", value=0.0)
        found = self.mean(losses[0])
        for loss in losses[1:]:
            found = make(self.builder, "add", found, self.mean(loss))
        return found

    def seed(self) -> int:
        """The adjoint of every loss, per frame."""
        return make(self.builder, "mul", self.weight, self.scale)
