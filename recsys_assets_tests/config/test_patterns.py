from __future__ import annotations

import glob
import re
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys_assets.config import ANY_DAY, DayPattern
from recsys_assets.places import Place

PLACE = Place("acme", "home")
DAY = date(2026, 1, 2)


def takes(pattern: str, name: str, *, place: Place = PLACE, day: str = str(DAY)) -> bool:
    return DayPattern(pattern).matcher(place, day)(name)


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("{tenant}/*", "needs {day}, otherwise every day would read every file"),
        ("{{day}}", "needs {day}, otherwise every day would read every file"),
        (
            "{day}/{hour}/{date}",
            "unknown placeholder {date}, {hour}; there are {tenant}, {surface} and {day}",
        ),
        ("{day}{}", "unknown placeholder {}; there are {tenant}, {surface} and {day}"),
        ("{day.year}", "unknown placeholder {(a key)}; there are {tenant}, {surface} and {day}"),
        ("/raw/{day}", "must stay below `path`"),
        ("a/../{day}", "must stay below `path`"),
        ("{day}/", "must name files, not a directory"),
        ("{day", "expected '}' before end of string; a brace itself is written twice"),
        ("{day}}", "Single '}' encountered in format string; a brace itself is written twice"),
    ],
)
def test_what_is_no_path_of_one_day_is_refused_behind_its_key(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^some_key: {re.escape(problem)}$"):
        DayPattern(pattern).check("some_key")


@pytest.mark.parametrize("pattern", ["{day}", "{tenant}/{surface}/{day}*", "{{a}}..b/{day}[0-9]"])
def test_a_path_of_one_day_is_not_refused(pattern: str) -> None:
    DayPattern(pattern).check("some_key")


def test_people_read_a_pattern_with_names_as_they_are() -> None:
    pattern = DayPattern("{tenant}/{surface}/{{x}}.{day}*")

    assert pattern.filled(Place("a*", "{day}"), DAY) == "a*/{day}/{x}.2026-01-02*"


@pytest.mark.parametrize(
    ("day", "written"), [("2026-01-02", "2026-01-02"), (ANY_DAY, ANY_DAY), ("?", "?")]
)
def test_in_a_glob_names_are_only_characters_and_the_day_is_what_is_given(
    day: str, written: str
) -> None:
    pattern = DayPattern("{tenant}/{surface}/[ab]{day}*")

    assert pattern.glob(Place("a*", "[x]?"), day) == f"a[*]/[[]x][?]/[ab]{written}*"


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("{tenant}/{surface}/{day}*", "acme/home"),
        ("{tenant}/{surface}/{day}", "acme/home"),
        ("dt={day}/hour=*/*", "dt=2026-01-02"),
        ("a/b*/c/{day}", "a"),
        ("a//./b/{day}", "a/b"),
        ("*/{day}/a", ""),
        ("{day}", ""),
    ],
)
def test_the_folder_is_what_a_pattern_spells_out(pattern: str, folder: str) -> None:
    assert DayPattern(pattern).folder(PLACE, str(DAY)) == folder


def test_a_folder_ends_before_what_a_name_or_a_day_may_be() -> None:
    pattern = DayPattern("a/{tenant}/{day}/b/*")

    assert pattern.folder(PLACE, ANY_DAY) == "a/acme"
    assert pattern.folder(Place("x[1]", "home"), str(DAY)) == "a"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{day}", "2026-01-02"),
        ("{day}*", "2026-01-02"),
        ("x.{day}*.jsonl*", "x.2026-01-02-part.1.jsonl.gz"),
        ("{tenant}/*/{day}?", "acme/any/2026-01-02a"),
        ("*/{day}/**", "a/2026-01-02/b"),
        ("[ab]{day}[!c]", "a2026-01-02d"),
        (".{day}", ".2026-01-02"),
        ("{day}/a*", "2026-01-02/a\nb"),
    ],
)
def test_a_name_is_taken_segment_by_segment(pattern: str, name: str) -> None:
    assert takes(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{day}", "2026-01-03"),
        ("{day}", "2026-01-02.jsonl"),
        ("{day}", "x2026-01-02"),
        ("{day}", "a/2026-01-02"),
        ("{day}*", "2026-01-02/a"),
        ("**/{day}", "a/b/2026-01-02"),
        ("**/{day}", "2026-01-02"),
        ("{day}/*", "2026-01-02"),
        ("{day}X", "2026-01-02x"),
        ("{tenant}/{day}", "other/2026-01-02"),
    ],
)
def test_any_other_name_is_not_taken(pattern: str, name: str) -> None:
    assert not takes(pattern, name)


@pytest.mark.parametrize("pattern", ["*{day}", "?{day}", "[.]{day}"])
def test_a_wildcard_finds_nothing_hidden(pattern: str) -> None:
    assert not takes(pattern, ".2026-01-02")
    assert not takes(f"{pattern}/a", ".2026-01-02/a")


@pytest.mark.parametrize(
    ("tenant", "neighbour"),
    [("a*", "ab"), ("a?", "ab"), ("[ab]", "a"), ("**", "a"), ("{day}", "a")],
)
def test_glob_characters_in_a_name_are_only_characters(tenant: str, neighbour: str) -> None:
    place = Place(tenant, tenant)

    assert takes("{tenant}/{surface}/{day}", f"{tenant}/{tenant}/2026-01-02", place=place)
    for name in (f"{neighbour}/{tenant}/2026-01-02", f"{tenant}/{neighbour}/2026-01-02"):
        assert not takes("{tenant}/{surface}/{day}", name, place=place)


def test_any_day_is_whatever_is_written_as_one() -> None:
    assert takes("x.{day}*", "x.2026-01-03.jsonl", day=ANY_DAY)
    assert takes("x.{day}*", "x.2026-99-99.jsonl", day=ANY_DAY)
    for name in ("2026-1-3", "2026-01-3", "2026-01-033", "2026-01-0x", "soon"):
        assert not takes("{day}", name, day=ANY_DAY)


@pytest.mark.parametrize(
    ("name", "dates"),
    [
        ("exposure.2026-01-02.jsonl", {DAY}),
        ("2026-01-01/2026-01-02", {date(2026, 1, 1), DAY}),
        ("12026-01-022026-01-03", {DAY, date(2026, 1, 3)}),
        ("2026-01-2026-01-02", {date(2026, 1, 20), DAY}),  # they overlap
        ("2026-02-30", set()),
        ("2026-1-2", set()),
        ("\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0662", set()),  # Arabic digits
        ("", set()),
    ],
)
def test_a_name_may_be_of_any_date_in_it(name: str, dates: set[date]) -> None:
    assert DayPattern.dates_in(name) == dates


_NAMES = st.sampled_from(["acme", "home", "a*", "[ab]", "?", "{day}", ".a", "ü", "2026-01-03"])
_PARTS = ["{tenant}", "{surface}", "{day}", "x.{day}.a", "{{a}}", "dt={day}", "a", ".b"]


@given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4), _NAMES, _NAMES, st.dates())
@example(["{tenant}", "{day}"], "[ab]", "home", DAY)
def test_the_file_that_a_pattern_without_wildcards_names_is_taken_and_in_its_folder(
    parts: list[str], tenant: str, surface: str, day: date
) -> None:
    pattern, place = DayPattern("/".join([*parts, "{day}"])), Place(tenant, surface)
    name = pattern.filled(place, day)

    assert pattern.matcher(place, str(day))(name)
    assert pattern.matcher(place, ANY_DAY)(name)
    assert day in pattern.dates_in(name)
    folder = pattern.folder(place, str(day))
    assert not glob.has_magic(folder)
    assert not folder or name.startswith(f"{folder}/")
