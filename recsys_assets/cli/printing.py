"""What the commands print: tables, and text that is safe for a terminal."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import click
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

# Beside the other ways to print: the commands need no other module for them.
from recsys_assets.texts import printable as printable

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from recsys_assets.defs.materialize import RangeResult
    from recsys_assets.live.compare import Difference
    from recsys_assets.live.status import SurfaceStatus
    from recsys_assets.live.tables import Table
    from recsys_assets.storage.publications import Publication
    from recsys_assets.windows import Window

_PROGRESS_EVERY_S = 1.0
_LEAST_TEXT: Final = 12  # columns of a terminal into which text may be folded
_UNLIMITED: Final = 100_000  # a pipe has no width: somebody wants to grep whole lines

Cell = str | Text


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it gives up where a terminal has no room for all.

    Attributes:
        name: its heading.
        is_text: words, names and ids, which may be folded; anything else, such as a number, a day
            or a version, is never cut.
        right: aligned to the right.
        short: makes a shorter cell, for a narrow terminal.
        spare: how easily it is done without; the highest is left out first. 0 always stays.
    """

    name: str
    is_text: bool = False
    right: bool = False
    short: Callable[[str], str] | None = None
    spare: int = 0


def _last_day(window: str) -> str:
    return window.rpartition(" to ")[2]


def _to_the_minute(time: str) -> str:
    return time[:16] + "Z"


def first_digits(version: str) -> str:
    """Return what tells a version from others, at a glance."""
    return version[:8]


_STATUS: Final = (
    Column("surface", is_text=True),
    Column("state", is_text=True),
    Column("live window", is_text=True, short=_last_day),
    Column("behind", spare=2),
    Column("flipped", spare=4),
    Column("gen", spare=1),
    Column("kind", is_text=True),
    Column("version", short=first_digits, spare=3),
    Column("bytes", right=True),
)
_FLIPS: Final = (
    Column("gen"),
    Column("action", is_text=True),
    Column("window", short=_last_day),
    Column("when", short=_to_the_minute),
    Column("who", is_text=True, spare=1),
    Column("reason", is_text=True),
    Column("run", is_text=True, spare=2),
)
_SPARE_DIFFERENCES: Final = {"overlap at 10": 1, "overlap at 50": 2}


@contextmanager
def progress(label: str) -> Iterator[None]:
    """Show what the assets log, at most once a second; on a terminal in place."""
    started = time.monotonic()
    on_terminal = sys.stderr.isatty()
    clear = "\r\x1b[2K" if on_terminal else ""

    class Show(logging.Handler):
        last = 0.0

        def emit(self, record: logging.LogRecord) -> None:
            if time.monotonic() - self.last < _PROGRESS_EVERY_S:
                return
            self.last = time.monotonic()
            text = f"{self.last - started:6.1f} s  "
            # Its end, which has the figures: a line that is folded cannot be cleared.
            text += printable(record.getMessage())[-max(1, _room() - len(text)) :]
            click.echo(f"{clear}{text}", nl=not on_terminal, err=True)

    handler, logger = Show(), logging.getLogger("recsys_assets")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
        click.echo(clear, nl=False, err=True)
    click.echo(printable(f"{label} done in {time.monotonic() - started:.1f} s"), err=True)


# What became of a day, in the words of the summary, and their order there.
_OUTCOMES: Final = {
    "published": "published",
    "unchanged": "live already",
    "superseded": "staged only, since a later day is live",
    "pinned": "staged only, since the surface is pinned",
    "blocked": "blocked",
    "no files": "without files",
    "not done": "not done",
}


def print_result(result: RangeResult) -> None:
    """Print a surface's days: events, refused lines, sizes and versions; then what failed."""
    kinds = result.surface.artifacts.kinds
    columns = (
        Column("day"),
        *(Column(name, right=True) for name in ("events", "refused", "bytes")),
        *(Column(kind, spare=1) for kind in kinds),
        Column("outcome"),
    )
    rows: list[Sequence[Cell]] = []
    for day in result.days:
        found, outcome = result.metadata.get(day, {}), result.outcome(day)
        events = found.get("canonical_events", {})
        sizes = [found[kind]["size_bytes"] for kind in kinds if kind in found]
        rows.append(
            [
                str(day),
                f"{events['dagster/row_count']:,}" if events else "",
                f"{events['refused']:,}" if events else "",
                f"{sum(sizes):,}" if sizes else "",
                *(found[kind]["version"][:8] if kind in found else "" for kind in kinds),
                outcome if day in result.done else Text(outcome, "red"),
            ]
        )
    print_rows(columns, rows, title=result.surface.name)
    for failure in result.failures:
        where = f"{result.surface.name}/{failure.asset}"
        check = f"check {failure.check}" if failure.check else "step failed"
        text = " ".join(failure.description.split())
        click.echo(printable(f"{failure.day} {where}: {check}: {text}"), err=True)
    click.echo(printable(summary(result)), err=True)


def summary(result: RangeResult) -> str:
    """Say what became of a surface's days, in a line or two."""
    outcomes = Counter(result.outcome(day) for day in result.days)
    shown = [f"{outcomes[each]} {text}" for each, text in _OUTCOMES.items() if outcomes[each]]
    count = len(result.days)
    text = f"{result.surface.name}: {count} {'day' if count == 1 else 'days'}: {', '.join(shown)}"
    if result.succeeded:
        return text
    return (
        f"{text}. What is blocked keeps what it had. Runs, for the UI: {', '.join(result.run_ids)}"
    )


def print_status(statuses: Sequence[SurfaceStatus]) -> None:
    """Print what is live, a line per surface and kind; then of each stale surface, why."""
    from recsys_assets.live.status import stale_because

    rows, reasons = list[Sequence[Cell]](), list[str]()
    for status in statuses:
        live = status.live
        if status.error:
            # In full on standard error: a column as wide as a URI would squeeze the others.
            rows.append([status.surface.name, Text("cannot be read", "red")])
            continue
        because = stale_because(status)
        if because:
            reasons.append(printable(f"{status.surface.name} is stale: {because}"))
        state = Text("stale", "red") if because else Text("fresh")
        if live is None:
            rows.append([status.surface.name, state, "nothing is live yet"])
            continue
        publication = live.publication
        first: list[Cell] = [
            status.surface.name,
            state,
            window_text(live.window) if live.window else "unknown",
            f"{status.days_behind} d" if status.days_behind is not None else "",
            age_text(status.age) if status.age is not None else "",
            (str(publication.generation) + (" pinned" if publication.pinned else ""))
            if publication
            else "",
        ]
        for kind, of in status.kinds.items():
            size = Text("missing", "red") if of.size_bytes is None else f"{of.size_bytes:,}"
            rows.append([*first, kind, of.version[:12], size])
            first = [""] * len(first)
    print_rows(_STATUS, rows)
    for reason in reasons:
        click.echo(reason)


def print_table(table: Table, *, title: str) -> None:
    """Print an artifact table."""
    columns = []
    for number, name in enumerate(table.columns):
        are_numbers = any(isinstance(row[number], int | float) for row in table.rows)
        columns.append(Column(name, is_text=not are_numbers, right=are_numbers))
    rows = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in table.rows
    ]
    print_rows(columns, rows, title=title)


def print_csv(table: Table) -> None:
    """Print an artifact table as comma-separated values, with a heading; ids as they are."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    # A file gets ids as they are; a terminal would act on some of them.
    safe = printable if sys.stdout.isatty() else str
    writer.writerows([safe(str(cell)) for cell in row] for row in (table.columns, *table.rows))
    click.echo(lines.getvalue(), nl=False, color=True)  # or it would take escapes out of ids


def print_rows(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, title: str = ""
) -> None:
    """Print a table below its title, or as much of it as the terminal has room for.

    Where all of it has no room, it goes without lines and with shorter cells; then columns are left
    out, and it is told which. Only text is ever folded, and nothing is cut.

    Args:
        columns: of the table.
        rows: cells, one for each of the first columns. Plain text is made `printable` here.
        title: is not folded to the width of the table.
    """
    room = _room()
    for left_out in _ways(columns):
        table, least = _lay_out(columns, rows, left_out)
        if least <= room:
            break
    if title:
        click.secho(printable(title), bold=True)
    # Ids and names are shown as they are: `[b]` is no markup, `:apple:` no emoji.
    console = Console(width=max(room, least), markup=False, emoji=False, highlight=False)
    console.print(table)
    if left_out:
        names = ", ".join(column.name for column in columns if column.spare in left_out)
        click.echo(printable(f"left out, as the terminal is narrow: {names}"))


def _room() -> int:
    return Console().width if sys.stdout.isatty() else _UNLIMITED


def _ways(columns: Sequence[Column]) -> Iterator[set[int] | None]:
    """Yield what to leave out, by `spare`: None of a whole table, of narrow ones ever more."""
    yield None
    spare = sorted({column.spare for column in columns} - {0}, reverse=True)
    for number in range(len(spare) + 1):
        yield {*spare[:number]}


def _lay_out(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], left_out: set[int] | None
) -> tuple[RichTable, int]:
    """Return the table, and the least width that it can be printed with."""
    is_narrow = left_out is not None
    table = RichTable(
        header_style="bold",
        box=box.SIMPLE_HEAD if is_narrow else box.HEAVY_HEAD,
        show_edge=not is_narrow,
        pad_edge=not is_narrow,
        padding=(0, 1, 0, 0) if is_narrow else (0, 1),
    )
    cells, least = list[list[Cell]](), 0
    for number, column in enumerate(columns):
        if column.spare in (left_out or ()):
            continue
        cells.append([_cell(column, row, number, is_narrow) for row in rows])
        words = column.name.split() if is_narrow else [column.name]
        widest = max(cell_len(str(cell)) for cell in (*words, *cells[-1]))
        table.add_column(
            column.name,
            overflow="fold",
            justify="right" if column.right else "left",
            width=None if column.is_text else widest,
        )
        least += min(widest, _LEAST_TEXT) if column.is_text else widest
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table, least + (2 * len(cells) if is_narrow else 3 * len(cells) + 1)


def _cell(column: Column, row: Sequence[Cell], number: int, is_narrow: bool) -> Cell:
    cell = row[number] if number < len(row) else ""
    if isinstance(cell, Text):
        return cell
    return printable(column.short(cell) if is_narrow and column.short else cell)


def window_text(window: Window) -> str:
    """Return a window's day, or its first and last one."""
    last = window.last_day
    return str(last) if window.start == last else f"{window.start} to {last}"


def days_text(days: Sequence[date]) -> str:
    """Return days in order, those that follow each other as their first and last one."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and day - stretches[-1][-1] == timedelta(days=1):
            stretches[-1].append(day)
        else:
            stretches.append([day])
    ends = (sorted({str(stretch[0]), str(stretch[-1])}) for stretch in stretches)
    return ", ".join(" to ".join(each) for each in ends) or "none"


def age_text(age: timedelta) -> str:
    """Return how long ago something was, in a unit that fits."""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{age.total_seconds() / 60:.0f} min ago"
    return f"{hours:.1f} h ago" if hours < 48 else f"{age.days} d ago"


def print_flips(publications: Sequence[Publication], *, title: str) -> None:
    """Print flips, a row each."""
    rows = [
        [
            str(publication.generation),
            publication.action + (" (pinned)" if publication.pinned else ""),
            window_text(publication.window),
            publication.published_at[:19] + "Z",
            publication.who,
            publication.reason,
            publication.run_id,
        ]
        for publication in publications
    ]
    print_rows(_FLIPS, rows, title=title)


def print_differences(differences: Sequence[Difference], title: str) -> None:
    """Print what differs between two publications."""
    from recsys_assets.live.compare import as_rows

    if differences:
        rows = as_rows(differences)
        columns = [Column(name, spare=_SPARE_DIFFERENCES.get(name, 0)) for name in rows[0]]
        print_rows(columns, [[*row.values()] for row in rows], title=title)
    else:
        click.echo(printable(f"{title}: nothing differs: the same versions are named"))


def print_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=1, default=str))
