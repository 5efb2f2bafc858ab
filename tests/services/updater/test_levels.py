"""What the recognizer reads with and what the store calls active are compared, and brought together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.bundle.bundle import Bundle
from services.updater.state import Change
from tests.disk import Disk
from tests.models.making import rewritten
from tests.services.updater.simulation import Car


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "one"
    return Bundle.load(rewritten(folder, lambda manifest: manifest.update(name="one")))


@pytest.fixture
def car(root: Path, bundle: Bundle) -> Iterator[Car]:
    """It reads with the bundle, and had the shipped model before."""
    car = opened(root, bundle)
    yield car
    car.close()


def opened(root: Path, bundle: Bundle) -> Car:
    car = Car(root)
    car.store.activate(car.store.add(bundle))
    car.start()
    car.settle()
    return car


def rolled_back(car: Car) -> Change:
    previous = car.store.previous
    assert previous is not None
    return Change(id="back", origin="store", digest=previous, step="tested", on_trial=False, pins=True)


def test_a_rollback_that_a_busy_recognizer_did_not_hear_is_told_again(car: Car) -> None:
    car.recognizer.deaf = True
    car.changes.begin(rolled_back(car))
    assert car.told[-1].step == "active"
    for _ in range(100):
        car.step()
    assert car.recognizer.reading != car.store.active
    car.recognizer.deaf = False
    car.step(1)
    car.step(1)
    assert car.recognizer.reading == car.store.active == car.store.factory


def test_a_rollback_while_the_recognizer_was_away_is_told_when_it_is_back(car: Car, bundle: Bundle) -> None:
    car.recognizer.present = False
    car.seconds += 10
    car.changes.begin(rolled_back(car))
    assert car.recognizer.reading == bundle.digest
    car.recognizer.present = True
    car.step(1)
    car.step(1)
    assert car.recognizer.reading == car.store.active == car.store.factory


def test_while_they_agree_nothing_is_asked(car: Car) -> None:
    for _ in range(50):
        car.step(1)
        assert not car.calls


def test_a_configured_model_is_left_alone(car: Car) -> None:
    car.recognizer.fixed = True
    car.store.activate(car.store.factory)
    car.step(1)
    car.step(1)
    for _ in range(20):
        car.step(1)
        assert not car.calls, "asked once a process of it"


def test_an_active_model_that_fails_at_pictures_is_left_and_not_tried_again(
    root: Path, bundle: Bundle
) -> None:
    """The recognizer reads with the shipped one by then, says so, and refuses to go back to it."""
    car = opened(root, bundle)
    car.recognizer.fall_back(car.store.factory)
    car.settle()
    car.settle()
    assert car.store.active == car.recognizer.reading == car.store.factory
    assert bundle.digest in car.state.now.refused
    assert "it failed at a picture" in car.told[-2].sentence
    told = len(car.told)
    for _ in range(20):
        car.step(1)
    assert len(car.told) == told
    car.close()


def test_where_the_model_before_is_bad_too_the_shipped_one_is_taken(
    root: Path, bundle: Bundle, tmp_path: Path
) -> None:
    other = Bundle.load(rewritten(tmp_path / "two", lambda manifest: manifest.update(name="two")))
    car = opened(root, bundle)
    car.store.activate(car.store.add(other))
    car.settle()
    car.recognizer.unusable = {bundle.digest}
    car.recognizer.fall_back(car.store.factory)
    for _ in range(10):
        car.step(1)
    assert car.store.active == car.recognizer.reading == car.store.factory
    car.close()


def test_on_a_disk_that_takes_nothing_a_bad_model_is_not_told_of_again_and_again(
    make_disk: Callable[[int], Disk], bundle: Bundle
) -> None:
    disk = make_disk(64)
    car = opened(disk.folder / "updater", bundle)
    car.recognizer.fall_back(car.store.factory)
    ballast = disk.fill_up()
    car.state.write(pinned=True)
    assert car.changes.problem
    for _ in range(30):
        car.step(1)
    assert car.told == []
    ballast.unlink()
    for _ in range(5):
        car.step(1)
    assert car.store.active == car.store.factory
    car.close()
