from __future__ import annotations

import glob
import re
import time
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recsys_assets.config import DayPattern
from recsys_assets.places import Place

PLACE = Place("acme", "home")
DAY = date(2026, 1, 2)
_ANY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def takes(pattern: str, name: str, *, place: Place = PLACE, day: date | None = DAY) -> bool:
    return DayPattern(pattern).matcher(place, day)(name)


_FORMAT = "{day:...} is made of %Y, %m, %d and %j (digits only), and of plain text"
_WHOLE = (
    "{day:...} must name the whole day, by %Y, %m and %d or by %Y and %j, otherwise several days "
    "would read the same files"
)


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
        ("{day!r}", "a placeholder takes no !"),
        ("{tenant!s}/{day}", "a placeholder takes no !"),
        ("{tenant:>9}/{day}", "only {day} takes a format"),
        *((f"{{day:{spec}}}", _FORMAT) for spec in (">10", "x", "%Y-%b-%d", "%Y%", "%y%m%d")),
        *((f"{{day:{spec}}}", _FORMAT) for spec in ("%F", "%Y*%m%d", "%Y%m%d[0-9]", "%Y%m%d%%")),
        ("{day:{tenant}}", _FORMAT),
        *((f"{{day:{spec}}}/*", _WHOLE) for spec in ("%Y", "%m-%d", "%Y%m", "%Y%d", "%j", "%d%j")),
        ("year={day:%Y}/month={day:%m}/*", _WHOLE),
        ("{day:/%Y}/{day}", "must stay below `path`"),
        ("../{day:%Y}/{day}", "must stay below `path`"),
        ("{day:%Y%m%d/}", "must name files, not a directory"),
        ("**/{day}", "** is not supported: write */ for each folder"),
        *((f"{{day}}{end}", "must hold no control characters") for end in ("\0", "\n", "\ud800")),
        ("{day}/**", "** is not supported: write */ for each folder"),
        ("{day}}", "Single '}' encountered in format string; a brace itself is written twice"),
    ],
)
def test_what_is_no_path_of_one_day_is_refused_behind_its_key(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"^some_key: {re.escape(problem)}$"):
        DayPattern(pattern).check("some_key")


_HIVE = "year={day:%Y}/month={day:%m}/day={day:%d}/*"


@pytest.mark.parametrize(
    "pattern",
    [
        "{day}",
        "{tenant}/{surface}/{day}*",
        "{{a}}..b/{day}[0-9]",
        "{day:%Y%m%d}",
        "{day:%Y/%m/%d}/*",
        "{day:%Y}/{day:%j}",
        "{day:%Y}/{day}",
        "*/x-{day:%d.%m.%Y}",
        _HIVE,
    ],
)
def test_a_path_of_one_day_is_not_refused(pattern: str) -> None:
    DayPattern(pattern).check("some_key")


def test_people_read_a_pattern_with_names_as_they_are() -> None:
    pattern = DayPattern("{tenant}/{surface}/{{x}}.{day}*")

    assert pattern.filled(Place("a*", "{day}"), DAY) == "a*/{day}/{x}.2026-01-02*"


@pytest.mark.parametrize(
    ("day", "written"),
    [(DAY, "2026-01-02"), (date(7, 1, 2), "0007-01-02"), (None, _ANY)],
)
def test_in_a_glob_names_are_only_characters_and_the_day_is_what_is_given(
    day: date | None, written: str
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
        ("raw/{day:%Y/%m/%d}/*", "raw/2026/01/02"),
        (_HIVE, "year=2026/month=01/day=02"),
        ("{day}", ""),
    ],
)
def test_the_folder_is_what_a_pattern_spells_out(pattern: str, folder: str) -> None:
    assert DayPattern(pattern).folder(PLACE, DAY) == folder


def test_a_folder_ends_before_what_a_name_or_a_day_may_be() -> None:
    pattern = DayPattern("a/{tenant}/{day}/b/*")

    assert pattern.folder(PLACE, None) == "a/acme"
    assert DayPattern("a/{day:%Y/%m/%d}/*").folder(PLACE, None) == "a"
    assert pattern.folder(Place("x[1]", "home"), DAY) == "a"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{day}", "2026-01-02"),
        ("{day}*", "2026-01-02"),
        ("x.{day}*.jsonl*", "x.2026-01-02-part.1.jsonl.gz"),
        ("{tenant}/*/{day}?", "acme/any/2026-01-02a"),
        ("{day:%Y%m%d}*", "20260102-part.0"),
        ("{day:%Y/%m/%d}/*", "2026/01/02/a"),
        ("x{day:%j.%Y}", "x002.2026"),
        (_HIVE, "year=2026/month=01/day=02/a"),
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
        ("*/{day}", "a/b/2026-01-02"),
        ("*/{day}", "2026-01-02"),
        ("{day:%Y%m%d}", "2026-01-02"),
        ("{day:%Y/%m/%d}/*", "2026/01/03/a"),
        ("{day:%Y/%m/%d}/*", "2026/01/02"),
        (_HIVE, "year=2026/month=01/day=03/a"),
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
    assert takes("x.{day}*", "x.2026-01-03.jsonl", day=None)
    assert takes("x.{day}*", "x.2026-99-99.jsonl", day=None)
    for name in ("2026-1-3", "2026-01-3", "2026-01-033", "2026-01-0x", "soon"):
        assert not takes("{day}", name, day=None)


@pytest.mark.parametrize(
    ("name", "dates"),
    [
        ("exposure.2026-01-02.jsonl", {DAY}),
        ("2026-01-01/2026-01-02", {date(2026, 1, 1)}),
        ("2026-01-01_2026-01-02/a", {date(2026, 1, 1), DAY}),
        ("12026-01-022026-01-03", {DAY, date(2026, 1, 3)}),
        ("2026-01-2026-01-02", {date(2026, 1, 20), DAY}),  # they overlap
        ("2026-02-30", set()),
        ("2026-1-2", set()),
        ("\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0662", set()),  # Arabic digits
        ("", set()),
    ],
)
def test_a_name_may_be_of_any_date_in_it(name: str, dates: set[date]) -> None:
    assert DayPattern("*{day}*/{tenant}").days_in(name) == dates


@pytest.mark.parametrize(
    ("pattern", "name", "days"),
    [
        ("{day:%Y%m%d}*", "20260102-part.0", {DAY}),
        ("*{day:%Y%m%d}*", "x99990102-20260102", {DAY, date(9999, 1, 2)}),
        ("*{day:%Y%m%d}*", "199990102", {date(9999, 1, 2)}),
        ("*{day:%Y%m%d}*", "202601021", {DAY, date(260, 10, 21)}),  # they overlap
        ("{day:%Y%m%d}*", "2026010220260103", {DAY}),
        ("{day:%Y/%m/%d}/*", "2026/01/02/20260103", {DAY}),
        ("{day:%Y/%m/%d}/*", "2026/13/02/a", set()),
        ("{day:%Y/%m/%d}/*", "2026/01", set()),
        ("{day:%Y}/{day:%j}", "2024/366", {date(2024, 12, 31)}),
        ("{day:%Y}/{day}", "2026/2026-01-02", {DAY}),
        ("{day:%Y}/{day}", "2025/2026-01-02", set()),
        ("{day:%Y-%Y%j}", "2026-2026002", {DAY}),
        ("{day:%Y-%Y%j}", "2026-2025002", set()),
        ("./a//{day:%Y}/{day:%m}.{day:%d}", "a/2026/01.02", {DAY}),
        (_HIVE, "year=2026/month=01/day=02/part-0007-1999", {DAY}),
    ],
)
def test_the_parts_of_a_date_may_stand_apart(pattern: str, name: str, days: set[date]) -> None:
    may_be_of = DayPattern(pattern).days_in(name)

    assert {day for day in may_be_of if takes(pattern, name, day=day)} == days
    if takes(pattern, name, day=None):
        assert {*DayPattern(pattern).days_of(PLACE)(name)} == days


_NAMES = st.sampled_from(["acme", "home", "a*", "[ab]", "?", "{day}", ".a", "ü", "2026-01-03"])
_PARTS = ["{tenant}", "{surface}", "{day}", "x.{day}.a", "{{a}}", "dt={day}", "a", ".b"]
_PARTS += ["{day:%Y%m%d}", "{day:%Y/%m/%d}", "y={day:%Y}", "{day:x%j.%d%m}", "{day:%d/%d}"]


@given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=4), _NAMES, _NAMES, st.dates())
@example(["{tenant}", "{day}"], "[ab]", "home", DAY)
def test_the_file_that_a_pattern_without_wildcards_names_is_taken_and_in_its_folder(
    parts: list[str], tenant: str, surface: str, day: date
) -> None:
    pattern, place = DayPattern("/".join([*parts, "{day}"])), Place(tenant, surface)
    name = pattern.filled(place, day)

    assert pattern.matcher(place, day)(name)
    assert pattern.matcher(place, None)(name)
    assert day in pattern.days_in(name)
    folder = pattern.folder(place, day)
    assert not glob.has_magic(folder)
    assert not folder or name.startswith(f"{folder}/")


def test_a_long_number_in_a_name_is_no_work() -> None:
    """Each of its digits could begin a year, a month and a day."""
    pattern = DayPattern("{day:%Y}_{day:%m}_{day:%d}_*")
    started = time.thread_time()

    assert date(2026, 1, 5) in pattern.days_in(f"2026_01_05_{'1234567890' * 20}.jsonl")

    assert time.thread_time() - started < 5  # as it was, 25 s
