"""How what would become live is compared with what is."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recsys_assets.config.values import Margin, Model


class ReleaseGate(Model):
    """What would become live is replayed on days before it, beside what is live."""

    trusted_days: int = Field(
        14, ge=2, le=366, description="Accepted days, before both windows, that both are scored on."
    )
    max_drop: Margin = Field(
        0.1, description="How far a score may drop at least, logarithm: 0.1 is a tenth."
    )


class CatalogGate(Model):
    """A catalog that changed is compared with the one that is live, on the events of the day."""

    max_uncovered: Margin = Field(
        0.02, description="Most that the share of events of items with tags may drop."
    )
    min_coherence: Margin = Field(
        0.9, description="Least ratio of how alike the tags of consecutive items are, new to live."
    )
    max_coherence: Margin = Field(1.25, description="Largest ratio of the same.")
    warn_changed: Margin = Field(
        0.05, description="Share of events whose item has other tags, above which it warns."
    )

    @model_validator(mode="after")
    def _what_is_as_alike_passes(self) -> Self:
        if not self.min_coherence <= 1 <= self.max_coherence:
            raise ValueError(
                f"min_coherence is {self.min_coherence:g} and max_coherence "
                f"{self.max_coherence:g}: tags that are as alike as those that are live, a ratio "
                "of 1, are to lie in between"
            )
        return self
