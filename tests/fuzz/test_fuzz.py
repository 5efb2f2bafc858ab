"""Each door, a little: the same inputs every time. `python -m tests.fuzz` goes on for longer."""

from __future__ import annotations

import pytest

from tests.fuzz.door import Door, find, fuzz

INPUTS, SEED = 300, 1


@pytest.mark.parametrize("door", find().values(), ids=lambda door: door.name)
def test_hostile_input_ends_no_process_and_memory_stays_bounded(door: type[Door]) -> None:
    report = fuzz(door, INPUTS, SEED)
    assert not report.failure, report
