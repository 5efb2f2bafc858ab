"""Secrets that systemd hands to a service (systemd.exec(5), LoadCredential=)."""

from __future__ import annotations

import os
from pathlib import Path

from services.config import Settings

_SECRETS = (
    ("mqtt", "password_file", "mqtt-password"),
    ("mqtt", "key_file", "mqtt-key"),
    ("overlay", "key_file", "page-key"),
)


def with_credentials(settings: Settings) -> Settings:
    """The settings, each secret that they name no file for in the file that systemd hands over."""
    for section, key, credential in _SECRETS:
        part = getattr(settings, section)
        path = None if getattr(part, key) else _credential(credential)
        if path is not None:
            settings = settings.model_copy(update={section: part.model_copy(update={key: path})})
    return settings


def _credential(name: str) -> Path | None:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    path = Path(folder) / name
    try:
        return path if path.read_bytes().strip() else None  # the unit gives a blank line where there is none
    except OSError:
        return None
