"""What is written of a day: row groups of one size, refused lines, no event a second time."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.events import chunks, writers
from recsys_assets_tests.events.conftest import (
    Folder,
    collide,
    footer,
    limit_row_groups,
    line,
    places,
    rejected,
)

# Redeliveries


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
    monkeypatch.setattr(writers, "_REDELIVERY_BUCKET_ROWS", 1)
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
    monkeypatch.setattr(writers, "_REDELIVERY_BUCKET_ROWS", 20)
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


# Row groups


def row_groups(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@pytest.mark.parametrize("rows", [1, 7, 60, 61, 1000])
def test_events_do_not_depend_on_the_size_of_the_row_groups(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    folder.write([line(item_id=f"i{number}", rank=number) for number in range(60)])
    expected = folder.parse().frame.collect()
    limit_row_groups(monkeypatch, rows)

    parsed = folder.parse()
    groups = list(parsed.groups())

    assert_frame_equal(parsed.frame.collect(), expected)
    assert_frame_equal(pl.concat(groups), expected)
    full, rest = divmod(60, rows)
    assert [group.height for group in groups] == [rows] * full + [rest] * (rest > 0)
    assert row_groups(parsed.path) == [group.height for group in groups]


def test_row_groups_are_full_across_chunks_and_files(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in "abc":
        folder.write([line(item_id=f"{part}{n}") for n in range(11)], f"exposure.2026-01-02-{part}")
    limit_row_groups(monkeypatch, 10)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 500)

    assert row_groups(folder.parse().path) == [10, 10, 10, 3]


# Refused lines


def test_refused_lines_are_kept_with_their_place_reason_and_very_bytes(folder: Folder) -> None:
    invalid, text = b'{"v":1,"\xff\x00\xfe"}', '{"é\u2028":"\U0001f600\x7f"'
    folder.write(f"{line()}\n\n{text}\n".encode() + invalid + b"\n[]", "exposure.2026-01-02-a")
    folder.write([line(v=2)], "exposure.2026-01-02-b")

    first, second, third, fourth = rejected(folder.parse())

    assert (first["file"], first["line"], first["reason"], first["raw"]) == (
        "exposure.2026-01-02-a",
        3,
        "invalid_json",
        text,
    )
    assert (second["file"], second["line"], second["reason"]) == (
        "exposure.2026-01-02-a",
        4,
        "invalid_utf8",
    )
    assert base64.b64decode(second["raw_base64"]) == invalid
    assert third == {
        "file": "exposure.2026-01-02-a",
        "line": 5,
        "reason": "wrong_type",
        "detail": "the line is an array, not an object",
        "raw": "[]",
    }
    assert fourth == {
        "file": "exposure.2026-01-02-b",
        "line": 1,
        "reason": "wrong_version",
        "detail": "v is 2, this project reads v 1",
        "raw": line(v=2),
    }
    for entry in (first, second):
        assert set(entry) - {"raw", "raw_base64"} == {"file", "line", "reason", "detail"}
        assert ("raw" in entry) != ("raw_base64" in entry)


def test_a_line_that_is_too_long_is_kept_up_to_the_limit(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "MAX_LINE_BYTES", 200)
    folder.write(b"a" * 300 + b"\n" + line().encode() + b"\n" + b"a" + b"\xc3\xa9" * 150)

    parsed = folder.parse()
    first, second = rejected(parsed)

    assert (first["line"], first["reason"], first["raw"]) == (1, "line_too_long", "a" * 200)
    assert (second["line"], second["reason"]) == (3, "line_too_long")
    assert base64.b64decode(second["raw_base64"]) == b"a" + b"\xc3\xa9" * 99 + b"\xc3"
    assert (parsed.lines, parsed.events, parsed.refused) == (3, 1, {"line_too_long": 2})


def test_the_first_ten_refused_lines_are_at_hand_and_short(folder: Folder) -> None:
    folder.write(["x" * 1000] * 6, "exposure.2026-01-02-a")
    folder.write(b"\xff\n" + b"[]\n" * 10, "exposure.2026-01-02-b")

    parsed = folder.parse()

    assert [(entry["file"][-1], entry["line"]) for entry in parsed.first_refused] == [
        *(("a", number) for number in range(1, 7)),
        *(("b", number) for number in range(1, 5)),
    ]
    assert parsed.first_refused[0]["raw"] == "x" * 200
    assert parsed.first_refused[6]["raw"] == "\\xff"
    assert parsed.first_refused[9] == {
        "file": "exposure.2026-01-02-b",
        "line": 4,
        "reason": "wrong_type",
        "detail": "the line is an array, not an object",
        "raw": "[]",
    }
    assert len(rejected(parsed)) == 17


@pytest.mark.parametrize("most", [("MOST_KEPT_LINES", 3), ("MOST_KEPT_BYTES", 5)])
def test_of_many_refused_lines_the_first_are_kept_and_the_others_told(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, most: tuple[str, int]
) -> None:
    monkeypatch.setattr(writers, *most)
    lines = [line(), "x1", "x2", "", "x3", "x4", line(item_id="i2"), "x5"]
    folder.write(lines, "exposure.2026-01-02-a")
    folder.write([line(item_id="i3")], "exposure.2026-01-02-b")
    folder.write(["x6", line(item_id="i4")], "exposure.2026-01-02-c")

    parsed = folder.parse()

    assert (parsed.lines, parsed.events, parsed.refused) == (10, 4, {"invalid_json": 6})
    *kept, first, second = rejected(parsed)
    assert [entry["raw"] for entry in kept] == ["x1", "x2", "x3"]
    assert first == {
        "file": "exposure.2026-01-02-a", "line": 6, "last_line": 8, "lines": 2,
        "reason": "not_kept",
    }  # fmt: skip
    assert second == {
        "file": "exposure.2026-01-02-c", "line": 1, "last_line": 1, "lines": 1,
        "reason": "not_kept",
    }  # fmt: skip
    assert parsed.not_kept == {
        "exposure.2026-01-02-a": writers.NotKept(6, 8, 2),
        "exposure.2026-01-02-c": writers.NotKept(1, 1, 1),
    }


def test_few_refused_lines_are_all_kept(folder: Folder) -> None:
    folder.write([line(), *["x"] * 1000])

    parsed = folder.parse()

    assert (len(rejected(parsed)), parsed.not_kept) == (1000, {})
