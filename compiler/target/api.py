"""The outer face of a model's C: what a call brings and leaves, the views of the header, the manifest.

In: the programs' texts. Out: their last statements (gradients, scores, gradients of the state), the record that the
header and the file are rendered from, and the manifest that the Python side reads.
"""

import re
from importlib.resources import files

from rnnc.graph.nodes import FRAME, INT, SEQUENCE, Graph, Read
from rnnc.target.access import stride
from rnnc.target.alike import Shared
from rnnc.target.build import FLAGS
from rnnc.target.names import member
from rnnc.target.pool import Pool

PROGRAMS = ("run", "evaluate", "backprop", "vjp", "segment")      # by number


def finish(program, model, places: dict[str, int]) -> None:
    """What happens after the threads are done, beyond outputs and state."""
    text, graph, access = program.text, program.graph, program.access
    name = text.name
    if name == "evaluate":
        for i, n in enumerate(graph.scores.values()):
            text.finish.append(f"scores[{i}] = *{access.constant(n)};")
    if name in ("backprop", "segment"):
        loss = next((n for key, n in graph.scores.items() if key == "loss"), None)
        if loss is not None:
            text.finish.append(f"if (loss) *loss = *{access.constant(loss)};")
    if name in ("backprop", "segment", "vjp"):
        gradients(program, places)
    if name == "vjp":
        for key, n in graph.input_gradients.items():
            to = f"inputs->{member(key)}"
            text.finish.append(f"if (inputs && {to})")
            text.finish += program.export(to, n, graph[n].size)
    if name == "vjp":
        state_gradients(program)


def gradients(program, places: dict[str, int]) -> None:
    """Each parameter's gradient into its place. A sum that is a gradient by itself is formed there at once."""
    text, graph, access, role = program.text, program.graph, program.access, program.role
    for key, n in graph.gradients.items():
        to, size = f"gradient->values + {places[key]}", graph[n].size
        alone = role[n] == "fold" and not graph.uses[n] and sum(m == n for m in graph.gradients.values()) == 1
        if alone:
            text.prepare += [f"if (!in->accumulate) c->{program.names[n]} = {to};"]
            text.finish += [f"if (in->accumulate) rn_add({to}, c->{program.names[n]}, {size});"]
        else:
            text.finish.append(f"rn_put({to}, {access.constant(n)}, {size}, in->accumulate);")


def state_gradients(program) -> None:
    """The gradient of the incoming state: what was read from it, at the frames that read it, unless a start lay
    between; and what the call only handed on."""
    text, graph, access = program.text, program.graph, program.access
    for n, reads in graph.state_gradients.items():
        if graph[n].kind == INT:
            continue
        entry, depth, size = program.entry(n), graph.state[n], graph[n].size
        step = stride(graph, n)
        lines = [f"if (state_gradient)        /* {graph[n].name} */",
                 f"    for (long j = 0; j < {depth}; j++)",
                 "        for (long b = 0; b < c->B; b++) {",
                 f"            real *const to = (real *)rn_state_entry(state_gradient, {entry}, c->B)",
                 f"                             + (j * c->B + b) * {step};",
                 f"            rn_zero(to, {size});"]
        for read in reads:
            k = -read.delay
            if not k:                                           # the seed itself, handed through below
                continue
            lines += [f"            if (j - {depth} + {k} >= 0 && j - {depth} + {k} < c->T) {{",
                      f"                const long r = (j - {depth} + {k}) * c->B + b;",
                      f"                if (c->since[r] >= {k}) rn_add(to, {access.row(Read(read.node))}, {size});",
                      "            }"]
        lines += ["            if (state_cotangent && j >= c->T)",
                  f"                rn_add(to, (const real *)rn_state_entry(state_cotangent, {entry}, c->B) + "
                  f"((j - c->T) * c->B + b) * {step}, {size});",
                  "        }"]
        text.finish += lines


def view(model, texts, shared: Shared, pool: Pool, pack: dict, places: dict[str, int]) -> dict:
    """The record of the header and the file."""
    graph, name = model.forward, model.name
    real = {"float32": "float", "float64": "double"}[model.dtype]
    made = {t.name for t in texts}
    total = sum(size(p.shape) for p in graph.params)
    trainable = sum(size(p.shape) for p in graph.params if p.trainable)
    start, entries = "0", []
    for e in pool.entries:
        entries.append({"name": e.name, "size": e.size, "start": start, "why": comment(e.why)})
        start = f"END_{e.name}"
    fields = {}
    for t in texts:
        for key, kind in t.fields.items():
            fields[key] = kind
    programs = []
    for t, fill in zip(texts, shared.fill):
        programs.append({"name": t.name, "number": PROGRAMS.index(t.name),
                         "functions": t.functions, "fill": fill, "layout": t.layout, "steps": t.steps, "needs": t.needs,
                         "prepare": t.prepare, "leave": t.leave, "finish": t.finish, "handed": t.handed,
                         "work": float(t.work), "unused": unused(t),
                         "needed": needed(t, graph), "tables": t.crews.tables(t.name),
                         "efforts": t.crews.efforts(t.name),
                         "planned": t.crews.planned(t.name), "stages": len(t.crews.works)})
    widest = max(t.needs.widest for t in texts)
    asks = any("rn_next(" in function for t in texts for function in t.functions)    # for panels that are far away
    return {
        "name": name, "file": name, "upper": name.upper(), "guard": f"RNNC_{name.upper()}_H", "version": model.version,
        "source": model.source, "real": real, "double": int(model.dtype == "float64"), "flags": flag_line(model),
        "asks": int(asks), "total": total, "trainable": trainable, "weights_length": max(1, total),
        "params": [{"name": member(p.name), "path": p.name, "shape": list(p.shape), "trainable": p.trainable,
                    "whole": p.pattern and list(p.pattern.whole),
                    "offset": places[p.name]} for p in sorted(graph.params, key=lambda p: places[p.name])],
        "inputs": [{"declaration": text, "remark": remark(text, about)} for i in graph.inputs
                   for text, about in declarations(i, real)],
        "outputs": [{"declaration": out, "remark": remark(out, brackets(graph[n].shape, graph[n].domain))}
                    for key, n in graph.outputs.items()
                    for out in [f"{'int32_t' if graph[n].kind == INT else real} *{member(key)}"]],
        "capitals": sorted(name for name in {member(key) for key in (*(i.name for i in graph.inputs), *graph.outputs)}
                           if name == "I" or name.isupper() and len(name) > 1),
        "scores": ["loss", *graph.metrics],
        "input_gradients": [{"declaration": f"{real} *{member(i.name)}"} for i in graph.inputs
                            if i.kind == "real" and not i.target],
        "whole": whole(graph),
        "has_evaluate": "evaluate" in made, "has_backprop": "backprop" in made, "has_vjp": "vjp" in made,
        "has_segments": model.cut is not None,
        "cut": next((p for p in programs if model.cut and p["name"] == model.cut.program), None),
        "ahead": model.cut.ahead if model.cut else 0,
        "frames": [{"name": member(i.name), "size": size(i.shape)} for i in graph.inputs if i.per == FRAME],
        "stages": max(p["stages"] for p in programs),
        "reads_ahead": model.lookahead["signal"] if model.lookahead else "",       # why step refuses
        "programs": programs, "step": straight(next(t for t in texts if t.name == "run")),
        "entries": entries, "last_entry": start, "tables": pack["tables"], "pack": pack["text"],
        "integers": ", ".join(map(str, pool.integers)),
        "indices": [{"name": key, "length": len(numbers), "lines": lines_of(numbers)}
                    for key, numbers in pool.indices.items()], "widest": widest,
        "fields": [f"{kind}{key}" for key, kind in fields.items()],
        "layers": shared.most, "layer_fields": shared.fields,
        "states": [{"name": graph[n].name, "depth": k,
                    "real": graph[n].kind != INT,
                    "row": "sizeof(int32_t)" if graph[n].kind == INT else f"{stride(graph, n)} * sizeof(real)"}
                   for n, k in graph.state.items()],
        "hash": "0x" + model.hash, "abi": 1, "counting": model.counting,
        "random": model.random, "stored": "".join(STORED[kind] for kind in pool.stored),
        "summary": summary(model, pool.stored),
        "rules": rules(real) if "backprop" in made or "vjp" in made else [],
    }


def lines_of(numbers, most: int = 20) -> list[str]:
    """Many integers as lines of C."""
    return [", ".join(map(str, numbers[i:i + most])) + "," for i in range(0, len(numbers), most)]


def straight(run) -> dict:
    """Whether a step of one stream gets code of its own: where calls and loops over one row are felt, and the code
    stays small, for it is compiled once more. Of an LSTM of 32 units the step takes a third less, of 64 a tenth, of 128
    a twentieth; what does not train of four layers of 128 compiles in 3.9 s without it, in 7.4 with."""
    return {"work": float(run.work), "straight": run.work * len(run.stages) < 2e6 and len(run.stages) <= 20}


def flag_line(model) -> str:
    """What the header tells to compile with. `native` is what every compiler for x86 understands."""
    machine = {"native": "native", "aarch64": "armv8-a"}.get(model.target, model.target)
    return " ".join([*FLAGS, f"-march={machine}", *["-fopenmp"] * model.openmp])


def size(shape) -> int:
    total = 1
    for dim in shape:
        total *= dim
    return total


def comment(text: str) -> str:
    return text.replace("*/", "* /")[:90]


def declarations(info, real: str) -> list[tuple[str, str]]:
    """An input's fields in the header, and what stands in each."""
    kind, name = {"class": "int32_t", "labels": "int32_t", "flag": "uint8_t"}.get(info.kind, real), member(info.name)
    when = "; not for run" if info.target else ""
    labels = f"labels 0..{(info.classes or 1) - 1}"
    if info.kind == "labels":
        return [(f"const {kind} *{name}", f"{labels}, one list after another{when}"),
                (f"const int32_t *{name}_lengths", f"[sequences]{when}")]
    values = {"class": f", {labels}", "flag": ", 0 or 1"}.get(info.kind, "")
    return [(f"const {kind} *{name}", brackets(info.shape, info.per) + values + when)]


def averaged_over_sequences(graph: Graph) -> list[str]:
    """The scores that are means over sequences and not over frames; the loss, if all of its statements are."""
    groups = {"loss": list(graph.losses.values()), **{name: [n] for name, n in graph.metrics.items()}}
    return [name for name, nodes in groups.items() if nodes and all(graph[n].domain == SEQUENCE for n in nodes)]


def whole(graph: Graph) -> list[str]:
    """Inputs and outputs with one value per sequence."""
    return [i.name for i in graph.inputs if i.per == SEQUENCE] + [
        name for name, n in graph.outputs.items() if graph[n].domain == SEQUENCE]


def remark(line: str, text: str) -> str:
    """A comment after a field of the header, in the column where all of them stand."""
    return f"{' ' * max(1, 41 - len(line))}/* {text} */"


def brackets(shape, domain: str) -> str:
    return ("[sequences]" if domain == SEQUENCE else "[frames][streams]") + "".join(f"[{n}]" for n in shape)


def needed(text, graph: Graph) -> list[str]:
    """The inputs that a program reads: their pointers have to be there."""
    return [f"in->{member(i.name)}" for i in graph.inputs
            if re.search(rf"\bin->{re.escape(member(i.name))}\b", "\n".join(text.prepare))]


def unused(text) -> list[str]:
    """Arguments that this program happens not to need are named, so that no compiler complains."""
    body = "\n".join([*text.prepare, *text.leave, *text.finish])
    wanted = {"run": ("out",), "evaluate": ("scores",), "backprop": ("out", "loss", "gradient"),
              "segment": (),
              "vjp": ("cotangent", "state_cotangent", "inputs", "state_gradient", "gradient")}[text.name]
    missing = [w for w in wanted if not re.search(rf"(?<!->)\b{w}\b", body)]
    return [f"(void){', (void)'.join(missing)};"] if missing else []


STORED = {"bfloat16": "products in loops read matrices packed as bfloat16; everything else, their sums too, is float",
          "int8": "products read quantised matrices packed as signed bytes; everything else, their sums too, is float"}


def summary(model, stored: set[str]) -> list[str]:
    graph = model.forward
    inputs = ", ".join(f"{i.name} {shape_text(i)}" for i in graph.inputs)
    outputs = ", ".join(f"{key} {list(graph[n].shape)}" for key, n in graph.outputs.items())
    state = ", ".join(f"{graph[n].name} x {k}" for n, k in graph.state.items())
    return [f"{inputs or 'nothing'}  ->  {outputs or 'a loss'}", f"state: {state or 'none'}", *map(STORED.get, stored)]


def shape_text(info) -> str:
    text = {"class": f"class({info.classes})", "labels": f"labels({info.classes})", "flag": "flag"}.get(
        info.kind, str(list(info.shape)))
    return text + " per sequence" * (info.per == SEQUENCE and info.kind != "labels")


def rules(real: str) -> list[dict]:
    """Every `rn_` optimiser of the fixed C, with its arguments as they are declared. `parts`: the same arguments of one
    thread, whose vectors begin elsewhere; none if it is no rule from number to number."""
    text = (files("rnnc.runtime") / "optimisers.h").read_text()
    found = re.findall(r"^RN_FUNCTION (void|double) (rn_(\w+))\(([^)]*)\)", text, re.M | re.S)
    made = []
    for kind, function, short, arguments in found:
        plain = " ".join(arguments.replace("restrict ", "").split()).split(", ")
        names = [field.split()[-1].lstrip("*") for field in plain]
        parts = [f"RN_FROM(p->{name})" if "*" in field else f"p->{name}" for name, field in zip(names, plain)]
        made.append({"short": short, "function": function, "plain": plain, "names": names,
                     "outer": [re.sub(r"\breal\b", real, field) for field in plain],
                     "kind": "int" if kind == "void" else kind,        # nothing can go wrong, yet all return int
                     "parts": parts[1:] if names[:2] == ["n", "theta"] else []})
    return made


def sparsity(param) -> dict:
    """Where a sparse parameter's numbers stand, for the Python side."""
    pattern = param.pattern
    return {} if pattern is None else {"whole": list(pattern.whole), "pattern": pattern.table.tolist()}


def manifest(model, texts, places: dict[str, int]) -> dict:
    graph: Graph = model.forward
    return {
        "format": 1, "version": model.version, "name": model.name, "dtype": model.dtype, "weights": model.weights,
        "program_hash": model.hash,
        "inputs": [{"name": i.name, "field": member(i.name), "shape": list(i.shape), "kind": i.kind,
                    "classes": i.classes, "target": i.target, "per": i.per} for i in graph.inputs],
        "outputs": [{"name": key, "field": member(key), "shape": list(graph[n].shape), "kind": graph[n].kind,
                     "per": SEQUENCE if graph[n].domain == SEQUENCE else FRAME} for key, n in graph.outputs.items()],
        "params": [{"name": p.name, "shape": list(p.shape), "trainable": p.trainable, "offset": places[p.name],
                    "init": list(p.init), **sparsity(p)} for p in sorted(graph.params, key=lambda p: places[p.name])],
        "trainable": sum(size(p.shape) for p in graph.params if p.trainable),
        "total": sum(size(p.shape) for p in graph.params),
        "scores": ["loss", *graph.metrics] if graph.losses or graph.metrics else [], "loss": bool(graph.losses),
        "per_sequence": averaged_over_sequences(graph),
        "state": [{"name": graph[n].name, "shape": list(graph[n].shape), "depth": k, "kind": graph[n].kind}
                  for n, k in graph.state.items()],
        "functions": [t.name for t in texts if t.name != "segment"],
        "segments": model.cut is not None, "lookahead": model.lookahead,
        "probes": list(model.probes), "random": model.random,
    }
