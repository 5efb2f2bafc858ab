"""The capture service: keeps a reader process at work and announces the frames that it put into the ring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Collection
from pathlib import Path
from typing import Any

from messages.bus import socket_path
from messages.capture_commands import (
    CaptureCamera,
    CapturePause,
    CaptureResume,
    CaptureSnapshot,
    CaptureSource,
    Snapshot,
)
from messages.command import Command, CommandRefused
from messages.ring import FrameGone, FrameReference, RingReader, remove_rings
from messages.vision import FRAME, FrameReady
from services.capture import camera_discovery
from services.capture.camera_discovery import NoCamera
from services.capture.source_address import public_address
from services.config import Capture
from services.service import Service

START_TIMEOUT_S = 30.0
"""Until the reader runs at all: Python and OpenCV from a slow card, on a machine that is booting."""
OPEN_TIMEOUT_S = 6.0
PICAMERA_OPEN_TIMEOUT_S = 15.0
"""A second Python, libcamera and the sensor's start: seconds on a Raspberry Pi that is booting."""
FRAME_TIMEOUT_S = 1.8
TRUSTED_AFTER_S = 10.0
"""A camera that has delivered for so long is no longer held to have failed before."""
CHECK_S = 0.1
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_PIPE_READ = 1 << 16


class CaptureService(Service):
    """Owns the camera and the frame ring.

    The reader is a process of its own: whatever it does in `read()`, this loop goes on, sees within
    FRAME_TIMEOUT_S that no frame comes, kills it and tries again with growing pauses. Where no camera is, no
    reader is started; one that is plugged in is opened at once.
    """

    name = "capture"
    about = "takes frames from a source into the frame ring"
    section = Capture
    publishes = (FRAME,)
    handles = {
        CaptureSource: "switch",
        CapturePause: "pause",
        CaptureResume: "resume",
        CaptureCamera: "turn",
        CaptureSnapshot: "snapshot",
    }

    def start(self) -> None:
        self._source = self._resolve(self.settings.capture.source)
        self._reader: subprocess.Popen[bytes] | None = None
        self._dying: list[subprocess.Popen[bytes]] = []
        self._pipe = -1
        self._buffer = b""
        self._paused = False
        self._ended = False
        self._problem = ""
        self._remarks = ""
        self._opened = ""
        self._failures = 0
        self._failures_of: Counter[str] = Counter()
        self._nodes = camera_discovery.nodes()
        self._retry_at = 0.0
        self._opening = False
        self._delivering_since = 0.0
        self._heard_at = 0.0
        self._delivering = False
        self._frame_id = 0
        self._newest: deque[FrameReference] = deque(maxlen=1)
        self.on_stop(self._end_readers)
        self.every(CHECK_S, self._check)
        self._start_reader()

    def _end_readers(self) -> None:
        self._stop_reader()
        for dying in self._dying:
            try:
                dying.wait(0.5)
            except subprocess.TimeoutExpired:
                pass  # it hangs in a driver; the kernel ends it when that lets go
        remove_rings(self._ring_folder)

    def helpers(self) -> Collection[int]:
        return () if self._reader is None else (self._reader.pid,)

    @property
    def _ring_folder(self) -> Path:
        return socket_path(self.runtime, self.name, "ring")

    # commands

    def switch(self, command: CaptureSource) -> None:
        sources = {"default": self.settings.capture.source, **self.settings.capture.sources}
        if command.name not in sources:
            raise CommandRefused(
                "unknown-source", f"no source is called {command.name}; configured are: {', '.join(sources)}"
            )
        self._source = self._resolve(sources[command.name])
        self._restart()

    def pause(self, _: Command) -> None:
        self._paused = True
        self._stop_reader()
        self.report("off", "the camera is switched off; switch it on with the command capture.resume")

    def resume(self, _: Command) -> None:
        if self._paused or self._ended:
            self._restart()

    def turn(self, command: CaptureCamera) -> None:
        if command.on:
            self.resume(command)
        else:
            self.pause(command)

    def snapshot(self, _: CaptureSnapshot) -> Snapshot:
        import cv2  # here, so that a service that takes no snapshot stays small

        if self._reader is not None:
            self._hear()  # what came while OpenCV was loaded
        if not self._newest:
            raise CommandRefused(
                "no-frame", f"there is no frame yet: {self._reason or 'the source is being opened'}"
            )
        ring = RingReader(self._ring_folder)
        try:
            with ring.frame(self._newest[0]) as pixels:
                height, width = pixels.shape[:2]
                _encoded, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
        except FrameGone:
            raise CommandRefused("no-frame", "the newest frame is gone; ask again") from None
        finally:
            ring.close()
        return Snapshot(frame_id=self._frame_id, width=width, height=height, jpeg=jpeg.tobytes())

    # the reader process

    def _resolve(self, source: str) -> str:
        return self.settings.capture.sources.get(source, source)

    def _restart(self) -> None:
        self._stop_reader()
        if self._paused or self._ended:
            self._paused = self._ended = False
            self.report("starting")
        self._failures = 0
        self._failures_of.clear()
        self._start_reader()

    def _start_reader(self) -> None:
        self.details["source"] = public_address(self._source)
        self._problem = self._remarks = ""
        self._opened = self._source
        if camera_discovery.is_camera(self._source):
            self._nodes = camera_discovery.nodes()
            try:
                camera = camera_discovery.choose(self._source, self._failures_of)
            except NoCamera as problem:
                self._fail(str(problem))
                return
            self._opened = camera.source
            self.details["camera"] = str(camera)
        capture = self.settings.capture
        arguments: dict[str, Any] = {
            "source": self._opened,
            "settings": capture.model_dump(mode="json", exclude={"source", "sources"}),
            "ring_folder": str(self._ring_folder),
        }
        # A pipe of its own: camera drivers print on standard output.
        self._pipe, reports = os.pipe()
        os.set_blocking(self._pipe, False)
        arguments["reports"] = reports
        self._reader = subprocess.Popen(
            [sys.executable, "-m", "services.capture.reader"],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            pass_fds=(reports,),
        )
        os.close(reports)
        assert self._reader.stdin is not None
        try:  # not on its command line, which everybody may see: a stream's address may hold a password
            with self._reader.stdin as order:
                order.write(json.dumps(arguments).encode())
        except OSError:
            pass  # it has ended already, which its pipe tells
        self._buffer = b""
        self._opening = self._delivering = False
        self._heard_at = time.monotonic()
        self.on_readable(self._pipe, self._hear)

    def _stop_reader(self) -> None:
        if self._reader is None:
            return
        self.forget_readable(self._pipe)
        os.close(self._pipe)
        self._reader.kill()  # the ring's locks go with it
        self._dying.append(self._reader)  # a driver may hold it for long; waiting would stop this loop
        self._reader = None
        self._delivering = False
        self.details.pop("camera", None)

    def _hear(self) -> None:
        try:
            chunk = os.read(self._pipe, _PIPE_READ)
        except BlockingIOError:
            return
        if chunk:
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        else:
            self._reader_gone()

    def _take(self, content: dict[str, Any]) -> None:
        if "ring" in content:
            captured_ns, view = content.pop("captured_ns"), content.pop("view")
            self._announce(FrameReference(**content), captured_ns, view or self.details["source"])
        elif "dropped" in content:
            self._heard_at = time.monotonic()
            self.metrics.count("dropped")
        elif "opening" in content:
            self._opening = True
            self._heard_at = time.monotonic()
        elif "damaged" in content:
            self.metrics.count("damaged")
        elif "opened" in content:
            if content["opened"]:
                self.details["camera"] = content["opened"]
            self._remarks = "; ".join(content["refused"])
        elif "concern" in content:
            if content["concern"]:
                self.report("degraded", content["concern"])
            else:
                self.report("ready", self._remarks)
        elif "ended" in content:
            self._ended = True
        elif "error" in content:
            self._problem = content["error"]

    def _announce(self, reference: FrameReference, captured_ns: int, view: str) -> None:
        self._frame_id += 1
        self._newest.append(reference)
        self.publish(
            "frame",
            FrameReady(
                frame_id=self._frame_id,
                captured_ns=captured_ns,
                view=view,
                ring=reference.ring,
                slot=reference.slot,
                generation=reference.generation,
                height=reference.height,
                width=reference.width,
            ),
        )
        now = time.monotonic()
        self.metrics.count("frames")
        self.metrics.observe("publish", (time.monotonic_ns() - captured_ns) / 1e6)
        self._heard_at = now
        if not self._delivering:
            self._delivering = True
            self._delivering_since = now
            self._failures = 0
            self.report("ready", self._remarks)

    def _reader_gone(self) -> None:
        self._stop_reader()
        if self._ended:
            self.report(
                "off",
                f"the source {self.details['source']} has come to its end; capture.loop starts it again",
            )
        else:
            self._fail(self._problem or f"the reader of {self.details['source']} crashed; it is started anew")

    def _fail(self, problem: str) -> None:
        self._failures_of[self._opened] += 1
        pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._retry_at = time.monotonic() + pause_s
        self.metrics.count("reader_restarts")
        self.report("degraded", problem)

    def _check(self) -> None:
        self._dying = [reader for reader in self._dying if reader.poll() is None]
        if self._paused or self._ended:
            return
        now = time.monotonic()
        if self._reader is None:
            if now >= self._retry_at or self._camera_came_or_went():
                self._start_reader()
            return
        if self._delivering and now - self._delivering_since > TRUSTED_AFTER_S:
            self._failures_of.clear()
        silent_s = now - self._heard_at
        timeout_s = self._frame_timeout_s() if self._delivering else self._open_timeout_s()
        name = self.details.get("camera", self.details["source"])
        if silent_s > timeout_s:
            self._stop_reader()
            self._fail(f"no frame from {name} for {timeout_s:.1f} s; it is opened anew")
        elif self.state == "starting" and silent_s > FRAME_TIMEOUT_S:
            self.report("starting", f"{name} is being opened and has delivered nothing yet")

    def _camera_came_or_went(self) -> bool:
        if not camera_discovery.is_camera(self._source) or camera_discovery.nodes() == self._nodes:
            return False
        self._failures = 0
        self._failures_of.clear()
        return True

    def _open_timeout_s(self) -> float:
        if not self._opening:
            return START_TIMEOUT_S
        return (
            PICAMERA_OPEN_TIMEOUT_S if self._opened.startswith(camera_discovery.PICAMERA) else OPEN_TIMEOUT_S
        )

    def _frame_timeout_s(self) -> float:
        return max(FRAME_TIMEOUT_S, 3 / self.settings.capture.hertz)
