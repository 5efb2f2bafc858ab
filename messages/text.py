"""Text from strangers, made fit for a terminal: file names, model names, what a broker or a server says.

print(printable(name))
"""

from __future__ import annotations

import os
import unicodedata

_LONGEST = 200


def printable(text: str, longest: int = _LONGEST) -> str:
    """The text without what steers a terminal or turns its direction round, and no longer than that."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(_fit(character) for character in cut)


def file_name(path: str | os.PathLike[str]) -> str:
    """The last part of a path, printable; what is no UTF-8 in it becomes `�`."""
    return printable(os.path.basename(os.fsencode(path)).decode(errors="replace"))


def escaped(path: str | os.PathLike[str]) -> str:
    """A path as text, whatever its bytes: what is no UTF-8 becomes `\\xNN`, a backslash two."""
    return os.fsencode(os.fspath(path).replace("\\", "\\\\")).decode(errors="backslashreplace")


def unescaped(text: str) -> str:
    """The path that `escaped` wrote."""
    return os.fsdecode(text.encode().decode("unicode_escape").encode("latin-1"))


def _fit(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Zl", "Zp") or character in "\t\n\r":
        return " "
    return "�" if category.startswith("C") else character
