"""Files that commands write where the user asks: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from messages import durable
from tools.terminal.problems import Problem


def write_output(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file anew, with just that mode. Raises Problem, and a file that was there is as it was."""
    try:
        durable.replace_file(path, content, mode)
    except OSError as error:
        raise Problem(f"{path} can't be written ({error.strerror}); name another place.") from None
