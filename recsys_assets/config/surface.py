"""One surface: what is built of which events, on which days, within which limits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Self

from pydantic import Field, PrivateAttr, model_validator

from recsys_assets.config.catalogs import Catalog
from recsys_assets.config.gates import Gates
from recsys_assets.config.leaving_out import Bots, Items
from recsys_assets.config.options import Artifacts
from recsys_assets.config.patterns import DayPattern
from recsys_assets.config.sinks import AnySink
from recsys_assets.config.sources import Source
from recsys_assets.config.values import (
    AtLeastOne,
    AtLeastZero,
    Day,
    Model,
    Segment,
    Share,
    SurfaceName,
    TimeOfDay,
)
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place
from recsys_assets.windows import Window


class Guardrails(Model):
    """Limits of one day. Exceeding one fails a blocking check; nothing is cut silently."""

    min_events: AtLeastZero = Field(
        1, description="Fewest canonical events a day needs; 0 publishes empty days."
    )
    max_events: AtLeastOne = Field(100_000_000, description="Most canonical events in a day.")
    max_sessions: AtLeastOne = Field(10_000_000, description="Most distinct sessions in a day.")
    max_distinct_items: AtLeastOne = Field(5_000_000, description="Most distinct items in a day.")
    max_users: AtLeastOne = Field(10_000_000, description="Most distinct users in a day.")
    max_items_per_session: AtLeastOne = Field(
        200, description="Distinct items above which a session is taken for a bot and left out."
    )
    max_oversized_session_share: Share = Field(
        0.01, description="Largest share of sessions that may be left out that way."
    )
    max_outside_window_share: Share = Field(
        0.2,
        description=(
            "Largest share of a surface's lines in a day's files that may lie outside the day; "
            "more than 0.01 warns."
        ),
    )
    max_rejected_share: Share = Field(
        0.01, description="Largest share of a day's raw lines that may be refused."
    )
    max_rejected_bytes_share: Share = Field(
        0.01, description="Largest share of the bytes of a day's raw lines that may be refused."
    )
    max_artifact_bytes: AtLeastOne = Field(
        10_000_000, description="Largest artifact document, the online service's default limit."
    )
    max_backfill_days: AtLeastOne = Field(
        400, description="Most days that one materialization may cover."
    )


class Freshness(Model):
    """How old what is live may be; more is stale."""

    max_days_behind: AtLeastZero = Field(
        1, description="Most whole UTC days between the live window's last day and yesterday."
    )
    max_hours_since_flip: int | None = Field(
        None,
        ge=1,
        le=876_000,
        description="Most hours since a flip changed what is live; null does not count them.",
    )


class Surface(Model):
    """One place where recommendations are shown, of one tenant."""

    tenant: Segment = Field(description="The tenant, one path segment.")
    surface: Segment = Field(description="The surface, one path segment.")
    segment: Segment = Field("default", description="A label in the artifact documents.")
    variant_of: SurfaceName | None = Field(
        None,
        description=(
            "The surface, tenant/surface, whose events this one is made of, with other options."
        ),
    )
    start_date: Day = Field(description="First day, UTC.")
    end_date: Day | None = Field(None, description="Day after the last one; null is open.")
    source: Source = Field(description="Where raw exposure events land.")
    catalog: Catalog | None = Field(None, description="Required when content_sim is built.")
    window_days: int = Field(
        1,
        ge=1,
        le=3660,
        description="Days the event-based artifacts look back on, the day itself included.",
    )
    schedule_at: TimeOfDay = Field(
        "06:00", description="When the daily schedule materializes the day before, HH:MM UTC."
    )
    artifacts: Artifacts = Field(description="The artifact kinds to build.")
    bots: Bots = Field(
        default_factory=lambda: Bots.model_validate({}),
        description="Which artifacts leave out the events of bots.",
    )
    items: Items = Field(
        default_factory=lambda: Items.model_validate({}),
        description="Which items artifacts may list.",
    )
    guardrails: Guardrails = Field(
        default_factory=lambda: Guardrails.model_validate({}), description="Limits of one day."
    )
    gates: Gates = Field(
        default_factory=lambda: Gates.model_validate({}),
        description="How a day is judged by the days before it.",
    )
    freshness: Freshness = Field(
        default_factory=lambda: Freshness.model_validate({}),
        description="How old what is live may be.",
    )
    sinks: list[AnySink] = Field(
        [], description="Where what is live is delivered to, besides the documents."
    )
    max_run_minutes: AtLeastOne = Field(
        240, description="Minutes after which a run that still goes on is ended, as failed."
    )

    # Of all that are made of the same events; None where it is its own.
    _longest_window: int | None = PrivateAttr(None)
    # As the whole file says.
    _shows_ids: bool = PrivateAttr(True)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        to = f" to {self.variant_of}, whose catalog it has" if self.variant_of else ""
        for kind in self.artifacts.of("catalog"):
            if not self.catalog:
                add = f"add `catalog: {{path: ...}}`{to}"
                raise ValueError(f"artifacts.{kind} needs a catalog: {add}")
        names = [sink.name for sink in self.sinks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"sinks: there are two that are called {twice[0]}")
        if self.variant_of:  # what else there is to say, its base says
            return self
        if self.items.only_in_catalog and not self.catalog:
            raise ValueError(
                "items.only_in_catalog needs a catalog: add `catalog: {path: ...}`, or take it away"
            )
        if self.end_date and self.end_date <= self.start_date:
            raise ValueError(f"end_date {self.end_date} must come after {self.start_date}")
        return self

    @property
    def place(self) -> Place:
        """Whose artifacts these are."""
        return Place(self.tenant, self.surface)

    @property
    def events_of(self) -> Place:
        """Whose events and catalog it is made of: of a variant, those of its base."""
        return Place.named(self.variant_of) if self.variant_of else self.place

    @property
    def of_events(self) -> Self:
        """The surface as its raw events name it: of a variant, with the name of its base."""
        if self.variant_of is None:
            return self
        names = {"tenant": self.events_of.tenant, "surface": self.events_of.surface}
        return self.model_copy(update={**names, "variant_of": None})

    @property
    def longest_window(self) -> int:
        """The longest `window_days` of all surfaces that are made of these events."""
        return self._longest_window or self.window_days

    @property
    def shows_ids(self) -> bool:
        """Whether Dagster may be told ids of users, sessions and requests (`pages.show_ids`)."""
        return self._shows_ids

    def told(self, *, longest_window: int, shows_ids: bool) -> Self:
        """Return the surface that knows what the whole file says of it.

        Args:
            longest_window: of all that share its events.
            shows_ids: as `pages.show_ids`.
        """
        if (longest_window, shows_ids) == (self.longest_window, self.shows_ids):
            return self
        surface = self.model_copy()
        surface._longest_window, surface._shows_ids = longest_window, shows_ids
        return surface

    def window(self, day: date) -> Window:
        """Return the trailing window of a day, whatever the first day of the surface is."""
        return Window.ending_with(day, days=self.window_days)

    def days_of_window(self, day: date) -> list[date]:
        """Return the days of the trailing window, oldest first, from `start_date` on."""
        return self.window(day).days(since=self.start_date)

    def days_read(self, day: date) -> list[date]:
        """Return the days whose raw files may hold events of a day, oldest first."""
        around, number = self.source.days_around, day.toordinal()
        first, last = number - around, min(number + around, date.max.toordinal())
        return [date.fromordinal(of) for of in range(max(first, 1), last + 1)]

    def raw_pattern(self, day: date) -> str:
        """Return the pattern of a day's raw files as people read it, its placeholders filled in."""
        return DayPattern(self.source.pattern).filled(self.place, day)

    def success_marker(self, day: date) -> str | None:
        """Return the file that says that a day's raw files are complete, if there is to be one."""
        marker = self.source.landing.success_marker
        return None if marker is None else DayPattern(marker).filled(self.place, day)

    @property
    def known_catalog(self) -> Catalog:
        """The catalog; ConfigError when there is none."""
        if self.catalog is None:
            raise ConfigError(f"surface {self.name} has no catalog")
        return self.catalog

    @property
    def catalog_path(self) -> str:
        """The catalog's file or URL; ConfigError when there is none."""
        return self.known_catalog.path

    @property
    def reads_catalog(self) -> bool:
        """Whether artifacts depend on the catalog: not where it only has the titles."""
        return bool(self.artifacts.of("catalog")) or self.items.only_in_catalog

    @property
    def name(self) -> str:
        """`tenant/surface`, as people write it."""
        return self.place.name

    @property
    def group(self) -> str:
        """`tenant__surface`, the Dagster asset group."""
        return self.place.group

    def newest_day(self, now: datetime) -> date | None:
        """Return the newest day that is over, UTC, and so can be made; None before the first is."""
        newest = now.astimezone(UTC).date() - timedelta(days=1)
        if self.end_date:
            newest = min(newest, self.end_date - timedelta(days=1))
        return newest if newest >= self.start_date else None
