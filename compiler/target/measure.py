"""This machine for the cost model: a small program around the fixed C is run once, and its answer is kept.

In: nothing. Out: a `Machine`. The answer lies in the cache folder, under a digest of the program, the compiler and the
processor; a machine without a C compiler is a typical one.
"""

import json
import os
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

from rnnc.errors import ToolchainError
from rnnc.plan.machine import TYPICAL, Machine
from rnnc.target import cache
from rnnc.target.build import find_compiler, flags, has_openmp, identity, run
from rnnc.target.module import FIXED

PATIENCE = 60                                  # seconds; it takes about one
# On a busy machine meetings measure the scheduler instead: seconds above which a figure is not believed.
SLOWEST_MEETING, SLOWEST_REGION = 1e-6, 1e-5


def machine(again: bool = False) -> Machine:
    """The machine this process runs on, measured now if it never was or if `again`."""
    text = source()
    place = cache.root() / f"machine-{cache.digest(text, identity())}.json"
    if not again:
        try:
            return made(json.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            pass
    try:
        found = measured(text)
    except (ToolchainError, subprocess.SubprocessError, OSError, ValueError):
        return TYPICAL
    part = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(found), encoding="utf-8")
        os.replace(part, place)
    except OSError:                            # a full disk costs the next call a second, no more
        part.unlink(missing_ok=True)
    return made(found)


def source() -> str:
    pasted = [(files("rnnc.runtime") / name).read_text() for name in FIXED]
    probe = (files("rnnc.runtime") / "limits.c").read_text()
    return "\n".join(["#define RN_DOUBLE 0", *pasted, probe])


def measured(text: str) -> dict:
    compiler = find_compiler()
    with tempfile.TemporaryDirectory(prefix="rnnc-machine-") as place:
        Path(place, "limits.c").write_text(text, encoding="utf-8")
        command = [*compiler.command, *flags("native", has_openmp(compiler), compiler), "-std=gnu11", "-w"]
        run([*command, "limits.c", "-o", "limits", "-lm"], Path(place))
        answer = subprocess.run([str(Path(place, "limits"))], check=True, capture_output=True, text=True,
                                timeout=PATIENCE)
    return json.loads(answer.stdout) | {"name": name(), "sizes": [size(1), size(2), size(3)]}


def made(found: dict) -> Machine:
    read = tuple(sorted(map(float, found["read"]), reverse=True))         # noise may not turn the levels round
    sizes = tuple(int(s) or t for s, t in zip(found["sizes"], TYPICAL.sizes))
    return Machine(found["name"], int(found["lanes"]), tuple(map(tuple, found["product"])), sizes, read,
                   read[3] * 1.2, found["plain"], found["function"],
                   believed(found["meeting"], SLOWEST_MEETING, TYPICAL.meeting),
                   believed(found["region"], SLOWEST_REGION, TYPICAL.region))


def believed(seconds: float, slowest: float, typical: float) -> float:
    """A measured figure, or the typical one where there is none (one core) or it cannot be."""
    return seconds if 0 < seconds <= slowest else typical


def name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), os.uname().machine)
    return f"{model}, measured"


def size(level: int) -> int:
    """Bytes of data in a cache of the first core; 0 if the system does not tell."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            read = lambda what, index=index: (index / what).read_text().strip()
            if read("level") == str(level) and read("type") != "Instruction":
                text = read("size")
                return int(text.rstrip("KM")) << (20 if text.endswith("M") else 10)
        except (OSError, ValueError):
            continue
    return 0
