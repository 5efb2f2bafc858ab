"""`docs/mqtt.md` names all that appears on MQTT."""

from __future__ import annotations

import pytest

from messages.topics import TOPICS, Topic
from services.bridge import documents
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "mqtt.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", [row for row in TOPICS if row.mirror is not None], ids=lambda row: row.name)
def test_every_mirrored_topic_is_described_as_it_is(row: Topic) -> None:
    assert row.mirror is not None
    name = row.mirror.topic.format(source="<service>")
    retained = "yes" if row.mirror.retain else "no"
    assert f"| `{name}` | {row.mirror.qos} | {retained} |" in TEXT


@pytest.mark.parametrize("topic", [documents.STATUS, documents.INFO, documents.METRICS, documents.REPLY])
def test_every_topic_of_the_car_as_a_whole_is_described(topic: str) -> None:
    assert f"| `{topic}" in TEXT
