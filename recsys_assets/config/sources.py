"""What a surface is made from: where its raw events land, when they have, and its catalog."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import yaml
from pydantic import BeforeValidator, Field, model_validator

from recsys_assets.config.columns import (
    Columns,
    Explode,
    FieldName,
    TimeZone,
    Weight,
    Where,
    from_a_field,
)
from recsys_assets.config.landing import Landing
from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.tables import Query, TableName
from recsys_assets.config.values import Location, Model, VariableName, is_object_url

# What `source.type` may be.
SourceType = Literal[
    "jsonl",  # events/sources/jsonl.py
    "csv",  # events/sources/csv.py
    "parquet",  # events/sources/parquet.py
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
CATALOG_SUFFIXES: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_FILES: Final = {*get_args(SourceType)} - {"postgres"}
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
# Keys that one type of source alone knows.
_OF_CSV: Final = ("delimiter", "header", "names", "quote")
_OF_POSTGRES: Final = ("dsn_env", "table", "query", "time_column", "order_by")
# Keys that a source without files does not know.
_OF_FILES: Final = ("path", "pattern", "follow_links_outside")
# Keys that decide, besides the rows, which events a mapped source gives.
DECIDE_EVENTS: Final = (
    *_OF_MAPPING, "time_zone", *_OF_CSV, "table", "query", "time_column", "order_by",
)  # fmt: skip
# Days of a table that the landing sensor looks at, where nothing else is said: it reads their rows.
_DAYS_OF_A_TABLE: Final = 7


@cache
def packaged_mappings() -> dict[str, dict[str, Any]]:
    """Return the keys of a source that each packaged mapping stands for, by its name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(_MAPPINGS.read_text(encoding="utf-8"))
    return found


class Sessions(Model):
    """How sessions are built where events have none."""

    gap_minutes: int = Field(
        ge=1,
        le=1440,  # so a day that a user is not seen on ends the session
        description=(
            "The longest pause within a session, in minutes: events of one user that follow each "
            "other within it are of one session, also over midnight within a window."
        ),
    )

    @property
    def gap(self) -> timedelta:
        """The longest pause within a session."""
        return timedelta(minutes=self.gap_minutes)


class Source(Model):
    """Where the raw exposure events of a surface land."""

    type: SourceType = Field(
        "jsonl",
        description=(
            "How they are written: an object a line, which without `columns` is a raw exposure "
            "event v1; as CSV; as Parquet; rows of a table of Postgres."
        ),
    )
    path: Location = Field(
        description=(
            "The directory, or s3://, gs:// or az:// URL, that `pattern` starts from. Not of "
            "Postgres."
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
            "Values by field: rows with another one are left out. A number stands for its text too."
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
    dsn_env: VariableName | None = Field(
        None,
        description=(
            "Postgres, required: environment variable that holds the address of the database, "
            "`postgresql://user:password@host:port/database`, a secret."
        ),
    )
    table: TableName | None = Field(
        None, description="Postgres: the table or view, `schema.table`, written as it is there."
    )
    query: Query | None = Field(
        None, description="Postgres: a select in place of `table`, without a semicolon."
    )
    time_column: FieldName | None = Field(
        None,
        description=(
            "Postgres, required: the column by which a day's rows are found; it should have an "
            "index."
        ),
    )
    order_by: list[FieldName] = Field(
        [],
        description=(
            "Postgres: columns that say in which order events happened, such as a growing number. "
            "Rows that are equal in them follow by `time_column`, then by all columns that are "
            "read."
        ),
    )
    landing: Landing = Field(
        default_factory=lambda: Landing.model_validate({}),
        description="When raw files count as landed.",
    )

    @model_validator(mode="before")
    @classmethod
    def _with_the_mapping(cls, given: Any) -> Any:
        """Fill in what a packaged mapping says and the entry leaves out, column by column.

        Without a pattern, files are looked for that end as the type does.
        """
        if not isinstance(given, dict):
            return given
        mapping = packaged_mappings().get(str(given.get("mapping")), {})
        columns = {**mapping.get("columns", {}), **(given.get("columns") or {})}
        filled = {**mapping, **given} | ({"columns": columns} if columns else {})
        of = filled.get("type")
        if isinstance(of, str) and of in _FILES and "pattern" not in filled:
            filled["pattern"] = _PATTERN.replace("jsonl", of)
        return filled

    @model_validator(mode="before")
    @classmethod
    def _of_a_database(cls, given: Any) -> Any:
        """Refuse where files lie, and put the variable of the database there."""
        if not isinstance(given, dict) or given.get("type") != "postgres":
            return given
        landing = given.get("landing", {})
        if isinstance(landing, dict):
            for key in ("kafka", "success_marker"):
                if landing.get(key):
                    raise ValueError(f"landing.{key}: goes with files, this is `type: postgres`")
            landing = {"lookback_days": _DAYS_OF_A_TABLE, **landing}
        for key in _OF_FILES:
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
        for type_, keys in (("csv", _OF_CSV), ("postgres", _OF_POSTGRES)):
            for key in keys:
                if self._says(key) and self.type != type_:
                    raise ValueError(f"{key}: goes with `type: {type_}`, this is {self.type}")
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
        if self.days_around and not (self.is_by_day or self.deduplicate_by):
            raise ValueError(
                "days_around: needs {day} in the pattern, without it each day reads all files"
            )
        if self.deduplicate_by and self.columns and self.columns.request_id is None:
            raise ValueError("deduplicate_by: request_id needs `columns.request_id`")
        return self

    @model_validator(mode="after")
    def _rows_of_a_day_can_be_found(self) -> Self:
        if self.type != "postgres":
            return self
        if (self.table is None) == (self.query is None):
            raise ValueError("`type: postgres` needs either `table` or `query`")
        if self.time_column is None:
            raise ValueError("time_column: is required with `type: postgres`")
        return self

    @model_validator(mode="after")
    def _pattern_selects_one_day(self) -> Self:
        DayPattern(self.pattern).check("pattern", needs_day=not self.is_mapped)
        return self

    @property
    def is_mapped(self) -> bool:
        """Whether rows are mapped, and not raw exposure events v1."""
        return self.type != "jsonl" or any(map(self._says, _OF_MAPPING))

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
