"""The commands of sinks: `deliver`, and `export`, which writes the same rows to a directory."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from recsys_assets.cli.options import SURFACE, open_surface, plain
from recsys_assets.cli.printing import progress
from recsys_assets.config import load_config
from recsys_assets.errors import ConfigError, RecsysAssetsError
from recsys_assets.texts import printable


@click.command("deliver")
@SURFACE
@click.option("--sink", "sink_name", help="The only sink to deliver to.  [default: all of them]")
def deliver_command(name: str, sink_name: str | None) -> None:
    """Deliver what is live to the sinks of a surface, as the sensor `deliveries` does.

    A sink that holds it already is left as it is, and so is one that holds a newer generation. It
    may be stopped and started at any time.

    Exit codes: 0 each holds what is live; 1 a sink could not be delivered to, and it holds what it
    held; 2 the command line, the configuration or the environment is wrong.
    """
    from recsys_assets.sinks.delivering import deliver, sink_of

    root = load_config().root
    surface, store = open_surface(name)
    sinks = surface.sinks if sink_name is None else [sink_of(surface, sink_name)]
    if not sinks:
        raise ConfigError(f"{name} has no sink: add one to `sinks` of surfaces.yaml")
    code = 0
    for sink in sinks:
        try:
            with progress(f"sink {sink.name}"):
                delivered = deliver(store, root, surface, sink)
        except (RecsysAssetsError, OSError) as error:  # the other sinks are delivered to
            click.echo(plain(f"sink {sink.name}: {error}"), err=True)
            code = max(code, 2 if isinstance(error, ConfigError) else 1)
            continue
        for problem in delivered.problems:
            click.echo(printable(f"sink {sink.name}: {problem}"), err=True)
        rows = f"; rows written: {sum(delivered.rows.values()):,}" if delivered.rows else ""
        click.echo(
            f"sink {sink.name}: {delivered.outcome}, holds generation {delivered.held.generation}"
            f"{rows}"
        )
    if code:
        sys.exit(code)


@click.command("export")
@SURFACE
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory; a file in it of the same name is replaced.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["parquet", "csv"]),
    default="parquet",
    show_default=True,
    help="How the files are written.",
)
@click.option(
    "--generation", type=click.IntRange(1), help="Of the history.  [default: what is live]"
)
def export_command(name: str, folder: Path, form: str, generation: int | None) -> None:
    """Write the rows of each kind, of what is live or of any generation, to a file a kind.

    Exit codes: 0 written; 1 there is no such generation, or its blobs are gone or damaged; 2 the
    command line or the configuration is wrong.
    """
    from recsys_assets.live.history import find
    from recsys_assets.sinks import Delivery
    from recsys_assets.sinks.files import write_table

    surface, store = open_surface(name)
    delivery = Delivery(store, find(store, surface, str(generation or "live")))
    folder.mkdir(parents=True, exist_ok=True)
    # All are written before the first takes its place: kinds of two generations are none's.
    with TemporaryDirectory(dir=folder, prefix=".export-") as written:
        rows = dict[Path, int]()
        for kind in delivery.versions:
            path = folder / f"{kind}.{form}"
            frame = delivery.rows(kind)
            write_table(frame, Path(written, path.name), form)
            rows[path] = frame.height
        for path, height in rows.items():
            Path(written, path.name).replace(path)
            click.echo(printable(f"{path}: {height:,} rows of generation {delivery.generation}"))


COMMANDS: Final = (deliver_command, export_command)
