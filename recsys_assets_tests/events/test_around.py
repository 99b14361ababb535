"""A day is read from the files of the days around it, and each line counts once."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.errors import RawEventsError
from recsys_assets.events import chunks, redelivered
from recsys_assets.events.days import ParsedDay
from recsys_assets.events.sources import open_source
from recsys_assets_tests.events.conftest import (
    Folder,
    footer,
    limit_row_groups,
    line,
    rejected,
)
from recsys_assets_tests.needed import examples

FIRST = date(2026, 1, 1)


def on(number: int) -> date:
    """Return the n-th day, from 0; the start date of the surface is the first one."""
    return FIRST + timedelta(days=number)


def at(number: int, hour: int = 12, **members: Any) -> str:
    return line(ts=f"{on(number)}T{hour:02}:00:00Z", **members)


def write(folder: Folder, number: int, *lines: str, part: str = "") -> None:
    folder.write(lines, f"exposure.{on(number)}{part}.jsonl")


def items(parsed: ParsedDay) -> list[str]:
    return parsed.frame.select("item_id").collect()["item_id"].to_list()


def accounted(parsed: ParsedDay) -> int:
    return (
        parsed.events
        + parsed.redelivered
        + parsed.outside_window
        + parsed.of_days_around
        + parsed.other_surface
        + parsed.left_out
        + parsed.refused.total()
    )


def test_a_shop_whose_files_are_cut_eight_hours_later_keeps_every_event(folder: Folder) -> None:
    write(
        folder,
        0,
        *(at(0, 20, item_id=f"a{n}") for n in range(4)),
        *(at(1, 2, item_id=f"b{n}") for n in range(4)),
    )
    write(folder, 1, *(at(1, 20, item_id=f"c{n}") for n in range(2)))

    first, second = (folder.parse(day=on(n), days_around=1) for n in range(2))

    assert items(first) == [f"a{n}" for n in range(4)]
    assert items(second) == [*(f"b{n}" for n in range(4)), "c0", "c1"]
    assert (first.outside_window, first.of_days_around, first.from_days_around) == (0, 4, 0)
    assert (second.outside_window, second.of_days_around, second.from_days_around) == (0, 0, 4)
    assert first.outside_window_share == second.outside_window_share == 0.0


def test_without_it_the_neighbours_files_are_not_read(folder: Folder) -> None:
    write(folder, 0, at(0), at(1))
    write(folder, 1, at(1))
    write(folder, 2, at(1))

    parsed = folder.parse(day=on(1))

    assert (parsed.events, [file.name for file in parsed.files]) == (
        1,
        ["exposure.2026-01-02.jsonl"],
    )


def test_times_without_an_offset_in_files_of_the_local_day_come_out_right(folder: Folder) -> None:
    """The zone says how times are read; the days around say which files hold those of a day."""
    source: dict[str, Any] = {
        "type": "csv",
        "pattern": "shop.{day}.csv",
        "time_zone": "America/Los_Angeles",
        "days_around": 1,
    }
    head = "ts,session_id,item_id"
    folder.write(
        [head, *(f"2026-01-01 {hour}:30:00,s,{hour}" for hour in ("09", "15", "16", "23"))],
        "shop.2026-01-01.csv",
    )
    folder.write(
        [head, "2026-01-02 00:10:00,s,x", "2026-01-02 16:00:00,s,y"], "shop.2026-01-02.csv"
    )

    found = [items(folder.parse(day=on(n), **source)) for n in range(3)]

    assert found == [["09", "15"], ["16", "23", "x"], ["y"]]


def test_what_is_no_event_of_the_day_counts_on_the_day_of_its_file_only(folder: Folder) -> None:
    write(folder, 0, at(0), at(1, item_id="late"), at(5), at(0, surface="cart"), "{", "[]")
    write(folder, 1, at(1), "nonsense")

    first, second = (folder.parse(day=on(n), days_around=1) for n in range(2))

    assert (first.events, first.of_days_around, first.outside_window) == (1, 1, 1)
    assert (first.refused, first.other_surface) == ({"invalid_json": 1, "wrong_type": 1}, 1)
    assert items(second) == ["late", "i1"]
    assert (second.refused.total(), second.outside_window, second.other_surface) == (1, 0, 0)
    assert [entry["file"] for entry in rejected(second)] == ["exposure.2026-01-02.jsonl"]
    assert (second.own_lines, second.rejected_share) == (2, 0.5)
    for parsed in (first, second):
        assert accounted(parsed) == parsed.lines


def test_a_line_of_a_day_that_does_not_read_its_file_is_outside(folder: Folder) -> None:
    write(folder, 3, at(1), at(2), at(3), at(4), at(5))

    one, two = (folder.parse(day=on(3), days_around=around) for around in (1, 2))

    assert (one.of_days_around, one.outside_window) == (2, 2)
    assert (two.of_days_around, two.outside_window) == (4, 0)
    assert one.outside_window_share == 2 / 5


def test_a_neighbours_file_of_which_every_line_is_refused_is_no_fault_of_the_day(
    folder: Folder,
) -> None:
    write(folder, 0, "<html>")
    write(folder, 1, at(1))

    assert folder.parse(day=on(1), days_around=1).refused_files == []
    assert len(folder.parse(day=on(0), days_around=1).refused_files) == 1


def test_a_neighbours_file_that_cannot_be_read_fails_the_day_and_is_named(folder: Folder) -> None:
    """Which of the day's events it held, nobody knows."""
    write(folder, 1, at(1))
    folder.write(gzip.compress(at(1).encode())[:-4], "exposure.2026-01-01.jsonl.gz")

    with pytest.raises(RawEventsError, match=r"exposure\.2026-01-01\.jsonl\.gz"):
        folder.parse(day=on(1), days_around=1)


def test_two_files_that_hold_the_same_events_of_the_day_are_refused(folder: Folder) -> None:
    write(folder, 0, at(1))
    write(folder, 1, at(1))
    write(folder, 2, at(1, item_id="x"))

    with pytest.raises(RawEventsError, match="hold the same"):
        folder.parse(day=on(1), days_around=1)
    assert folder.parse(day=on(2), days_around=1).events == 0


def test_a_neighbour_that_is_not_marked_as_complete_yet_is_not_read(folder: Folder) -> None:
    source: dict[str, Any] = {"days_around": 1, "landing": {"success_marker": "{day}.done"}}
    write(folder, 1, at(1))
    write(folder, 2, at(1, item_id="x"))

    before = folder.parse(day=on(1), **source)
    (folder.raw / f"{on(2)}.done").touch()
    after = folder.parse(day=on(1), **source)

    assert (items(before), items(after)) == (["i1"], ["i1", "x"])


def test_a_day_without_files_has_the_events_of_its_neighbours(folder: Folder) -> None:
    write(folder, 0, at(0), at(1, item_id="x"))

    parsed = folder.parse(day=on(1), days_around=1)

    assert (items(parsed), parsed.own_files, parsed.lines) == (["x"], 0, 1)


def test_the_files_of_neighbours_and_the_keys_are_part_of_the_fingerprint(folder: Folder) -> None:
    write(folder, 1, at(1))
    alone = folder.parse(day=on(1))
    narrow = folder.parse(day=on(1), days_around=1)
    write(folder, 2, at(2))
    wide = folder.parse(day=on(1), days_around=1)
    write(folder, 2, at(2), at(2))
    changed = folder.parse(day=on(1), days_around=1)

    assert len({parsed.fingerprint for parsed in (alone, narrow, wide, changed)}) == 4
    assert "source" not in footer(alone)
    assert footer(wide)["source"] == {"days_around": 1}
    assert [file["name"] for file in footer(wide)["files"]] == [
        "exposure.2026-01-02.jsonl",
        "exposure.2026-01-03.jsonl",
    ]


def test_folders_by_hour_are_read_in_source_order(folder: Folder) -> None:
    for hour in ("23", "00", "09"):
        for part in ("b", "a"):
            path = folder.raw / f"2026/01/02/{hour}/{part}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(line(item_id=f"{hour}{part}") + "\n")
    unfinished = folder.raw / "2026/01/02/_temporary/a.jsonl"
    unfinished.parent.mkdir()
    unfinished.write_text(line(item_id="not finished") + "\n")

    parsed = folder.parse(pattern="{day:%Y/%m/%d}/*/*")

    assert items(parsed) == ["00a", "00b", "09a", "09b", "23a", "23b"]
    landed = open_source(folder.surface(pattern="{day:%Y/%m/%d}/*/*")).landed()
    assert [file.key for file in landed[on(1)]] == [file.name for file in parsed.files]


# What an event is known by


def redeliveries(folder: Folder, days: Sequence[int] = range(-1, 5), **source: Any) -> list[str]:
    """Return what is kept, over all days."""
    source = {"deduplicate_by": "request_id", **source}
    return [item for n in days for item in items(folder.parse(day=on(n), **source))]


def test_of_events_of_one_request_the_earliest_stays(folder: Folder) -> None:
    write(folder, 1, at(1, 9, request_id="r", item_id="b"), at(1, 8, request_id="q", item_id="q"))
    write(folder, 1, at(1, 8, request_id="r", item_id="a"), at(1, 9, item_id="none"), part="-b")
    write(folder, 1, at(1, 8, request_id="r", item_id="c"), at(1, 9, item_id="none"), part="-c")

    parsed = folder.parse(day=on(1), deduplicate_by="request_id")

    assert items(parsed) == ["a", "none", "none", "q"]
    assert (parsed.redelivered, parsed.other_items) == (2, 2)
    assert folder.parse(day=on(1)).redelivered == 0


def test_an_event_that_came_on_two_days_stays_on_the_earlier_one(folder: Folder) -> None:
    write(folder, 1, at(1, 23, request_id="r", item_id="first"))
    write(folder, 2, at(2, 1, request_id="r", item_id="again"), at(2, request_id="q", item_id="q"))

    assert redeliveries(folder, days_around=1) == ["first", "q"]
    assert redeliveries(folder, days_around=0) == ["first", "again", "q"]
    assert items(folder.parse(day=on(2), days_around=1)) == ["again", "q"]


def test_entries_of_one_line_are_told_apart_by_their_place(folder: Folder) -> None:
    row = '{"ts":"2026-01-02T12:00:00Z","s":"s","id":"m1","items":["a","b"]}'
    later = row.replace("12:00", "12:01")
    folder.write([row, later], "exposure.2026-01-02.jsonl")
    columns = {"ts": "ts", "session_id": "s", "item_id": "item", "request_id": "id"}

    parsed = folder.parse(deduplicate_by="request_id", columns=columns, explode="items")

    assert (items(parsed), parsed.redelivered) == (["a", "b"], 2)


def test_an_event_of_a_day_that_is_not_made_keeps_none_out(folder: Folder) -> None:
    """It would be lost: before the start date no day is made, and none reads a file so far off."""
    write(folder, 0, at(-1, request_id="r", item_id="before"), at(0, request_id="r", item_id="a"))
    write(folder, 2, at(0, request_id="q", item_id="far"), at(2, request_id="q", item_id="b"))

    assert redeliveries(folder, range(5), days_around=1) == ["a", "b"]
    reaches, far = (
        folder.parse(day=on(n), deduplicate_by="request_id", days_around=1) for n in (1, 2)
    )
    assert footer(reaches)["source"]["since"] == "2026-01-01"
    assert "since" not in footer(far)["source"]


def test_nothing_but_the_results_is_left_in_the_scratch_directory(folder: Folder) -> None:
    write(folder, 1, at(1, request_id="r"), at(2, request_id="r"), at(1, request_id="r"))

    parsed = folder.parse(deduplicate_by="request_id", days_around=1)

    assert parsed.redelivered == 1
    assert [path.name for path in parsed.path.parent.iterdir()] == ["2026-01-02.parquet"]


LINES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-2, 2), st.integers(0, 23), st.sampled_from("qr")),
    max_size=12,
)


@given(landed=LINES, around=st.integers(0, 2), small=st.booleans())
@settings(max_examples=examples(45), deadline=None)
def test_each_request_is_kept_once_whichever_days_are_made(
    landed: list[tuple[int, int, int, str]], around: int, small: bool
) -> None:
    """Held to plain Python: an event stays unless an earlier one is read that a day has."""
    with tempfile.TemporaryDirectory() as base, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(chunks, "CHUNK_BYTES", 200)
            patch.setattr(redelivered, "_BUCKET_ROWS", 1)
            limit_row_groups(patch, 2)
        folder = Folder(Path(base))
        known = []
        for number, (of, later, hour, request) in enumerate(landed):
            if of + later >= 0 and abs(later) <= around:
                known.append((of + later, hour, of, number, request))
        for of in range(4):
            lines = [
                at(of + later, hour, request_id=request, item_id=f"i{number}")
                for number, (file, later, hour, request) in enumerate(landed)
                if file == of
            ]
            write(folder, of, *lines)

        for day in range(7):
            parsed = folder.parse(day=on(day), days_around=around, deduplicate_by="request_id")
            read = [event for event in known if abs(event[2] - day) <= around]
            expected = [
                f"i{number}"
                for of, hour, file, number, request in sorted(read, key=lambda event: event[2:4])
                if of == day
                and (of, hour, file, number) == min(e[:4] for e in read if e[4] == request)
            ]
            assert items(parsed) == expected
            assert accounted(parsed) == parsed.lines
