"""The call of the fixed C that fills a vector or a matrix: operators that mix units, one statement each.

In: a node, where its arguments begin and where it goes, as C. Out: the statement.
"""

from collections.abc import Callable
from math import prod

from rnnc.errors import Broken
from rnnc.graph.nodes import Graph, Node, Read, Shape
from rnnc.graph.ops.sparse import Pattern


def around(node: Node, shape: Shape) -> tuple[int, int, int]:
    """The argument of a reduction as [outer][count][inner], reduced over `count`."""
    axis = node.attr("axis")
    return (1, prod(shape), 1) if axis is None else (prod(shape[:axis]), shape[axis], prod(shape[axis + 1:]))


def mixing(graph: Graph, n: int, to: str, at: list[str], integer: Callable[[Read], str],
           table: Callable[[Pattern], str]) -> str:
    """`at`: where each argument begins, empty for whole numbers, which `integer` gives; `table` names the one that says
    where a sparse matrix has its numbers."""
    node = graph[n]
    reads, args = node.args, [graph[r.node] for r in node.args]
    shape = args[0].shape if args else ()

    match node.op:
        case "matmul":
            rows, inner = shape if not node.attr("ta") else shape[::-1]
            other = args[1].shape
            columns = 1 if len(other) == 1 else other[0] if node.attr("tb") else other[1]
            return (f"rn_small_product({to}, {at[0]}, {at[1]}, {rows}, {inner}, {columns}, "
                    f"{int(bool(node.attr('ta')))}, {int(bool(node.attr('tb')))});")
        case "column":
            return f"rn_column({to}, {at[0]}, {shape[0]}, {shape[1]}, {integer(reads[1])});"
        case "sum" | "max" | "min" | "logsumexp" | "argmax":
            outer, count, inner = around(node, shape)
            return f"rn_axis_{node.op}({to}, {at[0]}, {outer}, {count}, {inner});"
        case "softmax" | "logsoftmax":
            outer, count, inner = around(node, shape)
            return f"rn_axis_{node.op}({to}, {at[0]}, {outer}, {count}, {inner});"
        case "outer":
            return f"rn_outer({to}, {at[0]}, {at[1]}, {args[0].size}, {args[1].size});"
        case "transpose":
            return f"rn_turn({to}, {at[0]}, {shape[0]}, {shape[1]});"
        case "reshape" | "identity":
            return f"rn_copy({to}, {at[0]}, {node.size});"
        case "concat":
            axis = int(node.attr("axis", 0))
            whole = prod(node.shape[axis:])
            lines, start = [], 0
            for pointer, arg in zip(at, args):
                part = prod(arg.shape[axis:]) if arg.shape else 1
                lines.append(f"rn_copy_rows({to} + {start}, {whole}, {pointer}, {part}, "
                             f"{prod(node.shape[:axis])}, {part});")
                start += part
            return " ".join(lines)
        case "slice":
            axis, low = int(node.attr("axis", 0)), int(node.attr("low", 0))
            step, part = prod(shape[axis:]), prod(node.shape[axis:])
            start = low * prod(shape[axis + 1:])
            return f"rn_copy_rows({to}, {part}, {at[0]} + {start}, {step}, {prod(shape[:axis])}, {part});"
        case "pad":
            axis, low = int(node.attr("axis", 0)), int(node.attr("low", 0))
            step, part = prod(node.shape[axis:]), prod(shape[axis:])
            start = low * prod(node.shape[axis + 1:])
            return (f"rn_zero({to}, {node.size}); rn_copy_rows({to} + {start}, {step}, {at[0]}, {part}, "
                    f"{prod(node.shape[:axis])}, {part});")
        case "broadcast":
            if max(len(shape), len(node.shape)) > 3:
                raise Broken("no C for broadcasting beyond three axes")
            dims = (1,) * (3 - len(shape)) + tuple(shape)
            full = (1,) * (3 - len(node.shape)) + tuple(node.shape)
            steps = [0 if d == 1 else prod(dims[i + 1:]) for i, d in enumerate(dims)]
            return f"rn_broadcast({to}, {at[0]}, {', '.join(map(str, (*full, *steps)))});"
        case "scatter" | "gather":
            pattern = node.attr("pattern")
            function = "rn_scatter" if node.op == "scatter" else "rn_stored"
            return (f"{function}({to}, {at[0]}, {table(pattern)}, {pattern.rows}, "
                    f"{pattern.columns}, {pattern.kept});")
        case "one_hot":
            return f"rn_one_hot({to}, {node.size}, {integer(reads[0])});"
        case "take":
            part = prod(shape[1:])
            return f"rn_take_rows({to}, {at[0]}, {shape[0]}, {part}, {integer(reads[1])});"
        case "place":
            part = prod(node.shape[1:])
            return f"rn_place({to}, {at[0]}, {node.shape[0]}, {part}, {integer(reads[1])});"
    raise Broken(f"no C for the operator {node.op}")
