"""What the jobs of operations are told in the Launchpad: the settings of each."""

# No postponed annotations here: Dagster reads the types when a configuration is declared.
import dagster as dg
from pydantic import Field

_SURFACE = Field(description="tenant/surface, as in surfaces.yaml.")
_SURFACES = Field(default=None, description="tenant/surface; every surface when left out.")
_REASON = Field(description="Why, for whoever reads the history: an incident, a ticket.")
_WHO = Field(default="", description="Who asks for it. Left out: who the run runs as.")
_DRY_RUN = Field(
    default=True, description="Only show what would change. Set it to false to change it."
)
_FORCE = Field(
    default=False,
    description="Also where denied items are live afterwards; the reason is to say why.",
)


class RollbackConfig(dg.Config):
    """Which surface to roll back, to what, and why."""

    surface: str = _SURFACE
    reason: str = _REASON
    to: str = Field(
        default="previous",
        description=(
            "`previous`, a generation of the history, or a day that was live (YYYY-MM-DD)."
        ),
    )
    kind: str | None = Field(
        default=None, description="The only kind to roll back; the whole manifest when left out."
    )
    pin: bool = Field(
        default=False, description="Hold it: later publishes are staged, not live, until release."
    )
    force: bool = _FORCE
    dry_run: bool = _DRY_RUN
    who: str = _WHO


class ReasonConfig(dg.Config):
    """Which surface, who asks, and why."""

    surface: str = _SURFACE
    reason: str = _REASON
    who: str = _WHO


class PinConfig(ReasonConfig):
    """Which surface to pin, and why."""

    force: bool = _FORCE


class ReleaseConfig(ReasonConfig):
    """Which surface to release, and why."""

    force: bool = Field(
        default=False,
        description="Also where gates find it worse than what is live; the reason is to say why.",
    )
    dry_run: bool = Field(
        default=False,
        description="Change nothing, and show what the gates find of the day that was held back.",
    )


class OverrideConfig(ReasonConfig):
    """Which day to accept against which gates, and why."""

    day: str = Field(description="The day to accept, YYYY-MM-DD.")
    checks: list[str] = Field(
        description="The gates to pass over: volume, shape, identity, replay."
    )
    ahead: bool = Field(
        default=False, description="For events that are not there yet, as of a holiday."
    )
    restart_baseline: bool = Field(
        default=False,
        description="For good: earlier days say nothing of later ones, for these gates.",
    )


class VerifyConfig(dg.Config):
    """What to verify."""

    surface: str | None = _SURFACES
    last: int = Field(default=10, ge=1, description="Publications to go back, the live one too.")
    grace_hours: int = Field(
        default=24,
        ge=0,
        le=876_000,
        description="Age from which a blob that nothing names is reported.",
    )


class EraseConfig(ReasonConfig):
    """Whom to erase from which surface, and why."""

    persons: list[str] = Field(
        description=(
            "What `recsys-assets erase --print-hash` prints, one each: a keyed hash. Never an id."
        )
    )
    reader_seconds: int = Field(
        default=120,
        ge=0,
        le=86_400,
        description="How long readers may go on with a manifest that they have read.",
    )
    dry_run: bool = _DRY_RUN


class RetentionConfig(dg.Config):
    """What to delete; what is kept is set in surfaces.yaml."""

    surface: str | None = _SURFACES
    dry_run: bool = _DRY_RUN
    who: str = _WHO
