"""What the artifacts of a surface leave out: the events of bots, and items that are withdrawn."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from recsys_assets.config.options import Artifacts
from recsys_assets.config.values import Location, Model, is_object_url

# The kind that leaves oversized sessions out itself: of its whole window, and always.
_OWN_SESSIONS: Final = "cooc"


class Bots(Model):
    """Sessions and users that are taken for bots, and which artifacts leave them out."""

    leave_out_of: list[str] | Literal["all"] = Field(
        [_OWN_SESSIONS],
        description=(
            "The kinds without the events of bots, cooc among them, or `all` that read events. "
            "Sessions above `guardrails.max_items_per_session` are bots."
        ),
    )
    max_items_per_user: int | None = Field(
        None,
        ge=1,
        description="Distinct items of a day above which a user is a bot; null: nobody is.",
    )

    @model_validator(mode="after")
    def _leaves_out_of_kinds(self) -> Self:
        if self.leave_out_of == "all":
            return self
        known = [kind for kind in Artifacts.model_fields if Artifacts.reads_of(kind) == "events"]
        for kind in self.leave_out_of:
            if kind not in known:
                raise ValueError(f"leave_out_of: must be all, or kinds among {', '.join(known)}")
        if _OWN_SESSIONS not in self.leave_out_of:
            raise ValueError(
                f"leave_out_of: needs {_OWN_SESSIONS}, which never has the sessions of bots"
            )
        return self

    @property
    def beyond_cooc(self) -> bool:
        """Whether sessions are left out of more than cooc, which is told of canonical events."""
        return self.leave_out_of != [_OWN_SESSIONS]

    def are_left_out_of(self, kind: str) -> bool:
        """Tell whether a kind is made without the events of bots."""
        return self.leave_out_of == "all" or kind in self.leave_out_of

    def sessions_are_left_out_of(self, kind: str) -> bool:
        """Tell whether the oversized sessions of each day are to be left out for a kind."""
        return kind != _OWN_SESSIONS and self.are_left_out_of(kind)


class Items(Model):
    """Which items artifacts may list."""

    only_in_catalog: bool = Field(
        default=False, description="Whether items that the catalog does not have are left out."
    )
    deny: Location | None = Field(
        None,
        description=(
            "A file, or object, of items that are withdrawn: an id a line. Blank lines, and those "
            "that begin with #, are passed over."
        ),
    )

    @model_validator(mode="after")
    def _names_an_object(self) -> Self:
        if self.deny and is_object_url(self.deny) and "/" not in self.deny.partition("://")[2]:
            raise ValueError("deny: must name an object in the bucket, not the bucket")
        return self
