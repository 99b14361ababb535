"""The whole file: its surfaces, and what is common to all of them."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from recsys_assets.config.quoting import quoted_name
from recsys_assets.config.surface import Surface
from recsys_assets.config.values import AtLeastOne, Location, Model, VariableName, WebUrl
from recsys_assets.errors import ConfigError


class Retention(Model):
    """What retention keeps; everything else is deleted once it is old enough."""

    publications: AtLeastOne = Field(30, description="Newest publications whose blobs are kept.")
    days: int = Field(
        30,
        ge=1,
        le=36_500,
        description="Days back from now; what was live, staged or refused since is kept.",
    )
    grace_hours: int = Field(
        24, ge=1, le=876_000, description="Hours that must have passed since an object was written."
    )


class Alerts(Model):
    """How people are told of failed runs."""

    webhook_env: VariableName = Field(
        "RECSYS_WEBHOOK_URL",
        description="Environment variable that holds the URL reports are posted to, a secret.",
    )
    ui_url: WebUrl = Field(
        "http://127.0.0.1:3000",
        description=(
            "Where people open the Dagster UI; reports link to it. Left out, $RECSYS_UI_URL is "
            "taken."
        ),
    )
    timeout_seconds: int = Field(
        10, ge=1, le=30, description="Seconds after which a post that nobody answers has failed."
    )


class Config(Model):
    """The whole of surfaces.yaml."""

    root: Location = Field(
        description=(
            "Where everything is written, a directory or an s3://, gs:// or az:// URL; "
            "$RECSYS_ROOT wins."
        )
    )
    retention: Retention = Field(
        default_factory=lambda: Retention.model_validate({}), description="What retention keeps."
    )
    docs_url: WebUrl | None = Field(
        None,
        description=(
            "Where docs/ is served, https://...; checks then link to their runbook, otherwise they "
            "name its file. Left out, $RECSYS_DOCS_URL is taken."
        ),
    )
    alerts: Alerts = Field(
        default_factory=lambda: Alerts.model_validate({}),
        description="How people are told of failed runs.",
    )
    surfaces: list[Surface] = Field(min_length=1, description="What is built, for whom.")

    @model_validator(mode="after")
    def _surfaces_are_distinct(self) -> Self:
        seen: dict[str, tuple[Surface, str]] = {}
        for number, surface in enumerate(self.surfaces, start=1):
            name = quoted_name(surface.tenant, surface.surface, number)
            if surface.group not in seen:
                seen[surface.group] = surface, name
                continue
            other, other_name = seen[surface.group]
            raise ValueError(
                f"surface {name} is listed twice"
                if other.name == surface.name
                else f"surfaces {other_name} and {name} look the same in Dagster, which keeps "
                "only letters, digits and _"
            )
        return self

    def surface(self, name: str) -> Surface:
        """Return the surface called `tenant/surface`; ConfigError lists the known ones."""
        for surface in self.surfaces:
            if surface.name == name:
                return surface
        known = ", ".join(surface.name for surface in self.surfaces)
        raise ConfigError(f"no surface {name!r} in the configuration; there are: {known}")

    def selected(self, name: str | None) -> list[Surface]:
        """Return the surface called `tenant/surface`, or all of them; ConfigError when unknown."""
        return self.surfaces if name is None else [self.surface(name)]
