"""What somebody who trains sees: a bar that moves where a terminal is, a line an epoch everywhere."""

from __future__ import annotations

import sys
from types import TracebackType

from tools.terminal.output import console, say


class Progress:
    """A bar over all epochs, with the time left, and a line for each epoch done. A context manager."""

    def __init__(self, title: str, epochs: int, done: int = 0) -> None:
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._epochs = epochs
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console(), transient=True, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task(title, total=max(1, epochs), completed=done)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def batch(self, epoch: int, share: float) -> None:
        """So much of an epoch (from 1) is done."""
        self._bar.update(self._task, completed=epoch - 1 + share)

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is done: `row` as in a run's history."""
        told = [f"epoch {row['epoch']:.0f}/{self._epochs}: loss {row['loss']:.4f}"]
        told += [
            f"{name.replace('_', ' ')} {row[name]:.2%}"
            for name in ("train", "held_out", "test")
            if name in row
        ]
        told.append(f"{row['seconds']:.1f} s")
        self.say(", ".join(told))

    def say(self, line: str) -> None:
        """A line above the bar."""
        if self._bar.disable:
            say(line)
        else:
            self._bar.console.print(line, markup=False)
