"""A service in one file: a topic that goes to MQTT, a command that page and MQTT may send, and who does it.

`python -m tests.services.horn` runs it, as `python -m services NAME` runs the car's own.
"""

from __future__ import annotations

from messages.command import Command, Door
from messages.message import Message
from messages.topics import Mirror, Topic, TopicKind
from messages.vision import FrameReady
from services import __main__ as main
from services import catalogue
from services.service import Service


class HornState(Message):
    """Whether the horn sounds."""

    on: bool


HORN_STATE = Topic(
    "horn.state",
    HornState,
    TopicKind.STATE,
    "whether the horn sounds",
    mirror=Mirror("state/horn", qos=1, retain=True),
)


class HornSound(Command):
    verb = "horn.sound"
    about = "sound the horn, or end it"
    doors = Door.PAGE, Door.MQTT

    on: bool = True


class HornBreak(Command):
    """Does what no handler should."""

    verb = "horn.break"
    about = "fail, in the handler or in the loop"

    where: str


class HornService(Service):
    """Sounds the horn."""

    name = "horn"
    about = "sounds the horn"
    publishes = (HORN_STATE,)
    handles = {HornSound: "sound", HornBreak: "fail"}
    peers = {"capture": ()}

    def start(self) -> None:
        self.subscribe({"frame": self._frame})
        self.on_stop(lambda: self.details.update(cleaned_up=str(not self.crashed)))
        self.report("ready")

    def sound(self, command: HornSound) -> None:
        self.publish("horn.state", HornState(on=command.on))

    def fail(self, command: HornBreak) -> None:
        if command.where == "handler":
            raise ZeroDivisionError("a fault of the handler's")
        self.after(0.0, lambda: self.fail(HornBreak(where="handler")))

    def _frame(self, frame: FrameReady) -> None:
        raise KeyError("a fault at a message")


if __name__ == "__main__":
    catalogue.add(HornService)
    main.main()
