"""The real method on a transformer so small that a step takes milliseconds, and batches for it."""

import torch
from diffusers import CogVideoXTransformer3DModel

from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, TRANSFORMER_5B_I2V
from training.batch import Sample, TrainingBatch, collate
from training.methods.base import Method
from training.methods.registry import build_method, parse_settings

FRAMES, CHANNELS, HEIGHT, WIDTH, TOKENS = 3, 16, 4, 6, 5


SIZES = {"down_size": 6, "up_size": 4}
ADAPTER = 2 * 4 * (6 + 4)  # values: of four linears in each of two blocks
PREDICTED = {"width": 16, "heads": 2, "layers": 1, "refinements": 2, "identity_start": False}
TAUGHT = "video2lora that learns from adapters"
KINDS = {
    "video2lora": SIZES | PREDICTED,
    "category_lora": SIZES | {"kind": "category_lora"},
    "video_as_prompt": {"kind": "video_as_prompt"},
    TAUGHT: SIZES | PREDICTED,
}
CATEGORIES = ("even", "odd")


def small_module(kind: str = "video2lora") -> Method:
    """Two blocks of width 32, predictions not at their identity start (where some gradients are zero)."""
    torch.manual_seed(11)
    transformer = CogVideoXTransformer3DModel(
        **TRANSFORMER_5B_I2V
        | {
            "num_layers": 2,
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "time_embed_dim": 16,
            "text_embed_dim": 8,
            "max_text_seq_length": TOKENS,
            "sample_frames": (FRAMES - 1) * 4 + 1,
            "sample_height": HEIGHT,
            "sample_width": WIDTH,
        }
    )
    dit = CogVideoXDiT(transformer, SCHEDULER_5B_I2V)
    method = build_method(parse_settings(KINDS[kind]), dit, CATEGORIES, seed=3)
    if kind == TAUGHT:
        method.learn_from(None, spread=0.5)
    return method


def small_batch(numbers: list[int]) -> TrainingBatch:
    """Each sample is a pure function of its number."""
    samples = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)

        def draw(*shape: int, generator: torch.Generator = generator) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        samples.append(
            Sample(
                target_latents=draw(FRAMES, CHANNELS, HEIGHT, WIDTH),
                reference_latents=draw(FRAMES, CHANNELS, HEIGHT, WIDTH),
                reference_mask=torch.ones(FRAMES, HEIGHT, WIDTH, dtype=torch.bool),
                reference_first_frames=draw(1, CHANNELS, HEIGHT, WIDTH),
                reference_texts=draw(1, TOKENS, 8),
                reference_adapter=draw(ADAPTER),
                first_frame_latents=draw(CHANNELS, HEIGHT, WIDTH),
                text_embeddings=draw(TOKENS, 8),
                sample_seed=number,
                pair_id=str(number),
                reference_category=CATEGORIES[number % 2],
            )
        )
    return collate(samples)


class SmallStream:
    """A BatchStream without a catalogue behind it."""

    def __call__(self, plan):
        for numbers in plan:
            yield small_batch(numbers)
