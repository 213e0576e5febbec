"""LoRA-Edit (2506.10082): a LoRA fitted to one video, on a Wan that is told what of it to preserve."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from training.backbones.base import Checkpointing, DiT, Velocity
from training.batch import References, TrainingBatch
from training.methods.base import Loss
from training.methods.frozen import FrozenDiT
from training.methods.lora_edit import cost, export
from training.methods.lora_edit.layers import LoRA
from training.methods.lora_edit.settings import LoRAEditSettings
from training.randomness import initial_values

# What the method was fitted to is one video, so its condition is its own LoRA, whatever the reference.
Factors = Mapping[str, tuple[Tensor, Tensor]]


class LoRAEdit(FrozenDiT):
    """The LoRA that trains, and the frozen DiT, in one module whose forward is the loss.

    What of a sample is preserved stands in its batch (`TrainingBatch.kept`), the video with grey for the rest
    where other methods have the first frame.

    Args:
        dit: a Wan's; frozen here, its blocks' linears are replaced.
        settings: how wide the LoRA is.
        seed: of its initial values.

    Raises:
        BadMethodSettings: another family of backbones, or one that carries a LoRA already.
    """

    settings: LoRAEditSettings
    forms = export.FORMS

    def __init__(self, dit: DiT, settings: LoRAEditSettings, seed: int = 0) -> None:
        super().__init__(dit, settings)
        with initial_values(seed):
            self.lora = LoRA(dit, settings.rank)

    def forward(self, batch: TrainingBatch) -> Loss:
        """The mean loss of the batch's targets, MSE(ε - x₀) at a uniform time."""
        return self.denoised(batch, self.dit.velocity)

    def condition(self, references: References | None = None) -> Factors:
        """The LoRA, by linear: down [r, in] and up [out, r]; no reference changes it."""
        return {name: (layer.down, layer.up) for name, layer in self.lora.layers.items()}

    @contextmanager
    def under(self, condition: Factors | None) -> Iterator[Velocity]:
        """Denoise with the LoRA, for inference; None: as it was frozen."""
        with self.lora.heard(condition is not None):
            yield self.dit.velocity

    def vector(self, condition: Factors) -> None:
        """None: 77 M values are a file (`export`), not a vector to compare."""

    def export(self, condition: Factors, form: export.Form = "diffusers") -> dict[str, Tensor]:
        """The LoRA as a tool's file has it; see `export`."""
        return export.exported(condition, form)

    def load_lora(self, path: Path) -> None:
        """Take a LoRA file's tensors; raises StateMismatch (see `export.read_lora_file`), nothing changed."""
        factors = export.read_lora_file(path, self.lora.layers, self.settings.rank)
        pairs = [
            (name, parameter, value)
            for name, layer in self.lora.layers.items()
            for parameter, value in zip((layer.down, layer.up), factors[name], strict=True)
        ]
        for name, parameter, value in pairs:
            export.require_shape(parameter, value, f"{path}: {name}")
        for _, parameter, value in pairs:
            parameter.data.copy_(value)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """The LoRA."""
        return {"lora": self.lora.parameters()}

    def flops(self, latent_shape: Sequence[int], checkpointing: Checkpointing = "none") -> float:
        """Operations of the frozen DiT and of the LoRA, of one sample."""
        video, text = self.dit.tokens(latent_shape), self.dit.text_shape[0]
        extra = cost.extra_flops(
            self._linears(), len(self.dit.blocks), video, text, self.settings.rank, checkpointing
        )
        return self.dit.flops(latent_shape, checkpointing) + extra

    def kept_values(self, latent_shape: Sequence[int], checkpointing: Checkpointing) -> int:
        """Values that the frozen DiT and the LoRA keep of one sample."""
        video, text = self.dit.tokens(latent_shape), self.dit.text_shape[0]
        extra = cost.extra_kept_values(
            self._linears(), len(self.dit.blocks), video, text, self.settings.rank, checkpointing
        )
        return self.dit.kept_values(latent_shape, checkpointing) + extra

    def _linears(self) -> list[cost.Linear]:
        """Those of the first block."""
        begin = f"{self.dit.blocks_name}.0."
        return [
            cost.Linear(name.removeprefix(begin), layer.base.in_features, layer.base.out_features)
            for name, layer in self.lora.layers.items()
            if name.startswith(begin)
        ]
