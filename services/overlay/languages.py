"""The languages of the page, for what the server itself says to people: English, or as the browser asks."""

from __future__ import annotations

import json
from functools import cache
from http import HTTPStatus
from pathlib import Path

PAGE = Path(__file__).parent / "page"
LANGUAGES = ("en", "ko")
"""Each has a table of texts, `page/<language>.json`; the page looks up its own there, too."""


@cache
def texts(language: str) -> dict[str, str | dict[str, str]]:
    """By key: a text, or its plural forms."""
    table: dict[str, str | dict[str, str]] = json.loads((PAGE / f"{language}.json").read_bytes())
    return table


def preferred(accept_language: str) -> str:
    """The first of ours in the header Accept-Language, which browsers send in the order of preference."""
    wanted = (each.partition(";")[0].strip().lower() for each in accept_language[:200].split(","))
    return next((short for each in wanted if (short := each.partition("-")[0]) in LANGUAGES), "en")


def refusal(accept_language: str, status: HTTPStatus, english: str) -> str:
    """Why a request is refused, for who sent it."""
    return str(texts(preferred(accept_language)).get(f"refused.{status.value}", english))
