"""The envelope that every message on the bus carries, and the codec that takes it on and off the wire.

The wire form is JSON, so that `smartcar watch`, an MQTT client and a service read the same thing.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_MESSAGE_BYTES = 1 << 20
"""No message on the bus is larger; pixels go through the frame ring."""

Confidence = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Millis = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class MalformedMessage(ValueError):
    """Bytes that are no message of the expected class and version."""


class Part(BaseModel):
    """A piece of a message. Unknown fields are ignored, so that two versions can live side by side."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Part):
    """Base of everything that is published. The envelope is filled in by the publisher.

    `boot_id` names one run of the source process; with `sequence`, which counts the topic's messages in
    that run from 1, it recognises a message that arrives twice. `monotonic_ns` is CLOCK_MONOTONIC, which
    all processes of one machine share; `wall_time` is what a person reads.
    """

    VERSION: ClassVar[int] = 1

    version: int = 1
    source: str = ""
    boot_id: str = ""
    sequence: int = 0
    monotonic_ns: int = 0
    wall_time: datetime = datetime.fromtimestamp(0, UTC)

    def stamped(self, source: str, boot_id: str, sequence: int) -> Self:
        """This message with its envelope filled in, now."""
        stamped = self.__copy__()
        stamped.__dict__.update(  # as model_copy does, in half its time
            version=self.VERSION,
            source=source,
            boot_id=boot_id,
            sequence=sequence,
            monotonic_ns=time.monotonic_ns(),
            wall_time=datetime.now(UTC),
        )
        return stamped


AnyMessage = TypeVar("AnyMessage", bound=Message)


def encode(message: BaseModel) -> bytes:
    return message.__pydantic_serializer__.to_json(message)


def decode(cls: type[AnyMessage], payload: bytes | memoryview) -> AnyMessage:
    """The message in `payload`.

    Raises MalformedMessage, in one sentence, for anything else: not JSON, wrong fields, another version.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{cls.__name__}: {len(payload)} bytes, {MAX_MESSAGE_BYTES} are allowed")
    try:
        message: AnyMessage = cls.__pydantic_validator__.validate_json(bytes(payload))
    except ValidationError as error:
        raise MalformedMessage(f"{cls.__name__}: {first_problem(error)}") from error
    if message.version != cls.VERSION:
        raise MalformedMessage(
            f"{cls.__name__}: version {message.version}, this program speaks {cls.VERSION}"
        )
    return message


def unchecked(cls: type[AnyMessage], fields: dict[str, Any]) -> AnyMessage:
    """A message of all its fields, which the caller knows to be right: pydantic would take longer."""
    message = cls.__new__(cls)
    put = object.__setattr__  # past `frozen`
    put(message, "__dict__", fields)
    put(message, "__pydantic_fields_set__", set(fields))
    put(message, "__pydantic_extra__", None)
    put(message, "__pydantic_private__", None)
    return message


def first_problem(error: ValidationError) -> str:
    """The first thing wrong, as `field: what`."""
    problem: Any = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(step) for step in problem["loc"])
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def new_ulid() -> str:
    """A fresh ULID (26 characters; sorts by its time, to the millisecond). https://github.com/ulid/spec"""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[(value >> shift) & 31] for shift in range(125, -1, -5))


def new_boot_id() -> str:
    """A fresh name for one run of a process."""
    return os.urandom(6).hex()
