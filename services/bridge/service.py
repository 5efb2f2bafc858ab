"""The bridge: carries events and state to MQTT and commands from it.

What goes where: states from the bus through StateMirror, the car's own documents through StatusReporter, both
published by StatusPublisher; events from the journals through Outbox; commands through CommandGateway; offers
through OfferSubscriber. All of them use one Session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from paho.mqtt.client import MQTTMessage
from pydantic import ValidationError

from messages.asking import Asker
from messages.commands import Command, Reply, addressee
from messages.disk import why_not
from messages.health import Heartbeat, JournalCursor
from messages.message import Message, new_ulid
from messages.models import ModelState
from messages.offers import ROOT
from messages.topics import TOPICS, Topic
from services.bridge import connection_problem, documents, reason_codes
from services.bridge.car_health import CarHealth
from services.bridge.command_gateway import CommandGateway
from services.bridge.connection import Limits
from services.bridge.connection_problem import ConnectionProblem, where
from services.bridge.cursor_store import CursorStore
from services.bridge.discovery import Discovery
from services.bridge.documents import CarStatus, car_prefix
from services.bridge.duplicate_name_detector import DuplicateNameDetector
from services.bridge.offer_subscriber import OfferSubscriber
from services.bridge.outbox import Outbox
from services.bridge.session import Session
from services.bridge.state_mirror import StateMirror, mirrored, switched_off
from services.bridge.status_publisher import StatusPublisher
from services.bridge.status_reporter import StatusReporter
from services.config import Settings
from services.service import Service, journal_path
from services.table import SERVICES

TICK_S = 0.25
LOOK_INTO_JOURNALS_S = 1.0
SAVE_S = 1.0

log = logging.getLogger(__name__)


class BridgeService(Service):
    """The car on MQTT, below `smartcar/<car>/`. Without a broker in the settings it is `off`.

    Everything happens in the loop, except the connection's own reading and writing. It is the listener of its
    `Session`.
    """

    name = "bridge"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.prefix = car_prefix(settings.car.name)
        self._status_topic = self.prefix + documents.STATUS
        self._folder = settings.paths.state / self.name
        self._reason_now = ""
        self._problems: dict[str, str] = {}
        """What is wrong, in a sentence, by where it was noticed."""
        self._broker_has_answered = False
        """In this session."""
        bridge_id = new_ulid()
        self._session = Session(
            settings.mqtt,
            client_id=f"smartcar-{settings.car.name}",
            will_topic=self._status_topic,
            will=lambda session_id: self._reporter.will(session_id),
            listener=self,
            wake=lambda: self.call_soon(self._dispatch),
        )
        self._publisher = StatusPublisher(self._session, self.prefix, self.metrics)
        self._mirror = StateMirror(self._publisher.publish)
        self._car_health = CarHealth(self.runtime, SERVICES, self.name)
        self._reporter = StatusReporter(settings, bridge_id, self._car_health, self._publisher)
        self._cursors = CursorStore(self._folder / "cursor.json")
        self._outbox = Outbox(
            {
                row.owner: journal_path(settings, row.owner)
                for row in TOPICS
                if row.journalled and row.mirror is not None
            },
            self._cursors,
            self.prefix,
            self._session.publish,
            self.metrics,
        )
        self._command_clients: dict[str, Asker] = {}
        self._commands_from_mqtt = CommandGateway(
            self.prefix, settings.mqtt.commands, self._ask, self._publisher.reply, self.metrics
        )
        self._offers = OfferSubscriber(self._session, self._ask, self.metrics)
        self._discovery = Discovery(settings, self._session.publish, self._folder / "announced")
        self._duplicates = DuplicateNameDetector(bridge_id)

    def start(self) -> None:
        mqtt = self.settings.mqtt
        if not mqtt.host:
            self.details["broker"] = "none"
            self.report("off", "no broker is configured; set mqtt.host to have events, state and commands")
            return
        self.details.update(broker=where(mqtt), protocol=mqtt.protocol, topics=f"{self.prefix}#")
        for topic in switched_off(SERVICES, images=mqtt.images):
            self._publisher.publish(topic, b"", retain=True)
        self._listen()
        self._look_into_journals()
        self._announce()
        self.every(TICK_S, self._tick)
        self.every(LOOK_INTO_JOURNALS_S, self._look_into_journals)
        self.every(SAVE_S, self._save)
        self._session.tick()

    def stop(self) -> None:
        self._session.close(self._status_topic, self._reporter.last_words())
        for client in self._command_clients.values():
            client.close()
        if self.settings.mqtt.host:
            self._save()
        self._outbox.shut()

    def _ask(self, command: Command, answered: Callable[[Reply], None], deadline_s: float = 2.0) -> None:
        """Send a command to its service."""
        service = addressee(command.verb)
        client = self._command_clients.get(service)
        if client is None:
            client = self._command_clients[service] = Asker(self.context, self.runtime, service)
            self.on_readable(client.socket, client.receive)
        client.ask(command, answered, deadline_s)

    # from the bus

    def _listen(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            row.name: partial(self._take, row) for row in mirrored(images=self.settings.mqtt.images)
        }
        for row in TOPICS:
            if row.journalled:
                handlers[row.name] = partial(self._outbox.heard, row)
        handlers["model.wanted"] = self._offers.want
        self.subscribe(handlers)

    def _take(self, row: Topic, message: Message) -> None:
        if message.source not in SERVICES:
            self.metrics.count("malformed.source")
            return
        if isinstance(message, Heartbeat) and self._car_health.take(message):
            self._report_status()
        if isinstance(message, ModelState):
            self._discovery.models(message)
        self._mirror.take(row, message)

    # from the session

    def session_up(self, session_id: str, limits: Limits) -> None:
        self._problems.pop("connection", None)
        self._problems.pop("subscription", None)
        self._judge_self()
        self._session.subscribe(self._status_topic)
        if self.settings.mqtt.commands:
            self._session.subscribe(self._commands_from_mqtt.pattern, keep_retain_flag=True)
        self._limits = limits
        self._publisher.session_up(limits)
        self._reporter.session_up(session_id, self.state, self._reason_now)
        self._publisher.settle()
        self._offers.session_up()
        if not self._publisher.is_waiting:  # all of it is denied: no answer can be waited for
            self._broker_answers()

    def _broker_answers(self) -> None:
        """The session has proved good: what breaks from now on is not the broker's start-up."""
        self._broker_has_answered = True
        self._outbox.open(self._limits)
        self._discovery.session_up()
        if self._discovery.birth_topic:
            self._session.subscribe(self._discovery.birth_topic)

    def session_down(self, why: ConnectionProblem) -> None:
        self._problems["connection"] = why.reason
        self._broker_has_answered = False
        self._reporter.session_down()
        self._offers.session_down()
        self._outbox.close(why)
        self._discovery.session_down()
        self._judge_self()

    def acknowledged(self, handle: int, code: int) -> None:
        self._publisher.acknowledged(handle, code)
        self._discovery.acknowledged(handle, code)
        self._outbox.acknowledged(handle, code)
        if not self._broker_has_answered:
            self._broker_answers()

    def subscription_answered(self, pattern: str, code: int) -> None:
        self._offers.subscription_answered(pattern, code)
        if pattern == self._commands_from_mqtt.pattern:
            self._problems["subscription"] = ""
            if reason_codes.is_refusal(code):
                self._problems["subscription"] = (
                    f"the broker refuses the subscription to commands ({reason_codes.in_words(code)}); "
                    f"{reason_codes.remedy(code, f'read {self.prefix}{documents.COMMAND}/#')}, "
                    f"or set mqtt.commands = []"
                )
            self._judge_self()

    def message_came(self, message: MQTTMessage) -> None:
        try:
            self._route(message)
        except Exception as error:  # whatever a message holds, it ends here
            kind = type(error).__name__
            if self.metrics.counters[f"failed.{kind}"] == 0:
                log.exception("a message from MQTT could not be handled; it is left out")
            self.metrics.count(f"failed.{kind}")

    def _route(self, message: MQTTMessage) -> None:
        topic = message.topic
        if topic == self._status_topic:
            self._compare_status(message)
        elif topic.startswith(f"{self.prefix}{documents.COMMAND}/"):
            self._commands_from_mqtt.handle(message)
        elif topic.startswith(ROOT):
            self._offers.message_came(topic, bytes(message.payload))
        elif topic == self._discovery.birth_topic:
            self._discovery.birth(bytes(message.payload), retained=message.retain)

    def _compare_status(self, message: MQTTMessage) -> None:
        """Notice a late will of an earlier session, and another bridge under the name of this car."""
        try:
            status = CarStatus.model_validate_json(bytes(message.payload))
        except ValidationError:
            return
        if status.session == self._session.session_id:
            return
        if status.state == "lost" and not message.retain:
            self._publisher.contradicted(documents.STATUS)
        if self._duplicates.must_yield(status, retained=message.retain):
            self._session.give_way(self._duplicate_name())

    def _duplicate_name(self) -> ConnectionProblem:
        return connection_problem.name_in_use(self._session.client_id, self.settings.mqtt)

    def _dispatch(self) -> None:
        self._session.dispatch()
        self._outbox.pump()

    # by the clock

    def _tick(self) -> None:
        self._session.tick()
        for client in self._command_clients.values():
            client.expire()
        self._offers.tick()
        self._mirror.flush()
        self._publisher.settle()
        self._report_status()
        self._reporter.report_metrics()
        self._discovery.tick()
        if self._discovery.note:
            self.details["home_assistant"] = self._discovery.note
        self._judge_self()

    def _report_status(self) -> None:
        self._reporter.report(self.state, self._reason_now)

    def _look_into_journals(self) -> None:
        self._outbox.wake()
        self.metrics.counters["backlog"] = self._outbox.backlog()
        self.metrics.counters["unread"] = self._session.unread_dropped

    def _save(self) -> None:
        if not self._cursors.changed:
            return
        self._problems["disk"] = ""
        try:
            self._cursors.save()
        except OSError as error:
            why = why_not(self._folder / "cursor.json", error)
            self._problems["disk"] = (
                f"what the broker has acknowledged can't be noted, and would be sent again after a restart: "
                f"{why}"
            )
            return
        self._announce()

    def _announce(self) -> None:
        self.publish("bridge.cursor", JournalCursor(delivered=self._cursors.saved))

    def _judge_self(self) -> None:
        if self._duplicates.present and not self._problems.get("connection"):
            self._problems["duplicate"] = self._duplicate_name().reason
        else:
            self._problems.pop("duplicate", None)
        problems = (
            *self._problems.values(),
            self._outbox.problem,
            self._publisher.problem(),
            self._offers.problem,
        )
        self._reason_now = "; ".join(problem for problem in problems if problem)
        if self._reason_now:
            self.report("degraded", self._reason_now)
        else:
            self.report("ready" if self._session.is_up else "starting")
