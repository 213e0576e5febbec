"""Which categories teach, on which choices are made, and on which is looked once at the end.

Three kinds of unseen: a new *combination* of parts that were each seen, a new *value* of a family that was
seen with others, a whole *family*. Whoever trains a hypernetwork takes SEEN and nothing else; whoever chooses
(guidance, strength, steps, design) looks at DEVELOPMENT; TEST is for the last table.
"""

from collections.abc import Collection, Mapping

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.effects import EFFECTS

COMBINATION, VALUE, FAMILY = KINDS = ("combination", "value", "family")
Split = Mapping[str, tuple[str, ...]]  # kind → names in CATEGORIES


def _split(combinations: str, values: str, families: str) -> Split:
    named = set(families.split())
    within = {name for name, effect in CATEGORIES.items() if effect.family in named}
    whole = tuple(name for name, effect in CATEGORIES.items() if within & set(effect.parts))
    return {COMBINATION: tuple(combinations.split()), VALUE: tuple(values.split()), FAMILY: whole}


DEVELOPMENT: Split = _split(
    combinations="""
        pan_left_and_melt zoom_out_and_spin dolly_and_inflate roll_and_levitate spin_and_tint_crimson
        inflate_and_weather_rain grow_large_and_shower_of_petals shrink_and_tint_crimson
        turn_to_marble_and_light_from_the_left pan_right_and_invert zoom_in_and_tint_crimson
        gild_then_melt spin_then_blackout zoom_in_then_roll roll_and_back
    """,
    values="""
        pan_up_right zoom_down_left shake_sideways turn_like_a_coin grow_tall melt_to_the_left slice_aslant
        dissolve_from_below multiply_in_a_ring turn_to_lava paint_lime tint_magenta light_from_above
        weather_rain_to_the_right shower_of_coins show_as_stitches
    """,
    families="mirror sprout surround repeat",
)
TEST: Split = _split(
    combinations="""
        pan_right_and_inflate zoom_in_and_turn_to_marble shake_and_melt dolly_and_gild melt_and_tint_cyan
        levitate_and_shower_of_petals bounce_and_invert dissolve_from_above_and_light_from_the_left
        pan_left_and_weather_rain roll_and_tint_cyan zoom_out_and_invert levitate_then_explode
        paint_crimson_then_slice zoom_in_then_pan_left inflate_and_back
    """,
    values="""
        pan_down_left zoom_up_right roll_upside_down topple_to_the_right grow_thin swell_at_the_left
        split_up_and_down turn_to_silver paint_cyan tint_amber light_from_below weather_snow_to_the_left
        shower_of_bubbles show_as_newsprint leave_upwards scatter_to_the_right
    """,
    families="curtain become erase",
)
UNSEEN = frozenset(name for split in (DEVELOPMENT, TEST) for names in split.values() for name in names)
SEEN: tuple[str, ...] = tuple(name for name in CATEGORIES if name not in UNSEEN)


def unseen_of(known: Collection[str]) -> frozenset[str]:
    """What a hypernetwork does not learn from of the categories that its backbone knows.

    Of a backbone that knows the first categories alone, from before there were more, every fifth.
    """
    return frozenset(list(known)[2::5]) if _first_alone(known) else UNSEEN.intersection(known)


def kinds_of(split: Split, known: Collection[str]) -> Split:
    """The unseen categories of a split that a backbone knows; all of them, as one kind, where it knows the
    first alone."""
    if _first_alone(known):
        return {"unseen": tuple(name for name in known if name in unseen_of(known))}
    return {kind: tuple(name for name in names if name in known) for kind, names in split.items()}


def _first_alone(known: Collection[str]) -> bool:
    return set(known) <= set(EFFECTS)
