"""The pocket CLIP that ships: words find what clips show, with no network and no caption."""

import numpy as np
import pytest

from pipeline.embedding.embedder import Embedder
from pipeline.embedding.settings import EmbedSettings
from pipeline.pocket.clip_renders import look

SHOWN = ("gild", "crumble", "pan_left", "pan_right", "zoom_in", "invert", "spin", "snow", "vanish", "tilt_up")
SHOWN += ("inflate", "melt")
UNSEEN_SCENES = 900_000_000


@pytest.fixture(scope="module")
def embedder(tmp_path_factory) -> Embedder:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIDEO2LORA_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Embedder(EmbedSettings(pretrained="pocket"))


def test_words_that_nothing_was_taught_find_clips_of_scenes_that_nothing_was_taught(embedder):
    clips = [look(name, UNSEEN_SCENES + 7 * k + n) for n, name in enumerate(SHOWN) for k in range(2)]
    names = np.repeat(SHOWN, 2)
    vectors = embedder.embed_clips(clips)
    asked = {"turns to gold": "gild", "falls apart": "crumble", "camera glides left": "pan_left"}
    scores = vectors @ embedder.embed_text(list(asked)).T
    assert dict(zip(asked, names[scores.argmax(0)], strict=True)) == asked
