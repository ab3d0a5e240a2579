"""rnnc's operators in JAX, as its users write them: one function of (node, *values) for each.

A value has its node's shape behind any leading axes (none for a constant, streams for a sequence or one frame, time and
streams for all frames), so the same functions serve inside and outside of loops. Conditions are kept as booleans until
somebody computes with them. `Untranslated` says which operator has no function here, and why.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, nn


class Untranslated(Exception):
    """A program that this file cannot say in JAX; the reason is for the reader of the table."""


REASONS = {"dropout": "draws random numbers of its own", "noise": "draws random numbers of its own",
           "row_key": "draws random numbers of its own", "ctc": "connectionist temporal classification"}


def lead(node, value) -> int:
    return value.ndim - len(node.shape)


def real(v):
    return v.astype(jnp.float32) if v.dtype == bool else v


def truth(v):
    return v if v.dtype == bool else v != 0


def spread(value, rank: int, like: tuple):
    """A value of `rank` with these leading axes."""
    return jnp.broadcast_to(value, (*like, *value.shape[value.ndim - rank:]))


# ---------------------------------------------------------------------------------------------- declared derivatives

SURROGATES = {"atan": lambda v, s: s / 2 / (1 + (math.pi / 2 * s * v) ** 2),
              "fast_sigmoid": lambda v, s: 1 / (1 + s * jnp.abs(v)) ** 2,
              "sigmoid": lambda v, s: s * nn.sigmoid(s * v) * (1 - nn.sigmoid(s * v)),
              "triangle": lambda v, s: s * nn.relu(1 - s * jnp.abs(v)),
              "box": lambda v, s: s * (jnp.abs(s * v) < 0.5),
              "gaussian": lambda v, s: s / math.sqrt(2 * math.pi) * jnp.exp(-(s * v) ** 2 / 2)}


def spike(node, v):
    @jax.custom_jvp
    def step(v):
        return (v > 0).astype(jnp.float32)
    slope = SURROGATES[node.attr("surrogate")]
    step.defjvp(lambda at, change: (step(*at), slope(at[0], node.attr("slope")) * change[0]))
    return step(v)


@jax.custom_jvp
def quantize(v, step, most):
    steps = v / step
    return step * jnp.sign(steps) * jnp.minimum(jnp.floor(jnp.abs(steps) + 0.5), most)


@quantize.defjvp
def _quantize_change(at, change):
    v, step, most = at
    steps, value = v / step, quantize(v, step, most)
    inside = jnp.abs(steps) < most + 0.5
    return value, inside * change[0] + jnp.where(inside, value / step - steps, value / step) * change[1]


# ---------------------------------------------------------------------------------------------- products and look-ups

def matmul(a_node, b_node, node, a, b):
    """A constant matrix takes all frames at once."""
    if node.attr("ta"):
        a = jnp.swapaxes(a, -1, -2)
    if node.attr("tb"):
        b = jnp.swapaxes(b, -1, -2)
    if len(b_node.shape) == 2:
        return jnp.matmul(a, b)
    return jnp.matmul(b, a.T) if a.ndim == 2 else jnp.einsum("...ij,...j->...i", a, b)


def multiply(vectors, matrix):
    return vectors @ matrix.T


def rows(graph, of: list[int], found) -> dict:
    """Of stacked products each its own."""
    ends = np.cumsum([graph[m].shape[0] for m in of])
    return dict(zip(of, jnp.split(found, ends[:-1], -1) if len(of) > 1 else [found]))


def entry(v, index, axis: int):
    """v at one index along an axis (negative), by stream and frame; zero where that is none."""
    size, rank = v.shape[axis], -axis
    legal = (index >= 0) & (index < size)
    at = jnp.clip(index, 0, size - 1)
    if v.ndim == rank and axis == -rank:       # a constant: rows of a table
        found = jnp.take(v, at, axis=0)
        return jnp.where(legal.reshape(legal.shape + (1,) * (rank - 1)), found, 0)
    at = at.reshape(at.shape + (1,) * rank)
    like = jnp.broadcast_shapes(at.shape[:-rank], v.shape[:-rank])
    found = jnp.take_along_axis(spread(v, rank, like), spread(at, rank, like), axis=axis)
    return jnp.where(legal.reshape(legal.shape + (1,) * (rank - 1)), jnp.squeeze(found, axis), 0)


def place(node, g, index):
    here = index[..., None] == jnp.arange(node.shape[0])
    rest = (1,) * (len(node.shape) - 1)
    return jnp.where(here.reshape(here.shape + rest), jnp.expand_dims(g, -len(node.shape)), 0)


# ---------------------------------------------------------------------------------------------- reductions and shapes

def axes(node, arg):
    """The reduced axes, counted from the end."""
    axis, rank = node.attr("axis"), len(arg.shape)
    return tuple(range(-rank, 0)) if axis is None else (axis - rank,)


def argmax(node, arg, v):
    if node.attr("axis") is None:
        return jnp.argmax(v.reshape(v.shape[:lead(arg, v)] + (-1,)), -1)
    places = jnp.argmax(v, node.attr("axis") - len(arg.shape))
    return places if node.kind == "int" else places.astype(jnp.float32)


def broadcast(node, arg, v):
    like, missing = v.shape[:lead(arg, v)], len(node.shape) - len(arg.shape)
    return jnp.broadcast_to(v.reshape(like + (1,) * missing + arg.shape), like + node.shape)


def concat(node, *values):
    rank = len(node.shape)
    like = jnp.broadcast_shapes(*(v.shape[:v.ndim - rank] for v in values))
    return jnp.concatenate([spread(v, rank, like) for v in values], node.attr("axis") - rank)


def cut(node, v):
    return lax.slice_in_dim(v, node.attr("low"), node.attr("high"), axis=v.ndim - len(node.shape) + node.attr("axis"))


def pad(node, arg, v):
    low, axis = node.attr("low"), lead(arg, v) + node.attr("axis")
    after = node.attr("size") - low - v.shape[axis]
    return jnp.pad(v, [(low, after) if i == axis else (0, 0) for i in range(v.ndim)])


def permute(v, order):
    """Frames [T, B, ...] in a new order, which is known before the call."""
    order, frames = np.asarray(order).astype(int), np.arange(len(v))
    source = frames + order[frames % len(order)] - frames % len(order)
    inside = (source >= 0) & (source < len(v))
    found = v[np.clip(source, 0, len(v) - 1)]
    return jnp.where(inside.reshape(-1, *[1] * (v.ndim - 1)), found, -1 if v.dtype == jnp.int32 else 0)


def power(a, b):
    """A number that is known stays one."""
    if isinstance(b, np.ndarray) and b.ndim == 0:
        return lax.integer_pow(a, int(b)) if float(b).is_integer() else jnp.power(a, b)
    return jnp.power(a, b)


# ---------------------------------------------------------------------------------------------- the table

ELEMENTWISE = {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": jnp.divide, "pow": power, "neg": jnp.negative,
    "mod": jnp.mod, "minimum": jnp.minimum, "maximum": jnp.maximum, "exp": jnp.exp, "log": jnp.log, "sqrt": jnp.sqrt,
    "abs": jnp.abs, "sign": jnp.sign, "floor": jnp.floor, "sin": jnp.sin, "cos": jnp.cos, "erf": lax.erf,
    "sigmoid": nn.sigmoid, "tanh": jnp.tanh, "relu": nn.relu, "softplus": nn.softplus, "lt": jnp.less,
    "le": jnp.less_equal, "gt": jnp.greater, "ge": jnp.greater_equal, "eq": jnp.equal, "ne": jnp.not_equal,
    "identity": lambda v: v, "stop_gradient": lax.stop_gradient, "real": lambda v: v.astype(jnp.float32),
    "straight_through": lambda a, b: b + lax.stop_gradient(a - b), "quantize": quantize}
LOGIC = {"and": jnp.logical_and, "or": jnp.logical_or, "not": jnp.logical_not}
REDUCED = {"sum": jnp.sum, "max": jnp.max, "min": jnp.min, "logsumexp": nn.logsumexp}
KEPT = {"softmax": nn.softmax, "logsoftmax": nn.log_softmax}
SPANS = {"span_sum": lambda v: v.sum(0), "span_last": lambda v: v[-1], "span_first": lambda v: v[0],
         "span_max": lambda v: v.max(0), "span_logsumexp": lambda v: nn.logsumexp(v, axis=0)}


def aligned(node, args, values) -> list:
    """Of an elementwise operator: a scalar operand goes to every unit."""
    rank = len(node.shape)
    return [v.reshape(v.shape + (1,) * rank) if rank and not arg.shape and v.ndim else v
            for arg, v in zip(args, values)]


def apply(node, args, values):
    """The value of a node that is no leaf. `args`: the nodes that it reads."""
    op = node.op
    if op in REASONS:
        raise Untranslated(f"{op}: {REASONS[op]}")
    if op in ELEMENTWISE:
        return ELEMENTWISE[op](*aligned(node, args, [real(v) for v in values]))
    if op in LOGIC:
        return LOGIC[op](*aligned(node, args, [truth(v) for v in values]))
    if op == "where":
        condition, a, b = aligned(node, args, values)
        return jnp.where(truth(condition), real(a), real(b))
    values = [real(v) for v in values]
    if op in REDUCED:
        return REDUCED[op](values[0], axis=axes(node, args[0]))
    if op in KEPT:
        return KEPT[op](values[0], axis=axes(node, args[0]))
    if op in SPANS:
        return SPANS[op](values[0])
    v = values[0] if values else None
    match op:
        case "spike":
            return spike(node, v)
        case "matmul":
            return matmul(*args, node, *values)
        case "outer":
            return v[..., :, None] * values[1][..., None, :]
        case "column":
            return entry(v.T, values[1], -2) if v.ndim == 2 else entry(jnp.swapaxes(v, -1, -2), values[1], -2)
        case "take":
            return entry(v, values[1], -len(args[0].shape))
        case "surprisal":
            return nn.logsumexp(v, axis=-1) - entry(v, values[1], -1)
        case "place":
            return place(node, *values)
        case "one_hot":
            return (v[..., None] == jnp.arange(node.shape[0])).astype(jnp.float32)
        case "argmax":
            return argmax(node, args[0], v)
        case "transpose":
            return jnp.swapaxes(v, -1, -2)
        case "reshape":
            return v.reshape(v.shape[:lead(args[0], v)] + node.shape)
        case "broadcast":
            return broadcast(node, args[0], v)
        case "concat":
            return concat(node, *values)
        case "slice":
            return cut(node, v)
        case "pad":
            return pad(node, args[0], v)
    raise Untranslated(f"{op} has no translation")
