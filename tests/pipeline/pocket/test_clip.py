"""The pocket CLIP: its training in small, and that open_clip reads what it writes."""

import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.embedding import directions
from pipeline.embedding.clip_weights import find_clip
from pipeline.embedding.embedder import Embedder
from pipeline.embedding.pocket import PocketClipMissing
from pipeline.embedding.settings import EmbedSettings
from pipeline.embedding.words import FILE
from pipeline.pocket.clip import VISION, ClipLessons, NoPocketClip, PocketClip, text_vectors, train_clip
from pipeline.pocket.clip_renders import LEARNED_FROM, measured, render_categories
from pipeline.pocket.words import ship_words

NAMES = ("melt", "gild", "pan_left")
LESSONS = ClipLessons(scenes=3, steps=4, categories=3, clips=2, precision="float32", processes=1)


@contextmanager
def silent(_name: str):
    yield lambda done, total, facts: None


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A pocket CLIP of a few steps, a small tower, and the folder that its training worked in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDEO2LORA_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name, value in {"width": 32, "head_width": 32}.items():
            patch.setitem(VISION, name, value)
        folder = tmp_path_factory.mktemp("pocket-clip")
        train_clip(folder / "clip", folder / "work", LESSONS, silent, categories=NAMES)
        yield folder


def test_what_was_trained_is_what_open_clip_loads(small):
    embedder = Embedder(EmbedSettings(pretrained=str(small / "clip")))
    assert embedder.embedder_id.startswith("pocket-")
    clips, _ = render_categories(NAMES, 3, LEARNED_FROM, small / "work" / "clip-renders", 1)
    seen = np.ascontiguousarray(clips[:, 0, :, ::8, ::8])  # as large as the tower's pictures
    model = PocketClip()
    from safetensors.torch import load_file

    stored = load_file(small / "clip" / "open_clip_model.safetensors")
    model.load_state_dict({name: value.float() for name, value in stored.items()})
    with torch.no_grad():
        pixels = torch.from_numpy(seen).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
        own = model.clips(pixels).numpy()
        texts = ["the subject turns to gold", "the subject melts"]
        asked = model.questions(torch.stack(list(text_vectors(texts, small / "work").values()))).numpy()
    for made, learned in ((embedder.embed_clips(list(seen)), own), (embedder.embed_text(texts), asked)):
        part = made[:, : -directions.SIZE]  # the rest is of pixels, and not of this model
        part = part / np.linalg.norm(part, axis=1, keepdims=True)
        np.testing.assert_allclose(part, learned, atol=1e-5)


def test_a_run_that_was_cut_short_ends_with_the_same_weights(small):
    two = small / "again"
    work = two / "work"
    work.mkdir(parents=True)
    (work / "clip-renders").symlink_to(small / "work" / "clip-renders")
    (work / "clip-texts.safetensors").symlink_to(small / "work" / "clip-texts.safetensors")
    # The rate falls over the last fifth of the steps, so a shorter run is not the beginning of a longer.
    with pytest.raises(KeyboardInterrupt):
        train_clip(two / "clip", work, LESSONS, interrupted_after(2), categories=NAMES)
    assert not (two / "clip").exists()
    train_clip(two / "clip", work, LESSONS, silent, categories=NAMES)
    name = "open_clip_model.safetensors"
    assert (two / "clip" / name).read_bytes() == (small / "clip" / name).read_bytes()


def interrupted_after(steps: int):
    @contextmanager
    def step(_name: str):
        def progress(done: int, total: int | None, facts: dict) -> None:
            if "loss" in facts and done == steps:
                raise KeyboardInterrupt

        yield progress

    return step


def test_before_it_is_taught_the_tower_tells_pictures_apart_by_their_thumbnails():
    flat = torch.zeros(3, 3, 8, 8)
    flat[1] += 0.5
    flat[2, :, :, :4] = 1
    with torch.no_grad():
        dark, bright, half = torch.nn.functional.normalize(PocketClip().visual(flat), dim=-1)
    assert dark @ bright < 0.99 and dark @ half < 0.99 and bright @ half < 0.99


def test_words_are_fitted_to_whole_descriptors(small, monkeypatch):
    monkeypatch.setattr("pipeline.pocket.words._STEPS", 60)
    clip = small / "worded"
    shutil.copytree(small / "clip", clip)
    made = ship_words(clip, small / "work", silent, NAMES, clips=2, texts=8)
    assert made["texts"] > 3 * 8 and made["bytes"] == (clip / FILE).stat().st_size
    embedder = Embedder(EmbedSettings(pretrained=str(clip)))
    blocks = [measured(name, 2, LEARNED_FROM, small / "work" / "change") for name in NAMES]
    pixels = np.stack([embedder.directions.of(each).mean(0) for each in blocks])
    asked = embedder.embed_text(["it melts", "it turns to gold", "the camera moves left"])
    assert (asked[:, -directions.SIZE :] @ pixels.T).argmax(1).tolist() == [0, 1, 2]


def test_another_seed_gives_other_weights(small):
    found = [find_clip("pocket", str(small / "clip")).embedder_id(8)]
    work = small / "work"
    train_clip(small / "other", work, replace(LESSONS, seed=1), silent, categories=NAMES)
    found.append(find_clip("pocket", str(small / "other")).embedder_id(8))
    assert found[0] != found[1]


def test_a_folder_that_is_something_else_is_not_replaced(small):
    with pytest.raises(NoPocketClip, match="does not exist yet"):
        train_clip(small / "work", small / "work", LESSONS, silent, categories=NAMES)


def test_a_shipped_model_that_is_broken_is_one_sentence(tmp_path):
    (tmp_path / "pocket_clip.json").write_text("{}")
    with pytest.raises(PocketClipMissing, match="make pocket"):
        find_clip("pocket", str(tmp_path))
