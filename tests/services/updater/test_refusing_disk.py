"""A disk that refuses: at every single operation of a change it is undone or finished, and told as it is."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from messages import durable
from messages.errors import ErrorCode
from messages.text import escaped
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from services.updater.inbox import Inbox
from services.updater.state import Change
from tests.conftest import remove
from tests.disk import Disk
from tests.models.making import rewritten
from tests.services.updater.simulation import Car

NOT_THE_DISK = ("try", "adopt", "drop", "tell")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small(tmp_path_factory.mktemp("bundles") / "one")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small(tmp_path_factory.mktemp("bundles") / "two")


def small(folder: Path) -> Bundle:
    """Named as its folder; nothing here looks into the model."""
    files = {"model.tflite": b"model" * 100, "golden.npz": b"golden" * 10}
    return Bundle.load(rewritten(folder, lambda manifest: manifest.update(name=folder.name), files))


class Refusing:
    """Lets so many disk operations of this process pass; then it refuses one, or all from there on."""

    def __init__(self, passing: int, *, ever_after: bool) -> None:
        self.left, self.ever_after = passing, ever_after
        self.refused = ""

    def __call__(self, step: str) -> None:
        if step.startswith(NOT_THE_DISK) or (self.refused and not self.ever_after):
            return
        if self.left == 0:
            self.refused = self.refused or step
            raise OSError(errno.EIO, "Input/output error", step)
        self.left -= 1


def _take(car: Car, root: Path) -> None:
    path = root / "one.zip"
    change = Change(id="change", origin="inbox", file=path.name, path=escaped(path))
    inbox = Inbox(root, car.clock)
    inbox.look({})
    arrival = inbox.look(car.state.now.files)
    assert arrival is not None
    car.changes.begin(change, files=arrival.files)


def _roll_back(car: Car, root: Path) -> None:
    previous = car.store.previous
    assert previous is not None
    car.changes.begin(
        Change(id="change", origin="store", digest=previous, step="tested", on_trial=False, pins=True)
    )


@pytest.mark.parametrize("ever_after", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("begin", [_take, _roll_back])
def test_refused_at_every_operation_what_was_told_is_so_after_a_restart_too(
    begin: Callable[[Car, Path], None],
    ever_after: bool,
    root: Path,
    bundle: Bundle,
    other: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = set()
    for passing in itertools.count():
        case = root / str(passing)
        case.mkdir()
        (case / "one.zip").write_bytes(pack(bundle))
        car = Car(case)
        car.store.activate(car.store.add(other))
        car.start()
        before = car.store.active
        refusing = Refusing(passing, ever_after=ever_after)
        monkeypatch.setattr(durable, "fault_point", refusing)
        try:
            begin(car, case)
            outcome = "under way"
            for _ in range(100):
                car.step()
                if car.changes.change is None:
                    outcome = car.steps[-1]
                    break
        except Refusal:
            outcome = "refused"
        active = car.store.active
        if outcome == "under way":
            assert car.changes.problem, f"{refusing.refused}: nobody says what it waits for"
            assert active == before
        else:
            assert (active != before) == (outcome == "active"), refusing.refused
        monkeypatch.setattr(durable, "fault_point", lambda step: None)

        car.close()
        again = Car(case)
        again.start()
        again.settle()
        if outcome != "under way":
            assert again.store.active == active, f"{refusing.refused}: {outcome}, and then otherwise"
        assert again.recognizer.reading == again.store.active
        assert not again.state.problem
        if outcome in ("refused", "fallen_back") and begin is _take:
            inbox = Inbox(case, again.clock)
            inbox.look({})
            assert inbox.look(again.state.now.files), f"{refusing.refused}: the file is never offered again"
        again.close()
        remove(case)
        outcomes.add(outcome)
        if not refusing.refused:
            break
    assert outcomes >= {"refused", "active"}


def test_a_file_that_a_full_disk_kept_out_is_taken_once_there_is_room(
    make_disk: Callable[[int], Disk], bundle: Bundle, tmp_path: Path
) -> None:
    """The state is on the full disk, the data folder on another."""
    disk = make_disk(64)
    car = Car(disk.folder / "updater")
    car.start()
    (tmp_path / "one.zip").write_bytes(pack(bundle))
    inbox = Inbox(tmp_path, car.clock)
    inbox.look({})
    ballast = disk.fill_up()
    arrival = inbox.look(car.state.now.files)
    assert arrival is not None
    change = Change(id="change", origin="inbox", file="one.zip", path=escaped(arrival.path))
    with pytest.raises(Refusal, match="is full; make room"):
        car.changes.begin(change, files=arrival.files)
    ballast.unlink()
    arrival = inbox.look(car.state.now.files)
    assert arrival is not None
    car.changes.begin(change, files=arrival.files)
    car.settle()
    assert car.store.active == bundle.digest
    assert not inbox.look(car.state.now.files)
    car.close()


def test_a_file_that_could_not_be_read_is_taken_another_time(
    root: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    car = Car(root)
    car.start()
    path = root / "one.zip"
    path.write_bytes(pack(bundle))
    inbox = Inbox(root, car.clock)
    inbox.look({})
    with monkeypatch.context() as failing:

        def unreadable(_: Path) -> Bundle:
            raise Refusal(ErrorCode.UNREADABLE, "one.zip can't be read: Permission denied.")

        failing.setattr("tests.services.updater.simulation.read_archive", unreadable)
        arrival = inbox.look(car.state.now.files)
        assert arrival is not None
        car.changes.begin(
            Change(id="1", origin="inbox", file="one.zip", path=escaped(path)), files=arrival.files
        )
        car.settle()
    last = car.told[-1]
    assert (last.step, last.reason) == ("refused", "unreadable")
    inbox.postpone(path, Refusal(last.reason, last.sentence))
    assert inbox.look(car.state.now.files) is None, "not at once"
    car.seconds += 7
    arrival = inbox.look(car.state.now.files)
    assert arrival is not None
    car.changes.begin(Change(id="2", origin="inbox", file="one.zip", path=escaped(path)), files=arrival.files)
    car.settle()
    assert car.store.active == bundle.digest
    car.close()
