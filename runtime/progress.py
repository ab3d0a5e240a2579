"""What training tells while it runs: a bar on a terminal, and the history that it returns."""

import sys
import time
from dataclasses import dataclass, field

from rnnc.runtime.words import figure, unknown


@dataclass
class History:
    """One row per epoch, and `curve`: (update, frames seen, mean loss since the last point), about a hundred points
    per epoch. `history["loss"]` is a column of the rows."""

    rows: list[dict] = field(default_factory=list)
    curve: list[list] = field(default_factory=list)

    def __getitem__(self, name: str) -> list:
        if self.rows and name not in self.columns():
            raise unknown("column of the history", name, self.columns())
        return [row.get(name) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def columns(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows for key in row))

    def __str__(self) -> str:
        return "\n".join("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
                         for row in self.rows)


class Bar:
    """Frames per second, loss and time left, on stderr; nothing unless asked for, or on a terminal."""

    def __init__(self, wanted: bool | None, total: int, done: int, epochs: int):
        self.bar, self.epochs, self.told = None, epochs, 0.0
        if wanted or (wanted is None and sys.stderr.isatty()):
            from tqdm import tqdm
            self.bar = tqdm(total=total, initial=done, unit="frame", unit_scale=True, dynamic_ncols=True,
                            smoothing=0.1, leave=True, file=sys.stderr)

    def tell(self, frames: int, epoch: int, loss: float) -> None:
        if self.bar is None:
            return
        now = time.monotonic()
        if now - self.told > 0.1:
            self.told = now
            self.bar.set_description_str(f"epoch {min(epoch + 1, self.epochs)}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(f"loss {figure(loss)}", refresh=False)
        self.bar.update(frames)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
