"""C names for signals: their paths, flattened; unnamed values by what they feed; never twice the same."""

import re

from rnnc.graph.nodes import Graph

RESERVED = frozenset("""auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while _Bool
_Complex _Imaginary and or not xor bool true false real c r u p q t first rows part team thread threads in out state packed
B T R since left zeros workspace main errno NULL starts weight accumulate tuning class new delete this template namespace
""".split())


def flat(path: str) -> str:
    """`h.0.c` -> `h_0_c`; our own names give way to the user's, so only C's are avoided."""
    name = re.sub(r"\W", "_", path)
    if not name or name[0].isdigit() or name in RESERVED or name.startswith(("rn_", "RN_", "_")):
        name = "s_" + name
    return name


def names(graph: Graph) -> dict[int, str]:
    """A C name for every node: a signal's own; for an unnamed value, the signal that it leads to and a count."""
    found: dict[int, str] = {}
    taken: set[str] = set()

    def take(number: int, wanted: str) -> None:
        name, count = wanted, 2
        while name in taken:
            name, count = f"{wanted}_{count}", count + 1
        taken.add(name)
        found[number] = name

    for number, node in enumerate(graph.nodes):
        if node.name is not None:
            take(number, flat(node.name))
        elif node.op == "input":
            take(number, flat(str(node.attr("name"))))
        elif node.op in ("cotangent", "state_cotangent"):
            take(number, f"seed_{flat(str(node.attr('name', node.attr('signal'))))}")
        elif node.op == "weight":
            take(number, "weights_of_frames")
    for number in reversed(graph.order):
        if number in found:
            continue
        reader = next((r for r, _ in graph.uses[number] if r in found), None)
        lead = found[reader] if reader is not None else "value"
        lead = re.sub(r"_part(_\d+)?$", "", lead)
        take(number, f"{lead}_part")
    return found
