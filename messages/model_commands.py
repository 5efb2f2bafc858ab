"""What one may ask of the updater."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from messages.command import Command, Door, Result
from messages.models import ModelProgress, Step, StoredModel
from messages.offers import MAX_CHUNK_BYTES, MAX_OFFER_BYTES, Digest, OfferName, StandingOffer, Url
from messages.vision import ModelInfo

MAX_INLINE_BYTES = 5 << 20
"""Of a model within a command; a larger one is uploaded before."""
MAX_PART_BYTES = 2 << 20
MAX_UPLOAD_BYTES = 128 << 20
"""More than any file of a digit model that a car takes."""

UploadId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")]
FileName = Annotated[str, Field(max_length=128, pattern=r"^[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$")]
ModelName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z.-]+$")]


class ModelCommand(Command):
    """Base of the commands about models."""

    service = "updater"


class ModelChange(Result):
    """A change was begun; how it goes, `model.progress` says under the same id."""

    change: str
    step: Step
    model: ModelInfo | None = None


class ModelUploaded(Result):
    """How much of the file is there."""

    size: int


class ModelUpload(ModelCommand):
    """Hand over a large file part by part, in order; then name it in `upload`. A new one ends the last."""

    verb = "model.upload"
    result = ModelUploaded
    about = "hand over a part of a model file, in base64"

    upload: UploadId
    """Names the file until it is taken."""
    offset: Annotated[int, Field(ge=0, le=MAX_UPLOAD_BYTES)]
    """0 begins anew."""
    content: Annotated[bytes, Field(min_length=1, max_length=MAX_PART_BYTES)]


class FileCommand(ModelCommand):
    """A command that comes with a file: in itself, or uploaded before."""

    content: Annotated[bytes, Field(max_length=MAX_INLINE_BYTES)] = b""
    upload: UploadId | None = None
    activate: bool = True
    """Else the model is only kept in the store."""

    @model_validator(mode="after")
    def _has_one_file(self) -> Self:
        if bool(self.content) == (self.upload is not None):
            raise ValueError("it comes with its content, or with the name of an upload")
        return self


class ModelInstall(ModelCommand):
    """Take a signed bundle: its zip as `content` or an `upload`, one at a `url`, or what is offered by name.

    The answer comes once size, hash and signature are checked, as far as they can be before it is fetched.
    """

    verb = "model.install"
    result = ModelChange
    about = "take a signed bundle: its zip in base64, at a URL, or the offer of a name"
    doors = Door.PAGE, Door.MQTT

    content: Annotated[bytes, Field(max_length=MAX_INLINE_BYTES)] = b""
    upload: UploadId | None = None
    offer: OfferName | None = None
    """The offer of that name is taken now, followed or not, pinned or not."""
    url: Url | None = None
    """Of the bundle's zip; `sha256` and `size` say which bytes are meant."""
    sha256: Digest | None = None
    size: Annotated[int, Field(ge=1, le=MAX_UPLOAD_BYTES)] | None = None
    activate: bool = True
    """Else the model is only kept in the store."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        ways = (bool(self.content), self.upload is not None, self.offer is not None, self.url is not None)
        if sum(ways) != 1:
            raise ValueError("it comes with one of content, upload, offer and url")
        if (self.url is None) != (self.sha256 is None) or (self.url is None) != (self.size is None):
            raise ValueError("a url comes with sha256 and size")
        return self


class ModelImport(FileCommand):
    """Take a model file at the car, as if it lay in the data folder: no signature is asked for."""

    verb = "model.import"
    result = ModelChange
    about = "take a model file of the owner's, as if it lay in the data folder"

    name: FileName


class ModelOffer(ModelCommand):
    """An offer as it stands on the broker; empty where it was withdrawn. What isn't one is refused."""

    verb = "model.offer"
    about = "hand over an offer from the broker (for the bridge)"

    name: OfferName
    content: Annotated[bytes, Field(max_length=MAX_OFFER_BYTES + 1)]


class ModelChunk(ModelCommand):
    """A chunk as it stands on the broker. What isn't wanted is passed over."""

    verb = "model.chunk"
    about = "hand over a chunk of an offer (for the bridge)"

    digest: Digest
    number: Annotated[int, Field(ge=0)]
    content: Annotated[bytes, Field(max_length=MAX_CHUNK_BYTES + 1)]


class ModelActivate(ModelCommand):
    """Take a model from the store, older or not, and pin it."""

    verb = "model.activate"
    result = ModelChange
    about = "take a model from the store (its digest or the start of it, previous, factory), and pin it"
    doors = Door.PAGE, Door.MQTT

    model: ModelName


class ModelRollback(ModelCommand):
    verb = "model.rollback"
    result = ModelChange
    about = "go back to the previous model at once, and pin it"
    doors = Door.PAGE, Door.MQTT


class ModelPins(Result):
    pinned: bool
    active: ModelInfo


class ModelPin(ModelCommand):
    verb = "model.pin"
    result = ModelPins
    about = "keep the active model: no bundle from elsewhere replaces it"
    doors = Door.PAGE, Door.MQTT


class ModelUnpin(ModelCommand):
    verb = "model.unpin"
    result = ModelPins
    about = "let bundles from elsewhere replace the active model again"
    doors = Door.PAGE, Door.MQTT


class ModelTable(Result):
    models: tuple[StoredModel, ...]
    pinned: bool
    trial: str = ""
    """The digest on trial."""
    history: tuple[ModelProgress, ...] = ()
    """The latest steps of changes, the newest last."""
    offers: tuple[StandingOffer, ...] = ()
    """What stands on the broker of the names that are followed."""


class ModelList(ModelCommand):
    verb = "model.list"
    result = ModelTable
    about = "the models in the store, the newest first"
    doors = Door.PAGE, Door.MQTT


class ModelRemove(ModelCommand):
    """Active, previous and factory models stay."""

    verb = "model.remove"
    result = ModelPins
    about = "take a model out of the store (its digest or the start of it)"
    doors = Door.PAGE, Door.MQTT_OPT_IN

    model: ModelName
