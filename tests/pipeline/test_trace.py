"""Where a file comes from, as it says and as the catalogue knows; which models can be promoted."""

import json
import shutil
import struct
from datetime import UTC, datetime

import numpy as np
import pytest
import torch

from catalog.clip_spec import ClipSpec
from catalog.curation import Author
from catalog.errors import NoChampion
from catalog.models import keep_model
from catalog.store import Catalog
from pipeline.adapters import Adapter, save_adapter
from pipeline.champions import CannotPromote, promote, rollback
from pipeline.trace import NoOrigin, read_facts, trace
from pipeline.video.transcode import encode_video
from training.methods.lightlora.export import save_lora
from training.release import shipped_model

FACTS = {"model_id": "video2lora-aaaa", "reference": "m0", "prompt": "a red mug"}
ANN = Author("ann")


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """A catalogue of three clips, two of which train, and a model that was trained on them."""
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=5, fps=8, height=64, width=96))
    told = {"status": "accepted", "category_id": "melt", "split": "train", "source": "open-vfx"}
    catalog.upsert(
        "clips",
        [
            {
                "clip_id": "m0",
                "licence": "CC-BY-4.0",
                "licence_evidence": "https://example.org/terms",
                **told,
            },
            {"clip_id": "m1", "licence": None, **told},
            {"clip_id": "m2", "licence": "CC0", **told, "split": "val"},
        ],
    )
    add_model(catalog, "video2lora-aaaa", tmp_path / "models")
    return catalog


def add_model(catalog: Catalog, name: str, models) -> None:
    shutil.copytree(shipped_model().path, models / name)
    row = {"model_id": name, "path": keep_model(catalog, models / name)}
    row |= {"snapshot": catalog.snapshot().to_json(), "config": "{}", "metrics": "{}"}
    catalog.upsert("models", [row | {"created_at": datetime(2026, 11, 1, tzinfo=UTC)}])


def video(path, comment: str):
    path.write_bytes(encode_video(np.zeros((3, 16, 16, 3), np.uint8), 8, comment=comment))
    return path


def test_a_generated_video_leads_back_to_its_model_snapshot_clips_and_terms(catalog, tmp_path):
    found = trace(catalog, video(tmp_path / "a.mp4", json.dumps(FACTS)))
    assert found.model.model_id == "video2lora-aaaa"
    assert found.clips == 2
    assert found.licences == {"CC-BY-4.0": 1, "unknown": 1}
    assert found.categories == {"melt": 2}
    assert found.reference["licence_evidence"] == "https://example.org/terms"
    assert not found.adapter
    catalog.upsert("adapters", [{"clip_id": "m0", "model_id": "video2lora-aaaa"}])
    assert trace(catalog, tmp_path / "a.mp4").adapter


def test_a_lora_an_adapter_and_a_models_own_tensors_say_what_they_come_from(catalog, tmp_path):
    save_lora(tmp_path / "a.lora.safetensors", {"x": torch.zeros(2)}, FACTS)
    save_adapter(tmp_path / "a.safetensors", Adapter(torch.zeros(1, 3), None, FACTS))
    for name in ("a.lora.safetensors", "a.safetensors"):
        assert trace(catalog, tmp_path / name).facts == FACTS
    found = trace(catalog, shipped_model().path / "model.safetensors")
    assert found.shipped
    assert found.missing == ()


def test_a_file_of_a_model_that_the_catalogue_does_not_know_is_told_as_far_as_it_says(catalog, tmp_path):
    found = trace(catalog, video(tmp_path / "a.mp4", json.dumps(FACTS | {"model_id": "video2lora-zzzz"})))
    assert found.model is None
    assert "knows no model of that id" in found.missing[0]
    assert found.reference["clip_id"] == "m0"


def box(kind: bytes, *inside: bytes) -> bytes:
    content = b"".join(inside)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def mp4(comment: bytes) -> bytes:
    data = box(b"data", bytes(8), comment)
    boxes = box(b"moov", box(b"udta", box(b"meta", bytes(4), box(b"ilst", box(b"\xa9cmt", data)))))
    return box(b"ftyp", b"isom") + boxes


STRANGE = {
    "no comment": (box(b"ftyp", b"isom") + box(b"moov"), "does not say what it comes from"),
    "a box without end": (box(b"ftyp", b"isom") + b"\xff\xff\xff\xffmoov", "does not say"),
    "a box of no size": (box(b"ftyp", b"isom") + struct.pack(">I4s", 3, b"junk"), "does not say"),
    "words": (mp4(b"made with love"), "says something of itself, but not which model"),
    "a list": (mp4(b"[1]"), "not which model"),
    "a number for a model": (mp4(b'{"model_id": 7}'), "not which model"),
    "brackets without end": (mp4(b"[" * 100_000), "not which model"),
    "two megabytes": (mp4(b'{"model_id": "' + b"x" * 2_000_000 + b'"}'), "does not say"),
    "another kind": (b"RIFF....AVI LIST", "neither an mp4 nor a safetensors file"),
    "empty": (b"", "neither an mp4 nor a safetensors file"),
    "a header that is too long": (struct.pack("<Q", 1 << 60) + b"{}", "neither an mp4"),
    "a torn header": (struct.pack("<Q", 4) + b"{xx}", "no whole safetensors file"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strangers_file_is_refused_in_a_sentence(tmp_path, name):
    content, says = STRANGE[name]
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(NoOrigin, match=says):
        read_facts(tmp_path / "file")


def test_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(NoOrigin, match="is a folder"):
        read_facts(tmp_path)
    with pytest.raises(NoOrigin, match="cannot be read: No such file"):
        read_facts(tmp_path / "nothing.mp4")


def test_a_model_whose_files_are_gone_is_neither_promoted_nor_gone_back_to(catalog, tmp_path):
    models = tmp_path / "models"
    add_model(catalog, "video2lora-bbbb", models)
    promote(catalog, models, "video2lora-a", ANN)
    promote(catalog, models, "video2lora-b", ANN)
    shutil.rmtree(models / "video2lora-aaaa")
    with pytest.raises(CannotPromote, match="video2lora-aaaa cannot be the champion: The files of model"):
        rollback(catalog, models, ANN)
    with pytest.raises(CannotPromote, match="video2lora-aaaa cannot be the champion"):
        promote(catalog, models, "video2lora-a", ANN)
    (models / "video2lora-bbbb" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CannotPromote, match="holds no readable model"):
        promote(catalog, models, "video2lora-b", ANN)


def test_rollback_past_the_first_is_refused(catalog, tmp_path):
    promote(catalog, tmp_path / "models", "video2lora-a", ANN)
    with pytest.raises(NoChampion, match="is the first champion"):
        rollback(catalog, tmp_path / "models", ANN)
