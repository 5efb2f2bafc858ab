"""A file that is being fetched: Partial, what has come so far, and Download, which brings it from a URL.

A download runs in a thread: bounded, resumed after an interruption, http and https alone.

The deadline is one for the whole download: looking up the name, connecting, TLS, headers, redirects and body.
When it is over, or the download is cancelled, the socket is shut down and the thread ends.

    Download("https://example.org/digits.zip", path, size, sha256, 60.0, finished=print)
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from messages import durable
from messages.errors import ErrorCode
from models.refusal import Refusal
from models.store import SPARE_BYTES
from services.updater.preparation import PAYLOAD_FILE

TIMEOUT_S = 15.0
"""Without a byte."""
ATTEMPTS = 5
"""So often a connection may break or fail without a byte more."""
PAUSE_S = 0.5
"""Before the second attempt; doubled for each further."""
MOST_REDIRECTS = 5
PIECE_BYTES = 256 << 10
_SCHEMES = ("http://", "https://")

log = logging.getLogger(__name__)


class _Bad(Exception):
    """What the server gives is not what was promised; asking again doesn't help."""


class Partial:
    """The one file below `root` that something is fetched into, in a folder named after its digest.

    It grows, whatever is killed meanwhile: its length says where to go on. It may end within what a kill cut
    short, and holds what nobody has checked yet: once it is whole, hashes say what it is.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "none"

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def path(self) -> Path:
        return self._folder / PAYLOAD_FILE

    @property
    def length(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def open(self, digest: str, size: int, files: dict[str, bytes]) -> None:
        """Make room for it, with `files` beside it; what has come of it before stays, all else goes.

        Raises Refusal: no_space.
        """
        folder = self._named(digest)
        self.sweep({folder})
        self._folder = folder
        needed = 2 * size - self.length + SPARE_BYTES
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o750)
            free = shutil.disk_usage(self._root).free
        except OSError as error:
            raise _no_space(error) from error
        if free < needed:
            sentence = f"{free >> 10} KiB are free where {needed >> 10} are needed."
            raise Refusal(ErrorCode.NO_SPACE, sentence, "Free some space.")
        try:
            if not folder.is_dir():
                durable.make_folder(folder)
                durable.sync_folder(self._root)
            for name, content in files.items():
                durable.replace_file(folder / name, content)
        except OSError as error:
            raise _no_space(error) from error

    def resume(self, digest: str) -> bool:
        """Go on with what is there from before; False where there is nothing."""
        self._folder = self._named(digest)
        self.sweep({self._folder})
        return self._folder.is_dir()

    def append(self, content: bytes) -> None:
        """Raises Refusal: no_space."""
        try:
            durable.append(self.path, content)
        except OSError as error:
            raise _no_space(error) from error

    def empty(self) -> None:
        self.path.unlink(missing_ok=True)

    def sweep(self, keep: set[Path]) -> None:
        """Take away all folders but these."""
        for path in self._root.glob("*"):
            if path not in keep:
                durable.remove_tree(path)

    def _named(self, digest: str) -> Path:
        return self._root / digest[:32]


class Download:
    """Begins at once. `finished(problem)` is called once, in another thread, unless it was cancelled before.

    It is called after `deadline_s` seconds at the latest, with an empty `problem` where the file is whole.
    What is at `path` already is taken for the beginning. `sha256`: of the whole file, where it is known.
    """

    def __init__(
        self, url: str, path: Path, size: int, sha256: str, deadline_s: float, finished: Callable[[str], None]
    ) -> None:
        self._url, self._path, self._size, self._sha256 = url, path, size, sha256
        self._finished = finished
        self._cancelled, self._writing = threading.Event(), threading.Lock()
        self._socket: socket.socket | None = None
        self._deadline = threading.Timer(deadline_s, self._end, ["it took too long"])
        self._deadline.daemon = True
        self._deadline.start()
        threading.Thread(target=self._run, name="download", daemon=True).start()

    def cancel(self) -> None:
        """Nothing is written after this has returned, and nothing is told."""
        self._deadline.cancel()
        with self._writing:
            self._cancelled.set()
            self._shut_down()

    def _connected(self, connection: socket.socket) -> None:
        """The thread has a connection: it is shut down when the download ends, now where it has ended."""
        with self._writing:
            self._socket, before = connection.dup(), self._socket
            if before is not None:
                before.close()
            if self._cancelled.is_set():
                self._shut_down()

    def _end(self, problem: str) -> None:
        with self._writing:
            first = not self._cancelled.is_set()
        self.cancel()
        if first:
            self._finished(problem)

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the server has closed it
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    # in the thread

    def _run(self) -> None:
        try:
            problem = self._problem()
        except Exception as error:  # a strange server is not to stop what waits for this
            log.exception("fetching %s", self._url)
            problem = f"it failed in a way nobody foresaw ({error})"
        self._end(problem)

    def _problem(self) -> str:
        """Why it failed; empty where the file is whole."""
        failures = 0
        while not self._cancelled.is_set():
            before = self._length()
            try:
                if before < self._size:
                    self._fetch(before)
                if self._length() == self._size:
                    return self._checked()
                why = "the server closed the connection"
            except _Bad as bad:
                return str(bad)
            except urllib.error.HTTPError as error:
                error.close()
                why = f"the server answered {error.code}"
                if error.code == 416:  # it is no longer what it was
                    self._remove()
                elif error.code < 500:
                    return why
            except (OSError, http.client.HTTPException, ValueError) as error:
                why = _said(error)
            failures = 0 if self._length() > before else failures + 1
            if failures >= ATTEMPTS:
                return why
            self._cancelled.wait(PAUSE_S * 2**failures)
        return ""

    def _fetch(self, offset: int) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "smartcar"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        request = urllib.request.Request(self._url, headers=headers)
        with _opener(self._connected).open(request, timeout=TIMEOUT_S) as answer:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise _Bad("the server sends it compressed")
            came = answer.headers.get("Content-Range", "")
            if answer.status != 206 or not came.startswith(f"bytes {offset}-"):
                if answer.status not in (200, 206):
                    raise _Bad(f"the server answered {answer.status}")
                if answer.status == 206:
                    raise _Bad("the server sends another part than the one asked for")
                self._remove()  # it can't resume: all of it comes
            self._write(answer)

    def _write(self, answer: http.client.HTTPResponse) -> None:
        left = self._size - self._length()
        piece = bytearray()
        try:
            while (more := answer.read1(PIECE_BYTES)) and not self._cancelled.is_set():
                piece += more
                if len(piece) > left:
                    piece.clear()
                    raise _Bad(f"it is longer than the {self._size} bytes that were promised")
                if len(piece) >= PIECE_BYTES:
                    left -= len(piece)
                    self._append(piece)
        finally:
            self._append(piece)

    def _append(self, piece: bytearray) -> None:
        with self._writing:
            if piece and not self._cancelled.is_set():
                durable.append(self._path, bytes(piece))
        piece.clear()

    def _remove(self) -> None:
        with self._writing:
            if not self._cancelled.is_set():
                self._path.unlink(missing_ok=True)

    def _checked(self) -> str:
        if not self._sha256:
            return ""
        with self._path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == self._sha256:
                return ""
        self._remove()
        return "it is another file (SHA-256 differs)"

    def _length(self) -> int:
        try:
            length = self._path.stat().st_size
        except OSError:
            return 0
        if length > self._size:
            self._remove()
            return 0
        return length


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(_SCHEMES) or (
            req.full_url.startswith("https://") and newurl.startswith("http://")
        ):
            raise _Bad(f"the server redirects to {newurl[:80]}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Connection(http.client.HTTPConnection):
    """Tells a download of its socket as soon as there is one, before TLS and any byte."""

    connected: Callable[[socket.socket], None]

    def connect(self) -> None:
        super().connect()
        self.connected(self.sock)


class _SecureConnection(http.client.HTTPSConnection, _Connection):
    """The same with TLS: its `connect` begins with that of _Connection."""


class _Http(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https by such connections."""

    def __init__(self, connected: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._connected = connected

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, _Connection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connection, _SecureConnection), req)

    def _connection(self, kind: type[_Connection], host: str, **given: Any) -> _Connection:
        made = kind(host, **given)
        made.connected = self._connected
        return made


def _opener(connected: Callable[[socket.socket], None]) -> urllib.request.OpenerDirector:
    """What opens http and https, and nothing else."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(connected),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _said(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _no_space(error: OSError) -> Refusal:
    return Refusal(
        ErrorCode.NO_SPACE, f"What is fetched can't be kept: {error.strerror}.", "Free some space."
    )
