"""What stands in the UI in place of a surface whose entry in surfaces.yaml has a mistake.

One asset, `mistake`, that says what is wrong, and a check of it that fails until it is corrected.
A sensor turns it red by itself. The job `check_freshness` runs it too, so the mistake is reported
as a stale surface is.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
import json
from collections.abc import Mapping, Sequence
from typing import Final

import dagster as dg

from recsys_assets.config import Broken, Config
from recsys_assets.defs.checks import declared
from recsys_assets.defs.keys import asset_key
from recsys_assets.texts import as_markdown
from recsys_assets.verdicts import Check, failed

_INTERVAL_S = 30
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


def build_mistakes(config: Config) -> tuple[dg.Definitions, list[dg.AssetChecksDefinition]]:
    """Build the asset of every surface that has a mistake and a sensor that tells of them.

    With them comes the check of each, which belongs to a job.
    """
    by_group: dict[str, list[Broken]] = {}
    for broken in config.broken:  # entries that look the same in Dagster are shown as one
        by_group.setdefault(_group(broken) or broken.name, []).append(broken)
    problems = {
        mistake_key(same[0]): list(dict.fromkeys(line for each in same for line in each.problems))
        for same in by_group.values()
    }
    specs = [
        _placeholder(key, same[0], problems[key])
        for key, same in zip(problems, by_group.values(), strict=True)
    ]
    texts = {key: as_markdown("; ".join(lines)) for key, lines in problems.items()}
    return (
        dg.Definitions(assets=specs, sensors=[_sensor(texts)] if texts else []),
        [_check(key, text, config.docs_url) for key, text in texts.items()],
    )


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


def _check(key: dg.AssetKey, text: str, docs_url: str | None) -> dg.AssetChecksDefinition:
    @declared(key, MISTAKE, docs_url)
    def check_entry() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description=text)

    return check_entry


def _sensor(texts: Mapping[dg.AssetKey, str]) -> dg.SensorDefinition:
    """Build what turns the checks red as soon as there is a daemon, with no schedule started."""
    told = json.dumps({key.to_user_string(): text for key, text in texts.items()})

    @dg.sensor(
        name="mistakes",
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Turns the check `mistake` red of each surface that has one. It only tells.",
    )
    def mistakes(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if context.cursor == told:
            return dg.SkipReason(f"told already: {len(texts)} surfaces have a mistake")
        evaluations = [
            dg.AssetCheckEvaluation(
                asset_key=key, check_name=MISTAKE.name, passed=False, description=text
            )
            for key, text in texts.items()
        ]
        return dg.SensorResult(
            asset_events=evaluations,
            skip_reason=f"{len(texts)} surfaces have a mistake",
            cursor=told,
        )

    return mistakes
