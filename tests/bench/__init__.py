"""Comparisons with other libraries: the same numbers (against_torch.py) and the same work (run.py)."""
