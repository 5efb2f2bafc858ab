"""A car to examine: settings in folders of its own, nothing running unless a test starts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.config import Settings
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding
from tools.doctor.table import CHECKS
from tools.observe.snapshot import ask

MakeCar = Callable[..., CheckContext]


@pytest.fixture
def make_car(runtime: Path) -> MakeCar:
    """A car that doesn't run; `root` stands for the machine's files, sections of the settings as keywords."""

    def make(root: Path = Path("/"), **sections: dict[str, Any]) -> CheckContext:
        paths = {"runtime": runtime / "run", "state": runtime / "state"}
        settings = Settings.model_validate({"paths": paths, "car": {"name": "testcar"}, **sections})
        return CheckContext(settings, ask(settings, 0.0), root=root)

    return make


def found(check: str, car: CheckContext) -> list[Finding]:
    """What that check finds."""
    return list(CHECKS[check].load()(car))


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def put(root: Path, files: dict[str, str]) -> Path:
    """A root folder that holds these files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root
