"""Asking a backbone for effects by their names, at its smallest."""

import json

import pytest

from pipeline.pocket.backbone import known_categories
from tests.benchmarks.named import main, told
from training.backbones.weights import POCKET


@pytest.mark.slow
def test_it_asks_about_some_categories_and_says_what_was_found(tmp_path, capsys):
    few = ["--first", "2", "--every", "24", "--per-effect", "2", "--denoise", "2", "--out", str(tmp_path)]
    report = main(few)
    assert report == json.loads(capsys.readouterr().out.splitlines()[-1])
    known = known_categories(POCKET)
    assert report["clips"] == len(known[2::24]) and report["categories"] == len(known)
    for kind in ("real", "named", "untold"):
        assert 0 <= report[kind]["effect"] <= report[kind]["family"] <= 1
        assert (tmp_path / f"{kind}-0.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_family_is_right_where_the_effect_is_not():
    found = told(["tint_cyan", "melt", "pan_left"], ["tint_lime", "melt", "shatter"])
    assert found["effect"] == 0.3333 and found["family"] == 0.6667
    assert found["low"] <= found["effect"] <= found["high"]
