"""The commands of `recsys-assets` on what is published: its history, and moving the pointer."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from recsys_assets.config import Surface, load_config
from recsys_assets.errors import ConfigError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.printing import print_rows, printable, progress, window_text

if TYPE_CHECKING:
    from recsys_assets.operations.compare import Difference
    from recsys_assets.operations.trace import Trace
    from recsys_assets.storage.publications import Publication, Why
    from recsys_assets.storage.store import Store

_SURFACE = click.argument("name", metavar="TENANT/SURFACE")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
_REASON = click.option("--reason", required=True, help="Why; it is kept in the history.")
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would change; change nothing.")
_ONE_SURFACE = click.option("--surface", "name", help="tenant/surface.  [default: every surface]")
_NO_CHANGE = "nothing differs: the same versions are named"


@click.command("history")
@_SURFACE
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Flips shown.")
@_JSON
def history_command(name: str, limit: int, as_json: bool) -> None:
    """Show the flips that led to what is live, the newest first: what, when, who and why."""
    from recsys_assets.operations.history import publications

    surface, store = _open(name)
    found = publications(store, surface, limit=limit)
    if as_json:
        _print_json({"publications": [publication.to_json() for publication in found]})
    elif found:
        print_rows([_row(publication) for publication in found], title=name)
    else:
        click.echo(f"nothing of {name} was published here yet")


@click.command("at")
@_SURFACE
@click.option(
    "--time",
    "moment",
    required=True,
    help="ISO 8601, UTC when it names no offset: 2026-01-05T12:00.",
)
@_JSON
def at_command(name: str, moment: str, as_json: bool) -> None:
    """Show what was live at a time: the flip, and the URI of each kind."""
    from recsys_assets.operations.history import live_at

    surface, store = _open(name)
    publication = live_at(store, surface, _moment(moment))
    if as_json:
        _print_json(publication.to_json())
        return
    print_rows([_row(publication)], title=name)
    print_rows(
        [{"kind": kind, "uri": uri} for kind, uri in publication.current.items()], title="live then"
    )


@click.command("diff")
@_SURFACE
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", default="live")
@_JSON
def diff_command(name: str, before: str, after: str, as_json: bool) -> None:
    """Show per kind which items and users came, went and moved from A to B.

    A and B are each a generation of the history, a day that was live, `previous` or `live`.
    """
    from recsys_assets.operations.compare import compare
    from recsys_assets.operations.history import find

    surface, store = _open(name)
    old, new = find(store, surface, before), find(store, surface, after)
    differences = compare(store, old.current, new.current)
    if as_json:
        _print_json(
            {
                "before": old.to_json(),
                "after": new.to_json(),
                "differences": [difference.to_json() for difference in differences],
            }
        )
    else:
        title = f"{name}, generation {old.generation} to {new.generation}"
        _print_differences(differences, title)


@click.command("trace")
@_SURFACE
@click.argument("kind")
@click.argument("id", required=False)
@_JSON
def trace_command(name: str, kind: str, id: str | None, as_json: bool) -> None:
    """Show where a live artifact comes from, or one item or user (ID) of it.

    From the flip and the record of its version back to the canonical partitions and the raw files,
    with size and SHA-256; with ID also how many events of it are in which file, from which line on.
    """
    from recsys_assets.operations.trace import trace

    surface, store = _open(name)
    found = trace(store, surface, kind, owner=id)
    if as_json:
        _print_json(found.to_json())
    else:
        _print_trace(found, name)


@click.command("rollback")
@_SURFACE
@click.option(
    "--to",
    default="previous",
    show_default=True,
    help="`previous`, a generation of the history, or a day that was live.",
)
@click.option("--kind", help="The only kind to roll back.  [default: the whole manifest]")
@click.option("--pin", is_flag=True, help="Hold it: later publishes wait for `release`.")
@_REASON
@_DRY_RUN
def rollback_command(
    name: str, to: str, kind: str | None, pin: bool, reason: str, dry_run: bool
) -> None:
    """Make an earlier publication live again, once every blob of it is verified.

    Without --pin the next publish moves the pointer forward again.

    Exit codes: 0 it is live, or was already; 1 it cannot be, and what is live stays; 2 the command
    line or the configuration is wrong.
    """
    from recsys_assets.operations.pointer import plan_rollback, roll_back

    surface, store = _open(name)
    plan = plan_rollback(store, surface, to=to, kind=kind, pin=pin)
    target = f"{kind or 'all'} of generation {plan.target.generation}, {_days(plan.target)},"
    _print_differences(plan.differences, f"{name}, to {target.rstrip(',')}")
    if dry_run:
        click.echo("dry run: nothing was changed")
        return
    outcome, live = roll_back(store, plan, _why(reason))
    done = "was live already" if outcome == "unchanged" else "is live"
    held = live.publication is not None and live.publication.pinned
    then = (
        f"pinned: publishes wait for `recsys-assets release {name}`"
        if held
        else "not pinned: the next publish moves it forward"
    )
    click.echo(printable(f"{target} {done}; {then}"))


@click.command("pin")
@_SURFACE
@_REASON
def pin_command(name: str, reason: str) -> None:
    """Hold what is live: later publishes are staged, but not live, until `release`."""
    from recsys_assets.operations.pointer import pin

    surface, store = _open(name)
    outcome, _ = pin(store, surface, _why(reason))
    click.echo(f"{name} {'was pinned already' if outcome == 'unchanged' else 'is pinned'}")


@click.command("release")
@_SURFACE
@_REASON
@_DRY_RUN
def release_command(name: str, reason: str, dry_run: bool) -> None:
    """Let publishes through again, and publish the newest complete day that was held back.

    Exit codes: 0 done; 1 the day that was held back cannot be published, though the surface is
    released; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.operations.history import recorded_live
    from recsys_assets.operations.pointer import held_back, release

    surface, store = _open(name)
    if dry_run:
        live, publication = recorded_live(store, surface)
        day = held_back(store, surface, live)
        state = "is pinned" if publication.pinned else "is not pinned"
        click.echo(f"{name} {state}; the day to publish: {day or 'none'}. Nothing was changed")
        return
    released = release(store, surface, _why(reason))
    state = "was not pinned" if released.outcome == "unchanged" else "is released"
    if released.next_day is None:
        click.echo(f"{name} {state}; no day was held back")
        return
    click.echo(printable(f"{name} {state}; {released.next_day}: {released.next_outcome}"))
    if not released.succeeded:
        sys.exit(1)


@click.command("verify")
@_ONE_SURFACE
@click.option(
    "--last", default=10, show_default=True, type=click.IntRange(1), help="Publications to re-read."
)
@click.option(
    "--grace-hours",
    default=24,
    show_default=True,
    type=click.IntRange(0, 876_000),
    help="Age from which a blob that nothing names is reported.",
)
@_JSON
def verify_command(name: str | None, last: int, grace_hours: int, as_json: bool) -> None:
    """Re-read every blob that is live, or was lately, and recompute its version.

    Exit codes: 0 all is as it was written; 1 something is missing, corrupt or orphaned; 2 the
    command line or the configuration is wrong.
    """
    from recsys_assets.operations.verify import verify_surface
    from recsys_assets.storage import open_store

    config = load_config()
    store, now = open_store(config.root), datetime.now(UTC)
    found, grace = [], timedelta(hours=grace_hours)
    for surface in config.selected(name):
        with progress(surface.name):
            found.append(verify_surface(store, surface, last=last, grace=grace, now=now))
    if as_json:
        _print_json(
            {
                "surfaces": [
                    {
                        "tenant": verified.surface.tenant,
                        "surface": verified.surface.surface,
                        "blobs": verified.blobs,
                        "publications": verified.publications,
                        "findings": [vars(finding) for finding in verified.findings],
                    }
                    for verified in found
                ]
            }
        )
    for verified in found:
        if not as_json:
            click.echo(
                f"{verified.surface.name}: {verified.blobs} blobs of "
                f"{verified.publications} publications verified, "
                f"{len(verified.findings)} findings"
            )
        for finding in verified.findings:
            click.echo(printable(f"{finding.problem}: {finding.uri}: {finding.detail}"), err=True)
    if any(verified.findings for verified in found):
        sys.exit(1)


@click.command("retention")
@_ONE_SURFACE
@click.option("--publications", type=click.IntRange(1), help="Instead of retention.publications.")
@click.option("--days", type=click.IntRange(1, 36_500), help="Instead of retention.days.")
@click.option(
    "--grace-hours", type=click.IntRange(1, 876_000), help="Instead of retention.grace_hours."
)
@_DRY_RUN
def retention_command(
    name: str | None,
    publications: int | None,
    days: int | None,
    grace_hours: int | None,
    dry_run: bool,
) -> None:
    """Delete blobs, staged references, refused lines and temporary files that are old and unnamed.

    What is kept is set under `retention` in surfaces.yaml. Whatever is live, or a kept publication
    names, stays. Safe to run while days are published.

    Exit codes: 0 done; 1 a surface could not be judged or is in use by another retention, and
    nothing of it was deleted; 2 the command line or the configuration is wrong.
    """
    from recsys_assets.operations.retention import left_behind, plan_retention, retain
    from recsys_assets.storage import open_store

    config = load_config()
    store, now = open_store(config.root), datetime.now(UTC)
    changes = {"publications": publications, "days": days, "grace_hours": grace_hours}
    keep = config.retention.model_copy(
        update={key: value for key, value in changes.items() if value is not None}
    )
    why, failed = _why("retention"), False
    for surface in config.selected(name):
        try:
            with progress(surface.name):
                plan = (
                    plan_retention(store, surface, keep, now=now)
                    if dry_run
                    else retain(store, surface, keep, why)
                )
        except StoreUnavailableError:
            raise
        except RecsysAssetsError as error:  # of this surface; the others are not affected
            click.echo(printable(f"Error: {surface.name}: {error}"), err=True)
            failed = True
            continue
        for stored in plan.going:
            if dry_run:
                click.echo(printable(f"{store.uri(stored.key)}  {stored.modified:%Y-%m-%d}"))
        click.echo(
            f"{surface.name}: {len(plan.blobs)} blobs, {len(plan.staged)} staged references, "
            f"{len(plan.rejected)} files of refused lines, {len(plan.counts)} of counts, "
            f"{plan.size_bytes:,} bytes{' would go' if dry_run else ' deleted'}; "
            f"{plan.kept_blobs} blobs stay"
        )
    abandoned = list(left_behind(store, keep, now=now))
    for stored in abandoned:
        if not dry_run:
            store.delete(stored.key)
    click.echo(f"{len(abandoned)} temporary files {'would go' if dry_run else 'deleted'}")
    if failed:
        sys.exit(1)


COMMANDS: Final = (
    history_command,
    at_command,
    diff_command,
    trace_command,
    rollback_command,
    pin_command,
    release_command,
    verify_command,
    retention_command,
)


def _open(name: str) -> tuple[Surface, Store]:
    from recsys_assets.storage import open_store

    config = load_config()
    return config.surface(name), open_store(config.root)


def _why(reason: str) -> Why:
    from recsys_assets.storage.publications import Why, actor

    return Why(f"command-{uuid.uuid4()}", actor(), reason)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # OverflowError: an offset from the first or last moment
        raise ConfigError(f"--time {text!r} is no ISO 8601 time, as 2026-01-05T12:00") from None


def _row(publication: Publication) -> dict[str, str]:
    return {
        "gen": str(publication.generation),
        "action": publication.action + (" (pinned)" if publication.pinned else ""),
        "window": _days(publication),
        "when": publication.published_at[:19] + "Z",
        "who": publication.who,
        "reason": publication.reason,
        "run": publication.run_id,
    }


def _days(publication: Publication) -> str:
    return window_text(publication.window.to_json())


def _print_differences(differences: Sequence[Difference], title: str) -> None:
    from recsys_assets.operations.compare import as_rows

    if differences:
        print_rows(as_rows(differences), title=title)
    else:
        click.echo(printable(f"{title}: {_NO_CHANGE}"))


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=1, default=str))


def _print_trace(found: Trace, name: str) -> None:
    publication, record = found.publication, found.record or {}
    print_rows(
        [
            {"what": "live since", "is": publication["published_at"]},
            {
                "what": "published by",
                "is": f"generation {publication['generation']}, {publication['action']}, run "
                f"{publication['run_id']}, {publication['who']}: {publication['reason']}",
            },
            {"what": "blob", "is": found.uri},
            {
                "what": "built",
                "is": f"{record.get('built_at', '?')}, run {record.get('run_id', '?')}",
            },
            {"what": "source hash", "is": str(record.get("source_hash", "?"))},
            {
                "what": "inputs",
                "is": "as they were" if found.is_current else "changed since it was built",
            },
        ],
        title=f"{name} {found.kind}{f' of {found.owner}' if found.owner else ''}",
    )
    for day in found.days:
        title = f"{day.day}: {day.uri}, fingerprint {day.fingerprint or 'none: it is not there'}"
        rows = [
            {
                "raw file": file.file.name,
                "bytes": f"{file.file.size_bytes:,}",
                "sha256": file.file.sha256,
                "now": file.now,
                "events": "" if file.events is None else f"{file.events:,}",
                "from line": "" if file.first_line is None else str(file.first_line),
            }
            for file in day.files
        ]
        if rows:
            print_rows(rows, title=title)
        else:
            click.echo(printable(title))
