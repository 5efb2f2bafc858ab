"""A list of what a broker retains is whole or an error, over slow and silent lines; releases count on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from messages.message import encode
from messages.models import ModelState
from messages.offers import offer_topic, parse_offer, withdrawn_topic
from messages.vision import ModelInfo
from models.bundle.bundle import Bundle, parse_manifest
from models.bundle.keys import SigningKey
from services.config import Car, Mqtt, Settings
from tests.services.bridge.kit import Mosquitto
from tests.tools.publish.slow_line import slow_line
from tests.tools.publish.test_publication import SMALL, new_name, standing
from tools.commands.forget import forget
from tools.fleet import listing
from tools.fleet.rollout_note import standing_release
from tools.publish import mqtt_client as connection
from tools.publish import publishing
from tools.publish.mqtt_client import ConnectionLost, MqttClient
from tools.publish.publication import Publication, look, withdraw
from tools.publish.signing import next_release, reported_releases
from tools.terminal.problems import Problem

Release = Callable[..., Bundle]
PATIENCE_S = 2.0


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands takes longer to come than we wait for the next message, as it does on a slow line."""
    monkeypatch.setattr(connection, "SILENT_S", PATIENCE_S)


def way_to(port: int) -> Mqtt:
    return Mqtt(host="127.0.0.1", port=port)


def put(broker: Mosquitto, bundle: Bundle) -> None:
    with MqttClient.open([way_to(broker.port)]) as client:
        publication = Publication(bundle, chunk_bytes=SMALL)
        publication.put(client, look(client, publication.name))


def test_a_slow_line_is_waited_for(mosquitto: Mosquitto, release: Release, key: SigningKey) -> None:
    """The payload takes twice as long as the patience for one message."""
    bundle = release(new_name(), 7)
    put(mosquitto, bundle)
    size = sum(entry.size for entry in bundle.manifest.files)
    with (
        slow_line(mosquitto.port, size / (2 * PATIENCE_S)) as port,
        MqttClient.open([way_to(port)]) as client,
        MqttClient.open([way_to(port)]) as other,
    ):
        found = look(client, bundle.manifest.name)
        assert next_release((found.standing,), {}, key) == 8
        assert len(found.chunks) == -(-size // SMALL)
        whole = standing_release(other, bundle.manifest.name)
        assert whole is not None
        assert whole[1].digest == bundle.digest


def test_over_a_slow_line_all_is_withdrawn(mosquitto: Mosquitto, release: Release) -> None:
    bundle, orphan = release(name := new_name(), 7), release(new_name())
    put(mosquitto, bundle)
    with MqttClient.open([way_to(mosquitto.port)]) as client:  # what a publisher left that was killed
        for topic, part in Publication(orphan, chunk_bytes=SMALL)._missing(
            look(client, orphan.manifest.name)
        ):
            client.publish([(topic.replace(orphan.manifest.name, name), part)], retain=True)
    with slow_line(mosquitto.port, 100_000) as port, MqttClient.open([way_to(port)]) as client:
        withdraw(client, name)
    left = standing(way_to(mosquitto.port), name)
    assert not left.offer
    assert not left.chunks


def silent_look(client: MqttClient, name: str) -> None:
    look(client, name)


def silent_withdrawal(client: MqttClient, name: str) -> None:
    withdraw(client, name)


def silent_release(client: MqttClient, name: str) -> None:
    standing_release(client, name)


@pytest.mark.parametrize(
    ("listing_of", "stop_after"),
    [(silent_look, 100_000), (silent_release, 100_000), (silent_withdrawal, 1_000)],
)
def test_a_list_that_is_cut_short_is_an_error(
    mosquitto: Mosquitto, release: Release, listing_of: Callable[[MqttClient, str], None], stop_after: int
) -> None:
    bundle = release(new_name(), 7)
    put(mosquitto, bundle)
    with (
        slow_line(mosquitto.port, 1e9, stop_after=stop_after) as port,
        MqttClient.open([way_to(port)]) as client,
        pytest.raises((Problem, ConnectionLost), match="nothing"),
    ):
        listing_of(client, bundle.manifest.name)


def test_a_cars_topics_are_forgotten_whole_or_not_at_all(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    """Larger topics than the line gives within what used to be the end: half a second without a message."""
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        topics = [f"smartcar/slowcar/state/large{number}" for number in range(3)]
        client.publish(((topic, bytes(60_000)) for topic in topics), retain=True)
    with slow_line(mosquitto.port, 60_000) as port:
        assert forget(Settings(car=Car(name="slowcar"), mqtt=way_to(port))) == 0
    assert "3 topics cleared" in capsys.readouterr().out
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        left = list(client.retained("smartcar/slowcar/looking/1", "smartcar/slowcar/#"))
    assert left == []


def test_a_fleet_that_was_not_heard_to_its_end_is_not_all_of_it(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        status = json.dumps({"state": "stopped", "session": "1", "bridge": "1", "reason": "", "services": {}})
        cars = [f"quiet{number}" for number in range(40)]
        client.publish(((f"smartcar/{car}/status", status.encode()) for car in cars), retain=True)
    with slow_line(mosquitto.port, 1e9, stop_after=1500) as port:
        assert listing.show((way_to(port),), listen_s=4.0, json=True) == 1
    assert "nothing any more" in capsys.readouterr().err


def test_after_a_withdrawal_the_releases_count_on(
    mosquitto: Mosquitto, release: Release, key: SigningKey, tmp_path: Path
) -> None:
    """What was withdrawn stands signed beside where it stood, and of several the newest."""
    name, ways = new_name(), (way_to(mosquitto.port),)
    put(mosquitto, release(name, 7))
    publishing.withdraw_release(name, ways, json=True)
    gone = standing(ways[0], name)
    assert not gone.offer
    assert gone.withdrawn is not None
    assert parse_manifest(gone.withdrawn.manifest, "here").release == 7
    put(mosquitto, release(name, 2))
    publishing.withdraw_release(name, ways, json=True)
    key.save(tmp_path / "key")
    bundle = release(name)
    bundle_folder = tmp_path / "again"
    bundle_folder.mkdir()
    for file, content in bundle.files().items():
        (bundle_folder / file).write_bytes(content)
    publishing.publish(
        bundle_folder, ways, publishing.PublishOptions(key=tmp_path / "key", wait_s=0.0), json=True
    )
    offer = standing(ways[0], name).standing
    assert offer is not None
    assert parse_manifest(offer.manifest, "here").release == 8
    # Another key's word doesn't count.
    assert next_release((offer,), {}, SigningKey.generate()) == 0


def test_the_releases_count_on_from_what_cars_have_had(
    mosquitto: Mosquitto, release: Release, key: SigningKey, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a broker has lost its memory the cars still know. What can't be is warned of, not followed."""
    name = new_name()
    active = ModelInfo(name=name, version="1.0.0", digest="0" * 64)
    had = {"car1": 7, "car2": 5, "liar": 10**9}
    states = [
        (f"smartcar/{car}/state/model", encode(ModelState(active=active, releases={name: number})))
        for car, number in had.items()
    ]
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        client.publish([*states, ("smartcar/odd/state/model", b"{")], retain=True)
        heard: list[connection.Received] = []
        found = look(client, name, ("smartcar/+/state/model",), heard.append)
        assert reported_releases(name, heard) == had
        assert next_release((found.standing, found.withdrawn), reported_releases(name, heard), key) == 8
        client.publish(((topic, b"") for topic, _ in states), retain=True)
    assert "liar" in capsys.readouterr().err
    assert next_release((None,), {"car1": 1000}, key) == 0  # nothing is known but that
    assert "--release 1001" in capsys.readouterr().err


def test_the_word_of_a_withdrawal_can_be_read_as_an_offer_for_nobody(
    mosquitto: Mosquitto, release: Release
) -> None:
    bundle = release(name := new_name(), 3)
    put(mosquitto, bundle)
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        withdraw(client, name)
    with MqttClient.open([way_to(mosquitto.port)]) as client:
        left = {
            each.topic: each.payload
            for each in client.retained(f"{offer_topic(name)}/1", f"smartcar/models/{name}/#")
        }
    assert list(left) == [withdrawn_topic(name)]
    word = parse_offer(left[withdrawn_topic(name)])
    assert (word.cars, word.digest) == ((), bundle.digest)
