"""What a login at the broker is made of, read from files: the password, the certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from services.bridge.connection_problem import ConnectionProblem
from services.config import Mqtt


def password(path: Path | None) -> str | None:
    """The first line of the file. Raises ConnectionProblem."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConnectionProblem(
            f"the password file {path} can't be read ({why}); correct mqtt.password_file, "
            f"or let this service read it",
            lasting=True,
        ) from error
    return text.partition("\n")[0].rstrip("\r")


def tls_context(mqtt: Mqtt) -> ssl.SSLContext:
    """A context that checks the broker's certificate and name. Raises ConnectionProblem."""
    try:
        context = trusting(mqtt.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConnectionProblem(
            f"mqtt.ca_file {mqtt.ca_file} can't be used ({_why(error)}); it must hold PEM certificates",
            lasting=True,
        ) from error
    if mqtt.cert_file is not None:
        try:
            context.load_cert_chain(mqtt.cert_file, mqtt.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConnectionProblem(
                f"mqtt.cert_file {mqtt.cert_file} and mqtt.key_file {mqtt.key_file} can't be used "
                f"({_why(error)}); they must be a PEM certificate and its key, without a passphrase",
                lasting=True,
            ) from error
    return context


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """A context that trusts this authority, or whom the system trusts. Raises OSError, ssl.SSLError.

    Python 3.13 wants an authority to name its key's usage, which those made after Mosquitto's manual don't.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _why(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
