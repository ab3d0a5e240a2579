"""What is written otherwise elsewhere: forms of other languages and of mathematics, and declarations without their
signs. As in explain.py, each function knows one mistake: a Refusal, or None where it is another."""

from rnnc.front.scene import Refusal, Scene
from rnnc.front.words import DEFINITIONS


def bracketed_target(s: Scene) -> Refusal | None:
    """`h[t] = ...`"""
    if s.type() not in ("LSQB", "PART") or not after_first_name(s):
        return None
    depth, place = 0, s.at
    while s.words.list[place].type == "PART" or depth or s.words.list[place].type == "LSQB":
        depth += (s.words.list[place].type == "LSQB") - (s.words.list[place].type == "RSQB")
        place += 1
        if place >= len(s.words.list) - 1:
            return None
    if s.words.list[place].type == "EQUAL":
        return s.refuse("E0102", "an equation defines a whole signal, at every frame", begin=s.at - 1,
                        hint=f"write `{s.text(-1)} = ...`; a first value is given by `init {s.text(-1)} = ...`")


def changed(s: Scene) -> Refusal | None:
    """`y += x`"""
    if not after_first_name(s) or s.type(1) != "EQUAL" or s.text() not in ("+", "-", "*", "/"):
        return None
    name, sign = s.text(-1), s.text()
    return s.refuse("E0102", f"`{sign}=` is no operator", words=2, begin=s.at - 1,
                    hint=f"an equation holds at every frame: write `{name} = {name}[t-1] {sign} ...`")


def arrow(s: Scene) -> Refusal | None:
    """`h <- x`"""
    if after_first_name(s) and s.text() == "<" and s.text(1) == "-":
        return s.refuse("E0102", "`<-` is no sign here", words=2, begin=s.at - 1, hint=f"write `{s.text(-1)} = ...`")


def helper_without_word(s: Scene) -> Refusal | None:
    """`f(x) = 2 * x`"""
    if after_first_name(s) and s.type() == "LPAR" and s.words.list[_closing(s) + 1].type == "EQUAL":
        return s.refuse("E0102", "an equation defines a signal, and takes no arguments", begin=s.at - 1,
                        hint=f"beside the model stands `fn {s.text(-1)}({_inside(s)}) = ...`")


def anonymous(s: Scene) -> Refusal | None:
    """`lambda x: 2 * x`"""
    step = -1 if s.text(-1) == "lambda" else -2
    if s.text(step) == "lambda" and s.type() in ("NAME", "COLON", "COMMA"):
        return s.refuse("E0102", "`lambda` makes no function here", step=step,
                        hint="a helper has a name, and stands beside the model: `fn f(x) = ...`")


def body(s: Scene) -> Refusal | None:
    """`model m:`, `fn f(x) { return 2 * x }`"""
    start = next((at for at in range(s.at - 1, -1, -1) if s.words.list[at].type in DEFINITIONS), None)
    if start is None:
        return None
    word = str(s.words.list[start])
    head = s.words.source.text[s.words.list[start].start_pos:s.words.list[s.at - 1].end_pos]
    if word == "fn" and s.wanted == {"EQUAL"}:
        return s.refuse("E0102", f"a function is one expression: {s.shown} cannot stand here",
                        hint=f"write `{head} = ...`; what has equations of its own is a cell")
    if "LBRACE" in s.wanted and s.wanted <= {"LBRACE", "LPAR"}:
        sizes = "(n = 8)" if s.type() == "LSQB" else ""
        return s.refuse("E0102", f"the body of a {word} stands in braces: {s.shown} cannot stand here",
                        hint=f"write `{head}{sizes} {{ ... }}`")


def typed_argument(s: Scene) -> Refusal | None:
    """`model m(x : [4])`"""
    if s.type() != "COLON" or not {"COMMA", "RPAR", "EQUAL"} <= s.wanted or not s.opened:
        return None
    start = s.opened[-1] - 1
    while s.words.list[start].type not in DEFINITIONS:
        start -= 1
    hint = f"the sizes of {s.text(-1)} are found by themselves: write `{s.text(-1)}` alone"
    if s.words.list[start].type == "MODEL":
        hint = f"a model takes sizes, `n = 8`; a signal is declared in its body: `input {s.text(-1)} : ...`"
    return s.refuse("E0102", "an argument has a name, and no kind", hint=hint)


def range_in_call(s: Scene) -> Refusal | None:
    """`x(1:3)`"""
    if s.type() == "COLON" and s.after_value and s.opened and s.words.list[s.opened[-1]].type == "LPAR":
        before = s.words.list[s.opened[-1] - 1]
        if before.type == "NAME" and {"COMMA", "RPAR"} <= s.wanted:
            return s.refuse("E0102", "a range cannot stand in `(` and `)`",
                            hint=f"units are counted from 0, in brackets: `{before}[0:n]`")


def _closing(s: Scene) -> int:
    """Where the bracket here is closed, or the file ends."""
    depth = 0
    for at in range(s.at, len(s.words.list) - 1):
        depth += s.words.list[at].type in ("LPAR", "LSQB")
        depth -= s.words.list[at].type in ("RPAR", "RSQB")
        if depth == 0:
            return at
    return len(s.words.list) - 2


def _inside(s: Scene) -> str:
    """What stands in the bracket here, as it is written."""
    begin, end = s.words.list[s.at], s.words.list[_closing(s)]
    text = s.words.source.text[begin.end_pos:end.start_pos]
    return text if 0 < len(text) <= 40 and "\n" not in text else "..."


def after_first_name(s: Scene) -> bool:
    """After a name that began a statement: only `=` or `,` could follow."""
    return s.type(-1) == "NAME" and s.wanted <= {"EQUAL", "COMMA"} and "COMMA" in s.wanted


def brace(s: Scene) -> Refusal | None:
    """`h_{t-1}`, `x^{2}`"""
    if s.type() == "LBRACE" and (s.before_value or s.after_value or s.text(-1).endswith("_")):
        return s.refuse("E0102", "`{` cannot stand in an expression",
                        hint="one frame ago is `h[t-1]`; what belongs together stands in `(` and `)`")


def slashes(s: Scene) -> Refusal | None:
    if s.type() == "SCALE" and s.text() == "/" and s.text(1) == "*":
        return s.refuse("E0102", "`/` cannot stand here", begin=s.at, hint="a comment begins with `#`")
    if s.type() == "SCALE" and s.text() == "//":
        return s.refuse("E0102", "`//` divides sizes and cannot stand here", begin=s.at,
                        hint="a comment begins with `#`")


def declaration(s: Scene) -> Refusal | None:
    """`param W [n, m]`, `param W(n, m)`, `param W : n`, `metric mse(x, y)` and `cell f(n) { ... }`"""
    if s.type() == "LBRACE" and s.wanted == {"LPAR"}:
        return s.refuse("E0102", "a cell has two lists of arguments: its sizes and its signals",
                        hint="write `cell f(n)(x) { ... }`; either list may be empty")
    if s.type() in ("LSQB", "LPAR") and {"COLON", "COMMA"} <= s.wanted and s.type(-1) == "NAME":
        name = s.text(-1)
        return s.refuse("E0102", f"`:` is missing before the shape of `{name}`",
                        hint=f"write `{name} : [{_inside(s)}]`")
    if s.type(-1) == "COLON" and s.wanted == {"LSQB"} and s.type() in ("NAME", "NUMBER"):
        return s.refuse("E0102", "a shape is written in brackets", hint=f"write `[{s.text()}]`")
    if s.type(-2) == "METRIC" and s.wanted == {"EQUAL"}:
        called = f"{s.text(-1)}({_inside(s)})" if s.type() == "LPAR" else s.text(-1)
        return s.refuse("E0102", "a metric has a name, and `=` before its value",
                        hint=f"write `metric error = {called}`, with a name in place of error")


def output_without_name(s: Scene) -> Refusal | None:
    """`output h[t-1]`, `output p, h + x`, `output lstm(4)(x)`"""
    if s.type(-1) != "NAME" or s.type() not in ("LSQB", "LPAR", "PART", "SIGN", "SCALE", "AT", "POWER"):
        return None
    start = s.at - 1
    while s.words.list[start].type in ("NAME", "COMMA"):
        start -= 1
    if s.words.list[start].type == "OUTPUT":
        space = " " * (s.type() not in ("LSQB", "LPAR", "PART"))
        return s.refuse("E0102", "an output that is computed needs a name",
                        hint=f"write `output y = {s.text(-1)}{space}{s.text()}{space}...`, with a name in place of y")
