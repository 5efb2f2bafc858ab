"""How a service is, in its own words."""

from __future__ import annotations

from typing import Literal

from messages.message import Message
from messages.topics import EVERY_SERVICE, Mirror, Topic, TopicKind

ServiceState = Literal["starting", "ready", "degraded", "failed", "off", "stopped"]


class Heartbeat(Message):
    """Published by every service once a second from its work loop, and at once when its state changes.

    `reason` is empty, or one sentence that says what is wrong and what to do. `rates` are per second over
    the last beat; `counters` count since the start of the process; `latency_ms` holds `<what>.p50` and
    `<what>.p95` of the last beat. `memory_mb` is the proportional set size, `processor_percent` the share
    of one core over the last beat, both with the processes that work for the service. `restarts` counts how
    often it came back since it was last stopped on purpose.
    """

    state: ServiceState
    reason: str = ""
    pid: int
    uptime_s: float
    rates: dict[str, float] = {}
    counters: dict[str, int] = {}
    latency_ms: dict[str, float] = {}
    memory_mb: float = 0.0
    processor_percent: float = 0.0
    restarts: int = 0
    details: dict[str, str] = {}


class JournalCursor(Message):
    """How far the bridge has delivered: producers may forget what it has passed.

    `delivered` maps a journal's id to the highest entry acknowledged by the broker without a gap before it.
    """

    delivered: dict[str, int] = {}


HEALTH = Topic(
    "health",
    Heartbeat,
    TopicKind.STATE,
    "how each service is",
    hertz=1.0,
    mirror=Mirror(
        "status/{source}", qos=1, retain=True, on_change_of=("state", "reason", "details", "boot_id")
    ),
    owner=EVERY_SERVICE,
)

BRIDGE_CURSOR = Topic(
    "bridge.cursor",
    JournalCursor,
    TopicKind.STATE,
    "what the broker has acknowledged",
)
