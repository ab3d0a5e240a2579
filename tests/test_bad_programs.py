"""Wrong programs: each says in its first lines which faults it has and where, and is told exactly these.

`# expect E0301 5:9` is a fault of this file at line 5, column 9; `# expect E0201 used/a.rnn:2:3` one of another file.
`# given model='m'` holds further arguments of the call.
"""

import re
from pathlib import Path

import pytest

from rnnc.errors import CompileError, Source
from rnnc.graph.elaborate import load
from rnnc.graph.elaborate.codes import CODES

HERE = Path(__file__).parent / "programs" / "bad"
PROGRAMS = sorted(HERE.glob("*.rnn"))
EXPECT = re.compile(r"# expect (E\d{4}) (\S+)$", re.MULTILINE)
# Words of our own that no user should meet.
OURS = re.compile(r"Traceback|Draft|NotYet|Ref\(|<rnnc|tree\.|NoneType|object at|elaborat|\bnode\b|\bop\b|_expr")


def told(path: Path) -> list:
    text = path.read_text(encoding="utf-8")
    given = re.search(r"^# given (.*)$", text, re.MULTILINE)
    arguments = eval(f"dict({given.group(1)})") if given else {}
    with pytest.raises(CompileError) as caught:
        load(Source(str(path), text), **arguments)
    return caught.value.diagnostics


def place(span, path: Path) -> str:
    where = f"{span.line}:{span.column}"
    return where if span.source.name == str(path) else f"{Path(span.source.name).relative_to(HERE)}:{where}"


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_each_fault_is_told_at_its_place(path):
    expected = EXPECT.findall(path.read_text(encoding="utf-8"))
    assert expected, "a wrong program says what is wrong with it"
    assert [(fault.code, place(fault.span, path)) for fault in told(path)] == expected


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_each_fault_shows_its_line_in_the_users_words(path):
    for fault in told(path):
        text = fault.render()
        assert text.startswith(f"{fault.span}: error {fault.code}: "), text
        assert fault.excerpt and fault.excerpt in text, text
        assert not OURS.search(text.replace(str(HERE), "")), text
        assert not fault.message.endswith("."), text
        assert re.match(r"[^A-Z]|[A-Z]\w*\b", fault.message), text


def test_every_code_has_a_program():
    found = {code for path in PROGRAMS for code, _ in EXPECT.findall(path.read_text(encoding="utf-8"))}
    assert set(CODES) <= found


def test_every_code_is_in_the_table():
    folder = Path(__import__("rnnc.graph.elaborate").graph.elaborate.__file__).parent
    used = {code for path in folder.glob("*.py") if path.name != "codes.py"
            for code in re.findall(r'"(E\d{4})"', path.read_text(encoding="utf-8"))}
    assert used == set(CODES)
