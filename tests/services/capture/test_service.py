"""Capture keeps frames coming, whatever the source does, and says what is wrong."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq

from messages.bus import socket_path
from messages.capture_commands import (
    CaptureCamera,
    CapturePause,
    CaptureResume,
    CaptureSnapshot,
    CaptureSource,
)
from messages.ring import RingReader
from tests.conftest import PATIENCE_S
from tests.services.processes import Onlooker, service

Context = zmq.Context[zmq.Socket[bytes]]


def picture(brightness: int, width: int = 160, height: int = 120) -> np.ndarray:
    return np.full((height, width, 3), brightness, np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, brightness in enumerate((40, 120, 200)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture(brightness))
    (tmp_path / "notes.txt").write_text("not a photo")
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    return tmp_path


def brightness_of(onlooker: Onlooker, runtime: Path) -> list[int]:
    """The mean of the newest frame, as a list of at most one."""
    frames = onlooker.of("frame")
    ring = RingReader(socket_path(runtime / "run", "capture", "ring"))
    try:
        with ring.frame(frames[-1]) as pixels:
            return [int(pixels.mean())]
    except (LookupError, IndexError):
        return []
    finally:
        ring.close()


def command_line(pid: str) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_folder_shows_each_readable_photo_in_turn(context: Context, runtime: Path, photos: Path) -> None:
    onlooker = Onlooker(context, runtime)
    seen: set[int] = set()
    with service("capture", runtime, CAPTURE__SOURCE=f"folder:{photos}", CAPTURE__PHOTO_SECONDS="0.2"):

        def all_seen() -> bool:
            seen.update(brightness_of(onlooker, runtime))
            return seen >= {40, 120, 200}

        onlooker.wait(all_seen)
    assert seen == {40, 120, 200}


def test_a_video_plays_at_its_own_speed_and_starts_again(
    context: Context, runtime: Path, tmp_path: Path
) -> None:
    path = tmp_path / "v.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20, (160, 120))
    for number in range(10):
        video.write(picture(20 * number))
    video.release()
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(path)):
        onlooker.wait(lambda: len(onlooker.of("frame")) > 25)
        onlooker.wait(lambda: "capture" in onlooker.health)
        onlooker.wait(lambda: onlooker.health["capture"].rates.get("frames", 0) > 10)
    assert onlooker.health["capture"].rates["frames"] < 25


def test_a_video_played_once_ends_and_says_so(context: Context, runtime: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.stack([picture(10 * number) for number in range(5)]))
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(tmp_path / "v.npy"), CAPTURE__LOOP="false"):
        onlooker.wait_state("capture", "off", "has come to its end")


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (np.zeros((3, 4), np.uint8), "it holds uint8 (3, 4)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "it holds uint8 (0, 4, 4, 3)"),
        (np.zeros((2, 4, 4, 3), np.float32), "it holds float32"),
    ],
)
def test_an_array_that_holds_no_frames_is_said(
    context: Context, runtime: Path, tmp_path: Path, frames: np.ndarray, says: str
) -> None:
    np.save(tmp_path / "v.npy", frames)
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(tmp_path / "v.npy")):
        onlooker.wait_state("capture", "degraded", says)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("camera:", "There is no camera; plug one in"),
        ("camera:7", "There is no camera /dev/video7"),
        ("/dev/v4l/by-id/usb-none", "There is no camera /dev/v4l/by-id/usb-none"),
        ("/no/such/video.mp4", "There is no file /no/such/video.mp4"),
        ("folder:/no/such", "There is no folder /no/such"),
        ("scene:lit", "the scene takes a number as its seed"),
        ("http://user:secret@127.0.0.1:9/v.mjpg", "The stream http://127.0.0.1:9/v.mjpg can't be opened"),
    ],
)
def test_what_is_wrong_with_a_source_is_said(context: Context, runtime: Path, source: str, says: str) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=source):
        beat = onlooker.wait_state("capture", "degraded", says)
    assert "secret" not in beat.model_dump_json()


def test_a_folder_without_photos_is_said(context: Context, runtime: Path, tmp_path: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=f"folder:{tmp_path}"):
        onlooker.wait_state("capture", "degraded", "There is no photo in")
        cv2.imwrite(str(tmp_path / "a.png"), picture(99))
        onlooker.wait_state("capture", "ready")


def test_pause_switch_and_resume(context: Context, runtime: Path, photos: Path) -> None:
    onlooker = Onlooker(context, runtime)
    sources = f'{{photos = "folder:{photos}"}}'
    with service("capture", runtime, CAPTURE__SOURCES=sources):
        onlooker.wait_state("capture", "ready")
        assert onlooker.commands.send(CapturePause()).status == "ok"
        onlooker.wait_state("capture", "off", "switched off")
        assert onlooker.commands.send(CaptureResume()).status == "ok"
        onlooker.wait_state("capture", "ready")
        for on, state in ((False, "off"), (True, "ready")):  # the same, as one command
            assert onlooker.commands.send(CaptureCamera(on=on)).status == "ok"
            onlooker.wait_state("capture", state)
        refused = onlooker.commands.send(CaptureSource(name="cellar"))
        assert refused.error is not None
        assert refused.error.message == "No source is called cellar. Configured are: default, photos."
        assert onlooker.commands.send(CaptureSource(name="photos")).status == "ok"
        onlooker.wait(lambda: onlooker.of("frame")[-1].view in ("0.png", "1.png", "2.png"))


def test_a_snapshot_is_the_newest_frame(context: Context, runtime: Path, photos: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(photos / "1.png")):
        onlooker.wait_state("capture", "ready")
        reply = onlooker.commands.send(CaptureSnapshot(), deadline_s=PATIENCE_S)
    assert reply.data is not None
    snapshot = CaptureSnapshot.result.model_validate_json(__import__("json").dumps(reply.data))
    decoded = cv2.imdecode(np.frombuffer(snapshot.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert abs(int(decoded.mean()) - 120) < 3


@contextmanager
def stream_server() -> Iterator[tuple[str, dict[str, str]]]:
    """A Motion JPEG server whose `mode` says what it does: ok, hang, die, frozen, dark, half, some-half."""
    control = {"mode": "ok"}
    grain = np.random.default_rng(5).integers(0, 60, (120, 160, 3), np.uint8)

    class Stream(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/locked" and "Authorization" not in self.headers:
                self.send_error(401)
                return
            if self.path not in ("/v.mjpg", "/locked"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
            self.end_headers()
            number = 0
            try:
                while control["mode"] not in ("die", "over"):
                    time.sleep(0.03)
                    if control["mode"] == "hang":
                        continue
                    number += control["mode"] != "frozen"
                    seen = picture(3) if control["mode"] == "dark" else grain + np.uint8(number * 7 % 190)
                    jpeg = cv2.imencode(".jpg", seen)[1].tobytes()
                    if control["mode"] == "half" or (control["mode"] == "some-half" and number % 5):
                        jpeg = jpeg[: len(jpeg) // 2]
                    self.wfile.write(
                        b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
                    )
                    self.wfile.write(jpeg + b"\r\n")
            except OSError:
                pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v.mjpg", control
    finally:
        control["mode"] = "over"
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hang", "does its server hang? It is opened anew"),
        ("die", "ended; is its server up?"),
        ("frozen", "the same picture again and again"),
        ("dark", "is its lens covered, or is it dark?"),
        ("half", "Every picture comes damaged (a picture that can't be decoded)"),
    ],
)
def test_a_stream_that_fails_is_noticed_said_and_back_by_itself(
    context: Context, runtime: Path, fault: str, says: str
) -> None:
    onlooker = Onlooker(context, runtime)
    with stream_server() as (url, control), service("capture", runtime, CAPTURE__SOURCE=url):
        onlooker.wait_state("capture", "ready")
        control["mode"] = fault
        onlooker.wait_state("capture", "degraded", says)
        control["mode"] = "ok"
        onlooker.wait_state("capture", "ready")


def test_a_damaged_picture_now_and_then_is_left_out_and_counted(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with stream_server() as (url, control), service("capture", runtime, CAPTURE__SOURCE=url):
        control["mode"] = "some-half"
        onlooker.wait_state("capture", "ready")
        onlooker.wait(lambda: onlooker.health["capture"].counters.get("damaged", 0) > 20)
        assert onlooker.health["capture"].state == "ready"
        assert onlooker.health["capture"].counters.get("reader_restarts", 0) == 0


def test_a_streams_password_stands_on_no_command_line(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        stream = f"http://admin:horse@127.0.0.1:{silent.getsockname()[1]}/live"
        with service("capture", runtime, CAPTURE__SOURCE=stream) as process:
            onlooker.wait(lambda: onlooker.health.get("capture"))
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            [reader] = onlooker.wait(lambda: children.read_text().split())
            assert onlooker.wait(lambda: b"reader" in (line := command_line(reader)) and line)
            assert b"horse" not in command_line(reader)
            silent.settimeout(PATIENCE_S)
            silent.accept()[0].close()  # it has the address all the same


def test_a_server_that_refuses_is_quoted(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with stream_server() as (url, _):
        address = url.removesuffix("v.mjpg")
        sources = f'{{nothing = "{address}nothing", locked = "{address}locked", mine = "{address}locked"}}'
        sources = sources.replace('mine = "http://', 'mine = "http://pi:p%40ss@')
        with service("capture", runtime, CAPTURE__SOURCE="nothing", CAPTURE__SOURCES=sources):
            onlooker.wait_state("capture", "degraded", "its server has nothing at this address")
            assert onlooker.commands.send(CaptureSource(name="locked")).status == "ok"
            onlooker.wait_state("capture", "degraded", "its server wants a login")
            assert onlooker.commands.send(CaptureSource(name="mine")).status == "ok"
            beat = onlooker.wait_state("capture", "ready")
            assert "p%40ss" not in beat.model_dump_json()


def test_a_fifo_is_a_stream_whose_writer_may_go_and_come(
    context: Context, runtime: Path, tmp_path: Path
) -> None:
    fifo = tmp_path / "camera.mjpg"
    os.mkfifo(fifo)
    over = threading.Event()
    grain = np.random.default_rng(5).integers(0, 60, (240, 320, 3), np.uint8)

    def feed() -> None:
        try:
            with fifo.open("wb") as pipe:
                for number in range(1000):
                    if over.wait(0.03):
                        return
                    pipe.write(cv2.imencode(".jpg", grain + np.uint8(number * 7 % 190))[1].tobytes())
                    pipe.flush()
        except BrokenPipeError:
            pass

    onlooker = Onlooker(context, runtime)
    with service("capture", runtime, CAPTURE__SOURCE=str(fifo)):
        for _ in range(2):
            over.clear()
            writer = threading.Thread(target=feed)
            writer.start()
            onlooker.wait_state("capture", "ready")
            over.set()
            writer.join()
            onlooker.wait_state("capture", "degraded", "stopped delivering")


def test_a_reader_that_hangs_for_ever_is_replaced(context: Context, runtime: Path) -> None:
    onlooker = Onlooker(context, runtime)
    with service("capture", runtime) as process:
        onlooker.wait_state("capture", "ready")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        [reader] = map(int, children.read_text().split())
        os.kill(reader, 19)  # SIGSTOP: as if a driver never came back
        onlooker.wait_state("capture", "degraded", "No frame from scene:")
        onlooker.wait_state("capture", "ready")
        assert str(reader) not in children.read_text().split()
