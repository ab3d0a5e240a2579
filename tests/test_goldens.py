"""The text of every stage for a few programs, held still by golden files: `pytest --update-golden` writes them anew.

Also that no text depends on the order of a hash, so that two builds of one program are the same file.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import shown

from rnnc import pipeline
from rnnc.errors import Source

ELMAN = """# The simple recurrent network of Elman: tanh units that see the input and themselves one frame ago.
model elman(n = 12) {
    input  x : [3]
    target y : [2]
    param W : [n, 3]
    param U : [n, n]
    param b : [n]

    h = tanh(W @ x + U @ h[t-1] + b)
    z = dense(2)(h)

    output z
    loss   mse(z, y)
}
"""
PROGRAMS = {"elman": (ELMAN, {}), "tagger": (shown.sample("tagger"), {"words": 20, "tags": 3, "hidden": 8}),
            **shown.PROGRAMS}
STAGES = [stage for stage in pipeline.STAGES if stage != "c"]


def text_of(name: str, stage: str) -> str:
    text, sizes = PROGRAMS[name]
    found = pipeline.text_after(Source(f"{name}.rnn", text), stage, sizes=sizes)
    if stage != "c":
        return found
    return found[found.rindex("/* ==", 0, found.index(f" {name} */")):]        # the fixed C has tests of its own


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_text(golden, name, stage):
    golden(f"{name}.{stage}", text_of(name, stage))


def test_c(golden):
    golden("elman.c", text_of("elman", "c"))


def test_no_text_depends_on_the_order_of_a_hash():
    """Each stage of each program in two processes with other hashes: the same, byte for byte."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from test_goldens import PROGRAMS, text_of, pipeline; "
            "sys.stdout.write(''.join(text_of(n, s) for n in ('tagger', 'elman') for s in pipeline.STAGES "
            "if s != 'c' or n == 'elman'))")
    texts = {subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True,
                            check=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2", "3")}
    assert len(texts) == 1 and len(texts.pop()) > 10000


def test_nothing_of_this_machine_is_in_them():
    for path in (Path(__file__).parent / "golden").iterdir():
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert os.sep + "home" not in text and str(Path(pipeline.__file__).parent) not in text
