"""The same code over several frames is one event with a beginning and an end."""

from __future__ import annotations

from services.recognizer.reading import Line, ReadDigit
from services.recognizer.track import Tracker, TrackEvent, TrackSettings

FRAME = 33_333_333
"""Nanoseconds from one frame to the next."""
SIZE = (640, 480)


def line(text: str, x: int = 200, y: int = 200, confidence: float = 0.95, height: int = 40) -> Line:
    """A code written at (x, y)."""
    return Line(
        tuple(
            ReadDigit(label, confidence if label != "?" else 0.4, "0", 0.02, (x + 30 * i, y, 24, height))
            for i, label in enumerate(text)
        )
    )


def play(
    tracker: Tracker, frames: list[list[Line]], start: int = 0, step: int = FRAME, view: str | None = None
) -> list[TrackEvent]:
    """All events of `frames`, the first captured at `start`."""
    events = []
    for number, lines in enumerate(frames):
        events += tracker.observe(lines, start + number * step, SIZE, view)
    return events


def kinds(events: list[TrackEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in events]


def test_a_code_seen_in_three_frames_is_new_once_and_ends_after_it_was_unseen_for_a_while() -> None:
    tracker = Tracker()
    assert play(tracker, [[line("06234")]] * 2) == []
    (new,) = play(tracker, [[line("06234")]] * 40, start=2 * FRAME)
    assert (new.kind, new.text, new.frames, new.first_seen_ns) == ("new", "06234", 3, 0)
    assert new.box == (200, 200, 144, 40)
    last = 41 * FRAME
    assert tracker.observe([], last + 690_000_000) == []
    (end,) = tracker.observe([], last + 710_000_000)
    assert (end.kind, end.track_id, end.frames, end.last_seen_ns) == ("end", new.track_id, 42, last)
    assert tracker.observe([], last + 5_000_000_000) == []


def test_a_slow_camera_needs_two_frames() -> None:
    events = play(Tracker(), [[line("06234")]] * 2, step=400_000_000)
    assert kinds(events) == [("new", "06234")]


def test_a_misread_frame_changes_nothing() -> None:
    frames = [[line("06234")]] * 10 + [[line("06284")]] + [[line("0623")]] + [[line("06234")]] * 10
    assert kinds(play(Tracker(), frames)) == [("new", "06234")]


def test_frames_without_the_code_do_not_end_it() -> None:
    frames = ([[line("06234")]] * 5 + [[]] * 15) * 3
    assert kinds(play(Tracker(), frames)) == [("new", "06234")]


def test_a_lasting_other_majority_is_an_update_of_the_same_track() -> None:
    events = play(Tracker(), [[line("06234")]] * 5 + [[line("06284")]] * 60)
    assert kinds(events) == [("new", "06234"), ("update", "06284")]
    assert events[0].track_id == events[1].track_id


def test_votes_count_with_their_confidence() -> None:
    sure, unsure = [line("17", confidence=0.98)], [line("11", confidence=0.55)]
    events = play(Tracker(), [sure, unsure, sure, unsure, sure, unsure, sure])
    assert kinds(events) == [("new", "17")]
    assert events[0].digit_confidences[0] > events[0].digit_confidences[1]


def test_a_moving_code_stays_one() -> None:
    frames = [[line("06234", x=80 + 12 * n, y=100 + 3 * n)] for n in range(30)]
    assert kinds(play(Tracker(), frames)) == [("new", "06234")]


def test_a_code_coming_in_from_the_side_waits_until_it_is_whole() -> None:
    """Its first digits to be seen are no code of their own."""
    text = "06234"
    frames = []
    for n in range(40):
        right = min(8 * n, 400)
        seen = min(5, max(0, (right - 10) // 30))
        frames.append([line(text[5 - seen :], x=right - 30 * seen)] if seen else [])
    assert kinds(play(Tracker(), frames)) == [("new", "06234")]


def test_a_single_digit_at_the_edge_waits_until_it_is_clear_of_it() -> None:
    tracker = Tracker()
    at_edge, inside = line("9", x=SIZE[0] - 30), line("9", x=SIZE[0] - 120)
    assert play(tracker, [[at_edge]] * 90) == []
    assert kinds(play(tracker, [[inside]] * 20, start=90 * FRAME)) == [("new", "9")]


def test_the_same_digits_at_two_places_are_two_codes() -> None:
    frames = [[line("42", x=100, y=100), line("42", x=400, y=300)]] * 20
    events = play(Tracker(), frames)
    assert kinds(events) == [("new", "42"), ("new", "42")]
    assert events[0].track_id != events[1].track_id


def test_another_code_at_the_same_place_ends_the_first_at_once() -> None:
    events = play(Tracker(), [[line("06234")]] * 10 + [[line("99175")]] * 10)
    assert kinds(events) == [("new", "06234"), ("end", "06234"), ("new", "99175")]


def test_in_another_view_everything_is_new() -> None:
    tracker = Tracker()
    first = play(tracker, [[line("06234")]] * 10, view="a.png")
    second = play(tracker, [[line("06234")]] * 10, start=10 * FRAME, view="b.png")
    assert kinds(first + second) == [("new", "06234"), ("end", "06234"), ("new", "06234")]


def test_mostly_unreadable_digits_are_no_event_and_a_single_one_needs_time() -> None:
    assert play(Tracker(), [[line("?6??4")]] * 60) == []
    (event,) = play(Tracker(), [[line("06?34")]] * 60)
    assert event.text == "06?34"
    assert event.last_seen_ns - event.first_seen_ns >= 600_000_000


def test_a_digit_read_at_last_is_an_update() -> None:
    events = play(Tracker(), [[line("06?34")]] * 30 + [[line("06234")]] * 40)
    assert kinds(events) == [("new", "06?34"), ("update", "06234")]


def test_flickering_readings_are_no_event() -> None:
    frames = [[line(text)] for text in ("17", "42", "63", "08", "95") * 12]
    assert play(Tracker(), frames) == []


def test_a_single_digit_needs_more_frames_than_a_code() -> None:
    (code,) = play(Tracker(), [[line("42")]] * 30)
    (digit,) = play(Tracker(), [[line("4")]] * 30)
    assert digit.frames > code.frames


def test_a_single_digit_that_comes_and_goes_is_no_event() -> None:
    flicker = [[line("4")], []] * 30
    assert play(Tracker(), flicker) == []
    assert kinds(play(Tracker(), [[line("42")], []] * 30)) == [("new", "42")], "a code may"


def test_time_is_that_of_capture() -> None:
    """Where a reader falls behind and then sees a burst of frames, their capture times decide."""
    tracker = Tracker()
    play(tracker, [[line("06234")]] * 5)
    assert tracker.observe([line("06234")], 4 * FRAME + 600_000_000) == []
    assert kinds(tracker.observe([line("06234")], 4 * FRAME + 1_400_000_000)) == [("end", "06234")]


def test_clutter_does_not_fill_the_memory() -> None:
    settings = TrackSettings(most_tracks=8, gone_ms=1e9)
    tracker = Tracker(settings=settings)
    play(tracker, [[line("06234", x=300, y=20)]] * 5)
    for n in range(200):
        tracker.observe([line(str(n), x=(37 * n) % 560, y=100 + (53 * n) % 330)], (5 + n) * FRAME)
    assert kinds(tracker.close()) == [("end", "06234")]


def test_closing_ends_what_is_decided() -> None:
    tracker = Tracker()
    play(tracker, [[line("06234")]] * 5 + [[line("06234"), line("71", x=100, y=400)]])
    assert kinds(tracker.close()) == [("end", "06234")]
    assert tracker.close() == []
