"""What the settings ask of the services' sandboxes: a drop-in for a unit where its own file isn't enough."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from services.config import COURSE_FOLDER, Settings
from tools.terminal.problems import Problem

_HIDDEN = ("/home", "/root", "/run/user")
"""What ProtectHome hides."""


def wants_network(settings: Settings) -> bool:
    """Whether a source of capture is a stream."""
    from services.capture.stream import STREAM_SCHEMES

    return any(
        source.partition("://")[0] in STREAM_SCHEMES for source in _sources(settings) if "://" in source
    )


def hidden_paths(settings: Settings) -> dict[str, list[Path]]:
    """For each service what it is to read in a home folder, which its unit hides."""
    mqtt, overlay = settings.mqtt, settings.overlay
    wanted: dict[str, list[Path | None]] = {
        "capture": [path for source in _sources(settings) if (path := _path(source)) is not None],
        "recognizer": [settings.recognizer.bundle],
        "updater": [settings.models.inbox],
        "overlay": [overlay.cert_file, overlay.key_file],
        "bridge": [mqtt.password_file, mqtt.ca_file, mqtt.cert_file, mqtt.key_file],
    }
    return {
        service: hidden
        for service, paths in wanted.items()
        if (hidden := [path for path in paths if path is not None and _is_hidden(path)])
    }


def drop_in(paths: list[Path]) -> str:
    """A unit's drop-in that lets it read `paths`. Raises Problem for a path that no unit can name."""
    lines = [f"BindReadOnlyPaths=-{_escaped(path)}" for path in paths]
    return "\n".join(
        ["# Of the settings, by smartcar install.", "[Service]", "ProtectHome=tmpfs", *lines, ""]
    )


def _escaped(path: Path) -> str:
    """The path as systemd reads it in a list of bind mounts: a blank ends it, a colon begins its target."""
    text = str(path)
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Problem(f"The path {text!r} in the settings holds a line end, or the like; rename it.")
    return re.sub(r"([\\ :\"'])", r"\\\1", text).replace("%", "%%")


def _sources(settings: Settings) -> Iterator[str]:
    yield settings.capture.source
    yield from settings.capture.sources.values()


def _path(source: str) -> Path | None:
    place = source.removeprefix("folder:")
    return Path(place) if place.startswith("/") else None


def _is_hidden(path: Path) -> bool:
    return path != COURSE_FOLDER and any(path.is_relative_to(home) for home in _HIDDEN)
