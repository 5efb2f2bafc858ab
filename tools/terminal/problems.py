"""How a command ends: quietly, or with one sentence on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from messages.errors import ErrorCode, UserError
from tools.terminal.output import say

INTERRUPTED = 130


class Problem(UserError):
    """What the user asked can't be done; the sentence says why and what to do."""

    def __init__(self, sentence: str, remedy: str = "") -> None:
        super().__init__(ErrorCode.FAILED, sentence, remedy)


def stop(sentence: str, exit_code: int = 1) -> NoReturn:
    warn(sentence)
    sys.exit(exit_code)


def warn(sentence: str) -> None:
    """Say it, and go on. Further lines are indented, so that none can pass for one of ours."""
    first, *further = sentence.split("\n")
    for line in (f"smartcar: {first}", *(f"  {line}" for line in further)):
        say(line, file=sys.stderr)


def finish(exit_code: int) -> None:
    if exit_code:
        sys.exit(exit_code)


def guarded(command: Callable[[], object]) -> int:
    """Run the command line; returns the exit code."""
    try:
        command()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except UserError as error:
        warn(str(error))
        return 1
    return 0
