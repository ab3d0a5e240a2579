"""Numbers and signals as a reader likes them."""

from rnnc.graph.nodes import Graph
from rnnc.plan.show import matrix

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
VERBS = {"run": "run: the outputs", "evaluate": "evaluate: losses and metrics",
         "backprop": "backprop: loss and the gradients of the parameters",
         "vjp": "vjp: gradients of parameters, inputs and state"}


def amount(value: float, unit: str = "") -> str:
    """Three digits: 1.23 G."""
    size, prefix = next(((s, p) for s, p in PREFIXES if value >= s * 0.9995), (1.0, ""))
    number = f"{value / size:.3g}" if value / size < 999.5 else f"{value / size:.0f}"
    return f"{number} {prefix}{unit}".rstrip()


def many(value: float) -> str:
    """Without a unit: 1.23k."""
    return amount(value).replace(" ", "")


def size(value: float) -> str:
    """Bytes."""
    for power, unit in ((30, "GiB"), (20, "MiB"), (10, "KiB")):
        if value >= 1 << power:
            return f"{value / (1 << power):.3g} {unit}"
    return f"{value:.0f} bytes"


def time(seconds: float) -> str:
    scale, unit = next(((s, u) for s, u in TIMES if seconds >= s * 0.9995), TIMES[-1])
    return f"{seconds / scale:.3g} {unit}"


def count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def shown(names: list[str], most: int = 8) -> str:
    """A list that stops in time."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def signal(graph: Graph, n: int) -> str:
    """A signal by its name; a value without one by what makes it."""
    node = graph[n]
    if node.name:
        return node.name
    if node.op == "matmul":
        return f"{matrix(graph, node.args[0].node)}{chr(39) if node.attr('ta', False) else ''} @"
    return node.op


def at(delay: int) -> str:
    return f"[t{-delay:+d}]" if delay else ""


def filled(text: str, indent: str, width: int = 110) -> list[str]:
    """Paragraph to lines, each with the indent."""
    import textwrap
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False)
