"""The whole way in one breath: text, tree, graph, gradient, loops, schedule, memory, C.

In: a program's source and the options. Out: any stage's text, the C, or a loaded network. Every pass is followed by its
checker when `CHECK` is set (tests set it).
"""

import functools
import gc
import hashlib
import os
from dataclasses import dataclass, replace

import rnnc
from rnnc.errors import InputError, Source
from rnnc.graph.nodes import CONSTANT, SEQUENCE, Graph

STAGES = ("tree", "graph", "gradient", "loops", "schedule", "memory", "c")
CHECK = bool(os.environ.get("RNNC_CHECK"))


@dataclass(frozen=True)
class Options:
    """Everything besides the program that decides what is emitted."""

    dtype: str = "float32"
    target: str = "native"
    openmp: bool = True
    gradient: str | None = "parameters"        # None | "parameters" | "all"
    weights: str = "float32"                   # how matrices are stored: or "bfloat16" or "int8", with float32 sums
    memory_limit: int | None = None            # bytes that a training call may work in; long calls go in segments
    prefix: str | None = None
    counting: bool = False                     # the build that logs products and meetings
    probe: tuple[str, ...] = ()                # inner signals that are outputs as well
    training: bool = False                     # random operators act in run, too
    # What the loaded net does with the module, not what the module is:
    threads: int | None = None
    seed: int = 0
    check_numbers: bool = False
    cache: bool = True

    def module(self) -> dict:
        """The options that decide what the built module is: the key of its cache entry."""
        loose = ("threads", "seed", "check_numbers", "cache", "memory_limit")
        return {key: value for key, value in vars(self).items() if key not in loose} | {"segments": self.segments}

    @property
    def segments(self) -> bool:
        return self.memory_limit is not None and self.gradient is not None


def undisturbed(work):
    """Trees and graphs are very many small objects and hardly any garbage: without the collector, which would walk all
    of them again and again, a program of 10,000 equations is read in a fifth of the time."""
    @functools.wraps(work)
    def run(*args, **named):
        if not gc.isenabled():
            return work(*args, **named)
        gc.disable()
        try:
            return work(*args, **named)
        finally:
            gc.enable()
    return run


def checked(graph: Graph) -> Graph:
    if CHECK:
        from rnnc.graph.check import check
        check(graph)
    return graph


# ---------------------------------------------------------------------------------------------- the passes

@undisturbed
def read(source: Source, model: str | None = None, sizes: dict | None = None):
    """The graph of a program with every text that was read. Raises CompileError with every fault found."""
    from rnnc.graph.elaborate import load
    made = load(source, model, sizes or {})
    checked(made.graph)
    return made


def elaborated(source: Source, model: str | None = None, sizes: dict | None = None) -> Graph:
    """The graph of a program, as written. Raises CompileError with every fault found."""
    return read(source, model, sizes).graph


@undisturbed
def check(source: Source, model: str | None = None, sizes: dict | None = None) -> None:
    """Every diagnostic of a program, as a CompileError; nothing if there is none. Of a library, which has no model,
    the names are looked at."""
    from rnnc.front.parse import parse
    from rnnc.front.tree import Model
    from rnnc.graph.elaborate import check_asked, survey
    file = parse(source)
    if any(isinstance(item, Model) for item in file.items):
        elaborated(source, model, sizes)
    else:
        survey(source)
        check_asked(file, sizes or {}, model)


def forward(graph: Graph) -> Graph:
    from rnnc.graph.simplify import simplify
    return checked(simplify(graph))


@undisturbed
def programs(graph: Graph, gradient: str | None, training: bool = False) -> dict[str, Graph]:
    """The forward graph becomes one graph per function of the module, each with only what that function needs.
    `training`: random operators act in run, too."""
    from rnnc.graph.gradient import gradient as differentiate
    from rnnc.graph.gradient import vjp
    from rnnc.graph.scores import scores
    from rnnc.graph.simplify import simplify
    from rnnc.graph.values import at_rest, only_values
    from rnnc.plan.regroup import compact
    plain = only_values(graph if training else at_rest(graph))
    made = {"run": runnable(plain)}
    if graph.losses or graph.metrics:
        made["evaluate"] = compact(replace(scores(plain), outputs={}, losses={}, metrics={}))
    if graph.losses and gradient is not None:
        joint = differentiate(graph)
        made["backprop"] = compact(replace(joint, losses={}, metrics={}))
    if gradient == "all" and graph.outputs:
        made["vjp"] = compact(replace(vjp(graph), losses={}, metrics={}, scores={}))
    return {name: checked(simplify(g)) for name, g in made.items()}


def on_targets(graph: Graph) -> set[int]:
    """Every node that depends on a target or on the weights of frames."""
    targets = {i.name for i in graph.inputs if i.target}
    tainted: set[int] = set()
    for _ in range(2):                                          # twice: a loop is seen whole the second time
        for n in graph.order:
            node = graph[n]
            if node.op == "weight" or node.op == "input" and node.attr("name") in targets \
                    or any(m in tainted for read in node.args for m in (read.node, *graph.before(read))):
                tainted.add(n)
    return tainted


def runnable(graph: Graph) -> Graph:
    """What can be computed without targets: the outputs, and the part of the state that they and inputs determine."""
    from rnnc.plan.regroup import compact
    tainted = on_targets(graph)
    kept = {n: k for n, k in graph.state.items() if n not in tainted}
    return compact(replace(graph, losses={}, metrics={}, scores={}, state=kept))


def probed(graph: Graph, probe: tuple[str, ...]) -> Graph:
    """The same network with some inner signals as outputs too."""
    named = graph.named()
    return replace(graph, outputs={**graph.outputs, **{name: named[name] for name in probe}})


# ---------------------------------------------------------------------------------------------- nets

def compile_net(source: str, model: str | None = None, options: Options | None = None, sizes: dict | None = None):
    """The loaded net of a program: `source` is a path, or program text (contains a newline)."""
    from rnnc.runtime.module import load as load_module
    from rnnc.runtime.net import Net
    options, sizes = options or Options(), sizes or {}
    place = built(source, model, options, sizes)
    return Net(load_module(place), seed=options.seed, threads=options.threads, check_numbers=options.check_numbers,
               memory_limit=options.memory_limit,
               variant=lambda probe, training: load_module(built(
                   source, model, replace(options, probe=tuple(probe), training=training), sizes)),
               graph=lambda: Picture(elaborated(as_source(source), model, sizes)),
               explain=lambda *call: explained(as_source(source), *call, options=options, sizes=sizes, model=model))


def as_source(given: str) -> Source:
    if "\n" in given:
        return Source("program", given)
    with open(given, encoding="utf-8") as file:
        return Source(given, file.read())


def built(source: str, model: str | None, options: Options, sizes: dict):
    """The folder of the built module, from the cache where nothing has changed."""
    from rnnc.target import cache
    from rnnc.target.build import build
    text = as_source(source)
    key = {"source": text.name, "text": text.text, "model": model, "sizes": sizes, "options": options.module()}
    found = cache.lookup(key) if options.cache else None
    if found is not None:
        return found
    program = read(text, model, sizes)
    emitted = emit_graph(program.graph, options, text.name)
    place = build(emitted.c, emitted.cdef, emitted.header, emitted.manifest, options)
    if options.cache:
        cache.store(key, [s.name for s in program.sources if os.path.isfile(s.name)], place)
    return place


# ---------------------------------------------------------------------------------------------- reasons

def explained(source: Source, frames: int, streams: int, threads: int, options: Options | None = None,
              sizes: dict | None = None, model: str | None = None, machine=None) -> str:
    """The plan of a program in words, with predicted times on `machine` (None: this one, measured once)."""
    from rnnc.explain import explain
    from rnnc.target.measure import machine as this_machine
    options = options or Options()
    planned = schedules(source, options, sizes, model)
    wanted = [planned[name] for name in ("run", "backprop", "vjp") if name in planned]
    return explain(wanted, frames, streams, threads, machine or this_machine(), 8 if options.dtype == "float64" else 4)


@undisturbed
def schedules(source: Source, options: Options, sizes: dict | None = None, model: str | None = None) -> dict:
    """The schedule of every function of the module."""
    made = programs(forward(elaborated(source, model, sizes)), options.gradient)
    return {name: planned_and_checked(program, name, options.weights) for name, program in made.items()}


# ---------------------------------------------------------------------------------------------- results

def hash_of(graph: Graph) -> str:
    """16 hex digits that tell networks apart: parameters, state and equations, not names of files."""
    from rnnc.graph.show import show
    plain = replace(graph, nodes=tuple(replace(n, span=None) for n in graph.nodes))
    return hashlib.sha256(show(plain).encode()).hexdigest()[:16]


def emit(source: Source, options: Options, sizes: dict | None = None, model: str | None = None):
    """The C, the header and the manifest of a program."""
    return emit_graph(elaborated(source, model, sizes), options, source.name)


@undisturbed
def emit_graph(graph: Graph, options: Options, source: str = ""):
    from rnnc.graph.chunkwise import CHUNKED
    from rnnc.target.module import Model
    from rnnc.target.module import emit as emit_c
    from rnnc.target.names import shown
    simple = forward(graph)
    hash_ = hash_of(simple)
    if options.probe:                                           # before simplification, which may drop names
        simple = forward(probed(graph, options.probe))
    planned, cut = [], None
    if options.segments:
        refuse_to_cut(graph)
    for name, program in programs(simple, options.gradient, options.training).items():
        planned.append(planned_and_checked(program, name, options.weights))
        if options.segments and name == "backprop":
            # What goes in chunks of whole sequences goes frame by frame in segments, which have a program of their own.
            if any(node.op in CHUNKED for node in planned[-1].graph.nodes):
                planned.append(planned_and_checked(program, "segment", options.weights, cut=True))
            cut = segments_of(planned[-1])
    named = Model(options.prefix or graph.name, simple, options.dtype, rnnc.__version__, hash_,
                  shown(source), options.counting, lookahead(graph), probes(graph),
                  options.target, options.openmp, options.weights, cut)
    return emit_c(named, planned)


def planned_and_checked(program: Graph, name: str, weights: str = "float32", cut: bool = False):
    from rnnc.plan.build import schedule
    made = schedule(program, name, checked, weights, cut)
    if CHECK:
        from rnnc.plan.check import check
        check(made)
    return made


def line_of(span) -> str | None:
    """Where a signal stands, without the folder: the same program elsewhere is the same module."""
    return os.path.basename(str(span)) if span else None


def probes(graph: Graph) -> tuple[dict, ...]:
    """The signals that may be asked for by name, in order; `targets`: whether one depends on a target; `after`: how
    many readings of whole sequences come before it."""
    from rnnc.graph.ops import OPS, SPAN
    tainted, lists = on_targets(graph), {i.name for i in graph.inputs if i.kind == "labels"}
    after = [0] * len(graph)
    for _ in range(2):                                          # twice: a loop is seen whole the second time
        for n in graph.order:
            read = [m for read in graph[n].args for m in (read.node, *graph.before(read))]
            after[n] = max((after[m] for m in read), default=0) + (OPS[graph[n].op].family == SPAN)
    return tuple({"name": node.name, "line": line_of(node.span), "shape": list(node.shape),
                  "targets": n in tainted, "after": after[n]}
                 for n, node in enumerate(graph.nodes) if node.name is not None and node.domain != CONSTANT
                 and not (node.op == "input" and node.attr("name") in lists))


@dataclass(frozen=True)
class Picture:
    """What `net.graph` is: the network's text, and a drawing where a notebook asks for one."""

    graph: Graph

    def __str__(self) -> str:
        from rnnc.graph.show import show
        return show(self.graph)

    __repr__ = __str__

    def _repr_svg_(self) -> str:
        from rnnc.draw import draw
        return draw(self.graph, "svg")


def lookahead(graph: Graph) -> dict | None:
    """The first read ahead, or of a whole sequence, that an output or the state depends on: such a model cannot go
    frame by frame."""
    return ahead(runnable(graph))


def refuse_to_cut(graph: Graph) -> None:
    """A limit of memory cuts calls into segments, which a network that looks ahead cannot be."""
    found = ahead(graph)
    per_sequence = next((i.name for i in graph.inputs if i.per == SEQUENCE), None)
    if found or per_sequence:
        what = f"{found['signal']} is read before its frame has come" if found else \
            f"{per_sequence} has one value for a whole sequence"
        raise uncut(graph, what)


def segments_of(made):
    """How a training call goes in segments (plan/parts.py)."""
    from rnnc.plan.parts import parts
    found = parts(made)
    if found.trouble:
        raise uncut(made.graph, found.trouble)
    return found


def uncut(graph: Graph, why: str) -> InputError:
    return InputError(f"memory_limit: {graph.name} cannot be trained segment by segment: {why}; leave it None")


def ahead(live: Graph) -> dict | None:
    """The first read ahead, or of a whole sequence."""
    from rnnc.graph.ops import OPS, SPAN
    for n in live.order:
        span = live[n].span
        if OPS[live[n].op].family == SPAN:
            of = live[live[n].args[0].node].name or "a value"
            return {"signal": f"{of} in all frames of a sequence", "line": line_of(span)}
        for read in live[n].args:
            if read.delay < 0:
                name = live[read.node].name or "a value"
                return {"signal": f"{name}[t+{-read.delay}]", "line": line_of(span)}
    return None


@undisturbed
def text_after(source: Source, stage: str, options: Options | None = None, sizes: dict | None = None,
               model: str | None = None) -> str:
    """The text form of a program after one of STAGES."""
    from rnnc.graph.show import show
    options = options or Options()
    if stage == "tree":
        from rnnc.front.parse import parse
        from rnnc.front.show import show as show_tree
        from rnnc.graph.elaborate import check_asked
        file = parse(source)
        check_asked(file, sizes or {}, model)
        return show_tree(file)
    graph = elaborated(source, model, sizes)
    if stage == "graph":
        return show(graph)
    if stage == "c":
        return emit_graph(graph, options, source.name).c
    made = programs(forward(graph), options.gradient)
    joint = made.get("vjp") or made.get("backprop") or made["run"]
    if stage == "gradient":
        return show(joint)
    if stage == "loops":
        from rnnc.graph.show_loops import show as show_loops
        return show_loops(joint)
    from rnnc.plan.show import show as show_schedule
    from rnnc.plan.show import show_memory
    texts = []
    for name, program in made.items():
        planned = planned_and_checked(program, name, options.weights)
        texts.append(show_schedule(planned) if stage == "schedule" else show_memory(planned))
    return "\n".join(texts)
