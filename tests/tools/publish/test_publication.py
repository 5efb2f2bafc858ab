"""What stands on a real broker once something was published, again, by two at once, and withdrawn."""

from __future__ import annotations

from collections.abc import Callable

from messages.message import new_ulid
from messages.offers import chunk_count, chunk_topic, offer_topic, parse_offer
from models.bundle.bundle import Bundle
from models.bundle.payload import bundle_of, payload_of
from services.config import Mqtt
from tools.publish.mqtt_client import MqttClient, Received
from tools.publish.publication import Publication, look, withdraw
from tools.publish.retained_model import RetainedModel

Release = Callable[..., Bundle]
SMALL = 64 << 10


def new_name() -> str:
    """The broker is the module's: each test has a model of its own."""
    return f"m-{new_ulid().lower()}"


def standing(way: Mqtt, name: str) -> RetainedModel:
    """What a newcomer finds."""
    with MqttClient.open([way]) as client:
        return look(client, name)


def caught_up(client: MqttClient, name: str) -> list[Received]:
    """What has come until now."""
    marker = f"smartcar/models/{name}/looking/test"
    client.publish([(marker, b"")], retain=False)
    came: list[Received] = []
    while (message := client.received(10.0)) is not None and message.topic != marker:
        came.append(message)
    return came


def numbers(retained: RetainedModel, digest: str) -> set[int]:
    return {number for each, number in retained.chunks if each == digest}


def assert_whole(way: Mqtt, bundle: Bundle, chunk_bytes: int = SMALL) -> None:
    """The offer of this bundle stands, with all its chunks, and nothing else of the name."""
    name = bundle.manifest.name
    parts: dict[str, bytes] = {}
    with MqttClient.open([way]) as client:
        client.subscribe(f"smartcar/models/{name}/#")
        for came in caught_up(client, name):
            parts[came.topic] = came.payload
    offer = parse_offer(parts[offer_topic(name)])
    count = chunk_count(len(payload_of(bundle)), chunk_bytes)
    topics = [chunk_topic(name, bundle.digest, number) for number in range(count)]
    assert set(parts) == {offer_topic(name), *topics}
    payload = b"".join(parts[topic] for topic in topics)
    assert bundle_of(offer.manifest, offer.signature, payload, bundle.folder).digest == bundle.digest


def published(client: MqttClient, bundle: Bundle) -> tuple[Publication, RetainedModel]:
    publication = Publication(bundle, chunk_bytes=SMALL)
    retained = look(client, publication.name)
    publication.put(client, retained)
    return publication, retained


def test_a_release_stands_whole_and_the_next_takes_its_place(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    first, second = release(name := new_name()), release(name, 2)
    published(client, first)
    assert_whole(way, first)
    with MqttClient.open([way]) as other:
        published(other, second)
    assert_whole(way, second)
    assert withdraw(client, name) > 2
    gone = standing(way, name)
    assert not gone.offer
    assert not gone.chunks


def test_the_former_offer_is_whole_until_the_new_one_stands(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    """An onlooker replays what the broker passed on: at each moment the standing offer has all its chunks."""
    first, second = release(name := new_name()), release(name, 2)
    count = chunk_count(len(payload_of(first)), SMALL)
    with MqttClient.open([way]) as onlooker:
        onlooker.subscribe(f"smartcar/models/{name}/#")
        published(client, first)
        with MqttClient.open([way]) as other:
            published(other, second)
        retained, offers = RetainedModel(name), 0
        for came in caught_up(onlooker, name):
            retained.take(came)
            offers = len(retained.offers_seen)
            if (offer := retained.standing) is not None:
                assert numbers(retained, offer.digest) == set(range(count))
    assert offers == 2


def test_two_publishers_at_once_end_with_one_whole_offer(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    """Both have looked and put their chunks there before either offers: each interleaving of the rest."""
    for order in ("abab", "abba", "baab", "baba"):
        first, second = release(name := new_name()), release(name, 2)
        with MqttClient.open([way]) as other:
            both = {
                "a": _Step(Publication(first, chunk_bytes=SMALL), client, look(client, name)),
                "b": _Step(Publication(second, chunk_bytes=SMALL), other, look(other, name)),
            }
            for each in both.values():
                each.upload()
            for who in order:
                both[who].go_on()
            winner = first if order.index("a") > order.index("b") else second
            for each in both.values():
                each.publication.hear(each.client, each.retained, 0.1)
        assert_whole(way, winner)


class _Step:
    """A publication taken apart: offer, then clear."""

    def __init__(self, publication: Publication, client: MqttClient, retained: RetainedModel) -> None:
        self.publication, self.client, self.retained = publication, client, retained
        self._offered = False

    def upload(self) -> None:
        self.client.publish(self.publication._missing(self.retained), retain=True)

    def go_on(self) -> None:
        if not self._offered:
            self._offered = True
            self.publication._offer(self.client, self.retained)
        else:
            self.publication._hear(self.client, self.retained, 0.05)
            self.client.publish(self.publication._outdated(self.retained), retain=True)


def test_what_a_dead_publisher_left_is_cleared_by_the_next(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    name = new_name()
    abandoned = Publication(release(name), chunk_bytes=SMALL)
    with MqttClient.open([way]) as dying:
        dying.publish(list(abandoned._missing(RetainedModel(name)))[:2], retain=True)
    bundle = release(name, 2)
    published(client, bundle)
    assert_whole(way, bundle)


def test_chunks_that_another_clears_or_replaces_are_put_back(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    bundle = release(new_name())
    publication, retained = published(client, bundle)
    topics = [chunk_topic(publication.name, bundle.digest, number) for number in range(2)]
    with MqttClient.open([way]) as other:
        other.publish([(topics[0], b""), (topics[1], b"something else")], retain=True)
    publication.hear(client, retained, 0.1)
    assert_whole(way, bundle)


def test_an_upload_that_broke_off_goes_on_where_it_was(
    way: Mqtt, client: MqttClient, release: Release
) -> None:
    bundle = release(new_name())
    publication = Publication(bundle, chunk_bytes=SMALL)
    with MqttClient.open([way]) as first:
        first.publish(list(publication._missing(RetainedModel(publication.name)))[:3], retain=True)
    again = look(client, publication.name)
    assert numbers(again, bundle.digest) == {0, 1, 2}
    sent = [topic for topic, _ in publication._missing(again)]
    assert chunk_topic(publication.name, bundle.digest, 0) not in sent
    publication = Publication(bundle, chunk_bytes=SMALL)
    publication.put(client, look(client, publication.name))
    assert_whole(way, bundle)


def test_the_cars_that_take_it_now_are_widened(way: Mqtt, client: MqttClient, release: Release) -> None:
    bundle = release(new_name())
    publication = Publication(bundle, cars=("one",), chunk_bytes=SMALL)
    retained = look(client, publication.name)
    publication.put(client, retained)
    offer = standing(way, publication.name).standing
    assert offer is not None
    assert offer.cars == ("one",)
    publication.widen(client, retained, None)
    offer = standing(way, publication.name).standing
    assert offer is not None
    assert offer.cars is None
    assert offer.digest == bundle.digest
    assert_whole(way, bundle)
