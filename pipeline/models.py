"""Which model is meant: the one that is named, the champion, or the newest."""

from pathlib import Path

from catalog.models import model_folder
from catalog.store import Catalog
from pipeline.errors import PipelineError
from training.methods.registry import for_one_video
from training.release import Release, read_release, shipped_model


class NoModel(PipelineError):
    """There is no trained model of that name, or none at all."""


def find_model(catalog: Catalog, models: Path, model_id: str | None = None) -> Release:
    """The named model, or the champion, or the newest; "pocket" is the one that comes with this project.

    Args:
        models: the working directory's folder of models; see `model_folder`.

    Raises:
        NoModel: there is none of that name, or none at all.
        ModelMissing: its files are gone.
    """
    if model_id is not None and model_id in ("pocket", (shipped := shipped_model()).model_id):
        return shipped
    columns = ["model_id", "path", "champion", "created_at", "method"]
    rows = sorted(
        catalog.scan("models", columns).to_pylist(), key=lambda r: (bool(r["champion"]), r["created_at"])
    )
    # What was fitted to one video is nobody's model but that video's: it has to be named.
    rows = [row for row in rows if row["model_id"] == model_id or not for_one_video(row["method"])]
    if not rows:
        raise NoModel(
            "There is no trained model yet. Train one with `video2lora train`, or take the one that comes"
            " with the pocket backbone: `--model pocket`."
        )
    chosen = [row for row in rows if model_id in (None, row["model_id"])]
    if not chosen:
        known = ", ".join(row["model_id"] for row in reversed(rows[-5:]))
        raise NoModel(f"No model named {model_id!r} in this catalogue. Newest: {known}.")
    return read_release(model_folder(catalog, chosen[-1]["path"], models))
