"""Time and memory of a training step on one device, beside plain LoRA and beside encoding inline.

`python -m tests.benchmarks.train_step`, no Ray, no weights: the 42-block transformer of CogVideoX-5B-I2V at
49 × 480 × 720 with random bf16 weights where there is a GPU, a tiny one on the CPU. Per checkpointing policy:

- `video2lora`: a step of ours: loss, gradients of everything that trains, AdamW on fp32 masters;
- `plain_lora`: the same step with an ordinary LoRA on the same linears, as diffusers' script trains it;
- `bare`: the frozen transformer alone, forward and backward; the rest of our step is the method's own cost;
- `inline`: our step after encoding target, reference, first frame and caption, as the released code does.

On a CPU the seconds are processor seconds of one thread.

Prints a table, a profile of our steps, and one JSON object as the last line.
"""

import argparse
import gc
import json
import resource
from contextlib import nullcontext

import torch

from tests.benchmarks.step_models import (
    SIZES,
    Bare,
    InlineEncoders,
    PlainLoRA,
    Size,
    random_batch,
    random_transformer,
    strip,
)
from tests.benchmarks.step_timing import MasterAdamW, Timing, profile_step, time_step
from training.attention import KERNELS, kernels
from training.backbones.cogvideox.dit import CogVideoXDiT
from training.backbones.cogvideox.published import SCHEDULER_5B_I2V
from training.methods.registry import build_method
from training.randomness import noise_of
from training.run.activations import checkpoint_blocks, compile_blocks
from training.run.devices import peak_flops

KINDS = ("plain_lora", "bare", "video2lora", "inline")
POLICIES = ("none", "4", "2", "full")


def main(arguments: list[str] | None = None) -> dict:
    options = _options(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = options.size or ("full" if device.type == "cuda" else "tiny")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    order = (options.attention, *(name for name in KERNELS if name != options.attention))
    with kernels(device, order) if options.attention in KERNELS else nullcontext():
        return _measure(chosen, device, dtype, options)


def _measure(chosen: str, device: torch.device, dtype: torch.dtype, options: argparse.Namespace) -> dict:
    bench = Bench(SIZES[chosen], device, dtype, options)
    bench.say(
        f"{'policy':<8}{'step':<12}{'median':>10}{'p10':>10}{'p90':>10}{'MFU':>8}{'HFU':>8}{'peak':>10}"
    )
    policies = {policy: bench.policy(policy) for policy in options.policy}
    alone = bench.hypernetwork_alone()
    bench.say(f"hypernetwork alone, forward and backward: {alone.median * 1e3:.1f} ms")
    if not (options.no_profile or options.json):
        bench.say(bench.profile())
    report = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "size": chosen,
        "latents": bench.size.latents,
        "text_tokens": bench.size.text_tokens,
        "batch": options.batch,
        "dtype": str(dtype).removeprefix("torch."),
        "compile": options.compile,
        "attention": options.attention,
        "steps": options.steps,
        "peak_flops": bench.peak,
        "model_flops": bench.flops("none"),
        "method_flops": bench.method_flops(),
        "plain_lora": f"rank {options.lora_rank}, our own nn.Module with PEFT's arithmetic; peft is not used",
        "inline_encodes": "VAE of target, reference, first frame" + ("" if options.skip_t5 else "; T5"),
        "policies": policies,
        "hypernetwork_seconds": alone.median,
        "noise_seconds": bench.noise().median,
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(report))
    return report


class Bench:
    """One transformer, taken from one kind of step to the next: two would not fit beside each other."""

    def __init__(
        self, size: Size, device: torch.device, dtype: torch.dtype, options: argparse.Namespace
    ) -> None:
        self.size, self.device, self.dtype, self.options = size, device, dtype, options
        self.transformer = random_transformer(size, device, dtype)
        self.dit = CogVideoXDiT(self.transformer, SCHEDULER_5B_I2V)
        self.batch = random_batch(size, options.batch, device, dtype)
        given = options.peak_tflops
        self.peak = (
            given * 1e12 if given else peak_flops(device, "bf16" if dtype == torch.bfloat16 else "fp32")
        )
        if options.compile:
            compile_blocks(self.dit)

    def say(self, text: str) -> None:
        if not self.options.json:
            print(text, flush=True)

    def policy(self, policy: str) -> dict:
        """Every kind of step under one checkpointing policy."""
        every = int(policy) if policy.isdigit() else 1
        checkpoint_blocks(self.dit, "every_n" if policy.isdigit() else policy, every)
        rows = {}
        for name in self.options.kinds:
            if name == "inline" and self.options.skip_inline:
                continue
            rows[name] = self._timed(name, policy)
        medians = {name: row["seconds"] for name, row in rows.items() if "seconds" in row}
        ours = medians.get("video2lora")
        ratios = {
            "over_plain_lora": ours and "plain_lora" in medians and ours / medians["plain_lora"],
            "method_share": ours and "bare" in medians and 1 - medians["bare"] / ours,
            "faster_than_inline": ours and "inline" in medians and medians["inline"] / ours,
        }
        return {**rows, **{name: value or None for name, value in ratios.items()}}

    def flops(self, policy: str) -> float:
        """Of the transformer in one step."""
        checkpointing = int(policy) if policy.isdigit() else policy
        return self.options.batch * self.dit.flops(self.size.latents, checkpointing)

    def method_flops(self) -> float:
        """Of the adapters and what predicts them, beside the transformer's."""
        whole = self.options.batch * self._module("video2lora").flops(self.size.latents)
        return whole - self.flops("none")

    def hypernetwork_alone(self) -> Timing:
        """Predicting adapters and the way back, without the transformer."""
        method = self._module("video2lora")

        def step() -> None:
            theta = method.condition(self.batch.references)
            theta.square().sum().backward()

        return time_step(step, self.options.steps, self.options.warmup, self.device)

    def noise(self) -> Timing:
        """Drawing a batch's noise, which the thread that fetches does beside the step."""
        shape = self.size.latents
        return time_step(lambda: noise_of(self.batch.sample_seeds, shape), 5, 1, torch.device("cpu"))

    def profile(self) -> str:
        checkpoint_blocks(self.dit, "none" if self.device.type == "cpu" else "full")
        return profile_step(self._step("video2lora"), self.device)

    def _module(self, name: str) -> torch.nn.Module:
        strip(self.transformer)
        if self.options.compile:
            torch.compiler.reset()  # other modules stand in the blocks now: compile afresh, within its limits
        settings = self.size.settings
        if name == "plain_lora":
            return PlainLoRA(self.transformer, settings.targets, self.options.lora_rank)
        if name == "bare":
            return Bare(self.transformer)
        # As the engine holds it: everything in the transformer's precision, masters in the optimizer.
        return build_method(settings, self.dit).to(self.dtype)

    def _step(self, name: str):
        module = self._module(name)
        optimizer = MasterAdamW([p for p in module.parameters() if p.requires_grad], 1e-4)
        encode = None
        if name == "inline":
            text = not self.options.skip_t5
            encode = InlineEncoders(self.size, self.options.batch, self.device, self.dtype, text)

        def step() -> None:
            batch = self.batch if encode is None else encode(self.batch)
            module(batch).loss.backward()
            optimizer.step()

        return step

    def _timed(self, name: str, policy: str) -> dict:
        try:
            found = time_step(self._step(name), self.options.steps, self.options.warmup, self.device)
        except torch.OutOfMemoryError:
            self.say(f"{policy:<8}{name:<12}{'out of memory':>20}")
            return {"out_of_memory": True}
        finally:
            if self.device.type == "cuda":
                gc.collect()
                torch.cuda.empty_cache()
        useful, done = (
            self.flops(kind) / found.median / self.peak if self.peak else None for kind in ("none", policy)
        )
        row = {
            "seconds": found.median,
            "p10": found.p10,
            "p90": found.p90,
            "mfu": useful,
            "hfu": done,
            "peak_bytes": found.peak_bytes,
        }
        shares = [f"{share:.1%}" if share else "-" for share in (useful, done)]
        peak = f"{found.peak_bytes / 1e9:.1f} GB" if found.peak_bytes else "-"
        times = "".join(f"{value * 1e3:>7.1f} ms" for value in (found.median, found.p10, found.p90))
        self.say(f"{policy:<8}{name:<12}{times}{shares[0]:>8}{shares[1]:>8}{peak:>10}")
        return row


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--policy", nargs="+", default=list(POLICIES), help="none, full, or n: every n-th block is recomputed"
    )
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each kind")
    parser.add_argument("--warmup", type=int, default=3, help="steps before them")
    parser.add_argument("--batch", type=int, default=1, help="samples per step")
    parser.add_argument("--size", choices=list(SIZES), help="full on a GPU, tiny on the CPU when left out")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile every block, in all kinds of step"
    )
    parser.add_argument(
        "--attention", choices=["torch", *KERNELS], default="cudnn", help="tried first; torch: its own order"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of step to time")
    parser.add_argument("--lora-rank", type=int, default=128, help="of plain LoRA; 128 in diffusers' script")
    parser.add_argument("--skip-t5", action="store_true", help="inline: take the text embeddings as given")
    parser.add_argument("--skip-inline", action="store_true", help="do not time the inline step")
    parser.add_argument("--no-profile", action="store_true", help="print no table of operators")
    parser.add_argument("--peak-tflops", type=float, help="dense peak of a device that is not known")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args(arguments)
    for policy in options.policy:
        if policy not in ("none", "full") and not (policy.isdigit() and int(policy) > 0):
            parser.error(f"no policy {policy!r}: choose none, full, or a number n for every n-th block")
    return options


if __name__ == "__main__":
    main()
