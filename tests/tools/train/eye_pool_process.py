"""Begins to draw scenes from a data folder, says the drawing process's id, and waits to be killed."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from pathlib import Path

from tools.train.eye.grounds import Grounds
from tools.train.eye.ink import InkSource
from tools.train.eye.lettering import Lettering
from tools.train.eye.pool import ScenePool
from tools.train.eye.scenes import SceneMaker

pool = ScenePool(
    SceneMaker(InkSource(Path(sys.argv[1])), Grounds(folders=(), drawn=1), Lettering(count=10), 1), seed=1
)
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
signal.pause()
