"""What the first lesson of the pocket hypernetwork measures."""

from dataclasses import replace

import torch

from pipeline.pocket.backbone import naming
from pipeline.pocket.hypernetwork import POCKET_METHOD, CategoryAdapters, Lessons, pocket_settings
from pipeline.pocket.pairs import Pairs
from training.backbones.registry import load_backbone
from training.methods.registry import build_method
from training.pretrain.encoded import EncodedClips


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
