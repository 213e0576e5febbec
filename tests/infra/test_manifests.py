"""Every manifest as a cluster would be given it: known fields only, and what KubeRay and we ask of it."""

import copy
import inspect
import json
import os
import re
import shlex
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml
from ray.serve import Application
from ray.serve.schema import ServeDeploySchema

from jobs.cli import app
from jobs.schedules.book import Schedule
from jobs.schedules.written import TEMPLATE, cron_job
from tests.infra.crds import KEPT, compact, read_definitions
from tests.infra.manifests import (
    OVERLAYS,
    RENDERED,
    ROOT,
    clusters,
    containers,
    definitions,
    job_specs,
    mistakes,
    of_kind,
    pods,
    render,
)

LOCKED = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PART = {"app.kubernetes.io/part-of": "video2lora"}
everywhere = pytest.mark.parametrize("name", RENDERED)


@everywhere
def test_every_field_of_every_resource_is_one_that_kubernetes_knows(name):
    for resource in render(name):
        assert mistakes(resource) == [], resource["kind"]


@everywhere
def test_kuberays_own_definitions_take_every_resource(name):
    if (folder := definitions()) is None:
        pytest.skip("KubeRay's definitions are not beside this project: only what is kept of them is asked")
    for resource in render(name):
        assert mistakes(resource, folder) == [], resource["kind"]


def test_what_is_kept_of_the_definitions_is_what_they_say():
    if (folder := definitions()) is None:
        pytest.skip("KubeRay's definitions are not beside this project")
    assert json.loads(KEPT.read_text()) == json.loads(json.dumps(compact(read_definitions(folder))))


MISTAKES = {
    "a mistyped field of a cluster": lambda spec: spec.update(enableInTreeAutoscalng=True),
    "a number that is text": lambda spec: spec["workerGroupSpecs"][0].update(minReplicas="none"),
    "a word that is none of the known": lambda spec: spec["authOptions"].update(mode="tokens"),
    "a mistyped field of a pod": lambda spec: spec["headGroupSpec"]["template"]["spec"].update(volume=[]),
    "a container without a name": lambda spec: spec["headGroupSpec"]["template"]["spec"]["containers"][0].pop(
        "name"
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_manifest_is_found(mistake):
    resource = copy.deepcopy(of_kind(OVERLAYS[0], "RayCluster")[0])
    MISTAKES[mistake](resource["spec"])
    assert mistakes(resource)


@everywhere
def test_images_and_versions_are_those_of_the_lock(name):
    for place, container in containers(name):
        kind = "cpu" if "/cpu-" in name else "gpu"
        assert container["image"] == f"video2lora:{VERSION}-{kind}", place
    for cluster in clusters(name):
        assert cluster["rayVersion"] == LOCKED["ray"]


@everywhere
def test_entry_points_are_commands_of_this_project_with_options_that_they_have(name):
    for spec in job_specs(name):
        for words in entry_points(spec["entrypoint"]):
            command = typer.main.get_command(app)
            while hasattr(command, "commands"):
                command = command.commands[words.pop(0)]
            known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
            assert {word for word in words if word.startswith("-")} <= known, words


def entry_points(line: str) -> list[list[str]]:
    """The words after `video2lora` of each command in a shell's line."""
    line = re.sub(r"\$\{VIDEO2LORA_CATALOG:\+([^}]*)\}", r"\1", line)
    found = []
    for part in line.split("&&"):
        program, *words = shlex.split(part)
        assert program == "video2lora"
        found.append(words)
    return found


@everywhere
def test_a_cluster_asks_for_a_token_and_its_workers_scale_to_zero(name):
    for cluster in clusters(name):
        assert cluster["authOptions"]["mode"] == "token"
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        groups = cluster["workerGroupSpecs"]
        assert [group["groupName"] for group in groups] == ["data", "train"][: len(groups)]
        assert all(group["minReplicas"] == 0 < group["maxReplicas"] for group in groups)
        if cluster["enableInTreeAutoscaling"]:
            assert all(group["replicas"] == 0 for group in groups)
            # KubeRay refuses any other policy with the second autoscaler.
            assert cluster["autoscalerOptions"]["version"] == "v2"
            assert all(pod["spec"]["restartPolicy"] == "Never" for _, pod in pods(cluster))


@everywhere
def test_a_job_is_tried_again_and_its_cluster_goes_when_it_ends(name):
    for spec in job_specs(name):
        assert spec["backoffLimit"] > 0
        assert spec["submissionMode"] == "K8sJobMode"
        rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
        # One excludes the other (KubeRay's own check); Kueue, which suspends, knows only the older one.
        assert bool(rules) != spec.get("shutdownAfterJobFinishes", False)
        assert bool(rules) != ("ttlSecondsAfterFinished" in spec)
        if rules:
            assert {rule["condition"]["jobStatus"] for rule in rules} == {"SUCCEEDED", "FAILED"}
        for state in ("SUCCEEDED", "FAILED") if rules else ():
            seconds = {
                rule["policy"]: rule["condition"]["ttlSeconds"]
                for rule in rules
                if rule["condition"]["jobStatus"] == state
            }
            assert seconds["DeleteCluster"] <= seconds["DeleteSelf"]


@everywhere
def test_no_pod_is_root_and_none_may_become_it(name):
    for resource in render(name):
        for place, pod in pods(resource):
            assert pod["spec"]["securityContext"]["runAsNonRoot"], place
            assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "hostPath" not in json.dumps(pod) and "hostNetwork" not in pod["spec"]
            assert pod["metadata"]["labels"].items() >= PART.items()  # the network policy goes by it
    for place, container in containers(name):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False, place
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@everywhere
def test_every_container_says_what_it_needs_and_rays_say_how_they_are(name):
    for place, container in containers(name):
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), place
        assert "memory" in container["resources"]["limits"], place
        if container["name"] == "ray":
            assert "livenessProbe" in container, place
    for cluster in clusters(name):
        assert "readinessProbe" in cluster["headGroupSpec"]["template"]["spec"]["containers"][0]


@everywhere
def test_secrets_are_referred_to_and_never_written_down(name):
    assert not of_kind(name, "Secret")
    words = re.compile(r"password|token|secret|access_?key", re.IGNORECASE)
    for place, container in containers(name):
        for variable in container.get("env", []):
            assert "value" not in variable or not words.search(variable["name"]), place
    for settings in of_kind(name, "ConfigMap"):
        assert not any(words.search(key) for key in settings["data"]), settings["metadata"]["name"]
    for cluster in clusters(name):
        if options := cluster.get("gcsFaultToleranceOptions"):
            assert "secretKeyRef" in options["redisPassword"]["valueFrom"]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_web_is_an_application_that_ray_serve_can_import_with_these_arguments(name):
    config = ServeDeploySchema.model_validate(
        yaml.safe_load(of_kind(name, "RayService")[0]["spec"]["serveConfigV2"])
    )
    (application,) = config.applications
    module, _, function = application.import_path.partition(":")
    builder = getattr(import_module(module), function)
    (wanted,) = (
        kind for kind in inspect.get_annotations(builder, eval_str=True).values() if kind is not Application
    )
    wanted.model_validate(application.args)
    deployed = builder(wanted.model_validate(application.args))
    assert [each.name for each in application.deployments] == [deployed._bound_deployment.name]


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_pods_refer_to_is_there(name):
    there = {(each["kind"], each["metadata"]["name"]) for each in render(name)}
    for resource in render(name):
        for place, pod in pods(resource):
            assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in there, place
            volumes = pod["spec"].get("volumes", [])
            for volume in volumes:
                if claim := volume.get("persistentVolumeClaim"):
                    assert ("PersistentVolumeClaim", claim["claimName"]) in there, place
            for container in pod["spec"]["containers"]:
                mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
                assert mounted <= {volume["name"] for volume in volumes}, place
                for source in container.get("envFrom", []):
                    if settings := source.get("configMapRef"):
                        assert ("ConfigMap", settings["name"]) in there, place


def test_the_overlay_of_gpus_trains_on_them_and_survives_its_head():
    cluster = of_kind("overlays/gpu", "RayCluster")[0]["spec"]
    train = cluster["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]
    assert train["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert cluster["gcsFaultToleranceOptions"]["backend"] == "redis"


def test_jobs_that_wait_in_a_queue_have_its_label_and_a_known_number_of_pods():
    for name in (each for each in RENDERED if "queued" in each):
        for kind in ("RayJob", "RayCronJob"):
            for resource in of_kind(name, kind):
                assert resource["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "video2lora"
        for spec in job_specs(name):
            assert not spec["rayClusterSpec"]["enableInTreeAutoscaling"]
            assert sum(group["replicas"] for group in spec["rayClusterSpec"]["workerGroupSpecs"]) > 0


def schedule(tmp_path: Path, name: str, states: str) -> tuple[list[dict], str]:
    """What the CronJob of an overlay creates and says, run by a shell, where RayJobs are in these states.

    A stand-in for kubectl answers from the overlay's own RayCronJob and keeps what it is given to create.
    """
    template = of_kind(name, "RayCronJob")[0]
    for key, value in (("labels", template["metadata"]["labels"]), ("spec", template["spec"]["jobTemplate"])):
        (tmp_path / key).write_text(json.dumps(value))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"""#!/bin/sh
cd {tmp_path}
case "$*" in
  "get rayjobs --selector video2lora/schedule=retrain "*) printf '%s' '{states}' ;;
  *"{{.metadata.labels}}") cat labels ;;
  *"{{.spec.jobTemplate}}") cat spec ;;
  "create --filename -") cat > created ;;
  *) exit 1 ;;
esac
"""
    )
    kubectl.chmod(0o755)
    container = of_kind(name, "CronJob")[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][
        0
    ]
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    created = tmp_path / "created"
    return (list(yaml.safe_load_all(created.read_text())) if created.exists() else []), done.stdout


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_schedule_makes_a_whole_job_of_the_template(name, tmp_path):
    (job,), _ = schedule(tmp_path, name, "video2lora-retrain-a=Complete video2lora-retrain-b=Failed ")
    template = of_kind(name, "RayCronJob")[0]
    assert mistakes(job) == []
    assert job["spec"] == template["spec"]["jobTemplate"]
    assert job["metadata"]["labels"] == template["metadata"]["labels"]


def test_the_schedule_makes_no_second_job_beside_one_that_runs(tmp_path):
    made, said = schedule(
        tmp_path, OVERLAYS[0], "video2lora-retrain-a=Complete video2lora-retrain-b=Running "
    )
    assert made == []
    assert "video2lora-retrain-b=Running" in said


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_schedule_is_the_one_that_schedule_add_would_write(name):
    """But for its shell, which there names another command, and the image."""
    ours = copy.deepcopy(of_kind(name, "CronJob")[0])
    theirs = cron_job(Schedule("retrain", ours["spec"]["schedule"], ("retrain", "--if-due"), "kubernetes"))
    for each in (ours, theirs):
        each["metadata"].pop("namespace", None)
        each["spec"].setdefault("suspend", False)
        ((_, pod),) = pods(each)
        for key in ("args", "image"):
            pod["spec"]["containers"][0].pop(key)
    assert ours == theirs
    assert of_kind(name, "RayCronJob")[0]["metadata"]["name"] == TEMPLATE


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_schedule_forbids_a_second_run_and_may_do_no_more_than_it_does(name):
    cron = of_kind(name, "CronJob")[0]
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"
    template = of_kind(name, "RayCronJob")[0]
    # Two schedules that both ran would be two runs.
    assert template["spec"]["suspend"] is True
    assert template["spec"]["schedule"] == cron["spec"]["schedule"]
    rules = of_kind(name, "Role")[0]["rules"]
    assert all(rule["apiGroups"] == ["ray.io"] and "*" not in rule["verbs"] for rule in rules)
