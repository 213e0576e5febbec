"""What the metrics show of a catalogue as it stands, told by every job that runs on Ray."""

from catalog.leases import leases
from catalog.store import Catalog
from training.metrics import LEASE, MODEL_MADE


def tell_catalogue(catalog: Catalog) -> None:
    """Show when the newest model and the champion were made, and who holds which lease until when."""
    models = catalog.scan("models", ["created_at", "champion"]).to_pylist()
    champions = [row for row in models if row["champion"]]
    for role, rows in (("newest", models), ("champion", champions)):
        if rows:
            MODEL_MADE.set(max(row["created_at"] for row in rows).timestamp(), role=role)
    for lease in leases(catalog):
        if lease.holder is not None:
            LEASE.set(lease.expires_at.timestamp(), lease=lease.name, holder=lease.holder)
