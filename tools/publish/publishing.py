"""`smartcar model publish`: a release put on the broker, and what the cars answer, as it comes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from messages.errors import ErrorCode
from messages.offers import MAX_CHUNK_BYTES, ROOT
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from models.bundle.payload import payload_of
from services.config import Mqtt
from tools.model.making import read_bundle
from tools.publish.mqtt_client import ConnectionLost, MqttClient, Received
from tools.publish.publication import Publication, largest_chunk, look, withdraw
from tools.publish.responses import PATTERNS, CarResponse, CarResponses
from tools.publish.retained_model import RetainedModel
from tools.publish.signing import next_release, release_of, reported_releases
from tools.terminal.output import print_json, say
from tools.terminal.output_file import write_output
from tools.terminal.problems import Problem

SETTLE_S = 2.0
"""So long at least the cars are listened to."""
RETRY_S = 60.0
"""So long a broker that went away is tried again."""
MOST_BREAKS = 4
"""So often a connection may break before more has been put there than before."""


@dataclass(frozen=True)
class PublishOptions:
    """What the command line says of the release; None: as the bundle has it."""

    key: Path | None = None
    target: str | None = None
    release: int | None = None
    expires: datetime | None = None
    url: str | None = None
    payload: Path | None = None
    """Where the file for `url` is to be written."""
    wait_s: float = 120.0
    chunk_bytes: int = MAX_CHUNK_BYTES


def publish(path: Path, ways: Sequence[Mqtt], options: PublishOptions, *, json: bool) -> int:
    """Returns 0 where every connected follower that it is for reads with it."""
    bundle = read_bundle(path)
    key = SigningKey.load(options.key) if options.key is not None else None
    if key is None and (options.target or options.release is not None or options.expires or options.url):
        raise Problem("What is signed can't be changed: give --key to sign it anew.")
    session = _Session(bundle, key, options, json=json)
    lost_at: float | None = None
    breaks = 0
    while True:
        before = session.progress
        try:
            with MqttClient.open(ways) as client:
                return session.run(client)
        except ConnectionLost as error:
            lost_at, why = time.monotonic(), str(error)
            breaks = 0 if session.progress > before else breaks + 1
            if breaks >= MOST_BREAKS:
                raise Problem(
                    f"{why} It happens again and again: see that the broker lets this user "
                    f"publish below {ROOT} (its ACL) and takes packets of "
                    f"{MAX_CHUNK_BYTES >> 10} KiB, else give --chunk-kib."
                ) from None
        except Problem as error:
            if lost_at is None or time.monotonic() - lost_at > RETRY_S or session.is_connected:
                raise
            why = str(error)
        session.say(f"{why} Trying again.")
        time.sleep(1.0)


def withdraw_release(name: str, ways: Sequence[Mqtt], *, json: bool) -> int:
    with MqttClient.open(ways) as client:
        cleared = withdraw(client, name)
    if json:
        print_json({"withdrawn": name, "topics": cleared})
    else:
        say(f"{name}: " + (f"{cleared} topics cleared" if cleared else "nothing stood there"))
    return 0


class _Session:
    """One publication, over as many connections as it takes."""

    def __init__(
        self, bundle: Bundle, key: SigningKey | None, options: PublishOptions, *, json: bool
    ) -> None:
        self._bundle, self._key, self._options, self._json = bundle, key, options, json
        self._early: list[Received] = []
        self._responses: CarResponses | None = None
        self._publication: Publication | None = None
        self._told: dict[str, tuple[object, ...]] = {}
        self._since = 0.0
        self._most_placed = 0
        self.progress = 0
        """Grows with each connection on which more has come about than on those before."""
        self.is_connected = False

    def say(self, sentence: str) -> None:
        if not self._json:
            say(sentence)

    def run(self, client: MqttClient) -> int:
        """Raises ConnectionLost, Problem."""
        self.is_connected = True
        try:
            return self._run(client)
        except ConnectionLost:
            self.is_connected = False
            raise

    def _run(self, client: MqttClient) -> int:
        retained = look(client, self._bundle.manifest.name, PATTERNS, self._hear)
        publication = self._publication or self._prepare(retained, largest_chunk(client))
        placed = len([digest for digest, _ in retained.chunks if digest == publication.digest])
        if placed > self._most_placed:
            self._most_placed = placed
            self.progress += 1
        publication.put(client, retained)
        self.progress += 1
        manifest = publication.bundle.manifest
        self.say(
            f"{manifest.name} {manifest.version}, release {manifest.release}, for {manifest.target}: "
            f"offered on {ROOT}{manifest.name}/offer as {publication.digest[:12]}"
        )
        return self._watch(client, retained, publication)

    def _prepare(self, retained: RetainedModel, chunk_bytes: int) -> Publication:
        bundle, options = self._bundle, self._options
        if self._key is not None:
            release = options.release
            if release is None:
                release = max(
                    bundle.manifest.release,
                    next_release(
                        (retained.standing, retained.withdrawn),
                        reported_releases(bundle.manifest.name, self._early),
                        self._key,
                    ),
                )
            bundle = release_of(
                bundle,
                self._key,
                release=release,
                target=options.target,
                expires=options.expires,
                url=options.url,
            )
        if bundle.manifest.has_expired(datetime.now(UTC)):
            raise Problem(
                f"{bundle.manifest.name} {bundle.manifest.version} has expired: no car would take it."
            )
        if options.payload is not None:
            write_output(options.payload, payload_of(bundle))
        self._publication = Publication(
            bundle, chunk_bytes=min(chunk_bytes, options.chunk_bytes), heard=self._hear
        )
        self._responses = CarResponses(bundle.manifest.name, bundle.digest)
        early, self._early = self._early, []
        for came in early:
            self._responses.take(came)
        self._since = time.monotonic()
        return self._publication

    def _hear(self, came: Received) -> None:
        if self._responses is None:
            self._early.append(came)
        elif (response := self._responses.take(came)) is not None:
            self._show(response)

    def _show(self, response: CarResponse) -> None:
        facts = (response.verdict, response.step, response.reason)
        if not response.verdict or not response.follows or self._told.get(response.car) == facts:
            return
        self._told[response.car] = facts
        if self._json:
            print_json(_as_dict(response))
        else:
            say(f"{response.car}: {_words(response)}")

    def _watch(self, client: MqttClient, retained: RetainedModel, publication: Publication) -> int:
        responses = self._responses
        assert responses is not None
        while True:
            publication.hear(client, retained, 0.2)
            passed_s = time.monotonic() - self._since
            if publication.superseded(retained):
                raise Problem(f"Another offer of {publication.name} stands now: somebody else published one.")
            if (not responses.awaited and passed_s > SETTLE_S) or passed_s > self._options.wait_s:
                return self._end(responses)

    def _end(self, responses: CarResponses) -> int:
        followers = [each for each in responses.by_car.values() if each.follows]
        here = [each for each in followers if each.here and each.reason != ErrorCode.NOT_FOR_THIS_CAR]
        taken = [each for each in here if each.verdict == "taken"]
        silent = sorted(each.car for each in responses.awaited)
        away = sorted(each.car for each in responses.away)
        if self._json:
            manifest = self._publication.bundle.manifest if self._publication is not None else None
            print_json(
                {
                    "digest": responses.digest,
                    "release": manifest.release if manifest is not None else None,
                    "taken": sorted(each.car for each in taken),
                    "not_taken": sorted(each.car for each in here if each.verdict == "refused"),
                    "awaited": silent,
                    "away": away,
                }
            )
        elif not followers:
            say(f"No car that follows {responses.name} is known here (models.follow of the cars' settings).")
        else:
            say(f"{len(taken)} of {len(here)} connected followers read with it now.")
        if silent:
            self.say(
                f"No last word from {', '.join(silent)} yet: the offer stands, they go on by themselves."
            )
        if away:
            self.say(f"Not connected: {', '.join(away)}. They take it when they are back.")
        return 0 if len(taken) == len(here) else 1


def _as_dict(response: CarResponse) -> dict[str, object]:
    return {
        "car": response.car,
        "verdict": response.verdict,
        "step": response.step,
        "percent": response.percent,
        "reason": response.reason,
        "sentence": response.sentence,
    }


def _words(response: CarResponse) -> str:
    if response.verdict == "taken":
        return "reads with it"
    if response.verdict == "refused":
        return f"not taken ({response.reason}): {response.sentence}"
    said = f" ({response.reason}): {response.sentence}" if response.reason else ""
    return f"{response.step or 'has seen it'}{said}"
