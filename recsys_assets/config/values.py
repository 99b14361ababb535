"""What a single value of the configuration may be, and the base of its models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# And halves of surrogate pairs, which YAML can spell and no name of a file can hold.
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OBJECT_STORES = ("s3://", "gs://", "az://")


def is_object_url(text: str) -> bool:
    """Tell a URL of an object store from a path."""
    return text.startswith(_OBJECT_STORES)


def _one_path_segment(value: str) -> str:
    """Refuse what would leave its folder, or break a URI, as a path segment."""
    if value.strip() != value or not value:
        raise ValueError("must not be empty or begin or end with white space")
    if value in {".", ".."} or "/" in value or "\\" in value or CONTROL.search(value):
        raise ValueError("must be one path segment: no '/', '\\', '.', '..', control characters")
    return value


def _name_of_surface(value: str) -> str:
    """Refuse what is not `tenant/surface`."""
    if value.count("/") != 1:
        raise ValueError("must be tenant/surface")
    for part in value.split("/"):
        _one_path_segment(part)
    return value


def as_location(value: str) -> str:
    """Refuse what is neither a path nor a plain URL of an object store."""
    if not value:
        raise ValueError("must not be empty")
    scheme, separator, rest = value.partition("://")
    if CONTROL.search(value):
        raise ValueError("must hold no control characters")
    if not separator:
        return value
    # Never quoted back: what stands before an @ or behind a ? is a secret more often than not.
    if not is_object_url(value):
        raise ValueError(f"is a URL that is not supported: use a path, {', '.join(_OBJECT_STORES)}")
    bucket, _, prefix = rest.removesuffix("/").partition("/")
    if not bucket or re.search(r"[@:]", bucket) or "?" in rest:
        raise ValueError(
            f"must be {scheme}://bucket/prefix, with nothing else in it: credentials and options "
            "come from the environment"
        )
    parts = prefix.split("/") if prefix else []
    if rest.endswith("//") or any(part in {"", ".", ".."} for part in parts):
        raise ValueError("must not hold an empty part, '.' or '..' between its slashes")
    return value.rstrip("/")


def _time_of_day(value: str) -> str:
    """Refuse what is not a time as clocks show it."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError("must be a time of day, HH:MM, from 00:00 to 23:59")
    return value


def _day(value: Any) -> Any:
    """Take a day as text too: JSON has no dates, and people put quotes around them."""
    is_text = isinstance(value, str)
    if isinstance(value, datetime) or (
        is_text and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)
    ):
        raise ValueError("must be a date, YYYY-MM-DD")
    if is_text:
        return date.fromisoformat(value)
    return value


def _variable_name(value: str) -> str:
    """Refuse what cannot name an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        # Not quoted back: most likely it is the URL itself.
        raise ValueError(
            "must be the name of an environment variable: the URL is a secret and stays out of "
            "this file"
        )
    return value


def as_web_url(value: str) -> str:
    """Refuse what cannot begin a link, or would put a secret on every page."""
    if not re.fullmatch(r"https?://[^\s/@?#()<>]+(/[^\s@?#()<>]*)?", value):
        raise ValueError(
            "must be http(s)://host[:port][/path], without credentials, a query or brackets"
        )
    return value.rstrip("/")


Segment = Annotated[str, AfterValidator(_one_path_segment)]
SurfaceName = Annotated[str, AfterValidator(_name_of_surface)]
Location = Annotated[str, AfterValidator(as_location)]
Day = Annotated[date, BeforeValidator(_day)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
WebUrl = Annotated[str, AfterValidator(as_web_url)]
AtLeastZero = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
# How much of a list is kept: it fits into what Polars counts rows with.
Cut = Annotated[int, Field(ge=1, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]
# How far a number may be from where it is expected.
Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Model(BaseModel):
    """What is read from the file: an unknown key and another type are errors, nothing changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def models_below(model: type[Model] = Model) -> Iterator[type[Model]]:
    """Yield every model that derives from this one, however many others stand between."""
    for derived in model.__subclasses__():
        yield derived
        yield from models_below(derived)
