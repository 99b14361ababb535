"""A whole project in a temporary directory: configuration, raw events, root, Dagster instance."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from recsys_assets.config import Config, Surface, load_config
from recsys_assets.definitions import build_definitions
from recsys_assets.defs.materialize import RangeResult, materialize
from recsys_assets.kinds import KINDS
from recsys_assets.storage import open_store
from recsys_assets.storage.local import LocalStore
from recsys_assets.storage.publications import Live, read_live

DAY = date(2026, 1, 1)
# Every kind, with options by which a handful of events gives something.
ALL_KINDS: dict[str, dict[str, int]] = {kind: {} for kind in KINDS} | {"cooc": {"min_support": 1}}
# For what has nothing to do with the kind: each takes its share of the time of a day.
SMALL: dict[str, Any] = {"artifacts": {"popularity": {}, "cooc": {"min_support": 1}}}
CATALOG = "item_id,tags,title\na,red|round,Apple\nb,yellow,Banana\n"


def day(number: int) -> date:
    """Return the n-th day of the project, from 0."""
    return DAY + timedelta(days=number)


def event(item: str, *, of: date = DAY, **members: Any) -> dict[str, Any]:
    """Return one raw exposure event of `demo/home`."""
    return {
        "v": 1,
        "ts": f"{of}T12:00:00Z",
        "tenant": "demo",
        "surface": "home",
        "session_id": "s1",
        "user_id": "u1",
        "item_id": item,
    } | members


@dataclass(frozen=True)
class Project:
    """The files of a project, and what one does with them."""

    folder: Path
    instance: dg.DagsterInstance
    _built: dict[int, tuple[Config, dg.Definitions]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def configure(self, *surfaces: Mapping[str, Any]) -> Config:
        """Write surfaces.yaml, each surface on top of a small default, and load it.

        Of the default, a variant gets what is not that of its base.
        """
        default = {
            "tenant": "demo",
            "surface": "home",
            "start_date": DAY,
            "end_date": date(2026, 2, 1),
            "source": {"path": "raw"},
            "catalog": {"path": "catalog.csv"},
            "artifacts": copy.deepcopy(ALL_KINDS),
        }
        of_variant = {key: default[key] for key in ("tenant", "artifacts")}
        merged = [
            {**(of_variant if "variant_of" in surface else default), **surface}
            for surface in surfaces or ({},)
        ]
        self.config_file.write_text(yaml.safe_dump({"root": "var", "surfaces": merged}))
        (self.folder / "catalog.csv").write_text(CATALOG)
        (self.folder / "raw").mkdir(exist_ok=True)
        return load_config(self.config_file)

    @property
    def config_file(self) -> Path:
        """Where `configure` writes."""
        return self.folder / "surfaces.yaml"

    @property
    def store(self) -> LocalStore:
        """The project's root."""
        return LocalStore(self.folder / "var")

    def land(self, of: date, events: Iterable[Mapping[str, Any] | str], *, part: str = "") -> Path:
        """Write a raw file of `demo/home`; text is written as it is, one line each."""
        path = self.folder / f"raw/demo/home/exposure.{of}{part}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (line if isinstance(line, str) else json.dumps(line) for line in events)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def materialize(self, config: Config, days: Sequence[date], *, surface: int = 0) -> RangeResult:
        """Materialize days of a surface the way the command line does."""
        if id(config) not in self._built:  # and is kept, so that no other gets its id
            self._built[id(config)] = config, build_definitions(config)
        _, definitions = self._built[id(config)]
        return materialize(
            definitions,
            config.surfaces[surface],
            days,
            store=open_store(config.root),
            instance=self.instance,
        )

    def live(self, config: Config, *, surface: int = 0) -> Live | None:
        """Return what is live for a surface."""
        of: Surface = config.surfaces[surface]
        return read_live(self.store, of.place)

    def blobs(self) -> dict[str, bytes]:
        """Return every file below the root that is never changed."""
        root = self.folder / "var"
        return {
            str(path.relative_to(root)): path.read_bytes()
            for folder in ("objectstore", "registry/records", "registry/publications", "canonical")
            for path in sorted((root / folder).rglob("*"))
            if path.is_file()
        }


def expected_versions(case: Mapping[str, Any]) -> dict[tuple[date, str], str]:
    """Return the versions of a golden case by day and kind."""
    return {
        (date.fromisoformat(of), kind): version
        for of, kinds in case["expected"].items()
        for kind, version in kinds.items()
    }


def golden_surface(case: Mapping[str, Any], raw: Path, catalog: Path | None) -> dict[str, Any]:
    """Translate a golden case's limits, named as the reference system does, to a surface."""
    limits = case["limits"]
    items = limits.get("max_items_per_artifact", 1000)
    per_user = {"top_n": limits.get("max_items_per_user", 500)}
    options = {
        "popularity": {"top_n": items},
        "cooc": {
            "max_items": items,
            "max_neighbours": limits.get("max_neighbors_per_item", 50),
            "min_support": limits.get("min_cooc_support", 2),
        },
        "implicit": per_user,
        "session_seq": per_user,
        "content_sim": {"max_items": items},
    }
    return {
        "tenant": case["tenant"],
        "surface": case["surface"],
        "segment": case["segment"],
        "start_date": date.fromisoformat(min(case["expected"])),
        "source": {"path": str(raw)},
        "catalog": {"path": str(catalog)} if catalog else None,
        "artifacts": {kind: copy.deepcopy(options[kind]) for kind in case["artifacts"]},
        "end_date": None,
        "guardrails": {
            "min_events": 0,
            "max_items_per_session": limits.get("max_items_per_session", 1_000_000),
            "max_artifact_bytes": 1_000_000_000,
        },
    }
