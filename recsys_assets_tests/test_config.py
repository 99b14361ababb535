from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets.config import (
    PACKAGED_CONFIG,
    Config,
    is_object_url,
    load_config,
    without_secrets,
)
from recsys_assets.errors import ConfigError

SURFACE: dict[str, Any] = {
    "tenant": "demo",
    "surface": "home",
    "start_date": date(2026, 1, 1),
    "source": {"path": "raw"},
    "artifacts": {"popularity": {}},
}
ALL_KINDS: dict[str, Any] = {
    "popularity": {},
    "cooc": {},
    "implicit": {},
    "session_seq": {},
    "content_sim": {},
}
KNOBS = [
    ("window_days",),
    ("max_run_minutes",),
    ("artifacts", "popularity", "top_n"),
    ("artifacts", "cooc", "max_neighbours"),
    ("artifacts", "cooc", "min_support"),
    ("artifacts", "cooc", "max_items"),
    ("artifacts", "implicit", "top_n"),
    ("artifacts", "session_seq", "top_n"),
    ("artifacts", "content_sim", "max_items"),
    ("guardrails", "min_events"),
    ("guardrails", "max_events"),
    ("guardrails", "max_sessions"),
    ("guardrails", "max_distinct_items"),
    ("guardrails", "max_users"),
    ("guardrails", "max_items_per_session"),
    ("guardrails", "max_artifact_bytes"),
    ("guardrails", "max_backfill_days"),
    ("source", "landing", "lookback_days"),
    ("freshness", "max_days_behind"),
]
HALF_LIFE = ("artifacts", "popularity", "half_life_days")
SHARES = [("guardrails", "max_oversized_session_share"), ("guardrails", "max_rejected_share")]

Loader = Callable[..., Config]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_CONFIG", raising=False)
    monkeypatch.delenv("RECSYS_ROOT", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "surfaces.yaml"


def load_text(file: Path, text: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def load(file: Path, *surfaces: dict[str, Any], **top: Any) -> Config:
    text = yaml.safe_dump({"root": "var", "surfaces": list(surfaces), **top})
    return load_text(file, text)


def problems(file: Path, *surfaces: dict[str, Any], **top: Any) -> list[str]:
    """Return the reported problems, one a line, after the line that names the file."""
    with pytest.raises(ConfigError) as error:
        load(file, *surfaces, **top)
    first, *rest = str(error.value).splitlines()
    assert first == f"{file}:"
    return [line.removeprefix("  ") for line in rest]


def with_knob(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a surface of all kinds with the value at the end of a path of keys."""
    surface = {**SURFACE, "catalog": {"path": "catalog.csv"}, "artifacts": {**ALL_KINDS}}
    inner = surface
    for key in path[:-1]:
        inner[key] = dict(inner.get(key, {}))
        inner = inner[key]
    inner[path[-1]] = value
    return surface


def knob(config: Config, path: tuple[str, ...]) -> Any:
    value: Any = config.surfaces[0]
    for key in path:
        value = getattr(value, key)
    return value


def test_the_smallest_file_gets_the_defaults_of_the_design(file: Path) -> None:
    surface = load(file, SURFACE).surfaces[0].model_dump()

    assert surface == {
        "tenant": "demo",
        "surface": "home",
        "segment": "default",
        "start_date": date(2026, 1, 1),
        "end_date": None,
        "source": {
            "type": "jsonl",
            "path": str(file.parent / "raw"),
            "pattern": "{tenant}/{surface}/exposure.{day}*.jsonl*",
            "landing": {"settle_seconds": 60, "success_marker": None, "lookback_days": 400},
        },
        "catalog": None,
        "window_days": 1,
        "schedule_at": "06:00",
        "artifacts": {
            "popularity": {"top_n": 1000, "half_life_days": None},
            "cooc": None,
            "implicit": None,
            "session_seq": None,
            "content_sim": None,
        },
        "guardrails": {
            "min_events": 1,
            "max_events": 100_000_000,
            "max_sessions": 10_000_000,
            "max_distinct_items": 5_000_000,
            "max_users": 10_000_000,
            "max_items_per_session": 200,
            "max_oversized_session_share": 0.01,
            "max_rejected_share": 0.01,
            "max_artifact_bytes": 10_000_000,
            "max_backfill_days": 400,
        },
        "freshness": {"max_days_behind": 1, "max_hours_since_flip": None},
        "max_run_minutes": 240,
    }


def test_every_kind_gets_the_defaults_of_the_design(file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": "c.csv"}, "artifacts": ALL_KINDS})

    assert config.surfaces[0].artifacts.model_dump() == {
        "popularity": {"top_n": 1000, "half_life_days": None},
        "cooc": {"max_neighbours": 50, "min_support": 2, "max_items": 1000},
        "implicit": {"top_n": 500},
        "session_seq": {"top_n": 500},
        "content_sim": {"max_items": 100_000},
    }


def test_kinds_are_those_enabled_whatever_their_order_in_the_file(file: Path) -> None:
    config = load(file, {**SURFACE, "artifacts": {"implicit": {}, "popularity": {}, "cooc": None}})

    assert config.surfaces[0].artifacts.kinds == ("popularity", "implicit")


@pytest.mark.parametrize("path", KNOBS, ids=".".join)
def test_every_number_of_the_file_is_used(path: tuple[str, ...], file: Path) -> None:
    assert knob(load(file, with_knob(path, 7)), path) == 7


@pytest.mark.parametrize("path", KNOBS, ids=".".join)
@pytest.mark.parametrize("value", ["7", 7.0, 7.5, True, None, [7]])
def test_a_number_of_another_type_is_refused(path: tuple[str, ...], value: Any, file: Path) -> None:
    (problem,) = problems(file, with_knob(path, value))

    assert problem.startswith(f"surface demo/home: {'.'.join(path)}: ")
    assert problem.endswith(f"got {value!r}")


@pytest.mark.parametrize("path", KNOBS, ids=".".join)
def test_a_number_below_its_least_is_refused(path: tuple[str, ...], file: Path) -> None:
    least = 0 if path[-1] in {"min_events", "max_days_behind"} else 1
    assert knob(load(file, with_knob(path, least)), path) == least

    (problem,) = problems(file, with_knob(path, least - 1))

    assert problem == (
        f"surface demo/home: {'.'.join(path)}: Input should be greater than or equal to {least}, "
        f"got {least - 1}"
    )


@pytest.mark.parametrize(
    ("key", "default", "values"),
    [
        ("publications", 30, [1, 7, 10**9]),
        ("days", 30, [1, 7, 36_500]),
        ("grace_hours", 24, [1, 7, 876_000]),
    ],
)
def test_what_retention_keeps_is_set_up_to_a_hundred_years(
    file: Path, key: str, default: int, values: list[int]
) -> None:
    """Such a time ago is still a date, which no number of days without a limit would be."""
    assert getattr(load(file, SURFACE).retention, key) == default
    for value in values:
        kept = load(file, SURFACE, retention={key: value}).retention
        assert getattr(kept, key) == value
        assert datetime.now(UTC) - timedelta(days=kept.days, hours=kept.grace_hours)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://wiki.example.org", "https://wiki.example.org"),
        ("http://127.0.0.1:8000/docs/", "http://127.0.0.1:8000/docs"),
    ],
)
def test_docs_are_served_below_a_url(file: Path, url: str, read: str) -> None:
    assert load(file, SURFACE).docs_url is None
    assert load(file, SURFACE, docs_url=url).docs_url == read


@pytest.mark.parametrize(
    "url",
    [
        "",
        "wiki.example.org",
        "javascript:alert(1)",
        "https:///docs",
        "https://user:secret@wiki.example.org",
        "https://wiki.example.org/a b",
        "https://wiki.example.org/a)b",
        "https://wiki.example.org/?token=secret",
    ],
)
def test_what_no_browser_follows_is_no_url_of_docs(file: Path, url: str) -> None:
    (problem,) = problems(file, SURFACE, docs_url=url)

    assert problem == (
        "docs_url: must be http(s)://host[:port][/path], without credentials, a query or brackets"
    )
    assert "secret" not in problem


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("publications", 0, "greater than or equal to 1"),
        ("days", 0, "greater than or equal to 1"),
        ("days", 36_501, "less than or equal to 36500"),
        ("days", 10**30, "less than or equal to 36500"),
        ("grace_hours", 0, "greater than or equal to 1"),
        ("grace_hours", 876_001, "less than or equal to 876000"),
        ("grace_hours", 1.5, "a valid integer"),
    ],
)
def test_what_retention_cannot_keep_is_refused(
    file: Path, key: str, value: float, message: str
) -> None:
    (problem,) = problems(file, SURFACE, retention={key: value})

    assert problem.startswith(f"retention.{key}: Input should be ")
    assert problem.endswith(f"{message}, got {value}")


def test_failed_runs_are_reported_by_default_with_links_to_this_machine(file: Path) -> None:
    assert load(file, SURFACE).alerts.model_dump() == {
        "webhook_env": "RECSYS_WEBHOOK_URL",
        "ui_url": "http://127.0.0.1:3000",
        "timeout_seconds": 10,
    }


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("webhook_env", "PAGER_2", "PAGER_2"),
        ("ui_url", "https://dagster.example", "https://dagster.example"),
        ("ui_url", "http://host:3001/shop/", "http://host:3001/shop"),
        ("timeout_seconds", 1, 1),
        ("timeout_seconds", 30, 30),
    ],
)
def test_how_people_are_told_is_set(file: Path, key: str, value: Any, read: Any) -> None:
    assert getattr(load(file, SURFACE, alerts={key: value}).alerts, key) == read


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("webhook_env", "https://hooks.example/T0KEN", "must be the name of an environment var"),
        ("webhook_env", "2T0KEN", "must be the name of an environment variable"),
        ("webhook_env", "", "must be the name of an environment variable"),
        ("ui_url", "https://me:T0KEN@dagster.example", "must be http(s)://host[:port][/path]"),
        ("ui_url", "https://dagster.example?key=T0KEN", "must be http(s)://host[:port][/path]"),
        ("ui_url", "dagster.example", "must be http(s)://host[:port][/path]"),
        ("ui_url", "ftp://dagster.example", "must be http(s)://host[:port][/path]"),
        ("timeout_seconds", 0, "greater than or equal to 1"),
        ("timeout_seconds", 31, "less than or equal to 30"),
    ],
)
def test_what_cannot_tell_anybody_is_refused_without_quoting_a_secret(
    file: Path, key: str, value: Any, said: str
) -> None:
    (problem,) = problems(file, SURFACE, alerts={key: value})

    assert problem.startswith(f"alerts.{key}: ")
    assert said in problem
    assert "T0KEN" not in problem


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("s3://me:secret@bucket/x is gone", "***@bucket/x is gone"),
        ("https://store/x?sig=secret is gone", "https://store/x?*** is gone"),
        ("https://me:secret@store/x?sig=secret is gone", "***@store/x?*** is gone"),
        ("https://me:sec?ret@store/x is gone", "***@store/x is gone"),
        ("is it there? yes", "is it there? yes"),
    ],
)
def test_secrets_of_a_url_are_blanked_and_the_rest_is_left(text: str, left: str) -> None:
    assert without_secrets(text) == left


@pytest.mark.parametrize("value", [None, 7, 0.5, 1e-9, 1e9])
def test_a_half_life_is_a_number_above_0_or_null(value: float | None, file: Path) -> None:
    surface = load(file, with_knob(HALF_LIFE, value)).surfaces[0]

    assert surface.artifacts.popularity
    assert surface.artifacts.popularity.half_life_days == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "greater than 0"),
        (-7.0, "greater than 0"),
        (float("inf"), "a finite number"),
        (float("nan"), "a finite number"),
        ("7", "a valid number"),
        (True, "a valid number"),
        ([7], "a valid number"),
    ],
)
def test_a_half_life_that_is_no_number_above_0_is_refused(
    value: Any, message: str, file: Path
) -> None:
    assert problems(file, with_knob(HALF_LIFE, value)) == [
        f"surface demo/home: {'.'.join(HALF_LIFE)}: Input should be {message}, got {value!r}"
    ]


@pytest.mark.parametrize("path", SHARES, ids=".".join)
@pytest.mark.parametrize("value", [0, 0.0, 0.25, 1, 1.0])
def test_a_share_is_a_number_from_0_to_1(path: tuple[str, ...], value: float, file: Path) -> None:
    assert knob(load(file, with_knob(path, value)), path) == value


@pytest.mark.parametrize("path", SHARES, ids=".".join)
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf"), None, [0.5]])
def test_a_share_outside_0_to_1_is_refused(path: tuple[str, ...], value: Any, file: Path) -> None:
    (problem,) = problems(file, with_knob(path, value))

    assert problem.startswith(f"surface demo/home: {'.'.join(path)}: ")


@pytest.mark.parametrize("path", SHARES, ids=".".join)
@pytest.mark.parametrize("value", ["0.5", True])
def test_a_share_of_another_type_is_refused(path: tuple[str, ...], value: Any, file: Path) -> None:
    (problem,) = problems(file, with_knob(path, value))

    assert problem.startswith(f"surface demo/home: {'.'.join(path)}: ")
    assert problem.endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        (("window_dys",), "window_days"),
        (("source", "patern"), "pattern"),
        (("catalog", "pth"), "path"),
        (("artifacts", "popularty"), "popularity"),
        (("artifacts", "cooc", "max_neighbors"), "max_neighbours"),
        (("artifacts", "popularity", "topn"), "top_n"),
        (("guardrails", "max_sesions"), "max_sessions"),
        (("freshness", "max_days_behnd"), "max_days_behind"),
    ],
)
def test_an_unknown_key_names_file_surface_key_and_what_was_meant(
    path: tuple[str, ...], suggestion: str, file: Path
) -> None:
    surface = with_knob(path, 1)
    surface.setdefault("catalog", {"path": "c.csv"})
    if path[0] == "catalog":
        surface["catalog"] = {"path": "c.csv", **surface["catalog"]}
    if path[0] == "source":
        surface["source"] = {"path": "raw", **surface["source"]}

    assert problems(file, surface) == [
        f"surface demo/home: {'.'.join(path)}: unknown key (did you mean {suggestion!r}?)"
    ]


def test_an_unknown_key_at_the_top_is_refused(file: Path) -> None:
    assert problems(file, SURFACE, rooot="x") == ["rooot: unknown key (did you mean 'root'?)"]


def test_an_unknown_key_like_no_other_gets_no_suggestion(file: Path) -> None:
    assert problems(file, {**SURFACE, "qqq": 1}) == ["surface demo/home: qqq: unknown key"]


@pytest.mark.parametrize("key", ["start_date", "source", "artifacts"])
def test_a_missing_key_is_named(key: str, file: Path) -> None:
    surface = {name: value for name, value in SURFACE.items() if name != key}

    assert problems(file, surface) == [f"surface demo/home: {key}: is required"]


@pytest.mark.parametrize("key", ["tenant", "surface"])
def test_a_surface_without_its_name_is_told_by_its_number(key: str, file: Path) -> None:
    nameless = {name: value for name, value in SURFACE.items() if name != key}

    assert problems(file, SURFACE, nameless) == [f"surface number 2: {key}: is required"]


def test_a_missing_path_is_named_with_its_section(file: Path) -> None:
    surface = {**SURFACE, "source": {}, "catalog": {}}

    assert problems(file, surface) == [
        "surface demo/home: source.path: is required",
        "surface demo/home: catalog.path: is required",
    ]


@pytest.mark.parametrize("key", ["root", "surfaces"])
def test_a_missing_key_at_the_top_is_named(key: str, file: Path) -> None:
    top = {"root": "var", "surfaces": [SURFACE]}
    del top[key]

    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:\n  {key}: is required$"):
        load_text(file, yaml.safe_dump(top))


def test_no_surface_at_all_is_refused(file: Path) -> None:
    (problem,) = problems(file)

    assert problem.startswith("surfaces: List should have at least 1 item")


def test_several_mistakes_are_reported_at_once(file: Path) -> None:
    second = {**SURFACE, "surface": "cart", "window_dys": 2, "artifacts": {"cooc": {"top_n": 1}}}

    assert problems(file, {**SURFACE, "window_days": "2"}, second, root=1) == [
        "root: Input should be a valid string, got 1",
        "surface demo/home: window_days: Input should be a valid integer, got '2'",
        "surface demo/cart: artifacts.cooc.top_n: unknown key (did you mean 'top_n'?)",
        "surface demo/cart: window_dys: unknown key (did you mean 'window_days'?)",
    ]


@pytest.mark.parametrize("key", ["tenant", "surface", "segment"])
@pytest.mark.parametrize(
    "value",
    [
        "..",
        ".",
        "a/b",
        "/",
        "a\\b",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "",
        " ",
        " a",
        "a ",
        "a\n",
    ],
    ids=ascii,
)
def test_a_name_that_is_not_one_path_segment_is_refused(key: str, value: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf": {key}: must "):
        load(file, {**SURFACE, key: value})


@pytest.mark.parametrize("key", ["tenant", "surface", "segment"])
@pytest.mark.parametrize("value", ["a.b", "...", "a b", "été", "a%20b", "a-b_c"])
def test_any_other_name_is_one_path_segment(key: str, value: str, file: Path) -> None:
    assert getattr(load(file, {**SURFACE, key: value}).surfaces[0], key) == value


@pytest.mark.parametrize("key", ["tenant", "surface", "segment"])
def test_a_name_that_yaml_reads_as_a_number_is_refused(key: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: Input should be a valid string, got 7$"):
        load(file, {**SURFACE, key: 7})


def test_a_surface_that_is_listed_twice_is_refused(file: Path) -> None:
    assert problems(file, SURFACE, SURFACE) == ["surface demo/home is listed twice"]


def test_two_surfaces_that_would_share_a_dagster_group_are_refused(file: Path) -> None:
    first, second = {**SURFACE, "surface": "a-b"}, {**SURFACE, "surface": "a.b"}

    assert problems(file, first, second) == [
        "surfaces demo/a-b and demo/a.b share the group demo__a_b"
    ]


def test_a_surface_is_known_by_tenant_and_surface(file: Path) -> None:
    config = load(file, SURFACE, {**SURFACE, "tenant": "other"})

    assert config.surface("other/home").tenant == "other"
    with pytest.raises(ConfigError, match=r"no surface 'home' .* there are: demo/home, other/home"):
        config.surface("home")


def test_content_sim_needs_a_catalog(file: Path) -> None:
    assert problems(file, {**SURFACE, "artifacts": {"content_sim": {}}}) == [
        "surface demo/home: artifacts.content_sim needs a catalog: add `catalog: {path: ...}`"
    ]


@pytest.mark.parametrize("path", ["c.csv", "C.CSV", "c.jsonl"])
def test_a_catalog_is_csv_or_json_lines(path: str, file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": path}})

    assert config.surfaces[0].catalog is not None
    assert config.surfaces[0].catalog.path == str(file.parent / path)


@pytest.mark.parametrize("path", ["c", "c.json", "c.csv.gz"])
def test_a_catalog_of_another_suffix_is_refused(path: str, file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "catalog": {"path": path}})

    assert problem == "surface demo/home: catalog: path: must end in .csv or .jsonl"


@pytest.mark.parametrize("artifacts", [{}, {"popularity": None}])
def test_a_surface_that_builds_nothing_is_refused(artifacts: dict[str, Any], file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "artifacts": artifacts})

    assert problem.startswith("surface demo/home: artifacts: enable at least one kind")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{tenant}/*.jsonl", "needs {day}"),
        ("dt={date}/{day}", "unknown placeholder ['date']"),
        ("{day}{}", "unknown placeholder ['']"),
        ("../{day}", "must stay below `path`"),
        ("a/../../{day}", "must stay below `path`"),
        ("/raw/{day}", "must stay below `path`"),
        ("{day}/", "must name files, not a directory"),
        ("{day}//", "must name files, not a directory"),
        ("{day}/{", "pattern"),
        ("{day}}", "pattern"),
    ],
)
def test_a_pattern_that_cannot_select_one_day_is_refused(
    pattern: str, message: str, file: Path
) -> None:
    (problem,) = problems(file, {**SURFACE, "source": {"path": "raw", "pattern": pattern}})

    assert problem.startswith("surface demo/home: source: pattern: ")
    assert message in problem


@pytest.mark.parametrize("pattern", ["{day}", "dt={day}/*", "{day}..jsonl", "{surface}/{day}?[ab]"])
def test_any_other_pattern_with_a_day_is_accepted(pattern: str, file: Path) -> None:
    config = load(file, {**SURFACE, "source": {"path": "raw", "pattern": pattern}})

    assert config.surfaces[0].source.pattern == pattern


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        ("_SUCCESS", "needs {day}"),
        ("{day}/{hour}/_SUCCESS", "unknown placeholder ['hour']"),
        ("{day}/*", "names one file, without wildcards"),
        ("{day}/", "must name files, not a directory"),
        ("../{day}", "must stay below `path`"),
        ("{day", "a brace itself is written twice"),
    ],
)
def test_a_success_marker_is_one_file_of_a_day(marker: str, problem: str, file: Path) -> None:
    surface = with_knob(("source", "landing"), {"success_marker": marker})

    (found,) = problems(file, surface)

    assert found.startswith("surface demo/home: source.landing: success_marker: ")
    assert problem in found


def test_the_marker_of_a_day_is_that_day(file: Path) -> None:
    marker = "{tenant}/{surface}/dt={day}/_SUCCESS"
    config = load(
        file,
        with_knob(("source", "landing"), {"success_marker": marker}),
        SURFACE | {"surface": "two"},
    )

    assert config.surfaces[0].success_marker(date(2026, 1, 2)) == "demo/home/dt=2026-01-02/_SUCCESS"
    assert config.surfaces[1].success_marker(date(2026, 1, 2)) is None


@pytest.mark.parametrize(
    "value", ["24:00", "6:00", "06:60", "0600", "06:00:00", "", "noon", "-1:00"]
)
def test_what_is_no_time_of_day_is_refused(value: str, file: Path) -> None:
    (found,) = problems(file, SURFACE | {"schedule_at": value})

    assert (
        found == "surface demo/home: schedule_at: must be a time of day, HH:MM, from 00:00 to 23:59"
    )


@pytest.mark.parametrize("value", ["00:00", "06:00", "23:59"])
def test_a_time_of_day_is_taken(value: str, file: Path) -> None:
    assert load(file, SURFACE | {"schedule_at": value}).surfaces[0].schedule_at == value


def test_a_source_of_another_type_is_refused(file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "source": {"path": "raw", "type": "parquet"}})

    assert problem == "surface demo/home: source.type: Input should be 'jsonl', got 'parquet'"


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


@pytest.mark.parametrize("value", ["'2026-01-01'", "20260101", "2026-01-01T00:00:00Z", "soon"])
def test_what_yaml_does_not_read_as_a_date_is_refused(value: str, file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match="surface demo/home: start_date: "):
        load_text(file, text.replace("2026-01-01", value))


@pytest.mark.parametrize("value", ["2026-02-30", "2026-13-01", "2026-00-10"])
def test_a_date_that_does_not_exist_is_refused(value: str, file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:"):
        load_text(file, text.replace("2026-01-01", value))


SCHEMES = ["s3://", "gs://", "az://"]


def with_locations(location: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a surface and top-level keys that name a location everywhere one may stand."""
    surface = {
        **SURFACE,
        "source": {"path": location},
        "catalog": {"path": f"{location}/c.csv"},
    }
    return surface, {"root": location}


def locations(config: Config) -> tuple[str, str, str]:
    surface = config.surfaces[0]
    return config.root, surface.source.path, surface.catalog_path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "rest",
    [
        "bucket",
        "bucket/raw",
        "my.bucket-1/a/b/c",
        "b/with space",
        "b/a@b:c",
        "b/50%20",
        "b/a..b/.c",
    ],
)
def test_an_object_store_is_a_location_and_stays_as_it_is_written(
    scheme: str, rest: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL has no folder to be relative to, and %20 is three characters of a key."""
    url = f"{scheme}{rest}"
    surface, top = with_locations(url)

    assert locations(load(file, surface, **top)) == (url, url, f"{url}/c.csv")
    monkeypatch.setenv("RECSYS_ROOT", url)
    assert load(file, SURFACE).root == url


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rest", ["bucket", "bucket/raw/events"])
def test_a_slash_at_the_end_of_a_url_is_dropped(
    scheme: str, rest: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each key would hold an empty part, and two spellings of a root two kinds of URI."""
    url = f"{scheme}{rest}"
    surface = {**SURFACE, "source": {"path": f"{url}/"}}

    config = load(file, surface, root=f"{url}/")

    assert (config.root, config.surfaces[0].source.path) == (url, url)
    monkeypatch.setenv("RECSYS_ROOT", f"{url}/")
    assert load(file, SURFACE).root == url


UNTOLD = "wJalrXUtnFEMI"
_PLAIN = "must be {scheme}bucket/prefix, with nothing else in it: credentials and options come from"
_PARTS = "must not hold an empty part, '.' or '..' between its slashes"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", _PLAIN),
        ("/", _PLAIN),
        ("/prefix", _PLAIN),
        (f"AKIA:{UNTOLD}@bucket", _PLAIN),
        (f"AKIA:{UNTOLD}@bucket/prefix", _PLAIN),
        (f"{UNTOLD}@bucket/prefix", _PLAIN),
        (f"AKIA:{UNTOLD}/with/slashes@bucket", _PLAIN),
        (f"bucket:{UNTOLD}/prefix", _PLAIN),
        (f"bucket?sig={UNTOLD}", _PLAIN),
        (f"bucket/prefix?secret_access_key={UNTOLD}", _PLAIN),
        (f"bucket/{UNTOLD}//prefix", _PARTS),
        (f"bucket//{UNTOLD}", _PARTS),
        (f"bucket/{UNTOLD}//", _PARTS),
        (f"bucket/{UNTOLD}/../b", _PARTS),
        (f"bucket/./{UNTOLD}", _PARTS),
        (f"bucket/{UNTOLD}/..", _PARTS),
    ],
)
def test_a_url_of_more_than_bucket_and_prefix_is_refused_and_not_quoted(
    scheme: str, rest: str, message: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands before an @ or behind a ? is a secret, and errors go to logs."""
    surface, top = with_locations(f"{scheme}{rest}")
    message = message.format(scheme=scheme)

    found = problems(file, {**surface, "catalog": {"path": f"{scheme}{rest}"}}, **top)

    assert [problem.partition(message)[0] for problem in found] == [
        "root: ", "surface demo/home: source.path: ", "surface demo/home: catalog.path: ",
    ]  # fmt: skip
    monkeypatch.setenv("RECSYS_ROOT", f"{scheme}{rest}")
    with pytest.raises(ConfigError) as error:
        load(file, SURFACE)
    assert str(error.value).startswith(f"$RECSYS_ROOT: {message}")
    assert UNTOLD not in "\n".join([*found, str(error.value)])


@pytest.mark.parametrize("scheme", ["http", "https", "file", "S3", "s3a", "abfss", "hdfs", ""])
def test_a_url_of_another_scheme_is_refused_and_its_rest_is_not_quoted(
    scheme: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{scheme}://AKIA:{UNTOLD}@bucket/x"
    surface, top = with_locations(url)
    refusal = "is a URL that is not supported: use a path, s3://, gs://, az://"

    assert problems(file, surface, **top) == [
        f"root: {refusal}",
        f"surface demo/home: source.path: {refusal}",
        f"surface demo/home: catalog.path: {refusal}",
    ]
    monkeypatch.setenv("RECSYS_ROOT", url)
    with pytest.raises(ConfigError) as error:
        load(file, SURFACE)
    assert str(error.value) == f"$RECSYS_ROOT: {refusal}"


def top(**changed: Any) -> str:
    return yaml.safe_dump({"root": "var", "surfaces": [SURFACE], **changed})


def of(**changed: Any) -> str:
    return top(surfaces=[{**SURFACE, **changed}])


_SECRETS = [
    f"s3://AKIA:{UNTOLD}@bucket/x",
    f"AKIA:{UNTOLD}@s3://bucket",
    f"//{UNTOLD}@bucket",
    f"{UNTOLD}/+=%2F@bucket",
    f"https://host/x?sig={UNTOLD}&se=2",
    f"az://bucket/{'x' * 200}?{UNTOLD}",
]


@pytest.mark.parametrize("secret", _SECRETS)
@pytest.mark.parametrize(
    "text",
    [
        lambda url: of(source=url),
        lambda url: of(source=[url]),
        lambda url: of(source={"path": [url]}),
        lambda url: of(source={"path": {"url": url}}),
        lambda url: of(source={"path": "raw", "type": url}),
        lambda url: of(source={"path": "raw", url: 1}),
        lambda url: of(source={"path": "raw", "pattern": f"{url}{{x}}"}),
        lambda url: of(catalog=url),
        lambda url: of(artifacts=url),
        lambda url: of(artifacts={url: {}}),
        lambda url: of(guardrails={"max_events": url}),
        lambda url: of(window_days=url),
        lambda url: of(start_date=url),
        lambda url: of(tenant=url, window_days=0),
        lambda url: top(surfaces=url),
        lambda url: top(surfaces=[url]),
        lambda url: top(root=[url]),
        lambda url: top(root=3, **{url: 1}),
        lambda url: top(retention=url),
        lambda url: f"root: {url}\nroot: {url}\n",
        lambda url: f"? {url}\n: 1\n? {url}\n: 1\n",
        lambda url: f"root: {url}: x\n",
        lambda url: f"root: '{url}\n",
        lambda url: f'root: "{url}\\q"\n',
        lambda url: f"root: [{url}\nsurfaces: []\n",
        lambda url: f"root: *{url}\n",
        lambda url: f"root: !{url} x\n",
        lambda url: f"{url}\nroot: var\n",
    ],
    ids=[
        "source is text", "source is a list", "path is a list", "path is a mapping", "type",
        "key of a source", "pattern", "catalog is text", "artifacts is text", "kind",
        "a number", "window_days", "date", "name", "surfaces is text", "surface is text",
        "root is a list", "key at the top", "retention is text", "repeated key",
        "repeated key that is a URL", "colon", "open quote", "escape", "open list", "alias", "tag",
        "line without key",
    ],
)  # fmt: skip
def test_a_secret_of_a_url_is_not_quoted_wherever_it_stands(
    file: Path, text: Callable[[str], str], secret: str
) -> None:
    """People who put credentials into a URL do not always put it where one belongs."""
    with pytest.raises(ConfigError) as error:
        load_text(file, text(secret))

    assert str(error.value).startswith(f"{file}:")
    assert UNTOLD not in str(error.value)


def test_what_is_no_secret_of_a_url_is_still_quoted(file: Path) -> None:
    found = problems(
        file,
        {**SURFACE, "source": f"s3://AKIA:{UNTOLD}@bucket/raw and more"},
        {**SURFACE, "surface": "cart", "window_days": f"az://bucket/raw?sig={UNTOLD}"},
        {**SURFACE, "surface": "shelf", "window_days": "what?"},
    )

    assert [problem.partition(", got ")[2] for problem in found] == [
        "'***@bucket/raw and more'", "'az://bucket/raw?***'", "'what?'",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "is_url"),
    [
        ("s3://bucket", True),
        ("gs://bucket/a", True),
        ("az://bucket", True),
        ("s3:/bucket", False),
        ("s3", False),
        ("", False),
        ("/s3://bucket", False),
        ("S3://bucket", False),
        ("s3a://bucket", False),
        ("file:///srv", False),
    ],
)
def test_a_url_is_told_from_a_path_by_its_scheme(text: str, *, is_url: bool) -> None:
    assert is_object_url(text) == is_url


def test_paths_beside_a_url_are_still_relative_to_the_file(file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": "s3://bucket/c.csv"}}, root="az://b/var")

    assert locations(config) == ("az://b/var", str(file.parent / "raw"), "s3://bucket/c.csv")


def test_a_catalog_in_an_object_store_is_told_apart_by_its_suffix_too(file: Path) -> None:
    found = problems(file, {**SURFACE, "catalog": {"path": "s3://bucket/c.parquet"}})

    assert found == ["surface demo/home: catalog: path: must end in .csv or .jsonl"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_catalog_in_an_object_store_is_an_object_and_not_a_bucket(
    scheme: str, file: Path
) -> None:
    """A bucket may be called `bucket.csv`, but it has nothing to read."""
    found = problems(file, {**SURFACE, "catalog": {"path": f"{scheme}bucket.csv"}})

    assert found == [
        "surface demo/home: catalog: path: must name an object in the bucket, not the bucket"
    ]
    config = load(file, {**SURFACE, "catalog": {"path": f"{scheme}bucket.csv/c.csv"}})
    assert config.surfaces[0].catalog_path == f"{scheme}bucket.csv/c.csv"


def test_a_surface_without_catalog_has_no_catalog_path(file: Path) -> None:
    surface = load(file, SURFACE).surfaces[0]

    with pytest.raises(ConfigError, match="surface demo/home has no catalog"):
        _ = surface.catalog_path


@pytest.mark.parametrize("where", ["root", "source"])
def test_an_empty_path_is_refused(where: str, file: Path) -> None:
    if where == "root":
        assert problems(file, SURFACE, root="") == ["root: must not be empty"]
    else:
        assert problems(file, {**SURFACE, "source": {"path": ""}}) == [
            "surface demo/home: source.path: must not be empty"
        ]


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "conf", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    config = load(
        folder / "surfaces.yaml",
        {**SURFACE, "source": {"path": "../raw"}, "catalog": {"path": "./c.csv"}},
        root="../var",
    )

    assert config.root == str(tmp_path / "var")
    assert config.surfaces[0].source.path == str(tmp_path / "raw")
    assert config.surfaces[0].catalog is not None
    assert config.surfaces[0].catalog.path == str(folder / "c.csv")


def test_absolute_paths_stay(file: Path) -> None:
    config = load(file, {**SURFACE, "source": {"path": "/data/raw"}}, root="/data/var")

    assert (config.root, config.surfaces[0].source.path) == ("/data/var", "/data/raw")


def test_the_environment_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(file, {**SURFACE, "tenant": "mine"})
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("RECSYS_CONFIG", file.name)

    config = load_config()

    assert config.surfaces[0].tenant == "mine"
    assert config.root == str(file.parent / "var")


def test_a_given_file_wins_over_the_environment(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "absent.yaml"))

    assert load(file, SURFACE).surfaces[0].tenant == "demo"


def test_the_root_of_the_environment_wins_and_is_relative_to_the_working_directory(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    monkeypatch.setenv("RECSYS_ROOT", "out")
    assert load(file, SURFACE).root == str(elsewhere / "out")

    monkeypatch.setenv("RECSYS_ROOT", "/data/out")
    assert load(file, SURFACE).root == "/data/out"

    monkeypatch.setenv("RECSYS_ROOT", "")
    assert load(file, SURFACE).root == str(tmp_path / "var")


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"

    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read .*\$RECSYS_CONFIG"):
        load_config(absent)


def test_a_file_that_is_not_utf8_is_refused(file: Path) -> None:
    file.write_bytes(b"root: \xff\n")

    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file)


@pytest.mark.parametrize(
    "text", ["root: [1", "root: var\n\tsurfaces: []", "root: !!python/object:os.system x", "a: *b"]
)
def test_a_file_that_is_not_yaml_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}: is not valid YAML: "):
        load_text(file, text)


@pytest.mark.parametrize("text", ["", "7", "[]", "root: var\nsurfaces: {}", "surfaces: [7]"])
def test_yaml_of_another_shape_is_refused(text: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:\n"):
        load_text(file, text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("root: [1", "line 1, column 9: expected ',' or ']'"),
        ("root: var\n\tsurfaces: []", "line 2, column 1: found character '\\t'"),
        ("root: var\nsurfaces:\n  - a: b: c", "line 3, column 9: mapping values are not allowed"),
        ("root: var\n  x: *b", "line 2, column 4: mapping values are not allowed here"),
        ("root: var\na: *b", "line 2, column 4: found undefined alias"),
        ("root: 'open\n\n", "line 3, column 1: found unexpected end of stream"),
        ("root: !!python/object:os.system x", "line 1, column 7: could not determine"),
    ],
)
def test_a_mistake_in_the_yaml_is_told_with_line_and_column(
    text: str, where: str, file: Path
) -> None:
    """Its line is not quoted, since it may hold a secret."""
    with pytest.raises(ConfigError) as error:
        load_text(file, text)

    assert str(error.value).startswith(f"{file}: is not valid YAML: {where}")
    assert len(str(error.value).splitlines()) == 1


def test_a_repeated_key_is_refused_with_its_line(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 2, column 1: repeated key 'root'"):
        load_text(file, "root: a\nroot: b\n")


def test_a_repeated_key_further_down_is_refused(file: Path) -> None:
    text = yaml.safe_dump({"root": "var", "surfaces": [SURFACE]})

    with pytest.raises(ConfigError, match="repeated key 'popularity'"):
        load_text(
            file, text.replace("popularity: {}", "popularity: {}\n    popularity: {top_n: 1}")
        )


@pytest.mark.parametrize("key", ["? [a]\n: 1", "? {a: 1}\n: 1"])
def test_a_key_that_is_no_text_is_refused(key: str, file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}:"):
        load_text(file, key)


def test_the_packaged_configuration_loads() -> None:
    config = load_config()

    assert PACKAGED_CONFIG.is_file()
    assert [surface.name for surface in config.surfaces] == ["grocer/store"]
    assert config.surfaces[0].artifacts.kinds == (
        "popularity",
        "cooc",
        "implicit",
        "session_seq",
        "content_sim",
    )
    assert Path(config.root).is_absolute()


def test_a_configuration_cannot_be_changed_once_it_is_loaded(file: Path) -> None:
    config = load(file, SURFACE)

    with pytest.raises(ValueError, match="frozen"):
        setattr(config, "root", "elsewhere")  # noqa: B010 (mypy refuses the plain assignment)
