"""A schedule as those that run it read it: units of systemd, a line of cron, objects of Kubernetes. Pure."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.errors import JobError
from jobs.schedules.book import Schedule
from jobs.schedules.when import When

# The object of infra/kuberay/base/retrain.yaml: what a job there is, pods, storage and rules included.
TEMPLATE = "video2lora-retrain"
ACCOUNT = "video2lora-schedule"
# As kustomize knows it, which puts a registry's name and a tag in its place.
IMAGE = "video2lora"
LABEL = "video2lora/schedule"
PART = {"app.kubernetes.io/part-of": "video2lora"}
# A schedule that was missed by so many seconds waits for its next time.
_LATE = 600


class NoTemplate(JobError):
    """No RayCronJob whose job a schedule could run."""


def unit_names(schedule: Schedule) -> tuple[str, str]:
    """Of the service and of the timer."""
    return f"video2lora-{schedule.name}.service", f"video2lora-{schedule.name}.timer"


def systemd_units(schedule: Schedule, program: Sequence[str], folder: Path) -> dict[str, str]:
    """A service and a timer of a user's systemd, by file name.

    Args:
        program: how this project's command is called.
        folder: where it is called.
    """
    service, timer = unit_names(schedule)
    words = " ".join(_quoted(word) for word in (*program, *schedule.command))
    return {
        service: f"""[Unit]
Description=Video2LoRA: {schedule.name}

[Service]
Type=oneshot
WorkingDirectory={str(folder).replace("%", "%%")}
ExecStart={words}
KillSignal=SIGINT
TimeoutStopSec=60
""",
        timer: f"""[Unit]
Description=Video2LoRA: when {schedule.name} runs

[Timer]
OnCalendar={When.parse(schedule.cron).systemd()}
Persistent=true

[Install]
WantedBy=timers.target
""",
    }


def cron_line(schedule: Schedule, program: Sequence[str], folder: Path) -> str:
    """One line of a crontab, marked so that it is found again; cron's clock is the machine's."""
    words = " ".join(shlex.quote(word) for word in (*program, *schedule.command))
    line = f"cd {shlex.quote(str(folder))} && {words}"
    # To cron a percent sign is the end of the line.
    return f"{schedule.cron} {line} 2>&1 | logger -t video2lora  {mark(schedule, folder)}".replace("%", r"\%")


def mark(schedule: Schedule, folder: Path) -> str:
    """What a crontab's line ends with."""
    return f"# video2lora {schedule.name} {shlex.quote(str(folder))}".replace("%", r"\%")


def cron_job(schedule: Schedule, image: str = IMAGE) -> dict[str, Any]:
    """A Kubernetes CronJob that makes a RayJob of the cluster's template, unless the one before is not over.

    RayCronJob knows no concurrencyPolicy and keeps no history; Kubernetes' own CronJob does.

    Args:
        image: of the pod that makes it, with registry and tag; it has `kubectl`.
    """
    name = f"video2lora-{schedule.name}"
    security = {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000}
    container = {
        "name": "create",
        "image": image,
        "command": ["/bin/sh", "-euc"],
        "args": [_making(schedule)],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "home", "mountPath": "/tmp"}],
    }
    pod = {
        "restartPolicy": "Never",
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": True,
        "securityContext": security | {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "home", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "labels": dict(PART)},
        "spec": {
            "schedule": schedule.cron,
            "timeZone": "Etc/UTC",
            "suspend": schedule.paused,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": _LATE,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 2,
                    "activeDeadlineSeconds": 300,
                    "template": {"metadata": {"labels": dict(PART)}, "spec": pod},
                }
            },
        },
    }


def ray_cron_job(schedule: Schedule, template: Mapping[str, Any]) -> dict[str, Any]:
    """A RayCronJob, for clusters whose KubeRay has its gate on.

    Args:
        template: the cluster's own, as `kubectl get raycronjob` or `kubectl kustomize` gives it.

    Raises:
        NoTemplate: it is no RayCronJob.
    """
    job = _job_of(template) | {"entrypoint": entrypoint(schedule)}
    # A queue's label among them.
    labels = dict(template.get("metadata", {}).get("labels", {})) | PART | {LABEL: schedule.name}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCronJob",
        "metadata": {"name": f"video2lora-{schedule.name}", "labels": labels},
        "spec": {"schedule": schedule.cron, "suspend": schedule.paused, "jobTemplate": job},
    }


def image_of(template: Mapping[str, Any]) -> str:
    """The image of a template's pods, which has all that the pod needs that makes a job.

    Raises:
        NoTemplate: it is no RayCronJob, or its pods have none.
    """
    try:
        head = _job_of(template)["rayClusterSpec"]["headGroupSpec"]
        return str(head["template"]["spec"]["containers"][0]["image"])
    except (KeyError, IndexError, TypeError) as error:
        raise NoTemplate("The template's head names no image; say which with --image.") from error


def _job_of(template: Mapping[str, Any]) -> dict[str, Any]:
    spec = template.get("spec")
    if template.get("kind") != "RayCronJob" or not isinstance(spec, Mapping) or "jobTemplate" not in spec:
        raise NoTemplate(
            "The template is no RayCronJob with a jobTemplate; `kubectl kustomize"
            " infra/kuberay/overlays/NAME` prints one."
        )
    return dict(spec["jobTemplate"])


def entrypoint(schedule: Schedule) -> str:
    """What the cluster's job runs: the same command on its own Ray, in its own working directory."""
    where = "--workdir /workspace ${VIDEO2LORA_CATALOG:+--catalog $VIDEO2LORA_CATALOG}"
    return f"video2lora {shlex.join(schedule.bare())} {where}"


def _making(schedule: Schedule) -> str:
    """The shell that makes a RayJob: words come in as JSON, so that none of them is a command of its own."""
    name = f"video2lora-{schedule.name}"
    patch = json.dumps(
        {
            "metadata": {
                "name": None,
                "generateName": f"{name}-",
                "labels": PART | {LABEL: schedule.name},
            },
            "spec": {"entrypoint": entrypoint(schedule)},
        }
    )
    return f"""\
states=$(kubectl get rayjobs --selector {LABEL}={schedule.name} \\
  --output 'jsonpath={{range .items[*]}}{{.metadata.name}}={{.status.jobDeploymentStatus}} {{end}}')
for state in $states; do
  case $state in
    *=Complete | *=Failed | *=ValidationFailed) ;;
    *) echo "$state: not over yet, so no other is made"; exit 0 ;;
  esac
done
labels=$(kubectl get raycronjob {TEMPLATE} --output 'jsonpath={{.metadata.labels}}')
spec=$(kubectl get raycronjob {TEMPLATE} --output 'jsonpath={{.spec.jobTemplate}}')
printf '{{"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {{"name": "made", "labels": %s}},
  "spec": %s}}' "$labels" "$spec" |
  kubectl patch --local --type merge --filename - --output json --patch {shlex.quote(patch)} |
  kubectl create --filename -
"""


def _quoted(word: str) -> str:
    """A word as systemd reads it."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if not word or set(word) & set(" \t\"'\\;") else escaped
