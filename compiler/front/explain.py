"""Why a word does not fit, in the user's words: a list of typical mistakes, the more particular ones first.

Each `_name` below knows one mistake: it returns a Refusal, or None where the mistake is another. The last one always
knows something to say.
"""

import difflib

from rnnc.errors import Broken, Diagnostic, Note
from rnnc.front import habits
from rnnc.front.habits import after_first_name
from rnnc.front.scene import Refusal, Scene
from rnnc.front.words import (
    CLOSES,
    DEFINITIONS,
    ENDS_A_VALUE,
    RESERVED,
    STATEMENTS,
    Words,
    begins_equation,
    open_brackets,
)

OPENS = {"LPAR": "(", "LSQB": "[", "LBRACE": "{"}
SHUTS = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}

WRITTEN = {                                    # words as they are written, for "here could stand ..."
    "NAME": "a name", "NUMBER": "a number", "TEXT": "a string in double quotes", "$END": "the end of the file",
    "LBRACE": "`{`", "RBRACE": "`}`", "LPAR": "`(`", "RPAR": "`)`", "LSQB": "`[`", "RSQB": "`]`",
    "COLON": "`:`", "COMMA": "`,`", "EQUAL": "`=`", "TILDE": "`~`", "_UPTO": "`..`",
}

FOREIGN = {                                    # statements of other languages, and what to write here
    "if": "a choice is an expression: `where(condition, a, b)`",
    "else": "a choice is an expression: `where(condition, a, b)`",
    "for": "a repetition is an expression: `sum(i in 0..k : ...)`; layers in a row are `stack(k, layer)(x)`",
    "while": "time is the only loop here: `h[t-1]` reads the frame before",
    "def": "a helper is written `fn f(x) = ...`, a layer `cell f(n)(x) { ... }`",
    "lambda": "a helper has a name: `fn f(x) = ...`",
    "class": "a layer with parameters is written `cell f(n)(x) { ... }`",
    "import": 'definitions of another file come in by `use "cells.rnn"`',
    "let": "an equation needs no word before it: `h = ...`",
    "var": "an equation needs no word before it: `h = ...`",
    "state": "any signal read at `t-1` is a state; its first value is given by `init h = ...`",
}
CHOICES = {"if", "else", "for", "while"}       # those of them that stand behind values, too


def explain(words: Words, at: int, wanted: set[str]) -> Refusal:
    scene = Scene(words, at, frozenset(wanted), tuple(open_brackets(words, at)))
    for mistake in MISTAKES:
        refusal = mistake(scene)
        if refusal:
            return refusal
    raise Broken("no explanation for a refused word")


def _no_word(s: Scene) -> Refusal | None:
    if s.type() == "FAULT":
        return Refusal(s.words.faults[s.words.list[s.at].start_pos])


def _part_as_number(s: Scene) -> Refusal | None:
    if s.type() == "PART" and s.before_value and s.text()[1:].isdigit():
        return s.refuse("E0107", "a number has digits on both sides of its point", hint=f"write `0{s.text()}`")


def _chained_comparison(s: Scene) -> Refusal | None:
    if s.type() == "COMPARISON" and "AND" in s.wanted and "COMPARISON" not in s.wanted:
        return s.refuse("E0106", "comparisons do not chain", hint="write `a < b and b < c`")


def _equal_signs(s: Scene) -> Refusal | None:
    if s.type() == "COMPARISON" and s.text() == "==" and "EQUAL" in s.wanted and not s.after_value:
        return s.refuse("E0110", "`==` compares; a definition is written with `=`")
    if s.type() == "EQUAL" and s.after_value and s.starts_line(-1) and s.type(-2) not in ENDS_A_VALUE | CLOSES.keys():
        return s.refuse("E0111", f"a value is missing after `{s.text(-2)}`", step=-2, resume=s.at - 1)
    if s.type() == "EQUAL" and s.after_value:
        return s.refuse("E0110", "`=` defines and cannot stand inside an expression", hint="write `==` to compare")


def _reserved_word(s: Scene) -> Refusal | None:
    if s.type() == "EQUAL" and s.type(-1) in STATEMENTS and s.type(-1) != "CONST":
        word = s.text(-1)
        hint = {"output": "write `output y = ...`, with a name in place of y",
                "metric": "write `metric error = ...`, with a name in place of error",
                "loss": "write `loss ...`, without `=`", "return": "write `return ...`, without `=`"}.get(word)
        return s.refuse("E0109", f"`{word}` is a reserved word and cannot be a name", step=-1, hint=hint)
    if s.type() not in RESERVED or "NAME" not in s.wanted or s.type() in ("AND", "OR"):
        return None
    next_statement = s.type() in STATEMENTS | DEFINITIONS and s.starts_line()     # so the one before is unfinished
    defined = s.type(1) == "EQUAL"
    if not next_statement and (defined or "RBRACE" not in s.wanted):
        return s.refuse("E0109", f"`{s.text()}` is a reserved word and cannot be a name", resume=s.at + 1)


def _bracket(s: Scene) -> Refusal | None:
    """A bracket that is not closed, closed by another one, or closed without having been opened."""
    innermost = s.opened[-1] if s.opened else None
    kind = s.words.list[innermost].type if s.opened else None
    if s.type() in CLOSES and CLOSES[s.type()] != kind and (s.type() != "RBRACE" or not s.opened):
        if kind is None or kind == "LBRACE":
            return s.refuse("E0112", f"{s.shown} closes nothing", begin=None if kind else s.at)
        return _unclosed(s, innermost, f"`{OPENS[kind]}` is closed by {s.shown}")
    if kind in ("LPAR", "LSQB") and (s.type() in STATEMENTS | DEFINITIONS | {"$END", "RBRACE"} or s.starts_line()):
        if not _closed_later(s, innermost) and not _meant_as_name(s):
            return _unclosed(s, innermost, f"`{OPENS[kind]}` is not closed")
    if kind == "LBRACE" and (s.type() == "$END" or s.type() in DEFINITIONS and not _closed_later(s, innermost)):
        if "RBRACE" in s.wanted:
            return _unclosed(s, innermost, "`{` is not closed", closes=True)


def _unclosed(s: Scene, opening: int, message: str, **more) -> Refusal:
    seen = "here the file ends" if s.type() == "$END" else f"{s.shown} cannot stand inside it"
    kind = s.words.list[opening].type
    notes, hint = (Note(s.span(), seen),), f"close it with `{SHUTS[kind]}`"
    return Refusal(Diagnostic("E0103", message, s.words.span(opening), notes, hint), **more)


def _meant_as_name(s: Scene) -> bool:
    """Whether a reserved word inside a bracket is followed as a name would be, `f(layer)`: it begins no statement."""
    return "NAME" in s.wanted and not s.starts_line() and s.type(1) in ("RPAR", "RSQB", "COMMA", "EQUAL")


def _closed_later(s: Scene, opening: int) -> bool:
    """Whether the bracket is closed after all, further down in the same statement (for `{`: in the same file)."""
    braces = s.words.list[opening].type == "LBRACE"
    depth = 0
    for word in s.words.list[opening:]:
        if not braces and (word.type in STATEMENTS | DEFINITIONS or word.type == "RBRACE"):
            return False
        depth += (word.type == "LBRACE") if braces else word.type in ("LPAR", "LSQB")
        depth -= (word.type == "RBRACE") if braces else word.type in ("RPAR", "RSQB")
        if depth == 0:
            return True
    return False


def _misplaced(s: Scene) -> Refusal | None:
    """A definition inside a body, or a statement outside of one."""
    if s.type() in DEFINITIONS and s.in_body and "RBRACE" in s.wanted:
        return s.refuse("E0113", f"`{s.text()}` cannot stand inside a body", begin=s.at,
                        hint="definitions stand side by side in the file")
    if "MODEL" not in s.wanted or "COMMA" in s.wanted:
        return None
    if s.type() in STATEMENTS or begins_equation(s.words, s.at):
        what = "an equation" if s.type() == "NAME" else f"`{s.text()}`"
        return s.refuse("E0113", f"{what} cannot stand here: it belongs in a model or a cell", begin=s.at,
                        hint="a number for all definitions is written `const dt = 0.1`" if s.type() == "NAME" else None)
    if s.type() == "NAME" and not s.after_value:
        return _unknown_word(s, s.at, {w.lower() for w in DEFINITIONS} | {"const"}, "a definition")


def _missing_operator(s: Scene) -> Refusal | None:
    """`h = W x + b` reads as the equation `h = W` and a statement that begins with `x`: seen at the `+`."""
    if s.after_value and (s.before_value or s.type() in ("NAME", "NUMBER", "TEXT", "NOT")):
        inside = s.opened and s.words.list[s.opened[-1]].type != "LBRACE"
        what = "an operator or a comma" if inside else "an operator"
        return s.refuse("E0104", f"{what} is missing between `{s.text(-1)}` and `{s.text()}`",
                        hint=FOREIGN[s.text()] if s.text() in CHOICES else _operator_hint(s, s.at - 1))
    if not after_first_name(s) or s.type(-2) == "COMMA" or s.type(-2) not in ENDS_A_VALUE:
        return None
    name, before = s.text(-1), s.text(-2)
    if s.starts_line(-1):
        if difflib.get_close_matches(name, [w.lower() for w in STATEMENTS], 1, 0.7) or name in FOREIGN or \
                s.type() in ("NAME", "COLON"):
            return None
        note = Note(s.span(-2), "the statement before ends here, unless an operator is missing")
        return s.refuse("E0104", f"`{name}` begins a statement, but no `=` follows", step=-1, notes=[note],
                        begin=s.at - 1)
    if name in CHOICES or name in FOREIGN and s.type() == "NAME":      # `y = x if x > 0 else 0`, `a = 1 let b = 2`
        return None
    return s.refuse("E0104", f"an operator is missing between `{before}` and `{name}`", step=-1,
                    hint=_operator_hint(s, s.at - 2))


def _operator_hint(s: Scene, at: int) -> str:
    left, right = s.words.list[at], s.words.list[at + 1]
    if left.type != "NAME" or right.type != "NAME":
        return "`@` is the matrix product, `*` multiplies unit by unit"
    return f"`{left} @ {right}` is the matrix product, `{left} * {right}` multiplies unit by unit"


def _unknown_statement(s: Scene) -> Refusal | None:
    """`parm W : [n, m]`, `if ...`"""
    if not after_first_name(s) or s.type(-2) == "COMMA":
        return None
    if s.type() == "COLON" and s.type(1) == "EQUAL":
        return s.refuse("E0102", "`:=` is no sign here", words=2, begin=s.at - 1, hint=f"write `{s.text(-1)} = ...`")
    if s.type() == "COLON" and s.text(-1) not in FOREIGN:
        return s.refuse("E0105", f"`{s.text(-1)} :` does not say what `{s.text(-1)}` is", step=-1, begin=s.at - 1,
                        hint=f"write `param {s.text(-1)} : ...` or `input {s.text(-1)} : ...`")
    return _unknown_word(s, s.at - 1, {w.lower() for w in STATEMENTS}, "a statement")


def _unknown_word(s: Scene, at: int, known: set[str], what: str) -> Refusal:
    word = str(s.words.list[at])
    close = difflib.get_close_matches(word.lower(), sorted(known), 1, 0.7)
    hint = f"did you mean `{close[0]}`?" if close else FOREIGN.get(word)
    if hint is None and what == "a statement":
        hint = "an equation is written `name = ...`; other statements begin with a word of their own, such as `param`"
    elif hint is None:
        hint = "a file holds `use`, `const`, `model`, `cell` and `fn`"
    fault = Diagnostic("E0105", f"`{word}` does not begin {what}", s.words.span(at), hint=hint)
    return Refusal(fault, begin=at)


def _unfinished(s: Scene) -> Refusal | None:
    if s.before_value and (s.type() in STATEMENTS | DEFINITIONS | {"RBRACE", "$END"} or begins_equation(s.words, s.at)):
        after = s.words.span(s.at - 1)
        fault = Diagnostic("E0111", f"a value is missing after `{s.text(-1)}`", after)
        return Refusal(fault)


def _repetition(s: Scene) -> Refusal | None:
    """`sum(i in 0..3, x[i])`"""
    if s.type() == "COMMA" and "COLON" in s.wanted and "COMMA" not in s.wanted and s.after_value:
        return s.refuse("E0102", "a comma cannot stand here; `:` follows the range of a repetition",
                        hint="for example `sum(i in 0..k : x[t-i])`")
    opening = s.opened[-1] if s.opened else s.at
    if s.type() == "COMMA" and s.after_value and [w.type for w in s.words.list[opening:][:3]] == ["LPAR", "NAME", "IN"]:
        what = f"`{s.words.list[opening - 1]}({s.words.list[opening + 1]} in ...)`"
        hint = "matrices are joined along axis 0; side by side it is `transpose(concat(i in 0..k : transpose(A[i])))`"
        return s.refuse("E0102", f"{what} takes one expression and nothing after it",
                        hint=hint if str(s.words.list[opening - 1]) == "concat" else None)


def _two_beginnings(s: Scene) -> Refusal | None:
    """`param q : [n] = 0 ~ normal(0, 1)`"""
    if s.type() not in ("TILDE", "EQUAL") or s.starts_line() or not s.in_body:
        return None
    start = next((at for at in range(s.at - 1, s.opened[-1], -1) if s.words.list[at].type in STATEMENTS), None)
    if start is None or s.words.list[start].type not in ("PARAM", "FROZEN"):
        return None
    signs = [at for at in range(start, s.at - 1) if s.words.list[at].type in ("TILDE", "EQUAL")]
    if len(signs) == 1 and not begins_equation(s.words, signs[0] - 1):
        note = Note(s.words.span(signs[0]), "here it has one")
        return s.refuse("E0102", "a parameter begins in one way", notes=[note],
                        hint="write `= ...` for a number, or `~ ...` for random numbers")


def _missing_value(s: Scene) -> Refusal | None:
    if not s.before_value:
        return None
    if s.type() == "SCALE" and s.text() == "*" and s.text(-1) == "*":
        both = s.span(-1).to(s.span())
        return Refusal(Diagnostic("E0102", "`**` is no operator", both, hint="the power is written `a ^ b`"))
    if s.type() in ("SCALE", "AT", "POWER", "COMPARISON", "AND", "OR"):
        return s.refuse("E0102", f"a value is missing before {s.shown}")


def _anything(s: Scene) -> Refusal:
    wanted = sorted(WRITTEN.get(w, f"`{w.lower()}`") for w in s.wanted)
    hint = None
    if s.before_value:
        hint = "a value is expected here"
    elif s.after_value:
        hint = None
    elif 0 < len(wanted) <= 4:
        hint = "here could stand " + " or ".join([", ".join(wanted[:-1]), wanted[-1]] if wanted[1:] else wanted)
    if s.type() == "$END":
        return s.refuse("E0102", "the file ends in the middle of a definition", hint=hint)
    return s.refuse("E0102", f"{s.shown} cannot stand here", hint=hint)


MISTAKES = [
    _no_word, _part_as_number, _chained_comparison, _two_beginnings, _equal_signs, habits.bracketed_target,
    habits.changed, habits.arrow, habits.helper_without_word, habits.anonymous, _bracket, _reserved_word, _misplaced,
    habits.slashes, _missing_operator, _unknown_statement, _unfinished, habits.declaration, habits.output_without_name,
    habits.body, habits.typed_argument, habits.range_in_call, _repetition, _missing_value, habits.brace, _anything,
]
