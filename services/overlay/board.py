"""The state of each service and the latest events, as the page shows them."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from messages.health import Heartbeat
from messages.presence import Presence
from messages.vision import ReadingEvent
from services.board import read as read_board
from services.supervision import FailureNote

REMEMBERED_SIGNS = 50


class HealthBoard:
    """How each service is, by its own heartbeat, and where that stopped, by the note it left."""

    def __init__(self, runtime: Path, services: Mapping[str, str]) -> None:
        """`services`: what each of them is about."""
        self._runtime = runtime
        self._services = services
        self._presence = {name: Presence() for name in services}

    def heard(self, heartbeat: Heartbeat) -> bool:
        """Take a heartbeat; returns whether it says something else than the one before."""
        presence = self._presence.get(heartbeat.source)
        if presence is None:
            return False
        before = presence.beat
        presence.heard(heartbeat)
        return before is None or any(
            getattr(before, field) != getattr(heartbeat, field)
            for field in ("state", "reason", "boot_id", "details")
        )

    def detail(self, service: str, name: str) -> str:
        beat = self._presence[service].beat
        return beat.details.get(name, "") if beat else ""

    def glance(self) -> dict[str, Any]:
        """What a person asks about first: the model, the broker, what the car needs, the board's figures."""
        broker, bridge = self.detail("bridge", "broker"), self._presence["bridge"].beat
        beats = [each.beat for each in self._presence.values() if each.beat and each.beat.state != "stopped"]
        return {
            "model": self.detail("recognizer", "model"),
            "broker": "" if broker == "none" else broker,
            "backlog": bridge.counters.get("backlog", 0) if bridge else 0,
            "memory_mb": round(sum(beat.memory_mb for beat in beats), 1),
            "processor_percent": round(sum(beat.processor_percent for beat in beats), 1),
            "board": asdict(read_board()),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row a service, in the table's order."""
        return [self._row(name, about) for name, about in self._services.items()]

    def _row(self, name: str, about: str) -> dict[str, Any]:
        presence = self._presence[name]
        heartbeat = presence.beat
        row: dict[str, Any] = {"name": name, "about": about}
        if heartbeat is None:
            note = FailureNote.read(self._runtime, name)
            reason = note.reason if note else f"{name} was not heard of since this page's server started."
            return row | {"state": "not running", "reason": reason}
        state, reason = heartbeat.state, heartbeat.reason
        row |= {
            "age_s": round(presence.silent_s, 1),
            "pid": heartbeat.pid,
            "uptime_s": heartbeat.uptime_s,
            "memory_mb": heartbeat.memory_mb,
            "processor_percent": heartbeat.processor_percent,
            "restarts": heartbeat.restarts,
            "rates": heartbeat.rates,
            "counters": heartbeat.counters,
            "latency_ms": heartbeat.latency_ms,
            "details": heartbeat.details,
        }
        if state == "stopped":
            return row | {"state": "not running", "reason": reason or f"{name} was stopped."}
        if presence.is_silent:
            return row | self._gone(heartbeat, presence.silent_s)
        if state == "starting" and not reason and (note := FailureNote.read(self._runtime, name)):
            reason = note.reason
        return row | {"state": state, "reason": reason}

    def _gone(self, heartbeat: Heartbeat, age_s: float) -> dict[str, str]:
        note = FailureNote.read(self._runtime, heartbeat.source)
        if note is not None and note.wall_time >= heartbeat.wall_time.timestamp():
            return {"state": "not running", "reason": note.reason}
        name = heartbeat.source
        reason = f"{name} has not been heard from for {age_s:.0f} s: it hangs or was killed."
        return {"state": "silent", "reason": reason}


class EventLog:
    """The latest signs: one entry an `event_id`, its last event. Hearing one twice changes nothing."""

    def __init__(self) -> None:
        self._signs: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def add(self, event: ReadingEvent) -> None:
        known = self._signs.get(event.event_id)
        if known is not None and known["boot_id"] == event.boot_id and known["sequence"] >= event.sequence:
            return
        before: list[str] = known["before"] if known else []
        if known is not None and known["text"] != event.text:
            before = [*before, known["text"]][-4:]
        self._signs[event.event_id] = {
            "id": event.event_id,
            "phase": event.phase,
            "end_reason": event.end_reason,
            "text": event.text,
            "before": before,
            "confidence": event.confidence,
            "digit_confidences": event.digit_confidences,
            "first_seen": event.first_seen.timestamp(),
            "last_seen": event.last_seen.timestamp(),
            "frames": event.frames,
            "latency_ms": event.latency_ms,
            "model": f"{event.model.name} {event.model.version}",
            "boot_id": event.boot_id,
            "sequence": event.sequence,
        }
        if len(self._signs) > REMEMBERED_SIGNS:
            self._signs.popitem(last=False)

    def rows(self) -> list[dict[str, Any]]:
        """Newest first."""
        return list(reversed(self._signs.values()))


def message(kind: str, content: Mapping[str, Any]) -> str:
    """A message for the page, with the car's two clocks: milliseconds monotonic, seconds of the day's."""
    clocks = {"type": kind, "now": time.monotonic_ns() / 1e6, "wall": datetime.now(UTC).timestamp()}
    return json.dumps({**clocks, **content}, ensure_ascii=False, separators=(",", ":"))
