"""The refusals of the setup script, with stand-ins for what it finds. That it works, every test shows."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "tools" / "setup.sh"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the script looks at, so that it finds nothing set up, and changes nothing here."""
    (tmp_path / "tools").mkdir()
    for name in ("tools/setup.sh", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    return tmp_path


def set_up(checkout: Path, *arguments: str, **stand_ins: str) -> subprocess.CompletedProcess[str]:
    """Run it with shell scripts in the place of commands."""
    folder = checkout / "bin"
    folder.mkdir()
    for name, script in stand_ins.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin", "PYTHON": ""}
    return subprocess.run(
        ["sh", str(checkout / "tools" / "setup.sh"), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_32_bit_system_is_refused_with_the_way_out(checkout: Path) -> None:
    answer = set_up(checkout, getconf="echo 32")
    assert answer.returncode == 1
    assert "64-bit" in answer.stderr
    assert "data folder" in answer.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_too_old_is_refused_with_the_way_out(checkout: Path) -> None:
    old = 'case "$1" in --version) echo Python 3.9.2 ;; *) exit 1 ;; esac'
    names = ("python3", "python3.11", "python3.12", "python3.13")
    answer = set_up(checkout, **dict.fromkeys(names, old))
    assert answer.returncode == 1
    assert "Python 3.9.2 is too old" in answer.stderr
    assert "Debian 12" in answer.stderr


def test_without_rights_the_command_for_an_administrator_is_named(checkout: Path) -> None:
    answer = set_up(checkout, id="echo 1000", ldconfig="true", sudo="exit 1")
    assert answer.returncode == 1
    assert "can't be installed: " in answer.stderr
    assert "libgl1" in answer.stderr


def test_an_unknown_purpose_is_refused(checkout: Path) -> None:
    assert "unknown: fly" in set_up(checkout, "fly").stderr
