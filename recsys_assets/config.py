"""`surfaces.yaml` as pydantic models: what is built for whom, from where, within which limits.

`load_config` is the only reader of the file and of the two environment variables `RECSYS_CONFIG`
and `RECSYS_ROOT`. Every mistake in the file is reported at once, each with file, surface and key.
"""

from __future__ import annotations

import difflib
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys_assets.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_VARIABLE = "RECSYS_CONFIG"
ROOT_VARIABLE = "RECSYS_ROOT"
PACKAGED_CONFIG = Path(__file__).with_name("surfaces.yaml")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OBJECT_STORES = ("s3://", "gs://", "az://")


def is_object_url(text: str) -> bool:
    """Tell a URL of an object store from a path."""
    return text.startswith(_OBJECT_STORES)


def _one_path_segment(value: str) -> str:
    """Refuse what would leave its folder, or break a URI, as a path segment."""
    if value.strip() != value or not value:
        raise ValueError("must not be empty or begin or end with white space")
    if value in {".", ".."} or "/" in value or "\\" in value or _CONTROL.search(value):
        raise ValueError("must be one path segment: no '/', '\\', '.', '..', control characters")
    return value


def _location(value: str) -> str:
    """Refuse what is neither a path nor a plain URL of an object store."""
    if not value:
        raise ValueError("must not be empty")
    scheme, separator, rest = value.partition("://")
    if not separator:
        return value
    # Never quoted back: what stands before an @ or behind a ? is a secret more often than not.
    if not is_object_url(value):
        raise ValueError(f"is a URL that is not supported: use a path, {', '.join(_OBJECT_STORES)}")
    bucket, _, prefix = rest.removesuffix("/").partition("/")
    if not bucket or re.search(r"[@:]", bucket) or "?" in rest or _CONTROL.search(rest):
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


def _variable_name(value: str) -> str:
    """Refuse what cannot name an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        # Not quoted back: most likely it is the URL itself.
        raise ValueError(
            "must be the name of an environment variable: the URL is a secret and stays out of "
            "this file"
        )
    return value


def _web_url(value: str) -> str:
    """Refuse what cannot begin a link, or would put a secret on every page."""
    if not re.fullmatch(r"https?://[^\s/@?#()<>]+(/[^\s@?#()<>]*)?", value):
        raise ValueError(
            "must be http(s)://host[:port][/path], without credentials, a query or brackets"
        )
    return value.rstrip("/")


Segment = Annotated[str, AfterValidator(_one_path_segment)]
Location = Annotated[str, AfterValidator(_location)]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
AtLeastZero = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Popularity(_Model):
    """Most exposed items."""

    top_n: AtLeastOne = Field(1000, description="Items kept, the most exposed first.")
    half_life_days: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description=(
            "Days of age after which an exposure counts half; counts are then in thousandths of an "
            "exposure of the last day. Null counts all days of the window alike."
        ),
    )


class Cooc(_Model):
    """Items seen in the same sessions."""

    max_neighbours: AtLeastOne = Field(50, description="Neighbours kept per item.")
    min_support: AtLeastOne = Field(2, description="Sessions a pair needs to be kept.")
    max_items: AtLeastOne = Field(
        1000, description="Items with a list of neighbours; those in the most sessions stay."
    )


class Implicit(_Model):
    """Exposures per user and item."""

    top_n: AtLeastOne = Field(500, description="Items kept per user.")


class SessionSeq(_Model):
    """Items that follow another item of the same user."""

    top_n: AtLeastOne = Field(500, description="Items kept per user.")


class ContentSim(_Model):
    """Tags per catalog item."""

    max_items: AtLeastOne = Field(100_000, description="Catalog items kept, by id ascending.")


EventOptions = Popularity | Cooc | Implicit | SessionSeq
Options = EventOptions | ContentSim


class Artifacts(_Model):
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

    def options(self, kind: str) -> Options:
        """Return the options of an enabled kind."""
        options: Options = getattr(self, kind)
        return options


class Landing(_Model):
    """When raw files count as landed; the landing sensor reports those that do."""

    settle_seconds: AtLeastZero = Field(
        60, description="Seconds that the files of a day must have stayed as they are."
    )
    success_marker: str | None = Field(
        None,
        description=(
            "File below `path` that says that a day is complete, waited for instead of "
            "`settle_seconds`: `{tenant}/{surface}/dt={day}/_SUCCESS`."
        ),
    )
    lookback_days: int = Field(
        400, ge=1, le=3660, description="Newest days that are looked at; older ones are left alone."
    )

    @model_validator(mode="after")
    def _marker_is_of_one_day(self) -> Self:
        if self.success_marker is not None:
            _check_day_pattern("success_marker", self.success_marker)
            if any(wildcard in self.success_marker for wildcard in "*?["):
                raise ValueError("success_marker: names one file, without wildcards")
        return self


def _check_day_pattern(key: str, pattern: str) -> None:
    """Refuse what is not a path of one day below a source."""
    try:
        names = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
    except ValueError as error:
        raise ValueError(f"{key}: {error}; a brace itself is written twice") from None
    if unknown := names - {"tenant", "surface", "day"}:
        raise ValueError(f"{key}: unknown placeholder {sorted(unknown)}")
    if "day" not in names:
        raise ValueError(f"{key}: needs {{day}}, otherwise every day would read every file")
    if pattern.startswith("/") or ".." in Path(pattern).parts:
        raise ValueError(f"{key}: must stay below `path`")
    if pattern.endswith("/"):
        raise ValueError(f"{key}: must name files, not a directory")


class Source(_Model):
    """Where the raw exposure events of a surface land."""

    type: Literal["jsonl"] = Field(
        "jsonl", description="Raw exposure events v1, one object a line."
    )
    path: Location = Field(
        description="The directory, or s3://, gs:// or az:// URL, that `pattern` starts from."
    )
    pattern: str = Field(
        "{tenant}/{surface}/exposure.{day}*.jsonl*",
        description=(
            "Glob of one day's files below `path`: plain, .gz or .zst, any number of parts. "
            "{tenant}, {surface} and {day} (YYYY-MM-DD) are filled in."
        ),
    )

    landing: Landing = Field(
        default_factory=lambda: Landing.model_validate({}),
        description="When raw files count as landed.",
    )

    @model_validator(mode="after")
    def _pattern_selects_one_day(self) -> Self:
        _check_day_pattern("pattern", self.pattern)
        return self


class Catalog(_Model):
    """The item catalog that content_sim reads."""

    path: Location = Field(description="A .csv or .jsonl file or object, told apart by the suffix.")

    @model_validator(mode="after")
    def _known_suffix(self) -> Self:
        if Path(self.path).suffix.lower() not in {".csv", ".jsonl"}:
            raise ValueError("path: must end in .csv or .jsonl")
        if is_object_url(self.path) and "/" not in self.path.partition("://")[2]:
            raise ValueError("path: must name an object in the bucket, not the bucket")
        return self


class Guardrails(_Model):
    """Limits of one day. Exceeding one fails a blocking check; nothing is cut silently."""

    min_events: AtLeastZero = Field(
        1, description="Fewest canonical events a day needs; 0 publishes empty days."
    )
    max_events: AtLeastOne = Field(100_000_000, description="Most canonical events in a day.")
    max_sessions: AtLeastOne = Field(10_000_000, description="Most distinct sessions in a day.")
    max_distinct_items: AtLeastOne = Field(5_000_000, description="Most distinct items in a day.")
    max_users: AtLeastOne = Field(10_000_000, description="Most distinct users in a day.")
    max_items_per_session: AtLeastOne = Field(
        200, description="Distinct items above which a session is left out of cooc."
    )
    max_oversized_session_share: Share = Field(
        0.01, description="Largest share of sessions that may be left out of cooc that way."
    )
    max_rejected_share: Share = Field(
        0.01, description="Largest share of a day's raw lines that may be refused."
    )
    max_artifact_bytes: AtLeastOne = Field(
        10_000_000, description="Largest artifact document, the online service's default limit."
    )
    max_backfill_days: AtLeastOne = Field(
        400, description="Most days that one materialization may cover."
    )


class Retention(_Model):
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


class Freshness(_Model):
    """How old what is live may be; more is stale."""

    max_days_behind: AtLeastZero = Field(
        1, description="Most whole UTC days between the live window's last day and yesterday."
    )
    max_hours_since_flip: int | None = Field(
        None,
        ge=1,
        description="Most hours since a flip changed what is live; null does not count them.",
    )


class Alerts(_Model):
    """How people are told of failed runs."""

    webhook_env: VariableName = Field(
        "RECSYS_WEBHOOK_URL",
        description="Environment variable that holds the URL reports are posted to, a secret.",
    )
    ui_url: WebUrl = Field(
        "http://127.0.0.1:3000", description="Where people open the Dagster UI; reports link to it."
    )
    timeout_seconds: int = Field(
        10, ge=1, le=30, description="Seconds after which a post that nobody answers has failed."
    )


class Surface(_Model):
    """One place where recommendations are shown, of one tenant."""

    tenant: Segment = Field(description="The tenant, one path segment.")
    surface: Segment = Field(description="The surface, one path segment.")
    segment: Segment = Field("default", description="A label in the artifact documents.")
    start_date: date = Field(description="First day, UTC.")
    end_date: date | None = Field(None, description="Day after the last one; null is open.")
    source: Source = Field(description="Where raw exposure events land.")
    catalog: Catalog | None = Field(None, description="Required when content_sim is built.")
    window_days: AtLeastOne = Field(
        1, description="Days the event-based artifacts look back on, the day itself included."
    )
    schedule_at: TimeOfDay = Field(
        "06:00", description="When the daily schedule materializes the day before, HH:MM UTC."
    )
    artifacts: Artifacts = Field(description="The artifact kinds to build.")
    guardrails: Guardrails = Field(
        default_factory=lambda: Guardrails.model_validate({}), description="Limits of one day."
    )
    freshness: Freshness = Field(
        default_factory=lambda: Freshness.model_validate({}),
        description="How old what is live may be.",
    )
    max_run_minutes: AtLeastOne = Field(
        240, description="Minutes after which a run that still goes on is ended, as failed."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.artifacts.content_sim and not self.catalog:
            raise ValueError("artifacts.content_sim needs a catalog: add `catalog: {path: ...}`")
        if self.end_date and self.end_date <= self.start_date:
            raise ValueError(f"end_date {self.end_date} must come after {self.start_date}")
        return self

    def raw_pattern(self, day: date) -> str:
        """Return the pattern of a day's raw files as people read it, its placeholders filled in."""
        return self._of_day(self.source.pattern, day)

    def success_marker(self, day: date) -> str | None:
        """Return the file that says that a day's raw files are complete, if there is to be one."""
        marker = self.source.landing.success_marker
        return None if marker is None else self._of_day(marker, day)

    def _of_day(self, pattern: str, day: date) -> str:
        return pattern.format(tenant=self.tenant, surface=self.surface, day=day)

    @property
    def catalog_path(self) -> str:
        """The catalog's file or URL; ConfigError when there is none."""
        if self.catalog is None:
            raise ConfigError(f"surface {self.name} has no catalog")
        return self.catalog.path

    @property
    def name(self) -> str:
        """`tenant/surface`, as people write it."""
        return f"{self.tenant}/{self.surface}"

    @property
    def group(self) -> str:
        """`tenant__surface`, the Dagster asset group; Dagster allows only letters, digits and _."""
        return re.sub(r"[^A-Za-z0-9_]", "_", f"{self.tenant}__{self.surface}")

    def newest_day(self, now: datetime) -> date | None:
        """Return the newest day that is over, UTC, and so can be made; None before the first is."""
        newest = now.astimezone(UTC).date() - timedelta(days=1)
        if self.end_date:
            newest = min(newest, self.end_date - timedelta(days=1))
        return newest if newest >= self.start_date else None


class Config(_Model):
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
            "name its file."
        ),
    )
    alerts: Alerts = Field(
        default_factory=lambda: Alerts.model_validate({}),
        description="How people are told of failed runs.",
    )
    surfaces: list[Surface] = Field(min_length=1, description="What is built, for whom.")

    @model_validator(mode="after")
    def _surfaces_are_distinct(self) -> Self:
        seen: dict[str, str] = {}
        for surface in self.surfaces:
            if surface.group in seen:
                other = seen[surface.group]
                raise ValueError(
                    f"surface {surface.name} is listed twice"
                    if other == surface.name
                    else f"surfaces {other} and {surface.name} share the group {surface.group}"
                )
            seen[surface.group] = surface.name
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


def load_config(path: str | Path | None = None) -> Config:
    """Read and check the configuration; every path in the result is absolute.

    Args:
        path: the file; None means `$RECSYS_CONFIG`, else the packaged demo. `$RECSYS_ROOT` replaces
            `root` and, being typed in a shell, is relative to the working directory.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks a rule; names file, surface and
            key.
    """
    file = Path(path or os.environ.get(CONFIG_VARIABLE) or PACKAGED_CONFIG).absolute()
    raw = _read_yaml(file)
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(raw, problem)}" for problem in error.errors())
        raise ConfigError(f"{file}:\n{without_secrets(problems)}") from None
    return _with_absolute_paths(config, file.parent)


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    def absolute(path: str) -> str:
        if is_object_url(path):
            return path
        # normpath, not resolve: a symlinked data directory keeps the name people gave it.
        return os.path.normpath(folder / path)

    surfaces = [
        surface.model_copy(
            update={
                "source": surface.source.model_copy(update={"path": absolute(surface.source.path)}),
                "catalog": surface.catalog
                and surface.catalog.model_copy(update={"path": absolute(surface.catalog.path)}),
            }
        )
        for surface in config.surfaces
    ]
    from_environment = os.environ.get(ROOT_VARIABLE)
    root = _root_from(from_environment) if from_environment else absolute(config.root)
    return config.model_copy(update={"root": root, "surfaces": surfaces})


def _root_from(environment: str) -> str:
    try:
        root = _location(environment)
    except ValueError as error:
        raise ConfigError(f"${ROOT_VARIABLE}: {error}") from None
    return root if is_object_url(root) else str(Path(root).absolute())


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a repeated key, which the stock loader would overwrite silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"repeated key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _read_yaml(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file}: cannot be read ({error}). Set ${CONFIG_VARIABLE} to your surfaces.yaml."
        ) from None
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    # PyYAML lets Python's own errors through: 2026-02-30 as a date, a list as a key.
    except (yaml.YAMLError, ValueError, TypeError) as error:
        problem = without_secrets(_yaml_problem(error))
        raise ConfigError(f"{file}: is not valid YAML: {problem}") from None


def _yaml_problem(error: Exception) -> str:
    """Return what is wrong and where, without PyYAML's quote of the line: it may hold a secret."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"


def without_secrets(text: str) -> str:
    """Blank what stands before an @ or behind a ? of a URL, wherever somebody has put one."""
    text = re.sub(r"[^\s'\"]*@", "***@", text)
    return re.sub(r"((?:://|\*@)[^\s'\"?]*\?)[^\s'\"]*", r"\1***", text)


def _explain(raw: Any, problem: ErrorDetails) -> str:
    """Write one pydantic problem as `surface tenant/surface: key: what is wrong`."""
    where: list[Any] = list(problem["loc"])
    prefix = ""
    if where[:1] == ["surfaces"] and len(where) > 1:
        entry = raw["surfaces"][where[1]]
        named = isinstance(entry, dict) and entry.get("tenant") and entry.get("surface")
        name = f"{entry['tenant']}/{entry['surface']}" if named else f"number {where[1] + 1}"
        prefix, where = f"surface {name}: ", where[2:]
    key = ".".join(map(str, where))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = f"unknown key{_suggest(where)}"
    elif problem["type"] == "missing":
        message = "is required"
    elif not problem["type"].startswith("value_error"):
        message = f"{message}, got {problem['input']!r}"
    return prefix + (f"{key}: " if key else "") + message


def _suggest(where: list[Any]) -> str:
    names = {name for model in _Model.__subclasses__() for name in model.model_fields}
    close = difflib.get_close_matches(str(where[-1]), names, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
