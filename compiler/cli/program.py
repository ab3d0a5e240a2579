"""Commands on a program's text: check, show, graph, new. Nothing is compiled to machine code here."""

import json
import sys
from pathlib import Path

from rnnc.cli.console import Refusal, Usage, complain, note, patience, writable, write
from rnnc.cli.numbers import add_numbers, numbers
from rnnc.cli.sources import STDIN, add_program, find, processor
from rnnc.errors import CompileError, Diagnostic, Source

STAGES = ("tree", "graph", "gradient", "loops", "schedule", "memory", "c")
PICTURES = ("svg", "dot", "html")


def add(commands) -> None:
    command = commands.add_parser("check", help="every fault of a program, several at once")
    add_program(command)
    command.add_argument("--format", choices=("text", "json"), default="text")
    command.set_defaults(run=check)

    command = commands.add_parser("show", help="the program's text form after a stage of the compiler")
    add_program(command)
    command.add_argument("--after", metavar="STAGE", choices=STAGES, default="graph", help=", ".join(STAGES))
    add_numbers(command)
    command.add_argument("--target", type=processor, default="native")
    command.add_argument("--inference", action="store_true", help="without gradients")
    command.set_defaults(run=show)

    command = commands.add_parser("graph", help="a picture of the network: loops boxed, delays on the edges")
    add_program(command)
    command.add_argument("-o", "--output", metavar="net.svg|dot|html", help="default: svg to stdout")
    command.add_argument("--format", choices=PICTURES, help="if the output's name does not tell")
    command.set_defaults(run=graph)

    command = commands.add_parser("new", help="a commented starting file")
    command.add_argument("name", metavar="NAME")
    command.set_defaults(run=new)


def check(options) -> int:
    """The report is the result, so it goes to stdout; exit code 1 if there is anything in it."""
    name = STDIN if options.file == "-" else options.file          # as the diagnostics call it
    with patience(f"checking {name}", options.progress):
        found = faults(options)
    if options.format == "json":
        print(json.dumps([as_data(d) for d in found], indent=2, ensure_ascii=False))
    else:
        complain(found, sys.stdout)
    if found:
        note(f"{len(found)} fault{'s' if len(found) > 1 else ''} in {name}")
        return 1
    note(f"{name}: no faults")
    return 0


def faults(options) -> list[Diagnostic]:
    """What is wrong with any model of the file."""
    from rnnc import pipeline
    try:
        source = find(options.file).source
    except CompileError as fault:                # it is no text
        return fault.diagnostics
    found: dict[Diagnostic, None] = {}
    for model in [options.model] if options.model else models(source):
        try:
            pipeline.check(source, model, dict(options.sizes))
        except CompileError as fault:
            found |= dict.fromkeys(fault.diagnostics)
    return sorted(found, key=lambda d: (d.span.source.name, d.span.line, d.span.column, d.code))


def models(source: Source) -> list[str | None]:
    """The models of a file, each of which is checked; [None] where there is none, or no tree at all."""
    from rnnc.front.parse import parse
    from rnnc.front.tree import Model
    try:
        return [item.name.id for item in parse(source).items if isinstance(item, Model)] or [None]
    except CompileError:
        return [None]


def as_data(diagnostic: Diagnostic) -> dict:
    """A diagnostic for machines."""
    place = lambda span: {"path": span.source.name, "line": span.line, "column": span.column,
                          "end_line": span.end_line, "end_column": span.end_column}
    return {"code": diagnostic.code, "message": diagnostic.message, **place(diagnostic.span),
            "excerpt": diagnostic.excerpt, "hint": diagnostic.hint,
            "notes": [{"message": n.message, **place(n.span)} for n in diagnostic.notes]}


def show(options) -> int:
    from rnnc import pipeline
    program = find(options.file)
    chosen = pipeline.Options(**numbers(options), target=options.target,
                              gradient=None if options.inference else "parameters")
    with patience(f"compiling {program.stem}", options.progress):
        text = pipeline.text_after(program.source, options.after, chosen, dict(options.sizes), options.model)
    print(text.rstrip("\n"))
    return 0


def graph(options) -> int:
    from rnnc import pipeline
    from rnnc.draw import draw
    named = Path(options.output).suffix[1:].lower() if options.output else None
    kind = options.format or named or "svg"
    if kind not in PICTURES:
        raise Usage(f"cannot draw {options.output}", hint="name it .svg, .dot or .html, or give --format")
    if options.output and options.output != "-":
        writable(Path(options.output))
    program = find(options.file)
    with patience(f"drawing {program.stem}", options.progress):
        picture = draw(pipeline.elaborated(program.source, options.model, dict(options.sizes)), kind)
    if options.output and options.output != "-":
        write(Path(options.output), picture)
        print(options.output)
    else:
        print(picture.rstrip("\n"))
    return 0


def new(options) -> int:
    from rnnc import pipeline
    from rnnc.target.render import render
    path = Path(options.name)
    if not path.stem.isidentifier() or not path.stem.isascii():
        raise Usage(f"{path.stem!r} cannot name a model", hint="letters, digits and _, not starting with a digit")
    if path.suffix not in ("", ".rnn"):
        raise Usage(f"a program is a .rnn, not a {path.suffix}", hint=f"rnnc new {path.with_suffix('')}")
    path = path.with_suffix(".rnn")
    if path.exists():
        raise Refusal(f"{path} exists already; nothing was written")
    text = render("new.rnn.j2", name=path.stem, file=str(path))
    try:
        pipeline.check(Source(str(path), text))
    except CompileError as fault:                # a word of the language, or of C
        raise Usage(fault.diagnostics[0].message, hint="nothing was written; try another name") from None
    write(path, text)
    print(path)
    note(f"next: rnnc check {path}")
    return 0
