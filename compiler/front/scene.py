"""What is known where a word does not fit, and what is made of it: what every explanation is given, and gives back."""

from dataclasses import dataclass

from rnnc.errors import Diagnostic, Span
from rnnc.front.words import Words, first_on_line


@dataclass(frozen=True)
class Refusal:
    """`begin`: where reading went wrong, if not at the start of the statement. `resume`: the first word that may belong
    to the next statement, if not the refused one. `closes`: a `}` is missing just here."""

    fault: Diagnostic
    begin: int | None = None
    resume: int | None = None
    closes: bool = False


@dataclass(frozen=True)
class Scene:
    """The word that does not fit, what could stand in its place, and the brackets open there."""

    words: Words
    at: int
    wanted: frozenset[str]
    opened: tuple[int, ...]

    def type(self, step: int = 0) -> str:
        place = self.at + step
        return self.words.list[place].type if 0 <= place < len(self.words.list) else "$END"

    def text(self, step: int = 0) -> str:
        return str(self.words.list[self.at + step])

    def span(self, step: int = 0) -> Span:
        return self.words.span(self.at + step)

    def starts_line(self, step: int = 0) -> bool:
        return first_on_line(self.words, self.at + step)

    @property
    def shown(self) -> str:
        return f"`{self.text()}`"

    @property
    def in_body(self) -> bool:
        return any(self.words.list[o].type == "LBRACE" for o in self.opened)

    @property
    def after_value(self) -> bool:
        """A whole expression has been read; an operator could follow."""
        return "POWER" in self.wanted

    @property
    def before_value(self) -> bool:
        return "NUMBER" in self.wanted

    def refuse(self, code: str, message: str, step: int = 0, hint: str | None = None, notes=(), words: int = 1,
               **more) -> Refusal:
        """`words`: of so many, from the one at `step` on, is spoken."""
        span = self.span(step) if words == 1 else self.span(step).to(self.span(step + words - 1))
        return Refusal(Diagnostic(code, message, span, tuple(notes), hint), **more)
