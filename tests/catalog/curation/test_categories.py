"""Acts about categories: names, merges, splits, proposals, what is held out."""

import pytest

from catalog.acts import undo
from catalog.curation import Selection
from catalog.curation.categories import (
    add,
    adopt,
    dismiss,
    hold_out,
    merge,
    rename,
    set_aliases,
    set_group,
    split,
)
from catalog.curation.clips import move, out_of_domain
from catalog.errors import BadAct, BadName, UnknownCategory
from catalog.names import CategoryNames
from tests.catalog.curated import everything, rows_of


def categories(catalog) -> dict[str, dict]:
    return {row["category_id"]: row for row in catalog.scan("categories").to_pylist()}


def test_a_renamed_category_is_found_by_its_old_name_and_taken_back(curated, ann):
    before = everything(curated)
    done = rename(curated, "melt", "Turns to  liquid", ann)
    assert categories(curated)["melt"]["name"] == "Turns to liquid"
    names = CategoryNames.load(curated)
    assert names.id_of("melt") == names.id_of("turns to liquid") == names.file_under("Melt it") == "melt"
    undo(curated, done.event, actor="ann")
    assert everything(curated) == before


@pytest.mark.parametrize("name", ["<b>melt</b> & co", "انصهار", "🔥 fire", "氷が溶ける", "Café crème"])
def test_names_of_any_script_and_with_signs_of_markup_are_names(curated, ann, name):
    add(curated, name, ann)
    key = CategoryNames.load(curated).id_of(name)
    assert categories(curated)[key]["name"] == name
    move(curated, Selection.of(["m0aaaaa"]), name, ann)
    assert rows_of(curated, "category_id")["m0"] == (key,)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("  ", "needs a letter"),
        ("--", "needs a letter"),
        ("x" * 2**20, "at most 120 characters; 'xxx.*has 1048576"),
        ("y" * 121, "has 121"),
        ("melt\x1b[31m", "cannot be seen"),
        ("ok\u202egnp.exe", "cannot be seen"),
        ("Melt it", r"already means the category 'melt' \(melt\)"),
    ],
)
def test_what_is_no_name_or_anothers_is_refused(curated, ann, name, says):
    before = everything(curated)
    for act in (lambda: add(curated, name, ann), lambda: rename(curated, "drip", name, ann)):
        with pytest.raises(BadName, match=says):
            act()
    with pytest.raises(BadName, match=says):
        set_aliases(curated, "drip", ann, add=[name])
    assert everything(curated) == before


def test_merged_categories_are_one_and_apart_again_when_it_is_taken_back(curated, ann):
    before = everything(curated)
    done = merge(curated, ["melt", "snow"], "drip", ann)
    assert {row[0] for row in rows_of(curated, "category_id").values()} == {"drip"}
    assert rows_of(curated, "category_source")["m0"] == ("label",)
    rows = categories(curated)
    assert (rows["melt"]["state"], rows["melt"]["merged_into"]) == ("merged", "drip")
    assert CategoryNames.load(curated).file_under("Melt") == "drip"
    undo(curated, done.event, actor="ann")
    assert everything(curated) == before


def test_a_merge_into_itself_or_in_a_circle_is_refused(curated, ann):
    with pytest.raises(BadAct, match="circle"):
        merge(curated, ["melt"], "Melt it", ann)
    merge(curated, ["melt"], "drip", ann)
    merge(curated, ["drip"], "snow", ann)
    before = everything(curated)
    with pytest.raises(BadAct, match=r"'snow' and 'melt' are one category already \(snow\)"):
        merge(curated, ["snow"], "melt", ann)
    assert everything(curated) == before


def test_some_clips_are_split_off_into_a_new_category(curated, ann):
    done = split(curated, "melt", "Melts to gold", Selection.of(["m0aaaaa", "m1aaaaa"]), ann)
    rows = rows_of(curated, "category_id", "category_source", "reviewed_by")
    assert rows["m0"] == rows["m1"] == ("melts_to_gold", "human", "ann")
    assert rows["m2"] == ("melt", "label", None)
    undo(curated, done.event, actor="ann")
    assert "melts_to_gold" not in categories(curated)
    with pytest.raises(BadAct, match="1 of the 2 clips are not in 'melt'"):
        split(curated, "melt", "x1", Selection.of(["m0aaaaa", "d0aaaaa"]), ann)
    with pytest.raises(BadAct, match="all clips of 'melt'"):
        split(curated, "melt", "x1", Selection.matching("category = 'melt'"), ann)


def test_a_proposal_becomes_a_category_or_goes_only_by_a_persons_word(curated, ann):
    curated.upsert(
        "categories",
        [{"category_id": f"cluster-00{n}", "name": f"cluster-00{n}", "state": "proposed"} for n in (1, 2)],
    )
    proposed = {"category_source": "proposed", "category_confidence": 0.5}
    curated.update(
        "clips",
        [{"clip_id": f"m{n}aaaaa", "category_id": f"cluster-00{n}", **proposed} for n in (1, 2)],
    )
    adopt(curated, "cluster-001", ann, name="Ink spreads")
    row = categories(curated)["cluster-001"]
    assert (row["state"], row["name"]) == ("active", "Ink spreads")
    before = everything(curated)
    done = dismiss(curated, "cluster-002", ann)
    assert "cluster-002" not in categories(curated)
    assert rows_of(curated, "category_id", "category_source")["m2"] == (None, None)
    undo(curated, done.event, actor="ann")
    assert everything(curated) == before
    with pytest.raises(BadAct, match="no proposal"):
        dismiss(curated, "melt", ann)


def test_a_category_is_held_out_and_taken_in_as_a_whole(curated, ann):
    hold_out(curated, "melt", ann)
    assert {row for key, row in rows_of(curated, "split").items() if key[0] == "m"} == {("ood",)}
    assert out_of_domain(curated) == {"melt"}
    merge(curated, ["drip"], "melt", ann)
    assert rows_of(curated, "split")["d0"] == ("ood",)
    hold_out(curated, "melt", ann, held_out=False)
    assert set(rows_of(curated, "split").values()) == {("train",)}
    assert out_of_domain(curated) == set()


def test_categories_are_grouped_and_get_aliases(curated, ann):
    set_group(curated, ["melt", "Drip"], "liquids", ann)
    assert {k: r["group"] for k, r in categories(curated).items()} == {
        "melt": "liquids",
        "drip": "liquids",
        "snow": None,
    }
    set_aliases(curated, "melt", ann, add=["ooze", "goo"])
    set_aliases(curated, "melt", ann, remove=["goo"])
    assert CategoryNames.load(curated).id_of("Ooze") == "melt"
    with pytest.raises(UnknownCategory, match="its aliases are: 'ooze'"):
        set_aliases(curated, "melt", ann, remove=["goo"])
    with pytest.raises(BadName, match="already means"):
        set_aliases(curated, "drip", ann, add=["ooze"])


def test_a_category_that_only_labels_name_so_far_is_acted_on_like_any_other(curated, ann):
    curated.upsert("clips", [{"clip_id": "x0", "category_id": "glow", "status": "accepted"}])
    before = everything(curated)
    done = rename(curated, "glow", "Glows from inside", ann)
    assert categories(curated)["glow"]["name"] == "Glows from inside"
    undo(curated, done.event, actor="ann")
    assert everything(curated) == before
    merge(curated, ["glow"], "melt", ann)
    assert rows_of(curated, "category_id")["x0"] == ("melt",)
