"""Certificates: of the broker as it shows it, and of files that the settings name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from services.bridge.connection_problem import from_error, where
from services.bridge.paho_client import trusting
from services.config import Mqtt
from tools.doctor.broker import in_force
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, as_error, error, ok, warning

SOON = timedelta(days=30)
_TIMEOUT_S = 5.0


def certificates(car: CheckContext) -> Iterator[Finding]:
    """For how long each is valid."""
    mqtt = in_force(car)
    looked_at = 0
    if mqtt is not None and mqtt.tls:
        looked_at += 1
        yield from _of_broker(mqtt)
    for what, path in _files(car).items():
        looked_at += 1
        yield from _of_file(what, path)
    if not looked_at:
        yield ok("neither the broker nor the page uses TLS")


def _files(car: CheckContext) -> dict[str, Path]:
    mqtt = car.settings.mqtt
    named = {
        "the authority of the broker": mqtt.ca_file if mqtt.tls else None,
        "this car's certificate": mqtt.cert_file,
        "the page's certificate": car.settings.overlay.cert_file,
    }
    return {what: path for what, path in named.items() if path is not None}


def _of_broker(mqtt: Mqtt) -> Iterator[Finding]:
    try:
        context = trusting(mqtt.ca_file)
        if mqtt.cert_file is not None:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
        with (
            socket.create_connection((mqtt.host, mqtt.port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=mqtt.host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except PermissionError:
        yield warning(
            "the key for the broker can't be read by this user", "sudo smartcar doctor certificates"
        )
        return
    except OSError as problem:  # ssl.SSLError is one
        yield as_error(from_error(problem, mqtt).reason)
        return
    if shown is not None:
        yield _until(f"the certificate of the broker {where(mqtt)}", x509.load_der_x509_certificate(shown))


def _of_file(what: str, path: Path) -> Iterator[Finding]:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except PermissionError:
        yield warning(f"{what} can't be read by this user: {path}", "sudo smartcar doctor certificates")
        return
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it holds no PEM certificate"
        yield error(f"{what} can't be used: {path} ({why})", "correct the setting that names it")
        return
    yield _until(f"{what} ({path})", min(found, key=lambda each: each.not_valid_after_utc))


def _until(what: str, certificate: x509.Certificate) -> Finding:
    now, end = datetime.now(UTC), certificate.not_valid_after_utc
    if end < now:
        return error(f"{what} has expired on {end:%Y-%m-%d}", "renew it, or see whether the clock is right")
    if certificate.not_valid_before_utc > now:
        return error(
            f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}",
            "see whether the clock is right",
        )
    if end - now < SOON:
        return warning(f"{what} expires on {end:%Y-%m-%d}", "renew it")
    return ok(f"{what} is valid until {end:%Y-%m-%d}")
