"""What a person may set about LightLoRA adapters and their loss, whatever makes the adapters.

Settings stand apart from the modules, so that a command line can check them without loading torch.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class LightLoRASettings(BaseModel):
    """Which linears carry a residual, how wide it is, and which timesteps teach it. Defaults: the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    down_size: PositiveInt = Field(100, description="a: rows of A_aux, values of A_pred per rank")
    up_size: PositiveInt = Field(50, description="b: columns of B_aux, values of B_pred per rank")
    rank: PositiveInt = Field(1, description="r of the residual")
    scale: float = Field(1.0, description="s of the residual")
    targets: tuple[str, ...] = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
    share_qkv_down: bool = Field(
        False, description="one A_aux for q, k and v of a block, which read the same input"
    )
    timestep_shift: float = Field(
        1.0, ge=1, le=100, description="of the timesteps trained on, towards noise; 1: uniform"
    )
    min_snr_gamma: float | None = Field(None, gt=0, description="of min-SNR weighting; null: the plain loss")

    def structure(self) -> dict[str, Any]:
        """The settings that decide what the trained tensors are; the rest decides how they are trained."""
        return self.model_dump(mode="json", exclude={"timestep_shift", "min_snr_gamma"})
