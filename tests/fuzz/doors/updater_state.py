"""What the updater reads from its disk: the state file, whatever is in it."""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

from messages.message import encode
from services.updater.state import Change, Fetch, FileStamp, OfferNote, PastRefusal, Score, StateFile
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed
from tests.services.updater.simulation import Car

DIGEST = "ab" * 32


class UpdaterStateDoor(Door):
    name = "updater-state"

    def open(self, folder: Path) -> None:
        self._folder = folder
        self._car = Car(folder / "car")

    def feed(self, chance: random.Random) -> None:
        path = self._folder / "ledger.json"
        path.write_bytes(self._document(chance))
        try:
            state = StateFile(path)
            state.commit(pinned=True)
            if not StateFile(path).now.pinned:
                raise DoorFailed("what was committed is not read again")
            self._car.state.now = state.now
            self._car.told.clear()
            self._car.start()
            for _ in range(3):
                self._car.step(1.0)
            for progress in self._car.told:
                encode(progress)
        except Exception as error:
            raise DoorFailed(f"{type(error).__name__}: {error}") from error
        shutil.rmtree(self._folder / "car" / "incoming", ignore_errors=True)

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        if hasattr(self, "_car"):
            self._car.close()

    def _document(self, chance: random.Random) -> bytes:
        """The file as it is, with something wrong in it, or in one part of it."""
        change = Change(
            id="1", origin="inbox", file="a.h5", path="/nowhere/a.h5", step="tested", digest=DIGEST
        )
        fetch = Fetch(id="1", origin="offer", digest=DIGEST, size=10)
        past = PastRefusal(reason="empty", sentence="It is empty.", at=datetime.now(UTC))
        content = {
            "pinned": False,
            "change": change.model_dump(mode="json"),
            "fetch": fetch.model_dump(mode="json"),
            "offers": {"digits": OfferNote().model_dump(mode="json")},
            "refused": {DIGEST: past.model_dump(mode="json")},
            "files": {"a.h5": FileStamp(size=1, changed_ns=1, inode=1).model_dump(mode="json")},
            "origins": {DIGEST: ("inbox", "a.h5")},
            "scores": {DIGEST: Score(accuracy=0.9, latency_ms=1.0).model_dump(mode="json")},
            "releases": {"digits": 3},
            "ended": {"0": ("active", DIGEST)},
        }
        if chance.random() < 0.7:
            part = content[chance.choice(sorted(content))]
            if isinstance(part, dict):
                for name in chance.sample(sorted(part), chance.randint(1, len(part))):
                    part[name] = hostile.value(chance)
        return hostile.document(chance, content)


DOOR = UpdaterStateDoor
