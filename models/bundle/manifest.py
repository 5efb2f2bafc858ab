"""What a bundle says about itself: `manifest.json`."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from math import isclose
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from messages.errors import ErrorCode
from models.bundle.digits import GOLDEN_FILE as GOLDEN_FILE
from models.bundle.digits import MAX_GOLDEN_BYTES, SIDE
from models.bundle.input_shape import picture_shape
from models.refusal import Refusal

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.tflite"
EYE_FILE: Literal["eye.tflite"] = "eye.tflite"
SIGNATURE_FILE = "manifest.sig"
MAX_MANIFEST_BYTES = 64 << 10
MAX_SIGNATURE_BYTES = 4 << 10
MAX_FILE_BYTES = {MODEL_FILE: 32 << 20, GOLDEN_FILE: MAX_GOLDEN_BYTES, EYE_FILE: 4 << 20}
"""The files a bundle may hold beside its manifest and signature, and how large each may be."""
OPTIONAL_FILES = frozenset({EYE_FILE})
"""Of these, those that a bundle may lack."""
MAX_SOURCE_BYTES = 128 << 20
"""Of a file that becomes a bundle, and of what it unpacks to: weights of 28 MB, three times for Keras's
optimizer, and some."""

_NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
_SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII
)

RANGES = {
    "0 to 1": (1 / 255, 0.0),
    "0 to 255": (1.0, 0.0),
    "−1 to 1": (2 / 255, -1.0),
    "−0.5 to 0.5": (1 / 255, -0.5),
    "MNIST's mean 0, deviation 1": (1 / (255 * 0.3081), -0.1307 / 0.3081),
}
"""Scale and offset of the ranges that people train with; the last as in PyTorch's MNIST example."""

Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]


class ManifestSection(BaseModel):
    """A part of the manifest. Unknown fields are ignored, so that an older car reads a newer manifest."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(ManifestSection):
    """One file of the bundle."""

    name: Literal["model.tflite", "golden.npz", "eye.tflite"]
    size: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class InputContract(ManifestSection):
    """How a (28, 28) uint8 crop, ink bright on black, becomes the model's input.

    The value fed is `pixel × scale + offset`, of 255 − pixel where `polarity` is "dark_on_light".
    """

    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1, max_length=4)] = (
        28,
        28,
        1,
    )
    """Of one digit, without the batch: 28 × 28 values in row order, or a picture of another size."""
    dtype: Literal["float32", "uint8", "int8", "int16"] = "float32"
    """Integers stand for the values by the quantization that the model's file states."""
    fit: Literal["resized", "padded"] = "resized"
    """How a crop gets the size of another picture: resized, or unchanged with zeros around it."""
    scale: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1 / 255
    offset: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    polarity: Literal["light_on_dark", "dark_on_light"] = "light_on_dark"

    @model_validator(mode="after")
    def _holds_a_crop(self) -> Self:
        picture = picture_shape(self.shape)
        if picture is None:
            raise ValueError(f"the input's shape {self.shape} is no square picture's")
        if self.fit == "padded" and picture.side < SIDE:
            raise ValueError(f"28 × 28 values do not fit into {picture.side} × {picture.side}")
        return self


class Calibration(ManifestSection):
    """How the model's output becomes probabilities that mean what they say.

    Temperature scaling (Guo et al., 2017, "On Calibration of Modern Neural Networks"): softmax of the logits,
    or of the logarithms of the probabilities, divided by the temperature.
    """

    output: Literal["logits", "probabilities"] = "logits"
    temperature: Annotated[float, Field(ge=0.01, le=100.0, allow_inf_nan=False)] = 1.0
    least: Annotated[float, Field(gt=0.0, lt=0.1, allow_inf_nan=False)] = 1e-12
    """A lower probability counts as this: a model of integers rounds to 0 what is not impossible."""


class GoldenTerms(ManifestSection):
    """What the model must reach on the bundle's own golden digits before it is used."""

    accuracy: Share
    """Floor: this share of them right."""
    latency_ms: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    """Ceiling: five digits classified, median, on the slowest machine we support."""
    source: str = ""
    """Whose digits they are."""


INBOX_TERMS = GoldenTerms(accuracy=0.5, latency_ms=33.0, source="the car's own golden digits")
"""For a file without terms of its own, out of the data folder: mostly right, and done between two frames."""


class DataSet(ManifestSection):
    """Digits that the model was trained or chosen by."""

    name: str
    use: str
    licence: str
    attribution: str
    count: Annotated[int, Field(ge=0)] = 0


class Training(ManifestSection):
    """How the model was made."""

    data: tuple[DataSet, ...] = ()
    commit: str | None = None
    seed: int | None = None
    metrics: dict[str, Any] = {}


class Imported(ManifestSection):
    """Where the model came from that was not issued as a bundle: a file out of the car's data folder."""

    file: Annotated[str, Field(max_length=255)]
    """Its name there."""
    format: Literal["h5", "keras", "tflite"]
    size: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    keras: Annotated[str, Field(max_length=32)] | None = None
    """The version of Keras that wrote it, as it says itself."""
    accuracy: Share
    """On the car's golden digits, when it was imported."""


class Manifest(ManifestSection):
    """Everything a car must know of a model before it opens it."""

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=_NAME)]
    version: Annotated[str, Field(max_length=64)]
    release: Annotated[int, Field(ge=0)]
    """Counts up with every release of this name; a car does not go back by itself."""
    issued: AwareDatetime
    expires: AwareDatetime | None = None
    target: Annotated[str, Field(min_length=1, max_length=128)] = "all"
    """`all`, or the name of a car or a group."""
    files: tuple[FileEntry, ...]
    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[\x21-\x7e]+$")] | None = None
    """Where the files lie one after the other as one, too, for those to whom the bundle is offered."""
    input: InputContract = InputContract()
    labels: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=16)], ...], Field(min_length=2, max_length=64)
    ]
    """What the columns of the model's output stand for."""
    calibration: Calibration = Calibration()
    golden: GoldenTerms
    training: Training = Training()
    imported: Imported | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not _SEMANTIC_VERSION.fullmatch(self.version):
            raise ValueError(f"version {self.version!r} is no semantic version like 1.2.3")
        names = sorted(entry.name for entry in self.files)
        if len(set(names)) < len(names) or not {*MAX_FILE_BYTES} - OPTIONAL_FILES <= {*names}:
            raise ValueError(
                f"files must name {MODEL_FILE} and {GOLDEN_FILE} once each, and {EYE_FILE} once at most, "
                f"not {names}"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must differ from one another")
        return self

    def file(self, name: str) -> FileEntry:
        """The entry of one of the bundle's files."""
        return next(entry for entry in self.files if entry.name == name)

    @property
    def peculiarities(self) -> tuple[str, ...]:
        """How the network wants its digits, in words, as far as that is not the usual way."""
        contract, (usual, *_) = self.input, RANGES.items()
        found = ["dark ink on light ground"] if contract.polarity == "dark_on_light" else []
        for name, (scale, offset) in RANGES.items():
            if name != usual[0] and isclose(scale, contract.scale) and isclose(offset, contract.offset):
                found.append(f"values of {name}")
        picture = picture_shape(contract.shape)
        if picture is not None and picture.side != SIDE:
            found.append(f"pictures of {picture.side}×{picture.side}, {contract.fit}")
        if list(self.labels) != sorted(self.labels):
            found.append(f"labels in the order {' '.join(self.labels)}")
        return tuple(found)

    def has_expired(self, now: datetime) -> bool:
        """Whether the manifest's time has passed at `now`."""
        return self.expires is not None and now >= self.expires


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of manifest.json. Beyond it: the version is semantic, each file is named once."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def admit(
    manifest: Manifest,
    *,
    car: str,
    groups: Collection[str] = (),
    now: datetime | None,
    newest_release: int | None,
) -> None:
    """Whether this car takes the bundle by itself: its target, its time, its release counter.

    `now` is None where the clock was never set: then the time is not asked. `newest_release` is the highest
    release of this name that the car has had. Raises Refusal: not_for_this_car, expired, older.
    """
    title = f"{manifest.name} {manifest.version}"
    if manifest.target not in {"all", car, *groups}:
        raise Refusal(
            ErrorCode.NOT_FOR_THIS_CAR,
            f"{title} is for {manifest.target}; this is {car}, and in no such group.",
        )
    if now is not None and manifest.has_expired(now):
        raise Refusal(
            ErrorCode.EXPIRED, f"{title} expired on {manifest.expires:%Y-%m-%d}; ask for a newer one."
        )
    if newest_release is not None and manifest.release < newest_release:
        raise Refusal(
            ErrorCode.OLDER,
            f"{title} is release {manifest.release}, and this car has had {newest_release}; "
            "smartcar model activate, at the car, still takes it.",
        )
