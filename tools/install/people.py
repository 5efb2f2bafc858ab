"""Who may use the car, and the folder where its owner puts models."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

from services.config import COURSE_FOLDER
from tools.install import systemd

USER = "smartcar"


def ids() -> tuple[int, int]:
    """User and group of the services."""
    entry = pwd.getpwnam(USER)
    return entry.pw_uid, entry.pw_gid


def let_in(login: str | None) -> bool:
    """Let whoever installs use the car. True where they must log in anew for it to hold."""
    if login in (None, "", "root") or login in grp.getgrnam(USER).gr_mem:
        return False
    assert login is not None
    systemd.run("gpasswd", "--add", login, USER)
    return True


def make_data_folder() -> Path | None:
    """The course's data folder, where the course's user is: made, or let be read by the services."""
    try:
        owner = pwd.getpwnam(COURSE_FOLDER.parts[2])
    except KeyError:
        return None
    home = Path(owner.pw_dir)
    if not home.is_dir() or not COURSE_FOLDER.is_relative_to(home):
        return None
    group = grp.getgrnam(USER).gr_gid
    with ExitStack() as opened:
        try:
            folder = _opened(home, opened)
            for name in COURSE_FOLDER.relative_to(home).parts:
                folder = _made(name, folder, owner, opened)
        except OSError:  # a link leads elsewhere: whoever made it sees to what may be read there
            return COURSE_FOLDER
        _let_group_read(folder, group)
        for name in os.listdir(folder):
            with ExitStack() as file, suppress(OSError):
                _let_group_read(_opened(name, file, folder), group)
    return COURSE_FOLDER


def _made(name: str, parent: int, owner: pwd.struct_passwd, opened: ExitStack) -> int:
    """A folder in the folder `parent`, made for its owner where there is none. Raises OSError.

    The folders are the owner's, who may put a link anywhere meanwhile: nothing is done by a path.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return _opened(name, opened, parent)
    folder = _opened(name, opened, parent)
    os.fchown(folder, owner.pw_uid, owner.pw_gid)
    return folder


def _opened(path: str | Path, opened: ExitStack, parent: int | None = None) -> int:
    """Its descriptor, for as long as `opened`. Follows no link. Raises OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=parent)
    opened.callback(os.close, descriptor)
    return descriptor


def _let_group_read(descriptor: int, group: int) -> None:
    """Give a folder or file to the group, to read, where not everybody may read it."""
    mode = os.fstat(descriptor).st_mode
    wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
    if mode & wanted != wanted and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        os.fchown(descriptor, -1, group)
        # A folder's files come to be of its group.
        os.fchmod(descriptor, stat.S_IMODE(mode) | wanted << 3 | (0o2000 if stat.S_ISDIR(mode) else 0))


def remove() -> None:
    """Remove the services' user and group, and the data folder where nothing is in it."""
    for database, command in ((pwd.getpwnam, "userdel"), (grp.getgrnam, "groupdel")):
        try:
            database(USER)
        except KeyError:
            continue
        systemd.run(command, USER, may_fail=True)
    for folder in (COURSE_FOLDER, COURSE_FOLDER.parent):
        try:
            folder.rmdir()
        except OSError:
            break
