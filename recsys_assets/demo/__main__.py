"""`python -m recsys_assets.demo`: from nothing to a published manifest of real data."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click

from recsys_assets.cli import printing
from recsys_assets.cli.days import load, run_days
from recsys_assets.cli.main import plain_errors
from recsys_assets.config import CONFIG_VARIABLE, Config, Surface, load_config
from recsys_assets.demo.complete_journey import SURFACE, TENANT, write_catalog, write_raw_events
from recsys_assets.errors import ConfigError

_FIRST_DAY = date(2017, 1, 1)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--days", default=31, show_default=True, type=click.IntRange(1, 366), help="Days of 2017."
)
def demo(days: int) -> None:
    """Write raw days of the demo data, materialize them through Dagster, and show the result."""
    with plain_errors():
        run(days)


def run(days: int) -> None:
    """Do what the command does."""
    config = load_config()
    surface, catalog = _demo_surface(config)
    wanted = [_FIRST_DAY + timedelta(days=number) for number in range(days)]
    click.echo(f"1/3  Writing {days} days of raw events to {surface.source.path} ...", err=True)
    events = write_raw_events(Path(surface.source.path), wanted)
    products = write_catalog(catalog)
    click.echo(f"     {events:,} events, {products:,} products", err=True)
    click.echo("2/3  Materializing every asset of every day through Dagster ...", err=True)
    (result,) = run_days(load(config), [(surface, wanted)])
    click.echo("3/3  Reading back what is live ...\n", err=True)
    printing.print_result(result)
    if result.done:
        show_what_is_live(config.root, surface.name)
    if not result.succeeded:
        sys.exit(1)


def _demo_surface(config: Config) -> tuple[Surface, Path]:
    for surface in config.surfaces:
        if (surface.tenant, surface.surface) == (TENANT, SURFACE) and surface.catalog:
            return surface, Path(surface.catalog.path)
    raise ConfigError(
        f"the demo needs surface {TENANT}/{SURFACE} with a catalog, as in the packaged "
        f"surfaces.yaml: unset ${CONFIG_VARIABLE}"
    )


def show_what_is_live(root: str, name: str) -> None:
    """Print the live manifest, the most popular products and the neighbours of the first.

    The first that has neighbours: on a thin day the most popular ones may have none.
    """
    from recsys_assets.events.catalog import item_titles
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
