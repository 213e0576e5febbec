"""Gradients under every ZeRO stage and precision, with one and with two processes; prints the table.

`python -m tests.training.run.parity` runs it by hand.
"""

import os
import socket
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file, save_file

from tests.training.small import small_batch, small_module
from training.run.checkpoint import newest_checkpoint, read_checkpoint
from training.run.checkpoint_writer import Facts, write_checkpoint
from training.run.schedule import rank_samples
from training.run.settings import TrainSettings
from training.run.team import Team

STAGES, PRECISIONS, STEPS, SAMPLES = (0, 1, 2, 3), ("fp32", "bf16"), 2, 4
FACTS = Facts(samples=STEPS * SAMPLES)


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
    from training.run.engine import Engine

    team = Team()
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
                engine.accumulate(small_batch(numbers).to("cpu", dtype))
                gradients = gathered_gradients(engine)
                squares = {name: square.clone() for name, square in engine.gradient_squares().items()}
                engine.step(1e-3)
                engine.update_ema(step + 1)
            for square in squares.values():
                dist.all_reduce(square)
            written = Path(folder) / f"{precision}-{stage}-{world_size}"
            path = write_checkpoint(written, engine.shard(), FACTS, team)
            dist.barrier()
            if rank == 0:
                state = read_checkpoint(path)
                tensors = {f"gradient/{name}": tensor for name, tensor in gradients.items()}
                for kind in ("master", "ema"):
                    tensors |= {f"{kind}/{name}": tensor for name, tensor in state.tensors(kind).items()}
                tensors |= {f"square/{part}": square for part, square in squares.items()}
                tensors["norm"] = torch.tensor(float(norm_of_deepspeed(engine)))
                save_file(tensors, Path(folder) / f"{precision}-{stage}-{world_size}.safetensors")
            engine.close()
    dist.destroy_process_group()


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

    `folder` holds the checkpoints <precision>-<stage>-<processes>, and <precision>-<stage>-taken-3.
    """

    folder: Path


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


def table(results: dict[tuple[str, int, int], dict[str, torch.Tensor]]) -> str:
    """Differences from one process under ZeRO-0 in the same precision, worst tensor each."""
    lines = ["precision  ZeRO  workers × batch   gradient   weights    EMA"]
    for (precision, stage, world_size), tensors in results.items():
        expected = results[precision, 0, 1]
        values = [worst(tensors, expected, kind)[1] for kind in ("gradient", "master", "ema")]
        lines.append(
            f"{precision:9}  {stage:4}  {world_size:7} × {SAMPLES // world_size:<5}   "
            + "  ".join(f"{value:9.1e}" for value in values)
        )
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(table(run(Path(scratch))) + "\n")
