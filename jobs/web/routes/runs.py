"""What was run, and the models that came of it."""

import json
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from jobs.web.pages import page
from jobs.web.site import Here

router = APIRouter()

SHOWN = 200
_FIGURES = 12


@router.get("/runs")
def runs(request: Request, site: Here) -> Response:
    """Runs and models, the newest first."""
    columns = ["run_id", "kind", "status", "started_at", "finished_at", "code_revision"]
    ran = site.catalog.scan("runs", columns).to_pylist()
    ran.sort(key=lambda row: (row["started_at"] is not None, row["started_at"]), reverse=True)
    columns = ["model_id", "run_id", "method", "metrics", "champion", "bytes", "created_at"]
    models = [_read(row) for row in site.catalog.scan("models", columns).to_pylist()]
    models.sort(key=lambda row: (row["created_at"] is not None, row["created_at"]), reverse=True)
    return page(request, "runs.html.j2", runs=ran[:SHOWN], all_runs=len(ran), models=models[:SHOWN])


@router.get("/run")
def run(request: Request, site: Here, id: str) -> Response:
    """One run: its settings and figures."""
    return _one(request, site, "runs", id)


@router.get("/model")
def model(request: Request, site: Here, id: str) -> Response:
    """One model: what it was made of, its figures, and what its gate said."""
    return _one(request, site, "models", id)


def _one(request: Request, site: Here, table: str, key: str) -> Response:
    rows = site.catalog.get(table, [key]).to_pylist()
    if not rows:
        raise HTTPException(404, f"No {table[:-1]} is called {key[:80]!r}.")
    row = _read(rows[0])
    nested = {name: value for name, value in row.items() if isinstance(value, dict)}
    plain = {name: value for name, value in row.items() if name not in nested and value is not None}
    told = {name: list(_flat(value)) for name, value in nested.items()}
    return page(request, "run.html.j2", kind=table[:-1], key=key, plain=plain, told=told)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its columns of JSON read; what is none stays text."""
    read = dict(row)
    for name in ("snapshot", "config", "metrics", "gate"):
        try:
            read[name] = json.loads(row[name]) if row.get(name) else None
        except ValueError:
            continue
    metrics = read.get("metrics")
    numbers = metrics if isinstance(metrics, dict) else {}
    read["figures"] = [(n, v) for n, v in numbers.items() if isinstance(v, int | float)][:_FIGURES]
    return read


def _flat(value: dict[str, Any], before: str = "") -> Any:
    """Dotted names and values of nested settings."""
    for name, each in value.items():
        if isinstance(each, dict) and each:
            yield from _flat(each, f"{before}{name}.")
        else:
            yield f"{before}{name}", each
