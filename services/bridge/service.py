"""The bridge: carries events and state to MQTT and commands from it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from messages.command import Door
from messages.disk import why_not
from messages.health import BRIDGE_CURSOR, Heartbeat, JournalCursor
from messages.message import Message
from messages.model_commands import ModelChunk, ModelOffer
from messages.models import ModelState
from messages.offers import ASK_TOPIC, ROOT
from messages.topics import TOPICS, Topic
from services.bridge import connection_problem, documents, reason_codes
from services.bridge.connection_problem import ConnectionProblem
from services.bridge.documents import CarStatus, car_prefix
from services.bridge.state_mirror import mirrored, switched_off
from services.config import Mqtt
from services.service import SERVICES, Runs, Service

if TYPE_CHECKING:  # paho is imported by the running bridge alone
    from collections.abc import Callable

    from paho.mqtt.client import MQTTMessage

    from services.bridge.connection import BrokerLimits

TICK_S = 0.25
LOOK_INTO_JOURNALS_S = 1.0
SAVE_S = 1.0


class BridgeService(Service):
    """The car on MQTT, below `smartcar/<car>/`. What comes from the bus, from the session and by the clock
    goes to its part, in the loop; only the connection reads and writes in a thread of its own.
    """

    name = "bridge"
    about = "carries events and state to MQTT, commands from it"
    section = Mqtt
    publishes = (BRIDGE_CURSOR,)
    peers = {"updater": (ModelOffer, ModelChunk)}
    door = Door.MQTT
    runs = Runs(
        lambda settings: bool(settings.mqtt.host),
        "No broker is configured; set mqtt.host to have events, state and commands.",
    )

    def start(self) -> None:
        from services.bridge.parts import Parts

        mqtt = self.settings.mqtt
        self.prefix = car_prefix(self.settings.car.name)
        self._status_topic = self.prefix + documents.STATUS
        self._reason_now = ""
        self._problems: dict[str, str] = {}
        """What is wrong, in a sentence, by where it was noticed."""
        self._broker_is_mute = False
        """It has acknowledged nothing in this session, or did not in the last."""
        self.details.update(
            broker=connection_problem.where(mqtt), protocol=mqtt.protocol, topics=f"{self.prefix}#"
        )
        self._parts = Parts(
            self.settings, self.metrics, self.ask, listener=self, wake=lambda: self.call_soon(self._dispatch)
        )
        self.on_stop(self._stop)
        for topic in switched_off(SERVICES, images=mqtt.images):
            self._parts.publisher.publish(topic, b"", retain=True)
        self._listen()
        self._look_into_journals()
        self._announce()
        self.every(TICK_S, self._tick)
        self.every(LOOK_INTO_JOURNALS_S, self._look_into_journals)
        self.every(SAVE_S, self._save)
        self._parts.session.tick()

    def _stop(self) -> None:
        if self.crashed:
            self._parts.session.abandon()  # without goodbye, so that the broker publishes the will
        else:
            self._parts.session.close(self._status_topic, self._parts.reporter.last_words())
        self._save()
        self._parts.outbox.shut()

    # from the bus

    def _listen(self) -> None:
        handlers: dict[str, Callable[[Any], None]] = {
            row.name: partial(self._take_state, row) for row in mirrored(images=self.settings.mqtt.images)
        }
        for row in TOPICS.values():
            if row.journalled:
                handlers[row.name] = partial(self._parts.outbox.heard, row)
        handlers["model.wanted"] = self._parts.offers.want
        self.subscribe(handlers)

    def _take_state(self, row: Topic, message: Message) -> None:
        if message.source not in SERVICES:
            self.metrics.count(f"malformed.{row.name}")
            return
        if isinstance(message, Heartbeat) and self._parts.car_health.heard(message):
            self._report_status()
        if isinstance(message, ModelState):
            self._parts.discovery.models(message)
        self._parts.mirror.take(row, message)

    # from the session

    def session_up(self, session_id: str, limits: BrokerLimits) -> None:
        if not self._broker_is_mute:
            self._problems.pop("connection", None)
        self._problems.pop("subscription", None)
        self._broker_is_mute = True
        self._judge_self()
        self._parts.session.subscribe(self._status_topic)
        if self.settings.mqtt.commands:
            self._parts.session.subscribe(self._parts.commands.pattern, keep_retain_flag=True)
        self._limits = limits
        self._parts.publisher.session_up(limits)
        protocol = self.details["protocol"] = self._parts.session.protocol
        self._parts.reporter.session_up(session_id, protocol, self.state, self._reason_now)
        self._parts.publisher.settle()
        self._parts.offers.session_up()
        if not self._parts.publisher.is_waiting:  # all of it is denied: no answer can be waited for
            self._broker_answers()

    def _broker_answers(self) -> None:
        """The session has proved good: what breaks from now on is not the broker's start-up."""
        self._broker_is_mute = False
        self._problems.pop("connection", None)
        self._judge_self()
        self._parts.outbox.open(self._limits)
        self._parts.discovery.session_up()
        if self._parts.discovery.birth_topic:
            self._parts.session.subscribe(self._parts.discovery.birth_topic)
        self._parts.roll_call.session_up()
        self._parts.former_name.session_up()

    def session_down(self, why: ConnectionProblem) -> None:
        self._problems["connection"] = why.reason
        self._parts.reporter.session_down()
        self._parts.offers.session_down()
        self._parts.outbox.close(why)
        self._parts.discovery.session_down()
        self._parts.roll_call.session_down()
        self._judge_self()

    def acknowledged(self, handle: int, code: int) -> None:
        self._parts.publisher.acknowledged(handle, code)
        self._parts.discovery.acknowledged(handle, code)
        self._parts.outbox.acknowledged(handle, code)
        self._parts.former_name.acknowledged(handle, code)
        if self._broker_is_mute:
            self._broker_answers()

    def subscription_answered(self, pattern: str, code: int) -> None:
        self._parts.offers.subscription_answered(pattern, code)
        if pattern == self._parts.commands.pattern:
            self._problems["subscription"] = ""
            if reason_codes.is_refusal(code):
                self._problems["subscription"] = (
                    f"The broker refuses the subscription to commands ({reason_codes.in_words(code)}); "
                    f"{reason_codes.remedy(code, f'read {self.prefix}{documents.COMMAND}/#')}, "
                    f"or set mqtt.commands = []."
                )
            self._judge_self()

    def message_came(self, message: MQTTMessage) -> None:
        with self.item("mqtt"):
            topic = message.topic
            if topic == self._status_topic:
                self._compare_status(message)
            elif topic.startswith(f"{self.prefix}{documents.COMMAND}/"):
                self._parts.commands.handle(message)
            elif topic == self._parts.former_name.status_topic:
                self._parts.former_name.status_came(bytes(message.payload))
            elif topic == ASK_TOPIC:
                self._parts.roll_call.asked()
            elif topic.startswith(ROOT):
                self._parts.offers.message_came(topic, bytes(message.payload))
            elif topic == self._parts.discovery.birth_topic:
                self._parts.discovery.birth(bytes(message.payload), retained=message.retain)

    def _compare_status(self, message: MQTTMessage) -> None:
        """Notice a late will of an earlier session, a stranger's word, and another bridge of this name."""
        try:
            status = CarStatus.model_validate_json(bytes(message.payload))
        except ValidationError:
            status = CarStatus(state="lost", session="")
        if status.session == self._parts.session.session_id:
            return
        if not message.retain:
            self._parts.publisher.contradicted(documents.STATUS)
        elif self._parts.duplicates.must_yield(status):
            self._parts.session.give_way(self._name_in_use())

    def _name_in_use(self) -> ConnectionProblem:
        return connection_problem.name_in_use(self._parts.session.client_id, self.settings.mqtt)

    def _dispatch(self) -> None:
        self._parts.session.dispatch()
        self._parts.outbox.pump()

    # by the clock

    def _tick(self) -> None:
        self._parts.session.tick()
        self._parts.offers.tick()
        self._parts.mirror.flush()
        self._parts.publisher.settle()
        self._report_status()
        self._parts.reporter.report_metrics()
        self._parts.discovery.tick()
        self._parts.roll_call.tick()
        if self._parts.discovery.note:
            self.details["home_assistant"] = self._parts.discovery.note
        self._judge_self()

    def _report_status(self) -> None:
        self._parts.reporter.report(self.state, self._reason_now)

    def _look_into_journals(self) -> None:
        self._parts.outbox.wake()
        self.metrics.counters["backlog"] = self._parts.outbox.backlog()
        self.metrics.counters["unread"] = self._parts.session.unread_dropped

    def _save(self) -> None:
        if not self._parts.cursors.changed:
            return
        self._problems["disk"] = ""
        try:
            self._parts.cursors.save()
        except OSError as error:
            why = why_not(self._parts.cursor_file, error)
            self._problems["disk"] = (
                f"What the broker has acknowledged can't be noted, and would be sent again after a restart: "
                f"{why}."
            )
            return
        self._announce()

    def _announce(self) -> None:
        self.publish(BRIDGE_CURSOR.name, JournalCursor(delivered=self._parts.cursors.saved))

    def _judge_self(self) -> None:
        is_cut_off = bool(self._problems.get("connection"))
        another = self._name_in_use().reason if self._parts.duplicates.present and not is_cut_off else ""
        problems = (
            *self._problems.values(),
            another,
            self._parts.outbox.problem,
            self._parts.publisher.problem(),
            self._parts.offers.problem,
        )
        self._reason_now = " ".join(problem for problem in problems if problem)
        if self._reason_now:
            self.report("degraded", self._reason_now)
        else:
            self.report("ready" if self._parts.session.is_up and not self._broker_is_mute else "starting")
