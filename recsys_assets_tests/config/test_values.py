from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recsys_assets.config import is_object_url
from recsys_assets.errors import ConfigError
from recsys_assets_tests.config.files import (
    SCHEMES,
    SURFACE,
    UNTOLD,
    knob,
    load,
    locations,
    problems,
    with_knob,
    with_locations,
)

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
SHARES = [("guardrails", "max_oversized_session_share"), ("guardrails", "max_rejected_share")]


@pytest.mark.parametrize("path", KNOBS, ids=".".join)
def test_every_number_of_the_file_is_used(path: tuple[str, ...], file: Path) -> None:
    assert knob(load(file, with_knob(path, 7)), path) == 7


@pytest.mark.parametrize("path", KNOBS, ids=".".join)
@pytest.mark.parametrize("value", ["7", 7.0, 7.5, True, None])
def test_a_number_of_another_type_is_refused(path: tuple[str, ...], value: Any, file: Path) -> None:
    (problem,) = problems(file, with_knob(path, value))

    assert problem.startswith(f"surface demo/home: {'.'.join(path)}: ")
    assert problem.endswith(f"got {value!r}")


@pytest.mark.parametrize(
    ("path", "most"),
    [
        (("window_days",), 3660),
        (("freshness", "max_hours_since_flip"), 876_000),
        *((path, 10**9) for path in KNOBS if path[0] == "artifacts"),
    ],
)
def test_a_number_that_no_date_and_no_list_reaches_is_refused(
    path: tuple[str, ...], most: int, file: Path
) -> None:
    assert knob(load(file, with_knob(path, most)), path) == most

    (problem,) = problems(file, with_knob(path, most + 1))
    assert problem.startswith(f"surface demo/home: {'.'.join(path)}: ")


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
        "a\ud800b",
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


@pytest.mark.parametrize("start", ["", *SCHEMES])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x7f", "\ud800"])
def test_a_location_holds_no_control_characters(start: str, character: str, file: Path) -> None:
    """The system calls that would open it know none, or no text that is written would hold it."""
    surface, top = with_locations(f"{start}bucket/{character}")
    refusal = "must hold no control characters"

    assert problems(file, surface, **top) == [
        f"root: {refusal}",
        f"surface demo/home: source.path: {refusal}",
        f"surface demo/home: catalog.path: {refusal}",
    ]


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


@pytest.mark.parametrize("where", ["root", "source"])
def test_an_empty_path_is_refused(where: str, file: Path) -> None:
    if where == "root":
        assert problems(file, SURFACE, root="") == ["root: must not be empty"]
    else:
        assert problems(file, {**SURFACE, "source": {"path": ""}}) == [
            "surface demo/home: source.path: must not be empty"
        ]
