"""The command that tries options on stored days: `experiment`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from recsys_assets.cli.options import JSON, SURFACE, open_surface
from recsys_assets.cli.printing import print_json, progress
from recsys_assets.cli.tables import Column, print_rows
from recsys_assets.errors import MissingPartitionError
from recsys_assets.texts import printable
from recsys_assets.windows import span_text

if TYPE_CHECKING:  # imported where they are used: Polars takes a second to import
    from recsys_assets.experiments.results import Result

_RESULTS: Final = (
    Column("try", is_text=True),
    Column("kind", is_text=True),
    Column("scored"),
    Column("days", right=True, spare=1),
    Column("now", right=True),
    Column("tried", right=True),
    Column("change, 95 %", right=True),
    Column("verdict"),
)
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_ON: Final = {"forward": "after", "backward": "before"}


class _Days(click.ParamType[list[date]]):
    """A range of days, or one."""

    name = "days"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[date]:
        if isinstance(value, list):
            return value
        found = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:\.\.(\d{4}-\d\d-\d\d))?", value, re.ASCII)
        try:
            first, last = (date.fromisoformat(of) for of in (found[1], found[2] or found[1]))  # type: ignore[index]
        except (TypeError, ValueError):
            self.fail(f"{value} is no range of days: 2026-01-01..2026-01-31", param, ctx)
        if last < first:
            self.fail(f"{last} lies before {first}", param, ctx)
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _in_a_folder(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a file that cannot be written before hours of work are done for it."""
    if path and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no directory {path.absolute().parent}")
    return path


@click.command("experiment")
@SURFACE
@click.option(
    "--days",
    type=_Days(),
    required=True,
    metavar="FROM..TO",
    help="Last days of the windows, UTC, inclusive: 2026-01-01..2026-01-31.",
)
@click.option(
    "--try",
    "tries",
    multiple=True,
    required=True,
    metavar="KEY=VALUE,...",
    help="Values to try of an option: cooc.min_support=2,3,5. May be given several times.",
)
@click.option("--grid", is_flag=True, help="Try every combination, not each value alone.")
@click.option(
    "--csv", "table", type=_FILE, callback=_in_a_folder, help="Write the figures to this file too."
)
@click.option(
    "--picture", type=_FILE, callback=_in_a_folder, help="Draw the intervals to this SVG file too."
)
@JSON
def experiment_command(
    name: str,
    days: Sequence[date],
    tries: Sequence[str],
    grid: bool,
    table: Path | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Try options on stored days: what artifacts would list, beside the current options.

    For each day, artifacts are computed from the window that ends with it, with the current options
    and with each value that is tried. They are scored on the day after, and on days before all
    windows: how much of what happened do they list? Nothing is published, and nothing is written
    below root. docs/experiments.md says how to read the figures.

    Exit codes: 0 done, whatever the verdicts are; 1 too few days can be scored, or what is stored
    is damaged; 2 the command line or the configuration is wrong.
    """
    surface, store = open_surface(name)
    from recsys_assets.experiments.replay import replay
    from recsys_assets.experiments.results import not_scored, results
    from recsys_assets.experiments.tried import sets_to_try

    sets, as_now = sets_to_try(surface, tries, grid=grid)
    with progress(f"{name}: {len(sets)} tried"):
        found = results(sets, replay(store, surface, sets, days))
    told = [f"{each} is what {name} has" for each in as_now]
    told += not_scored(found, surface, sets)
    if not found:
        raise MissingPartitionError(f"{name}, {_span(days)}: nothing is scored: {'; '.join(told)}")
    if as_json:
        print_json(
            {
                "tenant": surface.tenant,
                "surface": surface.surface,
                "days": {"from": days[0], "to": days[-1]},
                "results": [_as_json(each) for each in found],
                "notes": told,
            }
        )
    else:
        print_rows(_RESULTS, [_row(each) for each in found], title=f"{name}, {_span(days)}")
        click.echo("change: in percentage points, of the mean, paired by day")
        for line in told:
            click.echo(printable(line))
    # Last: where a file cannot be written, the figures are printed all the same.
    if table:
        table.write_text(_csv(found), encoding="utf-8")
    if picture:
        picture.write_text(_picture(name, days, found), encoding="utf-8")


def _span(days: Sequence[date]) -> str:
    return span_text(days[0], days[-1])


def _row(of: Result) -> list[str]:
    low, high = 100 * of.change.low, 100 * of.change.high
    return [
        of.tried.name,
        f"{of.kind}@{of.first}",
        _ON[of.direction],
        str(of.change.days),
        f"{of.current_share:.2%}",
        f"{of.tried_share:.2%}",
        "0" if of.verdict == "same" else f"{low:+.2f}..{high:+.2f}",
        of.verdict,
    ]


def _as_json(of: Result) -> dict[str, Any]:
    by_day = [
        {"day": day, "current": current, "tried": tried}
        for day, (current, tried) in sorted(of.shares.items())
    ]
    return {"options": of.tried.options, **of.figures(), "by_day": by_day}


def _csv(found: Sequence[Result]) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    figures = [{"options": each.tried.name, **each.figures()} for each in found]
    writer.writerow(figures[0])
    writer.writerows(each.values() for each in figures)
    return lines.getvalue()


def _picture(name: str, days: Sequence[date], found: Sequence[Result]) -> str:
    from recsys_assets.pictures import intervals

    groups: dict[str, list[tuple[str, float, float, float]]] = {}
    for of in found:
        low, mean, high = (100 * each for each in (of.change.low, of.change.mean, of.change.high))
        rows = groups.setdefault(f"{of.kind}@{of.first}, {_ON[of.direction]}", [])
        rows.append((of.tried.name, low, mean, high))
    return intervals(f"{name}, {_span(days)}", groups, unit="change in percentage points, 95 %")


COMMANDS: Final = (experiment_command,)
