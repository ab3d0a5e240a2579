"""The same work in other libraries, and in rnnc. Each file has `make(workload, data, peer, threads)`, which returns a
job (`step()` does the work once, `check()` does it and says numbers to compare) or None if the peer does not fit."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Job:
    step: Callable[[], object]
    check: Callable[[], list[float]] | None = None              # any_side.py compares in its own way
