"""The item catalog of a surface."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from recsys_assets.config.columns import Delimiter, FieldName
from recsys_assets.config.values import Location, Model, is_object_url

CATALOG_SUFFIXES: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")


class CatalogColumns(Model):
    """Which field each column of the catalog is taken from."""

    item_id: FieldName = Field(description="The item: a text or an integer.")
    tags: FieldName = Field(description="Its tags: a list of texts, or one text that is split.")
    namespace: FieldName | None = Field(None, description="The surface; null is every surface.")
    title: FieldName | None = Field(None, description="What people call it.")
    price: FieldName | None = Field(
        None, description="Its price, for sinks that have one: a number, or a text of it."
    )
    created_at: FieldName | None = Field(
        None, description="Since when there is it, for sinks that say so: an ISO 8601 time."
    )


class Catalog(Model):
    """The item catalog that content_sim reads."""

    path: Location = Field(
        description=(
            "A .csv, .jsonl or .parquet file or object, one of the first two also with .gz; told "
            "apart by the suffix."
        )
    )
    columns: CatalogColumns | None = Field(
        None, description="Which field each column is taken from. Null goes by their usual names."
    )
    delimiter: Delimiter = Field(
        ",",
        min_length=1,
        max_length=1,
        description="CSV: what stands between two fields, `\\t` for a tab.",
    )

    @model_validator(mode="after")
    def _known_suffix(self) -> Self:
        if not self.path.lower().endswith(CATALOG_SUFFIXES):
            raise ValueError(f"path: must end in one of {', '.join(CATALOG_SUFFIXES)}")
        if is_object_url(self.path) and "/" not in self.path.partition("://")[2]:
            raise ValueError("path: must name an object in the bucket, not the bucket")
        return self
