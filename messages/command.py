"""What every command and every answer is made of, and the table of commands.

A command is asked of a service through a door: the bus, MQTT, the page, the command line.

    class CapturePause(Command):
        verb = "capture.pause"
        about = "stop taking frames; the camera is released"
        doors = Door.PAGE, Door.MQTT
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from messages.errors import ErrorCode, UserError
from messages.message import first_problem, new_ulid

MAX_COMMAND_BYTES = 8 << 20


class Door(StrEnum):
    """Where a command may come from besides this machine, whose owner may send all."""

    PAGE = "page"
    MQTT = "mqtt"
    MQTT_OPT_IN = "mqtt_opt_in"
    """MQTT, but only where the setting `mqtt.commands` names the command."""


class Result(BaseModel):
    """What a command answers when it worked."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Command(BaseModel):
    """Base of every command. Idempotent by `id`: an id seen before gets its old answer."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", allow_inf_nan=False
    )

    verb: ClassVar[str]
    service: ClassVar[str] = ""
    """Who carries it out; unless stated, the first word of the verb."""
    result: ClassVar[type[Result]] = Result
    about: ClassVar[str]
    doors: ClassVar[Collection[Door]] = ()

    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")] = Field(
        default_factory=new_ulid
    )
    expires_at: AwareDatetime | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        if "verb" in cls.__dict__ and not cls.service:
            cls.service = cls.verb.partition(".")[0]


AnyCommand = TypeVar("AnyCommand", bound=Command)


class ReplyError(BaseModel):
    """Why a command was not carried out: a stable code for programs, a sentence for people."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    message: str


class Reply(BaseModel):
    """The answer to a command."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    status: Literal["ok", "error"]
    data: dict[str, Any] | None = None
    error: ReplyError | None = None

    @classmethod
    def ok(cls, command_id: str, result: Result | None = None) -> Reply:
        return cls(id=command_id, status="ok", data=result.model_dump(mode="json") if result else {})

    @classmethod
    def refused(cls, command_id: str, code: str, message: str) -> Reply:
        return cls(id=command_id, status="error", error=ReplyError(code=code, message=message))


class CommandRefused(UserError):
    """Raised by a handler that will not or cannot; becomes the reply's error."""


COMMANDS: dict[str, type[Command]] = {}
"""Every command by its verb. Filled by `services.catalogue` from what the services handle."""


def register(commands: Iterable[type[Command]]) -> None:
    """Add to COMMANDS. Raises ValueError where a verb is another class's."""
    for cls in commands:
        if COMMANDS.setdefault(cls.verb, cls) is not cls:
            raise ValueError(f"{cls.verb} is the verb of {COMMANDS[cls.verb].__name__} already")


def verbs(*doors: Door) -> tuple[str, ...]:
    """The commands that may come through any of the doors."""
    assert COMMANDS, "import services.catalogue first"
    return tuple(verb for verb, cls in COMMANDS.items() if not set(doors).isdisjoint(cls.doors))


def parse(cls: type[AnyCommand], payload: bytes | str, now: datetime) -> AnyCommand:
    """The command of class `cls` in a JSON `payload`. Raises CommandRefused."""
    if len(payload) > MAX_COMMAND_BYTES:
        raise CommandRefused(
            ErrorCode.TOO_LARGE, f"{len(payload)} bytes came; a command has at most {MAX_COMMAND_BYTES}."
        )
    try:
        command = cls.model_validate_json(payload or b"{}")
    except ValidationError as error:
        raise CommandRefused(ErrorCode.MALFORMED, f"{cls.verb}: {first_problem(error)}.") from error
    if command.expires_at is not None and command.expires_at <= now:
        raise CommandRefused(
            ErrorCode.EXPIRED, f"{cls.verb} was to be done before {command.expires_at.isoformat()}."
        )
    return command


def parse_command(verb: str, payload: bytes | str, now: datetime) -> Command:
    """The command called `verb` in a JSON `payload`. Raises CommandRefused, for an unknown verb, too."""
    cls = COMMANDS.get(verb)
    if cls is None:
        raise CommandRefused(
            ErrorCode.UNKNOWN_VERB, f"There is no command {verb}.", f"There are: {', '.join(COMMANDS)}."
        )
    return parse(cls, payload, now)
