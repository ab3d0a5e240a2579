"""`rnnc build`: a program to files that need nothing of rnnc: C, header, libraries, an example, weights.

Every file is written whole beside its place and renamed. The list of files written goes to stdout.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import rnnc
from rnnc.cli.console import Usage, note, patience, write
from rnnc.cli.sources import add_program, find
from rnnc.errors import ToolchainError

KINDS = ("c", "header", "static", "shared", "python", "example")


def add(commands) -> None:
    command = commands.add_parser("build", help="C, libraries and an example from a program")
    add_program(command)
    command.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="where the files go")
    command.add_argument("--emit", metavar="KINDS", type=kinds, default=("c", "header"),
                         help=f"some of {','.join(KINDS)} (c,header)")
    command.add_argument("--target", default="native", help="native, x86-64-v2, x86-64-v3, x86-64-v4, aarch64, ...")
    command.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    command.add_argument("--inference", action="store_true", help="without training")
    command.add_argument("--weights", metavar="FILE", type=Path, help="parameters (.safetensors) to deliver with it")
    command.add_argument("--embed-weights", action="store_true", help="weights as C, packed, instead of a file")
    command.add_argument("--prefix", metavar="NAME", help="of every name in the C (the model's name)")
    command.add_argument("--no-openmp", action="store_true", help="one thread, or threads of the host")
    command.set_defaults(run=build)


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
    if options.embed_weights and not options.weights:
        raise Usage("--embed-weights needs --weights FILE")
    if options.weights and not options.weights.is_file():
        raise Usage(f"no such weights: {options.weights}")
    if options.output.exists() and not options.output.is_dir():
        raise Usage(f"{options.output} is a file, not a folder")
    program = find(options.file)
    chosen = pipeline.Options(dtype=options.dtype, target=options.target, openmp=not options.no_openmp,
                              gradient=None if options.inference else "parameters", prefix=options.prefix)
    with patience(f"compiling {program.stem}", options.progress):
        emitted = pipeline.emit(program.source, chosen, dict(options.sizes), model=options.model)
        files = contents(emitted, chosen, options)
    for name in sorted(files):
        write(options.output / name, files[name])
        print(options.output / name)
    return 0


def contents(emitted, chosen, options) -> dict[str, str | bytes]:
    """Name -> content of everything that was asked for."""
    from rnnc.cli.example import example
    from rnnc.target import build as toolchain
    name, manifest = emitted.name, emitted.manifest
    files: dict[str, str | bytes] = {}
    if "c" in options.emit:
        files[f"{name}.c"] = emitted.c
    if "header" in options.emit:
        files[f"{name}.h"] = emitted.header
    module = built(emitted, chosen, toolchain) if options.weights or "python" in options.emit else None
    if options.weights:
        from rnnc.cli.weights import delivered
        files |= delivered(name, rnnc.load(module), options.weights, options.target, options.embed_weights)
    if "example" in options.emit:
        files["main.c"] = example(manifest, name, build_lines(emitted, options), weights_form(options))
    if {"static", "shared"} & set(options.emit):
        compiler = toolchain.find_compiler()
        openmp = not options.no_openmp and toolchain.has_openmp(compiler)
        if not openmp and not options.no_openmp:
            note("the C compiler has no OpenMP: the libraries run on one thread")
        flags = toolchain.flags(options.target, openmp, compiler)
        files |= libraries(emitted, options.emit, [*compiler.command, *flags], toolchain)
    if "python" in options.emit:
        files |= python_side(emitted, options, module)
    return files


def weights_form(options) -> str:
    """How the example gets its weights: "random", "file" or "embedded"."""
    return "embedded" if options.embed_weights else "file" if options.weights else "random"


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
        if "shared" in wanted:
            library = f"lib{name}.so"
            toolchain.run([*command, *toolchain.SHARED, f"{name}.c", "-o", library, "-lm"], place)
            made[library] = (place / library).read_bytes()
        if "static" in wanted:
            library = f"lib{name}.a"
            archiver = shutil.which("ar") or shutil.which("gcc-ar") or shutil.which("llvm-ar")
            if not archiver:
                raise ToolchainError("no `ar` to make a static library with\n  hint: install binutils")
            toolchain.run([*command, "-fPIC", "-c", f"{name}.c", "-o", f"{name}.o"], place)
            toolchain.run([archiver, "rcsD", library, f"{name}.o"], place)
            made[library] = (place / library).read_bytes()
    return made


def built(emitted, chosen, toolchain) -> Path:
    """The folder of the module that Python loads."""
    return toolchain.build(emitted.c, emitted.cdef, emitted.header, emitted.manifest, chosen)


def python_side(emitted, options, module: Path) -> dict[str, str | bytes]:
    """NAME.py, which loads NAME_module/ beside it."""
    from rnnc.target.render import render
    name = emitted.name
    folder = f"{name}_module"
    files: dict[str, str | bytes] = {f"{folder}/{p.name}": p.read_bytes() for p in sorted(module.iterdir())}
    weights = f"{name}.safetensors" if options.weights else None
    if weights:
        files[weights] = options.weights.read_bytes()
    files[f"{name}.py"] = render("loader.py.j2", name=name, version=rnnc.__version__, folder=folder, weights=weights,
                                 training=not options.inference)
    return files
