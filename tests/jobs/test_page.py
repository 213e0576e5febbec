"""The pictures of the report, and that a stranger's words in it stay words."""

import io

import numpy as np
from PIL import Image

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from jobs.page import write_page
from jobs.pictures import COLUMNS, MAX_ROWS, THUMB, contact_sheet, loss_curve
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
    report = {"command": "run", "run_id": "r", "counts": {}, "steps": [], "peak_rss_mb": 1}
    report["generated"] = [
        {
            "category": evil,
            "prompt": evil,
            "lora": "l",
            "reference": "r",
            "first_frame": "f",
            "generated": "g",
        }
    ]
    written = write_page(tmp_path, catalog, report, [evil], [evil], name="ingest")
    assert written == tmp_path / "ingest.html"
    assert [file.name for file in (tmp_path / "ingest_files").iterdir()] == ["category-000.jpg"]
    page = written.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_refused_inputs_are_counted_whole_where_only_the_first_are_listed(tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", ClipSpec(num_frames=9, height=64, width=96))
    rows = [{"source_uri": f"{n:03}.mp4", "outcome": "rejected", "reason": "No."} for n in range(203)]
    catalog.upsert("sources", rows)
    report = {"command": "ingest", "run_id": "r", "counts": {}, "steps": [], "peak_rss_mb": 1}
    page = write_page(tmp_path, catalog, report, [], []).read_text()
    assert "203 inputs that did not become a clip of their own; the first 200 are listed" in page
    assert page.count(".mp4</code>") == 200
