"""Options that many commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def _use_config(path: Path | None) -> Path | None:
    if path is not None:  # for this process and for those it starts
        os.environ["SMARTCAR_CONFIG"] = str(path.expanduser().absolute())
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", callback=_use_config, is_eager=True, help="The configuration file."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]

# How to reach a broker

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
