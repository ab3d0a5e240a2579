"""The graph: a network as tensors per frame, tied by reads with signed delays; what is true of it; its gradient."""
