"""What Home Assistant is told about a car: one device with its entities, derived from the tables.

The format is that of its MQTT device discovery (2024.11 and later):
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from messages.command import COMMANDS
from messages.health import ServiceState
from messages.models import ModelState
from messages.pad import BOXES
from messages.topics import topic
from models.refusal import Reason
from services.board import Board
from services.bridge import documents
from services.bridge.car_health import SILENT
from services.bridge.documents import CarState, car_prefix
from services.config import Settings
from services.service import SERVICES

LONGEST_STATE = 255
"""Of an entity, in characters."""

Config = dict[str, Any]


@dataclass(frozen=True)
class Entity:
    """One entity. Where it isn't `here`, it is taken away from a Home Assistant that knows it from before."""

    key: str
    platform: str
    name: str
    config: Config = field(default_factory=dict)
    here: bool = True

    def component(self, car: str) -> Config:
        if not self.here:
            return {"platform": self.platform}
        return {
            "platform": self.platform,
            "name": self.name,
            "unique_id": f"smartcar_{car}_{self.key}",
            "qos": 1,
            **self.config,
        }


def device_topic(settings: Settings) -> str:
    """Where the car is announced; empty where it isn't to be."""
    prefix = settings.mqtt.discovery
    return f"{prefix}/device/smartcar-{settings.car.name}/config" if prefix else ""


def birth_topic(settings: Settings) -> str:
    """Where Home Assistant says `online` when it starts."""
    return f"{settings.mqtt.discovery}/status"


def device(settings: Settings, board: Board, models: ModelState | None) -> Config:
    """The announcement. `models`: what the updater said last."""
    car = settings.car.name
    prefix = car_prefix(car)
    entities = _Entities(settings, prefix)
    return {
        "dev": {
            "identifiers": [f"smartcar-{car}"],
            "name": car,
            "manufacturer": "smartcar",
            "model": documents.hardware(),
            "sw_version": documents.version(),
        },
        "o": {"name": "smartcar", "sw_version": documents.version()},
        "availability": [
            {
                "topic": prefix + documents.STATUS,
                "value_template": "{{ 'offline' if value_json.state in ['lost', 'stopped'] else 'online' }}",
            }
        ],
        "cmps": {
            each.key: each.component(car)
            for each in (
                *entities.readings(),
                *entities.health(board),
                *entities.controls(),
                entities.update(models),
            )
        },
    }


OBJECTIONS = tuple(
    reason.value
    for reason in (
        Reason.UNSIGNED,
        Reason.UNKNOWN_KEY,
        Reason.BAD_SIGNATURE,
        Reason.BAD_OFFER,
        Reason.EXPIRED,
        Reason.NOT_FOR_THIS_CAR,
        Reason.OLDER,
    )
)
"""Why an offer is taken by nobody's hand."""


def on_offer(models: ModelState) -> str:
    """The name of the offer that could be taken and is not read with yet; empty where there is none."""
    for each in models.offers:
        if each.digest != models.active.digest and each.reason not in OBJECTIONS:
            return each.name
    return ""


_OFFER = (
    "{% set offer = value_json.offers | rejectattr('digest', 'eq', value_json.active.digest)"
    f" | rejectattr('reason', 'in', {list(OBJECTIONS)}) | first | default(none) %}}"
)
"""As `on_offer` chooses."""
_UPDATE = (
    "{% set active = value_json.active %}"
    "{% set now = active.name ~ ' ' ~ active.version %}" + _OFFER + "{% if offer %}"
    "{% set going = value_json.change != '' or offer.reason == '' %}"
    "{% set then = offer.name ~ ' ' ~ offer.version %}"
    "{{ {'installed_version': now, 'title': offer.name, 'release_summary': offer.sentence,"
    " 'latest_version': then if then != now else then ~ ' (' ~ offer.digest[:8] ~ ')',"
    " 'update_percentage': offer.percent if going and offer.percent < 100 else none,"
    " 'in_progress': going} | tojson }}"
    "{% else %}"
    "{{ {'installed_version': now, 'latest_version': now, 'title': active.name, 'release_summary': '',"
    " 'update_percentage': none, 'in_progress': value_json.change != ''} | tojson }}"
    "{% endif %}"
)

_BUTTONS = {
    "model.rollback": "Roll the model back",
    "model.unpin": "Follow offers again",
    "pad.recognize": "Read the pad",
    "pad.erase": "Erase the pad",
}
"""Commands without fields that are worth a button."""


class _Entities:
    def __init__(self, settings: Settings, prefix: str) -> None:
        self._prefix = prefix
        self._images = settings.mqtt.images
        self._taken = settings.mqtt.commands

    def _said(self, name: str, source: str = "") -> str:
        """Where a topic of the bus appears."""
        mirror = topic(name).mirror
        assert mirror is not None
        return self._prefix + mirror.topic.format(source=source)

    def _command(self, verb: str) -> str:
        assert verb in COMMANDS
        return f"{self._prefix}{documents.COMMAND}/{verb.replace('.', '/')}"

    def readings(self) -> list[Entity]:
        """What the car reads: in view, last, on the pad."""
        event, last = self._said("reading.event"), "value_json.phase != 'end'"
        return [
            Entity("reading", "sensor", "Last reading", {
                "icon": "mdi:numeric",
                "state_topic": event,
                "value_template": f"{{{{ value_json.text if {last} else this.state }}}}",
                "json_attributes_topic": event,
                "json_attributes_template": "{{ {'phase': value_json.phase, 'model': value_json.model.name,"
                " 'latency_ms': value_json.latency_ms, 'frame_id': value_json.frame_id} | tojson }}",
            }),
            Entity("confidence", "sensor", "Confidence", {
                "icon": "mdi:percent-outline",
                "state_topic": event,
                "value_template": f"{{{{ (100 * value_json.confidence) | round(1) if {last} else '' }}}}",
                "unit_of_measurement": "%",
                "state_class": "measurement",
            }),
            Entity("in_view", "sensor", "In view", {
                "icon": "mdi:eye",
                "state_topic": self._said("reading"),
                "value_template": "{{ (value_json.codes | map(attribute='text') | join(' '))"
                f"[:{LONGEST_STATE}] }}}}",
            }),
            Entity("picture", "image", "Picture", {
                "image_topic": self._said("reading.image"),
                "content_type": "image/jpeg",
            }, here=self._images),
            Entity("pad", "sensor", "On the pad", {
                "icon": "mdi:draw",
                "state_topic": self._said("pad.canvas"),
                "value_template": "{{ value_json.text }}",
            }),
        ]  # fmt: skip

    def health(self, board: Board) -> list[Entity]:
        """How the car, its board and its services are."""
        status, metrics = self._prefix + documents.STATUS, self._prefix + documents.METRICS
        found: list[Entity] = [
            Entity("connected", "binary_sensor", "Connected", {
                "device_class": "connectivity",
                "availability": [],
                "state_topic": status,
                "value_template": "{{ 'OFF' if value_json.state in ['lost', 'stopped'] else 'ON' }}",
            }),
            Entity("state", "sensor", "State", _choice(status, get_args(CarState), "value_json.state")),
            Entity("temperature", "sensor", "Temperature", {
                "device_class": "temperature",
                "unit_of_measurement": "°C",
                "state_class": "measurement",
                "state_topic": metrics,
                "value_template": "{{ value_json.temperature_c }}",
            }, here=board.temperature_c is not None),
            Entity("under_voltage", "binary_sensor", "Power supply", {
                "device_class": "problem",
                "state_topic": metrics,
                "value_template": "{{ 'ON' if value_json.under_voltage else 'OFF' }}",
            }, here=board.under_voltage is not None),
            Entity("memory", "sensor", "Memory", {
                "device_class": "data_size",
                "unit_of_measurement": "MiB",
                "state_class": "measurement",
                "state_topic": metrics,
                "value_template": "{{ value_json.memory_mb }}",
            }),
            Entity("frame_rate", "sensor", "Frame rate", {
                "icon": "mdi:speedometer",
                "unit_of_measurement": "fps",
                "state_class": "measurement",
                "state_topic": metrics,
                "value_template": "{{ value_json.services.get('capture', {}).get('rates', {})"
                ".get('frames', 0) }}",
            }),
        ]  # fmt: skip
        for name in SERVICES:
            config = _choice(status, (*get_args(ServiceState), SILENT), f"value_json.services.{name}")
            config["json_attributes_topic"] = self._said("health", name)
            config["json_attributes_template"] = "{{ {'reason': value_json.reason} | tojson }}"
            found.append(Entity(f"service_{name}", "sensor", f"Service {name}", config))
        return [_diagnostic(each) for each in found]

    def controls(self) -> list[Entity]:
        """What may be done with the car: only commands that it takes from MQTT."""
        camera = Entity("camera", "switch", "Camera", {
            "icon": "mdi:camera",
            "command_topic": self._command("capture.camera"),
            "payload_on": '{"on": true}',
            "payload_off": '{"on": false}',
            "state_topic": self._said("health", "capture"),
            "value_template": "{{ 'off' if value_json.state == 'off' else 'on' }}",
            "state_on": "on",
            "state_off": "off",
        }, here="capture.camera" in self._taken)  # fmt: skip
        writing = Entity("write", "text", "Write on the pad", {
            "icon": "mdi:pencil",
            "command_topic": self._command("pad.write"),
            "command_template": "{{ {'digits': value} | tojson }}",
            "min": 1,
            "max": BOXES,
            "pattern": "[0-9-]*",
        }, here="pad.write" in self._taken)  # fmt: skip
        buttons = [
            Entity(verb.replace(".", "_"), "button", name, {
                "command_topic": self._command(verb),
                "payload_press": "{}",
            }, here=verb in self._taken)
            for verb, name in _BUTTONS.items()
        ]  # fmt: skip
        return [camera, writing, *buttons]

    def update(self, models: ModelState | None) -> Entity:
        """The model, and what is offered in its place."""
        config: Config = {"state_topic": self._said("model.state"), "value_template": _UPDATE}
        offered = on_offer(models) if models is not None else ""
        if offered and "model.install" in self._taken:
            config["command_topic"] = self._command("model.install")
            config["payload_install"] = f'{{"offer": "{offered}"}}'
        return Entity("model", "update", "Model", config)


def _choice(state_topic: str, options: tuple[str, ...], value: str) -> Config:
    """A sensor of one word. Where the message doesn't name it, it stays as it was."""
    return {
        "device_class": "enum",
        "options": list(options),
        "state_topic": state_topic,
        "value_template": f"{{{{ {value} | default(this.state) }}}}",
    }


def _diagnostic(entity: Entity) -> Entity:
    entity.config["entity_category"] = "diagnostic"
    return entity
