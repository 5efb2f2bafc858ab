"""docs/models.md says what the code does: every reason code, every layer."""

from __future__ import annotations

import re

from messages.errors import COMMAND_CODES, MODEL_CODES
from models.importing.keras.activations import ACTIVATIONS
from models.importing.keras.layers import KNOWN
from models.refusal import table
from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "models.md").read_text(encoding="utf-8")


def test_the_table_of_reason_codes_is_the_codes_own() -> None:
    """`python -m models.refusal` prints it anew."""
    assert DOCUMENT.endswith("\n\n" + table() + "\n")


def test_every_meaning_says_what_to_do() -> None:
    for reason in MODEL_CODES:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason)
        assert reason.meaning.endswith(".")
    for reason in COMMAND_CODES:
        assert reason.meaning.endswith(".")


def test_the_layers_and_activations_are_those_that_are_read() -> None:
    assert ", ".join(KNOWN) in " ".join(DOCUMENT.split())
    assert ", ".join(sorted(ACTIVATIONS)) in " ".join(DOCUMENT.split())
