"""Why a disk takes nothing, asked on real ones; the rest of it stands with who keeps something there."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from messages.disk import is_held_back, is_read_only, why_not
from messages.journal import Journal
from models.refusal import Refusal
from models.store import Store
from tests.conftest import REPOSITORY
from tests.disk import Disk

ASK = """
import sys
from pathlib import Path
from messages.disk import is_held_back
for _ in sys.stdin:
    print(is_held_back(Path(sys.argv[1])), flush=True)
"""


def test_a_process_with_mounts_of_its_own_notices_that_it_is_held_back(
    make_disk: Callable[[int], Disk],
) -> None:
    disk = make_disk(1)
    folder = disk.folder / "state"
    folder.mkdir()
    disk.read_only()
    words = ["unshare", "--mount", sys.executable, "-c", ASK, str(folder)]
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def is_held_there() -> bool:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            return process.stdout.readline() == "True\n"

        assert not is_held_there(), "the disk itself is read-only"
        disk.writable()
        assert is_held_there()
        assert not is_held_back(folder), "this process has the mounts of all"
        process.stdin.close()


@pytest.fixture
def card(runtime: Path) -> Iterator[tuple[Path, Path]]:
    """A disk of ext4, and the file that has the kernel meet an error on it."""
    image, folder = runtime / "image", runtime / "card"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    mount = ["mount", "-o", "loop,errors=remount-ro", str(image), str(folder)]
    for words in (["mkfs.ext4", "-q", str(image)], mount):
        if shutil.which(words[0], path=f"{os.environ['PATH']}:/sbin:/usr/sbin") is None:
            pytest.skip(f"{words[0]} is not installed")
        if subprocess.run(words, check=False, stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no disk image can be mounted here")
    device = subprocess.run(
        ["findmnt", "--noheadings", "--output", "SOURCE", folder], check=True, capture_output=True, text=True
    )
    yield folder, Path("/sys/fs/ext4") / Path(device.stdout.strip()).name / "trigger_fs_error"
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_card_that_fails_turns_read_only_under_a_journal_and_a_store(card: tuple[Path, Path]) -> None:
    folder, fault = card
    journal = Journal(folder / "recognizer" / "journal.sqlite3")
    store = Store(folder / "models")
    assert journal.append("a", b"0") == 1
    fault.write_text("a test")
    assert is_read_only(folder)
    assert journal.append("a", b"1") is None
    assert "is read-only; a card does that at its end" in journal.problem
    with pytest.raises(Refusal, match="Read-only file system"), store.workspace():
        pass
    assert store.load(store.active)
    journal.close()
    store.close()
    again, store = Journal(journal.path), Store(store.root)
    assert [entry.payload for entry in again.tail("a", 5)] == [b"0"]
    for problem in (again.problem, store.problem):
        assert "is read-only; a card does that at its end" in problem
    again.close()
    store.close()


def test_a_folder_that_is_not_there_holds_nobody_back(tmp_path: Path) -> None:
    assert not is_held_back(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EROFS, "is read-only; a card does that at its end"),
        (errno.ENOSPC, "is full; make room"),
        (errno.EIO, "fails (Input/output error); see what dmesg says"),
        (errno.EISDIR, "something else in its place"),
    ],
)
def test_each_fault_has_its_remedy(tmp_path: Path, number: int, says: str) -> None:
    assert says in why_not(tmp_path / "file", OSError(number, os.strerror(number)))


def test_a_disk_that_is_full_is_known_by_itself(make_disk: Callable[[int], Disk]) -> None:
    disk = make_disk(1)
    disk.fill_up()
    assert "is full; make room" in why_not(disk.folder / "file", ValueError("whatever"))
