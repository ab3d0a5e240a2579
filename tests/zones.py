"""Runs a program with red zones in its memory, for test_zones.py: `python zones.py NAME`, under the address sanitizer.

All buffers of a call lie in one workspace, where no sanitizer sees what goes from one into the next. Here the emitted C
leaves gaps behind the buffers of the workspace, of the state and of the packed weights, and poisons them; so are the
bytes behind each array of the caller. A vector behind a buffer may be read, but not written, and whatever stands there
must change no bit. Masked loads and stores, which the sanitizer does not see, go number by number.
"""

import ctypes
import mmap
import re
import sys
import zlib
from importlib.resources import files

import numpy as np
from compare import draw_data, force, set_params
from test_c import MEMORIES

from rnnc import pipeline
from rnnc.plan import few, waves
from rnnc.runtime import arrays, net, state
from rnnc.runtime.module import load
from rnnc.target import build

PARTS = """model parts {
    input x : [16]   target y : [13]
    h = tanh(dense(16)(x) + dense(16)(h[t-1]))
    z = exp(h[3:16]) + h[t-1][3:16] * x[3:16]
    output h, z
    loss mse(z, y)
}"""
WHOLES = """model wholes {
    input x : [3]   input q : [5] per sequence   target y : labels(4)
    h = tanh(dense(5)(x) + q + dense(5)(h[t-1]))
    output s = last(h)
    loss ctc(dense(5)(h), y)
}"""
SAMPLE = lambda name: (files("rnnc.samples") / f"{name}.rnn").read_text()
PROGRAMS = {                                   # text, sizes, options
    "parts": (PARTS, {}, {}),
    "in segments": (SAMPLE("moving_average"), {}, {"memory_limit": 1}),
    "memories": (MEMORIES, {"n": 17}, {"target": "x86-64-v2"}),
    "bytes": (SAMPLE("charlm"), {"vocab": 11, "hidden": 7}, {"weights": "int8"}),
    "wholes": (WHOLES, {}, {"dtype": "float64"})}
GAP = 256                                      # bytes
CALLS = ((1, 1, 1, "crews"), (3, 2, 2, "crews"), (70, 3, 1, "crews"), (6, 5, 2, "streams"))  # frames, streams, threads
HEAD = """
#define GAP 256
void __asan_poison_memory_region(void const volatile *, size_t);
void __asan_unpoison_memory_region(void const volatile *, size_t);
static char *rz_end[1024];                     /* of each buffer of the last call */
static int rz_ends;
int rz_written(int fill) {
    for (int i = 0; i < rz_ends; i++)
        for (size_t k = 0; k < sizeof(rn_v); k++)
            if (rz_end[i][k] != (char)fill) return i;
    return -1;
}
static void *rz_zone(void *from, size_t bytes, size_t room) {
    __asan_poison_memory_region(from, room), __asan_unpoison_memory_region(from, bytes);
    return from;
}
#define RN_HASH"""
GIVE = """    const size_t room = rn_up(bytes + sizeof(rn_v)) + GAP;
    if (!at->used) rz_ends = 0;
    if (place) rz_end[rz_ends++] = (char *)rz_zone(place, bytes + sizeof(rn_v), room) + bytes;
    at->used += room;
"""
STATE = """static void rz_state(void *state, int B) {
    rz_zone(state, RN_LINE + (size_t)B * RN_COUNTS * 8, rn_state_at(B, RN_ENTRIES) - GAP);
    for (int i = 0; i < RN_ENTRIES; i++)      /* behind the last one nothing is ours */
        __asan_unpoison_memory_region(rn_state_entry(state, i, B), rn_entries[i].depth * B * rn_entries[i].row
                                                                   + (i + 1 < RN_ENTRIES) * RN_LINE);
}
RN_UNUSED static void rz_copy(void *to, void *from, size_t bytes, int B) {
    memcpy(rz_zone(to, bytes, bytes), rz_zone(from, bytes, bytes), bytes), rz_state(to, B), rz_state(from, B);
}
/* The seed of"""
CHANGES = [
    (r"#define RN_HASH", HEAD), (r"#if defined\(RN_MASKED_\w+\)", "#if 0"), (r"/\* The seed of", STATE),
    (r"    at->used \+= rn_up\(bytes \+ sizeof\(rn_v\)\);\n", GIVE),
    (r"(RN_STATE_0 = 2 \* RN_LINE|RN_STATE_\d+ = RN_STATE_\d+ \+ RN_UP\(.*\)),\n", r"\1 + GAP,\n"),
    (r"_state_size\(int streams\) { .* rn_state_at\(streams, RN_ENTRIES\)", r"\g<0> - GAP"),
    (r"(size_t at = RN_LINE \+ rn_up\(.*\)| at \+= rn_up\(.*row\));\n", r"\1 + GAP;\n"),
    (r"    (memset\(state, 0, )(\w+_state_size\(streams\))\);\n(.*)\n",
     r"    __asan_unpoison_memory_region(state, \2);\n    \1\2);\n\3\n    rz_state(state, streams);\n"),
    (r"memcpy\((states|next), (.*), bytes\);", r"rz_copy(\1, \2, bytes, streams);"),
    (r"^    ([A-Z]+_\w+) = (END_\w+),", r"    \1 = \2 + GAP / 4,")]


def with_zones(c: str) -> str:
    """The same C with gaps. Not every program has segments; all else that is changed has to be there."""
    for old, new in CHANGES:
        c, found = re.subn(old, new, c, flags=re.M)
        assert found or "memcpy" in old or "END" in old, old
    ends = re.findall(r"^    END_(\w+) = ", c, re.M)
    zones = "".join(f"    rz_zone(p + {e}, sizeof(real) * (END_{e} - {e}) + sizeof(rn_v), "
                    f"sizeof(real) * (END_{e} - {e}) + sizeof(rn_v) + GAP / 2);\n" for e in ends[:-1])
    return re.sub(r"    rn_packing packing = .*\n", rf"\g<0>    real *const p = packed;\n    (void)p;\n{zones}", c)


class Memory:
    """Vectors full of one byte, with poison directly behind, one after the other."""

    def __init__(self, size: int = 1 << 28):
        self.all, self.used, self.fill = np.frombuffer(mmap.mmap(-1, size), np.uint8), 0, 0
        self.poison, self.free = (ctypes.CDLL(None)[f"__asan_{name}_memory_region"] for name in ("poison", "unpoison"))

    def begin(self, fill: int) -> None:
        self.free(ctypes.c_void_p(self.all.ctypes.data), ctypes.c_size_t(self.used))
        self.used, self.fill = 0, fill

    def take(self, count: int, dtype, line: int = 64) -> np.ndarray:
        start = -(-self.used // line) * line
        end = start + count * np.dtype(dtype).itemsize
        self.used = -(-(end + GAP) // 8) * 8
        self.all[start:end] = self.fill
        self.poison(ctypes.c_void_p(self.all.ctypes.data + end), ctypes.c_size_t(self.used - end))
        return self.all[start:end].view(dtype)

    def copies(self, arrays: dict) -> dict:
        """Of arrays as C takes them, each on a boundary of its own numbers."""
        found = {}
        for name, a in arrays.items():
            if isinstance(a, np.ndarray):
                a = a.astype(np.int32) if a.dtype.kind == "i" else a
                found[name] = self.take(a.size, a.dtype, a.itemsize).reshape(a.shape)
                found[name][...] = a
            else:
                found[name] = a                # lists of labels, or None
        return found


def bits_of(module, graph, data, memory: Memory, fill: int, threads: int, plan: str, limit: int | None) -> list[bytes]:
    """What every function leaves in memory that was full of `fill`."""
    memory.begin(fill)
    made, bits = net.Net(module, memory_limit=limit), []
    made.threads = threads
    set_params(made, data)
    force(made, plan)
    copied, starts = memory.copies({**data.inputs, **data.targets}), memory.copies({"starts": data.starts})
    inputs, told = {n: copied[n] for n in data.inputs}, {**starts, **memory.copies({"weight": data.weight})}

    def leaves(*values) -> None:
        behind = module.lib.rz_written(fill - 256 * (fill > 127))
        assert behind < 0, f"buffer {behind} was written beyond its end"
        bits.extend(np.ascontiguousarray(v).tobytes() for v in values)

    used = made.state(data.streams)
    for more in ({"state": used}, {"state": used}, {}):
        out = memory.copies({name: np.zeros_like(v) for name, v in made.run(**inputs, **starts).items()})
        leaves(*made.run(**inputs, **starts, **more, out=out).values(), *used.to_arrays().values())
    if made.manifest["lookahead"] is None and not made._border.whole:
        leaves(*made.step(used, **memory.copies({n: v[0] for n, v in inputs.items()})).values())
    if data.targets:
        leaves(*made.evaluate(**copied, **told).values())
        for accumulate in (False, True):
            made.draws = 0
            leaves(made.backprop(**copied, **told, accumulate=accumulate), made.gradient)
    if "vjp" in made.manifest["functions"]:
        back = made.vjp({**memory.copies(data.cotangents), "state": used}, **inputs, **starts, state=used)
        leaves(made.gradient, *back.pop("state").to_arrays().values(), *back.values())
    return bits


def main(name: str) -> None:
    text, sizes, options = PROGRAMS[name]
    arrays.aligned = net.aligned = state.aligned = net.zeros = lambda *asked: memory.take(*asked)
    net.again = net.trained_again = net.remember = lambda *_: None             # every call in memory of its own
    net.Net._workspace = lambda self, asked: self.module.ffi.from_buffer(memory.take(self._bytes(*asked), np.uint8))
    memory, waves.ROWS, waves.FEW, waves.FINE = Memory(), 8, 8, 3
    options = pipeline.Options(**{"gradient": "all", **options})
    graph = pipeline.elaborated(pipeline.as_source(text), None, sizes)
    if zlib.crc32(name.encode()) % 2:          # half of them with rows one by one
        few.ENTRIES = 1
    made = pipeline.emit_graph(graph, options)
    build.FLAGS = ("-O0" if f == build.LEVEL else f for f in build.FLAGS)
    module = load(build.build(with_zones(made.c), made.cdef + "\nint rz_written(int fill);\n", made.header,
                              made.manifest, options, whole=True))
    for frames, streams, threads, plan in CALLS:
        data = draw_data(graph, 1, options.dtype, frames, streams)
        found = [bits_of(module, graph, data, memory, fill, threads, plan, options.memory_limit)
                 for fill in (0, 0xff)]
        wrong = [i for i, (a, b) in enumerate(zip(*found)) if a != b]
        assert not wrong, f"{frames} frames, {streams} streams: what nobody wrote was read (results {wrong})"


if __name__ == "__main__":
    main(sys.argv[1])
