"""What every test file shares: golden files, a module cache of the session's own, thread counts, opt-in tests.

`golden(name, text)` compares with tests/golden/name. With --update-golden it writes instead, and the run then fails
with the number of files rewritten, so that an update is always looked at. `occurred(title, what)` counts what tests
met, in a table at the end.
"""

import difflib
import os
import random
import re
import shutil
import tempfile
import zlib
from collections import Counter
from pathlib import Path

import pytest
from commands import rnnc

from rnnc.plan import few

GOLDEN = Path(__file__).parent / "golden"
OPT_IN = {"installs": "--installs", "slow": "--slow"}         # marker -> the flag that asks for it
rewritten: list[str] = []
cache: list[str] = []


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden, then fail with their number")
    parser.addoption("--installs", action="store_true", help="also build wheels and install them in fresh environments")
    parser.addoption("--slow", action="store_true", help="also run the tests that take more than ten seconds")


def pytest_configure(config):
    """Compiled modules of this session live and die with it; subprocesses inherit the place, and workers side by side,
    which draw the same programs: what one has compiled the other need not."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        cache.append(tempfile.mkdtemp(prefix="rnnc-test-cache-"))
        os.environ["RNNC_CACHE"] = cache[-1]
    os.environ.setdefault("RNNC_SEED", str(random.SystemRandom().randrange(10 ** 6, 10 ** 9)))
    os.environ.setdefault("NO_COLOR", "1")
    os.environ.setdefault("RNNC_CHECK", "1")   # every pass of the compiler is followed by its checker


def pytest_unconfigure(config):
    while cache:
        shutil.rmtree(cache.pop(), ignore_errors=True)


def pytest_collection_modifyitems(config, items):
    for marker, flag in OPT_IN.items():
        if not config.getoption(flag):
            skip = pytest.mark.skip(reason=f"asked for with {flag}")
            for item in items:
                if marker in item.keywords:
                    item.add_marker(skip)


def pytest_sessionfinish(session, exitstatus):
    if rewritten and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for title, counts in tables(terminalreporter).items():
        terminalreporter.write_line(title)
        for what, count in sorted(counts.items()):
            terminalreporter.write_line(f"  {count:5d}  {what}")
    if rewritten:
        count = f"{len(rewritten)} golden{'s' if len(rewritten) > 1 else ''} rewritten"
        terminalreporter.write_line(f"{count}: {', '.join(rewritten)}", red=True)


def tables(reporter) -> dict[str, Counter]:
    """What the tests that passed have met, counted under each title."""
    found: dict[str, Counter] = {}
    for report in reporter.stats.get("passed", []):
        for title, what in report.user_properties:
            found.setdefault(title, Counter()).update(what)
    return found


@pytest.fixture
def occurred(record_property):
    """A function: `occurred("random programs", ["loop backwards", "float32"])` counts in a table at the end."""
    return record_property


@pytest.fixture
def golden(request):
    """A function: `golden("lstm.graph.txt", text)`."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if request.config.getoption("--update-golden"):
            if text != before:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                rewritten.append(name)
            return
        if before is None:
            pytest.fail(f"no golden file {name}; write it with --update-golden", pytrace=False)
        if text != before:
            lines = difflib.unified_diff(before.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="")
            pytest.fail("\n".join(lines), pytrace=False)

    return compare


@pytest.fixture(params=[1, 2, 3, 7], ids=lambda n: f"{n}threads")
def threads(request):
    """Thread counts under which every result must be the same, bit for bit."""
    return request.param


@pytest.fixture
def any_threads(monkeypatch):
    """Nets with more threads than cores, and a checker behind every pass, however the tests were started."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr("rnnc.pipeline.CHECK", True)


@pytest.fixture
def small_ways(request, monkeypatch):
    """Small programs are made in lanes; tests of many of them make a third each so, with rows one by one, and with rows
    in lanes but loops by units, as larger programs are."""
    way = zlib.crc32(request.node.name.encode()) % 3
    if way == 1:
        monkeypatch.setattr(few, "ENTRIES", 1)
    if way:
        monkeypatch.setattr(few, "LOOP", 0)
        monkeypatch.setattr(few, "CELL", 0)


@pytest.fixture(scope="session")
def lesson(tmp_path_factory) -> Path:
    """A text that is easily learned."""
    path = tmp_path_factory.mktemp("lesson") / "lesson.txt"
    path.write_text("the cat sat on the mat.\n" * 400)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, lesson) -> Path:
    """A checkpoint of a small text model."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = rnnc("train", "charlm", "--text", lesson, "-D", "hidden=24", "-D", "layers=1", "--epochs", 6, "--streams", 4,
                "--frames", 24, "--lr", "0.02", "--checkpoint", folder)
    assert "sha256" in done.stdout and "9,600 characters, 12 different ones" in done.stdout
    assert len(re.findall(r"^epoch \d/6: .* bits per character, held out ", done.stdout, re.M)) == 6
    assert f"rnnc generate {folder}" in done.stdout
    return folder
