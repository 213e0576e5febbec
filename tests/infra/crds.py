"""The schemas of KubeRay's resources without their pod templates: small enough to lie beside these tests.

`python -m tests.infra.crds FOLDER` writes `kuberay.json` anew from the resource definitions of a KubeRay
release (config/crd/bases there). KubeRay is licensed under Apache-2.0, as this project is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

KEPT = Path(__file__).with_name("kuberay.json")
KUBERAY = "1.7.0"
FILES = ("rayclusters", "rayjobs", "rayservices", "raycronjobs")
# A pod template in a schema, where it was cut out; kubernetes-validate knows its own.
POD = {"x-pod-template": True}


def read_definitions(folder: Path) -> dict[str, Any]:
    """The schema of `v1` by kind, closed: keys that it does not name are refused."""
    schemas = {}
    for name in FILES:
        definition = yaml.load((folder / f"{name}.yaml").read_text(), yaml.CSafeLoader)["spec"]
        version = next(each for each in definition["versions"] if each["name"] == "v1")
        schemas[definition["names"]["kind"]] = closed(version["schema"]["openAPIV3Schema"])
    return schemas


def closed(schema: Any) -> Any:
    """A schema in which every object refuses the keys that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    names = "properties" in shut and isinstance(shut["properties"], dict)
    if names and shut.get("type") == "object" and not shut.get("x-kubernetes-preserve-unknown-fields"):
        shut.setdefault("additionalProperties", False)
    if shut.get("x-kubernetes-int-or-string") is True:
        shut.pop("type", None)
    return shut


def without_pods(schema: Any) -> Any:
    """The same schema with a mark in place of every pod template, and of what only the operator writes."""
    if isinstance(schema, list):
        return [without_pods(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    properties = schema.get("properties")
    if isinstance(properties, dict) and "spec" in properties and is_pod(properties["spec"]):
        return POD
    kept = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-v")}
    return {key: without_pods(value) for key, value in kept.items() if key != "status"}


def compact(definitions: dict[str, Any]) -> dict[str, Any]:
    """What is kept: without pods, and what a cluster is only once."""
    schemas = without_pods(definitions)
    cluster = schemas["RayCluster"]["properties"]["spec"]

    def shared(schema: Any) -> Any:
        if isinstance(schema, list):
            return [shared(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        return {k: {"$ref": "#/$defs/cluster"} if v == cluster else shared(v) for k, v in schema.items()}

    return {"kuberay": KUBERAY, "$defs": {"cluster": cluster}, "schemas": shared(schemas)}


def is_pod(schema: Any) -> bool:
    return "containers" in schema.get("properties", {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of rayclusters.yaml and the others")
    kept = compact(read_definitions(parser.parse_args().folder))
    KEPT.write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
