"""Changes on disk that a power cut leaves done or not done, and never half done.

Every single operation goes through here and calls `fault_point` before and after itself, so that tests can
end a process at each of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def _nothing(step: str) -> None:
    pass


fault_point: Callable[[str], None] = _nothing
"""Called with `before …` and `after …` around each operation; does nothing unless a test says otherwise."""


@contextmanager
def _step(what: str, path: Path) -> Iterator[None]:
    fault_point(f"before {what} {path.name}")
    yield
    fault_point(f"after {what} {path.name}")


def write_file(path: Path, content: bytes, mode: int = 0o444) -> None:
    """Write a new file and wait until the disk has it. Raises FileExistsError, OSError."""
    with _step("create", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb", buffering=0) as file:
        half = len(content) // 2
        for part in (memoryview(content)[:half], memoryview(content)[half:]):
            with _step("write to", path):
                while part:
                    part = part[file.write(part) :]
        with _step("sync", path):
            os.fsync(descriptor)


def replace_file(path: Path, content: bytes, mode: int = 0o640, owner: tuple[int, int] | None = None) -> None:
    """Write a small file anew: after a power cut it holds the old content or the new. Raises OSError.

    It gets just that `mode`, whatever the umask, and the `owner` (user and group id) where one is given.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        write_file(fresh, content, 0o600)
        fresh.chmod(mode)
        if owner is not None:
            os.chown(fresh, *owner)
        with _step("replace", path):
            fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def append(path: Path, content: bytes, mode: int = 0o640) -> None:
    """Write at the end of a file, new or not, and wait until the disk has it. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, mode), "ab", buffering=0) as file:
        half = len(content) // 2
        for part in (memoryview(content)[:half], memoryview(content)[half:]):
            with _step("append to", path):
                while part:
                    part = part[file.write(part) :]
        with _step("sync", path):
            os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    with _step("make", path):
        path.mkdir()


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder."""
    with _step("sync", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename(path: Path, to: Path) -> None:
    """Move within a folder, at once and for good."""
    with _step("rename", path):
        path.rename(to)
    sync_folder(to.parent)


def replace_link(link: Path, target: str) -> None:
    """Make `link` point to `target`, at once: whoever looks sees the old target or the new one."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    with _step("link", new):
        new.symlink_to(target)
    with _step("rename", new):
        new.replace(link)
    sync_folder(link.parent)


def remove_link(link: Path) -> None:
    """Take a link away, where there is one."""
    with _step("unlink", link):
        link.unlink(missing_ok=True)
    sync_folder(link.parent)


def remove_tree(path: Path) -> None:
    """Take a folder away, read-only or not. What others removed meanwhile is no error, nor what stays."""
    with suppress(OSError), _step("remove", path):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
