"""The running car's models: what it has, and changes seen through to their end."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
from pydantic import ValidationError

from messages.bus import Subscriber, socket_path
from messages.command import Command, Reply
from messages.message import new_ulid
from messages.model_commands import (
    MAX_PART_BYTES,
    MAX_UPLOAD_BYTES,
    ModelActivate,
    ModelImport,
    ModelInstall,
    ModelList,
    ModelPin,
    ModelPins,
    ModelRemove,
    ModelRollback,
    ModelTable,
    ModelUnpin,
    ModelUpload,
)
from messages.models import ENDED, ModelProgress, StoredModel
from messages.offers import StandingOffer
from messages.pad import BOXES, EMPTY
from messages.pad_commands import PadReading, PadRecognize
from messages.rpc.clients import CommandClient
from models.bundle.archive import pack
from models.bundle.bundle import read_regular
from models.importing.formats import refuse_folder
from services.config import Settings
from tools.model.making import read_bundle
from tools.terminal.output import as_dict, print_json, print_table, say
from tools.terminal.problems import Problem

DEADLINE_S = 10.0
ASK_AGAIN_S = 2.0
SILENT_S = 30.0

WORDS = {
    "fetching": "fetching it from the broker or its URL",
    "received": "received",
    "checked": "size, hash and signature checked",
    "tested": "passed its golden test",
    "waiting": "waits for the recognizer",
    "trial": "on trial: the car reads with it",
    "active": "active",
    "kept": "kept in the store",
    "refused": "not taken",
    "fallen_back": "given up",
    "interrupted": "interrupted",
}


class Updater:
    """The way to the updater of a running car."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], settings: Settings) -> None:
        self._client = CommandClient(context, settings.paths.runtime)
        self._progress = Subscriber(context, settings.paths.runtime, ("model.progress",), ("updater",))

    def ask(self, command: Command) -> Reply:
        """The answer. Raises Problem where it is a refusal."""
        reply = self._client.send(command, DEADLINE_S)
        if reply.error is not None:
            raise Problem(f"{reply.error.message} ({reply.error.code}).")
        return reply

    def steps(self, change: str) -> Iterator[ModelProgress]:
        """The steps of a change until it has ended. Raises Problem where nothing is heard any more."""
        told: set[tuple[str, int]] = set()
        heard_at, ask_at = time.monotonic(), time.monotonic() + 0.5
        while True:
            self._progress.event_socket.poll(math.ceil(max(0.0, ask_at - time.monotonic()) * 1000))
            steps = [message for _, message in self._progress.receive()]
            if time.monotonic() >= ask_at:  # what was said before we could hear it
                table = ModelTable.model_validate(self.ask(ModelList()).data)
                steps += table.history
                ask_at = time.monotonic() + ASK_AGAIN_S
            for step in sorted(steps, key=lambda each: each.wall_time):
                if step.change == change and (step.boot_id, step.sequence) not in told:
                    told.add((step.boot_id, step.sequence))
                    heard_at = time.monotonic()
                    yield step
                    if step.step in ENDED:
                        return
                    if step.step == "waiting":
                        return
            if time.monotonic() - heard_at > SILENT_S:
                raise Problem("The change goes on, but nothing is heard of it; see smartcar model list.")

    def upload(self, content: bytes, name: str) -> None:
        """Hand over a file, under a name for the command that takes it. Raises Problem."""
        for offset in range(0, len(content), MAX_PART_BYTES):
            part = content[offset : offset + MAX_PART_BYTES]
            self.ask(ModelUpload(upload=name, offset=offset, content=part))

    def see_through(self, command: Command, *, json: bool) -> int:
        """Ask for a change and print its steps. Returns 0 where it ended well. Raises Problem."""
        self.ask(command)
        last = None
        for last in self.steps(command.id):
            if json:
                print_json(as_dict(last))
            else:
                say(_line(last))
        return 0 if last is not None and last.step in ("active", "kept") else 1

    def close(self) -> None:
        self._client.close()
        self._progress.close()


@contextmanager
def updater(settings: Settings) -> Iterator[Updater]:
    """A way for the length of a block. Raises Problem where no updater runs here."""
    if not socket_path(settings.paths.runtime, "updater", "command").exists():
        raise Problem(
            f"The updater is not running on {settings.paths.runtime}; start the car with `smartcar up`, "
            f"or the updater alone with `smartcar run updater`."
        )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        way = Updater(context, settings)
        yield way
        way.close()
    finally:
        context.destroy(linger=0)


def show(settings: Settings, *, json: bool) -> int:
    """Print the models of the store."""
    with updater(settings) as way:
        table = ModelTable.model_validate(way.ask(ModelList()).data)
    if json:
        for row in table.models:
            print_json(as_dict(row, on_trial=row.model.digest == table.trial, pinned=table.pinned))
        return 0
    print_table(
        ("model", "version", "release", "digest", "origin", "signed", "accuracy", "five digits", "state"),
        ([*_cells(row, table)] for row in table.models),
    )
    for row in table.models:
        if row.peculiarities:
            say(f"{row.model.name} {row.model.digest[:12]} takes {', '.join(row.peculiarities)}")
    if table.pinned:
        say("the active model is pinned; `smartcar model unpin` lets bundles from elsewhere replace it")
    for offer in table.offers:
        say(_offered(offer, table))
    return 0


def show_offers(settings: Settings, *, json: bool) -> int:
    """Print what stands on the broker of the names that the car follows, and what has become of it."""
    with updater(settings) as way:
        table = ModelTable.model_validate(way.ask(ModelList()).data)
    if json:
        for offer in table.offers:
            print_json(as_dict(offer))
    elif not table.offers:
        names = ", ".join(settings.models.follow)
        say(f"no offer of {names} is known" if names else "no name is followed; models.follow names some")
    else:
        for offer in table.offers:
            say(_offered(offer, table))
    return 0


def _offered(offer: StandingOffer, table: ModelTable) -> str:
    active = any(row.state == "active" and row.model.digest == offer.digest for row in table.models)
    how = "active" if active else f"{offer.reason}: {offer.sentence}" if offer.reason else "on its way"
    going = f", {offer.percent} %" if not active and not offer.reason else ""
    return (
        f"offered: {offer.name} {offer.version}, release {offer.release}, {offer.digest[:12]}: {how}{going}"
    )


def _cells(row: StoredModel, table: ModelTable) -> tuple[str, ...]:
    state = "on trial" if row.model.digest == table.trial else str(row.state)
    if row.state == "active" and table.pinned:
        state = "active, pinned"
    return (
        row.model.name,
        row.model.version,
        str(row.release),
        row.model.digest[:12],
        f"{row.origin} {row.file}".strip(),
        "yes" if row.signed else "no",
        "–" if row.accuracy is None else f"{row.accuracy:.1%}",
        "–" if row.latency_ms is None else f"{row.latency_ms:.2f} ms",
        state,
    )


def compare(settings: Settings, model: str, *, json: bool) -> int:
    """Have what stands on the pad read by the active model and by another one of the store."""
    with updater(settings) as way:
        rows = ModelTable.model_validate(way.ask(ModelList()).data).models
        chosen = [
            row for row in rows if row.model.digest.startswith(model) or model in (row.state, row.model.name)
        ]
        if len(chosen) != 1:
            raise Problem(f"{model} names {len(chosen)} models; smartcar model list shows their digests.")
        digests = ("active", chosen[0].model.digest)
        readings = [PadReading.model_validate(way.ask(PadRecognize(model=digest)).data) for digest in digests]
    if json:
        for reading in readings:
            print_json(as_dict(reading))
        return 0
    print_table(
        ("model", "text", *(f"box {number}" for number in range(1, BOXES + 1))),
        ([*_boxes(reading)] for reading in readings),
    )
    return 0


def _boxes(reading: PadReading) -> Iterator[str]:
    yield f"{reading.model.name} {reading.model.version}" if reading.model else "–"
    yield reading.text
    for digit in reading.digits:
        yield "empty" if digit.label == EMPTY else f"{digit.label} {digit.confidence:.0%}"


def take_file(settings: Settings, file: Path, *, activate: bool, json: bool) -> int:
    """Hand a model file to the car. Returns 0 where the car took it."""
    if file.is_dir():
        refuse_folder(file)
    content, upload = read_regular(file, MAX_UPLOAD_BYTES), new_ulid()
    try:
        command = ModelImport(name=file.name, upload=upload, activate=activate)
    except ValidationError:
        raise Problem(
            f"The car takes no file of the name {file.name!r}: it has at most 128 characters, does not begin "
            f"with a dot and holds no line end; rename it."
        ) from None
    with updater(settings) as way:
        way.upload(content, upload)
        return way.see_through(command, json=json)


def install(settings: Settings, bundle: Path, *, activate: bool, json: bool) -> int:
    """Hand a signed bundle to the car. Returns 0 where the car took it."""
    content = pack(read_bundle(bundle))
    with updater(settings) as way:
        way.upload(content, upload := new_ulid())
        return way.see_through(ModelInstall(upload=upload, activate=activate), json=json)


def install_offer(settings: Settings, name: str, *, activate: bool, json: bool) -> int:
    """Take what stands on the broker of that name. Returns 0 where the car took it."""
    return _see_through(settings, ModelInstall(offer=name, activate=activate), json)


def activate(settings: Settings, model: str, *, json: bool) -> int:
    """Returns 0 where the car reads with it."""
    return _see_through(settings, ModelActivate(model=model), json)


def rollback(settings: Settings, *, json: bool) -> int:
    """Returns 0 where the car reads with the previous model."""
    return _see_through(settings, ModelRollback(), json)


def pin(settings: Settings, *, pinned: bool, json: bool) -> int:
    """Pin the active model, or don't any more."""
    return _pins(settings, ModelPin() if pinned else ModelUnpin(), json)


def remove(settings: Settings, model: str, *, json: bool) -> int:
    """Take a model out of the store."""
    return _pins(settings, ModelRemove(model=model), json)


def _pins(settings: Settings, command: Command, json: bool) -> int:
    with updater(settings) as way:
        now = ModelPins.model_validate(way.ask(command).data)
    if json:
        print_json(as_dict(now))
    else:
        say(f"active: {now.active.name} {now.active.version}{', pinned' if now.pinned else ''}")
    return 0


def _see_through(settings: Settings, command: Command, json: bool) -> int:
    with updater(settings) as way:
        return way.see_through(command, json=json)


def _line(step: ModelProgress) -> str:
    words = WORDS[step.step] + (f" ({step.reason})" if step.reason else "")
    again = f", attempt {step.attempt}" if step.attempt > 1 else ""
    return f"{words}{again}{': ' if step.sentence else ''}{step.sentence}"
