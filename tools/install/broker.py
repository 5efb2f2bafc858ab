"""`--broker`: Mosquitto on the car, with accounts for the car and its owner, and TLS towards the network."""

from __future__ import annotations

import pwd
import secrets
import shutil
from pathlib import Path

from services.config import Settings
from services.config_file import SYSTEM_FILE
from tools.install import added, systemd
from tools.install.certificates import Authority
from tools.install.files import shipped, write
from tools.terminal.problems import Problem

FOLDER = SYSTEM_FILE.parent
CAR, OWNER = "car", "owner"
CAR_PASSWORD = FOLDER / "mqtt-password"
"""Read by systemd alone, which hands it to the bridge as its credential `mqtt-password`."""
OWNER_PASSWORD = FOLDER / "owner-password"
TLS_PORT = 8883
HOST, PORT = "127.0.0.1", 1883

_MOSQUITTO = Path("/etc/mosquitto")
_OURS = _MOSQUITTO / "smartcar"
_CONFIGURATION = _MOSQUITTO / "conf.d" / "smartcar.conf"
_DROP_IN = Path("/etc/systemd/system/mosquitto.service.d/smartcar.conf")
_UNIT = "mosquitto.service"
_ACL = f"""\
user {CAR}
topic readwrite smartcar/#
topic write homeassistant/#
topic read homeassistant/status

user {OWNER}
topic readwrite #
"""


def set_up(settings: Settings) -> None:
    """Configure Mosquitto and let the bridge use it. Raises Problem, and leaves the broker as it was."""
    _check(settings)
    user = pwd.getpwnam("mosquitto")
    _OURS.mkdir(exist_ok=True)
    accounts = {CAR: _password(CAR_PASSWORD), OWNER: _password(OWNER_PASSWORD)}
    passwords = _OURS / "passwords"
    write(passwords, "".join(f"{name}:{password}\n" for name, password in accounts.items()), 0o600)
    systemd.run("mosquitto_passwd", "-U", str(passwords))  # in place, so that no password is an argument
    write(_OURS / "acl", _ACL, 0o600)
    Authority(FOLDER, settings.car.name).renew(_OURS / "broker.crt", _OURS / "broker.key")
    for path in _OURS.iterdir():
        shutil.chown(path, user.pw_uid, user.pw_gid)
    write(_CONFIGURATION, shipped("mosquitto.conf").read_bytes())
    write(_DROP_IN, shipped("mosquitto.service.d/smartcar.conf").read_bytes())
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "enable", _UNIT)
    try:
        systemd.run("systemctl", "restart", _UNIT)
    except Problem as problem:
        said = systemd.run("journalctl", "-u", _UNIT, "-o", "cat", "-n", "5", "--no-pager", may_fail=True)
        take_away()
        raise Problem(f"Mosquitto does not start so, and is as it was before: {problem}\n{said}") from problem
    added.change("mqtt", {"host": HOST, "port": PORT, "username": CAR})


def take_away() -> None:
    """Leave Mosquitto, which stays installed, as Debian has it."""
    if not is_set_up():
        return
    added.change("mqtt", None)
    for path in (_CONFIGURATION, _DROP_IN, CAR_PASSWORD, OWNER_PASSWORD):
        path.unlink(missing_ok=True)
    shutil.rmtree(_OURS, ignore_errors=True)
    try:
        _DROP_IN.parent.rmdir()
    except OSError:
        pass  # others have something there
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "try-restart", _UNIT, may_fail=True)


def is_set_up() -> bool:
    """Whether this installer configured the broker."""
    return _CONFIGURATION.exists()


def _check(settings: Settings) -> None:
    if not Path("/usr/sbin/mosquitto").exists():
        raise Problem("Mosquitto is not installed; `sudo apt install mosquitto`, and try again.")
    if settings.mqtt.host not in ("", HOST):
        raise Problem(
            f"The car is to use the broker {settings.mqtt.host}; for one of its own, take mqtt.host out of "
            f"{SYSTEM_FILE} first."
        )
    for path in (_MOSQUITTO / "mosquitto.conf", *sorted((_MOSQUITTO / "conf.d").glob("*.conf"))):
        if path != _CONFIGURATION and _listens(path):
            raise Problem(
                f"Mosquitto is configured already, in {path}, and stays as it is; give the car an account "
                f"there and name the broker in {SYSTEM_FILE} (docs/mqtt.md)."
            )


def _listens(path: Path) -> bool:
    """Whether somebody configured a listener in this file of Mosquitto's."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return False
    return any(line.split()[:1] in (["listener"], ["port"]) for line in lines)


def _password(path: Path) -> str:
    if path.exists() and (known := path.read_text().strip()):
        return known
    made = secrets.token_urlsafe(18)
    write(path, made + "\n", 0o600)
    return made
