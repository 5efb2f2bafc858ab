"""A car that follows, without processes: the bridge's OfferSubscriber, the updater's CommandHandlers, Offers,
Fetcher and ChangeRunner as they are, on a broker that is a dictionary, with a clock that is set. What lies on
the disk outlives a killed process as ever.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from messages.command import Command, Reply
from messages.command import Result as CommandResult
from messages.errors import UserError
from messages.message import new_boot_id
from messages.model_commands import (
    ModelChunk,
    ModelInstall,
    ModelList,
    ModelOffer,
    ModelPin,
    ModelRollback,
    ModelUnpin,
    ModelUpload,
)
from messages.offers import ModelWanted, Offer, StandingOffer, chunk_topic, offer_topic
from messages.rpc.server import DeferredReply
from models.bundle.acceptance import Proof
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.offer import CarTerms
from models.bundle.payload import payload_of
from models.importing import isolated
from models.refusal import Refusal
from services.bridge.offer_subscriber import OfferSubscriber
from services.metrics import Metrics
from services.updater.commands import CommandHandlers
from services.updater.fetch import Cancel, Fetcher
from services.updater.offers import Offers
from services.updater.preparation import Preparation
from services.updater.state import Change, PastRefusal
from tests.services.updater.simulation import Car, Worker

NAME = "lab"
CHUNK = 16 << 10
TODAY = datetime(2026, 11, 25, tzinfo=UTC)


class Broker:
    """Keeps what is retained. `tamper` may make of each delivery any others."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}
        self.sessions: list[Session] = []
        self.tamper: Callable[[str, bytes], list[tuple[str, bytes]]] = lambda topic, payload: [
            (topic, payload)
        ]

    def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        if retain:
            self.retained[topic] = payload
            if not payload:
                del self.retained[topic]
        for session in self.sessions:
            session.deliver(topic, payload)

    def offer(self, bundle: Bundle, chunk_bytes: int = CHUNK, **changed: Any) -> Offer:
        """Put a release there, as a publisher does."""
        offer = Offer(
            name=bundle.manifest.name,
            digest=bundle.digest,
            manifest=bundle.raw_manifest,
            signature=bundle.signature or b"",
            chunk_bytes=chunk_bytes,
            published=TODAY,
        )
        payload = payload_of(bundle)
        for number, at in enumerate(range(0, len(payload), chunk_bytes)):
            self.publish(chunk_topic(NAME, bundle.digest, number), payload[at : at + chunk_bytes])
        offer = offer.model_copy(update=changed)
        self.publish(offer_topic(NAME), offer.encoded())
        return offer


class Session:
    """A car's connection to the broker."""

    def __init__(self, broker: Broker) -> None:
        self.is_up = True
        self.patterns: set[str] = set()
        self.came: deque[tuple[str, bytes]] = deque()
        self.asked_for: list[str] = []
        self._broker = broker
        broker.sessions.append(self)

    def subscribe(self, pattern: str, *, keep_retain_flag: bool = False) -> None:
        self.patterns.add(pattern)
        self.asked_for.append(pattern)
        if pattern in self._broker.retained:
            self.deliver(pattern, self._broker.retained[pattern])

    def unsubscribe(self, pattern: str) -> None:
        self.patterns.discard(pattern)

    def deliver(self, topic: str, payload: bytes) -> None:
        if topic in self.patterns:
            self.came.extend(self._broker.tamper(topic, payload))

    def close(self) -> None:
        self._broker.sessions.remove(self)


class OfferWorker(Worker):
    """What the updater's does with what was offered, but for the golden test."""

    car: FollowingCar

    def prepare(
        self,
        change: Change,
        content: bytes | None,
        refused: Mapping[str, PastRefusal],
        releases: Mapping[str, int],
    ) -> None:
        if change.origin == "inbox":
            super().prepare(change, content, refused, releases)
            return
        terms, now = self.car.terms, self.car.time_of_day
        work = Preparation(self.store, terms, change, refused, releases, lambda: False, now)
        self.calls.append(lambda: self._prepare(work, content))

    def _prepare(self, work: Preparation, content: bytes | None) -> None:
        proven, isolated.prove = isolated.prove, lambda *_, **__: Proof(0.9, 0.2, 100)
        try:
            self.told.append(work.done(content, self.told.append))
        except Refusal as refusal:
            self.told.append(work.rejected(refusal))
        finally:
            isolated.prove = proven


class Downloads:
    """What is asked of the network. A test answers with `finish`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.cancelled = 0
        self._path = Path()
        self._finished: Callable[[str], None] = lambda _: None

    def __call__(
        self,
        url: str,
        path: Path,
        size: int,
        sha256: str,
        deadline_s: float,
        finished: Callable[[str], None],
    ) -> Cancel:
        self.asked.append(url)
        self._path, self._finished = path, finished
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def finish(self, content: bytes, problem: str = "") -> None:
        """So much has come, and then that."""
        self._path.write_bytes(content)
        self._finished(problem)


class FollowingCar(Car):
    """A car on the folder `root`, as after a start of updater and bridge."""

    def __init__(
        self,
        root: Path,
        broker: Broker,
        trusted: Collection[SigningKey],
        *,
        follow: tuple[str, ...] = (NAME,),
        groups: tuple[str, ...] = (),
        today: datetime = TODAY,
        **given: Any,
    ) -> None:
        super().__init__(root, worker=OfferWorker, **given)
        assert isinstance(self.worker, OfferWorker)
        self.worker.car = self
        self.terms = CarTerms("car7", groups, tuple(key.public.text for key in trusted))
        self.today = today
        (root / "incoming").mkdir(exist_ok=True)
        self.downloads = Downloads()
        self.fetcher = Fetcher(root / "fetch", self.state, self.downloads, self.clock)
        self.offers = Offers(
            self.changes, self.fetcher, follow, self.terms, self._announce, self.clock, self.time_of_day
        )
        self.handlers = CommandHandlers(
            self.changes, self.offers, root / "incoming", lambda: self.told, self.clock
        )
        self.session = Session(broker)
        self.follower = self._new_follower()
        self._boot_id = new_boot_id()
        self._wanted: ModelWanted | None = None
        self.replies: list[Reply] = []
        self._open = True

    def time_of_day(self) -> float:
        return (self.today + timedelta(seconds=self.seconds)).timestamp()

    def start(self) -> None:
        self.offers.recover()
        super().start()
        self.follower.session_up()
        self._want()

    def reconnect(self) -> None:
        """The broker went away and is back."""
        self.follower.session_down()
        self.session.patterns.clear()
        self.session.came.clear()
        self.follower.session_up()

    def replace_bridge(self) -> None:
        """It was killed, and another runs: the bus tells it what was wanted last."""
        self.session.patterns.clear()
        self.session.came.clear()
        self.follower = self._new_follower()
        self.follower.session_up()
        if self._wanted is not None:
            self.follower.want(self._wanted.model_copy(update={"boot_id": self._boot_id}))

    def _new_follower(self) -> OfferSubscriber:
        return OfferSubscriber(self.session, self._ask, Metrics(), clock=lambda: self.seconds)

    def advance(self) -> None:
        self.offers.advance()
        super().advance()
        while self.changes.news:
            change, progress = self.changes.news.popleft()
            self.handlers.told(progress)
            self.offers.told(change, progress)
        self.handlers.advance()

    def step(self, seconds: float = 0.05) -> None:
        """Let a message come and so much time pass, and do what is due."""
        if self.session.came:
            topic, payload = self.session.came.popleft()
            self.follower.message_came(topic, payload)
            self._want()
        super().step(seconds)
        self.follower.tick()
        self._want()

    def settle(self, patience_s: float = 300.0) -> None:
        """Until nothing is under way, or what is fetched waits."""
        quiet, until = 0, self.seconds + patience_s
        while quiet < 4:
            waits = self.fetcher.now is not None and not self.session.came
            self.step(1.0 if waits else 0.05)
            fetching = self.fetcher.now is not None and self.fetcher.failure is None
            coming = self.calls or self.session.came or self.follower._waiting
            busy = self.changes.change is not None or fetching or coming
            quiet = 0 if busy else quiet + 1
            assert self.seconds < until, f"never ends: {self.changes.change} {self.fetcher.now}"

    def ask(self, command: Command) -> Reply:
        """The answer to a command, once it is there."""
        before = len(self.replies)
        self._ask(command, self.replies.append)
        for _ in range(200):
            if len(self.replies) > before:
                return self.replies[-1]
            self.step()
        raise AssertionError("no answer")

    def rollback(self) -> None:
        self.ask(ModelRollback())
        self.settle()

    def close(self) -> None:
        """Safe to call twice."""
        if self._open:
            self._open = False
            self.session.close()
            super().close()

    @property
    def standing(self) -> StandingOffer:
        [offer] = self.offers.shown()
        return offer

    def reads(self, bundle: Bundle) -> bool:
        return self.store.active == self.recognizer.reading == bundle.digest

    def outcomes(self, bundle: Bundle | None = None) -> list[tuple[str, str]]:
        """Step and reason of each thing told, of an offer or of all."""
        change = f"offer-{bundle.digest[:32]}" if bundle is not None else ""
        return [(each.step, each.reason) for each in self.told if each.change == change or not change]

    def _want(self) -> None:
        wanted = self.offers.wanted(self.handlers.listens_for)
        if wanted != self._wanted:
            self._wanted = wanted
            self.follower.want(wanted.model_copy(update={"boot_id": self._boot_id}))

    def _ask(self, command: Command, answered: Callable[[Reply], None], deadline_s: float = 0.0) -> None:
        """As the updater's command socket would."""
        handlers: dict[type[Command], Callable[[Any], CommandResult | DeferredReply | None]] = {
            ModelOffer: self.handlers.offered,
            ModelChunk: self.handlers.chunk,
            ModelInstall: self.handlers.install,
            ModelRollback: self.handlers.rollback,
            ModelPin: self.handlers.pin,
            ModelUnpin: self.handlers.unpin,
            ModelUpload: self.handlers.upload,
            ModelList: self.handlers.models,
        }
        try:
            outcome = handlers[type(command)](command)
        except UserError as refused:
            answered(Reply.refused(command.id, refused.code, refused.message))
            return
        if isinstance(outcome, DeferredReply):
            outcome._when_known(lambda result: answered(_reply(command.id, result)))
        else:
            answered(_reply(command.id, outcome))


def _reply(command_id: str, outcome: CommandResult | UserError | None) -> Reply:
    if isinstance(outcome, UserError):
        return Reply.refused(command_id, outcome.code, outcome.message)
    return Reply.ok(command_id, outcome)


def changed(bundle: Bundle, **fields: Any) -> dict[str, Any]:
    """An offer's manifest and digest with other content, and the signature of the old."""
    content = json.loads(bundle.raw_manifest) | fields
    raw = json.dumps(content).encode()
    return {"manifest": raw, "digest": hashlib.sha256(raw).hexdigest()}
