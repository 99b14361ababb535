"""A drop that an erasure explains is named, and does not block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.audit.candidates import audit_candidate
from recsys_assets.audit.events import audit_events
from recsys_assets.audit.release_checks import NOTHING_EMPTIED
from recsys_assets.audit.release_gates import ReleaseGates
from recsys_assets.audit.shared import Shared
from recsys_assets.events.accepted import accept_day
from recsys_assets.places import Place
from recsys_assets.storage.erasures import KEY_VARIABLE, Entry, add_erased, erase_key
from recsys_assets_tests.project import Project, day, event
from recsys_assets_tests.shop import accepted_window, make_artifacts, make_day


@pytest.mark.parametrize("is_erased", [True, False])
def test_a_drop_is_explained_by_an_erasure_and_by_no_older_one(
    project: Project, fast: None, monkeypatch: pytest.MonkeyPatch, is_erased: bool
) -> None:
    """The same drop, where she was erased since it went live, and where she sent no events."""
    monkeypatch.setenv(KEY_VARIABLE, "a secret that nobody knows")
    config = project.configure(
        {"artifacts": {"popularity": {}}, "catalog": None, "gates": {"mode": "block"}}
    )
    (surface,), store, of = config.surfaces, project.store, day(0)
    hers = [event(f"item-{number}", user_id="ann") for number in range(30)]
    project.land(of, [event("a", user_id="bob"), *hers])
    key = erase_key(Place("demo", "home"))
    moment = datetime.now(UTC) + timedelta(hours=1 if is_erased else -1)
    user = key.entry("ann" if is_erased else "eve")
    make_day(store, surface, of)

    add_erased(store, key, [Entry(user.hash, user.shape, moment.isoformat())])
    if not is_erased:
        project.land(of, [event("a", user_id="bob")])
    with store.scratch() as scratch:
        events = audit_events(store, surface, of, scratch, Shared()).value
        assert events
        accept_day(store, surface.place, events)
        make_artifacts(store, surface, of, scratch)
    gates = ReleaseGates(store, surface, of)
    accepted = accepted_window(store, surface, of)
    verdicts = audit_candidate(store, surface, of, accepted, gates).settled().verdicts

    found = verdicts[NOTHING_EMPTIED]
    assert found.outcome == ("warned" if is_erased else "failed")
    assert ("(1 person was erased since)" in found.description) is is_erased
