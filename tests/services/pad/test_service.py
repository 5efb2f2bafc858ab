"""The pad as a process, with its recognizer: what any program on the bus gets."""

from __future__ import annotations

import base64
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq

from messages.bus import Subscriber, endpoint
from messages.command import Command
from messages.journal_reader import JournalReader
from messages.message import decode
from messages.pad import BOXES, HEIGHT, WIDTH, PadCanvas, PadResult, inside
from messages.pad_commands import (
    PadAutomatic,
    PadBrush,
    PadErase,
    PadPlay,
    PadReading,
    PadRecognize,
    PadShow,
    PadStrokeCommand,
    PadUndo,
    PadViews,
    PadWrite,
    PadWritten,
)
from messages.pad_follower import PadFollower
from models.bundle.bundle import Bundle
from models.inference.normalise import normalise
from models.inference.runtime import Classifier
from models.ink.strokes import render
from services.pad.canvas import LET_GO_AFTER_S
from services.pad.writing import written
from services.recognizer.service import FACTORY_BUNDLE
from tests.conftest import PATIENCE_S, wait_for
from tests.services.pad.conftest import Context, Pad
from tests.services.processes import Onlooker, service

SCRIBBLE = ((25, 65), (90, 135), (90, 65), (25, 135), (25, 65), (90, 65), (90, 135), (25, 135))


def journal(runtime: Path) -> list[PadResult]:
    reader = JournalReader(runtime / "state" / "pad" / "journal.sqlite3")
    try:
        return [decode(PadResult, entry.payload) for entry in reader.read(0)]
    finally:
        reader.close()


class Watcher:
    """A client that only looks, and counts the changes that come to it."""

    def __init__(self, pad: Pad) -> None:
        topics = ("pad.canvas", "pad.stroke")
        self.subscriber = Subscriber(pad.context, pad.runtime / "run", topics, ("pad",))
        self.follower = PadFollower()
        self.changes: list[int] = []

    def look(self) -> PadFollower:
        for row, message in self.subscriber.receive():
            if row.name == "pad.canvas":
                self.follower.canvas(message)
            else:
                self.follower.change(message)
                self.changes.append(message.revision)
        return self.follower


def canvas_of_another_run(onlooker: Onlooker, boot_id: str) -> PadCanvas:
    """The first canvas of a pad that was started since."""

    def others() -> list[PadCanvas]:
        return [each for each in onlooker.of("pad.canvas") if each.boot_id != boot_id]

    return onlooker.wait(others)[0]


# reading


def test_what_is_written_is_read_and_the_same_seed_writes_the_same(pad: Pad) -> None:
    first = pad.result(PadWrite(digits="06234", seed=1), PadWritten)
    assert pad.read() == "06234"
    strokes = pad.strokes()
    pad.ask(PadErase())
    again = pad.result(PadWrite(digits="06234", seed=1), PadWritten)
    assert (first.seed, again.seed) == (1, 1)
    assert pad.strokes() == strokes
    assert pad.result(PadWrite(digits="06234"), PadWritten).seed != 1
    assert pad.strokes() != strokes


def test_a_result_names_digit_confidence_and_runner_up_and_an_empty_box(pad: Pad) -> None:
    pad.ask(PadWrite(digits="06-34", seed=1))
    reading = pad.result(PadRecognize(), PadReading)
    assert reading.text == "06-34"
    assert reading.model is not None
    for label, digit in zip("06-34", reading.digits, strict=True):
        assert digit.label == label
        if label == "-":
            assert (digit.confidence, digit.runner_up) == (1.0, "")
        else:
            assert digit.runner_up != label
            assert digit.runner_up_confidence < digit.confidence <= 1


def test_a_scribble_is_doubtful(pad: Pad) -> None:
    pad.ask(PadStrokeCommand(points=SCRIBBLE))
    assert pad.read() == "?----"


def test_a_box_that_is_all_ink_is_not_taken_for_an_empty_one(pad: Pad) -> None:
    pad.ask(PadBrush(radius=12))
    pad.ask(PadStrokeCommand(points=tuple((x, y) for y in range(51, 150, 8) for x in (23, 96))))
    assert pad.read() == "?----"


def test_it_is_read_while_somebody_draws_and_always_after_the_last_stroke(pad: Pad) -> None:
    _, strokes = written("7", seed=2)
    points = tuple(strokes[0])
    pad.ask(PadStrokeCommand(phase="begin", stroke="s", points=points[:2]))
    for place in range(2, len(points), 4):
        pad.ask(PadStrokeCommand(phase="extend", stroke="s", points=points[place : place + 4]))
    pad.ask(PadStrokeCommand(phase="end", stroke="s"))
    revision = pad.onlooker.wait(
        lambda: [each for each in pad.onlooker.of("pad.stroke") if each.kind == "end"]
    )
    pad.onlooker.wait(lambda: pad.wait_reading("7----").revision == revision[-1].revision)
    assert pad.wait_reading("7----").automatic


def test_reading_while_drawing_can_be_switched_off_and_on(pad: Pad) -> None:
    pad.ask(PadAutomatic(on=False))
    revision = pad.result(PadWrite(digits="1", seed=3), PadWritten).revision
    assert pad.read() == "1----"  # whoever asks is answered
    readings = pad.onlooker.of("pad.reading")
    assert all(result.revision < revision or not result.automatic for result in readings)
    pad.ask(PadWrite(digits="-2", seed=3))
    pad.ask(PadAutomatic(on=True))
    assert pad.wait_reading("12---").automatic


def test_only_what_was_asked_for_or_stands_is_kept_as_a_result(pad: Pad) -> None:
    before = len(journal(pad.runtime))
    for digits in ("1", "12", "123"):
        pad.ask(PadWrite(digits=digits, seed=4))
    assert pad.read() == "123--"  # asked
    pad.onlooker.wait(lambda: len(journal(pad.runtime)) > before)
    pad.ask(PadWrite(digits="---45", seed=4))
    pad.onlooker.wait(lambda: len(journal(pad.runtime)) > before + 1)  # rests
    results = journal(pad.runtime)[before:]
    assert [(result.text, result.automatic) for result in results] == [("123--", False), ("12345", True)]
    ids = [result.event_id for result in results]
    pad.onlooker.wait(lambda: [result.event_id for result in pad.onlooker.of("pad.result")] == ids)


def test_show_gives_the_crops_that_the_model_sees_and_what_it_makes_of_them(pad: Pad) -> None:
    pad.ask(PadWrite(digits="06-34", seed=5))
    views = pad.result(PadShow(), PadViews)
    ink = render(pad.strokes(), (WIDTH, HEIGHT), 4)
    classifier = Classifier(Bundle.load(FACTORY_BUNDLE))
    for index, view in enumerate(views.boxes):
        box = inside(index)
        crop = normalise(np.ascontiguousarray(ink[box.y : box.y + box.height, box.x : box.x + box.width]))
        assert view.crop.pixels == crop.tobytes()
        if index == 2:
            assert not crop.any()
            assert view.probabilities == ()
        else:
            np.testing.assert_allclose(view.probabilities, classifier.classify(crop[None])[0], atol=2e-5)


def test_a_played_line_reads_as_the_model_says_offline_and_others_do_not_come_between(pad: Pad) -> None:
    classifier = Classifier(Bundle.load(FACTORY_BUNDLE))
    stop = threading.Event()

    def scribble() -> None:
        client = pad.new_client()
        while not stop.is_set():
            client.send(PadStrokeCommand(points=SCRIBBLE, author="another"))
        client.close()

    other = threading.Thread(target=scribble)
    other.start()
    try:
        for seed in range(20):
            strokes = tuple(tuple(stroke) for stroke in written(f"{seed * 4937 % 100000:05}", seed)[1])
            reading = pad.result(PadPlay(strokes=strokes), PadReading)
            ink = render(strokes, (WIDTH, HEIGHT), 4)
            crops = np.stack(
                [normalise(ink[box.y : box.y + 98, box.x : box.x + 98]) for box in map(inside, range(BOXES))]
            )
            rows = classifier.classify(crops)
            np.testing.assert_allclose(
                [digit.confidence for digit in reading.digits], rows.max(axis=1), atol=2e-5
            )
            for digit, row in zip(reading.digits, rows, strict=True):
                assert digit.label in ("?", str(row.argmax()))
    finally:
        stop.set()
        other.join()


# what is refused


def raw(pad: Pad, verb: str, content: str) -> dict[str, str]:
    """The refusal of a command that our own classes would not let out."""
    socket = pad.context.socket(zmq.DEALER)
    socket.connect(endpoint(pad.runtime / "run", "pad", "command"))
    try:
        socket.send_multipart((b"1", verb.encode(), b"", content.encode()))
        assert socket.poll(10_000)
        reply = json.loads(socket.recv_multipart()[1])
        assert reply["status"] == "error", reply
        error: dict[str, str] = reply["error"]
        return error
    finally:
        socket.close(linger=0)


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ("[[-1, 100]]", "outside the canvas"),
        ("[[100, 100], [520, 100]]", "point 2"),
        ("[[100, 200]]", "outside the canvas"),
        ("[[1e300, 100]]", "outside the canvas"),
        ("[[NaN, 100]]", "finite"),
        ("[[Infinity, 100]]", "finite"),
        ('[["10", 100]]', "number"),
        ("[[true, 100]]", "number"),
        ("[[null, 100]]", "number"),
        ("[[10]]", "required"),
        ("[[10, 20, 30]]", "2 items"),
        ("[]", "at least one point"),
        ("7", "array"),
        (json.dumps([[x % 500, 100] for x in range(1001)]), "1000"),
    ],
)
def test_strokes_that_cannot_be_drawn_are_refused_with_the_reason_and_nothing_is_drawn(
    pad: Pad, points: str, why: str
) -> None:
    revision = pad.ask(PadErase())["revision"]
    for content in (f'{{"points": {points}}}', f'{{"phase": "begin", "points": {points}}}'):
        error = raw(pad, "pad.stroke", content)
        assert error["code"] == "malformed"
        assert why in error["message"]
    if points != "[]":
        assert raw(pad, "pad.play", f'{{"strokes": [[[5, 5]], {points}]}}')["code"] == "malformed"
    assert pad.strokes() == []
    assert pad.ask(PadErase())["revision"] == revision


@pytest.mark.parametrize(
    ("verb", "content"),
    [
        ("pad.erase", '{"box": 0}'),
        ("pad.erase", '{"box": 6}'),
        ("pad.write", '{"digits": "123456"}'),
        ("pad.write", '{"digits": "12a"}'),
        ("pad.write", '{"digits": ""}'),
        ("pad.write", '{"digits": "1", "seed": -1}'),
        ("pad.brush", '{"radius": 0}'),
        ("pad.brush", '{"radius": 13}'),
        ("pad.automatic", '{"on": "perhaps"}'),
        ("pad.stroke", '{"points": [[1, 1]], "author": "\\u0007"}'),
        ("pad.stroke", '{"points": [[1, 1]], "stroke": "with space"}'),
        ("pad.stroke", '{"points": [[1, 1]], "colour": "red"}'),
        ("pad.nothing", "{}"),
    ],
)
def test_other_nonsense_is_refused_too(pad: Pad, verb: str, content: str) -> None:
    assert raw(pad, verb, content)["code"] in ("malformed", "unknown-verb")


def test_a_full_canvas_says_so(pad: Pad) -> None:
    line = tuple((x % WIDTH, x % HEIGHT) for x in range(1000))
    for _ in range(4):
        pad.ask(PadStrokeCommand(points=line))
    assert pad.refusal(PadStrokeCommand(points=((1, 1),))) == "canvas-full"
    assert len(pad.strokes()) == 4
    pad.ask(PadUndo())
    pad.ask(PadStrokeCommand(points=((1, 1),)))


# many hands


def test_two_who_draw_at_once_both_get_their_strokes(pad: Pad) -> None:
    def draw(author: str, y: float) -> Callable[[], None]:
        def draws() -> None:
            client = pad.new_client()
            send: Callable[[Command], object] = lambda command: client.send(command, 20)  # noqa: E731
            for number in range(10):
                name = f"{author}-{number}"
                send(PadStrokeCommand(phase="begin", stroke=name, author=author, points=((10 + number, y),)))
                for x in range(1, 6):
                    point = ((10 + number + 80 * x, y),)
                    send(PadStrokeCommand(phase="extend", stroke=name, author=author, points=point))
                send(PadStrokeCommand(phase="end", stroke=name, author=author))
            client.close()

        return draws

    hands = [threading.Thread(target=draw("one", 60.0)), threading.Thread(target=draw("other", 140.0))]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    wanted = [
        tuple((10.0 + number + 80 * x, y) for x in range(6)) for y in (60.0, 140.0) for number in range(10)
    ]
    assert sorted(pad.strokes()) == sorted(wanted)


def test_a_hand_that_vanishes_in_mid_stroke_leaves_a_finished_stroke(pad: Pad) -> None:
    pad.ask(PadStrokeCommand(phase="begin", stroke="s", author="gone", points=((30, 60), (30, 140))))
    ended = pad.onlooker.wait(
        lambda: [change for change in pad.onlooker.of("pad.stroke") if change.kind == "end"],
        within_s=LET_GO_AFTER_S + 15,
    )
    assert (ended[0].stroke, ended[0].author, ended[0].finished) == ("s", "gone", True)
    assert (
        pad.refusal(PadStrokeCommand(phase="extend", stroke="s", author="gone", points=((1, 1),)))
        == "finished"
    )
    assert pad.strokes() == [((30, 60), (30, 140))]


def test_fifty_who_watch_lose_no_stroke_and_one_who_comes_late_gets_everything(pad: Pad) -> None:
    watchers = [Watcher(pad) for _ in range(50)]
    pad.ask(PadBrush(radius=5))  # a new canvas for all

    def all_see(revision: int) -> bool:
        seen = [watcher.look() for watcher in watchers]
        return all(each.in_step and each.revision >= revision for each in seen)

    start = int(str(pad.ask(PadStrokeCommand(points=((1, 1),)))["revision"]))
    wait_for(lambda: all_see(start), what="all to be in step")
    for number in range(100):
        pad.ask(PadStrokeCommand(points=((5 * number, 10), (5 * number, 190))))
    watchers.append(Watcher(pad))
    wait_for(lambda: all_see(start + 100), what="all to see all")
    truth = pad.strokes()
    for watcher in watchers:
        assert [stroke.points for stroke in watcher.follower.strokes.values()] == truth
        assert sum(watcher.subscriber.missed.values()) == 0
    for watcher in watchers[:-1]:
        assert [each for each in watcher.changes if each > start] == list(range(start + 1, start + 101))
    for watcher in watchers:
        watcher.subscriber.close()


# staying


def test_the_canvas_survives_a_restart_and_a_kill(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime) as process:
        onlooker.wait(lambda: "pad" in onlooker.health)
        onlooker.commands.send(PadStrokeCommand(points=((1, 2), (3, 4)), author="me"), 10)
        onlooker.commands.send(PadBrush(radius=7), 10)
        onlooker.commands.send(PadAutomatic(on=False), 10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    boot_id = onlooker.of("pad.canvas")[-1].boot_id
    for how in (signal.SIGKILL, signal.SIGTERM):
        onlooker.heard.clear()
        with service("pad", runtime) as process:
            canvas = canvas_of_another_run(onlooker, boot_id)
            boot_id = canvas.boot_id
            assert [(stroke.author, stroke.points) for stroke in canvas.strokes] == [("me", ((1, 2), (3, 4)))]
            assert (canvas.brush, canvas.automatic) == (7, False)
            process.send_signal(how)
            process.wait(PATIENCE_S)


def test_what_was_drawn_a_second_before_a_kill_is_there_after_it(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime) as process:
        onlooker.wait(lambda: "pad" in onlooker.health)
        onlooker.commands.send(PadStrokeCommand(phase="begin", stroke="s", points=((1, 2),)), 10)
        kept = runtime / "state" / "pad" / "canvas.json"
        wait_for(lambda: kept.exists() and json.loads(kept.read_bytes())["strokes"])
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    boot_id = onlooker.of("pad.canvas")[-1].boot_id
    with service("pad", runtime):
        canvas = canvas_of_another_run(onlooker, boot_id)
        assert [(stroke.points, stroke.finished) for stroke in canvas.strokes] == [(((1, 2),), True)]
        assert onlooker.commands.send(PadUndo(), 10).error is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"strokes": [{"id": 7}]}', b"\xff" * 300_000])
def test_a_damaged_file_begins_an_empty_canvas(context: Context, runtime: Path, content: bytes) -> None:
    folder = runtime / "state" / "pad"
    folder.mkdir(parents=True)
    (folder / "canvas.json").write_bytes(content)
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime):
        assert onlooker.wait(lambda: onlooker.of("pad.canvas"))[-1].strokes == ()
        onlooker.commands.send(PadStrokeCommand(points=((1, 2),)), 10)
        [aside] = wait_for(lambda: list(folder.glob("canvas.json.unread-*")))
        assert aside.read_bytes() == content


def test_a_canvas_that_cannot_be_read_now_is_not_replaced_and_taken_up_when_it_can(
    context: Context, runtime: Path
) -> None:
    kept = runtime / "state" / "pad" / "canvas.json"
    kept.mkdir(parents=True)  # what is no file can't be read
    onlooker = Onlooker(context, runtime)
    for _ in range(2):  # nor does a stop replace it
        with service("pad", runtime):
            onlooker.wait_state("pad", "degraded", "The canvas can't be read")
        onlooker.wait_state("pad", "stopped")
        assert kept.is_dir()
    with service("pad", runtime):
        onlooker.wait_state("pad", "degraded", "The canvas can't be read")
        kept.rmdir()
        kept.write_text('{"revision": 7, "brush": 4}')
        assert onlooker.wait(lambda: [each for each in onlooker.of("pad.canvas") if each.revision == 7])
        onlooker.wait(lambda: "canvas" not in onlooker.health["pad"].reason)


def test_a_canvas_that_could_not_be_read_is_set_aside_when_somebody_draws(
    context: Context, runtime: Path
) -> None:
    kept = runtime / "state" / "pad" / "canvas.json"
    kept.mkdir(parents=True)
    (kept / "inside").touch()
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime):
        onlooker.wait_state("pad", "degraded", "The canvas can't be read")
        assert onlooker.commands.send(PadStrokeCommand(points=((1, 2),)), 10).error is None
        wait_for(kept.is_file)
        [aside] = kept.parent.glob("canvas.json.unread-*")
        assert (aside / "inside").exists()


def test_where_the_canvas_cannot_be_kept_it_says_so_and_goes_on(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime):
        onlooker.wait(lambda: "pad" in onlooker.health)
        (runtime / "state" / "pad" / ".canvas.json.new").mkdir()  # no file can be written there
        onlooker.commands.send(PadStrokeCommand(points=((1, 2),)), 10)
        onlooker.wait_state("pad", "degraded", "can't be kept")
        assert onlooker.commands.send(PadStrokeCommand(points=((5, 6),)), 10).error is None


def test_without_a_recognizer_it_says_so_and_reads_when_that_is_back(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("pad", runtime):
        onlooker.wait_state("pad", "degraded", "recognizer is not running")
        onlooker.commands.send(PadWrite(digits="-4", seed=1), 10)
        blind = onlooker.wait(lambda: [each for each in onlooker.of("pad.reading") if each.problem])[-1]
        assert blind.text == "-?---"
        assert "recognizer is not running" in blind.problem
        refused = onlooker.commands.send(PadRecognize(), 10)
        assert refused.error is not None
        assert refused.error.code == "unread"
        with service("recognizer", runtime) as recognizer:
            seen = onlooker.wait(
                lambda: [each for each in onlooker.of("pad.reading") if each.text == "-4---"],
                "read when back",
            )
            assert seen[-1].problem == ""
            onlooker.wait_state("pad", "ready")
            recognizer.send_signal(signal.SIGKILL)
            recognizer.wait()
        onlooker.wait_state("pad", "degraded", "recognizer is not running")
        onlooker.commands.send(PadErase(), 10)
        empty = onlooker.wait(
            lambda: [each for each in onlooker.of("pad.reading") if each.text == "-----"][-1:]
        )
        assert empty[0].problem == ""  # nothing is there to be read


def test_a_recognizer_that_hangs_holds_up_no_stroke(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("recognizer", runtime) as recognizer, service("pad", runtime):
        onlooker.wait_state("pad", "ready")
        recognizer.send_signal(signal.SIGSTOP)
        try:
            longest = 0.0
            for number in range(30):
                started = time.monotonic()
                reply = onlooker.commands.send(PadStrokeCommand(points=((number, 2), (number, 90))), 10)
                longest = max(longest, time.monotonic() - started)
                assert reply.error is None
            onlooker.wait(lambda: [each for each in onlooker.of("pad.reading") if each.problem])
            assert longest < 1.4  # it never waited for the recognizer's deadline
        finally:
            recognizer.send_signal(signal.SIGCONT)
        onlooker.wait(lambda: not onlooker.of("pad.reading")[-1].problem)


def test_crops_come_as_base64_like_all_pixels(pad: Pad) -> None:
    pad.ask(PadWrite(digits="1", seed=1))
    [crop, *_] = [box["crop"] for box in pad.ask(PadShow())["boxes"]]  # type: ignore[attr-defined]
    assert len(base64.urlsafe_b64decode(crop["pixels"])) == crop["width"] * crop["height"] == 28 * 28
