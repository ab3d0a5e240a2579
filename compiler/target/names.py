"""C names for signals: their paths, flattened; unnamed values by what they feed; never twice the same."""

import re

from rnnc.graph.nodes import Graph, Node, Read

C_WORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main errno
int32_t int64_t uint8_t uint32_t size_t NULL"""
# What the templates and the fixed C call their own variables and members, where a signal's name may stand beside them.
OURS = """real c r u p q t t0 t1 j n wide products frames k low high first rows part group group_end block from to sums
T B R S since left spans sequence paths packed zeros flags plan turn parts begins ends ones scratch folders team
thread frame stream lane inside handed by last keeps row column layers unbroken"""
RESERVED = frozenset(f"{C_WORDS} {OURS}".split())
SYMBOL = re.compile("_.*|(rn|RN|AT|END|TABLE|PANEL)_.*|(x|sums|near|ring)_[0-9]+|[A-Z]+_[A-Z0-9_]+|U?INT[0-9].*|"
                    "whole_.*|.*_(before|after)_[0-9]+|(frame|sequence)_keys?(_.*)?")
MADE = re.compile(r"(at|k|v|old)_(?P<behind>.+)|(?P<before>.+)_(row|at|table|from|of|i|u|lanes|rest|turned|first|all|"
                  "rows|by_.+|(past|next|kept)[0-9]+)")


def flat(path: str) -> str:
    """A signal's name inside the C file: `h.0.c` -> `h_0_c`, changed only where C or our own text knows the word."""
    name = re.sub(r"\W", "_", path)
    if not name or name[0].isdigit() or name in RESERVED or SYMBOL.fullmatch(name):
        name = "s_" + name
    return name


def member(path: str) -> str:
    """A signal's name in the header: `h.0.c` -> `h_0_c`. Words of C and C++ have been refused before; some members of
    the header's structs are ours."""
    name = re.sub(r"\W", "_", path)
    return f"s_{name}" if name in ("tuning", "seed", "draw") else name


def shown(file: str) -> str:
    """A file's name as it may stand in C and in its header: of bytes that are no UTF-8 Python makes lone surrogates."""
    return file.rsplit("/", 1)[-1].encode("utf-8", "backslashreplace").decode("utf-8")


def made_of(name: str, others: set[str]) -> bool:
    """Whether kernels would call something this that belongs to another signal, such as `h_past1` for h[t-1]."""
    while found := MADE.fullmatch(name):
        name = found["behind"] or found["before"]
        if name in others:
            return True
    return False


def suffix(read: Read) -> str:
    """What the name of an earlier or later value has behind it: see MADE."""
    return "" if read.delay == 0 else f"_past{read.delay}" if read.delay > 0 else f"_next{-read.delay}"


def remark(node: Node, name: str) -> str:
    """Behind a statement, the signal whose variable has another name than itself."""
    return f"    /* {node.name} */" if node.name and node.name != name else ""


def names(graph: Graph) -> dict[int, str]:
    """A C name for every node: a signal's own; for an unnamed value, the signal that it leads to and a count."""
    found: dict[int, str] = {}
    taken: set[str] = set()
    counts: dict[str, int] = {}                # behind a name: below that all are taken

    def take(number: int, wanted: str) -> None:
        name = wanted
        while name in taken:
            count = counts.get(wanted, 2)
            name, counts[wanted] = f"{wanted}_{count}", count + 1
        taken.add(name)
        found[number] = name

    signals = {flat(node.name) for node in graph.nodes if node.name is not None}
    for number, node in enumerate(graph.nodes):
        if node.name is not None:
            name = flat(node.name)
            take(number, f"{name}_2" if made_of(name, signals) else name)
        elif node.op == "input":
            take(number, flat(str(node.attr("name"))))
        elif node.op == "param":
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
