"""The pictures of the report, and that a stranger's words in it stay words."""

import io
import re

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.report.done import done_rows
from jobs.report.found import write_found
from jobs.report.gap import gap_rows
from jobs.report.page import write_page
from jobs.report.pictures import COLUMNS, MAX_ROWS, THUMB, contact_sheet, loss_curve
from jobs.report.sheets import MAX_SHEETS, draw_sheets
from pipeline.video.transcode import encode_video


def test_a_contact_sheet_shows_clips_as_rows_and_time_as_columns():
    ramp = np.linspace(0, 255, 12).astype(np.uint8)
    clip = np.broadcast_to(ramp[:, None, None, None], (12, 64, 96, 3))
    sheet = np.asarray(Image.open(io.BytesIO(contact_sheet([clip] * (MAX_ROWS + 2)))).convert("L"))
    assert sheet.shape == (MAX_ROWS * THUMB[1], COLUMNS * THUMB[0])
    row = sheet[THUMB[1] // 2, THUMB[0] // 2 :: THUMB[0]].astype(int)
    assert (np.diff(row) > 30).all()


def test_a_loss_curve_is_drawn_even_of_one_row(tmp_path):
    loss_curve([{"step": 1, "loss": 0.5}], tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").width > 300


def test_a_strangers_names_and_captions_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    video = encode_video(np.zeros((9, 64, 96, 3), np.uint8), 8)
    catalog.upsert("clips", [{"clip_id": "a", "category_id": evil, "status": "accepted", "caption": evil}])
    catalog.upsert("media", [{"clip_id": "a", "video": video, "poster": b"", "bytes": len(video)}])
    catalog.upsert("categories", [{"category_id": evil, "name": evil, "state": "active"}])
    catalog.upsert("sources", [{"source_uri": f"{evil}.mp4", "outcome": "rejected", "reason": evil}])
    report = {"command": "run", "run_id": "r", "counts": {}, "steps": [], "peak_rss_mb": 1, "seconds": 2}
    report["generated"] = [
        {
            "category": evil,
            "prompt": evil,
            "lora": "l",
            "reference": "r",
            "first_frame": "f",
            "video": "g",
            "seen": False,
            "polished": "p",
            "polish": 4,
        }
    ]
    written = write_page(tmp_path, catalog, report, [evil], [evil], name="ingest")
    assert written == tmp_path / "ingest.html"
    assert all(re.fullmatch(r"sheet-\w+\.jpg", file.name) for file in (tmp_path / "ingest_files").iterdir())
    page = written.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_refused_inputs_are_counted_whole_where_only_the_first_are_listed(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    rows = [{"source_uri": f"{n:03}.mp4", "outcome": "rejected", "reason": "No."} for n in range(203)]
    catalog.upsert("sources", rows)
    report = {"command": "ingest", "run_id": "r", "counts": {}, "steps": [], "peak_rss_mb": 1, "seconds": 2}
    page = write_page(tmp_path, catalog, report, [], []).read_text()
    assert "203 inputs that did not become a clip of their own; the first 200 are listed" in page
    assert page.count(".mp4</code>") == 200


def test_all_categories_of_a_large_catalogue_are_on_the_page_the_small_ones_folded(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    video = encode_video(np.full((9, 64, 96, 3), 99, np.uint8), 8)
    poster = io.BytesIO()
    Image.new("RGB", (96, 64), "red").save(poster, "JPEG")
    names = [f"effect{n:03}" for n in range(MAX_SHEETS + 140)]
    clips = [{"clip_id": name, "category_id": name, "status": "accepted"} for name in names]
    catalog.upsert("clips", clips)
    media = {"video": video, "poster": poster.getvalue(), "bytes": len(video)}
    catalog.upsert("media", [{"clip_id": name} | media for name in names])
    report = {"command": "run", "run_id": "r", "counts": {}, "steps": [], "peak_rss_mb": 1, "seconds": 2}
    page = write_page(tmp_path, catalog, report, [], []).read_text()
    shown, folded = page.split("<details><summary>140 more categories")
    assert all(f"{name} <small>" in shown for name in names[:MAX_SHEETS])
    assert all(f"{name} <small>" in folded for name in names[MAX_SHEETS:])
    pictures = re.findall(r'<img src="([^"]+)"', page)
    assert len(pictures) == len(names)
    assert all((tmp_path / name).is_file() for name in pictures)


def test_a_second_page_keeps_the_pictures_of_the_same_clips_and_drops_those_of_others(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    video = encode_video(np.zeros((9, 64, 96, 3), np.uint8), 8)
    rows = [{"clip_id": each, "category_id": each, "status": "accepted"} for each in "ab"]
    catalog.upsert("clips", rows)
    catalog.upsert("media", [{"clip_id": each, "video": video, "bytes": len(video)} for each in "ab"])
    before = {sheet.name: sheet.image for sheet in draw_sheets(catalog, tmp_path)[0]}
    times = {image: (tmp_path.parent / image).stat().st_mtime_ns for image in before.values()}
    catalog.update("clips", [{"clip_id": "b", "status": "rejected"}])
    assert [sheet.image for sheet in draw_sheets(catalog, tmp_path)[0]] == [before["a"]]
    assert (tmp_path.parent / before["a"]).stat().st_mtime_ns == times[before["a"]]
    assert not (tmp_path.parent / before["b"]).exists()


def test_the_gap_is_told_with_its_interval_and_one_pair_has_none():
    seen = {"gap_seen": 0.123, "gap_seen_low": 0.1, "gap_seen_high": 0.2, "pairs_seen": 8}
    unseen = {"gap_unseen": 0.05, "gap_unseen_low": 0.05, "gap_unseen_high": 0.05, "pairs_unseen": 1}
    assert list(gap_rows({})) == []
    assert list(gap_rows(seen | unseen)) == [
        ("transfer gap, seen categories", "12.30 % (10.00 to 20.00), of 8 held-out pairs"),
        ("transfer gap, unseen categories", "5.00 %, of one held-out pair: too few for an interval"),
    ]


def test_a_page_says_what_this_run_did_and_what_stood_before(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    report = {
        "command": "run",
        "run_id": "r",
        "counts": {"found": 11, "decoded": 2, "embedded": 1, "encoded": 0},
        "stood": {"embedded": 7, "encoded": 8},
        "steps": [],
        "peak_rss_mb": 1,
        "seconds": 2,
    }
    page = write_page(tmp_path, catalog, report, [], []).read_text()
    rows = re.findall(r'<tr><td>([^<]+)</td><td class="n">([^<]+)</td><td class="n">([^<]+)</td></tr>', page)
    assert ("inputs", "2 decoded", "9 known") in rows
    assert ("clips embedded", "1", "7") in rows
    assert ("clips encoded", "0", "8") in rows
    trained = report | {"training": {"steps": 60, "resumed_from": 20}, "generated": [{"kept": True}, {}]}
    assert list(done_rows(trained))[-2:] == [("training steps", "40", "20"), ("clips generated", "1", "1")]


def test_what_was_found_plays_on_a_page_that_links_to_its_files(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    video = encode_video(np.zeros((9, 64, 96, 3), np.uint8), 8)
    catalog.upsert("media", [{"clip_id": "a", "video": video, "poster": b"jpeg", "bytes": len(video)}])
    source = tmp_path / "<b>a.mp4"
    source.write_bytes(b"")
    row = {"clip_id": "a", "category": "melt", "caption": "<i>x", "source_uri": str(source), "score": 0.5}
    gone = row | {"clip_id": "b", "source_uri": "s3://bucket/b.mp4", "score": None}
    page = write_found(tmp_path, catalog, [row, gone], "melt <now>").read_text()
    assert "<b>" not in page and "<i>" not in page and "<now>" not in page
    assert (tmp_path / "search_files" / "a.mp4").read_bytes() == video
    assert 'src="search_files/a.mp4" poster="search_files/a.jpg"' in page
    assert source.as_uri() in page and "s3://bucket/b.mp4" in page
    again = write_found(tmp_path, catalog, [], "nothing").read_text()
    assert "No clip matches." in again
    assert not list((tmp_path / "search_files").iterdir())
