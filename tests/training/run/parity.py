"""Gradients under every ZeRO stage and precision, with one and with two processes; prints the table.

`python -m tests.training.run.parity` runs it by hand.
"""

import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.small import small_batch, small_module
from training.run.checkpoint import newest_checkpoint, read_checkpoint
from training.run.checkpoint_writer import Facts, write_checkpoint
from training.run.figures import over_workers
from training.run.schedule import rank_samples
from training.run.settings import TrainSettings
from training.run.team import Team

STAGES, PRECISIONS, STEPS, SAMPLES = (0, 1, 2, 3), ("fp32", "bf16"), 2, 4
FACTS = Facts(samples=STEPS * SAMPLES)
COLLECTIVES = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "barrier",
    "broadcast",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
)


def join(rank: int, world_size: int, port: int) -> None:
    """Become one of some processes."""
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
    }
    dist.init_process_group("gloo")


def record(rank: int, world_size: int, port: int, folder: str) -> None:
    """Train STEPS steps in every configuration; save the last step's gradients and the state after it."""
    join(rank, world_size, port)
    import training.run.engine as engine_module
    from training.run.engine import Engine

    team = Team()
    engine_module.LEAST_BUCKET = 512  # several buckets, as a real size has
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for precision in PRECISIONS:
        for stage in STAGES:
            settings = TrainSettings(
                steps=STEPS,
                batch_size=SAMPLES // world_size,
                workers=world_size,
                zero_stage=stage,
                precision=precision,
                ema_decay=0.9,
            )
            engine = Engine(small_module(), settings, world_size, torch.device("cpu"))
            dtype = torch.bfloat16 if precision == "bf16" else torch.float32
            for step in range(STEPS):
                (numbers,) = rank_samples(step, rank, world_size, settings.batch_size, 1)
                loss, metrics = engine.accumulate(small_batch(numbers).to("cpu", dtype))
                with counted() as gathering:
                    gradients = gathered_gradients(engine)
                    [float(gradient.norm()) for gradient in gradients.values()]
                with counted() as ours:
                    measured = {name: value.double() for name, value in metrics.items()}
                    figures, _ = over_workers(measured, engine.gradient_squares(), (), loss.device)
                with counted() as stepping:
                    engine.step(1e-3)
                counts[f"{precision}-{stage}"] = {"gathering": gathering, "ours": ours, "step": stepping}
                engine.update_ema(step + 1)
            written = Path(folder) / f"{precision}-{stage}-{world_size}"
            path = write_checkpoint(written, engine.shard(), FACTS, team)
            dist.barrier()
            if rank == 0:
                state = read_checkpoint(path)
                tensors = {f"gradient/{name}": tensor for name, tensor in gradients.items()}
                for kind in ("master", "ema"):
                    tensors |= {f"{kind}/{name}": tensor for name, tensor in state.tensors(kind).items()}
                tensors |= {name: torch.tensor(value) for name, value in figures.items()}
                tensors["norm"] = torch.tensor(float(norm_of_deepspeed(engine)))
                save_file(tensors, Path(folder) / f"{precision}-{stage}-{world_size}.safetensors")
            engine.close()
    if rank == 0:
        (Path(folder) / f"counts-{world_size}.json").write_text(json.dumps(counts))
    dist.destroy_process_group()


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Counts what happens inside: collectives, and values that the host waits for."""
    counts = {"collectives": 0, "host reads": 0}

    def counting(what: str, call: Callable) -> Callable:
        def counted_call(*values, **named):
            counts[what] += 1
            return call(*values, **named)

        return counted_call

    class HostReads(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            counts["host reads"] += func is torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    with ExitStack() as stack:
        for name in COLLECTIVES:
            stack.enter_context(patch.object(dist, name, counting("collectives", getattr(dist, name))))
        stack.enter_context(patch.object(torch.Tensor, "tolist", counting("host reads", torch.Tensor.tolist)))
        stack.enter_context(HostReads())
        yield counts


def take(rank: int, world_size: int, port: int, folder: str) -> None:
    """Begin with what two workers have saved, under another stage, and save it again."""
    join(rank, world_size, port)
    from training.run.engine import Engine

    team = Team()
    for precision in PRECISIONS:
        for stage in STAGES:
            settings = TrainSettings(
                workers=world_size, zero_stage=(stage + 1) % 4, precision=precision, ema_decay=0.9
            )
            found = read_checkpoint(newest_checkpoint(Path(folder) / f"{precision}-{stage}-2"))
            engine = Engine(small_module(), settings, world_size, torch.device("cpu"), found)
            taken = Path(folder) / f"{precision}-{stage}-taken-{world_size}"
            write_checkpoint(taken, engine.shard(), FACTS, team)
            engine.close()
    dist.destroy_process_group()


def gathered_gradients(engine) -> dict[str, torch.Tensor]:
    """Name → the full gradient, averaged over the workers, as DeepSpeed itself gathers it."""
    from deepspeed.utils import safe_get_full_grad

    trainable = {name: p for name, p in engine.module.named_parameters() if p.requires_grad}
    return {name: safe_get_full_grad(parameter).float().clone() for name, parameter in trainable.items()}


def norm_of_deepspeed(engine) -> float:
    """Of the gradient of the last step; ZeRO-0 in fp32 does not tell it."""
    return engine.engine.get_global_grad_norm() or 0.0


class Results(dict):
    """(precision, stage, processes) → "gradient/…", "master/…", "ema/…" of every trainable tensor.

    `counts`: by configuration, collectives and host reads of one step's figures, by way to take them.
    `folder` holds the checkpoints <precision>-<stage>-<processes>, and <precision>-<stage>-taken-3.
    """

    folder: Path
    counts: dict[str, dict[str, dict[str, int]]]


def run(folder: Path) -> Results:
    for work, world_size in ((record, 1), (record, 2), (take, 3)):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        mp.start_processes(work, (world_size, port, str(folder)), nprocs=world_size, start_method="spawn")
    results = Results(
        ((precision, stage, world_size), load_file(folder / f"{precision}-{stage}-{world_size}.safetensors"))
        for precision in PRECISIONS
        for stage in STAGES
        for world_size in (1, 2)
    )
    results.folder = folder
    results.counts = json.loads((folder / "counts-2.json").read_text())
    return results


def worst(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], kind: str, least: float = 1e-3
) -> tuple[str, float]:
    """The tensor of a kind that differs most, and by how much of its norm.

    A tensor whose norm is under the share `least` of all tensors' is measured by that share: the queries and
    keys of an attention over few tokens have gradients that cancel to rounding errors.
    """
    tensors = {name: tensor for name, tensor in expected.items() if name.startswith(f"{kind}/")}
    floor = least * torch.stack([tensor.norm() for tensor in tensors.values()]).norm()
    differences = {
        name: float((found[name] - tensor).norm() / torch.maximum(tensor.norm(), floor))
        for name, tensor in tensors.items()
    }
    name = max(differences, key=differences.get)
    return name, differences[name]


def whole(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], kind: str) -> float:
    """Difference of all tensors of a kind together, by their norm: nothing small is left out."""
    names = [name for name in expected if name.startswith(f"{kind}/")]
    difference = torch.stack([(found[name] - expected[name]).norm() for name in names]).norm()
    return float(difference / torch.stack([expected[name].norm() for name in names]).norm())


def table(results: Results) -> str:
    """Differences from one process under ZeRO-0 in the same precision, worst tensor each."""
    lines = ["precision  ZeRO  workers × batch   gradient   weights    EMA"]
    for (precision, stage, world_size), tensors in results.items():
        expected = results[precision, 0, 1]
        values = [worst(tensors, expected, kind)[1] for kind in ("gradient", "master", "ema")]
        lines.append(
            f"{precision:9}  {stage:4}  {world_size:7} × {SAMPLES // world_size:<5}   "
            + "  ".join(f"{value:9.1e}" for value in values)
        )
    lines += ["", "two workers   gathering every gradient | from the workers' shares | DeepSpeed's own step"]
    for name, ways in results.counts.items():
        told = [", ".join(f"{n} {what}" for what, n in counts.items()) for counts in ways.values()]
        lines.append(f"{name:12}  {' | '.join(told)}")
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(table(run(Path(scratch))) + "\n")
