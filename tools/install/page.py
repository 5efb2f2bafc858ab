"""`--page`: the page is opened to the network, encrypted."""

from __future__ import annotations

from pathlib import Path

from services.config import Settings
from services.config_file import SYSTEM_FILE
from tools.install import added
from tools.install.certificates import Authority

FOLDER = SYSTEM_FILE.parent
CERTIFICATE = FOLDER / "page.crt"
KEY = FOLDER / "page.key"
"""Read by systemd alone, which hands it to the overlay as its credential `page-key`."""


def open_to_network(settings: Settings) -> None:
    """Make a certificate and let the page listen everywhere."""
    Authority(FOLDER, settings.car.name).renew(CERTIFICATE, KEY)
    added.change("overlay", {"host": "0.0.0.0", "cert_file": str(CERTIFICATE)})


def close_to_network() -> None:
    """Only this machine reaches the page again."""
    added.change("overlay", None)
    for path in (CERTIFICATE, KEY):
        Path(path).unlink(missing_ok=True)


def is_open() -> bool:
    """Whether the page was opened by this installer."""
    return CERTIFICATE.exists()
