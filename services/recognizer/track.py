"""From readings, frame by frame, to events: one a code, from when it is decided until it has left.

A line belongs to the track whose place it takes and whose digits it mostly shares. Each frame votes for the
digits it read, weighted with their confidence; older votes fade. A track is decided once enough frames agree,
corrected when a later majority reads otherwise, and ends when it was not seen for a while. Time is that of
the frames' capture, so a slow reader or a clock that jumps changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from models.geometry import BoundingBox, intersection_over_union
from services.recognizer.reading import UNREADABLE, Line

_MS = 1_000_000
_LONGER = 1.5
"""What a vote for one digit more counts against one without it."""


@dataclass(frozen=True)
class TrackSettings:
    """When a code counts as seen, as decided and as gone."""

    decide_frames: int = 3
    """Frames that must agree; two suffice where they are `decide_ms` apart (a slow camera)."""
    decide_ms: float = 100
    lone_patience: float = 4.0
    """So many times more frames must agree on a single digit, which clutter resembles most."""
    edge_ms: float = 1500
    """A code that ends at the frame's edge may go on outside: it is decided only after this long.

    A single digit never is, there: it may be the letter that is left of a word."""
    doubtful_ms: float = 600
    """A code with a digit that stays `?` is decided only after this long."""
    gone_ms: float = 700
    """Not seen for so long, a code has left."""
    least_share: float = 0.34
    """Of the frames since a code was first seen, so many must have shown it before it is decided."""
    lone_share: float = 0.65
    """The same for a single digit: ink stays where clutter flickers."""
    fade_ms: float = 700
    """After so long a vote counts half."""
    doubtful: float = 0.5
    """A digit whose votes are less sure than this is `?`."""
    most_tracks: int = 32


@dataclass(frozen=True)
class TrackEvent:
    """A code came into view (`new`), was corrected (`update`) or left (`end`)."""

    kind: Literal["new", "update", "end"]
    track_id: int
    """The same for all events of one code."""
    text: str
    confidence: float
    """The chance that every digit is right: the product of theirs."""
    digit_confidences: tuple[float, ...]
    """Each the mean confidence of the frames' votes for it; a frame that read otherwise counts nothing."""
    first_seen_ns: int
    last_seen_ns: int
    frames: int
    """In how many frames it was seen."""
    box: BoundingBox
    """Where it was seen last."""


@dataclass
class _Ballot:
    """Votes for codes of one length."""

    weight: float = 0.0
    frames: int = 0
    votes: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Verdict:
    text: str
    confidences: tuple[float, ...]
    frames: int
    share: float


@dataclass
class _Track:
    number: int
    first_ns: int
    first_frame: int
    last_ns: int
    box: BoundingBox
    text: str
    frames: int = 0
    ballots: dict[int, _Ballot] = field(default_factory=dict)
    inside_ns: int | None = None
    """Since when it has stood clear of the frame's edges."""
    decided: _Verdict | None = None
    changed: tuple[str, int] = ("", 0)
    """A verdict other than the decided one, and for how many frames it has stood."""

    def vote(self, line: Line, captured_ns: int, fade_ms: float) -> None:
        fade = 0.5 ** ((captured_ns - self.last_ns) / _MS / fade_ms)
        for ballot in self.ballots.values():
            ballot.weight *= fade
            for votes in ballot.votes:
                for label in votes:
                    votes[label] *= fade
        for length in [length for length, ballot in self.ballots.items() if ballot.weight < 0.01]:
            del self.ballots[length]
        ballot = self.ballots.setdefault(len(line.digits), _Ballot())
        if not ballot.votes:
            ballot.votes = [{} for _ in line.digits]
        ballot.weight += 1
        ballot.frames += 1
        for digit, votes in zip(line.digits, ballot.votes, strict=True):
            votes[digit.label] = votes.get(digit.label, 0.0) + digit.confidence
        self.last_ns, self.box, self.text = captured_ns, line.box, line.text
        self.frames += 1

    def verdict(self, doubtful: float) -> _Verdict:
        # A digit is missed more often than one is invented: of two lengths, the longer needs fewer votes.
        _, ballot = max(self.ballots.items(), key=lambda item: item[1].weight * _LONGER ** item[0])
        digits, confidences = [], []
        for votes in ballot.votes:
            label = max((label for label in votes if label != UNREADABLE), key=votes.__getitem__, default="")
            confidence = min(votes.get(label, 0.0) / ballot.weight, 1.0)
            unread = min(votes.get(UNREADABLE, 0.0) / ballot.weight, 1.0)
            sure = bool(label) and confidence >= doubtful
            digits.append(label if sure else UNREADABLE)
            confidences.append(confidence if sure else max(confidence, unread))
        total = sum(other.weight for other in self.ballots.values())
        return _Verdict("".join(digits), tuple(confidences), ballot.frames, ballot.weight / total)


class Tracker:
    """Turns the lines read in each frame into events."""

    def __init__(
        self,
        *,
        decide_frames: int = 3,
        forget_ns: int = 700 * _MS,
        settings: TrackSettings | None = None,
    ) -> None:
        """`settings`, where given, takes the place of the two most common ones."""
        self.settings = settings or TrackSettings(decide_frames=decide_frames, gone_ms=forget_ns / _MS)
        self._tracks: list[_Track] = []
        self._next = 1
        self._frame = 0
        self._view: str | None = None

    def observe(
        self,
        lines: Sequence[Line],
        captured_ns: int,
        size: tuple[int, int] | None = None,
        view: str | None = None,
    ) -> list[TrackEvent]:
        """Take in what one frame shows, captured at `captured_ns`; returns what follows from it, ends first.

        `size` is the frame's (width, height): with it, a code that may go on outside the frame waits. Where
        `view` differs from the last one given (another photo, another camera), all that was seen has left. No
        lines and a later time end what is overdue while no frame comes.
        """
        events: list[TrackEvent] = []
        if view is not None and view != self._view:
            events += self.close()
            self._view = view
        events += self.expire(captured_ns)
        self._frame += 1
        for track, line in self._assign(lines):
            if track is None:
                track = self._begin(line, captured_ns)
                if track is None:
                    continue
            track.vote(line, captured_ns, self.settings.fade_ms)
            if size is not None and _at_edge(line, size):
                track.inside_ns = None
            elif track.inside_ns is None:
                track.inside_ns = captured_ns
            event = self._judge(track)
            if event is not None:
                events += self._replace(track) if event.kind == "new" else []
                events.append(event)
        return events

    def expire(self, captured_ns: int) -> list[TrackEvent]:
        """End what was not seen for `gone_ms` up to `captured_ns`."""
        limit = captured_ns - self.settings.gone_ms * _MS
        gone = [track for track in self._tracks if track.last_ns < limit]
        return self._end(gone)

    def close(self) -> list[TrackEvent]:
        """End everything: the source has changed or the reader stops."""
        return self._end(list(self._tracks))

    def _end(self, tracks: Iterable[_Track]) -> list[TrackEvent]:
        events = []
        for track in tracks:
            self._tracks.remove(track)
            if track.decided is not None:
                events.append(_event("end", track, track.decided))
        return events

    def _begin(self, line: Line, captured_ns: int) -> _Track | None:
        if len(self._tracks) >= self.settings.most_tracks:
            undecided = [track for track in self._tracks if track.decided is None]
            if not undecided:
                return None
            self._tracks.remove(min(undecided, key=lambda track: track.last_ns))
        track = _Track(self._next, captured_ns, self._frame, captured_ns, line.box, line.text)
        self._next += 1
        self._tracks.append(track)
        return track

    def _assign(self, lines: Sequence[Line]) -> list[tuple[_Track | None, Line]]:
        """Each line with its track, best matches first come first served; None where it is new."""
        scores = [
            (score, number, place)
            for number, line in enumerate(lines)
            for place, track in enumerate(self._tracks)
            if (score := _match(track, line)) > 0
        ]
        taken_lines: dict[int, _Track] = {}
        taken_tracks: set[int] = set()
        for _, number, place in sorted(scores, reverse=True):
            if number not in taken_lines and place not in taken_tracks:
                taken_lines[number] = self._tracks[place]
                taken_tracks.add(place)
        return [(taken_lines.get(number), line) for number, line in enumerate(lines)]

    def _judge(self, track: _Track) -> TrackEvent | None:
        verdict = track.verdict(self.settings.doubtful)
        if track.decided is None:
            if not self._decided(track, verdict):
                return None
            track.decided = verdict
            return _event("new", track, verdict)
        if verdict.text == track.decided.text:
            track.decided, track.changed = verdict, ("", 0)
            return None
        worse = verdict.text.count(UNREADABLE) > track.decided.text.count(UNREADABLE)
        if worse or not self._decided(track, verdict):
            return None
        standing = track.changed[1] + 1 if track.changed[0] == verdict.text else 1
        track.changed = (verdict.text, standing)
        if standing < self.settings.decide_frames:
            return None
        track.decided, track.changed = verdict, ("", 0)
        return _event("update", track, verdict)

    def _decided(self, track: _Track, verdict: _Verdict) -> bool:
        settings = self.settings
        unread = verdict.text.count(UNREADABLE)
        if 2 * unread >= len(verdict.text) or verdict.share < 0.55:
            return False
        lone = len(verdict.text) == 1
        least = settings.lone_share if lone else settings.least_share
        if track.frames < least * (self._frame - track.first_frame + 1):
            return False
        seen_ms = (track.last_ns - track.first_ns) / _MS
        if track.inside_ns is None and (lone or seen_ms < settings.edge_ms):
            return False
        if unread and seen_ms < settings.doubtful_ms:
            return False
        needed = settings.decide_frames
        if lone:
            needed = math.ceil(settings.lone_patience * needed)
        slow = track.frames >= 2 and seen_ms >= settings.decide_ms * needed / settings.decide_frames
        return verdict.frames >= needed or (slow and verdict.frames >= 2)

    def _replace(self, track: _Track) -> list[TrackEvent]:
        """What stood where a new code stands now was taken away, though not yet missed for long."""
        covered = [
            other
            for other in self._tracks
            if other is not track
            and other.last_ns < track.last_ns
            and intersection_over_union(other.box, track.box) > 0.3
        ]
        return self._end(covered)


def _event(kind: Literal["new", "update", "end"], track: _Track, verdict: _Verdict) -> TrackEvent:
    return TrackEvent(
        kind=kind,
        track_id=track.number,
        text=verdict.text,
        confidence=math.prod(verdict.confidences),
        digit_confidences=verdict.confidences,
        first_seen_ns=track.first_ns,
        last_seen_ns=track.last_ns,
        frames=track.frames,
        box=track.box,
    )


def _match(track: _Track, line: Line) -> float:
    """How well a line continues a track: 0 for not at all."""
    text = track.decided.text if track.decided is not None else track.text
    distance = _distance(track.box, line.box) / max(track.box[3], line.box[3], 1)
    if distance > 2.5 and intersection_over_union(track.box, line.box) < 0.4:
        return 0.0
    alike = max(_alike(text, line.text), _alike(track.text, line.text))
    if alike < 0.5:
        return 0.0
    # What reads quite the same may have moved farther.
    reach = 2.5 if alike == 1 and len(line.text) > 1 else 1.2
    if distance > reach and intersection_over_union(track.box, line.box) < 0.4:
        return 0.0
    return alike + 1 / (1 + distance)


def _alike(first: str, second: str) -> float:
    """Share of digits in common, in order (the longest common subsequence); `?` is half a match for any."""
    if first == second and UNREADABLE not in first:
        return 1.0
    row = [0.0] * (len(second) + 1)
    for a in first:
        before = row
        row = [0.0]
        for place, b in enumerate(second):
            same = 1.0 if a == b != UNREADABLE else 0.5 if UNREADABLE in (a, b) else 0.0
            row.append(max(before[place] + same, before[place + 1], row[place]))
    return row[-1] / max(len(first), len(second), 1)


def _distance(first: BoundingBox, second: BoundingBox) -> float:
    """Between the nearer of their left ends, centres and right ends: a code may grow at one end."""
    x1, y1, w1, h1 = first
    x2, y2, w2, h2 = second
    down = (y2 + h2 / 2) - (y1 + h1 / 2)
    return min(math.hypot((x2 + share * w2) - (x1 + share * w1), down) for share in (0.0, 0.5, 1.0))


def _at_edge(line: Line, size: tuple[int, int]) -> bool:
    """Whether another digit could lie outside: less than a height is left between an end and its side.

    What ends at the upper or lower side may be the rest of letters that it cuts off; a single digit needs
    more room there.
    """
    x, y, w, h = line.box
    height = max(digit.box[3] for digit in line.digits)
    room = (0.25 if len(line.digits) == 1 else 0.08) * height
    return y < room or y + h > size[1] - room or x < 0.9 * height or x + w > size[0] - 0.9 * height
