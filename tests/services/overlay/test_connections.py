"""How many connections the page's server keeps open, whatever they do."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest

from services.overlay.server import MAX_CONNECTIONS, MAX_HANDSHAKES
from tests.conftest import PATIENCE_S, wait_for
from tests.services.overlay.conftest import Launch, Overlay

SILENT = 500
OWN_DESCRIPTORS = 80
"""What the process needs for itself, generously."""


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return {"OVERLAY__CERT_FILE": str(certificate), "OVERLAY__KEY_FILE": str(key)}


def descriptors(overlay: Overlay) -> int:
    assert overlay.process is not None
    return len(os.listdir(f"/proc/{overlay.process.pid}/fd"))


def answer(overlay: Overlay, tls: ssl.SSLContext | None) -> bytes:
    raw = socket.create_connection(("127.0.0.1", overlay.port), 10)
    with tls.wrap_socket(raw) if tls is not None else raw as connection:
        connection.settimeout(PATIENCE_S)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection.recv(12)


@pytest.mark.parametrize("encrypted", [True, False])
def test_connections_that_say_nothing_do_not_pile_up(
    launch: Launch, certificate: dict[str, str], encrypted: bool
) -> None:
    overlay = launch(**(certificate if encrypted else {})).listening()
    tls = ssl._create_unverified_context() if encrypted else None
    silent: list[socket.socket] = []
    try:
        silent.extend(socket.create_connection(("127.0.0.1", overlay.port), 10) for _ in range(SILENT))
        most = OWN_DESCRIPTORS + (MAX_HANDSHAKES if encrypted else MAX_CONNECTIONS)
        wait_for(lambda: descriptors(overlay) <= most, what="file descriptors given back")
        assert answer(overlay, tls) == (b"HTTP/1.1 401" if encrypted else b"HTTP/1.1 503")
    finally:
        for connection in silent:
            connection.close()
    wait_for(lambda: answer(overlay, tls) == b"HTTP/1.1 401")
    assert overlay.stop() == 0
    assert "Traceback" not in overlay.log.read_text()
