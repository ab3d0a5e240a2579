"""Elementwise operators as C expressions on vectors, and integer operators on plain integers."""

from rnnc.errors import Broken
from rnnc.graph.nodes import Node
from rnnc.graph.ops.random import site_number, threshold

VECTOR = {
    "add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})", "div": "({0} / {1})", "neg": "(-{0})",
    "pow": "rn_pow({0}, {1})", "exp": "rn_exp({0})", "log": "rn_log({0})", "sqrt": "rn_sqrt({0})",
    "abs": "rn_abs({0})", "sign": "rn_sign({0})", "floor": "rn_floor({0})", "mod": "rn_mod({0}, {1})",
    "sin": "rn_sin({0})", "cos": "rn_cos({0})", "erf": "rn_erf({0})", "sigmoid": "rn_sigmoid({0})",
    "tanh": "rn_tanh({0})", "relu": "rn_relu({0})", "softplus": "rn_softplus({0})",
    "minimum": "rn_min({0}, {1})", "maximum": "rn_max({0}, {1})", "where": "rn_where({0}, {1}, {2})",
    "lt": "rn_lt({0}, {1})", "le": "rn_le({0}, {1})", "gt": "rn_gt({0}, {1})", "ge": "rn_ge({0}, {1})",
    "eq": "rn_eq({0}, {1})", "ne": "rn_ne({0}, {1})", "and": "rn_and({0}, {1})", "or": "rn_or({0}, {1})",
    "not": "rn_not({0})", "identity": "{0}", "quantize": "rn_quantize({0}, {1}, {2})",
}

INTEGER = {
    "add": "({0} + {1})", "sub": "({0} - {1})", "mul": "({0} * {1})", "neg": "(-{0})", "mod": "rn_imod({0}, {1})",
    "minimum": "RN_MIN({0}, {1})", "maximum": "RN_MAX({0}, {1})", "identity": "{0}", "stop_gradient": "{0}",
    "sign": "(({0} > 0) - ({0} < 0))", "abs": "({0} < 0 ? -{0} : {0})", "floor": "{0}", "pow": "rn_ipow({0}, {1})",
}

COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def vector(op: str, args: list[str]) -> str:
    if op not in VECTOR:
        raise Broken(f"no C for the elementwise operator {op}")
    return VECTOR[op].format(*args)


def random(node, args: list[str], key: str, unit: str) -> str:
    """dropout and noise: of the units from `unit` on, by the row's key."""
    drawn = f"{key}, {unit}, {site_number(node.attr('site'))}u"
    if node.op == "noise":
        return f"rn_noise({args[0]}, {drawn})"
    p = node.attr("p")
    return f"rn_dropout({args[0]}, {drawn}, {threshold(p)}u, {number(1 / (1 - p))})"


def bare(text: str) -> str:
    """Without brackets round the whole."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1] if text.startswith("(") and text.endswith(")") else text


def integer(op: str, args: list[str]) -> str:
    if op not in INTEGER:
        raise Broken(f"no integer C for the operator {op}")
    return INTEGER[op].format(*args)


def alike(node: Node) -> str:
    """A number of the graph in all lanes."""
    return f"rn_all({number(node.attr('value'))})"


def number(value: float) -> str:
    """A literal that C reads back exactly as `real`."""
    if value != value:
        return "((real)NAN)"
    if value in (float("inf"), float("-inf")):
        return "((real)INFINITY)" if value > 0 else "((real)-INFINITY)"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"(real){int(value)}" if value >= 0 else f"(real)({int(value)})"
    return f"(real){float(value)!r}"
