"""The filter language: what it matches, what it refuses, and that no typed text escapes its quotes."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lancedb.expr import Expr, col

from catalog.clip_spec import ClipSpec
from catalog.errors import BadFilter
from catalog.predicates import MAX_DEPTH, Synonym, is_null, not_null, parse, quote
from catalog.schema import SCHEMAS
from catalog.search import facets
from catalog.store import Catalog

CLIPS = SCHEMAS["clips"]
ROWS = [
    {
        "clip_id": "a",
        "caption": "A red ball",
        "motion": 0.1,
        "rotation": 0,
        "split": "train",
        "category_id": "melt",
    },
    {
        "clip_id": "b",
        "caption": "x' OR 1=1 --",
        "motion": 0.2,
        "rotation": 90,
        "split": "val",
        "category_id": "inflate",
    },
    {"clip_id": "c", "caption": None, "motion": 0.3, "rotation": 180, "split": None, "category_id": "melt"},
    {
        "clip_id": "d",
        "caption": "back\\slash \"double\" 'single' 🔥 Ünïcode",
        "motion": None,
        "split": "train",
    },
    {"clip_id": "e", "caption": "", "motion": -1.5, "created_at": datetime(2026, 11, 20, 12, tzinfo=UTC)},
]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Catalog:
    catalog = Catalog.create(tmp_path_factory.mktemp("predicates") / "catalogue", ClipSpec())
    catalog.upsert("clips", ROWS)
    catalog.upsert("models", [{"model_id": "old", "champion": False}, {"model_id": "new", "champion": True}])
    return catalog


def matches(catalog: Catalog, where: str | Expr) -> str:
    expression = parse(where, CLIPS) if isinstance(where, str) else where
    return "".join(sorted(catalog.scan("clips", ["clip_id"], expression)["clip_id"].to_pylist()))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("motion = 0.2", "b"),
        ("motion == 0.2", "b"),
        ("motion != 0.2", "ace"),
        ("motion > 0.1 and motion <= 0.3", "bc"),
        ("motion < 0", "e"),
        ("motion >= -1.5e0", "abce"),
        ("rotation > 89.5", "bc"),
        ("motion < 1", "abce"),
        ("split in ('train', 'val')", "abd"),
        ("split not in ('train')", "b"),
        ("rotation IN (0, 180)", "ac"),
        ("not split = 'train'", "b"),
        ("split is null", "ce"),
        ("split is not null", "abd"),
        ("split = 'val' or split is null and motion > 0", "bc"),
        ("(split = 'val' or split is null) and motion > 0.25", "c"),
        ("caption contains 'BALL'", "a"),
        ("caption not contains 'ball'", "bde"),
        ("caption contains 'ünï'", "d"),
        ("caption contains '%'", ""),
        ("caption = ''", "e"),
        ("caption = 'x'' OR 1=1 --'", "b"),
        ('caption = "x\' OR 1=1 --"', "b"),
        ("created_at > '2026-11-20'", "e"),
        ("created_at > '2026-11-20T13:30:00+02:00'", "e"),
        ("created_at > '2026-11-20T12:00:00'", ""),
        ("rotation < 99999999999999999999999", "abc"),
    ],
)
def test_a_filter_matches_exactly_the_rows_it_describes(catalog, where, expected):
    assert matches(catalog, where) == expected


@pytest.mark.parametrize(
    ("where", "expected"), [("champion", "new"), ("not champion", "old"), ("champion = false", "old")]
)
def test_a_column_of_true_and_false_is_a_filter_by_itself(catalog, where, expected):
    found = catalog.scan("models", ["model_id"], parse(where, SCHEMAS["models"]))
    assert found["model_id"].to_pylist() == [expected]


@pytest.mark.parametrize("column", CLIPS.names)
def test_null_is_told_from_values_in_columns_of_every_type(catalog, column):
    without = {row["clip_id"] for row in ROWS if row.get(column) is None}
    everyone = {row["clip_id"] for row in ROWS}
    assert set(matches(catalog, is_null(column))) == without
    assert set(matches(catalog, not_null(column))) == everyone - without


@pytest.mark.parametrize(
    ("where", "position", "says"),
    [
        ("", 0, "expected a column name"),
        ("motoin > 0.2", 0, "'motion'"),
        ("motion > 0.2 and kategory = 'x'", 17, "no column 'kategory'"),
        ("motion > 'fast'", 9, "a number"),
        ("caption = 3", 10, "a text in quotes"),
        ("caption = null", 10, "is null"),
        ("caption = melt", 10, "'melt'"),
        ("caption = 'melt", 10, "quote without its end"),
        ("caption = 'x' OR 1=1 --'", 21, "means nothing here"),
        ("caption = 'x' OR 1=1", 17, "expected a column name"),
        ("caption = 'x'; drop table clips", 13, "means nothing here"),
        ("motion > 0.2 motion", 13, "the end"),
        ("(motion > 0.2", 13, "`)`"),
        ("motion in ()", 11, "a text in quotes"),
        ("motion contains 'a'", 0, "not a text"),
        ("phash = 3", 8, "is null"),
        ("created_at > 'yesterday'", 13, "2026"),
        ("motion > 1e999", 9, "that large"),
        ("motion > 1.2.3", 9, "means nothing here"),
        ("caption = '\ud800'", 10, "Unicode"),
        ("caption", 7, "a comparison"),
        ("(" * (MAX_DEPTH + 1) + "motion > 1" + ")" * (MAX_DEPTH + 1), MAX_DEPTH, "deep"),
        ("not " * 2000 + "motion > 1", 4 * MAX_DEPTH, "deep"),
        ("motion > 1 or " * 1000 + "motion > 1", 10_000, "characters"),
    ],
)
def test_a_filter_that_cannot_be_read_is_refused_with_the_position_and_what_would_be_right(
    where, position, says
):
    with pytest.raises(BadFilter) as refused:
        parse(where, CLIPS)
    assert refused.value.position == position
    assert says in str(refused.value)
    assert len(str(refused.value)) < 400


def test_hundreds_of_terms_are_no_deep_nesting_for_the_engine(catalog):
    assert matches(catalog, "motion = 9 or " * 700 + "motion = 0.2") == "b"


def test_a_synonym_stands_for_the_values_it_knows(catalog):
    known = {"Melt it": ["melt"], "any": ["melt", "inflate"]}

    def values(name: str) -> list[str]:
        if name not in known:
            raise KeyError("; nearest: 'Melt it'")
        return known[name]

    def found(where: str) -> str:
        return matches(catalog, parse(where, CLIPS, {"category": Synonym("category_id", values)}))

    assert found("category = 'Melt it'") == "ac"
    assert found("category != 'Melt it'") == "b"
    assert found("category in ('any')") == "abc"
    assert found("category is null") == "de"
    with pytest.raises(BadFilter, match="no category named 'mlt'; nearest: 'Melt it'"):
        found("category = 'mlt'")


@given(st.text(max_size=200) | st.text(alphabet="motin caps='\"()<>!,.0123 andorls", max_size=80))
@settings(max_examples=400, deadline=None)
def test_any_text_is_either_a_filter_or_a_bad_filter(text):
    try:
        assert isinstance(parse(text, CLIPS), Expr)
    except BadFilter as refused:
        assert 0 <= refused.position <= len(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_in_quotes_matches_exactly_itself(catalog, text):
    rows = [{"event_id": "it", "act": text}, {"event_id": "other", "act": text + "'"}, {"event_id": "null"}]
    catalog.upsert("events", rows)
    for where in (f"act = {quote(text)}", f"act in ({quote(text)})"):
        found = catalog.scan("events", ["event_id"], parse(where, SCHEMAS["events"]))
        assert found["event_id"].to_pylist() == ["it"]
    found = catalog.scan("events", ["event_id"], parse(f"act contains {quote(text)}", SCHEMAS["events"]))
    assert sorted(found["event_id"].to_pylist()) == ["it", "other"]


def test_lance_reads_a_filter_as_it_is_meant_whatever_quotes_its_values_hold(catalog):
    values = ["it", "''", "'", "x'y", "x''y", "' or 1=1 --"]
    catalog.upsert("clips", [{"clip_id": f"c{n}", "caption": text} for n, text in enumerate(values)])
    for number, text in enumerate(values):
        for where in (col("caption") == text, col("caption").isin([text]) & not_null("caption")):
            assert catalog.scan("clips", ["clip_id"], where)["clip_id"].to_pylist() == [f"c{number}"]
            assert facets(catalog, ["caption"], where) == {"caption": [(text, 1)]}
    assert catalog.scan("clips", ["clip_id"], col("caption") == "'''").num_rows == 0
