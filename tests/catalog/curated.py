"""What a curated catalogue of tests holds, and how it is looked at."""

from catalog.store import Catalog

CLIPS = {f"{category[0]}{n}aaaaa": category for category in ("melt", "drip", "snow") for n in range(4)}


def rows_of(catalog: Catalog, *columns: str) -> dict[str, tuple]:
    """Columns of every clip, by the first two signs of its id."""
    rows = catalog.scan("clips", ["clip_id", *columns]).to_pylist()
    return {row["clip_id"][:2]: tuple(row[name] for name in columns) for row in rows}


def everything(catalog: Catalog) -> dict[str, list]:
    """All that acts change, without the times at which rows were written."""
    tables = ("clips", "categories", "sources", "pairs")
    return {
        name: sorted(
            ({k: v for k, v in row.items() if k != "updated_at"} for row in catalog.scan(name).to_pylist()),
            key=str,
        )
        for name in tables
    }
