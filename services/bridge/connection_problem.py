"""Why there is no MQTT session: one sentence with the remedy, and whether trying again soon can help."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.bridge.reason_codes import SESSION_TAKEN_OVER
from services.config import Mqtt

if TYPE_CHECKING:
    import ssl

_PROTOCOL_REFUSED = (1, 132)
_CLIENT_ID_REFUSED = (2, 133)
_LOGIN_REFUSED = (4, 5, 134, 135)
_BANNED = 138

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")

# X509_V_ERR_… of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_AUTHORITY = (2, 7, 18, 19, 20, 21, 30)  # 7 and 30: an authority of the same name
_OTHER_HOST = (62, 64)


@dataclass(eq=False)
class ConnectionProblem(Exception):
    """Nothing to connect with, no connection, or none any more.

    `lasting`: trying again soon will not help, someone has to do something.
    """

    reason: str
    lasting: bool = False
    other_version: bool = False
    """The broker may speak another version of MQTT."""
    disconnect_code: int = 0
    """MQTT 5's reason code where the broker gave one when it closed the connection."""


@dataclass(frozen=True)
class RemedyNames:
    """What a remedy calls the values to change: here as the settings do; a command has options instead."""

    change: str = "set"
    address: str = "mqtt.host and mqtt.port"
    host: str = "mqtt.host"
    port: str = "mqtt.port"
    use_tls: str = "mqtt.tls = true"
    no_tls: str = "mqtt.tls = false"
    protocol: str = 'mqtt.protocol = "{}"'
    username: str = "mqtt.username"
    password_file: str = "mqtt.password_file"
    ca_file: str = "mqtt.ca_file"
    cert_file: str = "mqtt.cert_file"
    key_file: str = "mqtt.key_file"

    def other_protocol(self, mqtt: Mqtt) -> str:
        """How to choose the MQTT version that was not tried."""
        return self.protocol.format("3.1.1" if mqtt.protocol == "5" else "5")


SETTINGS = RemedyNames()


def where(mqtt: Mqtt) -> str:
    host = f"[{mqtt.host}]" if ":" in mqtt.host else mqtt.host
    return f"{host}:{mqtt.port}"


def from_error(error: Exception, mqtt: Mqtt, names: RemedyNames = SETTINGS) -> ConnectionProblem:
    """What kept a connection from coming about."""
    import ssl  # a megabyte, for the running bridge alone

    broker = where(mqtt)
    if isinstance(error, ConnectionProblem):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return _from_certificate(error, mqtt, names)
    if isinstance(error, ssl.SSLError):
        if error.reason in _NOT_TLS:
            return _no_tls(broker, names)
        return ConnectionProblem(
            f"TLS with {broker} failed ({error.reason or error}); see what the broker wants: "
            f"{names.cert_file} and {names.key_file} for a certificate of this car."
        )
    if isinstance(error, ConnectionResetError) and mqtt.tls:
        return _no_tls(broker, names)
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConnectionProblem(
            f"The name {mqtt.host} of the broker is not known here; correct {names.host}, "
            f"or see whether the network is up."
        )
    if isinstance(error, TimeoutError):
        return ConnectionProblem(
            f"No broker answers at {broker} (nothing came back); see that it runs and that no firewall "
            f"is between, or correct {names.address}."
        )
    what = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ConnectionProblem(f"No broker answers at {broker} ({what}); start it, or correct {names.address}.")


def _no_tls(broker: str, names: RemedyNames) -> ConnectionProblem:
    return ConnectionProblem(
        f"{broker} does not speak TLS; {names.change} {names.port} to the broker's TLS port (mostly 8883), "
        f"or {names.no_tls}."
    )


def _from_certificate(
    error: ssl.SSLCertVerificationError, mqtt: Mqtt, names: RemedyNames
) -> ConnectionProblem:
    broker = where(mqtt)
    if error.verify_code in _UNKNOWN_AUTHORITY:
        signers = f"{mqtt.ca_file} did not sign it" if mqtt.ca_file else "nobody this system trusts signed it"
        reason = (
            f"The certificate of the broker {broker} can't be trusted: {signers}; "
            f"{names.change} {names.ca_file} to the certificate of the authority that did."
        )
    elif error.verify_code in _OTHER_HOST:
        reason = (
            f"The certificate of the broker {broker} is for another name than {mqtt.host}; "
            f"{names.change} {names.host} to the name in it, or give the broker a certificate for this one."
        )
    elif error.verify_code == _EXPIRED:
        reason = (
            f"The certificate of the broker {broker} has expired; renew it, "
            f"or see whether this machine's clock is right."
        )
    elif error.verify_code == _NOT_YET_VALID:
        reason = (
            f"The certificate of the broker {broker} is not valid yet; "
            f"see whether this machine's clock is right."
        )
    else:
        reason = (
            f"The certificate of the broker {broker} was refused ({error.verify_message}); "
            f"give the broker another, or {names.change} {names.ca_file} to the authority that signed it."
        )
    return ConnectionProblem(reason, lasting=True)


def from_refusal(code: int, words: str, mqtt: Mqtt, names: RemedyNames = SETTINGS) -> ConnectionProblem:
    """The broker answered the login with a refusal: `code` is that of CONNACK, 3.1.1's or 5's."""
    broker = where(mqtt)
    if code in _LOGIN_REFUSED:
        if not mqtt.username:
            return ConnectionProblem(
                f"The broker {broker} wants a login; "
                f"{names.change} {names.username} and {names.password_file}.",
                lasting=True,
            )
        secret = f"the password in {mqtt.password_file}" if mqtt.password_file else names.password_file
        return ConnectionProblem(
            f"The broker {broker} refused the login as {mqtt.username!r} ({words}); correct {names.username} "
            f"or {secret}, or let this user in at the broker.",
            lasting=True,
        )
    if code in _PROTOCOL_REFUSED:
        return ConnectionProblem(
            f"The broker {broker} does not speak MQTT {mqtt.protocol} there; "
            f"{names.change} {names.other_protocol(mqtt)}.",
            lasting=True,
            other_version=True,
        )
    if code in _CLIENT_ID_REFUSED:
        return ConnectionProblem(
            f"The broker {broker} does not accept the client id of this car; choose a shorter car.name.",
            lasting=True,
        )
    if code == _BANNED:
        return ConnectionProblem(
            f"The broker {broker} has banned this car; let it in at the broker.", lasting=True
        )
    return ConnectionProblem(
        f"The broker {broker} refused the connection ({words}); see the broker's log, it is tried again."
    )


def unanswered(mqtt: Mqtt, detail: str, names: RemedyNames = SETTINGS) -> ConnectionProblem:
    """The connection stood, and ended before the login was answered."""
    if mqtt.tls:
        hint = f"if it wants a certificate of this car, {names.change} {names.cert_file} and {names.key_file}"
    else:
        hint = f"if that is its TLS port, {names.change} {names.use_tls}"
    said = f" ({detail})" if detail else ""
    return ConnectionProblem(
        f"{where(mqtt)} took the connection but did not answer the login{said}; {hint}; "
        f"if it speaks no MQTT {mqtt.protocol}, {names.change} {names.other_protocol(mqtt)}; "
        f"else correct {names.port}.",
        other_version=True,
    )


def from_disconnect(code: int, words: str, client_id: str, mqtt: Mqtt) -> ConnectionProblem:
    """The broker closed a session, saying why (MQTT 5)."""
    if code == SESSION_TAKEN_OVER:
        return name_in_use(client_id, mqtt, lasting=False)  # of two cars, the later then gives way
    return ConnectionProblem(
        f"The broker {where(mqtt)} closed the connection ({words}); it is tried again.",
        disconnect_code=code,
    )


def name_in_use(client_id: str, mqtt: Mqtt, *, lasting: bool = True) -> ConnectionProblem:
    """Another client has our id: the broker lets only one of the two stay connected."""
    return ConnectionProblem(
        f"Another client connects to {where(mqtt)} as {client_id} and takes the session over; "
        f"two cars must not have one name: set car.name, or stop the other one.",
        lasting=lasting,
        disconnect_code=SESSION_TAKEN_OVER,
    )


def lost(mqtt: Mqtt) -> ConnectionProblem:
    """A session ended without a word."""
    return ConnectionProblem(f"The connection to the broker {where(mqtt)} was lost; it is tried again.")


def acknowledges_nothing(mqtt: Mqtt, seconds: float) -> ConnectionProblem:
    """The broker keeps the session and doesn't answer what is published or subscribed."""
    return ConnectionProblem(
        f"The broker {where(mqtt)} has acknowledged nothing for {seconds:.0f} s; see its log and its disk, "
        f"the session is begun anew."
    )


def short_lived(client_id: str, mqtt: Mqtt) -> ConnectionProblem:
    """Several sessions in a row ended without a word soon after they began."""
    return ConnectionProblem(
        f"The broker {where(mqtt)} closes the connection again and again soon after the login; perhaps "
        f"another client connects as {client_id}: two cars must not have one name, set car.name; "
        f"else see the broker's log."
    )
