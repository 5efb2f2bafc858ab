"""Hostile and broken files are refused with their reason, whatever is in them, and run nothing."""

from __future__ import annotations

import io
import itertools
import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from messages.errors import ErrorCode
from models.bundle import archive
from models.bundle.bundle import Bundle
from models.bundle.digits import Golden
from models.bundle.manifest import MAX_SOURCE_BYTES
from models.importing import keras
from models.importing.conversion import KerasSource, convert
from models.importing.isolated import ImportLimits, import_file, prove, source_digest
from models.importing.keras import hdf5
from models.refusal import Refusal
from tests.models.forked import outcomes
from tests.models.making import FACTORY, rewritten

HERE = Path(__file__).parent
KERAS_FILES, HOSTILE_FILES = HERE / "keras_files", HERE / "hostile_files"
TFLITE_FILES = HERE / "tflite_files"
SOUND = KERAS_FILES / "convolutional-keras3.keras"
LABELS = tuple("0123456789")


def refusal(read: Callable[[], Any]) -> ErrorCode:
    with pytest.raises(Refusal) as refused:
        read()
    assert len(str(refused.value)) > 30, "a sentence for people"
    return refused.value.reason


# --- HDF5


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("external_link", "external_data"),
        ("soft_link", "external_data"),
        ("virtual", "external_data"),
        ("external_storage", "external_data"),
        ("bomb", "compressed"),
        ("claims_terabytes", "bad_weights"),
        ("in_a_circle", "bad_weights"),
        ("other_floats", "unsupported_layout"),
        ("lambda_layer", "custom_code"),
        ("nan", "not_finite"),
    ],
)
def test_hdf5_that_reaches_out_or_claims_too_much(file: str, reason: str) -> None:
    assert refusal(lambda: keras.read((HOSTILE_FILES / f"{file}.h5").read_bytes())) == reason


def test_the_files_around_them_are_read() -> None:
    """What is refused above is refused for its one fault."""
    for file in ("sound", "newest_layout", "eleven"):
        assert keras.read((HOSTILE_FILES / f"{file}.h5").read_bytes()).input_shape == (28, 28, 1)


def test_a_tree_that_runs_in_a_circle() -> None:
    content = bytearray((HOSTILE_FILES / "sound.h5").read_bytes())
    at = content.index(b"TREE")
    content[at + 32 : at + 40] = at.to_bytes(8, "little")  # its first child is itself
    assert refusal(lambda: hdf5.File(bytes(content)).group()) == "damaged"


# --- the network's configuration


def reconfigured(change: Callable[[dict[str, Any]], Any], source: Path = SOUND) -> bytes:
    """A `.keras` file with a changed network."""
    with zipfile.ZipFile(source) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()
    return packed(parts)


def packed(parts: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return file.getvalue()


def layer(kind: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda config: next(each for each in config["config"]["layers"] if each["class_name"] == kind)


def at(kind: str, **settings: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: layer(kind)(config)["config"].update(settings)


def named(kind: str, **entry: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: layer(kind)(config).update(entry)


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


SYSTEM = {"module": "os", "class_name": "system", "config": "touch /tmp/owned", "registered_name": "system"}
CODE = [
    named("Flatten", class_name="Lambda"),
    named("Flatten", module="os", class_name="system"),
    named("Flatten", module="subprocess", class_name="Popen"),
    named("Flatten", registered_name="my_package>Flatten"),
    named("Flatten", class_name="os.system"),
    at("Dense", activation=SYSTEM),
    at("Dense", kernel_initializer=SYSTEM),
    at("Dense", activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
    lambda config: config.update(module="my_package.models", registered_name="Mine"),
    lambda config: config.update(compile_config={"loss": SYSTEM}),
]
UNFIT: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (named("Flatten", class_name="LSTM"), "unsupported_layer"),
    (lambda config: config.update(class_name="Mine"), "unsupported_layer"),
    (at("Dense", activation="mish"), "unsupported_setting"),
    (at("Dense", quantization_config={"mode": "int8"}), "unsupported_setting"),
    (at("Dense", dtype="mixed_float16"), "unsupported_setting"),
    (at("Conv2D", groups=2), "unsupported_setting"),
    (at("Conv2D", data_format="channels_first"), "unsupported_setting"),
    (at("Dense", units=1 << 40), "bad_config"),
    (at("Dense", units=-1), "bad_config"),
    (at("Dense", units=True), "bad_config"),
    (at("Dense", units="10"), "bad_config"),
    (at("Conv2D", kernel_size=[1 << 15, 1 << 15], padding="same"), "bad_weights"),
    (at("MaxPooling2D", pool_size=[900, 900]), "bad_config"),
    (at("BatchNormalization", epsilon=float("nan")), "bad_config"),
    (at("InputLayer", batch_shape=[None, 65536, 65536, 1]), "too_complex"),
    (at("InputLayer", batch_shape=[None, None, None, 1]), "wrong_input"),
    (at("InputLayer", batch_shape=nested(40)), "wrong_input"),
    (lambda config: config["config"].update(layers=config["config"]["layers"] * 100), "too_complex"),
    (lambda config: config["config"].update(layers=[]), "bad_config"),
    (lambda config: config.update(config=None), "bad_config"),
    (lambda config: config["config"]["layers"].pop(1), "bad_weights"),
]


@pytest.mark.parametrize("change", CODE)
def test_whatever_names_code_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    content = reconfigured(change)
    assert refusal(lambda: keras.read(content)) == "custom_code"
    assert not Path("/tmp/owned").exists()


@pytest.mark.parametrize(("change", "reason"), UNFIT)
def test_a_network_the_car_does_not_know_or_can_not_believe(
    change: Callable[[dict[str, Any]], Any], reason: str
) -> None:
    content = reconfigured(change)
    assert refusal(lambda: keras.read(content)) == reason


def test_a_graph_that_bites_its_tail() -> None:
    def bite(config: dict[str, Any]) -> None:
        first, *_ = (entry for entry in config["config"]["layers"] if entry["class_name"] == "Reshape")
        tensor = first["inbound_nodes"][0]["args"][0]["config"]
        tensor["keras_history"][0] = config["config"]["layers"][-1]["name"]

    content = reconfigured(bite, KERAS_FILES / "everything-keras3.keras")
    assert refusal(lambda: keras.read(content)) == "bad_config"


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"config": {"layers": 1}}']
)
def test_a_configuration_that_is_none(text: bytes) -> None:
    with zipfile.ZipFile(SOUND) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    content = packed({**parts, "config.json": text})
    assert refusal(lambda: keras.read(content)) == "bad_config"


def read_keras(content: bytes) -> str:
    try:
        keras.read(content)
    except Refusal as error:
        return str(error.reason)
    return "read"


STRANGE: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        3,
        28,
        1 << 40,
        10**400,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "relu",
        "same",
        "x" * 300,
    ),
    *([], [1], [0, 0], [[1, 2], [3, 4]], [None, 28, 28, 1], nested(3), {}, {"class_name": []}),
    {"class_name": "__numpy__", "config": {"value": 3}},
    {"class_name": "__tuple__", "items": [1, 1]},
]


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a configuration."""
    if path:
        yield path
    items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put_something_strange(config: dict[str, Any], rng: np.random.Generator) -> None:
    """Replace a value, leave it out, or have it twice."""
    ways = list(places(config))
    *way, last = ways[rng.integers(len(ways))]
    part: Any = config
    for step in way:
        part = part[step]
    chance = rng.integers(4)
    if chance == 0 and isinstance(part, dict):
        del part[last]
    elif chance == 1 and isinstance(part, list):
        part.insert(last, part[last])
    else:
        part[last] = STRANGE[rng.integers(len(STRANGE))]


@pytest.mark.parametrize(
    "file", ["everything-keras3.keras", "everything-keras2.keras", "nested-keras3.keras"]
)
def test_250_networks_with_something_strange_in_them(file: str) -> None:
    rng = np.random.default_rng(4)
    cases = [
        reconfigured(lambda config: put_something_strange(config, rng), KERAS_FILES / file)
        for _ in range(250)
    ]
    counted = Counter(outcomes(cases, read_keras))
    assert set(counted) <= {str(reason) for reason in ErrorCode} | {"read"}, counted
    assert len(counted) > 4, "they are refused for many reasons"


# --- zips


ZIPS: list[tuple[Callable[[dict[str, bytes]], bytes], str]] = [
    (lambda parts: packed({**parts, "../../etc/cron.d/x": b"x"}), "unsafe_archive"),
    (lambda parts: packed({**parts, "/etc/passwd": b"x"}), "unsafe_archive"),
    (lambda parts: packed({**parts, "more.bin": b"x"}), "unsafe_archive"),
    (lambda parts: packed(parts)[:-200], "bad_archive"),
    (lambda parts: packed({**parts, next(iter(parts)): bytes(200 << 20)}, zipfile.ZIP_DEFLATED), "too_large"),
]


@pytest.mark.parametrize(("make", "reason"), ZIPS, ids=["up", "absolute", "more", "cut off", "bomb"])
@pytest.mark.parametrize("kind", ["keras", "bundle"])
def test_zips(make: Callable[[dict[str, bytes]], bytes], reason: str, kind: str) -> None:
    if kind == "keras":
        with zipfile.ZipFile(SOUND) as old:
            content = make({name: old.read(name) for name in old.namelist()})
        assert refusal(lambda: keras.read(content)) == reason
    else:
        content = make(Bundle.load(FACTORY).files())
        assert refusal(lambda: archive.unpack(content)) == reason


@pytest.mark.parametrize("fault", ["link", "twice", "lies", "encrypted"])
def test_zips_that_lie(fault: str) -> None:
    files = Bundle.load(FACTORY).files()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            if fault == "link" and name == "model.tflite":
                entry.external_attr = 0o120777 << 16
            new.writestr(entry, content)
        if fault == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                new.writestr("model.tflite", b"another")
    content = file.getvalue()
    directory = content.index(b"PK\x01\x02")
    if fault == "lies":  # the central directory claims one byte less
        claimed = int.from_bytes(content[directory + 24 : directory + 28], "little")
        content = content[: directory + 24] + (claimed - 1).to_bytes(4, "little") + content[directory + 28 :]
    if fault == "encrypted":
        content = content[: directory + 8] + b"\x01" + content[directory + 9 :]
    assert refusal(lambda: archive.unpack(content)) in ("unsafe_archive", "bad_archive")


# --- truncations and flips


def golden_of(count: int) -> tuple[bytes, Golden]:
    digits = Bundle.load(FACTORY).golden()
    step = len(digits.crops) // count
    few = Golden(digits.crops[::step], digits.labels[::step])
    file = io.BytesIO()
    np.savez_compressed(file, crops=few.crops, labels=np.array(few.labels))
    return file.getvalue(), few


def broken(content: bytes, truncations: int, flips: int, seed: int) -> Iterator[bytes]:
    """The content cut off at random, and with single bits flipped: near its ends, where the structure is, and
    anywhere."""
    rng = np.random.default_rng(seed)
    for end in rng.integers(0, len(content), truncations):
        yield content[:end]
    edge = min(4096, len(content))
    for number in range(flips):
        anywhere = rng.integers(0, len(content))
        place = (rng.integers(0, edge), len(content) - 1 - rng.integers(0, edge), anywhere)[number % 3]
        flipped = bytearray(content)
        flipped[int(place)] ^= 1 << int(rng.integers(0, 8))
        yield bytes(flipped)


def read_bundle(content: bytes) -> str:
    try:
        archive.unpack(content)
    except Refusal as error:
        return str(error.reason)
    return "read"


@pytest.mark.parametrize(
    "file",
    ["convolutional-tf24.h5", "convolutional-keras3.h5", "convolutional-keras3.keras", "nested-keras2.h5"],
)
def test_120_broken_keras_files(file: str) -> None:
    """A flip inside the weights leaves another network, and nobody can tell: unsigned, it is read."""
    cases = list(broken((KERAS_FILES / file).read_bytes(), 40, 80, seed=1))
    counted = Counter(outcomes(cases, read_keras))
    known = {str(reason) for reason in ErrorCode} | {"read"}
    assert set(counted) <= known, counted
    assert counted["crashed"] == 0
    assert sum(counted.values()) - counted["read"] >= 40, "cut off is refused"


def test_120_broken_bundles_are_refused_each() -> None:
    """Every byte of a bundle is under a hash, and the hashes are in the manifest that a signature covers."""
    whole = Bundle.load(FACTORY)
    found = outcomes(list(broken(archive.pack(whole), 40, 80, seed=2)), read_bundle)
    assert len(found) == 120
    # What zip itself ignores, times and such, may be flipped; the bundle in it is the same or no bundle.
    assert set(found) <= {str(reason) for reason in ErrorCode} | {"read"}
    assert found.count("read") < 12


@pytest.mark.parametrize("file", [FACTORY / "model.tflite", TFLITE_FILES / "integer_uint8.tflite"])
def test_160_broken_tflite_files_end_nothing_but_their_process(file: Path, tmp_path: Path) -> None:
    packed_digits, digits = golden_of(20)
    content = file.read_bytes()

    def attempt(model: bytes) -> str:
        source = KerasSource("m.tflite", model, datetime(2026, 1, 1, tzinfo=UTC))
        try:
            convert(source, packed_digits, digits, LABELS)
        except Refusal as error:
            return str(error.reason)
        return "read"

    cases = list(broken(content, 40, 120, seed=3))
    found = outcomes(cases, attempt)
    assert len(found) == 160
    assert all(
        answer in set(ErrorCode) or answer == "read" or answer.startswith("crashed") for answer in found
    )
    crashed = [case for case, answer in zip(cases, found, strict=True) if answer.startswith("crashed")]
    for number, case in enumerate(crashed[:2]):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(case)
        assert refusal(partial(take, path, tmp_path / "bundle")) == "crashed"


# --- the throw-away process


def take(path: Path, folder: Path, limits: ImportLimits | None = None) -> Any:
    folder.mkdir(exist_ok=True)
    return import_file(path, folder, golden=Bundle.load(FACTORY), limits=limits or ImportLimits())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.h5", b"", "empty"),
        ("zeros.h5", bytes(1 << 20), "empty"),
        ("notes.h5", b"my model is great" * 100, "unknown_format"),
        ("eleven.h5", (HOSTILE_FILES / "eleven.h5").read_bytes(), "wrong_output"),
        ("coin.h5", (HOSTILE_FILES / "sound.h5").read_bytes(), "inaccurate"),
        ("code.keras", reconfigured(CODE[0]), "custom_code"),
        ("cut.tflite", (FACTORY / "model.tflite").read_bytes()[:5000], "bad_model"),
    ],
)
def test_a_bad_file_leaves_nothing_but_its_reason(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(lambda: take(path, tmp_path / "bundle")) == reason
    assert list((tmp_path / "bundle").iterdir()) == []


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.h5").mkdir()
    (tmp_path / "link.h5").symlink_to(SOUND)
    os.mkfifo(tmp_path / "pipe.h5")
    for name in ("folder", "link", "pipe"):
        assert refusal(partial(take, tmp_path / f"{name}.h5", tmp_path / "b")) == "not_a_file"
    assert refusal(lambda: take(tmp_path / "gone.h5", tmp_path / "b")) == "missing"


def test_four_gigabytes_of_zeros_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model_trained.h5"
    path.touch()
    os.truncate(path, 4 << 30)  # a hole: takes no room on disk
    assert refusal(lambda: take(path, tmp_path / "b")) == "too_large"
    assert refusal(lambda: source_digest(path)) == "too_large"


def test_a_file_that_is_still_being_copied(tmp_path: Path) -> None:
    path = tmp_path / "model_trained.h5"
    path.write_bytes((KERAS_FILES / "course-tf24.h5").read_bytes())
    times = itertools.count()

    def touched() -> bool:
        os.utime(path, (1, next(times)))
        return False

    def take_it() -> Any:
        (tmp_path / "b").mkdir()
        return import_file(path, tmp_path / "b", golden=Bundle.load(FACTORY), cancelled=touched)

    assert refusal(take_it) == "changed"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(ImportLimits(wall_s=0.05), "timed_out"), (ImportLimits(memory_bytes=300 << 20), "out_of_memory")],
)
def test_limits_hold(tmp_path: Path, limits: ImportLimits, reason: str) -> None:
    """A zip of 200 KB that unpacks to as much as is allowed, in a process that may use less."""
    parts = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": bytes(MAX_SOURCE_BYTES)}
    path = tmp_path / "large.keras"
    path.write_bytes(packed(parts, zipfile.ZIP_DEFLATED))
    assert refusal(lambda: take(path, tmp_path / "b", limits)) == reason


def test_a_bundle_that_falls_short_of_its_own_terms(tmp_path: Path) -> None:
    slow = rewritten(tmp_path / "slow", lambda manifest: manifest["golden"].update(latency_ms=1e-6))
    assert refusal(lambda: prove(Bundle.load(slow))) == "too_slow"
    weak = rewritten(tmp_path / "weak", lambda manifest: manifest["golden"].update(accuracy=1.0))
    assert refusal(lambda: prove(Bundle.load(weak))) == "inaccurate"
