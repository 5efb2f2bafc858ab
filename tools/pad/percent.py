"""How sure a digit is, in words."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """Rounded down: 99.96 % is not called 100 %."""
    return f"{math.floor(share * 1000 + 1e-6) / 10:.1f}%"
