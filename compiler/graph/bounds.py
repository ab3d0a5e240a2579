"""How far a rounded computation may stray: first-order error bounds beside the oracle's values, and kinks.

In: a node, the values and bounds of its arguments, its value. Out: the bound of its value. The rule: an operator
passes its arguments' bounds on through |derivative| and adds its own rounding,
  one rounding           eps |result|                           elementwise operators, outer
  a sum of n terms       eps sqrt(n) sum |term|                 n - 1 additions in any order, errors of either sign
  a product of length n  eps (1 + sqrt(n)) sum |a| |b|          the multiplications as well
so a bound is fair (what happens) and not the worst case (n eps). Derivatives of elementwise operators are taken by a
complex step of their own meaning, so that no operator needs a rule here.

A kink is a frame at which a comparison, relu, floor, ... is nearer to its switching point than its bound: there two
correct computations may differ by any amount, and a tester draws other numbers.
"""

import numpy as np

from rnnc.graph.nodes import REAL, Node
from rnnc.graph.ops.ctc import log_softmax, occupancy
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import evaluate, is_elementwise
from rnnc.graph.ops.products import entry
from rnnc.graph.ops.random import normal
from rnnc.graph.ops.reductions import lined_up, put_back

STEP = 1e-30                                   # of the complex step: its error is STEP^2, so nothing
MOVES = {"transpose", "reshape", "concat", "slice", "pad", "broadcast", "column", "take", "place", "span_last",
         "span_first", "scatter", "gather", "int8"}
CONDITIONS = {"and", "or", "not"}
COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne", "minimum", "maximum"}
TURNS = {"abs", "relu", "sign", "sqrt", "spike"}   # at zero


def bound(node: Node, values: list, bounds: list, result, eps: float):
    """The bound of `result`; all arrays have one leading axis, as in `evaluate`."""
    if node.kind != REAL:
        return np.zeros(result.shape)
    result = np.abs(real_part(result))
    if node.op in ("identity", "stop_gradient", "straight_through"):
        return np.broadcast_to(_aligned([bounds[0], result])[0], result.shape)
    if node.op in MOVES:
        return evaluate(node, [v if v.dtype.kind == "i" else b for v, b in zip(values, bounds)])
    if is_elementwise(node) and node.op not in _RULES:
        return _through_derivative(node, values, bounds) + eps * result
    if node.op in _RULES:
        return _RULES[node.op](node, values, bounds, result, eps)
    return np.zeros(result.shape)              # one_hot: exact


def _through_derivative(node, values, bounds):
    total = 0.0
    for position, (value, error) in enumerate(zip(values, bounds)):
        if value.dtype.kind in "fc" and np.any(error):
            moved = [v + 1j * STEP if i == position else v for i, v in enumerate(values)]
            slope = np.abs(np.imag(evaluate(node, moved)) / STEP)
            error = error.reshape(len(error), *[1] * len(node.shape)) if error.ndim == 1 else error
            total = total + np.where(error == 0, 0, slope * error)
    return total


def _whole(node, values, bounds, result, eps):
    """A whole number is exact as long as it is no larger than numbers are precise."""
    return np.where(result <= 1 / eps, 0, eps * result)


def _power(node, values, bounds, result, eps):
    """Where the base is below zero the exponent is a whole number, and exact."""
    base, error = _aligned([real_part(values[0]), bounds[1]])
    return _through_derivative(node, values, [bounds[0], np.where(base < 0, 0, error)]) + eps * result


def _product(node, values, bounds, result, eps):
    a, b = (np.abs(real_part(v)) for v in values)
    length = {"matmul": a.shape[1 if node.attr("ta") else 2] if a.ndim == 3 else 1, "fold_outer": a.size // a.shape[-1],
              "fold_sparse": len(a)}
    terms = eps * (1 + np.sqrt(length[node.op])) if node.op in length else eps
    return (evaluate(node, [a, bounds[1]]) + evaluate(node, [bounds[0], b]) + terms * evaluate(node, [a, b]))


def _sum(node, values, bounds, result, eps):
    v = np.abs(real_part(values[0]))
    length = v[0].size // max(1, result[0].size) if node.op == "sum" else len(v)
    rest = values[1:]
    return evaluate(node, [bounds[0], *rest]) + eps * np.sqrt(length) * evaluate(node, [v, *rest])


def _chosen(node, values, bounds, result, eps):
    return np.max(lined_up(node, bounds[0]), axis=-1)


def _shares(v):
    """Of each entry of the last axis how far it is below the largest, and its softmax."""
    far = np.max(v, axis=-1, keepdims=True) - v
    p = np.exp(-far)
    return far, p / p.sum(axis=-1, keepdims=True)


def _softmax(node, values, bounds, result, eps):
    """p_i (d_i + sum p d), and the roundings of x - max, of exp, of the sum, of the division."""
    v, d = lined_up(node, real_part(values[0])), lined_up(node, bounds[0])
    far, p = _shares(v)
    d = d + eps * far
    mean = (p * d).sum(axis=-1, keepdims=True)
    if node.op == "softmax":
        error = p * (d + mean + eps * (2 + np.sqrt(v.shape[-1])))
    else:
        error = d + mean + eps * (np.sqrt(v.shape[-1]) + 1 + np.abs(lined_up(node, result)))
    return put_back(node, error, values[0])


def _logsumexp(node, values, bounds, result, eps):
    v, d = lined_up(node, real_part(values[0])), lined_up(node, bounds[0])
    top = np.max(v, axis=-1, keepdims=True)
    p = np.exp(v - top)
    p = p / p.sum(axis=-1, keepdims=True)
    return (p * (d + eps * (top - v))).sum(axis=-1) + eps * (np.sqrt(v.shape[-1]) + np.abs(top[..., 0]) + result)


def _surprisal(node, values, bounds, result, eps):
    """Through the derivative; and the roundings of the sum, and of what is added to it."""
    v, d = real_part(values[0]), bounds[0]
    far, p = _shares(v)
    own, beside = entry(d, values[1]), entry(far, values[1])
    return (p * (d + eps * far)).sum(axis=-1) + own + eps * (np.sqrt(v.shape[-1]) + beside + result)


def _quantize(node, values, bounds, result, eps):
    """The number of steps is exact (or the value stands on a kink); their size is not."""
    steps = result / _aligned([np.abs(real_part(values[1])), result])[0]
    return steps * _aligned([bounds[1], result])[0] + eps * result


def _noise(node, values, bounds, result, eps):
    """The angle 2 pi v is rounded, then its cosine; the radius is below 6."""
    std, error = _aligned([np.abs(real_part(values[0])), result])[0], _aligned([bounds[0], result])[0]
    size = np.abs(normal(node, values[1]))
    return size * error + std * eps * (6 * (2 * np.pi + 2) + size)


def _bfloat16(node, values, bounds, result, eps):
    """Nothing, unless what is stored may already be another number: then the step to that one."""
    value = evaluate(node, [real_part(values[0])])
    ends = [evaluate(node, [real_part(values[0]) + way * bounds[0]]) for way in (-4, 4)]
    return np.maximum(*(np.abs(end - value) for end in ends))


def _exact(node, values, bounds, result, eps):
    return np.zeros(result.shape)


def _span_logsumexp(node, values, bounds, result, eps):
    v = real_part(values[0])
    far = np.max(v, axis=0, keepdims=True) - v
    p = np.exp(-far)
    moved = (p * (bounds[0] + eps * far)).sum(axis=0, keepdims=True) / p.sum(axis=0, keepdims=True)
    return moved + eps * (np.sqrt(len(v)) + np.abs(np.max(v, axis=0)) + result)


def _span_max(node, values, bounds, result, eps):
    return np.max(bounds[0], axis=0, keepdims=True)


def _permuted(node, values, bounds, result, eps):
    return evaluate(node, [bounds[0], *values[1:]])


def _ctc(node, values, bounds, result, eps):
    """Through the derivative; and the roundings of log softmax and of the sum over paths at each frame."""
    share, _ = occupancy(real_part(values[0]), values[1][0])
    if share is None:
        return np.zeros(1)
    slope = np.abs(np.exp(log_softmax(real_part(values[0]))) - share)
    return np.array([(slope * bounds[0]).sum() + eps * (result[0] + np.sqrt(len(share)))])


def _ctc_slope(node, values, bounds, result, eps):
    """Softmax, and the share of the paths: its derivative by a logit is a covariance, at most the root of the product
    of both variances."""
    share, total = occupancy(real_part(values[0]), values[1][0])
    if share is None:
        return np.zeros(result.shape)
    p = np.exp(log_softmax(real_part(values[0])))
    spread = np.sqrt(np.clip(share * (1 - share), 0, None)) + np.sqrt(eps) * share
    first = p * (bounds[0] + (p * bounds[0]).sum(axis=-1, keepdims=True) + eps * (2 + np.sqrt(p.shape[-1])))
    return first + spread * (spread * bounds[0]).sum() + eps * (p + share * (len(share) + abs(total)))


def _attended(node, values, bounds, result, eps):
    """Every term through its derivative; products of vectors and a sum over the frames in each."""
    sizes = [np.abs(real_part(v)) for v in values]
    moved = evaluate(node, [size + 1j * STEP * bound for size, bound in zip(sizes, bounds)])
    frames, size = len(values[0]), values[0][0].size
    inner = {"attend": size, "correct": size, "attended": 1, "pair": size * size}[node.op]
    return np.imag(moved) / STEP + eps * (2 + np.sqrt(inner) + 2 * np.sqrt(frames)) * np.real(moved)


_RULES = {"real": _whole, "pow": _power, "quantize": _quantize, "spike": _exact, "noise": _noise,
          "bfloat16": _bfloat16,
          "matmul": _product, "outer": _product, "fold_outer": _product, "fold_sparse": _product, "sum": _sum,
          "fold_sum": _sum, "fold_column": _sum, "max": _chosen, "min": _chosen, "softmax": _softmax,
          "logsoftmax": _softmax, "logsumexp": _logsumexp, "surprisal": _surprisal, "span_sum": _sum,
          "span_max": _span_max, "span_logsumexp": _span_logsumexp, "permute": _permuted, "ctc": _ctc,
          "ctc_slope": _ctc_slope, "attend": _attended, "attended": _attended, "correct": _attended,
          "pair": _attended}


def kink(node: Node, values: list, bounds: list) -> bool:
    """Whether some unit of some stream stands at a switching point, as far as the bounds can tell."""
    near = lambda distance, error: bool(np.any((np.abs(distance) <= error) & (error > 0)))
    v = [real_part(x) for x in values]
    if node.op in TURNS or node.op == "where":
        return near(v[0], bounds[0])
    if node.op in CONDITIONS:
        return any(near(x, b) for x, b in zip(v, bounds))
    if node.op in COMPARISONS:
        (a, b), (da, db) = _aligned(v), _aligned(bounds)
        return near(a - b, da + db)
    if node.op == "floor":
        return near(v[0] - np.round(v[0]), bounds[0])
    if node.op == "quantize":
        (a, b, most), (da, db) = _aligned(v), _aligned(bounds)[:2]
        steps = np.abs(a / b)
        turning = np.where(steps < most, steps - np.floor(steps) - 0.5, 1)      # at every half step, up to the last
        return near(turning, (da + steps * db) / np.abs(b))
    if node.op == "mod" and v[0].dtype.kind == "f":
        (a, b), (da, db) = _aligned(v), _aligned(bounds)
        turns = a / b
        return near(turns - np.round(turns), (da + np.abs(turns) * db) / np.abs(b))
    if node.op in ("max", "min", "argmax", "span_max"):
        lines, errors = lined_up(node, v[0]), lined_up(node, bounds[0])
        if node.op == "span_max":
            lines, errors = np.moveaxis(v[0], 0, -1), np.moveaxis(bounds[0], 0, -1)
        if lines.shape[-1] < 2:
            return False
        order = np.argsort(lines if node.op == "min" else -lines, axis=-1, kind="stable")[..., :2]
        best, error = (np.take_along_axis(x, order, axis=-1) for x in (lines, errors))
        return near(best[..., 0] - best[..., 1], error.sum(axis=-1))
    return False


def _aligned(arrays):
    rank = max(a.ndim for a in arrays)
    return [a.reshape(len(a), *[1] * (rank - 1)) if a.ndim == 1 else a for a in arrays]
