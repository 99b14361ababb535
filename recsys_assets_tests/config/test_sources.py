from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets_tests.config.files import SCHEMES, SURFACE, load, problems, with_knob


@pytest.mark.parametrize(
    "path", ["c.csv", "C.CSV", "c.jsonl", "c.csv.gz", "C.CSV.GZ", "c.jsonl.gz"]
)
def test_a_catalog_is_csv_or_json_lines(path: str, file: Path) -> None:
    config = load(file, {**SURFACE, "catalog": {"path": path}})

    assert config.surfaces[0].catalog is not None
    assert config.surfaces[0].catalog.path == str(file.parent / path)


SUFFIXES = ".csv, .csv.gz, .jsonl, .jsonl.gz, .parquet"


@pytest.mark.parametrize("path", ["c", "c.json", "c.gz", "c.csv.zip"])
def test_a_catalog_of_another_suffix_is_refused(path: str, file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "catalog": {"path": path}})

    assert problem == f"surface demo/home: catalog: path: must end in one of {SUFFIXES}"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{tenant}/*.jsonl", "needs {day}"),
        ("dt={date}/{day}", "unknown placeholder {date}"),
        ("{day}{}", "unknown placeholder {}"),
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
        ("{day}/{hour}/_SUCCESS", "unknown placeholder {hour}"),
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


_NEEDS_FILES_OF_DAYS = (
    "days_around: needs files with {day} in their pattern; otherwise each day is looked for "
    "everywhere already"
)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"type": "csv", "pattern": "all.csv", "days_around": 1}, _NEEDS_FILES_OF_DAYS),
        ({"type": "delta", "days_around": 1}, _NEEDS_FILES_OF_DAYS),
        (
            {
                "columns": {"ts": "t", "item_id": "i", "session_id": "s"},
                "deduplicate_by": "request_id",
            },
            "deduplicate_by: request_id needs `columns.request_id`",
        ),
    ],
)
def test_keys_of_days_that_would_do_nothing_are_refused(
    keys: dict[str, object], problem: str, file: Path
) -> None:
    found = problems(file, {**SURFACE, "source": {"path": "raw", **keys}})

    assert found == [f"surface demo/home: source: {problem}"]


@pytest.mark.parametrize("processes", [0, 257, 1.5])
def test_processes_are_some_and_not_too_many(processes: float, file: Path) -> None:
    (found,) = problems(file, {**SURFACE, "source": {"path": "raw", "processes": processes}})

    assert found.startswith("surface demo/home: source.processes: Input should be")


@pytest.mark.parametrize("days_around", [-1, 8, 1.5])
def test_a_day_is_read_from_a_week_around_it_at_most(days_around: float, file: Path) -> None:
    (found,) = problems(file, {**SURFACE, "source": {"path": "raw", "days_around": days_around}})

    assert found.startswith("surface demo/home: source.days_around: Input should be")


def test_other_keys_than_the_request_tell_no_events_apart(file: Path) -> None:
    source = {"path": "raw", "deduplicate_by": "item_id"}
    (found,) = problems(file, {**SURFACE, "source": source})

    assert found.startswith("surface demo/home: source.deduplicate_by: Input should be")


def test_a_source_of_another_type_is_refused(file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "source": {"path": "raw", "type": "papyrus"}})

    assert problem.startswith("surface demo/home: source.type: Input should be 'jsonl'")
    assert problem.endswith(", got text")


def test_a_catalog_in_an_object_store_is_told_apart_by_its_suffix_too(file: Path) -> None:
    found = problems(file, {**SURFACE, "catalog": {"path": "s3://bucket/c.xlsx"}})

    assert found == [f"surface demo/home: catalog: path: must end in one of {SUFFIXES}"]


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


BY_NAME = {"ts": "t", "item_id": "i"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"columns": BY_NAME}, "columns.session_id: is required, or `sessions`, to build them"),
        (
            {"columns": BY_NAME, "sessions": {"gap_minutes": 30}},
            "sessions: needs columns.user_id, as a session is built of the events of one user",
        ),
        (
            {"mapping": "yoochoose", "sessions": {"gap_minutes": 30}},
            "sessions: needs columns.user_id, as a session is built of the events of one user",
        ),
        (
            {"mapping": "retailrocket", "sessions": {"gap_minutes": 30}},
            "sessions: none would be built, as columns.session_id is the user and always there; "
            "say `columns: {session_id: null}`",
        ),
    ],
)
def test_sessions_that_cannot_be_are_refused(keys: dict[str, Any], told: str, file: Path) -> None:
    (problem,) = problems(file, {**SURFACE, "source": {"path": "raw", **keys}})

    assert problem == f"surface demo/home: source: {told}"


@pytest.mark.parametrize(
    ("gap", "told"),
    [
        ({"gap_minutes": 0}, ".gap_minutes: Input should be greater than or equal to 1, got 0"),
        ({"gap_minutes": 1441}, ".gap_minutes: Input should be less than or equal to 1440"),
        ({}, ".gap_minutes: is required"),
        (30, ": Input should be a valid dictionary or instance of Sessions, got 30"),
    ],
)
def test_a_pause_is_shorter_than_a_day(gap: Any, told: str, file: Path) -> None:
    (problem,) = problems(file, with_knob(("source", "sessions"), gap))

    assert problem.startswith(f"surface demo/home: source.sessions{told}")


@pytest.mark.parametrize("name", ["retailrocket", "movielens"])
def test_sessions_are_built_where_a_mapping_takes_the_user_for_one(name: str, file: Path) -> None:
    keys = {"mapping": name, "columns": {"session_id": None}, "sessions": {"gap_minutes": 30}}

    source = load(file, {**SURFACE, "source": {"path": "raw", **keys}}).surfaces[0].source

    assert source.columns is not None
    assert source.columns.session_id is None
    assert source.columns.user_id is not None
    assert source.sessions is not None
    assert source.sessions.gap_minutes == 30
