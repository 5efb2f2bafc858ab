"""A command gets its broker from options that stand in one place."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tools.terminal.broker_options import FindWays, Ways, with_broker
from tools.terminal.options import Json


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Ways, bool]]:
    """What a command of `run` was called with, beside settings that name a broker."""
    file = tmp_path / "smartcar.toml"
    file.write_text('[mqtt]\nhost = "home.example"\nport = 2883\nusername = "teacher"\n')
    monkeypatch.setenv("SMARTCAR_CONFIG", str(file))
    return []


def run(seen: list[tuple[str, Ways, bool]], *arguments: str) -> None:
    app = typer.Typer()

    @app.command()
    @with_broker
    def show(name: str, ways: FindWays, json: Json = False) -> None:
        seen.append((name, ways(), json))

    result = CliRunner().invoke(app, ["digits", *arguments])
    assert result.exit_code == 0, result.output


def test_without_options_it_is_the_one_of_the_settings(seen: list[tuple[str, Ways, bool]]) -> None:
    run(seen)
    [(_, brokers, json)] = seen
    assert [broker.protocol for broker in brokers] == ["5", "3.1.1"]
    for broker in brokers:
        assert (broker.host, broker.port, broker.username) == ("home.example", 2883, "teacher")
    assert not json


def test_options_name_another_which_is_not_told_our_login(seen: list[tuple[str, Ways, bool]]) -> None:
    run(seen, "--broker", "mqtts://school.example", "--protocol", "5", "--json")
    [(name, [broker], json)] = seen
    assert (name, broker.host, broker.port, broker.tls) == ("digits", "school.example", 8883, True)
    assert (broker.username, json) == ("", True)
