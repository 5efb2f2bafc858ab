"""The table of settings: every section, key, bound, default and explanation stands here and nowhere else."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from messages.command import Door, verbs
from messages.offers import OfferName
from services import board

COURSE_FOLDER = Path("/home/pi/Smart_Car2/data")
DISTRIBUTIONS_NAMES = frozenset(
    ["raspberrypi", "debian", "ubuntu", "armbian", "dietpi", "orangepi", "fedora", "localhost", "car"]
)
"""Host names that many machines have: nobody chose them."""

Port = Annotated[int, Field(ge=0, le=65535)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$")]


def _number(value: object) -> object:
    """An environment variable holds text, which is none of a literal's numbers."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


QuarterTurns = Annotated[Literal[0, 90, 180, 270], BeforeValidator(_number)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def host_name() -> str:
    """This machine's, as a car may be called."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname().split(".")[0]).strip("-")[:40] or "car"


def default_car_name() -> str:
    """The host name, and the last four digits of the board's serial: every new Pi is called `raspberrypi`.

    A machine without a serial has its network card's, where its host name is a distribution's.
    """
    host, serial = host_name(), board.serial()
    if serial is None and host.lower() in DISTRIBUTIONS_NAMES:
        serial = board.network_address() or board.machine_id()
    return f"{host}-{serial[-4:]}" if serial else host


def default_runtime() -> Path:
    """A tmpfs folder for sockets and frames: the car's, else this login's."""
    system = Path("/run/smartcar")
    if os.access(system, os.X_OK):  # the services', and that of people in the group smartcar
        return system
    login = os.environ.get("XDG_RUNTIME_DIR")
    if login and os.access(login, os.W_OK):
        return Path(login) / "smartcar"
    return Path(f"/dev/shm/smartcar-{os.getuid()}")


def default_state() -> Path:
    """What must survive a restart: the car's folder, else this user's."""
    system = Path("/var/lib/smartcar")
    if os.access(system, os.X_OK):
        return system
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "smartcar"


def _not_taken(name: str) -> str:
    if name == "models":
        raise ValueError("`models` is where models are offered on MQTT; give the car another name")
    return name


class Car(Section):
    name: Annotated[Name, AfterValidator(_not_taken)] = Field(default_factory=default_car_name)
    """How this car is called on MQTT: `smartcar/<name>/…`."""


class Paths(Section):
    runtime: Path = Field(default_factory=default_runtime)
    """Sockets and frames; on tmpfs, and short: a socket's path may have 107 bytes."""
    state: Path = Field(default_factory=default_state)
    """Journals, tokens, models: what must survive a restart."""


class Capture(Section):
    source: Annotated[str, Field(min_length=1)] = "scene:"
    """`camera:` (whichever is there), `camera:0`, `/dev/v4l/by-id/…`, `picamera:`, a video file,
    `folder:PATH`, an http or rtsp URL, `scene:`, or a name from `sources`."""
    sources: dict[Name, str] = {}
    """Named sources, to switch between with the command `capture.source`."""
    width: Annotated[int, Field(ge=64, le=4096)] = 640
    """Frames are at most this wide, in pixels."""
    height: Annotated[int, Field(ge=64, le=4096)] = 480
    """Frames are at most this high, in pixels."""
    hertz: Annotated[float, Field(gt=0, le=120)] = 30.0
    """Frames a second."""
    rotate: QuarterTurns = 0
    """Clockwise, in degrees, for a camera that is mounted otherwise."""
    exposure_us: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """A camera's exposure in microseconds. 0: automatic."""
    gain: Annotated[float, Field(ge=0, le=100_000)] = 0.0
    """A camera's gain: the Raspberry Pi's is a factor from 1, others have their own. 0: automatic."""
    autofocus: bool = True
    """Let a camera that can focus by itself do so; else it stays as it is."""
    picamera_python: Path = Path("/usr/bin/python3")
    """The Python that has picamera2: the system's."""
    photo_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    """How long each photo of a folder is shown."""
    loop: bool = True
    """Start a video file or a folder again when it ends."""


class Recognizer(Section):
    bundle: Path | None = None
    """The model to read with: a bundle's folder. Unset: the one that comes with smartcar."""
    certainty: Annotated[float, Field(ge=0, le=1)] = 0.7
    """A digit read with less confidence is `?`."""
    min_digits: Annotated[int, Field(ge=1, le=32)] = 1
    """Lines with fewer digits are no code."""
    decide_frames: Annotated[int, Field(ge=1, le=300)] = 3
    """A code is reported once it was read in this many frames."""
    forget_seconds: Annotated[float, Field(gt=0, le=60)] = 0.7
    """A code unseen for this long has left."""


class Models(Section):
    inbox: Path | None = None
    """The data folder: a model put there is taken. Unset: /home/pi/Smart_Car2/data, else paths.state/data."""
    trust: Annotated[tuple[str, ...], Field(max_length=2)] = ()
    """Public keys, as `smartcar keys` prints them: `model.install` takes what these sign."""
    follow: Annotated[tuple[OfferName, ...], Field(max_length=16)] = ()
    """Names of models: what is published of these on the broker is taken by itself, if `trust` signed it."""
    groups: tuple[Name, ...] = ()
    """Groups of cars that this one belongs to: bundles may be for a group."""
    keep: Annotated[int, Field(ge=0, le=100)] = 3
    """So many models are kept beside the active, the previous and the shipped one."""
    trial_inferences: Annotated[int, Field(ge=1, le=100_000)] = 50
    """A new model is on trial until it has read this many digits without a fault, and"""
    trial_seconds: Annotated[float, Field(ge=0, le=3600)] = 3.0
    """for this long."""


class Overlay(Section):
    host: str = "127.0.0.1"
    """Where the page listens. Anything but loopback lets the network in."""
    port: Port = 8080
    """The page's port; 0 takes a free one."""
    hertz: Annotated[float, Field(gt=0, le=60)] = 15.0
    """Pictures a second in the live view."""
    jpeg_quality: Annotated[int, Field(ge=10, le=100)] = 80
    """Of the live view."""
    cert_file: Path | None = None
    """The page's certificate, in PEM; with it the page is encrypted. `smartcar install --page` makes one."""
    key_file: Path | None = None
    """Its key. Unset: the systemd credential `page-key`."""


def _commands_over_mqtt() -> tuple[str, ...]:
    from services import catalogue  # fills the table of commands; its services import this module

    assert catalogue.COMMANDS
    return verbs(Door.MQTT)


class Mqtt(Section):
    host: str = ""
    """The broker. Empty: no broker, the bridge is off (`smartcar up` then starts an embedded one)."""
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    """1883, or 8883 with TLS."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version. `auto`: 5, and 3.1.1 where the broker speaks no 5."""
    username: str = ""
    """Empty: no login."""
    password_file: Path | None = None
    """The file whose first line is the password. Unset: the systemd credential `mqtt-password`."""
    tls: bool = False
    """Encrypt, and check the broker's certificate."""
    ca_file: Path | None = None
    """Who signed the broker's certificate; unset: the system's authorities."""
    cert_file: Path | None = None
    """This car's certificate, where the broker wants one."""
    key_file: Path | None = None
    """Its key. Unset: the systemd credential `mqtt-key`."""
    keepalive: Annotated[int, Field(ge=2, le=3600)] = 20
    """Seconds after which a silent connection counts as lost."""
    images: bool = True
    """Publish a small JPEG of the last decided reading."""
    discovery: Annotated[str, Field(pattern=r"^([^/+#\s]+(/[^/+#\s]+)*)?$", max_length=64)] = "homeassistant"
    """Home Assistant's discovery prefix: it finds the car by itself. Empty: it is not told."""
    commands: tuple[str, ...] = Field(default_factory=_commands_over_mqtt)
    """Which commands are taken from MQTT."""

    @property
    def ways(self) -> tuple[Mqtt, ...]:
        """One for each version to try, in their order."""
        versions = ("5", "3.1.1") if self.protocol == "auto" else (self.protocol,)
        return tuple(self.model_copy(update={"protocol": each}) for each in versions)


class Journals(Section):
    max_megabytes: Annotated[int, Field(ge=1, le=4096)] = 64
    """Beyond this the oldest events go, unsent too; the count is shown."""
    max_days: Annotated[float, Field(gt=0, le=3650)] = 30.0
    """Older events go."""


class Log(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is said."""


class Settings(Section):
    """All settings."""

    car: Car = Field(default_factory=Car)
    paths: Paths = Field(default_factory=Paths)
    capture: Capture = Field(default_factory=Capture)
    recognizer: Recognizer = Field(default_factory=Recognizer)
    models: Models = Field(default_factory=Models)
    overlay: Overlay = Field(default_factory=Overlay)
    mqtt: Mqtt = Field(default_factory=Mqtt)
    journals: Journals = Field(default_factory=Journals)
    log: Log = Field(default_factory=Log)

    @property
    def store(self) -> Path:
        """Where the car's models lie."""
        return self.paths.state / "models"

    @property
    def inbox(self) -> Path:
        """Where the owner puts models."""
        if self.models.inbox is not None:
            return self.models.inbox
        return COURSE_FOLDER if os.path.isdir(COURSE_FOLDER) else self.paths.state / "data"
