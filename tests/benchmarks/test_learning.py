"""The learning benchmark's tables: every figure in them is in the JSON line, seeds taken together."""

import argparse
import json

import numpy as np
import pytest
import torch

from pipeline.samples.draw import draw_clip
from tests.benchmarks.effect_classifier import EffectNet, to_classifier
from tests.benchmarks.learning import GROUPS, accuracy, report
from tests.benchmarks.pocket_pairs import NAMES
from training.evaluate import PairLosses


def losses(same: float, other: float) -> PairLosses:
    return PairLosses(("1<-2", "3<-4"), np.full(2, same), np.full(2, other), np.full(2, other))


def test_the_tables_and_the_json_line_tell_the_same(capsys):
    found = {("same", group): [losses(0.8, 1.0), losses(0.6, 1.0)] for group in GROUPS}
    shares = {("same", "seen"): [0.5, 0.7], ("same", "unseen"): [0.2, 0.4]}
    report(argparse.Namespace(seeds=2), 0.97, found, shares, 12.0)
    printed = capsys.readouterr().out
    told = json.loads(printed.splitlines()[-1])
    assert told["gap"]["same seen"]["gap"] == pytest.approx(0.3)
    assert told["gap"]["same seen"]["pairs"] == 4
    assert told["effect_accuracy"]["same unseen"] == [0.2, 0.4]
    assert "+30.0%" in printed and "60.0%" in printed and f"{1 / len(NAMES):.1%}" in printed


def test_accuracy_is_the_share_of_clips_whose_effect_is_named():
    torch.manual_seed(0)
    net = EffectNet(len(NAMES)).eval()
    clips = [torch.from_numpy(draw_clip(number, 49, 64, 96)[0]) for number in range(4)]
    with torch.no_grad():
        named = net(torch.stack([to_classifier(clip) for clip in clips])).argmax(dim=1).tolist()
    wrong = [(effect + 1) % len(NAMES) for effect in named]
    assert accuracy(net, clips, named) == 1
    assert accuracy(net, clips, [*named[:3], wrong[3]]) == 0.75
