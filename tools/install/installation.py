"""`smartcar install`: put this version in force, go back, remove it all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from services.config import Settings
from services.config_file import load
from tools.install import added, broker, files, page, people, removal, report, systemd, versions
from tools.terminal.problems import Problem, warn


def install(*, with_broker: bool | None, with_page: bool | None, may_fall_back: bool) -> int:
    """Put this version in force, with or without broker and open page: None leaves that as it is.

    All of it may be repeated. Where the services don't come up, the version before is put in force again.
    """
    _need_root()
    version = versions.own()
    with versions.locked() as lock:
        settings = _load()  # a mistake in the settings is said before anything is touched
        files.lay(settings)
        login = os.environ.get("SUDO_USER")
        new_login = login if people.let_in(login) else None
        data_folder = people.make_data_folder()
        added.lay_template()
        added.keep_name(settings)
        added.change("capture", {"source": "camera:"})  # what is drawn must not be reported as seen
        _extras(settings, with_broker, with_page)
        settings = _load()
        files.lay(settings)
        before, before_that = versions.current(), versions.previous()
        versions.put_in_force(version)
        systemd.run("systemctl", "daemon-reload")
        systemd.run("systemctl", "enable", systemd.TARGET)
        systemd.restart()
        ailing = systemd.wait_until_up()
        if ailing:
            _say(ailing)
            if may_fall_back and before is not None and before != version:
                return _fall_back(before, before_that, lock)
        else:
            versions.remove_old()
        report.show(settings, new_login, data_folder)
    return 1 if ailing else 0


def roll_back() -> int:
    """Have the version before put itself in force."""
    _need_root()
    before = versions.previous()
    if before is None:
        raise Problem("There is no version to go back to.")
    command = str(before / "bin" / "smartcar")
    os.execv(command, [command, "install"])


def remove(*, yes: bool) -> int:
    _need_root()
    with versions.locked():
        return removal.remove(yes=yes)


def _extras(settings: Settings, with_broker: bool | None, with_page: bool | None) -> None:
    if with_broker or (with_broker is None and broker.is_set_up()):
        broker.set_up(settings)
    elif with_broker is False:
        broker.take_away()
    if with_page or (with_page is None and page.is_open()):
        page.open_to_network(settings)
    elif with_page is False:
        page.close_to_network()


def _load() -> Settings:
    return load(complain=warn)


def _say(ailing: list[systemd.Unit]) -> None:
    for unit in ailing:
        warn(f"{systemd.UNITS[unit.service]} does not run ({unit.result}):")
        for line in systemd.last_words(unit.service):
            warn(f"  {line}")


def _fall_back(before: Path, before_that: Path | None, lock: int) -> int:
    """Have the version before put itself in force, as if this one had never been."""
    warn(f"{Path(sys.prefix).name} does not run here; going back to {before.name}.")
    words = [str(before / "bin" / "smartcar"), "install", "--no-fall-back"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False, pass_fds=(lock,))
    versions.let_be_previous(before_that)
    if done.returncode:
        warn("The version before does not run either; see the lines above.")
    return 1


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Problem("This needs root: `sudo smartcar install`.")
