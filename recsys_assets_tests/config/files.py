"""A surfaces.yaml as a test writes it: loaded, or the problems that are reported."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_assets.config import Config, load_config
from recsys_assets.errors import ConfigError

SURFACE: dict[str, Any] = {
    "tenant": "demo",
    "surface": "home",
    "start_date": date(2026, 1, 1),
    "source": {"path": "raw"},
    "artifacts": {"popularity": {}},
}
ALL_KINDS: dict[str, Any] = {
    "popularity": {},
    "cooc": {},
    "implicit": {},
    "session_seq": {},
    "content_sim": {},
}
# A secret: no message may hold it.
UNTOLD = "wJalrXUtnFEMI"
SCHEMES = ["s3://", "gs://", "az://"]


def load_text(file: Path, text: str) -> Config:
    file.write_text(text, encoding="utf-8")
    return load_config(file)


def load(file: Path, *surfaces: dict[str, Any], **top: Any) -> Config:
    text = yaml.safe_dump({"root": "var", "surfaces": list(surfaces), **top})
    return load_text(file, text)


def problems(file: Path, *surfaces: dict[str, Any], **top: Any) -> list[str]:
    """Return the reported problems, one a line, after the line that names the file."""
    with pytest.raises(ConfigError) as error:
        load(file, *surfaces, **top)
    first, *rest = str(error.value).splitlines()
    assert first == f"{file}:"
    return [line.removeprefix("  ") for line in rest]


def with_knob(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a surface of all kinds with the value at the end of a path of keys."""
    surface = {**SURFACE, "catalog": {"path": "catalog.csv"}, "artifacts": {**ALL_KINDS}}
    inner = surface
    for key in path[:-1]:
        inner[key] = dict(inner.get(key, {}))
        inner = inner[key]
    inner[path[-1]] = value
    return surface


def knob(config: Config, path: tuple[str, ...]) -> Any:
    value: Any = config.surfaces[0]
    for key in path:
        value = getattr(value, key)
    return value


def with_locations(location: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a surface and top-level keys that name a location everywhere one may stand."""
    surface = {
        **SURFACE,
        "source": {"path": location},
        "catalog": {"path": f"{location}/c.csv"},
    }
    return surface, {"root": location}


def locations(config: Config) -> tuple[str, str, str]:
    surface = config.surfaces[0]
    return config.root, surface.source.path, surface.catalog_path
