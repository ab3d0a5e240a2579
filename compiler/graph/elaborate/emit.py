"""Drafts to graph: when every size is known, each live draft becomes a node.

What remains to be decided here: which values are constants (they depend on no frame), which are the same in a whole
sequence, and which are whole numbers, all found by going round until nothing changes; which signals a state holds; and
the names by which the outside knows them.
"""

from rnnc.errors import Faults, Note, Span
from rnnc.graph.elaborate import lower, sequences
from rnnc.graph.elaborate.drafts import Draft, Ref, Stop, describe
from rnnc.graph.elaborate.hints import otherwise_picked
from rnnc.graph.elaborate.places import Place
from rnnc.graph.elaborate.scope import Parameter, Signal
from rnnc.graph.elaborate.work import Work
from rnnc.graph.loops import components
from rnnc.graph.nodes import (
    CONSTANT,
    FRAME,
    INT,
    REAL,
    Builder,
    Graph,
    Initial,
    InputInfo,
    Node,
    ParamInfo,
    Read,
    finest,
)
from rnnc.graph.ops import LEAF, OPS, SPAN
from rnnc.graph.ops.sparse import Pattern, pattern_of

LEAVES = {"param", "input", "number", "array", "frame_index", "row_key", "signal"}
# Whole numbers stay whole in these; in everything else they become reals.
WHOLE = {"add", "sub", "mul", "neg", "mod", "minimum", "maximum", "where", "signal", "concat", "pick", "reshape",
         "transpose", "take", "stop_gradient", "last", "permute_time"}
LOWER = {**lower.TABLE, **sequences.LOWER}


def settle(ref: Ref) -> Ref:
    """The draft that a read really reads: gaps are what filled them, names of applications are their results."""
    while True:
        draft = ref.draft
        if draft.op == "gap":
            there = draft.args[0]
        elif draft.op == "signal" and draft.signal.alias is not None and not draft.signal.starts:
            there = draft.signal.alias
        else:
            return ref
        ref = Ref(there.draft, there.delay + ref.delay)


class Emitter:
    def __init__(self, work: Work, faults: Faults):
        self.work, self.faults = work, faults
        self.builder = Builder()
        self.number: dict[Draft, int] = {}     # where each live draft's node stands
        self.domain: list[str] = []            # by node
        self.kinds: list[str] = []
        self.reads: dict[Draft, tuple[Ref, ...]] = {}
        self.kind_of: dict[Draft, str | None] = {}
        self.domain_of: dict[Draft, str] = {}
        self.numbers: dict[tuple, int] = {}
        self.converted: dict[tuple, Read] = {}
        self.now: Draft | None = None          # the draft being spelled out
        self.sites: dict[int, Place] = {}      # of random operators, by number

    # ------------------------------------------------------------------------------------------------- what is alive

    def roots(self) -> list[Draft]:
        found = [settle(Ref(s.draft)).draft if s.alias and not s.starts else s.draft for s in self.work.signals]
        groups = (self.work.outputs, self.work.losses, self.work.metrics)
        found += [settle(ref).draft for group in groups for ref, _ in group.values()]
        found += [settle(ref).draft for s in self.work.signals for ref, _ in s.starts.values()]
        return found

    def mark(self) -> list[Draft]:
        """Every draft that something outside can see, in the order made."""
        stack = self.roots()
        while stack:
            draft = stack.pop()
            if draft in self.reads:
                continue
            args = draft.args[:1] if draft.op == "signal" else draft.args
            self.reads[draft] = tuple(settle(ref) for ref in args)
            stack.extend(ref.draft for ref in self.reads[draft])
        return sorted(self.reads, key=lambda d: d.number)

    def classify(self, live: list[Draft]) -> None:
        """Domain and kind of number of every draft."""
        place = {draft: i for i, draft in enumerate(live)}
        edges = [(place[ref.draft], place[d]) for d in live for ref in self.reads[d]]
        own = {u for u, v in edges if u == v}
        for group in components(len(live), [(u, v, 0) for u, v in edges]):
            drafts = [live[i] for i in group]
            loop = len(group) > 1 or group[0] in own
            for d in drafts:
                timed = loop or d.op in ("frame_index", "row_key")
                leaf = d.attrs["per"] if d.op == "input" else FRAME if timed else CONSTANT
                read = [self.domain_of.get(ref.draft, CONSTANT) for ref in self.reads[d]]
                if sequences.drawn_once(d, read):
                    read.pop()
                self.domain_of[d] = sequences.domain(d.op, [leaf, *read])
        self.kind_of = dict.fromkeys(live)
        self.whole: set[Draft] = set()
        for otherwise in (None, REAL):      # what fits either is real to its readers too: h = h[t-1] + 1, k = t * h
            moved = True
            while moved:
                moved = False
                for d in live:
                    kind = self.kind(d) or (None if d.op == "number" else otherwise)
                    if kind != self.kind_of[d]:
                        self.kind_of[d], moved = kind, True
            if otherwise is None:           # but not what numbers in the text are chosen for: where(x > 0, 1, 2) + t
                found = [ref.draft for d in live if self.kind_of[d] == INT for ref in self.values(d)]
                while found:
                    d = found.pop()
                    if d not in self.whole and self.written(d):
                        self.whole.add(d)
                        found += [ref.draft for ref in self.values(d)]

    def values(self, d: Draft) -> tuple[Ref, ...]:
        """The arguments that a value is made of, not those by which it is chosen."""
        return self.reads[d][1:] if d.op == "where" else self.reads[d][:1] if d.op == "take" else self.reads[d]

    def written(self, d: Draft) -> bool:
        """Whether it is computed from whole numbers in the text, and no number itself."""
        return d.op in WHOLE - {"signal"} and self.kind_of[d] is None and not d.type.shape and all(
            ref.draft.op == "number" or self.written(ref.draft) for ref in self.values(d))

    def kind(self, d: Draft) -> str | None:
        """REAL, INT, or None for a number that fits either (and for what is not known yet). Only single numbers are
        whole: vectors hold reals."""
        if d.type.shape:
            return REAL
        if d.op in ("frame_index", "row_key", "argmax"):
            return INT
        if d.op == "input":
            return INT if d.attrs["kind"] in ("class", "labels") else REAL
        if d.op == "number":
            return None if isinstance(d.attrs["value"], int) else REAL
        if d.op not in WHOLE:
            return REAL
        if d in self.whole:
            return INT
        kinds = {self.kind_of[ref.draft] for ref in self.values(d)}
        return REAL if REAL in kinds else INT if INT in kinds else None

    # ----------------------------------------------------------------------------------------------- making of nodes

    def shape(self, draft: Draft) -> tuple[int, ...]:
        return tuple(s.value for s in draft.type.shape)

    def final_kind(self, draft: Draft) -> str:
        return self.kind_of[draft] or REAL

    def reserve(self, domain: str, kind: str) -> int:
        self.domain.append(domain)
        self.kinds.append(kind)
        return self.builder.reserve()

    def add(self, op: str, args: tuple[Read, ...], shape, kind: str = REAL, span: Span | None = None, **attrs) -> Read:
        """One more node beside those of the drafts; its domain follows from what it reads."""
        node = self.node(op, args, shape, kind, span or (self.now.span if self.now else None), **attrs)
        self.domain.append(node.domain)
        self.kinds.append(kind)
        return Read(self.builder.add(node))

    def node(self, op: str, args, shape, kind: str = REAL, span: Span | None = None, **attrs) -> Node:
        given = tuple(sorted((k, v) for k, v in attrs.items() if v is not None))
        if OPS[op].family in (LEAF, SPAN):
            domain = OPS[op].domain or attrs.get("domain") or FRAME
        else:
            domain = finest(self.domain[r.node] for r in args)
        return Node(op, tuple(args), tuple(shape), kind, domain, given, None, span)

    def constant(self, value, kind: str, span: Span | None = None) -> Read:
        """A number, one node for each value and kind."""
        value = int(value) if kind == INT else float(value)
        key = (value, kind, str(value))
        if key not in self.numbers:
            self.numbers[key] = self.add("number", (), (), kind, span, value=value).node
        return Read(self.numbers[key])

    def read(self, ref: Ref, kind: str | None = None) -> Read:
        """An argument as a node wants it: whole numbers are converted where reals are meant, never the reverse."""
        draft = ref.draft
        if draft.op == "number":
            whole = kind == INT or kind is None and self.final_kind(draft) == INT
            if whole and not isinstance(draft.attrs["value"], int):
                raise self.no_label("a fraction", ref)
            return self.constant(draft.attrs["value"], INT if whole else REAL, draft.span)
        delay = ref.delay if self.domain_of[draft] == FRAME else 0
        found = Read(self.number[draft], delay)
        have = self.final_kind(draft)
        if kind == REAL and have == INT:
            key = (found, REAL)
            if key not in self.converted:
                self.converted[key] = self.add("real", (found,), self.shape(draft), REAL, draft.span)
            return self.converted[key]
        if kind == INT and have == REAL:
            raise self.no_label("a real number", ref)
        return found

    def no_label(self, what: str, ref: Ref) -> Stop:
        return Stop("E0308", f"a label or a whole number is needed here, and this is {what}",
                    self.now.attrs.get("spot", self.now.span), hint=otherwise_picked(self.now, ref.draft))

    def stretch(self, found: Read, have, want, kind: str = REAL) -> Read:
        """Explicit broadcasting, where it is not of a scalar."""
        if have == want or have == ():
            return found
        return self.add("broadcast", (found,), want, kind)

    def emit(self) -> Graph:
        live = self.mark()
        self.classify(live)
        self.hide()
        named: dict[Draft, Signal] = {}        # an unnamed right side is the node of its equation
        for d in live:
            if d.op == "signal":
                value = self.reads[d][0]
                if value.delay == 0 and value.draft.op not in LEAVES:
                    named.setdefault(value.draft, d.signal)
        merged = {s.draft: value for value, s in named.items()}
        for d in live:
            if d.op != "number" and d not in self.number:
                self.number[d] = self.reserve(self.domain_of[d], self.final_kind(d))
                if d in named or d in merged:
                    self.number[named[d].draft if d in named else merged[d]] = self.number[d]
        for d in live:
            if d.op == "number" or d in merged:
                continue
            name = named.get(d, d.signal)
            self.now = d
            try:
                node = LOWER.get(d.op, lower.elementwise)(self, d)
            except Stop as stop:
                self.work.report(stop, d.scope)
                node = Node("number", (), self.shape(d), REAL, self.domain_of[d], (("value", 0.0),))
            self.builder.define(self.number[d], self.named(node, d, name))
        self.aliases()
        initials = self.initials(live)
        self.faults.stop()
        return self.finish(initials)

    def hide(self) -> None:
        """Where an equation has a value before the start of its own, what it names is another signal, without name."""
        for s in self.work.signals:
            if s.alias is not None and s.starts:
                result = settle(s.alias).draft.signal
                if result.place is s.place:
                    result.place = None

    def named(self, node: Node, draft: Draft, signal: Signal | None) -> Node:
        name, span = None, draft.span
        if signal is not None:
            name = "t" if draft.op == "frame_index" else signal.place.path() if signal.place else None
            span = signal.span
        return Node(node.op, node.args, node.shape, node.kind, self.domain_of[draft], node.attrs, name, span)

    def aliases(self) -> None:
        """Names of applications, `h = lstm(n)(x)`: readable by the outside as `h`, too."""
        for s in self.work.signals:
            if s.alias is None or s.starts or s.draft.type.wrong:
                continue
            ref = settle(s.alias)
            if ref.draft.signal is not None and ref.draft.signal.place is s.place and ref.delay == 0:
                continue
            node = self.node("identity", (self.read(ref),), self.shape(ref.draft), self.final_kind(ref.draft), s.span)
            node = Node(node.op, node.args, node.shape, node.kind, node.domain, (), s.place.path(), s.span)
            self.domain.append(node.domain)
            self.kinds.append(node.kind)
            self.builder.add(node)

    # ---------------------------------------------------------------------------------------- before the first frame

    def initials(self, live: list[Draft]) -> dict[int, Initial]:
        found = {}
        delayed = {r.node for node in self.builder.nodes if node is not None for r in node.args if r.delay}
        for d in live:
            s = d.signal
            if s is None:
                continue
            try:
                self.now = d
                starts = {offset: self.start(s, ref, span) for offset, (ref, span) in s.starts.items()}
            except Stop as stop:
                self.work.report(stop, d.scope)
                continue
            every = starts.pop(None, None)
            number = self.number[d]
            if every is None and number in delayed and self.kinds[number] == INT and d.type.classes is None:
                every = self.constant(0, INT).node
            if every is not None or starts:
                found[number] = Initial(every, tuple(sorted(starts.items())))
        return found

    def start(self, s: Signal, ref: Ref, span: Span) -> int:
        """The node of `init s = ...`: a constant, or the same in a whole sequence."""
        ref = settle(ref)
        kind = self.final_kind(s.draft)
        if self.domain_of[ref.draft] == FRAME:
            raise Stop("E0405", f"init of {s.name} depends on a signal: before the start there is none", span)
        if self.domain_of[s.draft] != FRAME:
            raise Stop("E0606", f"{s.name} is the same in every frame: it has no value before the start", span)
        have, want = self.shape(ref.draft), self.shape(s.draft)
        if have not in ((), want):
            raise Stop("E0311", f"init of {s.name} is {describe(ref.draft.type)}, and {s.name} is "
                                f"{describe(s.draft.type)}", span, (Note(s.span, f"{s.name} is defined here"),))
        found = self.read(ref, kind)
        return found.node if have == want else self.add("broadcast", (found,), want, kind, span).node

    # ---------------------------------------------------------------------------------------------------- the graph

    def finish(self, initials: dict[int, Initial]) -> Graph:
        work = self.work
        take = lambda group: {name: self.root(ref) for name, (ref, _) in group.items()}
        outputs = take(work.outputs)
        losses = {name: self.root(ref, REAL) for name, (ref, _) in work.losses.items()}
        metrics = {name: self.root(ref, REAL) for name, (ref, _) in work.metrics.items()}
        state: dict[int, int] = {}
        for node in self.builder.nodes:
            for r in node.args:
                if r.delay > 0:
                    state[r.node] = max(r.delay, state.get(r.node, 0))
        inputs = []
        for s in work.inputs:
            kind, classes = s.draft.attrs["kind"], s.draft.type.classes
            inputs.append(InputInfo(s.name, self.shape(s.draft), kind, classes.value if classes else None,
                                    s.draft.attrs["target"], s.draft.attrs["per"], s.span))
        params = [self.param(p) for p in work.parameters]
        return self.builder.finish(
            inputs=tuple(inputs), params=tuple(params), initials=dict(sorted(initials.items())), outputs=outputs,
            losses=losses, metrics=metrics, state=dict(sorted(state.items())))

    def pattern(self, made: Parameter) -> Pattern | None:
        """Where a sparse parameter's numbers stand."""
        return pattern_of(made.place.path(), self.shape(made.draft), made.share) if made.share else None

    def param(self, made: Parameter) -> ParamInfo:
        pattern = self.pattern(made)
        shape = self.shape(made.draft) if pattern is None else pattern.stored
        return ParamInfo(made.place.path(), shape, made.trainable, made.initialiser, pattern, made.span)

    def root(self, ref: Ref, kind: str | None = None) -> int:
        """The node of an output, a loss or a metric: a read with a delay gets a node of its own."""
        ref = settle(ref)
        if ref.draft.type.lists:
            self.faults.add("E0308", "lists of labels belong in ctc, and nowhere else", ref.draft.span)
        found = self.read(ref, kind)
        if found.delay or ref.draft.op in ("input", "param"):
            kind = kind or self.final_kind(ref.draft)
            found = self.add("identity", (found,), self.shape(ref.draft), kind, ref.draft.span)
        return found.node
