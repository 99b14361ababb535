"""The erasure of a person as a job: it is told a keyed hash, and never sees the id."""

# No postponed annotations here: Dagster reads the types of an op's arguments when it is declared.
import dagster as dg

from recsys_assets.config import Config
from recsys_assets.defs.erased_days import remade_days
from recsys_assets.defs.erased_metadata import DagsterEvents
from recsys_assets.defs.job_settings import EraseConfig
from recsys_assets.errors import InputError
from recsys_assets.events.erased import Erased
from recsys_assets.operations.erase import erase
from recsys_assets.operations.find_user import Held, Holder, find_user
from recsys_assets.operations.in_sinks import InSinks
from recsys_assets.pages import Shown, table
from recsys_assets.storage import open_store
from recsys_assets.storage.erasures import Entry, erase_key, read_erased, refuse_other_key
from recsys_assets.storage.flips import actor
from recsys_assets.storage.publications import Why

_SHOWN = 50


def erase_persons(
    context: dg.OpExecutionContext, config: EraseConfig, settings: Config
) -> dict[str, Shown]:
    """Erase them, or say where they are found; return what the run shows.

    Raises:
        InputError: a person is no keyed hash, or something is left.
    """
    base, store = settings.surface(config.surface), open_store(settings.root)
    if base.variant_of:
        raise InputError(f"{base.name} is made of the events of {base.variant_of}: name that one")
    if skipped := settings.skipped(None):  # one of them may be a variant
        raise InputError(f"passed over: {settings.told(skipped)}")
    surfaces, entries = [base, *settings.variants_of(base)], list[Entry]()
    for number, token in enumerate(config.persons, start=1):
        try:
            entries.append(Entry.from_token(token))
        except ValueError as error:
            raise InputError(f"persons, number {number}: {error}") from None
    if not entries:
        raise InputError("persons: none is named")
    key = erase_key(base.place)
    refuse_other_key(read_erased(store, base.place), key)
    sinks = InSinks(store, settings.root, reader_seconds=config.reader_seconds)
    holders: list[Holder] = [sinks, DagsterEvents(context.instance)]
    if config.dry_run:
        found = [*find_user(store, surfaces, Erased(key, entries), holders=holders)]
        return {"places": len(found), "found": _table(found)}
    done = erase(
        store,
        surfaces,
        key,
        entries,
        Why(context.run_id, config.who or actor(), config.reason),
        reader_seconds=config.reader_seconds,
        holders=holders,
    )
    for event in remade_days(context.instance, store, done):
        context.log_event(event)
    if done.held:
        raise InputError(
            f"{len(done.held)} places hold them, or may: {done.held[0].uri}: {done.held[0].said}. "
            "Mend what it says, if it says anything, and launch it again"
        )
    left_out = [
        {"surface": surface, "kind": kind, "day": str(day), "problem": problem}
        for surface, remade in done.remade.items()
        for (kind, day), problem in remade.failed.items()
    ]
    return {
        "outcome": "erased",
        "events": done.events,
        "days": len(done.days),
        "documents": done.blobs,
        "others": done.others,
        "left_out": table(left_out[:_SHOWN]),
    }


def _table(found: list[Held]) -> Shown:
    rows = [{"place": each.place, "uri": each.uri, "said": each.said} for each in found]
    return table(rows[:_SHOWN])
