"""The pages on deploying: their commands and examples are taken, their tables are whole."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner
from dagster._cli.instance import instance_cli

from recsys_assets.config import file
from recsys_assets.config.values import models_below
from recsys_assets.storage.erasures import KEY_VARIABLE
from recsys_assets_tests.needed import skip_unless_required
from recsys_assets_tests.test_docs import KEYS, ROOT, example, page, section, steps
from recsys_assets_tests.test_kubernetes import CHART, PATH, SURFACES, run_helm, validate

KUBERNETES_PAGE: Final = "deploy-kubernetes.md"


def test_every_variable_of_the_environment_is_in_the_table() -> None:
    """Whose names stand in the code, and in surfaces.yaml the keys that name others."""
    table = section("deploy.md", "Secrets and variables")
    rows = re.findall(r"^\| (.*?`.*?) \| (.*?) \|", table, re.MULTILINE)
    secret = {name: of for names, of in rows for name in re.findall(r"`([\w.]+)`", names)}
    ours = {value for name, value in vars(file).items() if name.endswith("_VARIABLE")}
    keys = {
        name if name != "webhook_env" else "alerts.webhook_env"
        for model in models_below()
        for name in model.model_fields
        if name.endswith("_env")
    }

    assert keys > {"dsn_env", "alerts.webhook_env"}
    assert {*ours, KEY_VARIABLE, *KEYS, "DAGSTER_POSTGRES_URL", *keys} <= set(secret)
    for name, of in secret.items():
        if re.search("KEY|TOKEN|POSTGRES_URL|WEBHOOK", name):
            assert of.startswith("yes"), name


def test_the_instance_can_be_migrated_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.get():
        pass
    (step,) = steps("deploy.md", "run: migrate")

    words = step.command.split()
    assert words[:2] == ["dagster", "instance"]
    result = CliRunner().invoke(instance_cli, words[2:])

    assert result.exit_code == 0, result.output
    assert "Updating run storage..." in result.output


def program(name: str) -> str:
    """Give helm or kubectl; without it the test is skipped, or fails where it is required."""
    found = shutil.which(name, path=PATH)
    if found is None:
        skip_unless_required("kubernetes", f"{name} is absent")
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with the files that the page tells to write."""
    (tmp_path / "surfaces.yaml").write_text(SURFACES)
    (tmp_path / "large.yaml").write_text(SURFACES)
    (tmp_path / "values.yaml").write_text(example(KUBERNETES_PAGE, "example: values"))
    (tmp_path / "secrets.env").write_text("DAGSTER_POSTGRES_URL=postgresql+psycopg2://db\n")
    (tmp_path / "postgres.env").write_text("postgresql-password=x\n")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_command_of_helm_renders_what_kubernetes_takes(folder: Path) -> None:
    """With the words of the page, but `template` in place of what needs a cluster."""
    helm = program("helm")
    commands = [shlex.split(step.command) for step in steps(KUBERNETES_PAGE, "run: helm")]

    assert [words[1] for words in commands] == ["install", "upgrade"]
    for _, _, *words in commands:
        done = subprocess.run(
            [helm, "template", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        manifests = [*yaml.safe_load_all(done.stdout)]
        for manifest in manifests:
            validate(manifest)
        images = set(re.findall(r"image: (\S+)", done.stdout))
        assert {image.rpartition(":")[0] for image in images} == {
            "registry.example.com/recsys-assets"
        }
    (job,) = (each for each in manifests if each["kind"] == "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1].endswith("dagster instance migrate")


@pytest.mark.parametrize(
    ("name", "marker"), [("deploy.md", "example: login"), (KUBERNETES_PAGE, "example: large")]
)
def test_an_example_of_values_is_taken(name: str, marker: str) -> None:
    values: dict[str, Any] = yaml.safe_load(example(name, marker))
    locations = {"recsys_assets": {}} | values.pop("locations", {})
    texts = {name: {**of, "surfaces": SURFACES} for name, of in locations.items()}

    code, text = run_helm(
        program("helm"), "template", "recsys", str(CHART), values={**values, "locations": texts}
    )

    assert code == 0, text
    assert "recsys-login" in text or "recsys-code-large" in text


def test_the_daemon_can_be_paused() -> None:
    locations = {"recsys_assets": {"surfaces": SURFACES}}
    shown = page(KUBERNETES_PAGE)
    for paused, replicas in ((True, 0), (False, 1)):
        values = {"locations": locations, "daemon": {"paused": paused}}
        _, text = run_helm(program("helm"), "template", "recsys", str(CHART), values=values)
        (daemon,) = (
            each
            for each in yaml.safe_load_all(text)
            if each["kind"] == "Deployment" and each["metadata"]["name"] == "recsys-daemon"
        )
        assert daemon["spec"]["replicas"] == replicas
        assert f"--set daemon.paused={str(paused).lower()}" in shown


def test_each_command_of_kubectl_makes_what_the_manifests_name(folder: Path) -> None:
    """Made on the client's side alone: there is no cluster."""
    kubectl = program("kubectl")
    made = []
    for step in steps(KUBERNETES_PAGE, "run: kubectl"):
        _, *words = shlex.split(step.command)
        dry = [kubectl, *words, "--dry-run=client", "--output", "yaml"]
        done = subprocess.run(dry, capture_output=True, text=True, check=True)
        manifest = yaml.safe_load(done.stdout)
        validate(manifest)
        made.append((manifest["kind"], manifest["metadata"]["name"]))
        if manifest["metadata"]["name"] == "recsys-postgres":
            assert set(manifest["data"]) == {"postgresql-password"}

    assert made == [
        ("Namespace", "recsys"),
        ("Secret", "recsys-assets"),
        ("ConfigMap", "recsys-surfaces"),
        ("ConfigMap", "recsys-surfaces"),
        ("Secret", "recsys-postgres"),
    ]
    for name in ("nightly.yaml", "dagster-chart-values.yaml"):
        text = (CHART.parent / name).read_text(encoding="utf-8")
        assert "recsys-surfaces" in text
        assert "recsys-assets" in text
