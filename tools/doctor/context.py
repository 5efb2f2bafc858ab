"""The car as the doctor finds it: settings, what its services say, who asks."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from services.config import Settings
from services.config_file import ConfigError, load
from tools.observe.snapshot import CarSnapshot, ask

SERVICE_USER = "smartcar"
"""Whom the services belong to, and the group of those who may use them, on an installed car."""


@dataclass(frozen=True)
class CheckContext:
    """What every check is given. `root` is where /etc, /proc, /run and /sys are looked for."""

    settings: Settings
    snapshot: CarSnapshot
    problems: tuple[str, ...] = ()
    """What is wrong with the configuration; the built-in settings stand in for it then."""
    complaints: tuple[str, ...] = ()
    """What is wrong in a file that is left out then."""
    root: Path = field(default=Path("/"))

    @classmethod
    def find(cls) -> CheckContext:
        """The car of this machine. Raises Problem where it can't even be asked."""
        problems: tuple[str, ...] = ()
        complaints: list[str] = []
        try:
            settings = load(complain=complaints.append)
        except ConfigError as error:
            settings, problems = Settings(), tuple(str(error).splitlines())
        return cls(settings, ask(settings), problems, tuple(complaints))

    @property
    def running(self) -> bool:
        """Whether any of its services runs."""
        return bool(self.snapshot.running)

    @cached_property
    def installed(self) -> bool:
        """Whether it was installed as systemd services."""
        folders = ("etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
        return any((self.root / folder / "smartcar.target").exists() for folder in folders)

    @cached_property
    def service_user(self) -> int:
        """The user id that the services have, or would have."""
        for status in self.snapshot.running:
            try:
                return Path(f"/proc/{status.pid}").stat().st_uid
            except OSError:
                continue
        if self.installed:
            try:
                return pwd.getpwnam(SERVICE_USER).pw_uid
            except KeyError:
                pass
        return os.getuid()

    @property
    def is_root(self) -> bool:
        return os.geteuid() == 0


def user_name(uid: int) -> str:
    """The user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def may(uid: int, path: Path, what: int) -> bool:
    """Whether that user may read (4), write (2), enter (1) `path`, by its mode and the user's groups.

    Raises OSError where this user can't even look at it.
    """
    if uid == 0:
        return True
    if uid == os.geteuid():
        return os.access(path, what)
    status = path.stat()
    if status.st_uid == uid:
        return status.st_mode >> 6 & what == what
    if status.st_gid in _groups(uid):
        return status.st_mode >> 3 & what == what
    return status.st_mode & what == what


def _groups(uid: int) -> set[int]:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return set()
    return set(os.getgrouplist(entry.pw_name, entry.pw_gid))
