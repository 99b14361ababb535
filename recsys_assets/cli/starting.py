"""The command that begins a project: `init`. The demo begins its own in the same way."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from recsys_assets.config import Config, commented
from recsys_assets.errors import ConfigError
from recsys_assets.texts import printable

CONFIG_NAME: Final = "surfaces.yaml"
_PACKAGED: Final = Path(__file__).parents[1] / "starter"
_HEAD: Final = """\
# What is built, for whom, from where. Relative paths are relative to this file.
# A key behind a # has the value that it has when it is left out. The page
# docs/configuration.md has every key; `recsys-assets check` says what is wrong.

"""
_EVENT: Final = (
    '{{"v":1,"ts":"{day}T09:00:00Z","tenant":"shop","surface":"home",'
    '"session_id":"s1","user_id":"u1","item_id":"tea"}}'
)
_NEXT: Final = """\
surfaces.yaml says what every key is for. As it is, it reads events of shop/home
from files such as

  {raw}

with one JSON object a line:

  {event}

Put yours there, or say in `source` where they are and which of your fields is
which. Then, in a shell:

  cd {folder}
  export RECSYS_CONFIG="$PWD/surfaces.yaml" DAGSTER_HOME="$PWD"
  recsys-assets check --surface shop/home
  recsys-assets materialize --from {day} --to {day}
  recsys-assets status
  dagster dev

The last one opens the UI on http://127.0.0.1:3000."""


@click.command("init")
@click.argument(
    "folder",
    metavar="[FOLDER]",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
)
def init_command(folder: Path) -> None:
    """Begin a project for your own events.

    Writes surfaces.yaml, every key of a surface with its meaning, dagster.yaml, the settings of the
    Dagster instance, and workspace.yaml, what Dagster is to load; and says what comes next. FOLDER
    is the working directory unless it is named; it is made. Nothing that is there is overwritten.

    Exit codes: 0 written; 1 FOLDER cannot be written; 2 one of the files is there already, and
    nothing was written.
    """
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    files = {**project_files(), CONFIG_NAME: _HEAD + commented(_first_surface(yesterday), Config)}
    write_new(folder, files)
    where = printable(shlex.quote(str(folder)))
    click.echo(f"Wrote {', '.join(files)} in {printable(str(folder.absolute()))}\n")
    raw = f"{folder / 'raw/shop/home'}/exposure.{yesterday}.jsonl"
    event = _EVENT.format(day=yesterday)
    click.echo(_NEXT.format(folder=where, raw=printable(raw), event=event, day=yesterday))


def project_files() -> dict[str, str]:
    """Return the files beside surfaces.yaml that Dagster needs, by name."""
    names = ("dagster.yaml", "workspace.yaml")
    return {name: (_PACKAGED / name).read_text(encoding="utf-8") for name in names}


def write_new(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder, in their order; the folder is made.

    Raises:
        ConfigError: one of them is there already; nothing was written.
        OSError: the folder cannot be made, or a file not written.
    """
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        raise ConfigError(
            f"{folder.absolute()} has {', '.join(there)} already, and nothing is overwritten: name "
            "another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        with (folder / name).open("x", encoding="utf-8") as file:
            file.write(text)


def _first_surface(day: date) -> dict[str, Any]:
    """Return what `init` sets: what is required, and of the rest what is to be told key by key."""
    surface = {
        "tenant": "shop",
        "surface": "home",
        "start_date": day,
        "source": {"path": "raw"},
        "artifacts": {
            "popularity": {"top_n": 1000},
            "cooc": {"min_support": 2},
            "implicit": {"top_n": 500},
            "session_seq": {"top_n": 500},
        },
        "guardrails": {"min_events": 1},
        "freshness": {"max_days_behind": 1},
    }
    return {"root": "var", "surfaces": [surface]}


COMMANDS: Final = (init_command,)
