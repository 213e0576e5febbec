"""The learning benchmark's tables: every figure in them is in the JSON line, seeds taken together."""

import argparse
import json

import numpy as np
import pytest
import torch

from pipeline.pocket.backbone import NAMES, POCKET_SHAPE
from pipeline.pocket.hypernetwork import Lessons
from pipeline.samples.draw import draw_clip
from pipeline.samples.effects import EFFECTS
from pipeline.samples.splits import DEVELOPMENT, SEEN
from tests.benchmarks.learning import Findings, Verdict, report
from tests.benchmarks.learning_judges import KINDS, Judges
from tests.benchmarks.learning_measures import Way, adapters_of, chosen_rows, gaps, groups_of, kin
from tests.benchmarks.learning_page import Shown, choose
from tests.pipeline.pocket.clips import random_pairs
from tests.training.small_backbones import LATENTS, TEXT_TOKENS, build_method, disturb
from training.evaluation.effect import EffectNet, to_classifier
from training.evaluation.transfer_gap import PairLosses
from training.settings import PolishSettings


def losses(same: float, other: float, none: float) -> PairLosses:
    return PairLosses(("0<-2", "1<-4"), np.full(2, same), np.full(2, other), np.full(2, none))


def test_the_tables_and_the_json_line_tell_the_same(capsys):
    findings = Findings(NAMES)
    findings.losses = {("ours", "seen"): [losses(0.8, 1.0, 0.7), losses(0.6, 1.0, 0.7)]}
    right, wrong = Verdict("melt", "melt", True), Verdict("melt", "melt_to_the_left", False)
    findings.verdicts = {("ours, predicted", "seen"): [right, wrong, Verdict("spin", "spin", None), wrong]}
    report(argparse.Namespace(split="test"), Lessons(), {"effects": 0.97}, findings, 12.0)
    printed = capsys.readouterr().out
    told = json.loads(printed.splitlines()[-1])
    assert told["gap"]["ours / seen"][0] == pytest.approx(0.3)
    assert told["benefit_over_none"]["ours / seen"][0] == pytest.approx(0)
    found = told["effect_accuracy"]["ours, predicted / seen"]
    assert (found["effect"], found["family"], found["clips"]) == (0.5, 1.0, 4)
    assert told["subject_copied"]["ours, predicted / seen"] == pytest.approx(1 / 3)
    assert "+30.0%" in printed and " 50.0%" in printed


def test_the_judges_answer_for_each_clip_by_itself():
    torch.manual_seed(0)
    judges = Judges(NAMES, EffectNet(len(NAMES)).eval(), EffectNet(len(KINDS)).eval(), {})
    clips = [torch.from_numpy(draw_clip(number, *POCKET_SHAPE)[0]) for number in range(3)]
    assert judges.effects(clips) == [judges.effects([clip])[0] for clip in clips]
    with torch.no_grad():
        logits = judges.subject_net(to_classifier(clips[2])[None])
    assert judges.subjects(clips)[2] == KINDS[logits.argmax().item()]


def test_each_kind_of_unseen_category_is_asked_about_beside_some_that_were_seen(tmp_path):
    groups = groups_of("development", NAMES, seen=50)
    assert list(groups) == ["seen", "combination", "value", "family"]
    assert set(groups["seen"]) <= set(SEEN) and 50 <= len(groups["seen"]) <= 60
    assert groups["family"] == DEVELOPMENT["family"]
    first = groups_of("test", tuple(EFFECTS))
    assert len(first["unseen"]) == 10 and len(first["seen"]) == 38
    pairs = random_pairs(tmp_path, 3)
    rows = chosen_rows(pairs, groups["value"], seed=1, each=2)
    assert len(rows) == 2 * len(groups["value"])


def test_kin_share_a_family_or_a_part_of_one():
    assert kin("tint_cyan", "tint_magenta") and kin("melt_and_tint_cyan", "tint_amber")
    assert not kin("melt", "pan_left")


def test_ways_are_named_by_their_start_and_their_polish():
    assert [str(way) for way in (Way(), Way(steps=40), Way("mean", 40))] == [
        "predicted",
        "polished 40",
        "polished 40, from mean",
    ]


def test_the_page_shows_failures_too():
    def shown(wanted: str, found: str) -> Shown:
        return Shown(torch.empty(0), torch.empty(0), wanted, found)

    mostly_right = [shown("melt", "melt")] * 20 + [shown("melt", "pan")] * 3
    assert [each.found for each in choose(mostly_right, 8)] == ["melt"] * 5 + ["pan"] * 3
    mostly_wrong = [shown("melt", "pan")] * 20 + [shown("melt", "melt")]
    assert [each.found for each in choose(mostly_wrong, 8)] == ["melt"] + ["pan"] * 7


def test_polished_adapters_are_measured_as_predicted_ones_are(tmp_path):
    method = disturb(build_method(tmp_path / "tiny"), size=0.5)
    names = ("melt", "explode", "pan_left")
    pairs = random_pairs(tmp_path, 2, names, LATENTS, (TEXT_TOKENS, 32))
    rows = pairs.held_out(names, 0)
    turned = [(target, wrong, right) for target, right, wrong in rows]
    few = PolishSettings(batch_size=1)

    def made(way: Way) -> PairLosses:
        both = (adapters_of(method, pairs, each, way, pairs, few) for each in (rows, turned))
        return gaps(method, pairs, rows, 0, draws=1, made=tuple(both))

    predicted = gaps(method, pairs, rows, 0, draws=1)
    np.testing.assert_allclose(made(Way()).same, predicted.same, rtol=0.02)
    np.testing.assert_allclose(made(Way()).other, predicted.other, rtol=0.02)
    polished = made(Way(steps=2))
    assert (polished.same != predicted.same).any() and (polished.none == predicted.none).all()
