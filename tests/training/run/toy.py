"""A module with the shape of what the loop trains: a frozen part, a trainable part, a loss as its forward.

And a run of it, for what the loop does whatever it trains. Its workers import no model and start sooner.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.methods.base import Loss
from training.run.job import TrainJob
from training.run.settings import TrainSettings


@dataclass
class ToyBatch:
    """Inputs and targets [B, 8] of one micro-batch."""

    inputs: Tensor
    targets: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> "ToyBatch":
        return ToyBatch(self.inputs.to(device, dtype), self.targets.to(device, dtype))


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8) * 0.1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs @ self.weight


class Toy(nn.Module):
    """y = frozen(hypernetwork(x)) + auxiliary · x, to be fitted to a fixed random linear map."""

    def __init__(self):
        super().__init__()
        self.hypernetwork = nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 8))
        self.backbone = nn.Linear(8, 8)
        nn.init.normal_(self.backbone.weight, std=0.3, generator=torch.Generator().manual_seed(5))
        nn.init.zeros_(self.backbone.bias)
        self.backbone.requires_grad_(False)
        self.auxiliary = Auxiliary()

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "hypernetwork": list(self.hypernetwork.parameters()),
            "auxiliary": list(self.auxiliary.parameters()),
        }

    def forward(self, batch: ToyBatch) -> Loss:
        hidden = self.hypernetwork(batch.inputs)
        predicted = self.backbone(hidden) + self.auxiliary(batch.inputs)
        loss = (predicted - batch.targets).float().square().mean()
        return Loss(loss, {"adapter_norm": hidden.detach().float().norm(dim=1).mean()})


def toy_batch(numbers: list[int]) -> ToyBatch:
    """Each sample is a pure function of its number."""
    truth = torch.randn(8, 8, generator=torch.Generator().manual_seed(7))
    rows = [torch.randn(8, generator=torch.Generator().manual_seed(1000 + number)) for number in numbers]
    inputs = torch.stack(rows)
    return ToyBatch(inputs, inputs @ truth)


def toy_job(folder: Path, workers: int = 1, **changes) -> TrainJob:
    """Six steps of four samples each, however many workers there are; saved after every second."""
    settings = {
        "steps": 6,
        "batch_size": 4 // workers,
        "workers": workers,
        "checkpoint_every": 2,
        "evaluate_every": None,
        "max_failures": 1,
        "worker_threads": 1,
        "trackers": (),
    }
    return TrainJob(TrainSettings(**settings | changes), Toy, folder, identity={"method": "toy"})


@dataclass
class ToyStream:
    """A BatchStream without a catalogue behind it, that takes `seconds` over each batch."""

    seconds: float = 0.0

    def __call__(self, plan):
        for numbers in plan:
            time.sleep(self.seconds)
            yield toy_batch(numbers)


@dataclass
class BrokenStream:
    """Delivers something else from a sample on: values that are not finite, or an error.

    Each worker that reads from it adds a line to the file `tries`.
    """

    sample: int
    error: Exception | None = None
    tries: Path | None = None

    def __call__(self, plan):
        if self.tries is not None:
            with self.tries.open("a") as file:
                file.write("once\n")
        for numbers in plan:
            batch = toy_batch(numbers)
            if self.sample in numbers:
                if self.error is not None:
                    raise self.error
                batch.inputs.fill_(torch.nan)
            yield batch
