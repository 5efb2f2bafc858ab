"""What an installation lays into the system beside /opt/smartcar, and how it goes again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from messages import durable
from services.config import Settings
from tools.install import sandbox, systemd
from tools.install.versions import HOME

LOCAL = Path("/usr/local/lib")
UNITS = LOCAL / "systemd" / "system"
COMMAND = Path("/usr/local/bin/smartcar")
SYSUSERS = LOCAL / "sysusers.d" / "smartcar.conf"
TMPFILES = LOCAL / "tmpfiles.d" / "smartcar.conf"
BACKOFF_SINCE = 254
"""The systemd that knows RestartSteps."""


def shipped(name: str) -> Path:
    """A file of `systemd/` in this version."""
    installed = Path(sys.prefix) / "share" / "smartcar" / "systemd"
    folder = installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "systemd"
    return folder / name


def write(path: Path, content: str | bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace the file in one step, also across a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_file(path, content.encode() if isinstance(content, str) else content, mode, owner)


def lay(settings: Settings) -> None:
    """Users, folders, units and the command, as this version has them. Whatever an earlier one had goes."""
    write(SYSUSERS, shipped("sysusers.conf").read_text())
    write(TMPFILES, shipped("tmpfiles.conf").read_text())
    systemd.run("systemd-sysusers", str(SYSUSERS))
    systemd.run("systemd-tmpfiles", "--create", str(TMPFILES))
    wanted = _units(settings)
    for path, content in wanted.items():
        if not path.exists() or path.read_text() != content:
            write(path, content)
    for path in _laid_units() - set(wanted):
        path.unlink()
    _remove_empty_drop_in_folders()
    COMMAND.parent.mkdir(parents=True, exist_ok=True)
    durable.replace_link(COMMAND, str(HOME / "current" / "bin" / "smartcar"))


def clear() -> None:
    """Remove all that `lay` has laid; the user stays, while data does that belongs to it."""
    for path in (*_laid_units(), COMMAND, SYSUSERS, TMPFILES):
        path.unlink(missing_ok=True)
    _remove_empty_drop_in_folders()
    for folder in (UNITS, UNITS.parent, SYSUSERS.parent, TMPFILES.parent):
        try:
            folder.rmdir()
        except OSError:
            pass  # others have something there
    shutil.rmtree("/run/smartcar", ignore_errors=True)


def _units(settings: Settings) -> dict[Path, str]:
    """Every unit and drop-in, by its place."""
    common = "smartcar-.service.d"
    contents = {
        UNITS / name: shipped(name).read_text() for name in (systemd.TARGET, *systemd.UNITS.values())
    } | {UNITS / common / path.name: path.read_text() for path in shipped(common).glob("*.conf")}
    if systemd.version() >= BACKOFF_SINCE:
        contents[UNITS / common / "20-backoff.conf"] = shipped("backoff.conf").read_text()
    if sandbox.wants_network(settings):
        stream = UNITS / f"{systemd.UNITS['capture']}.d" / "30-stream.conf"
        contents[stream] = shipped("stream.conf").read_text()
    for service, paths in sandbox.hidden_paths(settings).items():
        contents[UNITS / f"{systemd.UNITS[service]}.d" / "40-paths.conf"] = sandbox.drop_in(paths)
    return contents


def _laid_units() -> set[Path]:
    return {
        path
        for pattern in ("smartcar.target", "smartcar-*.service", "smartcar-*.service.d/*.conf")
        for path in UNITS.glob(pattern)
    }


def _remove_empty_drop_in_folders() -> None:
    for folder in UNITS.glob("smartcar-*.service.d"):
        if not any(folder.iterdir()):
            folder.rmdir()
