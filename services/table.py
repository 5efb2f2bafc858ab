"""The table of services. `smartcar run`, `up`, `status` and the tests derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.service import Service


@dataclass(frozen=True)
class ServiceRow:
    """One service: its class is `<module>:<class_name>`, imported only in the process that runs it."""

    name: str
    class_name: str
    about: str

    def load(self) -> type[Service]:
        """The class of the service."""
        cls: type[Service] = getattr(import_module(f"services.{self.name}.service"), self.class_name)
        return cls


SERVICES: dict[str, ServiceRow] = {
    row.name: row
    for row in (
        ServiceRow("capture", "CaptureService", "takes frames from a source into the frame ring"),
        ServiceRow("recognizer", "RecognizerService", "reads digits in the newest frame"),
        ServiceRow("pad", "PadService", "keeps the drawing pad, and has it read"),
        ServiceRow("updater", "UpdaterService", "takes new models, tries them, goes back"),
        ServiceRow("overlay", "OverlayService", "serves the page"),
        ServiceRow("bridge", "BridgeService", "carries events and state to MQTT, commands from it"),
    )
}
