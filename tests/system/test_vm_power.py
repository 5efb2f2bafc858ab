"""The power cut: a virtual machine killed at random moments while it writes, and booted again each time."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.system import vm
from tests.system.vm import Kernel, Machine

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(vm.missing()), reason=vm.missing())]

PYTHON = f"{REPOSITORY}/.venv/bin/python"
CUTS = int(os.environ.get("SMARTCAR_TEST_POWER_CUTS", "20"))
MAY_BE_LOST_S = 1.0 + 1.0
"""The journal's promise, and what an emulated machine may be late with its flush."""
LONGEST_LOAD_S = 6.0
START_S = 180.0


class Run:
    """What one run of the load said until the power went."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.appended: list[tuple[float, int]] = []
        self.active = ""
        self.activating = ""

    def hear(self, machine: Machine, for_s: float, until_found: bool = False) -> None:
        deadline = time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0 and not (until_found and self.found):
            for line in machine.lines(left_s):
                said = json.loads(line)
                if "journal" in said:
                    self.found = said
                elif "appended" in said:
                    self.appended.append((said["at"], said["appended"]))
                self.active = said.get("active", self.active)
                self.activating = said.get("activating", self.activating)

    @property
    def must_have_survived(self) -> int:
        """The last entry older than the moment before the cut that may be lost."""
        if not self.appended:
            return int(self.found["journal"]["last"])
        cut_at = self.appended[-1][0]
        old = [number for at, number in self.appended if at < cut_at - MAY_BE_LOST_S]
        return max([int(self.found["journal"]["last"]), *old])


def test_after_each_power_cut_the_journal_and_the_models_are_intact(tmp_path: Path) -> None:
    machine = Machine(Kernel(), tmp_path, disk_mb=512)
    rng = random.Random(20)
    before: Run | None = None
    appended = 0
    try:
        for cut in range(CUTS + 1):
            machine.boot()
            run = Run()
            machine.start(
                "load", f"{REPOSITORY}/.venv/bin/python -m tests.system.vm_load /disk/state /dev/lines"
            )
            run.hear(machine, START_S, until_found=True)
            assert run.found, f"boot {cut}: {machine.run('cat /run/load.log')}\n{machine.console()[-1000:]}"
            journal, store = run.found["journal"], run.found["store"]
            assert journal["sound"], f"after cut {cut}"
            assert journal["gapless"], f"after cut {cut}: first, last and count are {journal['span']}"
            assert journal["as_written"], f"after cut {cut}"
            assert not journal["recovered"], f"after cut {cut}: the journal was begun anew"
            assert store["set_aside"] == [], f"after cut {cut}"
            assert run.found["ledger"], f"after cut {cut}"
            if before is not None:
                assert journal["last"] >= before.must_have_survived, f"after cut {cut}"
                if before.active:
                    assert store["active"] in (before.active, before.activating), f"after cut {cut}"
            if cut < CUTS:
                run.hear(machine, rng.uniform(0.3, LONGEST_LOAD_S))
                appended += len(run.appended)
            machine.cut()
            before = run
    finally:
        machine.cut()
    assert appended > CUTS, "it was under load"
