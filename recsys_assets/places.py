"""One (tenant, surface): whose events, whose artifacts, whose manifest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One (tenant, surface): whose events, whose artifacts, whose manifest."""

    tenant: str
    surface: str

    @property
    def name(self) -> str:
        """`tenant/surface`, as people write it."""
        return f"{self.tenant}/{self.surface}"
