"""The manifest: its schema, and which bundles a car takes by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.bundle.manifest import Manifest, admit, manifest_schema
from models.refusal import Refusal
from tests.models.making import FACTORY

SHIPPED = Manifest.model_validate_json((FACTORY / "manifest.json").read_bytes())
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def changed(**fields: Any) -> Manifest:
    return Manifest.model_validate({**SHIPPED.model_dump(), **fields})


@pytest.mark.parametrize(
    ("fields", "car", "now", "newest", "reason"),
    [
        ({}, "car7", NOW, None, None),
        ({}, "car7", NOW, 1, None),
        ({"release": 3}, "car7", NOW, 4, "older"),
        ({"target": "car7"}, "car7", NOW, None, None),
        ({"target": "car8"}, "car7", NOW, None, "not_for_this_car"),
        ({"target": "lab"}, "car7", NOW, None, None),
        ({"expires": NOW}, "car7", NOW, None, "expired"),
        ({"expires": NOW + timedelta(seconds=1)}, "car7", NOW, None, None),
        ({"expires": NOW - timedelta(days=400)}, "car7", None, None, None),
        ({"expires": NOW - timedelta(days=400), "release": 3}, "car7", None, 4, "older"),
    ],
)
def test_which_bundles_a_car_takes(
    fields: dict[str, Any], car: str, now: datetime | None, newest: int | None, reason: str | None
) -> None:
    """With a clock that was never set, only the counter decides."""

    def ask() -> None:
        admit(changed(**fields), car=car, groups=["lab"], now=now, newest_release=newest)

    if reason is None:
        ask()
    else:
        with pytest.raises(Refusal) as refused:
            ask()
        assert refused.value.reason == reason


def test_the_schema_names_every_field_and_what_is_due() -> None:
    schema = manifest_schema()
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert {"name", "version", "release", "issued", "files", "labels", "golden"} == set(schema["required"])
    json.dumps(schema)


def test_an_imported_models_source_survives_the_file() -> None:
    source = {"file": "model_trained.h5", "format": "h5", "size": 1, "sha256": "0" * 64, "accuracy": 0.75}
    manifest = changed(imported=source)
    again = Manifest.model_validate_json(manifest.model_dump_json())
    assert again == manifest
    assert again.imported is not None
    assert again.imported.file == "model_trained.h5"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(Manifest.model_fields)), value=json_values)
def test_any_value_in_any_field_is_taken_or_refused_and_nothing_else(field: str, value: Any) -> None:
    content = {**json.loads((FACTORY / "manifest.json").read_text()), field: value}
    attempt: Callable[[], Manifest] = lambda: Manifest.model_validate_json(json.dumps(content))  # noqa: E731
    try:
        manifest = attempt()
    except ValidationError:
        return
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
