"""The updater's memory: what another version wrote, what is damaged, and file names of any bytes."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.errors import ErrorCode
from messages.text import escaped, unescaped
from models.bundle.bundle import Bundle
from services.updater.state import Change, FileStamp, PastRefusal, StateFile
from tests.models.making import rewritten
from tests.services.updater.simulation import Car


def test_of_a_newer_versions_state_what_is_understood_is_taken(tmp_path: Path) -> None:
    """After `install --rollback`: what was released is not forgotten over a step that is new."""
    path = tmp_path / "ledger.json"
    state = StateFile(path)
    known = PastRefusal(reason=ErrorCode.EMPTY, sentence="It is empty.", at=datetime.now(UTC))
    state.write(pinned=True, releases={"digits": 7}, refused={"ab": known}, ended={"one": ("active", "cd")})
    content = json.loads(path.read_text())
    content["change"] = {"id": "1", "origin": "telepathy", "step": "dreaming"}
    content["refused"]["ef"] = {"reason": 7}
    content["ended"]["two"] = ("vanished", "")
    content["moods"] = {"of": "the car"}
    path.write_text(json.dumps(content))
    again = StateFile(path)
    assert (again.problem, again.damaged, again.now.change) == ("", None, None)
    assert (again.now.pinned, again.now.releases) == (True, {"digits": 7})
    assert (again.now.refused, again.now.ended) == ({"ab": known}, {"one": ("active", "cd")})


def test_text_that_no_file_can_hold_is_left_out_and_the_rest_taken(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    path.write_text(json.dumps({"pinned": True, "active": "\ud800", "ended": {"one": ["active", "\ud800"]}}))
    state = StateFile(path)
    assert state.now.pinned
    state.write(pinned=False)
    assert not StateFile(path).now.pinned


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null", b"7"])
def test_one_that_is_none_is_begun_anew_and_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.json"
    path.write_bytes(content)
    state = StateFile(path)
    assert state.now.change is None
    assert state.damaged is not None
    assert state.damaged.read_bytes() == content


def test_the_releases_of_a_damaged_one_are_those_that_the_store_has(root: Path) -> None:
    bundle = Bundle.load(rewritten(root / "lab", lambda manifest: manifest.update(name="lab", release=5)))
    car = Car(root)
    car.store.add(bundle)
    car.close()
    (root / "ledger.json").write_bytes(b"rust")
    car = Car(root)
    car.start()
    assert car.state.now.releases["lab"] == 5
    car.close()


def test_a_refusal_of_another_version_is_known_as_one() -> None:
    strange = PastRefusal(reason="telepathy", sentence="It thought so.", at=datetime.now(UTC))
    assert strange.refusal.reason == ErrorCode.REFUSED_BEFORE


def test_a_file_name_of_any_bytes_is_written_down_and_found_again(tmp_path: Path) -> None:
    name = os.fsdecode("모델.h5".encode("cp949"))
    path = tmp_path / name
    path.write_bytes(b"model")
    state = StateFile(tmp_path / "ledger.json")
    stamp = FileStamp(size=1, changed_ns=2, inode=3)
    state.commit(change=Change(id="1", origin="inbox", path=escaped(path)), files={escaped(name): stamp})
    again = StateFile(tmp_path / "ledger.json").now
    assert again.change is not None
    assert again.change.location.read_bytes() == b"model"
    assert again.files == {escaped(name): stamp}


@given(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name))
def test_escaping_loses_nothing_and_gives_text(name: bytes) -> None:
    path = os.fsdecode(name)
    assert unescaped(escaped(path)) == path
    escaped(path).encode()


def test_names_of_plain_text_stay_as_they_are() -> None:
    assert escaped("/data/모델 1.h5") == "/data/모델 1.h5"
