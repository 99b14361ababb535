"""Where the raw events of a surface come from, and what they are read with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import BeforeValidator, Field, model_validator

from recsys_assets.config.columns import (
    Columns,
    Delimiter,
    Explode,
    FieldName,
    Sessions,
    TimeZone,
    Weight,
    Where,
    from_a_field,
)
from recsys_assets.config.landing import Landing
from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.tables import Query, TableName
from recsys_assets.config.values import Location, Model, VariableName

# What `source.type` may be.
SourceType = Literal[
    "jsonl",  # events/sources/jsonl.py
    "csv",  # events/sources/csv.py
    "parquet",  # events/sources/parquet.py
    "delta",  # events/sources/delta.py
    "iceberg",  # events/sources/iceberg.py
    "postgres",  # events/sources/postgres.py
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
# Types whose rows are in files that a table knows.
_TABLES_OF_FILES: Final = ("delta", "iceberg")
_TABLES: Final = (*_TABLES_OF_FILES, "postgres")
_FILES: Final = tuple(name for name in get_args(SourceType) if name not in _TABLES)
_MAPPINGS: Final = Path(__file__).with_name("mappings.yaml")
_PATTERN: Final = "{tenant}/{surface}/exposure.{day}*.jsonl*"
# Keys that say how rows are mapped.
_OF_MAPPING: Final = (
    "columns",
    "explode",
    "where",
    "rank_from",
    "no_session",
    "sessions",
    "weight",
)
_OF_CSV: Final = ("delimiter", "header", "names", "quote")
_OF_FILES: Final = ("pattern", "follow_links_outside")
# Keys that some types of source alone know.
_KNOWN_BY: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(_OF_CSV, ("csv",)),
    **dict.fromkeys(_OF_FILES, _FILES),
    **dict.fromkeys(("time_column", "order_by"), _TABLES),
    "table": ("iceberg", "postgres"),
    **dict.fromkeys(("query", "dsn_env"), ("postgres",)),
}
# Keys that decide, besides the rows, which events a mapped source gives.
DECIDE_EVENTS: Final = (
    *_OF_MAPPING, "time_zone", *_OF_CSV, "table", "query", "time_column", "order_by",
)  # fmt: skip
# Days of Postgres that landing looks at, where nothing else is said: it reads their rows.
_DAYS_OF_POSTGRES: Final = 7


@cache
def packaged_mappings() -> dict[str, dict[str, Any]]:
    """Return the keys of a source that each packaged mapping stands for, by its name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(_MAPPINGS.read_text(encoding="utf-8"))
    return found


class Source(Model):
    """Where the raw exposure events of a surface land."""

    type: SourceType = Field(
        "jsonl",
        description=(
            "How they are written: an object a line, which without `columns` is a raw exposure "
            "event v1; as CSV; as Parquet; in a table of Delta, Iceberg or Postgres."
        ),
    )
    path: Location = Field(
        description=(
            "The directory, or s3://, gs:// or az:// URL, that `pattern` starts from; of a Delta "
            "or an Iceberg table, its own. Not of Postgres."
        )
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
            "Values by field: rows with another one are left out. A number stands for its text "
            "too; `{matches: ...}` for all texts that an expression finds."
        ),
    )
    rank_from: Literal[0, 1] | None = Field(
        None, description="The rank of the first position; canonical ranks begin at 0. Null is 0."
    )
    time_zone: TimeZone | None = Field(
        None,
        description=(
            "Of times that have no offset; null refuses them. Files that are cut at its midnight "
            "need `days_around: 1` too."
        ),
    )
    days_around: int = Field(
        0,
        ge=0,
        le=7,
        description=(
            "How many days before and after a day, whose files may hold events of it: files cut "
            "at another midnight than UTC's, late events, clocks that are wrong."
        ),
    )
    deduplicate_by: Literal["request_id"] | None = Field(
        None,
        description=(
            "What an event is known by, within the days that are read for it: of those that have "
            "it in common, the earliest stays. Null leaves out only those that have a request_id "
            "and are equal in every column."
        ),
    )
    no_session: list[str] = Field(
        [], description="Session ids that say that there is none, such as -1."
    )
    sessions: Sessions | None = Field(
        None,
        description=(
            "How sessions are built of the events that have none. Null: without one a row is "
            "refused, and what `no_session` names is a session an event."
        ),
    )
    weight: Weight | None = Field(
        None, description="What an event counts, by its kind; null counts each as 1."
    )
    delimiter: Delimiter = Field(
        ",", min_length=1, description="CSV: what stands between two fields, `\\t` for a tab."
    )
    header: bool = Field(default=True, description="CSV: whether the first row names the columns.")
    names: list[str] | None = Field(
        None, description="CSV: the names of the columns, instead of those of the header."
    )
    quote: str = Field(
        '"', max_length=1, description="CSV: what a field is quoted with; empty is nothing."
    )
    dsn_env: VariableName | None = Field(
        None,
        description=(
            "Postgres, required: environment variable that holds the address of the database, "
            "`postgresql://user:password@host:port/database`, a secret."
        ),
    )
    table: TableName | None = Field(
        None,
        description=(
            "Postgres: the table or view, `schema.table`, written as it is there. Iceberg: "
            "CATALOG.NAMESPACE.TABLE instead of `path`; the catalog is one that pyiceberg is "
            "configured for."
        ),
    )
    query: Query | None = Field(
        None, description="Postgres: a select in place of `table`, without a semicolon."
    )
    time_column: FieldName | None = Field(
        None,
        description=(
            "Tables: the column that tells the day of a row. Null is that of `columns.ts`. Of "
            "Postgres it is required, and should have an index."
        ),
    )
    order_by: list[FieldName] = Field(
        [],
        description=(
            "Tables: columns that say in which order events happened, such as a growing number. "
            "Rows that are equal in them follow by files and rows in them; in Postgres by "
            "`time_column`, then by all columns that are read."
        ),
    )
    processes: int | None = Field(
        None, ge=1, le=256, description="How many processes parse a day; null: two threads do."
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
        if filled.get("table") is not None and of == "iceberg":
            if "path" in filled:
                raise ValueError("table: goes without `path`, which names a table by its place")
            filled["path"] = "."
        return filled

    @model_validator(mode="before")
    @classmethod
    def _of_a_database(cls, given: Any) -> Any:
        """Refuse where files lie, and put the variable of the database there."""
        if not isinstance(given, dict) or given.get("type") != "postgres":
            return given
        landing = given.get("landing", {})
        if isinstance(landing, dict):
            if landing.get("kafka"):
                raise ValueError("landing.kafka: goes with files, this is `type: postgres`")
            landing = {"lookback_days": _DAYS_OF_POSTGRES, **landing}
        for key in ("path", *_OF_FILES):
            if key in given:
                raise ValueError(f"{key}: goes with files, this is `type: postgres`")
        if not given.get("dsn_env"):
            raise ValueError(
                "dsn_env: is required with `type: postgres`: the name of an environment variable"
            )
        variable = str(given["dsn_env"])
        # What is no name of a variable has its own error, and may be the secret itself.
        path = f"${variable if variable.isidentifier() else ''}"
        return {**given, "path": path, "landing": landing}

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
        if self.landing.success_marker is not None and self.type in _TABLES:
            raise ValueError(
                f"landing.success_marker: goes with files, this is `type: {self.type}`"
            )
        for key, types in _KNOWN_BY.items():
            if self._says(key) and self.type not in types:
                wanted = " or ".join(f"`type: {name}`" for name in types)
                raise ValueError(f"{key}: goes with {wanted}, this is {self.type}")
        if not (self.header or self.names):
            raise ValueError("header: false needs `names`, the names of the columns")
        return self

    @model_validator(mode="after")
    def _has_sessions(self) -> Self:
        if self.columns is None:  # a file that lacks what is needed says so
            return self
        user, session = self.columns.user_id, self.columns.session_id
        if self.sessions is None:
            if session is None:
                raise ValueError("columns.session_id: is required, or `sessions`, to build them")
        elif user is None:
            raise ValueError(
                "sessions: needs columns.user_id, as a session is built of the events of one user"
            )
        elif user == session:
            raise ValueError(
                "sessions: none would be built, as columns.session_id is the user and always "
                "there; say `columns: {session_id: null}`"
            )
        return self

    @model_validator(mode="after")
    def _days_fit_the_rest(self) -> Self:
        has_files_of_days = self.is_by_day and self.type in _FILES
        if self.days_around and not (has_files_of_days or self.deduplicate_by):
            raise ValueError(
                "days_around: needs files with {day} in their pattern; otherwise each day is "
                "looked for everywhere already"
            )
        if self.deduplicate_by and self.columns and self.columns.request_id is None:
            raise ValueError("deduplicate_by: request_id needs `columns.request_id`")
        return self

    @model_validator(mode="after")
    def _rows_of_a_day_can_be_found(self) -> Self:
        if self.type == "postgres":
            if (self.table is None) == (self.query is None):
                raise ValueError("`type: postgres` needs either `table` or `query`")
            if self.time_column is None:
                raise ValueError("time_column: is required with `type: postgres`")
        if not self.is_table_of_files:
            return self
        if self.table is not None and not re.fullmatch(r"[^\s.]+(\.[^\s.]+){2,}", self.table):
            raise ValueError("table: must be CATALOG.NAMESPACE.TABLE")
        if self.time_column is None and self.ts_column is None:
            raise ValueError(
                "time_column: is required where `columns.ts` is not one column of the table"
            )
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
    def is_table_of_files(self) -> bool:
        """Whether rows are in files that a table knows, and a row may be of any day."""
        return self.type in _TABLES_OF_FILES

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
