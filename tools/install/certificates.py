"""An authority of the car's own, and the certificates it signs: for the page and for the broker.

Whoever trusts its certificate, /etc/smartcar/ca.crt, once, is sure of this car; its key never leaves the car.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from messages.clock import CLOCK_WAS_SET
from tools.install import systemd
from tools.install.files import write

_NOT_BEFORE_THIS = datetime.fromtimestamp(CLOCK_WAS_SET, UTC)
"""A clock that was never set must not make certificates that are over already."""
_AUTHORITY_FOR = timedelta(days=365 * 30)
_CERTIFICATE_FOR = timedelta(days=824)
"""Apple's devices take none that is valid for longer."""
_RENEW_BEFORE = timedelta(days=400)


class Authority:
    """The authority in `folder`: `ca.crt` and `ca.key`, made where there is none."""

    def __init__(self, folder: Path, car: str) -> None:
        self.certificate_file = folder / "ca.crt"
        key_file = folder / "ca.key"
        if not (self.certificate_file.exists() and key_file.exists()):
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"smartcar {car}"[:64])])
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            certificate = (
                _builder(name, name, key.public_key(), _AUTHORITY_FOR)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(key, hashes.SHA256())
            )
            write(key_file, _pem(key), 0o600)
            write(self.certificate_file, certificate.public_bytes(Encoding.PEM))
        self._certificate = x509.load_pem_x509_certificate(self.certificate_file.read_bytes())
        loaded = load_pem_private_key(key_file.read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        self._key = loaded

    def renew(self, certificate_file: Path, key_file: Path) -> bool:
        """See to it that this machine has a certificate that holds for a year yet. True for a new one."""
        names = _own_names()
        if self._is_fresh(certificate_file, key_file, names):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64])])
        certificate = (
            _builder(name, self._certificate.subject, key.public_key(), _CERTIFICATE_FOR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        write(key_file, _pem(key), 0o600)
        write(certificate_file, certificate.public_bytes(Encoding.PEM))
        return True

    def _is_fresh(self, certificate_file: Path, key_file: Path, names: list[x509.GeneralName]) -> bool:
        """Whether the certificate is ours, belongs to the key, and holds for these names for long yet."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = load_pem_private_key(key_file.read_bytes(), None)
            certificate.verify_directly_issued_by(self._certificate)
        except Exception:  # missing, damaged, of another authority
            return False
        if certificate.public_key() != key.public_key():
            return False  # a renewal ended between the two files
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return certificate.not_valid_after_utc - _now() > _RENEW_BEFORE and all(
            name in known for name in names
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - timedelta(days=1))
        .not_valid_after(_now() - timedelta(days=1) + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _own_names() -> list[x509.GeneralName]:
    """How this machine is asked for: by name, on itself, and by the addresses that it has now."""
    host = socket.gethostname().split(".")[0]
    addresses = ["127.0.0.1", *systemd.run("hostname", "--all-ip-addresses", may_fail=True).split()]
    return [
        *(x509.DNSName(name) for name in (host, f"{host}.local", "localhost")),
        *(x509.IPAddress(ip_address(address)) for address in addresses),
    ]


def _now() -> datetime:
    return max(datetime.now(UTC), _NOT_BEFORE_THIS)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
