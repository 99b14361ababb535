"""No event is counted a second time, however it was delivered again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.events import chunks, redelivered
from recsys_assets_tests.events.conftest import (
    Folder,
    collide,
    footer,
    limit_row_groups,
    line,
    places,
)


def test_a_redelivery_is_dropped_and_the_first_in_source_order_stays(folder: Folder) -> None:
    event = line(request_id="r", user_id="u", rank=1)
    folder.write([line(), event, event], "exposure.2026-01-02-b.jsonl")
    folder.write(["broken", event, line(request_id="q")], "exposure.2026-01-02-a.jsonl")
    folder.write([event, line(request_id="q")], "exposure.2026-01-02-c.jsonl")

    parsed = folder.parse()

    assert places(parsed) == [(0, 2), (0, 3), (1, 1)]
    assert (parsed.events, parsed.redelivered, parsed.lines) == (3, 4, 8)


def test_the_same_lines_delivered_in_another_file_add_nothing(folder: Folder) -> None:
    lines = [line(request_id=f"r{number}", item_id=f"i{number}") for number in range(100)]
    folder.write(lines, "exposure.2026-01-02-a.jsonl")
    folder.write(lines[::-1], "exposure.2026-01-02-b.jsonl")

    parsed = folder.parse()

    assert places(parsed) == [(0, number) for number in range(1, 101)]
    assert parsed.redelivered == 100


def test_an_event_is_the_same_however_it_was_written(folder: Folder) -> None:
    folder.write(
        [
            line(request_id="r", user_id="é"),
            line(request_id=" r ", user_id="é\u3000"),
            json.dumps(json.loads(line(request_id="r", user_id="é")), ensure_ascii=False),
            line(request_id="r", user_id="é", ts="2026-01-02T14:00:00.000+02:00"),
            line(request_id="r", user_id="é", other="field"),
        ]
    )
    parsed = folder.parse()

    assert (places(parsed), parsed.redelivered) == ([(0, 1)], 4)


def test_events_without_a_request_are_never_redeliveries(folder: Folder) -> None:
    folder.write([line(), line(), line(request_id=None), line(request_id=" ")])

    parsed = folder.parse()

    assert (parsed.events, parsed.redelivered) == (4, 0)


def test_events_that_differ_in_one_field_are_no_redeliveries(folder: Folder) -> None:
    whole = {"request_id": "r", "user_id": "u", "rank": 1}
    folder.write(
        [
            line(**whole),
            line(**whole | {"request_id": "R"}),
            line(**whole | {"user_id": "U"}),
            line(**whole | {"user_id": None}),
            line(**whole | {"rank": 2}),
            line(**whole | {"rank": None}),
            line(**whole | {"rank": 0}),
            line(**whole, session_id="s2"),
            line(**whole, item_id="i2"),
            line(**whole, ts="2026-01-02T12:00:00.000000001Z"),
        ]
    )
    parsed = folder.parse()

    assert (parsed.events, parsed.redelivered) == (10, 0)


@pytest.mark.parametrize("null", ["user_id", "rank"])
def test_two_nulls_are_equal_when_redeliveries_are_told(folder: Folder, null: str) -> None:
    event = line(**{"request_id": "r", "user_id": "u", "rank": 1, null: None})
    folder.write([event, event])

    assert folder.parse().redelivered == 1


def test_a_hash_collision_drops_no_event(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    collide(monkeypatch)
    lines = [line(request_id=f"r{number % 50}") for number in range(60)]
    folder.write([*lines, line(), line()])

    parsed = folder.parse()

    assert places(parsed) == [(0, number) for number in [*range(1, 51), 61, 62]]
    assert parsed.redelivered == 10


def test_a_collision_without_a_repeat_leaves_the_partition_as_it_was(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write([line(request_id=f"r{number}") for number in range(20)])
    expected = folder.parse().path.read_bytes()
    collide(monkeypatch)

    parsed = folder.parse()

    assert parsed.redelivered == 0
    assert parsed.path.read_bytes() == expected


def test_redeliveries_are_found_in_every_bucket(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line(request_id=f"r{number}") for number in range(40)]
    folder.write(lines + lines[::-1] + [line(request_id="once")] + lines)
    whole = folder.parse()
    monkeypatch.setattr(redelivered, "_BUCKET_ROWS", 1)
    limit_row_groups(monkeypatch, 7)

    parsed = folder.parse()

    assert places(parsed) == [(0, number) for number in [*range(1, 41), 81]]
    assert (parsed.redelivered, parsed.events) == (80, 41)
    assert_frame_equal(parsed.frame.collect(), whole.frame.collect())
    assert footer(parsed) == footer(whole)


def test_an_event_that_is_repeated_for_hours_takes_no_more_than_one_that_is_not(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All copies have one hash, so no number of buckets by hash would part them."""
    monkeypatch.setattr(redelivered, "_BUCKET_ROWS", 20)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1000)
    limit_row_groups(monkeypatch, 100)
    copies = [line(request_id="r")] * 1000
    others = [line(request_id=f"q{number}") for number in range(10)]
    folder.write(copies + others + others + copies)
    held = [0]
    concat = pl.concat

    def counted(parts: Iterable[pl.DataFrame], **options: Any) -> pl.DataFrame:
        whole = concat(list(parts), **options)
        if isinstance(whole, pl.DataFrame) and "row" in whole.columns:
            held.append(whole.height)
        return whole

    monkeypatch.setattr(pl, "concat", counted)
    parsed = folder.parse()

    assert (parsed.events, parsed.redelivered) == (11, 2009)
    assert places(parsed) == [(0, 1), *((0, number) for number in range(1001, 1011))]
    assert 11 <= max(held) < 50
