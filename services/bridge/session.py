"""One MQTT session at a time: it connects, says what happened, and tries again, each time from nothing.

Every attempt is a paho client of its own on a thread of its own, so that paho carries no message from one
connection into the next: what must not be lost is sent again out of the journals, by us, in order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from services.bridge import connection_problem
from services.bridge.connection import Connection, Limits
from services.bridge.connection_problem import ConnectionProblem
from services.config import Mqtt

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
LASTING_RETRY_S = 60.0
SHORT_S = 5.0
"""A session that ended sooner does not count as a success."""
SHORT_SESSIONS = 3


class Listener(Protocol):
    """Whom the session tells, in the thread that calls `dispatch`."""

    def session_up(self, session_id: str, limits: Limits) -> None: ...

    def session_down(self, why: ConnectionProblem) -> None: ...

    def acknowledged(self, handle: int, code: int) -> None: ...

    def subscription_answered(self, pattern: str, code: int) -> None: ...

    def message_came(self, message: MQTTMessage) -> None: ...


class Backoff:
    """How long to wait before the next attempt: doubling, bounded, and not all cars at once."""

    def __init__(self) -> None:
        self._next_s = FIRST_RETRY_S

    def reset(self) -> None:
        self._next_s = FIRST_RETRY_S

    def take(self, why: ConnectionProblem) -> float:
        """Seconds to wait after `why`."""
        delay_s = LASTING_RETRY_S if why.lasting else self._next_s
        self._next_s = min(LONGEST_RETRY_S, 2 * self._next_s)
        return delay_s * random.uniform(0.8, 1.2)


class Session:
    """Connects to the broker again and again until `close`. Belongs to one thread, except as stated.

    `will(session_id)` makes the payload of the last will. `wake` is called from the network thread when
    `dispatch` has something to do.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        client_id: str,
        will_topic: str,
        will: Callable[[str], bytes],
        listener: Listener,
        wake: Callable[[], None],
    ) -> None:
        self.mqtt = mqtt
        self.client_id = client_id
        self.unread_dropped = 0
        self._will_topic = will_topic
        self._will = will
        self._listener = listener
        self._wake = wake
        self._connection: Connection | None = None
        self._up_since: float | None = None
        self._short_sessions = 0
        self._backoff = Backoff()
        self.sessions = 0
        """How many there have been."""
        self._due = 0.0
        self._closing = False
        self._waiting_for_change = False
        self._files: Any = None

    @property
    def connected(self) -> bool:
        return self._up_since is not None

    def tick(self) -> None:
        """Start an attempt where one is due. Call a few times a second."""
        if self._connection is not None:
            return
        if self._waiting_for_change and self._files != self._fingerprint():
            self._due = 0.0  # someone has repaired the password or a certificate
        if time.monotonic() < self._due:
            return
        self._files = self._fingerprint()
        self._connection = Connection(self.mqtt, self.client_id, self._will_topic, self._will, self._wake)

    def dispatch(self) -> None:
        """Tell the listener what has happened since the last call."""
        connection = self._connection
        if connection is None:
            return
        while connection is self._connection and connection.happened:  # a listener may end it
            what, details = connection.happened.popleft()
            if self._closing and what != "acknowledged":
                continue
            if what == "up":
                self._up_since = time.monotonic()
                self.sessions += 1
                self._listener.session_up(connection.session_id, details)
            elif what == "acknowledged":
                message_id, code = details
                handle = connection.acknowledged(message_id)
                if handle is not None:
                    self._listener.acknowledged(handle, code)
            elif what == "subscribed":
                message_id, code = details
                self._listener.subscription_answered(connection.pattern(message_id), code)
            elif what == "message":
                connection.was_read(details)
                self._listener.message_came(details)
            elif what == "ended":
                self.unread_dropped += connection.unread_dropped
                self._connection = None
                self._ended(details)

    def _ended(self, why: ConnectionProblem) -> None:
        now = time.monotonic()
        if self._up_since is not None:
            if now - self._up_since >= SHORT_S:
                self._short_sessions = 0
                self._backoff.reset()
            else:
                self._short_sessions += 1
                if self._short_sessions >= SHORT_SESSIONS and not why.lasting and not why.disconnect_code:
                    why = connection_problem.short_lived(self.client_id, self.mqtt)
        self._up_since = None
        self._due = now + self._backoff.take(why)
        self._waiting_for_change = why.lasting
        self._listener.session_down(why)

    def publish(
        self, topic: str, payload: bytes, qos: int, *, retain: bool = False, correlation: bytes | None = None
    ) -> int | None:
        """Hand a message over; returns the handle of its acknowledgement, or None without a session."""
        if self._connection is None or self._up_since is None:
            return None
        return self._connection.publish(topic, payload, qos, retain, correlation)

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None:
        """Ask for messages; the answer comes as `subscription_answered`.

        `keep_retain_flag`: also on messages that are passed on as they come, which only MQTT 5 can.
        """
        if self._connection is not None and self._up_since is not None:
            self._connection.subscribe(pattern, keep_retain_flag=keep_retain_flag)

    def unsubscribe(self, pattern: str) -> None:
        """Ask for no more of these."""
        if self._connection is not None and self._up_since is not None:
            self._connection.unsubscribe(pattern)

    def give_way(self, why: ConnectionProblem) -> None:
        """End this session, without its will, and let it be a while."""
        if self._connection is not None and self._up_since is not None:
            self._connection.leave()
            self._connection = None
            self._ended(why)

    def close(self, topic: str, last_words: bytes) -> None:
        """Publish `last_words`, retained, and disconnect; waits for the broker's answer, but not for long."""
        if self._connection is None:
            return
        self._closing = True
        if self._up_since is not None:
            self._connection.farewell(topic, last_words)
        else:
            self._connection.leave()
        self.dispatch()  # what the broker has acknowledged meanwhile need not be sent again
        self._connection = None
        self._up_since = None

    def abandon(self) -> None:
        """Break the connection without a word: the broker publishes the will."""
        if self._connection is not None:
            self._closing = True
            self._connection.break_off()
            self._connection = self._up_since = None

    def _fingerprint(self) -> tuple[object, ...]:
        mqtt = self.mqtt
        files = mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file
        return tuple(_stamp(path) for path in files)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
