"""Counted operations equal what torch counts while a step runs: of every method and shipped profile."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from jobs.profile import load_profile, shipped
from tests.training.small_backbones import (
    ADAPTERS,
    LATENTS,
    SMALL,
    TEXT_TOKENS,
    build_method,
    load_backbone,
    random_batch,
)
from training.backbones.cogvideox.cost import forward_flops, training_flops
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import (
    SCHEDULER_5B_I2V,
    TRANSFORMER_5B_I2V,
    VAE_5B_I2V,
    meta_transformer,
)
from training.backbones.registry import locate_backbone
from training.backbones.wan import published as wan
from training.backbones.wan.dit import WanDiT
from training.batch import References, TrainingBatch
from training.methods import registry
from training.methods.registry import parse_settings
from training.run.activations import checkpoint_blocks

FULL = (13, 16, 60, 90)
METHODS = {
    "video2lora": SMALL,
    "motion and video blocks": SMALL.model_copy(update={"motion": True, "video_layers": 2}),
    "refined by gradient": SMALL.model_copy(update={"gradient_refinement": True}),
    "rank 2 on other linears": parse_settings(ADAPTERS | {"rank": 2, "targets": ("attn1.to_q", "ff.net.2")}),
    "category_lora": parse_settings(ADAPTERS | {"kind": "category_lora"}),
    "video_as_prompt": parse_settings({"kind": "video_as_prompt"}),
    "experts in two blocks": parse_settings({"kind": "video_as_prompt", "expert_layers": (1, 3)}),
}


def counted(run) -> int:
    """Operations that torch counts; its attention by the plain formula, which hides no matrix product."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        run()
    return counter.get_total_flops()


def test_a_forward_pass_is_counted_exactly(tiny_folder):
    transformer = load_backbone(tiny_folder).transformer
    frames, _, height, width = LATENTS

    def forward():
        transformer(
            hidden_states=torch.randn(1, frames, 32, height, width),
            encoder_hidden_states=torch.randn(1, TEXT_TOKENS, 32),
            timestep=torch.zeros(1, dtype=torch.int64),
        )

    assert counted(forward) == forward_flops(transformer.config, LATENTS, TEXT_TOKENS)


@pytest.mark.parametrize("policy", ["none", "full", 3])
@pytest.mark.parametrize("name", METHODS)
def test_a_training_step_is_counted_within_a_few_thousandths(tiny_folder, policy, name):
    method = build_method(tiny_folder, METHODS[name], categories=("",))
    kind, every = ("every_n", policy) if isinstance(policy, int) else (policy, 1)
    checkpoint_blocks(method.dit, kind, every)
    batch = random_batch(1, 2)
    theirs = counted(lambda: method(batch).loss.backward())
    assert 2 * method.flops(LATENTS, policy) == pytest.approx(theirs, rel=0.003)


@pytest.mark.parametrize("profile", shipped())
def test_a_step_of_every_shipped_profile_is_counted(profile):
    """On the meta device, at the real shapes: the shipped pocket, the published 5B-I2V and Wan 14B."""
    settings = load_profile(profile)
    geometry = settings.backbone.geometry
    if settings.backbone.model == "pocket":
        backbone = locate_backbone(settings.backbone, ["transformer", "vae"])
        dit, shape = backbone.meta_dit(), backbone.latent_shape
    elif settings.backbone.family == "wan":
        dit = WanDiT(wan.meta_transformer(), wan.SCHEDULER_14B_I2V)
        shape = ((geometry.num_frames - 1) // 4 + 1, 16, geometry.height // 8, geometry.width // 8)
    else:
        dit = CogVideoXDiT(meta_transformer(), SCHEDULER_5B_I2V)
        shape = geometry.latent_shape(VAE_5B_I2V)
    with torch.device("meta"):
        method = registry.build_method(settings.method, dit)
        config = dit.module.config
        latents = torch.empty(1, *shape)
        if settings.backbone.family == "wan":
            text = torch.empty(1, settings.backbone.max_text_tokens, config.text_dim)
            first = torch.empty(1, latents.numel() + dit.image_tokens * config.image_dim)
        else:
            text = torch.empty(1, config.max_text_seq_length, config.text_embed_dim)
            first = latents[:, 0]
        batch = TrainingBatch(
            target_latents=latents,
            references=References(
                ("",),
                latents,
                torch.ones_like(latents[:, :, 0], dtype=torch.bool),
                first[:, None],
                text[:, None],
                padded=False,
            ),
            first_frame_latents=first,
            text_embeddings=text,
            sample_seeds=torch.zeros(1, dtype=torch.int64, device="cpu"),
            pair_ids=["a<-b"],
        )

        def step() -> None:
            with method.under(method.condition(batch.references)) as velocity:
                predicted = velocity(latents, torch.zeros(1, dtype=torch.int64), batch.scene)
            predicted.float().square().mean().backward()

        theirs = counted(step)
    assert method.flops(shape) == pytest.approx(theirs, rel=0.003)


def test_the_real_transformer_takes_a_third_of_a_petaflop_forward():
    transformer = meta_transformer()
    latents = torch.empty(1, 13, 32, 60, 90, device="meta")
    text = torch.empty(1, 226, 4096, device="meta")
    timestep = torch.zeros(1, device="meta")
    with torch.no_grad():
        theirs = counted(lambda: transformer(latents, text, timestep))
    assert forward_flops(TRANSFORMER_5B_I2V, FULL, 226) == theirs == pytest.approx(0.332e15, rel=0.002)


def test_recomputing_all_blocks_adds_a_forward_pass_and_every_second_half_of_one():
    none, half, full = (training_flops(TRANSFORMER_5B_I2V, FULL, policy) for policy in ("none", 2, "full"))
    assert full - none == pytest.approx(forward_flops(TRANSFORMER_5B_I2V, FULL, 226), rel=1e-3)
    assert half - none == pytest.approx((full - none) / 2)
    assert none == pytest.approx(0.826e15, rel=0.002)
