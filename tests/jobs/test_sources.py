"""`video2lora sources`, and the tables that show what strangers wrote."""

import json

import pytest

from catalog.curation.set_aside import gone_clips
from catalog.store import Catalog
from jobs.cli import main
from tests.pipeline.made import SPEC, make_catalog


@pytest.fixture
def workdir(tmp_path):
    """A working directory with a clip, and inputs that became none."""
    catalog = make_catalog(tmp_path, {"a": ("melt", "melt"), "b": ("melt", "melt")})
    rows = [
        ("[red]x.mp4", "rejected", "damaged", "The file is [bold]damaged[/INST]."),
        ("y.mp4", "quarantined", "missing", "There is no such file now."),
    ]
    catalog.upsert(
        "sources",
        [dict(zip(("source_uri", "outcome", "reason_code", "reason"), row, strict=True)) for row in rows],
    )
    captions = {"a": "[laughs] a red ball [/INST]\n\x1b[31m", "b": "word " * 200_000}
    catalog.update("clips", [{"clip_id": key, "caption": text} for key, text in captions.items()])
    catalog.update("clips", [{"clip_id": "a", "source_uri": "[red]a.mp4"}])
    return tmp_path


# The catalogue was not made by a command, and its clips have a geometry of their own.
GEOMETRY = ("--set", f"clip.height={SPEC.height}", "--set", f"clip.width={SPEC.width}")


def said(capsys, *words) -> str:
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, words), *GEOMETRY])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_what_became_no_clip_is_listed_with_its_reason(workdir, capsys):
    text = said(capsys, "sources", "--rejected", "-w", workdir)
    assert "[red]x.mp4" in text
    assert "The file is [bold]damaged[/INST]." in text
    assert "2 inputs" in text
    rows = json.loads(said(capsys, "sources", "--rejected", "--json", "-w", workdir))
    assert [(row["outcome"], row["reason_code"]) for row in rows] == [
        ("quarantined", "missing"),
        ("rejected", "damaged"),
    ]
    said(capsys, "sources", "--page", "-w", workdir)
    page = (workdir / "sources.html").read_text("utf-8")
    assert page.count("<tr>") == 5
    assert "The file is [bold]damaged[/INST]." in page


def test_a_search_shows_what_a_stranger_wrote_as_text_and_cuts_it(workdir, capsys):
    text = said(capsys, "search", "ball", "-w", workdir)
    assert "[laughs] a red ball [/INST]" in text
    assert "[red]a.mp4" in text
    assert "\x1b" not in text
    assert len(said(capsys, "search", "word", "-w", workdir)) < 5_000


def test_what_a_search_found_is_opened_as_a_page(workdir, capsys, monkeypatch, tmp_path):
    opened = tmp_path / "opened.txt"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setattr("webbrowser._tryorder", None)  # asked for again, now that there is a BROWSER
    assert "a red ball" in said(capsys, "search", "ball", "-w", workdir, "--open")
    assert opened.read_text().strip() == (workdir / "search.html").as_uri()
    assert "[laughs] a red ball [/INST]" in (workdir / "search.html").read_text("utf-8")


def test_clips_whose_files_are_gone_are_set_aside_by_one_command(workdir, capsys):
    catalog = Catalog.create(workdir / "catalog", SPEC)
    catalog.update("sources", [{"source_uri": "b.mp4", "outcome": "gone"}])
    assert gone_clips(catalog) == ["b"]
    assert "1 clips whose files are gone" in said(capsys, "sources", "--set-aside-gone", "-w", workdir)
    status = dict(catalog.scan("clips", ["clip_id", "status"]).to_pandas().values.tolist())
    assert status == {"a": "accepted", "b": "rejected"}
