"""The one file that names families of backbones."""

from collections.abc import Collection

import torch

from training.backbones.base import Backbone
from training.backbones.cogvideox.backbone import PARTS, CogVideoXBackbone
from training.backbones.settings import BackboneSettings

__all__ = ["PARTS", "load_backbone", "locate_backbone"]


def load_backbone(
    settings: BackboneSettings, parts: Collection[str] = PARTS, device: torch.device | str = "cpu"
) -> Backbone:
    """The backbone of these settings with its frozen parts loaded.

    Raises:
        WeightsUnreachable, InvalidGeometry, UnsupportedBackbone: see `CogVideoXBackbone.load`.
    """
    return CogVideoXBackbone.load(settings, parts, device)


def locate_backbone(settings: BackboneSettings, parts: Collection[str] = PARTS) -> Backbone:
    """The backbone of these settings with no part loaded: enough for its identities, shapes and costs.

    Raises:
        WeightsUnreachable, InvalidGeometry: see `CogVideoXBackbone.locate`.
    """
    return CogVideoXBackbone.locate(settings, parts)
