"""`smartcar status`: how every service is, in its own words, or why it isn't there."""

from __future__ import annotations

from dataclasses import asdict

from services.config import Settings
from tools.observe.snapshot import CarSnapshot, ask
from tools.terminal.output import print_json, say


def show(settings: Settings, *, json: bool) -> int:
    """Print it, with `json` one object a service. Returns 0 only where all services are well."""
    snapshot = ask(settings)
    if json:
        for status in snapshot.services:
            content = asdict(status)
            if snapshot.page and status.service == "overlay":
                content["details"]["page"] = snapshot.page
            print_json(content)
    else:
        _print(snapshot)
    return 0 if snapshot.well else 1


def _print(snapshot: CarSnapshot) -> None:
    from tools.observe.services_table import lines, services_table
    from tools.terminal.output import console

    terminal = console()
    terminal.print(services_table(snapshot.services, terminal.width))
    for line in lines(snapshot):
        say(line)
