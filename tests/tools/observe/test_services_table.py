"""What stands below the table of services."""

from __future__ import annotations

from services.board import read
from tools.observe.services_table import lines
from tools.observe.snapshot import CarSnapshot, ServiceStatus


def said_of(**rates: float) -> list[str]:
    status = ServiceStatus("recognizer", "ready", pid=1, rates=rates)
    snapshot = CarSnapshot("car", (status,), "digits", "", "", 0, read(), "")
    return [line for line in lines(snapshot) if line.startswith("recognizer: reads")]


def test_a_machine_that_is_too_slow_for_all_frames_is_said_in_one_sentence() -> None:
    [line] = said_of(frames=8.9, frames_skipped=21.2)
    assert line.startswith("recognizer: reads 9 of 30 frames a second;")
    assert "capture.hertz" in line


def test_a_frame_left_out_now_and_then_is_not_said() -> None:
    assert said_of(frames=29.9, frames_skipped=0.1) == []
    assert said_of(frames=30.0) == []
