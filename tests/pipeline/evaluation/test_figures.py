"""What was measured becomes figures, comparisons and verdicts; what was not measured is never a zero."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.embedding.settings import EmbedSettings
from pipeline.evaluation.choices import BadChoices, judged, read_choices
from pipeline.evaluation.figures import gap_figures, scalar_figures, set_figures
from pipeline.evaluation.metrics import METRICS, UnknownMetric, chosen_metrics
from pipeline.evaluation.networks import plan_measuring
from pipeline.evaluation.plan import IN, OUT, Case
from pipeline.evaluation.settings import EvaluateSettings
from pipeline.evaluation.store import EvaluationStore
from training.evaluation.frechet import frechet_distance
from training.evaluation.weights import BadWeights


def case(number: int, category: str, domain: str = IN) -> Case:
    return Case(f"t{number}", f"r{number}", "o", category, "other", category, domain, "a cup", number)


CASES = [case(0, "melt"), case(1, "melt"), case(2, "spin"), case(3, "glow", OUT)]


def test_figures_are_of_what_was_measured_by_slice_and_by_category():
    found = scalar_figures(CASES, {0: 1.0, 1: 0.0, 2: 1.0})
    assert found["all"]["value"] == pytest.approx(2 / 3) and found["all"]["items"] == 3
    assert found["out"] is None, "nothing measured is no figure"
    assert found["categories"] == {"melt": {"value": 0.5, "items": 2}, "spin": {"value": 1.0, "items": 1}}
    assert scalar_figures(CASES, {})["all"] is None
    json.dumps(scalar_figures(CASES, {0: 1.0}), allow_nan=False)


def test_the_gap_is_of_mean_losses_and_not_a_mean_of_gaps():
    found = gap_figures(CASES, {0: (0.5, 1.0, 1.1), 1: (3.0, 4.0, 4.1), 3: (1.0, 1.0, 1.0)})
    assert found["in"]["value"] == pytest.approx(1 - 3.5 / 5)
    assert found["categories"]["melt"]["value"] == pytest.approx(0.3)
    assert found["out"]["value"] == 0


def test_fvd_is_of_pairs_that_have_both_sides_and_carries_its_number():
    draw = np.random.default_rng(0)
    made = {place: draw.normal(0, 1, 4).tolist() for place in range(4)}
    real = {f"t{place}": draw.normal(0, 1, 4).tolist() for place in range(3)}
    others = {f"x{n}": ("melt", draw.normal(0, 1, 4).tolist()) for n in range(3)}
    found = set_figures(CASES, made, real, others, seed=0)
    expected = frechet_distance(
        np.array([made[place] for place in range(3)]), np.array([real[f"t{place}"] for place in range(3)])
    )
    assert found["all"]["distance"]["value"] == pytest.approx(expected)
    assert (found["all"]["number"], found["all"]["name"], found["all"]["real_number"]) == (3, "rank", 3)
    assert found["out"] is None and set(found["categories"]) == {"melt"}, "of one video there is no distance"
    json.dumps(found, allow_nan=False)


def test_metrics_are_named_one_by_one_or_fvd_for_both_preprocessings():
    assert chosen_metrics(None) == tuple(METRICS)
    assert chosen_metrics("effect, fvd") == ("fvd_crop", "fvd_squash", "effect")
    assert chosen_metrics("Transfer-Gap") == ("transfer_gap",)
    for asked in ("fdv", ",", "fvd,nonsense"):
        with pytest.raises(UnknownMetric, match="No metric is called"):
            chosen_metrics(asked)


def test_without_weights_a_metric_says_why_it_is_unavailable_and_wrong_ones_are_refused(tmp_path):
    embed = EmbedSettings(model="pocket", pretrained="pocket")
    plan = plan_measuring(EvaluateSettings(), embed, tuple(METRICS))
    assert set(plan.by) == {"smoothness", "clip_reference", "clip_prompt"}
    assert plan.unavailable["fvd_crop"] == "no weights of I3D are set (evaluate.i3d)"
    assert set(plan.unavailable) == {"fvd_crop", "fvd_squash", "dynamic_degree", "aesthetic", "consistency"}
    assert plan.by["smoothness"].startswith("dis-flow"), "which interpolator is part of the figure"
    (tmp_path / "i3d.pt").write_bytes(b"PK")
    with pytest.raises(BadWeights, match=r"evaluate\.i3d names .*only \.safetensors"):
        plan_measuring(EvaluateSettings(i3d=str(tmp_path / "i3d.pt")), embed, ("fvd_crop",))


def test_a_clip_is_made_when_its_row_is_there_and_measures_are_kept_by_what_took_them(tmp_path):
    store = EvaluationStore(tmp_path)
    store.video("a").parent.mkdir()
    store.video("a").write_bytes(b"half")
    assert not store.is_made("a"), "a video without its row is what a killed worker left"
    store.keep("a", b"whole", {"case": 1})
    assert store.is_made("a") and store.row("a") == {"case": 1}
    store.note("a", {"smoothness": ("blend, 1", 0.9)})
    store.note("a", {"effect": ("x", "melt")})
    assert store.missing("a", {"smoothness": "blend, 1", "effect": "x"}) == []
    assert store.missing("a", {"smoothness": "dis-flow, 1"}) == ["smoothness"]
    assert store.values(["a", "b"], "smoothness", "blend, 1") == {"a": 0.9}
    (tmp_path / "measured" / "a.json").write_text("{")
    assert store.missing("a", {"effect": "x"}) == ["effect"], "a torn file is measured again"


COMPARISON = {
    "id": "0123456789abcdef",
    "models": ["ours", "theirs"],
    "pairs": [
        {"pair": "p0", "left": 0, "category": "melt", "domain": IN},
        {"pair": "p1", "left": 1, "category": "melt", "domain": IN},
        {"pair": "p2", "left": 1, "category": "glow", "domain": OUT},
    ],
}


def choices(folder: Path, **said: object) -> Path:
    file = folder / "choices.json"
    file.write_text(json.dumps({"comparison": COMPARISON["id"]} | said))
    return file


def test_choices_are_read_back_to_models_whichever_side_they_were_on(tmp_path):
    file = choices(tmp_path, choices={"p0": "left", "p1": "left", "p2": "same"}, person="Ada")
    found = judged(COMPARISON, read_choices(file))
    assert found["person"] == "Ada" and found["of"] == 3
    assert found["all"]["value"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["in"]["value"] == 0.5 and found["out"]["value"] == 0.5
    some = judged(COMPARISON, read_choices(choices(tmp_path, choices={"p1": "right"})))
    assert some["all"]["value"] == 1 and some["out"] is None and some["person"] == "somebody"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[]", "holds no choices"),
        ('{"comparison": "x", "choices": {}}', "holds no choice yet"),
        ('{"comparison": "x", "choices": {"p0": "mine"}}', "left, right or same"),
        ('{"comparison": 3, "choices": {"p0": "left"}}', "holds no choices"),
    ],
)
def test_a_file_that_is_no_choices_is_a_sentence(tmp_path, text, says):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(BadChoices, match=says):
        read_choices(tmp_path / "c.json")
    with pytest.raises(BadChoices, match="cannot be read"):
        read_choices(tmp_path / "gone.json")


def test_choices_of_another_comparison_or_of_another_pair_are_refused(tmp_path):
    other = read_choices(choices(tmp_path, comparison="ffff", choices={"p0": "left"}))
    with pytest.raises(BadChoices, match="made on other clips"):
        judged(COMPARISON, other)
    stray = read_choices(choices(tmp_path, choices={"p9": "left"}))
    with pytest.raises(BadChoices, match="has no pair 'p9'"):
        judged(COMPARISON, stray)
