"""Syntax tree to graph: cells unrolled into equations, sizes worked out, every name given its path.

`load` reads, parses and elaborates a program; `elaborate` takes a tree; `survey` looks at the names of a library,
`check_asked` at what is asked of a program.
The steps: definitions are collected (`library`) and their names looked at (`names`); one model's body is elaborated
(`bodies`, `expressions`, `brackets`, `applications`, `builtins`) into drafts whose types flow along the reads
(`drafts`, `rules`, `work`); the drafts become nodes (`emit`, `lower`), whose loops must run one way in time
(`causality`), and whose names must be of use outside (`outside`).
"""

from rnnc.graph.elaborate.program import Program, check_asked, elaborate, load, survey

__all__ = ["Program", "check_asked", "elaborate", "load", "survey"]
