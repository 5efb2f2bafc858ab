"""Why a model is not taken: the error, and the table of its codes.

`python -m models.refusal` prints the table as it stands in docs/models.md.
"""

from __future__ import annotations

from messages.errors import ErrorCode as Reason
from messages.errors import UserError

__all__ = ["REASONS", "BundleError", "Reason", "Refusal"]

REASONS = tuple(Reason)[tuple(Reason).index(Reason.BUSY) :]
"""The codes with which a model is not taken."""


class Refusal(UserError):
    """A model, key or command that is not taken."""

    @property
    def reason(self) -> Reason:
        """The code."""
        return self.code


class BundleError(Refusal):
    """A folder, or files, that can't be used as a bundle."""


def table() -> str:
    """All reason codes as a table in Markdown."""
    return "\n".join(
        ["| code | what it means, what to do |", "| --- | --- |"]
        + [f"| `{reason}` | {reason.meaning} |" for reason in REASONS]
    )


if __name__ == "__main__":
    print(table())
