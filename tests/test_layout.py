"""The shape of the tree is a promise: imports go down, packages ship, files stay short, the face is lazy."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ["errors", "grammar", "templates", "samples", "front", "graph", "plan", "target", "draw", "explain",
          "pipeline", "cli", "__main__"]                                                             # low to high
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
HOME = {name: ROOT / folder for name, folder in SETUP["package-dir"].items()}
SOURCES = sorted(p for home in HOME.values() for p in home.rglob("*.py"))
FOLDERS = {"compiler", "runtime", "grammar", "templates", "tests", "samples"}
FILES = {"README.md", "pyproject.toml", "LICENSE"}
LIMIT = 400


def name_of(path: Path) -> str:
    for package, home in sorted(HOME.items(), reverse=True):
        if path.is_relative_to(home):
            return ".".join([package, *path.relative_to(home).with_suffix("").parts])
    raise AssertionError(f"{path} belongs to no package")


def layer(module: str) -> str:
    return (module.split(".") + ["", ""])[1]


def imported(path: Path):
    """What a file imports at module level: the public face and the command line may import lazily."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: write absolute imports"
            yield from (f"{node.module}.{a.name}" for a in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_go_down(path):
    me = layer(name_of(path))
    for target in imported(path):
        assert target.split(".")[0] not in FOLDERS, f"{name_of(path)} imports {target}: a second copy of the package"
        if not target.startswith("rnnc."):
            continue
        you = layer(target)
        if me == "runtime":                      # a delivered model needs no compiler
            assert you in ("runtime", "errors"), f"{name_of(path)} imports {target}"
        elif me == "__init__":
            raise AssertionError(f"the public face imports {target} before anybody asked for it")
        elif you == "runtime":
            assert me in ("cli", "__main__"), f"{name_of(path)} imports {target}"
        else:
            assert LAYERS.index(you) <= LAYERS.index(me), f"{name_of(path)} imports {target}"


def test_every_package_ships():
    on_disk = {name_of(p).removesuffix(".__init__") for p in SOURCES if p.name == "__init__.py"}
    assert on_disk == set(SETUP["packages"])


def test_every_folder_of_python_is_a_package():
    assert not [p for p in SOURCES if not (p.parent / "__init__.py").exists()]


def test_files_stay_short():
    """Python, templates and grammars; the fixed C of runtime/ has the limit too, tests as well."""
    files = [*SOURCES, *(ROOT / "tests").glob("*.py"), *(ROOT / "templates").glob("*.j2"), *ROOT.glob("runtime/*.h")]
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in files}
    assert not {name: n for name, n in lengths.items() if n > LIMIT}


def test_lines_stay_short():
    files = [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    long = [f"{p.relative_to(ROOT)}:{i}" for p in files
            for i, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 120]
    assert not long


def test_every_file_opens_with_a_docstring():
    assert not [name_of(p) for p in SOURCES if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]


def test_top_level_holds_only_what_was_agreed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert top <= FOLDERS | FILES | {".ci", ".gitignore"}


def loaded_after(code: str) -> set[str]:
    result = subprocess.run([sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
                            capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in result.stdout.split()}


def test_runtime_needs_no_compiler():
    assert not {"lark", "jinja2"} & loaded_after("import rnnc.runtime")


def test_import_is_light():
    assert not {"numpy", "lark", "cffi", "jinja2", "tqdm", "safetensors"} & loaded_after("import rnnc")


def test_command_line_starts_light():
    assert not {"numpy", "lark", "cffi", "jinja2"} & loaded_after("import rnnc.cli.app")
