"""The classifier of effects: it learns what it is shown, and its file says which effects it tells apart."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pipeline.samples.draw import draw_clip
from pipeline.samples.effects import EFFECTS
from training.evaluation.effect import (
    EffectClassifier,
    EffectNet,
    predictions,
    to_classifier,
    train_classifier,
)
from training.evaluation.seen_frames import FRAMES, HEIGHT, WIDTH
from training.evaluation.weights import BadWeights


def test_a_clip_of_any_size_is_seen_small_and_as_a_whole():
    clip = np.zeros((49, 64, 96, 3), np.uint8)
    clip[:, :2, :2] = 255
    seen = to_classifier(clip)
    assert seen.shape == (3, FRAMES, HEIGHT, WIDTH)
    assert seen[:, :, 0, 0].eq(1).all() and seen[:, :, 1:, 1:].eq(-1).all()
    assert to_classifier(np.zeros((10, 48, 80, 3), np.uint8)).shape == (3, FRAMES, HEIGHT, WIDTH)


def test_it_tells_apart_effects_that_it_was_taught(tmp_path):
    names = list(EFFECTS)[:2]
    clips = {
        name: [draw_clip(number, 17, 32, 48)[0] for number in range(48 * 6) if number % 48 == place]
        for place, name in enumerate(names)
    }
    shown = torch.stack([to_classifier(clip) for name in names for clip in clips[name][:5]])
    labels = torch.arange(2).repeat_interleave(5)
    net = train_classifier((shown, labels), 2, epochs=40, batch=10)
    assert predictions(net, shown).tolist() == labels.tolist()
    judge = EffectClassifier(net, tuple(names))
    judge.save(tmp_path / "judge.safetensors")
    again = EffectClassifier.load(tmp_path / "judge.safetensors")
    asked = [clips[name][5] for name in names]
    assert again.names == tuple(names) and again.found(asked) == judge.found(asked)
    assert again.found([]) == []


def test_a_file_that_is_no_classifier_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BadWeights, match="does not say which effects"):
        EffectClassifier.load(tmp_path / "other.safetensors")
    EffectClassifier(EffectNet(3), ("a", "b", "c")).save(tmp_path / "three.safetensors")
    save_file(
        EffectNet(3).state_dict(), tmp_path / "four.safetensors", metadata={"effects": '["a", "b", "c", "d"]'}
    )
    with pytest.raises(BadWeights, match="does not hold a classifier of effects"):
        EffectClassifier.load(tmp_path / "four.safetensors")
