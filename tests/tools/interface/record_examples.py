"""Records the examples of the MQTT interface: python -m tests.tools.interface.record_examples; make docs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.tools.interface.interface_car import interface_car, recorded
from tools.interface.examples import write

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as made, interface_car(Path(made)) as car:
        car.everything()
        write(recorded(car.examples()))
