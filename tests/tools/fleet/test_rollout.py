"""Rollouts on a real broker, to simulated cars: the cars' own bridges and updaters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.bundle.archive import pack
from models.bundle.bundle import Bundle
from models.bundle.keys import SigningKey
from services.config import Mqtt
from tests.conftest import REPOSITORY, wait_for
from tests.models.making import rewritten
from tests.services.bridge.kit import Mosquitto, find_mosquitto
from tests.services.processes import environment
from tests.tools.car import command, objects
from tools.fleet.fleet_state import PATTERNS, FleetState
from tools.fleet.rollout_note import standing_release
from tools.fleet.simulated_fleet import SimulatedFleet, SimulationSettings, simulated_fleet
from tools.publish.mqtt_client import MqttClient
from tools.publish.publication import look

OPTIONS = ("--settle", "0.5", "--grace", "1.5", "--patience", "30", "--json")


class Fleet:
    """Four simulated cars, a key that they trust, and what one sees of them."""

    def __init__(self, broker: Mosquitto, root: Path) -> None:
        self.broker, self.root = broker, root
        self.mqtt = Mqtt(host="127.0.0.1", port=broker.port)
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

    def wait(self, fits: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
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
                "fleet", "rollout", subject, "--broker", f"127.0.0.1:{self.broker.port}",
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
            out, error = process.communicate(timeout=90)
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


@pytest.fixture
def fleet(tmp_path: Path, runtime: Path) -> Iterator[Fleet]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path)
    broker.start()
    made = Fleet(broker, runtime)
    yield made
    made.close()
    broker.stop()


CARS = ("car1", "car2", "car3", "car10")


@pytest.fixture
def cars(fleet: Fleet) -> Iterator[SimulatedFleet]:
    with simulated_fleet(fleet.settings(*CARS)) as running:
        fleet.wait_ready(*CARS)
        yield running


def waves(said: list[dict[str, Any]]) -> list[list[str]]:
    return [each["cars"] for each in said if each["event"] == "wave"]


def test_all_is_well_and_then_a_bad_model_comes(fleet: Fleet, cars: SimulatedFleet) -> None:
    code, said = fleet.rolled_out(fleet.bundle("2.0.0"), "--waves", "1,50%,all")
    assert waves(said) == [["car1"], ["car2"], ["car3", "car10"]]
    assert (code, said[-1]["outcome"]) == (0, "done")
    assert said[-1]["healthy"] == list(CARS)
    assert fleet.offer()["cars"] is None
    fleet.wait_active(dict.fromkeys(CARS, "2.0.0"))

    # One that fails on trial stops at the first car. The offer before it stands again.
    code, said = fleet.rolled_out(fleet.bundle("3.0.0-fails"), "--rollback")
    assert waves(said) == [["car1"]]
    assert (code, said[-1]["outcome"], said[-1]["restored"]) == (1, "rolled_back", True)
    assert any("NaN" in each.get("reason", "") for each in said)
    fleet.wait_active(dict.fromkeys(CARS, "2.0.0"))
    assert fleet.offer()["cars"] is None


def test_a_model_with_which_no_frame_is_read_is_taken_back(fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings("car1", "car2", hertz=30)):
        fleet.wait_ready("car1", "car2")
        shipped = fleet.active("car1")
        code, said = fleet.rolled_out(fleet.bundle("2.0.0-blind"), "--rollback", "--waves", "1,all")
        assert (code, said[-1]["outcome"], said[-1]["back"]) == (1, "rolled_back", ["car1"])
        assert any("frames a second" in each.get("reason", "") for each in said)
        # It is not left pinned, and nobody else took it.
        fleet.wait_active({"car1": shipped, "car2": shipped})
        assert fleet.offer() == {}


def test_a_car_that_is_off_takes_it_later_and_a_pinned_one_never(fleet: Fleet) -> None:
    off = SimulatedFleet(fleet.settings("car1"))
    with simulated_fleet(fleet.settings("car2", "car3")):
        fleet.wait_ready("car1", "car2", "car3")
        off.stop()
        fleet.send("car2", "pin")
        fleet.wait_active({"car2": fleet.active("car3") + " pinned"})
        code, said = fleet.rolled_out(fleet.bundle("2.0.0"), "--waves", "1,all")
        assert waves(said) == [["car3"], []]
        end = said[-1]
        assert (code, end["healthy"], end["off"], end["left_out"]) == (0, ["car3"], ["car1"], ["car2"])
        with simulated_fleet(fleet.settings("car1")):
            fleet.wait_active({"car1": "2.0.0", "car3": "2.0.0"})
            assert fleet.active("car2").endswith("pinned")


def test_killed_in_the_middle_it_goes_on_from_the_offer(fleet: Fleet, cars: SimulatedFleet) -> None:
    rollout = fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,2,all", "--settle", "3")
    fleet.wait_active({"car1": "2.0.0"})
    rollout.kill()
    rollout.communicate()
    assert fleet.offer()["cars"] == ["car1"]
    # By its bundle it is known again, though it would be signed anew; by its name on a PC without it, too.
    rollout = fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,2,all", "--settle", "1")
    fleet.wait_active({"car1": "2.0.0", "car2": "2.0.0"})
    rollout.kill()
    rollout.communicate()
    assert fleet.offer()["cars"] == ["car1", "car2"]
    code, said = fleet.rolled_out("digits", "--waves", "1,2,all")
    assert said[0]["event"] == "resume"
    assert waves(said) == [["car3", "car10"]]
    assert (code, said[-1]["healthy"]) == (0, list(CARS))


def test_killed_and_gone_on_with_it_still_knows_what_stood_before(fleet: Fleet) -> None:
    """The former offer stands again as it did, with all its chunks; those go once a rollout is done."""
    with simulated_fleet(fleet.settings("car1", "car2", hertz=30)):
        fleet.wait_ready("car1", "car2")
        code, said = fleet.rolled_out(fleet.bundle("2.0.0"), "--waves", "all")
        assert code == 0
        first = int(said[0]["model"].split()[-1])
        former = fleet.offer()["digest"]
        rollout = fleet.rollout(fleet.bundle("3.0.0-blind"), "--waves", "1,all", "--settle", "60")
        fleet.wait_active({"car1": "3.0.0-blind"})
        rollout.kill()
        rollout.communicate()
        code, said = fleet.rolled_out("digits", "--waves", "1,all", "--rollback")
        assert (code, said[-1]["outcome"], said[-1]["restored"]) == (1, "rolled_back", True)
        fleet.wait_active({"car1": "2.0.0", "car2": "2.0.0"})
        assert fleet.offer()["digest"] == former
        assert fleet.releases() == {former}
        assert fleet.is_whole()
        # The release that was taken back is not counted again, and with the next one the former goes.
        code, said = fleet.rolled_out(fleet.bundle("4.0.0"), "--waves", "all")
        assert (code, said[0]["model"]) == (0, f"digits 4.0.0, release {first + 2}")
        assert fleet.releases() == {fleet.offer()["digest"]}


def test_chosen_cars_and_a_stop(fleet: Fleet, cars: SimulatedFleet) -> None:
    code, said = fleet.rolled_out(fleet.bundle("2.0.0"), "--waves", "1,all", "--cars", "car10,car2")
    assert waves(said) == [["car10"], ["car2"]]
    assert (code, fleet.offer()["cars"]) == (0, ["car10", "car2"])
    assert fleet.active("car1") != "2.0.0"
    code, said = fleet.rolled_out(fleet.bundle("3.0.0-sick"), "--waves", "2,all", "--max-failures", "1")
    assert (code, said[-1]["outcome"]) == (1, "stopped")
    assert said[-1]["failed"] == ["car1", "car2"]
    assert fleet.offer() == {}
    assert fleet.active("car10") == "2.0.0"


def test_a_broker_that_dies_and_forgets_all_in_the_middle(fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings("car1", "car2")):
        fleet.wait_ready("car1", "car2")
        with fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,all", "--settle", "4") as rollout:
            fleet.wait_active({"car1": "2.0.0"})
            fleet.broker.kill()
            fleet.broker.start()
            out, error = rollout.communicate(timeout=90)
        said = objects(out)
        assert (rollout.returncode, said[-1]["healthy"]) == (0, ["car1", "car2"]), (out, error)
        assert waves(said) == [["car1"], ["car2"]]
        assert fleet.offer()["cars"] is None


def test_killed_while_cars_go_back_it_sees_that_through(fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings("car1", "car2", hertz=30), per_process=1) as running:
        fleet.wait_ready("car1", "car2")
        shipped = fleet.active("car1")
        options = ("--waves", "2,all", "--rollback", "--grace", "3")
        with fleet.rollout(fleet.bundle("2.0.0-blind"), *options) as rollout:
            fleet.wait_active({"car1": "2.0.0-blind", "car2": "2.0.0-blind"})
            os.kill(running.pids[1], signal.SIGSTOP)  # it hears nothing now
            fleet.wait(lambda: fleet.active("car1") == shipped, "car1 to go back")
            rollout.kill()
        assert fleet.offer()["cars"] == []
        os.kill(running.pids[1], signal.SIGCONT)
        code, said = fleet.rolled_out("digits")
        assert (code, said[-1]["outcome"], said[-1]["left"]) == (1, "rolled_back", {})
        fleet.wait_active({"car1": shipped, "car2": shipped})
        assert fleet.offer() == {}


def test_another_publisher_has_the_last_word(fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings("car1", "car2")):
        fleet.wait_ready("car1", "car2")
        with fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,all", "--settle", "60") as first:
            fleet.wait_active({"car1": "2.0.0"})
            code, said = fleet.rolled_out(fleet.bundle("3.0.0"), "--waves", "all")
            assert (code, said[-1]["healthy"]) == (0, ["car1", "car2"])
            _, error = first.communicate(timeout=30)
        assert first.returncode == 1
        assert "another offer of digits stands now" in error


def test_what_is_no_rollout_is_said_in_a_sentence(fleet: Fleet) -> None:
    for subject, options in (("nothing", ()), (fleet.bundle("2.0.0"), ("--waves", "3,1"))):
        with fleet.rollout(subject, *options) as process:
            _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.startswith("smartcar: ")
        assert error.count("\n") == 1
