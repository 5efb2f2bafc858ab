"""smartcar beside others, in one run: `smartcar bench --peers` writes docs/benchmarks.md."""
