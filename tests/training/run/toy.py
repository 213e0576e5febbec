"""A module with the shape of what the loop trains: a frozen part, a trainable part, a loss as its forward."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.methods.base import Loss


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


class ToyStream:
    """A BatchStream without a catalogue behind it."""

    def __call__(self, plan):
        for numbers in plan:
            yield toy_batch(numbers)
