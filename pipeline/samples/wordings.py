"""How people would ask for an effect: several wordings of every category, of which some are never taught.

A line of `wordings.txt` is an effect or a family, what is taught, and after the bar what is only asked: a
search that finds an effect by words it was taught says little.
"""

from dataclasses import dataclass
from pathlib import Path

from pipeline.samples.categories import find_category
from pipeline.samples.composition import MANNERS


@dataclass(frozen=True)
class Wordings:
    """Texts about a category: `taught` to models that ship with the project, `held_out` from all of them."""

    taught: tuple[str, ...]
    held_out: tuple[str, ...]


# What a value is called where its name alone would not do.
VALUES = {
    "up_left": "up and to the left",
    "up_right": "up and to the right",
    "down_left": "down and to the left",
    "down_right": "down and to the right",
    "sideways": "from side to side",
    "moss": "green moss",
    "zebra": "zebra stripes",
    "candy": "striped candy",
    "lava": "glowing lava",
    "pitch": "black",
    "crimson": "crimson red",
    "lime": "lime green",
    "indigo": "indigo blue",
    "ivory": "ivory white",
    "amber": "amber orange",
    "cyan": "cyan blue",
    "moonlight": "blue moonlight",
    "arcs": "electric arcs",
    "hoops": "rings",
    "twinkles": "twinkling stars",
    "embers": "glowing embers",
    "newsprint": "newspaper print",
    "hatching": "a cross-hatched engraving",
    "stitches": "cross-stitch embroidery",
    "a_relief": "a carved relief",
    "an_x_ray": "an X-ray",
    "night_vision": "a green night vision camera",
    "old_film": "a scratched old film",
}
TOGETHER = "{a} while {b}; {a}, and at the same time {b}; {a} and {b} | {b} as {a}; both at once: {a}, {b}"
IN_TURN = (
    "{a}, then {b}; first {a}, afterwards {b}; {a} before {b} | {a}, and in the end {b}; {a} followed by {b}"
)
IN_MANNER = {
    "and_back": "{a}, and back; {a} and it is undone; {a}, then the reverse | {a}, then all is as before",
    "suddenly": "{a}, suddenly; all at once {a}; {a} in an instant | {a} in the blink of an eye",
    "step_by_step": "{a}, step by step; {a} in four steps; {a} in jerks | {a}, bit by bit with pauses",
}


def name_in_words(name: str) -> str:
    """What a person types who knows a category's name."""
    return name.replace("_", " ")


def wordings(name: str) -> Wordings:
    """All wordings of a category; its name and the renderer's own description are among the taught ones.

    Raises:
        UnknownEffect: no category has that name.
    """
    effect = find_category(name)
    found = _single(name) if len(effect.parts) == 1 else _composed(name, *effect.parts)
    own = (name_in_words(name), effect.description)
    return Wordings(tuple(dict.fromkeys((*own, *found.taught))), found.held_out)


def _single(name: str) -> Wordings:
    effect = find_category(name)
    if name in _EFFECTS:
        return _EFFECTS[name]
    value = name.removeprefix(f"{effect.family}_")
    filling = VALUES.get(value, name_in_words(value))
    pattern = _FAMILIES[effect.family]
    return Wordings(
        tuple(text.format(v=filling) for text in pattern.taught),
        tuple(text.format(v=filling) for text in pattern.held_out),
    )


def _composed(name: str, first: str, second: str) -> Wordings:
    one = _single(first)
    if second in MANNERS:
        line, other = _sides(IN_MANNER[second]), one
    else:
        line, other = _sides(IN_TURN if name == f"{first}_then_{second}" else TOGETHER), _single(second)
    return Wordings(
        _joined(line.taught, one.taught, other.taught), _joined(line.held_out, one.held_out, other.held_out)
    )


def _joined(lines: tuple[str, ...], ones: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        line.format(a=ones[k % len(ones)], b=others[k % len(others)]) for k, line in enumerate(lines)
    )


def _sides(line: str) -> Wordings:
    taught, held_out = (tuple(text.strip() for text in side.split(";")) for side in line.split("|"))
    return Wordings(taught, held_out)


def _table(section: str) -> dict[str, Wordings]:
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    lines = text.partition(f"[{section}]")[2].partition("[")[0].strip().splitlines()
    return {name: _sides(rest) for name, _, rest in (line.partition(":") for line in lines if line)}


_EFFECTS, _FAMILIES = _table("effects"), _table("families")
