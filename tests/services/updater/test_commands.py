"""Commands: a refused upload is not sent again, a slow URL blocks nobody, a damaged model is shown."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages import durable
from messages.command import Reply
from messages.model_commands import ModelInstall, ModelList, ModelPin, ModelTable, ModelUnpin, ModelUpload
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from services.updater.fetch import GRACE_S
from tests.models.making import rewritten
from tests.services.updater.offering import NAME, TODAY, Broker, FollowingCar
from tools.publish.signing import release_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Bundle:
    path = tmp_path_factory.mktemp("bundle") / NAME
    rewritten(path, lambda manifest: manifest.update(name=NAME))
    return release_of(Bundle.load(path), key, release=1, issued=TODAY)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def car(root: Path, broker: Broker, key: SigningKey) -> Iterator[FollowingCar]:
    car = FollowingCar(root, broker, [key])
    car.start()
    yield car
    car.close()


def upload(car: FollowingCar, content: bytes) -> None:
    half = len(content) // 2
    for offset, part in ((0, content[:half]), (half, content[half:])):
        assert car.ask(ModelUpload(upload="mine", offset=offset, content=part)).status == "ok"


def code(reply: Reply) -> str:
    assert reply.error is not None, reply
    return reply.error.code


def test_an_upload_that_a_pin_kept_out_is_taken_once_it_is_let(car: FollowingCar, bundle: Bundle) -> None:
    upload(car, pack(bundle))
    car.ask(ModelPin())
    assert code(car.ask(ModelInstall(id="1", upload="mine"))) == "pinned"
    car.ask(ModelUnpin())
    assert car.ask(ModelInstall(id="2", upload="mine")).status == "ok"
    car.settle()
    assert car.reads(bundle)
    assert code(car.ask(ModelInstall(id="3", upload="mine"))) == "missing"


@pytest.mark.parametrize("refused", ["before replace ledger.json", "before create model.tflite"])
def test_an_upload_that_a_full_disk_kept_out_is_taken_once_there_is_room(
    car: FollowingCar, bundle: Bundle, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused at once, or only when the store was to have it."""
    upload(car, pack(bundle))

    def full(step: str) -> None:
        if step == refused:
            raise OSError(errno.ENOSPC, "No space left on device", step)

    monkeypatch.setattr(durable, "fault_point", full)
    reply = car.ask(ModelInstall(id="1", upload="mine"))
    for _ in range(20):
        car.step()
    monkeypatch.setattr(durable, "fault_point", lambda step: None)
    car.settle()
    assert reply.status == "error" or car.told[-1].reason == "no_space"
    assert car.ask(ModelInstall(id="2", upload="mine")).status == "ok"
    car.settle()
    assert car.reads(bundle)


def test_an_upload_outlives_the_updater(
    car: FollowingCar, root: Path, broker: Broker, key: SigningKey, bundle: Bundle
) -> None:
    upload(car, pack(bundle))
    car.close()
    car = FollowingCar(root, broker, [key])
    car.handlers.sweep()
    car.start()
    assert car.ask(ModelInstall(id="1", upload="mine")).status == "ok"
    car.settle()
    assert car.reads(bundle)
    car.close()


def test_a_url_that_gives_nothing_is_left_after_a_minute_whatever_size_it_claims(
    car: FollowingCar, broker: Broker, bundle: Bundle
) -> None:
    """Its server drips its header. The release that stands on the broker waits for no longer than that."""
    wanted = ModelInstall(id="1", url="http://192.0.2.1/x.zip", sha256="ab" * 32, size=128 << 20)
    assert car.ask(wanted).status == "ok"
    broker.offer(bundle)
    assert code(car.ask(ModelInstall(id="2", offer=NAME))) == "busy"
    began = car.seconds
    while car.downloads.cancelled == 0:
        car.step(1.0)
    assert car.seconds - began <= GRACE_S + 5
    car.settle()
    assert ("refused", "not_fetched") in [(each.step, each.reason) for each in car.told if each.change == "1"]
    assert car.reads(bundle)


def test_a_url_that_gives_a_little_at_a_time_may_go_on_while_it_comes(
    car: FollowingCar, bundle: Bundle
) -> None:
    content = pack(bundle)
    car.ask(ModelInstall(id="1", url="http://192.0.2.1/x.zip", sha256="ab" * 32, size=len(content)))
    for seconds in range(1, 30):
        car.fetcher.partial.path.write_bytes(content[: seconds * 10_000])
        car.step(1.2)
    assert car.downloads.cancelled == 0
    assert car.fetcher.failure is None


def test_a_kept_model_that_is_damaged_meanwhile_is_listed_as_that(car: FollowingCar, bundle: Bundle) -> None:
    digest = car.store.add(bundle)
    model = car.store.root / f"sha256-{digest}" / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"x" + model.read_bytes()[1:])
    table = ModelTable.model_validate(car.ask(ModelList()).data)
    [row] = [row for row in table.models if row.model.digest == digest]
    assert (row.state, row.issued) == ("damaged", None)
    assert "SHA-256 differs" in row.problem
