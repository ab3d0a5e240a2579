"""Pictures of a graph, with its loops boxed and its delays on the edges: `draw(graph, format)`."""

from rnnc.draw.paint import draw

__all__ = ["draw"]
