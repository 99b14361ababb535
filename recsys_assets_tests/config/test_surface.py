from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys_assets.errors import ConfigError
from recsys_assets.places import Place
from recsys_assets.windows import Window
from recsys_assets_tests.config.files import SURFACE, load, problems, with_knob


def test_the_smallest_file_gets_the_defaults_of_the_design(file: Path) -> None:
    surface = load(file, SURFACE).surfaces[0].model_dump()
    artifacts, guardrails = surface.pop("artifacts"), surface.pop("guardrails")
    gates = surface.pop("gates")

    assert surface == {
        "tenant": "demo",
        "surface": "home",
        "segment": "default",
        "variant_of": None,
        "start_date": date(2026, 1, 1),
        "end_date": None,
        "source": {
            "type": "jsonl",
            "path": str(file.parent / "raw"),
            "pattern": "{tenant}/{surface}/exposure.{day}*.jsonl*",
            "follow_links_outside": False,
            **dict.fromkeys(["mapping", "columns", "explode", "rank_from", "time_zone"]),
            **dict.fromkeys(["weight", "names", "sessions", "deduplicate_by"]),
            **dict.fromkeys(["dsn_env", "table", "query", "time_column"]),
            "order_by": [],
            "days_around": 0,
            "where": {},
            "no_session": [],
            "delimiter": ",",
            "header": True,
            "quote": '"',
            "landing": {
                "settle_seconds": 60,
                "success_marker": None,
                "lookback_days": 400,
                "kafka": None,
            },
        },
        "catalog": None,
        "window_days": 1,
        "schedule_at": "06:00",
        "freshness": {"max_days_behind": 1, "max_hours_since_flip": None},
        "bots": {"leave_out_of": ["cooc"], "max_items_per_user": None},
        "items": {"only_in_catalog": False, "deny": None},
        "engine": {
            "type": "polars",
            "memory_limit": None,
            "spill": None,
            "spill_limit": None,
            "remote_env": None,
            "root": None,
        },
        "sinks": [],
        "max_run_minutes": 240,
    }
    assert gates.pop("margins")["rows"] == 0.45
    assert gates == {
        "mode": "warn",
        "spreads": 6.5,
        "history_days": 56,
        "reference_days": 28,
        "warm_up_days": 14,
        "sample_events": 20_000,
        "min_sessions": 100,
        "release": {"trusted_days": 14, "max_drop": 0.1},
        "catalog": {
            "max_uncovered": 0.02,
            "min_coherence": 0.9,
            "max_coherence": 1.25,
            "warn_changed": 0.05,
        },
    }
    built = {kind: options for kind, options in artifacts.items() if options is not None}
    assert built == {"popularity": {"top_n": 1000, "half_life_days": None}}
    of_the_design = {
        "min_events": 1,
        "max_events": 100_000_000,
        "max_sessions": 10_000_000,
        "max_distinct_items": 5_000_000,
        "max_users": 10_000_000,
        "max_items_per_session": 200,
        "max_oversized_session_share": 0.01,
        "max_rejected_share": 0.01,
        "max_rejected_bytes_share": 0.01,
        "max_artifact_bytes": 10_000_000,
        "max_backfill_days": 400,
    }
    assert {name: guardrails[name] for name in of_the_design} == of_the_design


def test_content_sim_needs_a_catalog(file: Path) -> None:
    assert problems(file, {**SURFACE, "artifacts": {"content_sim": {}}}) == [
        "surface demo/home: artifacts.content_sim needs a catalog: add `catalog: {path: ...}`"
    ]


def test_a_surface_is_a_place(file: Path) -> None:
    surface = load(file, {**SURFACE, "tenant": "shop"}).surfaces[0]

    assert surface.place == Place("shop", "home")
    assert surface.name == surface.place.name == "shop/home"


@pytest.mark.parametrize(
    ("day", "days"),
    [
        (date(2026, 1, 1), [date(2026, 1, 1)]),
        (date(2026, 1, 2), [date(2026, 1, 1), date(2026, 1, 2)]),
        (date(2026, 1, 3), [date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)]),
        (date(2026, 1, 4), [date(2026, 1, 2), date(2026, 1, 3), date(2026, 1, 4)]),
        (date(2025, 12, 31), []),
    ],
)
def test_a_window_has_the_days_since_the_first_of_the_surface(
    day: date, days: list[date], file: Path
) -> None:
    surface = load(file, {**SURFACE, "window_days": 3}).surfaces[0]

    assert surface.window(day) == Window(day - timedelta(days=2), day + timedelta(days=1))
    assert surface.days_of_window(day) == days


def test_the_files_of_a_day_are_told_as_people_write_them(file: Path) -> None:
    pattern = "{tenant}/x/{day}*.jsonl"
    surface = {**SURFACE, "tenant": "[a]", "source": {"path": "raw", "pattern": pattern}}

    assert (
        load(file, surface).surfaces[0].raw_pattern(date(2026, 1, 2)) == "[a]/x/2026-01-02*.jsonl"
    )


def test_the_marker_of_a_day_is_that_day(file: Path) -> None:
    marker = "{tenant}/{surface}/dt={day}/_SUCCESS"
    config = load(
        file,
        with_knob(("source", "landing"), {"success_marker": marker}),
        SURFACE | {"surface": "two"},
    )

    assert config.surfaces[0].success_marker(date(2026, 1, 2)) == "demo/home/dt=2026-01-02/_SUCCESS"
    assert config.surfaces[1].success_marker(date(2026, 1, 2)) is None


@pytest.mark.parametrize("end", [date(2025, 12, 31), date(2026, 1, 1)])
def test_an_end_that_does_not_come_after_the_start_is_refused(end: date, file: Path) -> None:
    assert problems(file, {**SURFACE, "end_date": end}) == [
        f"surface demo/home: end_date {end} must come after 2026-01-01"
    ]


def test_an_end_one_day_after_the_start_is_accepted(file: Path) -> None:
    config = load(file, {**SURFACE, "end_date": date(2026, 1, 2)})

    assert config.surfaces[0].end_date == date(2026, 1, 2)


@pytest.mark.parametrize("value", [1, 36, None])
def test_hours_since_the_flip_may_be_limited_or_not(value: int | None, file: Path) -> None:
    config = load(file, {**SURFACE, "freshness": {"max_hours_since_flip": value}})

    assert config.surfaces[0].freshness.max_hours_since_flip == value


@pytest.mark.parametrize("value", [0, "36", 1.5])
def test_hours_that_are_no_limit_are_refused(value: Any, file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "freshness": {"max_hours_since_flip": value}})

    assert problem.startswith("surface demo/home: freshness.max_hours_since_flip: ")


@pytest.mark.parametrize(
    ("now", "end", "newest"),
    [
        ("2026-01-01T23:59:59Z", None, None),
        ("2026-01-02T00:00:00Z", None, date(2026, 1, 1)),
        ("2026-01-05T12:00:00Z", None, date(2026, 1, 4)),
        ("2026-01-05T00:30:00+02:00", None, date(2026, 1, 3)),  # the 4th is not over, UTC
        ("2026-01-05T12:00:00Z", date(2026, 1, 5), date(2026, 1, 4)),
        ("2026-01-05T12:00:00Z", date(2026, 1, 4), date(2026, 1, 3)),
        ("2025-01-01T12:00:00Z", date(2026, 1, 4), None),
    ],
)
def test_the_newest_day_is_the_last_that_is_over(
    now: str, end: date | None, newest: date | None, file: Path
) -> None:
    surface = load(file, {**SURFACE, "end_date": end}).surfaces[0]

    assert surface.newest_day(datetime.fromisoformat(now)) == newest


def test_a_surface_without_catalog_has_no_catalog_path(file: Path) -> None:
    surface = load(file, SURFACE).surfaces[0]

    with pytest.raises(ConfigError, match="surface demo/home has no catalog"):
        _ = surface.catalog_path
