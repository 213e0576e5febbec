"""Dashboards, alerts and the runbook say only what is exported, and what somebody can do."""

import json
import re

import pytest
import yaml

from tests.infra.manifests import INFRA, of_kind
from training.metrics import known

BOARDS = sorted((INFRA / "monitoring" / "dashboards").glob("*.json"))
ALERTS = [
    rule
    for group in yaml.safe_load((INFRA / "monitoring" / "alerts.yaml").read_text())["spec"]["groups"]
    for rule in group["rules"]
]
RUNBOOK = (INFRA / "runbook.md").read_text()
OURS = {metric.exported: set(metric.tags) for metric in known()}


def expressions() -> list[tuple[str, str]]:
    """Where an expression stands, and it."""
    found = [(rule["alert"], rule["expr"]) for rule in ALERTS]
    for file in BOARDS:
        board = json.loads(file.read_text())
        for panel in board["panels"]:
            found += [(f"{file.stem}: {panel['title']}", each["expr"]) for each in panel["targets"]]
        for variable in board["templating"]["list"]:
            found.append((f"{file.stem}: {variable['name']}", variable["query"]))
    return found


def rays_own() -> set[str]:
    """Names that Ray's own reporter on every machine exports."""
    from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES

    return {f"ray_{name}" for name in METRICS_GAUGES}


@pytest.mark.parametrize(("where", "expression"), expressions(), ids=lambda text: text[:60])
def test_every_metric_that_is_asked_for_is_exported(where, expression):
    asked = set(re.findall(r"\bray_[a-z0-9_]+", expression)) - {"ray_io_cluster", "ray_io_node_type"}
    assert asked <= OURS.keys() | rays_own()
    assert expression.count("(") == expression.count(")")


def test_every_tag_that_panels_group_by_is_one_of_the_metric():
    for where, expression in expressions():
        asked = set(re.findall(r"ray_video2lora_[a-z0-9_]+", expression))
        tags = set.union(*(OURS[name] for name in asked)) if asked else set()
        for grouped in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
            if asked:
                assert {each.strip() for each in grouped.split(",")} <= tags, where


def test_every_metric_of_this_project_is_on_a_dashboard():
    shown = " ".join(expression for where, expression in expressions() if ":" in where)
    assert not [name for name in OURS if name not in shown]


def test_panels_of_a_dashboard_do_not_cover_each_other_and_fit_its_width():
    for file in BOARDS:
        board = json.loads(file.read_text())
        taken = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_alert_says_what_it_means_and_has_its_section_in_the_runbook():
    sections = {line.removeprefix("## ") for line in RUNBOOK.splitlines() if line.startswith("## ")}
    for rule in ALERTS:
        assert rule["alert"] in sections
        assert rule["annotations"]["runbook"] == f"infra/runbook.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_runbook_has_the_days_that_come():
    for section in (
        "First deployment",
        "Scaling",
        "Upgrade",
        "Restore from backup",
        "Full disk",
        "Stuck run",
        "Lost head",
    ):
        assert f"\n## {section}\n" in RUNBOOK


def test_pods_are_asked_for_their_metrics_on_a_port_that_they_have():
    monitor = of_kind("overlays/gpu", "PodMonitor")[0]["spec"]
    cluster = of_kind("overlays/gpu", "RayCluster")[0]["spec"]
    templates = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for template in (each["template"] for each in templates):
        assert template["metadata"]["labels"].items() >= monitor["selector"]["matchLabels"].items()
        ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
        assert monitor["podMetricsEndpoints"][0]["port"] in ports


def test_grafana_is_given_every_dashboard():
    given = of_kind("overlays/gpu", "ConfigMap")
    boards = next(each for each in given if each["metadata"].get("labels", {}).get("grafana_dashboard"))
    assert boards["data"].keys() == {file.name for file in BOARDS}
