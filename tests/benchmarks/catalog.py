"""How fast a catalogue answers by vector, by words and in counts, and how right, as clips grow in number.

`python -m tests.benchmarks.catalog --rows 10000 100000` writes clustered unit vectors of 512 dimensions in
3,000 categories, with words in every column that is counted, maintains the catalogue once as `video2lora
maintain` does, and asks as the product asks: by a vector, by words and a vector, with a filter of words (a
fifth match), of a number (half match) and of one category, for the counts of all facets. Beside it: the bare
LanceDB call for the same columns of the same clips, with the same probes, and NumPy comparing all.

Each kind is asked in a row (`ms_in_a_row`), and all in drawn turns (`ms`), so that whatever else the machine
does meets all of them, and what comes after the counting of a million clips finds the processor's caches
empty. p50 and p95 in milliseconds of wall and the mean of processor time; recall@10 against comparing all, of
what the filter leaves too; how much longer ours takes than the bare call, by the medians in turns; seconds of
the first query of a kind, which builds its index; of the first facets; bytes a row. Prints one JSON object as
its last line.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.clip_spec import ClipSpec
from catalog.maintenance import compact
from catalog.search import clip_filter, facets, search_vector, search_words
from catalog.search.hits import COLUMNS
from catalog.search.vector import PROBES, REFINE
from catalog.store import Catalog
from catalog.vectors import ensure_vectors

DIM, CATEGORIES, LIMIT = 512, 3_000, 10
_ROWS_PER_COMMIT = 50_000
FILTERS = {
    "words": "status = 'accepted' and split = 'train' and licence = 'cc0'",
    "number": "motion < 0.5",
    "category": "category_id = 'category-7'",
}


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
    compact(catalog, keep=timedelta(0))
    asked = vectors[rng.integers(rows, size=queries)] + rng.normal(0, 0.02, (queries, DIM)).astype(np.float32)
    filters = {name: clip_filter(catalog, text) for name, text in FILTERS.items()}
    handles: list = []

    def raw(query: np.ndarray) -> list[dict]:
        search = handles[0].search(query.tolist(), vector_column_name="embedding", query_type="vector")
        search = search.metric("cosine").nprobes(PROBES).refine_factor(REFINE)
        return search.select([*COLUMNS, "_distance"]).limit(LIMIT).to_list()

    def by_vector(query: np.ndarray, where=None) -> list[dict]:
        return search_vector(catalog, query.tolist(), where, LIMIT)

    def by_words(query: np.ndarray, where=None) -> list[dict]:
        return search_words(catalog, "red ball", query.tolist(), where, LIMIT)

    kinds: dict[str, Callable] = {
        "vector": by_vector,
        "words_and_vector": by_words,
        **{f"vector_and_{name}": partial(by_vector, where=where) for name, where in filters.items()},
        **{f"words_vector_and_{name}": partial(by_words, where=where) for name, where in filters.items()},
        "facets": lambda _: facets(catalog),
        "facets_of_words": lambda _: facets(catalog, where=filters["words"]),
        "facets_of_number": lambda _: facets(catalog, where=filters["number"]),
    }
    first = {}
    for kind, ask in kinds.items():
        began = time.perf_counter()
        ask(asked[0])
        first[kind] = round(time.perf_counter() - began, 2)
    handles.append(catalog.tables.handle("clips"))
    compared = kinds | {"raw_lancedb_vector": raw}
    ours = timed(compared, asked)
    compared["numpy_vector"] = lambda query: np.argpartition(-(vectors @ query), LIMIT)[:LIMIT]
    in_a_row = {kind: timed({kind: ask}, asked)[kind] for kind, ask in compared.items()}
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "first_s": first,
        "recall_at_10": recalls(catalog, vectors, asked, by_vector, filters),
        "over_raw": round(ours["vector"]["p50"] / ours["raw_lancedb_vector"]["p50"] - 1, 3),
        "bytes_a_row": size // rows,
        "ms": ours,
        "ms_in_a_row": in_a_row,
    }


def recalls(
    catalog: Catalog, vectors: np.ndarray, asked: np.ndarray, ask: Callable, filters: dict
) -> dict[str, float]:
    """recall@10 against comparing all that a filter leaves."""
    similarity = vectors @ asked.T
    found = {}
    for name, where in {"all": None, **filters}.items():
        left = catalog.scan("clips", ["clip_id"], where)["clip_id"].to_numpy(zero_copy_only=False).astype(int)
        shares = []
        for place, query in enumerate(asked):
            exact = set(left[np.argpartition(-similarity[left, place], LIMIT)[:LIMIT]].tolist())
            shares.append(len(exact & {int(row["clip_id"]) for row in ask(query, where)}) / LIMIT)
        found[name] = round(float(np.mean(shares)), 4)
    return found


def write(catalog: Catalog, first: int, count: int, centres: np.ndarray) -> np.ndarray:
    """Clips `first` … with a vector near their category's centre; returns the vectors."""
    rng = np.random.default_rng([1, first])
    category = rng.integers(len(centres), size=count)
    vectors = centres[category] + rng.normal(0, 0.03, (count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def some(values: list) -> list:
        return [values[place] for place in rng.integers(len(values), size=count)]

    catalog.upsert(
        "clips",
        pa.table(
            {
                "clip_id": [str(number) for number in range(first, first + count)],
                "category_id": [f"category-{number}" for number in category],
                "caption": some(["red ball", "blue car", "green cat", "a heart", "one house"]),
                "status": some(["accepted"] * 9 + ["rejected"]),
                "split": some(["train"] * 9 + ["val"]),
                "licence": some(["cc0", "cc-by-4.0", "unknown", None]),
                "source": some([f"set-{number}" for number in range(8)]),
                "source_uri": [f"/videos/{number}.mp4" for number in range(first, first + count)],
                "motion": rng.random(count),
                "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
            }
        ),
    )
    return vectors


def timed(kinds: dict[str, Callable], queries: np.ndarray) -> dict[str, dict[str, float]]:
    """p50, p95 and processor time in milliseconds by kind, asked in drawn turns, after three of each."""
    spent: dict[str, list] = {kind: [] for kind in kinds}
    turns = np.random.default_rng(3)
    for number, query in enumerate([*queries[:3], *queries]):
        for kind in turns.permutation(list(kinds)):
            ask = kinds[kind]
            began, worked = time.perf_counter(), time.process_time()
            ask(query)
            took = (time.perf_counter() - began, time.process_time() - worked)
            if number >= 3:
                spent[kind].append(took)
    figures = {}
    for kind, each in spent.items():
        wall, worked = np.array(each).T * 1e3
        figures[kind] = {
            "p50": round(float(np.median(wall)), 2),
            "p95": round(float(np.quantile(wall, 0.95)), 2),
            "processor": round(float(worked.mean()), 2),
        }
    return figures


if __name__ == "__main__":
    main()
