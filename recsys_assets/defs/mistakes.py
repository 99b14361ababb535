"""What stands in the UI in place of a surface whose entry in surfaces.yaml has a mistake.

One asset, `mistake`, that says what is wrong, and a check of it that fails until it is corrected.
The job `check_freshness` runs the check, so it is red, and reported, as a stale surface is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dagster as dg

from recsys_assets.config import Broken, Config
from recsys_assets.defs.keys import asset_key
from recsys_assets.texts import as_markdown
from recsys_assets.verdicts import Check, failed

NAME: Final = "mistake"
MISTAKE: Final = Check(
    NAME,
    (),  # no asset of a surface that is built has it
    "The entry of the surface in surfaces.yaml has no mistake.",
    "validation-failed",
    failed,
)


def mistake_key(broken: Broken) -> dg.AssetKey:
    """Return `[tenant, surface, "mistake"]`, or what fits when the entry does not say whose it is.

    Two parts then: no surface has such a key.
    """
    if broken.place:
        return asset_key(broken.place, NAME)
    return dg.AssetKey([NAME, broken.name.replace(" ", "_")])


def _group(broken: Broken) -> str | None:
    return broken.place.group if broken.place else None


def build_mistakes(config: Config) -> tuple[list[dg.AssetSpec], list[dg.AssetChecksDefinition]]:
    """Build the asset and the check of every surface that has a mistake."""
    by_group: dict[str, list[Broken]] = {}
    for broken in config.broken:  # entries that look the same in Dagster are shown as one
        by_group.setdefault(_group(broken) or broken.name, []).append(broken)
    specs, checks = [], []
    for same in by_group.values():
        key = mistake_key(same[0])
        problems = list(dict.fromkeys(line for broken in same for line in broken.problems))
        specs.append(_placeholder(key, same[0], problems))
        checks.append(_check(key, problems, config.docs_url))
    return specs, checks


def _placeholder(key: dg.AssetKey, broken: Broken, problems: Sequence[str]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        description="\n".join(
            [
                "Nothing is done for this surface until its entry in surfaces.yaml is corrected:",
                "",
                *(f"- {as_markdown(problem)}" for problem in problems),
            ]
        ),
        group_name=_group(broken) or NAME,
        kinds={"yaml"},
    )


def _check(
    key: dg.AssetKey, problems: Sequence[str], docs_url: str | None
) -> dg.AssetChecksDefinition:
    # blocking: nothing is downstream, but only a blocking check turns its run red.
    @dg.asset_check(
        asset=key,
        name=MISTAKE.name,
        blocking=MISTAKE.blocks,
        description=MISTAKE.description(docs_url),
    )
    def check_entry() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description=as_markdown("; ".join(problems)))

    return check_entry
