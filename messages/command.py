"""What every command and every answer is made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from messages.message import new_ulid


class Result(BaseModel):
    """What a command answers when it worked."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Command(BaseModel):
    """Base of every command. Idempotent by `id`: an id seen before gets its old answer."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", allow_inf_nan=False
    )

    verb: ClassVar[str]
    result: ClassVar[type[Result]] = Result
    about: ClassVar[str]
    local: ClassVar[bool] = False
    """Never taken from MQTT, whatever the settings say: it is for this machine alone."""

    id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")] = Field(
        default_factory=new_ulid
    )
    expires_at: AwareDatetime | None = None


class Refusal(BaseModel):
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
    error: Refusal | None = None

    @classmethod
    def ok(cls, command_id: str, result: Result | None = None) -> Reply:
        return cls(id=command_id, status="ok", data=result.model_dump(mode="json") if result else {})

    @classmethod
    def refused(cls, command_id: str, code: str, message: str) -> Reply:
        return cls(id=command_id, status="error", error=Refusal(code=code, message=message))


class CommandRefused(Exception):
    """Raised by a handler that will not or cannot; becomes the reply's error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
