"""`smartcar bench guard`: figures that hold on any machine, so that nothing becomes slower unseen.

They are ratios of processor time, each to a peer in the same run: what else the machine does weighs on both.
The median of some rounds is taken, in which the two take turns.
"""

from __future__ import annotations

import statistics

from tools.bench.carriers.carry import carry
from tools.bench.report import Figure

FRAMES_GOAL = 0.7
"""A frame to two readers by the ring, in times of what pyzmq needs: 0.5 to 0.6, less beside other work."""


def measure(rounds: int = 3, frames: int = 60) -> list[Figure]:
    """About 10 s a round. Raises Problem."""
    ratios = []
    for _ in range(rounds):
        ours, plain = (carry(carrier, frames=frames).processor_s for carrier in ("ours", "zeromq"))
        ratios.append(ours / plain)
    title = "640×480 to 2 readers, processor in times of pyzmq's"
    return [
        Figure(f"{title}, median", statistics.median(ratios), "", FRAMES_GOAL),
        Figure(f"{title}, least", min(ratios), ""),
        Figure(f"{title}, most", max(ratios), ""),
    ]
