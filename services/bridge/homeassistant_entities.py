"""The entities that Home Assistant shows of a car, derived from the tables of topics and commands.

A topic may be empty (`smartcar mqtt forget` clears it) or come from a car that is off: each template is
rendered only where the message is JSON, and renders a value that the entity takes, or none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, get_args

from messages.capture_commands import DEFAULT_SOURCE
from messages.command import COMMANDS
from messages.errors import ErrorCode
from messages.health import ServiceState
from messages.models import ModelState
from messages.pad import BOXES
from messages.topics import topic
from messages.vision import ReadingEvent
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
            **{key: self._careful(key, value) for key, value in self.config.items()},
        }

    def _careful(self, key: str, value: Any) -> Any:
        """Of a message that is no JSON object a template renders nothing known, or no attributes."""
        if key not in ("value_template", "json_attributes_template"):
            return value
        nothing = "{}" if key.startswith("json") else "" if self.platform in ("event", "update") else "None"
        return f"{{% if value_json is mapping %}}{value}{{% else %}}{nothing}{{% endif %}}"


_BEFORE = "this.state if this.state not in ['unknown', 'unavailable'] else none"
"""In a template: what the entity shows already."""

OBJECTIONS = tuple(
    reason.value
    for reason in (
        ErrorCode.UNSIGNED,
        ErrorCode.UNKNOWN_KEY,
        ErrorCode.BAD_SIGNATURE,
        ErrorCode.BAD_OFFER,
        ErrorCode.EXPIRED,
        ErrorCode.NOT_FOR_THIS_CAR,
        ErrorCode.OLDER,
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


class Entities:
    """The entities of one car, each kind from the tables that it shows."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = car_prefix(settings.car.name)
        self._sources = (DEFAULT_SOURCE, *settings.capture.sources)
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
        event, on = self._said("reading.event"), "value_json.phase != 'end'"
        return [
            Entity("reading", "sensor", "Last reading", {
                "icon": "mdi:numeric",
                "state_topic": event,
                "value_template": f"{{{{ value_json.text if {on} else {_BEFORE} }}}}",
                "json_attributes_topic": event,
                "json_attributes_template": "{{ {'phase': value_json.phase, 'model': value_json.model.name,"
                " 'latency_ms': value_json.latency_ms, 'frame_id': value_json.frame_id} | tojson }}",
            }),
            Entity("code", "event", "Code", {
                "icon": "mdi:numeric",
                "event_types": list(get_args(ReadingEvent.model_fields["phase"].annotation)),
                "state_topic": event,
                "value_template": "{{ {'event_type': value_json.phase, 'text': value_json.text,"
                " 'confidence': value_json.confidence, 'event_id': value_json.event_id,"
                " 'model': value_json.model.name} | tojson }}",
            }),
            Entity("confidence", "sensor", "Confidence", {
                "icon": "mdi:percent-outline",
                "state_topic": event,
                "value_template": f"{{{{ (100 * value_json.confidence) | round(1) if {on} else '' }}}}",
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
        capture = self._said("health", "capture")
        camera = Entity("camera", "switch", "Camera", {
            "icon": "mdi:camera",
            "command_topic": self._command("capture.camera"),
            "payload_on": '{"on": true}',
            "payload_off": '{"on": false}',
            "state_topic": capture,
            "value_template": "{{ 'off' if value_json.state == 'off' else 'on' }}",
            "state_on": "on",
            "state_off": "off",
        }, here="capture.camera" in self._taken)  # fmt: skip
        source = Entity("source", "select", "Source", {
            "icon": "mdi:import",
            "command_topic": self._command("capture.source"),
            "command_template": "{{ {'name': value} | tojson }}",
            "state_topic": capture,
            "options": list(self._sources),
            "value_template": f"{{% set now = value_json.details.source_name | default('') %}}"
            f"{{{{ now if now in {list(self._sources)} else none }}}}",
        }, here="capture.source" in self._taken)  # fmt: skip
        answer = Entity("answer", "sensor", "Last command", {
            "icon": "mdi:message-alert-outline",
            "state_topic": f"{self._prefix}{documents.REPLY}/#",
            "value_template": "{{ value_json.error.message"
            f"[:{LONGEST_STATE}] if value_json.error else 'done' }}}}",
            "json_attributes_topic": f"{self._prefix}{documents.REPLY}/#",
            "json_attributes_template": "{{ {'id': value_json.id, 'code': value_json.error.code"
            " if value_json.error else ''} | tojson }}",
        }, here=bool(self._taken))  # fmt: skip
        writing = Entity("write", "text", "Write on the pad", {
            "icon": "mdi:pencil",
            "command_topic": self._command("pad.write"),
            "command_template": "{{ {'digits': value} | tojson }}",
            "min": 1,
            "max": BOXES,
            "pattern": "^[0-9-]*$",
        }, here="pad.write" in self._taken)  # fmt: skip
        buttons = [
            Entity(verb.replace(".", "_"), "button", name, {
                "command_topic": self._command(verb),
                "payload_press": "{}",
            }, here=verb in self._taken)
            for verb, name in _BUTTONS.items()
        ]  # fmt: skip
        return [camera, source, writing, *buttons, _diagnostic(answer)]

    def update(self, models: ModelState | None) -> Entity:
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
        "value_template": f"{{% set now = {value} | default(this.state) %}}"
        f"{{{{ now if now in {list(options)} else none }}}}",
    }


def _diagnostic(entity: Entity) -> Entity:
    entity.config["entity_category"] = "diagnostic"
    return entity
