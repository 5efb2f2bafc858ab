"""Scenes drawn by another process while the network learns, each shown a few times."""

from __future__ import annotations

import multiprocessing
import queue
from typing import Any

import numpy as np

from tools.train.eye.canvas import Array, Random
from tools.train.eye.scenes import SceneMaker

SIDE, LARGE_SIDE = 288, 576
"""Pixels a side of small scenes, and of large ones, whose middle no edge is near enough to be felt.

Without the large ones, centres appear in the empty middle of a frame.
"""
_LARGE_SHARE = 0.45
"""Of batches."""
_LARGE_DRAWN = 0.2
"""Of the scenes drawn."""
_SIZE, _LARGE_SIZE = 1800, 500
"""How many scenes are kept."""
_REUSE, _MOST_REUSE = 3.0, 4.0
"""How often a scene is shown on average: where drawing keeps up, and at most."""

Learned = tuple[Array, ...]


class ScenePool:
    """Two stores of scenes, filled by one process of its own; leave it with `close`."""

    def __init__(self, maker: SceneMaker, seed: int, fewest: int = 600) -> None:
        """Begin to draw; training waits for the `fewest` scenes, since so few are learned by heart."""
        context = multiprocessing.get_context("fork")  # it shares the pictures that `maker` has loaded
        self._queue: Any = context.Queue(48)
        self._process = context.Process(target=_draw, args=(maker, seed, self._queue), daemon=True)
        self._process.start()
        self._scenes: dict[int, list[Learned]] = {SIDE: [], LARGE_SIDE: []}
        self._fewest, self._shown, self.drawn = fewest, 0, 0

    def batch(self, rng: Random, small: int, large: int) -> list[Learned]:
        """Scenes of one size at random, `small` or `large` of them; waits where scenes were shown too often.

        Raises RuntimeError where the drawing process has ended.
        """
        while (
            self.drawn < self._fewest
            or self._shown > _MOST_REUSE * self.drawn
            or not all(self._scenes.values())
        ):
            self._take(rng, wait=True)
        while self.drawn < max(self._shown / _REUSE, _SIZE) and self._take(rng, wait=False):
            pass
        is_large = rng.random() < _LARGE_SHARE
        scenes, count = (self._scenes[LARGE_SIDE], large) if is_large else (self._scenes[SIDE], small)
        self._shown += count
        return [scenes[int(number)] for number in rng.integers(0, len(scenes), count)]

    def _take(self, rng: Random, *, wait: bool) -> bool:
        try:
            scene = self._queue.get(timeout=1) if wait else self._queue.get_nowait()
        except queue.Empty:
            if not self._process.is_alive():
                raise RuntimeError("The process that draws scenes has ended; its error is above.") from None
            return False
        side = len(scene[0])
        scenes, most = self._scenes[side], _SIZE if side == SIDE else _LARGE_SIZE
        if len(scenes) < most:
            scenes.append(scene)
        else:
            scenes[int(rng.integers(most))] = scene
        self.drawn += 1
        return True

    def close(self) -> None:
        """End the drawing process."""
        self._process.terminate()
        self._process.join()


def _draw(maker: SceneMaker, seed: int, scenes: Any) -> None:
    scenes.cancel_join_thread()  # what is drawn is not waited for at the end
    choose = np.random.default_rng(seed)
    parent = multiprocessing.parent_process()
    while True:
        large = choose.random() < _LARGE_DRAWN
        scene = maker.scene(LARGE_SIDE if large else SIDE, large=large).learned()
        while True:  # the learner may have been killed: nothing takes the scene then
            try:
                scenes.put(scene, timeout=1)
                break
            except queue.Full:
                if parent is None or not parent.is_alive():
                    return
