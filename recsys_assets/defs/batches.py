"""Many surfaces by a few switches: sensors and schedules that make days of them in common runs.

Starting a run costs more than a small day. So one run makes the days of up to 25 surfaces that are
due at the same time. Each surface keeps its own assets, checks and history, and a day that fails
holds back no other. What breaks a whole run, a crash or a surface that hangs, takes 24 others along
at most, and for a few minutes: `batch_retries` asks for them again, what may have broken it alone.
"""

# No postponed annotations here: Dagster reads the types of a sensor's arguments.
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, TypeVar

import dagster as dg

from recsys_assets.config import Config, Surface
from recsys_assets.defs.internals import (
    ASSET_JOB,
    BATCH,
    MAX_RETRIES,
    MAX_RUNTIME,
    PARTITION,
    UNFINISHED,
    materializations_of,
    was_interrupted,
)
from recsys_assets.defs.keys import asset_key, asset_names
from recsys_assets.defs.landed import NewDay, reports_in, request_of, split
from recsys_assets.defs.reports import failures_after, newest_failure
from recsys_assets.defs.sensors import look
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.operations.cursors import Cursor, remembered
from recsys_assets.storage import open_store
from recsys_assets.texts import as_markdown

MOST_SURFACES: Final = 25  # of a run, and of a sensor; variants go with their base
_INTERVAL_S: Final = 15
_BUDGET_S: Final = 10.0  # of beginning to look; one look may take 20 s more, and Dagster gives 60 s
_FAILURES_A_TICK: Final = 50

T = TypeVar("T")
Family = Sequence[Surface]  # a surface and its variants, whose days are made together


def build_batches(config: Config) -> dg.Definitions:
    """Build the sensors and schedules that many surfaces share; none where there is one surface."""
    families = [
        [surface, *config.variants_of(surface)]
        for surface in config.surfaces
        if not surface.variant_of
    ]
    if len(families) < 2:
        return dg.Definitions()
    slices = [*_sliced(families)]
    at = defaultdict[str, list[Family]](list)
    for family in families:
        at[family[0].schedule_at].append(family)
    return dg.Definitions(
        sensors=[
            *(_landings(f"landings_{n}", each, config.root) for n, each in enumerate(slices, 1)),
            _retries(families),
        ],
        schedules=[_daily(moment, each) for moment, each in at.items()],
    )


def _landings(name: str, families: Sequence[Family], root: str) -> dg.SensorDefinition:
    first, last = (as_markdown(each[0].name) for each in (families[0], families[-1]))

    @dg.sensor(
        name=name,
        job_name=ASSET_JOB,
        minimum_interval_seconds=_INTERVAL_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            f"What `<group>_landing` does, of {len(families)} surfaces, from {first} to {last} as "
            "they stand in surfaces.yaml; their new days are made in common runs."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursors, begin = _remembered(context.cursor, root)
        found, reports, said = list[NewDay](), list[dg.AssetMaterialization](), list[str]()
        started, looked = time.monotonic(), 0
        for family in [*families[begin:], *families[:begin]]:
            if time.monotonic() - started > _BUDGET_S:
                break
            looked += 1
            surface = family[0]
            cursor = Cursor.from_text(json.dumps(cursors.get(surface.group, {})), root)
            try:
                arrivals = look(context, family, cursor)
            except (RecsysAssetsError, OSError) as error:  # of one surface: the others go on
                said.append(f"{surface.name}: {error}")
                continue
            new, others = split(open_store(root), family, arrivals, datetime.now(UTC))
            found += [new] if new else []
            reports += [report.event(surface, root) for report in others]
            if arrivals.raw_events or arrivals.waiting or arrivals.problems:
                said.append(f"{surface.name}: {arrivals}")
            cursors[surface.group] = json.loads(arrivals.cursor.to_text())
        requests = [*_requests(context.instance, found)]
        next_one = (begin + looked) % len(families)
        kept = {each[0].group for each in families} & cursors.keys()
        return dg.SensorResult(
            asset_events=reports,
            run_requests=requests,
            skip_reason=None if requests else _in_short(looked, len(families), said),
            cursor=json.dumps(
                {"root": root, "next": next_one, "of": {group: cursors[group] for group in kept}},
                separators=(",", ":"),
            ),
        )

    return sensor


def _remembered(text: str | None, root: str) -> tuple[dict[str, Any], int]:
    """Return the cursor of each surface by its group, and with which of them to begin."""

    def read(found: dict[str, Any]) -> tuple[dict[str, Any], int]:
        return dict(found["of"]), int(found["next"])

    new: tuple[dict[str, Any], int] = ({}, 0)
    return remembered(text, root, read, new=new)


def _in_short(looked: int, of: int, said: Sequence[str]) -> str:
    more = f" and {len(said) - 10} more" if len(said) > 10 else ""
    return "; ".join([f"{looked} of {of} surfaces looked at", *said[:10]]) + more


def _daily(moment: str, families: Sequence[Family]) -> dg.ScheduleDefinition:
    hour, minute = map(int, moment.split(":"))

    @dg.schedule(
        name=f"daily_{hour:02}{minute:02}",
        job_name=ASSET_JOB,
        cron_schedule=f"{minute} {hour} * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            f"What `<group>_daily` does, of {len(families)} surfaces at {moment} UTC, in common "
            "runs."
        ),
    )
    def schedule(
        context: dg.ScheduleEvaluationContext,
    ) -> dg.SkipReason | list[dg.RunRequest]:
        now = context.scheduled_execution_time
        day = now.astimezone(UTC).date() - timedelta(days=1)
        due = [NewDay(each, day, []) for each in families if each[0].newest_day(now) == day]
        if not due:
            return dg.SkipReason("the day before is none of these surfaces' days")
        return [*_requests(context.instance, due)]

    return schedule


def _requests(instance: dg.DagsterInstance, due: Iterable[NewDay]) -> Iterator[dg.RunRequest]:
    """Yield the runs that make these days: in common those of one date, each surface in one only.

    A surface that a run is going on for waits until that is over, as nobody else should: its run
    is its own.
    """
    by_day = defaultdict[date, list[NewDay]](list)
    for each in due:
        by_day[each.day].append(each)
    if not by_day:
        return
    busy = {
        key
        for run in instance.get_runs(dg.RunsFilter(statuses=[*UNFINISHED]))
        for key in run.asset_selection or ()
    }
    for _, of_day in sorted(by_day.items()):
        alone = [each for each in of_day if busy & {*_keys(each.surfaces)}]
        yield from (request_of([each]) for each in alone)
        for some in _sliced([each for each in of_day if each not in alone]):
            yield _in_common(some)


def _in_common(due: Sequence[NewDay], run_key: str | None = None) -> dg.RunRequest:
    if len(due) == 1:
        return request_of(due, run_key=run_key)
    # Most surfaces take a second or less. Who takes longer is made alone, under its own limit.
    limit = 60 + 2 * len(due)
    tags = {BATCH: str(len(due)), MAX_RETRIES: "0", MAX_RUNTIME: str(limit)}
    return request_of(due, tags, run_key=run_key)


def _sliced(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for begin in range(0, len(all_of_them), MOST_SURFACES):
        yield all_of_them[begin : begin + MOST_SURFACES]


def _keys(family: Family) -> list[dg.AssetKey]:
    return [asset_key(surface, name) for surface in family for name in asset_names(surface)]


def _retries(families: Sequence[Family]) -> dg.SensorDefinition:
    @dg.sensor(
        name="batch_retries",
        job_name=ASSET_JOB,
        minimum_interval_seconds=_INTERVAL_S,
        # It only goes on with what somebody has started.
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Asks again for the surfaces that a common run had not made when it broke: for those "
            "that it had begun, each in a run of its own."
        ),
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        instance = context.instance
        if context.cursor is None:
            context.update_cursor(str(newest_failure(instance)))
            return dg.SkipReason("Looks at the runs that fail from now on.")
        records = failures_after(instance, int(context.cursor), _FAILURES_A_TICK)
        broken = {record.run_id: instance.get_run_by_id(record.run_id) for record in records}
        requests = [
            request
            for run in broken.values()
            if run and BATCH in run.tags
            for request in retries_of(instance, run, families)
        ]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else "No common run broke.",
            cursor=str(records[-1].storage_id) if records else context.cursor,
        )

    return sensor


def retries_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun, families: Iterable[Family]
) -> Iterator[dg.RunRequest]:
    """Yield the runs of the surfaces of a broken run that were neither made by it nor have failed.

    What failed was looked at to its end: it would fail again. Those that were begun may have broken
    the run, and go alone. The others have not, and go in common once more.
    """
    made = {event.asset_key for event in materializations_of(instance, run.run_id)}
    begun = {event.step_key for event in _events(instance, run, dg.DagsterEventType.STEP_START)}
    failed = {
        event.step_key
        for event in _events(instance, run, dg.DagsterEventType.STEP_FAILURE)
        if not was_interrupted(event)
    }
    selected, day = run.asset_selection or frozenset[dg.AssetKey](), run.tags[PARTITION]
    suspects, others = list[NewDay](), list[NewDay]()
    for family in families:
        keys = selected & {*_keys(family)}
        steps = {key.to_python_identifier() for key in keys}
        if not keys <= made and not failed & steps:
            left = NewDay(family, date.fromisoformat(day), [*reports_in(run.tags, family[0])])
            (suspects if begun & steps else others).append(left)
    if not suspects:  # it broke before its first step, and may do so again
        suspects, others = others, suspects
    # The keys: of a run that broke, the worker and the daemon may both say so.
    for each in suspects:
        yield request_of([each], run_key=f"{run.run_id} {each.surfaces[0].group}")
    if others:
        yield _in_common(others, run_key=f"{run.run_id} others")


def _events(
    instance: dg.DagsterInstance, run: dg.DagsterRun, of_type: dg.DagsterEventType
) -> Iterator[dg.DagsterEvent]:
    for entry in instance.all_logs(run.run_id, of_type=of_type):
        if entry.dagster_event:
            yield entry.dagster_event
