"""The board the car runs on, as the kernel tells it below /sys: what it is, how warm, how well fed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

Figure = TypeVar("Figure")

_MODEL = "sys/firmware/devicetree/base/model"
_SERIAL = "sys/firmware/devicetree/base/serial-number"
_CARDS = "sys/class/net/*"
_ZONES = "sys/class/thermal/thermal_zone*"
_PROCESSOR_ZONES = ("cpu", "soc", "x86_pkg_temp", "k10temp")
_THROTTLED = "sys/devices/platform/soc*/soc*:firmware/get_throttled"
_SENSORS = "sys/class/hwmon/hwmon*"
_VOLTAGE_SENSOR = "rpi_volt"
_COLDEST_C, _HOTTEST_C = -50.0, 150.0


@dataclass(frozen=True)
class Throttling:
    """The Raspberry Pi firmware's word on power and heat: now, and at any time since it was switched on."""

    under_voltage: bool
    capped: bool
    throttled: bool
    hot: bool
    under_voltage_before: bool
    throttled_before: bool

    @classmethod
    def of(cls, bits: int) -> Throttling:
        """From the bits of `vcgencmd get_throttled`."""
        return cls(*(bool(bits >> place & 1) for place in (0, 1, 2, 3, 16, 18)))


@dataclass(frozen=True)
class Board:
    """What could be read; None where this machine doesn't tell."""

    model: str | None = None
    """Such as `Raspberry Pi 4 Model B Rev 1.4`."""
    temperature_c: float | None = None
    """Of the processor, in °C."""
    under_voltage: bool | None = None
    """Whether the supply is too weak now, or was within the last seconds."""
    throttled: bool | None = None
    """Whether the processor is slowed down now, for want of power or for heat."""
    serial: str | None = None
    """Such as `10000000a1b2c3d4`."""


def read(root: Path = Path("/")) -> Board:
    """The board's figures. `root` is where `sys` lies. Takes under a millisecond and never raises."""
    throttling = _if_readable(_throttling, root)
    alarm = _if_readable(_voltage_alarm, root)
    under_voltage, throttled = alarm, None
    if throttling is not None:
        under_voltage = throttling.under_voltage or bool(alarm)
        throttled = throttling.throttled or throttling.capped
    return Board(
        model=_if_readable(_model, root),
        serial=serial(root),
        temperature_c=_if_readable(_temperature_c, root),
        under_voltage=under_voltage,
        throttled=throttled,
    )


def serial(root: Path = Path("/")) -> str | None:
    """The board's serial number, where it has one."""
    return _if_readable(lambda root: _text(root / _SERIAL).strip("\0 \n") or None, root)


def network_address(root: Path = Path("/")) -> str | None:
    """The digits of a network card's own address: a card image that is copied doesn't copy it."""
    found = _if_readable(lambda root: sorted(root.glob(_CARDS)), root) or []
    for card in found:
        if (card / "device").exists() and _text(card / "addr_assign_type") == "0":
            return _text(card / "address").replace(":", "") or None
    return None


def machine_id(root: Path = Path("/")) -> str | None:
    """A digest of it: the id itself is not to be told."""
    known = _text(root / "etc" / "machine-id")
    return sha256(f"smartcar {known}".encode()).hexdigest() if known else None


def identity() -> str:
    """What tells this machine from one with a copy of its card, where it has something to tell it by."""
    return serial() or network_address() or machine_id() or ""


def _if_readable(ask: Callable[[Path], Figure | None], root: Path) -> Figure | None:
    """A figure, or None where looking for it fails: a process out of file descriptors can't list a folder."""
    try:
        return ask(root)
    except (OSError, ValueError):
        return None


def _model(root: Path) -> str | None:
    return _text(root / _MODEL).strip("\0") or None


def _temperature_c(root: Path) -> float | None:
    """The processor's zone where one is named so, else the first there is."""
    zones = sorted(root.glob(_ZONES), key=lambda zone: (len(zone.name), zone.name))
    zones.sort(key=lambda zone: not _text(zone / "type").startswith(_PROCESSOR_ZONES))
    for zone in zones:
        try:
            degrees = int(_text(zone / "temp")) / 1000
        except ValueError:
            continue  # a zone that is switched off
        if _COLDEST_C < degrees < _HOTTEST_C:
            return round(degrees, 1)
    return None


def _throttling(root: Path) -> Throttling | None:
    for file in root.glob(_THROTTLED):
        try:
            return Throttling.of(int(_text(file), 16))
        except ValueError:
            continue
    return None


def _voltage_alarm(root: Path) -> bool | None:
    """What the kernel's driver of the supply's sensor says; newer kernels have nothing else."""
    for sensor in root.glob(_SENSORS):
        if _text(sensor / "name") == _VOLTAGE_SENSOR and (alarm := _text(sensor / "in0_lcrit_alarm")):
            return alarm != "0"
    return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
