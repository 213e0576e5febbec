"""What the first two lessons of the pocket hypernetwork measure."""

from dataclasses import replace

import torch

from pipeline.pocket.backbone import naming
from pipeline.pocket.hypernetwork import POCKET_METHOD, CategoryAdapters, Lessons, pocket_settings
from pipeline.pocket.pairs import Pairs
from tests.pipeline.pocket.clips import random_pairs
from training.backbones.registry import load_backbone
from training.methods.registry import build_method
from training.pretrain.encoded import EncodedClips
from training.randomness import normal


def test_an_adapter_of_a_category_is_taught_by_the_backbone_that_is_told_the_effects_name(tmp_path):
    backbone = load_backbone(pocket_settings())
    encoded = EncodedClips(tmp_path)
    encoded.mean = torch.randn(2, *backbone.latent_shape, generator=torch.Generator().manual_seed(0))
    encoded.std = torch.zeros_like(encoded.mean)
    encoded.first = encoded.mean[:, 0]
    text, told, empty = map(
        backbone.encode_text, (["a red ball"] * 2, [naming("a red ball", "blackout")] * 2, [""])
    )
    pairs = Pairs(encoded, text, told, empty[0], categories=("blackout",))
    method = build_method(POCKET_METHOD, backbone.dit)
    lessons = Lessons(precision="float32")
    batch = pairs.training(0, 2, 0, "same")
    batch = replace(batch, text_embeddings=text)

    def loss(pairs: Pairs) -> float:
        with torch.no_grad():
            return CategoryAdapters(method, pairs, lessons).loss(batch).item()

    assert loss(pairs) > 1e-3, "as no adapter is there yet, the name makes a difference"
    assert loss(replace(pairs, named=text)) == 0, "nothing is left to learn where the caption has said it all"


def test_the_second_lesson_is_the_products_and_leaves_what_predictions_do_not_explain(tmp_path):
    backbone = load_backbone(pocket_settings())
    pairs = random_pairs(tmp_path, 2, ("melt", "pan_left"), backbone.latent_shape)
    method = build_method(POCKET_METHOD, backbone.dit)
    adapters = CategoryAdapters(method, pairs, Lessons(precision="float32", references_batch=3))
    with torch.no_grad():
        adapters.theta.add_(0.1 * normal(0, "adapters", adapters.theta.shape))
        first, second = adapters.theta
        # Before its first step it predicts the same for every clip.
        constant = method.condition(pairs.references([0], "same"))[0]
        left = torch.stack([(constant - each).square().mean() for each in (first, second)])
        spread = (first - second).square().mean() / 4
        found = {round(adapters.distance(step).item(), 4) for step in range(6)}
    # Of three references none to three are of the first category.
    possible = {round(((n * left[0] + (3 - n) * left[1]) / 3 / spread).item(), 4) for n in range(4)}
    assert len(found) > 1 and found <= possible
