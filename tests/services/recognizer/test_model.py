"""What the recognizer's process does about memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FRAMES = """
import resource
import numpy as np
from services.recognizer.model import keep_memory

def read_frame():
    pictures = [np.ones((480, 640), np.uint8) for _ in range(8)]

keep_memory()
for _ in range(3):
    read_frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    read_frame()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_what_a_frame_gives_back_is_kept_for_the_next() -> None:
    """Else each frame would fetch some 600 pages from the system."""
    child = subprocess.run([sys.executable, "-c", FRAMES], capture_output=True, text=True, check=True)
    assert int(child.stdout) < 100
