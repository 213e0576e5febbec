"""How fast a catalogue answers by vector, and how right, as clips grow in number.

`python -m tests.benchmarks.catalog --rows 10000 100000` writes clustered unit vectors of 512 dimensions in
3,000 categories, and asks as the product asks: by a vector, by a vector and a filter, by words and a vector,
for the counts of all facets. Beside it: the bare LanceDB call, and NumPy comparing all. p50 and p95 in
milliseconds of a warm handle,
recall@10 against comparing all, seconds of the first query, which builds the index, bytes a row. Prints one
JSON object as its last line.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.clip_spec import ClipSpec
from catalog.search import clip_filter, facets, search_vector, search_words
from catalog.store import Catalog
from catalog.vectors import ensure_vectors

DIM, CATEGORIES, LIMIT = 512, 3_000, 10
_ROWS_PER_COMMIT = 50_000


def main(arguments: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=50)
    options = parser.parse_args(arguments)
    report = {}
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            report[str(rows)] = measure(Path(folder) / "catalog", rows, options.queries)
            print(rows, report[str(rows)], flush=True)
    print(json.dumps(report))
    return report


def measure(folder: Path, rows: int, queries: int) -> dict:
    """Every kind of query on a catalogue of so many rows."""
    catalog = Catalog.create(folder, ClipSpec())
    ensure_vectors(catalog, "clips", "embedding", DIM)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CATEGORIES, DIM)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    vectors = np.concatenate(
        [
            write(catalog, first, min(_ROWS_PER_COMMIT, rows - first), centres)
            for first in range(0, rows, _ROWS_PER_COMMIT)
        ]
    )
    asked = vectors[rng.integers(rows, size=queries)] + rng.normal(0, 0.02, (queries, DIM)).astype(np.float32)
    exact = [set(np.argpartition(-(vectors @ query), LIMIT)[:LIMIT].tolist()) for query in asked]
    began = time.perf_counter()
    search_vector(catalog, asked[0].tolist(), limit=LIMIT)
    built = time.perf_counter() - began
    calm = clip_filter(catalog, "motion < 0.5")
    handle = catalog.tables.handle("clips")

    def raw(query: np.ndarray):
        search = handle.search(query.tolist(), vector_column_name="embedding", query_type="vector")
        return (
            search.metric("cosine")
            .nprobes(32)
            .refine_factor(2)
            .select(["clip_id", "_distance"])
            .limit(LIMIT)
            .to_list()
        )

    def ours(query: np.ndarray):
        return search_vector(catalog, query.tolist(), limit=LIMIT)

    found = [{int(row["clip_id"]) for row in ours(query)} for query in asked]
    kinds: dict[str, Callable] = {
        "vector": ours,
        "vector_and_filter": lambda query: search_vector(catalog, query.tolist(), calm, LIMIT),
        "words_and_vector": lambda query: search_words(catalog, "red ball", query.tolist(), limit=LIMIT),
        "facets": lambda _: facets(catalog),
        "raw_lancedb_vector": raw,
        "numpy_vector": lambda query: np.argpartition(-(vectors @ query), LIMIT)[:LIMIT],
    }
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "first_query_s": round(built, 2),
        "recall_at_10": round(
            float(np.mean([len(a & b) / LIMIT for a, b in zip(found, exact, strict=True)])), 4
        ),
        "bytes_a_row": size // rows,
        "ms": {kind: timed(ask, asked) for kind, ask in kinds.items()},
    }


def write(catalog: Catalog, first: int, count: int, centres: np.ndarray) -> np.ndarray:
    """Clips `first` … with a vector near their category's centre; returns the vectors."""
    rng = np.random.default_rng([1, first])
    category = rng.integers(len(centres), size=count)
    vectors = centres[category] + rng.normal(0, 0.03, (count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = np.array(["red ball", "blue car", "green cat", "a heart", "one house"])
    catalog.upsert(
        "clips",
        pa.table(
            {
                "clip_id": [str(number) for number in range(first, first + count)],
                "category_id": [f"category-{number}" for number in category],
                "caption": words[rng.integers(len(words), size=count)].tolist(),
                "motion": rng.random(count),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
            }
        ),
    )
    return vectors


def timed(ask: Callable, queries: np.ndarray) -> dict[str, float]:
    """p50 and p95 in milliseconds, one query after another, after three that warm it."""
    for query in queries[:3]:
        ask(query)
    spent = []
    for query in queries:
        began = time.perf_counter()
        ask(query)
        spent.append((time.perf_counter() - began) * 1e3)
    return {"p50": round(float(np.median(spent)), 2), "p95": round(float(np.quantile(spent, 0.95)), 2)}


if __name__ == "__main__":
    main()
