"""What a surface is made from: where its raw events land, when they have, and its catalog."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.values import AtLeastZero, Location, Model, is_object_url

# What `source.type` may be.
SourceType = Literal[
    "jsonl",  # events/sources/jsonl.py
]


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

    @model_validator(mode="after")
    def _marker_is_of_one_day(self) -> Self:
        if self.success_marker is not None:
            DayPattern(self.success_marker).check("success_marker")
            if any(wildcard in self.success_marker for wildcard in "*?["):
                raise ValueError("success_marker: names one file, without wildcards")
        return self


class Source(Model):
    """Where the raw exposure events of a surface land."""

    type: SourceType = Field("jsonl", description="Raw exposure events v1, one object a line.")
    path: Location = Field(
        description="The directory, or s3://, gs:// or az:// URL, that `pattern` starts from."
    )
    pattern: str = Field(
        "{tenant}/{surface}/exposure.{day}*.jsonl*",
        description=(
            "Glob of one day's files below `path`: plain or compressed, any number of parts. "
            "{tenant}, {surface} and {day} (YYYY-MM-DD, or as in {day:%Y%m%d}) are filled in."
        ),
    )
    follow_links_outside: bool = Field(
        default=False,
        description="Whether links that lead out of `path` are read; the day fails otherwise.",
    )

    landing: Landing = Field(
        default_factory=lambda: Landing.model_validate({}),
        description="When raw files count as landed.",
    )

    @model_validator(mode="after")
    def _pattern_selects_one_day(self) -> Self:
        DayPattern(self.pattern).check("pattern")
        return self


class Catalog(Model):
    """The item catalog that content_sim reads."""

    path: Location = Field(
        description="A .csv or .jsonl file or object, or either with .gz; told apart by the suffix."
    )

    @model_validator(mode="after")
    def _known_suffix(self) -> Self:
        if not self.path.lower().removesuffix(".gz").endswith((".csv", ".jsonl")):
            raise ValueError("path: must end in .csv, .jsonl, .csv.gz or .jsonl.gz")
        if is_object_url(self.path) and "/" not in self.path.partition("://")[2]:
            raise ValueError("path: must name an object in the bucket, not the bucket")
        return self
