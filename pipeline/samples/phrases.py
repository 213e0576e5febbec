"""Many texts about every taught category, put together from phrases: what a search by words learns from.

`wordings.py` has the few texts by which searches are also judged; nothing here repeats those only asked.
"""

from functools import cache
from pathlib import Path

import numpy as np

from pipeline.samples.categories import find_category
from pipeline.samples.composition import MANNERS
from pipeline.samples.wordings import name_in_words, wordings


def texts_about(name: str, count: int, draw: np.random.Generator) -> tuple[str, ...]:
    """Its name, its wordings that may be taught, and up to `count` texts that are drawn, each once.

    Raises:
        UnknownEffect: no category has that name.
        KeyError: no phrases are known of a part of it, for it is none that is taught.
    """
    parts = find_category(name).parts
    pools = [_phrases(part) for part in parts if part not in MANNERS]
    if len(parts) == 1:
        joint = ""
    elif parts[1] in MANNERS:
        joint = parts[1]
    else:
        joint = "then" if name == f"{parts[0]}_then_{parts[1]}" else "and"
    joints = PHRASES["joints"][joint] if joint else ("{a}",)
    frames, found = PHRASES["around"]["frames"], [name_in_words(name), *wordings(name).taught]
    # Half of the texts have nothing around them.
    frames += ("{x}",) * len(frames)
    for _ in range(count):
        said = [_of_another(_one(pool, draw), draw) for pool in pools]
        text = _one(joints, draw).format(**dict(zip("ab", said, strict=False)))
        found.append(_one(frames, draw).format(x=text))
    return tuple(dict.fromkeys(found))


def _of_another(phrase: str, draw: np.random.Generator) -> str:
    """Half of the time with another word for the subject."""
    if draw.random() < 0.5:
        return phrase
    noun = _one(PHRASES["around"]["nouns"], draw)
    if "the subject" in phrase:
        return phrase.replace("the subject", noun, 1)
    return f"{noun} {phrase.removeprefix('it ')}" if phrase.startswith("it ") else phrase


@cache
def _phrases(name: str) -> tuple[str, ...]:
    """All about a single effect, with those of `wordings` that may be taught."""
    found: list[str] = []
    for phrase in PHRASES["effects"][name]:
        if phrase.startswith("@"):
            family, value = phrase[1:].split()
            found += [
                pattern.format(v=said)
                for pattern in PHRASES["families"][family]
                for said in PHRASES["values"][value]
            ]
        else:
            found.append(phrase)
    return (*found, name_in_words(name), *wordings(name).taught[1:])


def _table() -> dict[str, dict[str, tuple[str, ...]]]:
    sections = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").split("\n[")[1:]
    found = {}
    for section in sections:
        title, _, lines = section.partition("]\n")
        pairs = (line.partition(":") for line in lines.strip().splitlines() if line)
        found[title] = {name: _listed(rest) for name, _, rest in pairs}
    return found


def _listed(line: str) -> tuple[str, ...]:
    return tuple(text.strip() for text in line.split(";"))


def _one(these: tuple[str, ...], draw: np.random.Generator) -> str:
    return these[int(draw.integers(len(these)))]


# By section, name and place: see `phrases.txt`.
PHRASES = _table()
