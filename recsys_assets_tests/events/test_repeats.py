"""Events that nothing tells apart are counted, of large days in a sample of bounded size."""

from __future__ import annotations

import polars as pl
import pytest

from recsys_assets.contracts import CANONICAL_DTYPES
from recsys_assets.events import repeats
from recsys_assets.events.redelivered import event_fields
from recsys_assets.events.repeats import Repeats
from recsys_assets_tests.events.conftest import NOON, Folder, line

COLUMNS = event_fields(CANONICAL_DTYPES)


def frame(items: list[str], **columns: object) -> pl.DataFrame:
    rows = {"ts": NOON, "session_id": "s", "item_id": items, **columns}
    lacking = {name: None for name in COLUMNS if name not in rows}
    return pl.DataFrame({**rows, **lacking}).cast({n: CANONICAL_DTYPES[n] for n in COLUMNS})


def counted(*frames: pl.DataFrame) -> tuple[int, int]:
    found = Repeats(COLUMNS)
    for each in frames:
        found.add(each)
    return found.looked_at, found.repeated


def test_events_equal_in_every_column_are_counted_over_the_pieces_of_a_day() -> None:
    assert counted(frame(["a", "b", "a"]), frame(["a"], rank=[1]), frame(["b"])) == (5, 2)


def test_what_a_request_tells_apart_is_not_looked_at(folder: Folder) -> None:
    folder.write([line(), line(), line(request_id="r"), line(request_id="r"), line(rank=1)])

    parsed = folder.parse()

    assert (parsed.undistinguished, parsed.repeated, parsed.redelivered) == (3, 1, 1)


@pytest.mark.parametrize("copies", [1, 3])
def test_of_many_events_a_sample_is_looked_at_in_which_all_equal_ones_are(
    copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "_MOST", 1000)
    pieces = [frame([f"i{n}" for n in range(at, at + 500)]) for at in range(0, 10_000, 500)]

    looked_at, repeated = counted(*pieces * copies)

    assert 200 < looked_at <= 1000 * copies
    assert repeated == looked_at * (copies - 1) // copies


def test_one_event_for_hours_takes_no_more_than_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "_MOST", 1000)

    looked_at, repeated = counted(*[frame(["a"] * 900)] * 3)

    assert (looked_at, repeated) == (2700, 2699)


def test_many_events_of_one_moment_and_item_take_no_more_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeats, "_MOST", 1000)
    sessions = [f"s{n}" for n in range(2000)]

    assert counted(frame(["a"] * 2000, session_id=sessions), frame(["a", "b", "b"])) == (2, 1)
