"""What Home Assistant is told about a car: one device with its entities, derived from the tables.

The format is that of its MQTT device discovery (2024.11 and later):
https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

from typing import Any

from messages.models import ModelState
from services.addresses import page_address
from services.board import Board
from services.bridge import documents
from services.bridge.documents import car_prefix
from services.bridge.homeassistant_entities import Entities
from services.config import Settings

AVAILABLE = (
    "{{ 'online' if value_json is mapping and value_json.state not in ['lost', 'stopped'] else 'offline' }}"
)


def device_topic(settings: Settings) -> str:
    """Where the car is announced; empty where it isn't to be."""
    prefix = settings.mqtt.discovery
    return f"{prefix}/device/smartcar-{settings.car.name}/config" if prefix else ""


def birth_topic(settings: Settings) -> str:
    """Where Home Assistant says `online` when it starts."""
    return f"{settings.mqtt.discovery}/status"


def device(settings: Settings, board: Board, models: ModelState | None) -> dict[str, Any]:
    """The announcement. `models`: what the updater said last."""
    car = settings.car.name
    prefix = car_prefix(car)
    entities = Entities(settings)
    about_it = {"serial_number": board.serial, "configuration_url": page_address(settings)}
    return {
        "dev": {
            "identifiers": [f"smartcar-{car}"],
            "name": car,
            "manufacturer": "smartcar",
            "model": documents.hardware(),
            "sw_version": documents.version(),
            **{key: value for key, value in about_it.items() if value},
        },
        "o": {"name": "smartcar", "sw_version": documents.version()},
        "availability": [
            {
                "topic": prefix + documents.STATUS,
                "value_template": AVAILABLE,
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
