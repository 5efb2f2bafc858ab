"""Where the services' journals lie, and how they are opened."""

from __future__ import annotations

from pathlib import Path

from messages.bus import socket_path
from messages.journal import Journal
from services.config import Settings

KEEP_DELIVERED = 500
"""Events that stay in a journal after the broker has them: for `smartcar events`, the page, a restart."""


def journal_path(settings: Settings, service: str) -> Path:
    return settings.paths.state / service / "journal.sqlite3"


def open_journal(settings: Settings, service: str) -> Journal:
    """The journal of `service`, for its one writer. Raises AlreadyOwned."""
    return Journal(
        journal_path(settings, service),
        max_bytes=settings.journals.max_megabytes << 20,
        max_age_s=settings.journals.max_days * 86400,
        keep_delivered=KEEP_DELIVERED,
        shelter=socket_path(settings.paths.runtime, service, "unwritten.json"),
    )
