"""Prints what the integrations need that `driver.py` boots; Home Assistant would install it at its start.

Run with the Python of the environment that has Home Assistant.
"""

from __future__ import annotations

import json
from pathlib import Path

import homeassistant
from homeassistant import bootstrap

COMPONENTS = Path(homeassistant.__file__).parent / "components"


def main() -> None:
    to_do = ["mqtt", *bootstrap.CORE_INTEGRATIONS, *bootstrap.DEFAULT_INTEGRATIONS]
    to_do += bootstrap.FRONTEND_INTEGRATIONS
    seen: set[str] = set()
    needed: set[str] = set()
    while to_do:
        name = to_do.pop()
        file = COMPONENTS / name / "manifest.json"
        if name in seen or not file.exists():
            continue
        seen.add(name)
        manifest = json.loads(file.read_text())
        needed.update(manifest.get("requirements", []))
        to_do += manifest.get("dependencies", [])
    print("\n".join(sorted(needed)))


if __name__ == "__main__":
    main()
