"""`smartcar mqtt forget`: nothing of a car is left on its broker, nor in Home Assistant."""

from __future__ import annotations

from pydantic import ValidationError

from messages.message import new_ulid
from services.bridge import documents
from services.bridge.documents import CarStatus, car_prefix
from services.bridge.homeassistant import device_topic
from services.catalogue import SERVICES
from services.config import Car, Mqtt, Settings
from tools.install.broker import CAR_PASSWORD
from tools.publish.broker import BrokerLogin, broker_of
from tools.publish.mqtt_client import ConnectionLost, MqttClient
from tools.terminal.output import say
from tools.terminal.problems import Problem

AWAY = ("lost", "stopped")


def forget(settings: Settings, car: str = "", *, force: bool = False) -> int:
    """Clear every retained topic of `car` (empty: this one). Raises Problem for a car that runs."""
    if not settings.mqtt.host:
        say("No broker is configured: the car stands on none.")
        return 0
    name = car or settings.car.name
    whose = _settings_of(name, settings)
    try:
        with MqttClient.open(broker_of(None, _access(settings.mqtt), settings.mqtt)) as client:
            standing = _standing(client, car_prefix(name))
            _check_away(name, standing.get(car_prefix(name) + documents.STATUS, b""), force=force)
            told = _forget_device(whose)  # first: Home Assistant is not to hear of topics without content
            cleared = client.publish(((topic, b"") for topic in standing), retain=True)
    except ConnectionLost as error:
        raise Problem(f"{error} Try again.") from None
    say(f"{name} is off the broker: {cleared} topics cleared.{told}")
    return 0


def _access(mqtt: Mqtt) -> BrokerLogin:
    """Of an installed car the password lies where systemd takes it from."""
    if mqtt.username and mqtt.password_file is None and CAR_PASSWORD.exists():
        return BrokerLogin(password_file=CAR_PASSWORD)
    return BrokerLogin()


def _settings_of(name: str, settings: Settings) -> Settings:
    try:
        car = Car(name=name)
    except ValidationError:
        raise Problem(f"{name!r} is no name of a car; see the topics: smartcar/<car>/status.") from None
    prefix = settings.mqtt.discovery or str(Mqtt.model_fields["discovery"].default)
    return settings.model_copy(
        update={"car": car, "mqtt": settings.mqtt.model_copy(update={"discovery": prefix})}
    )


def _standing(client: MqttClient, prefix: str) -> dict[str, bytes]:
    """What is retained below `prefix`: what cars leave there, and what comes by the pattern.

    Some brokers hand nothing out by a pattern. Raises Problem, ConnectionLost.
    """
    found = {}
    known = (prefix + topic for topic in documents.retained_topics(SERVICES))
    for message in client.retained(f"{prefix}forgetting/{new_ulid()}", *known, f"{prefix}#"):
        if message.retained and message.payload:
            found[message.topic] = message.payload
    return found


def _check_away(name: str, status: bytes, *, force: bool) -> None:
    try:
        state = CarStatus.model_validate_json(status).state if status else "stopped"
    except ValidationError:
        return
    if state not in AWAY and not force:
        raise Problem(
            f"{name} is running ({state}) and would be back at once; stop it first, "
            f"or say --force where it can't be."
        )


def _forget_device(settings: Settings) -> str:
    """On a connection of its own: some brokers close it over a topic that this user may not publish."""
    topic = device_topic(settings)
    try:
        with MqttClient.open(broker_of(None, _access(settings.mqtt), settings.mqtt)) as client:
            client.publish([(topic, b"")], retain=True)
    except (Problem, ConnectionLost):
        return f" Home Assistant was not told: this user may not publish {topic}."
    return " Home Assistant forgets it."
