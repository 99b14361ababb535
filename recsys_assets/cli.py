"""`recsys-assets`: materialize days, see what is live, look into a live artifact.

Exit codes: 0 done; 1 something was blocked, failed or is not there, and the output says which day,
asset and check; 2 the command line, the configuration or the environment is wrong. Results go to
standard output, progress and errors to standard error.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from recsys_assets.config import CONFIG_VARIABLE, Config, Surface, load_config
from recsys_assets.errors import ConfigError, RecsysAssetsError

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from dagster import DagsterInstance

    from recsys_assets.operations.inspect import SurfaceStatus, Table
    from recsys_assets.operations.materialize import Report

_DAY = click.DateTime(["%Y-%m-%d"])
_PROGRESS_EVERY_S = 1.0


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error that a user can act on into text and an exit code; a bug keeps its stack."""
    try:
        yield
    except RecsysAssetsError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # `| head`: click knows what to do
            raise
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


class _Cli(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        with plain_errors():
            return super().invoke(ctx)


@click.group(cls=_Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False),
    help=f"The surfaces.yaml to use.  [default: ${CONFIG_VARIABLE}, else the packaged demo]",
)
@click.version_option(package_name="recsys-assets", prog_name="recsys-assets")
def main(config_path: str | None) -> None:
    """Raw exposure events to published recommender artifacts.

    Everything is written below `root` of surfaces.yaml; $RECSYS_ROOT wins over it. Runs are
    recorded on the Dagster instance at $DAGSTER_HOME, the one the UI shows.

    Results go to standard output; progress and errors go to standard error.

    Exit codes: 0 done; 1 something was blocked, failed or is not there; 2 the command line, the
    configuration or the environment is wrong.
    """
    if config_path:
        os.environ[CONFIG_VARIABLE] = str(Path(config_path).absolute())


@main.command("materialize")
@click.option("--surface", "name", help="tenant/surface.  [default: every surface]")
@click.option("--from", "first", required=True, type=_DAY, help="First day, UTC.")
@click.option("--to", "last", required=True, type=_DAY, help="Last day, inclusive.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def materialize_command(name: str | None, first: datetime, last: datetime, as_json: bool) -> None:
    """Materialize and publish days through Dagster.

    A day that fails a check blocks itself and nothing else. Doing a day again replaces it; the same
    input changes nothing. The live manifest never moves to an older window.

    Exit codes: 0 every day was published; 1 something was blocked or failed, and standard error
    names day, asset and check; 2 the command line, the configuration or $DAGSTER_HOME is wrong,
    and nothing was started.
    """
    config = load_config()
    surfaces = [config.surface(name)] if name else config.surfaces
    if last < first:
        raise click.UsageError(f"--to {last:%Y-%m-%d} lies before --from {first:%Y-%m-%d}")
    days = [first.date() + timedelta(days=n) for n in range((last - first).days + 1)]
    reports = run_days(config, surfaces, days)
    if as_json:
        click.echo(json.dumps({"surfaces": [_report_json(report) for report in reports]}, indent=1))
    else:
        for report in reports:
            print_report(report)
    if not all(report.succeeded for report in reports):
        sys.exit(1)


@main.command("status")
@click.option("--surface", "name", help="tenant/surface.  [default: every surface]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def status_command(name: str | None, as_json: bool) -> None:
    """Show what is live: window, age, kinds and sizes per surface.

    Exit codes: 0, also when nothing is live; 1 a manifest is damaged, and the other surfaces are
    shown all the same; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.operations.inspect import surface_status
    from recsys_assets.storage import open_store

    config = load_config()
    surfaces = [config.surface(name)] if name else config.surfaces
    store, now = open_store(config.root), datetime.now(UTC)
    statuses = [surface_status(store, surface, now=now) for surface in surfaces]
    if as_json:
        click.echo(json.dumps({"surfaces": [status.to_json() for status in statuses]}, indent=1))
    else:
        print_status(statuses)
    damaged = [status for status in statuses if status.error]
    for status in damaged:
        click.echo(_printable(f"Error: {status.surface.name}: {status.error}"), err=True)
    if damaged:
        sys.exit(1)


@main.command("show")
@click.argument("surface", metavar="TENANT/SURFACE")
@click.argument("kind")
@click.argument("id", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows shown.")
def show_command(surface: str, kind: str, id: str | None, limit: int) -> None:
    """Show a live artifact, or the list of one item or user (ID) in it.

    KIND is popularity, cooc, implicit, session_seq or content_sim. Items of the catalog are shown
    with their title.

    Exit codes: 0 shown; 1 it is not live, not in the artifact, or damaged; 2 the command line or
    the configuration is wrong.
    """
    from recsys_assets.operations.inspect import artifact_table, item_titles, live_document
    from recsys_assets.storage import open_store

    config = load_config()
    of = config.surface(surface)
    document = live_document(open_store(config.root), of, kind)
    table = artifact_table(document, owner=id, limit=limit)
    window = document["window"]
    title = f"{surface} {kind}{f' of {id}' if id else ''}, {_window_text(window)}"
    print_table(table, title=title, titles=item_titles(of))
    if table.total > len(table.rows):
        click.echo(f"{len(table.rows)} of {table.total} rows; --limit shows more")


def run_days(config: Config, surfaces: Sequence[Surface], days: Sequence[date]) -> list[Report]:
    """Materialize days of surfaces one after the other, with progress on standard error.

    Raises:
        ConfigError: $DAGSTER_HOME is unusable, or a day is not a partition of a surface.
    """
    from recsys_assets.definitions import build_definitions
    from recsys_assets.operations.materialize import materialize

    for surface in surfaces:
        _refuse_unknown_days(surface, days)
    home = _dagster_home()
    definitions = build_definitions(config)
    with _instance(home) as instance:
        reports = []
        for surface in surfaces:
            with _progress(surface):
                reports.append(materialize(definitions, surface, days, instance=instance))
    return reports


def _refuse_unknown_days(surface: Surface, days: Sequence[date]) -> None:
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    last = min(surface.end_date - timedelta(days=1), yesterday) if surface.end_date else yesterday
    if last < surface.start_date:
        raise ConfigError(
            f"{surface.name} has no day yet: its start_date is {surface.start_date}, and a day can "
            "be materialized once it is over, UTC"
        )
    if not surface.start_date <= days[0] <= days[-1] <= last:
        asked = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
        hint = "; a day can be materialized once it is over, UTC" if days[-1] > yesterday else ""
        raise ConfigError(
            f"{surface.name} has the days {surface.start_date} to {last}, not {asked}{hint}"
        )


def _dagster_home() -> Path:
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise ConfigError(
            "DAGSTER_HOME is not set: set it to the absolute path of the directory that keeps "
            "Dagster's runs and events; the Makefile uses .dagster/ of the project"
        )
    if not Path(home).is_absolute():
        raise ConfigError(
            f"DAGSTER_HOME is {home!r}, a relative path: set it to {str(Path(home).absolute())!r}, "
            "or wherever Dagster's runs and events are to be kept"
        )
    if not Path(home).is_dir():
        raise ConfigError(f"DAGSTER_HOME is {home!r}, not a directory: create it with `mkdir -p`")
    return Path(home)


@contextmanager
def _instance(home: Path) -> Iterator[DagsterInstance]:
    import dagster as dg

    try:
        opened = dg.DagsterInstance.get()
    except (dg.DagsterError, yaml.YAMLError, OSError) as error:
        problem = str(error).partition(" Expected:")[0]  # the whole of Dagster's schema follows
        raise ConfigError(f"Dagster cannot use {home}/dagster.yaml: {problem}") from None
    with opened as instance:
        yield instance


@contextmanager
def _progress(surface: Surface) -> Iterator[None]:
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
            text = f"{self.last - started:6.1f} s  {record.getMessage()}"
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
    click.echo(f"{surface.name} done in {time.monotonic() - started:.1f} s", err=True)


def print_report(report: Report) -> None:
    """Print a surface's days: events, refused lines, sizes and versions; then what failed."""
    kinds = report.surface.artifacts.kinds
    table = RichTable(header_style="bold")
    table.add_column("day", no_wrap=True)
    for column in ("events", "refused", "bytes"):
        table.add_column(column, justify="right")
    for kind in kinds:
        table.add_column(kind, no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for day in report.days:
        found, outcome = report.metadata.get(day, {}), report.outcome(day)
        events = found.get("canonical_events", {})
        sizes = [found[kind]["size_bytes"] for kind in kinds if kind in found]
        table.add_row(
            str(day),
            f"{events['dagster/row_count']:,}" if events else "",
            f"{events['refused']:,}" if events else "",
            f"{sum(sizes):,}" if sizes else "",
            *(found[kind]["version"][:8] if kind in found else "" for kind in kinds),
            outcome if outcome != "blocked" else Text(outcome, "red"),
        )
    _print_titled(table, report.surface.name)
    for failure in report.failures:
        where = f"{report.surface.name}/{failure.asset}"
        check = f"check {failure.check}" if failure.check else "step failed"
        text = " ".join(failure.description.split())
        click.echo(_printable(f"{failure.day} {where}: {check}: {text}"), err=True)
    if not report.succeeded:
        runs = ", ".join(report.run_ids)
        click.echo(
            f"{len(report.published)} of {len(report.days)} days published; the others keep what "
            f"they had. Runs, for the UI: {runs}",
            err=True,
        )


def _report_json(report: Report) -> dict[str, Any]:
    kinds = report.surface.artifacts.kinds
    return {
        "tenant": report.surface.tenant,
        "surface": report.surface.surface,
        "succeeded": report.succeeded,
        "days": [
            {
                "day": str(day),
                "outcome": report.outcome(day),
                "events": found.get("canonical_events", {}).get("dagster/row_count"),
                "refused": found.get("canonical_events", {}).get("refused"),
                "versions": {kind: found[kind]["version"] for kind in kinds if kind in found},
            }
            for day in report.days
            for found in [report.metadata.get(day, {})]
        ],
        "failures": [
            {
                "day": str(failure.day),
                "asset": failure.asset,
                "check": failure.check,
                "description": failure.description,
            }
            for failure in report.failures
        ],
        "run_ids": report.run_ids,
    }


def print_status(statuses: Sequence[SurfaceStatus]) -> None:
    """Print what is live, a line per surface and kind."""
    table = RichTable(header_style="bold")
    for column in ("surface", "live window", "behind", "flipped", "gen", "kind", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    for status in statuses:
        live = status.live
        if status.error:
            # In full on standard error: a column as wide as a URI would squeeze the others.
            table.add_row(_printable(status.surface.name), Text("cannot be read", "red"))
            continue
        if live is None:
            table.add_row(_printable(status.surface.name), "nothing is live yet")
            continue
        publication = live.publication
        first = [
            _printable(status.surface.name),
            _window_text(live.window.to_json()) if live.window else "unknown",
            f"{status.days_behind} d" if status.days_behind is not None else "",
            _age_text(status.age) if status.age is not None else "",
            str(publication.generation) if publication else "",
        ]
        for kind, of in status.kinds.items():
            size = Text("missing", "red") if of.size_bytes is None else f"{of.size_bytes:,}"
            table.add_row(*first, _printable(kind), _printable(of.version[:12]), size)
            first = [""] * 5
    _console().print(table)


def print_table(table: Table, *, title: str, titles: dict[str, str]) -> None:
    """Print an artifact table; items that the catalog has a title for get one."""
    rich = RichTable(header_style="bold")
    for column in table.columns:
        rich.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    at = table.columns.index(table.item_column)
    names = [titles.get(row[at], "") for row in table.rows]
    if any(names):
        rich.add_column("title", overflow="fold")
    for row, name in zip(table.rows, names, strict=True):
        cells = [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        rich.add_row(*map(_printable, [*cells, name] if any(names) else cells))
    _print_titled(rich, title)


_NUMBERS = {"count", "score", "entries"}


def _print_titled(table: RichTable, title: str) -> None:
    # Not the table's own title: that is folded to the width of the table.
    click.secho(_printable(title), bold=True)
    _console().print(table)


def _printable(text: str) -> str:
    """Return text for a terminal: control characters in an id must not reach it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _window_text(window: dict[str, str]) -> str:
    start = date.fromisoformat(window["start"][:10])
    last = date.fromisoformat(window["end"][:10]) - timedelta(days=1)
    return str(last) if start == last else f"{start} to {last}"


def _age_text(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    if hours < 1:
        return f"{age.total_seconds() / 60:.0f} min ago"
    return f"{hours:.1f} h ago" if hours < 48 else f"{age.days} d ago"


def _console() -> Console:
    # Ids and names are shown as they are: `[b]` is no markup, `:apple:` no emoji.
    # A pipe has no width; 80 columns would wrap what somebody wants to grep.
    width = None if sys.stdout.isatty() else 200
    return Console(width=width, markup=False, emoji=False, highlight=False)


if __name__ == "__main__":
    main(prog_name="recsys-assets")
