"""Sums over frames and streams, or over sequences, as C: parameter gradients, losses, initial values.

In: a fold node. Out: a C function in which each thread owns pieces of the result and adds the rows in blocks of a
fixed size, in a fixed order, so that the sum never depends on the number of threads.
"""

from rnnc.errors import Broken
from rnnc.graph.nodes import SEQUENCE, Read
from rnnc.target.access import Access


def fold(access: Access, n: int, name: str, to: str, stride: str, first: str, last: str, whole: str) -> str:
    """`to`: where the sum goes; `stride`: from one row of it to the next; `first`, `last`: C, whether the frames
    [t0, t1) are the first that are summed, and the last; `whole`: that the call does not go in segments and, or nothing
    where none does."""
    graph = access.graph
    node = graph[n]
    reads = node.args
    title = node.name or access.names[n]
    head = [f"/* {title}: {describe(access, n)} */",
            f"static void {name}(const rn_call *c, const rn_team *team, int thread, long t0, long t1)", "{",
            "    const long begin = 0, end = c->S;\n    (void)t0, (void)t1;" if access.per == SEQUENCE else
            "    const long begin = t0 * c->B, end = t1 * c->B;"]
    access.begin("begin")
    if node.op == "fold_outer":
        rows, columns = node.shape
        each = graph[reads[0].node].size // rows                # rows of a frame: of vectors one, of matrices theirs
        body = [f"const rn_share2 mine = rn_fold_share({rows}, {columns}, thread, team->threads);",
                f"real *const to = {to};",
                "const real *a_rows[RN_FOLD_MOST], *x_rows[RN_FOLD_MOST];",
                *blocks(access, n, {"a_rows": reads[0], "x_rows": reads[1]}, first,
                        f"rn_fold_rows(to, {stride}, a_rows, x_rows, rows, mine, more);", each=each),
                "RN_COUNT_PRODUCT({stage}, mine.m1 - mine.m0, mine.k1 - mine.k0, taken);"]
    elif node.op == "fold_sparse":
        pattern = node.attr("pattern")
        rows, kept = pattern.stored
        body = [f"real *const to = {to};", "const real *a_rows[RN_FOLD_MOST], *x_rows[RN_FOLD_MOST];", "long b0, b1;",
                f"rn_share({pattern.blocks}, thread, team->threads, &b0, &b1);",
                *blocks(access, n, {"a_rows": reads[0], "x_rows": reads[1]}, first,
                        f"rn_fold_sparse(to, {rows}, {kept}, {access.pool.columns(pattern)}, a_rows, x_rows, rows, b0, "
                        "b1, more);"),
                f"RN_COUNT_PRODUCT({{stage}}, RN_MIN({rows}, b1 * RN_BLOCK) - b0 * RN_BLOCK, {kept}, taken);"]
    elif node.op == "fold_column":
        rows, columns = node.shape
        guards = access.role.guards.of(n, product=True)
        body = ["long m0, m1;", f"real *const to = {to}, *const table = {to}_table;",
                f"const int few = {whole}RN_FEW_LABELS(c->R, {columns});",
                f"rn_share(RN_PANELS({rows}), thread, team->threads, &m0, &m1);",
                f"m0 = RN_MIN(m0 * RN_VL, {rows}), m1 = RN_MIN(m1 * RN_VL, {rows});",
                f"for (long m = m0; {first} && few && m < m1; m++) rn_zero(to + m * {stride}, {columns});",
                f"for (long k = 0; {first} && !few && k < {columns}; k++)",
                f"    rn_zero(table + k * RN_PAD({rows}) + m0, m1 - m0);",
                "for (long r = begin; r < end; r++) {",
                *[f"    if (!({access.holds(guards)})) continue;"] * bool(guards),
                f"    const long label = (long){access.integer(reads[1])};",
                f"    const real *const row = {access.row(reads[0])} + m0;",
                f"    if (few) rn_scatter_column(to + m0 * {stride}, {stride}, row, m1 - m0, {columns}, label);",
                f"    else rn_scatter_add(table + m0, row, RN_PAD({rows}), m1 - m0, {columns}, label);",
                "}",
                f"if ({last} && !few)",
                f"    rn_transpose_add(to + m0 * {stride}, {stride}, table + m0, RN_PAD({rows}), {columns},",
                "                     m1 - m0, 0);"]
    elif node.op == "fold_sum" and node.size == 1:
        body = [f"real *const to = {to};", "(void)team;", "if (thread > 0) return;", *numbers(access, n, first)]
    elif node.op == "fold_sum":
        body = [f"real *const to = {to};", "long u0, u1;", "const real *a_rows[RN_FOLD_MOST];",
                f"rn_share({node.size}, thread, team->threads, &u0, &u1);",
                "const rn_rows of = {NULL, 0, a_rows, u0};",
                *blocks(access, n, {"a_rows": reads[0]}, first, "rn_fold_sum(to + u0, u1 - u0, &of, rows, more);")]
    else:
        raise Broken(f"no C for the fold {node.op}")
    return "\n".join([*head, *(f"    {line}" for line in [*access.end(), *body]), "}"])


def numbers(access: Access, n: int, first: str) -> list[str]:
    """The sum of a number of each row: where these lie side by side they need not be collected."""
    read, add = access.graph[n].args[0], "*to = (more ? *to : 0) + rn_row_sum({}, rows);"
    if read.delay or access.per == SEQUENCE or access.role.guards.of(n, product=True) or not access.side_by_side(
            read.node):
        return ["RN_ALIGNED real a[RN_FOLD_MOST];", *blocks(access, n, {"a": read}, first, add.format("a"), "*({})")]
    return [f"int more = !({first});",
            "for (long r = begin; r < end; r += RN_FOLD_MOST) {",
            "    const long rows = RN_MIN(RN_FOLD_MOST, end - r);",
            f"    {add.format(access.at(read.node, 'r'))}",
            "    more = 1;", "}"]


def blocks(access: Access, n: int, pointers: dict[str, Read], first: str, call: str, kept: str = "{}",
           each: int = 1) -> list[str]:
    """Statements that find the rows of each block, by name, and add them up: `call`, given `rows` of them (`kept`: what
    is kept of an address; `each`: how many a frame has), and `more` if there was a block before. Rows in which a clock
    makes zero what would be added are passed over. The counting build is told in `taken` how many of a product there
    are."""
    guards, product = access.role.guards.of(n, product=True), len(pointers) > 1
    lines = [f"int more = !({first});", *["RN_COUNTING(long taken = 0;)"] * product,
             "for (long r = begin; r < end;) {",
             "    long rows = 0;",
             f"    for (; r < end && rows {'< RN_FOLD_MOST' if each == 1 else f'<= RN_FOLD_MOST - {each}'}; r++) {{",
             *[f"        if (!({access.holds(guards)})) continue;"] * bool(guards),
             *(f"        {line}" for line in _rows(access, pointers, kept, each)),
             "    }",
             *["    if (rows == 0 && more) break;"] * bool(guards),
             f"    {call}",
             "    more = 1;", *["    RN_COUNTING(taken += rows;)"] * product]
    return [*lines, "}"]


def _rows(access: Access, pointers: dict[str, Read], kept: str, each: int) -> list[str]:
    """Statements that note the row, or the rows, of a frame."""
    if each == 1:
        return [*(f"{name}[rows] = {kept.format(access.row(read))};" for name, read in pointers.items()), "rows++;"]
    width = {name: access.graph[read.node].shape[1] for name, read in pointers.items()}
    return [*(f"const real *const {name}_from = {access.row(read)};" for name, read in pointers.items()),
            f"for (long i = 0; i < {each}; i++, rows++) {{",
            *(f"    {name}[rows] = {name}_from + i * {width[name]};" for name in pointers), "}"]


def describe(access: Access, n: int) -> str:
    graph = access.graph
    names = [graph[r.node].name or access.names[r.node] for r in graph[n].args]
    delays = ["" if not r.delay else f"[t{-r.delay:+d}]" for r in graph[n].args]
    what = [name + delay for name, delay in zip(names, delays)]
    match graph[n].op:
        case "fold_outer" | "fold_sparse":
            return f"the sum over all {access.per}s of {what[0]} times {what[1]} transposed"
        case "fold_column":
            return f"the sum over all {access.per}s of {what[0]} at the column {what[1]}"
    return f"the sum over all {access.per}s of {what[0]}"
