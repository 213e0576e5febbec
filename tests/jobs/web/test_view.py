"""An address is the page: it is read, written back, and said as a filter and a command line."""

import shlex
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from jobs.web.lasso import BadLasso
from jobs.web.view import FACETS, NONE, BadAddress, View

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def view_of(query: str) -> View:
    return View.of(QueryParams(query))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["q", "where", "like", "unlike", "model", "select", "except", *FACETS]), TEXT
        )
    )
)
def test_an_address_that_was_written_is_read_back_as_the_same_view(pairs):
    view = View.of(QueryParams(pairs))
    assert view_of(urlsplit(view.address()).query) == view


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("page=0", "first one is 1"),
        ("page=-1", "first one is 1"),
        ("page=٣", "first one is 1"),
        ("page=1e9", "first one is 1"),
        ("sort=owner", "Clips are not sorted by 'owner'"),
        ("lasso=0_0~1_1", "no lasso"),
        ("lasso=0.1_0.1~0.2_0.2~1e9_nan", "no lasso"),
        ("lasso=" + "~".join(["0.1_0.1"] * 101), "no lasso"),
        ("q=" + "x" * 5000, "has 5000 characters"),
        ("&".join(f"select={n}" for n in range(201)), "can name 200 clips, not 201"),
        ("&".join(f"like={n}" for n in range(21)), "20 examples can be given, not 21"),
        ("like=a&aspect=colour", "no aspect 'colour'"),
        ("like=a&aspect=effect&model=m", "An adapter has no parts"),
        ("like=a&model=" + "x" * 5000, "No model has a name of 5000 characters"),
        ("like=" + "x" * 5000, "An example has 5000 characters"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_in_a_sentence(query, says):
    with pytest.raises((BadAddress, BadLasso), match=says):
        view_of(query)


def test_facets_are_a_filter_whatever_their_values_are_called():
    view = view_of("where=motion > 1 or blur < 2&category=it's&category=cake&split=" + NONE)
    assert view.filter() == ("(motion > 1 or blur < 2) and category in ('it''s', 'cake') and split is null")


def test_choosing_a_facet_begins_at_the_first_page_with_nothing_selected():
    view = view_of("q=red&page=3&select=all&except=a&split=val")
    assert dict(parse_qsl(urlsplit(view.toggled("split", "train").address()).query)) == {
        "q": "red",
        "split": "train",
    }
    assert view.toggled("split", "val").chosen == {}


def test_all_are_selected_but_for_those_left_out():
    view = view_of("select=all&except=a")
    assert view.holds("b")
    assert not view.holds("a")


def test_the_command_line_has_every_part_as_one_word():
    view = view_of("q=-red 'mug'&category=melt&like=c1")
    words = shlex.split(view.command("my work", 7))
    assert words[:2] == ["video2lora", "search"]
    assert words[-2:] == ["--", "-red 'mug'"]
    options = dict(zip(words[2:-2:2], words[3:-2:2], strict=True))
    assert options == {"--like": "c1", "--where": "category = 'melt'", "--limit": "7", "-w": "my work"}


def test_a_lasso_is_a_part_of_the_address():
    view = view_of("lasso=0.100_0.200~0.900_0.200~0.500_-0.800&split=val")
    assert view.lasso == ((0.1, 0.2), (0.9, 0.2), (0.5, -0.8))
    assert view_of(urlsplit(view.address()).query) == view
    assert view.toggled("split", "val").lasso == view.lasso


def test_examples_are_added_turned_round_and_taken_away():
    view = view_of("q=red&page=2&like=a")
    assert (view.more_like("b", "a").like, view.more_like("b").page) == (("a", "b"), 1)
    turned = view.less_like("a", "c")
    assert (turned.like, turned.unlike) == ((), ("a", "c"))
    assert turned.more_like("c").unlike == ("a",)
    assert turned.without_example("a").unlike == ("c",)
    assert view_of("like=a&aspect=effect").without_example("a") == View()
    assert view_of("like=a&unlike=a") == view_of("like=a")


def test_a_filter_can_be_read_on_the_command_line():
    said = View(chosen={"category": ("melt",)}).command("w", 5)
    assert said == """video2lora search --where "category = 'melt'" --limit 5 -w w"""
    for name in ("a $HOME `ls`", 'two "quotes"', "50!", "back\\slash"):
        view = View(chosen={"category": (name,)})
        assert view.filter() in shlex.split(view.command("w", 5))


def test_the_command_line_has_every_example_and_what_counts_of_them():
    view = view_of("like=c1&like=example:1&unlike=-c2&aspect=effect&lasso=-0.5_0.1~0.9_0.2~0.5_0.8")
    words = shlex.split(view.command("w", 5, {"example:1": "my clip.mp4"}))
    assert words[2:-4] == [
        *("--like", "c1", "--like", "my clip.mp4", "--unlike=-c2", "--aspect", "effect"),
        "--lasso=-0.500_0.100~0.900_0.200~0.500_0.800",
    ]
