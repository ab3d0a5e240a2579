"""What the outside sees of a graph: its names must be usable there, and a run must do without targets.

Names become fields and macros in C and keyword arguments in Python, with the dots of their paths as underscores.
"""

import keyword
import math
import re

from rnnc.errors import Faults, Note, Span
from rnnc.graph.nodes import Graph

C_KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while".split())
CPP_KEYWORDS = frozenset(                                   # and of C23, and of C with GNU's extensions
    "alignas alignof and_eq asm bitand bitor bool catch char8_t char16_t char32_t class compl concept consteval "
    "constexpr constinit const_cast co_await co_return co_yield decltype delete dynamic_cast explicit export false "
    "friend mutable namespace new noexcept not_eq nullptr operator or_eq private protected public reinterpret_cast "
    "requires static_assert static_cast template this thread_local throw true try typeid typename typeof "
    "typeof_unqual using virtual wchar_t xor xor_eq".split())
MACROS = frozenset("NULL EOF NAN INFINITY HUGE_VAL errno assert stdin stdout stderr linux unix offsetof UINT32_C "
                   "UINT64_C".split())         # others in capitals are undone where a field is called so
NUMBERS = frozenset(                                        # macros of math.h; parameters are free to be called so
    "M_E M_LOG2E M_LOG10E M_LN2 M_LN10 M_PI M_PI_2 M_PI_4 M_1_PI M_2_PI M_2_SQRTPI M_SQRT2 M_SQRT1_2".split())
TYPES = re.compile("u?int[a-z0-9_]*_t|size_t|ptrdiff_t|max_align_t")        # of stdint.h and stddef.h
# Headers of C, and what the C that rnnc writes includes beside them: a file of such a name in a folder given by -I is
# found before the system's own.
HEADERS = re.compile(
    "assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdalign|stdarg|stdatomic|"
    "stdbit|stdbool|stdckdint|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|threads|time|uchar|wchar|wctype|"
    "alloca|arm_neon|endian|features|omp|pthread|sched|unistd|[a-z0-9]*intrin")
CALLS = frozenset("state starts weight out probe accumulate streams frames threads self cotangents".split())
VECTOR = 16                                    # numbers of the widest one
RESULTS = frozenset("loss frames sequences".split())      # what evaluation reports beside the metrics


def check_names(graph: Graph, metrics: dict[str, Span], model: Span, faults: Faults) -> None:
    refuse(graph.name, model, C_KEYWORDS | CPP_KEYWORDS | MACROS, "a reserved word of C", faults)
    seen: dict[str, tuple[str, Span]] = {}
    inside = {p.name: p.span for p in graph.params}
    inside.update((node.name, node.span) for node in graph.nodes if node.name is not None and node.name != "t")
    outside = {i.name: i.span for i in graph.inputs}
    outside.update((name, graph[n].span) for name, n in graph.outputs.items())
    for name, span in inside.items():
        if "." not in name and name not in outside:
            refuse(name, span, C_KEYWORDS | MACROS, "a reserved word of C", faults)
            refuse(name, span, CALLS, "an argument of the calls in Python", faults)
    for name, span in outside.items():
        refuse(name, span, C_KEYWORDS | CPP_KEYWORDS | MACROS, "a reserved word of C", faults)
        refuse(name, span, NUMBERS, "a number of C's math.h", faults)
        refuse(name, span, (name,) if TYPES.fullmatch(name) else (), "a type of C", faults)
        if name.startswith("RN_"):
            faults.add("E0205", f"{name} cannot be a name here: macros of the C that rnnc writes begin so", span)
        refuse(name, span, CALLS, "an argument of the calls in Python", faults)
        refuse(name, span, keyword.kwlist, "a reserved word of Python", faults)
    for name, span in metrics.items():
        refuse(name, span, C_KEYWORDS | MACROS, "a reserved word of C", faults)
        refuse(name, span, RESULTS, "reported by every evaluation", faults)
    for i in graph.inputs:
        if i.kind == "labels" and f"{i.name}_lengths" in outside:
            faults.add("E0209", f"{i.name}_lengths is also what C calls the lengths of the lists {i.name}",
                       outside[f"{i.name}_lengths"], [Note(i.span, f"{i.name} is here")], "rename one of them")
    for name, span in sorted(inside.items(), key=lambda item: (item[1].line, item[1].column)):
        flat = name.replace(".", "_")
        if flat in seen and seen[flat][0] != name:
            other, there = seen[flat]
            if span.source is not model.source:
                (name, span), (other, there) = (other, there), (name, span)
            faults.add("E0209", f"{name} and {other} are both {flat} in C", span, [Note(there, f"{other} is here")],
                       "rename one of them")
        seen.setdefault(flat, (name, span))


def no_prefix(name: str) -> str | None:
    """Why files and functions in C cannot be called so."""
    if name in C_KEYWORDS | CPP_KEYWORDS | MACROS:
        return f"{name} is a reserved word of C"
    if HEADERS.fullmatch(name.lower()):        # there are file systems that take both for one
        return f"{name}.h would hide a header of C's own of that name"
    return None


def refuse(name: str, span: Span, words, what: str, faults: Faults) -> None:
    if name in words:
        faults.add("E0205", f"{name} cannot be a name here: it is {what}", span)
    elif re.match(r"_[A-Z_]", name) and "C" in what:
        faults.add("E0205", f"{name} cannot be a name here: C reserves names that begin so", span)


def check_targets(graph: Graph, faults: Faults) -> None:
    """Targets are given for losses and metrics only: no output and no state may need one, be it before a start."""
    from_target: dict[int, int] = {}           # node -> the argument by which a target reaches it
    waiting = [n for n, node in enumerate(graph.nodes) if node.op == "input"
               and any(i.target and i.name == node.attr("name") for i in graph.inputs)]
    from_target.update((n, n) for n in waiting)
    seen_by: dict[int, list[int]] = {}          # initial value -> who may see it
    for n, node in enumerate(graph.nodes):
        for m in (m for read in node.args for m in graph.before(read)):
            seen_by.setdefault(m, []).append(n)
    while waiting:
        n = waiting.pop()
        for reader in [*(reader for reader, _ in graph.uses[n]), *seen_by.get(n, ())]:
            if reader not in from_target:
                from_target[reader] = n
                waiting.append(reader)

    def origin(n: int) -> str:
        while from_target[n] != n:
            n = from_target[n]
        return graph[n].name

    for name, n in graph.outputs.items():
        if n in from_target:
            faults.add("E0604", f"the output {name} depends on the target {origin(n)}: a run has no targets",
                       graph[n].span, hint=f"make {origin(n)} an input")
    for n in graph.state:
        if n in from_target:
            reader = min((graph[v] for v, k in graph.uses[n] if graph[v].args[k].delay > 0),
                         key=lambda node: (node.span.line, node.span.column))
            what = f"the target {origin(n)}" if from_target[n] == n else f"{graph[n].name} depends on the target " \
                f"{origin(n)} and"
            faults.add("E0608", f"{what} is read with a delay: the state of a run would need it", reader.span,
                       hint=f"make {origin(n)} an input")


def check_total(graph: Graph, model: Span, faults: Faults) -> None:
    """The C counts packed weights, of which a training program has two copies of each matrix, in 32 bits."""
    total = sum(math.prod(p.shape) for p in graph.params)
    if total >= 2**30:
        faults.add("E0309", f"{total} parameters in all are more than the C can count", model,
                   hint=f"the most is {2**30 - 1}; are the sizes what they should be?")


def check_delays(graph: Graph, faults: Faults) -> None:
    """The C counts frames in 32 bits, and the numbers that the state of a stream keeps of a signal, too: each frame's
    are filled up to a whole vector."""
    for node in graph.nodes:
        for read in node.args:
            signal, ago = graph[read.node], read.delay > 0
            each = -(-signal.size // VECTOR) * VECTOR if ago and signal.shape else 1
            if abs(read.delay) * each >= 2**31:
                faults.add("E0309", f"{signal.name or 'this'} is read {abs(read.delay)} frames "
                           f"{'ago' if ago else 'ahead'}, which is more than the C can count", node.span,
                           hint=f"the most is {(2**31 - 1) // each}")
