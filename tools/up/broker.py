"""The broker of `smartcar up`: the embedded one where none is configured, kept running."""

from __future__ import annotations

import shlex

from services.config import Settings
from tools.up.console_log import ConsoleLog
from tools.up.embedded_broker import DEFAULT_PORT, LOOPBACK, BrokerCannotStart, EmbeddedBroker

AGAIN_S = 1.0


class Broker:
    """An embedded broker that is started again, on the same ports, should it end."""

    def __init__(self, broker: EmbeddedBroker, log: ConsoleLog) -> None:
        self._broker = broker
        self._log = log
        self.port, self.port_5 = broker.port, broker.port_5
        self._retry_at = 0.0

    @classmethod
    def start(cls, wanted_port: int | None, log: ConsoleLog) -> Broker | None:
        """Start it on `wanted_port`, else on 1883, else on a free port; None where it can't run at all.

        Raises BrokerCannotStart for a `wanted_port` that is taken.
        """
        if wanted_port is not None:
            return cls(EmbeddedBroker(wanted_port).start(), log)
        try:
            return cls(EmbeddedBroker(DEFAULT_PORT).start(), log)
        except BrokerCannotStart:
            pass
        try:
            broker = cls(EmbeddedBroker(0).start(), log)
        except BrokerCannotStart as error:
            log.say(f"No MQTT: {error}", "yellow")
            return None
        log.say(
            f"Port {DEFAULT_PORT} is taken, so the embedded broker is on {broker.port}; "
            f'to use the broker that is there, set mqtt.host = "{LOOPBACK}".',
            "yellow",
        )
        return broker

    def environment(self) -> dict[str, str]:
        """What tells the services about it."""
        return {
            "SMARTCAR_MQTT__HOST": LOOPBACK,
            "SMARTCAR_MQTT__PORT": str(self.port),
            "SMARTCAR_MQTT__PROTOCOL": "3.1.1",
        }

    def check(self, now: float) -> None:
        """Start it again if it has ended."""
        if self._broker.running or now < self._retry_at:
            return
        self._retry_at = now + AGAIN_S
        self._broker.stop()
        try:
            self._broker = EmbeddedBroker(self.port, self.port_5).start()
            self._log.say("The embedded broker had ended and runs again.", "yellow")
        except BrokerCannotStart as error:
            self._log.say(str(error), "yellow")
            self._retry_at = now + 10 * AGAIN_S

    def stop(self) -> None:
        self._broker.stop()


def subscribe_command(settings: Settings, broker: Broker | None) -> str:
    """How to see the events from a shell."""
    mqtt = settings.mqtt
    if broker is None and not mqtt.host:
        return "smartcar events --follow"
    words = [
        "mosquitto_sub",
        "-h",
        LOOPBACK if broker else mqtt.host,
        "-p",
        str(broker.port if broker else mqtt.port),
    ]
    if broker is None:
        if mqtt.username:
            words += ["-u", mqtt.username, "-P", "PASSWORD"]
        if mqtt.tls:
            words += ["--cafile", str(mqtt.ca_file)] if mqtt.ca_file else ["--tls-use-os-certs"]
        if mqtt.cert_file and mqtt.key_file:
            words += ["--cert", str(mqtt.cert_file), "--key", str(mqtt.key_file)]
    return shlex.join([*words, "-v", "-t", "smartcar/+/event/#"])
