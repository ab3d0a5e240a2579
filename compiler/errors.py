"""Faults: the user's (diagnostics with a place and a hint) and ours (`Broken`).

A `Span` rides on every token, tree node and graph node. A `Diagnostic` says what is wrong in the user's words; one
place, `render`, draws the excerpt. This file imports nothing of the project.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A program text and the name it is called by in messages."""

    name: str
    text: str

    def line(self, number: int) -> str:
        lines = self.text.split("\n")          # as the parser counts: no other character ends a line
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True)
class Span:
    """A stretch of a source: lines and columns count from 1, `end_column` is one past the last character."""

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def to(self, other: "Span") -> "Span":
        """From the start of this span to the end of the other."""
        return Span(self.source, self.line, self.column, other.end_line, other.end_column)


@dataclass(frozen=True)
class Note:
    """A second place that belongs to a message: the other side of a size conflict, one step of a cycle."""

    span: Span
    message: str


@dataclass(frozen=True)
class Diagnostic:
    """One fault of a program. `message`: lower case, no full stop, the user's words, never a name of ours."""

    code: str                                  # "E0301": stable, listed in tests and in grammar/LANGUAGE.md
    message: str
    span: Span
    notes: tuple[Note, ...] = ()
    hint: str | None = None

    @property
    def excerpt(self) -> str:
        return excerpt(self.span)

    def render(self) -> str:
        """`path:line:column: error CODE: message`, the excerpt with a caret, the notes with theirs, the hint."""
        parts = [f"{self.span}: error {self.code}: {self.message}", excerpt(self.span)]
        for note in self.notes:
            parts += [f"{note.span}: note: {note.message}", excerpt(note.span)]
        if self.hint:
            parts.append(f"  hint: {self.hint}")
        return "\n".join(part for part in parts if part)


def excerpt(span: Span) -> str:
    """The source line with a caret below the span; a span over several lines is underlined to the end of its first."""
    line = span.source.line(span.line)
    if not line:
        return ""
    end = span.end_column if span.end_line == span.line else len(line) + 1
    width = max(1, min(end, len(line) + 1) - span.column)
    indent = "".join("\t" if c == "\t" else " " for c in line[: span.column - 1])
    margin = f"{span.line:>5} | "
    return f"{margin}{line}\n{' ' * (len(margin) - 2)}| {indent}{'^' * width}"


class RnncError(Exception):
    """Base of everything a user may catch. What to do about it is said in the words of who reads it: `advice` ends the
    message in Python, `typed` (flags, not arguments) ends it on the command line, which prints `message + typed`."""

    def __init__(self, message: str = "", advice: str = "", typed: str = ""):
        super().__init__(message + advice)
        self.message, self.typed = message, typed


class CompileError(RnncError):
    """A program is at fault. `diagnostics`: every fault that was found, in order of their place."""

    def __init__(self, diagnostics: list[Diagnostic]):
        self.diagnostics = list(diagnostics)
        super().__init__("\n".join(d.render() for d in self.diagnostics))

    def __reduce__(self):
        """Made again from the diagnostics, not from their text: a pool of processes sends its faults pickled."""
        return type(self), (self.diagnostics,)


class InputError(RnncError, ValueError):
    """An argument is at fault: a name, a shape, a type, a value. Raised before anything is computed or changed."""


class NumberError(RnncError, ArithmeticError):
    """With check_numbers: a value that is not finite. Names the equation, frame, stream and unit."""


class ToolchainError(RnncError):
    """The C compiler is missing or failed. Carries its `command` and its `output`."""

    def __init__(self, message: str, command: list[str] | None = None, output: str = ""):
        self.command, self.output = command, output
        text = message
        if command:
            text += "\ncommand: " + " ".join(command)
        if output:
            text += "\n" + output
        super().__init__(text)


class Broken(AssertionError):
    """A promise inside the compiler does not hold: a bug of ours, never the user's fault."""


@dataclass
class Faults:
    """Collects diagnostics so that one run reports several; `stop` raises them together, sorted by place."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(self, code: str, message: str, span: Span, notes=(), hint: str | None = None) -> None:
        fault = Diagnostic(code, message, span, tuple(notes), hint)
        if fault not in self.found:
            self.found.append(fault)

    def stop(self) -> None:
        if self.found:
            key = lambda d: (d.span.source.name, d.span.line, d.span.column, d.code)
            raise CompileError(sorted(self.found, key=key))
