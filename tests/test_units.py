"""The systemd units: one for each service of the table, without a word from systemd, and locked up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.catalogue import SERVICES
from tests.conftest import REPOSITORY

UNITS = REPOSITORY / "systemd"
COMMON = UNITS / "smartcar-.service.d" / "10-smartcar.conf"

EXPOSURE = dict.fromkeys(SERVICES, 1.5) | {"recognizer": 0.5}
"""The most that `systemd-analyze security` may find, of 10."""
ON_THE_NETWORK = {"bridge", "overlay", "updater"}

with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or not (Path("/run/systemd").exists() or os.geteuid() == 0),
    reason="systemd-analyze is not installed, or has no /run/systemd and may not make it",
)


def settings_of(text: str) -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if re.match(r"[A-Za-z]", line):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def unit(service: str) -> dict[str, list[str]]:
    return settings_of((UNITS / f"smartcar-{service}.service").read_text())


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units in a folder of their own, starting a Python that there is."""
    copy = tmp_path / "systemd"
    shutil.copytree(UNITS, copy)
    common = copy / COMMON.relative_to(UNITS)
    common.write_text(common.read_text().replace("/opt/smartcar/current/bin/python", sys.executable))
    return copy


def test_each_service_has_its_unit_and_the_target_wants_them_all() -> None:
    target = settings_of((UNITS / "smartcar.target").read_text())
    units = {f"smartcar-{service}.service" for service in SERVICES}
    assert {path.name for path in UNITS.glob("*.service")} == units
    assert set(" ".join(target["Wants"]).split()) == units
    for service, row in SERVICES.items():
        assert unit(service)["Description"] == [f"Smart car: {row.about}"]


def test_no_service_needs_another() -> None:
    for service in SERVICES:
        needs = {"After", "Before", "BindsTo", "Requires", "Requisite", "Upholds", "Wants"} & set(
            unit(service)
        )
        assert not needs, service
    assert settings_of(COMMON.read_text())["PartOf"] == ["smartcar.target"]


def test_a_unit_says_only_what_is_not_common() -> None:
    """What stands in both, the common file would win, whatever the unit says; lists come together."""
    lists = {"RestrictAddressFamilies", "ReadWritePaths", "StateDirectory"}
    common = set(settings_of(COMMON.read_text()))
    for service in SERVICES:
        assert not (common & set(unit(service))) - lists, service


def test_the_network_is_for_those_who_need_it() -> None:
    for service in SERVICES:
        open_to_network = "AF_INET" in " ".join(unit(service).get("RestrictAddressFamilies", []))
        assert open_to_network == (service in ON_THE_NETWORK), service
        assert (unit(service).get("PrivateNetwork") == ["yes"]) == (service not in ON_THE_NETWORK), service


def test_each_service_has_its_runtime_folder_and_its_limits() -> None:
    folders = (UNITS / "tmpfiles.conf").read_text().split()
    for service in SERVICES:
        assert f"/run/smartcar/{service}" in folders
        assert unit(service)["MemoryMax"]
        assert unit(service)["CPUWeight"]


@with_systemd
def test_systemd_has_nothing_to_say_about_the_units(units: Path) -> None:
    files = [str(path) for path in (*units.glob("*.service"), units / "smartcar.target")]
    done = subprocess.run(
        ["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@with_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_exposure_stays_within_its_limit(units: Path, service: str) -> None:
    words = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    words += [f"--threshold={EXPOSURE[service] * 10:.0f}", str(units / f"smartcar-{service}.service")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
