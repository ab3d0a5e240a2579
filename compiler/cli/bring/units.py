"""Operators that work unit by unit: each is a text with places for its operands."""

import numpy as np

from rnnc.cli.bring.calls import Call
from rnnc.cli.bring.draft import Said, literal
from rnnc.cli.bring.file import computed
from rnnc.cli.bring.values import NUMBERS, SIZES, UNITS, Inexpressible, Size, Value, sizes, together

# {0} is the operand; names in braces are attributes, with their defaults.
ONE = {
    "Sigmoid": ("sigmoid({0})", {}), "Tanh": ("tanh({0})", {}), "Relu": ("relu({0})", {}), "Exp": ("exp({0})", {}),
    "Log": ("log({0})", {}), "Sqrt": ("sqrt({0})", {}), "Abs": ("abs({0})", {}), "Sign": ("sign({0})", {}),
    "Floor": ("floor({0})", {}), "Ceil": ("-floor(-{0})", {}), "Sin": ("sin({0})", {}), "Cos": ("cos({0})", {}),
    "Erf": ("erf({0})", {}), "Softplus": ("softplus({0})", {}), "Neg": ("-{0}", {}), "Reciprocal": ("1 / {0}", {}),
    "Softsign": ("{0} / (1 + abs({0}))", {}), "Mish": ("{0} * tanh(softplus({0}))", {}),
    "HardSwish": ("{0} * clip({0} / 6 + 0.5, 0, 1)", {}), "Not": ("not {0}", {}),
    "HardSigmoid": ("clip({alpha} * {0} + {beta}, 0, 1)", {"alpha": 0.2, "beta": 0.5}),
    "Affine": ("{alpha} * {0} + {beta}", {"alpha": 1.0, "beta": 0.0}),
    "ScaledTanh": ("{alpha} * tanh({beta} * {0})", {"alpha": 1.0, "beta": 1.0}),
    "LeakyRelu": ("where({0} > 0, {0}, {alpha} * {0})", {"alpha": 0.01}),
    "ThresholdedRelu": ("where({0} > {alpha}, {0}, 0)", {"alpha": 1.0}),
    "Elu": ("where({0} > 0, {0}, {alpha} * (exp(min({0}, 0)) - 1))", {"alpha": 1.0}),
    "Celu": ("max({0}, 0) + min({alpha} * (exp({0} / {alpha}) - 1), 0)", {"alpha": 1.0}),
    "Selu": ("{gamma} * where({0} > 0, {0}, {alpha} * (exp(min({0}, 0)) - 1))",
             {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Swish": ("{0} * sigmoid({alpha} * {0})", {"alpha": 1.0}),
}
TWO = {"Add": "{0} + {1}", "Sub": "{0} - {1}", "Mul": "{0} * {1}", "Div": "{0} / {1}", "Pow": "{0} ^ {1}",
       "Less": "{0} < {1}", "LessOrEqual": "{0} <= {1}", "Greater": "{0} > {1}", "GreaterOrEqual": "{0} >= {1}",
       "Equal": "{0} == {1}", "And": "{0} and {1}", "Or": "{0} or {1}",
       "PRelu": "where({0} > 0, {0}, {1} * {0})", "Where": "where({0}, {1}, {2})"}
MANY = {"Sum": (" + ", "{}"), "Max": (", ", "max({})"), "Min": (", ", "min({})"), "Mean": (" + ", "({}) / {count}")}
REAL, BOOL = (1, 10, 11, 16), 9                # ONNX's numbers for types
ON_SIZES = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide, "Equal": np.equal,
            "Where": np.where, "ReduceProd": lambda a, *axes: np.asarray(np.multiply.reduce(a), object)}


def activation(name: str, alpha: float | None, beta: float | None) -> str:
    """A function of a recurrent node, with {0} for its argument; unknown ones are refused."""
    known = ("Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
             "Softsign", "Softplus")
    found = next((k for k in known if k.lower() == name.lower()), None)
    if found is None:
        raise Inexpressible(f"the activation {name} is not known; there is {', '.join(known)}")
    text, defaults = ONE[found]
    given = {"alpha": alpha, "beta": beta}
    return filled(text, {k: d if given.get(k) is None else given[k] for k, d in defaults.items()})


def filled(text: str, values: dict[str, float]) -> str:
    """Numbers in the place of attributes."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", literal(np.float32(value)))
    return text


def one(call: Call) -> Value:
    text, defaults = ONE[call.node.op]
    return unit_by_unit(call, filled(text, {k: call.attribute(k, d) for k, d in defaults.items()}), 1)


def two(call: Call) -> Value:
    return unit_by_unit(call, TWO[call.node.op], 3 if call.node.op == "Where" else 2)


def many(call: Call) -> Value:
    between, around = MANY[call.node.op]
    count = len(call.arguments)
    inner = between.join(f"{{{i}}}" for i in range(count))
    return unit_by_unit(call, around.replace("{}", inner).replace("{count}", str(count)) if count > 1 else "{0}", count)


def gelu(call: Call) -> Value:
    if call.attribute("approximate", "none") == "tanh":
        return unit_by_unit(call, "0.5 * {0} * (1 + tanh(0.7978845608 * ({0} + 0.044715 * {0} ^ 3)))", 1)
    return unit_by_unit(call, "gelu({0})", 1)


def cast(call: Call) -> Value:
    """To real numbers it changes nothing, to whole ones it cuts off what is behind the point."""
    value, to = call[0], call.attribute("to", 1)
    if value.kind == NUMBERS:
        (found,) = computed(call.node, [value.data], call.network.opset)
        return Value(value.axes, found, NUMBERS, value.trained)
    if value.kind != UNITS or to in REAL \
            or all(line.name in call.reading.whole for line in call.draft.makers(value.data)):
        return value
    return unit_by_unit(call, "{0} != 0" if to == BOOL else "sign({0}) * floor(abs({0}))", 1)


def modulo(call: Call) -> Value:
    if call.attribute("fmod", 0):
        raise Inexpressible("with fmod = 1 it has the sign of its first argument, mod of a program that of its second")
    return unit_by_unit(call, "mod({0}, {1})", 2)


def clip(call: Call) -> Value:
    """Its bounds are inputs, or attributes in older versions."""
    low, high = (call.given(i) for i in (1, 2))
    bounds = [float(v.data.reshape(-1)[0]) if v is not None else call.attribute(name)
              for v, name in ((low, "min"), (high, "max")) if v is None or v.known]
    if len(bounds) < 2:
        raise Inexpressible("its bounds are not known before a run")
    low, high = (None if b is None or abs(b) > 3e38 else literal(np.float32(b)) for b in bounds)
    text = "{0}" if low is None else f"max({{0}}, {low})"
    text = text if high is None else f"clip({{0}}, {low}, {high})" if low is not None else f"min({{0}}, {high})"
    return unit_by_unit(call, text, 1)


def unit_by_unit(call: Call, text: str, count: int) -> Value:
    values = [call.signal(i) for i in range(count)]
    axes, data = together(values)
    shape, size = data[0].shape, data[0].size
    if all(v.kind == NUMBERS for v in values):                  # repeated over time or batch, but known all the same
        (found,) = computed(call.node, data, call.network.opset)
        return Value(tuple(axes), found, NUMBERS, any(v.trained for v in values))
    said: list[Said] = [call.operand(i, d) for i, d in enumerate(data)]
    said = [call.simple(s, size) if text.count(f"{{{i}}}") > 1 else s for i, s in enumerate(said)]
    made = text.format(*(s.text for s in said))
    return call.equation(made, axes, shape, said, number=all(s.number for s in said))


def on_sizes(call: Call) -> Value:
    """Arithmetic with the lengths of axes, as far as they are known or only multiplied."""
    work, data = ON_SIZES[call.node.op], [v.data for v in call.arguments]
    plain = lambda d: d if d.dtype != object else np.vectorize(
        lambda e: e.size if isinstance(e, Size) and e.size is not None else e, otypes=[object])(d)
    whole = [plain(d) for d in data]
    for arrays in ([whole] if call.node.op == "Equal" else [data, whole]):
        try:
            found = np.asarray(work(*arrays))
        except TypeError:
            continue
        if found.dtype == bool:
            return Value(call.arguments[0].axes, found, NUMBERS)
        if found.ndim == 1:
            return sizes(found.tolist())
        entry = found.item()
        return Value((), np.asarray(entry, object if isinstance(entry, Size) else np.int64),
                     SIZES if isinstance(entry, Size) else NUMBERS)
    raise Inexpressible("it computes with the length of time or batch, which is open")


RULES = {op: one for op in ONE if op not in ("Affine", "ScaledTanh")} | {op: two for op in TWO} \
    | {op: many for op in MANY} | {"Gelu": gelu, "Mod": modulo, "Cast": cast, "Clip": clip}
