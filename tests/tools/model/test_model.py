"""`smartcar model` and `smartcar keys`: on a PC, and with a running car."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from models.bundle.archive import read_archive
from models.bundle.bundle import Bundle
from models.importing import keras
from models.importing.tflite import write
from tests.conftest import REPOSITORY
from tests.models.importing.test_convention import rescaled
from tests.services.updater.conftest import Car
from tests.tools.car import objects, smartcar

COURSE = REPOSITORY / "tests" / "models" / "importing" / "keras_files" / "course-keras2.h5"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; the public one lies beside it."""
    folder = tmp_path_factory.mktemp("keys")
    made = smartcar(folder, "keys", "generate", str(folder / "key"), "--comment", "the lab")
    assert made.returncode == 0, made.stderr
    (folder / "key.pub").write_text(made.stdout)
    return folder / "key"


@pytest.fixture(scope="module")
def bundle(key: Path) -> Path:
    """The course's network, bundled and signed."""
    path = key.parent / "course.zip"
    options = ("--name", "course", "--version", "1.2.3", "--release", "4", "--key", str(key))
    made = smartcar(key.parent, "model", "bundle", str(COURSE), str(path), *options, "--json")
    assert made.returncode == 0, made.stderr
    assert objects(made.stdout)[0]["digest"] == read_archive(path).digest
    return path


def test_a_key_is_its_owners_and_never_overwritten(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    public = (key.parent / "key.pub").read_text()
    assert public.startswith("smartcar-ed25519 ")
    assert public.endswith(" the lab\n")
    shown = smartcar(key.parent, "keys", "show", str(key), "--comment", "the lab")
    assert shown.stdout == public
    again = smartcar(key.parent, "keys", "generate", str(key))
    assert again.returncode == 1
    assert "never overwritten" in again.stderr


def test_a_bundle_says_what_it_is_and_promises_what_was_found(bundle: Path) -> None:
    manifest = read_archive(bundle).manifest
    assert (manifest.name, manifest.version, manifest.release) == ("course", "1.2.3", 4)
    assert manifest.imported is None
    assert 0.8 < manifest.golden.accuracy < 1


def test_verify_names_the_signer_and_refuses_strangers(bundle: Path, key: Path) -> None:
    public = str(key.parent / "key.pub")
    good = smartcar(bundle.parent, "model", "verify", str(bundle), "--trust", public, "--json")
    assert good.returncode == 0, good.stderr
    assert objects(good.stdout)[0]["signed_by"].startswith("SHA256:")
    bad = smartcar(bundle.parent, "model", "verify", str(bundle))
    assert bad.returncode == 1
    assert "doesn't trust" in bad.stderr


def test_a_folder_is_signed_in_place(bundle: Path, key: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    made = smartcar(tmp_path, "model", "bundle", str(COURSE), str(folder), "--target", "car7")
    assert made.returncode == 0, made.stderr
    assert "not signed" in made.stdout
    assert smartcar(tmp_path, "model", "sign", str(folder), "--key", str(key)).returncode == 0
    assert Bundle.load(folder).signature is not None
    again = smartcar(tmp_path, "model", "bundle", str(COURSE), str(folder))
    assert again.returncode == 1
    assert "already" in again.stderr


def test_the_schema_describes_the_manifest() -> None:
    schema = json.loads(smartcar(Path("/tmp"), "model", "schema").stdout)
    assert {"name", "version", "release", "files", "golden"} <= set(schema["properties"])


def test_what_a_network_wants_otherwise_is_said(tmp_path: Path) -> None:
    """Dark ink on light ground, from 0 to 255: found out, written into the bundle, and said."""
    path = tmp_path / "dark.tflite"
    path.write_bytes(write(rescaled(keras.read(COURSE.read_bytes()), -1 / 255, 1)))
    made = smartcar(tmp_path, "model", "bundle", str(path), str(tmp_path / "dark.zip"))
    assert made.returncode == 0, made.stderr
    assert "takes dark ink on light ground, values of 0 to 255" in made.stdout
    contract = read_archive(tmp_path / "dark.zip").manifest.input
    assert (contract.polarity, contract.scale) == ("dark_on_light", 1.0)


@pytest.fixture
def car(context: zmq.Context[zmq.Socket[bytes]], runtime: Path, key: Path) -> Iterator[Car]:
    """A recognizer and an updater that trusts the key."""
    car = Car(context, runtime)
    car.settings["MODELS__TRUST"] = json.dumps([(key.parent / "key.pub").read_text().strip()])
    car.start("recognizer", "updater")
    yield car
    car.stop()


def test_a_model_is_installed_listed_and_rolled_back(car: Car, bundle: Path) -> None:
    installed = smartcar(car.runtime, "model", "install", str(bundle))
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.splitlines()[-1].startswith("active: The car reads with course 1.2.3 now.")
    rows = {
        row["model"]["name"]: row for row in objects(smartcar(car.runtime, "model", "list", "--json").stdout)
    }
    assert rows["course"]["state"] == "active"
    assert rows["course"]["signed"] is True
    assert rows["course"]["accuracy"] < rows["digits"]["accuracy"]
    assert smartcar(car.runtime, "model", "rollback").returncode == 0
    table = smartcar(car.runtime, "model", "list").stdout
    assert "active, pinned" in table
    pinned = smartcar(car.runtime, "model", "install", str(bundle))
    assert pinned.returncode == 1
    assert "(pinned)" in pinned.stderr
    assert smartcar(car.runtime, "model", "unpin").returncode == 0

    broken = car.runtime / "broken.keras"
    broken.write_bytes(os.urandom(3000))
    refused = smartcar(car.runtime, "model", "import", str(broken), "--json")
    assert refused.returncode == 1
    assert "unknown_format" in refused.stdout + refused.stderr
    kept = smartcar(car.runtime, "model", "import", str(COURSE), "--keep")
    assert kept.returncode == 0, kept.stderr
    assert "kept" in kept.stdout.splitlines()[-1]


def test_a_file_whose_name_no_car_takes_is_one_sentence(runtime: Path) -> None:
    for name in (".x.h5", "a\nb.h5", "x" * 130 + ".h5"):
        (runtime / name).write_bytes(b"model")
        answer = smartcar(runtime, "model", "import", str(runtime / name))
        assert answer.returncode == 1
        assert len(answer.stderr.splitlines()) == 1
        assert "rename it" in answer.stderr


def test_without_a_car_the_way_out_is_said(runtime: Path) -> None:
    asked = smartcar(runtime, "model", "list")
    assert asked.returncode == 1
    assert "smartcar up" in asked.stderr


def test_what_a_network_wants_otherwise_is_told_and_listed(car: Car, tmp_path: Path) -> None:
    path = tmp_path / "dark.tflite"
    path.write_bytes(write(rescaled(keras.read(COURSE.read_bytes()), -1, 1)))
    taken = smartcar(car.runtime, "model", "import", str(path), "--keep")
    assert taken.returncode == 0, taken.stderr
    assert "dark ink on light ground" in taken.stdout
    rows = {
        row["model"]["name"]: row for row in objects(smartcar(car.runtime, "model", "list", "--json").stdout)
    }
    assert rows["dark"]["peculiarities"] == ["dark ink on light ground"]
    assert "takes dark ink on light ground" in smartcar(car.runtime, "model", "list").stdout
