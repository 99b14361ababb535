"""The pages for those who serve: what they say of layout and limits is so."""

from __future__ import annotations

import re

import yaml

from recsys_assets.config import Guardrails, PostgresSink
from recsys_assets.places import Place
from recsys_assets.storage import layout
from recsys_assets_tests.project import Project
from recsys_assets_tests.test_docs import example, page, section


def test_the_templates_lead_to_the_manifest() -> None:
    key = layout.manifest(Place("{tenant}", "{surface}"))

    templates = example("online-service.md", "example: templates").split()

    assert templates
    assert all(template.endswith(f"/{key}") for template in templates)


def test_the_size_cap_is_that_of_the_guardrail() -> None:
    most = Guardrails.model_fields["max_artifact_bytes"].default

    (row,) = re.findall(r"^\| `RECSYS_ARTIFACT_MAX_BYTES` .*$", page("online-service.md"), re.M)
    assert row.endswith(f"| `{most}` |")
    assert f"{{max_artifact_bytes: {most}}}" in page("online-service.md")
    assert f"{most // 10**6} MB by default" in page("online-service.md")


def test_the_page_on_promotion_says_of_each_layer_whether_it_is_copied() -> None:
    table = page("promote.md").partition("## What is copied")[2].partition("\n## ")[0]
    said = {
        layer: not copied.strip().startswith("nothing")
        for layers, copied in re.findall(r"^\| (`.*?) \| (.*) \|$", table, re.MULTILINE)
        for layer in re.findall(r"`([\w/]+)`", layers)
    }

    assert said == {layer: how != "not" for layer, how in layout.LAYERS.items()}


def test_the_sink_that_fills_its_tables_can_be_configured_as_the_page_says(
    project: Project,
) -> None:
    entry = yaml.safe_load(example("online-service.md", "entry: service"))

    (sink,) = project.configure(entry).surfaces[0].sinks

    assert isinstance(sink, PostgresSink)
    assert sink.service_tables
    assert sink.dsn_env in section("online-service.md", "Tags, and the database mode")
