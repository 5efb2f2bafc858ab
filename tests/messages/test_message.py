"""The codec: what goes in comes out, and nothing but a message comes out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.message import MalformedMessage, Message, decode, encode, new_ulid
from messages.vision import Box, Code, Digit, ModelInfo, Reading
from services.catalogue import COMMANDS, TOPICS

boxes = st.builds(
    Box,
    x=st.integers(-10_000, 10_000),
    y=st.integers(-10_000, 10_000),
    width=st.integers(1, 10_000),
    height=st.integers(1, 10_000),
)
confidences = st.floats(0, 1)
digits = st.builds(
    Digit,
    label=st.sampled_from("0123456789?"),
    confidence=confidences,
    runner_up=st.sampled_from("0123456789"),
    runner_up_confidence=confidences,
    box=boxes,
)
codes = st.lists(digits, min_size=1, max_size=8).flatmap(
    lambda each: st.builds(
        Code,
        text=st.just("".join(digit.label for digit in each)),
        confidence=confidences,
        box=boxes,
        digits=st.just(tuple(each)),
    )
)
readings = st.builds(
    Reading,
    frame_id=st.integers(0, 2**53),
    captured_ns=st.integers(0, 2**63 - 1),
    width=st.integers(1, 8192),
    height=st.integers(1, 8192),
    codes=st.lists(codes, max_size=4).map(tuple),
    model=st.builds(ModelInfo, name=st.text(), version=st.text(), digest=st.text()),
    latency_ms=st.floats(0, 1e9),
)


@given(readings, st.integers(1, 2**53))
def test_what_is_encoded_decodes_to_the_same(reading: Reading, sequence: int) -> None:
    stamped = reading.stamped("recognizer", "b00t", sequence)
    assert decode(Reading, encode(stamped)) == stamped


@given(st.binary(max_size=400))
def test_no_bytes_but_a_message_decode(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode(Reading, payload)


@given(readings, st.data())
def test_a_damaged_message_is_malformed_or_still_valid_never_a_crash(
    reading: Reading, data: st.DataObject
) -> None:
    payload = bytearray(encode(reading.stamped("recognizer", "b00t", 1)))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decoded = decode(Reading, bytes(payload))
    except MalformedMessage:
        return
    assert isinstance(decoded, Reading)


@given(readings)
def test_a_newer_programs_unknown_field_is_ignored_but_another_version_is_not(reading: Reading) -> None:
    content = json.loads(encode(reading))
    content["colour"] = "red"
    assert decode(Reading, json.dumps(content).encode()) == reading
    content["version"] = Reading.VERSION + 1
    with pytest.raises(MalformedMessage, match="version"):
        decode(Reading, json.dumps(content).encode())


def test_a_message_too_large_for_the_bus_is_refused_unread() -> None:
    with pytest.raises(MalformedMessage, match="allowed"):
        decode(Reading, b" " * (2 << 20))


def test_ulids_are_unique_and_sort_by_their_time() -> None:
    made = [new_ulid() for _ in range(2000)]
    assert len(set(made)) == len(made)
    assert [each[:10] for each in made] == sorted(each[:10] for each in made)
    assert all(len(each) == 26 and each[0] <= "7" for each in made)


@pytest.mark.parametrize("row", TOPICS.values(), ids=lambda row: row.name)
def test_each_row_of_the_table_is_sound(row: object) -> None:
    from messages.topics import EVERY_SERVICE, Topic, TopicKind
    from services.catalogue import SERVICES

    assert isinstance(row, Topic)
    assert issubclass(row.message, Message)
    assert row.owner in (*SERVICES, EVERY_SERVICE)
    assert "\0" not in row.name
    assert row.about
    assert not row.journalled or row.kind is TopicKind.EVENT
    if row.mirror:
        assert set(row.mirror.on_change_of) <= set(row.message.model_fields)
        assert row.mirror.payload_field in ("", *row.message.model_fields)
        assert not (row.kind is TopicKind.EVENT and row.mirror.retain), (
            "a retained event would come again and again"
        )
    assert row.message.model_json_schema()["properties"].keys() >= {"source", "boot_id", "sequence"}


@pytest.mark.parametrize("verb", COMMANDS)
def test_each_command_is_addressed_to_a_service_and_documented(verb: str) -> None:

    from services.catalogue import SERVICES

    command = COMMANDS[verb]
    assert command.verb == verb
    assert command.service in SERVICES
    assert command.about
    assert command.model_json_schema()["additionalProperties"] is False
