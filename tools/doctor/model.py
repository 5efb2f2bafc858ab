"""The model the car reads with, on its golden digits; the store; the data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from models.bundle.bundle import Bundle
from models.bundle.keys import PublicKey
from models.importing.isolated import prove
from models.refusal import Refusal
from models.store_reader import FACTORY_FOLDER
from tools.doctor.context import CheckContext, may, user_name
from tools.doctor.finding import Finding, error, ok, warning

_LENIENT_MS = 10_000.0
"""The doctor's checks run side by side: what is slow now need not be."""


def model(car: CheckContext) -> Iterator[Finding]:
    """The bundle in force is loaded and proven in a throw-away process, as a new one is."""
    yield from _bundle(car)
    yield from _inbox(car)
    yield from _followed(car)


def _bundle(car: CheckContext) -> Iterator[Finding]:
    folder, what = _in_force(car)
    try:
        bundle = Bundle.load(folder)
        manifest = bundle.manifest
        proof = prove(bundle, terms=manifest.golden.model_copy(update={"latency_ms": _LENIENT_MS}))
    except Refusal as refusal:
        yield error(f"{what} can't be used: {refusal}", "smartcar model rollback, or install another one")
    except PermissionError:
        yield warning(f"{what} can't be read by this user ({folder})", "try: sudo smartcar doctor")
    else:
        yield ok(
            f"{what}, {manifest.name} {manifest.version}, reads {proof.accuracy:.1%} of {proof.digits} "
            f"golden digits, five in {proof.latency_ms:.2f} ms"
        )


def _in_force(car: CheckContext) -> tuple[Path, str]:
    if (configured := car.settings.recognizer.bundle) is not None:
        return configured, "the model of recognizer.bundle"
    active = car.settings.store / "active"
    if os.path.lexists(active):
        return active, "the active model"
    return FACTORY_FOLDER, "the shipped model (no store was made yet)"


def _inbox(car: CheckContext) -> Iterator[Finding]:
    inbox, user = car.settings.inbox, user_name(car.service_user)
    try:
        there = inbox.is_dir()
        files = sorted(path.name for path in inbox.iterdir()) if there else []
        readable = there and may(car.service_user, inbox, os.R_OK | os.X_OK)
    except PermissionError:
        yield warning(f"the data folder {inbox} can't be looked into by this user", "sudo smartcar doctor")
        return
    if not there:
        if car.settings.models.inbox is not None or car.running:
            yield error(f"the data folder {inbox} is not there", f"mkdir -p {inbox}, or set models.inbox")
        return
    if not readable:
        yield error(f"{user} can't look into the data folder {inbox}", f"chmod go+rx {inbox}")
        return
    hidden = [name for name in files if not may(car.service_user, inbox / name, os.R_OK)]
    if hidden:
        yield error(
            f"{user} can't read {', '.join(hidden[:3])} in the data folder",
            f"chmod go+r {inbox / hidden[0]}",
        )
    else:
        yield ok(f"the data folder {inbox} holds {len(files)} files")


def _followed(car: CheckContext) -> Iterator[Finding]:
    """Whether what is published of the names that the car follows could be taken."""
    models, names = car.settings.models, ", ".join(car.settings.models.follow)
    try:
        keys = [PublicKey.parse(text) for text in models.trust]
    except Refusal as refusal:
        yield error(f"models.trust: {refusal}", "put the line there that smartcar keys show prints")
        return
    if not models.follow:
        return
    if not keys:
        yield error(
            f"models.follow names {names}, but no key is trusted: nothing of it is taken",
            "put the publisher's public key into models.trust (smartcar keys show prints it)",
        )
    elif not car.settings.mqtt.host:
        yield warning(f"models.follow names {names}, but there is no broker to hear of it", "set mqtt.host")
    else:
        yield ok(f"{names}: what is published is taken if one of {len(keys)} trusted keys signed it")
