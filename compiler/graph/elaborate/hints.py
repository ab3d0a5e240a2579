"""What somebody meant who wrote what is not there: names that are nearly right, and names of other libraries."""

import difflib
from collections.abc import Iterable

from rnnc.graph.elaborate.drafts import Draft

RANDOM = "a random beginning belongs to a parameter: param W : [n] ~ "

# Functions of other libraries, by what is written here; only where the spelling leads nowhere or astray.
FUNCTIONS = {name: hint for names, hint in {
    "sigma sigm logistic expit": "did you mean sigmoid?",
    "swish": "did you mean silu?",
    "elu": "write where(x > 0, x, exp(x) - 1)",
    "leaky_relu": "write where(x > 0, x, 0.01 * x)",
    "softsign": "write x / (1 + abs(x))",
    "hardtanh": "write clip(x, -1, 1)",
    "heaviside": "write x > 0",
    "round": "write floor(x + 0.5)",
    "ceil": "write -floor(-x)",
    "pow power": "write a ^ b",
    "square": "write x ^ 2",
    "tan": "write sin(x) / cos(x)",
    "log2": "write log(x) / log(2)",
    "log10": "write log(x) / log(10)",
    "matmul mm bmm einsum": "a matrix product is written W @ x",
    "mul multiply hadamard": "write a * b",
    "inner": "did you mean dot?",
    "cumsum": "a running sum is an equation: s = s[t-1] + x",
    "cumprod": "a running product is an equation: p = p[t-1] * x, with init p = 1",
    "prod": "write product(i in 0..n : x[i])",
    "argmin": "write argmax(-x)",
    "var": "write mean((x - mean(x)) ^ 2)",
    "std": "write sqrt(mean((x - mean(x)) ^ 2))",
    "cat concatenate hstack": "did you mean concat?",
    "flatten view squeeze": "did you mean reshape?",
    "gather": "did you mean take?",
    "len size shape": "did you mean dim?",
    "delay lag prev shift roll": "one frame ago is written x[t-1]",
    "linear fc": "did you mean dense?",
    "bidirectional birnn": "both directions are concat(L(x), reversed(L)(x)) of a layer L",
    "sequential": "apply one layer to the other: lstm(4)(dense(8)(x)); k alike are stack(k, layer)(x)",
    "bce": "did you mean binary_cross_entropy?",
    "uniform rand random": RANDOM + "uniform(0, 1)",
    "normal randn": RANDOM + "normal(0, 1)",
}.items() for name in names.split()}

# The same of values.
VALUES = {
    "pi": "write const pi = 3.141592653589793",
    "true": "write 1", "True": "write 1", "false": "write 0", "False": "write 0",
    "inf": "write a large number: 1e30",
    **{name: RANDOM + name for name in ("glorot", "he", "lecun", "orthogonal")},
    **{name: "functions need no module before them: tanh(x), dense(n)(x)"
       for name in ("np", "numpy", "torch", "nn", "F", "tf", "keras", "jnp", "jax", "math")},
}


# Names of arguments elsewhere, by what they are called here.
ARGUMENTS = {"dim": "axis", "axes": "axis", "rate": "p", "prob": "p", "probability": "p", "sigma": "std",
             "stddev": "std", "scale": "std", "n": "k"}


def argument_meant(name: str, known: tuple[str, ...]) -> str | None:
    if ARGUMENTS.get(name) in known:
        return f"did you mean {ARGUMENTS[name]}?"
    return near(name, known) or (f"there is {', '.join(known)}" if known else None)


# Initialisers of other libraries.
STARTS = {name: hint for names, hint in {
    "xavier xavier_uniform glorot_uniform": "glorot is the same thing",
    "kaiming kaiming_normal he_normal": "he is the same thing",
    "gaussian randn": "did you mean normal?",
    "rand": "did you mean uniform?",
    "eye": "did you mean identity?",
    "zeros zero": "write = 0",
    "ones one": "write = 1",
    "constant": "a number for all is written = 0.5",
}.items() for name in names.split()}


def initialiser_meant(name: str, known: list[str]) -> str:
    listed = f"there are {', '.join(known)}"
    return f"{STARTS[name]}; {listed}" if name in STARTS else near(name, known) or listed


def near(name: str, names: Iterable[str]) -> str | None:
    """A hint for a name that is nearly right, in its capitals too."""
    known = list(dict.fromkeys(names))
    for written in (name, name.lower()):
        close = difflib.get_close_matches(written, known, n=1, cutoff=0.6)
        if close:
            return f"did you mean {close[0]}?"
    return None


def function_meant(name: str, names: Iterable[str]) -> str | None:
    return FUNCTIONS.get(name) or FUNCTIONS.get(name.lower()) or near(name, names)


def value_meant(name: str, names: Iterable[str]) -> str | None:
    return VALUES.get(name) or near(name, names)


def matrix_and_vector(draft: Draft) -> str | None:
    """What fits, where a matrix and a vector are put together unit by unit: their product, or the vector as a row or as
    a column."""
    args = [ref.draft for ref in draft.args if ref.draft.type is not None]
    matrix = next((arg for arg in args if arg.type.rank == 2), None)
    vector = next((arg for arg in args if arg.type.rank == 1), None)
    if matrix is None or vector is None:
        return None
    rows, columns, length = (size.value for size in matrix.type.shape + vector.type.shape)
    name, ways = called(vector, draft, "v"), []
    both = [arg for arg in args if arg is matrix or arg is vector]
    fitting = [pair for pair in (both, both[::-1]) if pair[0].type.shape[-1] == pair[1].type.shape[0]]
    if draft.op == "mul" and fitting:
        left, right = (called(arg, draft, "W" if arg is matrix else "v") for arg in fitting[0])
        ways.append(f"{left} @ {right} is the matrix product")
    if length == columns:
        ways.append(f"reshape({name}, [1, {length}]) goes with every row")
    if length == rows:
        ways.append(f"reshape({name}, [{length}, 1]) goes with every column")
    return ", ".join(ways) or None


def number_and_vector(draft: Draft) -> str | None:
    """What to write where a number stands for a vector: of a loop that nothing gives a size, how to give it one."""
    for ref, other in zip(draft.args, draft.args[::-1]):
        shape = other.draft.type.shape
        if not ref.draft.type.shape and shape and shape[-1].value != 1:
            loop = _numbers_of_a_loop(ref.draft)
            if loop is not None:
                name, size = called(loop, draft, loop.signal.name), shape[-1].value
                return f"nothing says that {name} is more than a number; init {name} = zeros({size}) does"
            if draft.op == "dot":
                return f"a number times a vector is {called(ref.draft, draft, 'a')} * {called(other.draft, draft, 'x')}"
    return None


def _numbers_of_a_loop(draft: Draft) -> Draft | None:
    """The signal with a memory of itself that a value takes its shape from, unit by unit."""
    return next((d for d in (draft, *_shaped_like(draft)) if d.op == "signal" and d in _shaped_like(d)), None)


def _shaped_like(draft: Draft) -> dict[Draft, None]:
    """What a value takes its shape from, the nearest first."""
    found, waiting = {}, [draft]
    while waiting:
        here = waiting.pop(0)
        if here.shaped_by_parts:
            parts = [ref.draft for ref in here.binding if ref.draft not in found]
            found.update(dict.fromkeys(parts))
            waiting += parts
    return found


WHOLE = "whole are t and what + - *, mod, max, min and where make of it and of whole numbers"


def otherwise_picked(made: Draft, index: Draft) -> str | None:
    """The way round for a number that is not known to be whole, where `made` wants a label."""
    if made.op not in ("take", "one_hot"):
        return "labels from outside are declared with their number: target y : class(n)"
    n = called(index, made, "n")
    i = "i" if n != "i" else "j"
    if made.op == "one_hot":
        return f"{WHOLE}; of any other number it is concat({i} in 0..{made.type.shape[0].value} : {n} == {i})"
    values, size = made.args[0].draft, made.args[0].draft.type.shape[0].value
    v = called(values, made, "v")
    return f"{WHOLE}; any other number picks by sum({i} in 0..{size} : where({n} == {i}, {v}[{i}], 0))"


def called(arg: Draft, made: Draft, otherwise: str) -> str:
    """The name of an argument where it is used; `otherwise` stands for an expression."""
    named = arg.signal or arg.attrs.get("parameter")
    return named.name if named is not None and made.scope.find(named.name) is named else otherwise
