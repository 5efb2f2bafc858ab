"""A model in memory with all that reads by it."""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from messages.vision import ModelInfo
from models.bundle.bundle import Bundle
from models.bundle.digits import require_digits
from models.eye.eye import Eye
from models.inference.test_time_averaging import CarefulClassifier
from services.config import Recognizer
from services.recognizer.boxes import BoxReader
from services.recognizer.pipeline import Reader

BATCH = 5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_SPARE_BYTES = 8 << 20
"""Several times what reading a frame takes."""
_PICTURE_BYTES = 4 << 20
"""Pictures are no larger; what is, a large model, goes back to the system at once."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Ready to read frames and boxes. Not for use by two threads at once."""

    info: ModelInfo
    reader: Reader
    boxes: BoxReader
    batches: itertools.cycle[NDArray[np.uint8]]
    """The bundle's golden digits, five at a time, round and round."""

    def exercise(self) -> int:
        """Classify a few golden digits; returns how many. Raises models.inference.runtime.ModelError."""
        crops = next(self.batches)
        self.reader.classifier.classify(crops)
        return len(crops)


def load(folder: Path, settings: Recognizer) -> LoadedModel:
    """The bundle in `folder`, each of its interpreters run once: the first frame is not to wait for that.

    Raises models.refusal.Refusal (BundleError, ModelError), models.inference.gate.GateError.
    """
    bundle = Bundle.load(folder)
    manifest = bundle.manifest
    require_digits(manifest.labels, f"{manifest.name} {manifest.version}")
    classifier = CarefulClassifier(bundle)
    info = ModelInfo(name=manifest.name, version=manifest.version, digest=bundle.digest)
    eye = Eye.of(bundle)
    reader = Reader(classifier, eye, certainty=settings.certainty, min_digits=settings.min_digits)
    reader.read(np.zeros((480, 640), np.uint8))
    crops = bundle.golden().crops
    classifier.classify(crops[:1])
    classifier.classify(crops[:BATCH])
    return LoadedModel(
        info,
        reader,
        BoxReader(classifier, info, settings.certainty),
        itertools.cycle([crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]),
    )


def keep_memory() -> None:
    """Have glibc keep what a frame gives back for the next one, in one heap for all threads (mallopt(3)).

    Otherwise every picture on the way is made of new pages, which the kernel must clear; and each swap, its
    model loaded in a thread, spreads over several heaps that never shrink. Another libc has no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _SPARE_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _PICTURE_BYTES)
        mallopt(_M_ARENA_MAX, 1)
