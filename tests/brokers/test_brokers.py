"""Each row of the table of brokers in docs/mqtt.md, on that broker: a car, a command, a fleet, a rollout."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq

from tests.brokers.running import BROKERS, Balancer, BrokerMissing, rabbit_cluster
from tests.conftest import REPOSITORY, wait_for
from tests.services.bridge.kit import Bridge, Client, Producer, sequences
from tests.tools.car import objects, smartcar
from tests.tools.fleet.simulated import Fleet
from tools.doctor.fleet_broker import missing
from tools.fleet.simulated_fleet import simulated_fleet
from tools.publish.mqtt_client import MqttClient

pytestmark = pytest.mark.brokers

CARS = ("car1", "car2", "car3")
_ROW = re.compile(r"^\| (?P<broker>[^|]+?) \|(?P<cells>.*)\|$", re.MULTILINE)


def rows() -> dict[str, list[str]]:
    """Of the table, by broker: the version of MQTT, by wildcard, the rest."""
    page = (REPOSITORY / "docs" / "mqtt.md").read_text(encoding="utf-8")
    table = page.partition("## What works with which broker")[2].partition("\n## ")[0]
    found = {
        each["broker"]: [cell.strip() for cell in each["cells"].split("|")] for each in _ROW.finditer(table)
    }
    return {name: cells for name, cells in found.items() if cells[0] in ("5", "3.1.1")}


@contextmanager
def running(name: str, folder: Path) -> Iterator[int]:
    try:
        broker = BROKERS[name](folder)
        port = broker.__enter__()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    try:
        yield port
    finally:
        broker.__exit__(None, None, None)


def test_each_broker_has_its_row() -> None:
    assert {re.sub(r" \d.*", "", name) for name in rows()} == {*BROKERS, "RabbitMQ, three nodes"}


@pytest.mark.parametrize("row", [row for row in rows() if "nodes" not in row])
def test_what_the_table_says_of_a_broker_is_so(
    row: str, context: zmq.Context[zmq.Socket[bytes]], runtime: Path, tmp_path: Path
) -> None:
    version, by_wildcard, *works = rows()[row]
    assert works == ["yes"] * len(works), "what doesn't work is to be said and tested"
    with running(re.sub(r" \d.*", "", row), tmp_path) as port:
        fleet = Fleet(port, runtime)
        try:
            with MqttClient.open([fleet.mqtt]) as client:
                assert (client.mqtt.protocol, "yes" if client.hands_out_by_wildcard else "no") == (
                    version,
                    by_wildcard,
                )
            lacking = [each.sentence for each in missing(fleet.mqtt, "smartcar/doctor/")]
            assert [("by a pattern" in each) for each in lacking] == [True] * (by_wildcard == "no")
            a_car_works(context, runtime / "car", tmp_path, port)
            a_fleet_is_listed_and_rolled_out_to(fleet)
        finally:
            fleet.close()


def a_car_works(context: zmq.Context[zmq.Socket[bytes]], runtime: Path, folder: Path, port: int) -> None:
    """Events, each; a command and its answer; what is retained, and the last will."""
    producer, bridge = Producer(folder / "state"), Bridge(context, runtime, folder / "state", port=port)
    try:
        with Client(port).subscribe("#") as desk:
            producer.write(50)
            bridge.start()
            wait_for(lambda: set(sequences(desk)) == set(range(1, 51)), 60, "all events")
            bridge.wait("ready", within_s=60)
            desk.publish("cmd/capture/snapshot", '{"id": "1"}')
            assert json.loads(desk.wait("reply/capture/snapshot").payload)["error"]["code"] == "not-allowed"
            with Client(port).subscribe("status") as late:
                assert late.wait("status").retain, "the status stands retained"
            bridge.kill()
            desk.wait("status", lambda each: b'"lost"' in each.payload)
    finally:
        bridge.close()
        producer.close()


def a_fleet_is_listed_and_rolled_out_to(fleet: Fleet) -> None:
    with simulated_fleet(fleet.settings(*CARS)):
        fleet.wait(lambda: all(fleet.state(car) == "ready" for car in CARS), "the cars", 60)
        listed = smartcar(fleet.root, "fleet", "--broker", f"127.0.0.1:{fleet.mqtt.port}", "--json")
        cars = {each["car"]: each["state"] for each in objects(listed.stdout)}
        assert {car: cars.get(car) for car in CARS} == dict.fromkeys(CARS, "ready"), listed.stderr
        for version in ("2.0.0", "3.0.0"):
            code, said = fleet.rolled_out(fleet.bundle(version), "--waves", "1,all")
            assert (code, said[-1]["outcome"]) == (0, "done"), said
            fleet.wait_active(dict.fromkeys(CARS, version))


def test_a_node_of_a_cluster_stops_in_the_middle_of_a_rollout(tmp_path: Path, runtime: Path) -> None:
    """Cars and tool come in through a balancer; who was on that node comes back on another."""
    cars = tuple(f"car{number}" for number in range(1, 7))
    try:
        cluster = rabbit_cluster(tmp_path, 3)
        nodes = cluster.__enter__()
    except BrokerMissing as missing:
        pytest.skip(str(missing))
    balancer = Balancer([node.port for node in nodes])
    fleet = Fleet(nodes[0].port, runtime)
    fleet.mqtt = fleet.mqtt.model_copy(update={"port": balancer.port})
    try:
        with simulated_fleet(fleet.settings(*cars)):
            fleet.wait(lambda: all(fleet.state(car) == "ready" for car in cars), "the cars", 90)
            with fleet.rollout(fleet.bundle("2.0.0"), "--waves", "1,3,all", "--settle", "5") as tool:
                fleet.wait(lambda: any(fleet.active(car) == "2.0.0" for car in cars), "the first car", 90)
                nodes[2].stop()
                try:
                    out, error = tool.communicate(timeout=300)
                finally:
                    tool.send_signal(signal.SIGKILL)
            assert "Traceback" not in error, error
            assert (tool.returncode, objects(out)[-1]["outcome"]) == (0, "done"), out
            assert objects(out)[-1]["healthy"] == list(cars)
            fleet.wait_active(dict.fromkeys(cars, "2.0.0"))
    finally:
        fleet.close()
        balancer.close()
        cluster.__exit__(None, None, None)
