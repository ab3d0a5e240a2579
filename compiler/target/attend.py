"""Questions to matrices that are linear in themselves, as C: chunk of frames after chunk (runtime/attend.h, correct.h,
fade.h).

In: an `attend`, `correct`, `attended` or `pair` node. Out: the body of a C function in which threads own columns of a
stream's matrix, or all of it. Several such nodes begin with different threads: few streams keep all threads busy.
"""

from rnnc.graph.nodes import Graph, Read
from rnnc.target.access import Access

CHUNK, FADE_CHUNK = "RN_CHUNK", "RN_FADE_CHUNK"                 # frames: with a scalar, with a vector for coefficient
STEPS = "S || k ? RN_CHUNK_GOES : RN_CHUNK_FRESH"


def attend(access: Access, n: int) -> list[str]:
    graph, node = access.graph, access.graph[n]
    q, u, w, fade, *before = node.args
    rows, columns, turned = graph[w.node].size, graph[u.node].size, int(node.attr("turned"))
    late = int(node.attr("late", False))
    if node.attr("along") is None:
        calls = [f"if (few) rn_attend_few(&x, S, {rows}, {columns}, {turned}, {late});",
                 f"else rn_attend(&x, &room, {rows}, j0, wide, !S && !k, k + {CHUNK} >= span.frames, {late});"]
    else:
        calls = by_vector("rn_fade_attend(&x, &room", node, rows, columns, f", {late}")
    return asked(access, n, rows, columns, before,
                 chunks(access, node, fade, [({"q": q, "u": u, "w": w}, calls)], f"x.o[i] = {access.at(n, 'r')};"))


def correct(access: Access, n: int) -> list[str]:
    graph, node = access.graph, access.graph[n]
    k, d, w, fade, *more = node.args
    rows, columns, turned = graph[w.node].size, node.size, int(node.attr("turned"))
    given = {name: more.pop(0) if node.attr(attr) else None for name, attr in (("c", "constant"), ("base", "based"))}
    found = [f"with.d[i] = {access.row(d)};", f"x.o[i] = {access.at(n, 'r')};",
             *[f"with.{name}[i] = {access.row(read) if read else 'NULL'};" for name, read in given.items()]]
    if node.attr("along") is None:
        calls = [f"if (few) rn_correct_few(&x, &with, S, {rows}, {columns}, {turned});",
                 f"else rn_correct(&x, &with, &room, {rows}, j0, wide, !S && !k, k + {CHUNK} >= span.frames);"]
    else:
        calls = by_vector("rn_fade_correct(&x, &with, &room", node, rows, columns)
    return [f"rn_corrections with = {{.each = {int(graph[d.node].shape != ())}}};",
            *asked(access, n, rows, columns, more, chunks(access, node, fade, [({"q": k, "w": w}, calls)], *found))]


def attended(access: Access, n: int) -> list[str]:
    """Of each stream's last sequence. The rows of S are units of u, so those of Z are, and w has the columns."""
    graph, node = access.graph, access.graph[n]
    products = node.attr("products", 1)
    fade, *before = node.args[2 * products:]
    rows, columns = (graph[read.node].size for read in node.args[:2])
    to, of_columns = f"real *const to = {access.at(n, 'b')};", int(node.attr("along") == 1)
    each = []
    alone = products == 1                      # a sequence of few frames goes by itself, of one product
    for i in range(products):
        how = "RN_CHUNK_MORE" if i else STEPS
        if node.attr("along") is None:
            few = f"rn_attended_few(&x, to, S, {rows}, {columns});"
            step = f"rn_attended(&x, &room, {rows}, j0, wide, {how});"
        else:
            few = f"rn_faded_few(&x, to, S, {rows}, {columns}, {of_columns});"
            step = f"rn_faded(&x, &room, {rows}, j0, wide, {of_columns}, {how});"
        u, w = node.args[2 * i:2 * i + 2]
        each.append(({"u": w, "w": u}, [f"if (few) {few}", f"else {step}"] if alone else [step]))
    return ["if (!c->T) return;", *pieces(access, n, rows, columns),
            *indented("const long s = c->sequence[(c->T - 1) * c->B + b];",
                      *sequence(access, before, FEW if alone else ()), to,
                      f"if (S{' && !few' * alone}) rn_chunk_load(&room, S, {rows}, {columns}, j0, wide, 1);",
                      *chunks(access, node, fade, each),
                      f"{'if (!few) ' * alone}rn_chunk_save(&room, to, {rows}, {columns}, j0, wide);"),
            "}"]


def pair(access: Access, n: int) -> list[str]:
    """S goes forwards and is kept as each chunk begins; then its adjoint comes back. The columns of Z are those units
    that fade by themselves, or the units of u, which then stay with one thread."""
    graph, node = access.graph, access.graph[n]
    u, w, a, v, x, b, *before = node.args
    along, step = node.attr("along"), chunk(node)
    if along == 1:                                              # then w has the columns
        u, w, v, x = w, u, x, v
    rows, columns = graph[w.node].size, graph[u.node].size
    turned, each = int(along == 1), f"{rows} * RN_CHUNK_PAD({columns})"
    there = "i" if along is None else "x.frames - 1 - i"
    ours = [*gathered(access, "x", {"u": u, "w": w}), faded(access, "x", a, along)]
    theirs = [*gathered(access, "y", {"u": v, "w": x}, there), faded(access, "y", b, along, there),
              f"x.o[i] = {access.at(n, 'r')};"]
    if along is None:
        forth = f"rn_attended(&x, &room, {rows}, 0, wide, RN_CHUNK_GOES);"
        meet = f"rn_pair(&x, &y, &room, kept + k / {step} * ({each}), {rows}, {columns});"
    else:
        forth = f"rn_faded(&x, &room, {rows}, j0, wide, 1, RN_CHUNK_GOES);"
        meet = f"rn_fade_pair(&x, &y, &room, kept + k / {step} * ({each}), {rows}, j0, wide);"
    return ["rn_chunk_rows y = {.fades = 1};",
            *pieces(access, n, rows, columns, whole=along is None),
            *indented(
                f"real *const kept = {access.field(n)}_kept + b * (c->T / {step} + 1) * {each} + j0 * {rows};",
                f"const long room_of_z = {rows} * RN_CHUNK_PAD(wide);", "x.fades = 1;",
                *sequences(), *indented(
                    *sequence(access, before), "rn_zero(room.z, room_of_z);",
                    f"if (S) rn_chunk_load(&room, S, {rows}, {columns}, j0, wide, {turned});",
                    f"for (long k = 0; k < span.frames; k += {step}) {{",
                    f"    memcpy(kept + k / {step} * ({each}), room.z, (size_t)room_of_z * sizeof(real));",
                    *collected(node, ours), f"    if (k + {step} < span.frames) {forth}", "}",
                    "rn_zero(room.z, room_of_z);",
                    f"for (long k = (span.frames - 1) / {step} * {step}; k >= 0; k -= {step}) {{",
                    *collected(node, [*ours, *theirs]), "    y.frames = x.frames;", f"    {meet}", "}"), "}"),
            "}"]


def kept_by_pair(graph: Graph, n: int) -> str:
    """How many numbers a pair keeps of S."""
    rows, columns = (graph[read.node].size for read in graph[n].args[1::-1])
    if graph[n].attr("along") == 1:
        rows, columns = columns, rows
    return f"B * (T / {chunk(graph[n])} + 1) * {rows} * RN_CHUNK_PAD({columns})"


# ------------------------------------------------------------------------------------------------ parts of these

def asked(access: Access, n: int, rows: int, columns: int, before: list[Read], each: list[str]) -> list[str]:
    """Every sequence of each piece, from Z as it begins on."""
    turned = int(access.graph[n].attr("turned"))
    return [*pieces(access, n, rows, columns),
            *indented(*sequences(), *indented(
                *sequence(access, before, FEW),
                f"if (S && !few) rn_chunk_load(&room, S, {rows}, {columns}, j0, wide, {turned});", *each), "}"),
            "}"]


FEW = ("const int few = span.frames < RN_CHUNK_FEW;", "if (few && j0) continue;")


def indented(*lines: str) -> list[str]:
    return [f"    {line}" for line in lines]


def chunk(node) -> str:
    return CHUNK if node.attr("along") is None else FADE_CHUNK


def pieces(access: Access, n: int, rows: int, columns: int, whole: bool = False) -> list[str]:
    """Streams and columns are dealt out: stream b, columns [j0, j0 + wide); `whole`: streams only."""
    most = str(columns) if whole else f"rn_chunk_columns({columns}, c->B, team->threads)"
    wide = f"RN_CHUNK_PAD({columns})" if whole else f"RN_MIN(RN_CHUNK_PAD({columns}), RN_CHUNK_WIDE)"
    turn = sum(node.op == access.graph[n].op for node in access.graph.nodes[:n])
    first = f"(thread + {turn}) % team->threads" if turn else "thread"
    return ["rn_chunk_rows x;", "long p0, p1;", f"const long most = {most}, parts = ({columns} + most - 1) / most;",
            f"RN_CHUNK_ROOM({rows}, {wide}, {max(rows, columns) if whole else rows});",
            f"rn_share(c->B * parts, {first}, team->threads, &p0, &p1);",
            "for (long p = p0; p < p1; p++) {",
            *indented("const long b = p / parts;",
                      f"const long j0 = p % parts * most, wide = RN_MIN(most, {columns} - j0);")]


def by_vector(call: str, node, rows: int, columns: int, more: str = "") -> list[str]:
    """A call for what fades by a vector, which takes sequences of few frames as well."""
    turned, of_columns = int(node.attr("turned")), int(node.attr("along") == 0)
    return [f"{call}, few ? S : NULL, {rows}, {columns}, j0, few ? {columns} : wide, {turned}, {of_columns},",
            f"    !S && !k, few || k + {FADE_CHUNK} >= span.frames{more});"]


def sequences() -> list[str]:
    return ["for (long s = c->sequence[b]; s < c->S && c->spans[s].first % c->B == b; s++) {"]


def sequence(access: Access, before: list[Read], few: tuple[str, ...] = ()) -> list[str]:
    """What sequence s begins with: S, and (FEW) whether it has few frames, which one piece sees to alone."""
    found = "NULL"
    if before:
        entry = access.at(before[0].node, "b")
        found = f"span.first < c->B && c->since[span.first] > 0 ? {entry} : NULL"
    return ["const rn_span span = c->spans[s];", f"const real *const S = {found};", *few]


def gathered(access: Access, of: str, reads: dict[str, Read], at: str = "i") -> list[str]:
    return [f"{of}.{name}[{at}] = {access.row(read)};" for name, read in reads.items()]


def faded(access: Access, of: str, fade: Read, along: int | None, at: str = "i") -> str:
    return f"{of}.a[{at}] = *({access.row(fade)});" if along is None else f"{of}.f[{at}] = {access.row(fade)};"


def collected(node, rows: list[str]) -> list[str]:
    """The rows of the chunk that begins at frame k of a sequence, in the order of S."""
    frame = "k + i" if node.attr("direction", 1) > 0 else "span.frames - 1 - k - i"
    return ["    x.frames = RN_MIN(" + chunk(node) + ", span.frames - k);", "    for (long i = 0; i < x.frames; i++) {",
            f"        const long r = span.first + ({frame}) * c->B;", *(f"        {line}" for line in rows), "    }"]


def chunks(access: Access, node, fade: Read, each: list[tuple[dict, list[str]]], *more: str) -> list[str]:
    """A sequence chunk by chunk: of each of these the rows are collected, then the calls made."""
    a = access.graph[fade.node]
    fades = not (a.op == "number" and a.attr("value") == 1)
    lines = [f"x.fades = {int(fades)};", f"for (long k = 0; k < span.frames; k += {chunk(node)}) {{"]
    for reads, calls in each:
        rows = [*gathered(access, "x", reads), *[faded(access, "x", fade, node.attr("along"))] * fades, *more]
        lines += [*collected(node, rows), *indented(*calls)]
    return [*lines, "}"]
