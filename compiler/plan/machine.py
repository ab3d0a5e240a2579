"""What a machine can do, as the cost model needs it: rates of one core, sizes of caches, the price of a meeting.

`TYPICAL` serves where nothing was measured; `rnnc.target.measure` fills one by measuring, once. All rates are those of
the fixed C itself (its tiles, its vector functions, its meetings), not of the silicon: a share of the silicon's limit
is what the tests of speed tell.
"""

from dataclasses import dataclass

WIDTHS = (1, 2, 3, 4)                          # vectors of columns in a panel
NAMES = ("L1", "L2", "L3", "memory")


@dataclass(frozen=True)
class Machine:
    """Seconds, bytes and operations (a multiply-add is two) of one core, in float32; float64 is half as fast."""

    name: str
    lanes: int                                 # numbers in a vector
    product: tuple[tuple[float, ...], ...]     # [vectors of columns - 1][rows - 1] -> operations a second of a tile
    sizes: tuple[int, int, int]                # bytes of L1 and L2 of a core, and of the L3 that all cores share
    read: tuple[float, float, float, float]    # bytes a second from L1, L2, L3 and memory
    memory: float                              # bytes a second from memory, all cores together
    plain: float                               # seconds a number for + or *, in vectors
    function: float                            # seconds a number for tanh, exp and their kin
    meeting: float                             # seconds that two threads take to meet; n threads: times log2 n
    region: float                              # seconds to wake the threads of a call and let them go
    call: float = 60e-9                        # seconds around one kernel for one step: loops, its last results
    begin: float = 25e-9                       # seconds around one tile: its sums go to memory and come back
    row: float = 3e-9                          # seconds to find the rows a kernel reads and writes, each
    touch: float = 0.5e-9                      # the same where a loop goes from row to row

    @property
    def peak(self) -> float:
        return max(max(rates) for rates in self.product)

    def most_rows(self, vectors: int) -> int:
        return len(self.product[min(vectors, len(self.product)) - 1])

    @property
    def at_once(self) -> int:
        """RN_AT_ONCE: vectors of a product of several panels."""
        return 4 if self.most_rows(4) >= 6 else 2

    def tile(self, vectors: int, rows: float) -> float:
        """Operations a second of tiles of about so many rows."""
        rates = self.product[min(vectors, len(self.product)) - 1]
        low = max(1, min(len(rates), int(rows)))
        high = min(len(rates), low + 1)
        part = min(1.0, max(0.0, rows - low))
        return rates[low - 1] * (1 - part) + rates[high - 1] * part

    def levels(self, threads: int = 1) -> tuple[tuple[str, float, float], ...]:
        """(name, bytes, bytes a second) of each level as one of `threads` cores sees it."""
        l1, l2, l3 = self.sizes
        shared = min(self.read[3], self.memory / threads)
        sizes = (l1 * 0.75, l2 * 0.85, l3 * 0.85 / threads, float("inf"))
        return tuple(zip(NAMES, sizes, (*self.read[:3], shared)))

    def rate(self, working_set: float, threads: int = 1) -> float:
        """Bytes a second of going to and fro over `working_set` bytes: each level serves the part that it holds."""
        rest, seconds = working_set, 0.0
        for _, size, speed in self.levels(threads):
            here = min(rest, size)
            seconds += here / speed
            rest -= here
            if rest <= 0:
                break
        return working_set / seconds if seconds else self.read[0]

    def level(self, working_set: float, threads: int = 1) -> str:
        """The level that holds a working set."""
        return next(name for name, size, _ in self.levels(threads) if working_set <= size)


def _tiles(peak: float, most: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """Typical shares of the peak: a tile with few sums waits for its own additions and for the panel."""
    return tuple(tuple(peak * min(0.95, 0.45 + 0.14 * (rows * v) ** 0.5 - 0.02 * max(0, rows - 6) * (v < 2))
                       for rows in range(1, rows_most + 1)) for v, rows_most in zip(WIDTHS, most))


TYPICAL = Machine("a typical core of 2024 with AVX-512 at 4 GHz (nothing was measured)", 16,
                  _tiles(250e9, (12, 12, 8, 6)), (48 << 10, 1 << 20, 32 << 20),
                  (450e9, 200e9, 110e9, 30e9), 40e9, 0.03e-9, 0.2e-9, 0.1e-6, 1.0e-6)
