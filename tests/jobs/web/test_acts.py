"""Acts from pages: on selections, clips, categories; signed, undone, refused where others were first."""

import html
import re

import pytest

from catalog.curation import Author, Selection
from catalog.curation import clips as acts
from catalog.events import history, last_event

MARKUP = "<script>alert(1)</script>"


def rows(catalog, *columns, **where) -> dict[str, tuple]:
    table = catalog.scan("clips", ["clip_id", *columns]).to_pylist()
    return {row["clip_id"]: tuple(row[name] for name in columns) for row in table}


def follow(client, answer):
    assert answer.status_code == 303, answer.text
    return client.get(answer.headers["location"])


def alert(answer) -> str:
    return html.unescape(re.search(r'role="alert">(.*?)</p>', answer.text)[1])


def test_clips_that_are_ticked_are_moved_signed_and_put_back_by_undo(catalog, client):
    before = rows(catalog, "category_id", "category_source")
    sent = {
        "view": "/?select=melt0&select=melt1",
        "category": "Freeze it",
        "as_of": last_event(catalog),
        "expected": "2",
    }
    answer = client.post("/acts/clips/move", data=sent)
    page = follow(client, answer)
    assert rows(catalog, "category_id", "category_source")["melt0"] == ("freeze", "human")
    event = history(catalog)[0]
    assert (event.act, event.actor, event.changed["clips"]) == ("move", "ada", 2)
    assert f"Event {event.event_id}: move, 2 clips" in page.text
    page = follow(client, client.post("/undo", data={"event": event.event_id, "back": "/?q=melt"}))
    assert "Event 2: undo of event 1, 2 clips" in page.text
    assert rows(catalog, "category_id", "category_source") == before
    page = follow(client, client.post("/undo", data={"event": "2"}))
    assert "Event 3: redo of event 2, 2 clips" in page.text
    page = follow(client, client.post("/undo", data={"event": "3"}))
    assert "Event 4: undo of event 3, 2 clips" in page.text


def test_all_that_match_are_acted_on_beyond_the_page_and_with_exceptions(catalog, client):
    sent = {"view": "/?split=train&split=val&category=melt&select=all", "expected": "3"}
    assert client.post("/acts/clips/approve", data=sent).status_code == 303
    reviewed = rows(catalog, "reviewed_by")
    assert {clip for clip, (by,) in reviewed.items() if by} == {"melt0", "melt1", "melt2"}
    sent = {"view": "/?q=freeze&select=all&except=freeze1", "expected": "2", "reason": MARKUP}
    assert client.post("/acts/clips/reject", data=sent).status_code == 303
    status = rows(catalog, "status", "reason")
    assert {clip for clip, (said, _) in status.items() if said == "rejected"} == {"freeze0", "freeze2"}
    assert MARKUP not in client.get("/clips/freeze0").text


def test_approving_all_that_match_leaves_what_was_rejected_and_says_so(catalog, client):
    acts.reject(catalog, Selection.of(["melt1"]), Author("grace"))
    catalog.update("clips", [{"clip_id": "melt2", "status": "duplicate", "duplicate_of": "melt0"}])
    for asked in ("category=melt", "category=melt&except=freeze0"):
        assert "2 of them rejected or copies" in client.get(f"/?{asked}&select=all").text
    sent = {"view": "/?category=melt&select=all", "expected": "3"}
    page = follow(client, client.post("/acts/clips/approve", data=sent)).text
    assert "approve, 1 clip. 2 clips that were rejected or copies stay so" in page
    assert {"melt1": ("rejected",), "melt2": ("duplicate",)}.items() <= rows(catalog, "status").items()
    # Found by examples, or all but some, it is the same; the ones that are asked for or ticked are meant.
    sent = {"view": "/?like=melt0&select=all&except=freeze0", "expected": "11"}
    assert client.post("/acts/clips/approve", data=sent).status_code == 303
    assert rows(catalog, "status")["melt1"] == ("rejected",)
    page = client.get("/?category=melt&status=rejected&select=all").text
    assert "1 clip</b> selected</span>" in page
    sent = {"view": "/?category=melt&status=rejected&select=all", "expected": "1"}
    assert client.post("/acts/clips/approve", data=sent).status_code == 303
    assert client.post("/acts/clips/approve", data={"view": "/?select=melt2"}).status_code == 303
    assert {said for (said,) in rows(catalog, "status").values()} == {"accepted"}


def test_an_act_on_a_clip_that_somebody_else_changed_meanwhile_is_shown_and_not_carried_out(catalog, client):
    seen = last_event(catalog)
    acts.move(catalog, Selection.of(["melt0"]), "explode", Author("grace"))
    answer = client.post(
        "/acts/clips/move", data={"view": "/?select=melt0", "category": "freeze", "as_of": seen}
    )
    assert answer.status_code == 409
    assert "grace" in alert(answer)
    assert rows(catalog, "category_id")["melt0"] == ("explode",)


def test_two_tabs_of_one_person_do_not_overwrite_each_other(catalog, client):
    first, second = (
        dict(re.findall(r'name="(\w+)" value="([^"]*)"', client.get("/review?at=0").text)) for _ in range(2)
    )
    clip = re.search(r"select=(\w+)", first["view"])[1]
    assert client.post("/acts/clips/move", data=first | {"category": "melt"}).status_code == 303
    answer = client.post("/acts/clips/move", data=second | {"category": "freeze"})
    assert answer.status_code == 409
    assert "(move, ada)" in alert(answer)
    assert rows(catalog, "category_id")[clip] == ("melt",)


def test_a_selection_that_counts_otherwise_by_now_is_refused(catalog, client):
    sent = {"view": "/?category=melt&select=all", "expected": "2"}
    answer = client.post("/acts/clips/approve", data=sent)
    assert answer.status_code == 409
    assert "3 clips match now, and 2 were expected" in alert(answer)
    assert history(catalog) == []


@pytest.mark.parametrize(
    ("path", "sent", "status", "says"),
    [
        ("clips/explode", {"view": "/?select=melt0"}, 422, "no act 'explode'"),
        ("clips/move", {"view": "/?select=nobody", "category": "melt"}, 404, "nobody"),
        ("clips/move", {"view": "/?select=melt0", "category": "metl"}, 404, "melt"),
        ("clips/move", {"view": "/?select=melt0", "category": "!-" * 500, "new": "1"}, 422, ""),
        ("clips/move", {"category": "melt"}, 409, "which clips"),
        ("clips/split", {"view": "/?select=melt0", "split": "test"}, 422, ""),
        ("category/rename", {"id": "melt", "name": "freeze"}, 422, "freeze"),
        ("category/rename", {"id": "nothing", "name": "x"}, 404, "nothing"),
        ("category/merge", {"id": "melt", "into": "melt"}, 422, "circle"),
        ("category/rename", {"id": "melt", "name": "x" * 1_000_000}, 422, ""),
        ("category/destroy", {"id": "melt"}, 422, "no act"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(catalog, client, path, sent, status, says):
    answer = client.post(f"/acts/{path}", data=sent)
    assert answer.status_code == status, alert(answer)
    assert says in alert(answer)
    assert history(catalog) == []


def test_what_is_refused_leads_back_to_the_page_that_asked_and_to_no_other_site(client):
    def refused(referer: str) -> str:
        return client.post("/undo", data={"event": "12"}, headers={"referer": referer}).text

    page = refused("http://localhost/?category=melt&select=all&done=3")
    assert 'href="/?category=melt&amp;select=all"' in page
    for elsewhere in ("http://evil.example/x", "http://localhost//evil.example", "nonsense"):
        assert "evil" not in refused(elsewhere)
        assert "nonsense" not in refused(elsewhere)


def test_an_unknown_event_cannot_be_undone(client):
    assert client.post("/undo", data={"event": "12"}).status_code == 404
    assert client.post("/undo", data={"event": MARKUP}).status_code == 404


def test_a_category_is_renamed_merged_held_out_and_back_from_its_page(catalog, client):
    follow(
        client,
        client.post(
            "/acts/category/rename", data={"id": "melt", "name": "Melt down", "back": "/category?id=melt"}
        ),
    )
    page = client.get("/category?id=melt").text
    assert "Melt down" in page
    assert "also called" in page
    client.post("/acts/category/merge", data={"id": "melt", "into": "freeze"})
    assert {row for row, (c,) in rows(catalog, "category_id").items() if c == "freeze"} >= {
        "melt0",
        "freeze0",
    }
    client.post("/acts/category/hold-out", data={"id": "freeze"})
    assert rows(catalog, "split")["melt0"] == ("ood",)
    assert "held out" in client.get("/category?id=freeze").text
    for _ in range(3):
        latest = next(e for e in history(catalog) if e.act != "undo" and not e.undone_by)
        assert client.post("/undo", data={"event": latest.event_id}).status_code == 303
    assert rows(catalog, "category_id", "split")["melt0"] == ("melt", "train")


def test_a_new_category_is_made_only_where_that_is_asked_for(catalog, client):
    sent = {"view": "/?select=glow0", "category": "🔥 flame"}
    answer = client.post("/acts/clips/move", data=sent)
    assert answer.status_code == 404
    assert "tick “make it if it is new”" in alert(answer)
    assert client.post("/acts/clips/move", data=sent | {"new": "1"}).status_code == 303
    assert "🔥 flame" in client.get("/clips/glow0").text
    [event] = history(catalog)
    assert client.post("/undo", data={"event": event.event_id}).status_code == 303
    assert "🔥 flame" not in client.get("/categories").text


def test_a_new_category_is_not_made_for_clips_that_somebody_else_changed_meanwhile(catalog, client):
    seen = last_event(catalog)
    acts.reject(catalog, Selection.of(["glow0"]), Author("grace"))
    sent = {"view": "/?select=glow0", "category": "flame", "new": "1", "as_of": seen}
    assert client.post("/acts/clips/move", data=sent).status_code == 409
    assert "flame" not in client.get("/categories").text


def test_letters_that_were_typed_mean_the_likeliest_category(catalog, client):
    assert (
        client.post("/acts/clips/move", data={"view": "/?select=glow0", "typed": "expl"}).status_code == 303
    )
    assert rows(catalog, "category_id")["glow0"] == ("explode",)


def test_what_is_selected_is_acted_on_by_forms_that_the_grid_shows_to_curators(client):
    page = client.get("/?category=melt&select=melt0").text
    form = re.search(r'<form method="post" action="/acts/clips/move".*?</form>', page, re.S)[0]
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form))
    assert fields == {
        "view": "/?category=melt&amp;select=melt0",
        "expected": "1",
        "as_of": "0",
        "back": "/?category=melt",
    }


def test_a_claim_of_a_data_set_is_shown_and_decided_on_the_page_of_its_clip(catalog, client):
    acts.set_licence(catalog, Selection.of(["melt0", "melt1"]), "cc0", Author("ann"))
    claimed = [{"clip_id": clip, "claimed_licence": "proprietary"} for clip in ("melt0", "melt1")]
    catalog.update("clips", claimed)
    assert "2 clips wait for a person" in client.get("/licences").text
    for clip, label, stands in (
        ("melt0", "Leave it", "cc0"),
        ("melt1", "Follow the data set", "proprietary"),
    ):
        page = client.get(f"/clips/{clip}").text
        assert "<bdi>proprietary</bdi></b> by now; a person said <b><bdi>cc0</bdi>" in page
        form = next(each for each in re.findall(r"<form.*?</form>", page, re.S) if label in each)
        sent = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        assert client.post("/acts/clips/licence", data=sent).status_code == 303
        row = catalog.get("clips", [clip], ["licence", "claimed_licence"]).to_pylist()[0]
        assert row == {"licence": stands, "claimed_licence": None}
