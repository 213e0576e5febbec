"""Clips by examples: several of what is wanted and what is not, and what of them counts."""

import numpy as np
import pytest
import torch
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from catalog.vectors import ensure_vectors
from pipeline.embedding.descriptor import describe, descriptor_size
from pipeline.embedding.directions import SIZE
from pipeline.errors import BadSource
from pipeline.example import read_look
from pipeline.find import find_clips

DIM = 16
SUBJECTS, EFFECTS = ("mug", "duck", "star"), ("melt", "glow", "burst")
SPEC = ClipSpec(num_frames=9, fps=8, height=64, width=96)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Catalog:
    """Every subject under every effect, and a mug to which nothing happens."""
    catalog = Catalog.create(tmp_path_factory.mktemp("shown") / "catalog", SPEC)
    ensure_vectors(catalog, "clips", "embedding", descriptor_size(DIM), "made")
    axes = torch.eye(DIM)
    ways = torch.linspace(0, 1, 9)[:, None]
    frames = {
        f"{subject}-{effect}": axes[s] + ways * axes[8 + e]
        for s, subject in enumerate(SUBJECTS)
        for e, effect in enumerate(EFFECTS)
    }
    frames["mug-still"] = axes[0].repeat(9, 1)
    vectors = describe(torch.stack(list(frames.values())) + 0.01, torch.zeros(len(frames), SIZE))
    catalog.upsert(
        "clips",
        [
            {"clip_id": clip, "status": "accepted", "embedding": vector.tolist()}
            for clip, vector in zip(frames, vectors, strict=True)
        ],
    )
    return catalog


def found(shown, **asked) -> list[str]:
    return [row["clip_id"] for row in find_clips(shown, **asked)]


def test_the_same_effect_on_other_subjects_comes_before_the_same_subject_and_the_other_way_round(shown):
    assert set(found(shown, like="mug-melt", aspect="effect")[:2]) == {"duck-melt", "star-melt"}
    subject = found(shown, like="mug-melt", aspect="subject")
    assert set(subject[:3]) == {"mug-still", "mug-glow", "mug-burst"}
    assert found(shown, like="mug-melt")[0] == "mug-melt"


def test_several_examples_are_wanted_together_and_others_are_not(shown):
    both = found(shown, like=["mug-melt", "duck-melt"], limit=3)
    assert set(both[:2]) == {"mug-melt", "duck-melt"}
    assert both[2] == "star-melt"
    less = found(shown, like=["mug-melt", "duck-melt"], unlike=["mug-glow"])
    assert less.index("duck-melt") < less.index("mug-melt") < less.index("mug-glow")
    assert found(shown, unlike=["mug-melt"])[-1] == "mug-melt"


def test_every_hit_says_by_what_it_was_found(shown):
    row = find_clips(shown, like=["mug-melt", "duck-melt"], unlike="star-glow", aspect="effect")[0]
    assert row["why"].startswith("its effect looks like the 2 examples and unlike the one not wanted (")
    assert find_clips(shown, like="mug-melt")[0]["why"] == "it looks like the example (1.00)"


def test_only_the_clips_of_a_choice_are_found(shown):
    assert found(shown, like="mug-melt", among=["duck-glow", "duck-melt"]) == ["duck-melt", "duck-glow"]
    assert found(shown, among=["duck-glow"]) == ["duck-glow"]
    assert found(shown, among=[]) == []


def test_an_example_without_what_is_asked_for_is_a_sentence(shown):
    with pytest.raises(BadSource, match="Nothing changes in the example"):
        find_clips(shown, like="mug-still", aspect="effect")
    with pytest.raises(BadSource, match="'mug-melt' cannot be both"):
        find_clips(shown, like="mug-melt", unlike=["mug-melt"])
    with pytest.raises(BadSource, match="nobody"):
        find_clips(shown, like="nobody")


def test_a_picture_is_an_example_of_one_frame_and_a_text_is_none(tmp_path):
    Image.fromarray(np.full((40, 60, 3), 200, np.uint8)).save(tmp_path / "a.png")
    assert read_look(tmp_path / "a.png", SPEC).shape == (1, SPEC.height, SPEC.width, 3)
    (tmp_path / "b.txt").write_text("neither")
    with pytest.raises(BadSource, match=r"b\.txt"):
        read_look(tmp_path / "b.txt", SPEC)
