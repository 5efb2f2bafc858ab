"""Secrets: files for root alone, which systemd hands to the services (systemd.exec(5), LoadCredential=)."""

from __future__ import annotations

import os
from pathlib import Path

from services.config import Settings

FOLDER = Path("/etc/smartcar")
_SECRETS = (
    ("mqtt", "password_file", "mqtt-password", "mqtt-password"),
    ("mqtt", "key_file", "mqtt-key", "mqtt.key"),
    ("overlay", "key_file", "page-key", "page.key"),
)
"""Section, key, the credential's name, the file that the unit takes it from."""


def with_credentials(settings: Settings) -> Settings:
    """The settings, with a file for each secret that they name none for.

    In a service what systemd hands over; elsewhere, for whoever may read it, the file that systemd takes.
    """
    handed = os.environ.get("CREDENTIALS_DIRECTORY")
    for section, key, credential, file in _SECRETS:
        part = getattr(settings, section)
        path = Path(handed) / credential if handed else FOLDER / file
        if getattr(part, key) is None and _holds_something(path):
            settings = settings.model_copy(update={section: part.model_copy(update={key: path})})
    return settings


def _holds_something(path: Path) -> bool:
    try:
        return bool(path.read_bytes().strip())  # a unit gives a blank line for a secret that doesn't exist
    except OSError:
        return False
