"""What the eye's answers cost against a scene's targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from tools.train.eye.canvas import Array

_DICE_SOFTENING = 20.0
"""Pixels added to both sides of the overlap's quotient, so that a scene with little ink is no jump."""
_SIZE_WEIGHT = 0.3
"""Of an error of size by the factor 2, against one of the way by a digit's size."""


def batch_of(scenes: Sequence[tuple[Array, ...]]) -> tuple[torch.Tensor, ...]:
    """Scenes as `TrainingScene.learned` gives them, as one batch of float32 tensors."""
    return tuple(torch.from_numpy(np.stack(parts)).float() for parts in zip(*scenes, strict=True))


def relit(grey: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Grey (n, h, w), 0 to 255, as the network's input, each in another light, since scenes return."""
    count = len(grey), 1, 1
    gain = torch.rand(count, generator=generator) * 0.4 + 0.75
    shift = (torch.rand(count, generator=generator) - 0.5) * 0.3
    x = ((grey / 127.5 - 1) * gain + shift).clamp(-1, 1)
    return x[:, None].contiguous(memory_format=torch.channels_last)


def losses(answers: tuple[torch.Tensor, ...], batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The costs of ink, centres and offsets, (3,), of the network's answers to a batch of `batch_of`."""
    _, ink, ink_weight, heat, heat_weight, offset, offset_weight = batch
    return torch.stack(
        (
            _ink(
                answers[0],
                functional.pixel_unshuffle(ink[:, None] / 255, 2),
                functional.pixel_unshuffle(ink_weight[:, None], 2),
            ),
            _centres(answers[1][:, 0].float(), heat / 255, heat_weight),
            _offsets(answers[2].float(), offset, offset_weight),
        )
    )


def _ink(logits: torch.Tensor, ink: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Cross entropy, and the overlap's cost (Milletari et al., V-Net, 2016)."""
    entropy = functional.binary_cross_entropy_with_logits(logits, ink, reduction="none") * weight
    seen = torch.sigmoid(logits)
    overlap = 2 * (seen * ink * weight).sum() + _DICE_SOFTENING
    dice = 1 - overlap / ((seen * weight).sum() + (ink * weight).sum() + _DICE_SOFTENING)
    return entropy.mean() * 4 + 0.5 * dice


def _centres(logits: torch.Tensor, heat: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The focal loss of CenterNet: a centre's top counts once, what is near it counts less."""
    chance = torch.sigmoid(logits).clamp(1e-4, 1 - 1e-4)
    top = (heat > 0.999).float()
    hit = -(torch.log(chance) * (1 - chance) ** 2 * top * weight).sum()
    miss = -(torch.log(1 - chance) * chance**2 * (1 - heat) ** 4 * (1 - top) * weight).sum()
    return (hit + miss) / ((top * weight).sum() + 4)


def _offsets(answers: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Errors of the way in digit sizes, averaged over digits."""
    error = (answers - offset).abs()
    way = (error[:, 0] + error[:, 1]) * torch.exp2(-offset[:, 2])
    return ((way + _SIZE_WEIGHT * error[:, 2]) * weight).sum() / (weight.sum() + 4) * 2
