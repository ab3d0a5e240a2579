"""The plan in words: which loop runs how and why, what it costs, and what threads would bring."""

from rnnc.explain.report import explain

__all__ = ["explain"]
