"""The web server: uvicorn in a thread with its own event loop, watched from the service's loop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.overlay.access import Application

RETRY_S = 3.0
HUNG_AFTER_S = 6.0
STOP_S = 4.0
MAX_CONNECTIONS = 128
MAX_HANDSHAKES = 64
"""The most TLS handshakes under way; for one more, the one that has waited longest is cut."""
MAX_MESSAGE_BYTES = 2048
"""The most bytes in a message of the page over its WebSocket."""
IDLE_S = 15.0
UNREAD_S = 30.0
"""A connection is cut when its other end has read nothing for this long."""

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"Too many connections are open to this car's page; close some and load it again.\n"
)
_BACKLOG = 64
"""The most connections that the kernel keeps waiting, and that asyncio accepts at once."""
_NEVER = object()

log = logging.getLogger(__name__)


class ServerHung(RuntimeError):
    """The server's thread does not answer, or has ended by itself."""


class PageServer:
    """Listens on (host, port) and serves `application`; where that fails, says why and tries again.

    With `tls` it is https.

    `on_listening(port)` and `on_trouble(sentence)` are called in the server's thread, and so is
    `on_loop(loop)`, first with the event loop and at the end with None.
    """

    def __init__(
        self,
        application: Application,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        on_listening: Callable[[int], None],
        on_trouble: Callable[[str], None],
        on_loop: Callable[[asyncio.AbstractEventLoop | None], None],
    ) -> None:
        self._application = application
        self._host, self._port, self._tls = host, port, tls
        self._on_listening, self._on_trouble, self._on_loop = on_listening, on_trouble, on_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._answered = time.monotonic()
        self._asked = False
        # A daemon: one that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        """Ask the server's thread for a sign of life. Call often. Raises ServerHung."""
        if not self._thread.is_alive():
            raise ServerHung(f"the page's server ended by itself: {self._failure!r}") from self._failure
        silent_s = time.monotonic() - self._answered
        if silent_s > HUNG_AFTER_S:
            raise ServerHung(f"the page's server has not answered for {silent_s:.0f} s")
        if self._loop is not None and not self._asked:
            self._asked = True
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError as error:
                raise ServerHung(f"the page's server ended by itself: {error}") from error

    def _answer(self) -> None:
        self._answered = time.monotonic()
        self._asked = False

    def stop(self) -> None:
        """Close what is open and wait for the thread, but not for ever."""
        if not self._thread.is_alive():
            return
        if self._loop is not None and self._stopping is not None:
            try:
                self._loop.call_soon_threadsafe(self._stopping.set)
            except RuntimeError:
                pass  # it has just ended
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            log.warning("the page's server did not stop within %.0f s and is left behind", STOP_S)

    # in the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._failure = error

    async def _main(self) -> None:
        stopping = asyncio.Event()
        self._stopping, self._loop = stopping, asyncio.get_running_loop()
        self._on_loop(self._loop)
        try:
            while not stopping.is_set():
                try:
                    listener = await self._listen()
                except OSError as error:
                    self._on_trouble(self._explain(error))
                    await _wait(stopping, RETRY_S)
                else:
                    await self._serve(listener, stopping)
        finally:
            self._on_loop(None)

    async def _listen(self) -> Listener:
        found = await asyncio.get_running_loop().getaddrinfo(
            self._host or "0.0.0.0", self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, address = found[0]
        listener = socket.create_server(
            address[:2],
            family=family,
            backlog=_BACKLOG,
            dualstack_ipv6=family == socket.AF_INET6 and self._host == "::",
        )
        return Listener(fileno=listener.detach())

    def _explain(self, error: OSError) -> str:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            return (
                f"The page can't listen on {self._host}, which is no address of this machine; "
                f"set overlay.host in the configuration to one."
            )
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {self._port} is taken by another program; "
                f"choose another with --port or overlay.port in the configuration."
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return (
                f"This user may not listen on port {self._port}; "
                f"choose one above 1023 with --port or overlay.port in the configuration."
            )
        return f"The page can't listen on {self._host}, port {self._port}: {error.strerror or error}."

    async def _serve(self, listener: Listener, stopping: asyncio.Event) -> None:
        config = uvicorn.Config(
            self._application,
            http=_Connection.at(listener),
            backlog=_BACKLOG,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,  # JPEG doesn't shrink
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=16 << 10,
        )
        config.load()
        config.ssl = self._tls
        server = uvicorn.Server(config)
        self._on_listening(listener.getsockname()[1])
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        stop = asyncio.ensure_future(stopping.wait())
        await asyncio.wait((serving, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        server.should_exit = True
        await serving
        if not stopping.is_set():
            raise RuntimeError("uvicorn stopped serving")


class Listener(socket.socket):
    """A listening socket that bounds how many connections are open before they are HTTP connections.

    Uvicorn counts a TLS connection only after its handshake, which a client may draw out for a minute.
    """

    __slots__ = ("_handshakes",)

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._handshakes: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection, as asyncio asks for it. May cut the one whose handshake takes longest."""
        connection, address = super().accept()
        self._handshakes = [each for each in self._handshakes if each.fileno() >= 0]
        if len(self._handshakes) == MAX_HANDSHAKES:
            try:
                self._handshakes.pop(0).shutdown(socket.SHUT_RDWR)  # asyncio, whose it is, then closes it
            except OSError:
                pass  # its other end was faster
        self._handshakes.append(connection)
        return connection, address

    def is_connected(self, connection: Any) -> None:
        """Its handshake is over, or it needed none."""
        self._handshakes = [each for each in self._handshakes if each.fileno() != connection.fileno()]


class _Connection(H11Protocol):
    """An HTTP connection that may not stay idle, nor be one of too many."""

    _listener: ClassVar[Listener]
    _idle_timer: asyncio.TimerHandle | None = None
    _last_cycle: Any = _NEVER

    @classmethod
    def at(cls, listener: Listener) -> type[_Connection]:
        """The class of the connections that `listener` accepts."""
        return type("_Connection", (cls,), {"_listener": listener})

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        self._listener.is_connected(raw)
        if raw is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_FULL)
            transport.close()
            return
        self._idle_timer = self.loop.call_later(IDLE_S, self._check_idle)

    def _check_idle(self) -> None:
        # uvicorn waits for ever for the rest of a request's head.
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._last_cycle:
            self.transport.abort()
            return
        self._last_cycle = self.cycle if idle else _NEVER
        self._idle_timer = self.loop.call_later(IDLE_S, self._check_idle)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._cancel_timer()
        super().handle_websocket_upgrade(event)

    def _cancel_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass
