"""The board's figures, from files as machines have them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from services import board
from services.board import Board, Throttling, machine_id, network_address
from tests.conftest import REPOSITORY

SERIAL = "10000000a1b2c3d4"
ZONE = "sys/class/thermal/thermal_zone"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def machine(root: Path, files: dict[str, str]) -> Board:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return board.read(root)


def test_a_raspberry_pi_4_tells_everything(tmp_path: Path) -> None:
    assert machine(
        tmp_path,
        {
            "sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "sys/firmware/devicetree/base/serial-number": f"{SERIAL}\0",
            f"{ZONE}0/type": "cpu-thermal\n",
            f"{ZONE}0/temp": "48686\n",
            THROTTLED: "0\n",
        },
    ) == Board("Raspberry Pi 4 Model B Rev 1.4", 48.7, under_voltage=False, throttled=False, serial=SERIAL)


def test_a_raspberry_pi_5_names_its_firmware_otherwise(tmp_path: Path) -> None:
    found = machine(
        tmp_path, {"sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "50005"}
    )
    assert (found.under_voltage, found.throttled) == (True, True)


def test_a_kernel_without_the_firmware_file_has_the_alarm_of_its_sensor(tmp_path: Path) -> None:
    files = {
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
    }
    found = machine(tmp_path, files)
    assert (found.under_voltage, found.throttled) == (True, None)


def test_what_was_before_is_not_what_is_now(tmp_path: Path) -> None:
    found = machine(tmp_path, {THROTTLED: "50000\n"})
    assert (found.under_voltage, found.throttled) == (False, False)
    assert Throttling.of(0x50000).under_voltage_before
    assert Throttling.of(0x50000).throttled_before


def test_the_processor_is_preferred_to_other_zones(tmp_path: Path) -> None:
    files = {
        f"{ZONE}0/type": "acpitz\n", f"{ZONE}0/temp": "27800\n",
        f"{ZONE}9/type": "iwlwifi_1\n", f"{ZONE}9/temp": "39000\n",
        f"{ZONE}10/type": "x86_pkg_temp\n", f"{ZONE}10/temp": "61000\n",
    }  # fmt: skip
    assert machine(tmp_path, files).temperature_c == 61.0


@pytest.mark.parametrize("temperature", ["", "broken\n", "-274000\n", "2147483647\n"])
def test_a_senseless_temperature_is_none(tmp_path: Path, temperature: str) -> None:
    assert machine(tmp_path, {f"{ZONE}0/temp": temperature}).temperature_c is None


def test_a_machine_that_tells_nothing_has_no_figures(tmp_path: Path) -> None:
    assert board.read(tmp_path) == Board()


def test_a_process_without_a_free_file_descriptor_has_no_figures() -> None:
    script = (
        "import os, resource; from services import board;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20));"
        "taken = [os.dup(0) for _ in range(20 - len(os.listdir('/proc/self/fd')) + 1)];"
        "assert board.read() == board.Board(), board.read()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=True)


def test_the_machine_of_this_test_can_be_asked() -> None:
    assert isinstance(board.read(), Board)


def test_only_a_card_s_own_address_tells_machines_apart(tmp_path: Path) -> None:
    net = tmp_path / "sys" / "class" / "net"
    for name, kind, real in (("docker0", "3", False), ("eth0", "0", True), ("wlan0", "1", True)):
        (net / name / ("device" if real else "virtual")).mkdir(parents=True)
        (net / name / "addr_assign_type").write_text(f"{kind}\n")
        (net / name / "address").write_text(f"b8:27:eb:00:11:{len(name):02}\n")
    assert network_address(tmp_path) == "b827eb001104"
    assert network_address(tmp_path / "nowhere") is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "machine-id").write_text("0123456789abcdef\n")
    told = machine_id(tmp_path)
    assert told is not None
    assert "0123" not in told[-4:]
