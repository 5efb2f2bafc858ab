"""What has come so far of something that is being fetched: one file that grows, whatever is killed meanwhile.

Its length says where to go on. It may end within what a kill cut short, and holds what nobody has checked
yet: once it is whole, hashes say what it is.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from messages import durable
from models.bundle.manifest import MANIFEST_FILE, SIGNATURE_FILE
from models.refusal import Reason, Refusal
from models.store import SPARE_BYTES
from services.updater.workshop import PAYLOAD_FILE


class Partial:
    """The one file below `root` that something is fetched into, in a folder named after its digest."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / "none"

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / PAYLOAD_FILE

    @property
    def length(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def exists(self, digest: str) -> bool:
        """Whether there is a folder for it."""
        return self._named(digest).is_dir()

    def open(self, digest: str, size: int, files: dict[str, bytes]) -> None:
        """Make room for it, with `files` beside it; what has come of it before stays, all else goes.

        Raises Refusal: no_space.
        """
        folder = self._named(digest)
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            raise no_space(error) from error
        self.sweep({folder})
        self._folder = folder
        needed = 2 * size - self.length + SPARE_BYTES
        free = shutil.disk_usage(self._root).free
        if free < needed:
            raise Refusal(
                Reason.NO_SPACE,
                f"{free >> 10} KiB are free where {needed >> 10} are needed. Free some space.",
            )
        try:
            if not folder.is_dir():
                durable.make_folder(folder)
                durable.sync_folder(self._root)
            for name, content in files.items():
                fresh = folder / f".{name}"
                fresh.unlink(missing_ok=True)
                durable.write_file(fresh, content, 0o640)
                durable.rename(fresh, folder / name)
        except OSError as error:
            raise no_space(error) from error

    def resume(self, digest: str) -> bool:
        """Go on with what is there from before; False where there is nothing."""
        self._folder = self._named(digest)
        self.sweep({self._folder})
        return self._folder.is_dir()

    def append(self, content: bytes) -> None:
        """Raises Refusal: no_space."""
        try:
            durable.append(self.path, content)
        except OSError as error:
            raise no_space(error) from error

    def empty(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)

    def sweep(self, keep: set[Path]) -> None:
        """Take away all folders but these."""
        for path in self._root.glob("*"):
            if path not in keep:
                durable.remove_tree(path)

    def _named(self, digest: str) -> Path:
        return self._root / digest[:32]


def beside(manifest: bytes, signature: bytes) -> dict[str, bytes]:
    """The files that lie beside the payload of an offer."""
    return {MANIFEST_FILE: manifest, SIGNATURE_FILE: signature}


def no_space(error: OSError) -> Refusal:
    """What the disk said, as a refusal."""
    return Refusal(Reason.NO_SPACE, f"What is fetched can't be kept: {error.strerror}. Free some space.")
