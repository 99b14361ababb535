"""The only reader of the file, and of the environment variables beside it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from recsys_assets.config.surface import Surface
from recsys_assets.config.values import as_location, as_web_url, is_object_url, models_below
from recsys_assets.config.variants import (
    is_of_the_base,
    mistakes_of_variants,
    with_bases,
    with_what_may_be_set,
    without_base,
)
from recsys_assets.config.whole import Broken, Config
from recsys_assets.errors import ConfigError
from recsys_assets.places import Place

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_VARIABLE = "RECSYS_CONFIG"
ROOT_VARIABLE = "RECSYS_ROOT"
DOCS_VARIABLE = "RECSYS_DOCS_URL"
UI_VARIABLE = "RECSYS_UI_URL"
PACKAGED_CONFIG = Path(__file__).parents[1] / "surfaces.yaml"
_LEAST_CONFIG = """\
root: /path/to/var
surfaces:
  - tenant: shop
    surface: home
    start_date: 2026-01-01
    source: {path: /path/to/raw}
    artifacts: {popularity: {}}
"""


def config_file() -> Path:
    """Return the file that is read when none is named.

    Raises:
        ConfigError: none is named, and this is no checkout: says how to make one.
    """
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named).absolute()
    if _is_checkout(PACKAGED_CONFIG.parents[1]):
        return PACKAGED_CONFIG.absolute()
    raise ConfigError(
        f"there is no configuration: ${CONFIG_VARIABLE} is not set. Write a file surfaces.yaml, "
        f"with `recsys-assets init` or as below, and set ${CONFIG_VARIABLE} to its path. The demo "
        f"is the default only where the project is checked out.\n\n{_LEAST_CONFIG}"
    )


def _is_checkout(folder: Path) -> bool:
    """Tell the repository from a folder of installed packages; the demo writes beside the former.

    The name is looked at too: now and then a package leaves its pyproject.toml among the installed.
    """
    try:
        described = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(described.get("project", {}).get("name") == "recsys-assets")


def load_config(path: str | Path | None = None) -> Config:
    """Read and check the configuration; every path in the result is absolute.

    Surfaces whose entry has a mistake are its `broken`, unless `on_mistake` is refuse.

    Args:
        path: the file; None means `$RECSYS_CONFIG`, else, in a checkout, the packaged demo.
            `$RECSYS_ROOT` replaces `root` and, being typed in a shell, is relative to the working
            directory.
            `$RECSYS_DOCS_URL` and `$RECSYS_UI_URL` stand in for `docs_url` and `alerts.ui_url`
            where the file leaves them out.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks a rule outside of the entries of
            surfaces or in all of them; names file, surface and key of every mistake.
    """
    file = config_file() if path is None else Path(path).absolute()
    return _checked_config(_read_yaml(file), file)


def surface_with(name: str, changes: Mapping[str, Any]) -> Surface:
    """Return a surface as it would be if some keys of its entry had other values.

    Args:
        name: `tenant/surface`.
        changes: values by key, `artifacts.cooc.min_support`.

    Raises:
        ConfigError: as `load_config`, and where the surface has a mistake then.
    """
    file = config_file()
    raw = _read_yaml(file)
    entries = raw.get("surfaces") if isinstance(raw, dict) else None
    if isinstance(entries, list):
        # One key of what a variant has of its base is changed, and the others stay.
        whole = with_what_may_be_set(entries)
        raw = raw | {"surfaces": [_changed(entry, name, changes) for entry in whole]}
    return _checked_config(raw, file).surface(name)


def _changed(entry: Any, name: str, changes: Mapping[str, Any]) -> Any:
    place = _place(entry)
    if place is None or place.name != name:
        return entry
    for key, value in changes.items():
        entry = _with_value(entry, key.split("."), value)
    return entry


def _with_value(mapping: Any, path: Sequence[str], value: Any) -> Any:
    # Other entries may share what is changed, as an alias, so it is not changed in place.
    first, *rest = path
    held = mapping if isinstance(mapping, dict) else {}
    return {**held, first: _with_value(held.get(first), rest, value) if rest else value}


def _checked_config(raw: Any, file: Path) -> Config:
    validated, problems = _validated(raw)
    wrong = {number for number, _ in problems}
    if None in wrong or (wrong and len(wrong) == len(raw["surfaces"])):
        lines = dict.fromkeys(text for _, text in problems)
        raise ConfigError("\n  ".join([f"{file}:", *lines]))
    entries = list(enumerate(raw["surfaces"], start=1))
    broken = [
        _broken(number, entry, [text for of, text in problems if of == number])
        for number, entry in entries
        if number in wrong
    ]
    if wrong or validated is None:
        filled = enumerate(with_bases(raw["surfaces"]), start=1)
        good = [entry for number, entry in filled if number not in wrong]
        validated = Config.model_validate(raw | {"surfaces": good})
    config = validated.of_file(str(file)).without(broken)
    return _with_addresses(_with_absolute_paths(config, file.parent))


def _validated(raw: Any) -> tuple[Config | None, list[tuple[int | None, str]]]:
    """Return the whole, where the models take it, and every mistake.

    Each mistake with the number of the entry it stands in; None outside of entries.
    """
    entries = raw.get("surfaces") if isinstance(raw, dict) else None
    if not isinstance(entries, list):
        config, problems = _of_models(raw)
        return config, [(None, _explain(raw, problem)) for problem in problems]
    found: list[tuple[int | None, str]] = []
    config, problems = _of_models(raw | {"surfaces": with_bases(entries)})
    for problem in problems:
        where = problem["loc"]
        if where[:1] != ("surfaces",) or len(where) == 1:
            found.append((None, _explain(raw, problem)))
        elif not is_of_the_base(entries[int(where[1])], where[2:3]):
            found.append((int(where[1]) + 1, _explain(raw, problem)))
    found += [*_clashes(entries), *mistakes_of_variants(entries)]
    return config, [*found, *without_base(entries, {number for number, _ in found})]


def _of_models(raw: Any) -> tuple[Config | None, list[ErrorDetails]]:
    try:
        return Config.model_validate(raw), []
    except ValidationError as error:
        return None, error.errors()


def _clashes(entries: list[Any]) -> Iterator[tuple[int, str]]:
    """Yield each entry that cannot stand beside another: nobody knows which of them is meant."""
    seen: dict[str, tuple[int, Place]] = {}
    for number, entry in enumerate(entries, start=1):
        place = _place(entry)
        if place is None:
            continue
        first, other = seen.setdefault(place.group, (number, place))
        if first == number:
            continue
        name = quoted_name(place.tenant, place.surface, number)
        problem = (
            f"surface {name} is listed twice"
            if other == place
            else f"surfaces {quoted_name(other.tenant, other.surface, first)} and {name} look the "
            "same in Dagster, which keeps only letters, digits and _"
        )
        yield first, problem
        yield number, problem


def _place(entry: Any) -> Place | None:
    """Return whose entry it is; None when it does not say."""
    names = [entry.get(key) for key in ("tenant", "surface")] if isinstance(entry, dict) else []
    tenant, surface = names or (None, None)
    return Place(tenant, surface) if isinstance(tenant, str) and isinstance(surface, str) else None


def _broken(number: int, entry: Any, problems: list[str]) -> Broken:
    place = _place(entry)
    name = quoted_name(place and place.tenant, place and place.surface, number)
    may_be_told = place is not None and place.name == name
    return Broken(name, place if may_be_told else None, tuple(problems))


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    def absolute(path: str) -> str:
        if is_object_url(path):
            return path
        # normpath, not resolve: a symlinked data directory keeps the name people gave it.
        return os.path.normpath(folder / path)

    surfaces = [
        surface.model_copy(
            update={
                "source": surface.source
                if surface.source.type == "postgres"
                else surface.source.model_copy(update={"path": absolute(surface.source.path)}),
                "catalog": surface.catalog
                and surface.catalog.model_copy(update={"path": absolute(surface.catalog.path)}),
                "items": surface.items.model_copy(
                    update={"deny": surface.items.deny and absolute(surface.items.deny)}
                ),
                "engine": surface.engine.model_copy(
                    update={"spill": surface.engine.spill and absolute(surface.engine.spill)}
                ),
                "sinks": [
                    sink.model_copy(update={"path": absolute(path)})
                    if (path := getattr(sink, "path", None))
                    else sink
                    for sink in surface.sinks
                ],
            }
        )
        for surface in config.surfaces
    ]
    from_environment = os.environ.get(ROOT_VARIABLE)
    root = (
        typed_root(f"${ROOT_VARIABLE}", from_environment)
        if from_environment
        else absolute(config.root)
    )
    return config.model_copy(update={"root": root, "surfaces": surfaces})


def typed_root(where: str, text: str) -> str:
    """Return a root as it was typed in a shell, so relative to the working directory.

    Raises:
        ConfigError: it is no directory and no URL of an object store; `where` says what it is of.
    """
    root = _checked(as_location, where, text)
    return root if is_object_url(root) else str(Path(root).absolute())


def _with_addresses(config: Config) -> Config:
    """Fill in what the file leaves to whoever starts the servers, as `make dev` does."""
    docs, ui = os.environ.get(DOCS_VARIABLE), os.environ.get(UI_VARIABLE)
    if docs and config.docs_url is None:
        docs_url = _checked(as_web_url, f"${DOCS_VARIABLE}", docs)
        config = config.model_copy(update={"docs_url": docs_url})
    if ui and "ui_url" not in config.alerts.model_fields_set:
        url = _checked(as_web_url, f"${UI_VARIABLE}", ui)
        alerts = config.alerts.model_copy(update={"ui_url": url})
        config = config.model_copy(update={"alerts": alerts})
    return config


def _checked(check: Callable[[str], str], where: str, value: str) -> str:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


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
        if where[:1] == ["sinks"] and len(where) > 1:
            prefix += f"sink {_sink_of(of['sinks'], where[1])}: "
            where = where[3:]  # behind the number stands the type
    known = {
        of.alias or name for model in models_below() for name, of in model.model_fields.items()
    }
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        meant = closest(str(where[-1]), known)
        message = "unknown key" + (f" (did you mean {meant!r}?)" if meant else "")
    elif problem["type"] in {"missing", "union_tag_not_found"}:
        message = "is required"
    elif problem["type"] == "union_tag_invalid":  # what it says quotes the tag
        message = f"must be one of {problem['ctx']['expected_tags']}"
    elif not problem["type"].startswith("value_error"):
        message = f"{message}, got {quoted_value(problem['input'])}"
    if problem["type"].startswith("union_tag"):
        where = ["type"]
    key = ".".join(quoted_key(each, known) for each in where)
    return prefix + (f"{key}: " if key else "") + message


def _sink_of(sinks: Sequence[Any], number: int) -> str:
    """Return the name of a sink, if it is one, else its number."""
    name = sinks[number].get("name") if isinstance(sinks[number], dict) else None
    plain = isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)
    return str(name) if plain else f"number {number + 1}"
