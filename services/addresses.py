"""What an address of the settings stands for."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from services.config import Settings


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for every address of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def page_address(settings: Settings) -> str:
    """Where another machine, or this one beside its broker, finds the page; empty where it finds none."""
    overlay = settings.overlay
    host = overlay.host
    if not overlay.port or (is_loopback(host) and not is_loopback(settings.mqtt.host)):
        return ""
    if is_wildcard(host):
        host = f"{socket.gethostname().partition('.')[0].lower()}.local"
    scheme = "https" if overlay.cert_file is not None else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{overlay.port}"
