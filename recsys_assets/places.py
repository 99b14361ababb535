"""One (tenant, surface): whose events, whose artifacts, whose manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One (tenant, surface): whose events, whose artifacts, whose manifest."""

    tenant: str
    surface: str

    @classmethod
    def named(cls, name: str) -> Place:
        """Return the place that `name` gives."""
        tenant, _, surface = name.partition("/")
        return cls(tenant, surface)

    @property
    def name(self) -> str:
        """`tenant/surface`, as people write it."""
        return f"{self.tenant}/{self.surface}"

    @property
    def group(self) -> str:
        """`tenant__surface`, the Dagster asset group; Dagster allows only letters, digits and _."""
        return re.sub(r"[^A-Za-z0-9_]", "_", f"{self.tenant}__{self.surface}")
