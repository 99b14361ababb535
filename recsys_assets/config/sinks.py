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


def _prefix_of_keys(value: str) -> str:
    """Refuse what would change what part of a key tells where it lies in a cluster."""
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", value):
        raise ValueError("must be 1 to 100 letters, digits and any of '_', '.', ':', '-'")
    return value


def _name_of_header(value: str) -> str:
    """Refuse what is no name of a header, and those that the sink sets itself."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", value):
        raise ValueError("must be the name of a header: letters, digits and '-', a letter first")
    own = ("content-", "host", "connection", "transfer-encoding", "x-recsys-")
    if value.lower().startswith(own):
        raise ValueError("must be no header that the sink sets itself")
    return value


KeyPrefix = Annotated[str, AfterValidator(_prefix_of_keys)]
HeaderName = Annotated[str, AfterValidator(_name_of_header)]
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


class RedisSink(Model):
    """Documents by owner in Redis: a key a kind and version, and one that names what is live."""

    name: SinkName
    type: Literal["redis"] = Field(description="Documents by owner in Redis.")
    url_env: VariableName = Field(
        description=(
            "Environment variable that holds the address of the server, "
            "`redis://user:password@host:port/0`, or `rediss://` for TLS, a secret."
        )
    )
    cluster: bool = Field(False, description="Whether the address is that of a node of a cluster.")
    prefix: KeyPrefix = Field("recsys", description="What its keys begin with.")
    grace_minutes: GraceMinutes = 60
    max_minutes_behind: MaxMinutesBehind = 15


class WebhookSink(Model):
    """A request that tells of each flip; nothing is stored by it."""

    name: SinkName
    type: Literal["webhook"] = Field(description="A request that tells of each flip.")
    url_env: VariableName = Field(
        description=(
            "Environment variable that holds the address that is posted to, "
            "`https://host/path`, a secret."
        )
    )
    secret_env: VariableName = Field(
        description="Environment variable that holds the secret that requests are signed with."
    )
    headers_env: dict[HeaderName, VariableName] = Field(
        default_factory=dict,
        description=(
            "Further headers, each with the environment variable that holds its value: "
            "`{Authorization: HOOK_AUTHORIZATION}`."
        ),
    )
    body: Literal["event", "service"] = Field(
        "event",
        description="What is posted: what is live, or what empties the online service's cache.",
    )
    timeout_s: int = Field(10, ge=1, le=60, description="Seconds that an answer may take.")
    max_tries: int = Field(
        10,
        ge=1,
        le=1000,
        description="After so many failures in a row, each flip is told of once only.",
    )
    max_minutes_behind: MaxMinutesBehind = 15


AnySink = Annotated[PostgresSink | FilesSink | RedisSink | WebhookSink, Field(discriminator="type")]
