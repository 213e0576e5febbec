"""The page that asks for clips: seeds beside strengths, and what was wrong with the form."""

import pytest

from catalog.requests import unfinished
from tests.jobs.web.asked import CLIPS, ended
from tests.jobs.web.conftest import serving


def test_seeds_and_strengths_make_a_grid_that_is_watched_on_one_page(asking, desk):
    form = {**CLIPS, "prompt": "a mug", "seeds": "0-1, 5", "strengths": "-1, 1", "steps": "1"}
    answer = asking.post("/generate", data=form, files={"reference": ("", b"")})
    assert answer.status_code == 303, answer.text
    assert len(unfinished(desk.catalog)) == 6
    page = asking.get(answer.headers["location"]).text
    assert page.count('hx-trigger="every 1s"') == 6
    assert "seed 5" in page
    assert page.count("poster.jpg") == 2, "whose effect, and what it happens to"
    made, *others = asking.get("/api/requests").json()["requests"]
    for request in others:
        asking.post(f"/api/requests/{request['id']}/cancel")
    with serving(desk):
        assert ended(asking, made["id"])["state"] == "done"
    page = asking.get(answer.headers["location"]).text
    assert "every 1s" not in page
    assert (page.count("<video"), page.count("Cancelled.")) == (1, 5)
    again = asking.get(f"/generate?again={made['id']}").text
    assert 'value="melt0"' in again
    assert "a mug" in again
    assert asking.get("/requests").text.count("Cancelled.") == 5
    assert asking.get("/requests?group=nothing").status_code == 404


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"seeds": "x"}, "Seeds are whole numbers"),
        ({"seeds": "3-1"}, "no span"),
        ({"seeds": "0-99"}, "no span"),
        ({"seeds": "0-7", "strengths": "1,2,3"}, "more than 16 clips"),
        ({"strengths": "much"}, "Strengths are numbers"),
        ({"strengths": "nan"}, "finite number"),
        ({"strengths": "11"}, "the largest is 10"),
        ({"reference_clip": "melt0 nothing"}, "is no clip_id"),
        ({"reference_clip": "melt0 glow0", "weights": "1"}, "of 2 references"),
        ({"weights": "much"}, "not a number"),
    ],
)
def test_a_form_that_cannot_be_meant_is_shown_again_with_a_sentence(refusing, said, sentence):
    answer = refusing.post("/generate", data={**CLIPS, "prompt": "kept", **said}, files={"x": ("", b"")})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "kept" in answer.text
