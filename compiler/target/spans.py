"""What is made of all frames of a sequence, as C.

In: a span node. Out: a C function in which each thread owns pieces: some units of a sequence, or all of a stream's
sequences. The frames of a sequence follow one another in a fixed order, so no number depends on who owns what.
"""

from rnnc.graph.nodes import INT, Graph
from rnnc.target.access import Access, stride
from rnnc.target.attend import attend, attended, correct, pair


def scratch(graph: Graph) -> int:
    """Units of the widest logits that need the scratch of ctc; 0: none do."""
    return max((graph[node.args[0].node].size for node in graph.nodes if node.op in ("ctc", "ctc_slope")), default=0)


def span(access: Access, n: int, name: str) -> str:
    """`name`: of the function."""
    access.needs.spans = True
    graph, node = access.graph, access.graph[n]
    of = graph[node.args[0].node].name or access.names[node.args[0].node]
    head = [f"/* {node.name or access.names[n]}: {TITLES[node.op].format(of)} */",
            f"static void {name}(const rn_call *c, const rn_team *team, int thread)", "{"]
    return "\n".join([*head, *(f"    {line}" for line in BODIES[node.op](access, n)), "}"])


def pieces(node) -> list[str]:
    """Sequences and their units are dealt out in pieces: sequence s, units u and `n` in all."""
    return ["long p0, p1;", f"const long parts = ({node.size} + RN_SPAN_UNITS - 1) / RN_SPAN_UNITS;",
            "rn_share(c->S * parts, thread, team->threads, &p0, &p1);",
            "for (long p = p0; p < p1; p++) {",
            f"    const long s = p / parts, u = p % parts * RN_SPAN_UNITS, n = RN_MIN(RN_SPAN_UNITS, {node.size} - u);",
            "    const rn_span span = c->spans[s];"]


def blocks(access: Access, n: int) -> list[str]:
    """The frames of a sequence in blocks of rows, `of`."""
    return ["    const real *rows[RN_FOLD_MOST];",
            "    for (long first = 0; first < span.frames; first += RN_FOLD_MOST) {",
            "        const long count = RN_MIN(RN_FOLD_MOST, span.frames - first);",
            "        for (long i = 0; i < count; i++) {",
            "            const long r = span.first + (first + i) * c->B;",
            f"            rows[i] = {access.row(access.graph[n].args[0])};",
            "        }",
            "        const rn_rows of = {NULL, 0, rows, u};"]


def target(access: Access, n: int) -> str:
    return f"    real *const to = {access.of_sequences().at(n, 's')} + u;"


def summed(access: Access, n: int) -> list[str]:
    call = "rn_fold_sum" if access.graph[n].op == "span_sum" else "rn_span_max"
    return [*pieces(access.graph[n]), target(access, n), *blocks(access, n),
            f"        {call}(to, n, &of, count, first > 0);", "    }", "}"]


def logarithm(access: Access, n: int) -> list[str]:
    return [*pieces(access.graph[n]), target(access, n),
            "    RN_ALIGNED real most[RN_SPAN_UNITS], total[RN_SPAN_UNITS];",
            *blocks(access, n), "        rn_span_exp(most, total, n, &of, count, first > 0);", "    }",
            "    rn_span_log(to, most, total, n);", "}"]


def end(access: Access, n: int) -> list[str]:
    """The value of the last frame, or the first."""
    node = access.graph[n]
    row = "span.first" if node.op == "span_first" else "span.first + (span.frames - 1) * c->B"
    to = access.of_sequences().at(n, "s")
    copy = f"*({to}) = (int32_t)({access.integer(node.args[0])});" if node.kind == INT else \
        f"rn_copy({to}, {access.row(node.args[0])}, {node.size});"
    return ["long s0, s1;", "rn_share(c->S, thread, team->threads, &s0, &s1);", "for (long s = s0; s < s1; s++) {",
            "    const rn_span span = c->spans[s];", f"    const long r = {row};", f"    {copy}", "}"]


def permuted(access: Access, n: int) -> list[str]:
    graph, node = access.graph, access.graph[n]
    value, frame, order = node.args
    size = graph[order.node].size
    take = f"(int32_t)({access.integer(value)})" if node.kind == INT else access.row(value)
    lines = ["long s0, s1;", "rn_share(c->S, thread, team->threads, &s0, &s1);", "for (long s = s0; s < s1; s++) {",
             "    const rn_span span = c->spans[s];", "    for (long i = 0; i < span.frames; i++) {",
             "        const long here = span.first + i * c->B;",
             f"        const long from = rn_permuted({access.constant(order.node)}, {size}, "
             f"{access.integer(frame, 'here')}, i, span.frames);",
             "        const long r = span.first + from * c->B;"]
    if node.kind == INT:
        lines.append(f"        *({access.at(n, 'here')}) = from < 0 ? {-bool(node.attr('labels'))} : {take};")
    else:
        step = stride(graph, n)
        lines += [f"        if (from < 0) rn_zero({access.at(n, 'here')}, {step});",
                  f"        else rn_copy({access.at(n, 'here')}, {take}, {node.size});"]
    return [*lines, "    }", "}"]


def paths(access: Access, n: int) -> list[str]:
    """Streams are dealt out, since the scratch is large and belongs to a thread."""
    graph, node = access.graph, access.graph[n]
    logits, labels = node.args
    units, lists = graph[logits.node].size, access.field(labels.node)
    call = f"rn_ctc(scratch, span.frames, {units}, {lists} + {lists}_from[s], " \
           f"(long)({lists}_from[s + 1] - {lists}_from[s]), "
    if node.op == "ctc":
        call = f"*({access.of_sequences().at(n, 's')}) = (real){call}NULL, 0);"
    else:
        call = f"(void){call}{access.at(n, 'span.first')}, c->B * {stride(graph, n)});"
    return ["const int spellers = RN_MIN(team->threads, RN_SPELLERS);", "if (thread >= spellers) return;",
            "long b0, b1;", "rn_share(c->B, thread, spellers, &b0, &b1);",
            f"double *const scratch = c->paths + (size_t)thread * rn_ctc_scratch(c->T, {units});",
            "for (long s = 0; s < c->S; s++) {", "    const rn_span span = c->spans[s];",
            "    if (span.first % c->B < b0 || span.first % c->B >= b1) continue;",
            "    for (long i = 0; i < span.frames; i++) {", "        const long r = span.first + i * c->B;",
            f"        rn_ctc_rows(scratch)[i] = {access.row(logits)};", "    }", f"    {call}", "}"]


TITLES = {"span_sum": "the sum over its sequence of {}", "span_max": "the largest in its sequence of {}",
          "span_logsumexp": "the logarithm of the sum over its sequence of exp of {}", "span_last": "the last {}",
          "span_first": "the first {}", "permute": "{} in another order",
          "ctc": "labels spelled by {}, -log of their probability", "ctc_slope": "its derivative by {}",
          "attend": "what a matrix linear in itself answers to {}",
          "correct": "what a matrix answers to {} and corrects itself by",
          "attended": "its last value, linear in itself and in {}",
          "pair": "the derivative by the coefficient of a matrix linear in itself and in {}"}
BODIES = {"span_sum": summed, "span_max": summed, "span_logsumexp": logarithm, "span_last": end, "span_first": end,
          "permute": permuted, "ctc": paths, "ctc_slope": paths, "attend": attend, "attended": attended,
          "correct": correct, "pair": pair}

