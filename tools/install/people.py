"""Who may use the car, and the folder where its owner puts models."""

from __future__ import annotations

import grp
import os
import pwd
import stat
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
    if not Path(owner.pw_dir).is_dir() or not COURSE_FOLDER.is_relative_to(owner.pw_dir):
        return None
    group = grp.getgrnam(USER).gr_gid
    for folder in (COURSE_FOLDER.parent, COURSE_FOLDER):
        if not folder.exists():
            folder.mkdir(mode=0o755)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
    _let_group_read(COURSE_FOLDER, group)
    for path in COURSE_FOLDER.iterdir():
        _let_group_read(path, group)
    return COURSE_FOLDER


def _let_group_read(path: Path, group: int) -> None:
    """Give a folder or file to the group, to read, where not everybody may read it. Follows no link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        mode = os.fstat(descriptor).st_mode
        wanted = 0o5 if stat.S_ISDIR(mode) else 0o4
        if mode & wanted != wanted and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            os.fchown(descriptor, -1, group)
            # A folder's files come to be of its group.
            os.fchmod(descriptor, stat.S_IMODE(mode) | wanted << 3 | (0o2000 if stat.S_ISDIR(mode) else 0))
    finally:
        os.close(descriptor)


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
