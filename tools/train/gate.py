"""Train the gate: a small network that says whether a crop is a digit at all.

Positives are real digits (MNIST's training set, pen strokes of the training writers, BHMSDS, Semeion) and
those of our own hand, drawn on lit, noisy paper; negatives are what else lies about: letters and signs in the
fonts at hand, scribbles, shapes, crossings, digits that touch or lie on their side, and whatever `locate`
finds in pictures without digits. Both pass through `locate` and `normalise`, as on the car.

    python -m tools.train.gate --data ../shared/data --pictures FILE… --fonts FILE…

Letters that nobody can tell from a digit (O, I, l, Z, S, B, …) are in neither set: their line decides.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models import hand
from models.normalise import normalise
from services.capture.room import draw_room
from services.recognizer.locate import LocateSettings, locate

Pixels = NDArray[np.uint8]
Drawer = Callable[[np.random.Generator], Pixels]
"""Draws one thing: ink bright on black, any size."""

LETTERS = "ACEFGHJKLMNPRTUVWXYacdefhjkmnprtuvwxyÄÖÜßñéàΔΣΩλπ"
SIGNS = "+-×÷=%&@#$?<>*~^{}[]€§★♥✓☺→↑←♪∞≈√∑"


def positives(data: Path) -> list[tuple[float, Drawer]]:
    """Ways to draw a digit, each with its share."""
    mnist = _mnist(data / "mnist")
    strokes = _pendigits(data / "pendigits_orig" / "pendigits-orig.tra")
    photographed = 255 - np.load(data / "bhmsds" / "bhmsds_digits.npz")["X"].reshape(-1, 28, 28)
    if photographed.mean() > 127:
        photographed = 255 - photographed
    semeion = _semeion(data / "semeion" / "semeion.data")

    def from_mnist(rng: np.random.Generator) -> Pixels:
        return _enlarged(mnist[rng.integers(len(mnist))], rng)

    def from_photographed(rng: np.random.Generator) -> Pixels:
        image = _enlarged(photographed[rng.integers(len(photographed))], rng)
        narrow = float(rng.uniform(0.5, 0.85))
        return np.asarray(
            cv2.resize(image, None, fx=narrow, fy=1, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )

    def from_semeion(rng: np.random.Generator) -> Pixels:
        image = cv2.GaussianBlur(cv2.resize(semeion[rng.integers(len(semeion))], (64, 80)), (0, 0), 2.5)
        return np.asarray(image, dtype=np.uint8)

    def from_strokes(rng: np.random.Generator) -> Pixels:
        return _draw(strokes[rng.integers(len(strokes))], rng)

    def from_hand(rng: np.random.Generator) -> Pixels:
        (digit,) = hand.write(str(rng.integers(10)), int(rng.integers(2**31)))
        return _draw([np.array(stroke) for stroke in digit], rng)

    return [(3, from_mnist), (2, from_photographed), (1, from_semeion), (3, from_strokes), (3, from_hand)]


def negatives(data: Path, fonts: list[Path]) -> list[tuple[float, Drawer]]:
    """Ways to draw what is no digit, each with its share."""
    mnist, labels = _mnist(data / "mnist"), _mnist_labels(data / "mnist")
    lying = mnist[np.isin(labels, (2, 3, 4, 5, 7))]

    faces = [ImageFont.truetype(str(font), 64) for font in fonts]

    def letter(rng: np.random.Generator) -> Pixels:
        text = str(rng.choice(list(LETTERS if rng.random() < 0.8 else SIGNS)))
        image = Image.new("L", (150, 130))
        ImageDraw.Draw(image).text((40, 30), text, fill=255, font=faces[rng.integers(len(faces))])
        drawn = np.asarray(image)
        if rng.random() < 0.3:
            drawn = np.asarray(cv2.dilate(drawn, np.ones((3, 3), np.uint8)))
        elif rng.random() < 0.2:
            drawn = np.asarray(cv2.erode(drawn, np.ones((3, 3), np.uint8)))
        return _bent(drawn, rng)

    def scribble(rng: np.random.Generator) -> Pixels:
        count = int(rng.integers(6, 16))
        points = np.cumsum(rng.normal(0, 0.3, (count, 2)), axis=0)
        dense = np.linspace(0, count - 1, count * 8)
        smooth = np.column_stack([np.interp(dense, np.arange(count), points[:, axis]) for axis in (0, 1)])
        blurred = cv2.blur(smooth, (1, int(rng.integers(1, 9))))
        return _draw([np.asarray(blurred, dtype=np.float64)], rng)

    def shape(rng: np.random.Generator) -> Pixels:
        return _draw(_shape(rng), rng)

    def dash(rng: np.random.Generator) -> Pixels:
        angle = np.deg2rad(float(rng.uniform(-40, 40)))
        bow = float(rng.normal(0, 0.1))
        line = [(t * np.cos(angle), t * np.sin(angle) + bow * t * (1 - t)) for t in np.linspace(0, 1, 12)]
        return _draw([np.array(line)], rng)

    def touching(rng: np.random.Generator) -> Pixels:
        line = hand.into_line(
            hand.write("".join(rng.choice(list("0123456789"), 2)), int(rng.integers(2**31))),
            0, 0, 1, float(rng.uniform(-0.3, -0.12)),
        )  # fmt: skip
        return _draw([np.array(stroke) * (0.6, 1) for digit in line for stroke in digit], rng)

    def on_its_side(rng: np.random.Generator) -> Pixels:
        image = lying[rng.integers(len(lying))]
        return _enlarged(np.ascontiguousarray(np.rot90(image, int(rng.choice([1, 3])))), rng)

    return [(6, letter), (1, scribble), (2, shape), (1, dash), (1, touching), (1.2, on_its_side)]


def _shape(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    kind = int(rng.choice([0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8]))
    turn = float(rng.uniform(0, 2 * np.pi))

    def polygon(sides: int, start: float) -> NDArray[np.float64]:
        angles = np.linspace(0, 2 * np.pi, sides + 1) + start
        return np.column_stack([np.cos(angles), np.sin(angles) * float(rng.uniform(0.6, 1.3))])

    if kind == 0:
        return [polygon(3, turn)]
    if kind == 1:
        aspect = np.array([float(np.exp(rng.normal(0, 0.35))), 1])
        return [polygon(4, np.pi / 4 + rng.normal(0, 0.06)) * aspect]
    if kind == 2:  # a star
        angles = np.arange(6) * 4 * np.pi / 5 - np.pi / 2 + rng.normal(0, 0.2)
        return [np.column_stack([np.cos(angles), np.sin(angles)])]
    if kind == 3:  # a cross
        arm = np.array([[-1, 0], [1, 0]])
        c, s = np.cos(turn), np.sin(turn)
        return [arm @ np.array([[c, s], [-s, c]]), arm @ np.array([[-s, c], [-c, -s]]) * rng.uniform(0.6, 1)]
    if kind == 4:  # a corner
        return [
            np.array([[0, 0], [0, 1], [rng.uniform(0.5, 1.2), 1 + rng.normal(0, 0.1)]])
            * rng.choice([-1, 1], 2)
        ]
    if kind == 5:  # a junction
        return [
            np.array([[-1, 0], [1, 0]]),
            np.array([[rng.uniform(-0.6, 0.6), 0], [0, rng.choice([-1, 1])]]),
        ]
    if kind == 6:  # a face
        arc = np.linspace(0.2, np.pi - 0.2, 9)
        mouth = np.column_stack([np.cos(arc), np.sin(arc)]) * 0.55
        eyes = [np.array([[side, -0.3], [side + 0.02, -0.25]]) for side in (-0.35, 0.35)]
        return [polygon(20, 0), mouth, *eyes]
    if kind == 7:  # an arrow
        tip = np.array([[0.5, -0.5], [1, 0], [0.5, 0.5]])
        c, s = np.cos(turn), np.sin(turn)
        rotate = np.array([[c, s], [-s, c]])
        return [np.array([[-1, 0], [1, 0]]) @ rotate, tip @ rotate]
    wave = np.linspace(0, 1, 30)  # a wave, lying or standing
    line = np.column_stack([wave * 2, 0.25 * np.sin(wave * float(rng.uniform(9, 22)))])
    return [line if rng.random() < 0.6 else line[:, ::-1]]


def _draw(strokes: list[NDArray[np.float64]], rng: np.random.Generator) -> Pixels:
    """Strokes of any scale as ink about 80 pixels tall."""
    points = np.vstack(strokes)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-6)
    scale = 80 / max(float(size.max()), 1e-6)
    image = np.zeros((130, 130), np.uint8)
    brush = int(rng.integers(2, 12))
    offset = (130 - size * scale) / 2
    for stroke in strokes:
        path = np.rint(((stroke - low) * scale + offset) * 16).astype(np.int32)
        cv2.polylines(image, [path], False, (255,), brush, cv2.LINE_AA, 4)
    return image


def _enlarged(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A small picture at four times its size, its edges drawn smooth again."""
    large = cv2.GaussianBlur(cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), (0, 0), 1.8)
    gain = float(rng.uniform(1.5, 3.5))
    return np.asarray(np.clip((large.astype(np.float32) - 90) * gain + 90, 0, 255), dtype=np.uint8)


def _bent(image: Pixels, rng: np.random.Generator) -> Pixels:
    """Sheared, turned and stretched a little."""
    height, width = image.shape
    angle, shear = rng.normal(0, 0.15), rng.normal(0, 0.15)
    stretch = np.exp(rng.normal(0, 0.16, 2))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
    centre = np.array([width / 2, height / 2])
    move = np.hstack([matrix, (centre - matrix @ centre)[:, None]])
    return np.asarray(cv2.warpAffine(image, move, (width, height)), dtype=np.uint8)


def on_paper(drawing: Pixels, rng: np.random.Generator) -> Pixels:
    """The drawn ink on lit, noisy paper at a random size, as a camera sees it; grey."""
    bent = _bent(drawing, rng)
    _, _, _, h = cv2.boundingRect((bent > 60).astype(np.uint8))
    if h == 0:
        return np.full((40, 40), 200, np.uint8)
    tall = float(np.exp(rng.uniform(np.log(13), np.log(110))))
    scale = tall / h
    border = int(12 / scale) + 8
    ink = cv2.copyMakeBorder(bent, border, border, border, border, cv2.BORDER_CONSTANT)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    ink = cv2.resize(ink, None, fx=scale, fy=scale, interpolation=how)
    cover = cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.3, 0.5 + 0.012 * tall))) / 255.0
    height, width = cover.shape
    across, down = (float(value) for value in rng.normal(0, 0.15, 2))
    paper = float(rng.uniform(90, 245)) * (
        1 + np.linspace(0, across, width) + np.linspace(0, down, height)[:, None]
    )
    strength = float(np.clip(rng.normal(0.6, 0.2), 0.2, 0.95))
    grain = rng.normal(0, 1, (height // 3 + 2, width // 3 + 2)).astype(np.float32)
    texture = 1 + 0.12 * cv2.resize(grain, (width, height))
    noise = rng.normal(0, rng.uniform(0.8, 4.5), cover.shape)
    seen = paper * (1 - np.clip(cover * strength * texture, 0, 1)) + noise
    return np.asarray(np.clip(seen, 0, 255), dtype=np.uint8)


def crops(ways: list[tuple[float, Drawer]], count: int, rng: np.random.Generator) -> Pixels:
    """(count, 28, 28): what locate and normalise make of things so drawn; the largest ink of each picture."""
    share = np.array([way[0] for way in ways])
    made: list[Pixels] = []
    tried = 0
    settings = LocateSettings(max_height=1.0)
    while len(made) < count:
        tried += 1
        way = ways[int(rng.choice(len(ways), p=share / share.sum()))][1]
        found = locate(on_paper(way(rng), rng), settings)
        if found:
            made.append(normalise(max(found, key=lambda candidate: candidate.ink.size).ink))
    print(f"  {count} crops of {tried} drawings")
    return np.stack(made)


def picture_crops(paths: list[Path], rounds: int, rng: np.random.Generator) -> Iterator[Pixels]:
    """(n, 28, 28) for each look at each picture, and at as many empty rooms: what locate finds in it."""
    photos = (cv2.imread(str(path)) for path in paths)
    rooms = (draw_room(640, 480, rng) for _ in paths)
    for picture in itertools.chain(photos, rooms):
        if picture is None:
            continue
        shrink = min(1.0, 1600 / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        for _ in range(rounds):
            part = look(np.asarray(small, dtype=np.uint8), rng)
            found = locate(part, LocateSettings(polarity="both" if rng.random() < 0.3 else "dark"))
            if found:
                yield np.stack([normalise(candidate.ink) for candidate in found])


def look(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A 640×480 part of the picture, at a random size; as it stands, for a mirrored S is a 2."""
    scale = max(640 / picture.shape[1], 480 / picture.shape[0]) * float(np.exp(rng.uniform(0, 1.0)))
    large = cv2.resize(
        picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    y = int(rng.integers(0, max(large.shape[0] - 480, 0) + 1))
    x = int(rng.integers(0, max(large.shape[1] - 640, 0) + 1))
    part = large[y : y + 480, x : x + 640]
    part = part.astype(np.int16) + rng.normal(0, rng.uniform(0, 3), part.shape[:2])[..., None].astype(
        np.int16
    )
    return np.ascontiguousarray(np.clip(part, 0, 255).astype(np.uint8))


def _mnist(folder: Path) -> Pixels:
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)


def _mnist_labels(folder: Path) -> Pixels:
    return np.frombuffer(
        gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )


def _semeion(path: Path) -> Pixels:
    values = np.array(path.read_text().split(), dtype=np.float64)
    return (values.reshape(-1, 267)[:, :256].reshape(-1, 16, 16) * 255).astype(np.uint8)


def _pendigits(path: Path) -> list[list[NDArray[np.float64]]]:
    """The strokes of writers 1 to 20, in order of appearance; the others are for validation and test."""
    digits: list[list[NDArray[np.float64]]] = []
    writers: list[int] = []
    stroke: list[tuple[float, float]] | None = None
    strokes: list[list[tuple[float, float]]] = []

    def finish() -> None:
        whole = [np.array(part) for part in strokes if part]
        if whole and writers:
            digits.append(whole)

    for line in path.read_text(errors="replace").splitlines():
        text = line.strip()
        if text.startswith(".SEGMENT"):
            finish()
            strokes, stroke = [], None
            del writers[len(digits) :]
        elif text.startswith(".COMMENT") and (found := re.match(r"\.COMMENT\s+\d+\s+(\d+)\s+\d+", text)):
            if len(writers) == len(digits):
                writers.append(int(found[1]))
        elif text.startswith(".PEN_DOWN"):
            stroke = []
            strokes.append(stroke)
        elif text.startswith(".PEN_UP"):
            stroke = None
        elif stroke is not None and text and text[0] != ".":
            x, y = text.split()[:2]
            stroke.append((float(x), -float(y)))
    finish()
    first = sorted(set(writers))[:20]
    return [digit for digit, writer in zip(digits, writers, strict=False) if writer in first]


def network() -> Any:
    """About 16,000 parameters, 0.7 million multiplications a crop."""
    import keras
    from keras import layers

    image = keras.Input((28, 28, 1), name="crop")
    x = layers.Rescaling(1 / 255)(image)
    for filters, stride in ((12, 2), (24, 2), (28, 1), (28, 2)):
        x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid", name="digit")(x))


def write_tflite(model: Any, path: Path, batch: int) -> None:
    """The trained network as TFLite for batches of `batch` crops. Raises ValueError where the two differ."""
    import keras
    import tensorflow as tf

    entry = keras.Input(batch_shape=(batch, 28, 28, 1), name="crop")
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(entry, model(entry)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    content = converter.convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    probe = np.random.default_rng(0).uniform(0, 255, (batch, 28, 28, 1)).astype(np.float32)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], probe)
    interpreter.invoke()
    written = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if not np.allclose(written, model.predict(probe, verbose=0), atol=5e-3):
        raise ValueError("the written network answers otherwise than the trained one")
    path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument(
        "--pictures", type=Path, nargs="+", required=True, help="pictures without digits (files)"
    )
    parser.add_argument("--fonts", type=Path, nargs="+", required=True, help="TrueType fonts (files)")
    parser.add_argument("--out", type=Path, default=Path("models/gate"))
    parser.add_argument("--count", type=int, default=40_000, help="drawings of each kind")
    parser.add_argument("--rounds", type=int, default=30, help="looks at each picture")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, help="keep the crops here, and use them where they are")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    cv2.setNumThreads(1)
    if arguments.cache and arguments.cache.exists():
        kept = np.load(arguments.cache)
        digits, drawn, found = kept["digits"], kept["drawn"], kept["found"]
    else:
        digits = crops(positives(arguments.data), arguments.count, rng)
        drawn = crops(negatives(arguments.data, arguments.fonts), arguments.count, rng)
        found = np.concatenate(list(picture_crops(arguments.pictures, arguments.rounds, rng)))
        if arguments.cache:
            np.savez(arguments.cache, digits=digits, drawn=drawn, found=found)
    print(f"{len(digits)} digits, {len(drawn)} drawn others, {len(found)} found in pictures")
    train(digits, drawn, found, arguments)


def train(digits: Pixels, drawn: Pixels, found: Pixels, arguments: argparse.Namespace) -> None:
    """Fit, report on a tenth held back, and write `gate.tflite` and `gate.json`."""
    import keras

    keras.utils.set_random_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    found = found[rng.permutation(len(found))[: 2 * arguments.count]]
    inputs = np.concatenate([digits, drawn, found])
    truth = np.concatenate([np.ones(len(digits)), np.zeros(len(drawn) + len(found))]).astype(np.float32)
    kind = np.repeat([0, 1, 2], [len(digits), len(drawn), len(found)])
    # A lone upright stroke in a picture is a one as well as anything: it says little.
    weight = np.where((kind > 0) & ((inputs.max(axis=1) > 60).sum(axis=1) < 7), 0.25, 1.0)
    order = rng.permutation(len(inputs))
    inputs, truth, kind = inputs[order][..., None].astype(np.float32), truth[order], kind[order]
    weight = weight[order]
    held = len(inputs) // 10
    model = network()
    model.summary()
    steps = arguments.epochs * ((len(inputs) - held) // 256)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps, 1e-2)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=1e-4)
    model.compile(optimizer=optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(
        inputs[held:],
        truth[held:],
        sample_weight=weight[held:],
        batch_size=256,
        epochs=arguments.epochs,
        verbose=2,
    )
    scores = model.predict(inputs[:held], batch_size=512, verbose=0)[:, 0]
    table = {}
    for threshold in (0.2, 0.35, 0.5, 0.7, 0.9):
        passed = [float((scores[kind[:held] == which] >= threshold).mean()) for which in (0, 1, 2)]
        table[str(threshold)] = {"digits": passed[0], "drawn": passed[1], "found": passed[2]}
        print(
            threshold, "passes: digits {:.4f}, drawn others {:.4f}, found in pictures {:.4f}".format(*passed)
        )
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_tflite(model, arguments.out / "gate.tflite", batch=8)
    note = {
        "parameters": int(model.count_params()),
        "crops": {"digits": len(digits), "drawn": len(drawn), "found": len(found)},
        "passed_of_held_back": table,
        "seed": arguments.seed,
    }
    (arguments.out / "gate.json").write_text(json.dumps(note, indent=2) + "\n")


if __name__ == "__main__":
    main()
