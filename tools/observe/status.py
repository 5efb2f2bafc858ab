"""`smartcar status`: how every service is, in its own words, or why it isn't there."""

from __future__ import annotations

from dataclasses import asdict

from services.config import Settings
from tools.observe.snapshot import Glance, ask
from tools.terminal.output import print_json, say


def show(settings: Settings, *, json: bool) -> int:
    """Print it, with `json` one object a service. Returns 0 only where all services are well."""
    glance = ask(settings)
    if json:
        for status in glance.services:
            content = asdict(status)
            if glance.page and status.service == "overlay":
                content["details"]["page"] = glance.page
            print_json(content)
    else:
        _print(glance)
    return 0 if glance.well else 1


def _print(glance: Glance) -> None:
    from tools.observe.services_table import lines, services_table
    from tools.terminal.output import console

    terminal = console()
    terminal.print(services_table(glance.services, terminal.width))
    for line in lines(glance):
        say(line)
