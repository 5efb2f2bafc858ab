"""A client in step with the pad, whatever comes first, twice or never."""

from __future__ import annotations

from datetime import UTC, datetime

from messages.pad import PadCanvas, PadChange, PadStroke
from messages.pad_follower import PadFollower

NOW = datetime.fromtimestamp(0, UTC)


def stroke(name: str, *points: tuple[float, float], finished: bool = True) -> PadStroke:
    return PadStroke(id=name, author="me", brush=4, began=NOW, points=points, finished=finished)


def canvas(revision: int, *strokes: PadStroke, boot: str = "one") -> PadCanvas:
    made = PadCanvas(
        revision=revision, brush=4, automatic=True, text="-----", read_revision=0, strokes=strokes
    )
    return made.stamped("pad", boot, revision + 1)


def drawn(revision: int, made: PadStroke, boot: str = "one") -> PadChange:
    change = PadChange(revision=revision, kind="draw", author="me", added=(made,))
    return change.stamped("pad", boot, revision)


A, B, C = stroke("a", (1, 1)), stroke("b", (2, 2)), stroke("c", (3, 3))


def test_it_begins_with_a_canvas_and_goes_on_with_changes() -> None:
    follower = PadFollower()
    assert not follower.in_step
    assert follower.canvas(canvas(3, A))
    assert follower.change(drawn(4, B))
    assert list(follower.strokes) == ["a", "b"]
    assert (follower.in_step, follower.revision) == (True, 4)


def test_changes_that_come_before_the_canvas_wait_for_it() -> None:
    follower = PadFollower()
    for change in (drawn(2, A), drawn(3, B), drawn(4, C)):
        assert not follower.change(change)
    follower.canvas(canvas(3, A, B))
    assert list(follower.strokes) == ["a", "b", "c"]
    assert follower.in_step


def test_what_comes_twice_or_is_older_changes_nothing() -> None:
    follower = PadFollower()
    follower.canvas(canvas(5, A))
    assert not follower.change(drawn(5, B))
    assert not follower.canvas(canvas(4))
    assert list(follower.strokes) == ["a"]


def test_where_a_change_is_missing_it_waits_for_the_next_canvas() -> None:
    follower = PadFollower()
    follower.canvas(canvas(1))
    assert not follower.change(drawn(3, B))
    assert not follower.in_step
    assert not follower.change(drawn(4, C))
    follower.canvas(canvas(3, A, B))
    assert follower.in_step
    assert list(follower.strokes) == ["a", "b", "c"]


def test_a_canvas_older_than_what_is_missing_does_not_help() -> None:
    follower = PadFollower()
    follower.canvas(canvas(1))
    follower.change(drawn(4, C))
    follower.canvas(canvas(2, A))
    assert not follower.in_step
    follower.canvas(canvas(4, A, B, C))
    assert follower.in_step


def test_a_pad_that_was_started_anew_is_followed_anew() -> None:
    follower = PadFollower()
    follower.canvas(canvas(9, A, B))
    assert not follower.change(drawn(2, C, boot="two"))
    assert not follower.in_step
    follower.canvas(canvas(1, A, boot="two"))
    assert (list(follower.strokes), follower.revision) == (["a", "c"], 2)


def test_a_stroke_grows_and_is_finished() -> None:
    follower = PadFollower()
    follower.canvas(canvas(1, stroke("a", (1, 1), finished=False)))
    more = PadChange(revision=2, kind="end", author="me", stroke="a", points=((2.0, 2.0),), finished=True)
    assert follower.change(more.stamped("pad", "one", 2))
    assert follower.strokes["a"] == stroke("a", (1, 1), (2, 2))


def test_clearing_and_removing() -> None:
    follower = PadFollower()
    follower.canvas(canvas(1, A, B))
    removal = PadChange(revision=2, kind="undo", author="me", removed=("a",))
    follower.change(removal.stamped("pad", "one", 2))
    assert list(follower.strokes) == ["b"]
    clearing = PadChange(revision=3, kind="play", author="me", clear=True, added=(C,))
    follower.change(clearing.stamped("pad", "one", 3))
    assert list(follower.strokes) == ["c"]
