"""Unicode rules that every comparison of texts goes by: labels, names of categories, words of captions."""

import unicodedata
from functools import cache

# Accents of the scripts in which a word without them is still the same word to who searches (é, ä, й).
_ACCENTS = range(0x0300, 0x0370)
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def folded(text: str) -> str:
    """A text as it is compared: case folded, in NFC, without characters that only steer how it is drawn.

    Joiners, direction marks and variation selectors go, so that what looks the same is the same. Combining
    marks stay: in Hindi or Thai they are the vowels.
    """
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFC", text).casefold())
    return unicodedata.normalize("NFC", "".join(letter for letter in text if not _steers(letter)))


def split_words(text: str) -> list[str]:
    """The words of a text, folded: runs of letters, marks, digits and pictographs of any script."""
    spaced = "".join(letter if _in_word(letter) else " " for letter in folded(text))
    return [word for word in spaced.split(" ") if word]


def without_accents(text: str) -> str:
    """`Café` → `Cafe`; the vowel signs of other scripts are no accents and stay."""
    plain = unicodedata.normalize("NFKD", text)
    return unicodedata.normalize("NFC", "".join(c for c in plain if ord(c) not in _ACCENTS))


@cache
def _in_word(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return kind[0] in "LNM" or kind == "So" or ord(letter) in _SKIN_TONES


@cache
def _steers(letter: str) -> bool:
    return unicodedata.category(letter) == "Cf" or ord(letter) in _VARIATION_SELECTORS
