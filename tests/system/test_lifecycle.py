"""A version after another: the newer runs or the older does again; and in the end nothing is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.catalogue import SERVICES
from tests.conftest import REPOSITORY
from tests.system.container import CHECKOUT, WHEELS, Container, container
from tests.system.installed import SETTINGS, Car, eventually, install

pytestmark = pytest.mark.system

COURSE_MODEL = REPOSITORY / "tests/models/importing/keras_files/course-keras2.h5"
DATA = "/home/pi/Smart_Car2/data"


def current(car: Car) -> str:
    return car.machine.run("readlink", "/opt/smartcar/current").stdout.strip()


def test_it_comes_back_with_the_next_boot_and_after_a_power_cut(fresh: Car) -> None:
    token = (fresh.machine.root / "var/lib/smartcar/overlay/token").read_text()
    fresh.machine.shut_down()
    fresh.machine.boot()
    fresh.wait_until_up()
    assert json.loads(fresh.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))
    fresh.machine.cut_power()
    fresh.machine.boot()
    fresh.wait_until_up()
    for service in SERVICES:
        fresh.wait_state(service, "ready")
    assert (fresh.machine.root / "var/lib/smartcar/overlay/token").read_text() == token


def test_the_same_again_changes_nothing(fresh: Car) -> None:
    owner, version = fresh.secret("owner-password"), current(fresh)
    authority = fresh.secret("ca.crt")
    said = install(fresh.machine)
    assert "building" not in said, "what is there is not built again"
    assert "https://" in said, "the page stays open"
    assert (fresh.secret("owner-password"), fresh.secret("ca.crt"), current(fresh)) == (
        owner,
        authority,
        version,
    )
    assert json.loads(fresh.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))


def test_an_upgrade_keeps_the_version_before_and_the_way_back(fresh: Car) -> None:
    first = current(fresh)
    said = install(fresh.machine, version="0.2.0")
    assert current(fresh).startswith("0.2.0-")
    assert f"back to {first}: sudo smartcar install --rollback" in said
    fresh.wait_until_up()
    assert fresh.machine.run("smartcar", "--version").stdout == "smartcar 0.2.0\n"
    fresh.machine.run("smartcar", "install", "--rollback", within_s=200)
    assert current(fresh) == first
    fresh.wait_until_up()
    assert json.loads(fresh.mosquitto_sub("-t", "smartcar/+/event/reading", "-C", "1"))


def test_a_version_that_does_not_run_gives_way_to_the_one_before(fresh: Car) -> None:
    first = current(fresh)
    fresh.machine.put_checkout("0.3.0")
    broken = fresh.machine.root / CHECKOUT[1:] / "services/pad/service.py"
    broken.write_text(f"{broken.read_text()}\nraise RuntimeError('this one is broken')\n")
    done = fresh.machine.run(f"{CHECKOUT}/install.sh", "--wheels", WHEELS, check=False, within_s=300)
    assert done.returncode == 1
    assert "smartcar-pad.service does not run" in done.stderr
    assert "this one is broken" in done.stderr
    assert (
        f"0.3.0-{done.stderr.partition('0.3.0-')[2][:8]} does not run here; going back to {first}"
        in done.stderr
    )
    assert current(fresh) == first
    fresh.wait_until_up()
    again = fresh.machine.run("smartcar", "install", "--rollback", check=False)
    assert "There is no version to go back to" in again.stderr


def test_an_installation_cut_short_leaves_what_runs_alone(fresh: Car) -> None:
    first, before = current(fresh), fresh.pids()
    fresh.machine.put_checkout("0.4.0")
    cut = f"timeout -s KILL 6 {CHECKOUT}/install.sh --wheels {WHEELS}"
    fresh.machine.run("sh", "-c", cut, check=False)
    assert (current(fresh), fresh.pids()) == (first, before)
    install(fresh.machine, version="0.4.0")
    assert current(fresh).startswith("0.4.0-")


def test_removed_nothing_is_left(installation: Path) -> None:
    with container(installation) as machine:
        machine.boot()
        machine.run("smartcar", "install", "--remove", "--yes", within_s=120)
        mine = machine.run(
            "find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-path", CHECKOUT, "-prune", "-o",
            "-iname", "*smartcar*", "-print", "-o", "-user", "smartcar", "-print", check=False,
        )  # fmt: skip
        left = [path for path in mine.stdout.splitlines() if path != CHECKOUT]
        assert left == []
        assert "smartcar" not in machine.run("cat", "/etc/passwd", "/etc/group").stdout
        units = machine.run("systemctl", "list-units", "--all", "--plain", "smartcar*").stdout
        assert "0 loaded units" in units
        assert machine.run("systemctl", "is-active", "mosquitto", check=False).stdout == "active\n"
        listening = machine.run("ss", "-Hltn").stdout
        assert "8883" not in listening
        assert "8080" not in listening


def test_removed_without_an_answer_data_stays(installation: Path) -> None:
    with container(installation) as machine:
        machine.boot()
        said = machine.run("smartcar", "install", "--remove", within_s=120)
        assert "/var/lib/smartcar and /etc/smartcar stay" in said.stdout
        assert (machine.root / "var/lib/smartcar/overlay/token").exists()
        assert not (machine.root / "opt/smartcar").exists()


def test_the_courses_model_is_taken_over(debian_machine: Container) -> None:
    folder = debian_machine.root / DATA[1:]
    folder.mkdir(parents=True)
    (folder / "model_trained.h5").write_bytes(COURSE_MODEL.read_bytes())
    debian_machine.run("chown", "-R", "pi:pi", "/home/pi/Smart_Car2")
    (folder / "model_trained.h5").chmod(0o640)
    folder.chmod(0o750)
    (debian_machine.root / "home/pi").chmod(0o700)
    install(debian_machine, settings=SETTINGS + "[models]\ntrial_seconds = 1\n")
    car = Car(debian_machine)
    car.wait_until_up()
    car.wait_state("updater", "ready", 60)
    table = ("smartcar", "model", "list", "--json")
    eventually(lambda: "model_trained.h5" in debian_machine.run(*table).stdout, "the model taken", 60)
    assert debian_machine.run("stat", "-c", "%U %a", f"{DATA}/model_trained.h5").stdout.startswith("pi ")
