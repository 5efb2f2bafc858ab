"""What an epoch is made of."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Mixture:
    """How many digits of each source make an epoch."""

    mnist: int = 60_000
    pen: int = 30_000
    unipen: int = 36_000
    """Pen strokes of many schools and tablets: each about three times."""
    bhmsds: int = 10_000
    semeion: int = 4_500
    rows: int = 12_000
    """Pen strokes in rows that touch, as the eye cuts them out (`tools.train.data.rows`)."""
    hand: int = 6_000
    """Synthetic handwriting (`models.ink`): allographs that the sets hardly hold, such as slashed zeros."""
    photographed: float = 0.25
    """Share of the digits that are seen as through a camera; of MNIST's, half of it."""
    untouched: float = 0.35
    """Share of MNIST's digits that are only normalised."""

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in _COUNTS)

    def scaled(self, factor: float) -> Mixture:
        """The same mixture, more or fewer digits."""
        return replace(self, **{name: max(1, round(getattr(self, name) * factor)) for name in _COUNTS})


_COUNTS = ("mnist", "pen", "unipen", "bhmsds", "semeion", "rows", "hand")
