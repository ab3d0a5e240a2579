"""Where things stand: the paths by which parameters and signals are known outside, `h.0.Wi`.

An equation has a place; a cell that is the whole right side takes it over, a cell inside a larger expression gets a
place of its own below, named after the cell and counted in the order of the text (`y.lstm`, `y.lstm_2`). Since parts
of a text may be elaborated in any order, those names are given when all is known. A `Store` holds the parameters of
one owner; applications that share parameters share a store.
"""

from dataclasses import dataclass, field


class Place:
    """One step of a path. `sites`: the cells inside the expression that stands here, by their order in the text."""

    __slots__ = ("parent", "label", "sites", "named")

    def __init__(self, parent: "Place | None" = None, label: str | None = ""):
        self.parent, self.label = parent, label
        self.sites: dict[tuple, tuple[str, Place]] = {}
        self.named: dict[str, Place] = {}

    def at(self, label: str) -> "Place":
        """The place of an equation, a part or a parameter below this one."""
        if label not in self.named:
            self.named[label] = Place(self, label)
        return self.named[label]

    def site(self, key: tuple, word: str) -> "Place":
        """The place of an application inside the expression that stands here."""
        if key not in self.sites:
            self.sites[key] = (word, Place(self, None))
        return self.sites[key][1]

    def path(self) -> str:
        """`h.0.Wi`; only once everything is elaborated, because labels of sites depend on the sites before them."""
        above = self.parent.path() if self.parent is not None else ""
        label = self.parent.label_of(self) if self.label is None else self.label
        return f"{above}.{label}" if above and label else above or label

    def label_of(self, place: "Place") -> str:
        taken = set(self.named)
        for key in sorted(self.sites):
            word, there = self.sites[key]
            label, count = word, 1
            while label in taken:
                count += 1
                label = f"{word}_{count}"
            taken.add(label)
            there.label = label
        return place.label


@dataclass
class Store:
    """The parameters of one owner by their own names, and the stores of the cells applied inside it."""

    place: Place
    params: dict[str, object] = field(default_factory=dict)
    below: dict[tuple, "Store"] = field(default_factory=dict)

    def inside(self, key: tuple, place: Place) -> "Store":
        """The store of an application inside: the same one for the same spot of the text."""
        if key not in self.below:
            self.below[key] = Store(place)
        return self.below[key]
