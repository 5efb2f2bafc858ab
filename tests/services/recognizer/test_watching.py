"""Reading frame after frame: around known codes as in whole frames, and nothing new is missed for long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import models
from models.bundle.bundle import Bundle
from models.geometry import BoundingBox
from models.inference.runtime import Classifier
from models.ink import synthetic_handwriting
from models.ink.strokes import render
from services.recognizer.pipeline import Reader
from services.recognizer.reading import Line
from services.recognizer.watching import EVERY, FrameReader
from tools.bench.pages import Look, enlarged, page
from tools.train.data.pen import BOX, BRUSH

Pixels = NDArray[np.uint8]
_FRAME_NS = 33_333_333


class _CountingReader(Reader):
    """Also counts its looks at whole frames and at parts of them."""

    whole = parts = 0

    def read(self, frame: Pixels, parts: Sequence[BoundingBox] = ()) -> list[Line]:
        if parts:
            self.parts += 1
        else:
            self.whole += 1
        return super().read(frame, parts)


@pytest.fixture
def reader() -> _CountingReader:
    return _CountingReader(Classifier(Bundle.load(Path(models.__file__).parent / "factory")))


def sheet(*rows: str, tall: float = 44) -> Pixels:
    """A page with these rows by the built-in hand."""
    inks = [
        [
            enlarged(render(synthetic_handwriting.into_box(strokes, 0, 0, BOX, BOX), (BOX, BOX), BRUSH))
            for strokes in synthetic_handwriting.write(text, seed)
        ]
        for seed, text in enumerate(rows)
    ]
    return page(inks, Look(tall=tall), np.random.default_rng(5))


def texts(lines: Sequence[Line]) -> list[str]:
    return [line.text for line in lines]


def test_a_row_that_moves_reads_as_in_whole_frames_with_few_looks_at_them(reader: _CountingReader) -> None:
    still, frames = sheet("31742"), FrameReader()
    for number in range(12):
        moved = np.array([[1, 0, 2.0 * number], [0, 1, -1.5 * number]])
        frame = np.asarray(
            cv2.warpAffine(still, moved, (640, 480), borderMode=cv2.BORDER_REPLICATE), np.uint8
        )
        lines = frames.read(reader, frame, number * _FRAME_NS)
        assert texts(lines) == ["31742"]
        (whole,) = Reader.read(reader, frame)
        assert np.abs(np.subtract(lines[0].box, whole.box)).max() <= 4
    assert (reader.whole, reader.parts) == (12 // EVERY, 12 - 12 // EVERY)


def test_a_new_row_is_read_with_the_next_look_at_the_whole_frame(reader: _CountingReader) -> None:
    frames, both = FrameReader(), sheet("31742", "68053", "90126")
    one = both.copy()
    one[200:] = 205  # as bright as the page
    assert texts(frames.read(reader, one, 0)) == ["31742"]
    seen = [texts(frames.read(reader, both, (1 + number) * _FRAME_NS)) for number in range(EVERY)]
    assert seen[-1] == ["31742", "68053", "90126"]


def test_a_row_that_goes_is_gone_at_once(reader: _CountingReader) -> None:
    frames, empty = FrameReader(), np.full((480, 640, 3), 200, np.uint8)
    assert texts(frames.read(reader, sheet("31742"), 0)) == ["31742"]
    assert frames.read(reader, empty, _FRAME_NS) == []
    assert reader.whole == 2, "where the known row is missed, the whole frame is looked at"


def test_another_reader_a_size_or_a_pause_begins_with_the_whole_frame(reader: _CountingReader) -> None:
    frames, frame = FrameReader(), sheet("31742")
    frames.read(reader, frame, 0)
    other = _CountingReader(reader.classifier)
    frames.read(other, frame, _FRAME_NS)
    assert (other.whole, other.parts) == (1, 0)
    frames.read(other, frame[:448], 2 * _FRAME_NS)
    assert (other.whole, other.parts) == (2, 0)
    frames.read(other, frame[:448], 10_000_000_000)
    assert (other.whole, other.parts) == (3, 0)


def test_codes_that_fill_the_frame_are_looked_at_in_whole_frames(reader: _CountingReader) -> None:
    frames, frame = FrameReader(), sheet("317", "680", "901", tall=110)
    for number in range(EVERY):
        assert len(frames.read(reader, frame, number * _FRAME_NS)) == 3
    assert reader.parts == 0
