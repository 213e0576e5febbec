"""What a person may set about LightLoRA adapters, whatever makes them."""

from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from training.methods.settings import LossSettings


class LightLoRASettings(LossSettings):
    """Which linears carry a residual, and how wide it is. Defaults: the paper's."""

    families: ClassVar[frozenset[str]] = frozenset({"cogvideox", "wan"})

    down_size: PositiveInt = Field(100, description="a: rows of A_aux, values of A_pred per rank")
    up_size: PositiveInt = Field(50, description="b: columns of B_aux, values of B_pred per rank")
    rank: PositiveInt = Field(1, description="r of the residual")
    scale: float = Field(1.0, description="s of the residual")
    targets: tuple[str, ...] = ("attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0")
    share_qkv_down: bool = Field(
        False, description="one A_aux for q, k and v of a block, which read the same input"
    )

    def adapter(self) -> dict[str, Any]:
        """Which linears, and how wide: methods that agree in this make adapters of the same numbers."""
        own = LightLoRASettings.model_fields.keys() - LossSettings.model_fields.keys()
        return self.model_dump(mode="json", include=own)
