"""What is of unknown size when all has been tried: told as the loop without an order in time that it may be, for no
size would mend that; else as what nothing fixes."""

from rnnc.graph.elaborate import causality, sequences
from rnnc.graph.elaborate.drafts import Draft, Ref, Stop, grows, growth
from rnnc.graph.elaborate.emit import settle
from rnnc.graph.elaborate.work import Work
from rnnc.graph.loops import components
from rnnc.graph.nodes import Graph, Node, Read


def report(work: Work) -> None:
    for _, _, wait, scope in work.waiting:
        if wait.draft is None:
            work.report(Stop("E0310", f"{wait.what} cannot be worked out", wait.span, hint=wait.hint), scope)
    if work.faults.found:
        return
    for group in open_loops(work.engine.drafts):
        before = len(work.faults.found)
        causality.check(stand_in(group), work.faults, work.doubts)
        if len(work.faults.found) == before:
            report_size(work, group)


def open_loops(drafts: list[Draft]) -> list[list[Draft]]:
    """What waits on nothing but itself."""
    open_ = [d for d in drafts if not d.final]
    place = {d: i for i, d in enumerate(open_)}
    waits = [{place[r] for r in (*(r.draft for r in d.args), d.attrs.get("waits")) if r in place} for d in open_]
    found = components(len(open_), [(u, v, 0) for v, feeders in enumerate(waits) for u in feeders])
    return [[open_[i] for i in group] for group in found
            if not set().union(*(waits[i] for i in group)) - set(group)]


def report_size(work: Work, group: list[Draft]) -> None:
    growing = next((d for d in group if grows(d)), None)
    if growing is not None:
        work.report(growth(growing), growing.scope)
        return
    named = [d.signal for d in group if d.signal is not None]
    made = min(named, key=lambda s: (s.span.line, s.span.column)) if named else None
    work.report(Stop("E0310", f"nothing fixes the size of {made.name if made else 'this'}",
                     made.span if made else group[0].span,
                     hint="give it a part whose size is declared, or an init of that size"), group[0].scope)


def stand_in(group: list[Draft]) -> Graph:
    """A graph that says of these drafts who reads whom, and when; of their sizes nothing."""
    place = {d: i for i, d in enumerate(group)}
    return Graph(tuple(node(d, place) for d in group))


def node(draft: Draft, place: dict[Draft, int]) -> Node:
    reads = [filled(ref) for ref in draft.binding]
    args = tuple(Read(place[ref.draft], ref.delay) for ref in reads if ref.draft in place)
    signal = draft.signal
    name = signal.place.path() if signal is not None and signal.place else None
    op = "span_last" if draft.op in sequences.LOWER else "identity"        # whether it sees the whole sequence
    return Node(op, args, (), name=name, span=draft.span if signal is None else signal.span)


def filled(ref: Ref) -> Ref:
    """As `settle`, where parts of an expression may still wait."""
    return ref if ref.draft.op == "gap" and not ref.draft.args else settle(ref)
