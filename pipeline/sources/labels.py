"""One name per effect: the many spellings of a category, resolved by a pure function."""

import re

# Spellings met in the published data sets that the general rule below does not bring together.
ALIASES = {
    "cakeify": "cake_ify",
    "cake": "cake_ify",
    "desslove": "dissolve",
    "disolve": "dissolve",
    "dissolving": "dissolve",
    "melting": "melt",
    "exploding": "explode",
    "explosion": "explode",
    "inflating": "inflate",
    "deflating": "deflate",
    "levitation": "levitate",
    "levitating": "levitate",
    "crushing": "crush",
    "crumbling": "crumble",
    "squishing": "squish",
    "decapitation": "decapitate",
    "eyepop": "eye_pop",
    "eye_popping": "eye_pop",
    "tada": "ta_da",
    "hitchcock": "hitchcock_zoom",
    "dolly_zoom": "hitchcock_zoom",
}


def normalise_label(label: str | None) -> str | None:
    """The category a raw label names: `Melt`, `Melt it`, `melt_it` and `MELT-IT` are all `melt`.

    Letters and digits of any script are kept, everything else separates words; a trailing "it" is dropped
    because the data sets name the same effect with and without it. Empty labels are no label.
    """
    if label is None:
        return None
    words = [word for word in re.split(r"[\W_]+", label.strip().casefold()) if word]
    if len(words) > 1 and words[-1] == "it":
        words.pop()
    slug = "_".join(words)
    return ALIASES.get(slug, slug) or None
