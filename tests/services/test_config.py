"""Settings: every key from file or environment, every mistake named with its place and remedy."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.config import Car, Settings
from services.config_file import ConfigError, as_toml, load


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for variable in [name for name in os.environ if name.startswith("SMARTCAR_")]:
        monkeypatch.delenv(variable)


def write(folder: Path, text: str) -> Path:
    path = folder / "smartcar.toml"
    path.write_text(text)
    return path


def test_without_a_file_there_are_defaults_that_need_nothing() -> None:
    settings = load()
    assert (settings.capture.source, settings.mqtt.host, settings.overlay.host) == ("scene:", "", "127.0.0.1")


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
