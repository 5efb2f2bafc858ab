"""The whole car on a disk that takes nothing from the start: it reads, says what it can't keep, and heals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from messages.journal_reader import JournalReader
from models.bundle.bundle import Bundle
from models.store import Store
from tests.conftest import wait_for
from tests.disk import Disk
from tests.models.making import rewritten
from tests.services.bridge.kit import Client
from tests.tools.car import objects, running_car, smartcar

KEEPERS = ("recognizer", "pad", "updater", "overlay")


def with_an_active_model(state: Path, made: Path) -> None:
    """A store as an earlier run leaves it."""
    store = Store(state / "models")
    store.activate(store.add(Bundle.load(rewritten(made, lambda manifest: manifest.update(name="earlier")))))
    store.close()


def test_on_a_read_only_disk_the_car_reads_and_is_well_again_once_that_is_put_right(
    runtime: Path, make_disk: Callable[[int], Disk]
) -> None:
    disk = make_disk(64)
    state = disk.folder / "state"
    with_an_active_model(state, runtime / "made")
    disk.read_only()
    settings = {"PATHS__STATE": str(state), "RECOGNIZER__FORGET_SECONDS": "0.3", "CAPTURE__HERTZ": "25"}
    with running_car(runtime, "--source", "scene:", **settings) as car:
        states = {"capture": "ready", "bridge": "ready"} | dict.fromkeys(KEEPERS, "degraded")
        status = car.wait_states(**states)
        for service in KEEPERS:
            assert "is read-only; a card does that at its end" in status[service]["reason"], service
        assert status["recognizer"]["details"]["model"].startswith("earlier ")

        port = int(status["bridge"]["details"]["broker"].rpartition(":")[2])
        with Client(port).subscribe("event/reading") as client:
            wait_for(lambda: len(client.inbox.messages) >= 2, what="events, sent as they happen")

            listed = smartcar(runtime, "model", "list", **settings)
            assert "earlier" in listed.stdout
            refused = smartcar(runtime, "model", "rollback", **settings)
            assert refused.returncode != 0
            assert "is read-only" in refused.stdout + refused.stderr
            found = objects(
                smartcar(runtime, "doctor", "disk", "services", "page", "--json", **settings).stdout
            )
            levels = {(line["check"], line["level"]) for line in found}
            assert levels >= {("disk", "error"), ("services", "warning"), ("page", "ok")}

            disk.writable()
            car.wait_ready()
            told = len(client.inbox.messages)
            wait_for(lambda: len(client.inbox.messages) > told, what="events, from the journal")
            sequences = [json.loads(each.payload)["sequence"] for each in client.inbox.messages]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences))), "each once, in order"
        assert smartcar(runtime, "model", "rollback", **settings).returncode == 0
    reader = JournalReader(state / "recognizer" / "journal.sqlite3")
    kept = [json.loads(entry.payload)["sequence"] for entry in reader.read(0)]
    reader.close()
    assert kept[: len(sequences) + sequences[0] - 1] == list(range(1, sequences[-1] + 1)), "nothing is lost"
