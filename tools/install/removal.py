"""`--remove`: nothing is left; data and settings only where their owner says so."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from services.config_file import SYSTEM_FILE, ConfigError, load
from tools.commands.forget import forget
from tools.install import broker, files, people, systemd
from tools.install.versions import HOME
from tools.terminal.output import say
from tools.terminal.problems import Problem, warn

STATE = Path("/var/lib/smartcar")
SETTINGS = SYSTEM_FILE.parent


def remove(*, yes: bool) -> int:
    data_too = yes or _ask(
        f"Remove the car's data, too: {STATE} (events, models, the page's token) and {SETTINGS} (settings)?"
    )
    systemd.run("systemctl", "disable", "--now", systemd.TARGET, may_fail=True)
    systemd.run("systemctl", "stop", *systemd.UNITS.values(), may_fail=True)
    _off_the_broker()
    broker.take_away()
    files.clear()
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "reset-failed", *systemd.UNITS.values(), may_fail=True)
    if data_too:
        for folder in (STATE, SETTINGS):
            shutil.rmtree(folder, ignore_errors=True)
        people.remove()
    shutil.rmtree(HOME, ignore_errors=True)
    if data_too:
        say("smartcar is removed. Models in your data folder are yours, and stay.")
    else:
        say(f"smartcar is removed; {STATE} and {SETTINGS} stay for a later installation.")
    return 0


def _off_the_broker() -> None:
    """Nothing of the car is left there, nor in Home Assistant, unless the broker is away."""
    try:
        settings = load()
        if settings.mqtt.host:
            forget(settings)
    except (Problem, ConfigError) as error:
        warn(f"The car's last states stay on the broker: {error}")


def _ask(question: str) -> bool:
    """No, where nobody can answer."""
    if not sys.stdin.isatty():
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
