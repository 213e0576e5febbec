"""Real files that nobody here made: what is odd, damaged or hostile ends as a row with a reason."""

from collections import Counter

import pytest
from lancedb.expr import col

from catalog.clip_spec import ClipSpec
from catalog.store import Catalog
from catalog.vocabulary import Outcome
from pipeline.ingest import ingest
from pipeline.sources.survey import discover
from pipeline.video.transcode import read_clip

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]
SPEC = ClipSpec(num_frames=49, fps=8, height=96, width=160)


def test_every_odd_file_of_the_corpus_ends_as_one_row(corpus, tmp_path):
    files = [path for path in (corpus / "formats").iterdir() if path.is_file()]
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    sources = discover(corpus / "formats")
    assert {source.uri for source in sources} == {str(path.resolve()) for path in files}
    report = ingest(sources, catalog)
    assert catalog.count("sources") == len(files)
    assert report.counts["found"] == len(files) == sum(report.counts[name] for name in Outcome)
    # About half of the files hold eight frames that any decoder could show.
    assert report.counts["accepted"] > 0.4 * len(files)
    assert report.counts["quarantined"] == 0, Counter(report.reasons)
    rows = catalog.scan("sources", where=col("outcome") != "accepted").to_pylist()
    assert all(row["reason"] and row["reason_code"] for row in rows)


def test_real_effect_videos_are_accepted_with_their_labels(corpus, tmp_path):
    catalog = Catalog.create(tmp_path / "catalog", SPEC)
    sources = discover(str(corpus / "effects" / "*" / "Video-As-Prompt__*[02468].mp4"))
    report = ingest(sources, catalog)
    assert report.counts["accepted"] + report.counts["duplicate"] == len(sources) > 20
    clips = catalog.scan("clips", ["clip_id", "category_id"]).to_pylist()
    assert all(clip["category_id"] for clip in clips)
    video = catalog.videos([clips[0]["clip_id"]])[clips[0]["clip_id"]]
    assert read_clip(video).shape == (49, 96, 160, 3)
