"""Scenes to train the eye on: real digits' ink on papers and photographs, among things that are no digits.

Example: `SceneMaker(InkSource(folder), Grounds(), Lettering(), seed=0).scene(288)`. A seed repeats itself.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from tools.train.eye.camera import posed, seen
from tools.train.eye.canvas import Array, Random, SceneCanvas, log_uniform
from tools.train.eye.figures import figure
from tools.train.eye.grounds import Grounds
from tools.train.eye.ink import InkSource
from tools.train.eye.layouts import LAYOUTS
from tools.train.eye.lettering import Lettering
from tools.train.eye.targets import TrainingScene, targets

NOTHING = "nothing"
"""The kind of scene without digits."""
KINDS = (NOTHING, *(layout.__name__ for layout in LAYOUTS))
_SHARE_OF_NOTHING = 0.36
_LARGE_KINDS = (
    *[NOTHING] * 4,
    "alone",
    "alone",
    "row",
    "row",
    "tight",
    "touching",
    "touching",
    "rows",
    "tiny",
    "grid",
)
"""Kinds of large scenes, as often as they stand here: those that don't grow with the scene."""
_SHARE_CLEAN = 0.15
"""Scenes on plain white paper with nothing else."""


class SceneMaker:
    """Draws scenes, one after another, from one seed."""

    def __init__(self, ink: InkSource, grounds: Grounds, lettering: Lettering, seed: int) -> None:
        cv2.setNumThreads(1)
        self._ink, self._grounds, self._lettering = ink, grounds, lettering
        self._rng = np.random.default_rng(seed)
        weights = np.array([_SHARE_OF_NOTHING, *((1 - _SHARE_OF_NOTHING) * np.array(list(LAYOUTS.values())))])
        self._shares = weights / weights.sum()

    def scene(self, side: int, kind: str | None = None, *, large: bool = False) -> TrainingScene:
        """One scene (side, side) of one of KINDS; without it any, or any of those for `large` scenes."""
        rng, canvas = self._rng, SceneCanvas(side)
        if kind is None:
            kind = str(rng.choice(_LARGE_KINDS) if large else rng.choice(KINDS, p=self._shares))
        layout = next((layout for layout in LAYOUTS if layout.__name__ == kind), None)
        clean = layout is not None and rng.random() < _SHARE_CLEAN
        if layout is not None:
            layout(rng, canvas, self._ink)
        if clean:
            white = 255.0 if rng.random() < 0.5 else rng.uniform(190, 255)
            ground: Array = np.full((side, side), white, np.float32)
        else:
            self._clutter(rng, canvas, empty=layout is None)
            ground = self._grounds.ground(rng, side, papers=0.35 if layout is None else 0.77)
        if rng.random() < (0.2 if clean else 0.55):
            ground = posed(rng, canvas, ground)
        grey, contrast = seen(rng, canvas, ground, self._grounds, clean=clean)
        scene = targets(canvas, grey, contrast)
        if layout is None:  # print that lies on its side is no digit either
            return replace(scene, grey=np.rot90(scene.grey, int(rng.integers(4))).copy())
        return scene

    def _clutter(self, rng: Random, canvas: SceneCanvas, *, empty: bool) -> None:
        """Words and figures: many where there are no digits, beside digits in every other scene."""
        if not empty and rng.random() < 0.5:
            return
        near = cv2.dilate(canvas.ink, np.ones((15, 15), np.uint8)) > 40 if not empty else None
        if rng.random() < (0.65 if empty else 0.6):
            self._words(rng, canvas, near, int(rng.integers(4, 60)) if empty else int(rng.integers(1, 9)))
        if rng.random() < 0.6:
            for _ in range(int(rng.integers(1, 6 if empty else 4))):
                drawn = figure(rng, canvas.side)
                if near is None or not (near & (drawn > 40)).any() or rng.random() < 0.1:
                    weight = rng.uniform(0.4, 1)
                    np.maximum(canvas.other, cv2.convertScaleAbs(drawn, alpha=weight), out=canvas.other)

    def _words(self, rng: Random, canvas: SceneCanvas, near: Array | None, count: int) -> None:
        side = canvas.side
        height, (x, y) = log_uniform(rng, 8, 0.35 * side), rng.uniform(-0.1, 0.9, 2) * side
        sideways = near is not None and rng.random() < 0.15
        for _ in range(count):
            word = self._lettering.word(rng, height * float(np.exp(rng.normal(0, 0.15))))
            if sideways:
                word = np.rot90(word)
            canvas.add(cv2.convertScaleAbs(word, alpha=rng.uniform(0.6, 1)), x, y, clear_of=near)
            x += word.shape[1] + 0.5 * height
            if x > side:
                x, y = rng.uniform(-0.3, 0.2) * side, y + height * rng.uniform(1.3, 2.2)
            if y > side or rng.random() < 0.12:
                (x, y), height = rng.uniform(-0.1, 0.9, 2) * side, log_uniform(rng, 8, 0.45 * side)
