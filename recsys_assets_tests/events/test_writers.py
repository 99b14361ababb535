"""What is written of a day: row groups of one size, refused lines, no event a second time."""

from __future__ import annotations

import base64
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from recsys_assets.events import chunks, writers
from recsys_assets_tests.events.conftest import (
    Folder,
    limit_row_groups,
    line,
    rejected,
)

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
    folder.write([f"{'x,' * 98}{'y' * 1000}"] * 6, "exposure.2026-01-02-a")
    folder.write(b"\xff\n" + b"[]\n" * 10, "exposure.2026-01-02-b")

    parsed = folder.parse()

    assert [(entry["file"][-1], entry["line"]) for entry in parsed.first_refused] == [
        *(("a", number) for number in range(1, 7)),
        *(("b", number) for number in range(1, 5)),
    ]
    # Cut between values: part of an id would not be found again.
    assert parsed.first_refused[0]["raw"] == f"{'x,' * 98}..."
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
