"""The catalogue: all services, topics and commands of the car, from the six class heads.

`smartcar run`, `up`, `status`, `doctor`, docs/mqtt.md, AsyncAPI and the tests derive from it.
"""

from __future__ import annotations

from messages import command, topics
from messages.command import COMMANDS
from messages.health import HEALTH
from messages.topics import TOPICS
from services.bridge.service import BridgeService
from services.capture.service import CaptureService
from services.overlay.service import OverlayService
from services.pad.service import PadService
from services.recognizer.service import RecognizerService
from services.service import SERVICES, Service
from services.updater.service import UpdaterService

__all__ = ["COMMANDS", "SERVICES", "TOPICS", "add"]


def add(head: type[Service]) -> None:
    """Take a service with its topics and commands into the tables."""
    SERVICES[head.name] = head
    topics.register(head.name, head.publishes)
    command.register(head.handles)


for each in (
    CaptureService,
    RecognizerService,
    PadService,
    UpdaterService,
    OverlayService,
    BridgeService,
):
    add(each)
topics.register("", [HEALTH])
