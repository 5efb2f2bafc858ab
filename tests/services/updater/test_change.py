"""The life of a change, and what is left of it when it is killed anywhere."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from messages import durable
from messages.errors import ErrorCode
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from services.updater.state import Change, StateFile
from tests.conftest import remove
from tests.disk import Disk
from tests.models.making import rewritten
from tests.services.updater.simulation import Car, Recognizer

DONE = 42


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Three models that are the shipped one but for their names."""
    folder = tmp_path_factory.mktemp("bundles")
    return [named(folder / name, name) for name in ("one", "two", "three")]


def named(folder: Path, name: str) -> Bundle:
    return Bundle.load(rewritten(folder, lambda manifest: manifest.update(name=name)))


def zipped(root: Path, bundle: Bundle) -> Path:
    path = root / f"{bundle.manifest.name}.zip"
    path.write_bytes(pack(bundle))
    return path


@pytest.fixture
def car(root: Path) -> Iterator[Car]:
    car = Car(root)
    car.start()
    yield car
    car.close()


def taken(car: Car, root: Path, bundle: Bundle, change_id: str) -> None:
    car.take(zipped(root, bundle), change_id)
    car.settle()


def test_a_good_model_goes_all_the_way(car: Car, root: Path, bundles: list[Bundle]) -> None:
    taken(car, root, bundles[0], "change")
    assert car.steps == ["received", "checked", "tested", "trial", "active"]
    assert car.store.active == car.recognizer.reading == bundles[0].digest
    assert car.store.previous == car.store.factory
    assert car.changes.change is None


def test_both_scores_are_told_when_it_is_active(car: Car, root: Path, bundles: list[Bundle]) -> None:
    taken(car, root, bundles[0], "change")
    last = car.told[-1]
    assert (last.accuracy, last.replaced_accuracy) == (0.9, 0.99)
    assert last.replaced is not None
    assert last.replaced.digest == car.store.factory
    assert "90.0%" in last.sentence
    assert "99.0%" in last.sentence


def test_the_active_model_is_measured_once_the_other_reads(
    car: Car, root: Path, bundles: list[Bundle]
) -> None:
    car.take(zipped(root, bundles[0]))
    while car.steps[-1] != "trial":
        assert car.store.factory not in car.state.now.scores
        car.step()
    car.settle()
    assert car.store.factory in car.state.now.scores


def test_one_change_at_a_time(car: Car, root: Path, bundles: list[Bundle]) -> None:
    car.take(zipped(root, bundles[0]), "first")
    with pytest.raises(Refusal) as refused:
        car.take(zipped(root, bundles[1]), "second")
    assert refused.value.reason == ErrorCode.BUSY
    car.settle()
    assert car.store.active == bundles[0].digest


def test_a_model_that_answers_nonsense_falls_back_at_once(root: Path, bundles: list[Bundle]) -> None:
    car = Car(root, failing={bundles[0].digest})
    taken(car, root, bundles[0], "change")
    last = car.told[-1]
    assert (last.step, last.reason, last.attempt) == ("fallen_back", ErrorCode.TRIAL_FAILED, 1)
    assert car.store.active == car.recognizer.reading == car.store.factory
    assert bundles[0].digest in car.state.now.refused
    car.close()


def test_a_model_that_crashes_the_recognizer_is_gone_after_three_tries(
    root: Path, bundles: list[Bundle]
) -> None:
    car = Car(root, crashing={bundles[0].digest})
    taken(car, root, bundles[0], "change")
    assert car.recognizer.crashes == 3
    assert car.told[-1].step == "fallen_back"
    assert car.store.active == car.recognizer.reading == car.store.factory
    assert bundles[0].digest in car.state.now.refused
    car.close()


def test_a_clean_stop_of_the_recognizer_is_no_failure(car: Car, root: Path, bundles: list[Bundle]) -> None:
    car.take(zipped(root, bundles[0]))
    while car.steps[-1] != "trial":
        car.step()
    for _ in range(5):
        car.beat("stopped")
        car.recognizer.restart()
        for _ in range(4):
            car.step()
    car.settle()
    assert car.store.active == bundles[0].digest
    assert car.told[-1].attempt == 1


def test_a_clean_stop_of_the_updater_is_no_failure(root: Path, bundles: list[Bundle]) -> None:
    car = Car(root)
    car.take(zipped(root, bundles[0]))
    for _ in range(5):
        car.changes.stop()
        car.close()
        car = Car(root)
        car.start()
    car.settle()
    assert car.told[-1].attempt == 1
    assert car.store.active == bundles[0].digest
    car.close()


def gone(car: Car) -> None:
    """The recognizer doesn't run, and that has been noticed."""
    car.recognizer.present = False
    car.seconds += 10


def test_it_waits_for_a_recognizer_that_is_not_there(car: Car, root: Path, bundles: list[Bundle]) -> None:
    gone(car)
    car.take(zipped(root, bundles[0]))
    for _ in range(20):
        car.step()
    assert car.steps[-1] == "waiting"
    car.recognizer.present = True
    car.settle()
    assert car.store.active == bundles[0].digest


def test_it_does_not_wait_for_ever(car: Car, root: Path, bundles: list[Bundle]) -> None:
    gone(car)
    car.take(zipped(root, bundles[0]))
    for _ in range(20):
        car.step(60)
    assert car.steps[-1] == "fallen_back"
    assert bundles[0].digest not in car.state.now.refused, "the model was not to blame"


def test_a_rollback_is_done_at_once_and_pins(car: Car, root: Path, bundles: list[Bundle]) -> None:
    taken(car, root, bundles[0], "change")
    car.changes.begin(rollback_of(car))
    assert car.changes.change is None
    assert car.store.active == car.recognizer.reading == car.store.factory
    assert car.state.now.pinned


def rollback_of(car: Car, change_id: str = "back") -> Change:
    previous = car.store.previous
    assert previous is not None
    return Change(id=change_id, origin="store", digest=previous, step="tested", on_trial=False, pins=True)


def test_a_pin_keeps_bundles_from_elsewhere_out_and_not_the_owners(
    car: Car, root: Path, bundles: list[Bundle]
) -> None:
    car.state.commit(pinned=True)
    path = root / "incoming"
    change = Change(id="afar", origin="install", file="bundle.zip", path=str(path))
    with pytest.raises(Refusal) as refused:
        car.changes.begin(change, pack(bundles[0]))
    assert refused.value.reason == ErrorCode.PINNED
    taken(car, root, bundles[0], "at home")
    assert car.store.active == bundles[0].digest


def test_an_active_model_that_crashes_the_recognizer_again_and_again_is_left(
    car: Car, root: Path, bundles: list[Bundle]
) -> None:
    taken(car, root, bundles[0], "one")
    for _ in range(3):
        car.recognizer.restart()
        car.step(2)
    assert car.store.active == car.store.factory
    assert bundles[0].digest in car.state.now.refused


def test_a_recognizer_that_crashes_now_and_then_keeps_its_model(
    car: Car, root: Path, bundles: list[Bundle]
) -> None:
    taken(car, root, bundles[0], "one")
    for _ in range(6):
        car.recognizer.restart()
        car.step(61)
    assert car.store.active == bundles[0].digest


def test_old_models_go_and_those_in_use_stay(root: Path) -> None:
    car = Car(root)
    for number in range(6):
        taken(car, root, named(root / f"m{number}", f"m{number}"), f"change {number}")
    assert len(car.store.digests) == 2 + 3  # kept ones beside active, previous and factory
    assert {car.store.active, car.store.previous, car.store.factory} <= set(car.store.digests)
    car.close()


def test_a_ledger_that_is_no_ledger_is_begun_anew_and_kept_aside(root: Path) -> None:
    (root / "ledger.json").write_text('{"pinned": "perhaps"')
    assert StateFile(root / "ledger.json").now.change is None
    assert (root / "ledger.damaged").exists()


def test_a_ledger_that_can_not_be_read_for_now_is_not_written_over(root: Path) -> None:
    path = root / "ledger.json"
    StateFile(path).write(pinned=True)
    kept = path.rename(root / "elsewhere")
    path.mkdir()  # as good as a disk that fails
    ledger = StateFile(path)
    assert "something else in its place" in ledger.problem
    ledger.write(pinned=False)
    path.rmdir()
    kept.rename(path)
    ledger.flush()
    assert (ledger.problem, ledger.now.pinned) == ("", True)


def test_on_a_read_only_disk_no_change_begins(
    make_disk: Callable[[int], Disk], bundles: list[Bundle], tmp_path: Path
) -> None:
    disk = make_disk(64)
    disk.read_only()
    car = Car(disk.folder / "updater")
    file = zipped(tmp_path, bundles[0])
    with pytest.raises(Refusal, match=r"No model can be changed: the disk that holds .* is read-only"):
        car.take(file)
    assert car.changes.change is None
    disk.writable()
    car.store.try_again()
    car.take(file)
    car.settle()
    assert car.store.active == bundles[0].digest
    car.close()


def test_on_a_full_disk_no_change_begins(
    make_disk: Callable[[int], Disk], bundles: list[Bundle], tmp_path: Path
) -> None:
    disk = make_disk(64)
    car = Car(disk.folder / "updater")
    file = zipped(tmp_path, bundles[0])
    ballast = disk.fill_up()
    with pytest.raises(Refusal, match="is full; make room") as refused:
        car.take(file)
    assert refused.value.reason == ErrorCode.NO_SPACE
    ballast.unlink()
    car.take(file)
    car.settle()
    assert car.store.active == bundles[0].digest
    car.close()


# Killed anywhere


@dataclass(frozen=True)
class Life:
    """A change to be killed: how it begins, and where it may lead."""

    prepare: Callable[[Path, list[Bundle]], None]
    begin: Callable[[Car, Path, list[Bundle]], None]
    crashing: bool = False


def _nothing_yet(root: Path, bundles: list[Bundle]) -> None:
    Car(root).close()


def _one_is_active(root: Path, bundles: list[Bundle]) -> None:
    car = Car(root)
    taken(car, root, bundles[1], "before")
    zipped(root, bundles[0])
    car.close()


def _take(car: Car, root: Path, bundles: list[Bundle]) -> None:
    car.take(root / "one.zip")


def _hand_over(car: Car, root: Path, bundles: list[Bundle]) -> None:
    change = Change(id="change", origin="install", file="bundle.zip", path=str(root / "incoming"))
    car.changes.begin(change, pack(bundles[0]))


def _roll_back(car: Car, root: Path, bundles: list[Bundle]) -> None:
    car.changes.begin(rollback_of(car, "change"))


LIVES = {
    "taken": Life(_one_is_active, _take),
    "handed over": Life(_nothing_yet, _hand_over),
    "crashing": Life(_one_is_active, _take, crashing=True),
    "back": Life(_one_is_active, _roll_back),
}


def lived(
    life: Life, root: Path, bundles: list[Bundle], kill_at: int | None, *, begin: bool = True
) -> tuple[int, int]:
    """Live in a child: its exit status, and how many points it passed. Killed at point `kill_at`."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(60)
        passed = 0

        def count(step: str) -> None:
            nonlocal passed
            if passed == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            passed += 1

        try:
            durable.fault_point = count
            car = Car(root, crashing={bundles[0].digest} if life.crashing else ())
            car.start()
            car.settle()
            if begin and "change" not in car.state.now.ended:
                life.begin(car, root, bundles)
                car.settle()
            os.write(write, str(passed).encode())
            os._exit(DONE)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    os.close(write)
    with open(read) as told:
        passed = int(told.read() or 0)
    _, status = os.waitpid(child, 0)
    return status, passed


def reading(root: Path) -> str:
    """The digest of the one active model: it loads."""
    return Bundle.load(root / "models" / "active").digest


@pytest.mark.parametrize(
    ("name", "both"),
    [("taken", False), ("taken", True), ("handed over", False), ("crashing", True), ("back", False)],
)
def test_killed_at_every_point_it_reads_with_the_old_model_or_the_new_and_ends(
    name: str, both: bool, root: Path, bundles: list[Bundle]
) -> None:
    """`both`: the recognizer goes with the updater, and begins anew with what is active on the disk."""
    life = LIVES[name]
    template = root / "template"
    template.mkdir()
    life.prepare(template, bundles)
    whole = root / "whole"
    shutil.copytree(template, whole, symlinks=True)
    status, points = lived(life, whole, bundles, None)
    assert os.waitstatus_to_exitcode(status) == DONE
    assert points >= 20
    before, after = reading(template), reading(whole)
    folders = root / "cases"
    folders.mkdir()
    for point in range(points):
        case = folders / str(point)
        shutil.copytree(template, case, symlinks=True)
        status, _ = lived(life, case, bundles, point)
        assert os.WIFSIGNALED(status), point
        assert reading(case) in {before, after}, point
        if both:
            Recognizer(case).restart()
        status, _ = lived(life, case, bundles, None)
        assert os.waitstatus_to_exitcode(status) == DONE, point
        ledger = StateFile(case / "ledger.json").now
        assert ledger.change is None
        if ledger.ended["change"][0] == "interrupted":
            assert name == "handed over"
            assert reading(case) == before, point
        else:
            assert reading(case) == after, point
        assert Recognizer(case).reading == reading(case), point
        remove(case)


def test_killed_again_and_again_it_is_given_up_or_done(root: Path, bundles: list[Bundle]) -> None:
    life, whole = LIVES["taken"], root / "whole"
    whole.mkdir()
    life.prepare(whole, bundles)
    before = reading(whole)
    _, points = lived(life, whole, bundles, None)
    for point in range(points - 30, points, 4):
        case = root / str(point)
        case.mkdir()
        life.prepare(case, bundles)
        lived(life, case, bundles, point)
        for _ in range(5):
            lived(life, case, bundles, 8, begin=False)
        status, _ = lived(life, case, bundles, None, begin=False)
        assert os.waitstatus_to_exitcode(status) == DONE
        assert StateFile(case / "ledger.json").now.change is None
        assert reading(case) in {before, bundles[0].digest}
        assert Recognizer(case).reading == reading(case)
