"""Where the value of a day goes, and who reads it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.defs.io_managers import ArtifactIOManager, ManifestIOManager
from recsys_assets.errors import CorruptBlobError
from recsys_assets.storage.flips import actor
from recsys_assets_tests.defs.looking import failed, land
from recsys_assets_tests.project import Project, day


@pytest.mark.parametrize("manager", [ArtifactIOManager, ManifestIOManager])
def test_documents_and_manifest_are_no_inputs_of_an_asset(
    project: Project, manager: type[ArtifactIOManager | ManifestIOManager]
) -> None:
    """What is staged may change after Dagster has loaded it, and before it is published."""
    context = dg.build_input_context(asset_key=dg.AssetKey(["demo", "home", "cooc"]))

    with pytest.raises(NotImplementedError, match="demo/home/cooc is read as"):
        manager(root=str(project.folder / "var")).load_input(context)


def test_the_data_version_of_an_artifact_is_its_version(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    report = project.materialize(config, [day(0)])

    (record,) = project.instance.fetch_materializations(
        dg.AssetKey(["demo", "home", "cooc"]), limit=1
    ).records
    assert record.asset_materialization is not None
    tags = record.asset_materialization.tags or {}
    assert tags["dagster/data_version"] == report.metadata[day(0)]["cooc"]["version"]


def test_the_record_of_a_publish_names_its_run_its_user_and_its_day(project: Project) -> None:
    config = project.configure()
    land(project, 0)

    project.materialize(config, [day(0)])

    live = project.live(config)
    assert live is not None
    assert live.publication is not None
    key = dg.AssetKey(["demo", "home", "manifest"])
    (record,) = project.instance.fetch_materializations(key, limit=10).records
    assert live.publication.run_id == record.event_log_entry.run_id
    assert live.publication.who == actor()
    assert live.publication.reason == f"manifest of {day(0)} was materialized"
    assert live.publication.action == "publish"


def test_a_blob_altered_before_its_day_is_done_again_stops_the_day(project: Project) -> None:
    config = project.configure()
    land(project, 0)
    project.materialize(config, [day(0)])
    live = project.live(config)
    assert live is not None
    altered = Path(live.current["cooc"].removeprefix("file://"))
    altered.write_text(altered.read_text().replace('"count":1', '"count":9'))

    report = project.materialize(config, [day(0)])

    assert (0, "cooc", None) in failed(report)
    assert any("was altered after it was written" in f.description for f in report.failures)
    assert CorruptBlobError.__doc__
    assert project.live(config) == live
