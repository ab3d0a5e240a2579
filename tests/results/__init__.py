"""Results that are known from elsewhere, run again: `python tests/results/run.py`."""
