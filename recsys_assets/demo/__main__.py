"""`python -m recsys_assets.demo`: from nothing to a published manifest of real data."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import click

from recsys_assets.cli import printing
from recsys_assets.cli.days import load, run_days
from recsys_assets.cli.main import plain_errors
from recsys_assets.config import CONFIG_VARIABLE, Config, Surface, load_config
from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_catalog, write_raw_events
from recsys_assets.errors import ConfigError
from recsys_assets.windows import Window

_FAULT: Final = "one unknown id 20 %"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--days",
    type=click.IntRange(1),
    help="Materialize only the first days.  [default: each day of the surface]",
)
def demo(days: int | None) -> None:
    """Write the raw days of the demo, materialize them through Dagster, and show the result."""
    with plain_errors():
        run(days)


def run(days: int | None) -> None:
    """Do what the command does.

    The raw days are those of the surface, however many of them are materialized: the UI offers
    each day of the surface, and each has data.
    """
    config = load_config()
    surface, catalog, every_day = _demo_surface(config)
    wanted = every_day[:days]
    if days and days > len(every_day):
        raise ConfigError(
            f"--days {days}: {surface.name} has {len(every_day)} days, {every_day[0]} to "
            f"{every_day[-1]}; its end_date is in the surfaces.yaml of the demo"
        )
    click.echo(
        f"1/3  Writing {len(every_day)} days of raw events to {surface.source.path} ...", err=True
    )
    events = write_raw_events(Path(surface.source.path), every_day)
    products = write_catalog(catalog)
    click.echo(f"     {events:,} events, {products:,} products", err=True)
    click.echo(
        f"2/3  Materializing every asset of {len(wanted)} days through Dagster ...", err=True
    )
    (result,) = run_days(load(config, [surface.place]), [(surface, wanted)])
    click.echo("3/3  Reading back what is live ...\n", err=True)
    printing.print_result(result)
    if result.done:
        show_a_gate(config.root, surface, result.done[-1])
        show_what_is_live(config.root, surface.name)
    if not result.succeeded:
        sys.exit(1)


def _demo_surface(config: Config) -> tuple[Surface, Path, list[date]]:
    """Return the surface of the demo, the file of its catalog, and all of its days."""
    for surface in config.surfaces:
        of_demo = (surface.tenant, surface.surface) == (TENANT, SURFACE)
        if of_demo and surface.catalog and surface.end_date:
            days = Window(surface.start_date, surface.end_date).days()
            return surface, Path(surface.catalog.path), days
    raise ConfigError(
        f"the demo needs surface {TENANT}/{SURFACE} with a catalog and an end_date, as in the "
        f"packaged surfaces.yaml: unset ${CONFIG_VARIABLE}"
    )


def show_a_gate(root: str, surface: Surface, day: date) -> None:
    """Print what would have stopped a day, had a tracker failed; nothing without days before it."""
    from recsys_assets.audit.calibration import judges, with_faults
    from recsys_assets.audit.gates import in_words
    from recsys_assets.storage import open_store

    store = open_store(root)
    for _, judge, profile in judges(store, surface, [day]):
        if not judge.judge_profile(profile).found:
            return
        for _, judged in with_faults(store, surface, judge, [_FAULT]):
            wrong = [in_words(each) for each in judged.found.values() if each.failed]
            if wrong:
                told = "".join(f"\n  {text}" for text in wrong)
                click.echo(
                    f"Had a fifth of {day} come with the item `undefined`, gates would say:{told}"
                )


def show_what_is_live(root: str, name: str) -> None:
    """Print the live manifest, the most popular products and the neighbours of the first.

    The first that has neighbours: on a thin day the most popular ones may have none.
    """
    from recsys_assets.events.labels import item_titles
    from recsys_assets.live.status import surface_status
    from recsys_assets.live.tables import artifact_table, live_document
    from recsys_assets.storage import layout, open_store

    surface = load_config().surface(name)
    store, titles = open_store(root), item_titles(surface)
    printing.print_status([surface_status(store, surface, now=datetime.now(UTC))])
    manifest = store.uri(layout.manifest(surface.place)).removeprefix("file://")
    click.echo(f"The live manifest: {manifest}\n")
    popularity, cooc = (live_document(store, surface, kind) for kind in ("popularity", "cooc"))
    ten = artifact_table(popularity, owner=None, limit=10)
    printing.print_table(ten.titled(titles), title="Ten most popular products")
    listed = artifact_table(cooc, owner=None, limit=sys.maxsize)
    have_neighbours = {item for item, entries, _ in listed.rows if entries}
    popular = [item for item, _ in artifact_table(popularity, owner=None, limit=sys.maxsize).rows]
    first = next((item for item in popular if item in have_neighbours), None)
    if first is not None:
        table = artifact_table(cooc, owner=first, limit=5)
        title = f"Bought with {titles.get(first, first)}"
        printing.print_table(table.titled(titles), title=title)
    click.echo(
        "\nOpen the UI on these runs:  make dev, then http://127.0.0.1:3000"
        f"\nLook at more:               .venv/bin/recsys-assets show {name} cooc {first or ''}"
    )


if __name__ == "__main__":
    demo(prog_name="python -m recsys_assets.demo")
