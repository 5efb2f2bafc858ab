"""The overlay service: serves the page, and works for the live view only while someone looks."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from messages.bus import Subscriber, shared_with_group, socket_path
from messages.capture_commands import DEFAULT_SOURCE
from messages.command import Door
from messages.errors import CannotStart
from messages.health import Heartbeat
from messages.journal_reader import JournalReader
from messages.message import MalformedMessage, decode
from messages.models import ModelProgress, ModelState
from messages.pad import PadCanvas, PadChange, PadResult
from messages.vision import FrameReady, Reading, ReadingEvent
from services.addresses import is_loopback, is_wildcard
from services.config import Overlay
from services.journals import journal_path
from services.overlay import board
from services.overlay.access import Guard, HostNames
from services.overlay.pad_feed import CHANGES_EVERY_S, PadFeed
from services.overlay.picture import LivePicture
from services.overlay.token import Token, write_private
from services.service import SERVICES, Service

if TYPE_CHECKING:
    import ssl

CHECK_S = 0.5
TOKEN_AGAIN_S = 5.0
BOARD_S = 1.0
JOURNAL_TAIL = 4 * board.REMEMBERED_SIGNS

log = logging.getLogger(__name__)


class OverlayService(Service):
    """The page's server and what it shows.

    This loop owns the bus; the server runs in a thread with an event loop of its own, and is handed finished
    messages. While nobody looks, neither frames nor readings nor strokes are subscribed to.
    """

    name = "overlay"
    about = "serves the page"
    section = Overlay
    door = Door.PAGE

    def start(self) -> None:
        from services.overlay import application
        from services.overlay.server import PageServer
        from services.overlay.viewers import FRAME, Hub

        overlay = self.settings.overlay
        self._server_problem = ""
        self._token = Token(self.settings.paths.state / self.name / "token")
        self._address_file = socket_path(self.runtime, self.name, "address")
        self._address_file.unlink(missing_ok=True)
        self.on_stop(lambda: self._address_file.unlink(missing_ok=True))
        self._tls = self._load_certificate()
        self._warning = self._network_warning()
        self._build = application.page_build()
        self._health = board.HealthBoard(self.runtime, {name: head.about for name, head in SERVICES.items()})
        self._events = board.EventLog()
        self._live: Subscriber | None = None
        self._strokes: Subscriber | None = None
        self._hub = Hub(on_demand=lambda: self.call_soon(self._demand))
        self._status = board.message("board", self._board())
        commands = application.PageCommands(self.context, self.runtime)
        self._picture = LivePicture(
            socket_path(self.runtime, "capture", "ring"),
            overlay.hertz,
            overlay.jpeg_quality,
            lambda picture: self._hub.post(FRAME, picture),
        )
        self.on_stop(self._picture.close)
        self._page = PageServer(
            Guard(
                application.build(self._hub, commands, lambda: self._status),
                self._token.value,
                HostNames(overlay.host),
            ),
            overlay.host,
            overlay.port,
            self._tls,
            on_listening=lambda port: self.call_soon(lambda: self._listening(port)),
            on_trouble=lambda sentence: self.call_soon(lambda: self._trouble(sentence)),
            on_loop=self._hub.attach,
        )
        self.on_stop(self._page.stop)
        self._step: ModelProgress | None = None
        self._models: ModelState | None = None
        self._bulletins = self.subscribe(
            {
                "health": self._heard,
                "reading.event": self._event,
                "model.state": self._model_state,
                "model.progress": self._model_progress,
            }
        )
        self._journal = JournalReader(journal_path(self.settings, "recognizer"))
        self.on_stop(self._journal.close)
        self._fill_events()
        self.every(CHECK_S, self._check)
        self.every(BOARD_S, self._show_board)
        self.every(TOKEN_AGAIN_S, self._keep_token)
        self._page.start()

    # the server

    def _keep_token(self) -> None:
        """The disk may take it by now."""
        if self._token.problem and self._token.keep():
            self._report_state()

    def _load_certificate(self) -> ssl.SSLContext | None:
        import ssl

        overlay = self.settings.overlay
        if overlay.cert_file is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(overlay.cert_file, overlay.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise CannotStart(
                f"The page's certificate {overlay.cert_file} and its key can't be used ({error}); correct "
                f"overlay.cert_file and overlay.key_file, or let `smartcar install --page` make new ones."
            ) from error
        return context

    def _network_warning(self) -> str:
        host = self.settings.overlay.host
        if is_loopback(host) or self._tls is not None:
            return ""
        return (
            f"This page is open to the network without encryption (overlay.host is {host}): "
            f"who can listen in on that network can read the token and use the page."
        )

    def _listening(self, port: int) -> None:
        addresses = self._addresses(port)
        lines = "".join(f"{address}?token={self._token.value}\n" for address in addresses)
        try:
            shared = shared_with_group(self._address_file.parent)
            write_private(self._address_file, lines, 0o640 if shared else 0o600)
        except OSError as error:
            self._server_problem = f"The page's address can't be written to {self._address_file}: {error}."
            self._report_state()
            return
        self.details["address"] = addresses[0]
        if self._warning:
            self.details["warning"] = self._warning
            log.warning("%s", self._warning)
        log.info("the page is at %s", addresses[0])
        self._server_problem = ""
        self._report_state()

    def _addresses(self, port: int) -> list[str]:
        """Where the page is: from this machine first, then from the network."""
        host, scheme = self.settings.overlay.host, "http" if self._tls is None else "https"
        if not is_wildcard(host):
            return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"]
        local = [f"{scheme}://127.0.0.1:{port}/"]
        return local if (own := _own_address()) is None else [*local, f"{scheme}://{own}:{port}/"]

    def _trouble(self, sentence: str) -> None:
        self.details.pop("address", None)
        self._server_problem = sentence
        self._report_state()

    def _report_state(self) -> None:
        if problem := self._server_problem or self._token.problem:
            self.report("degraded", problem)
        elif "address" in self.details:
            self.report("ready")

    def _check(self) -> None:
        self._page.check()  # raises where its thread hangs: then this process had better begin anew
        if self._live is not None and not self._hub.watched:
            self._rest()
        if self._strokes is not None and not self._hub.looking:
            self._leave_pad()

    # what is shown

    def _heard(self, heartbeat: Heartbeat) -> None:
        if self._health.heard(heartbeat):
            self._show_board()

    def _event(self, event: ReadingEvent) -> None:
        self._events.add(event)
        if self._hub.looking:
            self._show_events()

    def _show_board(self) -> None:
        self._status = board.message("board", self._board())
        if self._hub.looking:
            self._hub.post("board", self._status)

    def _board(self) -> dict[str, object]:
        return {
            "car": self.settings.car.name,
            "build": self._build,
            "warning": self._warning,
            "sources": [DEFAULT_SOURCE, *self.settings.capture.sources],
            "glance": self._health.glance(),
            "services": self._health.rows(),
        }

    def _show_events(self) -> None:
        missed = self._bulletins.missed["reading.event"]
        self._hub.post("events", board.message("events", {"events": self._events.rows(), "missed": missed}))

    def _fill_events(self) -> None:
        """Add what the recognizer's journal has: events from before this process, and any that went by."""
        for entry in self._journal.tail(JOURNAL_TAIL):
            if entry.topic == "reading.event":
                try:
                    self._events.add(decode(ReadingEvent, entry.payload))
                except MalformedMessage:
                    self.metrics.count("malformed.journal")

    # models

    def _model_state(self, state: ModelState) -> None:
        self._models = state
        self._show_models()

    def _model_progress(self, step: ModelProgress) -> None:
        self._step = step
        self._show_models()

    def _show_models(self) -> None:
        """Which model is which, and the latest step of a change. The list of all, the page asks for."""
        if self._hub.looking and self._models is not None:
            content = {
                "state": self._models.model_dump(mode="json"),
                "step": self._step.model_dump(mode="json") if self._step is not None else None,
            }
            self._hub.post("model", board.message("model", content))

    # the live view

    def _demand(self) -> None:
        """Somebody begins to look."""
        self._fill_events()
        self._show_board()
        self._show_events()
        self._show_models()
        self._show_pad()
        if self._live is None and self._hub.watched:
            self._live = self.subscribe({"frame": self._frame, "reading": self._reading})

    def _rest(self) -> None:
        if self._live is not None:
            self.unsubscribe(self._live)
            self._live = None
            self._picture.rest()

    def _frame(self, frame: FrameReady) -> None:
        self._count_picture()
        self._picture.frame(frame, self._hub.ready)

    def _reading(self, reading: Reading) -> None:
        self._picture.reading(reading, self._hub.ready)

    def _count_picture(self) -> None:
        if (taken_ms := self._picture.taken()) is not None:
            self.metrics.count("pictures")
            self.metrics.observe("encode", taken_ms)

    # the pad

    def _show_pad(self) -> None:
        """Whole, to somebody who begins to look or has missed something."""
        if self._strokes is None:
            if not self._hub.looking:
                return
            self._pad, self._changes_due = PadFeed(), False
            self._strokes = self.subscribe(
                {"pad.canvas": self._canvas, "pad.stroke": self._change, "pad.reading": self._pad_reading}
            )
        if (canvas := self._pad.canvas()) is not None:
            self._hub.post("pad", canvas)
        if self._pad.reading:
            self._hub.post("pad.reading", self._pad.reading)

    def _leave_pad(self) -> None:
        if self._strokes is not None:
            self.unsubscribe(self._strokes)
            self._strokes = None

    def _canvas(self, canvas: PadCanvas) -> None:
        if self._pad.take_canvas(canvas) and (whole := self._pad.canvas()) is not None:
            self._hub.post("pad", whole)

    def _change(self, change: PadChange) -> None:
        if self._pad.take_change(change) and not self._changes_due:
            self._changes_due = True
            self.after(CHANGES_EVERY_S, self._show_changes)

    def _show_changes(self) -> None:
        self._changes_due = False
        self._hub.post("pad.change", self._pad.changes())

    def _pad_reading(self, result: PadResult) -> None:
        self._hub.post("pad.reading", self._pad.take_reading(result))


def _no_passphrase() -> str:
    raise ValueError("it wants a passphrase")  # else OpenSSL would ask for one on the terminal


def _own_address() -> str | None:
    """The address under which the network knows this machine; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1, RFC 5737
            return str(probe.getsockname()[0])
        except OSError:
            return None
