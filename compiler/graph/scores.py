"""Losses and metrics as numbers: the graph whose only results are `scores`.

In: a graph with scalars per frame or per sequence as losses and metrics. Out: the same graph with `scores` ("loss",
then the metrics), constants of one call. A statement's score is sum(weight * value) / sum(weight) over frames and
streams (over sequences, with the weight of their last frame), 0 where none has weight; the loss statements add up.
"""

from dataclasses import replace

from rnnc.graph.nodes import FRAME, SEQUENCE, Builder, Graph
from rnnc.graph.ops import make


def scores(graph: Graph) -> Graph:
    """Before: losses and metrics. After: `scores` in their place, no outputs; the state as it was."""
    builder = Builder(graph)
    weighing = Weighing(builder)
    found = {"loss": weighing.total(list(graph.losses.values()))}
    found |= {name: weighing.mean(value) for name, value in graph.metrics.items()}
    return replace(graph, nodes=tuple(builder.nodes), outputs={}, losses={}, metrics={}, scores=found)


class Weighing:
    """The weight of each frame, or of each sequence (that of its last frame), and 1 / (the sum of all of them)."""

    def __init__(self, builder: Builder):
        self.builder = builder
        self.made: dict[str, tuple[int, int]] = {}

    def of(self, per: str) -> tuple[int, int]:
        """(weight, scale) for values of this domain; what is the same in all frames counts once for each."""
        per = SEQUENCE if per == SEQUENCE else FRAME
        if per not in self.made:
            weight = make(self.builder, "weight")
            if per == SEQUENCE:
                weight = make(self.builder, "span_last", weight)
            whole = make(self.builder, "fold_sum", weight)
            zero, one = (make(self.builder, "number", value=v) for v in (0.0, 1.0))
            nothing = make(self.builder, "eq", whole, zero)
            safe = make(self.builder, "where", nothing, one, whole)
            scale = make(self.builder, "where", nothing, zero, make(self.builder, "div", one, safe))
            self.made[per] = weight, scale
        return self.made[per]

    def mean(self, value: int) -> int:
        node = self.builder.look(value)
        weight, scale = self.of(node.domain)
        each = self.counted(weight, make(self.builder, "mul", weight, value, span=node.span))
        total = make(self.builder, "fold_sum", each, span=node.span)
        return make(self.builder, "mul", total, scale, span=node.span)

    def total(self, losses: list[int]) -> int:
        """The sum of the statements' means; 0 for a program without a loss."""
        if not losses:
            return make(self.builder, "number", value=0.0)
        found = self.mean(losses[0])
        for loss in losses[1:]:
            found = make(self.builder, "add", found, self.mean(loss))
        return found

    def seed(self, value: int) -> int:
        """The adjoint of a loss."""
        weight, scale = self.of(self.builder.look(value).domain)
        return self.counted(weight, make(self.builder, "mul", weight, scale))

    def counted(self, weight: int, value: int) -> int:
        """Zero where the weight is, whatever the value: what does not count need not be computed, and may be infinite
        (the loss of a list of labels that is too long)."""
        zero = make(self.builder, "number", value=0.0)
        nothing = make(self.builder, "eq", weight, zero)
        return make(self.builder, "where", nothing, zero, value, span=self.builder.look(value).span)
