"""Small files are written whole or not at all, whatever the disk does in the midst of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from messages import durable


def test_a_file_is_replaced_with_just_the_mode_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "note"
    before = os.umask(0o077)
    try:
        durable.replace_file(path, b"one")
        durable.replace_file(path, b"two", 0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["note"]


def test_at_whichever_step_the_disk_refuses_the_file_is_old_or_new_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note"
    steps: list[str] = []
    monkeypatch.setattr(durable, "fault_point", steps.append)
    durable.replace_file(path, b"old")
    for fail_at in range(len(steps)):
        passed: list[str] = []

        def refuse(step: str, passed: list[str] = passed, fail_at: int = fail_at) -> None:
            passed.append(step)
            if len(passed) == fail_at + 1:
                raise OSError(errno.EIO, step)

        monkeypatch.setattr(durable, "fault_point", refuse)
        with pytest.raises(OSError, match=r".*"):
            durable.replace_file(path, b"new")
        assert path.read_bytes() in (b"old", b"new")
        assert os.listdir(tmp_path) == ["note"]
        monkeypatch.setattr(durable, "fault_point", lambda _: None)
        durable.replace_file(path, b"old")


def test_what_a_killed_writer_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".note.new").write_bytes(b"half")
    durable.replace_file(tmp_path / "note", b"whole")
    assert (tmp_path / "note").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["note"]
