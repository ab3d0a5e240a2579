"""`rnnc build`: a program, or a trained checkpoint, to files that need nothing of rnnc: C, libraries, weights.

Every file is written whole beside its place and renamed. The list of files written goes to stdout.
"""

import argparse
import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import rnnc
from rnnc.cli import weights
from rnnc.cli.console import Refusal, Usage, note, patience, takes_files, write
from rnnc.cli.example import example
from rnnc.cli.numbers import add_numbers, numbers
from rnnc.cli.record import JOB, Job
from rnnc.cli.sources import Program, add_program, find, load, processor, there
from rnnc.errors import ToolchainError

TARGETS = ("native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64")
KINDS = ("c", "header", "static", "shared", "python", "example")
TAKEN = {"main": ("example", "main.c would be the example as well as the network")} | {     # name -> kind, why not
    package: ("python", f"{package}.py would be imported in place of the package {package}, which it needs")
    for package in ("rnnc", "numpy", "cffi")}


@dataclass(frozen=True)
class Order:
    """What is to be built. `weights`: a .safetensors file, or a checkpoint folder."""

    program: Program
    model: str | None
    sizes: dict
    numbers: dict                              # dtype, and how matrices in loops are stored
    weights: Path | None
    vocabulary: str | None = None


def add(commands) -> None:
    command = commands.add_parser("build", help="C, libraries and an example from a program")
    add_program(command)
    command.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="where the files go")
    command.add_argument("--emit", metavar="KINDS", type=kinds, default=("c", "header"),
                         help=f"some of {','.join(KINDS)} (c,header)")
    command.add_argument("--target", type=processor, default="native", help=f"{', '.join(TARGETS)}, ... (native)")
    add_numbers(command)
    command.add_argument("--inference", action="store_true", help="without training")
    command.add_argument("--weights", metavar="FILE", type=Path,
                         help="parameters to deliver with it: a .safetensors, or the folder of a training run")
    command.add_argument("--embed-weights", action="store_true", help="weights as C, packed, instead of a file")
    command.add_argument("--prefix", metavar="NAME", type=identifier,
                         help="of every name in the C (the model's name)")
    command.add_argument("--no-openmp", action="store_true", help="one thread, or threads of the host")
    command.set_defaults(run=build)


def identifier(text: str) -> str:
    """An argument type: what a name in C may begin with."""
    from rnnc.graph.elaborate.outside import no_prefix
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot begin a name in C: a letter, then letters, digits and _")
    if why := no_prefix(text):
        raise argparse.ArgumentTypeError(f"{why}: give another name")
    return text


def kinds(text: str) -> tuple[str, ...]:
    """An argument type: a list of kinds, separated by commas."""
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    strange = [word for word in found if word not in KINDS]
    if strange or not found:
        raise argparse.ArgumentTypeError(f"{strange[0] if strange else text!r} cannot be emitted; "
                                         f"there is {', '.join(KINDS)}")
    return found


def build(options) -> int:
    from rnnc import pipeline
    from rnnc.target import cache
    order = asked(options)
    if options.target not in TARGETS and not known(options.target):
        note(f"the C compiler here knows no processor {options.target}; another one may (--target: "
             f"{', '.join(TARGETS)}, or what follows -march=)")
    chosen = pipeline.Options(**order.numbers, target=options.target, openmp=not options.no_openmp,
                              gradient=None if options.inference else "parameters", prefix=options.prefix)
    wanted = {"build": order.program.name, "text": order.program.text, "model": order.model, "sizes": order.sizes,
              "options": chosen.module(), "emit": sorted(options.emit), "embed": options.embed_weights,
              "weights": fingerprint(order.weights), "vocabulary": order.vocabulary}
    files = cache.files(wanted)
    if files is None:
        with patience(f"compiling {order.program.stem}", options.progress):
            read = pipeline.read(order.program.source, order.model, order.sizes)
            called(read.graph.name, order.program, options.prefix)
            files = contents(pipeline.emit_graph(read.graph, chosen, order.program.name), chosen, options, order)
        cache.keep(wanted, [s.name for s in read.sources if Path(s.name).is_file()], files)
    for name in sorted(files):
        write(options.output / name, files[name])
        print(options.output / name)
    return 0


def called(model: str, program: Program, prefix: str | None) -> None:
    """Refuses a model whose name, good elsewhere, would be that of a file which C takes for one of its own."""
    from rnnc.graph.elaborate.outside import no_prefix
    why = None if prefix else no_prefix(model)
    if why:
        raise Refusal(f"{program.name}: the model is called {model}, and {why}\n"
                      f"  hint: --prefix {model}_net gives all that is built another name")


def known(target: str) -> bool:
    """Whether the C compiler, if there is one, takes this for a processor."""
    from rnnc.target import build as toolchain
    try:
        return toolchain.knows(toolchain.find_compiler(), target)
    except ToolchainError:
        return True


def asked(options) -> Order:
    """What FILE and the flags mean; a checkpoint brings its own sizes, weights and characters."""
    if options.output.exists() and not options.output.is_dir():
        raise Usage(f"{options.output} is a file, not a folder")
    takes_files(options.output)
    there(options.weights)
    if options.embed_weights:
        weights.packed_here(options.target)
    folder = Path(options.file)
    if (folder / JOB).is_file():
        if options.sizes or options.weights or options.model or options.dtype:
            raise Usage(f"{folder} is a checkpoint, with its own model, sizes, number type and weights")
        job = Job.read(folder)
        return Order(find(str(folder / job.program)), job.model, job.sizes, numbers(options, **job.numbers), folder,
                     job.vocabulary)
    if options.embed_weights and not options.weights:
        raise Usage("--embed-weights needs --weights FILE, or a checkpoint as FILE")
    return Order(find(options.file), options.model, dict(options.sizes), numbers(options), options.weights)


def fingerprint(weights: Path | None) -> str | None:
    """What the parameters are, by their file's content."""
    if weights is None:
        return None
    from rnnc.runtime.storage import of_run
    path = of_run(weights)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def contents(emitted, chosen, options, order: Order) -> dict[str, str | bytes]:
    """Name -> content of everything that was asked for."""
    from rnnc.target import build as toolchain
    name, manifest = emitted.name, emitted.manifest
    if name in TAKEN and TAKEN[name][0] in options.emit:
        raise Refusal(f"{TAKEN[name][1]}\n  hint: --prefix {name}_net gives all that is built another name")
    files: dict[str, str | bytes] = {}
    if "c" in options.emit:
        files[f"{name}.c"] = emitted.c
    if "header" in options.emit:
        files[f"{name}.h"] = emitted.header
    module = lambda target: toolchain.build(emitted.c, emitted.cdef, emitted.header, manifest,
                                            replace(chosen, target=target))
    net = None
    if order.weights:                          # only packed ones are the target's own; code for it may not run here
        net = rnnc.load(module(options.target if options.embed_weights else "native"))
        load(net, order.weights)
        files |= weights.delivered(name, net, options.embed_weights)
    if order.vocabulary:
        files |= weights.vocabulary(name, order.vocabulary)
    if "example" in options.emit:
        form = "random" if net is None else "embedded" if options.embed_weights else "file"
        files["main.c"] = example(manifest, name, build_lines(emitted, options), form)
    if {"static", "shared"} & set(options.emit):
        compiler = toolchain.find_compiler()
        openmp = not options.no_openmp and toolchain.has_openmp(compiler)
        if not openmp and not options.no_openmp:
            note("the C compiler has no OpenMP: the libraries run on one thread")
        flags = toolchain.flags(options.target, openmp, compiler)
        files |= libraries(emitted, options.emit, [*compiler.command, *flags], toolchain)
    if "python" in options.emit:
        files |= python_side(emitted, options, module(options.target), net)
    return files


def build_lines(emitted, options) -> list[str]:
    """The commands that turn the delivered files and the example into a program."""
    from rnnc.target.build import FLAGS
    machine = {"native": "-march=native", "aarch64": "-march=armv8-a"}.get(options.target, f"-march={options.target}")
    flags = " ".join([*FLAGS, machine, *([] if options.no_openmp else ["-fopenmp"])])
    extra = f" {emitted.name}_weights.c" if options.embed_weights else ""
    return [f"cc {flags} main.c {emitted.name}.c{extra} -lm -o {emitted.name}_example", f"./{emitted.name}_example"]


def libraries(emitted, wanted, command: list[str], toolchain) -> dict[str, bytes]:
    """libNAME.a and libNAME.so, compiled in a folder of their own."""
    name, made = emitted.name, {}
    with tempfile.TemporaryDirectory(prefix="rnnc-build-") as folder:
        place = Path(folder)
        (place / f"{name}.c").write_text(emitted.c, encoding="utf-8")
        (place / f"{name}.h").write_text(emitted.header, encoding="utf-8")
        toolchain.run([*command, "-fPIC", "-c", f"{name}.c", "-o", f"{name}.o"], place)
        if "shared" in wanted:
            library = f"lib{name}.so"
            toolchain.run([*command, *toolchain.SHARED, f"{name}.o", "-o", library, "-lm"], place)
            made[library] = (place / library).read_bytes()
        if "static" in wanted:
            library = f"lib{name}.a"
            archiver = shutil.which("ar") or shutil.which("gcc-ar") or shutil.which("llvm-ar")
            if not archiver:
                raise ToolchainError("no `ar` to make a static library with\n  hint: install binutils")
            toolchain.run([archiver, "rcsD", library, f"{name}.o"], place)
            made[library] = (place / library).read_bytes()
    return made


def python_side(emitted, options, module: Path, net) -> dict[str, str | bytes]:
    """NAME.py, which loads NAME_module/ beside it."""
    from rnnc.target.render import render
    name = emitted.name
    folder = f"{name}_module"
    files: dict[str, str | bytes] = {f"{folder}/{p.name}": p.read_bytes() for p in sorted(module.iterdir())}
    parameters = None
    if net is not None:
        parameters = f"{name}.safetensors"
        with tempfile.TemporaryDirectory(prefix="rnnc-build-") as place:
            net.save(Path(place) / parameters)
            files[parameters] = (Path(place) / parameters).read_bytes()
    files[f"{name}.py"] = render("loader.py.j2", name=name, version=rnnc.__version__, folder=folder, weights=parameters,
                                 training=not options.inference)
    return files
