"""The whole file: its surfaces, and what is common to all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from recsys_assets.config.surface import Surface
from recsys_assets.config.values import AtLeastOne, Location, Model, VariableName, WebUrl
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place


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


class Pages(Model):
    """What Dagster is told of a day, so what its pages, its databases and its alerts hold."""

    show_ids: bool = Field(
        True,
        description=(
            "Whether ids of users, sessions and requests are shown, and what refused lines say. "
            "Ids of items always are."
        ),
    )


@dataclass(frozen=True)
class Broken:
    """A surface whose entry has a mistake: nothing is done for it until it is corrected.

    Attributes:
        name: `tenant/surface`, or `number 2` when the entry does not name it.
        place: whose it is; None when the entry does not say.
        problems: what is wrong, a line each, which names surface and key and quotes no secret.
    """

    name: str
    place: Place | None
    problems: tuple[str, ...]


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
    pages: Pages = Field(
        default_factory=lambda: Pages.model_validate({}),
        description="What Dagster is told of a day.",
    )
    on_mistake: Literal["skip", "refuse"] = Field(
        "skip",
        description=(
            "What becomes of the other surfaces when the entry of one has a mistake: skip does "
            "them, refuse does nothing."
        ),
    )
    surfaces: list[Surface] = Field(min_length=1, description="What is built, for whom.")

    _file: str = PrivateAttr("the configuration")
    _broken: tuple[Broken, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _tell_surfaces(self) -> Self:
        longest: dict[Place, int] = {}
        for surface in self.surfaces:
            of = surface.events_of
            longest[of] = max(surface.window_days, longest.get(of, 0))
        self.surfaces[:] = [
            surface.told(longest_window=longest[surface.events_of], shows_ids=self.pages.show_ids)
            for surface in self.surfaces
        ]
        return self

    @property
    def broken(self) -> tuple[Broken, ...]:
        """The surfaces that have a mistake; they are not among `surfaces`."""
        return self._broken

    def of_file(self, file: str) -> Self:
        """Return the configuration with the file that mistakes are told of."""
        config = self.model_copy()
        config._file = file
        return config

    def without(self, broken: Iterable[Broken]) -> Self:
        """Return the configuration in which these surfaces are `broken`, the others as they are.

        Raises:
            ConfigError: `on_mistake` is refuse, or there is no other surface.
        """
        found = (*self._broken, *broken)
        places = {each.place for each in found}
        left = [surface for surface in self.surfaces if surface.place not in places]
        config = self.model_copy(update={"surfaces": left})
        config._broken = found
        if self.on_mistake == "refuse" or not left:
            config.refuse_mistakes()
        return config

    def about(self, places: Collection[Place]) -> Self:
        """Return the configuration of these surfaces alone, with the bases of those among them.

        A surface is as it is beside the others: it knows of what shares its events.
        """
        wanted = {*places, *(each.events_of for each in self.surfaces if each.place in places)}
        surfaces = [each for each in self.surfaces if each.place in wanted]
        return self.model_copy(update={"surfaces": surfaces})

    def refuse_mistakes(self) -> None:
        """Raise ConfigError with every mistake, if there is one."""
        if self._broken:
            raise ConfigError(self.told(self._broken))

    def told(self, broken: Iterable[Broken]) -> str:
        """Say what is wrong with surfaces, each mistake on a line, after the file they stand in."""
        lines = dict.fromkeys(line for each in broken for line in each.problems)
        return "\n  ".join([f"{self._file}:", *lines])

    def surface(self, name: str) -> Surface:
        """Return the surface called `tenant/surface`.

        Raises:
            ConfigError: it has a mistake, or there is none; lists those that there are.
        """
        for surface in self.surfaces:
            if surface.name == name:
                return surface
        if broken := [each for each in self._broken if each.name == name]:
            raise ConfigError(self.told(broken))
        known = ", ".join(surface.name for surface in self.surfaces)
        raise ConfigError(f"no surface {name!r} in the configuration; there are: {known}")

    def variants_of(self, base: Surface) -> list[Surface]:
        """Return the surfaces that are made of the events of another one."""
        name = base.name
        return [each for each in self.surfaces if each.variant_of == name]

    def skipped(self, name: str | None) -> tuple[Broken, ...]:
        """Return the surfaces that are passed over by what is asked for `selected(name)`."""
        return self._broken if name is None else ()

    def selected(self, name: str | None) -> list[Surface]:
        """Return the surface called `tenant/surface`, or all that have no mistake.

        Raises:
            ConfigError: as `surface`.
        """
        return self.surfaces if name is None else [self.surface(name)]
