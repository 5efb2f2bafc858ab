"""The updater and the recognizer as processes: from a file to the model that reads, and back."""

from __future__ import annotations

import os
import shutil

from messages.model_commands import (
    ModelActivate,
    ModelImport,
    ModelInstall,
    ModelPin,
    ModelRollback,
    ModelUnpin,
)
from messages.text import file_name
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from tests.conftest import REPOSITORY
from tests.services.updater.conftest import Car

COURSE = REPOSITORY / "tests" / "models" / "importing" / "keras_files" / "course-tf24.h5"


def test_the_courses_file_is_read_with_a_few_seconds_after_it_was_put_there(car: Car) -> None:
    shipped = car.state.active.digest
    shutil.copy(COURSE, car.inbox / "model_trained.h5")
    last = car.end("model_trained.h5")
    assert [each.step for each in car.steps("model_trained.h5")] == [
        "received", "checked", "tested", "trial", "active",
    ]  # fmt: skip
    assert last.model is not None
    assert last.model.name == "model-trained"
    car.reads_with(last.model.digest)
    assert last.accuracy is not None
    assert last.replaced_accuracy is not None
    assert last.accuracy < last.replaced_accuracy, "worse than the shipped one, and taken all the same"
    assert f"{last.accuracy:.1%}" in last.sentence
    assert f"{last.replaced_accuracy:.1%}" in last.sentence
    assert not car.state.pinned

    assert car.ask(ModelRollback()).status == "ok"
    car.reads_with(shipped)
    assert car.state.pinned
    rows = {row.model.digest: row for row in car.models().models}
    assert (rows[shipped].state, rows[shipped].origin) == ("active", "factory")
    back = rows[last.model.digest]
    assert (back.state, back.origin, back.file) == ("previous", "inbox", "model_trained.h5")
    assert back.accuracy == last.accuracy


def test_what_is_no_model_is_refused_with_its_reason_and_reading_goes_on(car: Car) -> None:
    shipped = car.state.active.digest
    outside = car.runtime / "outside.h5"
    shutil.copy(COURSE, outside)
    car.drop("empty.h5", b"")
    car.drop("text.keras", b"this is no model\n" * 100)
    car.drop("half.h5", COURSE.read_bytes()[:20_000])
    car.drop("notes.txt", b"nobody's model")
    (car.inbox / "folder.h5").mkdir()
    (car.inbox / "link.h5").symlink_to(outside)
    with open(car.inbox / "zeros.h5", "wb") as zeros:
        zeros.truncate(4 << 30)
    found = {name: car.end(name) for name in ("empty.h5", "text.keras", "half.h5", "folder.h5", "link.h5")}
    found["zeros.h5"] = car.end("zeros.h5")
    assert {name: each.reason for name, each in found.items()} == {
        "empty.h5": "empty",
        "text.keras": "unknown_format",
        "half.h5": "damaged",
        "folder.h5": "not_a_file",
        "link.h5": "not_a_file",
        "zeros.h5": "too_large",
    }
    assert all(each.step == "refused" and each.sentence for each in found.values())
    assert not car.steps("notes.txt")
    assert car.reading() == shipped
    assert car.state.models == 1, "nothing is left of them"
    assert [path.name for path in (car.runtime / "state" / "models").glob(".work-*")] == []

    # The same file under another name is known, and somebody's command tries it all the same.
    car.drop("again.h5", COURSE.read_bytes()[:20_000])
    assert car.end("again.h5").reason == "refused_before"
    reply = car.ask(ModelImport(id="by-hand", name="hand.h5", content=COURSE.read_bytes()[:20_000]))
    assert reply.status == "ok"
    assert car.end("hand.h5").reason == "damaged"


def test_a_file_whose_name_is_no_utf_8_is_taken_like_any_other(car: Car) -> None:
    """As a Korean zip is unpacked on Linux."""
    name = os.fsdecode("모델.h5".encode("cp949"))
    shutil.copy(COURSE, car.inbox / name)
    told = file_name(name)
    assert car.end(told).step == "active"
    car.kill("updater")
    car.start("updater")
    assert car.models().history[-1].file == told, "and after a restart it is known"


def test_a_file_that_is_still_being_copied_is_waited_for(car: Car) -> None:
    whole = COURSE.read_bytes()
    with open(car.inbox / "slow.h5", "wb", buffering=0) as copy:
        copy.write(whole[: len(whole) // 2])
        car.drop("other.h5", b"no model")
        assert car.end("other.h5").reason == "unknown_format"  # it came later, and was looked at
        assert not car.steps("slow.h5")
        copy.write(whole[len(whole) // 2 :])
    assert car.end("slow.h5").step == "active"


def test_only_a_bundle_signed_by_a_trusted_key_is_installed(car: Car) -> None:
    def refusal(bundle: bytes) -> str:
        reply = car.ask(ModelInstall(content=bundle))
        assert reply.error is not None
        return reply.error.code

    assert refusal(pack(car.bundle("unsigned"))) == "unsigned"
    assert refusal(pack(car.bundle("stranger", SigningKey.generate()))) == "unknown_key"
    assert refusal(pack(car.bundle("elsewhere", car.key, target="car7"))) == "not_for_this_car"
    assert refusal(COURSE.read_bytes()) == "unknown_format"

    good = car.bundle("good", car.key, release=7)
    command = ModelInstall(id="mine", content=pack(good))
    assert car.ask(command).data == {
        "change": "mine",
        "step": "checked",
        "model": {"name": "good", "version": good.manifest.version, "digest": good.digest},
    }
    assert car.end(change="mine").step == "active"
    car.reads_with(good.digest)
    assert car.state.releases["good"] == 7, "publishers count on from it"
    before = len(car.steps(change="mine"))
    assert car.ask(command).status == "ok", "asked twice, done once"
    assert refusal(pack(car.bundle("good", car.key, release=6, version="0.0.1"))) == "older"
    assert len(car.steps(change="mine")) == before

    assert car.ask(ModelPin()).data == {"pinned": True, "active": as_told(good)}
    assert refusal(pack(car.bundle("next", car.key))) == "pinned"
    assert car.ask(ModelUnpin()).data == {"pinned": False, "active": as_told(good)}
    reply = car.ask(ModelActivate(model="factory"))
    assert reply.status == "ok"
    again = car.ask(ModelActivate(model=good.digest[:12]))
    assert again.error is not None
    assert again.error.code == "busy"
    car.reads_with(car.models().models[-1].model.digest)
    assert car.state.pinned


def as_told(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    return {"name": manifest.name, "version": manifest.version, "digest": bundle.digest}


def test_the_updater_killed_during_a_trial_tries_again(car: Car) -> None:
    bundle = car.bundle("tried")
    car.start_again("updater", MODELS__TRIAL_SECONDS="3600")
    car.drop("tried.zip", pack(bundle))
    car.step("trial", "tried.zip")
    assert car.reading() == bundle.digest
    car.kill("updater")
    assert os.readlink(car.runtime / "state/models/active") != f"sha256-{bundle.digest}"
    car.start("updater")
    car.reads_with(bundle.digest)
    last = car.models().history[-1]  # it may have been told before we could hear it
    assert (last.step, last.file, last.attempt) == ("active", "tried.zip", 2)


def test_a_trial_without_an_updater_ends_by_itself(car: Car) -> None:
    shipped, bundle = car.state.active.digest, car.bundle("tried")
    car.start_again("updater", MODELS__TRIAL_SECONDS="3600")
    car.drop("tried.zip", pack(bundle))
    car.step("trial", "tried.zip")
    car.kill("updater")
    car.onlooker.wait(lambda: car.reading() == shipped, "the model before", 20)


def test_a_model_with_which_the_recognizer_dies_is_gone_after_three_tries(car: Car) -> None:
    shipped, bundle = car.state.active.digest, car.bundle("deadly")
    car.drop("deadly.zip", pack(bundle))
    for attempt in (1, 2, 3):
        car.step("trial", "deadly.zip", attempt)
        car.kill("recognizer")
        car.start("recognizer")
    last = car.end("deadly.zip")
    assert (last.step, last.reason, last.attempt) == ("fallen_back", "trial_failed", 3)
    car.reads_with(shipped)
    car.drop("renamed.zip", pack(bundle))
    assert car.end("renamed.zip").reason == "refused_before"


def test_a_configured_model_is_not_replaced(car: Car) -> None:
    fixed, bundle = car.bundle("fixed"), car.bundle("other")
    car.start_again("recognizer", RECOGNIZER__BUNDLE=str(fixed.folder))
    car.drop("other.zip", pack(bundle))
    last = car.end("other.zip")
    assert (last.step, last.reason) == ("refused", "pinned")
    assert "recognizer.bundle" in last.sentence
    assert car.reading() == fixed.digest
