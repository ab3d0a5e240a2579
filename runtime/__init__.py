"""Library to net: the compiled module behind NumPy arrays. Imports nothing of the compiler but its faults."""
