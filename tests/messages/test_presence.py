"""Whether a service is there: by its heartbeats, its silence, its goodbye and its boot id."""

from __future__ import annotations

import pytest

from messages.health import Heartbeat
from messages.presence import SILENT_AFTER_S, Presence


class Peer:
    """A service and a clock, both by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.presence = Presence(lambda: self.now)

    def beats(self, boot: str = "a", state: str = "ready") -> bool:
        fields = {"state": state, "pid": 1, "uptime_s": 1.0}
        beat = Heartbeat.model_validate(fields | {"boot_id": boot, "monotonic_ns": round(self.now * 1e9)})
        return self.presence.heard(beat)


def test_who_was_never_heard_is_not_there_and_not_silent_either() -> None:
    presence = Presence()
    assert not presence.is_there
    assert not presence.is_silent
    assert presence.there_s == 0.0


def test_it_comes_with_its_first_heartbeat_and_not_with_the_next() -> None:
    peer = Peer()
    assert peer.beats()
    peer.now += 1
    assert not peer.beats()
    assert peer.presence.is_there
    assert peer.presence.there_s == pytest.approx(1.0)


def test_who_says_nothing_is_silent_and_comes_back() -> None:
    peer = Peer()
    peer.beats()
    peer.now += SILENT_AFTER_S
    assert peer.presence.is_silent
    assert not peer.presence.is_there
    assert peer.beats()
    assert peer.presence.restarts == 0


def test_another_process_in_its_place_has_come_anew() -> None:
    peer = Peer()
    peer.beats("a")
    peer.now += 1
    assert peer.beats("b")
    assert peer.presence.restarts == 1
    assert peer.presence.there_s == 0.0


@pytest.mark.parametrize("state", ["stopped", "failed"])
def test_who_said_goodbye_is_gone_at_once(state: str) -> None:
    peer = Peer()
    peer.beats()
    assert not peer.beats(state=state)
    assert not peer.presence.is_there
    assert not peer.presence.is_silent


def test_the_last_word_of_one_that_another_has_followed_changes_nothing() -> None:
    peer = Peer()
    peer.now = 101.0
    peer.beats("b")
    peer.now = 100.0
    assert not peer.beats("a", "stopped")
    peer.now = 101.0
    assert peer.presence.is_there
