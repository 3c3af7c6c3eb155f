"""Vectors, libraries and programs that others made, held against ours."""
