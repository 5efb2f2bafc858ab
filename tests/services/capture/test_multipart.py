"""A stream's body comes in pieces of any size, with or without lengths; the parts come out whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.capture.multipart import MultipartReader, NotMultipart


@given(
    parts=st.lists(st.binary(min_size=1, max_size=60).filter(lambda part: b"--edge" not in part), max_size=5),
    piece=st.integers(1, 80),
    newline=st.sampled_from([b"\r\n", b"\n"]),
    named=st.sampled_from(["edge", "--edge"]),
)
def test_parts_with_a_length_come_out_as_they_went_in(
    parts: list[bytes], piece: int, newline: bytes, named: str
) -> None:
    body = b"".join(
        b"--edge" + newline + b"Content-Length: %d" % len(part) + newline * 2 + part + newline
        for part in parts
    )
    reader = MultipartReader(named)
    fed = [reader.feed(body[start : start + piece]) for start in range(0, len(body), piece)]
    assert [part for some in fed for part in some] == parts


def test_without_a_length_a_part_ends_at_the_boundary() -> None:
    reader = MultipartReader("edge")
    assert reader.feed(b"--edge\r\nContent-Type: image/jpeg\r\n\r\nfirst\r\n--ed") == []
    assert reader.feed(b"ge\r\n\r\nsecond\r\n--edge\r\n") == [b"first\r\n", b"second\r\n"]


@pytest.mark.parametrize(
    "body", [b"x" * 20_000, b"--edge\r\nContent-Length: 99999999999\r\n\r\n", b"\r\n\r\n" + bytes(1 << 26)]
)
def test_what_never_ends_is_refused(body: bytes) -> None:
    with pytest.raises(NotMultipart):
        MultipartReader("edge").feed(body)


def test_without_boundary_and_length_there_are_no_parts() -> None:
    with pytest.raises(NotMultipart, match="neither its boundary"):
        MultipartReader(None).feed(b"--\r\n\r\nsomething--")
