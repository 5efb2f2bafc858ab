"""`smartcar pad selftest`: the whole chain of the pad, from strokes to digits, checked in a second."""

from __future__ import annotations

import time

from messages.bus import Subscriber
from messages.pad_commands import (
    PadDone,
    PadReading,
    PadRecognize,
    PadShow,
    PadUndo,
    PadViews,
    PadWrite,
    PadWritten,
)
from messages.pad_follower import PadFollower
from services.config import Settings
from tools.pad.client import PadClient, pad_client
from tools.terminal.output import print_json, say

CODES = (("01234", 11), ("56789", 12))
"""Written with these seeds: all ten digits."""
ENOUGH = 8
"""So many of the ten right: the chain is sound. The rest is the model's skill, which `evaluate` measures."""
_AUTHOR = "selftest"


def selftest(settings: Settings, *, json: bool) -> int:
    """Write, watch, read, look and undo; the canvas is left as it was. Returns 0 only where all worked."""
    started = time.monotonic()
    with pad_client(settings) as client:
        client.wait_until_ready()
        watcher = _Watcher(client)
        right = watched = 0
        texts: list[tuple[str, str]] = []
        try:
            for digits, seed in CODES:
                written = client.ask(PadWrite(digits=digits, seed=seed, author=_AUTHOR), PadWritten)
                try:
                    watched += watcher.sees(written.revision)
                    reading = client.ask(PadRecognize(), PadReading)
                    shown = client.ask(PadShow(), PadViews)
                finally:
                    client.ask(PadUndo(author=_AUTHOR), PadDone)
                texts.append((digits, reading.text))
                right += sum(one == other for one, other in zip(digits, reading.text, strict=True))
                if any(not any(view.crop.pixels) for view in shown.boxes):
                    right = 0
        finally:
            watcher.close()
    elapsed_s = time.monotonic() - started
    good = right >= ENOUGH and watched == len(CODES)
    if json:
        print_json(
            {
                "ok": good,
                "right": right,
                "of": 10,
                "watched": watched,
                "seconds": round(elapsed_s, 3),
                "codes": [{"written": written, "read": read} for written, read in texts],
            }
        )
        return 0 if good else 1
    for digits, read in texts:
        say(f"written {digits}, read {read}")
    if watched < len(CODES):
        say("the strokes were not seen on the bus")
    say(f"{'The pad works' if good else 'The pad does not work'}: {right} of 10 right, {elapsed_s:.2f} s")
    return 0 if good else 1


class _Watcher:
    """A client that only looks."""

    def __init__(self, client: PadClient) -> None:
        self._subscriber = Subscriber(client.context, client.runtime, ("pad.canvas", "pad.stroke"), ("pad",))
        self._follower = PadFollower()

    def sees(self, revision: int, within_s: float = 2.0) -> bool:
        """Whether the canvas of this revision comes to us."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            for row, message in self._subscriber.receive():
                if row.name == "pad.canvas":
                    self._follower.canvas(message)
                else:
                    self._follower.change(message)
            if self._follower.in_step and self._follower.revision >= revision:
                return True
            self._subscriber.event_socket.poll(10)
        return False

    def close(self) -> None:
        self._subscriber.close()
