"""What is printed: days and ages, and nothing that a terminal would act on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.cli.printing import age_text, print_result, print_status
from recsys_assets.defs.materialize import Complaint, RangeResult
from recsys_assets.live.status import surface_status
from recsys_assets_tests.project import Project, day


def test_a_failure_is_told_in_one_line_without_control_characters(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RangeResult(project.configure().surfaces[0], [day(0)], run_ids=["r1"])
    result.failures.append(Complaint(day(0), "cooc", None, "first\n  second \x1b[31mred"))

    print_result(result)

    assert capsys.readouterr().err.splitlines()[0] == (
        "2026-01-01 demo/home/cooc: step failed: first second \\x1b[31mred"
    )


def test_a_check_that_warned_is_told_in_one_short_line(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RangeResult(project.configure().surfaces[0], [day(0), day(1)])
    for number, asset in ((1, "cooc"), (0, "cooc"), (0, "implicit")):
        text = f"of day {number}: \x1b[31m\n" + "a word " * 20
        result.warnings.append(Complaint(day(number), asset, "window_is_complete", text))

    print_result(result)

    lines = capsys.readouterr().err.splitlines()[:-1]
    assert [line[: line.index("\\x1b")] for line in lines] == [
        "warning: 2026-01-01 (+1) cooc window_is_complete: of day 0: ",
        "warning: 2026-01-01 implicit window_is_complete: of day 0: ",
    ]
    assert all(len(line) <= 80 and line.endswith(" ...") for line in lines)


def test_brackets_and_colons_in_a_name_are_printed_as_they_are(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    surface = project.configure({"tenant": "[red]:apple:"}).surfaces[0]

    print_result(RangeResult(surface, [day(0)]))
    print_status([surface_status(project.store, surface, now=datetime.now(UTC))])

    assert capsys.readouterr().out.count("[red]:apple:/home") == 3  # it is stale, too


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=20), "0 min ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=1), "1.0 h ago"),
        (timedelta(hours=47, minutes=30), "47.5 h ago"),
        (timedelta(days=2), "2 d ago"),
        (timedelta(days=400), "400 d ago"),
    ],
)
def test_an_age_is_told_in_the_unit_that_fits(age: timedelta, text: str) -> None:
    assert age_text(age) == text
