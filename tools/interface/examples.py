"""What a running car really said. `tests/tools/interface/record_examples.py` records it anew."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

_LONGEST = 90
_DIGEST = re.compile(r"[0-9a-f]{64}")

EXAMPLES = Path(__file__).with_name("examples.json")


class Asked(BaseModel):
    """A command as it was sent, and the answer that came."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: dict[str, Any]
    reply: dict[str, Any]


class Examples(BaseModel):
    """`said` by topic, `asked` by verb; `refused` is the answer to a command that can't be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    said: dict[str, dict[str, Any]]
    asked: dict[str, Asked]
    refused: Asked


@cache
def examples() -> Examples:
    return Examples.model_validate_json(EXAMPLES.read_bytes())


def write(recorded: Examples) -> None:
    """Put others in their place."""
    text = json.dumps(recorded.model_dump(), indent=1, ensure_ascii=False)
    EXAMPLES.write_text(text + "\n", encoding="utf-8")


def shortened(value: Any, *, items: int = 0, digests: bool = False) -> Any:
    """Long texts and fractions are cut, so that a page of examples stays one.

    `items`: longer lists, too; `digests`: digests, too.
    """
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str):
        if digests and _DIGEST.fullmatch(value):
            return value[:10] + "…"
        return value if len(value) <= _LONGEST else value[:60] + "…"
    if isinstance(value, dict):
        return {key: shortened(each, items=items, digests=digests) for key, each in value.items()}
    if isinstance(value, list):
        kept = [shortened(each, items=items, digests=digests) for each in value]
        return [*kept[:items], "…"] if items and len(kept) > items + 3 else kept
    return value
