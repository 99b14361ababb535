"""Checks and verdicts to Dagster's asset checks.

A verdict is about one check and one day. A run may cover many days, while Dagster takes one result
per check and run: the verdicts of all days are folded into one, with the failed days in its
metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

import dagster as dg

from recsys_assets.audit.contract import MAX_SHOWN_ROWS
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.pages import Json, table
from recsys_assets.texts import as_markdown
from recsys_assets.verdicts import Check, Verdict
from recsys_assets.windows import span_text

# Metadata that the command line and the failure reports read back.
FAILED_PARTITIONS: Final = "failed_partitions"
WARNED_PARTITIONS: Final = "warned_partitions"
PARTITIONS: Final = "partitions"
# Columns of samples that hold no id of a user, a session or a request, and no raw line.
_OF_NOBODY: Final = frozenset(
    {
        *("day", "check", "column", "index", "file", "line", "reason"),
        *("kind", "problem", "item", "events", "usually"),
    }
)
SAMPLE: Final = "sample"


def check_spec(
    asset: dg.AssetKey, check: Check, *, docs_url: str | None = None
) -> dg.AssetCheckSpec:
    """Declare a check of an asset."""
    return dg.AssetCheckSpec(
        check.name, asset=asset, blocking=check.blocks, description=check.description(docs_url)
    )


def declared(
    asset: dg.AssetKey, check: Check, docs_url: str | None
) -> Callable[[Callable[[], dg.AssetCheckResult]], dg.AssetChecksDefinition]:
    """Declare a check that runs by itself, of an asset that nothing here materializes.

    Nothing is downstream of it, but only a blocking check turns its run red.
    """
    return dg.asset_check(
        asset=asset,
        name=check.name,
        blocking=check.blocks,
        description=check.description(docs_url),
    )


def check_results(
    checks: Iterable[Check],
    verdicts: Mapping[date, Mapping[str, Verdict]],
    *,
    show_ids: bool = True,
) -> list[dg.AssetCheckResult]:
    """Fold the verdicts of all days of a run into one result per check.

    A check that was skipped on a day that is refused is left out there: it has not looked.

    Args:
        checks: of an asset.
        verdicts: by day and check.
        show_ids: whether samples show all columns, or those of which it is known that nobody's id
            stands in them.
    """
    results = []
    for check in checks:
        found = [
            (day, of_day[check.name])
            for day, of_day in verdicts.items()
            if check.name in of_day and not _has_not_looked(of_day, of_day[check.name])
        ]
        if found:
            results.append(_fold(check, found, show_ids=show_ids))
    return results


def _has_not_looked(of_day: Mapping[str, Verdict], verdict: Verdict) -> bool:
    is_refused = any(each.outcome == "failed" for each in of_day.values())
    return verdict.outcome == "skipped" and is_refused


def _fold(
    check: Check, found: Sequence[tuple[date, Verdict]], *, show_ids: bool
) -> dg.AssetCheckResult:
    bad = [(day, verdict) for day, verdict in found if verdict.outcome == "failed"]
    warned = [(day, verdict) for day, verdict in found if verdict.outcome == "warned"]
    wrong = bad or warned  # days that were published are not told among those that were refused
    outcomes = {FAILED_PARTITIONS: bad, WARNED_PARTITIONS: warned}
    by_day = {
        name: {str(day): verdict.description for day, verdict in days}
        for name, days in outcomes.items()
        if days
    }
    metadata: dict[str, Any] = {
        "partition": span_text(found[0][0], found[-1][0]),
        PARTITIONS: len(found),
    }
    description = found[0][1].description if len(found) == 1 else ""
    if wrong:
        first = next(iter(by_day.values()))
        description = told(first, days=len(found), what="failed" if bad else "warned")
        metadata |= as_metadata({name: Json(days) for name, days in by_day.items()})
        metadata["failures"] = sum(verdict.failures for _, verdict in wrong)
        rows = [{"day": day, **row} for day, verdict in wrong for row in verdict.rows]
        if rows:
            personal = {name for row in rows for name in row} - _OF_NOBODY
            sample = table(rows[:MAX_SHOWN_ROWS], personal=personal)
            metadata |= as_metadata({SAMPLE: sample}, show_ids=show_ids)
    if len(found) == 1:
        metadata.update(found[0][1].numbers)
    return dg.AssetCheckResult(
        check_name=check.name,
        passed=not wrong,
        severity=severity(check, [verdict for _, verdict in wrong]),
        description=as_markdown(description) or None,
        metadata=metadata,
    )


def told(by_day: Mapping[str, str], *, days: int, what: str) -> str:
    """Say how many of the days failed, or warned, and why the first of them did."""
    day, text = next(iter(by_day.items()))
    first = f"{day}: {text}"
    return first if len(by_day) == 1 else f"{len(by_day)} of {days} days {what}; {first}"


def severity(check: Check, wrong: Sequence[Verdict]) -> dg.AssetCheckSeverity:
    """Return the worst of what did not pass: Dagster stops at an error only."""
    if any(verdict.outcome == "failed" for verdict in wrong):
        return dg.AssetCheckSeverity.ERROR
    only_warns = bool(wrong) or not check.blocks
    return dg.AssetCheckSeverity.WARN if only_warns else dg.AssetCheckSeverity.ERROR
