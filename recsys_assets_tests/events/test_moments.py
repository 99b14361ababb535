from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.config import Source
from recsys_assets.events.chunks import Chunk
from recsys_assets.events.moments import days_of_lines, time_rules
from recsys_assets.events.parse import parse_chunk
from recsys_assets.places import Place
from recsys_assets_tests.project import DAY, event

NOON_MS = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)


def days(*lines: bytes, otherwise_ms: int = NOON_MS, **source: Any) -> list[str]:
    rules = time_rules(Source.model_validate({"path": "raw", **source}))
    return days_of_lines(lines, [otherwise_ms] * len(lines), rules).to_list()


moments = st.datetimes(
    datetime(2025, 12, 30),
    datetime(2026, 1, 3),
    timezones=st.integers(-23 * 60, 23 * 60).map(lambda of: timezone(timedelta(minutes=of))),
)


@given(st.lists(moments, min_size=1, max_size=5), st.lists(st.sampled_from(["x", "", "[]", "{"])))
def test_a_line_is_of_the_day_on_which_it_is_kept(
    times: list[datetime], further: list[str]
) -> None:
    lines = [json.dumps(event("a", ts=moment.isoformat())).encode() for moment in times]

    found = days(*lines, *(text.encode() for text in further))

    for line, of in zip(lines, found, strict=False):
        kept = parse_chunk(Chunk(1, line), place=Place("demo", "home"), day=date.fromisoformat(of))
        assert kept.events.height == 1
    assert found[len(lines) :] == [str(DAY)] * len(further)


@pytest.mark.parametrize(
    "ts", ["2026-02-30T00:00:00Z", "2026-01-05 00:00", 17, None, "9999-12-31T00:00:00Z", "x" * 99]
)
def test_a_time_that_cannot_be_read_gives_way_to_another(ts: object) -> None:
    assert days(json.dumps({"ts": ts}).encode()) == [str(DAY)]


@pytest.mark.parametrize("otherwise_ms", [-1, -(2**62), 2**62])
def test_whatever_stands_for_it_a_day_has_four_digits_of_a_year(otherwise_ms: int) -> None:
    (found,) = days(b"x", otherwise_ms=otherwise_ms)

    assert date.fromisoformat(found)


def test_a_mapping_is_followed_and_of_a_list_the_first_entry_counts() -> None:
    mapped: dict[str, Any] = {
        "columns": {"ts": ["at", "item.at"], "session_id": "s", "item_id": "item.id"},
        "explode": "shown",
        "time_zone": "America/New_York",
        "where": {"kind": "never"},
    }
    lines = [
        {"at": "2026-01-01T20:00:00", "shown": [{"id": 1}]},
        {"shown": [{"at": "2026-01-03T00:00:00Z"}, {"at": "2026-01-04T00:00:00Z"}]},
        {"at": "2026-01-03T20:00:00", "shown": []},
    ]

    found = days(*(json.dumps(line).encode() for line in lines), **mapped)

    assert found == ["2026-01-02", "2026-01-03", str(DAY)]
