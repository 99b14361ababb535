"""How the days of a surface are judged by the days before them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from recsys_assets.config.release_gates import CatalogGate, ReleaseGate
from recsys_assets.config.values import AtLeastOne, Margin, Model


class Margins(Model):
    """How far a number of a day may be from its usual level at least; null does not judge it.

    Of logarithms 0.45 is a factor of 1.57, up or down; all else are differences of shares.
    """

    rows: Margin | None = Field(0.45, description="Events of the day, logarithm.")
    sessions: Margin | None = Field(0.45, description="Sessions of the day, logarithm.")
    length: Margin | None = Field(0.2, description="Events a session, logarithm.")
    repeats: Margin | None = Field(
        0.02, description="Share of events that show an item again in its session."
    )
    no_user: Margin | None = Field(0.05, description="Share of events without a user.")
    shared_sessions: Margin | None = Field(
        0.02, description="Share of sessions that several users are in."
    )
    top_item: Margin | None = Field(
        0.4, description="Share of events of the item with most of them, logarithm."
    )
    top_user: Margin | None = Field(
        0.7, description="Share of events of the user with most of them, logarithm."
    )
    top_session: Margin | None = Field(
        0.7, description="Share of events of the session with most of them, logarithm."
    )
    hours: Margin | None = Field(
        0.3, description="Distance of the hours of the day from the usual ones, 0 to 1."
    )
    quiet: Margin | None = Field(
        0.15, description="Usual share of events of the hours that have none on the day."
    )
    new_items: Margin | None = Field(
        0.05, description="Share of events of items that the days before do not have."
    )
    new_users: Margin | None = Field(
        0.05, description="Share of users whom the days before do not have."
    )
    old_sessions: Margin | None = Field(
        0.1, description="Share of sessions that the seven days before have already."
    )
    uncatalogued: Margin | None = Field(
        0.02, description="Share of events of items that the catalog does not have."
    )
    replay_popularity: Margin | None = Field(
        0.2, description="Share of events of the 100 first items of the days before, logarithm."
    )
    risen_items: Margin | None = Field(
        0.1, description="Share of events of items far above what they have on the days before."
    )
    replay_cooc: Margin | None = Field(
        0.25, description="Share of steps between items that the days before foretell, logarithm."
    )
    replay_users: Margin | None = Field(
        0.25, description="Share of events whose user had the item on the days before, logarithm."
    )


class Gates(Model):
    """The days before a day judge whether it is sound; docs/gates.md says how."""

    mode: Literal["warn", "block", "off"] = Field(
        "warn",
        description="What a day that a gate finds unsound is: told, refused, or not looked at.",
    )
    spreads: Margin = Field(
        6.5,
        description="Usual distances from the level that a number may be off, if that is more "
        "than its margin.",
    )
    history_days: int = Field(
        56, ge=14, le=366, description="Days back whose accepted days say what is usual."
    )
    reference_days: int = Field(
        28, ge=2, le=366, description="Days back whose accepted days a day is replayed against."
    )
    warm_up_days: int = Field(
        14, ge=3, le=366, description="Accepted days that it takes before a number is judged."
    )
    sample_events: int = Field(
        20_000,
        ge=1000,
        le=10**6,
        description="Most events that are kept of a day, as hashes, for replays.",
    )
    min_sessions: AtLeastOne = Field(
        100, description="Sessions of a day below which only its volume is judged."
    )
    margins: Margins = Field(
        default_factory=lambda: Margins.model_validate({}),
        description="How far each number may be off at least.",
    )

    release: ReleaseGate = Field(
        default_factory=lambda: ReleaseGate.model_validate({}),
        description="How what would become live is compared with what is.",
    )
    catalog: CatalogGate = Field(
        default_factory=lambda: CatalogGate.model_validate({}),
        description="How a changed catalog is compared with what is live.",
    )

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        for name in ("reference_days", "warm_up_days"):
            if getattr(self, name) > self.history_days:
                raise ValueError(
                    f"{name}: {getattr(self, name)} days do not fit into history_days, "
                    f"{self.history_days}: make it smaller, or history_days larger"
                )
        return self

    def scored_from(self, last: date) -> date:
        """Return the first day whose release is scored in any case, of a run that ends with `last`.

        Of a long backfill the days near its end say what is usual for it and for those that follow.
        Those before are live for a moment only.
        """
        return last - timedelta(days=self.history_days)

    @property
    def are_on(self) -> bool:
        """Whether days are judged at all."""
        return self.mode != "off"
