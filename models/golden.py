"""The golden test (`models.proof`), and what is due where a model brings no terms of its own."""

from __future__ import annotations

from models.manifest import GoldenTerms
from models.proof import Proof, judge, run_golden

__all__ = ["INBOX_TERMS", "Proof", "judge", "run_golden"]

INBOX_TERMS = GoldenTerms(accuracy=0.5, latency_ms=33.0, source="the car's own golden digits")
"""For a file out of the data folder, whose owner wants it: mostly right, and done between two frames."""
