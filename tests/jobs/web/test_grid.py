"""The grid: what matches, in order, counted, selected; and what strangers ask of it."""

import html
import json
import re
import shlex

import numpy as np
import pytest
from starlette.testclient import TestClient

from jobs.cli import main
from jobs.web.app import create_app
from jobs.web.view import PAGE
from pipeline.adapters import keep_adapters
from tests.jobs.web.conftest import HERE, site_for
from tests.pipeline.made import SPEC
from training.release import shipped_model

MARKUP = "<script>alert(1)</script>"


def shown(answer) -> list[str]:
    """The clips of a page, in order."""
    assert answer.status_code == 200, answer.text
    return re.findall(r'id="clip-([^"]+)"', answer.text)


def counts(answer, facet: str) -> dict[str, int]:
    """What a facet's links say."""
    links = re.findall(rf'id="facet-{facet}-\d+"[^>]*><bdi>(.*?)</bdi> <span>(\d+)</span>', answer.text)
    return {html.unescape(name): int(number) for name, number in links}


def test_all_clips_are_shown_the_newest_first(reading):
    clips = shown(reading.get("/"))
    assert len(clips) == 12
    assert (clips[0], clips[-1]) == ("melt2", "explode0")


def test_a_facet_is_counted_with_the_others_chosen_and_its_own_left_aside(reading):
    answer = reading.get("/", params=[("category", "melt"), ("category", "freeze"), ("split", "val")])
    assert set(shown(answer)) == {"melt2", "freeze2"}
    assert counts(answer, "category") == {"melt": 1, "freeze": 1, "explode": 1, "(none)": 1}
    assert counts(answer, "split") == {"train": 4, "val": 2}


def test_words_an_example_and_a_filter_find_clips_best_first(reading):
    assert set(shown(reading.get("/?q=melt"))) == {"melt0", "melt1", "melt2"}
    like = shown(reading.get("/?like=freeze1"))
    assert like[0] == "freeze1"
    assert set(like[:3]) == {"freeze0", "freeze1", "freeze2"}
    assert shown(reading.get("/?like=freeze1&q=melt"))[0].startswith("melt")
    assert set(shown(reading.get("/", params={"where": "motion < 0.025"}))) == {
        "explode0",
        "explode1",
        "explode2",
    }


def by_its_line(page, workdir, capsys) -> list[str]:
    """The clips that the command line of a page finds."""
    line = html.unescape(re.search(r"<code>(video2lora search .*?)</code>", page.text)[1])
    words = shlex.split(line)[1:]
    words[words.index("-w") + 1] = str(workdir)
    with pytest.raises(SystemExit):
        main([*words, "--json", "--set", f"clip.height={SPEC.height}", "--set", f"clip.width={SPEC.width}"])
    return [row["clip_id"] for row in json.loads(capsys.readouterr().out)]


def test_the_line_that_a_page_prints_finds_the_same_clips(made, reading, capsys):
    asked = [("category", "melt"), ("category", "(none)"), ("where", "motion > 0.03 or split = 'val'")]
    page = reading.get("/", params=asked)
    found = by_its_line(page, made.uri.removesuffix("/catalog"), capsys)
    assert set(found) == set(shown(page))
    assert len(found) == 6


@pytest.mark.parametrize("aspect", ["", "&aspect=effect", "&aspect=subject"])
def test_the_line_of_a_search_by_examples_finds_them_in_the_same_order(made, reading, capsys, aspect):
    page = reading.get(f"/?like=freeze1&like=melt0&unlike=explode0&split=train{aspect}")
    assert len(shown(page)) == 8
    assert by_its_line(page, made.uri.removesuffix("/catalog"), capsys) == shown(page)
    assert "unlike the one not wanted" in page.text


def test_a_selection_lends_its_effects_to_the_page_that_generates(reading):
    bar = reading.get("/?select=melt0&select=glow0").text
    assert 'href="/generate?reference=melt0&amp;reference=glow0">Use their effects' in bar
    form = reading.get("/generate?reference=melt0&reference=glow0").text
    assert 'value="melt0 glow0"' in form
    assert form.count("A clip that is chosen") == 2


def test_a_search_by_stored_adapters_is_offered_and_its_line_finds_the_same(
    catalog, client, tmp_path, capsys
):
    assert "alike to" not in client.get("/?like=melt0").text
    model = shipped_model().model_id
    refused = client.get("/", params={"like": "melt0", "model": model})
    assert refused.status_code == 422
    assert f"adapter fill --model {model}" in html.unescape(refused.text)
    vectors = np.random.default_rng(0).normal(size=(12, 64)).astype(np.float32)
    clips = [row["clip_id"] for row in catalog.scan("clips", ["clip_id"]).to_pylist()]
    keep_adapters(catalog, model, dict(zip(sorted(clips), vectors, strict=True)))
    link = re.search(r'href="([^"]+)">alike to', client.get("/?like=melt0&unlike=glow0&aspect=effect").text)
    page = client.get(html.unescape(link[1]))
    assert shown(page)[0] == "melt0"
    assert "its adapter is like" in page.text
    assert by_its_line(page, tmp_path, capsys) == shown(page)


def test_the_line_of_a_lasso_finds_the_same_clips(catalog, tmp_path, capsys):
    site = site_for(catalog, tmp_path)
    places = site.charts.drawn()
    client = TestClient(create_app(site), HERE, follow_redirects=False)
    page = client.get("/?lasso=-1.0_-1.0~0.5_-1.0~0.5_2.0~-1.0_2.0&split=train")
    assert set(shown(page)) == {
        clip
        for clip, (x, _) in zip(places.clip_ids, places.places, strict=True)
        if x < 0.5 and not clip.endswith("2")
    }
    assert shown(page)
    assert set(by_its_line(page, tmp_path, capsys)) == set(shown(page))


def test_examples_stand_on_the_page_and_can_be_taken_away_or_joined_by_others(reading):
    page = reading.get("/?like=freeze1&unlike=melt0&select=melt1&select=melt2").text
    links = {html.unescape(each) for each in re.findall(r'href="(/[^"]*)"', page)}
    assert "/?unlike=melt0" in links
    assert "/?like=freeze1&unlike=melt0&aspect=effect" in links
    assert "/?like=freeze1&like=melt1&like=melt2&unlike=melt0" in links
    assert "/?like=freeze1&unlike=melt0&unlike=glow0" in links
    assert 'name="unlike" value="melt0"' in page
    assert "/?like=freeze1&aspect=effect" in html.unescape(reading.get("/clips/freeze1").text)


def test_all_that_match_are_selected_but_for_those_left_out(reading):
    page = reading.get("/?category=melt&select=all&except=melt0").text
    assert "<b>2 clips</b> selected" in page
    ticked = re.findall(r'name="pick" value="(\w+)" checked', page)
    assert set(ticked) == {"melt1", "melt2"}


def test_pages_follow_each_other_and_a_page_beyond_the_last_is_the_last(catalog, tmp_path):
    rows = catalog.scan("clips", ["clip_id", "status"]).to_pylist()
    more = [rows[0] | {"clip_id": f"more{n:03}"} for n in range(PAGE)]
    catalog.upsert("clips", more)
    client = TestClient(create_app(site_for(catalog, tmp_path)), HERE, follow_redirects=False)
    first, second = shown(client.get("/")), shown(client.get("/?page=2"))
    assert (len(first), len(second)) == (PAGE, 12)
    assert not set(first) & set(second)
    answer = client.get("/?page=99&q=")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?page=2")


def test_what_somebody_else_writes_is_seen_at_once(catalog, client):
    assert len(shown(client.get("/?split=val"))) == 4
    catalog.update("clips", [{"clip_id": "melt0", "split": "val"}])
    assert len(shown(client.get("/?split=val"))) == 5


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("where=motion >", "expected a text in quotes"),
        ("where=1=1; DROP TABLE clips", "means nothing here"),
        ("where=category = 'metl'", "melt"),
        ("where=x) or (1=1", "no column"),
        ("where=caption contains 'a' or 1=1 --", "means nothing here"),
        ("like=nobody", "No clip has the id"),
        ("like=/etc/passwd", "No clip has the id"),
        ("page=x", "is no page"),
        ("sort=;", "not sorted by"),
    ],
)
def test_a_hostile_or_wrong_query_is_a_sentence(reading, query, says):
    answer = reading.get("/?" + query)
    assert answer.status_code == 422
    said = html.unescape(re.search(r'role="alert">(.*?)</p>', answer.text)[1])
    assert says in said
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "query",
    [
        f"q={MARKUP}",
        f"category={MARKUP}",
        f"category={'x' * 30_000}",
        "category=%00%ff%fe",
        "category=' or 1=1",
        "q=%F0%9F%94%A5 \u202eover",
        "select=all&select=x&except=%00",
        "unknown=1&&&=&%",
        "split=(none)&split=train&split=train",
    ],
)
def test_what_a_query_says_is_text_and_never_markup(reading, query):
    answer = reading.get("/?" + query)
    assert answer.status_code == 200
    assert MARKUP not in answer.text
    assert "\u202eover" not in re.sub(r'value="[^"]*"', "", answer.text)


def test_a_strangers_names_are_text_and_cut(catalog, client):
    names = {"melt0": MARKUP, "melt1": "مرحبا \u202e dlrow", "melt2": "🔥" * 400_000}
    catalog.update("clips", [{"clip_id": clip, "caption": name} for clip, name in names.items()])
    catalog.update("categories", [{"category_id": "melt", "name": "<b>melt</b>\n\x1b[31m"}])
    text = client.get("/").text
    assert MARKUP not in text
    assert "<b>melt" not in text
    assert "\x1b" not in text
    assert "مرحبا" in text
    assert len(text) < 200_000


def test_an_upload_that_is_no_video_is_a_sentence_that_names_it(reading):
    answer = reading.post("/example", files={"video": ("<b>a</b>.mp4", b"no video at all", "video/mp4")})
    assert answer.status_code == 422
    assert "&lt;b&gt;a&lt;/b&gt;.mp4" in answer.text
    assert "/tmp" not in answer.text
    assert reading.post("/example").status_code == 422


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("\u202egnp.exe", b""),
        ("🔥" * 1000, b"\x89PNG\r\n\x1a\n broken"),
        ("../../etc/passwd", b"#EXTM3U\nhttp://localhost/\n"),
        ("a\nb\x1b[31m.mp4", b"RIFF" * 9),
    ],
)
def test_an_upload_that_pretends_to_be_something_is_refused_whatever_it_is_called(reading, name, data):
    answer = reading.post("/example", files={"video": (name, data, "video/mp4")})
    assert answer.status_code == 422
    assert not {"\u202e", "\x1b"} & set(answer.text)
    assert len(answer.text) < 20_000


def test_an_example_that_was_never_uploaded_is_gone(reading):
    assert reading.get("/?like=example:0123").status_code == 410
