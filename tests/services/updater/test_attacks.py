"""Attacks on what is offered, named after those of The Update Framework, on the car's own code.

Whoever may publish on the broker can hold a release back or let it go. They can't make a car read with
anything but what its owner signed, go back, or fill its disk or memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messages.message import encode
from messages.model_commands import ModelInstall
from messages.offers import MAX_CHUNK_BYTES, MAX_OFFER_BYTES, chunk_topic, offer_topic
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.payload import payload_of
from services.updater.fetch import WINDOW
from tests.models.making import rewritten
from tests.services.updater.offering import CHUNK, NAME, TODAY, Broker, FollowingCar, changed
from tools.publish.signing import release_of

Release = Callable[..., Bundle]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Release:
    """A release of `lab` with this counter, signed."""
    folder = tmp_path_factory.mktemp("bundle")
    bundle = Bundle.load(rewritten(folder / "lab", lambda manifest: manifest.update(name=NAME)))

    def make(number: int, by: SigningKey = key, **given: object) -> Bundle:
        return release_of(bundle, by, release=number, issued=TODAY, **given)  # type: ignore[arg-type]

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
def taken(car: FollowingCar, broker: Broker, release: Release) -> Bundle:
    """Release 5, which the car reads with."""
    bundle = release(5)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)
    return bundle


def refused(car: FollowingCar, reason: str) -> None:
    """Nothing was fetched, and it says why, once."""
    car.settle()
    assert car.standing.reason == reason
    assert [each for _, each in car.outcomes() if each] == [reason]
    assert "fetching" not in [step for step, _ in car.outcomes()][len(car.told) - 1 :]
    car.offers.look()
    car.settle()
    assert [each for _, each in car.outcomes() if each] == [reason]


# Who signed it


def test_unsigned(car: FollowingCar, broker: Broker, release: Release) -> None:
    broker.offer(release(6), signature=b"")
    refused(car, "unsigned")
    assert not [topic for topic in car.session.asked_for if not topic.endswith("/offer")]


def test_wrong_key(car: FollowingCar, broker: Broker, release: Release) -> None:
    broker.offer(release(6, SigningKey.generate()))
    refused(car, "unknown_key")


def test_retired_key(car: FollowingCar, root: Path, broker: Broker, release: Release, taken: Bundle) -> None:
    """The key that signed what the car reads with is taken out of its settings: nothing more by that key."""
    car.close()
    car = FollowingCar(root, broker, [SigningKey.generate()])
    car.start()
    car.settle()
    assert car.reads(taken), "what was taken stays"
    broker.offer(release(6))
    refused(car, "unknown_key")
    car.close()


def test_a_signature_over_another_manifest(car: FollowingCar, broker: Broker, release: Release) -> None:
    bundle = release(6)
    broker.offer(bundle, **changed(bundle, release=7))
    refused(car, "bad_signature")


def test_a_spoilt_signature_does_not_spoil_the_release_for_later(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    """Else whoever may publish could keep a release out for good."""
    bundle = release(6)
    forged = replace(
        bundle, signature=bundle.signature.replace(b" ", b" AAAA", 2) if bundle.signature else b""
    )
    broker.offer(forged)
    car.settle()
    assert not car.reads(bundle)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)


# What is in it


def test_swapped_payload(car: FollowingCar, broker: Broker, release: Release) -> None:
    """Another model of the same length under the signed manifest."""
    bundle = release(6)
    broker.offer(bundle)
    topic = chunk_topic(NAME, bundle.digest, 1)
    broker.publish(topic, bytes(len(broker.retained[topic])))
    car.settle()
    assert car.store.active == car.store.factory
    assert car.standing.reason == "incomplete"
    assert ("refused", "incomplete") in car.outcomes(bundle)
    broker.offer(bundle, published=TODAY + timedelta(minutes=1))  # put right
    car.settle()
    assert car.reads(bundle)


def test_mixed_manifest_and_chunks(
    car: FollowingCar, broker: Broker, release: Release, root: Path, key: SigningKey
) -> None:
    """Every other chunk is that of another signed release of the same length."""
    bundle = release(7)
    model = bytes(byte ^ 1 for byte in bundle.model)
    folder = rewritten(root / "other", lambda manifest: manifest.update(name=NAME), {"model.tflite": model})
    other = payload_of(release_of(Bundle.load(folder), key, release=6))
    broker.offer(bundle)
    for number in range(0, len(other) // CHUNK, 2):
        part = other[number * CHUNK :][:CHUNK]
        broker.publish(chunk_topic(NAME, bundle.digest, number), part)
    car.settle()
    assert car.store.active == car.store.factory
    assert car.standing.reason == "incomplete"


def test_an_offer_of_another_name(
    car: FollowingCar, broker: Broker, release: Release, root: Path, key: SigningKey
) -> None:
    """Signed for another use, it isn't taken for this one."""
    folder = rewritten(root / "other", lambda manifest: manifest.update(name="other"))
    other = release_of(Bundle.load(folder), key, release=9)
    broker.publish(offer_topic(NAME), broker.offer(other, name=NAME).encoded())
    car.settle()
    assert car.outcomes() == [("refused", "bad_offer")]
    assert not car.offers.shown()


@pytest.mark.parametrize(
    "content",
    [b"no JSON", b"{}", b"[" * 100_000, b'{"format": 2}', bytes(MAX_OFFER_BYTES + 1), b"\xff\xfe"],
    ids=["no JSON", "nothing in it", "nested", "another format", "too large", "no text"],
)
def test_what_is_no_offer(car: FollowingCar, broker: Broker, content: bytes) -> None:
    broker.publish(offer_topic(NAME), content)
    car.settle()
    assert car.outcomes() == [("refused", "bad_offer")]


def test_a_manifest_that_promises_more_than_a_bundle_holds(
    car: FollowingCar, broker: Broker, release: Release, key: SigningKey
) -> None:
    """Endless data, signed: no file is made for it."""
    bundle = release(6)
    files = [{"name": each.name, "size": 1 << 50, "sha256": each.sha256} for each in bundle.manifest.files]
    content = changed(bundle, files=files)
    broker.offer(bundle, **content, signature=key.sign(content["manifest"]))
    car.settle()
    assert car.outcomes() == [("refused", "too_large")]


# When, and for whom


def test_replayed_older_release(car: FollowingCar, broker: Broker, release: Release, taken: Bundle) -> None:
    broker.offer(release(4))
    car.settle()
    assert car.standing.reason == "older"
    assert car.reads(taken)


def test_replayed_older_release_after_a_rollback_and_a_restart(
    car: FollowingCar, root: Path, broker: Broker, release: Release, taken: Bundle, key: SigningKey
) -> None:
    """The counter is what the car has had, not what it reads with."""
    car.rollback()
    car.close()
    car = FollowingCar(root, broker, [key])
    car.start()
    car.state.commit(pinned=False)
    broker.offer(release(4))
    car.settle()
    assert car.standing.reason == "older"
    car.close()


def test_expired_offer(car: FollowingCar, broker: Broker, release: Release) -> None:
    broker.offer(release(6, expires=TODAY - timedelta(days=1)))
    refused(car, "expired")


def test_frozen_offer(root: Path, broker: Broker, release: Release, key: SigningKey) -> None:
    """A broker that shows an old offer for ever: a car that comes later sees that its time is over."""
    broker.offer(release(6, expires=TODAY + timedelta(days=30)))
    car = FollowingCar(root, broker, [key], today=TODAY + timedelta(days=31))
    car.start()
    refused(car, "expired")
    car.close()


def test_an_offer_that_expires_while_the_car_is_pinned_is_not_taken_afterwards(
    car: FollowingCar, broker: Broker, release: Release
) -> None:
    car.state.commit(pinned=True)
    broker.offer(release(6, expires=TODAY + timedelta(hours=1)))
    refused(car, "pinned")
    car.today += timedelta(hours=2)
    car.state.commit(pinned=False)
    car.offers.look(anew=True)
    car.settle()
    assert car.standing.reason == "expired"


def test_a_clock_in_1970(root: Path, broker: Broker, release: Release, key: SigningKey) -> None:
    """What has expired can't be known; the counter decides."""
    car = FollowingCar(root, broker, [key], today=datetime(1970, 1, 1, tzinfo=UTC))
    car.start()
    bundle = release(6, expires=TODAY)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)
    broker.offer(release(5))
    car.settle()
    assert car.standing.reason == "older"
    car.close()


def test_for_another_car(car: FollowingCar, broker: Broker, release: Release) -> None:
    broker.offer(release(6, target="car8"))
    refused(car, "not_for_this_car")


@pytest.mark.parametrize("target", ["car7", "workshop", "all"])
def test_for_this_car_its_group_or_all(
    root: Path, broker: Broker, release: Release, key: SigningKey, target: str
) -> None:
    car = FollowingCar(root, broker, [key], groups=("workshop",))
    car.start()
    bundle = release(6, target=target)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)
    car.close()


# Chunks


def test_missing_chunks(car: FollowingCar, broker: Broker, release: Release) -> None:
    """It is wanted again, waits, says which is missing, and goes on where it was once it is there."""
    bundle = release(6)
    missing = chunk_topic(NAME, bundle.digest, 3)
    broker.tamper = lambda topic, payload: [] if topic == missing else [(topic, payload)]
    broker.offer(bundle)
    car.settle()
    assert car.standing.reason == "incomplete"
    assert "don't come: 3" in car.standing.sentence
    assert car.fetcher.partial.length == 3 * CHUNK
    asked = car.session.asked_for.count(missing)
    assert 2 <= asked <= 5
    broker.tamper = lambda topic, payload: [(topic, payload)]
    del car.session.asked_for[:]
    for _ in range(200):
        car.step(1.0)
    car.settle()
    assert car.reads(bundle)
    assert chunk_topic(NAME, bundle.digest, 0) not in car.session.asked_for


def test_repeated_chunks(car: FollowingCar, broker: Broker, release: Release) -> None:
    bundle = release(6)
    broker.tamper = lambda topic, payload: [(topic, payload)] * 3
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)


def test_reordered_chunks(car: FollowingCar, broker: Broker, release: Release) -> None:
    """Within what is wanted at a time, in any order."""
    bundle = release(6)
    held: list[tuple[str, bytes]] = []

    def last_first(topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        if topic.endswith("/offer"):
            return [(topic, payload)]
        held.append((topic, payload))
        count = len(car.fetcher.wanted)
        if len(held) < count:
            return []
        came, held[:] = held[::-1], []
        return came

    broker.tamper = last_first
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)


def test_endless_chunks(car: FollowingCar, broker: Broker, release: Release) -> None:
    """Numbers beyond the last, other digests, the same again and again: nothing of it is kept."""
    bundle = release(6)
    size, largest = len(payload_of(bundle)), 0

    def flood(topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        nonlocal largest
        held = car.fetcher.partial.length + sum(len(each) for each in car.fetcher._buffer.values())
        largest = max(largest, held, *(len(each) for each in car.follower._waiting.values() or [b""]))
        junk = [(chunk_topic(NAME, bundle.digest, number), bytes(CHUNK)) for number in (999_999, 17, 18)]
        return [*junk, (chunk_topic(NAME, "ab" * 32, 0), bytes(CHUNK)), (topic, payload), (topic, b"late")]

    broker.tamper = flood
    broker.offer(bundle)
    car.settle()
    assert largest <= size
    assert sum(each.stat().st_size for each in car.fetcher.partial._root.rglob("*") if each.is_file()) <= size


@pytest.mark.parametrize("content", [b"", b"x", bytes(CHUNK + 1), bytes(MAX_CHUNK_BYTES + 5)])
def test_a_chunk_of_the_wrong_size(
    car: FollowingCar, broker: Broker, release: Release, content: bytes
) -> None:
    bundle = release(6)
    wrong = chunk_topic(NAME, bundle.digest, 2)
    broker.tamper = lambda topic, payload: [(topic, content if topic == wrong else payload)]
    broker.offer(bundle)
    car.settle()
    assert car.standing.reason == "incomplete"
    assert f"{CHUNK} are due" in car.standing.sentence
    assert car.fetcher.partial.length <= 2 * CHUNK


def test_slow_retrieval(car: FollowingCar, broker: Broker, release: Release) -> None:
    """A chunk now and then: what has come is kept, the attempt ends, and others have their turn."""
    bundle = release(6)
    waiting: list[tuple[str, bytes]] = []

    def slowly(topic: str, payload: bytes) -> list[tuple[str, bytes]]:
        if not topic.endswith("/offer"):
            waiting.append((topic, payload))
            return []
        return [(topic, payload)]

    broker.tamper = slowly
    broker.offer(bundle, chunk_bytes=1 << 10)
    while car.fetcher.failure is None:
        for _ in range(15):
            car.step(1.0)
        if waiting:
            car.session.came.append(waiting.pop(0))
        assert car.seconds < 1000
    assert "has come in" in str(car.fetcher.failure)
    assert car.fetcher.partial.length > 0
    car.step()
    assert car.standing.reason == "incomplete"


def test_memory_is_bounded_by_what_is_wanted(car: FollowingCar, broker: Broker, release: Release) -> None:
    bundle = release(6)
    broker.offer(bundle)
    most = 0
    for _ in range(2000):
        car.step()
        most = max(most, len(car.session.patterns) - 1)
        if car.reads(bundle):
            break
    assert 0 < most <= WINDOW


def test_endless_offers(car: FollowingCar, broker: Broker, release: Release) -> None:
    """A flood of junk costs the car an event a second, and the offer that stands in the end is taken."""
    for number in range(2000):
        broker.publish(offer_topic(NAME), b"junk %d" % number)
        car.step(0.01)
    assert len(car.told) <= 2000 * 0.01 + 5
    bundle = release(6)
    broker.offer(bundle)
    car.settle()
    assert car.reads(bundle)


# Commands


def test_reused_id(car: FollowingCar, broker: Broker, release: Release) -> None:
    """The second deed under an id is not done: neither now nor by an updater that was killed since."""
    first = release(6)
    broker.offer(first)
    car.state.commit(pinned=True)
    reply = car.ask(ModelInstall(id="desk-1", offer=NAME))
    assert reply.status == "ok"
    car.settle()
    assert car.reads(first)
    broker.offer(release(7))
    car.settle()
    again = car.ask(ModelInstall(id="desk-1", offer=NAME))
    car.settle()
    assert again.status == "ok"
    assert car.reads(first)


def test_an_offer_can_name_no_more_cars_than_fit(broker: Broker, release: Release, car: FollowingCar) -> None:
    bundle = release(6)
    broker.offer(bundle, cars=tuple(f"car-{number}" for number in range(5000)))
    car.settle()
    assert car.outcomes() == [("refused", "bad_offer")]


def test_the_hint_of_cars_holds_back_and_lets_go(car: FollowingCar, broker: Broker, release: Release) -> None:
    bundle = release(6)
    offer = broker.offer(bundle, cars=("car1", "car2"))
    car.settle()
    assert car.standing.reason == "not_yet"
    assert car.told == []
    broker.publish(offer_topic(NAME), encode(offer.model_copy(update={"cars": ("car1", "car7")})))
    car.settle()
    assert car.reads(bundle)
