"""The car at a glance as a table and a few lines, for a terminal: `smartcar status` and `smartcar top`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.table import Table

from tools.observe.snapshot import CarSnapshot, ServiceStatus
from tools.terminal.output import table
from tools.up.console_log import STYLES

NOTABLE_HERTZ = 0.5
"""Frames left out a second, from which on it is said: one now and then is nobody's concern."""
_NOT_RATES = ("backlog", "journal_backlog")
_NOT_SHOWN = {"address", "digest", "model", "broker", "protocol", "topics", "page"}


@dataclass(frozen=True)
class _Column:
    heading: str
    cell: Callable[[ServiceStatus], str]
    from_width: int = 0
    """Shown in terminals that are this wide."""


_COLUMNS = (
    _Column("service", lambda status: status.service),
    _Column("state", lambda status: status.state),
    _Column("pid", lambda status: str(status.pid or "–"), 110),
    _Column("up", lambda status: _duration(status.uptime_s) if status.pid else "–"),
    _Column("restarts", lambda status: str(status.restarts)),
    _Column("CPU", lambda status: f"{status.processor_percent:.0f} %" if status.pid else "–"),
    _Column("memory", lambda status: f"{status.memory_mb:.0f} MB" if status.pid else "–"),
    _Column("rates", lambda status: _rates(status)),
    _Column("latency p50 / p95", lambda status: _latencies(status), 110),
    _Column("lost", lambda status: ", ".join(f"{name} {count}" for name, count in status.losses.items())),
    _Column("about", lambda status: _about(status), 150),
)
_FOLDED = {"rates", "latency p50 / p95", "lost", "about"}


def services_table(services: Iterable[ServiceStatus], width: int) -> Table:
    """One row a service, for a terminal that is so many columns wide."""
    columns = [column for column in _COLUMNS if width >= column.from_width]
    rows = [[column.cell(status) for column in columns] for status in services]
    made = table([column.heading for column in columns], rows, STYLES)
    for column in made.columns:
        column.no_wrap = column.header not in _FOLDED
    return made


def lines(snapshot: CarSnapshot) -> list[str]:
    """What stands below the table: reasons, then the car as a whole."""
    if not snapshot.running:
        whole = ["nothing runs here; start the car with: smartcar up"]
    else:
        whole = [
            f"model: {snapshot.model or 'none'}"
            + (f", on trial: {snapshot.trial}" if snapshot.trial else ""),
            f"broker: {_broker(snapshot)}",
            f"memory: {sum(status.memory_mb for status in snapshot.running):.0f} MB, "
            f"processor: {sum(status.processor_percent for status in snapshot.running):.0f} % of a core",
        ]
    if snapshot.page:
        whole.append(f"page: {snapshot.page}")
    if board := _board(snapshot):
        whole.append(f"board: {board}")
    said = [f"{status.service}: {status.reason}" for status in snapshot.services if status.reason]
    return said + [_pace(status) for status in snapshot.running if _is_behind(status)] + whole


def _is_behind(status: ServiceStatus) -> bool:
    return status.rates.get("frames_skipped", 0.0) >= NOTABLE_HERTZ


def _pace(status: ServiceStatus) -> str:
    read = status.rates.get("frames", 0.0)
    come = read + status.rates["frames_skipped"]
    return (
        f"{status.service}: reads {read:.0f} of {come:.0f} frames a second; this machine is too slow or too "
        f"busy for more: set capture.hertz lower, or see smartcar top"
    )


def _broker(snapshot: CarSnapshot) -> str:
    if not snapshot.broker:
        return "none"
    bridge = snapshot["bridge"]
    about = ", ".join(filter(None, (snapshot.broker, bridge.details.get("topics", ""))))
    return about + (f", {snapshot.backlog} events wait for it" if snapshot.backlog else "")


def _board(snapshot: CarSnapshot) -> str:
    board = snapshot.board
    return ", ".join(
        filter(
            None,
            (
                board.model,
                f"{board.temperature_c:.1f} °C" if board.temperature_c is not None else "",
                "under-voltage: use a stronger power supply" if board.under_voltage else "",
                "throttled" if board.throttled else "",
            ),
        )
    )


def _about(status: ServiceStatus) -> str:
    return ", ".join(f"{key} {value}" for key, value in status.details.items() if key not in _NOT_SHOWN)


def _rates(status: ServiceStatus) -> str:
    return ", ".join(
        f"{what} {rate:.3g}/s"
        for what, rate in status.rates.items()
        if rate > 0 and what not in _NOT_RATES and what not in status.losses
    )


def _latencies(status: ServiceStatus) -> str:
    return ", ".join(
        f"{what} {status.latency_ms[f'{what}.p50']:.1f} / {status.latency_ms.get(f'{what}.p95', 0):.1f} ms"
        for what in (key.removesuffix(".p50") for key in status.latency_ms if key.endswith(".p50"))
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"
