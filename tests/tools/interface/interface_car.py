"""A whole car on a real broker: it is sent every command that MQTT takes, and says all it has to say."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from paho.mqtt.client import topic_matches_sub

from messages.vision import GreyImage
from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from tests.conftest import wait_for
from tests.models.making import rewritten
from tests.services.bridge.kit import CAR, PREFIX, Client, Mosquitto, Received
from tests.tools.car import running_car, smartcar
from tools.interface.channels import Said, said, shared, taken
from tools.interface.examples import Asked, Examples

BAR = [[60, 60], [58, 100], [57, 140]]
"""A stroke that is a 1 in the first box."""
LONG = 2000
"""A text longer than this is cut in what is recorded."""

Content = dict[str, Any]


def _interesting(topic: str) -> Callable[[Content], object]:
    """Which of a topic's messages is the example."""
    chosen: dict[str, Callable[[Content], object]] = {
        "status": lambda each: each["state"] == "ready",
        "status/<service>": lambda each: each["source"] == "recognizer" and each["state"] == "ready",
        "metrics": lambda each: each["services"].keys() >= {"capture", "recognizer", "bridge"},
        "state/reading": lambda each: len(each["codes"]) == 1,
        "state/pad": lambda each: len(each["strokes"]) == 1,
        "state/model": lambda each: each["active"]["version"] == "1.2.0" and not each["change"],
        "event/reading": lambda each: each["phase"] == "new",
        "event/model": lambda each: each["step"] == "active",
    }
    return chosen.get(topic, lambda _: True)


def explained() -> list[Said]:
    """The topics that carry JSON."""
    return [row for row in (*said(), *shared()) if row.message is not None]


class InterfaceCar:
    """`ask` sends a command and keeps it with its answer; `heard` is the example of each topic."""

    def __init__(self, client: Client, key: SigningKey, folder: Path, port: int) -> None:
        self.client = client
        self.asked: dict[str, Asked] = {}
        self.port = port
        self._key, self._folder = key, folder

    def ask(self, verb: str, **fields: Any) -> Content:
        command = {"id": f"desk-{len(self.asked) + 1}", **fields}
        asked = Asked(command=command, reply=self.send(verb, command))
        assert asked.reply["status"] == "ok", asked.reply
        self.asked.setdefault(verb, asked)
        return asked.reply

    def send(self, verb: str, command: Content) -> Content:
        """The answer to a command."""
        before = len(self.client.inbox.messages)
        self.client.publish(f"cmd/{verb.replace('.', '/')}", json.dumps(command))
        return self.answer(verb, command["id"], since=before)

    def answer(self, verb: str, command_id: str, since: int = 0) -> Content:
        """The answer to a command that somebody sent."""
        topic = f"reply/{verb.replace('.', '/')}"
        came = self.wait(topic, lambda each: each["id"] == command_id, since)
        assert not came.retain
        return _content(came)

    def wait(self, topic: str, fits: Callable[[Content], object], since: int = 0) -> Received:
        """The first message that fits on a topic, or on one of its kind."""

        def look() -> Received | None:
            for each in list(self.client.inbox.messages)[since:]:
                if _is_of(topic, each.topic.removeprefix(PREFIX)) and fits(_content(each)):
                    return each
            return None

        found = wait_for(look, what=topic)
        assert found is not None
        return found

    def bundle(self, name: str, release: int) -> Bundle:
        """A signed one of the shipped network."""
        folder = self._folder / f"{name}-{release}"
        rewritten(folder, lambda manifest: manifest.update(name=name, version="1.2.0", release=release))
        (folder / "manifest.sig").write_bytes(self._key.sign((folder / "manifest.json").read_bytes()))
        return Bundle.load(folder)

    def install(self, bundle: Bundle, **fields: Any) -> None:
        self.ask("model.install", content=base64.b64encode(pack(bundle)).decode(), **fields)

    def publish(self, *words: str) -> None:
        """Offer a bundle to every car of the broker, or withdraw it."""
        done = smartcar(self._folder, "model", "publish", *words, "--broker", f"127.0.0.1:{self.port}")
        assert done.returncode == 0, done.stderr

    def settled(self, step: str, since: int) -> None:
        """Until a change of the model has ended so."""
        self.wait("event/model", lambda each: each["step"] == step, since)

    def everything(self) -> None:
        """Send every command, and wait until every topic was heard."""
        self.ask("pad.erase")
        self.ask("pad.stroke", points=BAR)
        self.wait("state/pad", _interesting("state/pad"))
        self.ask("pad.save")
        self.ask("pad.show")
        self.ask("pad.recognize")
        self.ask("pad.undo")
        self.ask("pad.write", digits="06234", seed=1)
        self.ask("pad.play", strokes=[BAR])
        self.ask("pad.brush", radius=5)
        self.ask("pad.automatic", on=False)
        self.wait("event/reading", _interesting("event/reading"))
        self.ask("capture.snapshot")
        self.ask("capture.source", name="garden")
        self.ask("capture.camera", on=False)
        self.ask("capture.pause")
        self.ask("capture.resume")
        paper = GreyImage(width=28, height=28, pixels=(b"\xff" * 13 + b"\0\0" + b"\xff" * 13) * 28)
        box = {"x": 0, "y": 0, "width": 28, "height": 28}
        self.ask("recognizer.read", image=paper.model_dump(mode="json"), boxes=[box])
        self._models()
        for row in explained():
            self.heard(row.topic)

    def examples(self) -> Examples:
        """What was said and answered."""
        refused = {"id": "desk-99", "name": "cellar"}
        return Examples(
            said={row.topic: self.heard(row.topic) for row in explained()},
            asked=self.asked,
            refused=Asked(command=refused, reply=self.send("capture.source", refused)),
        )

    def _models(self) -> None:
        first, second = self.bundle("digits", 12), self.bundle("spare", 1)
        since = len(self.client.inbox.messages)
        self.install(first)
        self.settled("active", since)
        self.wait("state/model", _interesting("state/model"))
        since = len(self.client.inbox.messages)
        self.install(second, activate=False)
        self.settled("kept", since)
        self.ask("model.list")
        self.ask("model.remove", model=second.digest[:12])
        since = len(self.client.inbox.messages)
        self.ask("model.rollback")
        self.settled("active", since)
        since = len(self.client.inbox.messages)
        self.ask("model.activate", model="previous")
        self.settled("active", since)
        self.ask("model.unpin")
        self.ask("model.pin")
        self.publish(str(self.bundle("lab", 3).folder), "--wait", "0")
        self.publish("--withdraw", "lab")

    def heard_on(self, topic: str) -> list[Content]:
        """All that came on a topic, or on those of a pattern, whoever it is below."""
        return [
            _content(each)
            for each in list(self.client.inbox.messages)
            if topic_matches_sub(topic, each.topic) and each.payload
        ]

    def heard(self, topic: str) -> Content:
        """The message that is the topic's example."""
        return _content(self.wait(topic, _interesting(topic)))


@contextmanager
def interface_car(folder: Path) -> Iterator[InterfaceCar]:
    """It takes every command that can be taken from MQTT."""
    broker = Mosquitto(folder)
    broker.start()
    key = SigningKey.generate()
    settings = {
        "MQTT__HOST": "127.0.0.1",
        "MQTT__PORT": str(broker.port),
        "MQTT__COMMANDS": json.dumps([row.verb for row in taken()]),
        "MODELS__FOLLOW": '["spare"]',  # which nobody offers
        "MODELS__TRUST": json.dumps([key.public.text]),
        "MODELS__TRIAL_SECONDS": "0.2",
        "MODELS__TRIAL_INFERENCES": "10",
        "CAPTURE__SOURCES": '{garden = "scene:"}',
        "RECOGNIZER__MIN_DIGITS": "3",
    }
    try:
        with Client(broker.port) as client:
            client.client.subscribe("#", 1)
            with running_car(folder, **settings) as car:
                car.wait_ready()
                yield InterfaceCar(client, key, folder, broker.port)
    finally:
        broker.stop()


def recorded(examples: Examples) -> Examples:
    """As they are kept: of a car called mycar, with what is very long cut."""
    text = json.dumps(_cut(examples.model_dump()), ensure_ascii=False).replace(CAR, "mycar")
    text = re.sub(r"(Linux [0-9.]+)[^\"]*", r"\1", text)  # a kernel of no particular machine
    return Examples.model_validate_json(text)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONG else value[:96]  # still base64
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each) for each in value]
    return value


def _content(came: Received) -> Content:
    try:
        content = json.loads(came.payload)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_of(kind: str, topic: str) -> bool:
    parts, others = kind.split("/"), topic.split("/")
    return len(parts) == len(others) and all(
        part.startswith("<") or part == other for part, other in zip(parts, others, strict=True)
    )
