"""The package that users get: every data file is listed, the wheel holds them all, and it works where nothing else is.

What needs a package index and fresh environments runs only with --installs.
"""

import fnmatch
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUP = PROJECT["tool"]["setuptools"]
INTERPRETERS = ["3.11", "3.12", "3.13"]


def home(package: str) -> Path:
    for prefix, folder in sorted(SETUP["package-dir"].items(), reverse=True):
        if package == prefix or package.startswith(prefix + "."):
            return ROOT / folder / package.removeprefix(prefix).replace(".", "/").strip("/")
    raise AssertionError(package)


def data_files() -> dict[str, list[Path]]:
    """Package -> every file of its folders that is not Python."""
    found = {}
    for package, folder in SETUP["package-dir"].items():
        found[package] = [p.relative_to(ROOT / folder) for p in sorted((ROOT / folder).rglob("*"))
                          if p.is_file() and p.suffix not in (".py", ".pyc") and "__pycache__" not in p.parts]
    return found


def test_every_data_file_is_listed():
    listed = SETUP["package-data"]
    missing = [f"{package}: {name}" for package, names in data_files().items() for name in names
               if not any(fnmatch.fnmatch(str(name), pattern) and str(name).count("/") == pattern.count("/")
                          for pattern in listed.get(package, []))]
    assert not missing


def test_data_is_found_where_the_package_says():
    assert (files("rnnc.grammar") / "rnn.lark").is_file()
    assert (files("rnnc.samples") / "charlm.rnn").is_file()
    assert any(p.name.endswith(".rnn") for p in (files("rnnc.grammar") / "cells").iterdir())
    assert any(p.name.endswith(".j2") for p in files("rnnc.templates").iterdir())
    assert any(p.name.endswith(".h") for p in files("rnnc.runtime").iterdir())


def test_readme_and_ci_run_the_same_tests():
    assert "python -m pytest -n auto" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci/run").read_text().rstrip().endswith('python -m pytest -n auto "$@"')
    assert os.access(ROOT / ".ci/run", os.X_OK)


# ------------------------------------------------------------------------------------------- with --installs

def interpreter(version: str) -> str | None:
    """A Python of that version: by its usual name, or one that pyenv keeps."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    return str(kept[-1]) if kept else shutil.which(f"python{version}")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """A wheel built from a copy, so that no build folder is left in the tree or taken from it."""
    copy = tmp_path_factory.mktemp("source") / "rnnc"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".venv"))
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, copy], check=True)
    return next(out.glob("rnnc-*.whl"))


@pytest.mark.installs
def test_wheel_holds_every_file(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"{package.replace('.', '/')}/{name}" for package, names in data_files().items() for name in names}
    for package in SETUP["packages"]:
        wanted |= {f"{package.replace('.', '/')}/{p.name}" for p in home(package).glob("*.py")}
    assert not wanted - inside
    assert not [name for name in inside if "__pycache__" in name or name.startswith(("compiler/", "tests/"))]


@pytest.mark.installs
@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_fresh_installation_works(version, wheel, tmp_path):
    """In an empty folder: the import, the program, the module's way in, a model trained and asked for text."""
    python = interpreter(version) or pytest.skip(f"no Python {version} here")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run([bin / "python", "-m", "pip", "install", "--quiet", wheel], check=True)
    place = tmp_path / "empty"
    place.mkdir()
    clean = {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(place), "RNNC_CACHE": str(tmp_path / "cache")}

    def run(*command) -> str:
        done = subprocess.run(command, cwd=place, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("python", "-c", "import rnnc; print(rnnc.__version__)").strip()
    assert run("python", "-m", "rnnc", "--version") == run("rnnc", "--version")
    run("rnnc", "check", "charlm")
    run("rnnc", "build", "charlm", "-D", "hidden=16", "-o", "out", "--emit", "c,header,shared,example")
    run("rnnc", "train", "charlm", "-D", "hidden=16", "--epochs", "1", "--streams", "64", "--frames", "64")
    assert len(run("rnnc", "generate", "charlm-run", "--prompt", "The ", "--length", "50").rstrip("\n")) >= 50


@pytest.mark.installs
@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_working_copy_installs_editable(version, tmp_path):
    python = interpreter(version) or pytest.skip(f"no Python {version} here")
    copy = tmp_path / "rnnc"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "__pycache__", ".venv"))
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run([bin / "python", "-m", "pip", "install", "--quiet", "-e", f"{copy}[test]"], check=True)
    tests = ["tests/test_layout.py", "tests/test_packaging.py"]
    done = subprocess.run([bin / "python", "-m", "pytest", "-q", *tests], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
