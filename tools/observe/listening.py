"""Hearing the bus from the command line: what comes, for a while or until Ctrl-C."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import zmq

from messages.bus import Subscriber
from messages.topics import Topic
from services.catalogue import SERVICES
from services.config import Settings
from tools.terminal.output import say

HINT_AFTER_S = 3.0


def listen(
    settings: Settings, topics: Iterable[str], *, for_s: float | None = None, hint: bool = False
) -> Iterator[tuple[Topic, Any]]:
    """What comes on `topics`, as it comes; the end after `for_s` seconds.

    With `hint`, a sentence on standard error where nothing at all was heard for a while.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = Subscriber(context, settings.paths.runtime, topics, SERVICES)
    poller = zmq.Poller()
    for each in subscriber.sockets:
        poller.register(each, zmq.POLLIN)
    started = time.monotonic()
    try:
        while (left_s := _left(started, for_s)) > 0:
            poller.poll(math.ceil(min(left_s, HINT_AFTER_S) * 1000))
            for row, message in subscriber.receive():
                hint = False
                yield row, message
            if hint and time.monotonic() - started >= HINT_AFTER_S:
                hint = False
                say(
                    f"nothing heard yet on {settings.paths.runtime}; `smartcar status` shows what runs",
                    file=sys.stderr,
                )
    finally:
        subscriber.close()
        context.destroy(linger=0)


def _left(started: float, for_s: float | None) -> float:
    return HINT_AFTER_S if for_s is None else started + for_s - time.monotonic()
