"""The catalogue: every category of effect there is, in the order in which sample sets take them.

A category is a family with a value that a person would name, or is made of two such parts: both at once, one
after the other, or one of them in another manner of time. The tables below are the whole of it.
"""

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from itertools import chain, zip_longest

from pipeline.errors import PipelineError
from pipeline.samples.composition import in_manner, in_turn, together
from pipeline.samples.effect import Effect
from pipeline.samples.effects import EFFECTS
from pipeline.samples.families.bends import BENDS
from pipeline.samples.families.copies import COPIES
from pipeline.samples.families.gestures import GESTURES
from pipeline.samples.families.grains import GRAINS
from pipeline.samples.families.guises import GUISE_EFFECTS
from pipeline.samples.families.lights import LIGHTS
from pipeline.samples.families.materials import MATERIALS
from pipeline.samples.families.media import MEDIA
from pipeline.samples.families.mirrors import MIRRORS
from pipeline.samples.families.moves import MOVES
from pipeline.samples.families.tints import TINTS
from pipeline.samples.families.weather import WEATHER


class UnknownEffect(PipelineError):
    """A name that no effect has."""


# Families of the first effects, whose names are older than the families.
FIRST_FAMILIES: dict[str, str] = {
    "pan": "pan_left pan_right tilt_up tilt_down",
    "zoom": "zoom_in zoom_out",
    "dolly": "dolly",
    "shake": "shake",
    "roll": "roll",
    "orbit": "orbit",
    "turn": "spin",
    "grow": "shrink squish",
    "move": "levitate bounce",
    "swell": "inflate deflate",
    "melt": "melt",
    "wave": "wobble",
    "distort": "swirl ripple glitch",
    "slice": "slice",
    "break": "explode crumble shatter",
    "dissolve": "dissolve",
    "vanish": "vanish",
    "multiply": "multiply",
    "turn_to": "gild freeze",
    "burn": "ignite",
    "tint": "tint rainbow monochrome invert",
    "show_as": "posterise pixelate sketch neon thermal blur",
    "light": "flash glow blackout iris",
    "weather": "snow",
    "mirror": "kaleidoscope",
}

AT_ONCE = """
pan_left + melt                pan_left + gild                 pan_left + grow_large
pan_right + spin               pan_right + inflate             pan_right + paint_crimson
tilt_up + gild                 tilt_up + turn_to_marble
zoom_in + turn_to_marble        zoom_in + dissolve_from_above
zoom_out + spin                zoom_out + inflate              zoom_out + gild
roll + turn_to_marble          roll + shrink                   roll + levitate
dolly + spin                   dolly + inflate                 dolly + gild
shake + melt                   shake + grow_large              shake + turn_to_marble

melt + tint_cyan               melt + weather_rain             spin + tint_crimson
spin + shower_of_confetti      inflate + tint_cyan             inflate + weather_rain
levitate + shower_of_petals    levitate + light_from_the_left  gild + weather_rain
grow_large + invert            grow_large + shower_of_petals   shrink + tint_crimson
shrink + shower_of_confetti    bounce + invert                 bounce + tint_cyan
turn_to_marble + tint_crimson  turn_to_marble + light_from_the_left
dissolve_from_above + invert   dissolve_from_above + light_from_the_left
split_sideways + tint_cyan     split_sideways + shower_of_petals
multiply_by_two + invert       multiply_by_two + weather_rain

pan_left + tint_cyan           pan_left + weather_rain         pan_right + invert
pan_right + shower_of_confetti zoom_in + tint_crimson          zoom_in + weather_rain
zoom_out + invert              zoom_out + shower_of_petals     roll + tint_cyan
roll + shower_of_confetti      dolly + light_from_the_left     dolly + tint_crimson
shake + invert                 shake + light_from_the_left     tilt_up + tint_crimson
"""
IN_TURN = """
inflate > explode              turn_to_marble > crumble        turn_to_glass > shatter
gild > melt                    levitate > explode              levitate > dissolve_from_above
grow_large > vanish            spin > shrink                   multiply_by_two > vanish
paint_crimson > slice          inflate > levitate              bounce > melt
pan_left > zoom_in             zoom_in > pan_left              zoom_in > roll
tilt_up > pan_right            tint_crimson > blackout         invert > tint_cyan
spin > blackout                melt > invert                   zoom_in > invert
explode > weather_rain         gild > blackout                 grow_large > shower_of_confetti
"""
IN_MANNERS = """
melt and_back                  inflate and_back                zoom_in and_back
roll and_back                  tint_crimson and_back           blackout and_back
zoom_in suddenly               vanish suddenly                 invert suddenly
grow_large suddenly            pan_left step_by_step           shrink step_by_step
gild step_by_step              zoom_in step_by_step
"""


def _singles() -> dict[str, Effect]:
    """Every effect with its family, the first ones first."""
    of_first = {name: family for family, names in FIRST_FAMILIES.items() for name in names.split()}
    found = {
        name: replace(effect, family=of_first[name], value=name, parts=(name,))
        for name, effect in EFFECTS.items()
    }
    bending = (*GESTURES, *BENDS, *GRAINS, *COPIES, *MATERIALS, *GUISE_EFFECTS)
    looks = (*TINTS, *LIGHTS, *WEATHER, *MIRRORS, *MEDIA)
    for effect in chain(MOVES, bending, looks):
        found[effect.name] = replace(effect, parts=(effect.name,))
    return found


def _compositions(singles: dict[str, Effect]) -> Iterator[Effect]:
    for table, sign, compose in ((AT_ONCE, "+", together), (IN_TURN, ">", in_turn)):
        words = table.split()
        for first, between, second in zip(words[::3], words[1::3], words[2::3], strict=True):
            assert between == sign, f"{first} {between} {second}"
            yield compose(singles[first], singles[second])
    words = IN_MANNERS.split()
    for name, manner in zip(words[::2], words[1::2], strict=True):
        yield in_manner(singles[name], manner)


def _catalogue() -> dict[str, Effect]:
    """The first effects in their old order, then a new single effect and a composition in turn."""
    singles = _singles()
    new = [effect for name, effect in singles.items() if name not in EFFECTS]
    rest = chain.from_iterable(zip_longest(new, _compositions(singles)))
    ordered = [singles[name] for name in EFFECTS] + [effect for effect in rest if effect is not None]
    return {effect.name: effect for effect in ordered}


CATEGORIES: dict[str, Effect] = _catalogue()


def find_category(name: str) -> Effect:
    """The category of that name; raises UnknownEffect with the nearest names."""
    if name in CATEGORIES:
        return CATEGORIES[name]
    near = get_close_matches(name, CATEGORIES, n=3) or list(CATEGORIES)[:3]
    raise UnknownEffect(f"No effect is named {name!r}. Nearest: {', '.join(near)}.")
