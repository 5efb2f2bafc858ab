"""Why a model is not taken: the error, and the table of its codes.

`python -m models.refusal` prints the table as it stands in docs/models.md.
"""

from __future__ import annotations

from messages.errors import MODEL_CODES, ErrorCode, UserError


class Refusal(UserError):
    """A model, key or command that is not taken."""

    @property
    def reason(self) -> ErrorCode:
        return self.code


class BundleError(Refusal):
    """A folder, or files, that can't be used as a bundle."""


def table() -> str:
    """All reason codes as a table in Markdown."""
    return "\n".join(
        ["| code | what it means, what to do |", "| --- | --- |"]
        + [f"| `{reason}` | {reason.meaning} |" for reason in MODEL_CODES]
    )


if __name__ == "__main__":
    print(table())
