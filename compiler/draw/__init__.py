"""Pictures of a graph, with its loops boxed and its delays on the edges."""
