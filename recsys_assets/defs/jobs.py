"""The operations on what is published as Dagster jobs: typed in the Launchpad, on the record.

Each does what the command of the same name does. The flip is shown on the page of `live`.
"""

# No postponed annotations here: Dagster reads the types of an op's arguments when it is declared.
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

import dagster as dg
from pydantic import Field, create_model

from recsys_assets.config import Config
from recsys_assets.defs.internals import MAX_RETRIES
from recsys_assets.defs.job_settings import (
    EraseConfig,
    OverrideConfig,
    PinConfig,
    ReleaseConfig,
    RetentionConfig,
    RollbackConfig,
    VerifyConfig,
)
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.defs.schedules import schedule_of
from recsys_assets.errors import InputError, RecsysAssetsError
from recsys_assets.live.compare import as_rows
from recsys_assets.live.verify import verify_each
from recsys_assets.operations import pointer
from recsys_assets.operations.overrides import override_gates
from recsys_assets.operations.retention import Plan, retain_each, sweep
from recsys_assets.pages import Json, Shown, table
from recsys_assets.storage import open_store
from recsys_assets.storage.flips import actor
from recsys_assets.storage.publications import Live, Why

_DRY_RUN_TAG = {"recsys_assets/dry_run": "true"}
_NOTHING_CHANGED = "dry run: nothing was changed; launch it with dry_run: false to do it"
_SHOWN = 50
# A run that was killed is not started again by itself: `previous` would be another one by then.
_TAGS = {MAX_RETRIES: "0"}


def roll_back(context: dg.OpExecutionContext, config: RollbackConfig, settings: Config) -> None:
    """Verify the target, show what changes, and make it live."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        plan = pointer.plan_rollback(store, surface, to=config.to, kind=config.kind, pin=config.pin)
        shown: dict[str, Shown] = {
            "to_generation": plan.target.generation,
            "to_day": str(plan.target.window.last_day),
            "changes": table(as_rows(plan.differences)),
        }
        if plan.denied:
            shown["denied_items"] = plan.denied
        if config.dry_run:
            _show_dry_run(context, shown)
            return
        why = _why(context, config.who, config.reason)
        outcome, live = pointer.roll_back(store, plan, why, force=config.force)
        _show(context, live, {"outcome": outcome, **shown})


def pin_surface(context: dg.OpExecutionContext, config: PinConfig, settings: Config) -> None:
    """Pin the surface."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        why = _why(context, config.who, config.reason)
        outcome, live = pointer.pin(store, surface, why, force=config.force)
        _show(context, live, {"outcome": outcome})


def release_surface(
    context: dg.OpExecutionContext, config: ReleaseConfig, settings: Config
) -> None:
    """Release the surface, and publish the newest day that was held back."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        if config.dry_run:
            pinned, held = pointer.plan_release(store, surface)
            _show_dry_run(context, {"pinned": pinned, **(_found(held, config) if held else {})})
            return
        released = pointer.release(
            store, surface, _why(context, config.who, config.reason), force=config.force
        )
        shown: dict[str, Shown] = {"outcome": released.outcome}
        if released.next_day:
            shown |= {
                "next_day": str(released.next_day),
                "next_day_outcome": released.next_outcome,
            }
        _show(context, released.live, shown)
    if not released.succeeded:
        raise dg.Failure(
            f"{surface.name} is released, but {released.next_day} is not live: "
            f"{released.next_outcome}",
            allow_retries=False,
        )


def _found(held: pointer.HeldBack, config: ReleaseConfig) -> dict[str, Shown]:
    """Show the day that a release would publish, and what its checks find."""
    verdicts = held.audited.verdicts.items()
    return {
        "next_day": str(held.day),
        "next_day_outcome": f"would be {held.would_be(force=config.force)}",
        "found": table(
            [
                {"check": check, "outcome": found.outcome, "found": found.description or ""}
                for check, found in verdicts
            ]
        ),
    }


def override_day(context: dg.OpExecutionContext, config: OverrideConfig, settings: Config) -> None:
    """Record that the day is accepted, whatever these gates find; materialize it then."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        done = override_gates(
            store,
            surface,
            _day(config.day),
            config.checks,
            _why(context, config.who, config.reason),
            ahead=config.ahead,
            restart_baseline=config.restart_baseline,
        )
    context.add_output_metadata(as_metadata({"override": Json(done.to_json())}))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"day: {text!r} is no day, YYYY-MM-DD") from None


def verify_publications(
    context: dg.OpExecutionContext, config: VerifyConfig, settings: Config
) -> None:
    """Verify surface by surface; fail at the end when something was found, or was passed over."""
    with _plain_failures():
        verified = list(
            verify_each(
                open_store(settings.root),
                settings.selected(config.surface),
                last=config.last,
                grace_hours=config.grace_hours,
            )
        )
    blobs = sum(each.blobs for each in verified)
    findings = [
        {"surface": each.surface.name, **vars(finding)}
        for each in verified
        for finding in each.findings
    ]
    shown: dict[str, Shown] = {"blobs": blobs, "findings": len(findings)}
    problems = _skipped(settings, config.surface)
    if findings:
        found = ", ".join(f"{each['problem']} {each['uri']}" for each in findings[:3])
        problems.insert(0, f"{len(findings)} findings in {blobs} blobs: {found}")
    if problems:
        raise dg.Failure(
            "; ".join(problems),
            metadata=as_metadata({**shown, "shown": table(findings[:_SHOWN])}),
            allow_retries=False,
        )
    context.add_output_metadata(as_metadata(shown))


def delete_old(context: dg.OpExecutionContext, config: RetentionConfig, settings: Config) -> None:
    """Plan, and unless it is a dry run delete, surface by surface; then what killed runs left."""
    with _plain_failures():
        store, keep = open_store(settings.root), settings.retention
        why = _why(context, config.who, "retention")
        plans: list[Plan] = []
        problems = _skipped(settings, config.surface)
        for surface, found in retain_each(
            store, settings.selected(config.surface), keep, why, dry_run=config.dry_run
        ):
            if isinstance(found, Plan):
                plans.append(found)
            else:
                problems.append(f"{surface.name}: {found}")
        left_behind = sweep(store, keep, dry_run=config.dry_run, now=datetime.now(UTC))
        shown: dict[str, Shown] = {
            "blobs": sum(len(plan.blobs) for plan in plans),
            "staged": sum(len(plan.staged) for plan in plans),
            "rejected": sum(len(plan.rejected) for plan in plans),
            "counts": sum(len(plan.counts) for plan in plans),
            "profiles": sum(len(plan.profiles) for plan in plans),
            "compared": sum(len(plan.compared) for plan in plans),
            "left_behind": len(left_behind),
            "size_bytes": sum(plan.size_bytes for plan in plans),
            "uris": table(
                [
                    {"uri": store.uri(stored.key), "modified": str(stored.modified)}
                    for plan in plans
                    for stored in plan.going
                ][:_SHOWN]
            ),
        }
        if config.dry_run:
            _show_dry_run(context, shown)
        else:
            context.add_output_metadata(as_metadata({"outcome": "deleted", **shown}))
    if problems:
        raise dg.Failure("; ".join(problems), allow_retries=False)


def erase_from(context: dg.OpExecutionContext, config: EraseConfig, settings: Config) -> None:
    """Take persons, known by their keyed hashes, out of all that is stored."""
    # Not above: it takes SQLAlchemy, which definitions do without (`defs/internals.py`).
    from recsys_assets.defs.erase_job import erase_persons

    with _plain_failures():
        shown = erase_persons(context, config, settings)
    if config.dry_run:
        _show_dry_run(context, shown)
    else:
        context.add_output_metadata(as_metadata(shown))


def _skipped(settings: Config, name: str | None) -> list[str]:
    """Say what was passed over, if anything was, since its entry has a mistake."""
    skipped = settings.skipped(name)
    return [f"passed over: {settings.told(skipped)}"] if skipped else []


def build_jobs(config: Config) -> dg.Definitions:
    """Build the jobs and the retention schedule; `settings` is what they read surfaces from."""
    choice = _choice([surface.name for surface in config.surfaces])
    jobs = {name: _job(name, *row, choice) for name, row in _JOBS.items()}
    nightly = schedule_of(
        jobs["retention"],
        "retention_nightly",
        "30 3 * * *",
        "Retention of every surface at 03:30 UTC.",
        run_config={"ops": {"delete_old": {"config": {"dry_run": False}}}},
    )
    return dg.Definitions(
        jobs=[*jobs.values()], schedules=[nightly], resources={"settings": config}
    )


def _choice(names: Sequence[str]) -> Any:
    """Return the type of a setting that is one of these names: the Launchpad offers them."""
    # Dagster keeps types by their name for as long as the process lives: others need another.
    of_these = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    try:
        return StrEnum(f"Surface_{of_these}", [(name, name) for name in names])
    except ValueError:  # Python reserves names that begin and end with an underscore
        return str


_Operation = Callable[[dg.OpExecutionContext, Any, Any], None]
# Of each job: what it does, its settings, what it is. The name of the op stands in the
# configuration of runs that were launched.
_JOBS: Final[Mapping[str, tuple[str, _Operation, type[dg.Config], str]]] = {
    "rollback": (
        "roll_back",
        roll_back,
        RollbackConfig,
        "Make an earlier publication of a surface live again.",
    ),
    "pin": (
        "hold",
        pin_surface,
        PinConfig,
        "Hold what is live: later publishes are staged, not live, until release.",
    ),
    "release": (
        "let_go",
        release_surface,
        ReleaseConfig,
        "Let publishes through again, and publish the newest day that was held back.",
    ),
    "override_gates": (
        "override_day",
        override_day,
        OverrideConfig,
        "Have a day accepted that gates found unsound, once it is materialized again.",
    ),
    "verify": (
        "verify_publications",
        verify_publications,
        VerifyConfig,
        "Re-read what is published; fails when something is missing or altered.",
    ),
    "retention": (
        "delete_old",
        delete_old,
        RetentionConfig,
        "Delete what is old and named by nothing.",
    ),
    "erase": (
        "erase_from",
        erase_from,
        EraseConfig,
        "Erase persons, known by their keyed hashes, from a surface and its variants.",
    ),
}


def _job(
    name: str,
    op_name: str,
    operation: _Operation,
    settings: type[dg.Config],
    text: str,
    choice: Any,
) -> dg.JobDefinition:
    """Build a job of one op, whose surface is one of those that are configured."""
    known = settings.model_fields["surface"]
    surface: Any = choice if known.is_required() else choice | None
    field = Field(known.default, description=known.description)
    chosen = create_model(settings.__name__, __base__=settings, surface=(surface, field))

    def run(
        context: dg.OpExecutionContext, config: Any, settings: dg.ResourceParam[Config]
    ) -> None:
        operation(context, config, settings)

    run.__annotations__["config"] = chosen
    op = dg.op(name=op_name, description=operation.__doc__)(run)

    @dg.job(name=name, tags=_TAGS, description=text)
    def job() -> None:
        op()

    return job


def _why(context: dg.OpExecutionContext, who: str, reason: str) -> Why:
    return Why(context.run_id, who or actor(), reason)


def _show_dry_run(context: dg.OpExecutionContext, shown: Mapping[str, Shown]) -> None:
    """Show what would change, and say on the list of runs that nothing did."""
    context.instance.add_run_tags(context.run_id, _DRY_RUN_TAG)
    context.log.info(_NOTHING_CHANGED)
    context.add_output_metadata(as_metadata({"outcome": _NOTHING_CHANGED, **shown}))


def _show(context: dg.OpExecutionContext, live: Live, shown: Mapping[str, Shown]) -> None:
    """Show an operation in its run; the page of `live` shows the flip by itself."""
    publication = live.publication
    assert publication is not None  # noqa: S101 (operations refuse what has no record)
    context.add_output_metadata(
        as_metadata(
            {
                **shown,
                "action": publication.action,
                "generation": publication.generation,
                "pinned": publication.pinned,
                "who": publication.who,
                "reason": publication.reason,
                "live_day": str(publication.window.last_day),
                "current": Json(dict(live.current)),
            }
        )
    )


@contextmanager
def _plain_failures() -> Iterator[None]:
    """Turn an error that a person can act on into a failure without a stack and a retry."""
    try:
        yield
    except RecsysAssetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
