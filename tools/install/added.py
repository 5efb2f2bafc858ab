"""The settings that the installer makes: `/etc/smartcar/installed.toml`, below the owner's own file."""

from __future__ import annotations

import tomllib
from typing import Any

from services import board
from services.config import Settings, default_car_name, host_name
from services.config_file import INSTALLED_FILE, SYSTEM_FILE, as_toml, toml_value
from tools.install.files import write

_HEAD = f"# Written by smartcar install; {SYSTEM_FILE} wins over it. Change that one.\n"


def change(section: str, values: dict[str, Any] | None) -> None:
    """Let the section hold these values; None removes it."""
    tree: dict[str, dict[str, Any]] = {}
    if INSTALLED_FILE.exists():
        tree = tomllib.loads(INSTALLED_FILE.read_text())
    if values is None:
        tree.pop(section, None)
    else:
        tree[section] = values
    lines = [
        line
        for name, content in tree.items()
        for line in ("", f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in content.items()))
    ]
    if lines:
        write(INSTALLED_FILE, _HEAD + "\n".join(lines) + "\n")
    else:
        INSTALLED_FILE.unlink(missing_ok=True)


def keep_name(settings: Settings) -> None:
    """A car that ran with an earlier version keeps the name that this gave it: the host's alone."""
    bridge = settings.paths.state / "bridge"
    was_there = bridge.exists() and not (bridge / "name.json").exists()
    if was_there and board.serial() is None and default_car_name() != host_name():
        change("car", {"name": host_name()})


def lay_template() -> None:
    """A file for the owner where there is none: every setting with its explanation, none set."""
    if SYSTEM_FILE.exists():
        return
    lines = as_toml(Settings()).splitlines()
    unset = [line if not line or line[0] in "[#" else f"#{line}" for line in lines]
    head = "# The car's settings. Remove the # before a key to set it; then: sudo smartcar install\n"
    write(SYSTEM_FILE, head + "\n".join(unset) + "\n")
