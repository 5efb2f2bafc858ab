"""Reading the settings: one TOML file, every key overridable by `SMARTCAR_<SECTION>__<KEY>`."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from services.config import Section, Settings

ENV_PREFIX = "SMARTCAR_"
SYSTEM_FILE = Path("/etc/smartcar/smartcar.toml")


class ConfigError(ValueError):
    """The configuration can't be used; the message names file, line and remedy."""


def find_file(explicit: Path | None = None) -> Path | None:
    """The configuration file: the one given, else `SMARTCAR_CONFIG`, else the system's where there is one."""
    if explicit is None and (named := os.environ.get("SMARTCAR_CONFIG")):
        explicit = Path(named)
    if explicit is not None:
        return explicit
    return SYSTEM_FILE if SYSTEM_FILE.exists() else None


def load(path: Path | None = None) -> Settings:
    """The settings of `find_file(path)` and the environment. Raises ConfigError."""
    file = find_file(path)
    text, tree = "", {}
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
            tree = tomllib.loads(text)
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}; give another with --config") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: not valid TOML: {error}") from error
    from_environment = _overlay_environment(tree)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(problem, file, text, from_environment) for problem in error.errors()]
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


def _explain(problem: Any, file: Path | None, text: str, environment: dict[tuple[str, ...], str]) -> str:
    """One problem as `place: what is wrong; what to do`."""
    location = tuple(str(step) for step in problem["loc"])
    dotted = ".".join(location)
    variable = environment.get(location[:2])
    if variable is not None:
        place = f"environment variable {variable}"
    elif file is not None:
        line = _line_of(text, location)
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
            lines.append(f"# {key} = (unset)" if value is None else f"{key} = {_toml_value(value)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{key} = {_toml_value(item)}" for key, item in value.items()) + " }"
            if value
            else "{}"
        )
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
