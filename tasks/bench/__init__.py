"""Graft beside what its users would run instead: the same rows, in turn, each side in a process of its own."""
