"""Work on a real cluster of several machines, one of which is lost in every stage (lost_nodes.py)."""

import subprocess
import sys
from pathlib import Path

import pytest

from catalog.store import Catalog

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STAGES = ("ingest", "embed", "encode")


@pytest.fixture(scope="module")
def ways(tmp_path_factory) -> Path:
    """A folder with `one`, made on one machine, and `two`, on two of which one was lost in every stage."""
    folder = tmp_path_factory.mktemp("ways")
    run = [sys.executable, "-m", "tests.pipeline.lost_nodes", str(folder)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "machines looked at: 3" in done.stdout  # the head, too
    assert [line for line in done.stdout.splitlines() if line.endswith("machines lost")] == [
        f"{name}: 1 machines lost" for name in STAGES
    ]
    return folder


def rows(folder: Path, table: str, key: str, but: tuple[str, ...] = ()) -> dict[str, dict]:
    """By key, what does not tell when or in which run it was made."""
    found = Catalog.open(folder / "catalog").scan(table).to_pylist()
    told = {*but, "created_at", "updated_at", "ingested_at", "run_id", "embedder_at"}
    return {row[key]: {name: value for name, value in row.items() if name not in told} for row in found}


def test_every_input_is_ingested_once_into_the_same_clips(ways):
    one, two = (
        rows(ways / name, "sources", "source_uri", ("seconds", "cpu_seconds")) for name in ("one", "two")
    )
    assert len(one) == 6 and {row["outcome"] for row in one.values()} == {"accepted"}
    assert {uri: row["clip_ids"] for uri, row in one.items()} == {
        uri: row["clip_ids"] for uri, row in two.items()
    }
    catalogs = [Catalog.open(ways / name / "catalog") for name in ("one", "two")]
    ids = sorted(catalogs[0].distinct("clips", "clip_id"))
    assert catalogs[0].videos(ids) == catalogs[1].videos(ids)


def test_scores_vectors_categories_and_splits_are_equal_bit_for_bit(ways):
    one, two = (rows(ways / name, "clips", "clip_id") for name in ("one", "two"))
    assert len(one) == 6 and all(row["embedding"] is not None for row in one.values())
    assert one == two


def test_features_are_equal_bit_for_bit(ways):
    one, two = (rows(ways / name, "features", "clip_id") for name in ("one", "two"))
    assert len(one) == 7
    assert one == two
