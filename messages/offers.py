"""A model offered to every car of a broker: a signed manifest on one retained topic, its files in chunks.

    smartcar/models/<name>/offer           an Offer as JSON
    smartcar/models/<name>/<digest>/<n>    chunk n of the payload, as it is; n counts from 0
    smartcar/models/<name>/withdrawn       the newest Offer that was withdrawn: releases count on from it
    smartcar/models/ask                    every car that hears it says again how it is

The payload is the files that the manifest names, one after the other in its order. How long it is, how many
chunks there are and what the files must hash to follows from the signed manifest: nothing unsigned is
believed, and there is no archive to unpack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from messages.message import MalformedMessage, Message, Part, encode, first_problem
from messages.topics import Topic, TopicKind

ROOT = "smartcar/models/"
ASK_TOPIC = f"{ROOT}ask"
"""Below ROOT, since cars may read there, and publishers write."""
MAX_CHUNK_BYTES = 256 << 10
MIN_CHUNK_BYTES = 1 << 10
MAX_OFFER_BYTES = 256 << 10
MAX_CARS = 4000

OfferName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
"""What a model is called in its manifest, and thus on MQTT."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CarName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$")]
Url = Annotated[str, Field(max_length=2048, pattern=r"^https?://[\x21-\x7e]+$")]

_CHUNK_TOPIC = re.compile(rf"{ROOT}([a-z0-9-]+)/([0-9a-f]{{64}})/(0|[1-9][0-9]{{0,6}})", re.ASCII)


@dataclass(frozen=True)
class SharedTopic:
    """A topic that all cars of a broker share. `pattern` has its variable parts in angle brackets."""

    pattern: str
    message: type[BaseModel] | None
    """None: bytes as they are."""
    qos: int
    retain: bool
    about: str


class Offer(BaseModel):
    """A release that stands on the broker. Only `manifest` is covered by `signature`; the rest is a hint."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    format: Literal[1] = 1
    name: OfferName
    digest: Digest
    """SHA-256 of `manifest`."""
    manifest: Annotated[bytes, Field(min_length=1, max_length=64 << 10)]
    """The exact bytes of manifest.json, in base64."""
    signature: Annotated[bytes, Field(max_length=4 << 10)]
    """manifest.sig, in base64."""
    chunk_bytes: Annotated[int, Field(ge=MIN_CHUNK_BYTES, le=MAX_CHUNK_BYTES)] = MAX_CHUNK_BYTES
    """The length of each chunk but the last."""
    cars: Annotated[tuple[CarName, ...], Field(max_length=MAX_CARS)] | None = None
    """Only these cars, or groups of cars, take it now. None: all."""
    published: AwareDatetime

    def encoded(self) -> bytes:
        return encode(self)


SHARED_TOPICS: tuple[SharedTopic, ...] = (
    SharedTopic(
        f"{ROOT}<name>/offer", Offer, qos=1, retain=True,
        about="a signed manifest, and how to get what it names; empty: withdrawn",
    ),
    SharedTopic(
        f"{ROOT}<name>/<digest>/<n>", None, qos=1, retain=True,
        about="chunk n of its files, as it is; cleared once the next offer stands",
    ),
    SharedTopic(
        f"{ROOT}<name>/withdrawn", Offer, qos=1, retain=True,
        about="the newest offer that was withdrawn, so that the next release counts on; cars don't read it",
    ),
    SharedTopic(
        ASK_TOPIC, None, qos=1, retain=False,
        about="whatever is said here, each car answers with `status`, `info`, `state/model`, `metrics` and "
        "`status/recognizer`",
    ),
)  # fmt: skip


class ModelWanted(Message):
    """What the updater wants from MQTT now; the bridge subscribes to just that, and hands it over."""

    offers: Annotated[tuple[OfferName, ...], Field(max_length=256)] = ()
    """Names whose offer it wants to see."""
    name: OfferName | Literal[""] = ""
    digest: Digest | Literal[""] = ""
    """Whose chunks it wants; empty: none."""
    chunks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=64)] = ()
    round: int = 0
    """In another round the same chunks are wanted again: those that came before were lost."""


class StandingOffer(Part):
    """An offer that the car knows of, and what has become of it here."""

    name: str
    version: str
    digest: str
    release: int
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """How much of it is on this car."""
    reason: str = ""
    """Why the car doesn't read with it: a code of docs/models.md. Empty: it does, or is about to."""
    sentence: str = ""


def parse_offer(payload: bytes) -> Offer:
    """The offer in a payload. Raises MalformedMessage."""
    if len(payload) > MAX_OFFER_BYTES:
        raise MalformedMessage(f"it has {len(payload)} bytes; {MAX_OFFER_BYTES} are allowed")
    try:
        return Offer.model_validate_json(payload)
    except ValidationError as error:
        raise MalformedMessage(first_problem(error)) from error


def offer_topic(name: str) -> str:
    return f"{ROOT}{name}/offer"


def withdrawn_topic(name: str) -> str:
    """Where the newest offer stands that was withdrawn."""
    return f"{ROOT}{name}/withdrawn"


def chunk_topic(name: str, digest: str, number: int) -> str:
    return f"{ROOT}{name}/{digest}/{number}"


def parse_chunk_topic(topic: str) -> tuple[str, str, int] | None:
    """Name, digest and number; None for any other topic."""
    found = _CHUNK_TOPIC.fullmatch(topic)
    return (found[1], found[2], int(found[3])) if found else None


def offer_change(digest: str) -> str:
    """The id of the change by which a car takes an offer: the same on every car."""
    return f"offer-{digest[:32]}"


def chunk_count(size: int, chunk_bytes: int) -> int:
    """How many chunks a payload of `size` bytes has."""
    return -(-size // chunk_bytes)


MODEL_WANTED = Topic(
    "model.wanted",
    ModelWanted,
    TopicKind.STATE,
    "which offers and which chunks of one the bridge is to bring",
)
