"""Streams: Motion JPEG over HTTP, read here so that each fault can be named; others through OpenCV."""

from __future__ import annotations

import base64
import http.client
import os
import select
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import cv2

from messages.text import printable
from services.capture import jpeg
from services.capture.multipart import MultipartReader, NotMultipart
from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Frame, Source, SourceError, Thinning
from services.capture.source_address import login_of, public_address, without_login

STREAM_SCHEMES = {"http", "https", "rtsp", "rtmp", "udp", "tcp"}
TIMEOUT_S = 1.3
_PIECE = 1 << 16
_FIFO_PROBE_BYTES = 1 << 15
_MOST_AT_ONCE = 64
"""The most pieces that are read before a picture is shown, for servers that never pause."""


def open_stream(url: str, settings: ReaderSettings) -> Source:
    """A URL, or a FIFO's path. Raises SourceError."""
    if not url.startswith(("http://", "https://")):
        return OpenCvStream(url)
    response = _request(url)
    kind = response.headers.get_content_type()
    if kind != "multipart/x-mixed-replace":
        response.close()
        return OpenCvStream(url)
    return MotionJpeg(response, public_address(url), settings)


class MotionJpeg(Source):
    """A server's pictures as they come. Where several wait, the newest is taken: a slow reader isn't late."""

    live = True

    def __init__(self, response: http.client.HTTPResponse, address: str, settings: ReaderSettings) -> None:
        self._response, self._address = response, address
        self._parts = MultipartReader(response.headers.get_boundary())
        self._thinning = Thinning(settings.hertz)
        self._enough = (settings.width, settings.height)

    def read(self) -> Frame:
        while True:
            picture = self._newest()
            captured_ns = time.monotonic_ns()
            if self._thinning.wants(captured_ns):
                return Frame(jpeg.decode(picture, self._enough), captured_ns)

    def _newest(self) -> bytes:
        """The newest of the pictures that have come whole; waits for one."""
        pictures: list[bytes] = []
        while not pictures:
            pictures = self._receive()
        for _ in range(_MOST_AT_ONCE):
            if not self._more_waits():
                break
            pictures = self._receive() or pictures
        return pictures[-1]

    def _more_waits(self) -> bool:
        return bool(select.select([self._response.fileno()], [], [], 0)[0])

    def _receive(self) -> list[bytes]:
        try:
            piece = self._response.read1(_PIECE)
            if not piece:
                raise SourceError(f"The stream {self._address} ended; is its server up? It is opened anew.")
            return self._parts.feed(piece)
        except NotMultipart as error:
            raise SourceError(f"The stream {self._address} is no Motion JPEG: {error}.") from error
        except TimeoutError as error:
            raise SourceError(
                f"Nothing comes from the stream {self._address}; does its server hang? It is opened anew."
            ) from error
        except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
            raise SourceError(
                f"The stream {self._address} broke off ({error}); it is opened anew."
            ) from error

    def close(self) -> None:
        self._response.close()


class OpenCvStream(Source):
    """RTSP, or whatever else FFmpeg can read; its own clock paces it."""

    live = True

    def __init__(self, url: str) -> None:
        self._what = f"the stream {public_address(url)}"
        timeouts = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(TIMEOUT_S * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(TIMEOUT_S * 1000),
        ]
        if not urllib.parse.urlsplit(url).scheme:  # a FIFO: FFmpeg would wait for 5 MB before it shows any
            os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", f"probesize;{_FIFO_PROBE_BYTES}")
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
        if not self._capture.isOpened():
            raise SourceError(f"{self._what} can't be opened; is its server up, and the address right?")

    def read(self) -> Frame:
        if not self._capture.grab():
            raise SourceError(f"{self._what} stopped delivering; it is opened anew.")
        captured_ns = time.monotonic_ns()
        read, pixels = self._capture.retrieve()
        if not read or pixels is None:
            raise DamagedFrame("a picture that can't be decoded")
        return Frame(pixels, captured_ns)  # type: ignore[arg-type]

    def close(self) -> None:
        self._capture.release()


def _request(url: str) -> http.client.HTTPResponse:
    """Ask for the stream. Raises SourceError, which says what the server said."""
    address = public_address(url)
    request = urllib.request.Request(without_login(url))
    if login := login_of(url):
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        return _opener().open(request, timeout=TIMEOUT_S)  # type: ignore[no-any-return]
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(
            f"The stream {address} can't be opened: {_refusal(error.code, error.reason)}."
        ) from error
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:
        raise SourceError(
            f"The stream {address} can't be opened; is its server up, and the address right? "
            f"({_reason(error)})."
        ) from error


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows a server to where it points, and takes the login along only to the same host and port."""

    def redirect_request(self, request: Any, *answer: Any) -> urllib.request.Request | None:
        redirected = super().redirect_request(request, *answer)
        if redirected is not None and _origin(redirected.full_url) != _origin(request.full_url):
            redirected.remove_header("Authorization")
        return redirected


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS alone, through the proxies of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _RedirectHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _refusal(code: int, reason: Any) -> str:
    if code == 401:
        return "its server wants a login, as in http://user:password@host/"
    if code == 404:
        return "its server has nothing at this address"
    return f"its server says {code} {printable(str(reason))}"


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return printable(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)
