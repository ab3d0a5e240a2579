"""Trained parameters as files beside the C: a blob that NAME_weights_read takes, or packed constants.

Both are made by the model's own C, through a net built for the same target, so that no second writer of either form
exists.
"""

import platform
import re
from pathlib import Path

from rnnc.cli.console import Refusal

# What Linux calls the features that tell the levels of x86-64 apart.
LEVELS = {"x86-64": set(), "x86-64-v2": {"sse4_2", "popcnt"}, "x86-64-v3": {"avx2", "fma", "bmi2"},
          "x86-64-v4": {"avx512f", "avx512bw", "avx512vl", "avx512dq"}}
WORDS_PER_LINE = 6


def delivered(name: str, net, embed: bool) -> dict[str, str | bytes]:
    """Name -> content of the files that carry the parameters of a net."""
    if not embed:
        return {f"{name}.weights": blob(net)}
    return constants(name, packed(net))


def packed_here(target: str) -> None:
    """Refuses to pack where the code that does it cannot run."""
    if not runs_here(target):
        raise Refusal(f"weights are packed by the code itself, and code for {target} does not run here; leave out "
                      "--embed-weights and let the program pack them when it starts")


def runs_here(target: str) -> bool:
    """Whether this machine can execute code for the target."""
    if target == "native":
        return True
    machine = platform.machine()
    if machine in ("aarch64", "arm64"):
        return target == "aarch64"
    if machine not in ("x86_64", "AMD64") or target not in LEVELS:
        return False
    try:
        found = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        return False
    return bool(found) and LEVELS[target] <= set(found.group(1).split())


def blob(net) -> bytes:
    """The flat weights with their header, as the model's own C writes them."""
    function = net.module.function("weights_write")
    ffi, pointer = net.module.ffi, net._vector(net.theta)
    size = function(pointer, ffi.NULL, 0)
    memory = ffi.new("char[]", size)
    function(pointer, memory, size)
    return bytes(ffi.buffer(memory, size))


def packed(net) -> bytes:
    return bytes(net.module.ffi.buffer(net._pack(), net.module.function("packed_size")()))


def constants(name: str, data: bytes) -> dict[str, str]:
    """A C file with the packed weights as constant words on a cache line, and its header."""
    data += bytes(-len(data) % 8)
    words = [f"0x{int.from_bytes(data[i: i + 8], 'little'):x}" for i in range(0, len(data), 8)]
    lines = [", ".join(words[i: i + WORDS_PER_LINE]) + "," for i in range(0, len(words), WORDS_PER_LINE)]
    guard = f"{name.upper()}_WEIGHTS_H"
    array = f"const uint64_t {name}_packed_weights[{len(words)}]"
    header = (f"/* Trained parameters of {name}, packed: hand them to {name}_run as `packed`. */\n"
              f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\nextern {array};\n\n#endif\n")
    body = (f"/* Trained parameters of {name}, packed for the processor that {name}.c is compiled for. */\n"
            f"#include <stdalign.h>\n\n#include \"{name}_weights.h\"\n\n"
            f"alignas(64) {array} = {{\n" + "\n".join(lines) + "\n};\n")
    return {f"{name}_weights.h": header, f"{name}_weights.c": body}


def vocabulary(name: str, characters: str) -> dict[str, str]:
    """A header with the characters of a text model: label i stands for the i-th string, in UTF-8."""
    rows = [f'    "{_escaped(c)}",' for c in characters]
    guard = f"{name.upper()}_VOCABULARY_H"
    return {f"{name}_vocabulary.h": (
        f"/* The characters that {name} knows: label i is the i-th of them, in UTF-8. */\n"
        f"#ifndef {guard}\n#define {guard}\n\n#define {name.upper()}_VOCABULARY {len(characters)}\n\n"
        f"static const char *const {name}_vocabulary[{name.upper()}_VOCABULARY] = {{\n" + "\n".join(rows)
        + "\n};\n\n#endif\n")}


def _escaped(character: str) -> str:
    """Inside a C string: printable ASCII as it is, every other byte in octal, which always has three digits here."""
    return "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in character.encode())
