"""The machine: clock, disk, memory, and on a Raspberry Pi its power supply and heat."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import services
from messages.disk import is_read_only
from services import board
from services.board import Throttling
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, error, ok, warning

_MIB = 1 << 20
DISK_LOW, DISK_OUT = 500 * _MIB, 50 * _MIB
RUNTIME_LOW, RUNTIME_OUT = 64 * _MIB, 16 * _MIB
"""The frame ring takes 8 frames of 640×480: 7 MiB."""
MEMORY_LOW, MEMORY_OUT = 150 * _MIB, 50 * _MIB
HOT_C, TOO_HOT_C = 75.0, 85.0
"""From 80 °C a Raspberry Pi slows down, at 85 °C it does so in earnest."""
_MAXERROR_AT, _UNSYNCHRONISED_US = 24, 16_000_000
_STRONGER = "use the board's own power supply and a short cable, and feed motors from another one"


# the clock


def clock(car: CheckContext) -> Iterator[Finding]:
    """Whether the clock was ever set, and whether something keeps it right."""
    now, built = time.time(), _build_time()
    moment = datetime.fromtimestamp(now).astimezone()
    if now < built:
        yield error(
            f"the clock says {moment:%Y-%m-%d %H:%M}, before this software was made: it was never set",
            "connect the network so that NTP sets it, or: sudo date -s '2026-01-31 12:00'",
        )
    elif not _synchronised():
        yield warning(
            f"the clock says {moment:%Y-%m-%d %H:%M %Z} and nothing keeps it right",
            "see that the network is up and: sudo timedatectl set-ntp true",
        )
    else:
        yield ok(f"{moment:%Y-%m-%d %H:%M %Z}, kept by NTP")


def _build_time() -> float:
    """When this software was put here."""
    return Path(services.__file__).stat().st_mtime


def _synchronised() -> bool:
    """Whether the kernel knows how wrong its clock may be (adjtimex(2)); any NTP client tells it."""
    timex = ctypes.create_string_buffer(512)
    if ctypes.CDLL(None, use_errno=True).adjtimex(timex) < 0:
        return Path("/run/systemd/timesync/synchronized").exists()
    return ctypes.c_long.from_buffer(timex, _MAXERROR_AT).value < _UNSYNCHRONISED_US


# disk and memory


def disk(car: CheckContext) -> Iterator[Finding]:
    """Where the car writes: room, files, read-only; the runtime folder must be in memory."""
    paths = car.settings.paths
    yield from _room(paths.state, "paths.state", DISK_LOW, DISK_OUT, "remove what is not needed (df -h)")
    yield from _room(
        paths.runtime, "paths.runtime", RUNTIME_LOW, RUNTIME_OUT, "make that tmpfs larger, or empty it"
    )
    kind = _file_system(_nearest(paths.runtime), car.root)
    if kind not in ("", "tmpfs", "ramfs"):
        yield warning(
            f"the runtime folder {paths.runtime} is on {kind}: every frame wears out the disk",
            "set paths.runtime to a folder below /run or /dev/shm",
        )


def _room(folder: Path, setting: str, low: int, out: int, remedy: str) -> Iterator[Finding]:
    there = _nearest(folder)
    status = os.statvfs(there)
    free = status.f_bavail * status.f_frsize
    if is_read_only(there):
        yield error(
            f"{there} is read-only, and {setting} lies there",
            "look for disk errors (dmesg), then: sudo mount -o remount,rw "
            f"{_mount_point(there)}, or replace the card",
        )
    elif status.f_files and status.f_favail < 100:
        yield error(f"the disk of {there} can't hold more files ({setting})", remedy)
    elif free < out:
        yield error(f"the disk of {there} is full: {free / _MIB:.0f} MB left ({setting})", remedy)
    elif free < low:
        yield warning(f"{free / _MIB:.0f} MB left on the disk of {there} ({setting})", remedy)
    else:
        yield ok(f"{_size(free)} left for {folder} ({setting})")


def _size(count: int) -> str:
    return f"{count / _MIB:.0f} MB" if count < 10_000 * _MIB else f"{count / _MIB / 1024:.0f} GB"


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _mount_point(folder: Path) -> Path:
    while not os.path.ismount(folder):
        folder = folder.parent
    return folder


def _file_system(folder: Path, root: Path) -> str:
    """Which kind it is on; empty where that isn't told."""
    point = str(_mount_point(folder))
    try:
        mounts = (root / "proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    kinds = [fields[2] for line in mounts if len(fields := line.split()) > 2 and fields[1] == point]
    return kinds[-1] if kinds else ""


def memory(car: CheckContext) -> Iterator[Finding]:
    """What is available, and whether the kernel had to end a process for want of it."""
    figures = _figures(car.root / "proc/meminfo")
    total, available = figures.get("MemTotal", 0) << 10, figures.get("MemAvailable", 0) << 10
    remedy = "end other programs; the services take what smartcar top shows"
    if not total:
        yield ok("this machine doesn't tell")
    elif available < MEMORY_OUT:
        yield error(f"{available / _MIB:.0f} MB available of {_size(total)}", remedy)
    elif available < MEMORY_LOW:
        yield warning(f"{available / _MIB:.0f} MB available of {_size(total)}", remedy)
    else:
        yield ok(f"{_size(available)} available of {_size(total)}")
    if killed := _figures(car.root / "proc/vmstat").get("oom_kill", 0):
        yield warning(
            f"the kernel has ended {killed} processes for want of memory since this machine started",
            "journalctl -k -g 'Out of memory|oom-kill' names them; end what takes too much",
        )


def _figures(file: Path) -> dict[str, int]:
    """`name value` or `name: value kB` lines."""
    try:
        text = file.read_text()
    except OSError:
        return {}
    return {name: int(value) for name, value in re.findall(r"^(\w+):?\s+(\d+)", text, re.MULTILINE)}


# power and heat


def power(car: CheckContext) -> Iterator[Finding]:
    """Temperature, under-voltage, throttling: now, and where the firmware tells, since power on."""
    found = board.read(car.root)
    firmware = _ask_firmware() if car.root == Path("/") else None
    name = found.model or "this machine"
    if found.under_voltage or (firmware and firmware.under_voltage):
        yield error(f"{name} gets too little voltage now: cameras and cards fail", _STRONGER)
    elif firmware and firmware.under_voltage_before:
        yield warning(f"{name} got too little voltage at times since it was switched on", _STRONGER)
    cooler = "give it air or a heat sink"
    warmth = found.temperature_c
    if warmth is not None and warmth >= TOO_HOT_C:
        yield error(f"the processor has {warmth:.0f} °C and is slowed down", cooler)
    elif warmth is not None and warmth >= HOT_C:
        yield warning(f"the processor has {warmth:.0f} °C; from 80 °C a Raspberry Pi slows down", cooler)
    elif found.throttled or (firmware and firmware.throttled):
        yield warning("the processor is slowed down, for want of power or for heat", f"{_STRONGER}; {cooler}")
    elif warmth is not None:
        yield ok(f"{name}, {warmth:.0f} °C")
    elif found.under_voltage is None and firmware is None:
        yield ok("this machine tells neither its temperature nor its voltage")
    elif not found.under_voltage:
        yield ok(f"{name}, its power supply suffices")


def _ask_firmware() -> Throttling | None:
    """What `vcgencmd` says, which remembers; None where there is none, or this user may not ask."""
    if (command := shutil.which("vcgencmd")) is None:
        return None
    try:
        answer = subprocess.run(
            [command, "get_throttled"], capture_output=True, text=True, timeout=2, check=False
        ).stdout
        return Throttling.of(int(answer.partition("=")[2], 16))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
