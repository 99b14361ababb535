"""When a day of an asset is materialized by itself: because what it is made of has changed."""

from __future__ import annotations

from typing import Any

import dagster as dg

from recsys_assets.defs.internals import LANDED

# What a run makes that a landing sensor asked for, it makes to the end: whole, or red.
_NEWLY_UPDATED = (
    dg.AutomationCondition.newly_updated()
    & ~dg.AutomationCondition.executed_with_root_target()
    & ~dg.AutomationCondition.all_new_updates_have_run_tags(tag_keys={LANDED})
).with_label("newly_updated_by_others")

# Dagster takes a request, and the end of a run, as the answer to whatever it sees at its next look,
# also to what came after them. So a file that lands in between would be forgotten, and with it what
# it changes. It knows when something was updated only of these two, not of a mixture.
_UPDATED_LATER = (
    dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
    .since(dg.AutomationCondition.newly_updated())
    .with_label("a_dep_was_updated_later")
)
_TO_BE_UPDATED = dg.AutomationCondition.any_deps_match(
    dg.AutomationCondition.will_be_requested()
).with_label("a_dep_will_be_requested")
_MADE = (dg.AutomationCondition.newly_updated() & ~_UPDATED_LATER & ~_TO_BE_UPDATED).with_label(
    "made_of_what_there_is"
)

# As Dagster's `eager`, of which two things are left out. It looks at the newest day only; late data
# lands for older ones. And it asks for what is missing; a day that failed is missing too.
ANY_DAY = (
    dg.AutomationCondition.any_deps_match(
        _NEWLY_UPDATED | dg.AutomationCondition.will_be_requested()
    )
    .with_label("any_deps_updated")
    .since(
        (
            (dg.AutomationCondition.newly_requested() & ~_TO_BE_UPDATED)
            | _MADE
            | dg.AutomationCondition.initial_evaluation()
        ).with_label("handled")
    )
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("eager_any_day")

# What others report may come after the request. What a run makes does not: it would be asked for
# again when the rest of that run failed.
OF_LANDED = ANY_DAY.replace(
    "handled",
    (
        (dg.AutomationCondition.newly_requested() & ~dg.AutomationCondition.any_deps_updated())
        | _MADE
        | dg.AutomationCondition.initial_evaluation()
    ).with_label("handled"),
).with_label("eager_any_day_that_landed")


def with_lists(*lists: dg.AssetKey) -> dg.AutomationCondition[Any]:
    """Return `OF_LANDED` for an asset that also reads lists, which are reported when they change.

    No day is held back by a list that was never reported for it: the asset reads it all the same.
    """
    missing = dg.AutomationCondition.any_deps_missing()
    return OF_LANDED.replace(
        "any_deps_missing", missing.ignore(dg.AssetSelection.assets(*lists))
    ).with_label("eager_any_day_or_list")


def of_window(
    raw_events: dg.AssetKey, canonical_events: dg.AssetKey, *lists: dg.AssetKey
) -> dg.AutomationCondition[Any]:
    """Return `ANY_DAY` for an asset that looks back on a window of canonical events.

    An older day of the window may be missing, as it may in the computation; the day itself may not:
    it has not landed yet, or it failed its checks.
    """
    missing = dg.AutomationCondition.missing() & ~dg.AutomationCondition.will_be_requested()
    # Through raw_events, which is no direct dependency: so a day is mapped to itself, not to its
    # window.
    day_is_missing = dg.AutomationCondition.asset_matches(
        raw_events, dg.AutomationCondition.asset_matches(canonical_events, missing)
    ).with_label("the_day_has_no_events")
    others_are_missing = dg.AutomationCondition.any_deps_missing().ignore(
        dg.AssetSelection.assets(canonical_events, *lists)
    )
    base = OF_LANDED if lists else ANY_DAY
    return base.replace("any_deps_missing", day_is_missing | others_are_missing).with_label(
        "eager_any_day_of_window"
    )
