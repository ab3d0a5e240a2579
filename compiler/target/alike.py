"""Layers, heads and programs that compute alike share one kernel, which the C compiler then compiles once.

In: the texts of all programs. Out: the same texts, in which kernels that differ in names only are one function, and
`Shared`: what such a function looks at instead of the call. What a kernel reads and writes has other names in every
layer: a record `rn_layer` for each holds that layer's pointers under the names of the first one, so a kernel's text
stays as it is. gcc compiles twelve layers of LSTM 128 with their loss in 10 s instead of 32, six residual mLSTM of 64
in 13 instead of 61 (Xeon, two cores); nothing runs slower.

That two texts are equal but for names is told by their canonical form: every name of a place (`c->name`, a packed
constant) and every local one is replaced by its number in the order in which names appear; whatever else stands there
has to be the same to the letter.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from rnnc.target.names import C_WORDS
from rnnc.target.text import ProgramText

KERNEL = "(const rn_call *c, long first, long rows, rn_part part)\n"        # what a kernel is told; and a sum
SUM = "(const rn_call *c, const rn_team *team, int thread, long t0, long t1)\n"
SUM_CALL = re.compile(r"\b(\w+)\((c, team, thread, t0, t1)\)")
REMARK = re.compile(r"/\*.*?\*/", re.S)
TOKEN = re.compile(r"(?<![\w>.])c->packed \+ (?P<constant>(?:AT|PANEL|TABLE)_\w+)|(?<![\w>.])c->(?P<field>\w+)"
                   r"|(?<=RN_COUNT_PRODUCT\()(?P<stage>\d+)|(?P<member>(?:->|\.)\s*[A-Za-z_]\w*)"
                   r"|(?P<word>[A-Za-z_]\w*)|\d[\w.]*|\S")
OWN = re.compile(r"^(?:static void|RN_INLINE const \w+ \*)\s*(\w+)\(", re.M)
CALL = re.compile(r"\b(\w+)\(c, ")
DECLARED = re.compile(r"\b(?:real|int|long|double|u?int(?:8|32|64)_t|rn_v|rn_vi?)\b(?:\s|\*|const\b)*([A-Za-z_]\w*)")
FIXED = frozenset(C_WORDS.split()) | {"real"}
SHORT = 120                                    # tokens of a kernel that is not worth a record: it compiles in no time
HEAD = {"T": "long ", "B": "long ", "R": "long ", "since": "const int64_t *", "left": "const int64_t *", "S": "long ",
        "spans": "const rn_span *", "sequence": "const long *", "packed": "const real *", "zeros": "const real *",
        "unbroken": "int "}


@dataclass(frozen=True)
class Form:
    """A kernel's canonical text, and what the numbers in it stand for."""

    text: str
    fields: tuple[str, ...]                    # of the call
    constants: tuple[str, ...]                 # of the packed block
    stages: tuple[str, ...]                    # whose products it counts
    finders: tuple[str, ...]                   # functions that find the rows of delayed values

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        return self.fields, self.constants, self.stages


class Reader:
    """Reads functions of one program. `finders`: those that may be others; `types`: of the call's fields; `stages`:
    whether the number of a stage may be another one."""

    def __init__(self, finders: Mapping[str, str], types: Mapping[str, str], stages: bool = True):
        self.finders, self.types, self.stages = finders, types, stages

    def form(self, text: str) -> Form:
        seen: dict[str, dict[str, int]] = defaultdict(dict)
        found = self.canonical(text, seen)
        return Form(found, *(tuple(seen[kind]) for kind in ("field", "constant", "stage", "finder")))

    def canonical(self, text: str, seen: dict[str, dict[str, int]]) -> str:
        text = REMARK.sub("", text)
        local = dict.fromkeys([*DECLARED.findall(text), *OWN.findall(text)], "")
        count, parts = 0, []
        for token in TOKEN.finditer(text):
            kind, whole = token.lastgroup, token[0]
            if kind == "word" and whole in self.finders and whole not in local:
                kind = "finder"
            elif kind == "stage" and not self.stages:
                kind = ""
            if kind in ("field", "constant", "stage", "finder"):
                name, numbers = whole if kind == "finder" else token[kind], seen[kind]
                new = name not in numbers
                parts.append(f"{kind}{numbers.setdefault(name, len(numbers))}")
                if new and kind == "field":
                    parts.append(self.types.get(name, name))
                if new and kind == "finder":
                    parts.append(f"{{{self.canonical(self.finders[name], seen)}}}")
            elif kind == "word" and whole in local and whole not in FIXED:
                if not local[whole]:
                    local[whole], count = f"name{count}", count + 1
                parts.append(local[whole])
            else:
                parts.append(whole)
        return " ".join(parts)


@dataclass(frozen=True)
class Kernel:
    """One of several that are alike."""

    program: int                               # its place among the texts
    name: str
    form: Form

    @property
    def stage(self) -> str:
        return self.name.rpartition("_")[0]


@dataclass
class Layer:
    """What one record holds under the first layer's names: fields of the call, offsets in the packed block, the
    numbers of stages."""

    names: tuple[dict[str, str], ...] = field(default_factory=lambda: ({}, {}, {}))

    def takes(self, first: Form, mine: Form) -> bool:
        """Whether a kernel of the form `mine` finds its own here; then it is noted."""
        wanted = [dict(zip(*names)) for names in zip(first.names, mine.names)]
        if any(known.get(name, own) != own for known, new in zip(self.names, wanted) for name, own in new.items()):
            return False
        for known, new in zip(self.names, wanted):
            known |= new
        return True

    def filled(self, counting: bool) -> list[str]:
        """The statements that fill the record, as C."""
        fields, constants, stages = self.names
        return [*(f"l->{name} = c->{own};" for name, own in fields.items()),
                *(f"l->{name} = c->packed + {own};" for name, own in constants.items()),
                *(f"l->stage_{name} = {own};" for name, own in stages.items() if counting)]


@dataclass(frozen=True)
class Shared:
    """For the templates: the fields of a record, how each program fills its own, and how many there are at most."""

    fields: tuple[str, ...]
    fill: tuple[tuple[list[str], ...], ...]    # for each program the statements of its records
    most: int


def share(texts: list[ProgramText], counting: bool) -> Shared:
    """Changes the texts. `counting`: products are logged by the numbers of their stages."""
    types = HEAD | {name: kind for text in texts for name, kind in text.fields.items()}
    for text in texts:
        share_sums(text, types, counting)
    layers: list[list[Layer]] = [[] for _ in texts]
    calls: list[dict[str, str]] = [{} for _ in texts]                       # of kernels that are gone or have changed
    for family in alike(texts, types):
        first, told = family[0], 3 if counting else 2
        layered = any(mine.form.names[:told] != first.form.names[:told] for mine in family)
        for mine in family:
            at = f"c->layers + {place(layers[mine.program], first.form, mine.form)}" if layered else "c"
            calls[mine.program][mine.name] = f"{first.name}({at}, "
        rewrite(texts[first.program], family, layered, counting)
        for mine in family[1:]:
            del texts[mine.program].kernels[mine.name]
    for text, named in zip(texts, calls):
        text.stages = [CALL.sub(lambda m, named=named: named.get(m[1], m[0]), made) for made in text.stages]
        drop_unread(text)
    fields, constants, stages = (dict.fromkeys(name for own in layers for layer in own for name in layer.names[k])
                                 for k in range(3))
    fields = [*(f"{types[name]}{name}" for name in fields), *(f"const real *{name}" for name in constants),
              *(f"int stage_{name}" for name in stages if counting)]
    fill = [tuple(layer.filled(counting) for layer in own) for own in layers]
    return Shared(tuple(fields), tuple(fill), max(map(len, layers), default=0))


def place(layers: list[Layer], first: Form, mine: Form) -> int:
    """The record in which a kernel finds its own; a further one, where no other has room for it."""
    number = next((i for i, layer in enumerate(layers) if layer.takes(first, mine)), len(layers))
    if number == len(layers):
        layers.append(Layer())
        layers[number].takes(first, mine)
    return number


def alike(texts: list[ProgramText], types: Mapping[str, str]) -> list[list[Kernel]]:
    """Kernels that are equal but for names, two at least in each list."""
    found: dict[str, list[Kernel]] = defaultdict(list)
    for number, text in enumerate(texts):
        reader = Reader(text.finders, types)
        for name, kernel in text.kernels.items():
            form = reader.form(kernel) if KERNEL in kernel else None
            if form and form.text.count(" ") >= SHORT and types.keys() >= {*form.fields}:
                found[form.text].append(Kernel(number, name, form))
    return [family for family in found.values() if len(family) > 1]


def rewrite(text: ProgramText, family: list[Kernel], layered: bool, counting: bool) -> None:
    """The first kernel of a family as the one of all; in `text`, its program."""
    first, finders = family[0], {*family[0].form.finders}
    made = text.kernels[first.name]
    if layered:
        made = of_layer(made, finders, counting)
        for finder in [name for name in text.finders if name in finders]:                 # before those that call it
            text.finders[f"layer_{finder}"] = of_layer(text.finders[finder], finders, counting)
    text.kernels[first.name] = remarked(made, f"{first.stage} shares it with {some([k.stage for k in family[1:]])}"
                                        + "; the names are those of the first" * layered)


def remarked(text: str, remark: str) -> str:
    """A function with one more line in its title."""
    return text.replace(" */", f"\n * {remark} */", 1)


def some(names: list[str]) -> str:
    return ", ".join(names if len(names) < 4 else [*names[:2], "…", names[-1]])


def of_layer(text: str, finders: set[str], counting: bool) -> str:
    """What looks at the call looks at a layer's record."""
    def changed(token: re.Match) -> str:
        if token["constant"]:
            return f"c->{token['constant']}"
        if token["stage"] and counting:
            return f"c->stage_{token['stage']}"
        return f"layer_{token[0]}" if token["word"] in finders else token[0]
    return TOKEN.sub(changed, text).replace("const rn_call *c", "const rn_layer *c")


def share_sums(text: ProgramText, types: Mapping[str, str], counting: bool) -> None:
    """Sums that differ only in where they find what they add and where they put it are told so: the four gates of an
    LSTM, and what lies beside them in other layers."""
    reader, families = Reader({}, types, not counting), defaultdict(list)
    for name, made in text.kernels.items():
        if SUM in made:
            form = reader.form(made)
            families[form.text, form.constants].append((name, form))
    calls = {}
    for (first, form), *others in families.values():
        made = text.kernels[first]
        differ = [k for k, name in enumerate(form.fields) if any(other.fields[k] != name for _, other in others)]
        told = [form.fields[k] for k in differ]
        if not others or any(re.search(rf"(?<!->)\b{name}\b", REMARK.sub("", made)) for name in told):
            continue
        arguments = ",\n    " + ", ".join(f"{types[name]}{name}" for name in told)
        made = TOKEN.sub(lambda token, told=told: token["field"] if token["field"] in told else token[0], made)
        text.kernels[first] = remarked(made.replace(SUM, f"{SUM[:-2]}{arguments})\n"),
                                       f"the same for {some([name for name, _ in others])}")
        for name, other in [(first, form), *others]:
            calls[name] = first, "".join(f", c->{other.fields[k]}" for k in differ)
        for name, _ in others:
            del text.kernels[name]
    text.stages = [SUM_CALL.sub(lambda m: f"{calls[m[1]][0]}({m[2]}{calls[m[1]][1]})" if m[1] in calls else m[0], made)
                   for made in text.stages]


def drop_unread(text: ProgramText) -> None:
    """Without finders that nobody calls any more."""
    rest = "\n".join([*text.kernels.values(), *text.stages, *text.prepare, *text.leave, *text.finish,
                      *(handed.place for handed in text.handed)])
    wanted, more = set(), [rest]
    while more:
        new = {*re.findall(r"\w+_(?:before|after)_\d+", more.pop())} & text.finders.keys() - wanted
        wanted |= new
        more += [text.finders[name] for name in new]
    text.finders = {name: finder for name, finder in text.finders.items() if name in wanted}
