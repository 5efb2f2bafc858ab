"""MQTT 5's reason codes: which are refusals, which pass by themselves, and how they are told to people.

https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html#_Toc3901031
"""

from __future__ import annotations

FIRST_REFUSAL = 128
IMPLEMENTATION_SPECIFIC, NOT_AUTHORISED, SESSION_TAKEN_OVER = 131, 135, 142
TOPIC_INVALID, ID_IN_USE, PACKET_TOO_LARGE, QUOTA_EXCEEDED, PAYLOAD_INVALID = 144, 145, 149, 151, 153

UNSENDABLE = (TOPIC_INVALID, PACKET_TOO_LARGE, PAYLOAD_INVALID)
"""Refusals that concern one message: another time would not help it, and must not stop the others."""

PASSING_AGAIN_S = 10.0
AGAIN_S, LONGEST_AGAIN_S = 60.0, 3600.0

_PASSING = (IMPLEMENTATION_SPECIFIC, ID_IN_USE, QUOTA_EXCEEDED)
_NAMES = {
    IMPLEMENTATION_SPECIFIC: "the broker's own",
    NOT_AUTHORISED: "not authorised",
    TOPIC_INVALID: "topic name invalid",
    ID_IN_USE: "packet id in use",
    PACKET_TOO_LARGE: "packet too large",
    QUOTA_EXCEEDED: "quota exceeded",
    PAYLOAD_INVALID: "payload format invalid",
}


def is_refusal(code: int) -> bool:
    """Whether the broker did not do what was asked."""
    return code >= FIRST_REFUSAL


def is_passing(code: int) -> bool:
    """Whether the same may be taken soon, without anybody doing anything."""
    return code in _PASSING


def again_after_s(code: int, times: int = 1) -> float:
    """Seconds to wait before what was refused with `code`, so many times in a row, is tried again.

    Some brokers close the connection over what a user has no right to: that is tried ever more seldom.
    """
    return PASSING_AGAIN_S if is_passing(code) else min(LONGEST_AGAIN_S, AGAIN_S * 2 ** min(times - 1, 6))


def in_words(code: int) -> str:
    """The code with its name, for a sentence."""
    name = _NAMES.get(code)
    return f"MQTT reason {code}, {name}" if name else f"MQTT reason {code}"


def remedy(code: int, right: str) -> str:
    """What to do about a refusal: nothing where it passes, else give this car's user `right`."""
    if is_passing(code):
        return "the broker is asked again by itself"
    return f"let this car's user {right} (the broker's ACL)"
