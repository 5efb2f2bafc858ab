"""Who may do what: the group, the folders, and who can read the secrets."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from services.catalogue import SERVICES
from services.config_file import SYSTEM_FILE
from tools.doctor.context import SERVICE_USER, CheckContext, may, user_name
from tools.doctor.finding import Finding, error, ok, warning


def permissions(car: CheckContext) -> Iterator[Finding]:
    """The group smartcar and this user's part in it, the folders, the files that hold secrets."""
    findings = [*_group(car), *_folders(car), *_secrets(car)]
    yield from findings
    if not findings:
        yield ok(f"folders and secrets belong to {user_name(car.service_user)}, and to nobody else")


def _group(car: CheckContext) -> Iterator[Finding]:
    if not car.installed:
        return
    try:
        group = grp.getgrnam(SERVICE_USER)
    except KeyError:
        yield error(f"there is no group {SERVICE_USER}", "install again: sudo ./install.sh")
        return
    if not car.is_root and group.gr_gid not in (os.getegid(), *os.getgroups()):
        yield warning(
            f"{user_name(os.getuid())} is not in the group {SERVICE_USER}, and can't talk to the services",
            f"sudo usermod -aG {SERVICE_USER} {user_name(os.getuid())}, then log in again",
        )


def _folders(car: CheckContext) -> Iterator[Finding]:
    paths = car.settings.paths
    for folder, setting in ((paths.state, "paths.state"), (paths.runtime, "paths.runtime")):
        try:
            mode = folder.stat().st_mode
        except FileNotFoundError:
            continue  # made at the first start
        except OSError as problem:
            yield warning(f"{folder} can't be looked at ({problem.strerror})", "try: sudo smartcar doctor")
            continue
        if not stat.S_ISDIR(mode):
            yield error(f"{folder} is no folder", f"move it away, or set {setting}")
        elif mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield error(
                f"everybody can write to {folder}, and put models and commands there", f"chmod o-w {folder}"
            )
    for folder in (paths.state / service for service in SERVICES):
        try:
            mode = folder.stat().st_mode
        except OSError:
            continue
        if mode & (stat.S_IROTH | stat.S_IXOTH):
            yield warning(f"everybody can look into {folder}", f"chmod o-rwx {folder}")


def _secrets(car: CheckContext) -> Iterator[Finding]:
    for what, path in secret_files(car).items():
        try:
            status = path.stat()
        except FileNotFoundError:
            if what != "the page's token":  # that is made at the first start
                yield error(f"{what} {path} is not there", "correct the setting, or put the file there")
            continue
        except OSError:
            continue  # what this user can't even look at, it can't judge
        others = status.st_mode & (stat.S_IROTH | stat.S_IWOTH)
        group = status.st_mode & (stat.S_IRGRP | stat.S_IWGRP) and not _is_ours(status.st_gid)
        if others or group:
            who = "everybody" if others else f"the group {_group_name(status.st_gid)}"
            yield error(f"{who} can read {what}: {path}", f"chmod 600 {path}, and make it new")
        elif not car.installed and not may(car.service_user, path, os.R_OK):
            yield error(
                f"{user_name(car.service_user)} can't read {what}: {path}",
                f"sudo chown {user_name(car.service_user)} {path}",
            )


def secret_files(car: CheckContext) -> dict[str, Path]:
    """The files that hold secrets, by what they are: named in the settings, handed over by systemd."""
    settings = car.settings
    wanted = {
        "the broker's password": settings.mqtt.password_file,
        "the key for the broker": settings.mqtt.key_file,
        "the page's key": settings.overlay.key_file,
        "the page's token": settings.paths.state / "overlay" / "token",
    }
    handed_over = {
        "the broker's password": "mqtt-password",
        "the key for the broker": "mqtt.key",
        "the page's key": "page.key",
    }
    for what, name in handed_over.items():
        path = SYSTEM_FILE.parent / name
        if car.installed and wanted[what] is None and os.path.lexists(path):
            wanted[what] = path
    return {what: path for what, path in wanted.items() if path is not None}


def _is_ours(gid: int) -> bool:
    return _group_name(gid) in ("root", SERVICE_USER)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
