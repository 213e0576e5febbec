"""The one file that names families of backbones."""

from collections.abc import Collection

import torch

from training.backbones.base import Backbone
from training.backbones.cogvideox.backbone import CogVideoXBackbone
from training.backbones.parts import PARTS
from training.backbones.settings import BackboneSettings
from training.backbones.wan.backbone import WanBackbone

__all__ = ["PARTS", "load_backbone", "locate_backbone"]

FAMILIES = {family.name: family for family in (CogVideoXBackbone, WanBackbone)}


def load_backbone(
    settings: BackboneSettings, parts: Collection[str] = PARTS, device: torch.device | str = "cpu"
) -> Backbone:
    """The backbone of these settings with its frozen parts loaded.

    Raises:
        WeightsUnreachable, InvalidGeometry, UnsupportedBackbone: see `Parts.load`.
    """
    return FAMILIES[settings.family].load(settings, parts, device)


def locate_backbone(settings: BackboneSettings, parts: Collection[str] = PARTS) -> Backbone:
    """The backbone of these settings with no part loaded: enough for its identities, shapes and costs.

    Raises:
        WeightsUnreachable, InvalidGeometry: see `Parts.locate`.
    """
    return FAMILIES[settings.family].locate(settings, parts)
