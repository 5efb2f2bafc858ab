"""The recognizer as a process: frames from a real ring in, readings and events out, nothing left open."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from messages.bus import Publisher
from messages.health import JournalCursor, ServiceState
from messages.journal_reader import JournalReader
from messages.message import decode
from messages.recognizer_commands import RecognizerRead
from messages.vision import Box, GreyImage, ReadingEvent
from models.ink.strokes import render
from models.ink.synthetic_handwriting import write
from tests.conftest import PATIENCE_S, wait_for
from tests.services.processes import Onlooker, service, undelivered
from tests.services.recognizer.conftest import Camera

Context = zmq.Context[zmq.Socket[bytes]]


EMPTY = np.full((480, 640, 3), 128, np.uint8)


def events_in_journal(runtime: Path) -> list[ReadingEvent]:
    reader = JournalReader(runtime / "state" / "recognizer" / "journal.sqlite3")
    try:
        return [decode(ReadingEvent, entry.payload) for entry in reader.read(0)]
    finally:
        reader.close()


def read_until(onlooker: Onlooker, camera: Camera, pixels: NDArray[np.uint8], phase: str) -> ReadingEvent:
    """Show the same frame, each once the one before was read, until an event of `phase` comes."""
    already = len(onlooker.of("reading.event"))

    def came() -> ReadingEvent | None:
        number = camera.show(pixels)
        onlooker.wait(lambda: any(reading.frame_id >= number for reading in onlooker.of("reading")[-5:]))
        fresh = onlooker.of("reading.event")[already:]
        return next((event for event in fresh if event.phase == phase), None)

    event = wait_for(came, what=phase)
    assert event is not None
    return event


def wait_until_reading(onlooker: Onlooker, camera: Camera) -> None:
    """The recognizer is up and connected."""
    onlooker.wait(lambda: (camera.show(EMPTY), onlooker.of("reading"))[1])


def test_a_card_becomes_one_event_with_a_beginning_and_an_end(
    context: Context, runtime: Path, camera: Camera, card: tuple[NDArray[np.uint8], str]
) -> None:
    pixels, digits = card
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        new = read_until(onlooker, camera, pixels, "new")
        for _ in range(30):
            camera.show(pixels)
        end = read_until(onlooker, camera, EMPTY, "end")
    assert new.text == digits
    assert (end.event_id, end.text, end.end_reason) == (new.event_id, digits, "gone")
    assert end.last_seen >= new.last_seen >= new.first_seen
    assert len(onlooker.of("reading.event")) == 2
    assert [event.phase for event in events_in_journal(runtime)] == ["new", "end"]
    image = onlooker.of("reading.image")[-1]
    assert (image.event_id, image.text) == (new.event_id, digits)
    assert image.jpeg.startswith(b"\xff\xd8")


def test_each_reading_says_which_model_read_which_frame(
    context: Context, runtime: Path, camera: Camera, card: tuple[NDArray[np.uint8], str]
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        number = camera.show(card[0])
        reading = onlooker.wait(
            lambda: next((each for each in onlooker.of("reading") if each.frame_id == number), None)
        )
        assert reading is not None
    assert [code.text for code in reading.codes] == [card[1]]
    assert len(reading.model.digest) == 64
    assert reading.latency_ms > 0
    for digit in reading.codes[0].digits:
        assert digit.confidence + digit.runner_up_confidence <= 1.0001


def test_an_event_left_open_by_a_kill_is_ended_as_interrupted(
    context: Context, runtime: Path, camera: Camera, card: tuple[NDArray[np.uint8], str]
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime) as process:
        wait_until_reading(onlooker, camera)
        new = read_until(onlooker, camera, card[0], "new")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with service("recognizer", runtime):
        wait_for(lambda: len(events_in_journal(runtime)) >= 2)
        end = events_in_journal(runtime)[1]
    assert (end.event_id, end.phase, end.end_reason) == (new.event_id, "end", "interrupted")


def test_the_journal_learns_what_the_broker_has(
    context: Context, runtime: Path, camera: Camera, card: tuple[NDArray[np.uint8], str]
) -> None:
    onlooker = Onlooker(context, runtime)
    bridge = Publisher(context, runtime / "run", "bridge")
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        read_until(onlooker, camera, card[0], "new")
        reader = JournalReader(runtime / "state" / "recognizer" / "journal.sqlite3")
        [entry] = reader.read(0)
        bridge.publish("bridge.cursor", JournalCursor(delivered={"another journal": 99}))

        def told() -> bool:
            bridge.publish("bridge.cursor", JournalCursor(delivered={reader.id: entry.number}))
            bridge.answer_subscriptions()
            return undelivered(runtime, "recognizer") == 0

        assert undelivered(runtime, "recognizer") == 1
        wait_for(told)
        reader.close()
    bridge.close()


def test_given_boxes_are_read_and_empty_ones_are_told_apart(context: Context, runtime: Path) -> None:
    boxes = tuple(Box(x=11 + 100 * index, y=51, width=98, height=98) for index in range(5))
    canvas = np.full((200, 520), 255, np.uint8)
    for index, (digit, strokes) in enumerate(zip("0462", write("0462", seed=3), strict=True)):
        del digit
        points = [[(8 + 60 * x, 8 + 80 * y) for x, y in stroke] for stroke in strokes]
        box = boxes[index]
        canvas[box.y : box.y + 98, box.x : box.x + 98] -= render(points, (98, 98), 4)
    command = RecognizerRead(image=GreyImage(width=520, height=200, pixels=canvas.tobytes()), boxes=boxes)
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        onlooker.wait(lambda: "recognizer" in onlooker.health)
        reply = onlooker.commands.send(command, deadline_s=PATIENCE_S)
    assert reply.status == "ok", reply.error
    result = RecognizerRead.result.model_validate(reply.data)
    assert "".join(digit.label if digit else "-" for digit in result.digits) == "0462-"
    assert [event.phase for event in events_in_journal(runtime)] == []


def test_without_frames_it_says_so_and_recovers(context: Context, runtime: Path, camera: Camera) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        onlooker.wait_state("recognizer", "degraded", "No frames come")
        camera.show(EMPTY)
        onlooker.wait_state("recognizer", "ready")


def test_a_camera_that_is_switched_off_is_not_missed(context: Context, runtime: Path, camera: Camera) -> None:
    onlooker = Onlooker(context, runtime)

    def until(capture: ServiceState, state: str, reason: str) -> None:
        """While capture says again and again how it is."""

        def is_so() -> bool:
            camera.say(capture, "The camera is switched off" if capture == "off" else "")
            beat = onlooker.health["recognizer"]
            return beat.state == state and reason in beat.reason

        onlooker.wait(is_so, f"{state}: {reason}")

    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        until("off", "ready", "No frames come. The camera is switched off")
        assert "degraded" not in {beat.state for beat in onlooker.of("health")}
        until("degraded", "degraded", "No frames come; see the state of capture")
        until("off", "ready", "switched off")
        onlooker.wait_state("recognizer", "degraded", "see the state of capture")  # nobody says so any more


def test_a_model_that_cannot_be_used_is_named_and_reading_goes_on(
    context: Context, runtime: Path, camera: Camera
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime, RECOGNIZER__BUNDLE=str(runtime / "nothing")):
        wait_until_reading(onlooker, camera)
        onlooker.wait_state("recognizer", "degraded", "recognizer.bundle")


@pytest.mark.parametrize("damage", ["ring", "slot", "generation", "height"])
def test_a_frame_that_is_not_there_is_counted_and_the_next_is_read(
    context: Context, runtime: Path, camera: Camera, damage: str
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        wrong = {"ring": "../../etc/passwd", "slot": -1, "generation": 10**6, "height": 10**6}[damage]
        good = onlooker.of("frame")[-1]
        camera._publisher.publish("frame", good.model_copy(update={damage: wrong}))
        onlooker.wait(lambda: "recognizer" in onlooker.health)  # it reads before its first heartbeat
        onlooker.wait(lambda: onlooker.health["recognizer"].counters.get("frames_gone", 0) >= 1)
        number = camera.show(EMPTY)
        onlooker.wait(lambda: onlooker.of("reading")[-1].frame_id == number)


def test_a_full_disk_does_not_stop_reading_and_is_said(
    context: Context, runtime: Path, camera: Camera, card: tuple[NDArray[np.uint8], str]
) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime):
        wait_until_reading(onlooker, camera)
        path = runtime / "state" / "recognizer" / "journal.sqlite3"
        blocker = sqlite3.connect(path, isolation_level=None)  # refuses writes as a full disk does
        blocker.execute("BEGIN IMMEDIATE")
        read_until(onlooker, camera, card[0], "new")
        onlooker.wait_state(
            "recognizer", "degraded", "can't be written to the journal: another program holds"
        )
        blocker.execute("ROLLBACK")
        blocker.close()
        onlooker.wait(lambda: any(event.phase == "end" for event in onlooker.of("reading.event")))
        onlooker.wait(lambda: (camera.show(EMPTY), onlooker.health["recognizer"].state == "ready")[1])
    assert [event.phase for event in events_in_journal(runtime)] == ["new", "end"]


def test_it_needs_no_tensorflow(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime) as process:
        onlooker.wait(lambda: "recognizer" in onlooker.health)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "tensorflow" not in maps.replace("tensorflowlite", "")
