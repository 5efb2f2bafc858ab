"""The data folder: hundreds of files, names of any bytes, and what has gone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from services.updater.inbox import MOST_GONE, Inbox
from services.updater.state import FileStamp


def take_all(inbox: Inbox, known: Mapping[str, FileStamp]) -> tuple[dict[str, FileStamp], list[str]]:
    """Take one after the other, as the updater does; the table then, and what was taken."""
    taken = []
    while (arrival := inbox.look(known)) is not None:
        known = arrival.files
        taken.append(arrival.name)
    return dict(known), taken


def test_each_of_many_files_is_taken_once(tmp_path: Path) -> None:
    """A training that saves a checkpoint each epoch."""
    for number in range(520):
        (tmp_path / f"epoch{number:03}.h5").write_bytes(b"model")
    inbox = Inbox(tmp_path, lambda: 0.0)
    inbox.look({})
    known, taken = take_all(inbox, {})
    assert len(taken) == len(set(taken)) == len(known) == 520


def test_of_files_that_have_gone_the_last_few_hundred_are_remembered(tmp_path: Path) -> None:
    gone = {f"{number}.h5": FileStamp(size=1, changed_ns=1, inode=1) for number in range(MOST_GONE + 200)}
    (tmp_path / "new.h5").write_bytes(b"model")
    inbox = Inbox(tmp_path, lambda: 0.0)
    inbox.look(gone)
    known, taken = take_all(inbox, gone)
    assert taken == ["new.h5"]
    assert len(known) == MOST_GONE + 1
    assert "699.h5" in known


def test_a_name_of_any_bytes_is_offered_once(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/" + "모델.h5".encode("cp949")
    with open(name, "wb") as file:
        file.write(b"model")
    inbox = Inbox(tmp_path, lambda: 0.0)
    inbox.look({})
    arrival = inbox.look({})
    assert arrival is not None
    assert arrival.path.read_bytes() == b"model"
    arrival.name.encode()
    assert inbox.look(arrival.files) is None


def test_models_of_other_programs_are_taken_to_be_refused_with_what_to_do(tmp_path: Path) -> None:
    for name in ("digits.onnx", "digits.PT", "notes.txt", ".hidden.h5"):
        (tmp_path / name).write_bytes(b"content")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"content")
    (tmp_path / "photos").mkdir()
    inbox = Inbox(tmp_path, lambda: 0.0)
    inbox.look({})
    _, taken = take_all(inbox, {})
    assert sorted(taken) == ["digits.PT", "digits.onnx", "saved"]
