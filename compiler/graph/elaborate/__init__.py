"""Syntax tree to graph: cells unrolled into equations, sizes worked out, every name given its path.

`load` reads, parses and elaborates a program; `elaborate` takes a tree. The steps: definitions are collected
(`library`), one model's body is elaborated (`bodies`, `expressions`, `applications`, `builtins`) into drafts whose
types flow along the reads (`drafts`, `rules`), and the drafts become nodes (`emit`, `lower`), whose loops must run one
way in time (`causality`).
"""

from rnnc.graph.elaborate.program import Program, elaborate, load

__all__ = ["Program", "elaborate", "load"]
