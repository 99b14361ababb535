"""The only reader of the file, and of the environment variables beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from recsys_assets.config.quoting import (
    closest,
    quoted_key,
    quoted_name,
    quoted_value,
    without_quotes,
)
from recsys_assets.config.strict_yaml import read_strictly
from recsys_assets.config.values import as_location, as_web_url, is_object_url, models_below
from recsys_assets.config.whole import Config
from recsys_assets.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_VARIABLE = "RECSYS_CONFIG"
ROOT_VARIABLE = "RECSYS_ROOT"
DOCS_VARIABLE = "RECSYS_DOCS_URL"
UI_VARIABLE = "RECSYS_UI_URL"
PACKAGED_CONFIG = Path(__file__).parents[1] / "surfaces.yaml"


def load_config(path: str | Path | None = None) -> Config:
    """Read and check the configuration; every path in the result is absolute.

    Args:
        path: the file; None means `$RECSYS_CONFIG`, else the packaged demo. `$RECSYS_ROOT` replaces
            `root` and, being typed in a shell, is relative to the working directory.
            `$RECSYS_DOCS_URL` and `$RECSYS_UI_URL` stand in for `docs_url` and `alerts.ui_url`
            where the file leaves them out.

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
        raise ConfigError(f"{file}:\n{problems}") from None
    return _with_addresses(_with_absolute_paths(config, file.parent))


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
    root = _checked(as_location, ROOT_VARIABLE, environment)
    return root if is_object_url(root) else str(Path(root).absolute())


def _with_addresses(config: Config) -> Config:
    """Fill in what the file leaves to whoever starts the servers, as `make dev` does."""
    docs, ui = os.environ.get(DOCS_VARIABLE), os.environ.get(UI_VARIABLE)
    if docs and config.docs_url is None:
        config = config.model_copy(update={"docs_url": _checked(as_web_url, DOCS_VARIABLE, docs)})
    if ui and "ui_url" not in config.alerts.model_fields_set:
        url = _checked(as_web_url, UI_VARIABLE, ui)
        alerts = config.alerts.model_copy(update={"ui_url": url})
        config = config.model_copy(update={"alerts": alerts})
    return config


def _checked(check: Callable[[str], str], variable: str, value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"${variable}: {error}") from None


def _read_yaml(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if re.search(r"\w\w:/", str(file)):  # not quoted: it may hold credentials
            raise ConfigError(
                f"the configuration is a file on this machine, not a URL: set ${CONFIG_VARIABLE} "
                "to its path"
            ) from None
        raise ConfigError(
            f"{file}: cannot be read ({error}). Set ${CONFIG_VARIABLE} to your surfaces.yaml."
        ) from None
    try:
        return read_strictly(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not valid YAML: {_yaml_problem(error)}") from None


def _yaml_problem(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, without PyYAML's quote of the line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return without_quotes(str(error))
    mark = error.problem_mark
    return f"line {mark.line + 1}, column {mark.column + 1}: {without_quotes(error.problem or '')}"


def _explain(raw: Any, problem: ErrorDetails) -> str:
    """Write one pydantic problem as `surface tenant/surface: key: what is wrong`."""
    where: list[Any] = list(problem["loc"])
    prefix = ""
    if where[:1] == ["surfaces"] and len(where) > 1:
        entry = raw["surfaces"][where[1]]
        of = entry if isinstance(entry, dict) else {}
        name = quoted_name(of.get("tenant"), of.get("surface"), where[1] + 1)
        prefix, where = f"surface {name}: ", where[2:]
    known = {name for model in models_below() for name in model.model_fields}
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        meant = closest(str(where[-1]), known)
        message = "unknown key" + (f" (did you mean {meant!r}?)" if meant else "")
    elif problem["type"] == "missing":
        message = "is required"
    elif not problem["type"].startswith("value_error"):
        message = f"{message}, got {quoted_value(problem['input'])}"
    key = ".".join(quoted_key(each, known) for each in where)
    return prefix + (f"{key}: " if key else "") + message
