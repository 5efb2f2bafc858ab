"""What this machine's processor makes of known pictures, and that all packages of the car import on it.

python -m tests.system.arm_readings       prints an object as JSON
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
import tomllib
from pathlib import Path
from typing import Any

from models.bundle.bundle import Bundle
from models.inference.test_time_averaging import CarefulClassifier
from services.capture.scene import Scene
from services.recognizer.pipeline import Reader
from tests.models.making import FACTORY

MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "opencv-python": "cv2",
    "paho-mqtt": "paho.mqtt.client",
    "pyzmq": "zmq",
}
"""What to import of a package that isn't called as it is."""
SCENES = [(seed, 80) for seed in (1, 2, 3, 6)]
"""(seed, number) of frames in which a card rests."""


def readings() -> dict[str, Any]:
    bundle = Bundle.load(FACTORY)
    classifier = CarefulClassifier(bundle)
    golden = bundle.golden()
    probabilities = classifier.classify(golden.crops)
    # Without a limit: a digit that is just at it falls to either side by the last bits of the arithmetic.
    reader = Reader(classifier, certainty=0.0)
    lines = [line for seed, number in SCENES for line in reader.read(Scene(640, 480, seed).frame(number))]
    return {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": packages(),
        "golden": probabilities.argmax(axis=1).tolist(),
        "confidence": probabilities.max(axis=1).round(5).tolist(),
        "lines": [[line.text, list(line.box)] for line in lines],
        "line_confidence": [[round(digit.confidence, 4) for digit in line.digits] for line in lines],
    }


def packages() -> dict[str, str]:
    """Version by name of each dependency, once it has been imported."""
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=\[ ]", wanted)[0] for wanted in project["dependencies"]]
    for name in names:
        importlib.import_module(MODULES.get(name, name))
    for module in (
        "tools.cli",
        "services.bridge.service",
        "services.overlay.service",
        "services.updater.service",
    ):
        importlib.import_module(module)
    return {name: importlib.metadata.version(name) for name in names}


if __name__ == "__main__":
    print(json.dumps(readings()))
