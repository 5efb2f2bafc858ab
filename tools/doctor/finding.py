"""What a check of the doctor finds, and what a check is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tools.doctor.context import CheckContext

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line: how it is, and where that is not well, what to do."""

    level: Level
    sentence: str
    remedy: str = ""


def ok(sentence: str) -> Finding:
    return Finding("ok", sentence)


def warning(sentence: str, remedy: str) -> Finding:
    """The car does without, or will not for long."""
    return Finding("warning", sentence, remedy)


def error(sentence: str, remedy: str) -> Finding:
    """Something that the car is for does not work."""
    return Finding("error", sentence, remedy)


def as_error(sentence: str) -> Finding:
    """A service's own words: what is wrong, and after the first semicolon what to do."""
    what, _, remedy = sentence.partition("; ")
    return error(what, remedy or "see the log: journalctl -u 'smartcar-*', or what smartcar up prints")


@dataclass(frozen=True)
class Check:
    """One row of the table: what is looked at, by which `module.function`, and for how long."""

    name: str
    about: str
    function: str
    limit_s: float = 5.0

    def load(self) -> Callable[[CheckContext], Iterable[Finding]]:
        """The function; imported only in the process that runs it."""
        module, _, name = self.function.partition(".")
        function: Callable[[CheckContext], Iterable[Finding]] = getattr(
            import_module(f"tools.doctor.{module}"), name
        )
        return function
