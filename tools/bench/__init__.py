"""Benchmarks: figures that anyone can measure again, as a table and as JSON. Never run as timed tests."""
