"""The commands on gates: override, calibrate."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from recsys_assets.cli.options import DAY, JSON, REASON, SURFACE, open_surface, why
from recsys_assets.cli.printing import print_json, progress
from recsys_assets.cli.tables import Cell, Column, print_rows
from recsys_assets.texts import printable

if TYPE_CHECKING:
    from recsys_assets.audit.calibration import Calibration, Tried
    from recsys_assets.config import Surface

_ALARMS: Final = (
    Column("day"),
    Column("gate"),
    Column("number"),
    Column("value", right=True),
    Column("usual", right=True),
    Column("margin", right=True, spare=1),
    Column("passes with", right=True),
)


@click.group("gates")
def gates_command() -> None:
    """Accept days against their gates, and see what these find of stored days."""


@gates_command.command("override")
@SURFACE
@click.option("--day", type=DAY, required=True, help="The day to accept, YYYY-MM-DD.")
@click.option("--checks", required=True, help="The gates to pass over: volume,shape.")
@REASON
@click.option("--ahead", is_flag=True, help="For events that are not there yet, as of a holiday.")
@click.option(
    "--restart-baseline",
    is_flag=True,
    help="For good: earlier days say nothing of later ones, for these gates.",
)
def override_command(
    name: str, day: datetime, checks: str, reason: str, ahead: bool, restart_baseline: bool
) -> None:
    """Have a day accepted that gates found unsound, once it is materialized again.

    It holds for the events that failed, and for no others that land in their place; with --ahead
    for whichever land. Of catalog_fits, it holds for the catalog as it is now. It is recorded for
    good, and `history` shows it.

    Exit codes: 0 it is recorded; 1 it is not, and the output says why; 2 the command line or the
    configuration is wrong.
    """
    from recsys_assets.audit.catalog_gate import CATALOG_FITS
    from recsys_assets.operations.overrides import override_gates

    surface, store = open_surface(name)
    gates = [check.strip() for check in checks.split(",") if check.strip()]
    done = override_gates(
        store,
        surface,
        day.date(),
        gates,
        why(reason),
        ahead=ahead,
        restart_baseline=restart_baseline,
    )
    of_catalog = CATALOG_FITS in done.checks
    if done.fingerprint is None:
        meant = "whichever catalog lands" if of_catalog else "whichever events land"
    else:
        meant = "the catalog as it is now" if of_catalog else "the events that failed"
    click.echo(
        printable(
            f"{name} {done.day}: {', '.join(done.checks)} overridden, for {meant}. Materialize "
            "the day"
        )
    )


@gates_command.command("calibrate")
@SURFACE
@click.option(
    "--days",
    type=click.IntRange(1, 1000),
    default=366,
    show_default=True,
    help="The newest accepted days that are judged, at most.",
)
@JSON
def calibrate_command(name: str, days: int, as_json: bool) -> None:
    """See what the gates make of stored days, and of faults.

    Each accepted day is judged anew by those before it: what fails is a false alarm, unless the day
    is wrong. Then 58 faults are put into three to twenty of the days, always the same ones. Nothing
    is written or published, whatever gates.mode is. It takes a minute or two, and the memory of
    some days.

    Exit codes: 0 done, whatever was found; 1 there are too few days; 2 the command line or the
    configuration is wrong.
    """
    from recsys_assets.audit.calibration import calibrate

    surface, store = open_surface(name)
    with progress(name):
        found = calibrate(store, surface, days=days)
    if as_json:
        print_json(_as_json(surface, found))
        return
    _print_alarms(name, found)
    _print_faults(name, found)


def _print_alarms(name: str, found: Calibration) -> None:
    from recsys_assets.audit.calibration import margin_that_passes
    from recsys_assets.compute.judging import NUMBERS

    of = f"{len(found.alarms)} of {len(found.judged)} judged days fail as they are"
    span = f"{found.judged[0]} to {found.judged[-1]}"
    rows: list[list[Cell]] = []
    for day, wrong in found.alarms.items():
        for each in wrong:
            number = NUMBERS[each.name]
            rows.append(
                [
                    str(day),
                    number.gate,
                    each.name,
                    format(each.value, number.form),
                    format(each.level, number.form),
                    f"{each.margin:.3f}",
                    f"{margin_that_passes(each):.3f}",
                ]
            )
    if not rows:
        click.echo(printable(f"{name}, {span}: {of}"))
        return
    print_rows(_ALARMS, rows, title=f"{name}, {span}: {of}")
    margins = ", ".join(f"{number}: {least}" for number, least in found.margins.items())
    click.echo(f"All of them pass with gates.margins: {{{margins}}}")
    click.echo("Look at the days first: what is wrong with one is no false alarm.")


def _print_faults(name: str, found: Calibration) -> None:
    from recsys_assets.compute.judging import DAY_GATES

    if not found.with_faults:
        click.echo("No sound day was judged by all gates: no faults were tried.")
        return
    columns = (
        Column("fault", is_text=True),
        *(Column(gate, right=True) for gate in (*DAY_GATES, "any")),
    )
    count = len(found.with_faults)
    print_rows(
        columns,
        [_row(each) for each in found.tried.values()],
        title=f"{name}, faults put into {count} {'day' if count == 1 else 'days'}: % stopped",
    )
    tried = [each for each in found.tried.values() if each.stopped]
    missed = [each for each in tried if each.is_missed]
    click.echo(
        f"{len(tried) - len(missed)} of {len(tried)} faults are stopped on at least 90 % of days"
    )
    if missed:
        click.echo(f"missed: {'; '.join(each.fault for each in missed)}")


def _row(tried: Tried) -> list[Cell]:
    from recsys_assets.compute.judging import DAY_GATES

    if not tried.stopped:
        return [f"{tried.fault} (changes nothing here)"]
    whole = f"{tried.share():.0%}"
    return [
        tried.fault,
        *(f"{share:.0%}" if (share := tried.share(gate)) else "" for gate in DAY_GATES),
        Text(whole, "red") if tried.is_missed else whole,
    ]


def _as_json(surface: Surface, found: Calibration) -> dict[str, object]:
    from recsys_assets.audit.calibration import margin_that_passes
    from recsys_assets.compute.judging import DAY_GATES, NUMBERS

    return {
        "tenant": surface.tenant,
        "surface": surface.surface,
        "mode": surface.gates.mode,
        "judged": found.judged,
        "alarms": [
            {
                "day": day,
                "gate": NUMBERS[each.name].gate,
                "number": each.name,
                "value": each.value,
                "usual": each.level,
                "margin": each.margin,
                "passes_with": margin_that_passes(each),
            }
            for day, wrong in found.alarms.items()
            for each in wrong
        ],
        "margins": found.margins,
        "with_faults": found.with_faults,
        "faults": [
            {
                "fault": each.fault,
                "days": len(each.stopped),
                "stopped": {gate: each.share(gate) for gate in DAY_GATES} | {"any": each.share()}
                if each.stopped
                else None,
                "missed": each.missed,
            }
            for each in found.tried.values()
        ],
    }


COMMANDS: Final = (gates_command,)
