"""The page: its port, open with the token, closed without."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from messages.bus import socket_path
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, as_error, error, ok, warning

_TIMEOUT_S = 4.0


def page(car: CheckContext) -> Iterator[Finding]:
    """Asks for it as a browser would, with the token and without."""
    overlay = car.snapshot["overlay"]
    if overlay.pid is None:
        yield from _port(car)
        return
    if "address" not in overlay.details:
        yield as_error(overlay.reason or f"the page isn't up: the overlay is {overlay.state}")
        return
    if "warning" in overlay.details:
        yield warning(
            overlay.details["warning"].partition(": ")[0], "use TLS, or a tunnel: overlay.host = '127.0.0.1'"
        )
    if not car.snapshot.page:
        file = socket_path(car.settings.paths.runtime, "overlay", "address")
        yield warning(f"this user can't read the page's token ({file})", "sudo smartcar doctor page")
        return
    address = car.snapshot.page.splitlines()[0]
    try:
        opened, closed = _status(address), _status(address.partition("?")[0])
    except OSError as problem:
        yield error(f"the page doesn't answer at {_bare(address)} ({problem})", "see the log of the overlay")
        return
    if closed < http.client.BAD_REQUEST:
        yield error(
            f"the page at {_bare(address)} opens without its token", "stop the overlay, and report it"
        )
    elif opened >= http.client.BAD_REQUEST:
        yield error(
            f"the page at {_bare(address)} refuses its own token (HTTP {opened})",
            "restart the overlay, and open the address that smartcar status prints",
        )
    else:
        yield ok(f"{_bare(address)} opens with its token and not without")


def _status(address: str) -> int:
    """The status of the answer. Raises OSError."""
    url = urlsplit(address)
    if url.scheme == "https":
        trusting = ssl.create_default_context()  # it is this machine's own page, whoever signed it
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        link: http.client.HTTPConnection = http.client.HTTPSConnection(
            url.netloc, timeout=_TIMEOUT_S, context=trusting
        )
    else:
        link = http.client.HTTPConnection(url.netloc, timeout=_TIMEOUT_S)
    try:
        link.request("GET", f"{url.path}?{url.query}" if url.query else url.path)
        return link.getresponse().status
    except http.client.HTTPException as problem:
        raise OSError(f"it speaks no HTTP: {type(problem).__name__}") from problem
    finally:
        link.close()


def _bare(address: str) -> str:
    return address.partition("?")[0]


def _port(car: CheckContext) -> Iterator[Finding]:
    overlay = car.settings.overlay
    family = socket.AF_INET6 if ":" in overlay.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((overlay.host, overlay.port))
        except OSError as problem:
            yield error(
                f"the page can't have port {overlay.port} of {overlay.host} ({problem.strerror})",
                f"see who has it: sudo ss -tlnp 'sport = :{overlay.port}'; or set overlay.port",
            )
            return
    yield ok(f"port {overlay.port} of {overlay.host} is free for it; the overlay doesn't run")
