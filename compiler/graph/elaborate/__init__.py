"""Syntax tree to graph."""
