"""The command that makes days: `materialize`."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from recsys_assets.cli import ctrl_c
from recsys_assets.cli.options import DAY, JSON, ONE_SURFACE, each_surface
from recsys_assets.cli.printing import days_text, print_json, print_result, progress
from recsys_assets.config import Config, Surface, load_config
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place
from recsys_assets.texts import printable

if TYPE_CHECKING:  # imported where they are used: Dagster and Polars take a second each to import
    from recsys_assets.definitions import Loaded
    from recsys_assets.defs.materialize import RangeResult


@click.command("materialize")
@ONE_SURFACE
@click.option("--from", "first", required=True, type=DAY, help="First day, UTC.")
@click.option("--to", "last", required=True, type=DAY, help="Last day, inclusive.")
@JSON
def materialize_command(name: str | None, first: datetime, last: datetime, as_json: bool) -> None:
    """Materialize and publish days through Dagster.

    A day that fails a check blocks itself and nothing else. Doing a day again replaces it; the same
    input changes nothing. The live manifest never moves to an older window. Without --surface each
    surface takes those of the days that it has. Days of a variant are made of the events of its
    base: where those are not there, days of the base are made first.

    Exit codes: 0 every day was published, or staged because something newer or a pin is to stay
    live; 1 something was blocked or failed, and standard error names day, asset and check, or a
    surface was passed over since its entry has a mistake; 2 the command line, the configuration or
    $DAGSTER_HOME is wrong, and nothing was started; 130 it was stopped by Ctrl-C, and what is done
    stays.
    """
    config = load_config()
    named = config.selected(name)  # told without Dagster, which takes seconds to import
    if last < first:
        raise click.UsageError(f"--to {last:%Y-%m-%d} lies before --from {first:%Y-%m-%d}")
    days = [first.date() + timedelta(days=n) for n in range((last - first).days + 1)]
    loaded = load(config, [surface.place for surface in named])
    with each_surface(loaded.config, name) as surfaces:
        wanted = _own_days(surfaces, days, may_be_less=name is None)
        wanted = _bases_first(loaded.config, wanted)
        results: list[RangeResult] = []
        stopped = None
        try:
            for result in run_days(loaded, wanted):
                results.append(result)
        except KeyboardInterrupt as interrupt:
            stopped = interrupt
        if as_json:
            print_json({"surfaces": [_as_json(result) for result in results]})
        else:
            for result in results:
                print_result(result)
        if stopped:
            _tell_what_is_not_done(wanted, results)
            raise stopped
        if not all(result.succeeded for result in results):
            sys.exit(1)


def load(config: Config, only: Collection[Place]) -> Loaded:
    """Do `load_definitions` of some surfaces; Ctrl-C ends it at once."""
    with ctrl_c.ends_at_once():
        # Until `run_days` hides what is there from it: all that is made by then stays.
        gc.disable()
        from recsys_assets.definitions import load_definitions

        return load_definitions(config, only)


def run_days(
    loaded: Loaded, wanted: Sequence[tuple[Surface, Sequence[date]]]
) -> Iterator[RangeResult]:
    """Materialize days of surfaces one after the other, with progress on standard error.

    Raises:
        ConfigError: $DAGSTER_HOME is unusable.
        KeyboardInterrupt: the user stopped it; the result of what was going on was the last.
    """
    with ExitStack() as opened:
        with ctrl_c.ends_at_once():
            from recsys_assets.defs.instance import dagster_home, open_instance
            from recsys_assets.defs.materialize import Stopped, materialize
            from recsys_assets.storage import open_store

            home = dagster_home()
            store = open_store(loaded.config.root)
            instance = opened.enter_context(open_instance(home))
        # Some 230,000 objects stay to the end: Python need not look through them time and again.
        gc.freeze()
        gc.enable()
        for surface, days in wanted:
            try:
                with progress(surface.name):
                    result = materialize(
                        loaded.definitions, surface, days, store=store, instance=instance
                    )
            except Stopped as stopped:
                ctrl_c.is_not_heard()
                yield stopped.report
                raise
            yield result


def _own_days(
    surfaces: Sequence[Surface], days: Sequence[date], *, may_be_less: bool
) -> list[tuple[Surface, Sequence[date]]]:
    """Return those of the days that each surface has; what it has not is told, or refused.

    Raises:
        ConfigError: a surface lacks a day, and may not; none has any of them; or one has more than
            its limit.
    """
    wanted: list[tuple[Surface, Sequence[date]]] = []
    lacking = dict[str, Sequence[date]]()
    for surface in surfaces:
        last = surface.newest_day(datetime.now(UTC))
        own = [day for day in days if last and surface.start_date <= day <= last]
        limit = surface.guardrails.max_backfill_days
        if (count := len(own if may_be_less else days)) > limit:
            raise ConfigError(
                f"guardrails.max_backfill_days of {surface.name} is {limit:,}, asked for "
                f"{count:,} days: materialize fewer at a time, or raise the limit"
            )
        if len(own) < len(days):
            lacking[_what_it_lacks(surface, last, days)] = own
        if own:
            wanted.append((surface, own))
    if lacking and not (may_be_less and wanted):
        raise ConfigError("\n".join(lacking))
    for text, taken in lacking.items():
        click.echo(printable(f"{text}; taken: {days_text(taken)}"), err=True)
    return wanted


def _bases_first(
    config: Config, wanted: Sequence[tuple[Surface, Sequence[date]]]
) -> list[tuple[Surface, Sequence[date]]]:
    """Put the days of bases before those of their variants; of one alone, only what it lacks."""
    from recsys_assets.storage import layout, open_store

    bases = [one for one in wanted if not one[0].variant_of]
    variants = [one for one in wanted if one[0].variant_of]
    for surface, days in variants:
        base = config.surface(surface.events_of.name)
        if any(each.place == base.place for each, _ in bases):
            continue
        store = open_store(config.root)
        lacking = [day for day in days if not store.stat(layout.canonical(base.place, day))]
        if lacking:
            bases.append((base, [day for day in days if lacking[0] <= day <= lacking[-1]]))
    return [*bases, *variants]


def _what_it_lacks(surface: Surface, last: date | None, days: Sequence[date]) -> str:
    if last is None:
        return (
            f"{surface.name} has no day yet: its start_date is {surface.start_date}, and a day can "
            "be materialized once it is over, UTC"
        )
    over = datetime.now(UTC).date()
    hint = "; a day can be materialized once it is over, UTC" if days[-1] >= over else ""
    asked = days_text(days)
    return f"{surface.name} has the days {surface.start_date} to {last}, not {asked}{hint}"


def _tell_what_is_not_done(
    wanted: Sequence[tuple[Surface, Sequence[date]]], results: Sequence[RangeResult]
) -> None:
    """Say what a Ctrl-C left; the same command does it."""
    begun = {result.surface.name: result for result in results}
    for surface, days in wanted:
        if (result := begun.get(surface.name)) is None:
            click.echo(printable(f"{surface.name}: not begun, {days_text(days)}"), err=True)
        elif result.stopped:
            done = f"{len(result.done)} of {len(result.days)} days are done"
            rest = days_text(result.not_done)
            click.echo(printable(f"{surface.name}: {done}; not done: {rest}"), err=True)
    click.echo("What is published stays. The same command goes on from there.", err=True)


def _as_json(result: RangeResult) -> dict[str, Any]:
    kinds = result.surface.artifacts.kinds
    return {
        "tenant": result.surface.tenant,
        "surface": result.surface.surface,
        "succeeded": result.succeeded,
        "summary": dict(Counter(result.outcome(day) for day in result.days)),
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
        "failures": [vars(failure) for failure in result.failures],
        "warnings": [vars(warning) for warning in result.warnings],
        "run_ids": result.run_ids,
    }


COMMANDS: Final = (materialize_command,)
