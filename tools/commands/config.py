"""`smartcar config check | show | schema`."""

from __future__ import annotations

import json as json_module

from services.config import Settings
from services.config_file import as_toml, find_files, load
from tools.terminal.output import print_document, print_json, say


def check() -> int:
    """Say whether the configuration can be used. Raises ConfigError where nothing can run with it."""
    complaints: list[str] = []
    load(complain=complaints.append)
    for complaint in complaints:
        say(complaint)
    if not complaints:
        files = " and ".join(str(file) for file in find_files())
        say(f"{files}: fine." if files else "There is no configuration file; the built-in settings hold.")
    return 1 if complaints else 0


def show(*, json: bool) -> int:
    """Print the settings in force: as TOML with explanations, ready for a file, or as one JSON object."""
    settings = load()
    if json:
        print_json(settings.model_dump(mode="json"))
    else:
        print_document(as_toml(settings))
    return 0


def schema() -> None:
    print_document(json_module.dumps(Settings.model_json_schema(), indent=2))
