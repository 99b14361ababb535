"""`recsys-assets`: materialize days, see what is live, and operate on what is published.

Exit codes: 0 done; 1 something was blocked, failed or is not there, and the output says which day,
asset and check; 2 the command line, the configuration or the environment is wrong. Results go to
standard output, progress and errors to standard error.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from recsys_assets.cli_publications import COMMANDS
from recsys_assets.config import CONFIG_VARIABLE, Config, Surface, load_config
from recsys_assets.errors import ConfigError, RecsysAssetsError
from recsys_assets.printing import (
    print_report,
    print_status,
    print_table,
    printable,
    progress,
    window_text,
)

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from dagster import DagsterInstance

    from recsys_assets.operations.materialize import Report

_DAY = click.DateTime(["%Y-%m-%d"])


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn an error that a user can act on into text and an exit code; a bug keeps its stack."""
    try:
        yield
    except RecsysAssetsError as error:
        click.echo(_plain(error), err=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if error.errno == errno.EPIPE:  # `| head`: click knows what to do
            raise
        click.echo(_plain(error), err=True)
        sys.exit(1)


def _plain(error: Exception) -> str:
    return "\n".join(map(printable, f"Error: {error}".split("\n")))


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
    surfaces = config.selected(name)
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
    """Show what is live, and whether it is as new as `freshness` of surfaces.yaml promises.

    Exit codes: 0 every surface is fresh; 1 a surface is stale, has nothing live though a day is
    over, or its manifest is damaged, and the other surfaces are shown all the same; 2 the command
    line or the configuration is wrong.
    """
    from recsys_assets.operations.freshness import stale_because
    from recsys_assets.operations.inspect import surface_status
    from recsys_assets.storage import open_store

    config = load_config()
    surfaces = config.selected(name)
    store, now = open_store(config.root), datetime.now(UTC)
    statuses = [surface_status(store, surface, now=now) for surface in surfaces]
    if as_json:
        click.echo(json.dumps({"surfaces": [status.to_json() for status in statuses]}, indent=1))
    else:
        print_status(statuses)
    for status in statuses:
        if status.error:
            click.echo(printable(f"Error: {status.surface.name}: {status.error}"), err=True)
    if any(map(stale_because, statuses)):
        sys.exit(1)


@main.command("metrics")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write this file, for node_exporter's textfile collector, instead of standard output.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Serve /metrics until it is stopped.")
@click.option(
    "--host",
    help="The address that --port listens on, 0.0.0.0 for all of them.  [default: 127.0.0.1]",
)
@click.option(
    "--interval",
    type=click.FloatRange(0),
    help=(
        "Seconds for which --port gives the same figures again.  [default: 0, read them at every "
        "scrape]"
    ),
)
def metrics_command(
    output: Path | None, port: int | None, host: str | None, interval: float | None
) -> None:
    """Give the figures of `status` to Prometheus, of every surface.

    A surface that cannot be read has recsys_surface_status_error 1, and the others their figures.

    Exit codes: 0 done, also when a surface is stale; 1 the file cannot be written, or the port not
    be used; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.operations import metrics

    if output and port:
        raise click.UsageError("--output and --port exclude each other")
    if not port and (host is not None or interval is not None):
        raise click.UsageError("--interval and --host are about --port: add it")
    config = load_config()
    if port:
        metrics.serve(config, host=host or "127.0.0.1", port=port, keep_s=interval or 0)
    elif output:
        metrics.write(config, output)
    else:
        click.echo(metrics.text(config), nl=False)


@main.command("show")
@click.argument("surface", metavar="TENANT/SURFACE")
@click.argument("kind")
@click.argument("id", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows shown.")
def show_command(surface: str, kind: str, id: str | None, limit: int) -> None:
    """Show a live artifact, or the list of one item or user (ID) in it.

    KIND is an artifact kind, such as popularity or cooc. Items of the catalog are shown with their
    title.

    Exit codes: 0 shown; 1 it is not live, not in the artifact, or damaged; 2 the command line or
    the configuration is wrong.
    """
    from recsys_assets.events.catalog import item_titles
    from recsys_assets.operations.inspect import artifact_table, live_document
    from recsys_assets.storage import open_store

    config = load_config()
    of = config.surface(surface)
    document = live_document(open_store(config.root), of, kind)
    table = artifact_table(document, owner=id, limit=limit)
    window = document["window"]
    title = f"{surface} {kind}{f' of {id}' if id else ''}, {window_text(window)}"
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
        # Some 230,000 objects stay to the end: Python need not look through them time and again.
        gc.freeze()
        reports = []
        for surface in surfaces:
            with progress(surface.name):
                reports.append(materialize(definitions, surface, days, instance=instance))
    return reports


def _refuse_unknown_days(surface: Surface, days: Sequence[date]) -> None:
    limit = surface.guardrails.max_backfill_days
    if len(days) > limit:
        raise ConfigError(
            f"guardrails.max_backfill_days of {surface.name} is {limit:,}, asked for {len(days):,} "
            "days: materialize fewer at a time, or raise the limit"
        )
    now = datetime.now(UTC)
    last = surface.newest_day(now)
    if last is None:
        raise ConfigError(
            f"{surface.name} has no day yet: its start_date is {surface.start_date}, and a day can "
            "be materialized once it is over, UTC"
        )
    if not surface.start_date <= days[0] <= days[-1] <= last:
        asked = str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"
        hint = "; a day can be materialized once it is over, UTC" if days[-1] >= now.date() else ""
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


for command in COMMANDS:
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="recsys-assets")
