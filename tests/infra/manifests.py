"""The manifests of infra/kuberay as a cluster would be given them, held against their schemas."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.infra.crds import KEPT

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
KUBERAY = INFRA / "kuberay"
KUBERNETES = "1.35"
# Every folder that a person gives to `kubectl apply -k` or `kubectl create -k`.
RENDERED = tuple(
    sorted(
        file.parent.relative_to(KUBERAY).as_posix()
        for file in (KUBERAY / "overlays").rglob("kustomization.yaml")
        if file.parent.name not in ("cluster", "image")
    )
)
OVERLAYS = tuple(name for name in RENDERED if "/jobs/" not in name)


@cache
def render(name: str) -> tuple[dict[str, Any], ...]:
    """What `kubectl kustomize` makes of an overlay; the test is skipped where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: overlays are not rendered")
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERAY / name)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(name: str, kind: str) -> list[dict[str, Any]]:
    return [each for each in render(name) if each["kind"] == kind]


def mistakes(resource: dict[str, Any], folder: Path | None = None) -> list[str]:
    """What a resource says that its schema does not know, or not so; empty for a good one.

    Args:
        folder: of KubeRay's resource definitions; None takes what is kept of them here.
    """
    if resource["apiVersion"].startswith("ray.io/"):
        return list(_of_ray(resource, folder))
    if resource["apiVersion"].startswith("monitoring.coreos.com/"):
        return _against(MONITORING[resource["kind"]], resource)
    try:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def _of_ray(resource: dict[str, Any], folder: Path | None) -> Iterator[str]:
    if folder is not None:
        schema = _definitions(folder)[resource["kind"]]
    else:
        kept = json.loads(KEPT.read_text())
        schema = kept["schemas"][resource["kind"]] | {"$defs": kept["$defs"]}
    yield from _against(schema, resource)
    for place, pod in pods(resource):
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": pod}
        yield from (f"{place}: {each}" for each in mistakes(template))


@cache
def _definitions(folder: Path) -> dict[str, Any]:
    from tests.infra.crds import read_definitions

    return read_definitions(folder)


def _against(schema: dict[str, Any], resource: dict[str, Any]) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(resource)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in found]


def pods(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template in a resource, and where."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from pods(each, f"{place}[{number}]")
    elif isinstance(value, dict):
        if "containers" in (value.get("spec") or {}):
            yield place, value
            return
        for key, each in value.items():
            yield from pods(each, f"{place}.{key}")


def containers(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container of an overlay, and where."""
    for resource in render(name):
        for place, pod in pods(resource):
            for container in pod["spec"]["containers"]:
                yield f"{resource['kind']} {resource['metadata']['name']}{place}", container


def clusters(name: str) -> Iterator[dict[str, Any]]:
    """Every description of a Ray cluster in an overlay."""
    for resource in render(name):
        spec = resource.get("spec", {})
        yield from {
            "RayCluster": lambda spec=spec: [spec],
            "RayJob": lambda spec=spec: [spec["rayClusterSpec"]],
            "RayCronJob": lambda spec=spec: [spec["jobTemplate"]["rayClusterSpec"]],
            "RayService": lambda spec=spec: [spec["rayClusterConfig"]],
        }.get(resource["kind"], list)()


def job_specs(name: str) -> Iterator[dict[str, Any]]:
    """Every description of a Ray job in an overlay."""
    yield from (each["spec"] for each in of_kind(name, "RayJob"))
    yield from (each["spec"]["jobTemplate"] for each in of_kind(name, "RayCronJob"))


def definitions() -> Path | None:
    """Where KubeRay's own definitions lie, where they do."""
    folder = Path(os.environ.get("KUBERAY_CRDS") or ROOT.parent / "shared" / "kuberay-crds")
    return folder if folder.is_dir() else None


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_TEXT: dict[str, Any] = {"type": "string"}
_LABELS = {"type": "object", "additionalProperties": _TEXT}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdw]))+$"}
_META = _closed(["name"], name=_TEXT, namespace=_TEXT, labels=_LABELS, annotations=_LABELS)


def _monitoring(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    version = {"const": "monitoring.coreos.com/v1"}
    names = ["apiVersion", "kind", "metadata", "spec"]
    return _closed(names, apiVersion=version, kind={"const": kind}, metadata=_META, spec=spec)


# The part of Prometheus Operator's API that is used here.
MONITORING = {
    "PodMonitor": _monitoring(
        "PodMonitor",
        _closed(
            ["selector", "podMetricsEndpoints"],
            selector=_closed(["matchLabels"], matchLabels=_LABELS),
            podMetricsEndpoints={
                "type": "array",
                "items": _closed(
                    ["port"],
                    port=_TEXT,
                    interval=_DURATION,
                    relabelings={
                        "type": "array",
                        "items": _closed(
                            ["targetLabel"],
                            action=_TEXT,
                            sourceLabels={"type": "array", "items": _TEXT},
                            targetLabel=_TEXT,
                        ),
                    },
                ),
            },
        ),
    ),
    "PrometheusRule": _monitoring(
        "PrometheusRule",
        _closed(
            ["groups"],
            groups={
                "type": "array",
                "items": _closed(
                    ["name", "rules"],
                    name=_TEXT,
                    rules={
                        "type": "array",
                        "items": _closed(
                            ["alert", "expr", "labels", "annotations"],
                            alert=_TEXT,
                            expr=_TEXT,
                            labels=_LABELS,
                            annotations=_LABELS,
                            **{"for": _DURATION},
                        ),
                    },
                ),
            },
        ),
    ),
}
