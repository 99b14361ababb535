"""JSON Schemas of what others write for this project, and read of it, made of what the code knows.

`python -m recsys_assets_tests.test_docs` writes them to docs/schemas/, with the tables of docs/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, get_args

import polars as pl

from recsys_assets.config import Surface
from recsys_assets.contracts import canonical_event
from recsys_assets.documents import DOCUMENT_FORMAT
from recsys_assets.events import parse, timestamps
from recsys_assets.kind import Kind
from recsys_assets.kinds import KINDS
from recsys_assets.storage.flips import MANIFEST_FORMAT
from recsys_assets.storage.publications import PUBLICATION, Action, Publication
from recsys_assets.windows import Window
from recsys_assets_tests.project import DAY
from recsys_assets_tests.tables import markdown

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EVENT_FORMAT: Final = 1
RECORD_FORMAT: Final = 1
# Of a record: those that came later than version 0.1, and that older ones lack.
LATER: Final = ("pinned", "retiring", "restored", "who", "reason")

_STORES: Final = r"(file:///|(s3|gs|az)://[^/]+/)"
_VERSION: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TRIMMED: Final = {"type": "string", "pattern": r"^\S([\s\S]*\S)?$"}
_TEXT: Final = {"type": "string"}
_DAY_START: Final = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T00:00:00Z$"}
_BLOB: Final = {"type": "string", "pattern": rf"^{_STORES}.+/[0-9a-f]{{64}}\.json$"}
_RECORD: Final = {"type": "string", "pattern": rf"^{_STORES}.+/[0-9]{{10,}}-[^/]+\.json$"}
_MOMENT: Final = {"type": "string", "pattern": timestamps._RFC_3339}
_SEGMENT: Final = {"type": "string", "pattern": r"^[^/\\]+$", "not": {"enum": [".", ".."]}}


def schemas() -> dict[str, Schema]:
    """Return every schema by the name of its file."""
    found = [
        ("raw-event", EVENT_FORMAT, "A raw exposure event: one line.", _raw_event()),
        ("manifest", MANIFEST_FORMAT, "What is live for a surface.", _manifest()),
        (PUBLICATION, RECORD_FORMAT, "The record of one flip of a manifest.", _publication()),
        *((name, DOCUMENT_FORMAT, kind.text, _document(kind)) for name, kind in KINDS.items()),
    ]
    return {
        f"{name}.v{form}.json": {
            "$schema": DIALECT,
            "$id": f"urn:recsys-assets:schema:{name}:v{form}",
            "title": f"{name}, version {form}",
            "description": said,
            **schema,
        }
        for name, form, said, schema in found
    }


def text(schema: Schema) -> str:
    """Return a schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schemas_table() -> str:
    """Return what the page says of each schema."""
    return markdown(
        ["schema", "of", "`$id`"],
        [
            [f"[`{name}`](schemas/{name})", schema["description"], f"`{schema['$id']}`"]
            for name, schema in schemas().items()
        ],
    )


def _members(
    members: Mapping[str, Schema], *, optional: tuple[str, ...] = (), further: bool = False
) -> Schema:
    return {
        "type": "object",
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
        "additionalProperties": further,
    }


def _said(schema: Schema, description: str | None) -> Schema:
    return {**schema, "description": description} if description else schema


def _raw_event() -> Schema:
    columns = canonical_event(DAY).columns
    not_blank = {"type": "string", "pattern": r"\S"}
    required = dict.fromkeys(parse._REQUIRED, not_blank)
    optional = {name: {"type": ["string", "null"]} for name in parse._OPTIONAL}
    rank = {"type": ["integer", "null"], **_bounds(columns["rank"]), "maximum": 2**63 - 1}
    members: dict[str, Schema] = {
        "v": {"const": EVENT_FORMAT},
        "ts": _MOMENT,
        **required,
        **optional,
        "rank": rank,
    }
    said = {
        **{name: column.description for name, column in columns.items()},
        **{name: field.description for name, field in Surface.model_fields.items()},
        "ts": "When the item was shown: RFC 3339, any offset, at most nine decimals.",
    }
    described = {name: _said(schema, said.get(name)) for name, schema in members.items()}
    return _members(described, optional=(*optional, "rank"), further=True)


def _manifest() -> Schema:
    current = {
        "type": "object",
        "properties": {PUBLICATION: _said(_RECORD, "The record of the flip.")},
        "additionalProperties": _said(_BLOB, "The document of a kind that is named so."),
    }
    return _members(
        {
            "v": {"const": MANIFEST_FORMAT},
            **_place(),
            "current": current,
            "updated_at": _said(_MOMENT, "When it was flipped."),
        }
    )


def _publication() -> Schema:
    uris = {"type": "object", "additionalProperties": _BLOB}
    known: dict[str, Schema] = {
        "v": {"const": RECORD_FORMAT},
        "generation": {"type": "integer", "minimum": 1},
        "publish_id": {"type": "string", "minLength": 1},
        "parent": {"type": ["string", "null"], "minLength": 1},
        "action": {"enum": list(get_args(Action))},
        **_place(),
        "window": _window(),
        "current": uris,
        "pinned": {"type": "boolean"},
        "retiring": {"type": "array", "items": _TEXT, "uniqueItems": True},
        "restored": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
        "published_at": _MOMENT,
    }
    written = Publication("publish", Window.ending_with(DAY, days=1), {}).to_json()
    return _members({name: known.get(name, _TEXT) for name in written}, optional=LATER)


def _document(kind: Kind) -> Schema:
    layout, columns = kind.layout, kind.contract.columns
    owner = {layout.owner: _said(_TRIMMED, columns[layout.owner].description)}
    value = {layout.value: _said(_value(columns[layout.value]), columns[layout.value].description)}
    if layout.entry is None:
        entry = _members(owner | value)
    else:
        item = {"item_id": _said(_TRIMMED, columns[layout.entry].description)}
        listed: Schema = {"type": "array", "items": _members(item | value)}
        if not columns[layout.entry].nullable:
            listed["minItems"] = 1
        entry = _members(owner | {"items": listed})
    build = {
        "built_at": _MOMENT,
        "version": _said(_VERSION, "SHA-256 of the document with an empty build."),
        "source_hash": _said(_TEXT, "What it was made of."),
    }
    return _members(
        {
            "v": {"const": DOCUMENT_FORMAT},
            "artifact_type": {"const": kind.name},
            **_place(),
            "segment": _said(_SEGMENT, Surface.model_fields["segment"].description),
            "window": _window(),
            layout.key: _said({"type": "array", "items": entry}, f"Order: {kind.order}."),
            "build": _members(build),
        }
    )


def _place() -> dict[str, Schema]:
    fields = Surface.model_fields
    return {name: _said(_SEGMENT, fields[name].description) for name in ("tenant", "surface")}


def _window() -> Schema:
    return _members({"start": _DAY_START, "end": _said(_DAY_START, "Exclusive.")})


def _value(column: Any) -> Schema:
    if column.dtype.type == pl.List(pl.String):
        return {"type": "array", "items": _TRIMMED, "minItems": 1, "uniqueItems": True}
    return {
        "type": "integer" if column.dtype.type == pl.Int64 else "number",
        **_bounds(column),
    }


def _bounds(column: Any) -> Schema:
    """Return the least value that a contract lets pass."""
    for rule in column.checks:
        if found := re.fullmatch(r"greater_than_or_equal_to\((\d+)\)", str(rule.name)):
            return {"minimum": int(found[1])}
    return {}
