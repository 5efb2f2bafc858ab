"""Cars that have a model are sent back to the one before, and follow again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from messages.command import Reply
from messages.message import new_ulid
from tools.fleet.fleet_state import FleetCar, FleetState
from tools.fleet.health import Baseline, CarCondition
from tools.fleet.rollout_messages import RolloutMessages
from tools.publish.mqtt_client import MqttClient, Received

REPLIES = "smartcar/+/reply/model/+"
ASK_AGAIN_S = 10.0
WITHIN_S = 120.0
_AGAIN = frozenset({"no-answer", "busy", "rate-limited"})


class Rollback:
    """`step` asks what is to be asked; `heard` takes what comes on REPLIES. Cars that are off are left.

    `to_go_back` were asked already, perhaps, by a process that was killed.
    """

    def __init__(
        self,
        digest: str,
        before: Mapping[str, Baseline],
        to_go_back: Iterable[str],
        fleet: FleetState,
        messages: RolloutMessages,
    ) -> None:
        self.back: set[str] = set()
        """Cars that went back."""
        self.left: dict[str, str] = {}
        """Cars that still have it, or are still pinned, and why."""
        self._digest, self._before, self._fleet, self._messages = digest, before, fleet, messages
        self._began = fleet.clock()
        self._to_go_back = set(to_go_back)
        self._asked: dict[tuple[str, str], float] = {}
        self._ids: dict[str, str] = {}
        self._freed: set[str] = set()

    def heard(self, came: Received) -> bool:
        """Whether it was an answer. A car's refusal is its last word, unless it may be asked again."""
        parts = came.topic.split("/")
        if len(parts) != 5 or parts[2] != "reply":
            return False
        try:
            reply = Reply.model_validate_json(came.payload)
        except ValidationError:
            return True
        car = self._ids.get(reply.id)
        if car == parts[1] and reply.error is not None and reply.error.code not in _AGAIN:
            self.left[car] = f"{reply.error.code}: {reply.error.message}"
        return True

    def step(self, client: MqttClient) -> bool:
        """Whether nothing is left to do. Raises ConnectionLost."""
        now = self._fleet.clock()
        over = now - self._began > WITHIN_S
        pending = False
        for car in self._fleet.cars.values():
            if not self._is_concerned(car) or car.name in self.left:
                continue
            assert car.model is not None
            condition = CarCondition.at(car, self._digest, now, self._fleet.listening_since)
            if condition.active == self._digest or (
                not condition.on and car.model.active.digest == self._digest
            ):
                if not condition.on:
                    continue
                self._to_go_back.add(car.name)
                self._ask_back(client, car, now)
                pending = True
            elif condition.on and self._is_on_its_way(car):
                pending = True  # on trial: it has to end first
            elif condition.on and car.name in self._to_go_back and car.name not in self._freed:
                self._went_back(client, car, now)
                pending = pending or car.name not in self._freed
        if pending and not over:
            return False
        for name in self.back - self._freed:
            self.left.setdefault(name, "it went back, but is pinned still")
        for car in self._fleet.cars.values():
            if self._is_concerned(car) and car.model and car.model.active.digest == self._digest:
                away = car.away or car.state(now, self._fleet.listening_since) == "silent"
                self.left.setdefault(car.name, "it is off" if away else "it has not gone back in time")
        return True

    def _is_concerned(self, car: FleetCar) -> bool:
        """Whether it got the model by the rollout."""
        before = self._before.get(car.name)
        return car.model is not None and before is not None and before.digest != self._digest

    def _is_on_its_way(self, car: FleetCar) -> bool:
        assert car.model is not None
        trial = car.model.trial is not None and car.model.trial.digest == self._digest
        own = car.progress is not None and car.progress.change == car.model.change
        return trial or bool(
            car.model.change and own and car.progress and car.progress.model
            and car.progress.model.digest == self._digest
        )  # fmt: skip

    def _ask_back(self, client: MqttClient, car: FleetCar, now: float) -> None:
        assert car.model is not None
        previous, before = car.model.previous, self._before.get(car.name, Baseline()).digest
        if before and before != self._digest and (previous is None or previous.digest != before):
            self._ask(client, car, "activate", now, model=before)
        else:
            self._ask(client, car, "rollback", now)

    def _went_back(self, client: MqttClient, car: FleetCar, now: float) -> None:
        """A rollback pins; it wasn't pinned before, so it follows again."""
        assert car.model is not None
        if car.name not in self.back:
            self.back.add(car.name)
            self._messages.back(car.name)
        if car.model.pinned:
            self._ask(client, car, "unpin", now)
        else:
            self._freed.add(car.name)

    def _ask(self, client: MqttClient, car: FleetCar, verb: str, now: float, **arguments: str) -> None:
        kind = "unpin" if verb == "unpin" else "rollback"
        if now - self._asked.get((car.name, kind), float("-inf")) < ASK_AGAIN_S:
            return
        self._asked[car.name, kind] = now
        command_id = new_ulid()
        self._ids[command_id] = car.name
        content = json.dumps({"id": command_id, **arguments}).encode()
        client.publish([(f"smartcar/{car.name}/cmd/model/{verb}", content)], retain=False)
