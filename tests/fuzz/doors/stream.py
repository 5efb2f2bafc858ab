"""A camera's stream: a Motion JPEG server that answers whatever this draws, and the source that reads it."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path

import cv2
import numpy as np

from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Source, SourceError
from services.capture.stream import open_stream
from services.config import Capture
from tests.fuzz import hostile
from tests.fuzz.door import Door, DoorFailed

FRAMES = 4
_GRAIN = np.random.default_rng(5).integers(0, 60, (120, 160, 3), np.uint8)
_JPEG = cv2.imencode(".jpg", _GRAIN)[1].tobytes()
_BOUNDARIES = (
    *("boundary=f", "boundary*=utf-8''f", 'boundary*0="f"', 'boundary="--f"', "", "boundary="),
    *("boundary*=x'y'z", "boundary=%ff", "boundary=é", "boundary*1=f", "boundary=" + "f" * 2000),
)
_STATUS = ("200 OK",) * 12 + ("401 \x1b[2J", "302 Found", "500 " + "x" * 3000, "9999", "-1 ", "")
_TYPE = "multipart/x-mixed-replace"


class StreamDoor(Door):
    name = "stream"

    def open(self, folder: Path) -> None:
        self._settings = ReaderSettings.of(Capture())
        self._server = socket.create_server(("127.0.0.1", 0))
        self._url = f"http://pi:horse@127.0.0.1:{self._server.getsockname()[1]}/v"
        self._answer = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def feed(self, chance: random.Random) -> None:
        self._answer = _answer(chance)
        source: Source | None = None
        try:
            source = open_stream(
                f"http://pi:horse@127.0.0.1:{self._server.getsockname()[1]}/v", self._settings
            )
            for _ in range(FRAMES):
                try:
                    frame = source.read()
                    if frame is None or frame.pixels.ndim != 3:
                        raise DoorFailed(f"{frame} is no frame")
                except DamagedFrame:
                    pass
        except SourceError:
            pass
        except Exception as error:
            raise DoorFailed(f"{type(error).__name__}: {error}, at {self._answer[:500]!r}") from error
        finally:
            if source is not None:
                source.close()

    def settle(self) -> None:
        """Each input has been dealt with when `feed` returns."""

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        """One answer a connection, whatever is asked, and then its end."""
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(4096)
                    connection.sendall(self._answer)
                except OSError:
                    pass  # enough of it


def _answer(chance: random.Random) -> bytes:
    status = chance.choice(
        ("200 OK",) * 12 + ("401 \x1b[2J", "302 Found", "500 " + "x" * 3000, "9999", "-1 ", "")
    )
    head = [f"HTTP/1.1 {status}", f"Content-Type: {_TYPE}; {chance.choice(_BOUNDARIES)}"]
    if chance.random() < 0.1:
        head.append(
            f"Location: {chance.choice(('file:///etc/passwd', 'ftp://x/', '//[', '', 'http://127.0.0.1:9/'))}"
        )
    if chance.random() < 0.1:
        head.append(f"Content-Length: {chance.choice(('0', '-1', '9' * 40, 'x', '5'))}")
    body = b"".join(_part(chance) for _ in range(chance.randint(1, 5)))
    whole = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    return hostile.mutated(chance, whole) if chance.random() < 0.3 else whole


def _part(chance: random.Random) -> bytes:
    picture = _picture(chance)
    length = chance.choice((len(picture), len(picture), len(picture), -1, 10**40, 0, "x", 1 << 30))
    named = f"Content-Length: {length}\r\n" if chance.random() < 0.6 else ""
    return f"--f\r\nContent-Type: image/jpeg\r\n{named}\r\n".encode() + picture + b"\r\n"


def _picture(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.2:
        return _JPEG
    if kind < 0.4:  # another size, in the frame's header
        at = _JPEG.index(b"\xff\xc0") + 5
        return _JPEG[:at] + chance.randbytes(4) + _JPEG[at + 4 :]
    if kind < 0.5:
        return chance.choice(hostile.GARBAGE)
    return hostile.mutated(chance, _JPEG)


DOOR = StreamDoor
