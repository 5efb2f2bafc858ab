"""The canvas: who may draw what, what is refused, what an undo takes back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.command import CommandRefused
from messages.message import encode
from messages.pad import (
    HEIGHT,
    MAX_CANVAS_BYTES,
    MAX_CANVAS_POINTS,
    MAX_STROKE_POINTS,
    WIDTH,
    PadCanvas,
    PadChange,
)
from messages.pad_follower import PadFollower
from services.pad import canvas as canvas_module
from services.pad.canvas import MAX_OPEN, Canvas

DOT = [(60.0, 100.0)]


def points_of(canvas: Canvas) -> list[list[tuple[float, float]]]:
    return [stroke.points for stroke in canvas.strokes]


def code_of(caught: pytest.ExceptionInfo[CommandRefused]) -> str:
    return caught.value.code


def test_a_stroke_grows_point_by_point_and_is_then_finished() -> None:
    canvas = Canvas()
    canvas.begin("a", "me", None, [(10.0, 20.0)])
    canvas.extend("a", "me", [(11.0, 21.0), (12.0, 22.0)], end=False)
    change = canvas.extend("a", "me", [(13.0, 23.0)], end=True)
    assert points_of(canvas) == [[(10, 20), (11, 21), (12, 22), (13, 23)]]
    assert (change.kind, change.revision, change.finished) == ("end", 3, True)
    with pytest.raises(CommandRefused) as caught:
        canvas.extend("a", "me", DOT, end=False)
    assert code_of(caught) == "finished"


def test_nobody_goes_on_with_a_stroke_that_is_not_theirs_or_not_there() -> None:
    canvas = Canvas()
    canvas.begin("a", "me", None, DOT)
    with pytest.raises(CommandRefused) as caught:
        canvas.extend("a", "you", [(1.0, 1.0)], end=False)
    assert code_of(caught) == "not-yours"
    with pytest.raises(CommandRefused) as caught:
        canvas.extend("b", "me", [(1.0, 1.0)], end=False)
    assert code_of(caught) == "no-such-stroke"
    with pytest.raises(CommandRefused) as caught:
        canvas.begin("a", "you", None, DOT)
    assert code_of(caught) == "stroke-exists"
    assert points_of(canvas) == [DOT]


def test_points_are_kept_as_finely_as_they_are_drawn_and_none_twice_in_a_row() -> None:
    canvas = Canvas()
    canvas.begin("a", "me", None, [(10.01, 20.0), (10.02, 20.0), (10.5, 20.04), (519.999, 199.999)])
    assert points_of(canvas) == [[(10.0, 20.0), (10.5, 20.0625), (519.9375, 199.9375)]]


def test_a_full_canvas_and_a_full_stroke_refuse_and_stay_as_they_were() -> None:
    canvas = Canvas()
    line = [(float(x % WIDTH), float(x % HEIGHT)) for x in range(MAX_STROKE_POINTS)]
    for number in range(MAX_CANVAS_POINTS // MAX_STROKE_POINTS):
        canvas.begin(f"stroke {number}", "me", None, line, whole=True)
    before = points_of(canvas), canvas.revision
    with pytest.raises(CommandRefused) as caught:
        canvas.begin("one more", "me", None, DOT, whole=True)
    assert code_of(caught) == "canvas-full"
    assert (points_of(canvas), canvas.revision) == before
    canvas.erase("me", None)
    canvas.begin("long", "me", None, line)
    with pytest.raises(CommandRefused) as caught:
        canvas.extend("long", "me", DOT, end=True)
    assert code_of(caught) == "stroke-full"
    assert points_of(canvas) == [line]


def test_only_so_many_strokes_are_drawn_at_once() -> None:
    canvas = Canvas()
    for number in range(MAX_OPEN):
        canvas.begin(str(number), "me", None, DOT)
    with pytest.raises(CommandRefused) as caught:
        canvas.begin("one more", "me", None, DOT)
    assert code_of(caught) == "too-many-hands"
    canvas.begin("a dot", "me", None, DOT, whole=True)


@pytest.mark.parametrize("finished", [False, True])
def test_a_cancelled_stroke_was_never_there(finished: bool) -> None:
    canvas = Canvas()
    canvas.begin("kept", "me", None, DOT, whole=True)
    canvas.begin("palm", "me", None, [(30.0, 100.0)], whole=finished)
    with pytest.raises(CommandRefused) as caught:
        canvas.cancel("palm", "you")
    assert code_of(caught) == "not-yours"
    change = canvas.cancel("palm", "me")
    assert (change.kind, change.removed) == ("undo", ("palm",))
    assert [stroke.id for stroke in canvas.strokes] == ["kept"]
    with pytest.raises(CommandRefused) as caught:
        canvas.cancel("palm", "me")
    assert code_of(caught) == "no-such-stroke"
    assert canvas.undo("me").removed == ("kept",), "what was cancelled can't be undone"


def test_a_hand_that_vanishes_leaves_a_finished_stroke(monkeypatch: pytest.MonkeyPatch) -> None:
    canvas = Canvas()
    canvas.begin("a", "me", None, DOT)
    assert canvas.let_go() == []
    monkeypatch.setattr(canvas_module, "LET_GO_AFTER_S", -1.0)
    [change] = canvas.let_go()
    assert (change.kind, change.stroke, change.finished) == ("end", "a", True)
    assert [stroke.finished for stroke in canvas.strokes] == [True]
    assert canvas.let_go() == []


def test_each_hand_takes_back_its_own() -> None:
    canvas = Canvas()
    canvas.begin("mine", "me", None, [(30.0, 100.0)], whole=True)
    canvas.begin("yours", "you", None, [(430.0, 100.0)], whole=True)
    canvas.undo("me")
    assert points_of(canvas) == [[(430.0, 100.0)]]
    with pytest.raises(CommandRefused) as caught:
        canvas.undo("me")
    assert code_of(caught) == "nothing-to-undo"
    canvas.undo(None)
    assert points_of(canvas) == []


def test_an_erasing_is_taken_back_and_the_stroke_is_whole_again() -> None:
    canvas = Canvas()
    line = [(5.0, 100.0), (515.0, 100.0)]
    canvas.begin("line", "me", None, line, whole=True)
    canvas.erase("you", 1)
    canvas.erase("you", 3)
    assert len(canvas.strokes) == 3
    canvas.undo("you")
    assert len(canvas.strokes) == 2
    canvas.undo("you")
    assert points_of(canvas) == [line]


def test_pieces_of_an_undone_stroke_go_too_and_do_not_come_back() -> None:
    canvas = Canvas()
    canvas.begin("line", "me", None, [(5.0, 100.0), (515.0, 100.0)], whole=True)
    canvas.erase("you", 2)
    canvas.undo("me")
    assert points_of(canvas) == []
    with pytest.raises(CommandRefused):
        canvas.undo("you")
    assert points_of(canvas) == []


def test_writing_replaces_only_the_boxes_written_into_and_is_one_deed() -> None:
    canvas = Canvas()
    canvas.begin("first", "me", None, [(60.0, 100.0)], whole=True)
    canvas.begin("third", "me", None, [(260.0, 100.0)], whole=True)
    canvas.put("write", "hand", [[(55.0, 90.0)], [(65.0, 90.0)]], None, [0])
    assert points_of(canvas) == [[(260.0, 100.0)], [(55.0, 90.0)], [(65.0, 90.0)]]
    canvas.undo("hand")
    assert sorted(points_of(canvas)) == [[(60.0, 100.0)], [(260.0, 100.0)]]


def test_erasing_nothing_is_no_change() -> None:
    canvas = Canvas()
    assert canvas.erase("me", None) is None
    canvas.begin("a", "me", None, DOT, whole=True)
    assert canvas.erase("me", 4) is None
    assert canvas.revision == 1


class Hands:
    """Any hands, doing anything."""

    steps = st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.integers(0, 5), st.sampled_from(["me", "you"])),
            st.tuples(st.just("extend"), st.integers(0, 5), st.sampled_from(["me", "you"])),
            st.tuples(st.just("end"), st.integers(0, 5), st.sampled_from(["me", "you"])),
            st.tuples(st.just("erase"), st.integers(-1, 4), st.sampled_from(["me", "you"])),
            st.tuples(st.just("undo"), st.just(0), st.sampled_from(["me", "you", None])),
            st.tuples(st.just("write"), st.integers(0, 4), st.just("hand")),
            st.tuples(st.just("play"), st.just(0), st.just("hand")),
        ),
        max_size=40,
    )

    @staticmethod
    def do(canvas: Canvas, step: tuple[str, int, str | None], rnd: st.DataObject) -> PadChange | None:
        what, number, author = step
        points = rnd.draw(
            st.lists(st.tuples(st.floats(0, 519), st.floats(0, 199)), min_size=1, max_size=8), label="points"
        )
        if what == "begin":
            return canvas.begin(str(number), str(author), None, points)
        if what in ("extend", "end"):
            return canvas.extend(str(number), str(author), points, end=what == "end")
        if what == "erase":
            return canvas.erase(str(author), None if number < 0 else number)
        if what == "undo":
            return canvas.undo(author)
        return canvas.put(
            "write" if what == "write" else "play",
            "hand",
            [points],
            None,
            [number] if what == "write" else None,
        )


def message_of(canvas: Canvas) -> PadCanvas:
    return PadCanvas(
        revision=canvas.revision,
        brush=canvas.brush,
        automatic=True,
        text="-----",
        read_revision=0,
        strokes=tuple(stroke.message() for stroke in canvas.strokes),
    ).stamped("pad", "boot", 1)


@settings(max_examples=60, deadline=None)
@given(Hands.steps, st.data())
def test_whoever_follows_the_changes_has_the_same_canvas(
    steps: list[tuple[str, int, str | None]], data: st.DataObject
) -> None:
    canvas, follower = Canvas(), PadFollower()
    follower.canvas(message_of(canvas))
    for step in steps:
        before = points_of(canvas), canvas.revision
        try:
            change = Hands.do(canvas, step, data)
        except CommandRefused:
            assert (points_of(canvas), canvas.revision) == before
            continue
        if change is not None:
            follower.change(change.stamped("pad", "boot", change.revision))
        assert follower.in_step
        assert follower.strokes == {stroke.id: stroke.message() for stroke in canvas.strokes}


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_canvas_always_fits_its_message(data: st.DataObject) -> None:
    canvas = Canvas()
    length = data.draw(st.sampled_from([1, 2, 17, 400, 1000]))
    author = data.draw(st.sampled_from(["a", "é" * 32, '"' * 32, "😀" * 32]))
    refusals = []
    for number in range(5000):
        line = [((number + 7.0625 * x) % WIDTH, (number * 3.0625 + x) % HEIGHT) for x in range(length)]
        try:
            canvas.begin(f"{number:040}", author, 12, line, whole=True)
        except CommandRefused as refused:
            refusals.append(refused.code)
            break
    assert refusals == ["canvas-full"]
    assert len(encode(message_of(canvas))) <= MAX_CANVAS_BYTES
