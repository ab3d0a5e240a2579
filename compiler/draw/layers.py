"""Places items of a directed graph without cycles in columns from left to right (Sugiyama's method).

In: `Item`s with their sizes, `Link`s between their ports. Out: a `Layout`: the centre of every item, and for every
link the points it goes through. Long links pass other columns in slots of their own; links that leave one port share
their way as far as they can. Everything is deterministic.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

SLOT = "slot"                                  # first entry of the key of a place where a long link passes a column
SWEEPS = 12


@dataclass(frozen=True)
class Item:
    """`pin`: "first" or "last" keeps an item in the outer columns."""

    key: object
    width: float
    height: float
    pin: str | None = None


@dataclass(frozen=True)
class Link:
    """From the right edge of `source` to the left edge of `target`, at these distances below their centres."""

    source: object
    target: object
    leave: float = 0.0
    enter: float = 0.0


@dataclass
class Layout:
    centre: dict[object, tuple[float, float]]
    links: list[Link]
    ways: list[tuple[tuple[float, float], ...]]          # for each link: its points
    width: float
    height: float


@dataclass
class _Columns:
    items: dict[object, Item]
    column: dict[object, int]
    order: list[list] = field(default_factory=list)      # keys of each column, from the top
    left: dict = field(default_factory=lambda: defaultdict(list))     # key -> [(other key, own port, other's port)]
    right: dict = field(default_factory=lambda: defaultdict(list))


def place(items: Sequence[Item], links: Sequence[Link], across: float = 44, down: float = 14) -> Layout:
    """Positions for all; `across` and `down` are the gaps between columns and between items of one column. Parts that
    no link joins are placed one below the other."""
    whole = Layout({}, [], [], 0, 0)
    for part in _parts(items, links):
        inside = {item.key for item in part}
        found = _place(part, [link for link in links if link.source in inside], across, down)
        below = whole.height + down if whole.height else 0.0
        whole.centre |= {key: (x, y + below) for key, (x, y) in found.centre.items()}
        whole.links += found.links
        whole.ways += [tuple((x, y + below) for x, y in way) for way in found.ways]
        whole.width, whole.height = max(whole.width, found.width), below + found.height
    return whole


def _parts(items: Sequence[Item], links: Sequence[Link]) -> list[list[Item]]:
    """Items that links join, the part with the first item first."""
    near = defaultdict(list)
    for link in links:
        near[link.source].append(link.target)
        near[link.target].append(link.source)
    part: dict[object, int] = {}
    for item in items:
        waiting = [item.key]
        number = part.setdefault(item.key, len(part))
        while waiting:
            for other in near[waiting.pop()]:
                if other not in part:
                    part[other] = number
                    waiting.append(other)
    return [[item for item in items if part[item.key] == number] for number in sorted(set(part.values()))]


def _place(items: Sequence[Item], links: Sequence[Link], across: float, down: float) -> Layout:
    columns = _Columns({item.key: item for item in items}, _column(items, links))
    chains = _chain(columns, links)
    _sort(columns)
    heights = _heights(columns, down)
    widths = [max((columns.items[key].width for key in keys), default=0) for keys in columns.order]
    starts = [sum(widths[:i]) + across * i for i in range(len(widths))]
    middle = lambda key: starts[columns.column[key]] + widths[columns.column[key]] / 2
    top = min(heights[key] - columns.items[key].height / 2 for key in heights)
    centre = {key: (middle(key), y - top) for key, y in heights.items()}
    ways = [_way(columns, centre, widths, link, chain) for link, chain in zip(links, chains)]
    bottom = max(centre[key][1] + columns.items[key].height / 2 for key in centre)
    kept = {key: at for key, at in centre.items() if not _is_slot(key)}
    return Layout(kept, list(links), ways, starts[-1] + widths[-1], bottom)


def _is_slot(key) -> bool:
    return isinstance(key, tuple) and key[:1] == (SLOT,)


def _column(items: Sequence[Item], links: Sequence[Link]) -> dict[object, int]:
    """Longest path from the left; what reads nothing moves next to its first reader."""
    readers, missing = defaultdict(list), {item.key: 0 for item in items}
    for link in links:
        readers[link.source].append(link.target)
        missing[link.target] += 1
    pins = {item.key: item.pin for item in items}
    inner = 1 if any(pin == "first" for pin in pins.values()) else 0
    column = {key: 0 if pin == "first" else inner for key, pin in pins.items()}
    roots = [key for key, count in missing.items() if not count]
    ready, order = list(roots), []
    while ready:
        key = ready.pop(0)
        order.append(key)
        for reader in readers[key]:
            column[reader] = max(column[reader], column[key] + 1)
            missing[reader] -= 1
            if not missing[reader]:
                ready.append(reader)
    for key in roots:
        if pins[key] is None and readers[key]:
            column[key] = max(column[key], min(column[r] for r in readers[key]) - 1)
    last = max([c for key, c in column.items() if pins[key] != "last"], default=0) + 1
    for key, pin in pins.items():
        if pin == "last":
            column[key] = last
    return column


def _chain(columns: _Columns, links: Sequence[Link]) -> list[list]:
    """Slots for the columns that links pass; every step from one column to the next is recorded on both sides."""
    chains, steps = [], {}
    for link in links:
        keys = [link.source]
        for column in range(columns.column[link.source] + 1, columns.column[link.target]):
            slot = (SLOT, link.source, link.leave, column)
            columns.items.setdefault(slot, Item(slot, 0, 4))
            columns.column[slot] = column
            keys.append(slot)
        keys.append(link.target)
        chains.append(keys)
        for a, b in zip(keys, keys[1:]):
            steps[a, b, link.leave if a == link.source else 0.0, link.enter if b == link.target else 0.0] = True
    for a, b, leave, enter in steps:
        columns.right[a].append((b, leave, enter))
        columns.left[b].append((a, enter, leave))
    columns.order = [[] for _ in range(max(columns.column.values()) + 1)]
    for key, column in columns.column.items():
        columns.order[column].append(key)
    return chains


def _sort(columns: _Columns) -> None:
    """Orders each column by the middle of its neighbours, from left and right in turn; keeps the fewest crossings."""
    best, least = [list(keys) for keys in columns.order], _crossings(columns)
    for sweep in range(SWEEPS):
        forwards = sweep % 2 == 0
        numbers = range(1, len(columns.order)) if forwards else range(len(columns.order) - 2, -1, -1)
        for number in numbers:
            at = _ranks(columns)
            sides = columns.left if forwards else columns.right
            middle = {}
            for key in columns.order[number]:
                near = [at[other] + port / 1000 for other, _, port in sides[key]]
                middle[key] = sum(near) / len(near) if near else at[key]
            columns.order[number].sort(key=lambda key: middle[key])
        count = _crossings(columns)
        if count < least:
            best, least = [list(keys) for keys in columns.order], count
    columns.order = best


def _ranks(columns: _Columns) -> dict[object, float]:
    """The place of each item in its column, from 0 to 1 so that columns of all lengths compare."""
    return {key: (i + 0.5) / len(keys) for keys in columns.order for i, key in enumerate(keys)}


def _crossings(columns: _Columns) -> int:
    count = 0
    for keys, following in zip(columns.order, columns.order[1:]):
        at = {key: i for i, key in enumerate(following)}
        seen: list = []
        for key in keys:
            ends = [(at[other], enter) for other, _, enter in sorted(columns.right[key], key=lambda step: step[1])]
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _heights(columns: _Columns, gap: float) -> dict[object, float]:
    """Centres: each item as near the middle of its neighbours as order and gaps allow."""
    at: dict[object, float] = {}
    for keys in columns.order:
        y = 0.0
        for key in keys:
            y += columns.items[key].height / 2
            at[key] = y
            y += columns.items[key].height / 2 + gap
    for sweep in range(2 * SWEEPS):
        numbers = range(len(columns.order)) if sweep % 2 else range(len(columns.order) - 1, -1, -1)
        for number in numbers:
            keys = columns.order[number]
            wanted = []
            for key in keys:
                near = [at[other] + port - own for side in (columns.left, columns.right)
                        for other, own, port in side[key]]
                wanted.append(sum(near) / len(near) if near else at[key])
            weights = [6.0 if _is_slot(key) else 1.0 + 0.2 * len(columns.left[key]) for key in keys]
            for key, y in zip(keys, _spaced([columns.items[key].height for key in keys], wanted, weights, gap)):
                at[key] = y
    return at


def _spaced(heights: list[float], wanted: list[float], weights: list[float], gap: float) -> list[float]:
    """The centres nearest to `wanted` (weighted least squares) that keep order and gaps: pooled neighbours."""
    offsets, y = [], 0.0
    for i, height in enumerate(heights):
        y += (heights[i - 1] + height) / 2 + gap if i else 0.0
        offsets.append(y)
    pools: list[list[float]] = []                        # mean, weight, count
    for want, weight, offset in zip(wanted, weights, offsets):
        pools.append([want - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, heavy, count = pools.pop()
            total = pools[-1][1] + heavy
            pools[-1] = [(pools[-1][0] * pools[-1][1] + mean * heavy) / total, total, pools[-1][2] + count]
    flat = [mean for mean, _, count in pools for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(flat, offsets)]


def _way(columns: _Columns, centre, widths: list[float], link: Link, chain: list) -> tuple[tuple[float, float], ...]:
    """Level across every column, so that it bends only in the gaps between them, where nothing stands."""
    points = []
    for key in chain:
        x, y = centre[key]
        half, column = columns.items[key].width / 2, widths[columns.column[key]] / 2
        if key == link.source:
            points += [(x + half, y + link.leave), (x + column, y + link.leave)]
        elif key == link.target:
            points += [(x - column, y + link.enter), (x - half, y + link.enter)]
        else:
            points += [(x - column, y), (x + column, y)]
    return tuple(point for i, point in enumerate(points) if i == 0 or point != points[i - 1])
