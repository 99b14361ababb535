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

# As Dagster's `eager`, of which two things are left out. It looks at the newest day only; late data
# lands for older ones. And it asks for what is missing; a day that failed is missing too. What is
# asked for at this very look was not answered by anything before.
ANY_DAY = (
    (
        dg.AutomationCondition.any_deps_match(_NEWLY_UPDATED)
        .with_label("any_deps_updated")
        .since_last_handled()
        | dg.AutomationCondition.any_deps_match(dg.AutomationCondition.will_be_requested())
    )
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("eager_any_day")

# Dagster knows when something was updated, and compares the times, only where `since` is given
# nothing but this condition: of a mixture with others it knows none.
_REPORTED_LATER = (
    dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
    .since(dg.AutomationCondition.newly_updated())
    .with_label("any_deps_updated_later")
)

# Dagster takes a request, and the end of a run, as the answer to whatever it sees at its next look,
# also to what was reported after them. A file that lands in between would be forgotten.
OF_LANDED = ANY_DAY.replace(
    "handled",
    (
        (dg.AutomationCondition.newly_requested() & ~dg.AutomationCondition.any_deps_updated())
        | (dg.AutomationCondition.newly_updated() & ~_REPORTED_LATER)
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
