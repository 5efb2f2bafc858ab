"""Access to the page: Host, Origin and token are checked before anything else sees a request."""

from __future__ import annotations

import hmac
import re
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl

from messages.model_commands import MAX_UPLOAD_BYTES
from services.addresses import is_wildcard
from services.overlay.languages import refusal

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 16 << 10
UPLOAD = "/api/model"
"""The path that takes a model file as the body of a POST."""
COOKIE_SECONDS = 90 * 86400

NO_TOKEN = (
    "This page opens only with its token: use the whole address, token included, "
    "that `smartcar status` prints on the car."
)

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")
_UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class HostNames:
    """The names under which the page may be asked for.

    A foreign name whose address was changed to ours would make our page part of a foreign site (DNS
    rebinding). An address as such can't be rebound, so that any is right where we listen on all of them.
    """

    def __init__(self, host: str) -> None:
        self._any_address = is_wildcard(host)
        self._names = {"localhost", "127.0.0.1", "::1"}
        if self._any_address:
            name = socket.gethostname().lower()
            short = name.partition(".")[0]
            self._names |= {name, short, f"{short}.local"}
        else:
            self._names.add(host.lower())

    def __contains__(self, authority: str) -> bool:
        match = _HOST.fullmatch(authority)
        if match is None:
            return False
        name = match["name"].strip("[]").lower().rstrip(".")
        if name in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return self._any_address


class Guard:
    """Wraps an application (ASGI): what gets past it has the right host, origin and token.

    `/?token=…` turns the token into a cookie and forwards to `/`, so that it doesn't stay in the address bar.
    """

    def __init__(self, application: Application, token: str, hosts: HostNames) -> None:
        self._application = application
        self._token = token.encode()
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        try:
            authority = self._checked_host(headers)
            self._check_origin(scope, headers, authority)
            cookie = _cookie_name(scope)
            if scope["type"] == "http" and (given := _token_in_address(scope)) is not None:
                self._check_token([given])
                await _forward(send, cookie, given, secure=scope["scheme"] == "https")
                return
            self._check_token(_cookies(headers, cookie))
            most = MAX_UPLOAD_BYTES if scope["path"] == UPLOAD else MAX_BODY_BYTES
            await self._application(scope, _limited(headers, receive, most), _with_headers(send, authority))
        except Refused as refused:
            await _refuse(scope, send, refused)

    def _checked_host(self, headers: list[tuple[bytes, str]]) -> str:
        given = [value for name, value in headers if name == b"host"]
        if len(given) != 1 or given[0] not in self._hosts:
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This page is not known under that name; use the address that `smartcar status` prints, "
                "or set overlay.host to the name you want.",
            )
        return given[0]

    def _check_origin(self, scope: Scope, headers: list[tuple[bytes, str]], authority: str) -> None:
        given = [value for name, value in headers if name == b"origin"]
        needed = scope["type"] == "websocket" or scope["method"] in _UNSAFE_METHODS
        if not given and not needed:
            return
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        if given != [f"{scheme}://{authority}"]:
            raise Refused(HTTPStatus.FORBIDDEN, "This request comes from another site, which may not ask.")

    def _check_token(self, given: list[str]) -> None:
        if not any(hmac.compare_digest(each.encode("latin-1", "replace"), self._token) for each in given):
            raise Refused(HTTPStatus.UNAUTHORIZED, NO_TOKEN)


def _cookie_name(scope: Scope) -> str:
    # Browsers keep cookies by host, not by port: two cars on one machine would overwrite each other's.
    return f"smartcar-{(scope.get('server') or ('', 0))[1]}"


def _cookies(headers: list[tuple[bytes, str]], wanted: str) -> list[str]:
    pairs = [pair for name, value in headers if name == b"cookie" for pair in value.split(";")[:64]]
    split = (pair.strip().partition("=") for pair in pairs)
    return [value for name, _, value in split if name == wanted][:4]


def _token_in_address(scope: Scope) -> str | None:
    if scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
        return None
    query = parse_qsl(scope["query_string"].decode("latin-1")[:1024])
    return next((value for name, value in query if name == "token"), None)


def _limited(headers: list[tuple[bytes, str]], receive: Receive, most: int) -> Receive:
    """`receive` that takes no larger body than `most` bytes, whatever its header says. Raises Refused."""
    too_large = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request may have {most} bytes, no more.")
    declared = next((value for name, value in headers if name == b"content-length"), "0")
    if not declared.isdigit() or int(declared[:12]) > most:
        raise too_large
    received = 0

    async def limited() -> Event:
        nonlocal received
        event = await receive()
        if event["type"] == "http.request":
            received += len(event.get("body", b""))
            if received > most:
                raise too_large
        return event

    return limited


def _with_headers(send: Send, authority: str) -> Send:
    async def with_headers(event: Event) -> None:
        if event["type"] == "http.response.start":
            event["headers"] = [*event.get("headers", ()), *_security_headers(authority)]
        await send(event)

    return with_headers


def _security_headers(authority: str = "") -> list[tuple[bytes, bytes]]:
    # Some browsers don't count WebSockets as 'self'.
    sockets = f" ws://{authority} wss://{authority}" if authority else ""
    policy = (
        f"default-src 'self'; connect-src 'self'{sockets}; img-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


async def _forward(send: Send, cookie: str, token: str, *, secure: bool) -> None:
    setting = f"{cookie}={token}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Strict"
    if secure:
        setting += "; Secure"
    headers = [(b"location", b"/"), (b"set-cookie", setting.encode()), (b"content-length", b"0")]
    await send(
        {
            "type": "http.response.start",
            "status": HTTPStatus.SEE_OTHER.value,
            "headers": headers + _security_headers(),
        }
    )
    await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, refused: Refused) -> None:
    kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    accepted = next((value for name, value in scope["headers"] if name.lower() == b"accept-language"), b"")
    body = f"{refusal(accepted.decode('latin-1'), refused.status, refused.sentence)}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send(
        {
            "type": f"{kind}.start",
            "status": refused.status.value,
            "headers": headers + _security_headers(),
        }
    )
    await send({"type": f"{kind}.body", "body": body})
