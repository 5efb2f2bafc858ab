"""The systemd services as `systemctl show` tells them; the real ones are tested in tests/system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.doctor.conftest import MakeCar, found, levels, put

WELL = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "NRestarts": "0"}


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` that prints the file which this returns, and an installed car's target."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/told\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    put(tmp_path, {"etc/systemd/system/smartcar.target": ""})
    return tmp_path / "told"


def states(**units: dict[str, str]) -> str:
    return "\n\n".join(
        "\n".join(f"{key}={value}" for key, value in {"Id": name.replace("_", "."), **WELL, **unit}.items())
        for name, unit in units.items()
    )


ENABLED = {"UnitFileState": "enabled"}


@pytest.mark.parametrize(
    ("target", "bridge", "expected", "says"),
    [
        (ENABLED, {}, ["ok"], "start on boot"),
        ({"UnitFileState": "disabled"}, {}, ["warning"], "doesn't start on boot"),
        (ENABLED, {"ActiveState": "failed", "Result": "watchdog"}, ["error"], "has failed (watchdog)"),
        (ENABLED, {"ActiveState": "inactive"}, ["error"], "is inactive"),
        (ENABLED, {"ActiveState": "activating", "SubState": "auto-restart"}, ["warning"], "auto-restart"),
        (ENABLED, {"NRestarts": "7"}, ["warning"], "7 times"),
        (ENABLED, {"LoadState": "masked", "ActiveState": "inactive"}, ["warning"], "switched off by hand"),
        (ENABLED, {"LoadState": "not-found", "ActiveState": "inactive"}, ["error"], "can't be loaded"),
    ],
)
def test_each_state_has_its_words(
    make_car: MakeCar,
    tell: Path,
    target: dict[str, str],
    bridge: dict[str, str],
    expected: list[str],
    says: str,
) -> None:
    tell.write_text(states(smartcar_target=target, smartcar_bridge_service=bridge).replace("r.b", "r-b"))
    findings = found("units", make_car(tell.parent))
    assert levels(findings) == expected
    assert says in findings[0].sentence


def test_a_systemd_that_does_not_answer_is_an_error(make_car: MakeCar, tell: Path) -> None:
    tell.write_text("")
    assert levels(found("units", make_car(tell.parent))) == ["error"]


def test_a_car_that_is_not_installed_is_well(make_car: MakeCar, tmp_path: Path) -> None:
    [finding] = found("units", make_car(tmp_path))
    assert finding.level == "ok"
    assert "smartcar up" in finding.sentence
