"""Rows to Markdown: every peer on every workload, the best of them, and how far rnnc and it are from the bound."""

from bench.workloads import RTNEURAL, RTNEURAL_PEAK, WORKLOADS, bound

ORDINARY = ("torch-eager", "jax-scan", "torch-nn", "torch-nncell", "ort", "openvino")


def rates(w, rows, limits, threads: int) -> dict[str, float]:
    """Frames per second by peer, of the rows that agree."""
    found = {r.peer: w.count / r.seconds for r in rows if r.workload == w.id and r.threads == threads}
    if w.id in RTNEURAL and threads == 1:
        found["RTNeural (scaled)"] = 1e6 / (RTNEURAL[w.id] * RTNEURAL_PEAK * 1e9 / limits.peak[1])
    return found


def disagree(w, rows) -> list[str]:
    """Peers whose loss and gradients differ from rnnc's; in inference, from float64."""
    mine = next((r.check for r in rows if r.workload == w.id and r.peer == "rnnc"), None)
    if w.kind != "training":
        return [r.peer for r in rows if r.workload == w.id and r.check[0] > 1e-4]
    far = lambda a, b: abs(a - b) > 2e-3 * max(abs(a), abs(b), 1e-3)
    return [r.peer for r in rows if r.workload == w.id and mine and any(map(far, mine, r.check))]


def shown(w, rate: float) -> str:
    if w.kind == "stream":
        return f"{1e6 / rate:.3g} us"
    return f"{rate / 1e3:.2f}k" if rate < 99_995 else f"{rate / 1e3:.0f}k"


def line(w, rows, limits, threads: int) -> str:
    """One row of the table."""
    found = rates(w, rows, limits, threads)
    most = w.count / bound(w, limits, threads)
    mark = {r.peer: "*" * r.disturbed for r in rows if r.workload == w.id and r.threads == threads}
    others = {name: rate for name, rate in found.items() if name != "rnnc"}
    best = max(others, key=others.get, default=None)
    mine = found.get("rnnc")
    say = lambda name: f"{shown(w, found[name])}{mark.get(name, '')} {name}"
    ordinary = max((n for n in others if n in ORDINARY), key=others.get, default=None)
    cells = [w.id, w.says(), shown(w, most), shown(w, mine) + mark["rnnc"] if mine else "-",
             f"{mine / most:.0%}" if mine else "-", say(best) if best else "-",
             f"{mine / found[best]:.2f}" if mine and best else "-",
             f"{say(ordinary)} ({mine / found[ordinary]:.1f})" if mine and ordinary else "-",
             ", ".join(say(n) for n in sorted(others, key=lambda n: -others[n]) if n not in (best, ordinary)) or "-"]
    wrong = disagree(w, rows)
    return "| " + " | ".join(cells) + " |" + (f"  differs: {', '.join(wrong)}" if wrong else "")


def markdown(record: dict, works, rows, limits) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parts = [f"{record['processor']}; {versions}. {record['date']}.",
             "Frames/s, the median of turns; *share*: of the bound that the measured limits set; *reach*: rnnc over "
             "the best peer of the same run; `*`: other programs were running."
             + ("" if record["mkl_switch"] else " MKL takes its AVX-512 kernels here by itself, so +mkl is left out.")]
    for threads in sorted({r.threads for r in rows}):
        near, far = limits.l2[threads] / 1e9, limits.l3[threads] / 1e9
        parts += [f"**{threads} thread{'s' * (threads > 1)}**: {limits.peak[threads] / 1e9:.0f} GFLOP/s multiply-add, "
                  f"reading {near:.0f} GB/s from the second cache, {far:.0f} GB/s from the third.",
                  "\n".join(["| | | bound | rnnc | share | best peer | reach | as users write it | others |",
                             "|---|---|---|---|---|---|---|---|---|",
                             *(line(w, rows, limits, threads) for w in works
                               if any(r.workload == w.id and r.threads == threads for r in rows))])]
    for w in (WORKLOADS[i] for i in dict.fromkeys(r.workload for r in rows)):
        record["notes"] += [f"{w.id} differs: {name}" for name in disagree(w, rows)]
    return "\n\n".join([*parts, *record["notes"]]) + "\n"
