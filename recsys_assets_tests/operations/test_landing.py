from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Literal

import polars as pl
import pytest

from recsys_assets.config import Config, Surface
from recsys_assets.errors import RawEventsError
from recsys_assets.events.provenance import read_provenance
from recsys_assets.operations import landing
from recsys_assets.operations.arrivals import Arrival, Arrivals, LastReport
from recsys_assets.operations.cursors import Cursor
from recsys_assets.operations.file_days import FileDays
from recsys_assets.operations.landing import look
from recsys_assets.places import Place
from recsys_assets.storage import layout, open_store
from recsys_assets.storage.store import Store
from recsys_assets_tests.lake import to_delta, to_iceberg
from recsys_assets_tests.project import CATALOG, DAY, Project, day, event
from recsys_assets_tests.shop import make_day
from recsys_assets_tests.storage.conftest import new_prefix, use
from recsys_assets_tests.storage.servers import Server

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)
SETTLE = timedelta(seconds=60)


@dataclass
class Watch:
    """Looks again and again as the sensor does, and remembers what it reported."""

    store: Store
    config: Config
    now: datetime = NOON
    cursor: str | None = None
    reports: dict[tuple[str, date], LastReport] = field(default_factory=dict)
    tried: dict[date, Literal["made", "failed"]] = field(default_factory=dict)

    @property
    def surface(self) -> Surface:
        return self.config.surfaces[0]

    def look(self, *, after: timedelta = SETTLE) -> Arrivals:
        self.now += after
        found = look(
            self.store,
            self.surface,
            Cursor.from_text(self.cursor, self.config.root),
            now=self.now,
            reported=lambda asset, of: self.reports.get((asset, of)),
            tried=lambda of: self.tried.get(of, "unknown"),
        )
        self.cursor = found.cursor.to_text()
        for asset, arrivals in (("raw_events", found.raw_events), ("catalog", found.catalog)):
            for arrival in arrivals:
                at = datetime.now(UTC)
                self.reports[asset, arrival.day] = LastReport(arrival.data_version, at)
        return found

    def settled(self) -> Arrivals:
        """Look once to see the files, and once more when they have settled."""
        first = self.look()
        assert not first.raw_events
        return self.look()


Watching = Callable[..., Watch]


@pytest.fixture
def watching(project: Project) -> Watching:
    def start(**surface: Any) -> Watch:
        default: dict[str, Any] = {"artifacts": {"popularity": {}}, "catalog": None}
        return Watch(project.store, project.configure({**default, **surface}))

    return start


def land(project: Project, number: int, *items: str, part: str = "") -> None:
    events = [event(item, of=day(number)) for item in items]
    project.land(day(number), events, part=part)


def days(arrivals: list[Arrival]) -> list[date]:
    return [arrival.day for arrival in arrivals]


def test_a_new_file_is_reported_once_it_stayed_as_it_is_and_only_once(
    project: Project, watching: Watching
) -> None:
    watch = watching()
    land(project, 0, "a")

    assert watch.look().waiting == [DAY]
    assert not watch.look(after=SETTLE - timedelta(seconds=1)).raw_events
    found = watch.look(after=timedelta(seconds=1))

    assert days(found.raw_events) == [DAY]
    assert not found.waiting
    assert found.raw_events[0].shown["files"] == 1
    assert found.raw_events[0].shown["size_bytes"] == found.raw_events[0].files[0].size_bytes
    for _ in range(3):
        assert not watch.look().raw_events


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[date]:
    """The days whose files a tick looked at."""
    found: list[date] = []
    state = FileDays.state

    def counted(self: FileDays, of: date) -> Any:
        found.append(of)
        return state(self, of)

    monkeypatch.setattr(FileDays, "state", counted)
    return found


def test_where_nothing_has_changed_no_day_is_looked_at(
    project: Project, watching: Watching, looked_at: list[date]
) -> None:
    watch = watching()
    for number in range(3):
        land(project, number, "a")
    assert len(watch.settled().raw_events) == 3
    looked_at.clear()

    assert watch.look().days == 3
    assert not looked_at

    os.utime(project.folder / f"raw/demo/home/exposure.{DAY}.jsonl", (1, 1))
    assert watch.look().waiting == [DAY]
    assert looked_at


@pytest.mark.parametrize(
    "changed",
    [
        {"source": {"path": "raw", "days_around": 1}},
        {"source": {"path": "raw", "landing": {"lookback_days": 1}}},
        {"start_date": day(1)},
    ],
)
def test_a_tick_that_asks_for_other_days_looks_at_them(
    changed: dict[str, Any], project: Project, watching: Watching, looked_at: list[date]
) -> None:
    watch = watching()
    land(project, 0, "a")
    land(project, 18, "a")
    watch.settled()
    watch.config = watching(**changed).config
    looked_at.clear()

    watch.look()

    assert looked_at


def test_a_file_that_still_grows_is_waited_for(project: Project, watching: Watching) -> None:
    watch = watching()
    for size in range(1, 5):
        land(project, 0, *"abcd"[:size])
        assert watch.look().waiting == [DAY]

    assert days(watch.look().raw_events) == [DAY]


def test_a_file_with_the_time_of_its_original_is_waited_for_too(
    project: Project, watching: Watching
) -> None:
    """As `cp -p` and `rsync -t` leave it: the time says long ago, while it is being written."""
    watch = watching()
    for items in ("a", "ab"):
        land(project, 0, *items)
        os.utime(project.folder / f"raw/demo/home/exposure.{DAY}.jsonl", (1, 1))
        assert watch.look().waiting == [DAY]

    assert days(watch.look().raw_events) == [DAY]


def test_without_a_time_to_settle_a_file_is_reported_at_once(
    project: Project, watching: Watching
) -> None:
    watch = watching(source={"path": "raw", "landing": {"settle_seconds": 0}})
    land(project, 0, "a")

    assert days(watch.look().raw_events) == [DAY]


def test_a_marker_says_when_a_day_is_complete(project: Project, watching: Watching) -> None:
    marker = "{tenant}/{surface}/dt={day}/_SUCCESS"
    watch = watching(source={"path": "raw", "landing": {"success_marker": marker}})
    land(project, 0, "a")
    for _ in range(3):
        assert watch.look().waiting == [DAY]

    path = project.folder / f"raw/demo/home/dt={DAY}/_SUCCESS"
    path.parent.mkdir()
    path.touch()

    assert days(watch.look().raw_events) == [DAY]


def test_days_in_folders_of_years_and_months_land_with_their_markers(
    project: Project, watching: Watching
) -> None:
    pattern = "year={day:%Y}/month={day:%m}/day={day:%d}/*"
    marker = {"success_marker": "{day:%Y/%m/%d}/_SUCCESS"}
    watch = watching(source={"path": "raw", "pattern": pattern, "landing": marker})
    for number in (0, 1):
        folder = project.folder / f"raw/year={day(number):%Y}/month={day(number):%m}"
        file = folder / f"day={day(number):%d}" / "a.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(event("a", of=day(number))))
    marked = project.folder / f"raw/{day(1):%Y/%m/%d}/_SUCCESS"
    marked.parent.mkdir(parents=True)
    marked.touch()

    found = watch.look()

    assert days(found.raw_events) == [day(1)]
    assert found.waiting == [day(0)]


def test_a_changed_file_of_an_old_day_is_reported_and_nothing_else(
    project: Project, watching: Watching
) -> None:
    watch = watching()
    for number in range(5):
        land(project, number, "a")
    assert days(watch.settled().raw_events) == [day(number) for number in range(5)]

    land(project, 1, "a", "b")

    assert days(watch.settled().raw_events) == [day(1)]


@pytest.mark.parametrize("how", ["touched", "written again", "replaced"])
def test_the_same_content_is_no_news(project: Project, watching: Watching, how: str) -> None:
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    path = project.folder / f"raw/demo/home/exposure.{DAY}.jsonl"
    if how == "touched":
        os.utime(path)
    elif how == "written again":
        path.write_bytes(path.read_bytes())
    else:
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)

    assert watch.look().waiting == [DAY]
    found = watch.look()
    assert (found.raw_events, found.waiting) == ([], [])


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / f"exposure.{DAY}.p1.jsonl").write_bytes(b"{}\n"),
        lambda folder: (folder / f"exposure.{DAY}.p0.jsonl").unlink(),
        lambda folder: (folder / f"exposure.{DAY}.p0.jsonl").rename(
            folder / f"exposure.{DAY}.p2.jsonl"
        ),
    ],
    ids=["one more part", "one part less", "a part renamed"],
)
def test_a_change_of_the_parts_is_a_change_of_the_day(
    project: Project, watching: Watching, change: Callable[[Any], Any]
) -> None:
    watch = watching()
    land(project, 0, "a")
    land(project, 0, "b", part=".p0")
    watch.settled()

    change(project.folder / "raw/demo/home")

    assert days(watch.settled().raw_events) == [DAY]


def test_raw_files_that_are_deleted_rerun_nothing(project: Project, watching: Watching) -> None:
    watch = watching()
    land(project, 0, "a")
    land(project, 1, "a")
    watch.settled()

    (project.folder / f"raw/demo/home/exposure.{DAY}.jsonl").unlink()

    found = watch.look()
    assert (found.raw_events, found.waiting, found.days) == ([], [], 1)
    assert str(DAY) not in (watch.cursor or "")


def test_a_day_that_was_built_from_these_files_is_no_news(
    project: Project, watching: Watching
) -> None:
    """History that a backfill built before the sensor was started is left alone."""
    watch = watching()
    land(project, 0, "a")
    land(project, 1, "a")
    assert make_day(project.store, watch.surface, DAY) == "published"

    assert days(watch.settled().raw_events) == [day(1)]

    land(project, 0, "a", "b")
    assert days(watch.settled().raw_events) == [DAY]


def test_a_lost_cursor_reports_nothing_anew(project: Project, watching: Watching) -> None:
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    for lost in (None, "", "not json", "[]", '{"seen": 1}', '{"seen": {}, "waiting": {"x": 1}}'):
        watch.cursor = lost

        assert not watch.settled().raw_events


def test_a_bad_day_is_not_reported_again_until_it_changes(
    project: Project, watching: Watching
) -> None:
    watch = watching()
    project.land(DAY, ["nonsense"])
    assert days(watch.settled().raw_events) == [DAY]

    watch.cursor = None
    assert not watch.settled().raw_events

    land(project, 0, "a")
    assert days(watch.settled().raw_events) == [DAY]


def test_content_that_comes_back_after_others_were_built_is_news(
    project: Project, watching: Watching
) -> None:
    """Reported as a, built as b by hand while nobody looked, and now it is a again."""
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    land(project, 0, "b")
    assert make_day(project.store, watch.surface, DAY) == "published"
    land(project, 0, "a")

    assert days(watch.settled().raw_events) == [DAY]


def test_a_report_is_no_answer_by_a_run_that_had_read_before_it(
    project: Project, watching: Watching
) -> None:
    """The run ends after the report, which conditions take as its answer."""
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    assert make_day(project.store, watch.surface, DAY) == "published"
    key = layout.canonical(watch.surface.place, DAY)
    of_a = project.store.read(key)
    assert of_a
    assert not watch.look().raw_events
    land(project, 0, "b")
    assert days(watch.settled().raw_events) == [DAY]
    assert not watch.look().raw_events

    project.store.replace(key, of_a.data)

    assert days(watch.look().raw_events) == [DAY]
    assert not watch.look().raw_events
    assert make_day(project.store, watch.surface, DAY) == "published"
    for _ in range(3):
        assert not watch.look().raw_events
    assert not Cursor.from_text(watch.cursor, watch.config.root).reported


def test_what_is_reported_and_not_made_is_waited_for_a_day_and_some_at_a_time(
    project: Project, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "_MOST_REPORTED", 2)
    watch = watching()
    for number in range(5):
        land(project, number, "a")
    assert len(watch.settled().raw_events) == 5
    of_day_4 = layout.canonical(watch.surface.place, day(4))

    def looks_until_told() -> int:
        return next(at for at in range(1, 9) if watch.look().raw_events)

    project.store.replace(of_day_4, b"of other files")
    assert looks_until_told() <= 3

    for _ in range(3):
        assert not watch.look(after=timedelta(hours=25)).raw_events
    assert not Cursor.from_text(watch.cursor, watch.config.root).reported


@pytest.mark.parametrize("known_by", ["the report of the bad file", "the failed run"])
def test_a_good_file_that_comes_back_after_a_bad_one_failed_is_news(
    project: Project, watching: Watching, known_by: str
) -> None:
    """The root has the day made of this file, and still it is red."""
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    assert make_day(project.store, watch.surface, DAY) == "published"
    project.land(DAY, ["nonsense"])
    if known_by == "the failed run":  # somebody ran it by hand, before the sensor saw it
        watch.tried[DAY] = "failed"
    else:
        assert days(watch.settled().raw_events) == [DAY]
    land(project, 0, "a")

    assert days(watch.settled().raw_events) == [DAY]
    assert not watch.settled().raw_events


def test_another_root_has_days_of_its_own(project: Project, watching: Watching) -> None:
    """The cursor is kept under the name of the sensor, whatever configuration that has now."""
    watch = watching()
    land(project, 0, "a")
    assert days(watch.settled().raw_events) == [DAY]
    other = watch.config.model_copy(update={"root": str(project.folder / "other")})

    second = Watch(open_store(other.root), other, watch.now, watch.cursor)

    assert days(second.settled().raw_events) == [DAY]
    assert make_day(second.store, second.surface, DAY) == "published"
    first = Watch(watch.store, watch.config, second.now, second.cursor, watch.reports)
    assert not first.settled().raw_events


def test_a_cursor_of_an_earlier_version_is_taken_over(project: Project, watching: Watching) -> None:
    watch = watching()
    land(project, 0, "a")
    watch.settled()
    members = json.loads(watch.cursor or "")
    del members["root"]
    watch.cursor = json.dumps(members)

    assert not watch.look().raw_events


@pytest.mark.parametrize(("window_days", "told"), [(1, []), (2, [1]), (3, [1, 2]), (9, [1, 2, 4])])
def test_days_that_only_the_root_knows_are_told_when_late_data_changes_their_window(
    project: Project, watching: Watching, window_days: int, told: list[int]
) -> None:
    watch = watching(window_days=window_days)
    for number in (0, 1, 2, 4, 5):
        land(project, number, "a")
        make_day(project.store, watch.surface, day(number))
    watch.tried[day(5)] = "made"
    assert not watch.settled().canonical_events
    land(project, 0, "a", "b")

    found = watch.settled()

    assert days(found.raw_events) == [DAY]
    assert days(found.canonical_events) == [day(number) for number in told]
    for arrival in found.canonical_events:
        key = layout.canonical(watch.surface.place, arrival.day)
        assert arrival.data_version == read_provenance(project.store, key).fingerprint


def test_a_damaged_day_after_it_does_not_keep_news_from_being_told(
    project: Project, watching: Watching, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watching(window_days=3)
    for number in (0, 1, 2):
        land(project, number, "a")
        make_day(project.store, watch.surface, day(number))
    watch.settled()
    damaged = layout.canonical(watch.surface.place, day(1))
    project.store.replace(damaged, b"no Parquet")
    land(project, 0, "a", "b")

    found = watch.settled()

    assert days(found.raw_events) == [DAY]
    assert days(found.canonical_events) == [day(2)]
    assert f"{damaged} is not a readable canonical partition" in caplog.text


def test_only_days_that_are_over_are_partitions_and_recent_are_looked_at(
    project: Project, watching: Watching
) -> None:
    watch = watching(
        start_date=date(2025, 12, 30),
        end_date=None,
        source={"path": "raw", "landing": {"lookback_days": 3}},
    )
    today = (NOON.date() - DAY).days
    for number in (-3, today - 4, today - 3, today - 1, today, today + 1):
        land(project, number, "a")

    found = watch.settled()

    assert days(found.raw_events) == [day(today - 3), day(today - 1)]
    assert found.days == 2


def test_of_a_surface_that_ended_the_last_days_are_looked_at(
    project: Project, watching: Watching
) -> None:
    watch = watching(
        end_date=date(2026, 1, 4), source={"path": "raw", "landing": {"lookback_days": 2}}
    )
    watch.now = datetime(2030, 1, 1, tzinfo=UTC)
    for number in range(5):
        land(project, number, "a")

    assert days(watch.settled().raw_events) == [day(1), day(2)]


def test_more_than_a_tick_may_report_comes_in_the_next_the_newest_days_first(
    project: Project, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "_MOST_DAYS", 2)
    watch = watching()
    for number in range(5):
        land(project, number, "a")

    found = watch.settled()
    assert days(found.raw_events) == [day(3), day(4)]
    assert found.left_over
    assert "more in the next tick" in str(found)
    assert days(watch.look().raw_events) == [day(1), day(2)]
    last = watch.look()
    assert (days(last.raw_events), last.left_over) == ([DAY], False)


def test_a_tick_that_runs_out_of_time_goes_on_in_the_next(
    project: Project, watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watching(source={"path": "raw", "landing": {"settle_seconds": 0}})
    for number in range(3):
        land(project, number, "a")
    monkeypatch.setattr(landing, "_BUDGET_S", -1.0)
    assert watch.look().left_over
    monkeypatch.setattr(landing, "_BUDGET_S", 20.0)

    assert days(watch.look().raw_events) == [day(number) for number in range(3)]


def test_the_cursor_stays_small_however_many_files_land(
    project: Project, watching: Watching
) -> None:
    watch = watching(end_date=None)
    watch.now = datetime(2027, 2, 1, tzinfo=UTC)
    for number in range(360):
        for part in (".a", ".b", ".c", ".d", ".e"):
            land(project, number, part=part)

    found = watch.settled()

    assert len(found.raw_events) == 360
    assert watch.cursor is not None
    assert len(watch.cursor) < 65 * 360  # while none of them is made


def test_a_missing_source_is_an_error_and_not_a_quiet_day(
    project: Project, watching: Watching
) -> None:
    watch = watching(source={"path": "not there"})

    with pytest.raises(RawEventsError, match="is not a directory: is it mounted"):
        watch.look()


def test_a_link_to_nothing_keeps_no_other_day_waiting(project: Project, watching: Watching) -> None:
    watch = watching()
    land(project, 1, "a")
    (project.folder / f"raw/demo/home/exposure.{DAY}.jsonl").symlink_to("gone")

    assert days(watch.settled().raw_events) == [day(1)]


class TestCatalog:
    """The catalog belongs to no day; the days that are made of it are reported."""

    KINDS: ClassVar[dict[str, Any]] = {
        "artifacts": {"popularity": {}, "content_sim": {}},
        "catalog": {"path": "catalog.csv"},
    }

    def write(self, project: Project, text: str) -> None:
        (project.folder / "catalog.csv").write_text(text)

    def test_it_is_reported_for_every_new_day(self, project: Project, watching: Watching) -> None:
        watch = watching(**self.KINDS)
        land(project, 0, "a")
        land(project, 1, "a")

        found = watch.settled()

        assert days(found.raw_events) == days(found.catalog) == [DAY, day(1)]

    def test_when_it_changes_it_is_reported_for_the_newest_day(
        self, project: Project, watching: Watching
    ) -> None:
        watch = watching(**self.KINDS)
        land(project, 0, "a")
        land(project, 1, "a")
        watch.settled()
        self.write(project, CATALOG + "c,green,Cherry\n")

        first, second, third = watch.look(), watch.look(), watch.look()

        assert (first.catalog, days(second.catalog), third.catalog) == ([], [day(1)], [])
        assert not second.raw_events

    def test_the_same_content_is_no_news(self, project: Project, watching: Watching) -> None:
        watch = watching(**self.KINDS)
        land(project, 0, "a")
        watch.settled()
        self.write(project, CATALOG)

        assert not [watch.look().catalog for _ in range(3) if watch.look().catalog]

    def test_its_report_is_no_answer_by_a_run_that_had_read_another(
        self, project: Project, watching: Watching
    ) -> None:
        """The run ends after the report, which conditions take as its answer."""
        source = {"path": "raw", "landing": {"settle_seconds": 0, "lookback_days": 3650}}
        watch, at_once = watching(**self.KINDS, source=source), timedelta(0)
        land(project, 0, "a")
        assert make_day(project.store, watch.surface, DAY) == "published"
        watch.now = datetime.now(UTC)
        assert not watch.look(after=at_once).catalog
        newer = CATALOG + "c,green,Cherry\n"
        self.write(project, newer)
        assert days(watch.look(after=at_once).catalog) == [DAY]
        assert not watch.look(after=at_once).catalog

        self.write(project, CATALOG)
        assert make_day(project.store, watch.surface, DAY) == "unchanged"
        self.write(project, newer)
        watch.now = datetime.now(UTC) + timedelta(seconds=5)

        assert [days(watch.look(after=at_once).catalog) for _ in range(3)] == [[DAY], [], []]
        assert make_day(project.store, watch.surface, DAY) == "published"
        assert not watch.look(after=at_once).catalog
        assert not Cursor.from_text(watch.cursor, watch.config.root).reported

    def test_of_late_data_for_an_old_day_it_is_no_part(
        self, project: Project, watching: Watching
    ) -> None:
        """The old day keeps the content_sim that it was made with."""
        watch = watching(**self.KINDS)
        for number in range(2):
            land(project, number, "a")
            assert make_day(project.store, watch.surface, day(number)) == "published"
        found = watch.settled()
        assert (found.raw_events, found.catalog) == ([], [])
        self.write(project, CATALOG + "c,green,Cherry\n")
        land(project, 0, "a", "b")

        found = watch.settled()

        assert days(found.raw_events) == [DAY]
        assert days(found.catalog) == [day(1)]

    def test_while_it_is_being_written_days_that_need_it_wait(
        self, project: Project, watching: Watching
    ) -> None:
        watch = watching(**self.KINDS)
        land(project, 0, "a")
        watch.look()
        self.write(project, CATALOG + "c,green,Cherry\n")

        waiting = watch.look()

        assert (waiting.raw_events, waiting.catalog, waiting.waiting) == ([], [], [DAY])
        found = watch.look()
        assert days(found.raw_events) == days(found.catalog) == [DAY]

    def test_while_a_day_waits_for_it_the_days_after_it_are_not_told_either(
        self, project: Project, watching: Watching
    ) -> None:
        watch = watching(**self.KINDS, window_days=2)
        land(project, 1, "a")
        make_day(project.store, watch.surface, day(1))
        watch.settled()
        land(project, 0, "a")
        watch.look()
        self.write(project, CATALOG + "c,green,Cherry\n")

        waiting, found = watch.look(), watch.look()

        assert (waiting.raw_events, waiting.canonical_events) == ([], [])
        assert (days(found.raw_events), days(found.canonical_events)) == ([day(0)], [day(1)])

    def test_one_that_is_not_there_is_told(self, project: Project, watching: Watching) -> None:
        watch = watching(**self.KINDS)
        land(project, 0, "a")
        (project.folder / "catalog.csv").unlink()

        found = watch.settled()

        assert days(found.raw_events) == [DAY]
        assert f"there is no catalog {project.folder / 'catalog.csv'}" in str(found)

    def test_a_surface_without_events_gets_it_for_each_day(
        self, project: Project, watching: Watching
    ) -> None:
        watch = watching(artifacts={"content_sim": {}}, catalog={"path": "catalog.csv"})
        assert watch.look().catalog == []
        assert days(watch.look().catalog) == [date(2026, 1, 19)]

        found = watch.look(after=timedelta(days=1))

        assert days(found.catalog) == [date(2026, 1, 20)]


def test_objects_are_told_apart_by_their_etag_and_not_read(
    project: Project, s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(s3_server, monkeypatch)
    prefix = s3_server.url(new_prefix())
    store, raw = open_store(prefix), open_store(f"{prefix}/raw")
    monkeypatch.setenv("RECSYS_ROOT", prefix)
    kinds: dict[str, Any] = {"popularity": {}, "content_sim": {}}
    source = {"path": f"{prefix}/raw", "landing": {"success_marker": "{day}.done"}}
    catalog = {"path": f"{prefix}/catalog.csv"}
    watch = Watch(
        store, project.configure({"source": source, "catalog": catalog, "artifacts": kinds})
    )
    store.replace("catalog.csv", CATALOG.encode())

    def put(number: int, *items: str) -> None:
        lines = [json.dumps(event(item, of=day(number))) + "\n" for item in items]
        raw.replace(f"demo/home/exposure.{day(number)}.jsonl", "".join(lines).encode())

    put(0, "a")
    put(1, "a")
    assert watch.look().waiting == [day(1), DAY]
    raw.replace(f"{DAY}.done", b"")
    landed = raw.stat(f"demo/home/exposure.{day(1)}.jsonl")
    built = None
    # The store's clock shows seconds: what was built in the same one could be made of other bytes.
    while built is None or landed is None or built.modified <= landed.modified:
        make_day(store, watch.surface, day(1))
        built = store.stat(layout.canonical(Place("demo", "home"), day(1)))
    raw.replace(f"{day(1)}.done", b"")

    found = watch.look()
    assert days(found.raw_events) == [DAY]
    assert days(found.catalog) == [DAY]
    put(0, "a")
    assert watch.look().raw_events == []
    put(0, "a", "b")
    put(1, "b")
    assert days(watch.look().raw_events) == [DAY, day(1)]


@pytest.mark.parametrize(("format", "write"), [("delta", to_delta), ("iceberg", to_iceberg)])
@pytest.mark.parametrize("order_by", [[], ["ts"]])
def test_of_a_table_the_days_are_reported_that_a_commit_has_rows_of(
    project: Project, watching: Watching, format: str, write: Any, order_by: list[str]
) -> None:
    path = project.folder / "table"
    watch = watching(source={"type": format, "path": str(path), "order_by": order_by})

    def commit(*numbers: int) -> None:
        events = [event("a", of=day(number)) for number in numbers]
        rows = pl.DataFrame(events).with_columns(pl.col("ts").str.to_datetime(time_zone="UTC"))
        write(rows, path)

    commit(0, 1, 3, 5)
    assert days(watch.settled().raw_events) == [DAY, day(1), day(3), day(5)]
    for number in (0, 1, 3):
        make_day(watch.store, watch.surface, day(number))
    assert not watch.look().raw_events
    commit(6)
    commit(1, 6)  # with late events
    assert days(watch.settled().raw_events) == [day(1), day(6)]
    watch.reports.clear()  # another instance: what is made of the table as it is, is no news
    watch.cursor = None
    assert days(watch.settled().raw_events) == [day(1), day(5), day(6)]


def test_what_was_found_is_told_in_a_line(project: Project, watching: Watching) -> None:
    watch = watching()
    for number in range(7):
        land(project, number, "a")

    assert str(watch.look()) == (
        "7 days with raw files, 0 new or changed; waiting for 2026-01-07, 2026-01-06, 2026-01-05, "
        "2026-01-04, 2026-01-03 and 2 more to be complete"
    )
    assert str(watch.look()) == "7 days with raw files, 7 new or changed"
