"""The MQTT interface as an AsyncAPI 3 document. https://www.asyncapi.com/docs/reference/specification/v3.0.0"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from messages.command import ReplyError
from messages.message import Message
from tools.interface.channels import ROOT, Said, Taken, said, shared, taken
from tools.interface.examples import Examples, examples, shortened
from tools.interface.schema import Mode, schemas

_PARAMETERS = {
    "car": "The car's name: `car.name` of its settings.",
    "service": "A service of the car, such as `recognizer`.",
    "name": "What the model is called in its manifest.",
    "digest": "SHA-256 of the manifest, in hex.",
    "n": "Which chunk, from 0.",
}
_BINDING_VERSION = "0.2.0"


def document() -> dict[str, Any]:
    """The document. Operations are the car's: it sends what it says, and receives commands."""
    return _Document(said(), shared(), taken(), examples()).whole()


class _Document:
    def __init__(self, says: list[Said], shares: list[Said], takes: list[Taken], recorded: Examples) -> None:
        self._says, self._shares, self._takes, self._recorded = says, shares, takes, recorded
        wanted: dict[tuple[type[BaseModel], Mode], None] = {(ReplyError, "serialization"): None}
        for each in (*says, *shares):
            if each.message is not None:
                wanted[each.message, "serialization"] = None
        for row in takes:
            wanted[row.command, "validation"] = None
            wanted[row.command.result, "serialization"] = None
        self._references, self._schemas = schemas(wanted)
        self._channels: dict[str, Any] = {}
        self._operations: dict[str, Any] = {}
        self._messages: dict[str, Any] = {}

    def whole(self) -> dict[str, Any]:
        for each in self._says:
            self._say(each, ROOT, "send")
        for each in self._shares:
            self._say(each, "", "receive")
        for row in self._takes:
            self._take(row)
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "smartcar",
                "version": f"{Message.VERSION}.0.0",
                "description": "What a smartcar says on MQTT and what it takes. docs/mqtt.md explains it.",
                "license": {"name": "MIT"},
            },
            "defaultContentType": "application/json",
            "servers": {
                "broker": _server("mqtt", "1883", "The broker in the car's settings; MQTT 3.1.1 works, too."),
                "secure_broker": _server("mqtts", "8883", "The same through TLS: `mqtt.tls`."),
            },
            "channels": self._channels,
            "operations": self._operations,
            "components": {
                "messages": self._messages,
                "schemas": self._schemas,
                "securitySchemes": {
                    "login": {
                        "type": "userPassword",
                        "description": "`mqtt.username` and `mqtt.password_file`; a broker may do without.",
                    }
                },
                "parameters": {name: {"description": text} for name, text in _PARAMETERS.items()},
            },
        }

    def _say(self, row: Said, below: str, action: str) -> None:
        key = _key(row.topic)
        message: dict[str, Any] = {"title": row.topic, "summary": row.about, "contentType": row.content_type}
        if row.message is not None:
            message["payload"] = self._references[row.message, "serialization"]
            if row.topic in self._recorded.said:
                message["examples"] = [{"payload": shortened(self._recorded.said[row.topic])}]
        else:
            message["payload"] = self._named("Bytes", {"type": "string", "format": "binary"})
        self._channel(key, below + row.topic, message, " ".join((row.about, row.when)).strip())
        self._operation(key, action, row.about, row.qos, retain=row.retain)

    def _take(self, row: Taken) -> None:
        command, reply = _key(row.topic), _key(row.reply)
        asked = self._recorded.asked.get(row.verb)
        self._channel(
            command,
            ROOT + row.topic,
            {
                "title": row.verb,
                "summary": row.command.about,
                "payload": self._references[row.command, "validation"],
                **({"examples": [{"payload": shortened(asked.command)}]} if asked else {}),
            },
            row.command.about,
        )
        self._channel(
            reply,
            ROOT + row.reply,
            {
                "title": f"reply to {row.verb}",
                "payload": self._named(_type_name(reply), self._reply(row)),
                **({"examples": [{"payload": shortened(asked.reply)}]} if asked else {}),
            },
            f"answers to {row.verb}",
        )
        self._operation(command, "receive", row.command.about, 1, retain=False)
        self._operations[command]["reply"] = {
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
        }

    def _reply(self, row: Taken) -> dict[str, Any]:
        result = self._references[row.command.result, "serialization"]
        refusal = self._references[ReplyError, "serialization"]
        return {
            "type": "object",
            "required": ["id", "status", "data", "error"],
            "properties": {
                "id": {"type": "string", "description": "of the command"},
                "status": {"enum": ["ok", "error"]},
                "data": {"anyOf": [result, {"type": "null"}]},
                "error": {"anyOf": [refusal, {"type": "null"}]},
            },
        }

    def _named(self, name: str, schema: dict[str, Any]) -> dict[str, str]:
        """A reference to a schema that has a name of its own, which code generators call the class."""
        assert self._schemas.setdefault(name, schema) == schema, name
        return {"$ref": f"#/components/schemas/{name}"}

    def _channel(self, key: str, topic: str, message: dict[str, Any], about: str) -> None:
        address = re.sub(r"<(\w+)>", r"{\1}", topic)
        self._messages[key] = {"name": key, **message}
        self._channels[key] = {
            "address": address,
            "description": about,
            "messages": {key: {"$ref": f"#/components/messages/{key}"}},
            "parameters": {
                name: {"$ref": f"#/components/parameters/{name}"} for name in re.findall(r"{(\w+)}", address)
            },
        }

    def _operation(self, key: str, action: str, about: str, qos: int, *, retain: bool) -> None:
        self._operations[key] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{key}"},
            "summary": about,
            "messages": [{"$ref": f"#/channels/{key}/messages/{key}"}],
            "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": _BINDING_VERSION}},
        }


def _server(protocol: str, port: str, about: str) -> dict[str, Any]:
    return {
        "host": "{host}:{port}",
        "protocol": protocol,
        "protocolVersion": "5.0",
        "description": about,
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": port}},
        "security": [{"$ref": "#/components/securitySchemes/login"}],
    }


def _type_name(key: str) -> str:
    return key.title().replace("_", "")


def _key(topic: str) -> str:
    return re.sub(r"[^a-z]+", "_", topic).strip("_")
