"""What is unseen is what it says: combinations of seen parts, new values of seen families, whole families."""

import pytest

from pipeline.samples.categories import CATEGORIES
from pipeline.samples.splits import COMBINATION, DEVELOPMENT, FAMILY, KINDS, SEEN, TEST, VALUE

PARTS = {part for name in SEEN for part in CATEGORIES[name].parts}
FAMILIES = {CATEGORIES[part].family for part in PARTS if part in CATEGORIES}
SPLITS = pytest.mark.parametrize("split", [DEVELOPMENT, TEST], ids=["development", "test"])


def test_every_category_is_in_one_place_and_in_one_only():
    placed = [*SEEN, *(name for split in (DEVELOPMENT, TEST) for names in split.values() for name in names)]
    assert sorted(placed) == sorted(CATEGORIES)


@SPLITS
def test_a_split_has_a_dozen_and_more_of_every_kind(split):
    assert set(split) == set(KINDS)
    assert min(len(names) for names in split.values()) >= 12


@SPLITS
def test_a_new_combination_is_made_of_parts_that_were_each_seen(split):
    for name in split[COMBINATION]:
        assert len(CATEGORIES[name].parts) > 1
        assert set(CATEGORIES[name].parts) <= PARTS, name


@SPLITS
def test_a_new_value_was_never_seen_though_its_family_was(split):
    for name in split[VALUE]:
        assert CATEGORIES[name].parts == (name,) and name not in PARTS
        assert CATEGORIES[name].family in FAMILIES, name


@SPLITS
def test_nothing_of_a_new_family_was_seen(split):
    unseen = {CATEGORIES[name].family for name in split[FAMILY]} - {""}
    assert len(unseen) >= 3 and not unseen & FAMILIES
    other = TEST if split is DEVELOPMENT else DEVELOPMENT
    assert not unseen & {CATEGORIES[name].family for name in other[FAMILY]}


def test_most_of_the_catalogue_teaches():
    assert len(SEEN) >= 150 and sum(len(CATEGORIES[name].parts) > 1 for name in SEEN) >= 50
