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
    if not COURSE_FOLDER.stat().st_mode & stat.S_IROTH or not COURSE_FOLDER.stat().st_mode & stat.S_IXOTH:
        os.chown(COURSE_FOLDER, -1, group)
        COURSE_FOLDER.chmod(stat.S_IMODE(COURSE_FOLDER.stat().st_mode) | 0o2050)
    return COURSE_FOLDER


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
