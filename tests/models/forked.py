"""Try many cases in few forked children: what crashes one takes the child with it, and the next goes on."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Case = TypeVar("Case")

PATIENCE_S = 60


def outcomes(cases: Sequence[Case], attempt: Callable[[Case], str]) -> list[str]:
    """What `attempt` answers to each case; `crashed: SIGNAL` where it took its process along.

    An exception's text is the answer `raised: …`.
    """
    found: list[str] = []
    while len(found) < len(cases):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            _child(cases[len(found) :], attempt, write)
        os.close(write)
        with open(read) as lines:
            found += [json.loads(line) for line in lines]
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            found.append(f"crashed: {signal.Signals(os.WTERMSIG(status)).name}")
    return found


def _child(cases: Sequence[Any], attempt: Callable[[Any], str], write: int) -> None:
    """Never returns."""
    signal.alarm(PATIENCE_S)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for case in cases:
        try:
            answer = attempt(case)
        except BaseException as error:
            answer = f"raised: {type(error).__name__}: {error}"
        os.write(write, json.dumps(answer).encode() + b"\n")
    os._exit(0)
