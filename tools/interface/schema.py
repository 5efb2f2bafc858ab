"""JSON Schemas of messages, with what their docstrings say, in the dialect that AsyncAPI reads."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

TEMPLATE = "#/components/schemas/{model}"
Mode = Literal["validation", "serialization"]


def schemas(
    models: Iterable[tuple[type[BaseModel], Mode]],
) -> tuple[dict[tuple[type[BaseModel], Mode], JsonSchemaValue], dict[str, Any]]:
    """(a reference for each model, the schemas that they refer to, by name)."""
    wanted = list(models)
    references, whole = models_json_schema(wanted, ref_template=TEMPLATE, schema_generator=_WithDocstrings)
    return {each: references[each] for each in wanted}, _draft_7(whole.get("$defs", {}))


@cache
def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below a model's fields, on one line each."""
    docs: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            docs.update(_docs_in(cls))
    return docs


def _docs_in(cls: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for field, doc in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(doc, ast.Expr)
            and isinstance(doc.value, ast.Constant)
            and isinstance(doc.value.value, str)
        ):
            docs[field.target.id] = " ".join(doc.value.value.split())
    return docs


class _WithDocstrings(GenerateJsonSchema):
    """Fields are described by their docstrings; titles, which only repeat names, are left out."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        properties = made.get("properties", {})
        for name, doc in field_docs(schema["cls"]).items():
            if name in properties:
                properties[name] = _described(properties[name], doc)
        return made

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _described(schema: JsonSchemaValue, doc: str) -> JsonSchemaValue:
    if "$ref" in schema:  # nothing may stand beside a reference
        schema = {"allOf": [schema]}
    return {**schema, "description": schema.get("description", doc)}


def _draft_7(schema: Any) -> Any:
    """Pydantic writes tuples as JSON Schema 2020-12 does; AsyncAPI reads draft 7."""
    if isinstance(schema, dict):
        return {
            ("items" if key == "prefixItems" else key): _draft_7(value)
            for key, value in schema.items()
            if not (key == "items" and "prefixItems" in schema)
        }
    if isinstance(schema, list):
        return [_draft_7(each) for each in schema]
    return schema
