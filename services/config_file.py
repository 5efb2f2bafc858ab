"""Reading the settings: TOML files, each key overridable by `SMARTCAR_<SECTION>__<KEY>`."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from messages.errors import ErrorCode, UserError
from services import catalogue as _catalogue  # noqa: F401  # the default of mqtt.commands derives from it
from services.config import Section, Settings
from services.credentials import with_credentials

ENV_PREFIX = "SMARTCAR_"
INSTALLED_FILE = Path("/etc/smartcar/installed.toml")
"""Written by `smartcar install`."""
CARD_FILE = Path("/boot/firmware/smartcar.toml")
"""On the part of a Raspberry Pi's card that any PC can write to."""
SYSTEM_FILE = Path("/etc/smartcar/smartcar.toml")
"""The owner's."""

log = logging.getLogger(__name__)


class ConfigError(UserError):
    """The configuration can't be used; the message names file, line and remedy."""

    def __init__(self, sentence: str) -> None:
        super().__init__(ErrorCode.BAD_SETTINGS, sentence)


@dataclass
class _Layer:
    """A file and what it sets."""

    file: Path
    text: str = ""
    tree: dict[str, Any] = dataclasses.field(default_factory=dict)

    def sets(self, location: tuple[str, ...]) -> bool:
        """Whether the key at `location`, or its section, stands in the file."""
        branch: Any = self.tree
        for step in location[:2]:
            if not isinstance(branch, dict) or step not in branch:
                return False
            branch = branch[step]
        return True


def find_files(explicit: Path | None = None) -> tuple[Path, ...]:
    """The files that are read; a later one wins.

    The one given, else `SMARTCAR_CONFIG`, alone; else the system's that are there: what the installer
    wrote, what stands on the card, what the owner wrote into /etc.
    """
    if explicit is None and (named := os.environ.get("SMARTCAR_CONFIG")):
        explicit = Path(named)
    if explicit is not None:
        return (explicit,)
    return tuple(file for file in (INSTALLED_FILE, CARD_FILE, SYSTEM_FILE) if os.path.exists(file))


def load(path: Path | None = None, complain: Callable[[str], None] = log.warning) -> Settings:
    """The settings of `find_files(path)` and the environment. Raises ConfigError.

    A card can't always be written whole, so a mistake in its file doesn't stop the car: the file is left
    out as a whole, and `complain` is told in a sentence.
    """
    layers: list[_Layer] = []
    for file in find_files(path):
        try:
            layer = _read(file)
            if file == CARD_FILE:
                _settings([layer], {})
            layers.append(layer)
        except ConfigError as error:
            if file != CARD_FILE:
                raise
            complain(f"{str(error).rstrip('.')}. Nothing of that file holds until this is corrected.")
    variables = _Layer(Path(), tree={})
    origin = _overlay_environment(variables.tree)
    return with_credentials(_settings([*layers, variables], origin))


def _read(file: Path) -> _Layer:
    try:
        text = file.read_text(encoding="utf-8")
        return _Layer(file, text, tomllib.loads(text))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; give another with --config.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}.") from error


def _settings(layers: list[_Layer], environment: dict[tuple[str, ...], str]) -> Settings:
    merged: dict[str, Any] = {}
    for layer in layers:
        for section, content in layer.tree.items():
            below = merged.get(section)
            if isinstance(below, dict) and isinstance(content, dict):
                content = {**below, **content}
            merged[section] = content
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        problems = [_explain(problem, layers, environment) for problem in error.errors()]
        raise ConfigError("\n".join(problems)) from error


def _overlay_environment(tree: dict[str, Any]) -> dict[tuple[str, ...], str]:
    """Put `SMARTCAR_SECTION__KEY` into `tree`; returns which variable set which key."""
    origin: dict[tuple[str, ...], str] = {}
    for variable, value in os.environ.items():
        if not variable.startswith(ENV_PREFIX) or variable == "SMARTCAR_CONFIG":
            continue
        section, _, key = variable.removeprefix(ENV_PREFIX).lower().partition("__")
        origin[(section, key)] = variable
        origin[(section,)] = variable
        branch = tree.setdefault(section, {})
        if isinstance(branch, dict):
            branch[key] = _from_text(section, key, value)
    return origin


def _from_text(section: str, key: str, value: str) -> Any:
    """Numbers and booleans are pydantic's matter; lists and tables are written as in TOML."""
    fields = Settings.model_fields
    kind = fields[section].annotation if section in fields else None
    field = kind.model_fields.get(key) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    if field is not None and str(field.annotation).startswith(("tuple", "dict")):
        try:
            return tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            return value
    return value


def _explain(problem: Any, layers: list[_Layer], environment: dict[tuple[str, ...], str]) -> str:
    """One problem as `place: what is wrong; what to do`."""
    location = tuple(str(step) for step in problem["loc"])
    dotted = ".".join(location)
    variable = environment.get(location[:2])
    setting = [layer for layer in layers if layer.text and layer.sets(location)]
    if variable is not None:
        place = f"environment variable {variable}"
    elif setting:
        file = setting[-1].file
        line = _line_of(setting[-1].text, location)
        place = f"{file}, line {line}" if line else str(file)
    else:
        place = "built-in settings"
    if problem["type"] != "extra_forbidden":
        return f"{place}: {dotted}: {problem['msg']}"
    known = _known_keys(location[:-1])
    return f"{place}: unknown key {dotted}; known here: {', '.join(known)}"


def _known_keys(location: tuple[str, ...]) -> list[str]:
    model: Any = Settings
    for step in location:
        model = model.model_fields[step].annotation
    return list(model.model_fields)


def _line_of(text: str, location: tuple[str, ...]) -> int | None:
    """Where the key at `location` stands in TOML `text`; tomllib doesn't tell."""
    section: tuple[str, ...] = ()
    nearest = None
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            section = tuple(part.strip(" \"'") for part in header[1].split("."))
            here = section
        elif pair := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line):
            here = section + tuple(part.strip(" \"'") for part in pair[1].split("."))
        else:
            continue
        if here == location[: len(here)]:
            nearest = number
            if len(here) == len(location):
                return number
    return nearest


def as_toml(settings: Settings, *, explain: bool = True) -> str:
    """The settings as a TOML file, each key under its explanation. Holds no secret: there are none in it."""
    lines: list[str] = []
    for name in Settings.model_fields:
        section: Section = getattr(settings, name)
        lines += ["", f"[{name}]"]
        for key, field in type(section).model_fields.items():
            if explain and field.description:
                lines.append(f"# {' '.join(field.description.split())}")
            value = getattr(section, key)
            lines.append(f"# {key} = (unset)" if value is None else f"{key} = {toml_value(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def toml_value(value: Any) -> str:
    """A value as TOML has it: text, number, boolean, list or table."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
