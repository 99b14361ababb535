"""The operations on what is published as Dagster jobs: typed in the Launchpad, on the record.

Each does what the command of the same name does. What changed is shown on the asset page of the
surface's manifest.
"""

# No postponed annotations here: Dagster reads the types of an op's arguments when it is declared.
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field

from recsys_assets.config import Config, Surface
from recsys_assets.defs.keys import MANIFEST, asset_key
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.defs.schedules import schedule_of
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.live.compare import as_rows
from recsys_assets.live.verify import verify_each
from recsys_assets.operations import pointer
from recsys_assets.operations.retention import Plan, retain_each, sweep
from recsys_assets.pages import Json, Shown, table
from recsys_assets.storage import open_store
from recsys_assets.storage.flips import actor
from recsys_assets.storage.publications import Live, Why
from recsys_assets.texts import as_markdown

_SURFACE = Field(description="tenant/surface, as in surfaces.yaml.")
_SURFACES = Field(default=None, description="tenant/surface; every surface when left out.")
_REASON = Field(description="Why, for whoever reads the history: an incident, a ticket.")
_WHO = Field(default="", description="Who asks for it. Left out: who the run runs as.")
_DRY_RUN = Field(default=False, description="Only show what would change.")
_SHOWN = 50
# A run that was killed is not started again by itself: `previous` would be another one by then.
_TAGS = {"dagster/max_retries": "0"}


class RollbackConfig(dg.Config):
    """Which surface to roll back, to what, and why."""

    surface: str = _SURFACE
    reason: str = _REASON
    to: str = Field(
        default="previous",
        description=(
            "`previous`, a generation of the history, or a day that was live (YYYY-MM-DD)."
        ),
    )
    kind: str | None = Field(
        default=None, description="The only kind to roll back; the whole manifest when left out."
    )
    pin: bool = Field(
        default=False, description="Hold it: later publishes are staged, not live, until release."
    )
    dry_run: bool = _DRY_RUN
    who: str = _WHO


class PinConfig(dg.Config):
    """Which surface to pin, and why."""

    surface: str = _SURFACE
    reason: str = _REASON
    who: str = _WHO


class ReleaseConfig(PinConfig):
    """Which surface to release, and why."""


class VerifyConfig(dg.Config):
    """What to verify."""

    surface: str | None = _SURFACES
    last: int = Field(default=10, ge=1, description="Publications to go back, the live one too.")
    grace_hours: int = Field(
        default=24,
        ge=0,
        le=876_000,
        description="Age from which a blob that nothing names is reported.",
    )


class RetentionConfig(dg.Config):
    """What to delete; what is kept is set in surfaces.yaml."""

    surface: str | None = _SURFACES
    dry_run: bool = _DRY_RUN
    who: str = _WHO


@dg.op
def roll_back(
    context: dg.OpExecutionContext, config: RollbackConfig, settings: dg.ResourceParam[Config]
) -> None:
    """Verify the target, show what changes, and make it live."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        plan = pointer.plan_rollback(store, surface, to=config.to, kind=config.kind, pin=config.pin)
        shown: dict[str, Shown] = {
            "to_generation": plan.target.generation,
            "to_day": str(plan.target.window.last_day),
            "changes": table(as_rows(plan.differences)),
        }
        if config.dry_run:
            context.add_output_metadata(as_metadata({"outcome": "dry run", **shown}))
            return
        outcome, live = pointer.roll_back(store, plan, _why(context, config.who, config.reason))
        _show(context, surface, live, {"outcome": outcome, **shown})


@dg.op(name="hold")  # as it stands in the configuration of runs that were launched
def pin_surface(
    context: dg.OpExecutionContext, config: PinConfig, settings: dg.ResourceParam[Config]
) -> None:
    """Pin the surface."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        outcome, live = pointer.pin(store, surface, _why(context, config.who, config.reason))
        _show(context, surface, live, {"outcome": outcome})


@dg.op(name="let_go")
def release_surface(
    context: dg.OpExecutionContext, config: ReleaseConfig, settings: dg.ResourceParam[Config]
) -> None:
    """Release the surface, and publish the newest day that was held back."""
    with _plain_failures():
        surface, store = settings.surface(config.surface), open_store(settings.root)
        released = pointer.release(store, surface, _why(context, config.who, config.reason))
        shown: dict[str, Shown] = {"outcome": released.outcome}
        if released.next_day:
            shown |= {
                "next_day": str(released.next_day),
                "next_day_outcome": released.next_outcome,
            }
        _show(context, surface, released.live, shown)
    if not released.succeeded:
        raise dg.Failure(
            f"{surface.name} is released, but {released.next_day} is not live: "
            f"{released.next_outcome}",
            allow_retries=False,
        )


@dg.op
def verify_publications(
    context: dg.OpExecutionContext, config: VerifyConfig, settings: dg.ResourceParam[Config]
) -> None:
    """Verify surface by surface; fail at the end when something was found."""
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
    if findings:
        found = ", ".join(f"{each['problem']} {each['uri']}" for each in findings[:3])
        raise dg.Failure(
            f"{len(findings)} findings in {blobs} blobs: {found}",
            metadata=as_metadata({**shown, "shown": table(findings[:_SHOWN])}),
            allow_retries=False,
        )
    context.add_output_metadata(as_metadata(shown))


@dg.op
def delete_old(
    context: dg.OpExecutionContext, config: RetentionConfig, settings: dg.ResourceParam[Config]
) -> None:
    """Plan, and unless it is a dry run delete, surface by surface; then what killed runs left."""
    with _plain_failures():
        store, keep = open_store(settings.root), settings.retention
        why = _why(context, config.who, "retention")
        plans: list[Plan] = []
        problems = []
        for surface, found in retain_each(
            store, settings.selected(config.surface), keep, why, dry_run=config.dry_run
        ):
            if isinstance(found, Plan):
                plans.append(found)
            else:
                problems.append(f"{surface.name}: {found}")
        left_behind = sweep(store, keep, dry_run=config.dry_run, now=datetime.now(UTC))
        shown: dict[str, Shown] = {
            "outcome": "dry run" if config.dry_run else "deleted",
            "blobs": sum(len(plan.blobs) for plan in plans),
            "staged": sum(len(plan.staged) for plan in plans),
            "rejected": sum(len(plan.rejected) for plan in plans),
            "counts": sum(len(plan.counts) for plan in plans),
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
        context.add_output_metadata(as_metadata(shown))
    if problems:
        raise dg.Failure("; ".join(problems), allow_retries=False)


@dg.job(tags=_TAGS, description="Make an earlier publication of a surface live again.")
def rollback() -> None:
    """Roll back."""
    roll_back()


@dg.job(
    tags=_TAGS,
    description="Hold what is live: later publishes are staged, not live, until release.",
)
def pin() -> None:
    """Pin."""
    pin_surface()


@dg.job(
    tags=_TAGS,
    description="Let publishes through again, and publish the newest day that was held back.",
)
def release() -> None:
    """Release."""
    release_surface()


@dg.job(
    tags=_TAGS, description="Re-read what is published; fails when something is missing or altered."
)
def verify() -> None:
    """Verify."""
    verify_publications()


@dg.job(name="retention", tags=_TAGS, description="Delete what is old and named by nothing.")
def retention_job() -> None:
    """Delete."""
    delete_old()


def build_jobs(config: Config) -> dg.Definitions:
    """Build the jobs and the retention schedule; `settings` is what they read surfaces from."""
    nightly = schedule_of(
        retention_job,
        "retention_nightly",
        "30 3 * * *",
        "Retention of every surface at 03:30 UTC.",
    )
    return dg.Definitions(
        jobs=[rollback, pin, release, verify, retention_job],
        schedules=[nightly],
        resources={"settings": config},
    )


def _why(context: dg.OpExecutionContext, who: str, reason: str) -> Why:
    return Why(context.run_id, who or actor(), reason)


def _show(
    context: dg.OpExecutionContext, surface: Surface, live: Live, shown: Mapping[str, Shown]
) -> None:
    """Show an operation in its run, and on the asset page of the manifest."""
    publication = live.publication
    assert publication is not None  # noqa: S101 (operations refuse what has no record)
    last_day = str(publication.window.last_day)
    metadata = as_metadata(
        {
            **shown,
            "action": publication.action,
            "generation": publication.generation,
            "pinned": publication.pinned,
            "who": publication.who,
            "reason": publication.reason,
            "live_day": last_day,
            "current": Json(dict(live.current)),
        }
    )
    context.add_output_metadata(metadata)
    context.log_event(
        dg.AssetObservation(
            asset_key(surface, MANIFEST),
            partition=last_day,
            metadata=metadata,
            description=as_markdown(
                f"{publication.action} by {publication.who}: {publication.reason}"
            ),
        )
    )


@contextmanager
def _plain_failures() -> Iterator[None]:
    """Turn an error that a person can act on into a failure without a stack and a retry."""
    try:
        yield
    except RecsysAssetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
