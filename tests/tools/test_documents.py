"""The documents for students, in both languages: their commands exist, and so do the places they point to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tests.conftest import REPOSITORY
from tools.cli import app

KOREAN = (REPOSITORY / "README.ko.md", *sorted((REPOSITORY / "docs" / "ko").glob("*.md")))
DOCUMENTS = (*KOREAN, REPOSITORY / "README.md", *(REPOSITORY / "docs" / each.name for each in KOREAN[1:]))
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
COMMAND = re.compile(r"(?:^|`)(?:\.venv/bin/)?smartcar ([^`#\n]+)", re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_every_command_exists_with_its_options(document: Path) -> None:
    text = document.read_text("utf-8")
    inline = re.findall("`[^`]+`", FENCE.sub("", text))
    found = COMMAND.findall("\n".join((*FENCE.findall(text), *inline)))
    assert found
    for line in found:
        command: Any = get_command(app)  # of the click that typer brings
        words = line.split()
        while words and words[0] in (below := getattr(command, "commands", {})):
            command = below[words.pop(0)]
        assert not (words and words[0].isalpha() and hasattr(command, "commands")), f"smartcar {line}"
        known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known, f"smartcar {line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text("utf-8")):
        if target.startswith("http"):
            continue
        name, _, heading = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        if heading:
            titles = re.findall(r"(?m)^#+ (.+)$", file.read_text("utf-8"))
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in titles}, (
                target
            )
