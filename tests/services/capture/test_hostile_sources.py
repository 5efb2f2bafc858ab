"""What comes from a folder, a file or a stream ends with itself: the next photo or frame is shown."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import os
import signal
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from messages.command import CommandRefused
from messages.ring import RingWriter
from services.capture.snapshot import take_snapshot
from tests.conftest import PATIENCE_S
from tests.services.processes import Onlooker, service

Context = zmq.Context[zmq.Socket[bytes]]

GRAIN = np.random.default_rng(5).integers(0, 60, (120, 160, 3), np.uint8)
NOT_UTF8 = os.fsdecode("사진.jpg".encode("cp949"))


def jpeg(brightness: int = 0) -> bytes:
    return cv2.imencode(".jpg", GRAIN + np.uint8(brightness % 190))[1].tobytes()


def claims(picture: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its frame header."""
    at = picture.index(b"\xff\xc0") + 5
    return picture[:at] + struct.pack(">HH", height, width) + picture[at + 4 :]


def png(width: int, height: int, bits: int, rows: int) -> bytes:
    """A black PNG with transparency of which the first `rows` are there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    deflate = zlib.compressobj(1)
    row = bytes(1 + width * 4 * bits // 8)
    content = b"".join(deflate.compress(row) for _ in range(rows)) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def views(onlooker: Onlooker) -> list[str]:
    """What was shown, in its order."""
    seen: list[str] = []
    for frame in onlooker.of("frame"):
        if [frame.view] != seen[-1:]:
            seen.append(frame.view)
    return seen


def folder(path: Path) -> dict[str, str]:
    return {"CAPTURE__SOURCE": f"folder:{path}", "CAPTURE__PHOTO_SECONDS": "0.1"}


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (png(40_000, 40_000, 8, 1), "b.png has 40000×40000 pixels, more than 50 million"),
        (png(7_000, 7_000, 16, 7_000), "b.png "),  # 392 MB, and as much again while it is made 8 bits deep
        (claims(jpeg(), 65_500, 65_500), "b.png has 65500×65500 pixels, more than 50 million"),
        (jpeg()[:300], "b.png "),
    ],
    ids=["a bomb", "too much memory", "a false size", "cut short"],
)
def test_a_photo_that_cannot_be_shown_is_left_out_counted_and_said(
    context: Context, runtime: Path, tmp_path: Path, picture: bytes, says: str
) -> None:
    for name, content in (("a.jpg", jpeg()), ("b.png", picture), ("c.jpg", jpeg(90))):
        (tmp_path / name).write_bytes(content)
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **folder(tmp_path)):
        onlooker.wait(lambda: views(onlooker)[-3:] == ["a.jpg", "c.jpg", "a.jpg"])
        beat = onlooker.wait_state("capture", "ready", f"A photo is left out: {says}")
        onlooker.wait(lambda: onlooker.health["capture"].counters.get("damaged", 0) > 0)
        assert beat.counters.get("reader_restarts", 0) == 0
        assert not [beat for name, beat in onlooker.heard if name == "health" and beat.state == "degraded"]


def test_photos_may_have_names_that_are_no_utf8(context: Context, runtime: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / NOT_UTF8).write_bytes(jpeg(90))
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **folder(tmp_path)):
        onlooker.wait(lambda: {"a.jpg", "����.jpg"} == set(views(onlooker)))


def test_a_folder_goes_on_after_the_photo_at_which_the_reader_broke(
    context: Context, runtime: Path, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg", NOT_UTF8):
        (tmp_path / name).write_bytes(jpeg())
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    leased = os.open(tmp_path / "b.jpg", os.O_RDWR)
    try:
        fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)  # whoever opens the file now waits in open(2)
        onlooker = Onlooker(context, runtime)
        with service("capture", runtime, **folder(tmp_path)) as process:
            onlooker.wait_state("capture", "ready", "The photo b.jpg is being decoded")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            os.kill(int(children.read_text()), signal.SIGKILL)
            onlooker.wait_state(
                "capture", "degraded", "crashed; it is started anew. The photo b.jpg is left out."
            )
            onlooker.wait(lambda: views(onlooker)[:5] == ["a.jpg", "c.jpg", "����.jpg", "a.jpg", "c.jpg"])
            beat = onlooker.wait_state("capture", "ready", "A photo is left out: b.jpg can't be decoded")
            assert beat.counters["reader_restarts"] == 1
    finally:
        os.close(leased)
        signal.signal(signal.SIGIO, before)


def test_what_is_no_file_in_a_folder_holds_nothing_up(
    context: Context, runtime: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").mkdir()
    (tmp_path / "c.jpg").symlink_to("/no/such/photo.jpg")
    (tmp_path / "d.jpg").write_bytes(jpeg())
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, **folder(tmp_path)):
        onlooker.wait_state("capture", "ready")
        assert views(onlooker) == ["d.jpg"]


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((3, 4, 0, 3), "it holds uint8 (3, 4, 0, 3)"),
        ((3, 0, 4, 3), "it holds uint8 (3, 0, 4, 3)"),
        ((9, 4, 4, 3), "it says that it holds 9 frames and ends before"),
        ((1, 900_000, 900_000, 3), "its frames have 900000×900000 pixels, more than 50 million"),
        ((10**30, 4, 4, 3), "and ends before"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_named(
    context: Context, runtime: Path, tmp_path: Path, shape: tuple[int, ...], says: str
) -> None:
    with (tmp_path / "v.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(96))
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(tmp_path / "v.npy")):
        onlooker.wait_state("capture", "degraded", says)


class Server(http.server.ThreadingHTTPServer):
    """A Motion JPEG server on an address of this machine."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), _Handler)
        self.content_type = "multipart/x-mixed-replace; boundary=f"
        self.pictures = [jpeg(number * 7) for number in range(20)]
        self.redirects: dict[str, str] = {}
        self.logins: list[str | None] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}/v.mjpg"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.logins.append(self.headers.get("Authorization"))
        if self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.end_headers()
        number = 0
        with contextlib.suppress(OSError):
            while not self.server.over.wait(0.03):
                picture = self.server.pictures[number % len(self.server.pictures)]
                number += 1
                self.wfile.write(b"--f\r\nContent-Type: image/jpeg\r\n\r\n" + picture + b"\r\n")


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two: on one address of this machine and on another."""
    running = [Server("127.0.0.1"), Server("127.0.0.2")]
    threads = [threading.Thread(target=server.serve_forever) for server in running]
    for thread in threads:
        thread.start()
    yield running
    for server, thread in zip(running, threads, strict=True):
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_picture_of_a_stream_with_a_false_size_is_left_out(
    context: Context, runtime: Path, servers: list[Server]
) -> None:
    servers[0].pictures[::3] = [claims(jpeg(), 65_500, 65_500)] * len(servers[0].pictures[::3])
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=servers[0].url):
        onlooker.wait_state("capture", "ready")
        onlooker.wait(lambda: onlooker.health["capture"].counters.get("damaged", 0) > 10)
        assert onlooker.health["capture"].state == "ready"
        assert onlooker.health["capture"].counters.get("reader_restarts", 0) == 0


@pytest.mark.parametrize("boundary", ["boundary*=utf-8''f", 'boundary*0="f"', 'boundary="--f"'])
def test_a_boundary_may_be_written_in_several_ways(
    context: Context, runtime: Path, servers: list[Server], boundary: str
) -> None:
    servers[0].content_type = f"multipart/x-mixed-replace; {boundary}"
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=servers[0].url):
        onlooker.wait_state("capture", "ready")


@pytest.mark.parametrize("path", ["/elsewhere", "/here"])
def test_a_login_goes_along_to_the_same_host_alone(
    context: Context, runtime: Path, servers: list[Server], path: str
) -> None:
    first, second = servers
    second.redirects["/here"] = second.url
    second.redirects["/elsewhere"] = first.url
    url = second.url.replace("//", "//pi:horse@").replace("/v.mjpg", path)
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=url):
        onlooker.wait_state("capture", "ready")
    login = "Basic cGk6aG9yc2U="
    assert second.logins == ([login] if path == "/elsewhere" else [login, login])
    assert first.logins == ([None] if path == "/elsewhere" else [])


def test_no_secret_of_an_address_is_published(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    stream = "http://127.0.0.1:9/mjpg?user=admin&pwd=hunter2&auth=aa"
    with service("capture", runtime, CAPTURE__SOURCE=stream) as process:
        onlooker.wait_state("capture", "degraded", "http://127.0.0.1:9/mjpg?user=***&pwd=***&auth=***")
        process.terminate()
        _, log = process.communicate(timeout=PATIENCE_S)
    assert "hunter2" not in log
    assert not [beat for _, beat in onlooker.heard if "hunter2" in beat.model_dump_json()]


def test_a_frame_too_large_for_an_answer_is_refused_in_a_sentence(runtime: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (3200, 3200, 3), np.uint8)
    writer = RingWriter(runtime, (3200, 3200))
    try:
        reference = writer.write(noise)
        assert reference is not None
        with pytest.raises(CommandRefused, match="3200×3200 pixels makes a JPEG of"):
            take_snapshot(runtime, reference, 1)
    finally:
        writer.close()
