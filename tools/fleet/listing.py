"""`smartcar fleet`: the cars on a broker, as a table, as JSON, or watched."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from messages.offers import ROOT
from messages.text import printable
from messages.vision import ModelInfo
from tools.fleet.fleet_state import PATTERNS, FleetCar, FleetState
from tools.publish.mqtt_client import ConnectionLost, MqttClient
from tools.publish.publication import ANSWERS_S, new_marker
from tools.terminal.broker_options import Ways
from tools.terminal.output import console, print_json, print_table, say, table
from tools.terminal.problems import warn
from tools.up.console_log import STYLES

LISTEN_S = 12.0
"""A car that is on says something within ten seconds."""
QUIET_S = 0.4
"""The first table is drawn after so long: most of what stands on the broker has come."""
AGAIN_S = 2.0
REDRAW_S = 0.5
WELL = ("ready",)
_STYLES = {**STYLES, "lost": "bold red", "silent": "bold red", "unknown": "dim"}
_HEADINGS = ("car", "state", "model", "offered", "version", "°C", "last heard", "about")


@dataclass(frozen=True)
class Row:
    """One car, fit to be printed. `heard_s`: seconds since it said something while we listened."""

    car: str
    state: str
    reason: str
    heard_s: float | None
    last_seen: str | None
    version: str
    hardware: str
    model: str
    digest: str
    trial: str
    pinned: bool
    offers: tuple[str, ...]
    temperature_c: float | None


def row(car: FleetCar, now: float, listening_since: float) -> Row:
    """What is shown of a car."""
    status, info, model = car.status, car.info, car.model
    last = car.last_word
    return Row(
        car=car.name,
        state=car.state(now, listening_since),
        reason=printable(status.reason) if status is not None else "",
        heard_s=round(now - car.heard, 1) if car.heard is not None else None,
        last_seen=last.isoformat(timespec="seconds") if last is not None else None,
        version=printable(info.version, 30) if info is not None else "",
        hardware=printable(info.hardware, 60) if info is not None else "",
        model=_title(model.active) if model is not None else "",
        digest=printable(model.active.digest, 64) if model is not None else "",
        trial=_title(model.trial) if model is not None and model.trial is not None else "",
        pinned=model.pinned if model is not None else False,
        offers=_offers(car),
        temperature_c=round(car.temperature_c, 1) if car.temperature_c is not None else None,
    )


def rows(fleet: FleetState) -> list[Row]:
    """All cars, car10 after car9."""
    now = fleet.clock()
    cars = sorted(fleet.cars.values(), key=lambda car: in_order(car.name))
    return [row(car, now, fleet.listening_since) for car in cars]


def in_order(name: str) -> tuple[list[int | str], str]:
    """Sorts names as people do: by the numbers in them, too."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)], name


def show(ways: Ways, *, listen_s: float, json: bool) -> int:
    """Print the cars once all that are on have been heard, at the latest after `listen_s` seconds.

    Returns 0 only where there are cars and all of them are ready.
    """
    fleet, complete = FleetState(), False
    try:
        with MqttClient.open(ways) as client:
            complete = gather(client, fleet, listen_s)
            if not complete:
                warn(
                    f"The broker did not say within {listen_s:g} s that these are all cars; listen longer "
                    f"(--listen), or let this user publish below {ROOT} (the broker's ACL)."
                )
    except ConnectionLost as lost:
        warn(f"{lost} This is what was heard until then.")
    found = rows(fleet)
    if json:
        for each in found:
            print_json(asdict(each))
    else:
        if found:
            print_table(_HEADINGS, map(_cells, found), styles=_STYLES)
        for note in _notes(fleet, found):
            say(note)
    return 0 if complete and found and all(each.state in WELL for each in found) else 1


def gather(client: MqttClient, fleet: FleetState, listen_s: float) -> bool:
    """Until what is retained has come and all cars that say they are on were heard, or the time is over.

    Returns whether all that is retained has come: so says a message of ours that the broker passes on last.
    """
    deadline = fleet.clock() + listen_s
    marker = new_marker("fleet")
    client.subscribe(marker, *PATTERNS)
    client.publish([(marker, b"")], retain=False)
    client.ask_cars()
    complete = False
    answers_by = fleet.clock() + (0.0 if client.hands_out_by_wildcard else ANSWERS_S)
    while (now := fleet.clock()) < deadline and (not complete or now < answers_by or fleet.unheard()):
        if now >= answers_by and fleet.half_known():
            client.ask_cars()
            answers_by = now + ANSWERS_S
        if (message := client.received(min(1.0, deadline - now))) is None:
            continue
        if message.topic == marker:
            complete = True
        else:
            fleet.take(message.topic, message.payload, message.retained)
    return complete


def watch(ways: Ways, *, json: bool) -> int:
    """Show the cars until Ctrl-C: a table that is kept up to date, or a line a change."""
    fleet = FleetState()
    live = sys.stdout.isatty() and not json
    try:
        with _LiveTable() if live else _Changes(json) as show_now:
            while True:
                _watch_once(ways, fleet, show_now)
    except KeyboardInterrupt:
        return 0


def _watch_once(ways: Ways, fleet: FleetState, show_now: Callable[[list[Row], list[str]], None]) -> None:
    """Until the connection is lost; then the next call tries again."""
    trouble: list[str] = []
    try:
        with MqttClient.open(ways) as client:
            fleet.listening_since = fleet.clock()
            client.subscribe(*PATTERNS)
            client.ask_cars()
            due = fleet.clock() + QUIET_S
            while True:
                came = client.received(REDRAW_S)
                if came is not None:
                    fleet.take(came.topic, came.payload, came.retained)
                if fleet.clock() >= due:
                    found = rows(fleet)
                    show_now(found, _notes(fleet, found))
                    due = fleet.clock() + REDRAW_S
    except ConnectionLost as lost:
        trouble = [f"{lost} It is tried again."]
    found = rows(fleet)
    show_now(found, trouble + _notes(fleet, found))
    time.sleep(AGAIN_S)


class _LiveTable:
    """A table on a terminal, drawn again in its place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(console=console(), auto_refresh=False)

    def __enter__(self) -> Callable[[list[Row], list[str]], None]:
        self._live.__enter__()
        return self._draw

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def _draw(self, found: list[Row], notes: list[str]) -> None:
        from rich.console import Group
        from rich.text import Text

        content = table(_HEADINGS, map(_cells, found), styles=_STYLES)
        self._live.update(Group(content, *map(Text, notes)), refresh=True)


class _Changes:
    """A line for each car that has changed."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._before: dict[str, tuple[object, ...]] = {}

    def __enter__(self) -> Callable[[list[Row], list[str]], None]:
        return self._tell

    def __exit__(self, *_: object) -> None:
        pass

    def _tell(self, found: list[Row], _: list[str]) -> None:
        for each in found:
            value = (each.state, each.reason, each.model, each.trial, each.pinned, each.offers, each.version)
            if self._before.get(each.car) == value:
                continue
            self._before[each.car] = value
            if self._json:
                print_json(asdict(each))
            else:
                say("  ".join(filter(None, _cells(each))))
        for gone in self._before.keys() - {each.car for each in found}:
            del self._before[gone]
            if self._json:
                print_json({"car": gone, "state": "removed"})
            else:
                say(f"{gone}  removed")


def _notes(fleet: FleetState, found: list[Row]) -> list[str]:
    notes = []
    if not found:
        notes.append("no car has said anything on this broker; see mqtt.host in the cars' settings")
    unheard = [each.car for each in found if each.heard_s is None and each.state not in ("lost", "stopped")]
    if unheard and any(each.state != "silent" for each in found if each.car in unheard):
        notes.append(
            f"not heard yet: {len(unheard)} of {len(found)} cars, shown as they left word; "
            f"a car that is on is heard within {LISTEN_S:g} s (--listen)"
        )
    if ignored := sum(fleet.ignored.values()):
        notes.append(f"ignored: {ignored} messages that could not be read")
    return notes


def _offers(car: FleetCar) -> tuple[str, ...]:
    """How each offer that the car knows of stands there."""
    if car.model is None:
        return ()
    lines = []
    for offer in car.model.offers[:8]:
        title = printable(f"{offer.name} {offer.version}", 60)
        if offer.digest == car.model.active.digest:
            lines.append(f"{title} ✓")
        elif offer.reason:
            lines.append(f"{title} {printable(offer.reason, 30)}")
        else:
            lines.append(f"{title} {offer.percent} %")
    return tuple(lines)


def _title(model: ModelInfo) -> str:
    return printable(f"{model.name} {model.version}", 60)


def _cells(each: Row) -> tuple[str, ...]:
    model = each.model + (f" → {each.trial}" if each.trial else "") + (" (pinned)" if each.pinned else "")
    degrees = f"{each.temperature_c:.0f}" if each.temperature_c is not None else ""
    return (
        each.car, each.state, model, ", ".join(each.offers), each.version, degrees, _heard(each), each.reason
    )  # fmt: skip


def _heard(each: Row) -> str:
    if each.heard_s is not None:
        return "now" if each.heard_s < 15 else f"{_duration(each.heard_s)} ago"
    if each.last_seen is None:
        return "never"
    return f"{_duration((datetime.now(UTC) - datetime.fromisoformat(each.last_seen)).total_seconds())} ago"


def _duration(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, size in (("s", 120), ("min", 7200), ("h", 172800)):
        if seconds < size:
            return f"{seconds / {'s': 1, 'min': 60, 'h': 3600}[unit]:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
