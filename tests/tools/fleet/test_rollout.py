"""Rollouts on a real broker, to simulated cars: the cars' own bridges and updaters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.bridge.kit import Mosquitto, find_mosquitto
from tests.tools.car import objects
from tests.tools.fleet.simulated import Fleet
from tools.fleet.simulated_fleet import SimulatedFleet, simulated_fleet


@pytest.fixture
def fleet(broker: Mosquitto, runtime: Path) -> Iterator[Fleet]:
    made = Fleet(broker.port, runtime)
    yield made
    made.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    if find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (apt install mosquitto)")
    broker = Mosquitto(tmp_path)
    broker.start()
    yield broker
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


def test_a_broker_that_dies_and_forgets_all_in_the_middle(broker: Mosquitto, fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings("car1", "car2")):
        fleet.wait_ready("car1", "car2")
        with fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,all", "--settle", "4") as rollout:
            fleet.wait_active({"car1": "2.0.0"})
            broker.kill()
            broker.start()
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
            _, error = first.communicate(timeout=60)
        assert first.returncode == 1
        assert "Another offer of digits stands now" in error


def test_what_is_no_rollout_is_said_in_a_sentence(fleet: Fleet) -> None:
    for subject, options in (("nothing", ()), (fleet.bundle("2.0.0"), ("--waves", "3,1"))):
        with fleet.rollout(subject, *options) as process:
            _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.startswith("smartcar: ")
        assert error.count("\n") == 1
