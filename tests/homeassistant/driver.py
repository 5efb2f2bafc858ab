"""A real Home Assistant without a screen. A JSON object a line on standard input says what to do:

    {"do": "states"}                       every entity of the MQTT integration, with state and attributes
    {"do": "call", "service": "select.select_option", "data": {…}}
    {"do": "events", "entity": "event.…"}  what this event entity has told since the start
    {"do": "device"}                       the devices that were announced
    {"do": "log"}                          warnings and errors about MQTT or templates since the last time

Run by tests/homeassistant with the Python of an environment that has Home Assistant, not with ours.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from homeassistant import bootstrap, runner
from homeassistant.const import EVENT_STATE_CHANGED
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers import device_registry, entity_registry

CONCERNS = ("mqtt", "template", "smartcar")


class Complaints(logging.Handler):
    """What the log says from a warning on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        if any(word in line.lower() for word in CONCERNS):
            self.lines.append(line)


class Driver:
    """Answers one line after the other."""

    def __init__(self, hass: HomeAssistant, complaints: Complaints) -> None:
        self._hass, self._complaints = hass, complaints
        self._events: list[tuple[str, dict[str, Any]]] = []
        hass.bus.async_listen(EVENT_STATE_CHANGED, self._changed)

    async def answer(self, asked: dict[str, Any]) -> Any:
        match asked["do"]:
            case "states":
                known = entity_registry.async_get(self._hass).entities.values()
                ours = {each.entity_id: each.unique_id for each in known if each.platform == "mqtt"}
                return {
                    state.entity_id: {
                        "unique_id": ours[state.entity_id],
                        "state": state.state,
                        "attributes": dict(state.attributes),
                    }
                    for state in self._hass.states.async_all()
                    if state.entity_id in ours
                }
            case "call":
                domain, _, service = asked["service"].partition(".")
                await self._hass.services.async_call(domain, service, asked["data"], blocking=True)
                return True
            case "events":
                return [attributes for entity, attributes in self._events if entity == asked["entity"]]
            case "device":
                return [
                    {
                        key: getattr(each, key)
                        for key in ("name", "serial_number", "configuration_url", "model")
                    }
                    for each in device_registry.async_get(self._hass).devices.values()
                ]
            case "log":
                said, self._complaints.lines = self._complaints.lines, []
                return said
        raise ValueError(asked["do"])

    def _changed(self, event: Event) -> None:
        new = event.data["new_state"]
        if new is not None and new.domain == "event" and new.attributes.get("event_type"):
            self._events.append((new.entity_id, dict(new.attributes)))


async def main(folder: str) -> None:
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    hass = await bootstrap.async_setup_hass(runner.RuntimeConfig(config_dir=folder, skip_pip=True))
    assert hass is not None
    driver = Driver(hass, complaints)
    await hass.async_start()
    print(json.dumps("ready"), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        print(json.dumps(await driver.answer(json.loads(line)), default=str), flush=True)
    await hass.async_stop(force=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
