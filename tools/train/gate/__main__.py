"""Train the gate.

    python -m tools.train.gate --data ../shared/data

Positives are real digits (MNIST, pen strokes of the training writers, BHMSDS, Semeion) and those of our own
hand; negatives are what else lies about: letters and signs in the typefaces that matplotlib brings,
scribbles, shapes, digits that touch or lie on their side, and drawn rooms, faces, textures, lines and grids.
The eye has taken all of them for digits, as on the car.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from models.eye.eye import Eye
from tools.terminal.output import say
from tools.train.gate import network
from tools.train.gate.crops import crops, picture_crops
from tools.train.gate.digits import Digits
from tools.train.gate.network import CropClass
from tools.train.gate.others import others


def main() -> None:
    """Make the crops, or take them from where they were kept, and train."""
    parser = argparse.ArgumentParser(prog="python -m tools.train.gate", description="Train the gate.")
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument(
        "--photos", type=Path, nargs="*", default=[], help="photos without digits, too (files)"
    )
    parser.add_argument("--fonts", type=Path, nargs="*", help="TrueType fonts  [default: matplotlib's]")
    parser.add_argument("--out", type=Path, default=Path("models/gate"))
    parser.add_argument("--count", type=int, default=24_000, help="drawings of each kind")
    parser.add_argument("--views", type=int, default=60, help="pictures of each kind")
    parser.add_argument("--rounds", type=int, default=8, help="looks at each picture")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache", type=Path, metavar="FILE.npz", help="keep the crops here, or take them")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.cache and arguments.cache.exists():
        with np.load(arguments.cache) as held:
            made = {name: held[name] for name in held.files}
    else:
        rng = np.random.default_rng(arguments.seed)
        digits = Digits(arguments.data)
        eye = Eye.of()
        made = {"digits": crops(eye, digits.ways(), arguments.count, rng)}
        made["drawn"] = crops(eye, others(digits, arguments.fonts or typefaces()), arguments.count, rng)
        found = picture_crops(eye, arguments.photos, arguments.views, arguments.rounds, rng)
        made["found"] = np.concatenate(list(found))
        if arguments.cache:
            np.savez(arguments.cache, **made)
    say(", ".join(f"{len(held)} {name}" for name, held in made.items()))
    kinds = [CropClass(name, held, name == "digits") for name, held in made.items()]
    network.train(kinds, arguments.out, arguments.epochs, arguments.seed)


def typefaces() -> list[Path]:
    """The fonts with letters that come with matplotlib."""
    from importlib.resources import files

    folder = Path(str(files("matplotlib") / "mpl-data" / "fonts" / "ttf"))
    named = ("DejaVuS", "STIXGeneral", "cmr10", "cmb10", "cmss10", "cmtt10", "cmti10")
    return [
        path
        for path in sorted(folder.glob("*.ttf"))
        if path.stem.startswith(named) and "Display" not in path.stem
    ]


if __name__ == "__main__":
    main()
