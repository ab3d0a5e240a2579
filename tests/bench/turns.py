"""Peers that take turns: each in a process of its own, kept alive; all but the one whose turn it is are stopped, so
that no waiting thread takes a core. Noise of the machine then hits all alike.

A turn's seconds are wall time per call; of one thread, processor time, which other programs cannot lengthen much. A
turn of several threads waits a while for the machine to be quiet, says what share of it others used meanwhile, and is
repeated if that was much.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PLACE = Path(__file__).parents[1]
QUIET = 0.05                                   # share of the machine that others may use in a turn that counts


class Fault(Exception):
    """What a peer said instead of an answer."""


class Peer:
    """A worker process, `module`. `name` may end in +mkl: MKL told to use AVX-512 on processors of another maker."""

    def __init__(self, name: str, threads: int, switch: str | None, log, module: str = "bench.worker"):
        self.name, self.threads = name, threads
        environment = dict(os.environ, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
                           OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        plain, _, mended = name.partition("+")
        if mended:
            environment["LD_PRELOAD"] = switch
        self.process = subprocess.Popen([sys.executable, "-m", module, plain, str(threads)], cwd=PLACE,
                                        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                                        text=True)
        self.alive = True
        self._signal(signal.SIGSTOP)

    def ask(self, command: str, argument=None, patience: float = 300) -> dict:
        """Wakes the process for one command."""
        if not self.alive:
            raise Fault("has ended")
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps([command, argument]) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            self.alive = False
            raise Fault("ended without an answer")
        self._signal(signal.SIGSTOP)
        found = json.loads(answer)
        if "error" in found:
            raise Fault(found["error"])
        return found

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Row:
    """What one peer reached on one workload."""

    workload: str
    peer: str
    threads: int
    check: list[float]
    prepared: float
    turns: list[dict] = field(default_factory=list)

    def counted(self) -> list[dict]:
        quiet = [t for t in self.turns if t["others"] <= QUIET or self.threads == 1]
        return quiet if len(quiet) >= 3 else self.turns

    @property
    def disturbed(self) -> bool:
        return self.threads > 1 and any(t["others"] > QUIET for t in self.counted())

    @property
    def seconds(self) -> float:
        return statistics.median(t["seconds"] for t in self.counted())

    def record(self) -> dict:
        seconds = [t["seconds"] for t in self.counted()]
        late = [t["late"] for t in self.counted() if "late" in t]
        return {"workload": self.workload, "peer": self.peer, "threads": self.threads, "seconds": self.seconds,
                "least": min(seconds), "most": max(seconds), "turns": len(seconds), "disturbed": self.disturbed,
                "prepared": round(self.prepared, 2), "check": self.check,
                **({"late": statistics.median(late)} if late else {})}


def busy() -> float:
    """Seconds that all cores together have worked so far."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


def settle(patience: float, look: float = 0.1) -> None:
    """Waits until nobody else works, but not for ever; all peers are stopped now."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        before = busy()
        time.sleep(look)
        if busy() - before <= look * QUIET * (os.cpu_count() or 1) + 0.01:
            return


def turn(peer: Peer, least: float, patience: float) -> dict:
    if peer.threads > 1:
        settle(patience)
    before, start = busy(), time.perf_counter()
    found = peer.ask("time", least)
    wall = time.perf_counter() - start
    mine = found.pop("all_cpu")                # the call that does not count included
    found["others"] = max(0.0, busy() - before - mine - 0.01) / (wall * (os.cpu_count() or 1))
    if peer.threads == 1 and "late" not in found:
        found["seconds"] = min(found["seconds"], found["cpu"] / found["calls"])
    return found


def compete(workload, peers: list[Peer], rounds: int, least: float, patience: float, tell) -> list[Row]:
    """All peers that can do the workload, in turns; who starts moves on from round to round."""
    rows: list[tuple[Peer, Row]] = []
    for peer in peers:
        try:
            made = peer.ask("make", workload.id)
        except Fault as fault:
            tell(f"{workload.id} {peer.name}: {fault}")
            continue
        if "check" in made:
            rows.append((peer, Row(workload.id, peer.name, peer.threads, made["check"], made["prepared"])))
    for count in range(rounds):
        shift = count % max(1, len(rows))
        for peer, row in [*rows[shift:], *rows[:shift]]:
            try:
                found = turn(peer, least, patience)
                if peer.threads > 1 and found["others"] > QUIET:     # once more; both are kept, the quiet ones count
                    row.turns.append(found)
                    found = turn(peer, least, patience)
                row.turns.append(found)
            except Fault as fault:
                tell(f"{workload.id} {peer.name}: {fault}")
    for peer, _ in rows:
        if peer.alive:
            peer.ask("drop")
    return [row for _, row in rows if row.turns]
