"""What the commands print: tables, and text that is safe for a terminal."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click
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
            text = printable(f"{self.last - started:6.1f} s  {record.getMessage()}")
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
}


def print_result(result: RangeResult) -> None:
    """Print a surface's days: events, refused lines, sizes and versions; then what failed."""
    kinds = result.surface.artifacts.kinds
    table = RichTable(header_style="bold")
    table.add_column("day", no_wrap=True)
    for column in ("events", "refused", "bytes"):
        table.add_column(column, justify="right")
    for kind in kinds:
        table.add_column(kind, no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for day in result.days:
        found, outcome = result.metadata.get(day, {}), result.outcome(day)
        events = found.get("canonical_events", {})
        sizes = [found[kind]["size_bytes"] for kind in kinds if kind in found]
        table.add_row(
            str(day),
            f"{events['dagster/row_count']:,}" if events else "",
            f"{events['refused']:,}" if events else "",
            f"{sum(sizes):,}" if sizes else "",
            *(found[kind]["version"][:8] if kind in found else "" for kind in kinds),
            outcome if day in result.done else Text(outcome, "red"),
        )
    print_titled(table, result.surface.name)
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

    table, reasons = RichTable(header_style="bold"), list[str]()
    for column in (
        "surface",
        "state",
        "live window",
        "behind",
        "flipped",
        "gen",
        "kind",
        "version",
    ):
        table.add_column(column, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for status in statuses:
        live = status.live
        if status.error:
            # In full on standard error: a column as wide as a URI would squeeze the others.
            table.add_row(printable(status.surface.name), Text("cannot be read", "red"))
            continue
        because = stale_because(status)
        if because:
            reasons.append(printable(f"{status.surface.name} is stale: {because}"))
        state = Text("stale", "red") if because else Text("fresh")
        if live is None:
            table.add_row(printable(status.surface.name), state, "nothing is live yet")
            continue
        publication = live.publication
        first: list[str | Text] = [
            printable(status.surface.name),
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
            table.add_row(*first, printable(kind), printable(of.version[:12]), size)
            first = [""] * 6
    console().print(table)
    for reason in reasons:
        click.echo(reason)


def print_table(table: Table, *, title: str, titles: dict[str, str]) -> None:
    """Print an artifact table; items that the catalog has a title for get one."""
    rich = RichTable(header_style="bold")
    for number, column in enumerate(table.columns):
        are_numbers = any(isinstance(row[number], int | float) for row in table.rows)
        rich.add_column(column, overflow="fold", justify="right" if are_numbers else "left")
    at = table.columns.index(table.item_column)
    names = [titles.get(row[at], "") for row in table.rows]
    if any(names):
        rich.add_column("title", overflow="fold")
    for row, name in zip(table.rows, names, strict=True):
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        rich.add_row(*map(printable, [*cells, name] if any(names) else cells))
    print_titled(rich, title)


def print_titled(table: RichTable, title: str) -> None:
    """Print a table below its title."""
    # Not the table's own title: that is folded to the width of the table.
    click.secho(printable(title), bold=True)
    console().print(table)


def window_text(window: Window) -> str:
    """Return a window's day, or its first and last one."""
    last = window.last_day
    return str(last) if window.start == last else f"{window.start} to {last}"


def age_text(age: timedelta) -> str:
    """Return how long ago something was, in a unit that fits."""
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{age.total_seconds() / 60:.0f} min ago"
    return f"{hours:.1f} h ago" if hours < 48 else f"{age.days} d ago"


def console() -> Console:
    """Return a console for results."""
    # Ids and names are shown as they are: `[b]` is no markup, `:apple:` no emoji.
    # A pipe has no width; 80 columns would wrap what somebody wants to grep.
    width = None if sys.stdout.isatty() else 200
    return Console(width=width, markup=False, emoji=False, highlight=False)


def print_rows(rows: Sequence[Mapping[str, str]], *, title: str) -> None:
    """Print rows of text; the columns are those of the first row."""
    table = RichTable(header_style="bold")
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row.values()))
    print_titled(table, title)


def publication_row(publication: Publication) -> dict[str, str]:
    """Return a flip as a row."""
    return {
        "gen": str(publication.generation),
        "action": publication.action + (" (pinned)" if publication.pinned else ""),
        "window": window_text(publication.window),
        "when": publication.published_at[:19] + "Z",
        "who": publication.who,
        "reason": publication.reason,
        "run": publication.run_id,
    }


def print_differences(differences: Sequence[Difference], title: str) -> None:
    """Print what differs between two publications."""
    from recsys_assets.live.compare import as_rows

    if differences:
        print_rows(as_rows(differences), title=title)
    else:
        click.echo(printable(f"{title}: nothing differs: the same versions are named"))


def print_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=1, default=str))
