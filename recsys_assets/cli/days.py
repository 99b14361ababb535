"""The command that makes days: `materialize`."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from recsys_assets.cli.options import DAY
from recsys_assets.cli.printing import print_result, progress
from recsys_assets.config import Config, Surface, load_config
from recsys_assets.errors import ConfigError

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from recsys_assets.defs.materialize import RangeResult


@click.command("materialize")
@click.option("--surface", "name", help="tenant/surface.  [default: every surface]")
@click.option("--from", "first", required=True, type=DAY, help="First day, UTC.")
@click.option("--to", "last", required=True, type=DAY, help="Last day, inclusive.")
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
    results = run_days(config, surfaces, days)
    if as_json:
        click.echo(json.dumps({"surfaces": [_as_json(result) for result in results]}, indent=1))
    else:
        for result in results:
            print_result(result)
    if not all(result.succeeded for result in results):
        sys.exit(1)


def run_days(
    config: Config, surfaces: Sequence[Surface], days: Sequence[date]
) -> list[RangeResult]:
    """Materialize days of surfaces one after the other, with progress on standard error.

    Raises:
        ConfigError: $DAGSTER_HOME is unusable, or a day is not a partition of a surface.
    """
    from recsys_assets.definitions import build_definitions
    from recsys_assets.defs.instance import dagster_home, open_instance
    from recsys_assets.defs.materialize import materialize

    for surface in surfaces:
        _refuse_unknown_days(surface, days)
    home = dagster_home()
    definitions = build_definitions(config)
    with open_instance(home) as instance:
        # Some 230,000 objects stay to the end: Python need not look through them time and again.
        gc.freeze()
        results = []
        for surface in surfaces:
            with progress(surface.name):
                results.append(materialize(definitions, surface, days, instance=instance))
    return results


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


def _as_json(result: RangeResult) -> dict[str, Any]:
    kinds = result.surface.artifacts.kinds
    return {
        "tenant": result.surface.tenant,
        "surface": result.surface.surface,
        "succeeded": result.succeeded,
        "days": [
            {
                "day": str(day),
                "outcome": result.outcome(day),
                "events": found.get("canonical_events", {}).get("dagster/row_count"),
                "refused": found.get("canonical_events", {}).get("refused"),
                "versions": {kind: found[kind]["version"] for kind in kinds if kind in found},
            }
            for day in result.days
            for found in [result.metadata.get(day, {})]
        ],
        "failures": [
            {
                "day": str(failure.day),
                "asset": failure.asset,
                "check": failure.check,
                "description": failure.description,
            }
            for failure in result.failures
        ],
        "run_ids": result.run_ids,
    }


COMMANDS: Final = (materialize_command,)
