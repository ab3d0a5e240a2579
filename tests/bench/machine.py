"""The machine of a run: processor, versions, and the limits that limits.c measures."""

import importlib.metadata
import json
import os
import platform
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("rnnc", "numpy", "torch", "jax", "jaxlib", "onnxruntime", "openvino")
# One line that makes MKL take its AVX-512 kernels on processors of another maker.
MKL = "int mkl_serv_intel_cpu_true(void) { return 1; }"


@dataclass(frozen=True)
class Limits:
    """By number of threads: operations and bytes a second, of all threads together. Sizes are one core's."""

    peak: dict[int, float]
    l1: dict[int, float]
    l2: dict[int, float]
    l3: dict[int, float]
    l1_bytes: int
    l2_bytes: int
    lines: list[dict]                          # what was measured, for the record


def limits(threads: list[int]) -> Limits:
    with tempfile.TemporaryDirectory() as place:
        program = str(Path(place, "limits"))
        compile_c(Path(__file__).with_name("limits.c"), program, "-fopenmp")
        lines = [json.loads(subprocess.run([program, str(n)], check=True, capture_output=True, text=True).stdout)
                 for n in sorted({1, *threads})]
    rate = lambda kib: {line["threads"]: line["gbytes"][str(kib)] * 1e9 for line in lines}
    return Limits({line["threads"]: line["gflops"] * 1e9 for line in lines}, rate(16), rate(512), rate(8192),
                  cache(1) or 32 << 10, cache(2) or 1 << 20, lines)


def compile_c(source: Path, result: str, *flags: str) -> None:
    subprocess.run([os.environ.get("CC", "gcc"), "-O3", "-march=native", *flags, str(source), "-o", result], check=True)


def mkl_switch(place: str) -> str | None:
    """The path of a shared object to preload; None where MKL needs none."""
    if "GenuineIntel" in cpuinfo():
        return None
    source, result = Path(place, "mkl.c"), str(Path(place, "mkl.so"))
    source.write_text(MKL)
    compile_c(source, result, "-shared", "-fPIC")
    return result


def cache(level: int) -> int:
    """Bytes of data that one core's cache holds."""
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        read = lambda name, index=index: (index / name).read_text().strip()
        if read("level") == str(level) and read("type") != "Instruction":
            return int(read("size").rstrip("K")) << 10
    return 0


def cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def processor() -> str:
    names = [line.split(":")[1].strip() for line in cpuinfo().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    line = subprocess.run([os.environ.get("CC", "gcc"), "--version"], capture_output=True, text=True).stdout
    return found | {"compiler": line.splitlines()[0] if line else "?"}
