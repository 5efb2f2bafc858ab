"""The bridge: carries events and state to MQTT and commands from it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from messages.command import Door
from messages.disk import why_not
from messages.health import BRIDGE_CURSOR, Heartbeat, JournalCursor
from messages.message import Message, new_ulid
from messages.model_commands import ModelChunk, ModelOffer
from messages.models import ModelState
from messages.offers import ROOT
from messages.topics import TOPICS, Topic
from services.bridge import connection_problem, documents
from services.bridge.car_health import CarHealth
from services.bridge.documents import CarStatus, car_prefix
from services.bridge.duplicate_name_detector import DuplicateNameDetector
from services.bridge.state_mirror import StateMirror, mirrored, switched_off
from services.config import Mqtt
from services.journals import journal_path
from services.service import SERVICES, Runs, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from paho.mqtt.client import MQTTMessage

    from services.bridge.connection import Limits
    from services.bridge.connection_problem import ConnectionProblem

TICK_S = 0.25
LOOK_INTO_JOURNALS_S = 1.0
SAVE_S = 1.0


class BridgeService(Service):
    """The car on MQTT, below `smartcar/<car>/`.

    Everything happens in the loop, except the connection's own reading and writing. It is the listener of
    its `Session`.
    """

    name = "bridge"
    about = "carries events and state to MQTT, commands from it"
    section = Mqtt
    publishes = (BRIDGE_CURSOR,)
    peers = {"updater": (ModelOffer, ModelChunk)}
    door = Door.MQTT
    runs = Runs(
        lambda settings: bool(settings.mqtt.host),
        "no broker is configured; set mqtt.host to have events, state and commands",
    )

    def start(self) -> None:
        from services.bridge.command_gateway import CommandGateway
        from services.bridge.cursor_store import CursorStore
        from services.bridge.discovery import Discovery
        from services.bridge.offer_subscriber import OfferSubscriber
        from services.bridge.outbox import Outbox
        from services.bridge.session import Session
        from services.bridge.status_publisher import StatusPublisher
        from services.bridge.status_reporter import StatusReporter

        settings, mqtt = self.settings, self.settings.mqtt
        self.prefix = car_prefix(settings.car.name)
        self._status_handle: int | None = None
        self._reason_now = ""
        self._trouble = ""
        self._disk_problem = ""
        self._subscription_problem = ""
        client_id = f"smartcar-{settings.car.name}"
        own_id = new_ulid()
        self._session = Session(
            mqtt,
            client_id=client_id,
            will_topic=self.prefix + documents.STATUS,
            will=lambda session_id: self._status_reporter.will(session_id),
            listener=self,
            wake=lambda: self.call_soon(self._dispatch),
        )
        self._rival_reason = connection_problem.name_in_use(client_id, mqtt).reason
        self._rival = DuplicateNameDetector(own_id)
        self._status_publisher = StatusPublisher(self._session, self.prefix, self.metrics)
        self._mirror = StateMirror(self._status_publisher.publish)
        self._car_health = CarHealth(self.runtime, SERVICES, self.name)
        self._status_reporter = StatusReporter(settings, own_id, self._car_health, self._status_publisher)
        self._cursors = CursorStore(settings.paths.state / self.name / "cursor.json")
        journals = {
            row.owner: journal_path(settings, row.owner)
            for row in TOPICS.values()
            if row.journalled and row.mirror is not None
        }
        self._outbox = Outbox(journals, self._cursors, self.prefix, self._session.publish, self.metrics)
        self._offer_subscriber = OfferSubscriber(self._session, self.ask, self.metrics)
        self._discovery = Discovery(
            settings, self._session.publish, settings.paths.state / self.name / "announced"
        )
        self._command_gateway = CommandGateway(
            self.prefix, mqtt.commands, self.ask, self._status_publisher.reply, self.metrics
        )
        self.on_stop(self._stop)
        self.details.update(
            broker=connection_problem.where(mqtt), protocol=mqtt.protocol, topics=f"{self.prefix}#"
        )
        self._listen()
        self._announce()
        self.every(TICK_S, self._tick)
        self.every(LOOK_INTO_JOURNALS_S, self._look_into_journals)
        self.every(SAVE_S, self._save)
        self._session.tick()

    def _stop(self) -> None:
        if self.crashed:
            self._session.abandon()  # without goodbye, so that the broker publishes the will
        else:
            self._session.close(self.prefix + documents.STATUS, self._status_reporter.last_words())
        self._save()
        self._outbox.shut()

    # from the bus

    def _listen(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            row.name: partial(self._take, row) for row in mirrored(images=self.settings.mqtt.images)
        }
        for row in TOPICS.values():
            if row.journalled:
                handlers[row.name] = partial(self._outbox.heard, row)
        handlers["model.wanted"] = self._offer_subscriber.want
        self.subscribe(handlers)

    def _take(self, row: Topic, message: Message) -> None:
        if isinstance(message, Heartbeat) and self._car_health.take(message):
            self._say_status()
        if isinstance(message, ModelState):
            self._discovery.models(message)
        self._mirror.take(row, message)

    # from the session

    def session_up(self, session_id: str, limits: Limits) -> None:
        self._status_publisher.limits = limits
        self._trouble = ""
        self._subscription_problem = ""
        self._judge_self()
        self._session.subscribe(self.prefix + documents.STATUS)
        if self.settings.mqtt.commands:
            self._session.subscribe(self._command_gateway.pattern, keep_retain_flag=True)
        self._status_handle = self._status_reporter.session_up(session_id, self.state, self._reason_now)
        if self._status_handle is None:
            self._broker_answers()  # it is denied the status: its acknowledgement can't be waited for
        for topic in switched_off(SERVICES, images=self.settings.mqtt.images):
            self._status_publisher.publish(topic, b"", 1, retain=True)
        self._mirror.republish()
        self._offer_subscriber.session_up()

    def _broker_answers(self) -> None:
        """The session has proved good: what breaks now is not the broker's start-up."""
        self._outbox.open(self._status_publisher.limits)
        self._discovery.session_up()
        if self._discovery.birth_topic:
            self._session.subscribe(self._discovery.birth_topic)

    def session_down(self, why: ConnectionProblem) -> None:
        self._trouble = why.reason
        self._status_handle = None
        self._status_reporter.session_down()
        self._status_publisher.session_over()
        self._offer_subscriber.session_down()
        self._outbox.close(why)
        self._discovery.session_down()
        self._judge_self()

    def acknowledged(self, handle: int, code: int) -> None:
        self._status_publisher.answered(handle, code)
        self._discovery.acknowledged(handle, code)
        if handle == self._status_handle:
            self._status_handle = None
            self._broker_answers()
        else:
            self._outbox.acknowledged(handle, code)

    def subscription_answered(self, pattern: str, code: int) -> None:
        from services.bridge.outbox import FIRST_REFUSAL_CODE

        self._offer_subscriber.subscription_answered(pattern, code)
        if code >= FIRST_REFUSAL_CODE and pattern == self._command_gateway.pattern:
            self._subscription_problem = (
                f"the broker does not let this car's user subscribe to commands (MQTT reason {code}); "
                f"let it read {self.prefix}{documents.COMMAND}/# (the broker's ACL), "
                f"or set mqtt.commands = []"
            )
            self._judge_self()

    def message_came(self, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        if topic == self.prefix + documents.STATUS:
            self._compare_status(message)
        elif topic.startswith(f"{self.prefix}{documents.COMMAND}/"):
            self._command_gateway.handle(message)
        elif topic.startswith(ROOT):
            self._offer_subscriber.message_came(topic, bytes(message.payload))
        elif topic == self._discovery.birth_topic:
            self._discovery.birth(bytes(message.payload), retained=message.retain)

    def _compare_status(self, message: MQTTMessage) -> None:
        """Notice a late will of an earlier session, and another bridge under the name of this car."""
        try:
            status = CarStatus.model_validate_json(bytes(message.payload))
        except ValidationError:
            return
        if status.session == self._status_reporter.session_id:
            return
        if status.state == "lost" and not message.retain:
            self._status_reporter.contradicted()
            self._say_status()
        if self._rival.must_yield(status, first_session=self._session.sessions == 1):
            self._session.give_way(
                connection_problem.name_in_use(self._session.client_id, self.settings.mqtt)
            )

    def _dispatch(self) -> None:
        self._session.dispatch()
        self._outbox.pump()

    # by the clock

    def _tick(self) -> None:
        self._session.tick()
        self._offer_subscriber.tick()
        self._mirror.flush()
        self._say_status()
        self._status_reporter.metrics()
        self._discovery.tick()
        if self._discovery.note:
            self.details["home_assistant"] = self._discovery.note
        self._judge_self()

    def _say_status(self) -> None:
        self._status_reporter.status(self.state, self._reason_now)

    def _look_into_journals(self) -> None:
        self._outbox.wake()
        self.metrics.counters["backlog"] = self._outbox.backlog()
        self.metrics.counters["unread"] = self._session.unread_dropped

    def _save(self) -> None:
        if not self._cursors.changed:
            return
        try:
            self._cursors.save()
        except OSError as error:
            why = why_not(self.settings.paths.state / self.name / "cursor.json", error)
            self._disk_problem = (
                f"what the broker has acknowledged can't be noted, and would be sent again after a restart: "
                f"{why}"
            )
            return
        self._disk_problem = ""
        self._announce()

    def _announce(self) -> None:
        self.publish("bridge.cursor", JournalCursor(delivered=self._cursors.saved))

    def _judge_self(self) -> None:
        rival = self._rival_reason if self._rival.present and not self._trouble else ""
        problems = (
            self._trouble,
            rival,
            self._outbox.problem,
            self._status_publisher.problem(),
            self._disk_problem,
            self._subscription_problem,
            self._offer_subscriber.problem,
        )
        self._reason_now = "; ".join(problem for problem in problems if problem)
        if self._reason_now:
            self.report("degraded", self._reason_now)
        else:
            self.report("ready" if self._session.connected else "starting")
