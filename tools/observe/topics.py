"""`smartcar topics`: the table of topics."""

from __future__ import annotations

from typing import Any

from messages.topics import Topic
from services.catalogue import TOPICS
from tools.terminal.output import print_json, print_table


def show(*, json: bool) -> None:
    """Print the table, or one object a topic."""
    if json:
        for row in TOPICS.values():
            print_json(describe(row))
        return
    print_table(
        ("topic", "message", "kind", "owner", "rate", "MQTT", ""),
        (
            (
                row.name,
                row.message.__name__,
                row.kind.value,
                row.owner,
                f"{row.hertz:g}/s" if row.hertz else "on change" if row.kind.value == "state" else "–",
                row.mirror.topic if row.mirror else "–",
                row.about,
            )
            for row in TOPICS.values()
        ),
    )


def describe(row: Topic) -> dict[str, Any]:
    """One row of the table, for programs. `mqtt` is below `smartcar/<car>/`."""
    mirror = row.mirror
    return {
        "topic": row.name,
        "message": row.message.__name__,
        "kind": row.kind.value,
        "owner": row.owner,
        "hertz": row.hertz,
        "journalled": row.journalled,
        "mqtt": {"topic": mirror.topic, "qos": mirror.qos, "retain": mirror.retain} if mirror else None,
        "about": row.about,
    }
