"""What every machine of a cluster needs before work begins there: the same code and packages, and a way to
the files, the catalogue and the weights. A short look at each says it in a sentence, before hours do."""

import hashlib
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import pipeline
from catalog.errors import CatalogError
from catalog.store import Catalog
from pipeline.errors import PipelineError
from pipeline.workers.versions import own_versions
from training.errors import TrainingError

ROOMS = ("catalog", "pipeline", "training")
PATIENCE = 120.0  # seconds; a machine that has just started imports slowly


class NodeUnfit(PipelineError):
    """A machine of the cluster lacks something that the work there needs."""


@dataclass(frozen=True)
class NodeNeeds:
    """What work on a cluster needs of every machine.

    Attributes:
        shared: folders that all have to see and may write to, made here where they are missing.
        reads: files and folders that all have to see.
        catalog: what all have to reach; None where the work has none.
        check: called on each, raises a sentence of what is not there (weights); picklable.
    """

    shared: tuple[Path, ...] = ()
    reads: tuple[Path, ...] = ()
    catalog: Catalog | None = None
    check: Callable[[], object] | None = None


def require_nodes(needs: NodeNeeds, patience: float = PATIENCE) -> list[str]:
    """Look at every machine of the cluster that this process has joined; their names.

    Raises:
        NodeUnfit: one lacks something; the sentence names it, and what to do.
    """
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    marks = [folder.resolve() / f".seen-{uuid.uuid4().hex}" for folder in needs.shared]
    try:
        for mark in marks:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
        found = _answers(nodes, marks, needs, patience)
    finally:
        for mark in marks:
            mark.unlink(missing_ok=True)
    own = _facts()
    for node, answer in found.items():
        _require(nodes[node], answer, own)
    return sorted(nodes.values())


def code_digest() -> str:
    """SHA-256 over the Python files of the rooms that workers import."""
    top, total = Path(pipeline.__file__).resolve().parents[1], hashlib.sha256()
    for file in sorted(file for room in ROOMS for file in (top / room).rglob("*.py")):
        total.update(f"{file.relative_to(top)}\n".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def _answers(
    nodes: dict[str, str], marks: list[Path], needs: NodeNeeds, patience: float
) -> dict[str, dict[str, Any]]:
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        look = ray.remote(_look).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked[node] = look.remote(marks, needs)
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=patience)
    found = {}
    for node, answer in asked.items():
        name = nodes[node]
        if answer not in ready:
            ray.cancel(answer, force=True)
            raise NodeUnfit(
                f"Machine {name} of the cluster has not answered for {patience:.0f} s; look at it with "
                "`ray status`, or take it out of the cluster."
            )
        try:
            found[node] = ray.get(answer)
        except ray.exceptions.RayError as error:
            raise NodeUnfit(_sentence(name, error)) from error
    return found


def _look(marks: list[Path], needs: NodeNeeds) -> dict[str, Any]:
    """On a machine: what it has ("facts"), and the first that it lacks ("lacks": what, and words of it)."""
    return {"facts": _facts(), "lacks": _lacks(marks, needs)}


def _lacks(marks: list[Path], needs: NodeNeeds) -> tuple[str, str] | None:
    for mark in marks:
        if not mark.exists():
            return "unseen", str(mark.parent)
        if not os.access(mark.parent, os.W_OK):
            return "unwritable", str(mark.parent)
    if unseen := [path for path in needs.reads if not path.exists()]:
        return "unseen", str(unseen[0])
    try:
        if needs.catalog is not None:
            needs.catalog.versions()
    except (CatalogError, OSError, RuntimeError, ValueError) as error:
        return "catalogue", f"{needs.catalog.uri if needs.catalog else ''}: {_first_line(error).rstrip('.')}"
    try:
        if needs.check is not None:
            needs.check()
    except (PipelineError, TrainingError) as error:
        return "check", str(error)
    return None


def _facts() -> dict[str, str]:
    return own_versions() | {"code": code_digest()}


def _require(name: str, answer: dict[str, Any], own: dict[str, str]) -> None:
    theirs = answer["facts"]
    if other := [each for each in own if each != "code" and theirs.get(each) != own[each]]:
        told = ", ".join(f"{each} {theirs.get(each)} (here {own[each]})" for each in other)
        raise NodeUnfit(
            f"Machine {name} of the cluster has {told}; every machine needs the versions of "
            "requirements.lock, best from one image."
        )
    if theirs["code"] != own["code"]:
        raise NodeUnfit(
            f"Machine {name} of the cluster has other code of this project than this one; send the command "
            "with --submit, which takes the code along, or bring both to one version."
        )
    what, told = answer["lacks"] or ("nothing", "")
    if what == "unseen":
        raise NodeUnfit(
            f"Machine {name} of the cluster does not see {told}; put it on storage that all machines share, "
            "under the same path, or in a bucket (s3://)."
        )
    if what == "unwritable":
        raise NodeUnfit(
            f"Machine {name} of the cluster may not write to {told}; give the user that runs Ray there the "
            "right to."
        )
    if what == "catalogue":
        raise NodeUnfit(
            f"Machine {name} of the cluster cannot read the catalogue at {told}. Give its environment the "
            "credentials and addresses that this one has."
        )
    if what == "check":
        raise NodeUnfit(f"On machine {name} of the cluster: {told}")


def _sentence(name: str, error: BaseException) -> str:
    text = str(error)
    if "No module named" in text:
        missing = text.partition("No module named")[2].split()[0].strip("'\".")
        return (
            f"Machine {name} of the cluster lacks the code that work there needs ({missing}); send the "
            "command with --submit, which takes the code along, or install the project on every machine."
        )
    return f"Machine {name} of the cluster fails at a first look ({_first_line(error)}); see `ray status`."


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1 if "Traceback" in str(error) else 0][:300]
