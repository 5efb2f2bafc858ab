"""The open pages: each gets the newest message of every kind, at its own pace."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

MAX_VIEWERS = 32
FRAME = "frame"
RESTING_AFTER_S = 3.0
"""A page that has asked for no picture for this long counts as hidden."""

TOO_MANY = f"{MAX_VIEWERS} pages are open already; close one of them"


class Viewer:
    """One open page. Of each kind only the newest message waits, so a slow page skips and nothing grows.

    It says what it wants: `look` (it is visible), `rest` (it is hidden; nothing is sent to it), `ready` (it
    has drawn the last picture and takes one more), `pad` (it has missed a change of the pad) and `clock`,
    which is answered at once with the car's monotonic time, so that the page can tell the age of a picture by
    itself.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: dict[str, str | bytes] = {}
        self._wake = asyncio.Event()
        self.looking = True
        self.ready = False

    def put(self, kind: str, payload: str | bytes) -> None:
        if kind == FRAME:
            if not (self.ready and self.looking):
                return
            self.ready = False
        self._waiting[kind] = payload
        self._wake.set()

    async def next(self) -> str | bytes:
        """What to send next; waits for it."""
        while True:
            for kind in self._waiting:
                if self.looking or kind == "clock":
                    return self._waiting.pop(kind)
            self._wake.clear()
            await self._wake.wait()

    def hear(self, text: str) -> None:
        """Take a message of the page. Raises ValueError for anything that none of ours would say."""
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError("no message of this page") from error
        if kind == "ready":
            self.ready = True
            self._hub.wanted()
        elif kind in ("look", "rest"):
            self.looking = kind == "look"
            self._waiting.pop(FRAME, None)
            self.ready = False
            self._wake.set()
            self._hub.joined()
        elif kind == "pad":
            self._hub.joined()
        elif kind == "clock" and isinstance(sent := message.get("sent"), int | float):
            now = time.monotonic_ns() / 1e6
            self.put("clock", json.dumps({"type": "clock", "sent": sent, "now": now}))
        else:
            raise ValueError("no message of this page")


class Hub:
    """All viewers. Lives in the server's event loop; `post` and the properties may be used from any thread.

    `on_demand` is called, in the event loop, when somebody starts to look.
    """

    def __init__(self, on_demand: Callable[[], None]) -> None:
        self._on_demand = on_demand
        self._viewers: set[Viewer] = set()
        self._wanted_at = -RESTING_AFTER_S
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._posted: dict[str, str | bytes] = {}

    def attach(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Deliver through `loop` from now on; None: nobody looks any more."""
        with self._lock:
            self._loop = loop
            self._posted.clear()

    # from any thread

    @property
    def looking(self) -> int:
        """How many pages are open and visible."""
        return sum(viewer.looking for viewer in tuple(self._viewers))

    @property
    def ready(self) -> bool:
        """Whether some page would take a picture now."""
        return any(viewer.ready for viewer in tuple(self._viewers))

    @property
    def watched(self) -> bool:
        """Whether some page takes pictures: now, or a moment ago."""
        return self.ready or (self.looking > 0 and time.monotonic() - self._wanted_at < RESTING_AFTER_S)

    def post(self, kind: str, payload: str | bytes) -> None:
        """Hand a message to all who look; one that was posted before and not yet taken is replaced."""
        with self._lock:
            if self._loop is None:
                return
            if not self._posted:
                self._loop.call_soon_threadsafe(self._deliver)
            self._posted[kind] = payload

    # in the event loop

    def join(self) -> Viewer | None:
        """A new viewer; None where there are too many."""
        if len(self._viewers) >= MAX_VIEWERS:
            return None
        viewer = Viewer(self)
        self._viewers.add(viewer)
        self.joined()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def joined(self) -> None:
        self._on_demand()

    def wanted(self) -> None:
        now = time.monotonic()
        before, self._wanted_at = self._wanted_at, now
        if now - before > RESTING_AFTER_S / 2:
            self._on_demand()

    def _deliver(self) -> None:
        with self._lock:
            posted, self._posted = self._posted, {}
        for viewer in self._viewers:
            for kind, payload in posted.items():
                viewer.put(kind, payload)
