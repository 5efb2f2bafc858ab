"""Settings: every key from file or environment, every mistake named with its place and remedy."""

from __future__ import annotations

import errno
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services import config_file, credentials
from services.config import Car, Settings
from services.config_file import ConfigError, as_toml, load


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("SMARTCAR_")]:
        monkeypatch.delenv(variable)


def write(folder: Path, text: str) -> Path:
    path = folder / "smartcar.toml"
    path.write_text(text)
    return path


def test_without_a_file_there_are_defaults_that_need_nothing() -> None:
    settings = load()
    assert (settings.capture.source, settings.mqtt.host, settings.overlay.host) == ("scene:", "", "127.0.0.1")


def test_a_home_folder_that_is_private_is_as_one_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The services' user may not look into /home/pi, nor into a folder of settings of somebody's."""
    looked_at = os.stat

    def stat(path: Any, *further: Any, **options: Any) -> os.stat_result:
        if str(path).startswith(("/home", "/boot")):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return looked_at(path, *further, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert load().inbox == Settings().paths.state / "data"


def test_a_file_sets_and_the_environment_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[car]\nname = "car7"\n[capture]\nhertz = 10\nwidth = 320\n')
    monkeypatch.setenv("SMARTCAR_CAPTURE__HERTZ", "12.5")
    monkeypatch.setenv("SMARTCAR_MQTT__COMMANDS", '["capture.pause"]')
    monkeypatch.setenv("SMARTCAR_MQTT__TLS", "true")
    settings = load(path)
    assert (settings.car.name, settings.capture.width, settings.capture.hertz) == ("car7", 320, 12.5)
    assert (settings.mqtt.commands, settings.mqtt.tls) == (("capture.pause",), True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[capture]\nwidth = 640\nwidht = 3\n", r"line 3: unknown key capture\.widht; known here: source, "),
        ("\n[camera]\nwidth = 640\n", r"line 2: unknown key camera; known here: car, paths, "),
        ("[capture]\n\nhertz = 0\n", r"line 3: capture\.hertz: Input should be greater than 0"),
        ('[mqtt]\nport = "x"\n', r"line 2: mqtt\.port: Input should be a valid integer"),
        ("[mqtt\n", "not valid TOML"),
        ("mqtt.port = 70000\n", r"line 1: mqtt\.port: Input should be less than or equal to 65535"),
        ('[car]\nname = "a/b"\n', r"line 2: car\.name: "),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "[capture]\na = 1\nb = 2\n[overlay]\nport = -1\n"))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SMARTCAR_CAPTURE__SORCE", "x"), ("SMARTCAR_CAMERA", "0"), ("SMARTCAR_MQTT__PORT", "p")],
)
def test_a_mistaken_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"environment variable {variable}: "):
        load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory; give another with --config"):
        load(tmp_path / "none.toml")


def test_the_file_named_by_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTCAR_CONFIG", str(write(tmp_path, '[car]\nname = "from-env"\n')))
    assert load().car.name == "from-env"


def test_what_is_shown_can_be_read_again_and_explains_every_key(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[capture]\nsources = {front = "camera:0", back = "camera:1"}\n'))
    shown = as_toml(settings)
    assert load(write(tmp_path, shown)) == settings
    keys = [key for section in tomllib.loads(shown).values() for key in section]
    assert shown.count("\n# ") + shown.startswith("# ") >= len(keys)


def test_every_key_is_documented() -> None:
    for name, section in Settings.model_fields.items():
        assert section.annotation is not None
        for key, field in section.annotation.model_fields.items():
            assert field.description, f"{name}.{key} explains itself nowhere"


def test_no_car_is_called_as_what_all_cars_share() -> None:
    with pytest.raises(ValidationError, match="models"):
        Car(name="models")


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The files of an installed car, elsewhere: what the installer wrote, the card's, the owner's."""
    files = {name: tmp_path / f"{name}.toml" for name in ("INSTALLED_FILE", "CARD_FILE", "SYSTEM_FILE")}
    for name, file in files.items():
        monkeypatch.setattr(config_file, name, file)
    return files


def test_the_owners_file_wins_over_the_card_and_the_card_over_the_installer(layers: dict[str, Path]) -> None:
    layers["INSTALLED_FILE"].write_text('[capture]\nsource = "camera:"\nhertz = 5\n[overlay]\nport = 1\n')
    layers["CARD_FILE"].write_text('[car]\nname = "card"\n[capture]\nhertz = 6\nwidth = 320\n')
    layers["SYSTEM_FILE"].write_text("[capture]\nwidth = 640\n")
    settings = load()
    assert (settings.car.name, settings.overlay.port) == ("card", 1)
    capture = settings.capture
    assert (capture.source, capture.hertz, capture.width) == ("camera:", 6, 640)


def test_a_mistake_is_named_in_the_file_that_makes_it(layers: dict[str, Path]) -> None:
    layers["INSTALLED_FILE"].write_text("[overlay]\nport = 80\n")
    layers["SYSTEM_FILE"].write_text("[overlay]\nhertz = 5\nport = -1\n")
    with pytest.raises(ConfigError, match=r"SYSTEM_FILE\.toml, line 3: overlay\.port: "):
        load()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[car]\nname = "seven"\nwifi = "x"\n',
            r"line 3: unknown key car\.wifi; known here: name\. Nothing of",
        ),
        ('[car]\nname = "sev\0', "not valid TOML"),
    ],
)
def test_a_broken_file_on_the_card_stops_nothing_and_is_said(
    layers: dict[str, Path], text: str, says: str
) -> None:
    layers["CARD_FILE"].write_text(text)
    layers["SYSTEM_FILE"].write_text("[capture]\nwidth = 320\n")
    complaints: list[str] = []
    settings = load(complain=complaints.append)
    assert (settings.car.name != "seven", settings.capture.width) == (True, 320)
    assert len(complaints) == 1
    assert re.search(says, complaints[0])
    assert "CARD_FILE.toml" in complaints[0]


def test_a_file_that_is_named_stands_alone(layers: dict[str, Path], tmp_path: Path) -> None:
    layers["SYSTEM_FILE"].write_text("[capture]\nwidth = 320\n")
    assert load(write(tmp_path, "")).capture.width == 640


def test_secrets_come_from_systemd_where_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mqtt-password").write_text("secret\n")
    (tmp_path / "page-key").write_text("\n")  # what the unit gives where there is none
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = load()
    assert settings.mqtt.password_file == tmp_path / "mqtt-password"
    assert (settings.mqtt.key_file, settings.overlay.key_file) == (None, None)
    monkeypatch.setenv("SMARTCAR_MQTT__PASSWORD_FILE", "/own")
    assert load().mqtt.password_file == Path("/own")


def test_whoever_may_read_a_secret_uses_it_from_the_command_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "FOLDER", tmp_path)
    assert load().mqtt.password_file is None
    (tmp_path / "mqtt-password").write_text("secret\n")
    assert load().mqtt.password_file == tmp_path / "mqtt-password"


@pytest.mark.parametrize(
    ("host", "serial", "network", "name"),
    [
        ("raspberrypi", "10000000a1b2c3d4", "b827eb001122", "raspberrypi-c3d4"),
        ("robin", "10000000a1b2c3d4", None, "robin-c3d4"),
        ("raspberrypi", None, "b827eb001122", "raspberrypi-1122"),
        ("debian.home", None, None, "debian-beef"),
        ("robin", None, "b827eb001122", "robin"),
    ],
)
def test_cars_from_one_card_image_have_names_of_their_own(
    host: str, serial: str | None, network: str | None, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    monkeypatch.setattr("services.board.serial", lambda: serial)
    monkeypatch.setattr("services.board.network_address", lambda: network)
    monkeypatch.setattr("services.board.machine_id", lambda: "feedbeef")
    assert Settings().car.name == name
