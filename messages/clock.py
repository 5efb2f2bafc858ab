"""Whether a wall clock can be believed."""

from __future__ import annotations

CLOCK_WAS_SET = 1_767_225_600.0
"""The start of 2026, in Unix time. A board without a battery shows an earlier time until NTP sets it."""
