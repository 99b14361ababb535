"""Time one day of generated events, from raw lines to a published manifest, and stage by stage.

The first line is what a user waits for: `recsys-assets materialize` as a process of its own,
Dagster, checks and publishing included. The stages are processes of their own too, so that each has
its own peak of memory; they include about half a second of imports and do not add up to the first
line. Each `--base` is a checkout of another version, which takes turns with this one over the
whole, and must give the same versions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import inputs
import measure
import yaml

DAY = date(2026, 1, 1)
HERE = Path(__file__).parents[1]
INSTANCE = HERE / "dagster.yaml"
KINDS = ("popularity", "cooc", "implicit", "session_seq")


def configuration(
    folder: Path, window_days: int = 1, engine: Mapping[str, str] | None = None
) -> Path:
    """Write a surfaces.yaml without limits that cut anything."""
    unlimited = 1_000_000_000
    links = any(path.is_symlink() for path in (folder / "raw").rglob("*"))  # to --file
    path = folder / "surfaces.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "root": "var",
                "surfaces": [
                    {
                        "tenant": "demo",
                        "surface": "home",
                        "start_date": DAY,
                        "window_days": window_days,
                        **({"engine": dict(engine)} if engine else {}),  # older versions have none
                        "source": {"path": "raw"}
                        | ({"follow_links_outside": True} if links else {}),
                        "artifacts": {
                            "popularity": {"top_n": unlimited},
                            "cooc": {"max_items": unlimited},
                            "implicit": {"top_n": unlimited},
                            "session_seq": {"top_n": unlimited},
                        },
                        "guardrails": {
                            "max_events": unlimited,
                            "max_sessions": unlimited,
                            "max_users": unlimited,
                            "max_artifact_bytes": 100 * unlimited,
                        },
                    }
                ],
            }
        )
    )
    return path


def stage(name: str, folder: Path) -> None:
    """Run one stage in this process: canonical events, or an artifact of the staged ones."""
    from recsys_assets.audit.drafts import drafts
    from recsys_assets.audit.events import audit_events
    from recsys_assets.audit.shared import Shared
    from recsys_assets.config import load_config
    from recsys_assets.documents import DocumentHead, render
    from recsys_assets.events.accepted import AcceptedDay
    from recsys_assets.kinds import KINDS as ALL_KINDS
    from recsys_assets.storage import open_store

    surface = load_config(folder / "surfaces.yaml").surfaces[0]
    if name == "canonical_events":
        audit_events(open_store(str(folder)), surface, DAY, folder, Shared())
        return
    accepted = {DAY: AcceptedDay(str(folder / f"{DAY}.parquet"), fingerprint="")}
    draft = drafts(open_store(str(folder)), surface, ALL_KINDS[name], accepted, Shared())(DAY)
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    head = DocumentHead.of_day(surface, name, DAY)
    document = render(draft.text, head, path, source_hash="", built_at=datetime.now(UTC))
    print(
        json.dumps({"rows": draft.list.numbers["dagster/row_count"], "version": document.version})
    )


def main() -> None:
    """Read the command line, generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    inputs.add_input(parser)
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of the whole, the median is shown"
    )
    parser.add_argument(
        "--engine", type=json.loads, help="as in surfaces.yaml, but JSON; the stages are Polars'"
    )
    parser.add_argument("--no-stages", action="store_true")
    parser.add_argument("--base", type=Path, action="append", default=[], help="a checkout")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder", type=Path, help="where to write; default: a temporary directory"
    )
    options = parser.parse_args()
    if options.stage:
        stage(options.stage, options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        print(f"input: {inputs.prepare(options, folder / f'raw/demo/home/exposure.{DAY}.jsonl')}")
        print(f"machine: {measure.environment()}\n")
        whole(folder, options.runs, options.engine, [*options.base, HERE])
        if not options.no_stages:
            stages(folder)


def whole(folder: Path, runs: int, engine: Mapping[str, str] | None, trees: Sequence[Path]) -> None:
    """Print the median of `recsys-assets materialize` over fresh roots, of each version."""
    costs: dict[Path, list[measure.Cost]] = {tree: [] for tree in trees}
    for number in range(runs):
        for at, tree in enumerate(trees):
            costs[tree].append(materialize(folder, name := f"{number}-{at}", engine, tree))
            assert versions(folder, name) == versions(folder, "0-0"), tree
    for tree, of_tree in costs.items():
        ratios = measure.ratios(measure.median(of_tree), measure.median(costs[trees[0]]))
        print(f"{f'materialize, {tree.name}':28}{measure.median(of_tree)}  {ratios}")
        wall = sorted(cost.wall_s for cost in of_tree)
        print(f"{'':28}median of {runs} runs, {wall[0]:.2f} to {wall[-1]:.2f} s wall\n")


def materialize(
    folder: Path, name: str, engine: Mapping[str, str] | None = None, tree: Path = HERE
) -> measure.Cost:
    """Materialize the day by a version, below a root, and with an instance, of its own."""
    home = folder / f"dagster{name}"
    home.mkdir()
    shutil.copy(tree / "dagster.yaml", home)
    environment = {
        "DAGSTER_HOME": str(home),
        "PYTHONPATH": str(tree),
        "RECSYS_CONFIG": str(configuration(folder, engine=engine)),
        "RECSYS_ROOT": str(folder / f"var{name}"),
    }
    days = ["--from", str(DAY), "--to", str(DAY), "--json"]
    command = [sys.executable, "-P", "-m", "recsys_assets.cli", "materialize", *days]
    return measure.run(command, env=environment, log=folder / "log")


def versions(folder: Path, name: str) -> dict[str, str]:
    """Return the version of each kind that was made below a root."""
    refs = (folder / f"var{name}/staged").rglob(f"{DAY}.json")
    read = {path.parent.name: json.loads(path.read_bytes()) for path in refs}
    return {kind: read[kind]["version"] for kind in KINDS}


def stages(folder: Path) -> None:
    """Print what each stage costs in a process of its own."""
    for name in ("canonical_events", *KINDS):
        command = [sys.executable, __file__, "--stage", name, "--folder", str(folder)]
        cost = measure.run(command, env={}, log=folder / "log")
        rows = json.loads(cost.output)["rows"] if cost.output.strip() else ""
        print(f"{name:28}{cost}  {f'{rows:,} rows' if rows else ''}")


if __name__ == "__main__":
    main()
