"""The check `fresh` of what is live, for every surface, and the job and schedule that run it.

Where the entry of a surface has a mistake, its check `mistake` takes the place of `fresh`.

It is a check of `live`, which nothing materializes, and not of `manifest`: Dagster runs every check
of an asset whenever it materializes the asset, and a backfill of old days would fail by it.
"""

# No postponed annotations here: Dagster reads the types of a check's arguments.
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from recsys_assets.audit.checks import checks_of
from recsys_assets.config import Config, Surface
from recsys_assets.defs.checks import declared, severity
from recsys_assets.defs.keys import asset_key
from recsys_assets.defs.mistakes import build_mistakes
from recsys_assets.defs.schedules import schedule_of
from recsys_assets.live.status import surface_status
from recsys_assets.storage import open_store
from recsys_assets.texts import as_markdown
from recsys_assets.verdicts import Check, complete, judge

CHECK_FRESHNESS: Final = "check_freshness"


def build_freshness(
    config: Config, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.Definitions:
    """Build the check of every surface, one job over all of them, and its schedule.

    With them come the assets of surfaces that have a mistake.

    Args:
        config: the surfaces, and where what is live is read.
        clock: gives the time of each check.
    """
    mistakes, checks_of_mistakes = build_mistakes(config)
    checks = [
        _check(config, surface, check, clock)
        for surface in config.surfaces
        for check in checks_of(surface, "live")
    ]
    checks += checks_of_mistakes
    job = dg.define_asset_job(
        CHECK_FRESHNESS,
        selection=dg.AssetSelection.checks(*checks),
        description="Hold what is live of every surface to its `freshness`; changes nothing.",
    )
    hourly = schedule_of(
        job,
        "freshness_hourly",
        "5 * * * *",
        "The check `fresh` of every surface, at minute 5 of every hour.",
    )
    return dg.Definitions.merge(
        mistakes, dg.Definitions(asset_checks=checks, jobs=[job], schedules=[hourly])
    )


def _check(
    config: Config, surface: Surface, check: Check, clock: Callable[[], datetime]
) -> dg.AssetChecksDefinition:
    @declared(asset_key(surface, "live"), check, config.docs_url)
    def check_live() -> dg.AssetCheckResult:
        status = surface_status(open_store(config.root), surface, now=clock())
        verdict = complete([check], judge([check], status))[check.name]
        return dg.AssetCheckResult(
            passed=verdict.passed,
            severity=severity(check, [] if verdict.passed else [verdict]),
            description=as_markdown(verdict.description),
            metadata=dict(verdict.numbers),
        )

    return check_live
