"""The artifact kinds and their options: a model per kind, and its field in `Artifacts`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from recsys_assets.config.values import Cut, Model

Reads = Literal["events", "catalog"]


class Options(Model):
    """The options of an artifact kind.

    Attributes:
        reads: what the kind is computed from.
        in_sql: whether its row in `kinds.py` has its rule in SQL, which other engines than Polars
            take.
    """

    reads: ClassVar[Reads] = "events"
    in_sql: ClassVar[bool] = False


class Popularity(Options):
    """Most exposed items."""

    in_sql = True

    top_n: Cut = Field(1000, description="Items kept, the most exposed first.")
    half_life_days: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description=(
            "Days of age after which an exposure counts half; counts are then in thousandths of an "
            "exposure of the last day. Null counts all days of the window alike."
        ),
    )


class Cooc(Options):
    """Items seen in the same sessions."""

    in_sql = True

    max_neighbours: Cut = Field(50, description="Neighbours kept per item.")
    min_support: Cut = Field(2, description="Sessions a pair needs to be kept.")
    max_items: Cut = Field(
        1000, description="Items with a list of neighbours; those in the most sessions stay."
    )


class Implicit(Options):
    """Exposures per user and item."""

    in_sql = True

    top_n: Cut = Field(500, description="Items kept per user.")


class SessionSeq(Options):
    """Items that follow another item of the same user."""

    in_sql = True

    top_n: Cut = Field(500, description="Items kept per user.")


class ContentSim(Options):
    """Tags per catalog item."""

    reads = "catalog"

    max_items: Cut = Field(100_000, description="Catalog items kept, by id ascending.")


class Artifacts(Model):
    """The artifact kinds to build; a kind left out is not built, `{}` means its defaults."""

    popularity: Popularity | None = Field(None, description="Exposures per item.")
    cooc: Cooc | None = Field(None, description="Neighbours per item by shared sessions.")
    implicit: Implicit | None = Field(None, description="Exposures per user and item.")
    session_seq: SessionSeq | None = Field(None, description="Next items per user.")
    content_sim: ContentSim | None = Field(None, description="Tags per catalog item.")

    @model_validator(mode="after")
    def _something_is_built(self) -> Self:
        if not self.kinds:
            raise ValueError("enable at least one kind, for example `popularity: {}`")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The enabled kinds, in the order of this model."""
        return tuple(kind for kind in type(self).model_fields if getattr(self, kind) is not None)

    @classmethod
    def reads_of(cls, kind: str) -> Reads:
        """Return what a kind is computed from, enabled or not."""
        model, _ = get_args(cls.model_fields[kind].annotation)
        reads: Reads = model.reads
        return reads

    def of(self, reads: Reads) -> tuple[str, ...]:
        """Return the enabled kinds that read the events, or the catalog, in the same order."""
        return tuple(kind for kind in self.kinds if self.options(kind).reads == reads)

    def options(self, kind: str) -> Options:
        """Return the options of an enabled kind."""
        options: Options = getattr(self, kind)
        return options
