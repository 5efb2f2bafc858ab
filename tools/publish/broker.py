"""Which broker is meant: an address on the command line, or the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ValidationError

from messages.message import first_problem
from services.config import Mqtt
from tools.terminal.problems import Problem

PORT, TLS_PORT = 1883, 8883


@dataclass(frozen=True)
class BrokerLogin:
    """How to get in, as far as the command line says it."""

    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    protocol: str | None = None
    """None: MQTT 5, and 3.1.1 where the broker doesn't speak it."""


def broker_of(address: str | None, access: BrokerLogin, settings: Mqtt) -> tuple[Mqtt, ...]:
    """How to reach it, the ways to try in their order. Raises Problem.

    `address` is `host`, `host:port`, `mqtt://…` or `mqtts://…`; without it the settings' broker is meant.
    """
    if address is None and not settings.host:
        raise Problem("Which broker? give --broker HOST, or set mqtt.host.")
    found = settings.model_dump() if address is None else _parsed(address)
    given = {name: value for name, value in vars(access).items() if value is not None}
    if access.ca_file is not None or access.cert_file is not None:
        if not found.get("tls") and address is not None and _port(address) is None:
            found["port"] = TLS_PORT
        found["tls"] = True
    try:
        return Mqtt.model_validate({**found, **given}).ways
    except ValidationError as error:
        raise Problem(f"--broker {address}: {first_problem(error)}.") from None


def _parsed(address: str) -> dict[str, object]:
    parts = urlsplit(address if "://" in address else f"mqtt://{address}")
    if parts.password is not None:
        raise Problem("A password on the command line can be read by others; use --password-file.")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise Problem(f"{address} is no broker; give host, host:port, mqtt://host:port or mqtts://host:port.")
    tls = parts.scheme == "mqtts"
    port = _port(address) or (TLS_PORT if tls else PORT)
    return {"host": parts.hostname, "port": port, "tls": tls, "username": parts.username or ""}


def _port(address: str) -> int | None:
    try:
        return urlsplit(address if "://" in address else f"mqtt://{address}").port
    except ValueError:
        raise Problem(f"{address}: the port is a number up to 65535.") from None
