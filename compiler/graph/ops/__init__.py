"""The operator table: one row per operator holds its shape rule, its meaning in NumPy and its derivative.

`OPS[name]` is the row, `make(builder, name, *reads, **attrs)` adds a node, `pull` differentiates one.
"""

from rnnc.graph.ops import (  # noqa: F401  (they fill the table)
    attend,
    ctc,
    declared,
    elementwise,
    leaves,
    products,
    random,
    reductions,
    shapes,
    spans,
    sparse,
    storage,
)
from rnnc.graph.ops.op import (
    ELEMENTWISE,
    FOLD,
    LEAF,
    MIXING,
    OPS,
    SPAN,
    Expr,
    Op,
    evaluate,
    infer,
    is_elementwise,
    make,
    pull,
)

__all__ = ["ELEMENTWISE", "FOLD", "LEAF", "MIXING", "OPS", "SPAN", "Expr", "Op", "evaluate", "infer",
           "is_elementwise", "make", "pull"]
