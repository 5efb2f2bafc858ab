"""Train the eye for a number of minutes; a run that was stopped goes on from its last checkpoint."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools.train.eye.export import export
from tools.train.eye.grounds import Grounds
from tools.train.eye.ink import InkSource
from tools.train.eye.lettering import Lettering
from tools.train.eye.losses import batch_of, losses, relit
from tools.train.eye.network import Eye, multiply_adds
from tools.train.eye.pool import LARGE_SIDE, SIDE, ScenePool
from tools.train.eye.scenes import NOTHING, SceneMaker
from tools.train.eye.start import begin_from
from tools.train.eye.validation import Found, held_out, validate

MINUTES = 240.0
"""How long a run trains unless told otherwise."""
CHECKPOINT, EXPORTED = "checkpoint.pt", "eye.tflite"
_BATCH = 6
_LARGE_BATCH = 2
_HIGHEST_RATE, _LOWEST_RATE = 3e-3, 3e-5
_RATE_AFTER_START = 1.5e-3
"""The highest rate where an exported eye was begun with: a higher one would undo what it learned."""
_MEASURED = 60
"""Batches from which the norms of an exported eye are measured."""
_WARM_UP = 300
"""Steps until the rate is at its highest."""
_MEAN = 0.999
"""How much of the mean of the weights stays at each step (Polyak averaging)."""
_SAVE_S, _VALIDATE_S = 120.0, 600.0
_VALIDATION_SEED, _HELD_OUT_EACH = 20_000, 16


@dataclass
class TrainingState:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0
    restarts: int = 0
    highest_rate: float = _HIGHEST_RATE


def fit(
    data: Path, run: Path, minutes: float, say: Callable[[str], None] = print, *, start: bytes | None = None
) -> Path:
    """Train on the sets of the data folder until `minutes` of training are over; returns the exported file.

    `run` holds the checkpoint; a larger `minutes` later goes on from there. A run without one begins with the
    exported eye `start`, or anew. Raises DataError.
    """
    torch.set_num_threads(1)
    run.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(run)
    say(
        f"{sum(p.numel() for p in trainer.network.parameters())} parameters, "
        f"{multiply_adds(trainer.network) / 1e6:.0f} million multiply-adds for 640x480; "
        f"from step {trainer.at.step}"
    )
    grounds, lettering = Grounds(), Lettering()
    judged = SceneMaker(InkSource(data, "validation"), grounds, lettering, _VALIDATION_SEED)
    scenes = held_out(judged, SIDE, _HELD_OUT_EACH)
    scenes |= held_out(judged, LARGE_SIDE, _HELD_OUT_EACH, (NOTHING, "alone", "row"))
    seed = 1 + trainer.at.restarts
    pool = ScenePool(SceneMaker(InkSource(data), grounds, lettering, seed), seed)
    try:
        if start is not None and trainer.at.step == 0:
            trainer.begin_from(start, pool)
        trainer.train(pool, minutes * 60, lambda: _report(validate(trainer.mean, scenes)), say)
    finally:
        pool.close()
    return run / EXPORTED


class Trainer:
    """The network, the mean of its weights and its optimizer, kept in the run's folder."""

    def __init__(self, run: Path) -> None:
        """Begin anew, or go on where the folder holds a checkpoint."""
        torch.manual_seed(0)
        self._run = run
        self.network = Eye().to(memory_format=torch.channels_last)
        self.mean = copy.deepcopy(self.network).eval()
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=_HIGHEST_RATE, weight_decay=1e-3)
        self._generator = torch.Generator()
        self.at = TrainingState()
        if (run / CHECKPOINT).is_file():
            self._load(torch.load(run / CHECKPOINT, weights_only=True))
        self._rng = np.random.default_rng([self.at.step, 7])

    def begin_from(self, exported: bytes, pool: ScenePool) -> None:
        """Take over the weights of an exported eye. Raises DataError."""
        batches = (
            relit(batch_of(pool.batch(self._rng, _BATCH, _LARGE_BATCH))[0], self._generator)
            for _ in range(_MEASURED)
        )
        begin_from(self.network, exported, batches)
        self.mean.load_state_dict(self.network.state_dict())
        self.at.highest_rate = _RATE_AFTER_START

    def train(
        self, pool: ScenePool, seconds: float, judge: Callable[[], str], say: Callable[[str], None]
    ) -> None:
        """Learn until the time is over, saving and judging at intervals."""
        costs, reported = np.zeros(3), self.at.step
        saved = validated = now = time.monotonic()
        while self.at.seconds < seconds:
            costs += self._step(pool, self.at.seconds / seconds)
            before, now = now, time.monotonic()
            self.at.seconds += min(now - before, 60.0)  # a machine that slept did not train
            if now - saved > _SAVE_S:
                saved = now
                self.save()
                mean = costs / max(self.at.step - reported, 1)
                say(
                    f"{time.strftime('%H:%M')} step {self.at.step}, {self.at.seconds / 60:.1f} min, "
                    f"{pool.drawn} scenes drawn; "
                    f"ink {mean[0]:.3f} centre {mean[1]:.3f} offset {mean[2]:.3f}"
                )
                costs[:], reported = 0, self.at.step
            if now - validated > _VALIDATE_S:
                validated = now
                say(judge())
        self.save()
        say(judge())

    def _step(self, pool: ScenePool, done: float) -> Any:
        """One step of the optimizer; the three costs."""
        falling = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        rate = _LOWEST_RATE + (self.at.highest_rate - _LOWEST_RATE) * falling
        for group in self._optimizer.param_groups:
            group["lr"] = rate * min(1.0, (self.at.step + 1) / _WARM_UP)
        batch = batch_of(pool.batch(self._rng, _BATCH, _LARGE_BATCH))
        self.network.train(len(batch[0]) > _LARGE_BATCH)  # two scenes are too few to take norms from
        parts = losses(self.network(relit(batch[0], self._generator)), batch)
        self._optimizer.zero_grad(set_to_none=True)
        parts.sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimizer.step()
        self.at.step += 1
        self._average()
        return parts.detach().numpy()

    def _average(self) -> None:
        keep = min(_MEAN, (self.at.step + 1) / (self.at.step + 20))
        with torch.no_grad():
            pairs = zip(self.mean.state_dict().values(), self.network.state_dict().values(), strict=True)
            for mean, latest in pairs:
                if mean.is_floating_point():
                    mean.lerp_(latest, 1 - keep)
                else:
                    mean.copy_(latest)

    def save(self) -> None:
        """Write the checkpoint and the exported mean, each whole or not at all."""
        state = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "at": vars(self.at),
        }
        partial = self._run / f".{CHECKPOINT}-{os.getpid()}"
        torch.save(state, partial)
        partial.replace(self._run / CHECKPOINT)
        partial.write_bytes(export(self.mean))
        partial.replace(self._run / EXPORTED)

    def _load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"])
        self.at = TrainingState(**state["at"])
        self.at.restarts += 1


def _report(found: dict[str, Found]) -> str:
    """One line a kind of scene."""
    rows = [f"{'':12} digits   found invented   voted overlap"]
    for kind, f in found.items():
        share = f.found / f.digits if f.digits else 1.0
        rows.append(f"{kind:12} {f.digits:6} {share:7.1%} {f.invented:8} {f.voted:7.1%} {f.overlap:7.3f}")
    return "\n".join(rows)
