"""What an ingestion prints: nothing that was left alone, refused or merged goes without a name."""

from jobs import told
from pipeline.intake.report import IngestReport
from pipeline.sources.survey import survey
from tests.pipeline.sources.test_survey import put


def test_what_was_found_and_what_was_left_alone_is_named(tmp_path):
    put(tmp_path, "a.mp4", "b.mp4", ".c.mp4", *[f"{number}.zip" for number in range(7)])
    put(tmp_path, "a.txt", data=b"a cup")
    (tmp_path / "metadata.csv").write_text("file_name,fx\na.mp4,melt\n")
    lines = list(told.of_survey(survey(tmp_path), "videos"))
    assert lines[:3] == [
        "1 inputs at videos, read as manifest",
        "columns that were not read: fx",
        "1 captions are from .txt files beside the videos",
    ]
    assert lines[3:5] == [
        "1 videos are there that the manifest does not list; they are left alone:",
        f"    {tmp_path}/b.mp4",
    ]
    assert lines[5:7] == ["1 left alone, its name begins with a dot:", f"    {tmp_path}/.c.mp4"]
    assert lines[7].startswith("7 left alone, an archive; unpack it first")
    assert lines[-1] == "    and 2 more, in the report"


def test_every_reason_and_every_conflict_is_told_with_the_files_it_holds_for():
    counts = dict.fromkeys(("accepted", "duplicate", "rejected", "quarantined", "gone"), 1) | {"found": 5}
    refused = [
        {"source_uri": f"{name}.mp4", "outcome": outcome, "reason_code": code, "reason": "So it is."}
        for name, outcome, code in (("a", "rejected", "damaged"), ("b", "gone", "deleted"))
    ]
    conflicts = [{"clips": ["x"], "labels": {"c.mp4": "melt", "d.mp4": "crush"}}]
    relabelled = [
        {"source_uri": "e.mp4", "before": "melt", "now": "glow", "stays_in": None},
        {"source_uri": "f.mp4", "before": "melt", "now": "glow", "stays_in": "crush"},
    ]
    report = IngestReport(counts=counts, refused=refused, conflicts=conflicts, relabelled=relabelled)
    lines = list(told.of_ingest(report))
    assert "    e.mp4: 'melt', now 'glow'" in lines
    assert "    f.mp4: 'melt', now 'glow'; a person put it into crush, where it stays" in lines
    assert lines[0] == "5 inputs: 1 accepted, 1 duplicate, 1 rejected, 1 quarantined, 1 gone"
    assert "    a.mp4: So it is." in lines
    assert "  1 gone, deleted:" in lines
    assert lines[lines.index("    c.mp4 (melt)") + 1] == "    d.mp4 (crush)"
    assert "sources --rejected" in lines[-1]
