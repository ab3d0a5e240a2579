"""Which axes of a graph's inputs are time and batch. Files do not say; they are tried, likely ones first, until the
whole graph makes sense: its recurrent operators, above all, want time and batch at certain places."""

import itertools

from rnnc.cli.bring.file import Network, Port
from rnnc.cli.bring.recurrent import SLOTS
from rnnc.cli.bring.values import BATCH, TIME, Inexpressible

MOST = 300                                     # ways that are tried
WORDS = {TIME: ("time", "seq", "frame", "step", "len"), BATCH: ("batch", "stream")}
LETTERS = {TIME: "T", BATCH: "BN"}
MOVES = {"Identity", "Cast", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Split", "Gather", "Concat",
         "Expand"}
T, B, U = TIME, BATCH, ""                      # U: units


def ways(network: Network) -> list[dict[str, tuple[str, ...]]]:
    """Roles of the axes of every input, as many ways as are worth a trial, the likeliest first."""
    starts, timed, ports = first_states(network), timed_by_rank(network), network.read_inputs()
    options = {port.name: likely(port, port.name in starts, timed) for port in ports}
    for port in ports:
        if not options[port.name]:
            shape = "an unknown shape" if port.sizes is None else f"the shape {port}"
            raise Inexpressible(f"the input {port.name} has {shape}: no axes of time, batch and units can be told in "
                                "it; export the model with the sizes of all axes but time and batch fixed")
    kind = {port.name: (len(port.sizes), port.kind, port.name in starts) for port in ports}
    alike = [dict(zip(options, way)) for way in itertools.islice(itertools.product(*options.values()), 20 * MOST)]
    same = lambda way: all(way[a] == way[b] or way[b] not in options[a] for a in way for b in way if kind[a] == kind[b])
    alike = [way for way in alike if consistent(ports, way)]
    alike.sort(key=lambda way: (not same(way), sum(against(p, way[p.name]) for p in ports)))
    return alike[:MOST]


def first_states(network: Network) -> set[str]:
    """Inputs that reach a first state, if only moved about on their way."""
    makers = {name: node for node in network.nodes for name in node.outputs}
    waiting = [name for node in network.nodes if node.op in SLOTS for i in SLOTS[node.op]
               for name in node.inputs[i: i + 1]]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        node = makers.get(name)
        if node is not None and node.op in MOVES:
            waiting += node.inputs[:1] if node.op != "Concat" else node.inputs
    return seen & {port.name for port in network.inputs}


def timed_by_rank(network: Network) -> bool:
    """Whether a network has a time at all, so that an input without one is a value of a whole sequence."""
    return any(node.op in SLOTS for node in network.nodes) or any(
        len(port.sizes or ()) > 2 for port in network.inputs)


def likely(port: Port, start: bool, timed: bool) -> list[tuple[str, ...]]:
    if port.sizes is None:
        return []
    rank, whole = len(port.sizes), port.kind == "label"
    if start:
        found = {1: [(U,)], 2: [(B, U), (U, U)], 3: [(U, B, U), (B, U, U)]}.get(rank, [])
    elif rank == 0:
        found = []
    elif rank == 1:
        found = [(B,), (T,)] if timed and not whole else [(T,), (B,)]
    elif rank == 2:
        frames = [(T, B), (B, T)]
        found = [*frames, (B, U), (T, U)] if whole else [(B, U), *frames, (T, U)] if timed else [(T, U), *frames]
    else:
        found = [(T, B), (B, T)] + ([(B, U, T)] if rank == 3 else [])
        found = [way + (U,) * (rank - len(way)) for way in found]
    fixed = lambda way: all(role != U or isinstance(n, int) and n > 0 for role, n in zip(way, port.sizes))
    return sorted(filter(fixed, found), key=lambda way: against(port, way))


def against(port: Port, way: tuple[str, ...]) -> int:
    """How many of an input's names for its sizes speak against these roles."""
    count = 0
    for size, role in zip(port.sizes, way):
        if isinstance(size, str):
            said = next((r for r in WORDS if size in LETTERS[r] or any(w in size.lower() for w in WORDS[r])), None)
            count += said is not None and said != role
    return count


def consistent(ports: list[Port], way: dict[str, tuple[str, ...]]) -> bool:
    """One name of a size means one thing in all inputs, and all of them have as many frames, or streams."""
    meant: dict[str, str] = {}
    counted: dict[str, int] = {}
    for port in ports:
        for size, role in zip(port.sizes, way[port.name]):
            if isinstance(size, str) and meant.setdefault(size, role) != role:
                return False
            if isinstance(size, int) and role != U and counted.setdefault(role, size) != size:
                return False
    return True


def lengths(network: Network, way: dict[str, tuple[str, ...]]) -> list[str]:
    """A note where a file gives the times of its inputs different names: here all have the same frames."""
    named = {port.name: size for port in network.inputs for size, role in zip(port.sizes or (), way.get(port.name, ()))
             if role == TIME and isinstance(size, str)}
    if len(set(named.values())) < 2:
        return []
    said = " and ".join(f"{name} ({size})" for name, size in named.items())
    return [f"the inputs {said} may have different numbers of frames in the file; in the program all have the same"]
