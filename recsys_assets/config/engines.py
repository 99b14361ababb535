"""What computes the artifacts of a surface that are made of events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from recsys_assets.config.values import CONTROL, Model, VariableName

# Keys that some types of engine alone know.
_KNOWN_BY: Final[Mapping[str, str]] = {
    "memory_limit": "duckdb",
    "spill": "duckdb",
    "spill_limit": "duckdb",
    "remote_env": "spark",
    "root": "spark",
}


def _amount_of_memory(value: str) -> str:
    """Refuse what is no amount of memory with its unit."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}(\.[0-9]{1,3})?(MB|GB|TB|MiB|GiB|TiB)", value):
        raise ValueError("must be an amount with its unit, such as 3GB")
    return value


def _directory(value: str) -> str:
    """Refuse what is no directory of this machine."""
    if not value or CONTROL.search(value) or "://" in value:
        raise ValueError("must be a directory of this machine")
    return value


def _without_secrets(value: str) -> str:
    """Refuse what is no path or URL, and a URL that holds credentials."""
    if not value or CONTROL.search(value) or re.search(r"[?#;]|:[^/]*@", value):
        raise ValueError("must be a path, or a URL without credentials and parameters")
    return value.rstrip("/")


class Engine(Model):
    """What computes the artifacts that are made of events; their versions are the same by each."""

    type: Literal["polars", "duckdb", "spark"] = Field(
        "polars",
        description=(
            "Polars in memory, the fastest; DuckDB, which puts on the disk what memory does not "
            "hold; a Spark cluster."
        ),
    )
    memory_limit: Annotated[str, AfterValidator(_amount_of_memory)] | None = Field(
        None,
        description="DuckDB: memory that it may take, `3GB`; null is 80 % of what the machine has.",
    )
    spill: Annotated[str, AfterValidator(_directory)] | None = Field(
        None,
        description=(
            "DuckDB: the directory for what memory does not hold; null is one on the disk of "
            "`root`, or where that is a URL in $TMPDIR."
        ),
    )
    spill_limit: Annotated[str, AfterValidator(_amount_of_memory)] | None = Field(
        None,
        description=(
            "DuckDB: how much of that disk it may take, `40GB`; null is 90 % of what is free there."
        ),
    )
    remote_env: VariableName | None = Field(
        None,
        description=(
            "Spark, required: environment variable that holds the address of a Spark Connect "
            "server, `sc://host:15002/;use_ssl=true;token=...`, a secret."
        ),
    )
    root: Annotated[str, AfterValidator(_without_secrets)] | None = Field(
        None,
        description=(
            "Spark: where the cluster finds what is in `root`, such as `s3a://bucket/prefix`; null "
            "is the same path or URL."
        ),
    )

    @model_validator(mode="after")
    def _keys_fit_the_type(self) -> Self:
        for key, name in _KNOWN_BY.items():
            if getattr(self, key) is not None and self.type != name:
                raise ValueError(f"{key}: goes with `type: {name}`, this is {self.type}")
        if self.type == "spark" and self.remote_env is None:
            raise ValueError(
                "remote_env: is required with `type: spark`: the name of an environment variable"
            )
        return self
