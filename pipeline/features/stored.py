"""Stored features by clip, as tensors: what an encoder made once need not be made again."""

from collections.abc import Collection, Sequence

from lancedb.expr import col
from torch import Tensor

from catalog.store import Catalog
from pipeline.features.tensors import TornTensor, from_bytes

# By what a method needs of a reference (`MethodSettings.needs`), the columns of `features`.
_COLUMNS = {
    "latents": ("latents_mean", "latents_shape"),
    "first_frame": ("first_frame_latents", "first_frame_shape"),
    "text": ("text_embedding", "text_shape"),
}


def read_features(
    catalog: Catalog, encoder_id: str, clip_ids: Sequence[str], needs: Collection[str]
) -> dict[str, dict[str, Tensor]]:
    """What an encoder has stored of these clips: by clip id and need, a bfloat16 tensor.

    Latents [F, C, h, w], first frames […] (the clean one), texts [T, D]. A clip that lacks any of it, has
    damaged features or a new caption is left out.


    """
    if not clip_ids or not needs:
        return {}
    columns = [column for need in needs for column in _COLUMNS[need]]
    where = col("clip_id").isin(list(clip_ids)).and_(col("encoder_id") == encoder_id)
    rows = catalog.scan("features", ["clip_id", "caption", *columns], where).to_pylist()
    captions = {}
    if "text" in needs:
        known = catalog.get("clips", clip_ids, ["clip_id", "caption"]).to_pylist()
        captions = {row["clip_id"]: row["caption"] or "" for row in known}
    found = {}
    for row in rows:
        if captions.get(row["clip_id"], row["caption"]) != row["caption"]:
            continue
        if any(row[column] is None for column in columns):
            continue
        try:
            tensors = {need: from_bytes(*(row[column] for column in _COLUMNS[need])) for need in needs}
        except TornTensor:
            continue
        if "first_frame" in tensors:
            tensors["first_frame"] = tensors["first_frame"][0]
        found[row["clip_id"]] = tensors
    return found
