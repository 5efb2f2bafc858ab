"""Simulated cars on a broker, and what somebody who rolls out sees of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from services.config import Mqtt
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.models.making import rewritten
from tests.services.processes import environment
from tests.tools.car import command, objects
from tools.fleet.fleet_state import PATTERNS, FleetState
from tools.fleet.rollout_note import standing_release
from tools.fleet.simulated_fleet import SimulationSettings
from tools.publish.mqtt_client import MqttClient
from tools.publish.publication import look

OPTIONS = ("--settle", "0.5", "--grace", "1.5", "--patience", "30", "--json")


class Fleet:
    """Four simulated cars, a key that they trust, and what one sees of them."""

    def __init__(self, port: int, root: Path) -> None:
        self.root = root
        self.mqtt = Mqtt(host="127.0.0.1", port=port)
        self.key = SigningKey.generate()
        self._key_file = root / "key.pem"
        self.key.save(self._key_file)
        self._client = MqttClient(self.mqtt)
        self._fleet = FleetState()
        self._client.subscribe(*PATTERNS)

    def settings(self, *cars: str, hertz: int = 0) -> SimulationSettings:
        """Whose frames don't count needn't be waited for."""
        return SimulationSettings(
            cars=cars,
            root=str(self.root),
            mqtt=self.mqtt,
            trust=(self.key.public.text,),
            trial_s=0.2,
            metrics_s=0.5,
            hertz=hertz,
        )

    def wait(self, fits: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
        def so() -> bool:
            self._listen()
            return fits()

        wait_for(so, within_s, what)

    def _listen(self) -> None:
        while (came := self._client.received(0.02)) is not None:
            self._fleet.take(came.topic, came.payload, came.retained)

    def wait_ready(self, *cars: str) -> None:
        self.wait(lambda: all(self.state(car) == "ready" for car in cars), f"{cars} to be ready")

    def wait_active(self, versions: dict[str, str]) -> None:
        def so() -> bool:
            return {car: self.active(car) for car in versions} == versions

        self.wait(so, f"{versions}")

    def state(self, car: str) -> str:
        known = self._fleet.cars.get(car)
        return known.status.state if known is not None and known.status is not None else ""

    def active(self, car: str) -> str:
        """The version of its model; with a mark where it is pinned."""
        self._listen()
        known = self._fleet.cars.get(car)
        if known is None or known.model is None:
            return ""
        return known.model.active.version + (" pinned" if known.model.pinned else "")

    def bundle(self, version: str) -> str:
        """A zip of the shipped model as that version, not signed."""
        path = self.root / f"{version}.zip"
        if not path.exists():
            folder = rewritten(self.root / version, lambda each: each.update(version=version, name="digits"))
            path.write_bytes(pack(Bundle.load(folder)))
        return str(path)

    def rollout(self, subject: str, *options: str) -> subprocess.Popen[str]:
        """`smartcar fleet rollout`, running."""
        return subprocess.Popen(
            command(
                "fleet", "rollout", subject, "--broker", f"127.0.0.1:{self.mqtt.port}",
                "--key", str(self._key_file), *OPTIONS, *options,
            ),
            cwd=REPOSITORY,
            env=environment(self.root),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def rolled_out(self, subject: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and what was said, to its end."""
        with self.rollout(subject, *options) as process:
            out, error = process.communicate(timeout=180)
        assert "Traceback" not in error, error
        return process.returncode, objects(out)

    def send(self, car: str, verb: str) -> None:
        content = json.dumps({"id": f"test-{verb}"}).encode()
        self._client.publish([(f"smartcar/{car}/cmd/model/{verb}", content)], retain=False)

    def offer(self) -> dict[str, Any]:
        """What stands on the broker; empty: nothing."""
        with MqttClient(self.mqtt) as client:
            client.subscribe("smartcar/models/digits/offer")
            came = client.received(0.5)
        return json.loads(came.payload) if came is not None else {}

    def releases(self) -> set[str]:
        """The digests of which chunks stand on the broker."""
        with MqttClient(self.mqtt) as client:
            return {digest for digest, _ in look(client, "digits").chunks}

    def is_whole(self) -> bool:
        """Whether the offer that stands has all its chunks."""
        with MqttClient(self.mqtt) as client:
            return standing_release(client, "digits") is not None

    def close(self) -> None:
        self._client.close()
