"""`deploy/kubernetes/`: Kubernetes takes what the chart renders, and what its launcher makes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import click
import dagster as dg
import pytest
import yaml
from dagster._cli.api import api_cli
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import dagster_webserver

from recsys_assets.cli import main as recsys_assets
from recsys_assets_tests.needed import skip_unless_required

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "deploy/kubernetes"
CHART: Final = FOLDER / "recsys-assets"
KUBERNETES: Final = "1.35"
PATH: Final = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SURFACES: Final = "root: s3://bucket/recsys\nsurfaces: []\n"
USUAL: Final = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}
LARGE: Final = {"requests": {"cpu": "8", "memory": "32Gi"}, "limits": {"memory": "48Gi"}}
ONE: Final[dict[str, Any]] = {"locations": {"recsys_assets": {"surfaces": SURFACES}}}
# Each value that adds something, and two code locations.
ALL: Final[dict[str, Any]] = {
    "image": {"pullSecrets": [{"name": "registry"}], "tag": "7"},
    "secrets": ["recsys-assets", "stores"],
    "env": {"AWS_REGION": "eu-central-1"},
    "claim": "recsys-data",
    "locations": {
        "recsys_assets": {"surfaces": SURFACES},
        "large": {"surfaces": SURFACES + "# others\n", "runResources": LARGE},
    },
    "runs": {
        "most": 7,
        "nodeSelector": {"pool": "runs"},
        "tolerations": [{"key": "runs", "operator": "Exists"}],
        "serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/recsys"},
    },
    "webserver": {"readOnly": True, "pathPrefix": "/dagster"},
    "networkPolicy": {
        "toWebserver": [{"podSelector": {"matchLabels": {"app": "oauth2-proxy"}}}],
        "toMetrics": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
    },
    "instance": {"run_monitoring": {"poll_interval_seconds": 10}},
}
VALUES: Final = {"one": ONE, "all": ALL}
SETTINGS: Final = "/var/lib/dagster/dagster.yaml"
Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def helm() -> str:
    """Give helm; without it the test is skipped, or fails where it is required."""
    found = shutil.which("helm", path=PATH)
    if found is None:
        skip_unless_required(
            "kubernetes", "helm is absent (`RECSYS_REQUIRE=kubernetes make test` gets it)"
        )
    return found


def package(name: str) -> Any:
    """Import a package of the group; without it the test is skipped, or fails."""
    if importlib.util.find_spec(name) is None:
        skip_unless_required("kubernetes", f"the package {name} is not installed")
    return importlib.import_module(name)


def run_helm(helm: str, *arguments: str, values: Mapping[str, Any]) -> tuple[int, str]:
    """Run helm on the chart; return its exit code and what it printed."""
    done = subprocess.run(
        [helm, *arguments, "--values", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr


@cache
def _rendered(helm: str, which: str) -> str:
    code, text = run_helm(
        helm, "template", "shop", str(CHART), "--namespace", "recsys", values=VALUES[which]
    )
    assert code == 0, text
    return text


@dataclass(frozen=True)
class Release:
    """What the chart renders."""

    manifests: list[Manifest]

    def of(self, kind: str) -> dict[str, Manifest]:
        return {each["metadata"]["name"]: each for each in self.manifests if each["kind"] == kind}

    @property
    def instance(self) -> dict[str, Any]:
        """The settings of Dagster's instance."""
        text = self.of("ConfigMap")["shop-instance"]["data"]["dagster.yaml"]
        return yaml.safe_load(text)  # type: ignore[no-any-return]

    def pods(self) -> dict[str, Manifest]:
        """Return the templates of pods, by the names of what makes them."""
        return {
            name: each["spec"]["template"]
            for kind in ("Deployment", "Job")
            for name, each in self.of(kind).items()
        }


@pytest.fixture(params=sorted(VALUES))
def release(helm: str, request: pytest.FixtureRequest) -> Release:
    return Release([*yaml.safe_load_all(_rendered(helm, request.param))])


@pytest.fixture(scope="module")
def whole(helm: str) -> Release:
    return Release([*yaml.safe_load_all(_rendered(helm, "all"))])


def validate(manifest: Manifest) -> None:
    """Hold a manifest to the schema of Kubernetes; a key that it does not know is an error."""
    package("kubernetes_validate").validate(manifest, KUBERNETES, strict=True)


@pytest.mark.parametrize("values", [{}, *VALUES.values()])
def test_helm_finds_nothing_to_say_of_the_chart(helm: str, values: dict[str, Any]) -> None:
    code, text = run_helm(helm, "lint", "--strict", "--quiet", str(CHART), values=values)
    assert code == 0, text


def test_kubernetes_takes_every_manifest(release: Release) -> None:
    assert len(release.manifests) > 12
    for manifest in release.manifests:
        validate(manifest)


def test_the_other_manifests_are_taken_too() -> None:
    for manifest in yaml.safe_load_all((FOLDER / "login.yaml").read_text(encoding="utf-8")):
        validate(manifest)
    (nightly,) = yaml.safe_load_all((FOLDER / "nightly.yaml").read_text(encoding="utf-8"))
    validate(nightly)
    nightly["spec"]["concurencyPolicy"] = "Forbid"  # so that a misspelt key is one
    with pytest.raises(Exception, match="concurencyPolicy"):
        validate(nightly)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "--set-file locations.recsys_assets.surfaces=surfaces.yaml"),
        ({**ONE, "runs": {"mots": 3}}, "additional properties 'mots'"),
        ({**ONE, "runs": {"most": 0}}, "/runs/most"),
        ({**ONE, "secrets": []}, "/secrets"),
        ({**ONE, "env": {"AWS_REGION": 3}}, "/env/AWS_REGION"),
        ({**ONE, "daemon": {"resources": {"limits": {"memory": "1 GB"}}}}, "/daemon/resources"),
        ({"locations": {"a.b": {"surfaces": SURFACES}}}, "invalid propertyName 'a.b'"),
        ({"locations": {"a": {"surface": SURFACES}}}, "additional properties 'surface'"),
        ({**ONE, "image": {"tag": "1", "repo": "x"}}, "additional properties 'repo'"),
        ({**ONE, "networkPolicy": {"toWebserver": [{"app": "x"}]}}, "/networkPolicy/toWebserver/0"),
    ],
)
def test_a_wrong_value_is_refused(helm: str, wrong: dict[str, Any], said: str) -> None:
    code, text = run_helm(helm, "template", "shop", str(CHART), values=wrong)
    assert code != 0
    assert said in text


def test_every_value_has_its_place_in_the_schema() -> None:
    def leaves(values: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
        for name, value in values.items():
            of = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(of, dict) and "$ref" in of:
                of = schema_of["$defs"][of["$ref"].rpartition("/")[2]]
            if not isinstance(of, dict):
                yield f"{path}.{name}"
            elif isinstance(value, dict) and of.get("additionalProperties") is not None:
                yield from leaves(value, of, f"{path}.{name}")

    schema_of = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert [*leaves(values, schema_of, "")] == []
    assert set(schema_of["properties"]) - {"global"} == set(values)


def test_the_chart_is_of_this_version() -> None:
    from recsys_assets import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__
    for name in ("nightly.yaml", "dagster-chart-values.yaml"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert re.search(rf"recsys-assets(:|, tag: ){re.escape(__version__)}\b", text), name


# What a release needs and does not have itself.
OF_OTHERS: Final = {"recsys-assets", "stores", "recsys-data", "registry"}


def test_what_a_manifest_names_is_there(release: Release) -> None:
    """ConfigMaps, secrets, claims, accounts; and mounts name the volumes of their pod."""
    known = {each["metadata"]["name"] for each in release.manifests} | OF_OTHERS
    for name, template in release.pods().items():
        spec = template["spec"]
        volumes = {each["name"]: each for each in spec["volumes"]}
        for volume in volumes.values():
            for kind, key in (("configMap", "name"), ("persistentVolumeClaim", "claimName")):
                assert volume.get(kind, {}).get(key, "recsys-assets") in known, name
        assert spec.get("serviceAccountName", "recsys-assets") in known, name
        for container in spec["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes), name
            for source in container["envFrom"]:
                assert source["secretRef"]["name"] in known, name


def test_every_selector_finds_its_pods(release: Release) -> None:
    labels = [template["metadata"]["labels"] for template in release.pods().values()]

    def found(selector: Mapping[str, str]) -> int:
        return sum(selector.items() <= of.items() for of in labels)

    for kind in ("Service", "Deployment"):
        for name, manifest in release.of(kind).items():
            selector = manifest["spec"]["selector"]
            assert found(selector.get("matchLabels", selector)) == 1, name
    policies = release.of("NetworkPolicy")
    assert found(policies["shop-nobody"]["spec"]["podSelector"]["matchLabels"]) == len(labels)
    code = policies["shop-code"]["spec"]["ingress"][0]["from"]
    assert [found(peer["podSelector"]["matchLabels"]) for peer in code] == [1, 1]


def test_nobody_reaches_the_ui_unless_it_is_said_who(helm: str, whole: Release) -> None:
    (one,) = [Release([*yaml.safe_load_all(_rendered(helm, "one"))])]
    assert set(one.of("NetworkPolicy")) == {"shop-nobody", "shop-code"}
    (rule,) = whole.of("NetworkPolicy")["shop-webserver"]["spec"]["ingress"]
    assert rule["from"] == ALL["networkPolicy"]["toWebserver"]


def test_the_workspace_names_the_services(release: Release) -> None:
    text = release.of("ConfigMap")["shop-instance"]["data"]["workspace.yaml"]
    for each in yaml.safe_load(text)["load_from"]:
        server = each["grpc_server"]
        service = release.of("Service")[server["host"]]
        assert server["port"] in {port["port"] for port in service["spec"]["ports"]}
        (container, *_) = release.pods()[server["host"]]["spec"]["containers"]
        assert container["args"][-2:] == ["--location-name", server["location_name"]]


def test_no_container_may_do_more_than_it_needs(release: Release) -> None:
    for name, template in release.pods().items():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        # Only what starts runs has a token of Kubernetes.
        starts_runs = spec.get("serviceAccountName") == "shop-dagster"
        assert spec.get("automountServiceAccountToken", True) == starts_runs, name
        assert starts_runs == name.endswith(("-webserver", "-daemon"))
        for container in spec["containers"]:
            assert container["securityContext"] == CONFINED, name
            assert container["resources"]["limits"]["memory"], name


CONFINED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def test_every_container_runs_a_command_that_there_is(release: Release) -> None:
    """Parsed by the command itself; not run."""
    commands: dict[str, click.Command] = {
        "dagster api grpc": api_cli.commands["grpc"],
        "dagster-webserver": dagster_webserver,
        "dagster-daemon run": create_dagster_daemon_cli().commands["run"],
        "dagster-daemon liveness-check": create_dagster_daemon_cli().commands["liveness-check"],
        "recsys-assets metrics": recsys_assets.commands["metrics"],
    }
    parsed = set()
    for template in release.pods().values():
        for container in template["spec"]["containers"]:
            probes = [container.get(name) or {} for name in ("startupProbe", "livenessProbe")]
            probed = [probe["exec"]["command"] for probe in probes if "exec" in probe]
            for words in [container["args"], *probed]:
                # The file is in a ConfigMap; the option wants one that is there.
                words = [re.sub("=/etc/dagster/", f"={ROOT}/", word) for word in words]
                for name, command in commands.items():
                    first = name.split()
                    if words[: len(first)] == first:
                        command.make_context(name, words[len(first) :])
                        parsed.add(name)
            if container["args"][0] == "python":
                assert importlib.util.find_spec(container["args"][2])
                parsed.add("python")
    assert parsed == {*commands, "python"}


def test_the_settings_of_dagster_are_those_of_the_project(release: Release) -> None:
    """But for what runs are, where their log is, and how many there are at once."""
    text = (ROOT / "dagster-postgres.yaml").read_text(encoding="utf-8")
    assert (CHART / "files/dagster.yaml").read_text(encoding="utf-8") == text
    project, found = yaml.safe_load(text), release.instance

    assert found.pop("run_launcher")["class"] == "K8sRunLauncher"
    assert found.pop("compute_logs")["class"] == "NoOpComputeLogManager"
    project["concurrency"]["runs"]["max_concurrent_runs"] = found["concurrency"]["runs"][
        "max_concurrent_runs"
    ]
    if found["run_monitoring"]["poll_interval_seconds"] == 10:  # as `instance` of ALL says
        project["run_monitoring"]["poll_interval_seconds"] = 10
    assert found == project


@dataclass
class Cluster:
    """The two interfaces of Kubernetes that the launcher calls: it has what it was given."""

    jobs: dict[str, Any] = field(default_factory=dict)
    asked: set[tuple[str, str, str]] = field(default_factory=set)

    def _called(self, verb: str, resource: str, group: str = "") -> None:
        self.asked.add((group, resource, verb))

    def create_namespaced_job(self, body: Any, namespace: str, **_: Any) -> None:
        self._called("create", "jobs", "batch")
        assert namespace == "recsys"
        self.jobs[body.metadata.name] = body

    def list_namespaced_job(self, namespace: str, field_selector: str) -> Any:
        self._called("list", "jobs", "batch")
        client = package("kubernetes").client
        meta = client.V1ObjectMeta(name=field_selector.partition("=")[2])
        status = client.V1JobStatus(active=1, start_time=datetime.now(UTC))
        return SimpleNamespace(items=[client.V1Job(metadata=meta, status=status)])

    def read_namespaced_job_status(self, name: str, namespace: str) -> Any:
        self._called("get", "jobs/status", "batch")
        client = package("kubernetes").client
        return client.V1Job(status=client.V1JobStatus(active=1))

    def delete_namespaced_job(self, name: str, namespace: str) -> None:
        self._called("delete", "jobs", "batch")
        del self.jobs[name]

    def list_namespaced_pod(self, namespace: str, **_: str) -> Any:
        self._called("list", "pods")
        return SimpleNamespace(items=self.pods)

    def delete_namespaced_pod(self, name: str, namespace: str) -> None:
        self._called("delete", "pods")

    def read_namespaced_pod_log(self, name: str, namespace: str, **_: Any) -> Any:
        self._called("get", "pods/log")
        return SimpleNamespace(data=b"its log")

    def list_namespaced_event(self, namespace: str, field_selector: str) -> Any:
        self._called("list", "events")
        return SimpleNamespace(items=[])

    @property
    def pods(self) -> list[Any]:
        client = package("kubernetes").client
        running = client.V1ContainerState(running=client.V1ContainerStateRunning())
        status = client.V1ContainerStatus(
            name="dagster", image="", image_id="", ready=True, restart_count=0, state=running
        )
        return [
            client.V1Pod(
                metadata=client.V1ObjectMeta(name=name),
                spec=body.spec.template.spec,
                status=client.V1PodStatus(phase="Running", container_statuses=[status]),
            )
            for name, body in self.jobs.items()
        ]


@dataclass
class Started:
    """A run that the launcher of the chart has started in a cluster."""

    launcher: RunLauncher
    run: dg.DagsterRun
    cluster: Cluster

    @property
    def job(self) -> Manifest:
        client = package("kubernetes").client
        (body,) = self.cluster.jobs.values()
        return client.ApiClient().sanitize_for_serialization(body)  # type: ignore[no-any-return]


@dg.job
def nothing() -> None:
    """Do nothing."""


@pytest.fixture(scope="module")
def instance(
    whole: Release, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the chart renders, but in files: PostgreSQL has tests of its own."""
    package("dagster_k8s")
    home = tmp_path_factory.mktemp("instance")
    kept = {"sqlite": {"base_dir": str(home)}}
    (home / "dagster.yaml").write_text(yaml.safe_dump({**whole.instance, "storage": kept}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as opened:
            yield opened


def start(
    instance: dg.DagsterInstance,
    release: Release,
    monkeypatch: pytest.MonkeyPatch,
    *,
    location: str = "recsys_assets",
    tags: Mapping[str, str] | None = None,
) -> Started:
    """Start a run of a code location, as its server says that its runs are."""
    cluster, kubernetes = Cluster(), package("kubernetes")
    monkeypatch.setattr(kubernetes.config, "load_incluster_config", lambda: None)
    monkeypatch.setattr(kubernetes.client, "BatchV1Api", lambda **_: cluster)
    monkeypatch.setattr(kubernetes.client, "CoreV1Api", lambda **_: cluster)
    name = f"shop-code-{location.replace('_', '-')}"
    server = release.pods()[name]["spec"]["containers"][0]
    environment = {each["name"]: each["value"] for each in server["env"]}
    origin = RepositoryPythonOrigin(
        executable_path="/opt/recsys-assets/bin/python3",
        code_pointer=ModuleCodePointer("recsys_assets.definitions", "defs", "/var/lib/dagster"),
        container_image=environment["DAGSTER_CURRENT_IMAGE"],
        entry_point=["dagster"],
        container_context=json.loads(environment["DAGSTER_CONTAINER_CONTEXT"]),
    )
    run = instance.create_run_for_job(
        nothing,
        status=DagsterRunStatus.STARTING,
        tags=tags,
        job_code_origin=JobPythonOrigin("nothing", origin),
    )
    launcher = instance.get_ref().run_launcher
    assert launcher
    launcher.register_instance(instance)
    launcher.launch_run(LaunchRunContext(run, workspace=None))
    return Started(launcher, run, cluster)


def test_a_run_is_a_job_that_has_what_its_code_location_has(
    instance: dg.DagsterInstance, whole: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(instance, whole, monkeypatch).job
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    server = whole.pods()["shop-code-recsys-assets"]["spec"]["containers"][0]

    validate(job)
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert container["image"] == server["image"] == "recsys-assets:7"
    of_server = {each["name"]: each["value"] for each in server["env"]}
    of_run = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    for variable in ("RECSYS_CONFIG", "DAGSTER_HOME", "AWS_REGION"):
        assert of_run[variable] == of_server[variable]
    assert container["envFrom"] == server["envFrom"]
    mounts = {each["mountPath"] for each in container["volumeMounts"]}
    # The settings of its instance are among its arguments.
    assert {each["mountPath"] for each in server["volumeMounts"]} - mounts == {SETTINGS}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert volumes["surfaces"]["configMap"]["name"] == "shop-code-recsys-assets"
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "recsys-data"
    assert volumes["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "10Gi"}}
    names = {each.get("configMap", {}).get("name", "shop-instance") for each in volumes.values()}
    assert names <= set(whole.of("ConfigMap"))


def test_the_arguments_of_a_run_hold_no_secret(
    whole: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may see Jobs sees them: what is read of the environment is read again by the run."""
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(whole.instance))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql+psycopg2://dagster:hush@db/dagster")

    told = str(InstanceRef.from_dir(str(tmp_path)).to_dict())

    assert "DAGSTER_POSTGRES_URL" in told
    assert "hush" not in told


def test_a_run_may_do_no_more_than_it_needs(
    instance: dg.DagsterInstance, whole: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start(instance, whole, monkeypatch).job
    template = job["spec"]["template"]
    pod = template["spec"]

    assert pod["containers"][0]["securityContext"] == CONFINED
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["serviceAccountName"] == "shop-runs"
    assert pod["automountServiceAccountToken"] is False
    assert pod["nodeSelector"] == {"pool": "runs"}
    assert pod["tolerations"] == ALL["runs"]["tolerations"]
    assert job["spec"]["ttlSecondsAfterFinished"] == 86400
    annotations = template["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    labels = whole.of("NetworkPolicy")["shop-nobody"]["spec"]["podSelector"]["matchLabels"]
    assert labels.items() <= template["metadata"]["labels"].items()
    # It must not be taken for a server: it would get connections that are for one.
    assert not any(
        each["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        for each in whole.of("Service").values()
    )


@pytest.mark.parametrize(
    ("location", "tags", "resources"),
    [
        ("recsys_assets", {}, USUAL),
        ("large", {}, LARGE),
        (
            "recsys_assets",
            {
                "dagster-k8s/config": json.dumps(
                    {"container_config": {"resources": {"limits": {"memory": "16Gi"}}}}
                )
            },
            {**USUAL, "limits": {"memory": "16Gi"}},
        ),
    ],
)
def test_a_run_has_the_resources_of_its_location_or_of_its_tag(
    instance: dg.DagsterInstance,
    whole: Release,
    monkeypatch: pytest.MonkeyPatch,
    location: str,
    tags: dict[str, str],
    resources: dict[str, Any],
) -> None:
    started = start(instance, whole, monkeypatch, location=location, tags=tags)
    (container,) = started.job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == resources


def test_the_role_has_the_rights_that_the_launcher_uses_and_no_others(
    instance: dg.DagsterInstance, whole: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = start(instance, whole, monkeypatch)
    launcher, run, cluster = started.launcher, started.run, started.cluster
    assert launcher.check_run_worker_health(run).status.value == "RUNNING"
    assert launcher.get_run_worker_debug_info(run)
    jobs = dict(cluster.jobs)
    cluster.jobs.clear()  # its pod is gone
    assert launcher.get_run_worker_debug_info(run)
    cluster.jobs.update(jobs)
    assert launcher.terminate(run.run_id)

    role = whole.of("Role")["shop-dagster"]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == cluster.asked
    (subject,) = whole.of("RoleBinding")["shop-dagster"]["subjects"]
    assert (subject["name"], subject["namespace"]) == ("shop-dagster", "recsys")


def test_the_nightly_job_makes_the_last_two_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its command, by a shell, with a program in place of ours that says what it was told."""
    (nightly,) = yaml.safe_load_all((FOLDER / "nightly.yaml").read_text(encoding="utf-8"))
    job = nightly["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    program = tmp_path / "recsys-assets"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    before = datetime.now(UTC).date()
    told = subprocess.run(container["command"], capture_output=True, text=True, check=True).stdout
    after = datetime.now(UTC).date()

    name, *options = told.split()
    given = recsys_assets.commands[name].make_context(name, options).params
    assert name == "materialize"
    assert given["last"].date() in {before - timedelta(days=1), after - timedelta(days=1)}
    assert given["first"] == given["last"] - timedelta(days=1)
    assert given["name"] is None  # every surface
    (fails, _) = job["podFailurePolicy"]["rules"]
    assert fails["onExitCodes"]["values"] == [1, 2]
    assert nightly["spec"]["concurrencyPolicy"] == "Forbid"


def snake(value: Any) -> Any:
    """Write the keys of a value as Dagster does: of the chart they are podSpecConfig."""
    if isinstance(value, dict):
        return {
            re.sub(r"(?<=[a-z])[A-Z]", lambda found: f"_{found[0].lower()}", key): snake(of)
            for key, of in value.items()
        }
    return [snake(of) for of in value] if isinstance(value, list) else value


def test_the_values_for_the_chart_of_dagster_say_what_ours_say() -> None:
    """That chart is not here: what is held is the launcher's configuration, and the settings."""
    values = yaml.safe_load((FOLDER / "dagster-chart-values.yaml").read_text(encoding="utf-8"))
    settings = yaml.safe_load((ROOT / "dagster-postgres.yaml").read_text(encoding="utf-8"))
    daemon, limits = values["dagsterDaemon"], snake(values["concurrency"])

    assert snake(daemon["runMonitoring"]) == settings["run_monitoring"]
    assert snake(daemon["runRetries"]) == settings["run_retries"]
    queued = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert snake(queued) == settings["run_coordinator"]["config"]
    assert limits["pools"] == settings["concurrency"]["pools"]
    assert (
        values["concurrency"]["runs"]["tagConcurrencyLimits"]
        == settings["concurrency"]["runs"]["tag_concurrency_limits"]
    )
    purged = values["retention"]["sensor"]["purgeAfterDays"]
    assert {**settings["retention"]["sensor"]["purge_after_days"], "started": -1} == purged
    assert values["telemetry"]["enabled"] is settings["telemetry"]["enabled"] is False


def test_the_launcher_takes_what_the_values_for_the_chart_of_dagster_say() -> None:
    launchers = package("dagster_k8s")
    context = importlib.import_module("dagster_k8s.container_context")
    values = yaml.safe_load((FOLDER / "dagster-chart-values.yaml").read_text(encoding="utf-8"))
    of_launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    (location,) = values["dagster-user-deployments"]["deployments"]

    given = snake(of_launcher) | {"instance_config_map": "x", "service_account_name": "x"}
    schema = launchers.K8sRunLauncher.config_type()
    config = dg.validate_run_config(_takes(schema), {"ops": {"takes": {"config": given}}})
    assert config
    of_runs = context.K8sContainerContext.create_from_config(
        {
            "k8s": {
                "env": location["env"],
                "env_secrets": [each["name"] for each in location["envSecrets"]],
                "volumes": location["volumes"],
                "volume_mounts": location["volumeMounts"],
                "resources": location["resources"],
            }
        }
    )
    assert of_runs.run_k8s_config.container_config["resources"] == location["resources"]


def _takes(schema: Any) -> dg.JobDefinition:
    """Return a job whose op is configured as a launcher is."""

    @dg.op(config_schema=schema)
    def takes() -> None:
        """Do nothing."""

    @dg.job
    def job() -> None:
        takes()

    return job
