"""The two files as text."""

from __future__ import annotations

import json


def markdown() -> str:
    """docs/mqtt.md."""
    from tools.interface.markdown import page

    return page()


def asyncapi() -> str:
    from tools.interface.asyncapi import document

    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
