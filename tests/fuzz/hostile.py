"""Hostile values, documents and bytes, for any door that takes JSON or text.

payload = hostile.document(chance, {"id": "a", "digits": "12"})
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, float("inf"), float("nan"), 10**18, 2**63, 10**400),
    *("", "a", " ", "\x00", "\ud800", "a\udfff", "\u202e", "\x1b]0;owned\x07", "é" * 70, "모델", "0" * 64),
    *("../../etc/passwd", "x" * 10_000, "+", "#", "%s%n", "9" * 5000, "AAAA", "!!!!"),
    *([], {}, [[]], [None] * 1000, {"": {}}, {"\ud800": 1}),
    *("2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"),
    *(253402300800, -62135596801),
)

GARBAGE: tuple[bytes, ...] = (
    *(b"", b"\xff\xfe", b"\x00" * 100, b"null", b"[]", b"{", b'"', b"NaN", b"\xef\xbb\xbf{}"),
    *(b"[" * 100_000, b'{"a":' * 10_000, b"x" * 100_000),
    *(b'{"id":"\xff"}', b'{"id": ' + b"9" * 5000 + b"}", b'{"id": 1e9999}'),
)


def value(chance: random.Random) -> Any:
    """Any JSON value that some reader may not expect."""
    return chance.choice(VALUES)


def document(chance: random.Random, example: Mapping[str, Any]) -> bytes:
    """`example` as JSON with something wrong: fields changed, missing or added, bytes flipped, or garbage."""
    kind = chance.random()
    if kind < 0.1:
        return chance.choice(GARBAGE)
    if kind < 0.2:
        return chance.randbytes(chance.randrange(60))
    content = dict(example)
    for name in chance.sample(sorted(content), chance.randint(0, len(content))):
        if chance.random() < 0.2:
            del content[name]
        else:
            content[name] = value(chance)
    if chance.random() < 0.1:
        content[str(value(chance))] = value(chance)
    encoded = json.dumps(content, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")
    return mutated(chance, encoded) if kind > 0.9 else encoded


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with some bytes changed, left out, doubled or cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            changed[at : at + 1] = chance.randbytes(1)
        elif kind == 1:
            del changed[at : at + chance.randint(1, 8)]
        elif kind == 2:
            changed[at:at] = changed[at : at + chance.randint(1, 64)]
        else:
            del changed[at:]
    return bytes(changed)
