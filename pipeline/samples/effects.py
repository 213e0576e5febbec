"""The registry: every category of effect by its name, in the order in which sample sets take them."""

from difflib import get_close_matches
from itertools import chain, zip_longest

from pipeline.errors import PipelineError
from pipeline.samples.camera import CAMERA_MOVES
from pipeline.samples.effect import Effect
from pipeline.samples.fragments import FRAGMENTATIONS
from pipeline.samples.styles import STYLES
from pipeline.samples.transformations import TRANSFORMATIONS


class UnknownEffect(PipelineError):
    """A name that no effect has."""


def _in_turn() -> list[Effect]:
    """Transformation, camera, style, transformation …, so that any first N show all three groups."""
    bending = {effect.name: effect for effect in TRANSFORMATIONS + FRAGMENTATIONS}
    leading = ["inflate", "melt", "explode", "dissolve", "deflate", "levitate", "crumble", "squish"]
    transformations = [bending.pop(name) for name in leading] + list(bending.values())
    rows = zip_longest(transformations, CAMERA_MOVES, STYLES)
    return [effect for effect in chain.from_iterable(rows) if effect is not None]


EFFECTS: dict[str, Effect] = {effect.name: effect for effect in _in_turn()}


def find_effect(name: str) -> Effect:
    """The effect of that name; raises UnknownEffect with the nearest names."""
    if name in EFFECTS:
        return EFFECTS[name]
    near = get_close_matches(name, EFFECTS, n=3) or list(EFFECTS)[:3]
    raise UnknownEffect(f"No effect is named {name!r}. Nearest: {', '.join(near)}.")
