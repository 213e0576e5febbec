"""The first 48 effects, each on its own, in the order in which the pocket backbone was taught them."""

from itertools import chain, zip_longest

from pipeline.samples.camera import CAMERA_MOVES
from pipeline.samples.effect import Effect
from pipeline.samples.fragments import FRAGMENTATIONS
from pipeline.samples.styles import STYLES
from pipeline.samples.transformations import TRANSFORMATIONS


def _in_turn() -> list[Effect]:
    """Transformation, camera, style, transformation …, so that any first N show all three groups."""
    bending = {effect.name: effect for effect in TRANSFORMATIONS + FRAGMENTATIONS}
    leading = ["inflate", "melt", "explode", "dissolve", "deflate", "levitate", "crumble", "squish"]
    transformations = [bending.pop(name) for name in leading] + list(bending.values())
    rows = zip_longest(transformations, CAMERA_MOVES, STYLES)
    return [effect for effect in chain.from_iterable(rows) if effect is not None]


EFFECTS: dict[str, Effect] = {effect.name: effect for effect in _in_turn()}
