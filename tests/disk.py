"""A disk of a test's own: it fills up, turns read-only, and is put right again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


class Disk:
    """A file system at `folder`. Skips the test where this user may mount none."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)], check=False
        )
        if done.returncode:
            pytest.skip("only root may mount a file system")

    def read_only(self) -> None:
        """As the kernel turns a failing one. Nobody may have a file of it open for writing."""
        self._remount("ro")

    def writable(self) -> None:
        self._remount("rw")

    def fill_up(self) -> Path:
        """Write until there is no byte left; returns what to delete."""
        ballast = self.folder / "ballast"
        for size in (1 << 16, 1 << 12, 1):
            try:
                with ballast.open("ab", buffering=0) as file:
                    while True:
                        file.write(b"x" * size)
            except OSError:
                pass
        return ballast

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def _remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)
