"""The field's usual baseline: one LightLoRA per category, learned by gradient, with no hypernetwork."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.backbones.base import DiT
from training.batch import References
from training.errors import BadMethodSettings
from training.methods.category_lora.settings import CategoryLoRASettings
from training.methods.lightlora.adapted import AdaptedDiT
from training.randomness import initial_values


class CategoryLoRA(AdaptedDiT):
    """One adapter θ per category beside the auxiliary matrices that all of them share.

    A reference counts by its category alone. A category that did not train has no adapter: the backbone stays
    as it was frozen, and so this method says nothing about effects that it has not seen.

    Args:
        dit: the backbone's; frozen here and adapted in place.
        settings: what is adapted.
        categories: that train, in the order of their adapters.
        seed: of the initial values; no global generator is read or moved.

    Raises:
        BadMethodSettings: no categories, or settings that do not fit the DiT.
    """

    settings: CategoryLoRASettings

    def __init__(
        self, dit: DiT, settings: CategoryLoRASettings, categories: Sequence[str], seed: int = 0
    ) -> None:
        if not categories:
            raise BadMethodSettings(
                "category_lora learns one adapter per category, and none trains: run `video2lora cluster`."
            )
        with initial_values(seed):
            super().__init__(dit, settings)
            table = AdapterTable(categories, len(self.adapters), settings)
        self.table = table.to(self.adapters.device)

    def condition(self, references: References) -> Tensor:
        """The adapters θ [B, L, r·(a+b)] of the references' categories, zeros for one that did not train."""
        return self.table(references.categories)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The adapters and the auxiliary matrices."""
        return {"adapters": list(self.table.parameters())} | super().parameter_groups()


class AdapterTable(nn.Module):
    """θ of every category [n, L, r·(a+b)]: A_pred begins as one constant of norm 1, B_pred as zero."""

    def __init__(self, categories: Sequence[str], layers: int, settings: CategoryLoRASettings) -> None:
        super().__init__()
        self.row = {name: row for row, name in enumerate(categories)}
        down, up = settings.rank * settings.down_size, settings.rank * settings.up_size
        constant = torch.randn(down, device="cpu")
        start = torch.zeros(len(categories), layers, down + up)
        start[..., :down] = (constant / constant.norm()).to(start.device)
        self.theta = nn.Parameter(start)

    def forward(self, names: Sequence[str]) -> Tensor:
        """θ [B, L, r·(a+b)] of these categories."""
        nothing = torch.zeros_like(self.theta[0])
        return torch.stack([self.theta[self.row[name]] if name in self.row else nothing for name in names])
