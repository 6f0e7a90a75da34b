"""Means by which the one loop is faster, and its results the same but for rounding."""
