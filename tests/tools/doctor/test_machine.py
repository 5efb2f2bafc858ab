"""The machine's checks, on files as machines have them and on this machine."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from services.journals import journal_path
from tests.conftest import REPOSITORY
from tests.tools.doctor.conftest import MakeCar, found, levels, put
from tools.doctor import machine, software
from tools.doctor.table import CHECKS

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
ZONE = "sys/class/thermal/thermal_zone0"


@pytest.mark.parametrize(
    ("files", "level", "says"),
    [
        ({f"{ZONE}/type": "cpu-thermal", f"{ZONE}/temp": "51000", THROTTLED: "0"}, "ok", "51 °C"),
        ({f"{ZONE}/type": "cpu-thermal", f"{ZONE}/temp": "78000"}, "warning", "78 °C"),
        ({f"{ZONE}/type": "cpu-thermal", f"{ZONE}/temp": "86000"}, "error", "86 °C"),
        ({THROTTLED: "1"}, "error", "too little voltage"),
        ({THROTTLED: "4"}, "warning", "slowed down"),
        ({THROTTLED: "0"}, "ok", "suffices"),
        ({}, "ok", "neither"),
    ],
)
def test_power_and_heat(
    make_car: MakeCar, tmp_path: Path, files: dict[str, str], level: str, says: str
) -> None:
    findings = found("board", make_car(put(tmp_path, files)))
    assert [finding.level for finding in findings if says in finding.sentence] == [level]
    assert all(finding.remedy for finding in findings if finding.level != "ok")


@pytest.mark.parametrize(
    ("available_kb", "killed", "expected"),
    [(3_000_000, 0, ["ok"]), (100_000, 0, ["warning"]), (20_000, 2, ["error", "warning"])],
)
def test_memory(
    make_car: MakeCar, tmp_path: Path, available_kb: int, killed: int, expected: list[str]
) -> None:
    files = {
        "proc/meminfo": f"MemTotal:        3884000 kB\nMemAvailable:    {available_kb} kB\n",
        "proc/vmstat": f"nr_free_pages 12345\noom_kill {killed}\n",
    }
    assert levels(found("memory", make_car(put(tmp_path, files)))) == expected


def test_a_clock_before_the_software_was_never_set(
    make_car: MakeCar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    [finding] = found("clock", make_car())
    assert finding.level == "error"
    assert "never set" in finding.sentence


def test_a_full_disk_is_an_error_and_a_small_one_a_warning(make_car: MakeCar) -> None:
    full = next(path for path in ("/proc", "/sys") if os.statvfs(path).f_bavail == 0)
    findings = found("disk", make_car(paths={"runtime": "/dev/shm/none", "state": full}))
    assert findings[0].level == "error"
    assert full in findings[0].sentence


def test_the_runtime_folder_belongs_in_memory(make_car: MakeCar, tmp_path: Path) -> None:
    root = put(tmp_path, {"proc/mounts": "/dev/mmcblk0p2 / ext4 rw 0 0\n"})
    says = [finding.sentence for finding in found("disk", make_car(root)) if finding.level == "warning"]
    point = machine._mount_point(Path("/tmp"))
    assert says == [] or point != Path("/") or "is on ext4" in says[0]


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("pydantic>=2.11", ""),
        ("pydantic>=99.0", "99.0 or later is due"),
        ("no-such-package>=1", "no-such-package is missing"),
        ('tensorflow>=2.18; extra == "train"', ""),
    ],
)
def test_packages_are_compared_with_what_is_required(requirement: str, problem: str) -> None:
    said = software._requirement_problem(requirement)
    assert problem in said
    assert bool(said) == bool(problem)


@pytest.mark.parametrize(("target", "level"), [("smartcar.target", "error"), ("other.target", "ok")])
def test_an_installed_car_needs_pythons_systemd(
    make_car: MakeCar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, level: str
) -> None:
    car = make_car(put(tmp_path, {f"etc/systemd/system/{target}": ""}))
    monkeypatch.setitem(sys.modules, "systemd", None)
    said = found("versions", car)
    assert levels(said) == [level]
    assert ("python3-systemd" in said[0].remedy) is (level == "error")
    monkeypatch.delitem(sys.modules, "systemd")
    put(tmp_path, {"with/systemd/__init__.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "with")
    assert levels(found("versions", car)) == ["ok"]


def test_each_mistake_in_the_settings_is_a_line(make_car: MakeCar) -> None:
    problems = (
        "smartcar.toml, line 3: unknown key car.nme",
        "smartcar.toml, line 7: capture.hertz: too large",
    )
    findings = found("configuration", replace(make_car(), problems=problems))
    assert [finding.sentence for finding in findings] == list(problems)
    assert levels(findings) == ["error", "error"]


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, ["ok"]), (0o644, ["error"]), (0o660, ["ok"])], ids=["0600", "0644", "0660"]
)
def test_a_password_that_others_can_read_is_an_error(
    make_car: MakeCar, tmp_path: Path, mode: int, expected: list[str]
) -> None:
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(mode)
    if os.getgid() != 0 and mode == 0o660:
        pytest.skip("a file of root's group can't be made here")
    findings = found("permissions", make_car(mqtt={"host": "broker", "password_file": secret}))
    assert levels(findings) == expected
    assert "chmod 600" in findings[0].remedy or expected == ["ok"]


@pytest.mark.parametrize(("days", "level"), [(-1, "error"), (10, "warning"), (400, "ok")])
def test_a_certificate_says_for_how_long(make_car: MakeCar, tmp_path: Path, days: int, level: str) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "car.crt"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    [finding] = found("certificates", make_car(mqtt={"host": "broker", "cert_file": file}))
    assert finding.level == level


def test_every_check_can_be_loaded_and_is_documented() -> None:
    documented = (REPOSITORY / "docs/operation.md").read_text()
    for check in CHECKS.values():
        assert callable(check.load())
        assert f"| `{check.name}` | {check.about} |" in documented


def test_a_journal_that_is_none_is_an_error(make_car: MakeCar) -> None:
    car = make_car()
    journal = journal_path(car.settings, "pad")
    journal.parent.mkdir(parents=True)
    journal.write_text("this is no database, " * 100)
    [finding] = found("journals", car)
    assert finding.level == "error"
    assert str(journal) in finding.sentence
