"""How a user's own columns become canonical events: which field is which, and which rows count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from recsys_assets.config.values import Model

# Codes of a format that a time of the day is complete with, and those that an hour alone has.
_WITH_MINUTES, _HOURS = frozenset("MTRXrcs+"), frozenset("HIkl")
# A moment that each part of a format shows: what is written of it must be read as its day.
_SHOWN: Final = datetime(2026, 1, 31, 13, 45, 56, tzinfo=UTC)

# A name, then further names after dots; `[key]` behind a name takes an entry of a list of pairs.
FIELD_STEP: Final = re.compile(r"([^.\[\]]+)(?:\[([^\[\]]+)\])?(?:\.|\Z)")


def _field(value: str) -> str:
    """Refuse what names no field."""
    if not value or value != value.strip():
        raise ValueError("must name a field, without white space around it")
    if ("[" in value or "]" in value) and "".join(
        step.group() for step in FIELD_STEP.finditer(value)
    ) != value:
        raise ValueError("must be names with dots between, with [key] for an entry of a list")
    return value


def _time_zone(value: str) -> str:
    """Refuse what is no time zone that this machine knows."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # not known, or no name at all
        raise ValueError("must be a time zone such as UTC or America/Los_Angeles") from None
    return value


def _expression(value: str) -> str:
    """Refuse what is no regular expression, or one that is read by Python alone."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None
    import polars as pl  # which does not read all that Python does

    try:
        pl.Series([""]).str.contains(value)
    except pl.exceptions.ComputeError:
        raise ValueError(
            "must be a regular expression without look-around, such as (?=, and without references "
            "to groups"
        ) from None
    return value


def _one_group(value: str) -> str:
    """Refuse an expression that does not say what it takes."""
    if re.compile(value).groups != 1:
        raise ValueError("must have one pair of brackets, around what is taken")
    return value


def _codes(form: str) -> set[str]:
    """Return the codes of a format, of `%.3f` the last letter."""
    return set(re.findall(r"%[-_0#:.]*[0-9]?(.)", form))


def complete(form: str) -> tuple[str, str]:
    """Return a format with minutes, and what is added to a text for it where it has hours alone."""
    codes = _codes(form)
    is_by_hour = codes & _HOURS and not codes & _WITH_MINUTES
    return (f"{form} %M", " 00") if is_by_hour else (form, "")


def _format(value: str) -> str:
    """Refuse what no moment can be read by, or would be read wrong by."""
    if re.search(r"(?<!%)(%%)*%f", value):
        raise ValueError(
            "must have `%.f` for decimals of a second and the point before them, in place of `.%f`"
        )
    if "Z" in _codes(value):
        raise ValueError(
            "must be without `%Z`, as names of zones are not read: write UTC or the like as it "
            "stands in the text, and say `time_zone`"
        )
    import polars as pl

    form, added = complete(value)
    try:
        # `%#z` reads offsets of every form and writes none.
        written = pl.Series([_SHOWN]).dt.strftime(value.replace("%#z", "%z")) + added
        read = written.str.to_datetime(form, time_unit="us", strict=False).dt.date()
    except pl.exceptions.PolarsError:
        read = pl.Series([None])
    if read.item() != _SHOWN.date():
        raise ValueError("must tell year, month and day, such as %Y-%m-%d or %d/%m/%Y %H:%M:%S")
    return value


def text_of(value: Any) -> Any:
    """Return the text of a plain value, as fields are compared with it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else value


def _several(value: Any) -> Any:
    """Take one where a list of them is meant."""
    return value if isinstance(value, list | tuple) else [value]


def _tab(value: Any) -> Any:
    """Take a tab as it is written in YAML without quotes, where it is two characters."""
    return value.replace("\\t", "\t") if isinstance(value, str) else value


def from_a_field(value: Any) -> Any:
    """Take a field, or a list of them, where nothing else is said."""
    return {"from": value} if isinstance(value, str | list) else value


FieldName = Annotated[str, AfterValidator(_field)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Expression = Annotated[str, AfterValidator(_expression)]
Extract = Annotated[Expression, AfterValidator(_one_group)]
Delimiter = Annotated[str, BeforeValidator(_tab)]
Format = Annotated[str, AfterValidator(_format)]
Kind = Annotated[str, BeforeValidator(text_of)]
Fields = Annotated[list[FieldName], BeforeValidator(_several), Field(min_length=1)]
Scalar = str | int | float | bool | None


class Column(Model):
    """What a canonical column is taken from. A field alone, or a list of them, is its `from`."""

    fields: Fields | None = Field(
        None,
        alias="from",
        description=(
            "A field, or several: the first that is set is taken. `a.b` is a field of a field, or "
            "of a text of JSON, `a[k]` the value of the entry with the key k in a list of them, "
            "`item` the entry of `explode`."
        ),
    )
    join: str | None = Field(
        None, description="What stands between the fields, where all of them together are meant."
    )
    extract: Extract | None = Field(
        None, description="A regular expression with one group: what is taken of the text."
    )
    value: str | None = Field(None, description="The same text for every row, instead of `from`.")

    @model_validator(mode="after")
    def _is_taken_from_something(self) -> Self:
        if (self.fields is None) == (self.value is None):
            raise ValueError("needs either `from` or `value`")
        if self.value is not None and (self.join is not None or self.extract is not None):
            raise ValueError("`join` and `extract` go with `from`, not with `value`")
        return self


class Moment(Model):
    """What `ts` is taken from. A field alone, or a list of them, is its `from`."""

    fields: Fields = Field(
        alias="from", description="A field, or several: the first that is set is taken."
    )
    join: str | None = Field(
        None, description="What stands between the fields, such as a date and a time."
    )
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        None, description="What a number counts since 1970; null takes no numbers."
    )
    format: Format | None = Field(
        None,
        description=(
            "How a text is written, such as `%d/%m/%Y %H:%M:%S`; null is ISO 8601: a date, a time, "
            "up to nine decimals, an offset."
        ),
    )
    time_zone: TimeZone | None = Field(
        None, description="Of times without an offset; null is that of the source."
    )


class Columns(Model):
    """Which field each canonical column is taken from."""

    ts: Annotated[Moment, BeforeValidator(from_a_field)] = Field(
        description="When the item was shown."
    )
    item_id: Annotated[Column, BeforeValidator(from_a_field)] = Field(
        description="The item that was shown: a text or an integer."
    )
    session_id: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="The session, unique over all users. Required unless `sessions` is set."
    )
    user_id: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="Who saw it."
    )
    request_id: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="The request that it answered."
    )
    rank: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="Position in the list shown, an integer."
    )
    tenant: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="Whose row it is; null takes every row."
    )
    surface: Annotated[Column, BeforeValidator(from_a_field)] | None = Field(
        None, description="Of which surface it is; null takes every row."
    )

    def of_events(self) -> Mapping[str, Column]:
        """Return the columns but `ts` that are mapped, by name."""
        named = {name: getattr(self, name) for name in type(self).model_fields if name != "ts"}
        return {name: column for name, column in named.items() if column is not None}


class Explode(Model):
    """The list of which each entry is an event. A field alone is its `from`."""

    field: FieldName = Field(alias="from", description="The list, or the text that is split.")
    split: str | None = Field(
        None, min_length=1, description="What stands between the entries where it is a text."
    )


class Weight(Model):
    """What an event counts in popularity and implicit."""

    column: FieldName = Field(description="The field that says what kind of event it is.")
    values: dict[Kind, Annotated[int, Field(ge=1, le=1_000_000)]] = Field(
        min_length=1,
        description=(
            "What each kind counts; a kind that is not named counts 1. A number stands for its "
            "text too."
        ),
    )


class Matches(Model):
    """Texts that a regular expression finds something in."""

    matches: Expression = Field(
        description=(
            "A regular expression that is found somewhere in the text of the field; `.` in each "
            "that is not empty."
        )
    )


def _kind_of_wanted(value: Any) -> str:
    """Tell which of the two is meant, so that a mistake is told once."""
    return "matches" if isinstance(value, Mapping | Matches) else "value"


Wanted = Annotated[
    Annotated[Scalar, Tag("value")] | Annotated[Matches, Tag("matches")],
    Discriminator(_kind_of_wanted),
]
Where = dict[FieldName, Annotated[list[Wanted], BeforeValidator(_several), Field(min_length=1)]]


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
