"""The emitted C by itself: silent under every compiler and flag line, plain in what it needs, and used from C.

Compilers that are not installed are skipped by name; so is a sanitizer that does not work here.
"""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from compare import compare
from fixed_c import COMPILERS, MATHS, X86

import rnnc
from rnnc import pipeline
from rnnc.errors import CompileError, Source
from rnnc.front.parse import parse
from rnnc.target import build

HERE = Path(__file__).parent
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
STRICTER = [*STRICT, "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Wcast-qual"]
SAMPLES = [Path(str(files("rnnc.samples"))) / f"{name}.rnn" for name in
           ("charlm", "hierarchical", "moving_average", "own_cell", "paper_lstm", "sparse_gru", "tagger")]
DRIVER = HERE / "charlm.c"

# Matrices large enough to be asked in chunks, by a scalar, by vectors along either axis, corrected or not.
MEMORIES = """model memories(n = 50) {
    input x : [n]
    target y : [n]
    k = tanh(dense(n)(x))
    q = dense(n)(x)
    f = sigmoid(dense(n)(x))
    A = f[0] * A[t-1] + outer(x, k)
    B = B[t-1] * reshape(f, [1, n]) - 0.1 * outer(B[t-1] @ k, k) + outer(A @ q, q)
    C = C[t-1] * reshape(f, [n, 1]) + 0.1 * outer(k, B @ q - transpose(C[t-1]) @ k)
    D = D[t+1] + f[1] * outer(x - D[t+1] @ k, k)
    z = transpose(C) @ q + D[t+1] @ q
    output z
    loss mse(z, y)
}"""

# What an object file may ask of others: the C library's memory functions, libm, the clock of nobody.
MEMORY = {"memcpy", "memmove", "memset", "memcmp"}
SYSTEM = {"sched_yield", "getpid"}
MATHS_OF_LIBM = {"pow", "sqrt", "fmod", "powf", "sqrtf", "floor", "floorf", "fmodf"}


def standard_cells() -> dict[str, str]:
    """Applications of every standard cell that takes one vector, by name."""
    sizes = {"conv": "n, 3", "narx": "n, 3", "projected_lstm": "n, 5", "residual": "dense(n)", "layer_norm": "",
             "rms_norm": "", "fastgrnn": "n", "linear_recurrence": "n", "zoneout": "",
             "retention": "n, 2", "gated_linear_attention": "n, 2"}
    found = {}
    for path in sorted(Path(str(files("rnnc.grammar") / "cells")).glob("*.rnn")):
        cell, = [item for item in parse(Source(str(path), path.read_text())).items if item.name.id == path.stem]
        found[path.stem] = sizes.get(path.stem, ", ".join("n" for a in cell.sizes if a.default is None))
    return {name: given for name, given in found.items() if name != "embed"}       # it takes a label


def cells_program(names: dict[str, str]) -> str:
    lines = ["model cells(n = 20) {", "    input x : [n]", "    target y : [n]"]
    last = "x"
    for name, sizes in names.items():
        lines.append(f"    h_{name} = {name}({sizes})({last})")
        lines.append(f"    v_{name} = dense(n)(h_{name})")
        last = f"v_{name}"
    return "\n".join([*lines, f"    output p = {last}", f"    loss mse({last}, y)", "}"])


def programs() -> dict[str, tuple[str, str, dict]]:
    """name -> (file name, text, sizes)."""
    found = {path.stem: (path.name, path.read_text(), {}) for path in SAMPLES}
    for name in ("training", "wholes"):
        found[name] = (f"{name}.rnn", (HERE / "programs" / "good" / f"{name}.rnn").read_text(), {})
    found["memories"] = ("memories.rnn", MEMORIES, {})
    cells = list(standard_cells().items())
    for part in range(5):
        found[f"cells_{part}"] = ("cells.rnn", cells_program(dict(cells[part::5])), {})
    return found


PROGRAMS = programs()


@pytest.fixture(scope="module")
def emitted():
    """The C of a program, made once for each number type."""
    made = {}

    def get(name: str, **options):
        key = (name, *sorted(options.items()))
        if key not in made:
            file, text, sizes = PROGRAMS[name]
            made[key] = pipeline.emit(Source(file, text), pipeline.Options(**{"gradient": "all", **options}), sizes)
        return made[key]

    return get


def written(place: Path, made) -> Path:
    (place / f"{made.name}.h").write_text(made.header)
    (place / f"{made.name}.c").write_text(made.c)
    return place / f"{made.name}.c"


def command(*words, place: Path | None = None, silent: bool = True) -> str:
    done = subprocess.run([str(w) for w in words], cwd=place, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and not (silent and said), f"{' '.join(map(str, words))}\n{said[:3000]}"
    return said


def have(compiler: str) -> str:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    return compiler


def has_openmp(compiler: str) -> bool:
    probe = subprocess.run([have(compiler), "-fopenmp", "-fsyntax-only", "-x", "c", "-"], input="#include <omp.h>\n",
                           capture_output=True, text=True)
    return probe.returncode == 0


def documented(made) -> list[str]:
    """The flag line of the header, without the compiler's name, `-c` and what follows."""
    line = re.search(r"^ \* +cc (.*)$", made.header, re.M)[1]
    return line.split(" -c ")[0].split()


# ------------------------------------------------------------------------------------------------ silence

@pytest.mark.parametrize("name", PROGRAMS)
def test_gcc_is_silent_at_the_documented_line(emitted, tmp_path, name):
    made = emitted(name)
    flags = documented(made)
    assert "-lm" not in flags                  # before the objects it links nothing; the header says where it goes
    assert "-fopenmp" in flags and "-std=c11" in flags and "-ffast-math" not in flags
    command(have("gcc"), *flags, *STRICTER, "-c", written(tmp_path, made), "-o", tmp_path / "m.o")


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("name", ["moving_average", "sparse_gru"])
def test_calls_in_segments_are_silent_too(emitted, tmp_path, compiler, name):
    made = emitted(name, memory_limit=1 << 20, gradient="parameters")
    flags = [f for f in documented(made) if f != "-fopenmp" or has_openmp(compiler)]
    command(have(compiler), *flags, *STRICT, "-c", written(tmp_path, made), "-o", tmp_path / "m.o")


def test_the_line_is_that_of_the_target(emitted):
    line = documented(emitted("moving_average", target="x86-64-v3", openmp=False))
    assert "-march=x86-64-v3" in line and "-fopenmp" not in line


LINES = [("-O2", "-march=native", "-fopenmp"), ("-O2", "-march=native"), ("-O2", "-march=x86-64-v2", "-fopenmp"),
         ("-O3", "-march=x86-64-v3"), ("-O2", "-march=x86-64-v4")]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_silent_for_every_processor(emitted, tmp_path, compiler, line):
    """gcc warns while it optimises, clang before: so clang need not go to the end."""
    have(compiler)
    if "x86" in line[1] and not X86:
        pytest.skip("not an x86-64")
    if "-fopenmp" in line and not has_openmp(compiler):
        line = tuple(f for f in line if f != "-fopenmp")       # clang without libomp: nothing else changes
    names = ["tagger"] if compiler == "gcc" else list(PROGRAMS)
    for name in names:
        for dtype in ("float32", "float64") if name == "tagger" else ("float32",):
            end = ("-c", "-o", tmp_path / "m.o") if compiler == "gcc" else ("-fsyntax-only",)
            command(compiler, "-std=c11", *MATHS, *line, *STRICT, written(tmp_path, emitted(name, dtype=dtype)), *end)


@pytest.mark.parametrize("standard", ["c++11", "c++20"])
def test_the_header_is_also_c_plus_plus(emitted, tmp_path, standard):
    for name in PROGRAMS:
        written(tmp_path, emitted(name))
    text = "".join(f'#include "{emitted(name).name}.h"\n' for name in PROGRAMS if not name.startswith("cells"))
    (tmp_path / "all.cpp").write_text(text + '#include "cells.h"\nint main() { return charlm_abi() == 0; }\n')
    command(have("g++"), f"-std={standard}", *STRICT, "-fsyntax-only", tmp_path / "all.cpp")


MADE_OF_OTHERS = """rn_tile RN_PAD x_0 sums_1 near_1 k_a at_a v_a old_h h_past1 h_row h_row_u h_i a_table a_at
    at_h_past1 a a_part a_part_2 run_h_before_1 PANEL_7 AT_a FP_ZERO END_x slot_0 int32_t number_3
    gradient scores inputs state_gradient workspace tuning none call low high mine label u q wide""".split()


def words_of_the_c(made) -> list[str]:
    """Every word of the kernels that may be the name of a signal, and of the record of a call."""
    text = made.c[made.c.index("/* A call: everything"):made.c.index("} rn_call;")]
    text += made.c[made.c.index("= run */"):made.c.index("static size_t rn_layout_run")]
    words = [*MADE_OF_OTHERS, *re.findall(r"[A-Za-z_]\w*", re.sub(r"/\*.*?\*/", "", text, flags=re.S))]

    def allowed(word: str) -> bool:
        try:
            pipeline.check(Source("word.rnn", f"model m {{ input x_ : [2]\n {word} = x_\n output y_ = {word} }}"))
        except CompileError:
            return False
        return True

    ours = len(MADE_OF_OTHERS)                 # words with our prefixes are all alike: a few of them will do
    words = [*words[:ours], *(w for w in words[ours:] if not re.match(r"(rn|RN|run|AT|END|PANEL)_", w))]
    return [word for word in dict.fromkeys(words) if allowed(word) and word not in ("h", "x", "y", "U")]


def test_names_of_every_sort(emitted, monkeypatch):
    """Whatever the C calls its own things gives way to signals of that name; the header's names stay as they are."""
    words = words_of_the_c(emitted("own_cell"))
    assert {"rows", "part", "r", "real", "since", "products", "rn_tile", "zeros", "flags"} <= set(words)
    lines, last = ["model names(size = 3) {", "input x : [size]", "target y : [size]", "param U : [size, size]"], "x"
    lines += ["param mul_5, number_9 : [size]"]
    for i, word in enumerate(words):
        lines.append(f"{word} = 0.5 * {last} + 0.1 * h[t-1] + mul_5 - number_9 * " + ("x", f"sum({last})")[i % 16 == 8])
        last = word
    lines += [f"h = tanh(U @ h[t-1] + {last})", "output h, j, p, tuning, gradient, scores, none, real",
              "loss mse(h, y)", "}"]
    graph = pipeline.elaborated(Source("names.rnn", "\n".join(lines)))
    monkeypatch.setattr(build, "FLAGS", tuple("-O1" if f == build.LEVEL else f for f in build.FLAGS))    # sooner built
    made = pipeline.emit_graph(graph, pipeline.Options())
    assert re.search(r"float \*p;", made.header) and re.search(r"float \*real;", made.header)
    assert compare(graph, "float64", 1, 4, 2)["ratio"] is not None


@pytest.mark.parametrize("name", ["rn", "rn_layout"])
def test_a_model_that_is_called_like_our_own_names(name, tmp_path):
    """Its functions keep their names (rn_run), and ours give way, in C and in Python."""
    source = f"model {name} {{ input x : [3]\n target rn_y : [2]\n z = dense(2)(x)\n output z\n loss mse(z, rn_y) }}\n"
    made = pipeline.emit(Source("m.rnn", source), pipeline.Options(openmp=False))
    written(tmp_path, made)
    command(have("gcc"), "-std=c11", "-O1", *STRICT, "-c", tmp_path / f"{name}.c", "-o", tmp_path / "m.o")
    assert f"int {name}_run(" in made.header and f"{name.upper()}_WEIGHTS 8 " in made.header
    net = rnnc.compile(source, cache=False)
    assert net.name == name and net.backprop(x=np.zeros((2, 1, 3)), rn_y=np.ones((2, 1, 2))) == 1


# ------------------------------------------------------------------------------------------------ used from C

@pytest.fixture(scope="module")
def charlm(tmp_path_factory):
    """A folder with a small charlm and its driver."""
    place = tmp_path_factory.mktemp("charlm")
    file, text, _ = PROGRAMS["charlm"]
    written(place, pipeline.emit(Source(file, text), pipeline.Options(gradient="all"), {"vocab": 11, "hidden": 24}))
    return place


def objects(charlm, *flags, name="plain") -> Path:
    """The model's object file for some flags."""
    out = charlm / f"{name}.o"
    if not out.exists():
        command(have("gcc"), "-std=c11", *MATHS, *STRICT, *flags, "-c", charlm / "charlm.c", "-o", out)
    return out


def driver(charlm, model: Path, *flags) -> Path:
    out = model.with_suffix("")
    command("gcc", "-std=c11", *STRICT, "-I", charlm, *flags, DRIVER, model, "-o", out, "-lm", "-lpthread")
    return out


PLAIN, OPENMP = ("-O2", "-march=native"), ("-O2", "-march=native", "-fopenmp")


def test_a_program_in_c(charlm):
    """Packing, running, stepping, states, refusals, gradients, Adam, weights, threads of the host."""
    command(driver(charlm, objects(charlm, *PLAIN), "-O1"))


def test_the_same_with_openmp(charlm):
    command(driver(charlm, objects(charlm, *OPENMP, name="openmp"), "-O1", "-fopenmp"))


def works(flags, place: Path) -> bool:
    """Whether a sanitizer compiles, links and starts here."""
    probe = place / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    made = subprocess.run(["gcc", *flags, str(probe), "-o", str(place / "probe")], capture_output=True)
    return made.returncode == 0 and subprocess.run([str(place / "probe")], capture_output=True).returncode == 0


SANITIZERS = {"address": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
              "thread": ("-fsanitize=thread",)}


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_clean_under(charlm, tmp_path, sanitizer):
    flags = ("-O1", "-g", "-fno-var-tracking", "-march=native", *SANITIZERS[sanitizer])
    have("gcc")
    if not works(flags, tmp_path):
        pytest.skip(f"the {sanitizer} sanitizer does not work here")
    program = driver(charlm, objects(charlm, *flags, name=sanitizer), *flags)
    command(program, *(["hosted"] if sanitizer == "thread" else []))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory, emitted):
    """A folder with the C of values per sequence."""
    place = tmp_path_factory.mktemp("wholes")
    written(place, emitted("wholes"))
    return place


@pytest.mark.parametrize("how", ["plain", *SANITIZERS])
def test_whole_sequences_in_c(wholes, tmp_path, how):
    """The order of sequences, outputs, gradients, lists of labels, the host's threads; arrays are just large enough."""
    flags = ("-O1", "-g", "-fno-var-tracking", "-march=native", *SANITIZERS.get(how, ()))
    have("gcc")
    if not works(flags, tmp_path):
        pytest.skip(f"the {how} sanitizer does not work here")
    command("gcc", "-std=c11", *MATHS, *STRICT, *flags, "-I", wholes, HERE / "wholes.c", wholes / "wholes.c",
            "-o", tmp_path / "wholes", "-lm", "-lpthread")
    command(tmp_path / "wholes", *(["hosted"] if how == "thread" else []))


def symbols(model: Path, *options) -> list[tuple[str, str]]:
    lines = command("nm", *options, model, silent=False).splitlines()
    return [tuple(line.split()[-2:]) for line in lines]


def test_nothing_is_needed_but_libc_and_libm(charlm):
    """No allocation, no locks, no files: the linker would have to be asked for them. Threads that wait long for others
    sleep by a call of the system."""
    have("nm")
    needed = {name for _, name in symbols(objects(charlm, *PLAIN), "-u")}
    assert needed <= MEMORY | {"syscall", "sched_yield", "_GLOBAL_OFFSET_TABLE_"} | MATHS_OF_LIBM, needed
    more = {name for _, name in symbols(objects(charlm, *OPENMP, name="openmp"), "-u")} - needed
    assert all(name.startswith(("GOMP_", "omp_")) or name in SYSTEM for name in more), more


def test_no_writable_globals(charlm):
    """Constants only; with OpenMP one word more, the process that first entered a region."""
    have("nm")
    writable = lambda model: {re.sub(r"\.\d+$", "", name) for kind, name in symbols(model) if kind in "bBdDCsS"}
    assert writable(objects(charlm, *PLAIN)) == set()
    assert writable(objects(charlm, *OPENMP, name="openmp")) == {"rn_owner"}


def test_only_the_header_s_names_are_exported(charlm):
    have("nm")
    exported = {name for kind, name in symbols(objects(charlm, *PLAIN)) if kind == "T"}
    header = (charlm / "charlm.h").read_text()
    assert exported and all(name.startswith("charlm_") and f"{name}(" in header for name in exported)
    declared = set(re.findall(r"^[a-z].*?\b(charlm_\w+)\(", header, re.M))
    assert declared == exported


def test_the_header_says_what_goes_where(emitted):
    text = emitted("charlm").header
    for line in ("const int32_t *x;                         /* [frames][streams], labels 0..127 */",
                 "const int32_t *y;                         /* [frames][streams], labels 0..127; not for run */",
                 "float *p;                                 /* [frames][streams][128] */",
                 " *     h.0.Wi [256, 256]", "#define CHARLM_OFFSET_h_0_Wi ", " *     0: h.0.c, 1 frame",
                 "/* scores: loss"):
        assert line in text, line


def test_what_a_large_product_pushes_out_is_asked_for_beforehand():
    """Every row that the equations behind the product read or write, and none where panels leave room for them. The
    rows that a loop multiplies, which other threads have made, always; those of products outside of loops never."""
    text = "model m {{ input x : [8]\n h = tanh(dense({n})(x) + dense({n})(h[t-1]))\n output h }}"
    kernel = lambda n, stage=1: re.search(rf"static void run_{stage}_\d+\(.*?\n}}\n", pipeline.emit(
        pipeline.as_source(text.format(n=n)), pipeline.Options()).c, re.DOTALL)[0]
    large, small = kernel(256), kernel(32)
    assert "rn_fetch_rows(x_0, to - from, 256);" in large and "rn_fetch_rows(x_0, to - from, 32);" in small
    assert "rn_fetch_rows" not in kernel(256, 0)
    assert "rn_fetch(" not in small and "rn_fetch_to(" not in small
    read = set(re.findall(r"rn_load\((\w+\[j\] \+ u|c->\w+ \+ r .*? u)\)", large))
    written = set(re.findall(r"rn_store\((.*? \+ u), ", large))
    assert read and written and read == set(re.findall(r"rn_fetch\((.*), \w+\);", large))
    assert written == set(re.findall(r"rn_fetch_to\((.*), \w+\);", large))


def test_the_c_speaks_of_the_program(emitted):
    """Signals keep their names, kernels say which lines they compute, and loops why they run as they do."""
    text = emitted("charlm").c
    generated = text[text.index("== charlm */"):]
    for name in ("h_0_i", "h_0_f", "h_0_g", "h_0_o", "h_0_c", "h_1_h", "logits"):
        assert re.search(rf"\b{name}\b", generated)
    assert re.search(r"lstm\.rnn:\d+-\d+", generated) and re.search(r"charlm\.rnn:\d+", generated)
    assert "A loop forwards through time, one frame a step: each frame needs the one before it." in generated


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_clang_to_the_end(emitted, tmp_path, name):
    command(have("clang"), "-std=c11", *MATHS, "-O3", "-march=native", *STRICT, "-c",
            written(tmp_path, emitted(name)), "-o", tmp_path / "m.o")
