"""`deploy/grafana/`: the dashboard is whole, and Prometheus answers each of its queries."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.cli import main as recsys_assets
from recsys_assets.live import metrics
from recsys_assets.operations.pointer import pin
from recsys_assets.storage.found import Figures, Found, keep_day, keep_found
from recsys_assets.storage.publications import Why
from recsys_assets_tests import dashboard
from recsys_assets_tests.live.test_latency import EVENTS_ONLY, landed, made
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.ports import free_port
from recsys_assets_tests.project import DAY, Project, day

FOLDER: Final = dashboard.FILE.parents[1]
# By the title of the panel and the name of the series.
QUERIES: Final = {
    (panel.title, name): dashboard.expression(query)
    for panel in dashboard.panels()
    for name, query in panel.queries.items()
}
HOURS: Final = 30


def figures_of(project: Project, patch: pytest.MonkeyPatch) -> str:
    """Return what is told of a surface of which there is something to tell of everything."""
    sinks = [
        {"name": "table", "type": "files", "path": "out"},
        {"name": "db", "type": "postgres", "dsn_env": "NOBODY_SETS_THIS"},
    ]
    config = project.configure({**EVENTS_ONLY, "sinks": sinks})
    (surface,) = config.surfaces
    for number in (0, 1):
        landed(project, day(number), "a", "b", ago_s=60 - number)
        made(project, config, day(number))
    patch.setenv("RECSYS_CONFIG", str(project.config_file))
    CliRunner().invoke(recsys_assets, ["deliver", surface.name])
    pin(project.store, surface, Why("run-1", "ann", "to look at it"))
    numbers = {"rows": Figures("volume", 1.0, 2.0, -1.5)}
    keep_day(
        project.store,
        surface.place,
        Found.now(DAY, {"volume": True}, numbers, refused=True, drifting=["volume"]),
    )
    scores = {"popularity_20": Figures("popularity", 0.4, 0.5, 1.2)}
    failed = {"no_worse_than_live": True}
    of_release = Found.now(day(2), failed, scores, refused=True)
    keep_found(project.store, surface.place, "release", of_release)
    return metrics.text(config)


def over_hours(text: str, now: datetime) -> str:
    """Return figures as they would have been read each hour, in OpenMetrics; what counts grows."""
    lines: list[str] = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={json.dumps(of)}" for name, of in sample.labels.items())
            for hour in range(HOURS):
                at = now - timedelta(hours=HOURS - 1 - hour)
                value = sample.value
                if family.type == "histogram":
                    value *= hour
                lines.append(f"{sample.name}{{{labels}}} {value} {at.timestamp():.3f}")
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(data: Path) -> Iterator[str]:
    """Run Prometheus on blocks of data; give its address."""
    address = f"127.0.0.1:{free_port()}"
    (data.parent / "prometheus.yml").write_text("{}")
    options = [
        f"--config.file={data.parent}/prometheus.yml",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address={address}",
        "--storage.tsdb.retention.time=10y",
        "--log.level=error",
    ]
    with subprocess.Popen(["prometheus", *options]) as process:
        try:
            until = time.monotonic() + 120
            while not _is_ready(address):
                assert process.poll() is None, "Prometheus has ended"
                assert time.monotonic() < until, "Prometheus does not get ready"
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready") as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def answer(address: str, query: str, now: datetime) -> list[dict[str, Any]]:
    """Return the series that a query has."""
    asked = urllib.parse.urlencode({"query": query, "time": now.timestamp()})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{asked}") as found:
        return json.load(found)["data"]["result"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> str:
    import dagster as dg

    with dg.DagsterInstance.ephemeral() as instance, pytest.MonkeyPatch.context() as patch:
        return figures_of(Project(tmp_path_factory.mktemp("project"), instance), patch)


def test_prometheus_answers_each_query_with_a_series(figures: str, tmp_path: Path) -> None:
    """Of all surfaces, as a dashboard that was just opened asks; each has a value."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            skip_unless_required(
                "promtool", f"{program} is not on the PATH (Debian: apt-get install prometheus)"
            )
    now = datetime.now(UTC)
    (tmp_path / "figures").write_text(over_hours(figures, now))
    data = tmp_path / "data"
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(tmp_path / "figures")]
    subprocess.run([*make, str(data)], check=True, capture_output=True)

    with prometheus(data) as address:
        wrong = {}
        for (title, name), query in QUERIES.items():
            asked = query.replace("$tenant", ".*").replace("$surface", ".*")
            series = [each for each in answer(address, asked, now) if each["value"][1] != "NaN"]
            labels = set(re.findall(r"\{\{(\w+)\}\}", name))  # by which it is named
            if not series or any(not labels <= set(each["metric"]) for each in series):
                wrong[title, name] = asked
        nobody = answer(address, "count(recsys_surface_mistake{tenant=~'nobody'})", now)

    assert wrong == {}
    assert nobody == []  # so that a query can have none


def test_every_metric_of_the_dashboard_is_one_that_is_given(figures: str) -> None:
    given = {
        sample.name
        for family in text_string_to_metric_families(figures)
        for sample in family.samples
    }
    asked = [
        *QUERIES.values(),
        *(each["definition"] for each in variables() if "definition" in each),
    ]
    named = {name for query in asked for name in re.findall(r"\brecsys_\w+", query)}

    assert named
    assert named <= given
    # And the other way: a metric that nobody sees there is left out on purpose.
    families = {family.name for family in text_string_to_metric_families(figures)}
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert families - seen == {
        "recsys_surface_live",
        "recsys_surface_pin_timestamp_seconds",
        "recsys_gate_value",
        "recsys_gate_usual_value",
        "recsys_gate_day_timestamp_seconds",
        "recsys_release_day_timestamp_seconds",
        "recsys_sink_max_behind_seconds",
        # Of some surfaces only, and not of this one.
        "recsys_surface_max_flip_age_seconds",
        "recsys_surface_variant",
    }


def written() -> dict[str, Any]:
    """Return the dashboard as Grafana loads it."""
    return json.loads(dashboard.FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def variables() -> list[dict[str, Any]]:
    return written()["templating"]["list"]  # type: ignore[no-any-return]


def test_the_file_is_what_the_table_says() -> None:
    """When this fails: python -m recsys_assets_tests.dashboard."""
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text()


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = written()["panels"]
    ids = [panel["id"] for panel in panels]
    cells: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells, f"{panel['title']} lies on {cells.get((x, y))}"
                cells[x, y] = panel["title"]

    assert len(ids) == len(set(ids))
    assert all(panel.get("description") or panel["type"] == "row" for panel in panels)


def test_every_panel_asks_the_prometheus_that_was_chosen() -> None:
    (datasource, *_) = variables()
    assert (datasource["type"], datasource["query"]) == ("datasource", "prometheus")

    def datasources(of: Any) -> Iterator[Any]:
        if isinstance(of, Mapping):
            if "datasource" in of:
                yield of["datasource"]
            for each in of.values():
                yield from datasources(each)
        elif isinstance(of, list):
            for each in of:
                yield from datasources(each)

    found = [*datasources(written())]
    assert len(found) > 50
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in found)
    of_panel = [[t["refId"] for t in panel.get("targets", [])] for panel in written()["panels"]]
    assert all(len(ids) == len(set(ids)) for ids in of_panel)
    chosen = {"datasource", *re.findall(r"\$(\w+)", " ".join(QUERIES.values()))}
    assert chosen == {each["name"] for each in variables()}


def test_the_provisioning_is_yaml_that_grafana_knows() -> None:
    (source,) = (FOLDER / "provisioning/datasources").iterdir()
    (provider,) = (FOLDER / "provisioning/dashboards").iterdir()
    (prometheus,) = yaml.safe_load(source.read_text(encoding="utf-8"))["datasources"]
    (folder,) = yaml.safe_load(provider.read_text(encoding="utf-8"))["providers"]

    assert prometheus["type"] == "prometheus"
    assert folder["type"] == "file"
    assert folder["options"]["path"].startswith("/var/lib/grafana/")
