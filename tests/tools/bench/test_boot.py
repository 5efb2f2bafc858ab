"""`smartcar bench boot` on a car of its own: it starts, reads, reports, and each service comes back."""

from __future__ import annotations

import os

import pytest

from services.catalogue import SERVICES
from tools.bench import boot
from tools.terminal.problems import Problem


def test_a_start_is_timed_and_every_service_comes_back() -> None:
    figures = {figure.name: figure.value for figure in boot.measure(rounds=1)}
    reading = figures["car to first reading, median"]
    assert 0 < figures["recognizer's process to first reading, median"] < reading
    assert reading < figures["car to first event at the broker, median"] < boot.PATIENCE_S
    for name in SERVICES:
        assert figures[f"  {name}"] > 5
        assert 0 < figures[f"ready again after SIGKILL, {name}, longest"] < boot.PATIENCE_S


def test_the_services_of_the_machine_are_roots_to_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Problem, match="sudo smartcar bench boot"):
        boot.measure(rounds=1, installed=True)
