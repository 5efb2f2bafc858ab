"""The data folder: names of any bytes, files that are none, archives with something wrong in them."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

from messages.errors import ErrorCode
from messages.message import encode
from messages.text import escaped
from models.bundle import zipped
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.offer import CarTerms
from models.refusal import Refusal
from models.store_reader import FACTORY_FOLDER
from services.updater.inbox import SUFFIXES, Inbox
from services.updater.preparation import Preparation
from services.updater.state import Change, PastRefusal
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed
from tests.services.updater.simulation import Car, Worker

NAMES: tuple[bytes, ...] = (
    *("모델".encode("cp949"), "모델".encode(), b"\xff\xfe", b"a\x1b]0;owned\x07b", b"a\nb", b" ", b"\\x41"),
    *(b"%s%n", b"-rf", b"x" * 200, b"a b", b"\xed\xa0\x80", "\u202e".encode(), b"a.h5.zip", b"~", b"$HOME"),
)


class _Worker(Worker):
    """Prepares in the loop, by the updater's own code."""

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
    ) -> None:
        work = Preparation(self.store, CarTerms("car"), change, refused, releases, lambda: False)
        try:
            self.told.append(work.done(content, self.told.append))
        except Refusal as refusal:
            if refusal.reason == ErrorCode.CRASHED:
                raise DoorFailed(str(refusal)) from refusal
            self.told.append(work.rejected(refusal))


class InboxDoor(Door):
    name = "inbox"

    def open(self, folder: Path) -> None:
        self._data = folder / "data"
        self._data.mkdir()
        self._car = Car(folder / "car", worker=_Worker)
        self._car.start()
        self._inbox = Inbox(self._data, self._car.clock)
        self._bundle = pack(Bundle.load(FACTORY_FOLDER))

    def feed(self, chance: random.Random) -> None:
        path = self._put(chance)
        try:
            self._inbox.look(self._car.state.now.files)
            arrival = self._inbox.look(self._car.state.now.files)
            if arrival is not None:
                change = Change(id=f"{chance.random()}", origin="inbox", path=escaped(arrival.path))
                self._car.changes.begin(change, files=arrival.files)
                self._car.settle()
            for progress in self._car.told:
                encode(progress)
        except Exception as error:
            raise DoorFailed(f"{path!r}: {type(error).__name__}: {error}") from error
        self._car.told.clear()
        self._car.changes.news.clear()
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        if hasattr(self, "_car"):
            self._car.close()

    def _put(self, chance: random.Random) -> bytes:
        name = chance.choice(NAMES) + chance.choice(sorted(SUFFIXES)).encode()
        path = os.fsencode(self._data) + b"/" + name
        kind = chance.randrange(20)
        if kind == 0:
            os.mkdir(path)
        elif kind == 1:
            os.symlink(chance.choice((b"/dev/zero", b"/nowhere", path, b"/etc/passwd")), path)
        elif kind == 2:
            os.mkfifo(path)
        elif kind == 3:
            with open(path, "wb") as sparse:
                sparse.truncate(chance.choice((0, 1, 4096, 1 << 33)))
        else:
            with open(path, "wb") as file:
                file.write(self._content(chance))
        return path

    def _content(self, chance: random.Random) -> bytes:
        """A bundle's zip, damaged: a model's file alone would be for the process that opens those."""
        flaw = chance.randrange(4)
        if flaw == 0:
            end = chance.randrange(5, len(self._bundle))
            return self._bundle[:end] + b"manifest.json"
        if flaw == 1:
            manifest, golden = (hostile.document(chance, {"name": "a"}) for _ in range(2))
            return zipped.write({"manifest.json": manifest, "golden.npz": golden, "model.tflite": b"model"})
        if flaw == 2:
            return self._bundle[:200] + hostile.mutated(chance, self._bundle[-400:])
        return b"PK\x03\x04manifest.json" + chance.randbytes(chance.randrange(100))


DOOR = InboxDoor
