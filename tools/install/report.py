"""What an installation says at its end: what runs, and where to look."""

from __future__ import annotations

import sys
from pathlib import Path

from services.config import Settings
from services.config_file import CARD_FILE, SYSTEM_FILE
from tools.install import broker, page
from tools.install.certificates import Authority
from tools.install.versions import previous
from tools.observe.snapshot import ask
from tools.terminal.output import print_table, say
from tools.up.broker import subscribe_command
from tools.up.console_log import STYLES


def show(settings: Settings, login: str | None, data_folder: Path | None) -> None:
    """Print it. `login`: who has to log in anew to use the car."""
    snapshot = ask(settings, 3.0)
    print_table(
        ("service", "state", "about"),
        ((each.service, each.state, each.reason) for each in snapshot.services),
        styles=STYLES,
    )
    address = settings.paths.runtime / "overlay" / "address"
    lines = [("version", Path(sys.prefix).name)]
    if (before := previous()) is not None:
        lines[0] = ("version", f"{lines[0][1]}; back to {before.name}: sudo smartcar install --rollback")
    if address.exists():
        lines += [("page", line) for line in address.read_text().splitlines()]
    if page.is_open() or broker.is_set_up():
        lines.append(
            ("trust", f"let browsers and MQTT clients trust {Authority(page.FOLDER, '').certificate_file}")
        )
    lines.append(("events", _subscribe(settings)))
    lines.append(("models", f"put model_trained.h5 into {data_folder or settings.inbox}"))
    lines.append(("settings", f"{SYSTEM_FILE}{f', {CARD_FILE}' if CARD_FILE.exists() else ''}"))
    lines.append(("log", "journalctl -fu 'smartcar-*'"))
    for name, text in lines:
        say(f"{name:9} {text}")
    if login:
        say()
        say(f"{login} may use the car (smartcar status, …) from the next login on.")


def _subscribe(settings: Settings) -> str:
    if not broker.is_set_up():
        return subscribe_command(settings, None)
    password = f'"$(sudo cat {broker.OWNER_PASSWORD})"'
    return f"mosquitto_sub -h {broker.HOST} -u {broker.OWNER} -P {password} -v -t 'smartcar/+/event/#'"
