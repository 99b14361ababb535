"""What a surface is made from: where its raw events land, when they have, and its catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from recsys_assets.config.columns import (
    Columns,
    Explode,
    FieldName,
    TimeZone,
    Weight,
    Where,
    from_a_field,
)
from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.values import (
    AtLeastZero,
    Location,
    Model,
    VariableName,
    is_object_url,
)

# What `source.type` may be.
SourceType = Literal[
    "jsonl",  # events/sources/jsonl.py
    "csv",  # events/sources/csv.py
    "parquet",  # events/sources/parquet.py
    "delta",  # events/sources/delta.py
    "iceberg",  # events/sources/iceberg.py
]
# What `source.mapping` may be: keys of a source that fit the events of others, in mappings.yaml.
MappingName = Literal[
    "amplitude",
    "ga4",
    "mind",
    "movielens",
    "retailrocket",
    "segment",
    "snowplow",
    "yoochoose",
]
CATALOG_SUFFIXES: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_TYPES: Final = get_args(SourceType)
# Types whose rows are in a table, which knows its files itself.
_TABLES: Final = ("delta", "iceberg")
_FILES: Final = tuple(name for name in _TYPES if name not in _TABLES)
_MAPPINGS: Final = Path(__file__).with_name("mappings.yaml")
_PATTERN: Final = "{tenant}/{surface}/exposure.{day}*.jsonl*"
# Keys that say how rows are mapped.
_OF_MAPPING: Final = ("columns", "explode", "where", "rank_from", "no_session", "weight")
# Keys that some types of source alone know.
_OF_CSV: Final = ("delimiter", "header", "names", "quote")
_OF_TABLES: Final = ("time_column", "order_by")
_KNOWN_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_OF_CSV, ("csv",)),
    **dict.fromkeys(_OF_TABLES, _TABLES),
    **dict.fromkeys(("pattern", "follow_links_outside"), _FILES),
    "table": ("iceberg",),
}
# Keys that decide, besides the rows, which events a mapped source gives.
DECIDE_EVENTS: Final = (*_OF_MAPPING, "time_zone", *_OF_CSV, *_OF_TABLES)


def _topic_name(value: str) -> str:
    """Refuse what Kafka takes for no topic."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in {".", ".."}:
        raise ValueError("must be the name of a topic: letters, digits, '.', '_' and '-'")
    return value


TopicName = Annotated[str, AfterValidator(_topic_name)]


@cache
def packaged_mappings() -> dict[str, dict[str, Any]]:
    """Return the keys of a source that each packaged mapping stands for, by its name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(_MAPPINGS.read_text(encoding="utf-8"))
    return found


class Kafka(Model):
    """The topic whose messages `recsys-assets land` writes to raw files, a line each."""

    brokers_env: VariableName = Field(
        description="Environment variable that holds the brokers, `host:port,host:port`."
    )
    topic: TopicName = Field(description="The topic; its files lie below `TOPIC/` in `path`.")
    grace_minutes: AtLeastZero = Field(
        60,
        description=(
            "Minutes after midnight, UTC, that records of the day before are waited for; later "
            "ones are late files of their day."
        ),
    )
    client_env: VariableName | None = Field(
        None,
        description=(
            "Environment variable that holds further settings of the client, such as those of "
            "SASL, as a JSON object; a secret."
        ),
    )


class Landing(Model):
    """When raw files count as landed; the landing sensor reports those that do."""

    settle_seconds: AtLeastZero = Field(
        60, description="Seconds that the files of a day must have stayed as they are."
    )
    success_marker: str | None = Field(
        None,
        description=(
            "File below `path` that says that a day is complete, waited for instead of "
            "`settle_seconds`: `{tenant}/{surface}/dt={day}/_SUCCESS`."
        ),
    )
    lookback_days: int = Field(
        400, ge=1, le=3660, description="Newest days that are looked at; older ones are left alone."
    )

    kafka: Kafka | None = Field(None, description="The topic that raw files are landed from.")

    @model_validator(mode="after")
    def _marker_is_of_one_day(self) -> Self:
        if self.success_marker is not None:
            DayPattern(self.success_marker).check("success_marker")
            if any(wildcard in self.success_marker for wildcard in "*?["):
                raise ValueError("success_marker: names one file, without wildcards")
        return self


class Source(Model):
    """Where the raw exposure events of a surface land."""

    type: SourceType = Field(
        "jsonl",
        description=(
            "How they are written: an object a line, which without `columns` is a raw exposure "
            "event v1; as CSV; as Parquet; in a Delta or an Iceberg table."
        ),
    )
    path: Location = Field(
        description=(
            "The directory, or s3://, gs:// or az:// URL, that `pattern` starts from; of a table, "
            "its own."
        )
    )
    table: str | None = Field(
        None,
        description=(
            "Iceberg: CATALOG.NAMESPACE.TABLE instead of `path`; the catalog is one that pyiceberg "
            "is configured for."
        ),
    )
    pattern: str = Field(
        _PATTERN,
        description=(
            "Glob of one day's files below `path`: plain or compressed, any number of parts. "
            "{tenant}, {surface} and {day} (YYYY-MM-DD, or as in {day:%Y%m%d}) are filled in. "
            "Where rows are mapped it may lack {day}: each day is then looked for in all files."
        ),
    )
    follow_links_outside: bool = Field(
        default=False,
        description="Whether links that lead out of `path` are read; the day fails otherwise.",
    )

    mapping: MappingName | None = Field(
        None,
        description=(
            "The mapping of a known tool or data set, for the keys below that are left out here."
        ),
    )
    columns: Columns | None = Field(
        None,
        description=(
            "Which field each canonical column is taken from. Null takes the fields that have "
            "their names."
        ),
    )
    explode: Annotated[Explode, BeforeValidator(from_a_field)] | None = Field(
        None, description="A list whose entries are events, each known as `item`."
    )
    where: Where = Field(
        {},
        description=(
            "Values by field: rows with another one are left out. A number stands for its text too."
        ),
    )
    rank_from: Literal[0, 1] | None = Field(
        None, description="The rank of the first position; canonical ranks begin at 0. Null is 0."
    )
    time_zone: TimeZone | None = Field(
        None, description="Of times that have no offset; null refuses them."
    )
    no_session: list[str] = Field(
        [], description="Session ids that say that there is none, such as -1."
    )
    weight: Weight | None = Field(
        None, description="What an event counts, by its kind; null counts each as 1."
    )
    time_column: FieldName | None = Field(
        None,
        description=(
            "Tables: the column that tells the day of a row. Null is that of `columns.ts`."
        ),
    )
    order_by: list[FieldName] = Field(
        [],
        description=(
            "Tables: columns that the rows of a day are sorted by. Empty is the order of files and "
            "of rows in them."
        ),
    )
    delimiter: str = Field(
        ",", min_length=1, description="CSV: what stands between two fields, `\\t` for a tab."
    )
    header: bool = Field(default=True, description="CSV: whether the first row names the columns.")
    names: list[str] | None = Field(
        None, description="CSV: the names of the columns, instead of those of the header."
    )
    quote: str = Field(
        '"', max_length=1, description="CSV: what a field is quoted with; empty is nothing."
    )
    landing: Landing = Field(
        default_factory=lambda: Landing.model_validate({}),
        description="When raw files count as landed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_the_mapping(cls, given: Any) -> Any:
        """Fill in what a packaged mapping says and the entry leaves out, column by column.

        Without a pattern, files are looked for that end as the type does. A table that a catalog
        knows needs no path.
        """
        if not isinstance(given, dict):
            return given
        mapping = packaged_mappings().get(str(given.get("mapping")), {})
        columns = {**mapping.get("columns", {}), **(given.get("columns") or {})}
        filled = {**mapping, **given} | ({"columns": columns} if columns else {})
        of = filled.get("type")
        if isinstance(of, str) and of in _FILES and "pattern" not in filled:
            filled["pattern"] = _PATTERN.replace("jsonl", of)
        if filled.get("table") is not None and of in _KNOWN_BY["table"]:
            if "path" in filled:
                raise ValueError("table: goes without `path`, which names a table by its place")
            filled["path"] = "."
        return filled

    @model_validator(mode="before")
    @classmethod
    def _with_the_files_of_a_topic(cls, given: Any) -> Any:
        """Fill in where the files of a topic lie: who lands them says so, and nobody else."""
        match given:
            case {"pattern": _, "landing": {"kafka": dict()}}:
                raise ValueError("pattern: goes without landing.kafka, whose files have their own")
            case {"landing": {"success_marker": str(), "kafka": dict()}}:
                raise ValueError(
                    "landing.success_marker: goes without landing.kafka, which writes its own"
                )
            case {"landing": {"kafka": {"topic": str(topic)}} as landing}:
                folder = f"{topic}/dt={{day}}"
                marked = {"success_marker": f"{folder}/_SUCCESS", **landing}
                return {**given, "pattern": f"{folder}/*.jsonl*", "landing": marked}
        return given

    @model_validator(mode="after")
    def _keys_fit_the_type(self) -> Self:
        if self.landing.kafka and self.type != "jsonl":
            raise ValueError(
                f"landing.kafka: lands lines of JSON, with `type: jsonl`; this is {self.type}"
            )
        for key, types in _KNOWN_BY.items():
            if self._says(key) and self.type not in types:
                wanted = " or ".join(f"`type: {name}`" for name in types)
                raise ValueError(f"{key}: goes with {wanted}, this is {self.type}")
        if self.table is not None and not re.fullmatch(r"[^\s.]+(\.[^\s.]+){2,}", self.table):
            raise ValueError("table: must be CATALOG.NAMESPACE.TABLE")
        if self.is_table and self.landing.success_marker is not None:
            raise ValueError("landing.success_marker: goes with files, this is a table")
        if self.is_table and self.time_column is None and self.ts_column is None:
            raise ValueError(
                "time_column: is required where `columns.ts` is not one column of the table"
            )
        if not (self.header or self.names):
            raise ValueError("header: false needs `names`, the names of the columns")
        if self.columns and self.columns.session_id is None:
            raise ValueError("columns.session_id: is required")
        return self

    @model_validator(mode="after")
    def _pattern_selects_one_day(self) -> Self:
        DayPattern(self.pattern).check("pattern", needs_day=not self.is_mapped)
        return self

    @property
    def is_mapped(self) -> bool:
        """Whether rows are mapped, and not raw exposure events v1."""
        return self.type != "jsonl" or any(map(self._says, _OF_MAPPING))

    @property
    def is_table(self) -> bool:
        """Whether rows are in a table, which knows its files itself."""
        return self.type in _TABLES

    @property
    def ts_column(self) -> str | None:
        """The one column that `ts` is taken from; None where it is several, or within one."""
        if self.columns is None:
            return "ts"
        ts = self.columns.ts
        is_one = ts.join is None and len(ts.fields) == 1 and not re.search(r"[.\[]", ts.fields[0])
        return ts.fields[0] if is_one else None

    def _says(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    @property
    def is_by_day(self) -> bool:
        """Whether days have files of their own; otherwise each day is looked for in all of them."""
        return DayPattern(self.pattern).is_of_a_day

    @property
    def further_columns(self) -> list[str]:
        """What canonical events have besides the columns that all have."""
        return [*(["part"] if self.explode else []), *(["weight"] if self.weight else [])]


class CatalogColumns(Model):
    """Which field each column of the catalog is taken from."""

    item_id: FieldName = Field(description="The item: a text or an integer.")
    tags: FieldName = Field(description="Its tags: a list of texts, or one text that is split.")
    namespace: FieldName | None = Field(None, description="The surface; null is every surface.")
    title: FieldName | None = Field(None, description="What people call it.")


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
    delimiter: str = Field(
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
