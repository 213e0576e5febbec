"""The learning benchmark's tables: every figure in them is in the JSON line, seeds taken together."""

import argparse
import json

import numpy as np
import pytest
import torch

from pipeline.pocket.hypernetwork import Lessons
from pipeline.pocket.pairs import NAMES, SEEN, TEST_FROM, UNSEEN
from pipeline.samples.draw import draw_clip
from pipeline.samples.scene import make_scene
from tests.benchmarks.effect_classifier import EffectNet, to_classifier
from tests.benchmarks.learning import GROUPS, Findings, chosen_rows, named, other_scene, report
from tests.benchmarks.learning_page import Shown, choose
from tests.pipeline.pocket.clips import random_pairs
from training.evaluation.transfer_gap import PairLosses


def losses(same: float, other: float) -> PairLosses:
    return PairLosses(("1<-2", "3<-4"), np.full(2, same), np.full(2, other), np.full(2, other))


def test_the_tables_and_the_json_line_tell_the_same(capsys):
    findings = Findings()
    findings.losses = {("same", group): [losses(0.8, 1.0), losses(0.6, 1.0)] for group in GROUPS}
    findings.verdicts = {("same", "seen"): [(0, 0), (1, 1), (2, 2), (2, 3)], ("same", "unseen"): [(4, 5)]}
    findings.transferred = {("same", "seen"): [(0, 0), (2, 3)], ("same", "unseen"): []}
    report(argparse.Namespace(seeds=2), Lessons(), 0.97, findings, 12.0)
    printed = capsys.readouterr().out
    told = json.loads(printed.splitlines()[-1])
    assert told["gap"]["same seen"]["gap"] == pytest.approx(0.3)
    assert told["gap"]["same seen"]["pairs"] == 4
    assert told["effect_accuracy"] == {"same seen": 0.75, "same unseen": 0}
    assert told["effect_accuracy_other_subject_and_colour"] == {"same seen": {"share": 0.5, "clips": 2}}
    assert told["by_effect"]["same seen"] == {NAMES[0]: 1, NAMES[1]: 1, NAMES[2]: 0.5}
    assert "+30.0%" in printed and "75.0%" in printed and f"{1 / len(NAMES):.1%}" in printed


def test_the_classifier_answers_for_each_clip_by_itself():
    torch.manual_seed(0)
    net = EffectNet(len(NAMES)).eval()
    clips = [torch.from_numpy(draw_clip(number, 49, 64, 96)[0]) for number in range(4)]
    together = named(net, clips)
    assert together == [named(net, [clip])[0] for clip in clips]
    with torch.no_grad():
        logits = net(to_classifier(clips[2])[None])
    assert together[2] == logits.argmax().item()


def test_both_groups_generate_about_as_many_clips(tmp_path):
    pairs = random_pairs(tmp_path, per_effect=6)
    count = {group: len(chosen_rows(pairs, effects, 0)) for group, effects in GROUPS.items()}
    assert count == {"seen": len(SEEN), "unseen": 3 * len(UNSEEN)}


def test_another_scene_has_another_subject_in_another_colour():
    scenes = [make_scene(TEST_FROM + clip) for clip in range(40)]
    for clip, scene in enumerate(scenes):
        differs = scene.subject != scenes[0].subject and scene.colour != scenes[0].colour
        assert other_scene(0, clip) == differs
    assert 10 < sum(other_scene(0, clip) for clip in range(40)) < 40


def test_the_page_shows_failures_too():
    def shown(wanted: str, found: str) -> Shown:
        return Shown(torch.empty(0), torch.empty(0), wanted, found)

    mostly_right = [shown("melt", "melt")] * 20 + [shown("melt", "pan")] * 3
    assert [each.found for each in choose(mostly_right, 8)] == ["melt"] * 5 + ["pan"] * 3
    mostly_wrong = [shown("melt", "pan")] * 20 + [shown("melt", "melt")]
    assert [each.found for each in choose(mostly_wrong, 8)] == ["melt"] + ["pan"] * 7
