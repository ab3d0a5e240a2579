"""rnnc: an ahead-of-time compiler for recurrent neural networks. Importing it loads nothing else."""

__version__ = "0.1.0"
