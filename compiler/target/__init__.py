"""Schedule to C to library."""
