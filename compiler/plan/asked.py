"""What questions to a matrix cost that is linear in itself, chunk by chunk of frames (runtime/attend.h).

In: a node of graph/ops/attend.py. Out: its axes, the length of its chunks, operations of a frame.
"""

from rnnc.graph.chunkwise import CHUNK, FADE_CHUNK
from rnnc.graph.nodes import Graph


def axes(graph: Graph, n: int) -> tuple[int, int]:
    """Of what is asked in chunks: the units of an answer (of the columns that threads own), and of a question."""
    node = graph[n]
    if node.op in ("attend", "correct"):
        return node.size, graph[node.args[0].node].size
    u, w = (graph[read.node].size for read in node.args[:2])
    return w, u


def chunk_of(graph: Graph, n: int) -> int:
    return CHUNK if graph[n].attr("along") is None else FADE_CHUNK


def in_chunks(graph: Graph, n: int, frames: int) -> float:
    """Operations of a frame: through the matrix, and with the frames of its chunk."""
    node, (u, w) = graph[n], axes(graph, n)
    scalar, chunk = node.attr("along") is None, min(frames, chunk_of(graph, n))
    through = 2.0 * u * w * (frames > chunk or node.op == "attended")
    if node.op == "attended":
        return through * node.attr("products", 1)
    if node.op == "pair":
        return 4 * through + 1.5 * chunk * (u + w) * (1 if scalar else 2)
    return 2 * through + chunk * (1.5 * w + u) * (1 if scalar else 2)
