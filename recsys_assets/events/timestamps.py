"""Moments as they are written, to TIMESTAMP: RFC 3339, and the forms of others."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import polars as pl

from recsys_assets.config.columns import Moment, complete
from recsys_assets.contracts import TIMESTAMP
from recsys_assets.events.fields import is_fraction, is_text, is_whole, trimmed
from recsys_assets.events.parsed import RefusedError
from recsys_assets.texts import cut_between_values

_RFC_3339: Final = (
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-5][0-9]:[0-5][0-9])(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$"
)
# The years that 64-bit nanoseconds hold with room to spare; others are valid, and outside any
# window.
NEAR_RFC_3339: Final = _RFC_3339.replace("[0-9]{4}", "(?:1[789]|20|21)[0-9]{2}", 1)
_TIMESTAMP_PATTERN: Final = re.compile(_RFC_3339.replace("$", r"\Z"))
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def rfc_3339() -> pl.Expr:
    """Read `ts`, a text in RFC 3339, as TIMESTAMP; null where there is no such day or hour."""
    ts = pl.col("ts")
    in_utc = ts.str.ends_with("Z")
    # Polars reads decimals and offsets ten times slower than whole seconds.
    seconds = ts.str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ns", strict=False)
    decimals = ts.str.slice(20).str.strip_suffix("Z").str.pad_end(9, "0")
    ns = seconds.cast(pl.Int64) + decimals.cast(pl.Int64, strict=False)
    with_offset = pl.when(~in_utc).then(ts)
    return (
        pl.when(in_utc)
        .then(ns.cast(TIMESTAMP))
        .otherwise(
            with_offset.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="ns", strict=False)
        )
        .alias("ts")
    )


def nanoseconds(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 timestamp; any year, so any size.

    Raises:
        RefusedError: it is none.
    """
    found = _TIMESTAMP_PATTERN.match(text)
    if not found:
        shown = cut_between_values(repr(text), 80)
        raise RefusedError(
            "bad_timestamp", f"ts {shown} is not RFC 3339 with at most nine decimals"
        )
    seconds, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{seconds}+00:00") - EPOCH
    except ValueError as error:
        raise RefusedError("bad_timestamp", f"ts {text!r}: {error}") from None
    ns = (moment.days * 86_400 + moment.seconds) * 10**9 + int((fraction or "").ljust(9, "0"))
    offset = (int(hours) * 60 + int(minutes)) * 60 * 10**9 if sign else 0
    return ns + offset if sign == "-" else ns - offset


_PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_EPOCH_TEXT: Final = r"^(-?)([0-9]{1,18})(?:\.([0-9]{1,9})[0-9]*)?$"
_OFFSET: Final = r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))$"
# Years that 64-bit nanoseconds hold; what is further away is a moment, and outside of any day.
_FIRST, _LAST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)


def moments(rows: pl.DataFrame, spec: Moment, zone: str | None) -> pl.Series:
    """Read `ts`, null where a row has none."""
    zone = spec.time_zone or zone
    if spec.join is not None:
        texts = [_part_of_time(field, rows.schema[field]) for field in spec.fields]
        joined = rows.with_columns(ts=pl.concat_str(texts, separator=spec.join))["ts"]
        return _of_text(joined, spec, zone).alias("ts")
    found = [_moment_of(rows[field], spec, zone) for field in spec.fields]
    return (
        pl.select(pl.coalesce(found)).to_series().alias("ts")
        if len(found) > 1
        else found[0].alias("ts")
    )


def _part_of_time(field: str, dtype: pl.DataType) -> pl.Expr:
    """Read what is joined: a text or an integer, a date or a time of the day."""
    is_part = dtype in {pl.Date, pl.Time}
    return pl.col(field).cast(pl.String) if is_part else trimmed(field, dtype)


def _moment_of(values: pl.Series, spec: Moment, zone: str | None) -> pl.Series:
    dtype = values.dtype
    if is_text(dtype):
        return _of_text(values.cast(pl.String), spec, zone)
    if isinstance(dtype, pl.Datetime):
        return _in_utc(values, zone)
    if dtype == pl.Date:
        return _in_utc(values.cast(pl.Datetime("us")), zone)
    if spec.unit is not None and (dtype.is_float() or is_whole(dtype)):
        return _of_number(values, _PER_SECOND[spec.unit])
    if spec.unit is not None and is_fraction(dtype):
        return _of_digits(values.cast(pl.String), _PER_SECOND[spec.unit])
    return _nothing(values.len())


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=TIMESTAMP, eager=True)


def _of_number(values: pl.Series, per_second: int) -> pl.Series:
    first, last = (int(end.timestamp()) * per_second for end in (_FIRST, _LAST))
    if values.dtype.is_float():  # which hold microseconds of these years, and not much more
        whole = (values.fill_nan(None).clip(first, last) * (10**6 / per_second)).round()
        return (whole.cast(pl.Int64) * 1000).cast(TIMESTAMP)
    whole = values.cast(pl.Int128).clip(first, last).cast(pl.Int64)
    return (whole * (10**9 // per_second)).cast(TIMESTAMP)


def _of_text(texts: pl.Series, spec: Moment, zone: str | None) -> pl.Series:
    texts = texts.str.strip_chars()
    if spec.unit is not None:
        return _of_digits(texts, _PER_SECOND[spec.unit])
    if spec.format is not None:
        form, added = complete(spec.format)
        texts = texts + added if added else texts
        return _in_utc(
            texts.str.to_datetime(form, time_unit="us", strict=False, ambiguous="null"), zone
        )
    return _of_iso(texts, zone)


def _of_digits(texts: pl.Series, per_second: int) -> pl.Series:
    text = pl.col("text")
    sign, whole, decimals = (text.str.extract(_EPOCH_TEXT, group) for group in (1, 2, 3))
    last = int(_LAST.timestamp()) * per_second
    number = whole.cast(pl.Int64).clip(0, last) * (10**9 // per_second)
    below = decimals.fill_null("").str.pad_end(9, "0").cast(pl.Int64) // per_second
    ns = (number + below) * pl.when(sign == "-").then(-1).otherwise(1)
    return texts.alias("text").to_frame().select(ns.cast(TIMESTAMP)).to_series()


def _of_iso(texts: pl.Series, zone: str | None) -> pl.Series:
    """Read ISO 8601 as tools write it: a blank for the T, +00 or UTC for the Z, no seconds.

    A date alone begins at midnight.
    """
    frame = texts.alias("ts").to_frame()
    ts = pl.col("ts")
    if not frame.select(ts.str.contains(NEAR_RFC_3339).all()).item():
        time = (
            ts.str.slice(10)
            .str.replace(r"^$", "T00:00:00")
            .str.replace(r"^ ", "T")
            .str.replace(r"\s*(?:UTC|GMT|z)$", "Z")
            .str.replace(r"\s*([+-][0-9]{2}):?([0-9]{2})?$", "${1}:${2}")
            .str.replace(r"([+-][0-9]{2}):$", "${1}:00")
            .str.replace(r"^(T[0-9]{2}:[0-9]{2})([^:0-9]|$)", "${1}:00${2}")
            .str.replace(",", ".", literal=True)
        )
        frame = frame.with_columns(pl.concat_str(ts.str.head(10), time))
    aware = (
        frame.with_columns(pl.when(ts.str.contains(NEAR_RFC_3339)).then(ts))
        .select(rfc_3339())
        .to_series()
    )
    if zone is None or aware.null_count() == frame["ts"].null_count():
        return aware
    naive = frame.select(
        pl.when(ts.str.contains(NEAR_RFC_3339.replace(_OFFSET, "$"))).then(
            pl.concat_str(ts, pl.lit("Z"))
        )
    )
    in_zone = _in_utc(naive.select(rfc_3339()).to_series().dt.replace_time_zone(None), zone)
    return pl.select(pl.coalesce(aware, in_zone)).to_series()


def _in_utc(times: pl.Series, zone: str | None) -> pl.Series:
    """Read times as TIMESTAMP; null where a time without an offset is none, or is two, there."""
    if times.dtype.time_zone is None:  # type: ignore[attr-defined]
        if zone is None:
            return _nothing(times.len())
        times = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return times.dt.convert_time_zone("UTC").clip(_FIRST, _LAST).cast(TIMESTAMP)
