"""One MQTT session at a time: it connects, says what happened, and tries again, each time from nothing.

Every attempt is a connection of its own, so paho carries no message from one into the next. Events that were
not acknowledged are sent again from the journals, in order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from paho.mqtt.client import MQTTMessage

from messages.message import new_ulid
from services.bridge import connection_problem
from services.bridge.connection import BrokerLimits, Connection
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.reason_codes import again_after_s, is_refusal
from services.config import Mqtt

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
LASTING_RETRY_S = 60.0
SHORT_S = 5.0
"""A session that ended sooner does not count as a success."""
SHORT_SESSIONS = 3


class SessionListener(Protocol):
    """Whom the session tells, in the thread that calls `dispatch`."""

    def session_up(self, session_id: str, limits: BrokerLimits) -> None: ...

    def session_down(self, why: ConnectionProblem) -> None: ...

    def acknowledged(self, handle: int, code: int) -> None: ...

    def subscription_answered(self, pattern: str, code: int) -> None: ...

    def message_came(self, message: MQTTMessage) -> None: ...


class Publish(Protocol):
    """Sends a message; gives the handle of its acknowledgement, or None where there is no session."""

    def __call__(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> int | None: ...


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
    """Connects to the broker again and again until `close`. Belongs to one thread.

    `session_id` is a ULID, new with every attempt. `will(session_id)` makes the payload of the last will.
    `wake` is called from the network thread when `dispatch` has something to do.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        client_id: str,
        will_topic: str,
        will: Callable[[str], bytes],
        listener: SessionListener,
        wake: Callable[[], None],
    ) -> None:
        self.mqtt = mqtt
        self._ways = mqtt.ways
        self._version_tried = False
        """The version before this one was refused: once more without waiting."""
        self.client_id = client_id
        self.session_id = ""
        self._will_topic = will_topic
        self._will = will
        self._listener = listener
        self._wake = wake
        self._connection: Connection | None = None
        self._up_since: float | None = None
        self._unread_dropped = 0
        self._subscriptions: dict[str, bool] = {}
        """What this session has asked for, and whether the retain flag is kept."""
        self._refused: dict[str, float] = {}
        """Subscriptions that the broker refused, and when they are tried again."""
        self._short_sessions = 0
        self._backoff = Backoff()
        self._due = 0.0
        self._closing = False
        self._waiting_for_change = False
        self._files: tuple[object, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether there is a session now."""
        return self._up_since is not None

    @property
    def protocol(self) -> str:
        """The version of MQTT that is spoken, or tried next."""
        return self._ways[0].protocol

    @property
    def unread_dropped(self) -> int:
        """Messages that came faster than they were taken, in all sessions."""
        return self._unread_dropped + (self._connection.unread_dropped if self._connection else 0)

    def tick(self) -> None:
        """Start an attempt, and ask again for refused subscriptions, where it is time. Call often."""
        now = time.monotonic()
        for pattern in [each for each, due in self._refused.items() if due <= now]:
            del self._refused[pattern]
            self.subscribe(pattern, keep_retain_flag=self._subscriptions[pattern])
        if self._connection is not None:
            return
        if self._waiting_for_change and self._files != self._fingerprint():
            self._due = 0.0  # someone has repaired the password or a certificate
        if now < self._due:
            return
        self._files = self._fingerprint()
        self.session_id = new_ulid()
        will = self._will_topic, self._will(self.session_id)
        self._connection = Connection(self._ways[0], self.client_id, will, self._wake)

    def dispatch(self) -> None:
        """Tell the listener what has happened since the last call."""
        connection = self._connection
        while connection is not None and connection is self._connection and connection.tell_next(self):
            pass  # a listener may end it

    def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False, correlation: bytes = b""
    ) -> int | None:
        """Send a message; returns the handle of its acknowledgement, or None where there is no session."""
        if self._connection is None or self._up_since is None:
            return None
        return self._connection.publish(topic, payload, qos, retain=retain, correlation=correlation)

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None:
        """Ask for messages; the answer comes as `subscription_answered`, and a refusal is tried again later.

        `keep_retain_flag`: also on messages that are passed on as they come, which only MQTT 5 can.
        """
        if self._connection is not None and self._up_since is not None:
            self._subscriptions[pattern] = keep_retain_flag
            self._connection.subscribe(pattern, keep_retain_flag=keep_retain_flag)

    def unsubscribe(self, pattern: str) -> None:
        """Ask for no more of these."""
        self._subscriptions.pop(pattern, None)
        self._refused.pop(pattern, None)
        if self._connection is not None and self._up_since is not None:
            self._connection.unsubscribe(pattern)

    def give_way(self, why: ConnectionProblem) -> None:
        """End this session, without its will, and let it be a while."""
        if self._connection is not None and self._up_since is not None:
            self._connection.leave()
            self.ended(why)

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

    # from the connection

    def connected(self, limits: BrokerLimits) -> None:
        if not self._closing:
            self._version_tried = False
            self._up_since = time.monotonic()
            self._listener.session_up(self.session_id, limits)

    def acknowledged(self, handle: int, code: int) -> None:
        self._listener.acknowledged(handle, code)

    def subscription_answered(self, pattern: str, code: int) -> None:
        if self._closing or pattern not in self._subscriptions:
            return
        if is_refusal(code):
            self._refused[pattern] = time.monotonic() + again_after_s(code)
        self._listener.subscription_answered(pattern, code)

    def message_came(self, message: MQTTMessage) -> None:
        if not self._closing:
            self._listener.message_came(message)

    def ended(self, why: ConnectionProblem) -> None:
        if self._closing:
            return
        now = time.monotonic()
        if why.other_version and len(self._ways) > 1:
            self._ways = (*self._ways[1:], self._ways[0])
            self._version_tried = not self._version_tried
            if self._version_tried:
                self._connection, self._due = None, now
                return
        if self._up_since is not None:
            self._ways = self.mqtt.ways  # perhaps it only starts, and speaks 5 as well
            if now - self._up_since >= SHORT_S:
                self._short_sessions = 0
                self._backoff.reset()
            else:
                self._short_sessions += 1
                if self._short_sessions >= SHORT_SESSIONS and not why.lasting and not why.disconnect_code:
                    why = connection_problem.short_lived(self.client_id, self.mqtt)
        self._unread_dropped = self.unread_dropped
        self._connection = self._up_since = None
        self._subscriptions.clear()
        self._refused.clear()
        self._due = now + self._backoff.take(why)
        self._waiting_for_change = why.lasting
        self._listener.session_down(why)

    def _fingerprint(self) -> tuple[object, ...]:
        """What changes when someone replaces the password or a certificate."""
        mqtt = self.mqtt
        files = mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file
        return tuple(_stamp(path) for path in files)


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status is not None else None
