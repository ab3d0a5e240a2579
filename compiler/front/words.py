"""Text -> words, for a text that does not parse. What is no word becomes a FAULT that knows its diagnostic.

Only the faulty pay for this: `parse.py` comes here after lark's own reading has failed.
"""

import re
from dataclasses import dataclass

import lark

from rnnc.errors import Diagnostic, Source, Span
from rnnc.front.reader import reader

DEFINITIONS = {"MODEL", "CELL", "FN", "USE"}
STATEMENTS = {"INPUT", "TARGET", "PARAM", "FROZEN", "CONST", "LAYER", "INIT", "OUTPUT", "LOSS", "METRIC", "RETURN"}
RESERVED = DEFINITIONS | STATEMENTS | {"SPARSE", "PER", "IN", "AND", "OR", "NOT"}
CLOSES = {"RPAR": "LPAR", "RSQB": "LSQB", "RBRACE": "LBRACE"}
ENDS_A_VALUE = {"NAME", "NUMBER", "TEXT", "PART", "RPAR", "RSQB", "FAULT"}

MOST_FAULTS = 25                               # of one kind in one text: beyond, it is no program at all

HABITS = {                                     # characters of other languages, and what to write here
    ";": "statements need no separator",
    "!": "write `not a`, or `a != b`",
    "&": "write `a and b`",
    "|": "write `a or b`; the absolute value is `abs(x)`",
    "%": "write `mod(a, b)`",
    "'": "strings stand in double quotes; the frame before is `h[t-1]`, a transposed matrix `transpose(W)`",
    "?": "write `where(condition, a, b)`",
    "\u2212": "this is not the minus of the keyboard: write `-`",
    "\u00b7": "write `*`, or `@` for a matrix product",
    "\u00d7": "write `*`, or `@` for a matrix product",
    "\u2299": "write `*`",
    "\u00b2": "write `^2`",
    "\u221a": "write `sqrt(x)`",
    "\\": "functions and fractions are written `tanh(x)` and `a / b`, one frame ago `h[t-1]`",
}


@dataclass(frozen=True)
class Words:
    """The words of a text, with an end marker, and the diagnostics of the FAULT words by their position."""

    source: Source
    list: tuple[lark.Token, ...]
    faults: dict[int, Diagnostic]

    def span(self, at: int) -> Span:
        return span_of(self.list[at], self.source)


def span_of(word: lark.Token, source: Source) -> Span:
    return Span(source, word.line, word.column, word.end_line, word.end_column)


def read(source: Source) -> Words:
    """A stretch that is no word is recorded, blanked out, and the rest read again."""
    text, faults, broken = source.text, {}, []
    while True:
        try:
            words = list(reader().lex(text))
            break
        except lark.UnexpectedCharacters as fault:
            start, end, diagnostic = _not_a_word(source, text, fault.pos_in_stream)
            place = _stretch(source, text, start, end)
            broken.append(lark.Token("FAULT", text[start:end], start, place.line, place.column,
                                     place.end_line, place.end_column, end))
            faults[start] = diagnostic
            text = text[:start] + " " * (end - start) + text[end:]
            if len(broken) == MOST_FAULTS:
                words = []
                break
    words = sorted(words + broken, key=lambda word: word.start_pos)
    return Words(source, (*words, _end_of(text, words)), faults)


def _end_of(text: str, words: list) -> lark.Token:
    if not words:
        return lark.Token("$END", "", 0, 1, 1, 1, 1, 0)
    last = words[-1]
    return lark.Token("$END", "", len(text), last.end_line, last.end_column, last.end_line, last.end_column, len(text))


def _not_a_word(source: Source, text: str, at: int) -> tuple[int, int, Diagnostic]:
    """Where the stretch that cannot be read begins and ends, and what is to be said of it."""
    glued = re.compile(r"[0-9]\w*(\.\w+)*|\w+|.", re.DOTALL).match(text, at)
    end, hint, said_of, character = glued.end(), None, at, text[at]
    if character == '"':
        line_end = text.find("\n", at)
        end = len(text) if line_end < 0 else line_end
        code, message, hint = "E0108", "this string has no end", 'close it with `"` on the same line'
    elif character.isascii() and character.isdigit():
        code, message = "E0107", f"`{glued[0]}` is neither a number nor a name"
        digits = re.match(r"[0-9]+(?:\.[0-9]+)?", glued[0])[0]
        rest = glued[0][len(digits):]
        hint = f"a name begins with a letter; a product is written `{digits} * {rest}`" if rest.isalpha() else None
    elif character == "." and re.search(r"(?<![\w.])[0-9]+$", text[:at]):
        code, message = "E0107", "a number has digits on both sides of its point"
        whole = re.search(r"[0-9]+$", text[:at])[0]
        hint, said_of = f"write `{whole}.0`", at - len(whole)
    elif character.isalpha():
        at = said_of = _name_before(text, at)
        code, message = "E0101", f"`{text[at:end]}` is no name"
        hint = "names are made of the letters a to z and A to Z, digits and `_`"
    elif text[at : at + 2] in (".*", "./", ".^"):
        end = at + 2
        code, message = "E0101", f"`{text[at:end]}` is no operator"
        hint = "`*`, `/` and `^` work unit by unit; the matrix product is `W @ x`"
    elif character == "%" and not text[text.rfind("\n", 0, at) + 1 : at].strip():
        code, message, hint = "E0101", "`%` means nothing here", "a comment begins with `#`"
    else:
        shown = f"`{character}`" if character.isprintable() else f"the character U+{ord(character):04X}"
        code, message, hint = "E0101", f"{shown} means nothing here", HABITS.get(character)
    return at, end, Diagnostic(code, message, _stretch(source, text, said_of, end), hint=hint)


def _name_before(text: str, at: int) -> int:
    """Where the letters begin that stand right before a letter which no name has."""
    start = at
    while start > 0 and text[start - 1].isascii() and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return at if text[start].isdigit() else start


def _stretch(source: Source, text: str, start: int, end: int) -> Span:
    line = text.count("\n", 0, start) + 1
    column = start - (text.rfind("\n", 0, start) + 1) + 1
    return Span(source, line, column, line, column + end - start)


# ----------------------------------------------------------------------------------------------- where things begin

def first_on_line(words: Words, at: int) -> bool:
    return at == 0 or words.list[at - 1].end_line < words.list[at].line


def open_brackets(words: Words, until: int) -> list[int]:
    """The brackets still open before this word, outermost first. A reserved word of a statement ends all but braces."""
    opened = []
    for at, word in enumerate(words.list[:until]):
        if word.type in DEFINITIONS | STATEMENTS:
            opened = [o for o in opened if words.list[o].type == "LBRACE"]
        if word.type in CLOSES.values():
            opened.append(at)
        elif opened and CLOSES.get(word.type) == words.list[opened[-1]].type:
            opened.pop()
    return opened


def begins_equation(words: Words, at: int) -> bool:
    """`name =` or `name, name =` after something that can end a statement."""
    here = words.list[at:]
    if here[0].type != "NAME" or at > 0 and words.list[at - 1].type not in ENDS_A_VALUE | {"LBRACE", "RBRACE"}:
        return False
    place = 1
    while here[place].type == "COMMA" and here[place + 1].type == "NAME":
        place += 2
    return here[place].type == "EQUAL"
