"""Numbers known when compiling: arithmetic of sizes, and matrices from index formulas.

Ints stay ints as long as they can (`/` gives an int where it divides exactly), lists are lists of sizes, arrays are
float64. Nothing here knows of signals.
"""

import math

import numpy as np

from rnnc.errors import Span
from rnnc.graph.elaborate.drafts import Stop

Static = int | float | list | np.ndarray


def is_static(value) -> bool:
    return isinstance(value, (int, float, list, np.ndarray))


def plain(value) -> Static:
    """NumPy scalars as Python numbers, arrays of rank 0 too."""
    if isinstance(value, np.ndarray):
        return plain(value.item()) if value.ndim == 0 else value
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return value


def numbers(value: Static, span: Span) -> int | float | np.ndarray:
    """A list of sizes taken as a vector."""
    if not is_static(value):
        raise Stop("E0211", "a number or a matrix belongs here, and this is a layer", span)
    if isinstance(value, list):
        try:
            return np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise Stop("E0502", "this list does not hold plain numbers", span) from None
    return value


def _divide(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a % b == 0 else a / b
    return a / b


def _power(a, b):
    if isinstance(a, int) and isinstance(b, int):
        if a.bit_length() * abs(b) > 1024:
            raise OverflowError
        return a ** b if b >= 0 else float(a) ** b
    if not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray):
        result = a ** b
        if isinstance(result, complex):
            raise ValueError
        return result
    return np.asarray(a, dtype=np.float64) ** b


BINARY = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": _divide,
    "//": lambda a, b: a // b, "^": _power, "@": lambda a, b: np.asarray(a) @ np.asarray(b),
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
    "and": lambda a, b: (a != 0) & (b != 0), "or": lambda a, b: (a != 0) | (b != 0),
    "mod": lambda a, b: a % b,
}
TRUTH = {"<", "<=", ">", ">=", "==", "!=", "and", "or"}


def binary(op: str, a: Static, b: Static, span: Span) -> Static:
    """One operator on static values, with the faults of arithmetic told at its place."""
    if isinstance(a, list) and isinstance(b, list) and op in ("==", "!="):
        return int((a == b) == (op == "=="))
    a, b = numbers(a, span), numbers(b, span)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and op != "@" and a.shape != b.shape:
        if a.ndim != b.ndim or any(m != n and 1 not in (m, n) for m, n in zip(a.shape, b.shape)):
            raise Stop("E0301", f"the two sides differ: {shape_of(a)} and {shape_of(b)}", span)
    try:
        with np.errstate(all="ignore"):
            result = BINARY[op](a, b)
    except ZeroDivisionError:
        raise Stop("E0503", "division by zero", span) from None
    except (ValueError, TypeError):
        if op == "@":
            raise Stop("E0304", f"@ does not fit {shape_of(a)} and {shape_of(b)}", span) from None
        raise Stop("E0503", f"{op} has no value here", span) from None
    except OverflowError:
        raise Stop("E0503", "this number is too large", span) from None
    if op in TRUTH and isinstance(result, np.ndarray):
        result = result.astype(np.float64)
    return plain(result)


def shape_of(value) -> str:
    shape = np.shape(value)
    return "a scalar" if not shape else "[" + ", ".join(map(str, shape)) + "]"


def unary(op: str, value: Static, span: Span) -> Static:
    value = numbers(value, span)
    if op == "-":
        return plain(-value)
    if op == "not":
        return plain(np.asarray(value == 0, dtype=np.float64)) if isinstance(value, np.ndarray) else int(value == 0)
    return value


def _whole(function):
    """floor of a number is an int, so that it can be a size; of an array it is an array."""
    return lambda v: function(v) if isinstance(v, np.ndarray) else int(function(v))


_erf = np.vectorize(math.erf, otypes=[np.float64])

ELEMENTWISE = {
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh, "relu": lambda v: np.maximum(v, 0),
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": np.abs, "sign": np.sign, "floor": _whole(np.floor),
    "sin": np.sin, "cos": np.cos, "erf": lambda v: _erf(v), "softplus": lambda v: np.logaddexp(0, v),
    "silu": lambda v: v / (1 + np.exp(-v)), "gelu": lambda v: 0.5 * v * (1 + _erf(v / math.sqrt(2))),
}


def elementwise(name: str, value: Static, span: Span) -> Static:
    value = numbers(value, span)
    with np.errstate(all="ignore"):
        result = plain(ELEMENTWISE[name](value))
    if isinstance(result, float) and not math.isfinite(result):
        raise Stop("E0503", f"{name} of {value} is not a number", span)
    return result


def _softmax(v, axis):
    e = np.exp(v - np.max(v, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def _logsumexp(v, axis):
    top = np.max(v, axis=axis, keepdims=True)
    return np.squeeze(top + np.log(np.sum(np.exp(v - top), axis=axis, keepdims=True)), axis=axis)


REDUCTIONS = {
    "sum": lambda v, axis: np.sum(v, axis=axis), "mean": lambda v, axis: np.mean(v, axis=axis),
    "max": lambda v, axis: np.max(v, axis=axis), "min": lambda v, axis: np.min(v, axis=axis),
    "norm": lambda v, axis: np.sqrt(np.sum(v * v, axis=axis)), "argmax": lambda v, axis: np.argmax(v, axis=axis),
    "softmax": _softmax, "logsoftmax": lambda v, axis: np.log(_softmax(v, axis)), "logsumexp": _logsumexp,
}


def reduction(name: str, value: Static, axis: int | None, span: Span) -> Static:
    whole = isinstance(value, list) and all(isinstance(v, int) for v in value)
    array = np.atleast_1d(np.asarray(numbers(value, span), dtype=np.float64))
    if axis is not None and not -array.ndim <= axis < array.ndim:
        raise Stop("E0305", f"there is no axis {axis}: the value has rank {array.ndim}", span)
    if not array.size:
        raise Stop("E0506", f"{name} of nothing", span)
    result = plain(REDUCTIONS[name](array, axis))
    return int(result) if whole and name in ("sum", "max", "min") else result


def expm(a: np.ndarray) -> np.ndarray:
    """The matrix exponential, by scaling, a Taylor sum of 24 terms and squaring (Moler & Van Loan 2003, method 3)."""
    norm = np.linalg.norm(a, 1)
    squarings = max(0, math.ceil(math.log2(norm)) + 2) if norm > 0 else 0
    small = a / 2.0 ** squarings
    term = total = np.eye(len(a))
    for k in range(1, 25):
        term = term @ small / k
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def square(value: Static, name: str, span: Span) -> np.ndarray:
    array = np.asarray(numbers(value, span), dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise Stop("E0304", f"{name} takes a square matrix, not {shape_of(array)}", span)
    if not np.isfinite(array).all():
        raise Stop("E0503", f"the matrix given to {name} has entries that are not finite", span)
    return array


def inverse(a: np.ndarray, b: np.ndarray | None, name: str, span: Span) -> np.ndarray:
    try:
        return np.linalg.inv(a) if b is None else np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise Stop("E0503", f"the matrix given to {name} has no inverse", span) from None
    except ValueError:
        raise Stop("E0304", f"{name} does not fit {shape_of(a)} and {shape_of(b)}", span) from None
