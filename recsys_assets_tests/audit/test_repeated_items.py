"""Items with several rows in the catalog: they are published as ever, and told."""

from __future__ import annotations

from datetime import date

import pytest

from recsys_assets.audit.artifacts import audit_artifact
from recsys_assets.audit.drafts import drafts
from recsys_assets.audit.shared import Shared
from recsys_assets.kinds import KINDS
from recsys_assets.verdicts import Verdict
from recsys_assets_tests.defs.looking import land
from recsys_assets_tests.project import DAY, Project, expected_versions, golden_surface
from recsys_assets_tests.test_golden import GOLDEN, load_case


def verdict(project: Project, catalog: str) -> Verdict:
    (surface,) = project.configure({"artifacts": {"content_sim": {}}}).surfaces
    (project.folder / "catalog.csv").write_text(catalog)
    of = drafts(project.store, surface, KINDS["content_sim"], {}, Shared())
    with project.store.scratch() as scratch:
        found = audit_artifact(project.store, surface, "content_sim", DAY, scratch, of)
    return found.verdicts["no_item_is_repeated"]


def test_items_with_several_rows_are_named(project: Project) -> None:
    found = verdict(project, "id,tags\ntea,hot\ncup,blue\n tea ,green\ncup,big\ncup,new\njar,x\n")

    assert found.outcome == "warned"
    assert found.description.startswith(
        "cup (3 rows), tea (2 rows): items with several rows in the catalog are published as often"
    )
    assert found.failures == 2
    assert found.rows == [{"item_id": "cup", "rows": 3}, {"item_id": "tea", "rows": 2}]


def test_the_first_of_many_are_named_and_the_others_counted(project: Project) -> None:
    rows = "".join(f"i{number:02},x\n" * 2 for number in range(12))

    found = verdict(project, f"id,tags\n{rows}")

    assert "i09 (2 rows) and 2 more: items" in found.description
    assert (found.failures, len(found.rows)) == (12, 10)


@pytest.mark.parametrize(
    "catalog",
    [
        "id,tags\na,x\nb,x\n",
        "id,tags,namespace\na,x,home\na,x,cart\n",
        "id,tags\na,x\na,\n",
        "id,tags\n,x\n,y\n",
        "id,tags\n",
    ],
    ids=["distinct", "of another surface", "without tags", "without id", "empty"],
)
def test_what_is_published_once_is_no_repeat(project: Project, catalog: str) -> None:
    assert verdict(project, catalog).outcome == "passed"


def test_a_day_with_a_repeated_item_is_published(project: Project) -> None:
    config = project.configure({"start_date": DAY})
    land(project, 0)
    (project.folder / "catalog.csv").write_text("id,tags\na,x\na,y\n")

    report = project.materialize(config, [DAY])

    assert report.published == [DAY]
    assert report.metadata[DAY]["content_sim"]["dagster/row_count"] == 2


def test_a_golden_catalog_that_repeats_an_item_is_told(project: Project) -> None:
    case = load_case(GOLDEN, "exotic")
    config = project.configure(golden_surface(case, GOLDEN / case["raw"], GOLDEN / case["catalog"]))
    (surface,) = config.surfaces
    of = drafts(project.store, surface, KINDS["content_sim"], {}, Shared())
    first: date = surface.start_date
    with project.store.scratch() as scratch:
        found = audit_artifact(project.store, surface, "content_sim", first, scratch, of)

    assert found.data_version == expected_versions(case)[first, "content_sim"]
    assert found.verdicts["no_item_is_repeated"].outcome == "warned"
