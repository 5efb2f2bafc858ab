"""The network in training: what it begins from, and how a step changes it."""

from __future__ import annotations

import numpy as np
import pytest

from models.bundle.bundle import Bundle
from models.inference.runtime import Classifier
from tests.models.making import FACTORY
from tools.train.start import begin_from, weights


def test_a_bundles_weights_in_the_order_they_run() -> None:
    layers = list(weights(Bundle.load(FACTORY).model))
    assert layers[0][0].shape[:3] == (3, 3, 1)
    assert layers[-1][0].shape[1] == 10
    assert all(kernel.dtype == bias.dtype == np.float32 for kernel, bias in layers)
    assert all(np.isfinite(kernel).all() and kernel.std() > 0 for kernel, _ in layers)


def test_a_network_that_begins_from_a_bundle_answers_as_it_does() -> None:
    pytest.importorskip("tensorflow")
    from tools.train.fit import as_input, logits
    from tools.train.network import build

    bundle = Bundle.load(FACTORY)
    crops = bundle.golden().crops
    model = build(16, 0)
    begin_from(model, bundle, as_input(crops))
    raw = logits(model, crops) / bundle.manifest.calibration.temperature
    probabilities = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    assert np.abs(probabilities - Classifier(bundle).classify(crops)).max() < 0.05
    with pytest.raises(ValueError, match="give the width it was trained with"):
        begin_from(build(8, 0), bundle, as_input(crops))


def test_a_step_of_the_optimiser_turns_filters_by_the_same_amount_whatever_their_gradient() -> None:
    pytest.importorskip("tensorflow")
    import keras

    from tools.train.optimizer import muon

    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(3, 3, 8, 16)).astype(np.float32)
    steps = []
    for strength in (1e-3, 10.0):
        kernel = keras.Variable(np.zeros((3, 3, 8, 16), np.float32))
        muon(0.01, 0.0).apply([strength * gradient], [kernel])
        steps.append(kernel.numpy().reshape(72, 16))
    assert np.allclose(steps[0], steps[1], atol=1e-5)
    turned = np.linalg.svd(steps[0], compute_uv=False)
    assert turned.max() / turned.min() < 2.5, "nearly orthogonal: every direction counts"
