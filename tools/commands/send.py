"""`smartcar send`: a command to a service, and its reply."""

from __future__ import annotations

import base64
import binascii
import json as json_module
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import zmq

from messages.command import Command, CommandRefused, Reply, parse_command
from messages.rpc.clients import CommandClient
from services.catalogue import COMMANDS
from services.config import Settings
from tools.terminal.output import as_dict, print_json, print_table, say
from tools.terminal.output_file import write_output
from tools.terminal.problems import Problem


def send_command(
    settings: Settings,
    verb: str,
    arguments: Sequence[str],
    *,
    output: Path | None,
    deadline_s: float,
    json: bool,
) -> int:
    """Send it and print the reply; without a verb, list the commands. Returns 0 only where it was done.

    `arguments` are `key=value` pairs or one JSON object. Raises Problem for what can't be sent.
    """
    if not verb:
        _list(json)
        return 0
    try:
        command = parse_command(verb, json_module.dumps(_content(arguments)), datetime.now(UTC))
    except CommandRefused as refused:
        raise Problem(refused.message) from None
    reply = _send(settings, command, deadline_s)
    if reply.status != "ok":
        if json:
            print_json(as_dict(reply))
        raise Problem(reply.error.message if reply.error else "refused, without a reason")
    if output is not None:
        _write_picture(reply, output)
        say(str(output))
    elif json:
        print_json(as_dict(reply))
    else:
        say(_sentence(reply))
    return 0


def _content(arguments: Sequence[str]) -> dict[str, Any]:
    if len(arguments) == 1 and arguments[0].lstrip().startswith("{"):
        try:
            content = json_module.loads(arguments[0])
        except ValueError as error:
            raise Problem(f"The arguments are no JSON: {error}.") from None
        return dict(content)
    pairs = [argument.partition("=") for argument in arguments]
    for key, equals, _ in pairs:
        if not equals:
            raise Problem(f"{key!r} is no key=value pair.")
    return {key: value for key, _, value in pairs}


def _send(settings: Settings, command: Command, deadline_s: float) -> Reply:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        client = CommandClient(context, settings.paths.runtime)
        try:
            return client.send(command, deadline_s)
        finally:
            client.close()
    finally:
        context.destroy(linger=0)


def _write_picture(reply: Reply, path: Path) -> None:
    """Into a file that is there whole or not at all."""
    try:
        picture = base64.urlsafe_b64decode((reply.data or {})["jpeg"].translate(str.maketrans("+/", "-_")))
    except (KeyError, binascii.Error):
        raise Problem("The reply holds no picture; leave --output out.") from None
    write_output(path, picture)


def _sentence(reply: Reply) -> str:
    data = reply.data or {}
    pairs = (
        f"{key}: {value if not isinstance(value, str) or len(value) < 100 else f'{len(value)} characters'}"
        for key, value in data.items()
    )
    return ", ".join(pairs) or "done"


def _list(json: bool) -> None:
    rows = {
        verb: (cls.about, [key for key in cls.model_fields if key not in Command.model_fields])
        for verb, cls in COMMANDS.items()
    }
    if json:
        for verb, (about, keys) in rows.items():
            print_json({"verb": verb, "arguments": keys, "about": about})
    else:
        print_table(
            ("command", "arguments", ""),
            ((verb, ", ".join(keys), about) for verb, (about, keys) in rows.items()),
        )
