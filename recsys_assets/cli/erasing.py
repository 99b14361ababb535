"""The commands about a person: erase, find-user."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import click

from recsys_assets.cli.options import DRY_RUN, JSON, REASON, SURFACE, why
from recsys_assets.cli.printing import print_json, progress
from recsys_assets.config import Surface, load_config
from recsys_assets.errors import ConfigError, InputError
from recsys_assets.texts import WHITE_SPACE, printable

if TYPE_CHECKING:
    from recsys_assets.operations.erase import Erasure
    from recsys_assets.operations.find_user import Held, Holder
    from recsys_assets.storage.store import Store

USERS: Final = click.option(
    "--users-file",
    type=click.File("r", encoding="utf-8-sig"),
    help="The ids, one a line; - is standard input.  [default: asks for one]",
)
NO_DAGSTER: Final = click.option(
    "--no-dagster", is_flag=True, help="Leave out the databases of the Dagster instance."
)


@click.command("erase")
@SURFACE
@REASON
@USERS
@click.option(
    "--reader-seconds",
    default=120,
    show_default=True,
    type=click.IntRange(0, 86_400),
    help="How long readers may go on with a manifest that they have read.",
)
@click.option("--print-hash", is_flag=True, help="Only print what the job `erase` is told.")
@NO_DAGSTER
@DRY_RUN
def erase_command(
    name: str,
    reason: str,
    users_file: IO[str] | None,
    reader_seconds: int,
    print_hash: bool,
    no_dagster: bool,
    dry_run: bool,
) -> None:
    """Erase persons: from stored events, from what was made of them, and for all days to come.

    It asks for the id, which stands in no file, log or run afterwards. $RECSYS_ERASE_KEY is the
    secret that the list of erased persons is kept with. Raw files are not touched: find-user names
    them. There is no way back.

    Exit codes: 0 nothing is left; 1 something is left, or it could not be begun, and the output
    says what; 2 the command line, the configuration or the environment is wrong. Killed, or with
    1, the same command goes on.
    """
    from recsys_assets.operations.erase import erase
    from recsys_assets.storage.erasures import erase_key

    surfaces, store, root = _base_and_variants(name)
    ids = _ids(users_file)
    key = erase_key(surfaces[0].place)
    entries = [key.entry(each) for each in ids]
    if print_hash:
        for entry in entries:
            click.echo(entry.token)
        return
    if dry_run:
        held, raw = _found(store, root, surfaces, ids, no_dagster=no_dagster)
        _print_held(held, raw)
        click.echo(f"{len(held):,} places would be cleaned. Nothing was changed")
        return
    with (
        _holders(store, root, no_dagster=no_dagster, reader_seconds=reader_seconds) as of,
        progress(name),
    ):
        done = erase(
            store,
            surfaces,
            key,
            entries,
            why(reason),
            ids=ids,
            reader_seconds=reader_seconds,
            holders=of.holders,
        )
        of.tell(done)
    for surface, remade in done.remade.items():
        for (kind, day), problem in sorted(remade.failed.items()):
            said = f"{surface}: {kind} of {day} left the manifest: {problem}"
            click.echo(printable(said), err=True)
        click.echo(f"{surface}: {len(remade.made):,} documents are of the events as they are now")
    click.echo(
        f"{done.events:,} events of {len(done.days):,} days taken out, {done.blobs:,} documents "
        f"and {done.others:,} other objects deleted"
    )
    if done.held:
        _print_held(done.held, [])
        click.echo(
            "something is left: mend what these lines say of sinks, and run the same command again",
            err=True,
        )
        sys.exit(1)
    click.echo(f"nothing is left; `recsys-assets find-user {name}` names raw files that have them")


@click.command("find-user")
@SURFACE
@USERS
@NO_DAGSTER
@JSON
def find_user_command(
    name: str, users_file: IO[str] | None, no_dagster: bool, as_json: bool
) -> None:
    """Look for persons in every place that holds ids, of the surface and its variants.

    It asks for the id. Sinks and Dagster's databases are such places; one that cannot be reached
    counts as one that holds them. Raw files that still do are named too: they are yours, and
    nothing here changes them.

    Exit codes: 0 they are nowhere but in raw files; 1 they are, or may be, and the output says
    where; 2 the command line, the configuration or the environment is wrong.
    """
    surfaces, store, root = _base_and_variants(name)
    ids = _ids(users_file)
    with progress(name):
        held, raw = _found(store, root, surfaces, ids, no_dagster=no_dagster)
    if as_json:
        print_json(
            {
                "found": [_as_json(each) for each in held],
                "raw": [_as_json(each) for each in raw],
            }
        )
    else:
        _print_held(held, raw)
        click.echo(f"{len(held):,} places hold them, and {len(raw):,} raw files")
    if held:
        sys.exit(1)


def _base_and_variants(name: str) -> tuple[list[Surface], Store, str]:
    """Return a base and all that is made of its events, the root, and its place."""
    from recsys_assets.storage import open_store

    config = load_config()
    surface = config.surface(name)
    if surface.variant_of:
        raise InputError(f"{name} is made of the events of {surface.variant_of}: name that one")
    if skipped := config.skipped(None):  # one of them may be a variant
        raise ConfigError(config.told(skipped))
    return [surface, *config.variants_of(surface)], open_store(config.root), config.root


def _ids(users_file: IO[str] | None) -> list[str]:
    """Return the ids that are asked for, trimmed as those of events are."""
    text = users_file.read() if users_file else click.prompt("id of the person", err=True)
    ids = [each for line in text.split("\n") if (each := line.strip(WHITE_SPACE))]
    if not ids:
        raise click.UsageError("no id was given")
    return ids


class _Around(NamedTuple):
    """What else holds copies of what is below the root, and how it is told of an erasure."""

    holders: Sequence[Holder]
    tell: Callable[[Erasure], None] = lambda _: None


@contextmanager
def _holders(
    store: Store, root: str, *, no_dagster: bool, reader_seconds: float = 0
) -> Iterator[_Around]:
    from recsys_assets.operations.in_sinks import InSinks

    sinks = InSinks(store, root, reader_seconds=reader_seconds)
    if no_dagster:
        yield _Around([sinks])
        return
    from recsys_assets.defs.erased_days import remade_days
    from recsys_assets.defs.erased_metadata import DagsterEvents
    from recsys_assets.defs.instance import dagster_home, open_instance

    with open_instance(dagster_home()) as instance:

        def tell(done: Erasure) -> None:
            for event in remade_days(instance, store, done):
                instance.report_runless_asset_event(event)

        yield _Around([sinks, DagsterEvents(instance)], tell)


def _found(
    store: Store, root: str, surfaces: Sequence[Surface], ids: Sequence[str], *, no_dagster: bool
) -> tuple[list[Held], list[Held]]:
    """Return where ids stand, and the raw inputs that hold them."""
    import os
    import secrets

    from recsys_assets.events.erased import Erased
    from recsys_assets.operations.find_user import find_user, in_raw, raw_days
    from recsys_assets.storage.erasures import (
        KEY_VARIABLE,
        EraseKey,
        erase_key,
        read_erased,
        refuse_other_key,
    )

    place = surfaces[0].place
    listed = read_erased(store, place)
    if listed is None and not os.environ.get(KEY_VARIABLE):
        key = EraseKey(place, secrets.token_bytes())  # nothing was hashed with another one
    else:
        key = erase_key(place)
        refuse_other_key(listed, key)
    erased = Erased(key, [key.entry(each) for each in ids])
    with _holders(store, root, no_dagster=no_dagster) as of:
        held = [*find_user(store, surfaces, erased, ids=ids, holders=of.holders)]
    return held, [*in_raw(surfaces[0], raw_days(store, surfaces[0], erased), erased)]


def _print_held(held: Sequence[Held], raw: Sequence[Held]) -> None:
    for each in (*held, *raw):
        click.echo(printable(f"{each.place}: {each.uri}: {each.said}"))


def _as_json(held: Held) -> dict[str, str]:
    return {"place": held.place, "uri": held.uri, "said": held.said}


COMMANDS: Final = (erase_command, find_user_command)
