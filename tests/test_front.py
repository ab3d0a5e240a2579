"""From text to tree: the grammar, the round trip through text, spans, and faults told in the user's words."""

import os
import random
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path

import lark
import pytest
from random_trees import Trees

from rnnc.errors import CompileError, Diagnostic, Source
from rnnc.front import tree
from rnnc.front.parse import parse
from rnnc.front.reader import OPTIONS, grammar
from rnnc.front.show import show, show_expression
from rnnc.graph.elaborate.program import elaborate

HERE = Path(__file__).parent
CELLS = {p.name: p.read_text(encoding="utf-8") for p in files("rnnc.grammar").joinpath("cells").iterdir()}
SAMPLES = {p.name: p.read_text(encoding="utf-8") for p in files("rnnc.samples").iterdir() if p.name.endswith(".rnn")}
BAD = {p.stem: p.read_text(encoding="utf-8") for p in sorted((HERE / "programs" / "bad").glob("*.rnn"))}
BAD = {name: text for name, text in BAD.items() if re.match(r"# expect E01", text)}
REFERENCE = files("rnnc.grammar").joinpath("LANGUAGE.md").read_text(encoding="utf-8")
KINDS = [kind for kind in vars(tree).values() if is_dataclass(kind) and kind.__module__ == tree.__name__]
BLOCKS = re.findall(r"```rnn\n(.*?)```", REFERENCE, re.DOTALL)


def read(text: str) -> tree.File:
    return parse(Source("test.rnn", text))


def expression(text: str) -> tree.Expr:
    return read(f"fn f() = {text}").items[0].value


def faults(text: str) -> list[Diagnostic]:
    with pytest.raises(CompileError) as caught:
        read(text)
    return caught.value.diagnostics


# ------------------------------------------------------------------------------------------------------ the grammar

def test_grammar_has_no_conflict():
    """Strict: no two rules and no two words of the grammar compete for the same text."""
    pytest.importorskip("interegular")
    lark.Lark(grammar(), strict=True, **OPTIONS)


def test_rules_bear_the_names_of_tree_classes():
    """So that the grammar can be read with tree.py beside it."""
    named = {"".join(pair).rstrip("_") for pair in re.findall(r"^\??([a-z]\w*):|-> (\w+)", grammar(), re.MULTILINE)}
    assert {re.sub(r"(?<!^)([A-Z])", r"_\1", kind.__name__).lower() for kind in KINDS} <= named


@pytest.mark.parametrize("text, meant", [
    ("a + b * c", "a + (b * c)"),
    ("a - b - c", "(a - b) - c"),
    ("a / b * c", "(a / b) * c"),
    ("a * W @ x", "a * (W @ x)"),
    ("W @ V @ x", "W @ (V @ x)"),
    ("W @ -x", "W @ (-x)"),
    ("W @ x / n", "(W @ x) / n"),
    ("-x^2", "-(x^2)"),
    ("x^-2", "x^(-2)"),
    ("2^3^4", "2^(3^4)"),
    ("x[t-1]^2", "(x[t-1])^2"),
    ("-a * b", "(-a) * b"),
    ("not a == b", "not (a == b)"),
    ("a + 1 < b * 2", "(a + 1) < (b * 2)"),
    ("a or b and not c", "a or (b and (not c))"),
    ("lstm(n)(x)[t-1].c", "((lstm(n)(x))[t-1]).c"),
    ("n // 2 * 3", "(n // 2) * 3"),
    ("1e-3 + 0.5", "0.001 + 0.5"),
    ("f(a, b,)", "f(a, b)"),
    ("[1, 2,]", "[1, 2]"),
    ("sum(i in 0..k-1 : U[i] @ h[t-1-i])", "sum(i in 0..(k - 1) : (U[i]) @ (h[(t - 1) - i]))"),
])
def test_how_expressions_group(text, meant):
    assert expression(text) == expression(meant)


def test_newlines_and_spaces_mean_nothing():
    text = CELLS["lstm.rnn"]
    bare = re.sub(r"#.*", "", text)
    assert read(" ".join(bare.split())) == read(text) == read("\r\n".join(text.split("\n")))


def test_names_may_be_words_that_only_some_statements_use():
    cell = read("""cell f(class, labels)(flag, sequence) {
                       value = class * flag  glorot = sequence + labels  return value, glorot }""").items[0]
    assert [formal.name.id for formal in cell.sizes + cell.signals] == ["class", "labels", "flag", "sequence"]


def test_everything_a_declaration_may_say():
    model = read("""
        model m { input x  input a, b : [n, 2]  input c : class(3)  input d : flag  input e : [n] per sequence
                  target y : labels(30)  target z per sequence
                  param p  param q = 0.5  param r ~ normal(0, 1)  param U, V : [k, n, n] ~ glorot sparse(0.9)
                  frozen w : [n] = 1 sparse(0.5)  param s : []
                  const dt = 0.1  const A[i, j : n, m] = i + j
                  init x = 2  init x[t-2] = 3  init x[t+1] = 4
                  h, k = two(n)(x)  layer L = lstm(n)  output h, v = 2 * k, k  loss h  metric u = k }""").items[0]
    shown = [(type(s).__name__, getattr(s, "kind", None) and s.kind.kind) for s in model.body[:7]]
    assert shown == [("Input", "real"), ("Input", "real"), ("Input", "class"), ("Input", "flag"), ("Input", "real"),
                     ("Input", "labels"), ("Input", "real")]
    assert [s.per_sequence for s in model.body[:7]] == [False, False, False, False, True, False, True]
    assert [s.target for s in model.body[:7]] == [False] * 5 + [True] * 2
    p, q, r, u, w, s = model.body[7:13]
    assert (p.initialiser, q.initialiser.name, r.initialiser.name) == (None, "value", "normal")
    assert len(u.names) == 2 and len(u.dims) == 3 and u.sparse.value == 0.9 and not u.frozen
    assert w.frozen and w.initialiser.name == "value" and w.sparse.value == 0.5
    assert s.dims == p.dims == ()
    assert [item.value is None for item in model.body[-3].items] == [True, False, True]


# --------------------------------------------------------------------------------------------------- the round trip

@pytest.mark.parametrize("text", [*CELLS.values(), *SAMPLES.values(), *BLOCKS],
                         ids=[*CELLS, *SAMPLES, *(f"reference-{i}" for i in range(len(BLOCKS)))])
def test_round_trip(text):
    shown = show(read(text))
    assert read(shown) == read(text)
    assert show(read(shown)) == shown


def test_round_trip_of_random_trees():
    seen = set()
    for seed in range(300):
        made = Trees(seed).file()
        shown = show(made)
        assert read(shown) == made, shown
        seen |= {type(node) for node in walk(made)}
    assert seen == set(KINDS) - {tree.Text}


def test_brackets_only_where_needed():
    text = "(a + b) * c - -x^2 @ W[i, 0:n] / (d or not e < f)"
    assert show_expression(expression(text)) == text


# ------------------------------------------------------------------------------------------------------------ spans

def walk(node):
    yield node
    for field in fields(node):
        part = getattr(node, field.name)
        for item in part if isinstance(part, tuple) else (part,):
            if type(item).__module__ == tree.__name__:
                yield from walk(item)


def text_at(span) -> str:
    lines = span.source.text.split("\n")[span.line - 1:span.end_line]
    lines[-1] = lines[-1][:span.end_column - 1]
    lines[0] = lines[0][span.column - 1:]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [*CELLS.values(), *SAMPLES.values()], ids=[*CELLS, *SAMPLES])
def test_every_span_holds_the_text_of_its_node(text):
    for node in walk(read(text)):
        held = text_at(node.span)
        if isinstance(node, tree.Ident):
            assert held == node.id
        elif isinstance(node, tree.Expr) and not isinstance(node, tree.Range):
            assert expression(held) == node
        elif isinstance(node, tree.Statement):
            assert held in text and held.strip() == held


# ----------------------------------------------------------------------------------------------------------- faults

@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_faults_are_found_where_they_are(text):
    """The first lines of a bad program say what must be reported, and nothing else may be."""
    expected = re.findall(r"^# expect (E\d+ \d+:\d+)", text, re.MULTILINE)
    found = [f"{fault.code} {fault.span.line}:{fault.span.column}" for fault in faults(text)]
    assert found == expected


def test_every_syntax_code_has_a_bad_program_and_a_line_in_the_reference():
    code = "".join(p.read_text(encoding="utf-8") for p in (HERE.parent / "compiler" / "front").glob("*.py"))
    used = set(re.findall(r"E01\d\d", code))
    assert used == {fault.code for text in BAD.values() for fault in faults(text)}
    assert used == set(re.findall(r"^\| (E01\d\d) \|", REFERENCE, re.MULTILINE))


def test_every_code_has_a_line_in_the_reference():
    code = "".join(p.read_text(encoding="utf-8") for p in (HERE.parent / "compiler").rglob("*.py"))
    assert set(re.findall(r'"(E0\d{3})"', code)) <= set(re.findall(r"^\| (E0\d{3}) \|", REFERENCE, re.MULTILINE))


def test_messages_have_the_house_form():
    for text in BAD.values():
        for fault in faults(text):
            assert not fault.message.endswith(".") and not fault.message[0].isupper(), fault.message
            assert not re.search(r"[A-Z]{4,}|tree\.|Token|None", fault.message + (fault.hint or "")), fault.message


def test_a_missing_operator_is_seen_at_the_next_statement():
    fault, = faults("model m {\n  input x\n  h = x\n    x * 2\n  output h\n}")
    assert (fault.code, fault.span.line) == ("E0104", 4)
    assert fault.notes[0].span.line == 3


@pytest.mark.parametrize("line, column, hint", [
    ("output h[t-1]", 11, "write `output y = h[...`, with a name in place of y"),
    ("output x, h + x", 15, "write `output y = h + ...`, with a name in place of y"),
    ("output x, [1]", 13, "here could stand a name"),         # what stands before is no name
    ("output @ h", 10, "here could stand a name"),
])
def test_outputs_that_are_computed_are_told_their_form(line, column, hint):
    fault, = faults(f"model m {{\n  input x\n  h = x\n  {line}\n}}")
    assert (fault.code, fault.span.line, fault.span.column, fault.hint) == ("E0102", 4, column, hint)


def test_the_time_as_an_output_is_told_to_take_a_name():
    fault, = faults("model m {\n  input x\n  output h = x, t\n}")
    assert (fault.code, fault.span.line, fault.span.column) == ("E0116", 3, 17)
    assert fault.hint == "write `output y = t`, with a name in place of y"


@pytest.mark.parametrize("line, code, column, hint", [
    ("y = x if x > 0 else 0", "E0105", 9, "where(condition, a, b)"),
    ("y = (x if x > 0 else 0)", "E0104", 10, "where(condition, a, b)"),
    ("y = x  for i in 0..3 { z = x }", "E0105", 10, "sum(i in 0..k : ...)"),
    ("for i in 0..3 { z = x  param W : [3] }", "E0105", 3, "sum(i in 0..k : ...)"),
    ("y = x while x > 0", "E0105", 9, "h[t-1]"),
    ("input k  if x > 0 { y = 0 } else { y = x }", "E0105", 12, "where(condition, a, b)"),
    ("y = x let z = x", "E0105", 9, "`h = ...`"),
    ("y = x var + 1", "E0104", 9, "`x * var`"),
    ("input k  y += x", "E0102", 14, "`y = y[t-1] + ...`"),
    ("y *= x", "E0102", 5, "`y = y[t-1] * ...`"),
])
def test_statements_of_other_languages_are_answered_anywhere_in_a_line(line, code, column, hint):
    """Behind a value they were taken for factors; a block in braces closed the model, and what follows was homeless."""
    fault, = faults(f"model m {{\n  input x\n  {line}\n  output x\n}}")
    assert (fault.code, fault.span.line, fault.span.column) == (code, 3, column) and hint in fault.hint


@pytest.mark.parametrize("line, code, column, said", [
    ("größe = x", "E0101", 3, "`größe` is no name"),                           # it began behind the ASCII letters
    ("y = 2 * _aß1", "E0101", 11, "`_aß1` is no name"),
    ("output t", "E0116", 10, "write `output y = t`, with a name in place of y"),
    ("y = concat(i in 0..3 : A[i], axis = 1)", "E0102", 30, "`transpose(concat(i in 0..k : transpose(A[i])))`"),
    ("y = sum(i in 0..3 : x[i], 0)", "E0102", 27, "`sum(i in ...)` takes one expression"),
    ("y = \\tanh(x)", "E0101", 7, "written `tanh(x)`"),
    ("y = y_{t-1} + x", "E0102", 9, "one frame ago is `h[t-1]`"),
    ("y = x^{2}", "E0102", 9, "stands in `(` and `)`"),
    ("y = x .* x", "E0101", 9, "work unit by unit"),
    ("y = x.^2", "E0101", 8, "work unit by unit"),
    ("y = W' @ x", "E0101", 8, "`transpose(W)`"),
    ("% what follows", "E0101", 3, "a comment begins with `#`"),
    ("y = x % 2", "E0101", 9, "write `mod(a, b)`"),
    ("/* what follows */", "E0102", 3, "a comment begins with `#`"),
    ("y := x", "E0102", 5, "write `y = ...`"),
    ("y <- x", "E0102", 5, "write `y = ...`"),
    ("f(a, b) = a * b", "E0102", 4, "`fn f(a, b) = ...`"),
    ("y = lambda a : a", "E0102", 7, "`fn f(x) = ...`"),
    ("param W(4, 4)", "E0102", 10, "write `W : [4, 4]`"),
    ("input z(4)", "E0102", 10, "write `z : [4]`"),
    ("metric mse(x, x)", "E0102", 13, "write `metric error = mse(x, x)`"),
    ("output lstm(4)(x)", "E0102", 14, "write `output y = lstm(...`"),
    ("y = x(0:2)", "E0102", 10, "in brackets: `x[0:n]`"),
    ("output = x", "E0109", 3, "write `output y = ...`"),
    ("loss = mse(x, x)", "E0109", 3, "write `loss ...`, without `=`"),
])
def test_habits_of_other_languages_are_told_what_is_written_here(line, code, column, said):
    fault, = faults(f"model m {{\n  input x\n  {line}\n}}")
    assert (fault.code, fault.span.line, fault.span.column) == (code, 3, column)
    assert said in f"{fault.message} {fault.hint}"


@pytest.mark.parametrize("text, column, hint", [
    ("fn f(x) { return 2 * x }", 9, "write `fn f(x) = ...`; what has equations of its own is a cell"),
    ("model m(x : [4]) { output x }", 11, "a signal is declared in its body: `input x : ...`"),
    ("cell f(n)(x : [4]) { return x }", 13, "write `x` alone"),
    ("model m(n = 3):\n  input x : [n]\n  output x", 15, "write `model m(n = 3) { ... }`"),
])
def test_definitions_as_elsewhere_are_told_their_form(text, column, hint):
    fault, = faults(text)
    assert (fault.code, fault.span.line, fault.span.column) == ("E0102", 1, column) and hint in fault.hint


def test_an_open_bracket_is_pointed_at():
    fault, = faults("model m {\n  input x\n  h = tanh((x + 1)\n  output h\n}")
    assert (fault.code, fault.span.line, fault.span.column) == ("E0103", 3, 11)
    assert fault.notes[0].span.line == 4


def test_lines_are_counted_as_editors_count_them():
    for end in ("\n", "\r\n"):
        fault, = faults(end.join(["\ufeff# one \u2028\f comment", "model m {", "  input x", "  output y = x 2", "}"]))
        assert (fault.span.line, fault.excerpt.split("\n")[0]) == (4, "    4 |   output y = x 2")


def test_typing_errors_are_recognised():
    for wrong, right in [("modle", "model"), ("modell", "model"), ("cel", "cell"), ("func", "fn")]:
        hint = faults(f"{wrong} m {{ }}")[0].hint
        assert f"`{right}`" in hint
    for wrong, right in [("parm", "param"), ("inptu", "input"), ("ouput", "output"), ("retrun", "return")]:
        fault, = faults(f"model m {{\n  input x\n  {wrong} y\n  output x\n}}")
        assert fault.hint == f"did you mean `{right}`?"


def test_a_file_of_something_else_is_refused_quickly_and_politely():
    for text in ["\x00\x01\x02" * 1000, "%PDF-1.4 \xff" * 1000, "{" * 3000, "(" * 3000, "x = " * 3000, "}" * 3000]:
        assert 1 <= len(faults(text)) <= 25


def test_deep_expressions_are_refused_and_long_files_are_not():
    deep = "fn f(x) = " + "(" * 5000 + "x" + ")" * 5000 + " + (1" * 5000 + ")" * 5000
    assert [fault.code for fault in faults(deep)] == ["E0121"]
    body = "\n".join(f"    h{i} = tanh(x + {i}) + h{i}[t-1]" for i in range(3000))
    assert len(read(f"model m {{ input x {body} output h1 }}").items[0].body) == 3002


def test_a_chain_of_operators_is_one_level_of_any_length():
    for operators in ("+-", "*/", ["and"], ["or"]):
        long = "x" + "".join(f" {operators[i % len(operators)]} y[t - {i}]" for i in range(5000))
        text = f"model m {{\n    input x, y\n    s = {long}\n    output s\n}}\n"
        assert show(read(text)) == text
    text = "fn f(x) = x - 1 + (2 - 3) - x * 2 / 3 * (x / x)\n"
    assert show(read(text)) == text and read(text) == read(text.replace("x - 1", "(x - 1)"))
    assert [fault.code for fault in faults("fn f(x) = " + "x ^ " * 200 + "x")] == ["E0121"]


def test_spoilt_programs_give_diagnostics_and_nothing_else():
    """Words are dropped, doubled and exchanged: what comes out is read or refused, always with places in the text."""
    texts = [*CELLS.values(), *SAMPLES.values()]
    for seed in range(250):
        chance = random.Random(seed)
        words = re.findall(r"\s+|#[^\n]*|\w+|.", chance.choice(texts))
        for _ in range(chance.randrange(1, 4)):
            at, other = chance.randrange(len(words)), chance.randrange(len(words))
            change = chance.choice(["drop", "double", "exchange", "cut"])
            if change == "drop":
                del words[at]
            elif change == "double":
                words.insert(at, words[other])
            elif change == "exchange":
                words[at], words[other] = words[other], words[at]
            else:
                words = words[:at + 1]
        text = "".join(words)
        try:
            read(text)
        except CompileError as error:
            lines = text.split("\n")
            for fault in error.diagnostics:
                assert 1 <= fault.span.line <= len(lines)
                assert 1 <= fault.span.column <= len(lines[fault.span.line - 1]) + 1
                assert fault.render()


# ------------------------------------------------------------------------------------------------ what is delivered

@pytest.mark.parametrize("name", CELLS)
def test_standard_cells_say_what_they_are(name):
    text, file = CELLS[name], read(CELLS[name])
    assert name in {f"{item.name.id}.rnn" for item in file.items if isinstance(item, tree.Cell)}
    assert text.startswith("# ") and max(len(line) for line in text.split("\n")) <= 120


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_say_what_they_are(name):
    text, file = SAMPLES[name], read(SAMPLES[name])
    assert f"{[item.name.id for item in file.items if isinstance(item, tree.Model)][-1]}.rnn" == name
    assert text.startswith("# ") and max(len(line) for line in text.split("\n")) <= 120


@pytest.mark.parametrize("text", [*SAMPLES.values(), *BLOCKS],
                         ids=[*SAMPLES, *(f"reference-{i}" for i in range(len(BLOCKS)))])
def test_samples_and_blocks_of_the_reference_have_a_graph(text):
    assert elaborate(read(text)).outputs


def test_the_reference_names_every_standard_cell():
    for name in CELLS:
        assert re.search(rf"`{name.removesuffix('.rnn')}[`(]", REFERENCE), name


def test_tables_are_kept_and_a_broken_cache_is_replaced(tmp_path):
    code = "from rnnc.front.parse import parse; from rnnc.errors import Source; parse(Source('a', 'const a = 1'))"
    environment = os.environ | {"RNNC_CACHE": str(tmp_path)}
    run = [sys.executable, "-c", code]
    subprocess.run(run, env=environment, check=True)
    kept, = tmp_path.glob("grammar-*")
    kept.write_bytes(kept.read_bytes()[:1000])
    subprocess.run(run, env=environment, check=True)
    assert len(kept.read_bytes()) > 1000
    subprocess.run(run, env=os.environ | {"RNNC_CACHE": str(kept)}, check=True)      # no folder at all
