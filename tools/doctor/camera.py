"""The camera, or whatever is looked at instead: found, permitted, delivering."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from services.capture import camera_discovery
from services.capture.reader_messages import ReaderSettings
from services.capture.source import DamagedFrame, Source, SourceError
from services.capture.source_address import public_address
from tools.doctor.context import CheckContext, may, user_name
from tools.doctor.finding import Finding, as_error, error, ok, warning

FRAMES = 5
ENOUGH_S = 8.0
_BLACK = 12
"""Brighter than this, of 255, is at least one pixel of any picture of something."""


def camera(car: CheckContext) -> Iterator[Finding]:
    """What capture says while it runs, since it holds the camera; else a few frames are taken here."""
    capture = car.snapshot["capture"]
    if capture.pid is None:
        yield from _try(car)
        return
    source = capture.details.get("camera") or capture.details.get("source", "the source")
    if capture.state == "ready":
        yield ok(f"{source} delivers {capture.rates.get('frames', 0.0):.0f} frames a second")
    elif capture.state == "off":
        yield ok(f"{source}: {capture.reason}")
    elif capture.state == "starting":
        yield warning(f"{source} is being opened", "look again in a moment")
    else:
        yield as_error(capture.reason or f"{source} delivers nothing")


def _try(car: CheckContext) -> Iterator[Finding]:
    from services.capture.open_source import open_source

    settings = car.settings.capture
    spec = settings.sources.get(settings.source, settings.source)
    is_camera = camera_discovery.is_camera(spec)
    try:
        if is_camera:
            chosen = camera_discovery.choose(spec, {})
            spec, what = chosen.source, str(chosen)
            if finding := _forbidden(car, spec):
                yield finding
                return
        else:
            what = public_address(spec)
        source = open_source(spec, ReaderSettings.of(settings))
        try:
            count, brightest = _look(source)
        finally:
            source.close()
    except (camera_discovery.NoCamera, SourceError) as problem:
        yield as_error(str(problem))
        return
    for refused in source.refused:
        yield warning(refused, "take that setting out, or give one that this camera has")
    if not count:
        yield error(f"{what} delivers no frame that can be shown", "choose another source: capture.source")
    elif is_camera and brightest <= _BLACK:
        yield warning(f"{what} delivers black pictures", "take the cover off the lens, and make light")
    else:
        yield ok(f"{what} delivers; tried here, since the car doesn't run")


def _look(source: Source) -> tuple[int, int]:
    """How many frames came, and the brightest value in them. Raises SourceError."""
    count, brightest, began = 0, 0, time.monotonic()
    while count < FRAMES and time.monotonic() - began < ENOUGH_S:
        try:
            frame = source.read()
        except DamagedFrame:
            continue
        if frame is None:
            break
        count, brightest = count + 1, max(brightest, int(frame.pixels.max()))
    return count, brightest


def _forbidden(car: CheckContext, spec: str) -> Finding | None:
    """Whether the services' user may not use what this one may. Installed, its unit lets capture do so."""
    device = camera_discovery.device_of(spec)
    if device is None or car.installed or may(car.service_user, device, os.R_OK | os.W_OK):
        return None
    user = user_name(car.service_user)
    return error(f"{user} may not use {device}", f"sudo usermod -aG video {user}, then log in again")
