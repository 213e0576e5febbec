"""The pages of clips, categories, review and history: what they say, and what they answer to nonsense."""

import html
import json
import re

import numpy as np
import pytest

from catalog.curation import Author, Selection
from catalog.curation import categories as about
from catalog.curation import clips as acts
from catalog.curation.standing import Standing
from jobs.web.palette import Palette

MARKUP = "<script>alert(1)</script>"
RTL = "\u202egnp.exe"


def test_a_clip_says_where_it_comes_from_what_is_like_it_and_what_was_done_to_it(catalog, client):
    acts.move(catalog, Selection.of(["melt0"]), "freeze", Author("grace"))
    page = client.get("/clips/melt0").text
    assert "melt0.mp4" in page
    assert "human" in page
    neighbours = re.findall(r'id="clip-(\w+)"', page)
    assert neighbours[:2] == ["melt1", "melt2"] or neighbours[:2] == ["melt2", "melt1"]
    assert "melt0" not in neighbours
    assert re.search(r"category id: <bdi>melt</bdi> → <bdi>freeze</bdi>", page)
    assert "grace" in page


def test_the_board_says_how_each_category_is(reading):
    page = reading.get("/categories?sort=name").text
    assert re.findall(r'<tr><td><a href="/category\?id=(\w+)"', page) == ["explode", "freeze", "melt"]
    assert page.count("<meter") == 3
    assert 'value="1.000"' in page


def test_a_category_shows_its_clips_that_look_least_like_it_first(catalog, client):
    acts.move(catalog, Selection.of(["freeze0"]), "melt", Author("grace"))
    assert re.findall(r'id="clip-(\w+)"', client.get("/category?id=melt").text)[0] == "freeze0"


def test_a_category_says_from_which_likeness_a_clip_is_taken_for_one_of_it(catalog, client):
    assert "from a likeness" not in client.get("/category?id=melt").text
    threshold = {"similarity": 0.66, "precision": 1.0, "recall": 0.8, "labels": 5}
    catalog.update("categories", [{"category_id": "melt", "thresholds": json.dumps(threshold)}])
    said = "from a likeness of 0.66: by its 5 labelled clips, 100 % of what is taken are right (precision), "
    assert said in client.get("/category?id=melt").text
    threshold |= {"precision": None}
    catalog.update("categories", [{"category_id": "melt", "thresholds": json.dumps(threshold)}])
    assert "from a likeness" not in client.get("/category?id=melt").text


def test_the_queue_begins_with_clips_without_a_category_and_offers_the_nearest(reading):
    page = reading.get("/review").text
    assert "no category" in page
    assert "1 of 12" in page
    guesses = re.findall(r'data-key="(\d)".*?<bdi>(\w+)</bdi>', page)
    assert [key for key, _ in guesses] == ["1", "2", "3"]
    assert {name for _, name in guesses} == {"melt", "explode", "freeze"}


def test_the_queue_goes_on_where_one_was_repeats_the_last_category_and_ends(client):
    first = client.get("/review").text
    form = re.search(r'<form method="post" action="/acts/clips/move">(.*?)</form>', first, re.S)[1]
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    answer = client.post("/acts/clips/move", data=fields)
    page = client.get(answer.headers["location"]).text
    assert "2 of 12" in page
    assert f"<bdi>{fields['category']}</bdi> again" in page
    assert 'data-key="u"' in page
    assert "end of the queue" in client.get("/review?at=12").text


def test_the_queue_holds_all_that_waits_and_not_the_first_hundreds(client):
    site = client.app.state.site
    few, times = site.standing(), 60
    figures = (np.tile(few.own, times), np.tile(few.nearest, (times, 1)), np.tile(few.cosines, (times, 1)))
    many = Standing(few.clip_ids * times, np.tile(few.groups, times), few.categories, *figures)
    site.standing = lambda: many
    assert "701 of 720" in client.get("/review?at=700&reviewed=true").text


def test_the_queue_passes_by_what_somebody_reviewed_meanwhile_and_shows_it_to_who_goes_back(catalog, client):
    def shown(address: str) -> str:
        return re.search(r"/clips/(\w+)/clip.mp4", client.get(address).text)[1]

    first, second, third = (shown(f"/review?at={at}") for at in range(3))
    acts.approve(catalog, Selection.of([first, second]), Author("grace"))
    assert shown("/review") == third
    assert "3 of 12" in client.get("/review?after=1").text
    assert shown("/review?at=1") == second
    assert shown("/review?reviewed=true") == first


def test_the_end_of_a_categorys_queue_looks_again_in_that_category(client):
    page = client.get("/review?category=melt&after=12").text
    assert 'href="/review?category=melt&amp;again=true"' in page


def test_history_tells_who_did_what_and_an_event_its_rows(catalog, client):
    acts.reject(catalog, Selection.of(["melt0"]), Author(MARKUP), reason=RTL)
    page = client.get("/history").text
    assert MARKUP not in page
    assert "reject" in page
    event = client.get("/event/1").text
    assert "accepted</bdi> → <bdi>rejected" in event
    assert "\u202e" not in event
    assert client.get("/event/2").status_code == 404
    assert "0 acts" in client.get("/history?actor=nobody").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/clips/nobody", 404),
        ("/clips/..%2f..%2fetc%2fpasswd", 404),
        ("/clips/" + "x" * 5000, 404),
        ("/category?id=nothing", 404),
        (f"/category?id={MARKUP}", 404),
        ("/category", 422),
        ("/categories?sort=;drop&group=%00", 200),
        ("/review?category=nothing", 404),
        ("/review?at=-5", 200),
        ("/review?at=x", 422),
        ("/review?at=99999999999999999999", 200),
        ("/review?last=%3Cb%3E", 200),
        ("/history?page_number=-3", 200),
        ("/history?page_number=x", 422),
        ("/event/1%27%20or%201=1", 404),
        ("/palette?typed=%00%ff", 200),
        ("/palette?typed=" + "m" * 30_000, 200),
        ("/?done=1%27--", 200),
    ],
)
def test_nonsense_is_a_sentence_and_never_a_fault(reading, path, status):
    answer = reading.get(path)
    assert answer.status_code == status
    assert MARKUP not in answer.text


def test_strangers_names_are_text_on_every_page(catalog, client):
    catalog.update("clips", [{"clip_id": "melt0", "caption": MARKUP, "licence": MARKUP, "source": RTL}])
    catalog.update("sources", [{"source_uri": "melt0.mp4", "label": MARKUP}])
    catalog.update("categories", [{"category_id": "melt", "name": MARKUP, "aliases": [MARKUP, RTL]}])
    for path in (
        "/",
        "/clips/melt0",
        "/categories",
        "/category?id=melt",
        "/review?category=melt",
        "/palette?typed=scr",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert MARKUP not in answer.text, path
        assert RTL not in re.sub(r'value="[^"]*"', "", answer.text), path


def test_the_palette_finds_names_and_aliases_by_a_few_letters_of_thousands(catalog):
    many = [(f"c{n}", f"effect number {n}", [f"alias {n}"]) for n in range(3000)]
    palette = Palette([*many, ("melt", "Melt down", ["liquefy"]), ("smelt", "smelt", [])])
    assert [m.name for m in palette.matching("melt")][:2] == ["Melt down", "smelt"]
    assert palette.matching("liq")[0].alias == "liquefy"
    assert palette.matching("mdn")[0].name == "Melt down"
    assert palette.matching("alias 2999")[0].category_id == "c2999"
    assert len(palette.matching("effect")) == 9
    assert palette.matching("  ") == []
    about.merge(catalog, ["melt"], "freeze", Author("ada"))
    assert [m.category_id for m in Palette.load(catalog).matching("melt")] == []
