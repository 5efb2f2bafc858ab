"""The bridge's parts, put together: who publishes what through which session."""

from __future__ import annotations

from collections.abc import Callable

from messages.message import new_ulid
from messages.rpc.clients import Ask
from messages.topics import TOPICS
from services import board
from services.bridge import documents
from services.bridge.car_health import CarHealth
from services.bridge.command_gateway import CommandGateway
from services.bridge.cursor_store import CursorStore
from services.bridge.discovery import Discovery
from services.bridge.documents import car_prefix
from services.bridge.duplicate_name_detector import DuplicateNameDetector
from services.bridge.former_name import FormerName
from services.bridge.offer_subscriber import OfferSubscriber
from services.bridge.outbox import Outbox
from services.bridge.roll_call import RollCall
from services.bridge.session import Session, SessionListener
from services.bridge.state_mirror import StateMirror
from services.bridge.status_publisher import StatusPublisher
from services.bridge.status_reporter import StatusReporter
from services.config import Settings
from services.journals import journal_path
from services.metrics import Metrics
from services.service import SERVICES


class Parts:
    """States go from the bus through `mirror`, the car's own documents come from `reporter`; both are
    published by `publisher`. Events go from the journals through `outbox`, whose progress `cursors` keeps.
    Commands come in through `commands`, models through `offers`.

    `listener` is told what happens in the session; `wake` is called from its thread.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        ask: Ask,
        listener: SessionListener,
        wake: Callable[[], None],
    ) -> None:
        bridge_id = new_ulid()
        folder = settings.paths.state / "bridge"
        prefix = car_prefix(settings.car.name)
        self.cursor_file = folder / "cursor.json"
        self.session = Session(
            settings.mqtt,
            client_id=f"smartcar-{settings.car.name}",
            will_topic=prefix + documents.STATUS,
            will=lambda session_id: self.reporter.will(session_id),
            listener=listener,
            wake=wake,
        )
        self.publisher = StatusPublisher(self.session, prefix, metrics)
        self.mirror = StateMirror(self.publisher.publish)
        self.car_health = CarHealth(settings.paths.runtime, SERVICES, "bridge")
        self.reporter = StatusReporter(settings, bridge_id, self.car_health, self.publisher)
        self.cursors = CursorStore(self.cursor_file)
        journals = {
            row.owner: journal_path(settings, row.owner)
            for row in TOPICS.values()
            if row.journalled and row.mirror is not None
        }
        self.outbox = Outbox(journals, self.cursors, prefix, self.session.publish, metrics)
        self.commands = CommandGateway(prefix, settings.mqtt.commands, ask, self.publisher.reply, metrics)
        self.offers = OfferSubscriber(
            self.session,
            ask,
            metrics,
            lacks=lambda wanted: self.publisher.publish(documents.WANTED, wanted.encoded()),
        )
        self.roll_call = RollCall(self.session.subscribe, self._say_again)
        self.discovery = Discovery(settings, self.session.publish, folder / "announced")
        self.former_name = FormerName(
            settings, bridge_id, board.identity(), SERVICES, folder / "name.json", self.session
        )
        self.duplicates = DuplicateNameDetector(bridge_id)

    def _say_again(self) -> None:
        """What a stranger to this car must know of it."""
        model, health = TOPICS["model.state"].mirror, TOPICS["health"].mirror
        assert model is not None
        assert health is not None
        recognizer = health.topic.format(source="recognizer")
        self.publisher.say_again(documents.STATUS, documents.INFO, model.topic, recognizer)
        self.reporter.say_metrics()
