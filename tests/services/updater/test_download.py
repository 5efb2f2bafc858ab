"""A file at a URL, from a real server that breaks off, lies, dawdles and sends elsewhere."""

from __future__ import annotations

import hashlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.updater import download
from services.updater.download import Download
from tests.conftest import PATIENCE_S

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test says."""

    answers: dict[str, Answer]
    asked: list[tuple[str, str]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range", "")))
        self.close_connection = True
        self.answers[self.path](self)

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    @property
    def offset(self) -> int:
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def send_rest(self, most: int | None = None) -> None:
        """What was asked for, or the beginning of it."""
        rest, at = CONTENT[self.offset :], self.offset
        extra = {"Content_Range": f"bytes {at}-{len(CONTENT) - 1}/{len(CONTENT)}"} if at else {}
        self.send(206 if at else 200, rest[:most], len(rest), **extra)

    def log_message(self, *_: Any) -> None:
        pass


class Server:
    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, str]] = []
        handler = type("TheHandler", (Handler,), {"answers": self.answers, "asked": self.asked})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSE_S", 0.001)
    made = Server()
    yield made
    made.close()


def fetched(
    server: Server, path: Path, *, size: int = len(CONTENT), sha256: str = "", deadline_s: float = 30.0
) -> str:
    """What went wrong; empty where it is there."""
    said: queue.Queue[str] = queue.Queue()
    Download(server.url("/file"), path, size, sha256, deadline_s, said.put)
    return said.get(timeout=PATIENCE_S)


def test_it_is_fetched(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = lambda handler: handler.send_rest()
    assert fetched(server, tmp_path / "file", sha256=SHA256) == ""
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", "")]


def test_it_goes_on_where_it_was_broken_off(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = lambda handler: handler.send_rest(300_000)
    assert fetched(server, tmp_path / "file") == ""
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [
        "", "bytes=300000-", "bytes=600000-", "bytes=900000-",
    ]  # fmt: skip


def test_it_goes_on_after_a_restart(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT[:500_000])
    server.answers["/file"] = lambda handler: handler.send_rest()
    assert fetched(server, tmp_path / "file") == ""
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.asked == [("/file", "bytes=500000-")]


def test_a_server_that_can_not_resume_sends_all_of_it(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 500_000)
    server.answers["/file"] = lambda handler: handler.send(200, CONTENT)
    assert fetched(server, tmp_path / "file") == ""
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_what_it_was_is_there_no_more(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 500_000)
    server.answers["/file"] = lambda handler: (
        handler.send(416, b"") if handler.offset else handler.send_rest()
    )
    assert fetched(server, tmp_path / "file") == ""
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_it_is_redirected(server: Server, tmp_path: Path) -> None:
    server.answers["/file"] = lambda handler: handler.send(302, b"", Location="/there")
    server.answers["/there"] = lambda handler: handler.send_rest()
    assert fetched(server, tmp_path / "file") == ""


@pytest.mark.parametrize(
    ("location", "said"),
    [("/file", "302"), ("file:///etc/passwd", "302"), ("ftp://127.0.0.1/x", "not followed")],
)
def test_it_is_redirected_astray(server: Server, tmp_path: Path, location: str, said: str) -> None:
    server.answers["/file"] = lambda handler: handler.send(302, b"", Location=location)
    assert said in fetched(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda handler: handler.send(404, b"no"), "404"),
        (lambda handler: handler.send(503, b"later"), "503"),
        (lambda handler: handler.send(200, CONTENT + b"more"), "longer"),
        (lambda handler: handler.send(200, b"zip", Content_Encoding="gzip"), "compressed"),
        (lambda handler: handler.send(200, CONTENT[:1000]), "closed"),
        (lambda handler: handler.send(200, CONTENT[::-1]), "SHA-256"),
        (lambda handler: handler.wfile.write(b"no HTTP at all\r\n\r\n"), ""),
    ],
    ids=["missing", "unavailable", "longer", "compressed", "shorter", "another", "no HTTP"],
)
def test_what_is_not_what_was_promised(server: Server, tmp_path: Path, answer: Answer, said: str) -> None:
    server.answers["/file"] = answer
    problem = fetched(server, tmp_path / "file", sha256=SHA256)
    assert problem
    assert said in problem
    path = tmp_path / "file"
    assert not path.exists() or path.stat().st_size <= len(CONTENT)
    assert len(server.asked) <= 8


def test_an_endless_file_is_cut_off_where_it_should_end(server: Server, tmp_path: Path) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(64 << 10))
        except OSError:
            pass

    server.answers["/file"] = endless
    assert "longer" in fetched(server, tmp_path / "file")
    assert (tmp_path / "file").stat().st_size <= len(CONTENT)


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_server_that_dawdles_is_left(server: Server, tmp_path: Path, at: str) -> None:
    """Byte by byte, each before the connection's own patience is at an end."""
    go_on = threading.Event()

    def dawdle(handler: Handler) -> None:
        handler.send_response(200)
        if at == "body":
            handler.end_headers()
        else:
            handler.flush_headers()
            handler.wfile.write(b"X-Slow: ")
        try:
            while not go_on.wait(0.02):
                handler.wfile.write(b"x")
        except OSError:
            go_on.set()

    server.answers["/file"] = dawdle
    assert fetched(server, tmp_path / "file", deadline_s=0.3) == "it took too long"
    assert go_on.wait(PATIENCE_S), "the connection is shut down"


def test_a_server_that_never_greets_is_left(tmp_path: Path) -> None:
    """TLS that doesn't begin: the handshake counts as the rest does."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        said: queue.Queue[str] = queue.Queue()
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/file"
        mute.settimeout(PATIENCE_S)
        Download(url, tmp_path / "file", 1000, "", 3.0, said.put)
        connection, _ = mute.accept()
        with connection:
            assert said.get(timeout=PATIENCE_S) == "it took too long"
            connection.settimeout(PATIENCE_S)
            while connection.recv(4096):
                pass  # until the download has shut it down


def test_once_cancelled_nothing_is_written(server: Server, tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def halting(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT[:400_000])
        begun.set()
        go_on.wait(PATIENCE_S)
        try:
            handler.wfile.write(CONTENT[400_000:])
        except OSError:
            pass

    server.answers["/file"] = halting
    said: list[str] = []
    running = Download(server.url("/file"), tmp_path / "file", len(CONTENT), "", 30.0, said.append)
    assert begun.wait(PATIENCE_S)
    running.cancel()
    length = (tmp_path / "file").stat().st_size if (tmp_path / "file").exists() else 0
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "download":
            thread.join(10)
    assert ((tmp_path / "file").stat().st_size if (tmp_path / "file").exists() else 0) == length
    assert not said
