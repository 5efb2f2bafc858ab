"""How a command ends: quietly, or with one sentence on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from tools.terminal.output import say

INTERRUPTED = 130


class Problem(Exception):
    """What the user asked can't be done; the message says why and what to do."""


def stop(sentence: str, exit_code: int = 1) -> NoReturn:
    """End the command with a sentence."""
    say(f"smartcar: {sentence}", file=sys.stderr)
    sys.exit(exit_code)


def warn(sentence: str) -> None:
    """Say it, and go on."""
    say(f"smartcar: {sentence}", file=sys.stderr)


def finish(exit_code: int) -> None:
    """End the command with an exit code."""
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
    except Exception as error:
        if not _is_for_users(error):
            raise
        say(f"smartcar: {error}", file=sys.stderr)
        return 1
    return 0


def _is_for_users(error: Exception) -> bool:
    """Whether its message is a sentence for the user. By name, so that nothing is imported for it."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return not names.isdisjoint(
        {
            "tools.terminal.problems.Problem",
            "models.refusal.Refusal",
            "tools.up.command.CannotStart",
            "tools.up.embedded_broker.BrokerCannotStart",
            "services.config_file.ConfigError",
        }
    )
