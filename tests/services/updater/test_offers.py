"""Following: what is taken, what stays as it is, and what is left when anything breaks in the middle."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from messages import durable
from messages.model_commands import ModelInstall, ModelPin, ModelUnpin
from messages.offers import chunk_topic, offer_topic
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.payload import payload_of
from services.updater.state import StateFile
from tests.conftest import remove
from tests.models.making import rewritten
from tests.services.updater.offering import CHUNK, NAME, TODAY, Broker, FollowingCar
from tests.services.updater.simulation import Recognizer
from tools.publish.signing import release_of

DONE = 42
Release = Callable[..., Bundle]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Release:
    """A release with this counter, signed."""
    folder = tmp_path_factory.mktemp("bundle")

    def make(number: int, name: str = NAME) -> Bundle:
        path = folder / name
        if not path.exists():
            rewritten(path, lambda manifest: manifest.update(name=name))
        return release_of(Bundle.load(path), key, release=number, issued=TODAY)

    return make


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def car(root: Path, broker: Broker, key: SigningKey) -> Iterator[FollowingCar]:
    car = FollowingCar(root, broker, [key])
    car.start()
    yield car
    car.close()


@pytest.fixture
def again(root: Path, broker: Broker, key: SigningKey) -> Iterator[Callable[[], FollowingCar]]:
    """The car, started again on what lies on its disk."""
    made: list[FollowingCar] = []

    def start() -> FollowingCar:
        made.append(FollowingCar(root, broker, [key]))
        made[-1].start()
        return made[-1]

    yield start
    for each in made:
        each.close()


def test_a_release_is_taken_and_told_under_an_id_that_all_cars_share(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    bundle = release(1)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)
    steps = ["fetching", "received", "checked", "tested", "trial", "active"]
    assert [step for step, _ in car.outcomes(bundle)] == steps
    assert {each.origin for each in car.told} == {"offer"}
    assert (car.standing.reason, car.standing.percent, car.standing.release) == ("", 100, 1)
    assert not any(car.fetcher.partial._root.iterdir())


def test_an_offer_made_while_the_car_was_off_is_taken_when_it_is_back(
    car: FollowingCar, broker: Broker, release: Release, again: Callable[[], FollowingCar]
) -> None:
    car.close()
    bundle = release(1)
    broker.offer(bundle)
    car = again()
    car.settle()
    assert car.reads(bundle)


def test_the_next_release_takes_over_while_the_last_is_fetched(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    first, second = release(1), release(2)
    broker.offer(first)
    for _ in range(3):
        car.step()
    assert car.fetcher.now is not None
    broker.offer(second)
    for topic in [topic for topic in broker.retained if first.digest in topic]:
        broker.publish(topic, b"")
    car.settle()
    assert car.reads(second)
    assert first.digest not in car.store.digests


def test_what_is_withdrawn_is_not_taken_any_more(car: FollowingCar, broker: Broker, release: Release) -> None:
    broker.offer(release(1))
    for _ in range(2):
        car.step()
    broker.publish(offer_topic(NAME), b"")
    car.settle()
    assert car.offers.shown() == ()
    assert car.store.active == car.store.factory
    assert not any(car.fetcher.partial._root.iterdir())


def test_rolled_back_by_hand_it_stays_so_until_it_is_unpinned(
    car: FollowingCar, broker: Broker, release: Release, again: Callable[[], FollowingCar]
) -> None:
    bundle = release(1)
    broker.offer(bundle)
    car.settle()
    car.rollback()
    for _ in range(3):
        car.offers.look()
        car.settle()
        assert car.store.active == car.store.factory
        assert car.standing.reason == "pinned"
    broker.offer(release(2))  # a newer one doesn't change that
    car.settle()
    car.close()
    car = again()
    car.settle()
    assert car.store.active == car.store.factory
    broker.offer(bundle)
    car.settle()
    car.ask(ModelUnpin())
    car.settle()
    assert car.reads(bundle)


def test_a_file_in_the_data_folder_wins_over_what_was_taken_before(
    car: FollowingCar, broker: Broker, release: Release, root: Path
) -> None:
    """A student's own model stays until the next release, or until the car is unpinned."""
    broker.offer(release(1))
    car.settle()
    own = Bundle.load(rewritten(root / "own", lambda manifest: manifest.update(name="own")))
    (root / "own.zip").write_bytes(pack(own))
    car.take(root / "own.zip")
    car.settle()
    assert car.reads(own)
    assert car.standing.reason == "replaced"
    newer = release(2)
    broker.offer(newer)
    car.settle()
    assert car.reads(newer)


def test_two_names_are_followed_one_after_the_other(
    root: Path, broker: Broker, release: Release, key: SigningKey
) -> None:
    car = FollowingCar(root, broker, [key], follow=(NAME, "other"))
    car.start()
    first, second = release(1), release(1, "other")
    broker.offer(first)
    offer = broker.offer(second)
    for topic in [topic for topic in broker.retained if second.digest in topic]:
        broker.publish(topic.replace(NAME, "other", 1), broker.retained[topic])
    broker.publish(offer_topic("other"), offer.encoded())
    broker.offer(first)
    car.settle()
    assert set(car.store.digests) >= {first.digest, second.digest}
    active = car.store.active
    for _ in range(3):
        car.offers.look()
        car.settle()
        assert car.store.active == active, "it doesn't go to and fro"
    car.close()


def test_a_model_that_fell_back_is_not_taken_again_by_itself(
    root: Path, broker: Broker, release: Release, key: SigningKey
) -> None:
    bundle = release(1)
    car = FollowingCar(root, broker, [key], failing={bundle.digest})
    car.start()
    broker.offer(bundle)
    car.settle()
    assert car.store.active == car.store.factory
    assert car.standing.reason == "trial_failed"
    told = len(car.told)
    broker.offer(bundle, published=TODAY + timedelta(hours=1))
    car.settle()
    assert len(car.told) == told
    car.close()


@pytest.mark.parametrize("why", ["pinned", "held back", "withdrawn"])
def test_what_is_not_to_be_taken_any_more_is_not_fetched_on(
    car: FollowingCar, broker: Broker, release: Release, why: str
) -> None:
    bundle = release(1)
    offer = broker.offer(bundle)
    while car.fetcher.partial.length < 2 * CHUNK:
        car.step()
    if why == "pinned":
        car.ask(ModelPin())
    elif why == "held back":
        broker.publish(offer_topic(NAME), offer.model_copy(update={"cars": ("car1",)}).encoded())
    else:
        broker.publish(offer_topic(NAME), b"")
    car.settle()
    assert car.store.active == car.store.factory
    assert bundle.digest not in car.store.digests
    assert not any(car.fetcher.partial._root.iterdir())
    assert car.session.patterns == {offer_topic(NAME)}


def test_a_name_that_is_not_followed_any_more_is_not_fetched_on(
    car: FollowingCar, root: Path, broker: Broker, release: Release, key: SigningKey
) -> None:
    broker.offer(release(1))
    while car.fetcher.partial.length < 2 * CHUNK:
        car.step()
    car.close()
    car = FollowingCar(root, broker, [key], follow=())
    car.start()
    car.settle()
    assert car.store.active == car.store.factory
    assert not car.session.patterns
    assert not any(car.fetcher.partial._root.iterdir())
    car.close()


def test_how_far_it_is_is_told_now_and_then(car: FollowingCar, broker: Broker, release: Release) -> None:
    last = chunk_topic(NAME, release(1).digest, 9)
    broker.tamper = lambda topic, payload: [] if topic == last else [(topic, payload)]
    broker.offer(release(1))
    car.state.commit(pinned=True)
    car.settle()
    car.ask(ModelInstall(id="desk-1", offer=NAME))
    car.settle()
    told = [each for each in car.told if each.step == "fetching"]
    assert len(told) > 2
    assert "% are here" in told[-1].sentence
    assert told[-1].percent > 0


# Asked for


def test_somebody_asks_for_the_offer_of_a_name_that_is_not_followed(
    root: Path, broker: Broker, release: Release, key: SigningKey
) -> None:
    car = FollowingCar(root, broker, [key], follow=())
    car.start()
    bundle = release(1)
    broker.offer(bundle)
    car.settle()
    assert car.store.active == car.store.factory
    reply = car.ask(ModelInstall(id="desk-1", offer=NAME))
    assert reply.status == "ok"
    assert reply.data is not None
    assert (reply.data["change"], reply.data["model"]["digest"]) == ("desk-1", bundle.digest)
    car.settle()
    assert car.reads(bundle)
    assert {each.change for each in car.told} == {"desk-1"}
    assert not car.session.patterns
    car.close()


def test_an_offer_that_does_not_stand_is_not_waited_for_for_ever(car: FollowingCar) -> None:
    reply = car.ask(ModelInstall(offer="nothing"))
    assert reply.error is not None
    assert reply.error.code == "no_offer"


def test_who_asks_gets_it_pinned_or_not_and_never_unsigned(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    car.state.commit(pinned=True)
    bundle = release(1)
    broker.offer(bundle, signature=b"")
    car.settle()
    reply = car.ask(ModelInstall(offer=NAME))
    assert reply.error is not None
    assert reply.error.code == "unsigned"
    broker.offer(bundle)
    car.settle()
    assert car.ask(ModelInstall(offer=NAME)).status == "ok"
    car.settle()
    assert car.reads(bundle)
    assert car.state.now.pinned, "what comes after is not taken by itself"


def test_what_was_asked_for_and_does_not_come_is_told(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    bundle = release(1)
    broker.offer(bundle)
    car.state.commit(pinned=True)
    broker.tamper = lambda topic, payload: [(topic, payload)] if topic.endswith("/offer") else []
    car.settle()
    assert car.ask(ModelInstall(id="desk-1", offer=NAME)).status == "ok"
    car.settle()
    last = car.told[-1]
    assert (last.change, last.step, last.reason) == ("desk-1", "refused", "incomplete")
    assert car.fetcher.now is None


# Broken in the middle


@pytest.mark.parametrize("what", ["broker", "bridge"])
def test_the_broker_or_the_bridge_goes_away_after_each_chunk(
    car: FollowingCar, broker: Broker, release: Release, what: str
) -> None:
    """What is here stays; only what is missing is asked for again."""
    bundle = release(1)
    broker.offer(bundle)
    breaks = 0
    while not car.reads(bundle):
        car.step()
        length = car.fetcher.partial.length
        if car.fetcher.now is not None and length // CHUNK > breaks:
            breaks = length // CHUNK
            if what == "broker":
                car.reconnect()
            else:
                car.replace_bridge()
        assert car.seconds < 100
    assert breaks > 1
    assert car.session.asked_for.count(chunk_topic(NAME, bundle.digest, 0)) <= 2


def test_a_broker_that_forgot_everything_and_a_publisher_that_comes_back(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    bundle = release(1)
    broker.offer(bundle)
    car.step()
    broker.retained.clear()
    car.session.came.clear()
    car.reconnect()
    car.settle()
    assert car.store.active == car.store.factory
    broker.offer(bundle, published=TODAY + timedelta(minutes=5))
    car.settle()
    assert car.reads(bundle)


Usage = namedtuple("Usage", "total used free")


def test_no_room_for_it(
    car: FollowingCar, broker: Broker, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 1 << 30, 1 << 20))
    bundle = release(1)
    broker.offer(bundle)
    car.settle()
    assert car.standing.reason == "no_space"
    assert "free" in car.standing.sentence
    assert car.fetcher.partial.length == 0
    monkeypatch.undo()
    for _ in range(20):
        car.step(1.0)
    car.settle()
    assert car.reads(bundle)


def test_the_disk_fills_while_it_comes(
    car: FollowingCar, broker: Broker, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = durable.append, 2

    def full(path: Path, content: bytes, mode: int = 0o640) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            real(path, content[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, content)

    monkeypatch.setattr(durable, "append", full)
    bundle = release(1)
    broker.offer(bundle)
    car.settle()
    assert car.standing.reason == "no_space"
    monkeypatch.undo()
    for _ in range(20):
        car.step(1.0)
    car.settle()
    assert car.reads(bundle)


def lived(root: Path, key: SigningKey, bundle: Bundle, kill_at: int | None) -> tuple[int, list[str]]:
    """A car lives in a child until it reads with the offer: its exit status, the points it passed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(60)
        passed: list[str] = []

        def count(step: str) -> None:
            if len(passed) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            passed.append(step)

        try:
            durable.fault_point = count
            broker = Broker()
            broker.offer(bundle, chunk_bytes=64 << 10)
            car = FollowingCar(root, broker, [key])
            car.start()
            car.settle()
            os.write(write, "\n".join(passed).encode())
            os._exit(DONE if car.reads(bundle) else 1)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    os.close(write)
    with open(read) as told:
        passed = told.read().splitlines()
    _, status = os.waitpid(child, 0)
    return status, passed


def test_killed_at_every_point_it_goes_on_where_it_was(root: Path, key: SigningKey, release: Release) -> None:
    """Before, within and after each chunk, and now and then in what follows, which test_change.py has in
    full. Every other time the recognizer dies, too."""
    bundle = release(1)
    template = root / "template"
    template.mkdir()
    FollowingCar(template, Broker(), [key]).close()
    before = Bundle.load(template / "models" / "active").digest
    whole = root / "whole"
    shutil.copytree(template, whole, symlinks=True)
    status, passed = lived(whole, key, bundle, None)
    assert os.waitstatus_to_exitcode(status) == DONE
    fetched = passed.index("tell checked")
    assert len([step for step in passed[:fetched] if step == "after append to payload"]) >= 4
    telling = [at for at in range(fetched) if not passed[at].startswith("after") or "payload" in passed[at]]
    for point in [*telling, *range(fetched, len(passed), 9)]:
        case = root / "case"
        shutil.copytree(template, case, symlinks=True)
        status, _ = lived(case, key, bundle, point)
        assert os.WIFSIGNALED(status), passed[point]
        assert Bundle.load(case / "models" / "active").digest in {before, bundle.digest}, passed[point]
        if point % 2:
            Recognizer(case).restart()
        status, _ = lived(case, key, bundle, None)
        assert os.waitstatus_to_exitcode(status) == DONE, passed[point]
        ledger = StateFile(case / "ledger.json").now
        assert (ledger.change, ledger.fetch) == (None, None), passed[point]
        assert not any((case / "fetch").iterdir()), passed[point]
        remove(case)


def test_what_had_come_before_a_kill_is_not_asked_for_again(
    car: FollowingCar, broker: Broker, release: Release, again: Callable[[], FollowingCar]
) -> None:
    bundle = release(1)
    broker.offer(bundle)
    while car.fetcher.partial.length < 3 * CHUNK:
        car.step()
    car.close()
    car = again()
    car.settle()
    assert car.reads(bundle)
    first = [chunk_topic(NAME, bundle.digest, number) for number in range(3)]
    assert not set(first) & set(car.session.asked_for)


# From a URL

URL = "https://models.example/lab"


def test_a_signed_url_is_fetched_before_the_chunks(
    car: FollowingCar, broker: Broker, release: Release, key: SigningKey
) -> None:
    bundle = release_of(release(1), key, release=1, url=URL)
    broker.offer(bundle)
    for _ in range(20):
        car.step()
    assert car.downloads.asked == [URL]
    assert car.session.patterns == {offer_topic(NAME)}
    car.downloads.finish(payload_of(bundle))
    car.settle()
    assert car.reads(bundle)


def test_a_url_that_fails_is_followed_by_the_chunks_from_where_it_was(
    car: FollowingCar, broker: Broker, release: Release, key: SigningKey
) -> None:
    bundle = release_of(release(1), key, release=1, url=URL)
    broker.offer(bundle)
    car.step()
    car.downloads.finish(payload_of(bundle)[: 3 * CHUNK + 5], "the server answered 503")
    car.settle()
    assert car.reads(bundle)
    assert chunk_topic(NAME, bundle.digest, 2) not in car.session.asked_for


def test_a_url_that_gives_something_else_is_not_asked_again(
    car: FollowingCar, broker: Broker, release: Release, key: SigningKey
) -> None:
    bundle = release_of(release(1), key, release=1, url=URL)
    broker.offer(bundle)
    car.step()
    car.downloads.finish(bytes(len(payload_of(bundle))))
    car.settle()
    assert car.standing.reason == "incomplete"
    for _ in range(10):
        car.step(1.0)
    car.settle()
    assert car.reads(bundle)
    assert car.downloads.asked == [URL]
