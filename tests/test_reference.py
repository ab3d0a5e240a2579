"""Every example of the reference and every good program, from text to C that is compiled and run: against the oracle.

Wrong examples, marked `rnn-wrong`, say their fault in a comment where it is told: `# E0401`.
"""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from compare import compare

from rnnc import pipeline
from rnnc.errors import CompileError, Source
from rnnc.graph.elaborate import load

pytestmark = pytest.mark.usefixtures("small_ways")
REFERENCE = files("rnnc.grammar").joinpath("LANGUAGE.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```rnn\n(.*?)^```", REFERENCE, re.M | re.S)
EXAMPLES = {re.search(r"model (\w+)", text)[1]: text for text in BLOCKS}
WRONG = re.findall(r"^```rnn-wrong\n(.*?)^```", REFERENCE, re.M | re.S)
GOOD = {path.stem: path.read_text(encoding="utf-8")
        for path in (Path(__file__).parent / "programs" / "good").glob("*.rnn")}
MOST = 12                                      # sizes of examples are lessened to this, or to the next that fits


def compared(text: str, name: str, sizes: dict | None = None) -> None:
    """Runs, scores, gradients of one call, in C and in the oracle; the seed moves on while data stand on kinks."""
    graph = pipeline.elaborated(Source(f"{name}.rnn", text), None, sizes)
    assert any(compare(graph, "float64", seed)["ratio"] is not None for seed in range(3))


def test_every_block_is_an_example():
    fences = re.findall(r"^```(\S*)$", REFERENCE, re.M)
    assert set(fences) == {"rnn", "rnn-wrong", ""} and fences[1::2] == [""] * (len(fences) // 2)
    assert len(EXAMPLES) + len(WRONG) == len(fences) // 2, "two models of one name"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name):
    text = EXAMPLES[name]
    sizes = dict(re.findall(r"(\w+) = (\d+)", re.search(r"model \w+(?:\((.*?)\))?", text)[1] or ""))
    compared(text, name, {key: MOST for key, value in sizes.items() if int(value) > MOST})


@pytest.mark.parametrize("name", sorted(GOOD))
def test_good_programs(name):
    compared(GOOD[name], name)


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_wrong_examples(text):
    with pytest.raises(CompileError) as caught:
        load(Source("wrong.rnn", text))
    told = [(fault.code, fault.span.line) for fault in caught.value.diagnostics]
    lines = enumerate(text.splitlines(), 1)
    assert told == [(code, number) for number, line in lines for code in re.findall(r"# (E\d{4})", line)]
