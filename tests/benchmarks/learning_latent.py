"""Do variants of Video2LoRA learn alike? A trial on synthetic latents, one CPU core.

`python -m tests.benchmarks.learning_latent [--quick] [--only NAME …]`. A tiny DiT is pretrained without
references on all categories of `latent_effects`, so that it knows the effects but not which one is wanted, as
a large video model does. Then, from several seeds, Video2LoRA trains on the seen categories as the paper has
it (`faithful`), with one A_aux for q, k and v (`shared`), with the gradient of a reference's loss in each
iteration (`gradient`), and with references of arbitrary categories (`shuffled`), which must learn nothing.
Prints the transfer gap on held-out clips with bootstrap intervals, and the size of the model file that each
setting makes of CogVideoX-5B-I2V. One JSON object is the last line.
"""

import argparse
import copy
import json
import time

import numpy as np
import torch
from diffusers import CogVideoXTransformer3DModel

from tests.benchmarks import latent_effects as effects
from training.backbones.cogvideox.conditioning import predict_velocity
from training.backbones.cogvideox.diffusion import Diffusion
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V, TRANSFORMER_5B_I2V, meta_transformer
from training.evaluation.transfer_gap import PairLosses, pair_losses, transfer_gap
from training.methods.registry import build_method, parse_settings

VARIANTS: dict[str, dict[str, bool]] = {
    "faithful": {},
    "shared": {"share_qkv_down": True},
    "gradient": {"gradient_refinement": True},
    "shuffled": {},
}
# As many auxiliary rows per width as the paper has them would be 2 and 1: these keep the ratio a : b.
SMALL = {"down_size": 16, "up_size": 8, "width": 64, "layers": 2, "refinements": 2}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds, fewer steps: about two minutes")
    parser.add_argument("--seeds", type=int, help="runs of each variant")
    parser.add_argument("--steps", type=int, help="training steps of each run")
    parser.add_argument("--pretrain", type=int, help="steps of the backbone")
    parser.add_argument("--pairs", type=int, help="held-out pairs per category")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="variants")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    arguments = parser.parse_args()
    defaults = (2, 150, 300, 8) if arguments.quick else (3, 350, 800, 24)
    for name, value in zip(("seeds", "steps", "pretrain", "pairs"), defaults, strict=True):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    torch.set_num_threads(1)
    began = time.perf_counter()
    backbone, base_loss = pretrain(arguments.pretrain, arguments.batch)
    print(
        f"backbone: v-loss {base_loss:.4f} after {arguments.pretrain} steps, "
        f"{time.perf_counter() - began:.0f} s",
        flush=True,
    )
    results = {}
    for name in arguments.only:
        losses = []
        for seed in range(arguments.seeds):
            losses.append(run(backbone, name, seed, arguments))
            seen, unseen = (gaps(losses[-1:], unseen)["gap"] for unseen in (False, True))
            print(
                f"{name} seed {seed}: seen {seen:+.1%}, unseen {unseen:+.1%}, "
                f"{time.perf_counter() - began:.0f} s",
                flush=True,
            )
        results[name] = losses
    report(arguments, base_loss, results, time.perf_counter() - began)


def pretrain(steps: int, size: int) -> tuple[CogVideoXTransformer3DModel, float]:
    """A DiT that denoises every category, and its mean v-loss over the last tenth of the steps."""
    torch.manual_seed(0)
    transformer = CogVideoXTransformer3DModel(
        **TRANSFORMER_5B_I2V
        | {
            "num_layers": 3,
            "num_attention_heads": 2,
            "attention_head_dim": 32,
            "time_embed_dim": 64,
            "text_embed_dim": effects.TEXT_WIDTH,
            "max_text_seq_length": effects.TEXT_TOKENS,
            "sample_frames": (effects.FRAMES - 1) * 4 + 1,
            "sample_height": effects.HEIGHT,
            "sample_width": effects.WIDTH,
        }
    ).float()
    diffusion = Diffusion(SCHEDULER_5B_I2V)
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    losses = []
    everything = range(len(effects.CATEGORIES))
    for step in range(steps):
        batch = effects.training_pairs(step, size, seed=-1, shuffled=False, categories=everything)
        noisy, timesteps, target = diffusion.corrupt(batch.target_latents, batch.sample_seeds)
        predicted = predict_velocity(
            transformer, noisy, batch.first_frame_latents, batch.text_embeddings, timesteps
        )
        loss = diffusion.losses(predicted, target, timesteps).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return transformer, float(np.mean(losses[-max(1, steps // 10) :]))


def run(
    backbone: CogVideoXTransformer3DModel, variant: str, seed: int, arguments: argparse.Namespace
) -> PairLosses:
    """Train one variant from one seed; its losses on held-out pairs, the seen categories first."""
    settings = parse_settings({**SMALL, **VARIANTS[variant]})
    method = build_method(settings, CogVideoXDiT(copy.deepcopy(backbone), SCHEDULER_5B_I2V), seed=seed)
    parameters = method.trainable_parameters()
    optimizer = torch.optim.AdamW(parameters, lr=arguments.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.lr, total_steps=arguments.steps)
    for step in range(arguments.steps):
        # The same targets, noise and timesteps for every variant of a seed.
        batch = effects.training_pairs(step, arguments.batch, seed, variant == "shuffled")
        optimizer.zero_grad()
        method(batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
    held_out = effects.held_out_pairs(
        [*effects.SEEN, *effects.UNSEEN], arguments.pairs, 4 * arguments.batch, seed
    )
    return pair_losses(method, held_out, draws=4)


def of(losses: list[PairLosses], unseen: bool) -> PairLosses:
    """The pairs of all runs whose target's category is seen or unseen, as one."""
    ids = [identity for run in losses for identity in run.pair_ids]
    chosen = [at for at, text in enumerate(ids) if (int(text.split("-")[0]) in effects.UNSEEN) == unseen]
    same, other, none = (
        np.concatenate([getattr(run, name) for run in losses])[chosen] for name in ("same", "other", "none")
    )
    return PairLosses(tuple(ids[at] for at in chosen), same, other, none)


def gaps(losses: list[PairLosses], unseen: bool) -> dict:
    return transfer_gap(of(losses, unseen)).to_dict()


def difference(first: list[PairLosses], second: list[PairLosses], unseen: bool) -> dict[str, float]:
    """Gap of `second` less gap of `first` with its interval, over pairs of the same targets."""
    a, b = of(first, unseen), of(second, unseen)
    picks = np.random.default_rng(0).integers(len(a.pair_ids), size=(2000, len(a.pair_ids)))

    def gap(losses: PairLosses, rows: np.ndarray) -> np.ndarray:
        return 1 - losses.same[rows].mean(axis=-1) / losses.other[rows].mean(axis=-1)

    spread = gap(b, picks) - gap(a, picks)
    everything = np.arange(len(a.pair_ids))
    low, high = np.quantile(spread, [0.025, 0.975])
    return {"gap": float(gap(b, everything) - gap(a, everything)), "low": float(low), "high": float(high)}


def file_megabytes(variant: str) -> float:
    """Size of the bf16 model file for CogVideoX-5B-I2V at the paper's sizes, in MB of 10⁶ bytes."""
    with torch.device("meta"):
        settings = parse_settings(VARIANTS[variant])
        method = build_method(settings, CogVideoXDiT(meta_transformer(), SCHEDULER_5B_I2V))
    return 2 * sum(tensor.numel() for tensor in method.trainable_state().values()) / 1e6


def report(
    arguments: argparse.Namespace, base_loss: float, results: dict[str, list[PairLosses]], seconds: float
) -> None:
    """The table, and everything in it as one line of JSON."""
    sizes = {name: file_megabytes(name) for name in results}
    print(f"\n{'variant':<21} {'gap, seen':>24} {'gap, unseen':>24} {'model file of 5B-I2V':>22}")
    variants = {}
    for name, losses in results.items():
        rows = {"seen": gaps(losses, False), "unseen": gaps(losses, True)}
        per_seed = {
            key: [gaps([run], key == "unseen")["gap"] for run in losses] for key in ("seen", "unseen")
        }
        variants[name] = {**rows, "per_seed": per_seed, "file_mb": round(sizes[name], 1)}
        cells = [_interval(rows[key]) for key in ("seen", "unseen")]
        print(f"{name:<21} {cells[0]:>24} {cells[1]:>24} {sizes[name]:>19.1f} MB")
    less: dict[str, dict] = {}
    for name in ("shared", "gradient"):
        if name in results and "faithful" in results:
            less[name] = {
                key: difference(results["faithful"], results[name], key == "unseen")
                for key in ("seen", "unseen")
            }
            cells = [_interval(less[name][key]) for key in ("seen", "unseen")]
            print(f"{f'{name} less faithful':<21} {cells[0]:>24} {cells[1]:>24}")
    print(
        json.dumps(
            {
                "categories": {"seen": len(effects.SEEN), "unseen": len(effects.UNSEEN)},
                "options": vars(arguments),
                "backbone_loss": round(base_loss, 5),
                "variants": variants,
                "less_faithful": less,
                "seconds": round(seconds, 1),
            }
        )
    )


def _interval(row: dict) -> str:
    return f"{row['gap']:+.1%} [{row['low']:+.1%}, {row['high']:+.1%}]"


if __name__ == "__main__":
    main()
