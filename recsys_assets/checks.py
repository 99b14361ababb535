"""Contract and guardrails: what is found out about one day, and the asset check results made of it.

A `Verdict` is about one check and one day. A run may cover many days, while Dagster takes one
result per check and run: `check_results` folds the verdicts of all days into one, with the failed
days in its metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

import dagster as dg
import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from recsys_assets import contracts
from recsys_assets.config import Guardrails, Surface
from recsys_assets.events.partition import StagedPartition
from recsys_assets.pages import table

MAX_SHOWN_ROWS: Final = 10

CONTRACT: Final = "contract"
FRESH: Final = "fresh"
INPUTS: Final = "inputs"
MAX_ARTIFACT_BYTES: Final = "max_artifact_bytes"
MAX_OVERSIZED_SESSION_SHARE: Final = "max_oversized_session_share"
PUBLISHABLE: Final = "publishable"
WINDOW_IS_COMPLETE: Final = "window_is_complete"
# Guardrails of a day of canonical events, in the order of the configuration.
EVENT_GUARDRAILS: Final = (
    "min_events",
    "max_events",
    "max_sessions",
    "max_distinct_items",
    "max_users",
    "max_rejected_share",
)

# Metadata that the command line reads back.
FAILED_PARTITIONS: Final = "failed_partitions"

_DESCRIPTIONS: Final = {
    FRESH: "What is live is as new as `freshness` of surfaces.yaml promises.",
    CONTRACT: "Every value, order and uniqueness rule of the contract in contracts.py holds.",
    INPUTS: "Everything the day is made of is there and can be read.",
    PUBLISHABLE: "Every kind is staged for the day, made of its accepted events, and unaltered.",
    WINDOW_IS_COMPLETE: "No older day of the trailing window is missing. A gap is tolerated.",
}


@dataclass(frozen=True)
class Verdict:
    """What one check found about one day; `rows` is a sample of what is wrong."""

    check: str
    passed: bool
    description: str = ""
    failures: int = 0
    rows: Sequence[Mapping[str, Any]] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


def runbook(check: str, docs_url: str | None = None) -> str:
    """Return where it is written what to do when a check fails.

    Args:
        check: its name.
        docs_url: where docs/ is served; None gives the path in the project instead of a URL.
    """
    if check == FRESH:
        page = "stale-artifacts"
    else:
        page = "validation-failed" if check in _DESCRIPTIONS else "limit-exceeded"
    return f"{runbook_page(page, docs_url)}#{check}"


def runbook_page(page: str, docs_url: str | None = None) -> str:
    """Return where a runbook is: a URL below where docs/ is served, or its path."""
    return f"{docs_url or 'docs'}/runbooks/{page}.md"


def describe(check: str, docs_url: str | None = None) -> str:
    """Return what a check guards, and where its runbook is."""
    description = _DESCRIPTIONS.get(check)
    if description is None:
        knob = Guardrails.model_fields[check]
        description = f"Guardrail `guardrails.{check}`: {knob.description}"
    where = runbook(check, docs_url)
    return description + (f" [Runbook]({where})" if docs_url else f" Runbook: `{where}`")


def check_spec(asset: dg.AssetKey, name: str, *, docs_url: str | None = None) -> dg.AssetCheckSpec:
    """Declare a check of an asset; every check blocks but the one that only warns."""
    blocking = name != WINDOW_IS_COMPLETE
    return dg.AssetCheckSpec(
        name, asset=asset, blocking=blocking, description=describe(name, docs_url)
    )


def hold_to_contract(contract: pa.DataFrameSchema, frame: pl.DataFrame) -> Verdict:
    """Validate a frame; reports every broken rule at once, with a sample of the offending rows."""
    if contracts.holds(contract, frame):
        return Verdict(CONTRACT, passed=True, numbers={"rows": frame.height})
    try:
        # A DataFrame on purpose: of a LazyFrame, pandera looks at the schema only, not at the
        # values.
        contract.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        rules = cases.group_by("check").len().sort("len", "check", descending=[True, False])
        broken = ", ".join(f"{rule} ({count})" for rule, count in rules.iter_rows())
        shown = cases.group_by("check", maintain_order=True).head(MAX_SHOWN_ROWS)
        columns = ["check", "column", "failure_case", "index"]
        return Verdict(
            CONTRACT,
            passed=False,
            description=f"{cases.height} cases break contract {contract.name!r}: {broken}",
            failures=cases.height,
            rows=shown.select(columns).head(MAX_SHOWN_ROWS).to_dicts(),
        )
    return Verdict(CONTRACT, passed=True, numbers={"rows": frame.height})


class GroupsHeld:
    """Holds a frame that is too large to look at at once to its contract, group by group.

    Each group is looked at together with the row before it, so that order holds across groups too.
    """

    def __init__(self, contract: pa.DataFrameSchema) -> None:
        self._contract = contract
        self._before: pl.DataFrame | None = None
        self.verdict = Verdict(CONTRACT, passed=True, numbers={"rows": 0})

    def holds(self, group: pl.DataFrame) -> bool:
        """Look at the next group, and tell whether all groups hold; not after one did not."""
        found = hold_to_contract(
            self._contract, group if self._before is None else pl.concat([self._before, group])
        )
        if found.passed:
            rows = self.verdict.numbers["rows"] + group.height
            found = Verdict(CONTRACT, passed=True, numbers={"rows": rows})
            self._before = group.tail(1) if group.height else self._before
        self.verdict = found
        return found.passed


def hold_groups_to_contract(
    contract: pa.DataFrameSchema, groups: Iterable[pl.DataFrame]
) -> Verdict:
    """Validate a frame group by group, up to the first bad one."""
    held = GroupsHeld(contract)
    for group in groups:
        if not held.holds(group):
            break
    return held.verdict


def at_most(
    limits: Guardrails, name: str, value: float, *, rows: Sequence[Mapping[str, Any]] = ()
) -> Verdict:
    """Hold a value to the upper limit of that name."""
    limit = getattr(limits, name)
    return Verdict(
        name,
        passed=value <= limit,
        description=f"guardrails.{name} is {limit:,}, found {_figure(value, limit)}",
        failures=int(value > limit),
        rows=rows if value > limit else (),
        numbers={"value": value, "limit": limit},
    )


def too_many_days(limits: Guardrails, check: str, days: Sequence[date]) -> Verdict | None:
    """Return the failed check of a run over more days than it may cover, or None."""
    if len(days) <= limits.max_backfill_days:
        return None
    description = (
        f"guardrails.max_backfill_days is {limits.max_backfill_days:,}, asked for {len(days):,} "
        f"days, {days[0]} to {days[-1]}: nothing was materialized. Launch fewer days at a time, or "
        "raise the limit."
    )
    return Verdict(check, passed=False, description=description, failures=1)


def judge_events(
    surface: Surface, staged: StagedPartition, distinct: Mapping[str, int]
) -> list[Verdict]:
    """Hold a staged day of canonical events to its guardrails.

    Args:
        surface: whose limits apply.
        staged: the day.
        distinct: number of distinct `session_id`, `item_id` and `user_id` in it.
    """
    limits = surface.guardrails
    nothing_landed = (
        f"; no raw file matches {surface.raw_pattern(staged.day)!r} below {surface.source.path}"
        if not staged.files
        else f"; {staged.lines:,} raw lines: {staged.refused.total():,} refused, "
        f"{staged.outside_window:,} outside the day, {staged.other_surface:,} of other surfaces, "
        f"{staged.redelivered:,} redelivered"
    )
    enough = staged.events >= limits.min_events
    return [
        Verdict(
            "min_events",
            passed=enough,
            description=f"guardrails.min_events is {limits.min_events:,}, found {staged.events:,}"
            + nothing_landed,
            failures=int(not enough),
            numbers={"value": staged.events, "limit": limits.min_events},
        ),
        at_most(limits, "max_events", staged.events),
        at_most(limits, "max_sessions", distinct["session_id"]),
        at_most(limits, "max_distinct_items", distinct["item_id"]),
        at_most(limits, "max_users", distinct["user_id"]),
        _few_refused(limits, staged),
    ]


def _few_refused(limits: Guardrails, staged: StagedPartition) -> Verdict:
    found = at_most(limits, "max_rejected_share", staged.rejected_share, rows=staged.first_refused)
    # A day that is blocked has no metadata that would count them.
    reasons = ", ".join(
        f"{reason} ({count:,})" for reason, count in (+staged.refused).most_common()
    )
    return replace(found, description=f"{found.description}: {reasons}") if reasons else found


def _figure(value: float, limit: float) -> str:
    """Write a value short, but never so short that it looks like a limit it exceeds."""
    if isinstance(value, int):
        return f"{value:,}"
    short = f"{value:.4g}"
    return short if float(short) != limit or value == limit else repr(value)


def check_results(verdicts: Mapping[date, Iterable[Verdict]]) -> list[dg.AssetCheckResult]:
    """Fold the verdicts of all days of a run into one result per check."""
    by_check: dict[str, list[tuple[date, Verdict]]] = {}
    for day, found in verdicts.items():
        for verdict in found:
            by_check.setdefault(verdict.check, []).append((day, verdict))
    return [_fold(check, found) for check, found in by_check.items()]


def _fold(check: str, found: list[tuple[date, Verdict]]) -> dg.AssetCheckResult:
    failed = [(day, verdict) for day, verdict in found if not verdict.passed]
    metadata: dict[str, Any] = {
        "partition": str(found[0][0]) if len(found) == 1 else f"{found[0][0]} to {found[-1][0]}",
        "partitions": len(found),
    }
    description = found[0][1].description if len(found) == 1 else ""
    if failed:
        description = f"{failed[0][0]}: {failed[0][1].description}"
        if len(failed) > 1:
            description = f"{len(failed)} of {len(found)} days failed; {description}"
        metadata[FAILED_PARTITIONS] = dg.MetadataValue.json(
            {str(day): verdict.description for day, verdict in failed}
        )
        metadata["failures"] = sum(verdict.failures for _, verdict in failed)
        rows = [{"day": day, **row} for day, verdict in failed for row in verdict.rows]
        if rows:
            metadata["sample"] = table(rows[:MAX_SHOWN_ROWS])
    if len(found) == 1:
        metadata.update(found[0][1].numbers)
    return dg.AssetCheckResult(
        check_name=check,
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN
        if check == WINDOW_IS_COMPLETE
        else dg.AssetCheckSeverity.ERROR,
        description=description or None,
        metadata=metadata,
    )
