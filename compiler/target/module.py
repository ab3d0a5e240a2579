"""A whole model as C: all its programs over one state, one set of packed constants, one header.

In: the schedules of a model's programs. Out: `Emitted`: the C file, the header, the declarations for cffi, the
manifest.
"""

import re
from dataclasses import dataclass, replace
from importlib.resources import files

from rnnc.graph.nodes import Graph, Read
from rnnc.graph.ops.random import RANDOM
from rnnc.plan.guards import Guards
from rnnc.plan.parts import Parts
from rnnc.plan.roles import Roles
from rnnc.plan.schedule import RowKernel, Schedule
from rnnc.target import api
from rnnc.target.alike import share
from rnnc.target.expressions import integer
from rnnc.target.pool import Pool
from rnnc.target.program import Program
from rnnc.target.render import render
from rnnc.target.rows import RowWriter
from rnnc.target.text import ProgramText

FIXED = ("base.h", "threads.h", "maths.h", "powers.h", "products.h", "pack.h", "folds.h", "reduce.h", "small.h",
         "rows.h", "lanes.h", "axes.h", "scan.h", "crews.h", "plan.h", "spans.h", "attend.h", "correct.h", "pair.h",
         "fade.h", "ctc.h", "bfloat16.h", "int8.h", "random.h", "sparse.h", "optimisers.h")
STAND_IN = "model_called_like_us"              # until our own names are others


@dataclass(frozen=True)
class Emitted:
    name: str
    c: str
    header: str
    cdef: str
    manifest: dict


@dataclass(frozen=True)
class Model:
    """What all programs of a model have in common."""

    name: str                                  # the prefix of every exported name
    forward: Graph                             # the elaborated graph: inputs, outputs, parameters, state
    dtype: str
    version: str
    hash: str                                  # of the forward graph's text, 16 hex digits
    source: str = ""
    counting: bool = False
    lookahead: dict | None = None
    probes: tuple[dict, ...] = ()              # every named signal of the program, as written
    target: str = "native"                     # the processor, and whether with OpenMP: for the header's flag line
    openmp: bool = True
    weights: str = "float32"                   # how the matrices of products are stored
    cut: Parts | None = None                   # how training calls go in segments, if they may

    @property
    def random(self) -> bool:
        """Whether training calls draw random numbers."""
        return any(node.op in RANDOM for node in self.forward.nodes)


def offsets(graph: Graph) -> dict[str, int]:
    """Where each parameter begins in the flat vector: trainable ones first."""
    found, at = {}, 0
    for param in sorted(graph.params, key=lambda p: not p.trainable):
        found[param.name] = at
        at += size_of(param.shape)
    return found


def size_of(shape) -> int:
    total = 1
    for dim in shape:
        total *= dim
    return total


def emit(model: Model, programs: list[Schedule]) -> Emitted:
    """The whole text. Our own names begin with `rn_` and give way where the model's do as well."""
    if not re.match("rn(_|$)", model.name):
        return written(model, programs)
    made = written(replace(model, name=STAND_IN), programs)
    named = lambda text: text.replace(STAND_IN, model.name).replace(STAND_IN.upper(), model.name.upper())
    return Emitted(model.name, named(re.sub(r"\brn_", "rnnc_", made.c)), named(made.header), named(made.cdef),
                   made.manifest | {"name": model.name})


def written(model: Model, programs: list[Schedule]) -> Emitted:
    graph = model.forward
    places = offsets(graph)
    pool = Pool(places)
    entries = [graph[n].name for n in graph.state]
    texts: list[ProgramText] = []
    for made in programs:
        program = Program(made, pool, entries, 8 if model.dtype == "float64" else 4,
                          model.cut if model.cut and model.cut.program == made.program else None)
        text = program.write()
        api.finish(program, model, places)
        texts.append(text)
    pack = packing(pool)
    view = api.view(model, texts, share(texts, model.counting), pool, pack, places)
    wanted = {"random.h": model.random, "sparse.h": bool(pool.indices), "bfloat16.h": "bfloat16" in pool.stored,
              "int8.h": "int8" in pool.stored}
    fixed = [{"name": f"runtime/{name}", "text": (files("rnnc.runtime") / name).read_text()} for name in FIXED
             if wanted.get(name, True)]
    declarations = render("declarations.h.j2", m=view)
    view.update(fixed=fixed, types=declarations)
    view["api"] = render("api.c.j2", m=view)
    c = render("module.c.j2", m=view)
    header = render("header.h.j2", m=view, declarations=render("declarations.h.j2",
                    m={**view, "weights_length": f"{view['upper']}_WEIGHTS"}))
    return Emitted(model.name, c, header, declarations, api.manifest(model, texts, places))


# ---------------------------------------------------------------------------------------------- packing

class PackAccess:
    """Addresses while weights are packed: every constant is in the packed block."""

    def __init__(self, pool: Pool):
        self.pool = pool
        self.graph = pool.graph()
        self.names = {n: f"c{n}" for n in range(len(self.graph))}
        self.role = Roles(("early",) * len(self.graph), {}, Guards({}, {}))
        self.made = None

    def begin(self, origin: str, way: int = 0) -> None:
        """No constant is in a ring."""

    def end(self) -> list[str]:
        return []

    def alone(self, n: int) -> bool:
        return False

    def row(self, read: Read, r: str = "r") -> str:
        return f"(packed + {self.pool.values[read.node]})"

    def constant(self, n: int) -> str:
        return self.row(Read(n))

    def integer(self, read: Read, r: str = "r") -> str:
        node = self.graph[read.node]
        return str(int(node.attr("value"))) if node.op == "number" else f"(int64_t)*{self.constant(read.node)}"

    def at(self, n: int, row: str) -> str:
        return self.row(Read(n))

    def counted(self, n: int, r: str, integer_of, truth_of) -> str:
        return integer(self.graph[n].op, [integer_of(arg, r) for arg in self.graph[n].args])


def packing(pool: Pool) -> dict:
    """The function that fills the packed block, and the tables that it copies."""
    access = PackAccess(pool)
    tables, statements = [], []
    computed: list[int] = []

    def flush() -> None:
        if computed:
            kernel = RowKernel(0, tuple(computed), tuple(computed))
            made = RowWriter(access, kernel).view("", "", "")
            statements.append("{")
            statements.extend(f"    {line}" for line in (*made.constants, *made.statements))
            statements.append("}")
            computed.clear()

    for n in pool.order:
        node, name = pool[n], pool.values[n]
        if node.op == "param":
            statements.append(f"rn_pack_value(packed + {name}, w + {pool.offsets[node.attr('name')]}, {node.size});")
        elif node.op == "table":
            data = access.graph.tables[node.attr("index")].ravel()
            tables.append({"name": f"rn_table_{n}", "length": max(1, data.size),
                           "numbers": ", ".join(f"(real){float(v)!r}" for v in data)})
            statements.append(f"rn_pack_value(packed + {name}, rn_table_{n}, {node.size});")
        elif node.op == "number":
            statements.append(f"packed[{name}] = (real){float(node.attr('value'))!r};")
        else:
            computed.append(n)
            flush()
    lines = ["/* Constants first, by one thread, then the panels that products read, each by all. */",
             "static void rn_pack_all(const real *w, real *packed, const rn_team *team, int thread)", "{"]
    if statements:
        lines += ["    if (thread == 0) {", *(f"        {line}" for line in statements), "    }"]
    if statements and pool.packing:
        lines.append("    rn_meet(team, thread);")
    lines += [*(f"    {line}" for line in pool.packing), "    (void)w, (void)packed, (void)team, (void)thread;", "}"]
    return {"text": "\n".join(lines), "tables": tables}
