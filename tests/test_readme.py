"""What README.md shows is done here, block by block: the program, its training loop, its C."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
LETTERS = "the quick brown fox jumps over the lazy dog\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder where the program is written, trained and built as the text says."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "reader.rnn").write_text(blocks("rnn")[0])
    (folder / "corpus.txt").write_text(LETTERS * 100)
    (folder / "loop.py").write_text(blocks("python")[0])
    trained = subprocess.run([sys.executable, "loop.py"], cwd=folder, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    (folder / "said.txt").write_text(trained.stdout)
    for line in blocks("console")[0].splitlines():
        program, *arguments = shlex.split(line)
        assert program == "rnnc"
        built = subprocess.run([sys.executable, "-m", "rnnc", *arguments], cwd=folder, capture_output=True, text=True)
        assert built.returncode == 0, built.stderr
    return folder


def test_two_commands_and_no_more():
    assert [block.count("\n") for block in blocks("sh")] == [1, 1]
    assert len(blocks("rnn")[0].splitlines()) == 12


def test_the_training_loop_learns(place):
    *losses, shape = (place / "said.txt").read_text().splitlines()
    assert [line.split()[0] for line in losses] == list("01234") and shape == "(4, 28)"
    assert float(losses[-1].split()[1]) < 1.5


def test_the_c_program_writes_what_was_learned(place):
    out = place / "out"
    (out / "main.c").write_text(blocks("c")[0])
    flags = next(line for line in (out / "reader.h").read_text().splitlines() if " cc " in line).strip(" *").split()
    flags = [f for f in flags[1:] if f not in ("-c", "reader.c")]
    subprocess.run(["cc", *flags, "main.c", "reader.c", "-lm", "-o", "writer"], cwd=out, check=True)
    written = subprocess.run(["./writer"], cwd=out, check=True, capture_output=True, text=True).stdout
    assert len(written) == 60 and set(written) <= set(LETTERS)


def test_the_stages_are_those_of_the_pipeline():
    from rnnc.pipeline import STAGES
    assert f"--after {'|'.join(STAGES)}`" in TEXT
