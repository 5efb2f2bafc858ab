"""`smartcar status`: how every service is, in its own words, or why it isn't there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from messages.bus import socket_path
from messages.health import Heartbeat, ServiceState
from services.config import Settings
from services.supervision import FailureNote
from services.table import SERVICES
from tools.lines import STYLES
from tools.listening import listen
from tools.output import print_json, print_table

ASK_S = 1.2
"""A little more than a heartbeat."""
WELL: frozenset[ServiceState] = frozenset({"ready", "off"})


@dataclass(frozen=True)
class Status:
    """One service. `pid` is None where it doesn't run."""

    service: str
    state: ServiceState
    reason: str = ""
    pid: int | None = None
    uptime_s: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, float] = field(default_factory=dict)
    memory_mb: float = 0.0
    details: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, service: str, beat: Heartbeat) -> Status:
        """What the service says itself."""
        return cls(
            service, beat.state, beat.reason, beat.pid, beat.uptime_s,
            beat.rates, beat.counters, beat.latency_ms, beat.memory_mb, beat.details,
        )  # fmt: skip


def ask(settings: Settings, seconds: float = ASK_S) -> list[Status]:
    """How the services of the table are, in its order."""
    beats: dict[str, Heartbeat] = {}
    for _, beat in listen(settings, ["health"], for_s=seconds):
        if beat.source not in beats or beat.monotonic_ns >= beats[beat.source].monotonic_ns:
            beats[beat.source] = beat
        if set(beats) >= set(SERVICES) and all(each.rates for each in beats.values()):
            break
    runtime = settings.paths.runtime
    return [
        Status.of(name, beats[name])
        if name in beats and beats[name].state != "stopped"
        else _absent(runtime, name)
        for name in SERVICES
    ]


def show(settings: Settings, *, json: bool) -> int:
    """Print it. Returns 0 only where all services are ready, or off because they have nothing to do."""
    statuses = ask(settings)
    page = _page(settings.paths.runtime)
    if json:
        for status in statuses:
            content = asdict(status)
            if page and status.service == "overlay" and status.pid:
                content["details"]["page"] = page
            print_json(content)
    else:
        _print(statuses, page)
    return 0 if all(status.state in WELL for status in statuses) else 1


def _print(statuses: list[Status], page: str) -> None:
    print_table(
        ("service", "state", "pid", "up", "memory", "rates", "latency p50 / p95", "about"),
        ([*_cells(status)] for status in statuses),
        styles=STYLES,
    )
    for status in statuses:
        if status.reason:
            print(f"{status.service}: {status.reason}")
    if page and any(status.service == "overlay" and status.pid for status in statuses):
        print(f"page: {page}")
    running = [status for status in statuses if status.pid]
    if running:
        print(f"memory: {sum(status.memory_mb for status in running):.0f} MB")
    else:
        print("nothing runs here; start the car with: smartcar up")


def _cells(status: Status) -> tuple[str, ...]:
    about = ", ".join(f"{key} {value}" for key, value in status.details.items() if key != "address")
    if status.pid is None:
        return status.service, status.state, "–", "–", "–", "", "", about
    rates = ", ".join(f"{what} {rate:g}/s" for what, rate in status.rates.items() if rate > 0)
    latencies = ", ".join(
        f"{what} {status.latency_ms[f'{what}.p50']:.1f} / {status.latency_ms.get(f'{what}.p95', 0):.1f} ms"
        for what in (key.removesuffix(".p50") for key in status.latency_ms if key.endswith(".p50"))
    )
    return (
        status.service, status.state, str(status.pid), _duration(status.uptime_s),
        f"{status.memory_mb:.0f} MB", rates, latencies, about,
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def _absent(runtime: Path, service: str) -> Status:
    """A service that doesn't answer: it hangs, failed, or was never started."""
    pid = _process(runtime, service)
    if pid is not None:
        return Status(
            service,
            "failed",
            f"process {pid} runs but does not answer; if that stays so, end it: kill -9 {pid}",
        )
    note = FailureNote.read(runtime, service)
    if note is not None:
        return Status(service, "failed", note.reason)
    return Status(service, "stopped")


def _process(runtime: Path, service: str) -> int | None:
    """The process that holds the service's lock, if it lives and is one of ours."""
    try:
        pid = int(socket_path(runtime, service, "lock").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if service.encode() in command else None


def _page(runtime: Path) -> str:
    """The page's whole address, with the token; empty where there is none or it isn't ours to read."""
    try:
        return socket_path(runtime, "overlay", "address").read_text().strip()
    except OSError:
        return ""
