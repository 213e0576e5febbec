import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from tests.training.small import SCHEDULER_5B_I2V, TRANSFORMER_5B_I2V
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.batch import Sample, collate
from training.errors import TooLittleMemory
from training.methods.base import Method
from training.methods.registry import build_method, parse_settings
from training.planning.memory import choose_plan, plan_memory
from training.run.blocks import prepare_blocks
from training.run.settings import TrainSettings

FULL = (13, 16, 60, 90)
H200 = 141 * 10**9


@pytest.fixture(scope="module")
def full_module() -> Method:
    """The real 42 blocks, without storage."""
    with torch.device("meta"):
        transformer = CogVideoXTransformer3DModel(**TRANSFORMER_5B_I2V)
        return build_method(parse_settings({}), CogVideoXDiT(transformer, SCHEDULER_5B_I2V))


def bf16(**changes) -> TrainSettings:
    return TrainSettings(precision="bf16", **changes)


def test_the_frozen_transformer_is_counted_once_however_many_workers_share_the_optimizer(full_module):
    frozen = 2 * sum(p.numel() for p in full_module.parameters() if not p.requires_grad)
    assert 11e9 < frozen < 11.5e9
    for stage in (0, 1, 2):
        plan = plan_memory(full_module, FULL, bf16(workers=8), stage, "full")
        assert frozen < plan.weights < frozen + 0.5e9
    assert plan_memory(full_module, FULL, bf16(workers=8), 3, "full").weights < frozen / 4


def test_every_stage_and_policy_needs_less_than_the_one_before(full_module):
    settings = bf16(workers=4, ema_decay=0.999)
    by_policy = [plan_memory(full_module, FULL, settings, 1, p).total for p in ("none", 4, 2, "full")]
    assert by_policy == sorted(by_policy, reverse=True)
    by_stage = [plan_memory(full_module, FULL, settings, stage, "full").total for stage in (0, 1, 2, 3)]
    assert by_stage == sorted(by_stage, reverse=True)


def test_a_large_gpu_recomputes_nothing_and_a_small_one_everything(full_module):
    assert choose_plan(full_module, FULL, bf16(), H200).activation_checkpointing == "none"
    small = choose_plan(full_module, FULL, bf16(workers=2), 32 * 10**9)
    assert small.activation_checkpointing == "full"
    assert small.zero_stage < 3
    assert choose_plan(full_module, FULL, bf16(workers=8), 16 * 10**9).zero_stage == 3


def test_a_gpu_that_is_too_small_is_told_with_what_it_would_take(full_module):
    with pytest.raises(
        TooLittleMemory, match=r"at least \d+\.\d GB .* a device has 8\.0 GB\. Use more workers"
    ):
        choose_plan(full_module, FULL, bf16(), 8 * 10**9)


SIZES = {"down_size": 8, "up_size": 4, "width": 16, "heads": 2, "layers": 1, "refinements": 1}


@pytest.mark.parametrize("policy", ["none", 2, "full"])
@pytest.mark.parametrize("settings", [SIZES, {"kind": "video_as_prompt"}], ids=["adapters", "experts"])
def test_the_estimate_of_activations_is_near_what_autograd_keeps(policy, settings):
    frames, channels, height, width, tokens = 3, 16, 16, 24, 8
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        **TRANSFORMER_5B_I2V
        | {
            "num_layers": 6,
            "num_attention_heads": 2,
            "time_embed_dim": 16,
            "text_embed_dim": 8,
            "max_text_seq_length": tokens,
            "sample_frames": (frames - 1) * 4 + 1,
            "sample_height": height,
            "sample_width": width,
        }
    )
    module = build_method(parse_settings(settings), CogVideoXDiT(transformer, SCHEDULER_5B_I2V))
    prepare_blocks(module, TrainSettings(activation_checkpointing=policy))
    shape = (frames, channels, height, width)
    sample = Sample(
        target_latents=torch.randn(shape),
        first_frame_latents=torch.randn(shape[1:]),
        text_embeddings=torch.randn(tokens, 8),
        sample_seed=1,
        pair_id="a<-b",
        reference_latents=torch.randn(shape),
        reference_mask=torch.ones(frames, height, width, dtype=torch.bool),
        reference_first_frames=torch.randn(1, *shape[1:]),
        reference_texts=torch.randn(1, tokens, 8),
    )
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = module(collate([sample])).loss
    assert loss.requires_grad
    measured = sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in own)
    unit = (tokens + frames * height * width // 4) * 128 * 4
    again = 14 if settings is SIZES else 14 + 24
    transient = 8 + (0 if policy == "none" else again)
    planned = plan_memory(module, shape, TrainSettings(), 0, policy).activations - transient * unit
    assert planned == pytest.approx(measured, rel=0.25)
