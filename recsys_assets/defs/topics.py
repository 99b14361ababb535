"""The job that lands Kafka topics, and its schedule: none where no surface has a topic."""

# No postponed annotations here: Dagster reads the types of an op's arguments when it is declared.
from typing import Final

import dagster as dg

from recsys_assets.config import Config
from recsys_assets.defs.internals import MAX_RETRIES, UNFINISHED
from recsys_assets.defs.metadata import as_metadata
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.operations.topics import land, landings_of
from recsys_assets.pages import table

LAND: Final = "land"


@dg.op(name="land_topics")
def land_topics(context: dg.OpExecutionContext, settings: dg.ResourceParam[Config]) -> None:
    """Land each topic up to what it holds by now; fail at the end if one could not be."""
    rows, problems, messages = [], list[str](), 0
    for landing in landings_of(settings.surfaces):
        try:
            landed = land(landing)
        except (RecsysAssetsError, OSError) as error:
            problems.append(str(error))
            continue
        messages += landed.lines.total()
        rows.append(
            {
                "topic": landing.kafka.topic,
                "path": landing.source.path,
                "messages": landed.lines.total(),
                "files": landed.files,
                "tombstones": landed.tombstones,
                "complete": ", ".join(map(str, landed.complete)),
            }
        )
    shown = as_metadata({"messages": messages, "topics": table(rows)})
    if problems:
        raise dg.Failure("; ".join(problems), metadata=shown, allow_retries=False)
    context.add_output_metadata(shown)


@dg.job(
    name=LAND,
    tags={MAX_RETRIES: "0"},  # the next tick goes on where it ended
    description="Land Kafka topics as raw files, each message once.",
)
def land_job() -> None:
    """Land Kafka topics."""
    land_topics()


@dg.schedule(
    name="land_every_10_minutes",
    job=land_job,
    cron_schedule="*/10 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Lands the topics of all surfaces, unless that still goes on.",
)
def land_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run, if none is going on: of two landers of a topic only one goes on."""
    going_on = dg.RunsFilter(job_name=LAND, statuses=[*UNFINISHED])
    if context.instance.get_runs_count(going_on):
        return dg.SkipReason("the last landing still goes on")
    return dg.RunRequest()


def build_topics(config: Config) -> dg.Definitions:
    """Build the job and its schedule, if some surface has a topic; `settings` is the resource."""
    if not any(surface.source.landing.kafka for surface in config.surfaces):
        return dg.Definitions()
    return dg.Definitions(jobs=[land_job], schedules=[land_schedule])
