"""The settings, and the software under the car: Python, its packages, the system."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from services.config_file import ENV_PREFIX, find_files
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, error, ok, warning

OLDEST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:>=\s*(?P<least>[0-9.]+))?")
_INSTALL_AGAIN = "install again: sudo ./install.sh on a car, make setup in the source folder"


def configuration(car: CheckContext) -> Iterator[Finding]:
    """Every mistake with its line; a file that anybody could change."""
    for problem in car.problems:
        yield error(problem, "correct that line; smartcar config check looks again")
    for complaint in car.complaints:
        yield warning(complaint, "correct it; smartcar config check looks again")
    files = find_files()
    for file in files:
        if _writable_by_anyone(file):
            yield error(f"{file} can be changed by every user of this machine", f"sudo chmod o-w {file}")
    if car.problems or car.complaints:
        return
    variables = [name for name in os.environ if name.startswith(ENV_PREFIX) and name != "SMARTCAR_CONFIG"]
    where = f"from {', '.join(map(str, files))}" if files else "no configuration file, the built-in ones hold"
    yield ok(f"{where}; {len(variables)} from SMARTCAR_… variables" if variables else where)


def versions(car: CheckContext) -> Iterator[Finding]:
    """Python, 64 bits, packages, the operating system."""
    system = f"{_system(car.root)}, {platform.machine()}, Linux {platform.release()}"
    if sys.maxsize < 1 << 32:
        yield error(
            f"this is a 32-bit system ({system})",
            "put Raspberry Pi OS (64-bit) on another card and take the data folder along",
        )
    if sys.version_info < OLDEST_PYTHON:
        yield error(
            f"Python {platform.python_version()} is too old",
            "take Debian 12, Raspberry Pi OS (64-bit) bookworm, or later: Python 3.11 comes with it",
        )
    try:
        own, required = metadata.version("smartcar"), metadata.requires("smartcar") or []
    except metadata.PackageNotFoundError:
        yield warning("smartcar runs from its source folder, not installed", _INSTALL_AGAIN)
        return
    wrong = [problem for line in required if (problem := _requirement_problem(line))]
    if wrong:
        yield error(f"packages don't fit smartcar {own}: {', '.join(wrong)}", _INSTALL_AGAIN)
    elif car.installed and find_spec("systemd") is None:
        yield error(
            "systemd-python is missing: no service can tell systemd that it is ready, so systemd ends it",
            f"sudo apt install python3-systemd, then {_INSTALL_AGAIN}",
        )
    else:
        yield ok(f"smartcar {own}, Python {platform.python_version()}, {system}")


def _requirement_problem(line: str) -> str:
    """What is wrong with one required package; empty where nothing is, or where it is optional."""
    if "extra ==" in line or (found := _REQUIREMENT.match(line)) is None:
        return ""
    name, least = found["name"], found["least"]
    try:
        have = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    if least and _numbers(have) < _numbers(least):
        return f"{name} is {have}, {least} or later is due"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", version.split("+")[0])]
    while numbers and numbers[-1] == 0:
        numbers.pop()  # 2.0 is not older than 2
    return tuple(numbers)


def _system(root: Path) -> str:
    try:
        release = (root / "etc/os-release").read_text(encoding="utf-8")
    except OSError:
        return platform.system()
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)
    return found[1] if found else platform.system()


def _writable_by_anyone(file: Path) -> bool:
    try:
        return bool(file.stat().st_mode & 0o002)
    except OSError:
        return False
