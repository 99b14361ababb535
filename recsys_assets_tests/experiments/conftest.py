"""Surfaces whose days are accepted without Dagster, and that the configuration is read for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from recsys_assets.audit.events import audit_events
from recsys_assets.audit.shared import Shared
from recsys_assets.config import Surface
from recsys_assets.events.accepted import accept_day
from recsys_assets_tests.project import Project


def accept(
    project: Project, surface: Surface, of: date, events: Iterable[Mapping[str, Any]]
) -> None:
    """Land the events of a day, and accept them without asking a gate."""
    project.land(of, events)
    with project.store.scratch() as scratch:
        audited = audit_events(project.store, surface, of, scratch, Shared())
        assert audited.value, audited.verdicts
        assert audited.passed, audited.failures
        accept_day(project.store, surface.place, audited.value)
