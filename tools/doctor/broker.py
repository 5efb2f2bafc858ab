"""The broker, really tried: login, subscribing to commands, publishing below the car's prefix, hearing it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from paho.mqtt.client import MQTTMessage

from services.bridge.connection import BrokerLimits, Connection
from services.bridge.connection_problem import ConnectionProblem, where
from services.bridge.documents import COMMAND, car_prefix
from services.bridge.reason_codes import is_refusal
from services.config import Mqtt
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, as_error, error, ok, warning
from tools.doctor.fleet_broker import missing
from tools.doctor.permissions import secret_files

LONGEST_S = 12.0
ECHO_S = 3.0
OWN_TOPIC = "doctor"
"""Below the car's prefix; nothing is retained there."""


def broker(car: CheckContext) -> Iterator[Finding]:
    """With the car's account, under a client id of its own, so that the car's session isn't disturbed."""
    mqtt = in_force(car)
    if mqtt is None:
        yield ok("no broker is configured; smartcar up starts one of its own")
        return
    mqtt = account(car, mqtt)
    if mqtt.password_file is not None and not car.is_root:
        try:
            mqtt.password_file.open().close()
        except PermissionError:
            yield warning(
                f"the password in {mqtt.password_file} can't be read by this user, so the login is not tried",
                "sudo smartcar doctor broker",
            )
            return
        except OSError:
            pass  # the connection says so
    prefix = car_prefix(car.settings.car.name)
    try:
        trial = _tried(mqtt, prefix)
    except ConnectionProblem as trouble:
        yield as_error(trouble.reason)
        return
    yield from _judge(trial, trial.mqtt, prefix)
    if trial.works:
        yield from missing(trial.mqtt, f"{prefix}{OWN_TOPIC}/")
    if (bridge := car.snapshot["bridge"]).pid is not None and bridge.state == "degraded":
        yield as_error(f"the bridge: {bridge.reason}")


def _tried(mqtt: Mqtt, prefix: str) -> _Trial:
    """With MQTT 5, and with 3.1.1 where the broker speaks no 5. Raises ConnectionProblem."""
    *others, last = mqtt.ways
    for way in (*others, last):
        trial = _Trial(way, prefix)
        try:
            trial.run()
        except ConnectionProblem as trouble:
            if way is last or not trouble.other_version:
                raise
        finally:
            trial.close()
        if trial.took_s:
            break
    return trial


def in_force(car: CheckContext) -> Mqtt | None:
    """The broker of the settings, else the one that the running bridge talks to; None where there is none."""
    if car.settings.mqtt.host:
        return car.settings.mqtt
    host, _, port = car.snapshot.broker.rpartition(":")
    if not host:
        return None
    protocol = car.snapshot["bridge"].details.get("protocol", "auto")
    return Mqtt.model_validate({"host": host.strip("[]"), "port": int(port), "protocol": protocol})


def account(car: CheckContext, mqtt: Mqtt) -> Mqtt:
    """The same with the password that systemd hands to the bridge of an installed car."""
    if not mqtt.username or mqtt.password_file is not None:
        return mqtt
    return mqtt.model_copy(update={"password_file": secret_files(car).get("the broker's password")})


@dataclass
class _Trial:
    """What became of one attempt."""

    mqtt: Mqtt
    prefix: str
    commands_granted: bool | None = None
    own_granted: bool | None = None
    accepted: dict[str, bool] = field(default_factory=dict)
    """Whether the broker took what was published, by topic."""
    heard: set[str] = field(default_factory=set)
    """Topics on which it came back."""
    took_s: float = 0.0

    def __post_init__(self) -> None:
        self._happened = threading.Event()
        self._nonce = secrets.token_hex(8).encode()
        self._commands, self._own = f"{self.prefix}{COMMAND}/#", self.prefix + OWN_TOPIC
        self._asked: dict[int, str] = {}
        self._echo_by: float | None = None
        self._why: ConnectionProblem | None = None
        self._began = time.monotonic()
        # An empty will, so that nothing stays with the broker should this end half-way.
        self._connection = Connection(
            self.mqtt,
            f"{self.prefix.strip('/').replace('/', '-')}-doctor-{secrets.token_hex(2)}",
            will=(self._own, b""),
            wake=self._happened.set,
        )

    def run(self) -> None:
        """Raises ConnectionProblem where there is no session."""
        while self._why is None and not self._is_over():
            self._happened.wait(0.1)
            self._happened.clear()
            while self._connection.tell_next(self):
                pass
        if self._why is not None and not self.took_s:
            raise self._why  # later, some brokers close the connection over a topic that may not be used
        if not self.took_s:
            raise ConnectionProblem(
                f"No broker answers at {where(self.mqtt)} within {LONGEST_S:.0f} s; "
                f"start it, or correct mqtt.host and mqtt.port."
            )

    def close(self) -> None:
        self._connection.leave()

    @property
    def works(self) -> bool:
        """Whether what the car says comes back, and commands would come."""
        return self._own in self.heard and bool(self.commands_granted)

    def _is_over(self) -> bool:
        now = time.monotonic()
        all_told = len(self.accepted) == len(self.heard) == len(self._asked)
        return now - self._began > LONGEST_S or (
            self._echo_by is not None and (all_told or now > self._echo_by)
        )

    # from the connection

    def connected(self, _: BrokerLimits) -> None:
        self.took_s = time.monotonic() - self._began
        self._connection.subscribe(self._commands)
        self._connection.subscribe(self._own)

    def subscription_answered(self, pattern: str, code: int) -> None:
        granted = not is_refusal(code)
        if pattern == self._commands:
            self.commands_granted = granted
        else:
            self.own_granted = granted
        if None not in (self.commands_granted, self.own_granted):
            # One level less than a command has, so that the bridge isn't asked anything.
            for topic in (f"{self.prefix}{COMMAND}/{OWN_TOPIC}", self._own):
                handle = self._connection.publish(topic, self._nonce)
                if handle is not None:
                    self._asked[handle] = topic
            self._echo_by = time.monotonic() + ECHO_S

    def acknowledged(self, handle: int, code: int) -> None:
        self.accepted[self._asked[handle]] = not is_refusal(code)

    def message_came(self, message: MQTTMessage) -> None:
        if message.payload == self._nonce:
            self.heard.add(message.topic)

    def ended(self, why: ConnectionProblem) -> None:
        self._why = why


def _judge(trial: _Trial, mqtt: Mqtt, prefix: str) -> Iterator[Finding]:
    own, command = prefix + OWN_TOPIC, f"{prefix}{COMMAND}/{OWN_TOPIC}"
    rights = f"let the user {mqtt.username or 'without a login'} read and write {prefix}# (the broker's ACL)"
    if not trial.commands_granted:
        yield error(f"the broker does not let the car subscribe to {prefix}{COMMAND}/#", rights)
    elif trial.accepted.get(command) and command not in trial.heard:
        yield error(f"the broker keeps what is published on {prefix}{COMMAND}/# from the car", rights)
    if not trial.accepted.get(own):
        yield error(f"the broker does not let the car publish below {prefix}", rights)
    elif trial.own_granted and own not in trial.heard:
        yield error(f"what the car publishes below {prefix} does not come back from the broker", rights)
    if trial.works:
        who = f"as {mqtt.username}" if mqtt.username else "without a login"
        yield ok(
            f"{where(mqtt)}, {who}, MQTT {mqtt.protocol}{', TLS' if mqtt.tls else ''}: "
            f"connected in {trial.took_s * 1000:.0f} ms, commands and events may pass"
        )
