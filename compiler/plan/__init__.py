"""The plan: from a graph to a schedule. Stages, what each thread owns, where threads meet, where values live."""
