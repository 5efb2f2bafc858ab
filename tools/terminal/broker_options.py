"""The options that say which broker a command talks to, and how it gets in.

    @app.command()
    @with_broker
    def show(ways: FindWays, json: Json = False) -> None: ...

gives `show` the options below in the place of `ways`. What they say is looked at once `ways` is called, so
that a command can complain of its own first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from tools.terminal.options import Config

if TYPE_CHECKING:
    from services.config import Mqtt

Ways: TypeAlias = "tuple[Mqtt, ...]"
"""How to reach the broker: what to try, in its order."""
FindWays: TypeAlias = Callable[[], Ways]

Broker = Annotated[
    str | None,
    typer.Option(
        metavar="HOST[:PORT]|URL",
        help="mqtt://host:port or mqtts://host:port.  [default: the settings' mqtt]",
    ),
]
Username = Annotated[str | None, typer.Option(help="Log in as that user.")]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The file whose first line is the password.")
]
CaFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Who signed the broker's certificate; TLS.")
]
CertFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A certificate to log in with.")]
KeyFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")]
Protocol = Annotated[
    str | None, typer.Option(metavar="5|3.1.1", help="MQTT version.  [default: 5, else 3.1.1]")
]


def _ways(
    broker: Broker = None,
    username: Username = None,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    protocol: Protocol = None,
    config: Config = None,
) -> Ways:
    """The ways that the options lead. Raises Problem, ConfigError."""
    from services.config_file import load
    from tools.publish.broker import BrokerLogin, broker_of

    access = BrokerLogin(username, password_file, ca_file, cert_file, key_file, protocol)
    return broker_of(broker, access, load().mqtt)


def with_broker(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options of a broker in the place of the command's parameter `ways`."""
    own = inspect.signature(command, eval_str=True)
    options = inspect.signature(_ways, eval_str=True)

    @wraps(command)
    def wrapped(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options.parameters}
        command(ways=partial(_ways, **chosen), **given)

    kept = [each for name, each in own.parameters.items() if name not in ("ways", "config")]
    every = (*kept, *options.parameters.values())
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in every]
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {}  # else Typer resolves those of `command`
    return wrapped
