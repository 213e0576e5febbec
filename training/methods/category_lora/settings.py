"""What a person may set about the baseline."""

from typing import ClassVar, Literal

from training.methods.lightlora.settings import LightLoRASettings


class CategoryLoRASettings(LightLoRASettings):
    """Which linears each category's adapter changes; how many adapters there are, the data say."""

    needs: ClassVar[frozenset[str]] = frozenset()
    per_category: ClassVar[bool] = True

    kind: Literal["category_lora"] = "category_lora"
