"""One program (run, evaluate, backprop, vjp; segment) as C: its kernels, its stages, its memory.

In: a schedule. Out: `ProgramText`: function texts and the statements that prepare and finish a call. Everything that
several programs share (constants, state, types) is `module.py`'s.
"""

from dataclasses import replace

from rnnc.graph.nodes import FRAME, INT, SEQUENCE, Read
from rnnc.plan.crews import by_streams
from rnnc.plan.parts import EARLY, Parts
from rnnc.plan.place import parts_in_vectors, stage_nodes
from rnnc.plan.schedule import Fold, Kernel, Map, Once, RowKernel, Schedule, Spans, Sweep, UnitKernel, nodes_of
from rnnc.target.access import Access, stride
from rnnc.target.attend import kept_by_pair
from rnnc.target.crews import Crews
from rnnc.target.folds import fold
from rnnc.target.names import member, names, shown
from rnnc.target.pool import Pool
from rnnc.target.render import render
from rnnc.target.rows import RowWriter
from rnnc.target.spans import scratch, span
from rnnc.target.text import Handed, ProgramText
from rnnc.target.units import UnitWriter, vectors_of
from rnnc.target.view import Call, StageView


class Program:
    def __init__(self, made: Schedule, pool: Pool, entries: list[str], number: int, parts: Parts | None = None):
        """`entries`: the signals of the model's state, in its order; `number`: bytes of a number; `parts`: for calls in
        segments."""
        self.number, self.parts = number, parts
        self.made, self.graph, self.role, self.pool, self.entries = made, made.graph, made.role, pool, entries
        self.names = names(made.graph)
        for n in made.buffers:
            if self.graph[n].kind == INT:
                self.names[n] += "_i"
        self.access = Access(made, self.names, pool)
        self.text = ProgramText(made.program, needs=self.access.needs)
        self.wanted = replace(made.graph, state={}).live()     # by others than the state

    def write(self) -> ProgramText:
        text, names = self.text, []
        for number, stage in enumerate(self.made.stages):
            made, view = self.stage(stage, number)
            text.kernels |= made
            text.stages.append(render("stage.c.j2", s=view))
            names.append(view.name)
        text.crews = Crews(self.made, self.number)
        parts = [self.part(s) for s in range(len(self.made.stages))]
        if "c->keeps" in parts:
            text.fields["keeps"] = "int "
            text.prepare.append("c->keeps = state != NULL;")
        text.steps = text.crews.steps(names, parts)
        self.memory()
        self.call()
        text.finders = self.access.functions
        return text

    def part(self, stage: int, n: int | None = None) -> str:
        """When a stage has something to do, or its sum n is formed, as C: in some parts of a call in segments; in a run
        on a state that somebody keeps. Empty: always."""
        if self.parts is None:
            return "c->keeps" if self.made.program == "run" and not self.wanted & {*stage_nodes(
                self.made.stages[stage])} else ""
        sums = getattr(self.made.stages[stage], "nodes", ()) if n is None else (n,)
        early = [m in self.parts.early for m in sums]
        if not any(early):
            return f"c->parts & {self.parts.stages[stage]}"
        return f"c->parts & {EARLY}" if all(early) else f"c->parts & ({EARLY} | {self.parts.stages[stage]})"

    # -------------------------------------------------------------------------------------------- stages

    def stage(self, stage, number: int) -> tuple[dict[str, str], StageView]:
        name = f"{self.made.program}_{number}"
        made: dict[str, str] = {}
        if isinstance(stage, (Fold, Spans)):
            calls = []
            for n in stage.nodes:
                function = f"{name}_{self.names[n]}"
                if isinstance(stage, Spans):
                    made[function] = span(self.access, n, function)
                    calls.append(f"{function}(c, team, thread);")
                else:
                    made[function] = self.fold(n, function, number, stage.per).replace("{stage}", str(number))
                    part = self.part(number, n)
                    when = f"if ({part}) " if part != self.part(number) else ""
                    calls.append(f"{when}{function}(c, team, thread, t0, t1);")
            title = "Whole sequences: every piece has one owner." if isinstance(stage, Spans) else \
                "Sums over sequences: every piece has one owner." if stage.per == SEQUENCE else \
                "Sums over frames and streams: every piece has one owner."
            return made, StageView(name, title, "spans" if isinstance(stage, Spans) else "fold", 0, 1, 0, (),
                                   tuple(calls), number)
        if isinstance(stage, Map):
            phases, why = [[(k, 0) for k in stage.kernels]], stage.why or f"all {stage.per}s at once"
            kind = "map" if stage.per == FRAME else "sequences"
        elif isinstance(stage, Once):
            phases, kind, why = [[(stage.kernel, 0)]], "once", "constants that wait for a sum"
        else:
            phases = [list(phase.kernels) for phase in stage.phases]
            kind, why = "sweep" if stage.meets else "alone", stage.why
        calls = []
        direction = stage.direction if isinstance(stage, Sweep) else 1
        frames = stage.frames if isinstance(stage, Sweep) else 0
        for phase in phases:
            row = []
            for kernel, offset in phase:
                function = f"{name}_{kernel.number}"
                made[function] = self.kernel(kernel, function, number, kind, direction)
                blocks, panels = self.work(kernel)
                split = "rn_split_units" if getattr(kernel, "ordered", False) else "rn_split"
                row.append(Call(function, offset, blocks, panels, number, split))
            calls.append(tuple(row))
        reach = max((c.offset for phase in calls for c in phase), default=0)
        title = self.stage_title(stage, phases, why)
        return made, StageView(name, title, kind, frames, direction, reach, tuple(calls), (), number,
                               by_streams(stage))

    def stage_title(self, stage, phases, why: str) -> str:
        if not isinstance(stage, Sweep):
            return why[0].upper() + why[1:] + "."
        way = "forwards" if stage.direction > 0 else "backwards"
        frames = "one frame" if stage.frames == 1 else f"{stage.frames} frames"
        signals = [self.graph[n].name for phase in phases for k, _ in phase for n in nodes_of(k)
                   if self.graph[n].name]
        shown = ", ".join(signals[:8]) + (", …" if len(signals) > 8 else "")
        return f"A loop {way} through time, {frames} a step: {why}.\n * {shown}"

    def work(self, kernel: Kernel) -> tuple[str, str]:
        """Row blocks and panels of a kernel as C."""
        if isinstance(kernel, RowKernel):
            return "rows", "1"
        width = self.graph[nodes_of(kernel)[0]].size
        if not kernel.panels:
            return "rows", f"RN_PANELS({width})"
        vectors = vectors_of(kernel, kernel.widest)
        for panel in kernel.panels:
            self.text.work += 2 * panel.inner * len(panel.gates) * width
        blocks = "rn_cuts(rows, RN_PICKED)" if kernel.guards else f"rn_cuts(rows, RN_ROWS({vectors}))"
        return blocks, f"RN_PANELS({width})"

    def kernel(self, kernel: Kernel, name: str, stage: int, kind: str, direction: int) -> str:
        """`kind`: that of its stage."""
        access = self.access.of_sequences() if kind == "sequences" else self.access
        way = direction if kind == "alone" else 0
        signals = [self.graph[n].name for n in nodes_of(kernel) if self.graph[n].name]
        title = ", ".join(dict.fromkeys(signals)) or "unnamed values"
        title = title if len(title) < 100 else title[:title.rindex(",", 0, 100)] + ", …"
        if isinstance(kernel, UnitKernel):
            writer = UnitWriter(access, kernel, stage, direction < 0 and kernel.ordered, way, kind == "sweep")
            view = writer.view(name, title, self.lines(kernel))
            return render("kernel_units.c.j2", k=view)
        view = RowWriter(access, kernel, kind, way).view(name, title, self.lines(kernel), stage)
        return render("kernel_rows.c.j2", k=view)

    def lines(self, kernel: Kernel) -> str:
        """Which lines of which files a kernel computes: `charlm.rnn:7-9, lstm.rnn:14`."""
        found: dict[str, set[int]] = {}
        for n in nodes_of(kernel):
            span = self.graph[n].span
            if span is not None:
                found.setdefault(shown(span.source.name), set()).add(span.line)
        parts = []
        for source, lines in found.items():
            numbers, runs = sorted(lines), []
            for line in numbers:
                if runs and line == runs[-1][1] + 1:
                    runs[-1][1] = line
                else:
                    runs.append([line, line])
            parts += [f"{source}:{a}" if a == b else f"{source}:{a}-{b}" for a, b in runs]
        return ", ".join(parts)

    def fold(self, n: int, function: str, stage: int, per: str) -> str:
        node = self.graph[n]
        columns = node.shape[-1] if len(node.shape) == 2 else node.size
        backwards = any(stage in step.stages and step.direction < 0 for step in self.made.steps)
        begins, ends = ("t0 == 0", "t1 == c->T") if self.parts is None else \
            ("t0 == 0 && c->begins", "t1 == c->T && c->ends")
        first, last = (ends, begins) if backwards else (begins, ends)
        access = self.access.of_sequences() if per == SEQUENCE else self.access
        whole = "" if self.parts is None else "c->begins && c->ends && "
        return fold(access, n, function, f"c->{self.names[n]}", str(columns), first, last, whole)

    # -------------------------------------------------------------------------------------------- memory

    def memory(self) -> None:
        """Fields of the call and the statements that give out the workspace."""
        text, made, graph = self.text, self.made, self.graph
        size = {"rows": "R * RN_PAD({})", "scalar": "R", "int": "R"}
        for number in sorted({b.near for b in made.buffers.values() if b.near is not None}):
            step = made.steps[number]
            text.fields[f"near_{number}"] = "long "
            chunk = f"rn_chunk(B, {step.rows}, {step.frames})"
            if step.fine:                                       # what goes ahead must not overtake the sums
                chunk = f"2 * rn_whole_chunk(B, {step.rows}, {step.frames}, {step.fine})"
            kept = f"{chunk} + {step.margin}"
            text.layout.append(f"c->near_{number} = RN_MIN(T, {kept});    /* frames kept of values of one step */")
        for number, (kind, width) in enumerate(made.slots):
            if kind in ("ring", "near"):
                kept = next(b for b in made.buffers.values() if b.slot == number)
                frames = kept.ring if kind == "ring" else f"c->near_{kept.near}"
                numbers = f"{frames} * B * {stride(graph, kept.node)}"
                kind = "int" if graph[kept.node].kind == INT else "rows"
            else:
                numbers = size[kind].format(width)
            unit = "int32_t" if kind == "int" else "real"
            text.layout.append(f"void *const slot_{number} = rn_give(&at, (size_t)({numbers}) * sizeof({unit}));")
        for n, buffer in made.buffers.items():
            kind = "int32_t" if graph[n].kind == INT else "real"
            text.fields[self.names[n]] = f"{kind} *"
            if buffer.slot is not None:
                text.layout.append(f"c->{self.names[n]} = slot_{buffer.slot};")
        for n, node in enumerate(graph.nodes):
            if self.role[n] in ("fold", "late"):
                text.fields[self.names[n]] = "real *"
                text.layout.append(f"c->{self.names[n]} = rn_give(&at, RN_PAD({node.size}) * sizeof(real));")
        for n, node in enumerate(graph.nodes):                  # columns are summed side by side, then turned over
            if node.op == "fold_column":
                rows, columns = node.shape
                text.fields[f"{self.names[n]}_table"] = "real *"
                bytes_ = f"{columns} * RN_PAD({rows}) * sizeof(real)"
                text.layout.append(f"c->{self.names[n]}_table = rn_give(&at, {bytes_});")
        for n, node in enumerate(graph.nodes):                  # a matrix as each chunk of frames begins
            if node.op == "pair":
                text.fields[f"{self.names[n]}_kept"] = "real *"
                numbers = f"(size_t)({kept_by_pair(graph, n)})"
                text.layout.append(f"c->{self.names[n]}_kept = rn_give(&at, {numbers} * sizeof(real));")
        if units := scratch(graph):
            text.fields["paths"] = "double *"
            text.layout.append(f"c->paths = rn_give(&at, RN_SPELLERS * rn_ctc_scratch(T, {units}) * sizeof(double));")
        for n in graph.state:
            kind = "int32_t" if graph[n].kind == INT else "real"
            text.fields[f"old_{self.names[n]}"] = f"const {kind} *"

    # -------------------------------------------------------------------------------------------- call

    def entry(self, n: int) -> int:
        return self.entries.index(self.graph[n].name)

    def call(self) -> None:
        self.keys()
        self.leaves()
        self.states()
        self.exports()
        if self.parts is not None:
            self.text.handed = [self.handed(n, frames) for n, frames in sorted(self.parts.handed.items())]

    def handed(self, n: int, frames: int) -> Handed:
        kind = "int32_t" if self.graph[n].kind == INT else "real"
        return Handed(frames, f"{stride(self.graph, n)} * sizeof({kind})", self.access.at(n, "r"))

    def keys(self) -> None:
        """Room for the keys of the rows' random numbers, and their computation."""
        text, leaves = self.text, [node for node in self.graph.nodes if node.op == "row_key"]
        shifts = [node.attr("ago") for node in leaves if node.attr("per") == "frame"]
        if shifts:
            before, after = max(0, *shifts, 0), max(0, -min(shifts))
            text.fields["frame_keys"] = "uint64_t *"
            text.layout.append(f"c->frame_keys = (uint64_t *)rn_give(&at, (size_t)((T + {before + after}) * B) * "
                               f"sizeof(uint64_t)) + {before} * B;")
            text.prepare.append(f"rn_frame_keys(c->frame_keys - {before} * c->B, in->seed, in->draw, "
                                f"rn_state_age(state, c->B), {before}, c->T, {after}, c->B);")
        if any(node.attr("per") == "sequence" for node in leaves):
            text.fields["sequence_keys"] = "uint64_t *"
            text.layout.append("c->sequence_keys = rn_give(&at, (size_t)R * sizeof(uint64_t));")
            text.prepare.append("rn_sequence_keys(c->sequence_keys, in->seed, in->draw, rn_state_age(state, c->B), "
                                "c->since, c->T, c->B);")

    def leaves(self) -> None:
        """Where inputs are found; those that must be padded, or are absent, are copied first."""
        text, graph = self.text, self.graph
        for n, node in enumerate(graph.nodes):
            if self.role[n] != "leaf":
                continue
            to, buffer = f"c->{self.names[n]}", self.made.buffers[n]
            step, rows = stride(graph, n), self.rows(n)
            if node.op == "input":
                source = f"in->{member(str(node.attr('name')))}"
                info = next(i for i in graph.inputs if i.name == node.attr("name"))
                if info.kind == "flag":
                    text.prepare.append(f"for (long r = 0; r < {rows}; r++) {to}[r] = {source}[r] != 0;")
                elif buffer.place == "import":
                    text.prepare.append(f"rn_copy_rows({to}, {step}, {source}, {node.size}, {rows}, {node.size});")
                else:
                    text.prepare.append(f"{to} = RN_BORROW({source});")
                if info.kind == "labels":
                    text.fields[f"{self.names[n]}_from"] = "int64_t *"
                    text.layout.append(f"{to}_from = rn_give(&at, (size_t)(R + 1) * sizeof(int64_t));")
                    text.prepare.append(f"rn_fill_lists({to}_from, {source}_lengths, c->S);")
            elif node.op == "weight":
                text.layout.append("c->ones = rn_give(&at, (size_t)R * sizeof(real));")
                text.fields["ones"] = "real *"
                text.prepare += ["for (long r = 0; !in->weight && r < c->R; r++) c->ones[r] = 1;",
                                 f"{to} = in->weight ? RN_BORROW(in->weight) : c->ones;"]
            elif node.op == "carried":
                entry = self.entries.index(str(node.attr("signal")))
                text.prepare.append(f"{to} = RN_BORROW(rn_state_entry(state, {entry}, c->B));")
            elif node.op == "cotangent":
                name = member(str(node.attr("name")))
                text.prepare += [f"if (cotangent && cotangent->{name})",
                                 f"    rn_copy_rows({to}, {step}, cotangent->{name}, {node.size}, {rows}, "
                                 f"{node.size});",
                                 f"else rn_zero({to}, {rows} * {step});"]
            else:
                entry = self.entries.index(str(node.attr("signal")))
                text.prepare.append(f"rn_seed({to}, state_cotangent, {entry}, c->T, c->B, {step});")

    def rows(self, n: int) -> str:
        """How many rows a value has."""
        if self.graph[n].domain != SEQUENCE:
            return "c->R"
        self.access.needs.spans = True
        return "c->S"

    def states(self) -> None:
        """The state before the call, and the state after it."""
        text, graph = self.text, self.graph
        for n in graph.state:
            kind = "int32_t" if graph[n].kind == INT else "real"
            entry = f"rn_state_entry(state, {self.entry(n)}, c->B)"
            text.prepare.append(f"c->old_{self.names[n]} = (const {kind} *){entry};")
            depth, step = graph.state[n], stride(graph, n)
            take = graph[n].size if graph[n].kind != INT else 1
            text.leave += [
                f"for (long j = 0; j < {depth}; j++) {{        /* {graph[n].name}: the last {depth} frames */",
                f"    {kind} *const to = ({kind} *)rn_state_entry(state, {self.entry(n)}, c->B) + j * c->B * {step};",
                f"    const long t = c->T - {depth} + j;",
                f"    if (t < 0) memmove(to, to + c->T * c->B * {step}, (size_t)(c->B * {step}) * sizeof({kind}));",
                "    else for (long b = 0; b < c->B; b++)",
                f"        memcpy(to + b * {step}, {self.access.at(n, '(t * c->B + b)')}, sizeof({kind}) * {take});",
                "}"]
        if text.name == "vjp":                                  # which leaves the state where it is
            text.leave.clear()
        kept = {graph[n].name for n in graph.state}
        for number, name in enumerate(self.entries):
            if name not in kept and text.name != "vjp":
                text.leave.append(f"rn_state_clear(state, {number}, c->B);        /* {name}: not known here */")

    def exports(self) -> None:
        """Outputs go straight to the caller's arrays where these have whole vectors; else they are copied."""
        text, graph, made = self.text, self.graph, self.made
        direct: set[str] = set()
        for name, n in graph.outputs.items():
            node, field_ = graph[n], member(name)
            buffer = made.buffers.get(n)
            if buffer is not None and buffer.place == "output" and not any(graph.outputs[o] == n for o in direct):
                direct.add(name)
                fits = f"{node.size} == {stride(graph, n)}" if stride(graph, n) != "1" else "1"
                fits += "".join(f" && {start} + RN_PAD({size}) <= {node.size}"        # or reads would end behind it
                                for start, size in parts_in_vectors(graph, self.role, made.views, n))
                to = f"c->{self.names[n]}"
                text.prepare.append(f"if (out && out->{field_} && {fits}) {to} = out->{field_};")
                size = node.size if node.kind != INT else 1
                text.finish += [f"if (out && out->{field_} && out->{field_} != {to})"]
                text.finish += self.export(f"out->{field_}", n, size)
            else:
                text.finish += [f"if (out && out->{field_})"]
                text.finish += self.export(f"out->{field_}", n, node.size if node.kind != INT else 1)

    def export(self, to: str, n: int, size: int) -> list[str]:
        """A loop over the rows of a value; a constant goes to every frame."""
        access = self.access.of_sequences() if self.graph[n].domain == SEQUENCE else self.access
        loop = f"    for (long r = 0; r < {self.rows(n)}; r++)"
        if self.graph[n].kind == INT:
            return [f"{loop} {to}[r] = (int32_t)({access.integer(Read(n))});"]
        return [f"{loop} rn_copy({to} + r * {size}, {access.row(Read(n))}, {size});"]
