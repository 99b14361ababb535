"""When raw events count as landed, and the topics that they are landed from."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.values import AtLeastZero, Model, VariableName


def _topic_name(value: str) -> str:
    """Refuse what Kafka takes for no topic."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in {".", ".."}:
        raise ValueError("must be the name of a topic: letters, digits, '.', '_' and '-'")
    return value


TopicName = Annotated[str, AfterValidator(_topic_name)]


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
        400,
        ge=1,
        le=3660,
        description=(
            "Newest days that are looked at; older ones are left alone. Of Postgres, whose rows "
            "are read for that, it is 7 unless it is set."
        ),
    )

    kafka: Kafka | None = Field(None, description="The topic that raw files are landed from.")

    @model_validator(mode="after")
    def _marker_is_of_one_day(self) -> Self:
        if self.success_marker is not None:
            DayPattern(self.success_marker).check("success_marker")
            if any(wildcard in self.success_marker for wildcard in "*?["):
                raise ValueError("success_marker: names one file, without wildcards")
        return self
