"""What only a browser shows: clips that play, one scrubber, keys, selection, accessibility."""

import re
import shutil
import time
from datetime import timedelta

import pytest

from catalog.curation import Author, Selection
from catalog.curation.categories import add
from catalog.curation.clips import move
from catalog.requests import beat, cancel, claim, fail, finish, request_id_of, submit
from catalog.store import Catalog
from pipeline.serving.asked import Asked
from pipeline.video.transcode import encode_poster, encode_video
from tests.jobs.web.browser import chromium, served
from tests.jobs.web.conftest import desk_for, serving, site_for
from tests.pipeline.made import frames
from training.files import write_atomically

PAGES = (
    *(
        "/",
        "/?category=melt&select=all",
        "/?where=motion",
        "/?like=freeze1&unlike=melt0&aspect=subject&select=melt1",
        "/nothing",
        "/enter",
        "/clips/melt0",
        "/categories",
    ),
    *(
        "/category?id=melt",
        "/review",
        "/history",
        "/duplicates",
        "/snapshots?one=now",
        "/licences?exclude=cc0",
    ),
    *("/runs", "/map"),
    *("/generate?reference=melt0&first_frame=glow0", "/requests", "/requests?group=g", "/api"),
    *(f"/requests/{request_id_of('ada', key)}" for key in ("done", "failed", "running")),
)


@pytest.fixture(scope="module")
def address(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(made.uri, folder / "catalog")
    catalog = Catalog.open(folder / "catalog")
    ask_for_some(catalog, folder / "requests")
    with served(site_for(catalog, folder)) as address:
        yield address


def ask_for_some(catalog: Catalog, folder) -> None:
    """Requests in every state, a row of them for one strength, as their owner sees them."""
    shown = {"kind": "clip", "name": "melt0"}
    for seed, key in enumerate(("done", "failed", "running", "queued", "cancelled")):
        asked = Asked(reference=shown, first_frame=shown, prompt=f"a mug, {key}", seed=seed, group="g")
        request, _ = submit(catalog, "ada", asked.model_dump(mode="json"), key)
        if key in ("queued", "cancelled"):
            continue
        claimed = claim(catalog, request.request_id, "w", timedelta(days=1))
        if key == "failed":
            fail(catalog, claimed, "The disk is full.")
        elif key == "done":
            write_atomically(folder / "done.mp4", encode_video(frames("explode", 1), 8))
            write_atomically(folder / "done.jpg", encode_poster(frames("explode", 1)[24]))
            write_atomically(folder / "done.lora.safetensors", b"")
            files = {"video": "done.mp4", "lora": "done.lora.safetensors", "poster": "done.jpg"}
            finish(catalog, claimed, files | {"notes": ["The reference stands still."], "model": "m"})
        else:
            preview = folder / f"{request.request_id}-1.preview.jpg"
            write_atomically(preview, encode_poster(frames("glow", 1)[24]))
            beat(catalog, claimed, 21, 50)
    cancel(catalog, request.request_id)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser, address):
    context = browser.new_context(base_url=address, viewport={"width": 1200, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(20_000)
    wrong: list[str] = []
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None
    )
    yield tab
    context.close()
    assert wrong == []


def until(tab, said: str, seconds: float = 20) -> None:
    """Wait for an expression to hold; playwright's own way to is refused by the pages' security policy."""
    patient_until = time.monotonic() + seconds
    while not tab.evaluate(said):
        assert time.monotonic() < patient_until, f"never true: {said}"
        time.sleep(0.05)


def test_a_clip_plays_while_the_pointer_is_on_it_and_is_freed_after(tab):
    tab.goto("/")
    tab.hover("#clip-melt0 .screen")
    until(tab, "document.querySelector('#clip-melt0 video')?.currentTime > 0")
    tab.hover(".top .home")
    until(tab, "!document.querySelector('video')")


def test_who_wants_no_motion_gets_none(browser, address):
    tab = browser.new_context(base_url=address, reduced_motion="reduce").new_page()
    tab.goto("/")
    tab.hover("#clip-melt0 .screen")
    tab.wait_for_timeout(600)
    assert tab.locator("video").count() == 0


def test_one_scrubber_shows_the_same_moment_of_all_clips(tab):
    tab.goto("/")
    tab.locator("#scrub").fill("24")
    places = "[...document.querySelectorAll('#cards .screen.scrubbed')].map(s => s.style.backgroundPosition)"
    until(tab, f"{places}.length > 3")
    assert set(tab.evaluate(places)) == {"100% 100%"}
    assert tab.locator("#moment").text_content() == "100 %"
    tab.locator("#scrub").fill("0")
    until(tab, "document.querySelectorAll('.scrubbed').length == 0")


def test_the_selection_is_in_the_address_and_survives_a_reload(tab):
    tab.goto("/?split=val")
    tab.check("#clip-melt2 input")
    tab.wait_for_url(re.compile("select=melt2"))
    tab.click("text=Select all 4")
    tab.wait_for_url(re.compile("select=all"))
    tab.uncheck("#clip-freeze2 input")
    tab.wait_for_url(re.compile("except=freeze2"))
    tab.reload()
    assert tab.locator("#bar").inner_text().startswith("3 clips selected")
    assert not tab.is_checked("#clip-freeze2 input")


def test_what_opens_beneath_a_button_stays_within_the_window(tab):
    tab.goto("/?select=melt0&select=melt1")
    for width in (1400, 1150, 1000, 800):
        tab.set_viewport_size({"width": width, "height": 900})
        tab.goto("/?select=melt0&select=melt1")
        for opened in tab.locator("#bar .act > summary").all():
            opened.click()
            tab.wait_for_timeout(50)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            opened.click()


def test_the_grid_is_walked_by_keyboard(tab):
    tab.goto("/")
    faces = "[...document.querySelectorAll('.face')].indexOf(document.activeElement)"
    tab.locator(".face").first.focus()
    tab.keyboard.press("ArrowRight")
    assert tab.evaluate(faces) == 1
    tab.keyboard.press("ArrowDown")
    assert tab.evaluate(faces) > 2
    tab.keyboard.press("x")
    tab.wait_for_url(re.compile("select="))
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.name") == "q"


def test_the_queue_is_worked_off_by_keyboard_and_put_back(browser, catalog, tmp_path):
    with served(site_for(catalog, tmp_path)) as address:
        tab = browser.new_context(base_url=address).new_page()
        tab.goto("/review?category=melt")
        tab.keyboard.press("2")
        tab.wait_for_selector("text=Event 1:")
        assert catalog.scan("clips", ["reviewed_by"])["reviewed_by"].to_pylist().count("ada") == 1
        tab.keyboard.press(".")
        tab.wait_for_selector("text=Event 2:")
        tab.keyboard.press("u")
        tab.wait_for_selector("text=Event 3:")
        tab.keyboard.press("c")
        tab.keyboard.type("expl")
        tab.wait_for_selector("#matches button[value=explode]")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("text=Event 4:")
        found = catalog.scan("clips", ["clip_id", "category_id", "reviewed_by"]).to_pylist()
        assert "done" not in tab.url
        tab.reload()
        assert tab.locator(".done").count() == 0
        by_ada = {row["category_id"] for row in found if row["reviewed_by"] == "ada"}
        assert "explode" in by_ada
        assert len([row for row in found if row["reviewed_by"]]) == 2


def test_a_lasso_leads_to_the_grid_of_what_it_caught(tab):
    tab.goto("/map")
    until(tab, "document.getElementById('map-said').textContent.startsWith('12 clips')", 60)
    box = tab.locator("#map").bounding_box()
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.02)]
    corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    tab.mouse.move(*corners[0])
    tab.mouse.down()
    for x, y in corners[1:]:
        tab.mouse.move(x, y)
    tab.mouse.up()
    tab.wait_for_url(re.compile("lasso="))
    assert tab.locator(".total").inner_text().startswith("12 clips")


def test_the_legend_of_the_map_names_its_colours_and_shows_one_of_them_alone(tab):
    tab.goto("/map")
    until(tab, "document.querySelectorAll('#map-legend button').length == 4", 60)
    said = tab.locator("#map-legend").inner_text().split()
    assert sorted(said) == sorted(["no", "category", "melt", "explode", "freeze", *"3333"])
    tab.click("#map-legend button:has-text('melt')")
    assert tab.input_value("#map-category") == tab.evaluate("String(data.names.indexOf('melt'))")
    assert tab.get_attribute("#map-legend button:has-text('melt')", "aria-pressed") == "true"
    tab.click("#map-legend button:has-text('melt')")
    assert tab.input_value("#map-category") == ""


def test_two_copies_are_wiped_over_each_other_and_subtracted(browser, catalog, tmp_path):
    rows = [{"clip_id": clip, "duplicate_group": "melt0"} for clip in ("melt0", "melt1")]
    catalog.update("clips", rows)
    with served(site_for(catalog, tmp_path)) as address:
        tab = browser.new_context(base_url=address).new_page()
        tab.goto("/duplicates")
        tab.locator("#wipe").fill("80")
        assert (
            tab.evaluate("getComputedStyle(document.querySelector('.over')).clipPath")
            == "inset(0px 0px 0px 80%)"
        )
        tab.keyboard.press("v")
        until(tab, "getComputedStyle(document.querySelector('.over')).mixBlendMode == 'difference'")
        tab.keyboard.press("d")
        tab.wait_for_selector("text=Event 1:")
        assert "No two clips show the same" in tab.locator("main").inner_text()


def test_a_clip_is_asked_for_and_seen_to_appear(browser, catalog, tmp_path):
    with served(site_for(catalog, tmp_path, desk=(desk := desk_for(catalog, tmp_path)))) as address:
        tab = browser.new_context(base_url=address).new_page()
        tab.goto("/clips/melt0")
        tab.click("text=Use its effect")
        assert tab.input_value("input[name=reference_clip]") == "melt0"
        tab.fill("input[name=first_frame_clip]", "glow0")
        tab.fill("textarea", "a red mug")
        tab.fill("input[name=seeds]", "0-1")
        tab.keyboard.press("Enter")
        tab.wait_for_url(re.compile("group="))
        assert tab.locator(".now[data-state=queued]").count() == 2
        with serving(desk):
            until(tab, "document.querySelectorAll('video').length == 2", 120)
        until(tab, "[...document.querySelectorAll('video')].every((each) => each.videoWidth == 96)")
        tab.click("text=Open >> nth=0")
        with tab.expect_download() as download:
            tab.click("text=Use this in ComfyUI")
        assert download.value.suggested_filename.endswith(".safetensors")
        tab.click("text=Again, with other values")
        assert tab.input_value("textarea") == "a red mug"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_kept_out(browser, address, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": 1200, "height": 900}
    )
    tab = context.new_page()
    serious = {}
    for path in PAGES:
        tab.goto(path)
        found = Axe().run(tab).response["violations"]
        bad = [
            (v["id"], v["nodes"][0]["html"][:200]) for v in found if v["impact"] in ("serious", "critical")
        ]
        if bad:
            serious[path] = bad
    context.close()
    assert serious == {}


def test_on_a_phone_the_pages_are_one_row_of_links(browser, address):
    tab = browser.new_context(base_url=address, viewport={"width": 400, "height": 800}).new_page()
    tab.goto("/map")
    tops = "new Set([...document.querySelectorAll('.top nav a')].map(a => Math.round(a.offsetTop))).size"
    assert tab.evaluate(tops) == 1
    tab.locator(".top nav a", has_text="History").click()
    tab.wait_for_url(re.compile("/history"))


def test_more_and_less_like_a_clip_are_a_key_or_a_click_away(tab):
    tab.goto("/")
    tab.hover("#clip-melt0")
    tab.click("#clip-melt0 .alike a:first-child")
    tab.wait_for_url(re.compile(r"\?like=melt0$"))
    tab.hover("#clip-glow1")
    tab.click("#clip-glow1 .alike a:last-child")
    tab.wait_for_url(re.compile(r"like=melt0&unlike=glow1"))
    tab.click("text=same effect, other subject")
    tab.wait_for_url(re.compile("aspect=effect"))
    tab.click("[aria-label=Examples] .chip")
    tab.wait_for_url(re.compile(r"\?unlike=glow1&aspect=effect"))


def test_on_a_narrow_screen_no_word_is_broken_into_letters(browser, catalog, tmp_path):
    add(catalog, "a name of many words 🔍 for a category", Author("ann"))
    move(
        catalog,
        Selection.matching("clip_id is not null"),
        "a name of many words 🔍 for a category",
        Author("ann"),
    )
    with served(site_for(catalog, tmp_path)) as address:
        tab = browser.new_context(base_url=address, viewport={"width": 400, "height": 800}).new_page()
        tab.goto("/history")
        assert tab.locator("button.plain").first.bounding_box()["height"] < 40
        assert "12 clips" in tab.locator("tbody").inner_text()
        tab.goto("/?status=accepted")
        tab.locator(".filters > summary").click()
        assert tab.locator("#facet-category-1 span").bounding_box()["height"] < 30
        for path in ("/history", "/map"):
            tab.goto(path)
            if path == "/map":
                tab.wait_for_selector("#map-legend button", timeout=60_000)
            assert tab.evaluate("document.documentElement.scrollWidth") <= 400, path


@pytest.mark.parametrize("width", [400, 1200, 2000])
def test_no_page_is_wider_than_its_window(browser, address, width):
    context = browser.new_context(base_url=address, viewport={"width": width, "height": 900})
    tab = context.new_page()
    for path in PAGES:
        tab.goto(path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()
