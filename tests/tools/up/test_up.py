"""`smartcar up` with real services, a real broker and real signals."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from messages.lock import OwnerLock
from services.catalogue import SERVICES
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.processes import environment
from tests.tools.car import Car, command, objects, running_car, smartcar


@pytest.fixture(scope="module")
def car() -> Iterator[Car]:
    """One car for the tests that leave it as they found it."""
    folder = Path(tempfile.mkdtemp(prefix="sc-", dir="/tmp"))
    with running_car(folder) as car:
        car.wait_ready()
        yield car
    shutil.rmtree(folder, ignore_errors=True)


# what it says


def test_it_prints_where_the_page_is_and_how_to_subscribe(car: Car) -> None:
    printed = car.wait_printed("Page ")
    address = (car.runtime / "run" / "overlay" / "address").read_text().strip()
    assert address in printed
    assert "token=" in address
    assert "mosquitto_sub -h 127.0.0.1 -p " in printed
    assert "'smartcar/+/event/#'" in printed


def test_it_prints_each_service_as_it_becomes_ready(car: Car) -> None:
    for name in SERVICES:
        car.wait_printed(f"  {name:<12}ready\n")


def test_what_is_not_a_terminal_gets_no_colours(car: Car) -> None:
    assert "\x1b" not in car.printed


def test_the_bridge_speaks_to_the_embedded_broker(car: Car) -> None:
    printed = car.printed.split("mosquitto_sub -h 127.0.0.1 -p ")[1]
    port = int(printed.split()[0])
    socket.create_connection(("127.0.0.1", port)).close()
    assert str(port) in str(car.status()["bridge"]["details"])


# the commands that look at it


def test_status_tells_every_service_and_succeeds_while_all_is_well(car: Car) -> None:
    answer = smartcar(car.runtime, "status", "--json")
    rows = objects(answer.stdout)
    assert answer.returncode == 0
    assert [row["service"] for row in rows] == list(SERVICES)
    for row in rows:
        assert row["state"] == "ready"
        assert str(row["pid"]) in os.listdir("/proc")
        assert row["uptime_s"] > 0
    assert rows[0]["rates"]["frames"] > 0
    assert "token=" in next(row for row in rows if row["service"] == "overlay")["details"]["page"]


def test_status_for_people_names_services_page_and_memory(car: Car) -> None:
    answer = smartcar(car.runtime, "status")
    for name in SERVICES:
        assert name in answer.stdout
    assert "page: http://" in answer.stdout
    assert "memory: " in answer.stdout


def test_top_shows_once_where_nobody_looks(car: Car) -> None:
    answer = smartcar(car.runtime, "top")
    assert answer.returncode == 0
    assert {"restarts", "CPU", "memory", "lost"} <= set(answer.stdout.splitlines()[0].split())
    for name in SERVICES:
        assert name in answer.stdout
    assert "model: digits" in answer.stdout
    assert "broker: 127.0.0.1:" in answer.stdout


def test_top_as_json_is_one_object_with_the_whole_car_and_no_token(car: Car) -> None:
    [whole] = objects(smartcar(car.runtime, "top", "--json", "--once").stdout)
    assert [row["service"] for row in whole["services"]] == list(SERVICES)
    assert whole["model"].startswith("digits")
    assert whole["backlog"] >= 0
    assert set(whole["board"]) == {"model", "serial", "temperature_c", "under_voltage", "throttled"}
    assert "token" not in json.dumps(whole)


def test_top_is_live_in_a_terminal_and_q_ends_it(car: Car) -> None:
    mine, its = pty.openpty()
    before = termios.tcgetattr(its)
    process = subprocess.Popen(
        command("top"),
        cwd=REPOSITORY,
        env=environment(car.runtime) | {"TERM": "xterm"},
        stdin=its,
        stdout=its,
    )
    seen = b""

    def twice() -> bool:
        nonlocal seen
        if select.select([mine], [], [], 0.1)[0]:
            seen += os.read(mine, 1 << 16)
        return seen.count(b"q ends") >= 2

    try:
        wait_for(twice, what="two pictures")
        os.write(mine, b"q")
        wait_for(lambda: twice() and process.poll() is not None, what="the end")
        assert process.returncode == 0
        assert termios.tcgetattr(its) == before
    finally:
        process.kill()
        process.wait()
        os.close(mine)
        os.close(its)


def test_watch_prints_messages_as_json(car: Car) -> None:
    answer = smartcar(car.runtime, "watch", "frame", "--json", "--count", "3")
    frames = objects(answer.stdout)
    assert [frame["topic"] for frame in frames] == ["frame"] * 3
    assert frames[0]["frame_id"] < frames[2]["frame_id"]


def test_watch_of_all_topics_hears_more_than_one(car: Car) -> None:
    answer = smartcar(car.runtime, "watch", "--json", "--count", "40")
    assert {"frame", "reading", "health"} <= {message["topic"] for message in objects(answer.stdout)}


def test_events_shows_what_was_read(car: Car) -> None:
    def events() -> list[dict[str, object]]:
        return objects(smartcar(car.runtime, "events", "--json").stdout)

    event = wait_for(events)[0]
    assert event["phase"] in ("new", "update", "end")
    assert set(str(event["text"])) <= set("0123456789?")


def test_send_carries_a_command_to_its_service(car: Car, tmp_path: Path) -> None:
    picture = tmp_path / "snapshot.jpg"
    answer = smartcar(car.runtime, "send", "capture.snapshot", "--output", str(picture))
    assert answer.returncode == 0, answer.stderr
    assert picture.read_bytes()[:3] == b"\xff\xd8\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.jpg"]


def test_send_says_why_a_command_was_refused(car: Car) -> None:
    answer = smartcar(car.runtime, "send", "capture.source", "name=nowhere")
    assert answer.returncode == 1
    assert "No source is called nowhere" in answer.stderr


def test_a_second_car_on_the_same_folder_is_refused_and_names_the_first(car: Car) -> None:
    answer = smartcar(car.runtime, "up")
    assert answer.returncode == 1
    assert f"process {car.process.pid}" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert all(row["state"] == "ready" for row in car.status().values())


# what happens to its services


def test_a_killed_service_comes_back_and_the_others_go_on(car: Car) -> None:
    before = car.wait_ready()
    os.kill(before["recognizer"]["pid"], signal.SIGKILL)

    def back() -> bool:
        now = car.status()["recognizer"]
        return bool(now["state"] == "ready" and now["pid"] != before["recognizer"]["pid"])

    wait_for(back, what="the recognizer is back")
    after = car.status()
    assert after["recognizer"]["restarts"] == before["recognizer"]["restarts"] + 1
    for name in ("capture", "overlay", "bridge"):
        assert after[name]["pid"] == before[name]["pid"]
        assert after[name]["restarts"] == before[name]["restarts"]
    car.wait_printed("recognizer  degraded: killed by SIGKILL")


def test_a_service_that_hangs_is_replaced_and_one_that_keeps_crashing_is_given_up(runtime: Path) -> None:
    with running_car(runtime) as car:
        before = car.wait_ready()
        os.kill(before["capture"]["pid"], signal.SIGSTOP)
        crashed = before["bridge"]["pid"]

        def crash_it_once_more() -> bool:
            nonlocal crashed
            pids = [pid for pid, line in car.processes().items() if "tools.up.service_process bridge" in line]
            for pid in pids:
                if pid != crashed or crashed == before["bridge"]["pid"]:
                    os.kill(pid, signal.SIGSEGV)
                    crashed = pid
            return "bridge      failed: ended more than 5 times" in car.printed

        wait_for(crash_it_once_more, what="the bridge is given up")
        after = car.wait_states(capture="ready", bridge="failed", recognizer="ready", overlay="ready")
        assert "SIGSEGV" in after["bridge"]["reason"]
        assert after["capture"]["pid"] not in (None, before["capture"]["pid"])
        car.wait_printed("capture     degraded: it hung")
        assert car.stop() == 0
        assert car.left_behind() == []


# how it ends


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_a_stopped_car_leaves_no_process_socket_or_ring(runtime: Path, number: signal.Signals) -> None:
    with running_car(runtime) as car:
        car.wait_ready()
        assert len(car.processes()) >= len(SERVICES) + 2  # the car itself and capture's reader
        assert car.left_behind()
        assert car.stop(number) == 0
        assert car.processes() == {}
        assert car.left_behind() == []


def test_a_killed_car_takes_its_services_along_and_the_next_one_starts(runtime: Path) -> None:
    with running_car(runtime) as car:
        car.wait_ready()
        car.process.kill()
        car.process.wait()
        wait_for(lambda: not car.processes(), what="no orphan")
    with running_car(runtime) as car:
        car.wait_ready()
        assert car.stop() == 0
        assert car.left_behind() == []


def test_a_service_that_does_not_stop_is_killed_after_all(runtime: Path) -> None:
    with running_car(runtime) as car:
        hung = car.wait_ready()["overlay"]["pid"]
        os.kill(hung, signal.SIGSTOP)
        assert car.stop() == 0
        assert "overlay did not stop and is killed" in car.printed
        assert car.processes() == {}
        assert car.left_behind() == []


def test_a_folder_of_ours_that_holds_something_else_keeps_it(runtime: Path) -> None:
    photo = runtime / "run" / "capture" / "holiday.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    with running_car(runtime) as car:
        car.wait_printed("capture     ready")
        assert car.stop() == 0
    assert photo.read_bytes() == b"mine"


# what can't work


def test_a_service_that_can_not_start_is_failed_with_the_reason_while_others_go_on(runtime: Path) -> None:
    missing = {"OVERLAY__CERT_FILE": "/no/such/cert.pem", "OVERLAY__KEY_FILE": "/no/such/key.pem"}
    with running_car(runtime, **missing) as car:
        seen = car.wait_states(recognizer="ready", overlay="failed")
        assert "overlay.cert_file" in seen["overlay"]["reason"]
        assert smartcar(runtime, "status").returncode == 1
        car.wait_printed("overlay     failed: ")


def test_where_nothing_can_be_kept_the_car_reads_and_says_so(runtime: Path) -> None:
    with running_car(runtime, PATHS__STATE="/dev/null/state") as car:
        seen = car.wait_states(capture="ready", recognizer="degraded", pad="degraded", updater="degraded")
        assert all("paths.state" in seen[name]["reason"] for name in ("recognizer", "pad", "updater"))
        car.wait_printed("reading ")


def test_a_source_that_is_not_there_is_said_and_nothing_falls_over(runtime: Path) -> None:
    with running_car(runtime, "--source", "folder:/no/such/folder") as car:
        seen = car.wait_states(capture="degraded", overlay="ready")
        assert "/no/such/folder" in seen["capture"]["reason"]
        car.wait_printed("capture     degraded: ")


def test_beside_services_that_run_already_it_ends_and_names_them(runtime: Path) -> None:
    locks = [OwnerLock(runtime / "run" / name / "lock", name) for name in SERVICES]
    with running_car(runtime) as car:
        assert car.process.wait(PATIENCE_S) == 1
        for name in SERVICES:
            assert f"{name} is already running here as process {os.getpid()}" in car.printed
        assert "No service is left" in car.printed
        assert car.processes() == {}
    for lock in locks:
        lock.remove()  # what isn't ours was left alone


def test_a_taken_broker_port_is_one_sentence(runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        answer = smartcar(runtime, "up", "--broker-port", str(other.getsockname()[1]))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1
    assert str(other) not in answer.stderr
    assert "choose another port" in answer.stderr


def test_an_embedded_broker_beside_a_configured_one_is_refused(runtime: Path) -> None:
    answer = smartcar(runtime, "up", "--broker-port", "0", MQTT__HOST="broker.example")
    assert answer.returncode == 1
    assert "mqtt.host is set to broker.example" in answer.stderr


def test_a_runtime_folder_too_long_for_sockets_is_one_sentence(runtime: Path) -> None:
    answer = smartcar(runtime, "up", "--broker-port", "0", PATHS__RUNTIME=str(runtime / ("long" * 25)))
    assert answer.returncode == 1
    assert "Choose a shorter one" in answer.stderr
    assert "Traceback" not in answer.stderr
