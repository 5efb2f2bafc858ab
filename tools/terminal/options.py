"""Options that many commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.config import Settings


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


def settings() -> Settings:
    """The settings in force. They are imported when a command runs, so that the command line is quick."""
    from services.config_file import load

    return load()
