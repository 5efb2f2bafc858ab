"""Any module of the services is imported first, by a program or a test that needs it alone."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY

PROGRAM = """
import importlib, os, sys, traceback
import cv2, numpy, paho.mqtt.client, pydantic, starlette.applications, uvicorn, zmq

failed = []
for name in sys.argv[1:]:
    child = os.fork()
    if not child:
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(*failed)
"""


def test_each_module_is_imported_alone() -> None:
    names = {
        ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
        for file in (REPOSITORY / "services").rglob("*.py")
        if file.name != "__main__.py"
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *sorted(names)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "services.config" in names
    assert done.stdout == "\n", done.stdout + done.stderr


def test_the_settings_know_the_commands_whoever_asks_first() -> None:
    program = "from services.config import Settings; print('capture.pause' in Settings().mqtt.commands)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr
