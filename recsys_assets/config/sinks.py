"""Where what is live is delivered to, besides the documents: a model of each kind of sink.

A further kind is a model here, which `AnySink` names, and a file in `recsys_assets/sinks/`.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from recsys_assets.config.values import CONTROL, Location, Model, VariableName


def _name_of_sink(value: str) -> str:
    """Refuse what cannot be part of the name of an asset and of a file."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value):
        raise ValueError("must be small letters, digits and '_', at most 40, a letter first")
    return value


def _name_of_schema(value: str) -> str:
    """Refuse what is no name of a schema, or one of the server's own."""
    if not value or len(value.encode()) > 63 or CONTROL.search(value) or value.startswith("pg_"):
        raise ValueError("must be the name of a schema, of 63 bytes at most, not the server's own")
    return value


SinkName = Annotated[
    str, AfterValidator(_name_of_sink), Field(description="What it is called: `sink_<name>`.")
]
SchemaName = Annotated[str, AfterValidator(_name_of_schema)]
# The same key of every kind of sink.
MaxMinutesBehind = Annotated[
    int,
    Field(
        ge=1,
        le=525_600,
        description="Most minutes that it may hold other versions than are live; more is late.",
    ),
]
GraceMinutes = Annotated[
    int,
    Field(
        ge=1,
        le=525_600,
        description="Minutes that a version stays after it has left, for readers that go on.",
    ),
]


class ServiceTables(Model):
    """The tables of the online service's database mode, which are its own."""

    db_schema: SchemaName = Field("public", alias="schema", description="The schema they are in.")
    tenant: str | None = Field(
        None, min_length=1, description="`tenants.external_id`; null is the tenant of the surface."
    )


class PostgresSink(Model):
    """Rows in PostgreSQL: a partition a version, and views of what is live."""

    name: SinkName
    type: Literal["postgres"] = Field(description="Rows in PostgreSQL.")
    dsn_env: VariableName = Field(
        description=(
            "Environment variable that holds the address of the database, "
            "`postgresql://user:password@host:port/database`, a secret."
        )
    )
    db_schema: SchemaName = Field(
        "recsys", alias="schema", description="The schema that it has for itself; it is made."
    )
    service_tables: ServiceTables | None = Field(
        None, description="Also fill the tables that the online service reads; null does not."
    )
    grace_minutes: GraceMinutes = 60
    max_minutes_behind: MaxMinutesBehind = 15
    max_load_minutes: int = Field(
        60,
        ge=1,
        le=10_080,
        description="Minutes that one statement may take, such as the load of a version.",
    )


class FilesSink(Model):
    """A file a kind, and a pointer that names those which belong together."""

    name: SinkName
    type: Literal["files"] = Field(description="Files in a directory or an object store.")
    path: Location | None = Field(
        None, description="The directory or URL they lie below; null is `exports/` below `root`."
    )
    format: Literal["parquet", "csv"] = Field("parquet", description="How they are written.")
    grace_minutes: GraceMinutes = 60
    max_minutes_behind: MaxMinutesBehind = 15


AnySink = Annotated[PostgresSink | FilesSink, Field(discriminator="type")]
